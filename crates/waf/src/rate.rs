//! Rate-based rules: how often each key came within the window, in bounded memory.
//!
//! A window is ten slices; a key's rate is the sum of the slices that lie in it, the oldest one in part. Counts are exact
//! for every key that is in the table. A table holds [`KEYS_MAX`] keys; when a new key comes and the table is full, eight
//! keys are looked at, and the one with the smallest rate makes room. So an attacker who changes keys
//! can only push out keys that do little, and **no key is ever counted for another**: what is approximate errs towards
//! letting through. AWS's own counts are approximate, too, and it limits the 10,000 busiest keys.
//!
//! Time is an argument. Memory: about 130 bytes a key, 4.3 MB a rule at most.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Mutex,
};

/// Keys that a rule keeps.
pub const KEYS_MAX: usize = 32_768;
const SLICES: usize = 10;
/// Keys that are looked at to find one that makes room.
const SAMPLE: usize = 8;

/// The tables of an engine's rate-based rules. Threads share it.
pub(crate) struct Rates {
    tables: Vec<Mutex<Table>>,
    hasher: RandomState,
}

struct Table {
    slice_ms: u64,
    keys_max: usize,
    /// By the key's hash: where it stands.
    index: HashMap<u64, usize>,
    entries: Vec<Entry>,
    /// Where the next search for room begins.
    hand: usize,
}

struct Entry {
    key: u64,
    /// The newest slice's number since 1970.
    slice: u64,
    counts: [u32; SLICES + 1],
}

impl Rates {
    /// A table for each window, in seconds.
    pub(crate) fn new(windows_s: impl Iterator<Item = u64>) -> Self {
        Self {
            tables: windows_s.map(|w| Mutex::new(Table::new(w, KEYS_MAX))).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Counts one request of this key; how many came within the window, this one included.
    pub(crate) fn count(&self, rule: usize, key: &[u8], now_ms: u64) -> u64 {
        let hash = self.hasher.hash_one(key);
        let Some(table) = self.tables.get(rule) else { return 0 };
        // A thread that panicked while it counted has spoilt at most a count.
        let mut table = table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        table.count(hash, now_ms)
    }
}

impl Table {
    fn new(window_s: u64, keys_max: usize) -> Self {
        let slice_ms = (window_s * 1_000 / SLICES as u64).max(1);
        Self { slice_ms, keys_max, index: HashMap::new(), entries: Vec::new(), hand: 0 }
    }

    fn count(&mut self, key: u64, now_ms: u64) -> u64 {
        let slice = now_ms / self.slice_ms;
        let at = match self.index.get(&key) {
            Some(&at) => at,
            None => self.insert(key, slice),
        };
        let part = now_ms % self.slice_ms;
        let slice_ms = self.slice_ms;
        let entry = &mut self.entries[at];
        entry.advance(slice);
        entry.counts[0] = entry.counts[0].saturating_add(1);
        entry.rate(part, slice_ms)
    }

    fn insert(&mut self, key: u64, slice: u64) -> usize {
        let fresh = Entry { key, slice, counts: [0; SLICES + 1] };
        if self.entries.len() < self.keys_max {
            self.entries.push(fresh);
            self.index.insert(key, self.entries.len() - 1);
            return self.entries.len() - 1;
        }
        let mut victim = self.hand % self.entries.len();
        let mut least = u64::MAX;
        for _ in 0..SAMPLE {
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &mut self.entries[self.hand];
            entry.advance(slice);
            let rate = entry.rate(0, self.slice_ms);
            if rate < least {
                (victim, least) = (self.hand, rate);
            }
        }
        self.index.remove(&self.entries[victim].key);
        self.entries[victim] = fresh;
        self.index.insert(key, victim);
        victim
    }
}

impl Entry {
    /// Moves the slices on to `slice`. A clock that went back counts into the newest slice.
    fn advance(&mut self, slice: u64) {
        let steps = usize::try_from(slice.saturating_sub(self.slice)).unwrap_or(usize::MAX);
        if steps == 0 {
            return;
        }
        if steps > SLICES {
            self.counts = [0; SLICES + 1];
        } else {
            self.counts.rotate_right(steps);
            self.counts[..steps].fill(0);
        }
        self.slice = slice;
    }

    /// Requests within the window; of the oldest slice the part that still lies in it.
    fn rate(&self, part_ms: u64, slice_ms: u64) -> u64 {
        let whole: u64 = self.counts[..SLICES].iter().map(|&c| u64::from(c)).sum();
        let left = slice_ms.saturating_sub(part_ms);
        whole + u64::from(self.counts[SLICES]) * left / slice_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_rises_with_requests_and_falls_with_time() {
        let mut table = Table::new(10, 4);
        for n in 1..=50 {
            assert_eq!(table.count(1, 1_000_000 + n * 10), n);
        }
        assert_eq!(table.count(1, 1_004_000), 51);
        // Ten and a half seconds later half of the first slice has left, and the rest soon will.
        let later = table.count(1, 1_010_500);
        assert!((20..=40).contains(&later), "{later}");
        assert_eq!(table.count(1, 1_016_000), 2);
        assert_eq!(table.count(1, 9_000_000), 1);
    }

    #[test]
    fn many_keys_push_out_only_those_that_do_little() {
        let mut table = Table::new(60, 1_000);
        let mut now = 5_000_000;
        for round in 0..200u64 {
            now += 100;
            let heavy = (0..10).map(|_| table.count(7, now)).max().unwrap_or(0);
            assert_eq!(heavy, (round + 1) * 10, "nothing of it was forgotten, nothing of others was added");
            for key in 0..200 {
                assert_eq!(table.count(1_000 + round * 200 + key, now), 1);
            }
        }
        assert!(table.entries.len() <= 1_000 && table.index.len() <= 1_000);
    }

    #[test]
    fn a_clock_that_goes_back_takes_nothing_back() {
        let mut table = Table::new(10, 4);
        assert_eq!(table.count(1, 50_000), 1);
        assert_eq!(table.count(1, 40_000), 2);
    }
}
