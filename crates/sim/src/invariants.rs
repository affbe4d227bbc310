//! What must hold after every step, and what happened so far. No process reads it.
//!
//! | | |
//! |---|---|
//! | I1 | a seat that somebody was told is his is nobody else's |
//! | I2 | every acknowledged request is in the present primary's data; one that is acknowledged late was in them before the next promotion. Excepted is what `protocol` excepts: an answer of the epoch that a forced failover out of `solo` ended, let out before the promotion, and not on a standby's word |
//! | I3 | at most one site acknowledges in an epoch |
//! | I12 | an attached standby holds exactly what its primary did at the slot's place; a quarantine holds exactly the difference, and nothing acknowledged |
//! | sync | while the register says `sync`, no answer is out that the standby does not hold (the sentence of `replicate::mode`, from which I2 follows) |
//!
//! (The model also excepts an answer on the word of an earlier life of the promoted data. A copy holds all that was
//! committed before it, so here that is not needed.)
//!
//! There is one writer an epoch, so a conflict on a standby is a violation, too.

use std::collections::{BTreeMap, BTreeSet};

use model::{Epoch, Mode, Register};

use crate::{
    database::Database,
    faults::Move,
    ids::Ids,
    message::{Seat, number},
};

/// How often what happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Requests acknowledged.
    pub acknowledged: u64,
    /// Of these, in the last part of the history, when everything is whole again.
    pub acknowledged_at_the_end: u64,
    /// Promotions, by whatever way.
    pub promotions: u64,
    /// Of these, those of an epoch that the judgement began because the primary was lost.
    pub failovers: u64,
    /// Those of an epoch that ended a switchover.
    pub switchovers: u64,
    /// Those of an epoch that an operator forced.
    pub forced: u64,
    /// Switchovers that were announced.
    pub announced: u64,
    /// Of these, withdrawn.
    pub withdrawn: u64,
    /// Acknowledged requests that forced failovers lost, as was accepted.
    pub given_up: u64,
    /// Requests that a switchover left behind at the old primary. Not lost: they were not acknowledged.
    pub switchover_tails: u64,
    /// Old primaries taken back.
    pub reinstatements: u64,
    /// Requests that went into quarantine.
    pub quarantined: u64,
    /// Moves from `sync` to `solo`.
    pub solos: u64,
    /// Faults that struck.
    pub faults: u64,
    /// Messages lost, doubled or held up.
    pub messages_hurt: u64,
}

/// How an epoch began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Lost,
    Switchover,
    Forced(Mode),
}

/// How a request was acknowledged.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// First in this epoch.
    epoch: Epoch,
    /// In this one only, and by the primary alone.
    alone: bool,
}

/// What is true.
#[derive(Debug, Default)]
pub struct Truth {
    acknowledged: Ids,
    told: BTreeMap<u64, Told>,
    owners: BTreeMap<u64, u64>,
    voices: BTreeMap<Epoch, usize>,
    promotions: Vec<(Epoch, Ids)>,
    causes: BTreeMap<Epoch, Cause>,
    /// The register as it stands: version, epoch, mode, intent.
    register: Option<(u64, Epoch, Mode, Option<u64>)>,
    intents: BTreeSet<u64>,
    /// The first thing that must not be.
    pub violation: Option<String>,
    /// How often what happened.
    pub counts: Counts,
    /// Visitors that were told `unknown`.
    pub unknowns: u64,
    /// Changes of the register.
    register_moves: u64,
    /// Of these, those that began an epoch by an operator's order.
    forced_moves: u64,
    /// The last part has begun.
    pub at_the_end: bool,
}

impl Truth {
    /// Notes what must not be, if it is the first.
    pub fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    /// A visitor was told that a seat is his; `alone`: on the primary's word, not on its standby's.
    pub fn acknowledged(&mut self, seat: Seat, epoch: Epoch, by: usize, alone: bool) {
        let Seat { seat, id } = seat;
        let owner = *self.owners.entry(seat).or_insert(id);
        self.must(owner == id, || format!("I1: seat {seat} was promised to requests {owner} and {id}"));
        let voice = *self.voices.entry(epoch).or_insert(by);
        self.must(voice == by, || format!("I3: both sites acknowledge in epoch {epoch}"));
        let next = self.promotions.iter().find(|(of, _)| *of > epoch);
        let was_there = next.is_none_or(|(_, held)| held.contains(id));
        self.must(was_there, || {
            format!(
                "I2: request {id} is acknowledged in epoch {epoch}, and the next primary began without it"
            )
        });
        self.acknowledged.insert(id);
        let told = self.told.entry(id).or_insert(Told { epoch, alone });
        told.alone &= alone && told.epoch == epoch;
        self.counts.acknowledged += 1;
        self.counts.acknowledged_at_the_end += u64::from(self.at_the_end);
    }

    /// A database has become primary, holding these requests.
    pub fn promoted(&mut self, _site: usize, epoch: Epoch, held: &Ids) {
        self.counts.promotions += 1;
        match self.causes.get(&epoch) {
            Some(Cause::Switchover) => self.counts.switchovers += 1,
            Some(Cause::Forced(out_of)) => {
                self.counts.forced += 1;
                if *out_of == Mode::Solo {
                    self.give_up(epoch, held);
                }
            }
            Some(Cause::Lost) | None => self.counts.failovers += 1,
        }
        let missing = self.acknowledged.first_missing_in(held);
        self.must(missing.is_none(), || {
            format!("I2: request {} is acknowledged and not there in epoch {epoch}", missing.unwrap_or(0))
        });
        self.promotions.push((epoch, held.clone()));
    }

    /// A forced failover to `epoch` takes place: what its operator has accepted to lose is not promised any more.
    fn give_up(&mut self, epoch: Epoch, held: &Ids) {
        let lost = |id: &u64, told: &Told| told.alone && told.epoch.next() == epoch && !held.contains(*id);
        let lost: Vec<u64> =
            self.told.iter().filter(|(id, told)| lost(id, told)).map(|(id, _)| *id).collect();
        for id in lost {
            self.counts.given_up += 1;
            self.told.remove(&id);
            self.acknowledged.remove(id);
            self.owners.retain(|_, owner| *owner != id);
        }
    }

    /// An old primary has written its quarantine for `epoch`; it still holds `held`.
    pub fn quarantined(&mut self, epoch: Epoch, held: &Ids, lines: &[Seat]) {
        let mut kept = Ids::default();
        for line in lines {
            kept.insert(line.id);
        }
        self.counts.quarantined += lines.len() as u64;
        if self.causes.get(&epoch) == Some(&Cause::Switchover) {
            self.counts.switchover_tails += lines.len() as u64;
        }
        // Who asked again was acknowledged by the new primary; that his first attempt is in quarantine is right.
        let before = |line: &&Seat| self.told.get(&line.id).is_some_and(|told| told.epoch < epoch);
        let told = lines.iter().find(before).map(|line| line.id);
        self.must(told.is_none(), || {
            format!("I12: request {} is acknowledged and in quarantine", told.unwrap_or(0))
        });
        let Some((_, new)) = self.promotions.iter().find(|(of, _)| *of == epoch) else { return };
        let mut difference = held.clone();
        difference.remove_all(new);
        let same =
            difference.first_missing_in(&kept).is_none() && kept.first_missing_in(&difference).is_none();
        self.must(same, || format!("I12: the quarantine of epoch {epoch} is not the difference"));
    }

    /// An old primary is attached.
    pub fn reinstated(&mut self, _site: usize) {
        self.counts.reinstatements += 1;
    }

    /// A standby has met something else than its primary had.
    pub fn conflict(&mut self, why: &str) {
        self.must(false, || format!("I12: a conflict on a standby: {why}"));
    }

    /// The register holds this now. What it held already changes nothing.
    pub fn register_moved(&mut self, record: &Register) {
        let intent = record.intent.as_ref().map(|i| i.id);
        let now = (record.version, record.epoch, record.mode, intent);
        let Some((version, epoch, mode, before)) = self.register.replace(now) else { return };
        if version == record.version {
            return;
        }
        self.register_moves += 1;
        if epoch == record.epoch {
            self.counts.solos += u64::from(mode == Mode::Sync && record.mode == Mode::Solo);
            self.counts.withdrawn += u64::from(before.is_some() && intent.is_none());
        } else {
            let cause = match record.forced_now() {
                Some(forced) => Cause::Forced(forced.out_of),
                // A primary that is lost in the middle of a switchover is replaced as ever, and the word says which.
                None if before.is_some() && record.why.starts_with("switchover") => Cause::Switchover,
                None => Cause::Lost,
            };
            self.forced_moves += u64::from(matches!(cause, Cause::Forced(_)));
            self.causes.insert(record.epoch, cause);
        }
        if let Some(intent) = intent
            && self.intents.insert(intent)
        {
            self.counts.announced += 1;
        }
    }

    /// How often the register has moved in this way.
    pub fn moves(&self, moved: Move) -> u64 {
        match moved {
            Move::Any => self.register_moves,
            Move::Intent => self.counts.announced,
            Move::Withdrawn => self.counts.withdrawn,
            Move::Forced => self.forced_moves,
        }
    }

    /// After every step.
    pub fn check(&mut self, register: &Register, databases: &[Database; 2]) {
        let [a, b] = databases;
        let primary = [a, b].into_iter().filter(|d| d.is_primary()).max_by_key(|d| d.row.row.epoch);
        if let Some(primary) = primary {
            let missing = self.acknowledged.first_missing_in(&primary.has);
            self.must(missing.is_none(), || {
                let epoch = primary.row.row.epoch;
                format!("I2: request {} is acknowledged and not there in epoch {epoch}", missing.unwrap_or(0))
            });
        }
        if register.mode == Mode::Sync {
            let standby = if number(&register.primary) == 0 { b } else { a };
            let missing = self.acknowledged.first_missing_in(&standby.has);
            self.must(missing.is_none() && !standby.row.seeding, || {
                format!(
                    "sync: the register says so in epoch {}, and the standby does not hold request {}",
                    register.epoch,
                    missing.unwrap_or(0)
                )
            });
        }
        for (standby, primary) in [(a, b), (b, a)] {
            let Some(slot) = standby.attached() else { continue };
            let at = &slot.slot.position;
            if at.stream != primary.row.stream {
                continue;
            }
            let equal = primary.hash_at(at.offset) == Some(standby.hash());
            self.must(equal, || {
                format!("I12: an attached standby does not hold what its primary did at {at}")
            });
        }
    }
}
