//! What must hold after every step, and what happened so far. No process reads it.
//!
//! | | |
//! |---|---|
//! | I1 | a seat that somebody was told is his is nobody else's |
//! | I2 | every acknowledged request is in the present primary's data; one that is acknowledged late was in them before the next promotion |
//! | I3 | at most one site acknowledges in an epoch |
//! | I12 | an attached standby holds exactly what its primary did at the slot's place; a quarantine holds exactly the difference, and nothing acknowledged |
//! | sync | while the register says `sync`, no answer is out that the standby does not hold (the sentence of `replicate::mode`, from which I2 follows) |
//!
//! There is one writer an epoch, so a conflict on a standby is a violation, too.

use std::collections::BTreeMap;

use model::{Epoch, Mode, Register};

use crate::{
    database::Database,
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
    /// Promotions.
    pub failovers: u64,
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

/// What is true.
#[derive(Debug, Default)]
pub struct Truth {
    acknowledged: Ids,
    /// In which epoch each was first acknowledged.
    epochs: BTreeMap<u64, Epoch>,
    owners: BTreeMap<u64, u64>,
    voices: BTreeMap<Epoch, usize>,
    promotions: Vec<(Epoch, Ids)>,
    register_mode: Option<(Epoch, Mode)>,
    /// The first thing that must not be.
    pub violation: Option<String>,
    /// How often what happened.
    pub counts: Counts,
    /// Visitors that were told `unknown`.
    pub unknowns: u64,
    /// Changes of the register.
    pub register_moves: u64,
    /// The last part has begun.
    pub at_the_end: bool,
}

impl Truth {
    fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    /// A visitor was told that a seat is his.
    pub fn acknowledged(&mut self, seat: Seat, epoch: Epoch, by: usize) {
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
        self.epochs.entry(id).or_insert(epoch);
        self.counts.acknowledged += 1;
        self.counts.acknowledged_at_the_end += u64::from(self.at_the_end);
    }

    /// A database has become primary, holding these requests.
    pub fn promoted(&mut self, _site: usize, epoch: Epoch, held: &Ids) {
        self.counts.failovers += 1;
        let missing = self.acknowledged.first_missing_in(held);
        self.must(missing.is_none(), || {
            format!("I2: request {} is acknowledged and not there in epoch {epoch}", missing.unwrap_or(0))
        });
        self.promotions.push((epoch, held.clone()));
    }

    /// An old primary has written its quarantine for `epoch`; it still holds `held`.
    pub fn quarantined(&mut self, epoch: Epoch, held: &Ids, lines: &[Seat]) {
        let mut kept = Ids::default();
        for line in lines {
            kept.insert(line.id);
        }
        self.counts.quarantined += lines.len() as u64;
        // Who asked again was acknowledged by the new primary; that his first attempt is in quarantine is right.
        let before = |line: &&Seat| self.epochs.get(&line.id).is_some_and(|of| *of < epoch);
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

    /// The register has changed.
    pub fn register_moved(&mut self, record: &Register) {
        self.register_moves += 1;
        if self.register_mode == Some((record.epoch, Mode::Sync)) && record.mode == Mode::Solo {
            self.counts.solos += 1;
        }
        self.register_mode = Some((record.epoch, record.mode));
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
