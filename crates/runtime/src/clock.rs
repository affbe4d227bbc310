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
