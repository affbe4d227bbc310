//! Values that many visitors say alike, and in which nothing was found: paths, and what browsers say of themselves.
//!
//! A browser says who it is in a hundred bytes full of brackets and semicolons, and says the same with every request. What
//! was found to hold nothing once holds nothing as long as the ACL is the same. Remembered is not the value but 128 bits of
//! it, hashed with keys that nobody outside knows: to have an attack taken for a remembered value is to guess them.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// How many values are remembered; each takes the place of another one.
const SLOTS: usize = 4_096;
/// Longer values are rare, and are looked at each time.
const LENGTH_MAX: usize = 1_024;

/// What stands for a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Print([u64; 2]);

/// See the module. Threads share it without a lock: two halves that were written by two threads are nobody's print.
pub(crate) struct Memo {
    keys: [RandomState; 2],
    slots: Box<[[AtomicU64; 2]]>,
}

impl Memo {
    pub(crate) fn new() -> Self {
        Self {
            keys: [RandomState::new(), RandomState::new()],
            slots: (0..SLOTS).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect(),
        }
    }

    /// What stands for the value; `None`: it is not remembered.
    pub(crate) fn print(&self, value: &[u8]) -> Option<Print> {
        let half = |key: &RandomState| {
            let mut hasher = key.build_hasher();
            hasher.write(value);
            hasher.finish()
        };
        (value.len() <= LENGTH_MAX).then(|| Print(self.keys.each_ref().map(half)))
    }

    /// Whether nothing was found in the value where it stands in this field.
    pub(crate) fn knows(&self, field: usize, print: Print) -> bool {
        let (slot, Print(halves)) = self.place(field, print);
        slot[0].load(Relaxed) == halves[0] && slot[1].load(Relaxed) == halves[1]
    }

    /// Nothing was found in it.
    pub(crate) fn remember(&self, field: usize, print: Print) {
        let (slot, Print(halves)) = self.place(field, print);
        slot[0].store(halves[0], Relaxed);
        slot[1].store(halves[1], Relaxed);
    }

    /// What is asked differs from field to field, so a value has a print in each.
    fn place(&self, field: usize, Print([first, second]): Print) -> (&[AtomicU64; 2], Print) {
        let first = first.wrapping_add((field as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // The remainder is smaller than the number of slots.
        let at = usize::try_from(first % SLOTS as u64).unwrap_or(0);
        (&self.slots[at], Print([first, second]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_known_in_the_field_in_which_nothing_was_found() {
        let memo = Memo::new();
        let print = memo.print(b"Mozilla/5.0").unwrap();
        assert_eq!(memo.print(b"Mozilla/5.0"), Some(print));
        assert!(!memo.knows(1, print));
        memo.remember(1, print);
        assert!(memo.knows(1, print) && !memo.knows(2, print));
        let other = memo.print(b"Mozilla/5.1").unwrap();
        assert!(!memo.knows(1, other));
        assert_eq!(memo.print(&[b'a'; LENGTH_MAX + 1]), None);
    }
}
