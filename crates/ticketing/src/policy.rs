//! What cancelling costs, by the day: a policy is data, this is how it is read.
//!
//! Days are Korean days, counted from the performance: the day before is 1. The default is the table of the
//! consumers' dispute standard (소비자분쟁해결기준, 공연업); an organiser may choose a kinder one, never a harsher one.
//!
//! A cancelled seat does not come back at once, where whoever reloads fastest would have it: it is released at the
//! next published moment ([`release_ms`]), as one of a batch.

use crate::calendar::{korean_day, on_korean_day};

/// A share or a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Of the price.
    Percent(u8),
    /// A sum for each ticket, but never more than a share of its price.
    Flat {
        /// The sum.
        won: u32,
        /// The share.
        percent_max: u8,
    },
}

/// What cancelling costs from a day on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Applies while the performance is at least so many days away.
    pub days_min: u64,
    /// What it costs.
    pub rate: Rate,
}

/// A cancellation policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From the most days to the fewest. A day that none covers cannot be cancelled any more.
    pub tiers: Vec<Tier>,
    /// Free within so long of booking …
    pub free_within_ms: u64,
    /// … while the performance is at least so many days away.
    pub free_days_min: u64,
}

/// What cancelling costs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fee {
    /// Kept back.
    pub fee_won: u64,
    /// Given back.
    pub refund_won: u64,
}

/// A day in milliseconds.
const DAY_MS: u64 = 86_400_000;
/// Cancelled seats are released every ten minutes.
const BATCH_MS: u64 = 600_000;
/// The moment within a batch's last minutes from which a seat goes into the next one.
const BATCH_LEAD_MS: u64 = 120_000;

impl Default for Policy {
    fn default() -> Policy {
        let tier = |days_min, percent| Tier { days_min, rate: Rate::Percent(percent) };
        Policy {
            tiers: vec![tier(10, 0), tier(7, 10), tier(3, 20), tier(1, 30), tier(0, 90)],
            free_within_ms: DAY_MS,
            free_days_min: 3,
        }
    }
}

impl Policy {
    /// What cancelling tickets of these prices costs at `now_ms`; none if it is too late.
    pub fn fee(&self, prices_won: &[u32], booked_ms: u64, starts_ms: u64, now_ms: u64) -> Option<Fee> {
        if now_ms >= starts_ms {
            return None;
        }
        let days = korean_day(starts_ms).saturating_sub(korean_day(now_ms));
        let paid: u64 = prices_won.iter().map(|p| u64::from(*p)).sum();
        let tier = self.tiers.iter().find(|tier| days >= tier.days_min)?;
        let soon = now_ms.saturating_sub(booked_ms) < self.free_within_ms && days >= self.free_days_min;
        let fee_won: u64 = if soon { 0 } else { prices_won.iter().map(|p| tier.rate.of(*p)).sum() };
        Some(Fee { fee_won, refund_won: paid - fee_won.min(paid) })
    }

    /// When the fee next changes, if it does before the performance: so that a page can say what waiting costs.
    pub fn changes_ms(&self, prices_won: &[u32], booked_ms: u64, starts_ms: u64, now_ms: u64) -> Option<u64> {
        let fee = |at| self.fee(prices_won, booked_ms, starts_ms, at);
        let today = korean_day(now_ms);
        let midnights = (today + 1..=korean_day(starts_ms)).map(|day| on_korean_day(day, 0, 0));
        let mut moments: Vec<u64> = midnights.chain([booked_ms + self.free_within_ms, starts_ms]).collect();
        moments.sort_unstable();
        moments.into_iter().find(|at| *at > now_ms && *at <= starts_ms && fee(*at) != fee(now_ms))
    }

    /// Whether no ticket costs more to cancel than by the legal table, at any hour before the performance.
    pub fn is_lawful(&self) -> bool {
        let legal = Policy::default();
        let starts_ms = on_korean_day(40, 19, 30);
        let hours = (0..40 * 24).map(|h| on_korean_day(0, h, 0)).chain([starts_ms - 1]);
        hours.filter(|at| *at < starts_ms).all(|now_ms| {
            [10_000, 55_000, 160_000].into_iter().all(|price| {
                // Booked just now, and long ago.
                [now_ms, now_ms.saturating_sub(30 * DAY_MS)].into_iter().all(|booked_ms| {
                    let cost = |p: &Policy| p.fee(&[price], booked_ms, starts_ms, now_ms).map(|f| f.fee_won);
                    match (cost(self), cost(&legal)) {
                        (Some(ours), Some(theirs)) => ours <= theirs,
                        (ours, theirs) => ours.is_some() == theirs.is_some(),
                    }
                })
            })
        })
    }
}

impl Rate {
    fn of(self, price_won: u32) -> u64 {
        let price = u64::from(price_won);
        match self {
            Rate::Percent(percent) => price * u64::from(percent.min(100)) / 100,
            Rate::Flat { won, percent_max } => {
                u64::from(won).min(price * u64::from(percent_max.min(100)) / 100)
            }
        }
    }
}

/// A bank transfer must be there at this hour of the next day …
const TRANSFER_HOUR: u64 = 23;
/// … and what was not paid comes back together at this hour of the night that follows.
const UNPAID_HOUR: u64 = 2;
/// Not offered when the money could come later than so long before the performance: who waits must have a chance, too.
const TRANSFER_BEFORE_MS: u64 = 2 * DAY_MS;

/// Until when a bank transfer that is begun at `now_ms` must be there; none if the performance is too near.
pub fn transfer_due_ms(starts_ms: u64, now_ms: u64) -> Option<u64> {
    let due_ms = on_korean_day(korean_day(now_ms) + 1, TRANSFER_HOUR, 0);
    (due_ms + TRANSFER_BEFORE_MS <= starts_ms).then_some(due_ms)
}

/// When seats that were to be paid by `due_ms`, and were not, can be had again: all of a day in one batch, at a moment
/// that everybody knows.
pub fn unpaid_release_ms(due_ms: u64) -> u64 {
    on_korean_day(korean_day(due_ms) + 1, UNPAID_HOUR, 0)
}

/// When a seat that is cancelled at `now_ms` can be had again: at a full ten minutes that is at least two away, so
/// that nobody can book what a friend gives up in the same breath, and everybody knows when to look.
pub fn release_ms(now_ms: u64) -> u64 {
    (now_ms + BATCH_LEAD_MS).div_ceil(BATCH_MS) * BATCH_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The performance begins on day 100 at 19:30.
    fn fee(day: u64, hour: u64, booked_ago_ms: u64) -> Option<u64> {
        let now_ms = on_korean_day(day, hour, 0);
        let starts_ms = on_korean_day(100, 19, 30);
        let fee = Policy::default().fee(&[100_000, 50_000], now_ms - booked_ago_ms, starts_ms, now_ms);
        fee.map(|f| {
            assert_eq!(f.fee_won + f.refund_won, 150_000);
            f.fee_won
        })
    }

    #[test]
    fn the_legal_table_to_the_day() {
        let long_ago = 5 * DAY_MS;
        for (day, hour, expected) in [
            (80, 12, Some(0)),
            (90, 23, Some(0)),
            (91, 0, Some(15_000)),
            (93, 23, Some(15_000)),
            (94, 0, Some(30_000)),
            (97, 23, Some(30_000)),
            (98, 0, Some(45_000)),
            (99, 23, Some(45_000)),
            (100, 0, Some(135_000)),
            (100, 19, Some(135_000)),
            (100, 20, None),
            (101, 0, None),
        ] {
            assert_eq!(fee(day, hour, long_ago), expected, "day {day} {hour}:00");
        }
    }

    #[test]
    fn a_day_after_booking_it_is_free_unless_the_performance_is_near() {
        assert_eq!(fee(95, 12, DAY_MS - 1), Some(0));
        assert_eq!(fee(95, 12, DAY_MS), Some(30_000));
        assert_eq!(fee(97, 12, 0), Some(0));
        assert_eq!(fee(98, 12, 0), Some(45_000));
    }

    #[test]
    fn the_page_knows_when_it_becomes_dearer() {
        let policy = Policy::default();
        let starts_ms = on_korean_day(100, 19, 30);
        let changes = |day, hour, booked_ago| {
            let now_ms = on_korean_day(day, hour, 0);
            policy.changes_ms(&[100_000], now_ms - booked_ago, starts_ms, now_ms)
        };
        assert_eq!(changes(85, 12, 5 * DAY_MS), Some(on_korean_day(91, 0, 0)));
        assert_eq!(changes(95, 12, 0), Some(on_korean_day(96, 12, 0)), "the free day ends");
        assert_eq!(changes(100, 12, 5 * DAY_MS), Some(starts_ms), "then it is too late");
        assert_eq!(changes(101, 12, 5 * DAY_MS), None);
    }

    #[test]
    fn a_harsher_policy_than_the_law_is_noticed() {
        assert!(Policy::default().is_lawful());
        let flat = Tier { days_min: 10, rate: Rate::Flat { won: 4_000, percent_max: 10 } };
        let mut sites_own = Policy::default();
        sites_own.tiers[0] = flat;
        assert!(!sites_own.is_lawful(), "the law gives everything back ten days before");
        let mut no_last_day = Policy::default();
        no_last_day.tiers.pop();
        assert!(!no_last_day.is_lawful());
        let kinder =
            Policy { tiers: vec![Tier { days_min: 0, rate: Rate::Percent(0) }], ..Policy::default() };
        assert!(kinder.is_lawful());
        assert_eq!(Rate::Flat { won: 4_000, percent_max: 10 }.of(30_000), 3_000);
        assert_eq!(Rate::Flat { won: 4_000, percent_max: 10 }.of(90_000), 4_000);
    }

    #[test]
    fn a_transfer_has_until_the_next_evening_and_the_unpaid_come_back_in_one_night() {
        let starts_ms = on_korean_day(100, 19, 30);
        let due = |day, hour| transfer_due_ms(starts_ms, on_korean_day(day, hour, 0));
        assert_eq!(due(90, 0), Some(on_korean_day(91, 23, 0)));
        assert_eq!(due(90, 23), Some(on_korean_day(91, 23, 0)));
        assert_eq!(due(96, 12), Some(on_korean_day(97, 23, 0)));
        assert_eq!(due(97, 12), None, "the money could come a day and a half before");
        assert_eq!(unpaid_release_ms(on_korean_day(91, 23, 0)), on_korean_day(92, 2, 0));
    }

    #[test]
    fn cancelled_seats_come_back_together() {
        let at = |minute| on_korean_day(100, 12, minute);
        assert_eq!(release_ms(at(0)), at(10));
        assert_eq!(release_ms(at(8)), at(10));
        assert_eq!(release_ms(at(8) + 1), at(20));
        assert_eq!(release_ms(at(9)), at(20));
    }
}
