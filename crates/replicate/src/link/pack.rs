//! From a log's items to frames: small transactions whole, large ones in parts, empty ones together.
//!
//! Sans-IO. Always true here: order is kept; a frame that ends a transaction is sent no later than
//! [`Packer::settle`]; at most [`PART_COST`] and one change are held back.

use super::frame::Down;
use crate::{
    binlog::Item,
    transaction::{Change, End},
};

/// A part is closed when its changes cost this many bytes.
pub const PART_COST: usize = 512 * 1024;

/// What is held back.
#[derive(Debug, Default)]
pub struct Packer {
    changes: Vec<Change>,
    cost: usize,
    /// A part of the transaction under way has been sent.
    open: bool,
    /// The end of transactions of which nothing travels, not yet sent.
    passed: Option<End>,
}

impl Packer {
    /// Takes the next item; frames that are ready are added to `frames`.
    pub fn push(&mut self, item: Item, frames: &mut Vec<Down>) {
        match item {
            Item::Table { number, table } => {
                self.settle(frames);
                frames.push(Down::Table { number, table: (*table).clone() });
            }
            Item::Change(change) => {
                self.settle(frames);
                self.cost += change.cost();
                self.changes.push(change);
                if self.cost >= PART_COST {
                    self.open = true;
                    frames.push(self.part(None));
                }
            }
            Item::End(end) if self.changes.is_empty() && !self.open => {
                let heartbeat_at_ms =
                    end.heartbeat_at_ms.or(self.passed.and_then(|earlier| earlier.heartbeat_at_ms));
                self.passed = Some(End { heartbeat_at_ms, ..end });
            }
            Item::End(end) => {
                self.open = false;
                frames.push(self.part(Some(end)));
            }
            Item::Abandoned => {
                (self.changes, self.cost) = (Vec::new(), 0);
                if std::mem::take(&mut self.open) {
                    frames.push(Down::Abandoned);
                }
            }
        }
    }

    /// Nothing more is there at the moment: what was passed over is told now.
    pub fn settle(&mut self, frames: &mut Vec<Down>) {
        if let Some(end) = self.passed.take() {
            frames.push(Down::Part { changes: Vec::new(), end: Some(end) });
        }
    }

    fn part(&mut self, end: Option<End>) -> Down {
        self.cost = 0;
        Down::Part { changes: std::mem::take(&mut self.changes), end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::At;

    fn end(offset: u64) -> Item {
        Item::End(End { at: At { file: 1, offset }, heartbeat_at_ms: None })
    }

    fn change(bytes: usize) -> Item {
        Item::Change(Change::Savepoint("x".repeat(bytes)))
    }

    /// Each frame as changes and end, `!` for an abandoned transaction.
    fn check(items: Vec<Item>, expected: &[&str]) {
        let (mut packer, mut frames) = (Packer::default(), Vec::new());
        items.into_iter().for_each(|i| packer.push(i, &mut frames));
        packer.settle(&mut frames);
        let told: Vec<String> = frames
            .iter()
            .map(|f| match f {
                Down::Part { changes, end } => {
                    format!("{}@{}", changes.len(), end.map_or("-".into(), |e| e.at.offset.to_string()))
                }
                Down::Abandoned => "!".into(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn empty_transactions_are_told_together_and_never_overtake() {
        check(vec![end(1), end(2), change(1), end(3), end(4)], &["0@2", "1@3", "0@4"]);
    }

    #[test]
    fn a_large_transaction_goes_in_parts_and_can_be_abandoned() {
        check(vec![change(PART_COST), change(1), end(3)], &["1@-", "1@3"]);
        check(vec![change(PART_COST), end(3)], &["1@-", "0@3"]);
        check(vec![change(PART_COST), change(1), Item::Abandoned, end(5)], &["1@-", "!", "0@5"]);
        check(vec![change(1), Item::Abandoned, end(5)], &["0@5"]);
    }
}
