//! Streams, positions in them, and watermarks.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Serialize};

/// One server's binary log from one beginning: the server's identity and the log's incarnation.
///
/// A reset log, a restored server or another server behind the same address is another stream. The text is
/// opaque; only equality means anything. An empty one is nobody's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(pub String);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in a primary's binary log, always just behind a complete transaction or event group.
///
/// File numbers compare as numbers (`binlog.000009` < `binlog.1000000`). The offset is 64 bits wide because the
/// event header's own u32 wraps at 4 GiB. Positions of different streams never compare: there is no `Ord`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Whose log, in which incarnation.
    pub stream: StreamId,
    /// The number behind the dot of the file's name.
    pub file: u64,
    /// Bytes from the beginning of that file.
    pub offset: u64,
}

impl Position {
    /// How two positions of one stream stand; `None` across streams.
    pub fn compare(&self, other: &Position) -> Option<Ordering> {
        (self.stream == other.stream).then(|| (self.file, self.offset).cmp(&(other.file, other.offset)))
    }

    /// Whether this position is at or behind `goal` in the same stream.
    pub fn has_reached(&self, goal: &Position) -> bool {
        matches!(self.compare(goal), Some(Ordering::Equal | Ordering::Greater))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.stream, self.file, self.offset)
    }
}

/// The position up to which the standby has durably applied everything.
///
/// Sent by the standby's agent after its applying session read the OK of a COMMIT, never earlier. Watermarks may
/// arrive late, twice or out of order; they stay true, because what is applied in an epoch stays applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Watermark {
    /// The epoch in which the applying transaction checked its row.
    pub epoch: crate::Epoch,
    /// Which life of the standby's data applied it.
    pub incarnation: crate::Incarnation,
    /// Everything before this is durable on the standby.
    pub position: Position,
}

impl Watermark {
    /// Whether this watermark proves that `goal`, written in `epoch`, is durable on the standby.
    pub fn covers(&self, epoch: crate::Epoch, goal: &Position) -> bool {
        self.epoch == epoch && self.position.has_reached(goal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Incarnation};

    fn at(stream: &str, file: u64, offset: u64) -> Position {
        Position { stream: StreamId(stream.into()), file, offset }
    }

    #[test]
    fn positions_compare_by_number_and_only_within_a_stream() {
        assert_eq!(at("s", 10, 4).compare(&at("s", 9, 900)), Some(Ordering::Greater));
        assert_eq!(at("s", 1, u64::from(u32::MAX) + 1).compare(&at("s", 1, 7)), Some(Ordering::Greater));
        assert_eq!(at("s", 1, 4).compare(&at("t", 1, 4)), None);
        assert!(!at("t", 9, 9).has_reached(&at("s", 1, 1)), "another stream proves nothing");
    }

    #[test]
    fn a_watermark_covers_nothing_of_another_epoch() {
        let mark = Watermark { epoch: Epoch(2), incarnation: Incarnation(1), position: at("s", 3, 100) };
        assert!(mark.covers(Epoch(2), &at("s", 3, 100)));
        assert!(!mark.covers(Epoch(2), &at("s", 3, 101)));
        assert!(!mark.covers(Epoch(1), &at("s", 3, 1)));
        assert!(!mark.covers(Epoch(3), &at("s", 3, 1)));
    }
}
