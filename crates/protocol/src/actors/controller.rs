//! Whoever leads changes the register (§4.4, §4.5, §4.7). There may be any number of leaders: each change is one
//! compare-and-set, and everything else is an order that may be carried out late.

use super::{Taken, only_if, promotion::has_refused};
use crate::{
    rules::{Rule, Scope, Switchover},
    state::{Cause, Mode, Order, Register, Site, State},
};

/// What leaders and operators do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// The primary is lost: the other site, by itself.
    Failover,
    /// An operator wants the other site and accepts the loss.
    Force,
    /// As much time passes as a lease lasts.
    TimePasses,
    /// The promotion was refused for good: the register names the old primary again.
    Return,
    /// The standby's data are found to be another incarnation: the register is told.
    NameIncarnation(Site),
    /// A switchover is wanted.
    Intend,
    /// The primary's database is closed to the application.
    FenceForIntent,
    /// A leader finds that the fence is done and the standby at the end of the log.
    FindReady,
    /// It changes the register, if that still is as it read it.
    Switch,
    /// The intent is given up.
    ClearIntent,
    /// The application is let in again.
    Unfence(Site),
}

/// What they may try now.
pub fn offer(scope: &Scope, state: &State, acts: &mut Vec<Act>) {
    if may_change(scope, state).is_some() {
        acts.push(Act::Failover);
    }
    if scope.forced > 0 {
        acts.extend([Act::Force, Act::TimePasses]);
    }
    if scope.returns > 0 {
        acts.push(Act::Return);
    }
    if scope.regressions > 0 {
        acts.extend(Site::BOTH.map(Act::NameIncarnation));
    }
    if scope.switchover != Switchover::Never {
        acts.extend([Act::Intend, Act::FenceForIntent, Act::FindReady, Act::Switch, Act::ClearIntent]);
        acts.extend(Site::BOTH.map(Act::Unfence));
    }
}

/// What becomes of it.
pub fn step(scope: &Scope, state: &mut State, act: Act) -> Taken {
    match act {
        Act::Failover => failover(scope, state),
        Act::Force => force(scope, state),
        Act::TimePasses => time_passes(state),
        Act::Return => go_back(scope, state),
        Act::NameIncarnation(primary) => name_incarnation(state, primary),
        Act::Intend => intend(scope, state),
        Act::FenceForIntent => fence_for_intent(state),
        Act::FindReady => find_ready(scope, state),
        Act::Switch => switch(scope, state),
        Act::ClearIntent => clear_intent(scope, state),
        Act::Unfence(site) => unfence(scope, state, site),
    }
}

/// Whether the register's primary has begun its epoch, and there may be another.
fn may_change(scope: &Scope, state: &State) -> Taken {
    let changes = state.orders.iter().filter(|o| o.cause != Cause::Return).count();
    only_if(changes < usize::from(scope.promotions))?;
    let primary = state.register.primary;
    only_if(state.is_primary(primary) && state.db(primary).row.epoch == state.register.epoch)
}

/// The compare-and-set that names another primary, and the order that follows from it.
fn name_primary(scope: &Scope, state: &mut State, cause: Cause, change: impl FnOnce(&mut Register)) {
    let to = state.register.primary.other();
    let incarnation = state.register.standby_incarnation;
    state.register.set(|r| {
        r.epoch += 1;
        r.primary = to;
        r.intent = None;
        change(r);
    });
    let slot = state.db(to).slot.filter(|_| !scope.keeps(Rule::RecordInsideThePromotion));
    state.orders.push(Order { epoch: state.register.epoch, to, cause, incarnation, at: state.now, slot });
}

fn solo(register: &mut Register) {
    register.mode = Mode::Solo;
}

/// Guarded by `mode == sync`, so it races a move to `solo` and one of them loses.
fn failover(scope: &Scope, state: &mut State) -> Taken {
    may_change(scope, state)?;
    only_if(state.register.mode == Mode::Sync || !scope.keeps(Rule::FailoverOnlyInSync))?;
    name_primary(scope, state, Cause::Failover, solo);
    Some(())
}

fn force(scope: &Scope, state: &mut State) -> Taken {
    may_change(scope, state)?;
    only_if(state.spent.forced < scope.forced && state.register.mode == Mode::Solo)?;
    state.spent.forced += 1;
    name_primary(scope, state, Cause::Forced, solo);
    Some(())
}

/// Nothing but a forced failover waits for time, so no other moment needs telling apart.
fn time_passes(state: &mut State) -> Taken {
    let waits = |o: &Order| o.cause == Cause::Forced && o.at == state.now;
    only_if(state.orders.last().is_some_and(waits))?;
    state.now += 1;
    Some(())
}

fn go_back(scope: &Scope, state: &mut State) -> Taken {
    let order = *state.orders.last()?;
    only_if(state.spent.returns < scope.returns && order.cause != Cause::Return)?;
    let old = order.to.other();
    only_if(state.is_primary(old) && state.db(old).row.epoch < order.epoch)?;
    let refused = has_refused(state, order.to, order.epoch);
    only_if(refused || !scope.keeps(Rule::RefusalBeforeReturn))?;
    state.spent.returns += 1;
    name_primary(scope, state, Cause::Return, solo);
    Some(())
}

fn name_incarnation(state: &mut State, primary: Site) -> Taken {
    let found = state.db(primary.other()).incarnation;
    only_if(state.is_primary(primary) && state.register.epoch == state.db(primary).row.epoch)?;
    only_if(state.register.standby_incarnation != found)?;
    state.register.set(|r| {
        r.standby_incarnation = found;
        r.mode = Mode::Solo;
    });
    Some(())
}

fn intend(scope: &Scope, state: &mut State) -> Taken {
    may_change(scope, state)?;
    only_if(state.spent.intents < scope.intents)?;
    only_if(state.register.mode == Mode::Sync && state.register.intent.is_none())?;
    state.spent.intents += 1;
    state.register.set(|r| r.intent = Some(r.version));
    Some(())
}

fn fence_for_intent(state: &mut State) -> Taken {
    let intent = state.register.intent;
    let primary = state.register.primary;
    only_if(intent.is_some() && state.is_primary(primary) && state.db(primary).fenced_for != intent)?;
    state.db_mut(primary).fenced_for = intent;
    Some(())
}

fn find_ready(scope: &Scope, state: &mut State) -> Taken {
    may_change(scope, state)?;
    let register = state.register;
    only_if(register.intent.is_some() && register.mode == Mode::Sync)?;
    only_if(state.ready != Some(register.version))?;
    let (primary, standby) = (state.db(register.primary), state.db(register.primary.other()));
    let fenced = primary.fenced_for == register.intent;
    only_if(fenced || !scope.keeps(Rule::SwitchoverFences))?;
    let slot = standby.slot?;
    only_if(slot.stream == primary.stream && slot.epoch == register.epoch && !slot.defining)?;
    only_if(slot.position >= primary.end() || !scope.keeps(Rule::SwitchoverCatchesUp))?;
    state.ready = Some(register.version);
    Some(())
}

fn switch(scope: &Scope, state: &mut State) -> Taken {
    only_if(state.ready.take()? == state.register.version)?;
    let follower = state.db(state.register.primary).incarnation;
    name_primary(scope, state, Cause::Switchover, |r| match scope.switchover {
        Switchover::KeepsSync => r.standby_incarnation = follower,
        Switchover::BeginsSolo | Switchover::Never => solo(r),
    });
    Some(())
}

fn clear_intent(scope: &Scope, state: &mut State) -> Taken {
    let intent = state.register.intent?;
    if scope.keeps(Rule::IntentClearedBeforeUnfence) {
        state.register.set(|r| r.intent = None);
    }
    only_if(state.unfence != Some(intent))?;
    state.unfence = Some(intent);
    Some(())
}

fn unfence(scope: &Scope, state: &mut State, site: Site) -> Taken {
    let intent = state.unfence?;
    let fenced_for = state.db(site).fenced_for?;
    only_if(fenced_for == intent || !scope.keeps(Rule::UnfenceNamesItsIntent))?;
    state.db_mut(site).fenced_for = None;
    Some(())
}
