//! How the probes of one target have gone. Sans-IO.
//!
//! Probes are sent at a fixed pace and do not wait for one another, so that a silent target is found in
//! `lost_after_probes` intervals and not in as many time-outs; hence their results may come out of order. They count
//! by the order in which they were *sent*.

use model::observation::{Probe, ProbeResult};

/// The count.
#[derive(Clone, Debug)]
pub struct Tally {
    last: ProbeResult,
    newest: u64,
    newest_success: u64,
    failed_in_a_row: u32,
    last_success_ms: Option<u64>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            last: ProbeResult::Never,
            newest: 0,
            newest_success: 0,
            failed_in_a_row: 0,
            last_success_ms: None,
        }
    }
}

impl Tally {
    /// Counts the result of the probe that was sent as number `sequence` (from 1).
    pub fn count(&mut self, now_ms: u64, sequence: u64, result: ProbeResult) {
        let is_newest = sequence >= self.newest;
        self.newest = self.newest.max(sequence);
        if result == ProbeResult::Ok {
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

    /// The count, as it is told.
    pub fn told(&self, now_ms: u64) -> Probe {
        Probe {
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
        assert_eq!(tally.told(40).failed_in_a_row, 0, "an older probe's time-out proves nothing against 4");
        tally.count(50, 5, ProbeResult::Refused);
        tally.count(60, 6, ProbeResult::Silent);
        let told = tally.told(70);
        assert_eq!((told.failed_in_a_row, told.last_success_ms), (2, Some(40)));
        assert_eq!(told.last, ProbeResult::Silent);
    }
}
