//! What is under way in one direction: bytes in order, each with the time at which it arrives.
//!
//! Always true here: nothing is delivered before its time or out of order, and no more bytes are under way than the
//! line was made for. The clock is the caller's.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

/// A bounded delay line.
#[derive(Debug)]
pub(super) struct Line {
    under_way: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    bytes_max: usize,
    end: Option<Instant>,
}

/// What is to be delivered next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// These bytes, now.
    Bytes(Bytes),
    /// The end of the stream, now.
    End,
    /// Something, then.
    Later(Instant),
    /// Nothing is under way.
    Nothing,
}

impl Line {
    pub(super) fn new(bytes_max: usize) -> Line {
        Line { under_way: VecDeque::new(), bytes: 0, bytes_max, end: None }
    }

    /// How many more bytes may be pushed.
    pub(super) fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.bytes)
    }

    /// Sends `bytes` off, to arrive at `due`.
    pub(super) fn push(&mut self, bytes: Bytes, due: Instant) {
        self.bytes += bytes.len();
        self.under_way.push_back((due, bytes));
    }

    /// Sends the end of the stream off, behind everything else.
    pub(super) fn end(&mut self, due: Instant) {
        self.end = Some(due);
    }

    /// Whether the end was sent off.
    pub(super) fn ended(&self) -> bool {
        self.end.is_some()
    }

    /// What is next at `now`.
    pub(super) fn next(&self, now: Instant) -> Delivery {
        match (self.under_way.front(), self.end) {
            (Some((due, bytes)), _) if *due <= now => Delivery::Bytes(bytes.clone()),
            (Some((due, _)), _) => Delivery::Later(*due),
            (None, Some(due)) if due <= now => Delivery::End,
            (None, Some(due)) => Delivery::Later(due),
            (None, None) => Delivery::Nothing,
        }
    }

    /// `length` bytes of what was next have arrived.
    pub(super) fn delivered(&mut self, length: usize) {
        if let Some((_, bytes)) = self.under_way.front_mut() {
            let length = length.min(bytes.len());
            bytes.advance(length);
            self.bytes -= length;
            if bytes.is_empty() {
                self.under_way.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn nothing_arrives_early_or_out_of_order_even_when_the_way_becomes_shorter() {
        let start = Instant::now();
        let mut line = Line::new(100);
        line.push(Bytes::from_static(b"slow"), start + ms(50));
        line.push(Bytes::from_static(b"quick"), start + ms(10));
        line.end(start + ms(11));
        assert_eq!(line.next(start + ms(49)), Delivery::Later(start + ms(50)));
        assert_eq!(line.next(start + ms(50)), Delivery::Bytes("slow".into()));
        line.delivered(3);
        assert_eq!(line.next(start + ms(50)), Delivery::Bytes("w".into()));
        line.delivered(1);
        assert_eq!(line.next(start + ms(50)), Delivery::Bytes("quick".into()));
        line.delivered(5);
        assert_eq!(line.next(start + ms(50)), Delivery::End);
    }

    #[test]
    fn the_room_is_what_is_not_under_way() {
        let now = Instant::now();
        let mut line = Line::new(10);
        assert_eq!((line.room(), line.next(now)), (10, Delivery::Nothing));
        line.push(Bytes::from_static(b"1234567"), now);
        assert_eq!(line.room(), 3);
        line.delivered(2);
        assert_eq!(line.room(), 5);
        line.delivered(99);
        assert_eq!((line.room(), line.next(now)), (10, Delivery::Nothing));
    }
}
