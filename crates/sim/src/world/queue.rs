//! What is to happen, in the order of its time, and of its coming where times are equal.
//!
//! What happens is large and moved once in and once out; what is sorted is three numbers.

use std::{cmp::Reverse, collections::BinaryHeap};

/// The queue.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// When, the how manieth, and where it is kept.
    order: BinaryHeap<Reverse<(u64, u64, usize)>>,
    pushed: u64,
    kept: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { order: BinaryHeap::new(), pushed: 0, kept: Vec::new(), free: Vec::new() }
    }
}

impl<T> Queue<T> {
    /// It is to happen then.
    pub(super) fn push(&mut self, at: u64, what: T) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.kept.push(None);
            self.kept.len() - 1
        });
        if let Some(kept) = self.kept.get_mut(place) {
            *kept = Some(what);
        }
        self.pushed += 1;
        self.order.push(Reverse((at, self.pushed, place)));
    }

    /// The next, and when.
    pub(super) fn pop(&mut self) -> Option<(u64, T)> {
        let Reverse((at, _, place)) = self.order.pop()?;
        let what = self.kept.get_mut(place)?.take()?;
        self.free.push(place);
        Some((at, what))
    }
}
