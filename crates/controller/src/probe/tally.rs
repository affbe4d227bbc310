//! How the probes of one target have gone. Sans-IO.
//!
//! Probes are sent at a fixed pace and do not wait for one another, so that a silent target is found in
//! `lost_after_probes` intervals and not in as many time-outs; hence their results may come out of order. They count
//! by the order in which they were *sent*.

use std::collections::VecDeque;

use model::observation::{Probe, ProbeResult};

/// So many probes in a row must fail to be called a loss that may come back.
const LOSS_MIN: u32 = 2;
/// More losses than these are not remembered.
const LOSSES_MAX: usize = 64;
/// More probes than these are never under way at once.
const UNDER_WAY_MAX: usize = 64;

/// The count.
#[derive(Clone, Debug)]
pub struct Tally {
    last: ProbeResult,
    newest: u64,
    newest_success: u64,
    failed_in_a_row: u32,
    last_success_ms: Option<u64>,
    took_ms: Option<u64>,
    /// When each loss came to its end.
    losses: VecDeque<u64>,
    /// Numbers of probes under way, and when they were sent.
    sent: VecDeque<(u64, u64)>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            last: ProbeResult::Never,
            newest: 0,
            newest_success: 0,
            failed_in_a_row: 0,
            last_success_ms: None,
            took_ms: None,
            losses: VecDeque::new(),
            sent: VecDeque::new(),
        }
    }
}

impl Tally {
    /// Notes that probe number `sequence` is on its way.
    pub fn sent(&mut self, now_ms: u64, sequence: u64) {
        if self.sent.len() == UNDER_WAY_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((sequence, now_ms));
    }

    /// Counts the result of the probe that was sent as number `sequence` (from 1).
    pub fn count(&mut self, now_ms: u64, sequence: u64, result: ProbeResult) {
        let is_newest = sequence >= self.newest;
        self.newest = self.newest.max(sequence);
        let sent_at = self.sent.iter().position(|(number, _)| *number == sequence);
        let sent_ms = sent_at.and_then(|at| self.sent.remove(at)).map(|(_, sent_ms)| sent_ms);
        if result == ProbeResult::Ok {
            self.took_ms = sent_ms.map(|sent_ms| now_ms.saturating_sub(sent_ms)).or(self.took_ms);
            if is_newest && self.failed_in_a_row >= LOSS_MIN {
                if self.losses.len() == LOSSES_MAX {
                    self.losses.pop_front();
                }
                self.losses.push_back(now_ms);
            }
            self.last_success_ms = Some(now_ms);
            self.newest_success = self.newest_success.max(sequence);
            if is_newest {
                self.failed_in_a_row = 0;
            }
        } else if sequence > self.newest_success {
            self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
        }
        if is_newest {
            self.last = result;
        }
    }

    /// The count, as it is told; losses of the last `window_ms`.
    pub fn told(&self, now_ms: u64, window_ms: u64) -> Probe {
        let lately = self.losses.iter().filter(|at| now_ms.saturating_sub(**at) <= window_ms).count();
        Probe {
            took_ms: self.took_ms,
            losses: u32::try_from(lately).unwrap_or(u32::MAX),
            last: self.last.clone(),
            failed_in_a_row: self.failed_in_a_row,
            last_success_ms: self.last_success_ms.map(|at| now_ms.saturating_sub(at)),
        }
    }

    /// Whether the last ones failed.
    pub fn is_failing(&self) -> bool {
        self.failed_in_a_row > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_count_in_the_order_in_which_the_probes_were_sent() {
        let mut tally = Tally::default();
        tally.count(10, 1, ProbeResult::Ok);
        tally.count(20, 2, ProbeResult::Silent);
        tally.count(30, 4, ProbeResult::Ok);
        tally.count(40, 3, ProbeResult::Silent);
        assert_eq!(
            tally.told(40, 1_000).failed_in_a_row,
            0,
            "an older probe's time-out proves nothing against 4"
        );
        tally.count(50, 5, ProbeResult::Refused);
        tally.count(60, 6, ProbeResult::Silent);
        let told = tally.told(70, 1_000);
        assert_eq!((told.failed_in_a_row, told.last_success_ms), (2, Some(40)));
        assert_eq!(told.last, ProbeResult::Silent);
    }

    #[test]
    fn a_target_that_is_lost_and_comes_back_is_counted_and_forgotten_after_the_window() {
        let mut tally = Tally::default();
        let mut sequence = 0;
        let mut probe = |now_ms: u64, result: ProbeResult| {
            sequence += 1;
            tally.sent(now_ms - 5, sequence);
            tally.count(now_ms, sequence, result);
            tally.told(now_ms, 1_000)
        };
        probe(100, ProbeResult::Silent);
        assert_eq!(probe(200, ProbeResult::Ok).losses, 0, "one lost packet is no loss");
        for at in [300, 500] {
            probe(at, ProbeResult::Silent);
            probe(at + 50, ProbeResult::Refused);
            probe(at + 100, ProbeResult::Ok);
        }
        let told = probe(700, ProbeResult::Ok);
        assert_eq!((told.losses, told.took_ms), (2, Some(5)));
        assert_eq!(probe(1_500, ProbeResult::Ok).losses, 1);
        assert_eq!(probe(2_000, ProbeResult::Ok).losses, 0);
    }
}
