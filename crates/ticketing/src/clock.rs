//! The time that the rules are given: the wall clock, or one that a test moves.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use runtime::clock::Wall;

/// Milliseconds since 1970 UTC, `ahead` of the wall clock by as much as a test likes.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    ahead_ms: Arc<AtomicU64>,
}

impl Clock {
    /// Now.
    pub fn now_ms(&self) -> u64 {
        Wall::now().as_ms() + self.ahead_ms.load(Ordering::Relaxed)
    }

    /// Moves this clock and its clones forward, so that a test need not wait for a deadline.
    pub fn advance(&self, ms: u64) {
        self.ahead_ms.fetch_add(ms, Ordering::Relaxed);
    }
}
