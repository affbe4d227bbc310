//! The clocks, by what they promise.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment on a clock that never jumps and runs on while the machine is suspended (`CLOCK_BOOTTIME`).
///
/// Leases are measured on it: a process that slept through its lease must find it expired. Comparable only within
/// one machine and boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Boot(Duration);

impl Boot {
    /// Now.
    pub fn now() -> Boot {
        let t = clock_gettime(ClockId::Boottime);
        Boot(Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0)))
    }

    /// Time passed since this moment.
    pub fn elapsed(self) -> Duration {
        Boot::now().since(self)
    }

    /// Time from `earlier` to this moment; zero if `earlier` is later.
    pub fn since(self, earlier: Boot) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Milliseconds since boot: the number that sans-IO cores take as `now`.
    pub fn as_ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl std::ops::Add<Duration> for Boot {
    type Output = Boot;
    fn add(self, d: Duration) -> Boot {
        Boot(self.0.saturating_add(d))
    }
}

/// The wall clock, for people and for records. It jumps; no decision reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall(Duration);

impl Wall {
    /// Now.
    pub fn now() -> Wall {
        let t = clock_gettime(ClockId::Realtime);
        Wall(Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0)))
    }

    /// Milliseconds since 1970 UTC.
    pub fn as_ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// Seconds since 1970 UTC.
    pub fn as_s(self) -> u64 {
        self.0.as_secs()
    }
}

/// Year, month and day, in UTC, of a day counted from 1970-01-01; after Howard Hinnant's `civil_from_days`: years begin in
/// March, so that the leap day is the last.
pub fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_based = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_based + 2) / 5 + 1;
    let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (days, want) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_780, (2026, 11, 23)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), want);
        }
    }
}
