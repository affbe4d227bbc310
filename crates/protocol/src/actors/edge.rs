//! Visitors and the commit gate (§4.1): a write, the barrier behind it, the answer.
//!
//! > A visitor is told that a write is done only when the standby holds it, or while nothing but a person can take the
//! > service from this primary.

use super::{Taken, only_if};
use crate::{
    rules::{Rule, Scope},
    state::{Epoch, Mode, Position, Request, Seen, Site, State, Word, Write},
};

/// What visitors and gateways do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// The application commits the next visitor's write here.
    Write(Site),
    /// The gateway asks the database about this write's answer.
    Barrier(Write),
    /// The gateway lets this write's answer out.
    LetOut(Write),
    /// The gateway's agent asks the register, which answers at once; the answer may take any time.
    AskRegister(Site),
    /// That answer arrives.
    LeaseArrives(Site),
}

/// What they may try now.
pub fn offer(scope: &Scope, state: &State, acts: &mut Vec<Act>) {
    let waiting_to_write = state.requests.contains(&Request::New);
    for site in Site::BOTH {
        let db = state.db(site);
        if waiting_to_write && state.is_primary(site) && db.fenced_for.is_none() {
            acts.push(Act::Write(site));
        }
        if scope.has_leases() && state.is_primary(site) && db.row.mode == Mode::Solo {
            acts.push(Act::AskRegister(site));
        }
        if state.gate(site).asked.is_some() {
            acts.push(Act::LeaseArrives(site));
        }
    }
    for (write, request) in (0..).zip(&state.requests) {
        match request {
            Request::Answered { .. } => acts.push(Act::Barrier(write)),
            Request::Held { .. } => acts.extend([Act::Barrier(write), Act::LetOut(write)]),
            Request::MayGoAlone { .. } => acts.push(Act::LetOut(write)),
            _ => {}
        }
    }
}

/// What becomes of it.
pub fn step(scope: &Scope, state: &mut State, act: Act) -> Taken {
    match act {
        Act::Write(site) => write(scope, state, site),
        Act::Barrier(write) => barrier(scope, state, write),
        Act::LetOut(write) => let_out(scope, state, write),
        Act::AskRegister(site) => ask_register(state, site),
        Act::LeaseArrives(site) => lease_arrives(scope, state, site),
    }
}

fn write(scope: &Scope, state: &mut State, site: Site) -> Taken {
    let next = state.requests.iter().position(|r| *r == Request::New)?;
    let write = Write::try_from(next).ok()?;
    let db = state.db_mut(site);
    let epoch = db.row.epoch;
    db.commit(write, epoch);
    let (stream, solo) = (db.stream, db.row.mode == Mode::Solo);
    *state.requests.get_mut(next)? = Request::Answered { site, epoch, stream };
    if solo && !scope.keeps(Rule::ModeFromTheQueryItself) {
        state.gate_mut(site).saw_solo = Some(epoch);
    }
    Some(())
}

/// §4.1 (3) and (4): one query, of which the row and the end of the log are believed, and nothing older.
fn barrier(scope: &Scope, state: &mut State, write: Write) -> Taken {
    let (site, epoch, stream, again) = match *state.requests.get(usize::from(write))? {
        Request::Answered { site, epoch, stream } => (site, epoch, stream, false),
        Request::Held { site, epoch, stream, .. } => (site, epoch, stream, true),
        _ => return None,
    };
    let db = state.db(site);
    let another_epoch = db.row.epoch != epoch && scope.keeps(Rule::BarrierOfTheRequestsEpoch);
    let another_stream = db.stream != stream && scope.keeps(Rule::BarrierOfTheRequestsStream);
    let verdict = if !state.is_primary(site) || another_epoch || another_stream {
        Request::Unknown
    } else if mode_of(scope, state, site) == Mode::Solo {
        let looks_now = scope.has_leases() && !scope.keeps(Rule::LeaseAtRelease);
        only_if(!looks_now || lease_runs(scope, state, site, db.row.epoch))?;
        Request::MayGoAlone { site, epoch: db.row.epoch, blind: is_blind(state, site) }
    } else {
        Request::Held { site, epoch: db.row.epoch, stream: db.stream, position: db.end() }
    };
    // Asking again frees an answer that waits in vain; another position would only make it wait for more.
    only_if(!again || !matches!(verdict, Request::Held { .. }))?;
    *state.requests.get_mut(usize::from(write))? = verdict;
    Some(())
}

/// The mode by which an answer of this database goes out.
fn mode_of(scope: &Scope, state: &State, site: Site) -> Mode {
    let db = state.db(site);
    if !scope.keeps(Rule::ModeFromTheQueryItself) && state.gate(site).saw_solo == Some(db.row.epoch) {
        return Mode::Solo;
    }
    // A server that took the place of another may hold an older row. What stands there was said of another log.
    if db.row.stream != db.stream && scope.keeps(Rule::RowOfThisStream) {
        return Mode::Sync;
    }
    db.row.mode
}

fn let_out(scope: &Scope, state: &mut State, write: Write) -> Taken {
    let told = match *state.requests.get(usize::from(write))? {
        Request::MayGoAlone { site, epoch, blind } => {
            let looks_now = scope.has_leases() && scope.keeps(Rule::LeaseAtRelease);
            only_if(!looks_now || lease_runs(scope, state, site, epoch))?;
            let late = is_superseded(state, site, epoch);
            Request::Told { site, epoch, on: Word::Alone { late, blind } }
        }
        Request::Held { site, epoch, stream, position } => {
            let incarnation = passed(scope, state, site, stream, epoch, position).max()?;
            Request::Told { site, epoch, on: Word::Standby { incarnation } }
        }
        _ => return None,
    };
    *state.requests.get_mut(usize::from(write))? = told;
    Some(())
}

/// The incarnations of the standby whose watermark has passed a position (§4.2).
pub(crate) fn passed(
    scope: &Scope,
    state: &State,
    of: Site,
    stream: u8,
    epoch: Epoch,
    position: Position,
) -> impl Iterator<Item = u8> {
    let any_stream = !scope.keeps(Rule::WatermarkOfTheStream);
    let any_epoch = !scope.keeps(Rule::WatermarkOfTheEpoch);
    state.watermarks.iter().filter_map(move |w| {
        let counts = w.of == of && (any_stream || w.stream == stream) && (any_epoch || w.epoch == epoch);
        (counts && w.position >= position).then_some(w.incarnation)
    })
}

/// Whether the next primary stands already.
fn is_superseded(state: &State, site: Site, epoch: Epoch) -> bool {
    state.is_primary(site.other()) && state.db(site.other()).row.epoch > epoch
}

/// Whether the newest primary lacks what a standby has vouched for.
fn is_blind(state: &State, site: Site) -> bool {
    site == state.newest_primary()
        && (0..).zip(&state.requests).any(|(write, request)| {
            let vouched = matches!(request, Request::Told { on: Word::Standby { .. }, .. });
            vouched && !state.db(site).holds(write) && !crate::properties::given_up(state, request)
        })
}

/// §4.4: whether the register was seen, within a lease, to name this site in this epoch.
fn lease_runs(scope: &Scope, state: &State, site: Site, epoch: Epoch) -> bool {
    state.gate(site).lease.is_some_and(|seen| {
        seen.epoch == epoch && (seen.at == state.now || !scope.keeps(Rule::LeaseClockRunsOn))
    })
}

fn ask_register(state: &mut State, site: Site) -> Taken {
    only_if(state.register.primary == site)?;
    let seen = Some(Seen { at: state.now, epoch: state.register.epoch });
    let gate = state.gate_mut(site);
    only_if(gate.asked != seen && gate.lease != seen)?;
    gate.asked = seen;
    Some(())
}

fn lease_arrives(scope: &Scope, state: &mut State, site: Site) -> Taken {
    let now = state.now;
    let gate = state.gate_mut(site);
    let asked = gate.asked.take()?;
    let at = if scope.keeps(Rule::LeaseFromSending) { asked.at } else { now };
    gate.lease = Some(Seen { at, ..asked });
    Some(())
}
