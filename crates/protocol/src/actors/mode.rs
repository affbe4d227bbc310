//! The agent of the primary moves the mode (§4.4). It may die, be paused for ever or exist twice between any two steps.
//!
//! > While the register says `sync`, no answer goes out that the standby does not hold.

use super::{Taken, edge::passed, only_if};
use crate::{
    properties::proven,
    rules::{Rule, Scope},
    state::{Attempt, Mode, Read, Site, State},
};

/// An attempt of one of a site's agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Wants `solo`: reads register and row.
    BeginSolo(Site, usize),
    /// Wants `sync`: reads the register.
    BeginSync(Site, usize),
    /// Does the next step of its attempt.
    Continue(Site, usize),
    /// Dies, or forgets its attempt.
    Forget(Site, usize),
}

/// What they may try now.
pub fn offer(scope: &Scope, state: &State, acts: &mut Vec<Act>) {
    for site in Site::BOTH {
        for agent in 0..usize::from(scope.agents) {
            match state.agents[site as usize][agent] {
                Attempt::None if may_begin(scope, state, site) => {
                    acts.extend([Act::BeginSolo(site, agent), Act::BeginSync(site, agent)]);
                }
                Attempt::None => {}
                Attempt::SoloCasLate(_) | Attempt::SyncRowLate(_) => acts.push(Act::Continue(site, agent)),
                _ => acts.extend([Act::Continue(site, agent), Act::Forget(site, agent)]),
            }
        }
    }
}

/// An agent moves the mode only while its row's epoch is the register's, and never on a server that took the place of
/// another until that is proven to hold all that the standby has: in either direction the row's change would say that
/// these data are the primary's.
fn may_begin(scope: &Scope, state: &State, site: Site) -> bool {
    let register = &state.register;
    let db = state.db(site);
    let trusted = db.row.stream == db.stream || proven(state, site) || !scope.keeps(Rule::ProvenBeforeMode);
    state.spent.mode_moves < scope.mode_moves
        && trusted
        && state.is_primary(site)
        && register.primary == site
        && register.epoch == db.row.epoch
}

/// What becomes of it.
pub fn step(scope: &Scope, state: &mut State, act: Act) -> Taken {
    let (site, agent, next) = match act {
        Act::BeginSolo(site, agent) => (site, agent, begin_solo(scope, state, site)?),
        Act::BeginSync(site, agent) => (site, agent, begin_sync(scope, state, site)?),
        Act::Continue(site, agent) => {
            let attempt = state.agents[site as usize][agent];
            (site, agent, proceed(scope, state, site, attempt)?)
        }
        Act::Forget(site, agent) => (site, agent, Attempt::None),
    };
    state.agents[site as usize][agent] = next;
    Some(())
}

fn read(state: &State, site: Site) -> Read {
    let db = state.db(site);
    Read { version: state.register.version, epoch: db.row.epoch, token: db.row.token, stream: db.stream }
}

fn begin_solo(scope: &Scope, state: &mut State, site: Site) -> Option<Attempt> {
    let db = state.db(site);
    let same_stream = db.row.stream == db.stream;
    let solo_already = state.register.mode == Mode::Solo && db.row.mode == Mode::Solo;
    only_if(!(solo_already && same_stream))?;
    state.spent.mode_moves += 1;
    let read = read(state, site);
    if !scope.keeps(Rule::SoloRegisterFirst) {
        state.db_mut(site).set_mode(Mode::Solo);
        return Some(Attempt::SoloCasLate(read));
    }
    if state.register.mode == Mode::Solo && !scope.keeps(Rule::SoloAlwaysByCas) {
        return Some(Attempt::SoloRow(read));
    }
    Some(Attempt::SoloCas(read))
}

fn begin_sync(scope: &Scope, state: &mut State, site: Site) -> Option<Attempt> {
    only_if(state.register.mode == Mode::Solo)?;
    state.spent.mode_moves += 1;
    let read = read(state, site);
    if !scope.keeps(Rule::SyncRowFirst) {
        state.register.set(|r| r.mode = Mode::Sync);
        return Some(Attempt::SyncRowLate(read));
    }
    Some(Attempt::SyncRow(read))
}

/// The next step of an attempt, and where it then stands. An attempt that failed is forgotten, never undone.
fn proceed(scope: &Scope, state: &mut State, site: Site, attempt: Attempt) -> Option<Attempt> {
    let row = state.db(site).row;
    let epoch_is = |read: Read| row.epoch == read.epoch && row.primary == site;
    let stream_is =
        |read: Read| state.db(site).stream == read.stream || !scope.keeps(Rule::AttemptOfThisStream);
    match attempt {
        Attempt::None => None,
        Attempt::SoloCas(read) => {
            if state.register.version != read.version {
                return Some(Attempt::None);
            }
            state.register.set(|r| r.mode = Mode::Solo);
            Some(Attempt::SoloRow(read))
        }
        Attempt::SoloRow(read) => {
            let token_is = row.token == read.token || !scope.keeps(Rule::SoloComparesTheToken);
            if epoch_is(read) && token_is && stream_is(read) {
                state.db_mut(site).set_mode(Mode::Solo);
            }
            Some(Attempt::None)
        }
        Attempt::SyncRow(read) => {
            if !epoch_is(read) || !stream_is(read) {
                return Some(Attempt::None);
            }
            let db = state.db_mut(site);
            db.set_mode(Mode::Sync);
            Some(Attempt::SyncWait(Read { stream: db.stream, ..read }, db.end()))
        }
        Attempt::SyncWait(read, changed_before) => {
            let register = state.register;
            let by_mode = !scope.keeps(Rule::SyncComparesTheVersion)
                && register.epoch == read.epoch
                && register.mode == Mode::Solo;
            if register.version != read.version && !by_mode {
                return Some(Attempt::None);
            }
            let arrived = passed(scope, state, site, read.stream, read.epoch, changed_before)
                .any(|incarnation| incarnation == register.standby_incarnation);
            only_if(arrived || !scope.keeps(Rule::SyncWaitsForTheRow))?;
            state.register.set(|r| r.mode = Mode::Sync);
            Some(Attempt::None)
        }
        Attempt::SoloCasLate(read) => {
            if state.register.version == read.version {
                state.register.set(|r| r.mode = Mode::Solo);
            }
            Some(Attempt::None)
        }
        Attempt::SyncRowLate(read) => {
            if epoch_is(read) {
                state.db_mut(site).set_mode(Mode::Sync);
            }
            Some(Attempt::None)
        }
    }
}
