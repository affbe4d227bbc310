//! How a site becomes a standby again: fence, reinstatement (§4.8), re-synchronisation (§4.5, §4.10).

use super::{Taken, only_if};
use crate::{
    properties::proven,
    rules::{Rule, Scope},
    state::{Copying, Event, Fact, Mode, Row, Site, Slot, State, Write},
};

/// What is done about a site that does not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Its row is raised to the newer epoch that the other site is primary of, and the application locked out.
    Fence(Site),
    /// Its tail is quarantined and undone; it attaches at the promotion.
    Reinstate(Site),
    /// A re-synchronisation is announced in the register.
    AnnounceResync(Site),
    /// The first row is overwritten.
    BeginResync(Site),
    /// The last one is: the data are the primary's as they are now.
    EndResync(Site),
}

/// What may be tried now.
pub fn offer(scope: &Scope, state: &State, acts: &mut Vec<Act>) {
    for site in Site::BOTH {
        acts.extend([Act::Fence(site), Act::Reinstate(site)]);
        if scope.resyncs > state.spent.resyncs {
            acts.push(Act::AnnounceResync(site));
        }
        match state.db(site).copying {
            Copying::No => {}
            Copying::Announced => acts.push(Act::BeginResync(site)),
            Copying::Rows => acts.push(Act::EndResync(site)),
        }
    }
}

/// What becomes of it.
pub fn step(scope: &Scope, state: &mut State, act: Act) -> Taken {
    match act {
        Act::Fence(site) => fence(scope, state, site),
        Act::Reinstate(site) => reinstate(scope, state, site),
        Act::AnnounceResync(site) => announce_resync(scope, state, site),
        Act::BeginResync(site) => begin_resync(scope, state, site),
        Act::EndResync(site) => end_resync(state, site),
    }
}

fn fence(scope: &Scope, state: &mut State, site: Site) -> Taken {
    let primary = site.other();
    let epoch = state.db(primary).row.epoch;
    only_if(state.is_primary(primary) && state.db(site).row.epoch < epoch)?;
    let db = state.db_mut(site);
    db.row = Row { epoch, primary, ..db.row };
    if scope.keeps(Rule::AttachAtThePromotion) {
        db.slot = None;
    }
    if db.copying == Copying::Announced {
        db.copying = Copying::No;
    }
    db.promoting = None;
    Some(())
}

/// Whether a site is fenced in the epoch of a primary that it could follow.
fn may_follow(state: &State, site: Site) -> Taken {
    let primary = site.other();
    only_if(!state.is_primary(site) && state.is_primary(primary))?;
    only_if(state.db(site).row.epoch == state.db(primary).row.epoch)
}

fn reinstate(scope: &Scope, state: &mut State, site: Site) -> Taken {
    may_follow(state, site)?;
    let (db, primary) = (state.db(site), state.db(site.other()));
    let epoch = primary.row.epoch;
    only_if(db.copying == Copying::No)?;
    let remembered = db.slot.filter(|_| !scope.keeps(Rule::AttachAtThePromotion));
    only_if(db.slot.is_none() || remembered.is_some_and(|slot| slot.epoch != epoch))?;
    // The promotion wrote down where the common history ended; that must be a place of this very log.
    let record = primary.failover_record?;
    only_if(record.epoch + 1 == epoch && record.stream == db.stream)?;
    let tail: Vec<Write> = db
        .log
        .get(usize::from(record.position)..)?
        .iter()
        .filter_map(|event| if let Event::Write(write, _) = event { Some(*write) } else { None })
        .collect();
    let defines = record.defining || tail.iter().any(|write| scope.is_definition(*write));
    only_if(!defines || !scope.keeps(Rule::DefinitionsAreNotUndone))?;
    let promotion = primary.log.iter().position(|event| *event == Event::Promotion(epoch))?;
    let slot = Slot {
        stream: primary.stream,
        position: remembered.map_or(crate::state::position(promotion), |slot| slot.position),
        epoch,
        defining: false,
    };

    let db = state.db_mut(site);
    for write in tail.into_iter().rev() {
        db.facts.retain(|fact| !matches!(fact, Fact::Wrote(w, _) if *w == write));
        db.log.push(Event::Undone(write));
    }
    db.slot = Some(slot);
    db.failover_record = None;
    state.send_watermark(site);
    Some(())
}

/// Whether these data may be overwritten with the primary's. A standby of this very epoch whose primary's stream
/// changed may be the only one that has everything.
fn may_copy(scope: &Scope, state: &State, site: Site) -> bool {
    let primary = state.db(site.other());
    let followed = |slot: Slot| slot.epoch == primary.row.epoch && slot.stream != primary.stream;
    let changed_under_us = state.db(site).slot.is_some_and(followed);
    !changed_under_us || proven(state, site.other()) || !scope.keeps(Rule::ProvenBeforeCopy)
}

fn announce_resync(scope: &Scope, state: &mut State, site: Site) -> Taken {
    may_follow(state, site)?;
    let register = state.register;
    only_if(register.mode == Mode::Solo && register.epoch == state.db(site).row.epoch)?;
    only_if(state.db(site).copying == Copying::No && may_copy(scope, state, site))?;
    state.spent.resyncs += 1;
    state.db_mut(site).copying = Copying::Announced;
    if scope.keeps(Rule::ResyncAnnounced) {
        let incarnation = state.db(site).incarnation + 1;
        state.register.set(|r| r.standby_incarnation = incarnation);
    }
    Some(())
}

fn begin_resync(scope: &Scope, state: &mut State, site: Site) -> Taken {
    only_if(!state.is_primary(site) && may_copy(scope, state, site))?;
    let db = state.db_mut(site);
    if scope.keeps(Rule::ResyncAnnounced) {
        db.incarnation += 1;
    }
    db.copying = Copying::Rows;
    db.slot = None;
    db.definition = None;
    db.facts.pop();
    Some(())
}

fn end_resync(state: &mut State, site: Site) -> Taken {
    may_follow(state, site)?;
    let primary = state.db(site.other());
    let facts = primary.facts.clone();
    let slot =
        Slot { stream: primary.stream, position: primary.end(), epoch: primary.row.epoch, defining: false };
    let db = state.db_mut(site);
    db.facts = facts;
    db.slot = Some(slot);
    db.copying = Copying::No;
    state.send_watermark(site);
    Some(())
}
