//! The standby applies the primary's log (§4.3), definitions included.
//!
//! > Everything is applied at most once, in order, in the epoch that it was written in.

use super::{Taken, only_if};
use crate::{
    rules::{Rule, Scope},
    state::{Definition, Event, Fact, Fetched, Site, Slot, State, Write},
};

/// What the applier of a site does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Applies the next event, in one transaction with the slot and the epoch's check.
    Apply(Site),
    /// A second applier reads the next event…
    Fetch(Site),
    /// …and commits it later.
    ApplyFetched(Site),
    /// Marks the slot, locks the row in a second session, sends the definition.
    BeginDefinition(Site),
    /// The server carries the definition out. Nobody asks it whether it still should.
    DefinitionRuns(Site),
    /// The definition has returned: the slot moves, the lock is let go.
    EndDefinition(Site),
    /// The session that holds the lock dies. The server may still be at the definition.
    LockDies(Site),
    /// Another applier finds the mark.
    RecoverDefinition(Site),
}

/// What they may try now.
pub fn offer(scope: &Scope, state: &State, acts: &mut Vec<Act>) {
    for site in Site::BOTH {
        let db = state.db(site);
        if db.slot.is_some() {
            acts.push(Act::Apply(site));
        }
        if scope.second_applier {
            acts.extend([Act::Fetch(site), Act::ApplyFetched(site)]);
        }
        if scope.definition {
            acts.extend([
                Act::BeginDefinition(site),
                Act::DefinitionRuns(site),
                Act::EndDefinition(site),
                Act::LockDies(site),
                Act::RecoverDefinition(site),
            ]);
        }
    }
}

/// What becomes of it.
pub fn step(scope: &Scope, state: &mut State, act: Act) -> Taken {
    match act {
        Act::Apply(site) => apply(scope, state, site),
        Act::Fetch(site) => fetch(state, site),
        Act::ApplyFetched(site) => apply_fetched(scope, state, site),
        Act::BeginDefinition(site) => begin_definition(scope, state, site),
        Act::DefinitionRuns(site) => definition_runs(state, site),
        Act::EndDefinition(site) => end_definition(scope, state, site),
        Act::LockDies(site) => lock_dies(scope, state, site),
        Act::RecoverDefinition(site) => recover_definition(scope, state, site),
    }
}

/// The slot and what comes next behind it, if that stream is there to be read.
fn next(state: &State, site: Site) -> Option<(Slot, Event)> {
    let slot = state.db(site).slot?;
    let source = state.db(site.other());
    only_if(state.db(site).is_whole() && source.stream == slot.stream)?;
    let event = source.log.get(usize::from(slot.position))?;
    Some((slot, *event))
}

/// The transaction's own check of the epoch row.
fn epoch_holds(scope: &Scope, state: &State, site: Site, slot: Slot) -> bool {
    slot.epoch == state.db(site).row.epoch || !scope.keeps(Rule::ApplierChecksTheEpoch)
}

fn definition_of(scope: &Scope, event: Event) -> Option<Write> {
    match event {
        Event::Write(write, _) if scope.is_definition(write) => Some(write),
        _ => None,
    }
}

fn take_effect(state: &mut State, site: Site, event: Event) {
    let db = state.db_mut(site);
    match event {
        Event::Write(write, epoch) => {
            db.facts.push(Fact::Wrote(write, epoch));
            db.log.push(Event::Applied(write));
        }
        Event::Promotion(epoch) => db.facts.push(Fact::Promoted(epoch)),
        // Origin-marked, or the row of `ghostlight`: only the slot moves.
        Event::Applied(_) | Event::Undone(_) | Event::Mode { .. } => {}
    }
}

fn move_slot(state: &mut State, site: Site) {
    if let Some(slot) = &mut state.db_mut(site).slot {
        slot.position += 1;
        slot.defining = false;
    }
    state.send_watermark(site);
}

fn apply(scope: &Scope, state: &mut State, site: Site) -> Taken {
    let (slot, event) = next(state, site)?;
    only_if(definition_of(scope, event).is_none() && epoch_holds(scope, state, site, slot))?;
    take_effect(state, site, event);
    move_slot(state, site);
    Some(())
}

fn fetch(state: &mut State, site: Site) -> Taken {
    only_if(state.db(site).fetched.is_none())?;
    let (slot, event) = next(state, site)?;
    state.db_mut(site).fetched = Some(Fetched { slot, event });
    Some(())
}

fn apply_fetched(scope: &Scope, state: &mut State, site: Site) -> Taken {
    let fetched = state.db_mut(site).fetched.take()?;
    let db = state.db(site);
    let Some(slot) = db.slot else { return Some(()) };
    let epoch_holds = fetched.slot.epoch == db.row.epoch && slot.epoch == fetched.slot.epoch;
    let slot_holds = slot == fetched.slot || !scope.keeps(Rule::ApplierComparesTheSlot);
    if db.is_whole() && epoch_holds && slot_holds {
        take_effect(state, site, fetched.event);
        if let Some(slot) = &mut state.db_mut(site).slot {
            slot.position = fetched.slot.position;
        }
        move_slot(state, site);
    }
    Some(())
}

fn begin_definition(scope: &Scope, state: &mut State, site: Site) -> Taken {
    let (slot, event) = next(state, site)?;
    let write = definition_of(scope, event)?;
    only_if(!slot.defining && epoch_holds(scope, state, site, slot))?;
    send_definition(scope, state, site, slot, write)
}

fn send_definition(scope: &Scope, state: &mut State, site: Site, slot: Slot, write: Write) -> Taken {
    let db = state.db_mut(site);
    only_if(db.definition.is_none())?;
    db.slot = Some(Slot { defining: true, ..slot });
    let locked = scope.keeps(Rule::DefinitionUnderLock);
    db.definition = Some(Definition { write, epoch: slot.epoch, locked, ran: false });
    Some(())
}

fn definition_runs(state: &mut State, site: Site) -> Taken {
    let definition = state.db_mut(site).definition.as_mut()?;
    only_if(!definition.ran)?;
    definition.ran = true;
    let Definition { write, epoch, .. } = *definition;
    take_effect(state, site, Event::Write(write, epoch));
    Some(())
}

fn end_definition(scope: &Scope, state: &mut State, site: Site) -> Taken {
    let db = state.db_mut(site);
    let definition = db.definition?;
    only_if(definition.ran && (definition.locked || !scope.keeps(Rule::DefinitionUnderLock)))?;
    db.definition = None;
    // The slot moves by compare-and-set in a transaction of its own, which looks at the epoch like any other.
    if db.slot.is_some_and(|slot| slot.defining && slot.epoch == db.row.epoch) {
        move_slot(state, site);
    }
    Some(())
}

fn lock_dies(scope: &Scope, state: &mut State, site: Site) -> Taken {
    only_if(state.spent.deaths < scope.deaths)?;
    let definition = state.db_mut(site).definition.as_mut()?;
    only_if(definition.locked)?;
    definition.locked = false;
    state.spent.deaths += 1;
    Some(())
}

/// Whoever finds the mark ends the session that may still be at it, then looks whether the definition is there.
fn recover_definition(scope: &Scope, state: &mut State, site: Site) -> Taken {
    let (slot, event) = next(state, site)?;
    let write = definition_of(scope, event)?;
    only_if(slot.defining && epoch_holds(scope, state, site, slot))?;
    only_if(state.db(site).definition.is_none_or(|d| !d.locked))?;
    state.db_mut(site).definition = None;
    if state.db(site).holds(write) && scope.keeps(Rule::DefinitionLookedFor) {
        move_slot(state, site);
        return Some(());
    }
    send_definition(scope, state, site, slot, write)
}
