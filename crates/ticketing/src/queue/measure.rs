//! What the box office's own answers tell about how much it can bear.

use std::sync::atomic::{AtomicU32, Ordering};

/// Upper ends of the buckets, in milliseconds.
const UP_TO_MS: [u32; 14] = [2, 5, 10, 20, 35, 60, 100, 150, 250, 400, 700, 1_200, 2_500, 5_000];

/// Counts answers by how long they took. Any number of tasks count; one takes.
#[derive(Debug, Default)]
pub struct Gauge {
    buckets: [AtomicU32; UP_TO_MS.len() + 1],
    refused: AtomicU32,
}

/// What was counted since it was last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Answers.
    pub attempts: u32,
    /// Of them, refused because the database did not answer.
    pub refused: u32,
    /// 95 of 100 took at most this long: the upper end of a bucket.
    pub p95_ms: u32,
}

impl Gauge {
    /// Counts one answer.
    pub fn count(&self, took_ms: u64, refused: bool) {
        let slot = UP_TO_MS.iter().position(|up_to| took_ms <= u64::from(*up_to)).unwrap_or(UP_TO_MS.len());
        if let Some(bucket) = self.buckets.get(slot) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        if refused {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes what was counted and begins anew.
    pub fn take(&self) -> Counted {
        let counts: Vec<u32> = self.buckets.iter().map(|b| b.swap(0, Ordering::Relaxed)).collect();
        let attempts = counts.iter().fold(0u32, |sum, n| sum.saturating_add(*n));
        let refused = self.refused.swap(0, Ordering::Relaxed);
        let beyond = attempts / 20;
        let mut left = attempts;
        let mut p95_ms = 0;
        for (slot, n) in counts.iter().enumerate() {
            if left <= beyond {
                break;
            }
            left = left.saturating_sub(*n);
            if *n > 0 {
                p95_ms = UP_TO_MS.get(slot).copied().unwrap_or(10_000);
            }
        }
        Counted { attempts, refused, p95_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_of_a_hundred_may_be_slow() {
        let gauge = Gauge::default();
        assert_eq!(gauge.take(), Counted::default());
        for _ in 0..95 {
            gauge.count(4, false);
        }
        for _ in 0..5 {
            gauge.count(900, true);
        }
        assert_eq!(gauge.take(), Counted { attempts: 100, refused: 5, p95_ms: 5 });
        for _ in 0..94 {
            gauge.count(4, false);
        }
        for _ in 0..6 {
            gauge.count(60_000, false);
        }
        assert_eq!(gauge.take(), Counted { attempts: 100, refused: 0, p95_ms: 10_000 });
        assert_eq!(gauge.take().attempts, 0);
    }
}
