//! What visitors noted down on their way, for the check afterwards and for the figures.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{checker::Violation, stats::Samples};

/// A number that somebody was told to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The entry's name, as the ticket has it.
    pub(super) entry: u64,
    /// How the ticket says that it is drawn: 0 like everybody, 1 after all others.
    pub(super) class: u8,
    /// The number.
    pub(super) number: u32,
}

/// A hold that was acknowledged and then left alone.
#[derive(Clone, Debug)]
pub(super) struct Left {
    /// Its name.
    pub(super) hold: String,
    /// Its seats.
    pub(super) seats: Vec<String>,
    /// Until then, by the boot clock, it stands in any case.
    pub(super) until_ms: u64,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// Numbers, one a visitor.
    pub(super) told: Vec<Told>,
    /// When (boot clock) which number was seen to be served last.
    pub(super) seen: Vec<(u64, u32)>,
    /// When which number was called.
    pub(super) called: Vec<(u64, u32)>,
    /// Holds that were left alone.
    pub(super) abandoned: Vec<Left>,
    /// Holds that were given back.
    pub(super) released: Vec<String>,
    /// Numbers of bookings that were cancelled again.
    pub(super) cancelled: Vec<String>,
    /// When bookings were acknowledged.
    pub(super) acknowledged_ms: Vec<u64>,
    /// How many of them were bots'.
    pub(super) accepted_bots: u64,
    /// Refusals by code.
    pub(super) refused: BTreeMap<String, u64>,
    /// What bots tried against the rules and were refused.
    pub(super) bots_refused: u64,
    /// From the opening, or a later arrival, until called, in seconds.
    pub(super) queue_s: Samples,
    /// Holds' answers, in milliseconds.
    pub(super) hold_ms: Samples,
    /// Payments' answers, in milliseconds.
    pub(super) pay_ms: Samples,
    /// Nothing was left at the end.
    pub(super) sold_out: bool,
    /// What nobody may be told.
    pub(super) violations: Vec<Violation>,
}

/// Shared by all visitors.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<Noted>);

impl Notes {
    /// To write something down.
    pub(super) fn write(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A broken promise.
    pub(super) fn violation(&self, invariant: &'static str, what: impl Into<String>) {
        self.write().violations.push(Violation::new(invariant, what));
    }

    /// All that was written; the notes are empty then.
    pub(super) fn take(&self) -> Noted {
        std::mem::take(&mut *self.write())
    }
}
