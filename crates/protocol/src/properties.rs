//! What must hold in every state, and what must be reached in some.
//!
//! The first kind says that the protocol is right. The second kind says that the run had the chance to show that it
//! is wrong: a model in which nothing happens breaks nothing.

use stateright::Property;

use crate::{
    rules::{Scope, Switchover},
    state::{Cause, Database, Epoch, Event, Fact, Request, Site, State, Word, Write},
};

/// I2: what a visitor was told stands in the current primary, from before the next promotion on.
pub const TOLD_IS_KEPT: &str = "I2 what was told is kept";
/// I3: one site tells in an epoch.
pub const ONE_TELLS: &str = "I3 one site tells in an epoch";
/// I12: an attached standby holds the beginning of what its primary holds.
pub const STANDBY_IS_A_PREFIX: &str = "I12 an attached standby is a prefix";
/// §4.3: after a promotion nothing of an older epoch is applied.
pub const PROMOTION_FENCES: &str = "a promotion fences";
/// §4.3: nothing is applied twice.
pub const ONCE: &str = "nothing is applied twice";
/// I1, as far as rows go: nobody sells alone who may have forgotten a sale.
pub const NOT_BLIND: &str = "nobody tells alone who forgot";
/// §4.7: a switchover leaves no tail at the old primary.
pub const NO_TAIL: &str = "a switchover leaves no tail";

/// The properties of a run of this scope.
pub fn all(scope: &Scope) -> Vec<Property<Scope>> {
    let mut all = vec![
        Property::always(TOLD_IS_KEPT, |_, s| told_is_kept(s)),
        Property::always(ONE_TELLS, |_, s| one_tells(s)),
        Property::always(STANDBY_IS_A_PREFIX, |_, s| Site::BOTH.iter().all(|site| is_prefix(s, *site))),
        Property::always(PROMOTION_FENCES, |_, s| each_database(s, promotion_fences)),
        Property::always(ONCE, |_, s| each_database(s, nothing_twice)),
        Property::<Scope>::always(NOT_BLIND, |_, s| {
            !s.requests.iter().any(|r| matches!(r, Request::Told { on: Word::Alone { blind: true, .. }, .. }))
        }),
        Property::always(NO_TAIL, |_, s| no_tail(s)),
        Property::<Scope>::sometimes("reached: told on the standby's word", |_, s| {
            any_told(s, |_, on| matches!(on, Word::Standby { .. }))
        }),
    ];
    let mut reached = |wanted: bool, name, condition| {
        if wanted {
            all.push(Property::<Scope>::sometimes(name, condition));
        }
    };
    let settled = scope.promotions > 0;
    reached(settled, "reached: told in a later epoch", |_, s| any_told(s, |epoch, _| epoch > 1));
    let undone = settled && !scope.definition && scope.switchover == Switchover::Never;
    reached(undone, "reached: a tail undone", |_, s| {
        each_site(s, |db| db.log.iter().any(|e| matches!(e, Event::Undone(_))))
    });
    let alone = scope.mode_moves > 0;
    reached(alone, "reached: told alone", |_, s| any_told(s, |_, on| matches!(on, Word::Alone { .. })));
    reached(scope.forced > 0, "reached: lost by force, as accepted", |_, s| {
        let lost = |w, r: &Request| matches!(r, Request::Told { .. }) && !kept(s, w, r) && given_up(s, r);
        (0..).zip(&s.requests).any(|(write, request)| lost(write, request))
    });
    reached(scope.returns > 0, "reached: told after the register went back", |_, s| {
        let returned = |epoch| s.order(epoch).is_some_and(|o| o.cause == Cause::Return);
        any_told(s, |epoch, _| returned(epoch))
    });
    reached(scope.resyncs > 0, "reached: re-synchronised", |_, s| {
        s.spent.resyncs > 0 && s.watermarks.iter().any(|w| w.incarnation > 0)
    });
    reached(scope.local_losses > 0, "reached: found again at the standby", |_, s| {
        s.spent.local_losses > 0
            && s.db(Site::Aws).facts.contains(&Fact::Promoted(2))
            && any_told(s, |_, _| true)
    });
    reached(
        scope.definition && scope.deaths > 0,
        "reached: promoted in the middle of a definition",
        |_, s| s.db(Site::Aws).failover_record.is_some_and(|record| record.defining),
    );
    reached(scope.switchover != Switchover::Never, "reached: switched over", |_, s| {
        let switched = |epoch| s.order(epoch).is_some_and(|o| o.cause == Cause::Switchover);
        any_told(s, |epoch, _| switched(epoch))
    });
    all
}

fn each_database(state: &State, holds: fn(&Database) -> bool) -> bool {
    Site::BOTH.iter().all(|site| holds(state.db(*site)))
}

fn each_site(state: &State, holds: impl Fn(&Database) -> bool) -> bool {
    Site::BOTH.iter().any(|site| holds(state.db(*site)))
}

fn any_told(state: &State, holds: impl Fn(Epoch, Word) -> bool) -> bool {
    state.requests.iter().any(|r| matches!(r, Request::Told { epoch, on, .. } if holds(*epoch, *on)))
}

fn told_is_kept(state: &State) -> bool {
    (0..).zip(&state.requests).all(|(write, request)| match request {
        Request::Told { .. } => kept(state, write, request) || given_up(state, request),
        _ => true,
    })
}

/// Whether a write stands where it must.
fn kept(state: &State, write: Write, request: &Request) -> bool {
    let Request::Told { epoch, .. } = request else { return true };
    let primary = state.newest_primary();
    if stands(state.db(primary), write, *epoch) {
        return true;
    }
    // A primary whose own HA lost it: a whole standby has it, from which it comes back (§4.5). Until then the primary
    // tells nobody anything alone.
    let db = state.db(primary);
    let standby = state.db(primary.other());
    db.row.stream != db.stream && standby.is_whole() && standby.holds(write)
}

/// Whether a database holds a write of an epoch from before the promotion that ended that epoch.
fn stands(db: &Database, write: Write, epoch: Epoch) -> bool {
    let mut before = db.facts.iter().take_while(|f| !matches!(f, Fact::Promoted(e) if *e > epoch));
    before.any(|fact| matches!(fact, Fact::Wrote(w, _) if *w == write))
}

/// What I2 excepts, and nothing else: an answer of the epoch that a forced failover ended, let out *before* the
/// promotion, and not on the word of the very data that were promoted.
pub(crate) fn given_up(state: &State, request: &Request) -> bool {
    let Request::Told { epoch, on, .. } = request else { return false };
    let Some(next) = state.order(epoch + 1) else { return false };
    let took_place = state.db(state.newest_primary()).facts.contains(&Fact::Promoted(next.epoch));
    next.cause == Cause::Forced
        && took_place
        && match on {
            Word::Alone { late, .. } => !late,
            Word::Standby { incarnation } => *incarnation != next.incarnation,
        }
}

fn one_tells(state: &State) -> bool {
    let told = |r: &Request| match r {
        Request::Told { site, epoch, .. } => Some((*epoch, *site)),
        _ => None,
    };
    let tellers: Vec<_> = state.requests.iter().filter_map(told).collect();
    tellers.iter().all(|(epoch, site)| tellers.iter().all(|(e, s)| e != epoch || s == site))
}

fn is_prefix(state: &State, site: Site) -> bool {
    let (db, primary) = (state.db(site), state.db(site.other()));
    let attached = db.slot.is_some_and(|slot| slot.epoch == db.row.epoch && slot.stream == primary.stream);
    let follows = attached && !state.is_primary(site) && state.is_primary(site.other());
    let same_epoch = db.row.epoch == primary.row.epoch;
    if !(follows && same_epoch && db.is_whole()) {
        return true;
    }
    let writes = |db: &Database| -> Vec<Fact> {
        db.facts.iter().filter(|fact| matches!(fact, Fact::Wrote(..))).copied().collect()
    };
    writes(primary).starts_with(&writes(db))
}

fn promotion_fences(db: &Database) -> bool {
    let mut newest = 1;
    db.facts.iter().all(|fact| match fact {
        Fact::Promoted(epoch) => {
            newest = newest.max(*epoch);
            true
        }
        Fact::Wrote(_, epoch) => *epoch >= newest,
    })
}

fn nothing_twice(db: &Database) -> bool {
    let writes: Vec<&Fact> = db.facts.iter().filter(|f| matches!(f, Fact::Wrote(..))).collect();
    (1..writes.len()).all(|at| !writes[..at].contains(&writes[at]))
}

fn no_tail(state: &State) -> bool {
    state.orders.iter().filter(|order| order.cause == Cause::Switchover).all(|order| {
        let (new, old) = (state.db(order.to), state.db(order.to.other()));
        let Some(record) = new.failover_record.filter(|r| r.epoch + 1 == order.epoch) else { return true };
        let tail = old.log.get(usize::from(record.position)..).filter(|_| old.stream == record.stream);
        !tail
            .unwrap_or_default()
            .iter()
            .any(|e| matches!(e, Event::Write(_, epoch) if *epoch == record.epoch))
    })
}

/// The proof of §4.5: a comparison shows that the primary holds all that its standby has applied.
pub(crate) fn proven(state: &State, primary: Site) -> bool {
    let applied = state.db(primary.other()).facts.iter();
    applied.filter(|f| matches!(f, Fact::Wrote(..))).all(|fact| state.db(primary).facts.contains(fact))
}
