//! Promotion (§4.3): one conditional transaction on the standby, or a refusal for ever.
//!
//! > After a promotion nothing of an older epoch is applied there.

use super::{Taken, only_if};
use crate::{
    rules::{Rule, Scope, Switchover},
    state::{Cause, Copying, Epoch, Event, Fact, Mode, Order, Row, Site, State},
};

/// What is done about an order. All orders ever given stay deliverable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Ends the applier's sessions. Only runs with definitions tell it from the transaction.
    EndSessions(Epoch),
    /// The transaction.
    Promote(Epoch),
}

/// What may be tried now.
pub fn offer(scope: &Scope, state: &State, acts: &mut Vec<Act>) {
    for order in &state.orders {
        if scope.definition {
            acts.push(Act::EndSessions(order.epoch));
        }
        acts.push(Act::Promote(order.epoch));
    }
}

/// What becomes of it.
pub fn step(scope: &Scope, state: &mut State, act: Act) -> Taken {
    match act {
        Act::EndSessions(epoch) => end_sessions(scope, state, epoch),
        Act::Promote(epoch) => {
            let order = *state.order(epoch)?;
            if order.cause == Cause::Return { resume(state, order) } else { promote(scope, state, order) }
        }
    }
}

fn end_sessions(scope: &Scope, state: &mut State, epoch: Epoch) -> Taken {
    let to = state.order(epoch)?.to;
    let db = state.db_mut(to);
    only_if(db.row.epoch < epoch && db.row.primary != to && db.promoting != Some(epoch))?;
    db.promoting = Some(epoch);
    if scope.keeps(Rule::PromotionEndsSessions) {
        db.definition = None;
    }
    Some(())
}

fn promote(scope: &Scope, state: &mut State, order: Order) -> Taken {
    let site = order.to;
    let db = state.db(site);
    if db.row.epoch >= order.epoch {
        return promote_again(scope, state, order);
    }
    // A database that was itself the primary is nobody's standby: nothing is decided here.
    only_if(!state.is_primary(site))?;
    if order.cause == Cause::Forced && scope.keeps(Rule::ForcedWaitsTheLeaseOut) {
        only_if(state.now > order.at)?;
    }
    if scope.definition {
        only_if(db.promoting == Some(order.epoch))?;
        // The transaction begins by locking the row, and waits for whoever holds it.
        only_if(db.definition.is_none_or(|d| !d.locked))?;
        if scope.keeps(Rule::PromotionEndsSessionsLocked) {
            state.db_mut(site).definition = None;
        }
    }
    if fits(scope, state, order) { begin_epoch(scope, state, order) } else { refuse(scope, state, order) }
}

fn fits(scope: &Scope, state: &State, order: Order) -> bool {
    let db = state.db(order.to);
    let attached = db.row.epoch + 1 == order.epoch
        && db.is_whole()
        && db.slot.is_some_and(|slot| slot.epoch + 1 == order.epoch);
    let named = db.incarnation == order.incarnation;
    (attached || !scope.keeps(Rule::PromotionOfTheAttached))
        && (named || !scope.keeps(Rule::PromotionOfTheNamedIncarnation))
}

fn begin_epoch(scope: &Scope, state: &mut State, order: Order) -> Taken {
    let keeps_sync = order.cause == Cause::Switchover
        && scope.switchover == Switchover::KeepsSync
        && scope.keeps(Rule::SwitchoverRowAsRegister);
    let db = state.db_mut(order.to);
    let inside = scope.keeps(Rule::RecordInsideThePromotion);
    db.failover_record = if inside { db.slot } else { order.slot };
    if scope.keeps(Rule::ApplierChecksTheEpoch) && scope.keeps(Rule::AttachAtThePromotion) {
        db.slot = None;
    }
    db.copying = Copying::No;
    enter(state, order, if keeps_sync { Mode::Sync } else { Mode::Solo });
    Some(())
}

fn enter(state: &mut State, order: Order, mode: Mode) {
    let db = state.db_mut(order.to);
    let token = db.new_token();
    db.row = Row { epoch: order.epoch, primary: order.to, mode, token, stream: db.stream };
    db.log.push(Event::Promotion(order.epoch));
    db.facts.push(Fact::Promoted(order.epoch));
    db.promoting = None;
    db.fenced_for = None;
}

/// Already there: nothing to do. The broken rule sets the row to `solo` once more.
fn promote_again(scope: &Scope, state: &mut State, order: Order) -> Taken {
    only_if(!scope.keeps(Rule::PromotionOnce))?;
    let db = state.db_mut(order.to);
    only_if(db.row.epoch == order.epoch && db.row.primary == order.to && db.row.mode == Mode::Sync)?;
    db.set_mode(Mode::Solo);
    Some(())
}

/// A refusal is written down before it is told: the row moves to the refused epoch under its old primary, so no later
/// request for it can succeed.
fn refuse(scope: &Scope, state: &mut State, order: Order) -> Taken {
    // Without a way back for the register a refusal changes nothing that anybody could see.
    only_if(scope.returns > 0)?;
    let db = state.db_mut(order.to);
    let token = db.new_token();
    db.row = Row { epoch: order.epoch, primary: order.to.other(), token, ..db.row };
    db.promoting = None;
    Some(())
}

/// The register has gone back: the old primary takes up the epoch behind the refused one.
fn resume(state: &mut State, order: Order) -> Taken {
    only_if(state.is_primary(order.to) && state.db(order.to).row.epoch < order.epoch)?;
    state.db_mut(order.to).failover_record = None;
    enter(state, order, Mode::Solo);
    Some(())
}

/// Whether a site has refused an epoch for good.
pub(crate) fn has_refused(state: &State, site: Site, epoch: Epoch) -> bool {
    state.db(site).row.epoch >= epoch && !state.is_primary(site)
}
