//! What the visitors were told: every acknowledged booking, and how all others ended.
//!
//! The ledger is written by visitors and by nobody else; the checker holds the surviving database against it.
//! Always true here: an entry stands in the ledger only when a visitor has read the last byte of an answer that
//! said "booked". What a visitor was not told is no promise, so it is counted, not entered.

use std::{
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

use crate::{checker::Violation, stats::Samples};

/// One booking that a visitor was told to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Acknowledged {
    /// The number that the visitor was given.
    pub booking_no: String,
    /// The visitor's account, by its e-mail address.
    pub account: String,
    /// For which performance.
    pub performance: u32,
    /// Which seats.
    pub seats: Vec<String>,
    /// What was paid, in won.
    pub amount_won: u64,
    /// The key under which the payment was sent, however often.
    pub idempotency_key: String,
    /// When the visitor began (the hold's first byte), on the clock of `runtime::clock::Boot`, in milliseconds.
    pub sent_at_ms: u64,
    /// When the payment's answer was complete, on the same clock.
    pub acknowledged_at_ms: u64,
    /// Which address answered.
    pub answered_by: SocketAddr,
    /// In which round of the drill it was sent.
    pub round: u32,
}

/// How a visitor's booking ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Booked, and told so.
    Acknowledged(Box<Acknowledged>),
    /// Told no, for a reason that is nobody's fault: the seat is gone, the limit is reached.
    Refused {
        /// The service's error code.
        code: String,
    },
    /// The visitor gave up at the deadline; the last thing heard leaves open whether the booking exists.
    Unknown,
    /// The visitor gave up at the deadline, or was told something that must not be told.
    Failed {
        /// What was heard last.
        what: String,
    },
}

/// One request as a visitor sent it, whatever became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it was sent, on the clock of `runtime::clock::Boot`, in milliseconds.
    pub sent_at_ms: u64,
    /// When its answer was complete, or when the visitor stopped waiting.
    pub ended_at_ms: u64,
    /// What was asked and came of it, if the answer was none that a service in good health gives: 2xx, or 409 (the seat is
    /// gone).
    pub error: Option<String>,
}

/// What the visitors of one round met, beside the ledger's entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Visitors who arrived.
    pub arrived: u64,
    /// Visitors who were told that they are booked.
    pub acknowledged: u64,
    /// Visitors who were told no.
    pub refused: u64,
    /// Visitors who gave up, not knowing.
    pub unknown: u64,
    /// Visitors who gave up for another reason.
    pub failed: u64,
    /// Answers and silences on the way that a visitor sees as an error (5xx, reset, time-out), those that leave
    /// the outcome open included.
    pub errors_seen: u64,
    /// Of these: those that leave open whether the write took effect.
    pub unknown_seen: u64,
    /// From the arrival to the acknowledgement, in milliseconds, of those who saw no error.
    pub latency_ms: Samples,
    /// Things that no visitor may ever be told: an acknowledged hold that vanished, another price.
    pub broken_promises: Vec<Violation>,
    /// The failures of visitors who gave up, in words, the first few.
    pub failures: Vec<String>,
}

const FAILURES_KEPT: usize = 20;

#[derive(Debug, Default)]
struct Pages {
    entries: Vec<Acknowledged>,
    tally: Tally,
    requests: Vec<Request>,
}

/// Shared by all visitors of a drill.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Pages>);

impl Ledger {
    /// A visitor arrived.
    pub fn arrived(&self) {
        self.pages().tally.arrived += 1;
    }

    /// A visitor saw an error on the way; `unknown` if it leaves open whether the write took effect.
    pub fn error_seen(&self, unknown: bool) {
        let tally = &mut self.pages().tally;
        tally.errors_seen += 1;
        tally.unknown_seen += u64::from(unknown);
    }

    /// A request of a visitor has ended.
    pub fn requested(&self, request: Request) {
        self.pages().requests.push(request);
    }

    /// Every request since this was asked last.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.pages().requests)
    }

    /// A visitor was told something that must never be told.
    pub fn broken_promise(&self, found: Violation) {
        self.pages().tally.broken_promises.push(found);
    }

    /// A visitor's end. `smooth`: no error was seen on the way, so that the latency is the service's.
    pub fn ended(&self, outcome: &Outcome, smooth: bool) {
        let pages = &mut *self.pages();
        match outcome {
            Outcome::Acknowledged(entry) => {
                pages.tally.acknowledged += 1;
                if smooth {
                    let ms = entry.acknowledged_at_ms.saturating_sub(entry.sent_at_ms);
                    pages.tally.latency_ms.push(to_f64(ms));
                }
                pages.entries.push((**entry).clone());
            }
            Outcome::Refused { .. } => pages.tally.refused += 1,
            Outcome::Unknown => pages.tally.unknown += 1,
            Outcome::Failed { what } => {
                pages.tally.failed += 1;
                if pages.tally.failures.len() < FAILURES_KEPT {
                    pages.tally.failures.push(what.clone());
                }
            }
        }
    }

    /// What a visitor was told of this booking is no promise any more: it is being cancelled.
    pub fn withdrawn(&self, booking_no: &str) {
        self.pages().entries.retain(|entry| entry.booking_no != booking_no);
    }

    /// How many bookings were acknowledged in `[from_ms, to_ms)` of the boot clock.
    pub fn acknowledged_between(&self, from_ms: u64, to_ms: u64) -> u64 {
        let pages = self.pages();
        // Entries come nearly in order; a few seconds' worth from the end is all that can match.
        let recent = pages.entries.iter().rev().take_while(|e| e.acknowledged_at_ms + 60_000 >= from_ms);
        recent.filter(|e| (from_ms..to_ms).contains(&e.acknowledged_at_ms)).count() as u64
    }

    /// A copy of all entries so far.
    pub fn entries(&self) -> Vec<Acknowledged> {
        self.pages().entries.clone()
    }

    /// Ends a round: its tally is returned, the next one begins at zero. The entries stay.
    pub fn close_round(&self) -> Tally {
        std::mem::take(&mut self.pages().tally)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds and counts as a float, exact far beyond any drill's length.
pub(crate) fn to_f64(n: u64) -> f64 {
    // 2^53 ms are 285,000 years.
    #[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
    let f = n as f64;
    f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_outlive_the_round_and_the_tally_does_not() {
        let ledger = Ledger::default();
        let entry = Acknowledged {
            booking_no: "N".into(),
            account: "a@example.test".into(),
            performance: 1,
            seats: vec!["A-1-1".into()],
            amount_won: 55_000,
            idempotency_key: "k".into(),
            sent_at_ms: 1_000,
            acknowledged_at_ms: 1_040,
            answered_by: SocketAddr::from(([127, 0, 0, 1], 80)),
            round: 1,
        };
        ledger.arrived();
        ledger.error_seen(true);
        ledger.ended(&Outcome::Acknowledged(Box::new(entry)), true);
        ledger.ended(&Outcome::Refused { code: "seat_taken".into() }, true);
        assert_eq!(ledger.acknowledged_between(1_000, 1_040), 0);
        assert_eq!(ledger.acknowledged_between(1_000, 1_041), 1);
        let tally = ledger.close_round();
        assert_eq!((tally.acknowledged, tally.refused, tally.errors_seen, tally.unknown_seen), (1, 1, 1, 1));
        assert_eq!(tally.latency_ms.p50(), Some(40.0));
        assert_eq!(ledger.close_round(), Tally::default());
        assert_eq!(ledger.entries().len(), 1);
    }
}
