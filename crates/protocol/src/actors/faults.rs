//! What databases do to us (§4.2, §4.5). Crashes, pauses and cut links need no step: they are steps that never come.

use super::{Taken, edge::passed, only_if};
use crate::{
    rules::Scope,
    state::{Event, Fact, Request, Site, State, Write},
};

/// A fault of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// A primary's log begins anew; nothing is lost but the log.
    BinlogReset(Site),
    /// A standby is set back to before its last write, slot and all.
    StandbyRegress(Site),
    /// A primary's own local HA puts another node in its place, which lacks the last so many commits.
    LocalLoss(Site, u8),
}

/// What may happen now.
pub fn offer(scope: &Scope, state: &State, acts: &mut Vec<Act>) {
    for site in Site::BOTH {
        if state.spent.binlog_resets < scope.binlog_resets {
            acts.push(Act::BinlogReset(site));
        }
        if state.spent.regressions < scope.regressions {
            acts.push(Act::StandbyRegress(site));
        }
        for lost in 1..=scope.local_losses.saturating_sub(state.spent.local_losses) {
            acts.push(Act::LocalLoss(site, lost));
        }
    }
}

/// What becomes of it.
pub fn step(scope: &Scope, state: &mut State, act: Act) -> Taken {
    match act {
        Act::BinlogReset(site) => binlog_reset(state, site),
        Act::StandbyRegress(site) => standby_regress(state, site),
        Act::LocalLoss(site, lost) => local_loss(scope, state, site, lost),
    }
}

fn begin_stream(state: &mut State, site: Site) {
    let db = state.db_mut(site);
    db.stream += 1;
    db.log.clear();
}

fn binlog_reset(state: &mut State, site: Site) -> Taken {
    only_if(state.is_primary(site))?;
    state.spent.binlog_resets += 1;
    begin_stream(state, site);
    Some(())
}

fn standby_regress(state: &mut State, site: Site) -> Taken {
    let db = state.db(site);
    only_if(!state.is_primary(site) && db.is_whole() && matches!(db.log.last(), Some(Event::Applied(_))))?;
    let slot = db.slot?;
    let Some(Fact::Wrote(lost, epoch)) = db.facts.last().copied() else { return None };
    // Its primary still has that place in the log: what is lost comes again.
    let again = state.db(site.other()).log.iter().position(|e| *e == Event::Write(lost, epoch))?;
    only_if(again < usize::from(slot.position))?;
    state.spent.regressions += 1;
    let db = state.db_mut(site);
    db.facts.pop();
    if let Some(slot) = &mut db.slot {
        slot.position = crate::state::position(again);
        slot.defining = false;
    }
    db.incarnation += 1;
    begin_stream(state, site);
    Some(())
}

fn local_loss(scope: &Scope, state: &mut State, site: Site, lost: u8) -> Taken {
    only_if(state.is_primary(site))?;
    for _ in 0..lost {
        let db = state.db_mut(site);
        match db.log.pop()? {
            Event::Write(write, _) => {
                db.facts.retain(|fact| !matches!(fact, Fact::Wrote(w, _) if *w == write));
                lost_at(scope, state, site, write);
            }
            Event::Mode { before } => db.row = before,
            // It keeps what it held when its epoch began.
            Event::Applied(_) | Event::Undone(_) | Event::Promotion(_) => return None,
        }
    }
    state.spent.local_losses += lost;
    begin_stream(state, site);
    Some(())
}

/// Told, or as good as told, and nowhere else: nobody can bring it back.
fn lost_at(scope: &Scope, state: &mut State, site: Site, write: Write) {
    let elsewhere = state.db(site.other());
    if elsewhere.is_whole() && elsewhere.holds(write) {
        return;
    }
    let Some(request) = state.requests.get(usize::from(write)) else { return };
    let as_good_as_told = match *request {
        Request::Told { .. } | Request::MayGoAlone { .. } => true,
        Request::Held { epoch, stream, position, .. } => {
            passed(scope, state, site, stream, epoch, position).next().is_some()
        }
        _ => false,
    };
    if as_good_as_told && let Some(request) = state.requests.get_mut(usize::from(write)) {
        *request = Request::LostWithItsOnlyCopy;
    }
}
