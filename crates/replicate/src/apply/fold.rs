//! Folding: what a run of row changes comes to, per table and primary key.
//!
//! Pure. Put changes in, in order; what comes out says of each key what must have stood there before the run and
//! what must stand there behind it. A run that contradicts itself (a row comes that is there, one changes that
//! went, an image is not the one that the run itself made) is a [`Clash`]: such a history no primary can have
//! written, so it is left to the exact way, which names the row.
//!
//! Keys are told apart byte by byte. Two keys that only a collation takes for the same (`a` and `A`) are two here,
//! and that is sound, because whoever writes the outcome down does it in the order deletes, updates, inserts: when a
//! legal run ends with a row under one of them, the other one is free by then. A changed primary key is a row that
//! goes and a row that comes.

use std::collections::HashMap;

use crate::transaction::{Row, Rows, Value};

/// What a run comes to for one key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Net<'a> {
    /// Nothing stood there; this row shall.
    Insert(&'a Row),
    /// The first row stood there; the second one shall.
    Update(&'a Row, &'a Row),
    /// This row stood there; none shall.
    Delete(&'a Row),
    /// This row stood there, and shall again.
    Keep(&'a Row),
    /// Nothing stood under this row's key, and nothing shall.
    Absent(&'a Row),
}

/// A run contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Clash {
    #[error("a row comes under a key that the batch itself has filled")]
    Exists,
    #[error("a row changes or goes that the batch itself has taken away")]
    Gone,
    #[error("a row changes or goes that is not as the batch itself has left it")]
    Differs,
}

#[derive(Debug)]
struct Entry<'a> {
    before: Option<&'a Row>,
    now: Option<&'a Row>,
    /// Some row with this key, if there is none before and none now.
    sample: &'a Row,
}

/// The run of one table's changes.
#[derive(Debug)]
pub(super) struct Fold<'a> {
    key: &'a [usize],
    places: HashMap<Box<[u8]>, usize>,
    entries: Vec<Entry<'a>>,
    scratch: Vec<u8>,
}

impl<'a> Fold<'a> {
    /// An empty run. `key` says where the primary key's columns stand in a row; there must be some.
    pub(super) fn new(key: &'a [usize]) -> Fold<'a> {
        Fold { key, places: HashMap::new(), entries: Vec::new(), scratch: Vec::new() }
    }

    /// Adds changes. After a clash the value is of no use any more.
    pub(super) fn add(&mut self, rows: &'a Rows) -> Result<(), Clash> {
        match rows {
            Rows::Insert(rows) => rows.iter().try_for_each(|row| self.insert(row)),
            Rows::Delete(rows) => rows.iter().try_for_each(|row| self.change(row, None)),
            Rows::Update(rows) => rows.iter().try_for_each(|(before, after)| {
                if same_key(self.key, before, after) {
                    return self.change(before, Some(after));
                }
                self.change(before, None)?;
                self.insert(after)
            }),
        }
    }

    /// What it comes to, in the order in which the keys were first met.
    pub(super) fn nets(&self) -> impl Iterator<Item = Net<'a>> {
        self.entries.iter().map(|entry| match (entry.before, entry.now) {
            (None, None) => Net::Absent(entry.sample),
            (None, Some(now)) => Net::Insert(now),
            (Some(before), None) => Net::Delete(before),
            (Some(before), Some(now)) if before == now => Net::Keep(before),
            (Some(before), Some(now)) => Net::Update(before, now),
        })
    }

    fn insert(&mut self, row: &'a Row) -> Result<(), Clash> {
        match self.entry(row) {
            Some(entry) if entry.now.is_some() => Err(Clash::Exists),
            Some(entry) => {
                entry.now = Some(row);
                Ok(())
            }
            None => {
                self.entries.push(Entry { before: None, now: Some(row), sample: row });
                Ok(())
            }
        }
    }

    fn change(&mut self, before: &'a Row, after: Option<&'a Row>) -> Result<(), Clash> {
        match self.entry(before) {
            Some(entry) => match entry.now {
                None => Err(Clash::Gone),
                Some(now) if now != before => Err(Clash::Differs),
                Some(_) => {
                    entry.now = after;
                    Ok(())
                }
            },
            None => {
                self.entries.push(Entry { before: Some(before), now: after, sample: before });
                Ok(())
            }
        }
    }

    /// The entry of a row's key. If there is none, its place is taken for the entry that is pushed next.
    fn entry(&mut self, row: &Row) -> Option<&mut Entry<'a>> {
        self.scratch.clear();
        for column in self.key {
            push_key(&mut self.scratch, row.get(*column).unwrap_or(&Value::Null));
        }
        if let Some(place) = self.places.get(self.scratch.as_slice()) {
            return self.entries.get_mut(*place);
        }
        self.places.insert(self.scratch.as_slice().into(), self.entries.len());
        None
    }
}

fn same_key(key: &[usize], a: &Row, b: &Row) -> bool {
    key.iter().all(|column| a.get(*column) == b.get(*column))
}

/// Adds a value so that no two different sequences of values give the same bytes.
fn push_key(out: &mut Vec<u8>, value: &Value) {
    let mut fixed = |tag: u8, bytes: [u8; 8]| {
        out.push(tag);
        out.extend_from_slice(&bytes);
    };
    match value {
        Value::Null => out.push(0),
        Value::Signed(n) => fixed(1, n.to_le_bytes()),
        Value::Unsigned(n) => fixed(2, n.to_le_bytes()),
        Value::Float(n) => fixed(3, f64::from(*n).to_bits().to_le_bytes()),
        Value::Double(n) => fixed(4, n.to_bits().to_le_bytes()),
        Value::Decimal(text) | Value::Temporal(text) => {
            fixed(5, (text.len() as u64).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        Value::Bytes(bytes) => {
            fixed(6, (bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests;
