//! From a batch to packets: what is folded, what goes one by one, and in which statements.
//!
//! Pure: no connection, no clock; it runs while the server is busy with the batch before. Consecutive changes that
//! may be folded become one *merged* segment; what may not (a foreign key that the server follows, a table without
//! primary key, a transaction with savepoints, huge rows) goes the *exact* way between them, every row as a
//! statement of its own, in order.
//!
//! A merged segment asks and says, of each table: are the rows as they must be (count and checksum of all that
//! change, go or stay, locked for the rest of the transaction); DELETE by key; is nothing where nothing may be;
//! INSERT … ON DUPLICATE KEY UPDATE for changed rows, each of which is known to be there; INSERT. An update that
//! touches another unique key goes as a DELETE and an INSERT, so that values may change hands. Nothing that is
//! found otherwise can be overwritten: a key that is taken is an error, and everything else is told by a count or
//! a sum before COMMIT is sent. Whatever does not come out right is rolled back and done the exact way, which
//! decides whether there is a conflict, and names it.

use std::{collections::HashMap, sync::Arc};

use super::{
    fold::{Clash, Fold, Net},
    sql::{About, Expect, Packet, Packets, Want, insert_head, push_row},
    target::Target,
};
use crate::{
    checkpoint::Batch,
    transaction::{Change, Row, Rows},
};

/// One statement names at most so many rows, so that servers still look them up by key.
const ROWS_MAX: usize = 500;

/// One statement is at most about this long.
const STATEMENT_BYTES_MAX: usize = 512 * 1024;

/// Fewer rows than this go one by one: that is as fast.
const FOLDED_ROWS_MIN: usize = 6;

/// The tables of this database that a batch's changes name.
pub(super) type Targets = HashMap<u32, Arc<Target>>;

/// A batch, written down.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) packets: Vec<Packet>,
    /// Tables whose changes are folded in it.
    pub(super) folded: Vec<Arc<Target>>,
    /// Row changes that came.
    pub(super) rows: u64,
    /// Row changes that folding saved.
    pub(super) rows_saved: u64,
}

/// How a batch is to be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Folded where that may be.
    Merged,
    /// One by one.
    Exact,
}

/// Writes a batch down. `None`: a table is named that `targets` does not hold.
pub(super) fn prepare(
    batch: &Batch,
    targets: &Targets,
    way: Way,
    packet_bytes_max: usize,
) -> Option<Prepared> {
    let mut prepared = Prepared::default();
    for change in &batch.changes {
        if let Change::Rows { table, rows, .. } = change {
            targets.get(table)?;
            prepared.rows += count(rows);
        }
    }
    let mut packets = Packets::new(packet_bytes_max);
    let merged = match way {
        Way::Merged => merge(batch, targets, &mut packets, &mut prepared),
        Way::Exact => Err(Clash::Differs),
    };
    if let Err(clash) = merged {
        if way == Way::Merged {
            tracing::info!("a batch goes one by one: {clash}");
        }
        (prepared.folded, prepared.rows_saved) = (Vec::new(), 0);
        packets = Packets::new(packet_bytes_max);
        exact(&batch.changes, 0, targets, &mut packets);
    }
    prepared.packets = packets.into_all();
    Some(prepared)
}

fn count(rows: &Rows) -> u64 {
    let count = match rows {
        Rows::Insert(rows) | Rows::Delete(rows) => rows.len(),
        Rows::Update(rows) => rows.len(),
    };
    count as u64
}

/// The changes one by one. `first` is the number of the first of them in the batch.
fn exact(changes: &[Change], first: usize, targets: &Targets, packets: &mut Packets) {
    let mut checks = true;
    let set = |packets: &mut Packets, checks: bool| {
        let set = format!("SET foreign_key_checks={}", u8::from(checks));
        packets.room_for(set.len()).push(&set, 0);
    };
    for (i, change) in changes.iter().enumerate() {
        match change {
            Change::Rows { table, foreign_key_checks, rows } => {
                let Some(target) = targets.get(table) else { continue };
                if checks != *foreign_key_checks {
                    checks = *foreign_key_checks;
                    set(packets, checks);
                }
                packets.rows(first + i, rows, target);
            }
            Change::Savepoint(sql) => packets.room_for(sql.len()).push(sql, 0),
            Change::Statement(_) => {} // never part of a batch
        }
    }
    if !checks {
        set(packets, true);
    }
}

/// Everything in order, folded where that may be.
fn merge(
    batch: &Batch,
    targets: &Targets,
    packets: &mut Packets,
    prepared: &mut Prepared,
) -> Result<(), Clash> {
    let folds = foldable(batch, targets);
    let mut at = 0;
    while at < folds.len() {
        let run = folds[at..].iter().take_while(|f| **f == folds[at]).count();
        let changes = &batch.changes[at..at + run];
        let rows: u64 =
            changes.iter().map(|c| if let Change::Rows { rows, .. } = c { count(rows) } else { 0 }).sum();
        if folds[at] && rows >= FOLDED_ROWS_MIN as u64 {
            merge_run(changes, targets, packets, prepared)?;
        } else {
            exact(changes, at, targets, packets);
        }
        at += run;
    }
    Ok(())
}

/// Which changes may be folded. A savepoint never is, so nothing is folded across one, and ROLLBACK TO takes back
/// what stands between the two in the log.
fn foldable(batch: &Batch, targets: &Targets) -> Vec<bool> {
    batch
        .changes
        .iter()
        .map(|change| match change {
            Change::Rows { table, foreign_key_checks, rows } => {
                targets.get(table).is_some_and(|target| target.folds(rows, *foreign_key_checks))
            }
            Change::Savepoint(_) | Change::Statement(_) => false,
        })
        .collect()
}

/// One merged segment.
fn merge_run(
    changes: &[Change],
    targets: &Targets,
    packets: &mut Packets,
    prepared: &mut Prepared,
) -> Result<(), Clash> {
    // In the order of their first changes. By name: a table that was described twice has two numbers.
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut folds: Vec<(&Arc<Target>, Fold<'_>, u64)> = Vec::new();
    for change in changes {
        let Change::Rows { table, rows, .. } = change else { continue };
        let Some(target) = targets.get(table) else { continue };
        let place = *places.entry(&target.name).or_insert_with(|| {
            folds.push((target, Fold::new(&target.key), 0));
            folds.len() - 1
        });
        let Some((_, fold, rows_in)) = folds.get_mut(place) else { continue };
        fold.add(rows)?;
        *rows_in += count(rows);
    }
    let checks_matter =
        folds.iter().any(|(target, ..)| target.folding.as_ref().is_some_and(|f| f.foreign_keys));
    if checks_matter {
        packets.room_for(32).push("SET foreign_key_checks=0", 0);
    }
    for (target, fold, rows_in) in &folds {
        let known = prepared.folded.iter().position(|t| Arc::ptr_eq(t, target));
        let number = known.unwrap_or_else(|| {
            prepared.folded.push(Arc::clone(target));
            prepared.folded.len() - 1
        });
        let written = Writing::of(target, fold, number).write(packets);
        prepared.rows_saved += rows_in.saturating_sub(written);
    }
    if checks_matter {
        packets.room_for(32).push("SET foreign_key_checks=1", 0);
    }
    Ok(())
}

/// What is to be written of one table, by statement.
struct Writing<'a> {
    target: &'a Target,
    checksum: &'a str,
    /// The table's number among the folded ones.
    number: usize,
    /// Must stand there exactly so.
    there: Vec<&'a Row>,
    deleted: Vec<&'a Row>,
    absent: Vec<&'a Row>,
    updated: Vec<&'a Row>,
    inserted: Vec<&'a Row>,
}

impl<'a> Writing<'a> {
    fn of(target: &'a Target, fold: &Fold<'a>, number: usize) -> Writing<'a> {
        let checksum = target.folding.as_ref().map_or("", |f| f.checksum.as_str());
        let mut all = Writing {
            target,
            checksum,
            number,
            there: Vec::new(),
            deleted: Vec::new(),
            absent: Vec::new(),
            updated: Vec::new(),
            inserted: Vec::new(),
        };
        for net in fold.nets() {
            match net {
                Net::Insert(row) => all.inserted.push(row),
                Net::Absent(row) => all.absent.push(row),
                Net::Keep(row) => all.there.push(row),
                Net::Delete(row) => {
                    all.there.push(row);
                    all.deleted.push(row);
                }
                Net::Update(before, after) => {
                    all.there.push(before);
                    if target.touches_unique(before, after) {
                        all.deleted.push(before);
                        all.inserted.push(after);
                    } else {
                        all.updated.push(after);
                    }
                }
            }
        }
        all
    }

    /// Adds the statements, in the order that is told at the top; returns how many rows they write.
    fn write(&self, packets: &mut Packets) -> u64 {
        let target = self.target;
        let select = |what: &str| {
            format!("SELECT COUNT(*),{what} FROM {} FORCE INDEX (PRIMARY) WHERE ", target.name).into_bytes()
        };
        let mut scratch = Vec::new();
        let (folded, absent) = (About::Folded(self.number), About::Absent(self.number));
        let check = select(&format!("SUM({})", self.checksum));
        self.by_key(packets, &self.there, (&check, b" FOR UPDATE"), folded, |rows| {
            let sum = rows.iter().map(|row| target.checksum(row, &mut scratch)).sum();
            Want::Rows { count: rows.len() as u64, sum }
        });
        let delete = format!("DELETE FROM {} WHERE ", target.name).into_bytes();
        self.by_key(packets, &self.deleted, (&delete, b""), folded, |rows| Want::Affected(rows.len() as u64));
        let check = select("0");
        self.by_key(packets, &self.absent, (&check, b" FOR UPDATE"), absent, |_| Want::Rows {
            count: 0,
            sum: 0,
        });
        // A number that was given to a row that went is never given again: the counter must have seen it.
        if let Some(row) = target.highest(&self.absent) {
            self.values(packets, &[row], b"", 1, absent);
            self.by_key(packets, &[row], (&delete, b""), absent, |_| Want::Affected(1));
        }
        let set: Vec<String> = target
            .written()
            .filter(|column| !target.key.contains(&column.index))
            .map(|column| format!("{0}=VALUES({0})", column.name))
            .collect();
        let set = format!(" ON DUPLICATE KEY UPDATE {}", set.join(","));
        // A changed row counts twice; one that was not there, or that the update left as it was, once.
        self.values(packets, &self.updated, set.as_bytes(), 2, folded);
        self.values(packets, &self.inserted, b"", 1, folded);
        (self.deleted.len() + self.updated.len() + self.inserted.len()) as u64
    }

    /// Statements that name rows by their keys.
    fn by_key(
        &self,
        packets: &mut Packets,
        rows: &[&Row],
        (head, tail): (&[u8], &[u8]),
        about: About,
        mut want: impl FnMut(&[&Row]) -> Want,
    ) {
        let names: Vec<&str> = self.target.key().map(|c| c.name.as_str()).collect();
        let several = names.len() > 1;
        let names = if several { format!("({})", names.join(",")) } else { names.concat() };
        let mut first = 0;
        while first < rows.len() {
            let mut sql = head.to_vec();
            sql.extend_from_slice(names.as_bytes());
            sql.extend_from_slice(b" IN (");
            let mut end = first;
            while end < rows.len() && end - first < ROWS_MAX && sql.len() < STATEMENT_BYTES_MAX {
                if end > first {
                    sql.push(b',');
                }
                if several {
                    sql.push(b'(');
                }
                for (n, column) in self.target.key().enumerate() {
                    if n > 0 {
                        sql.push(b',');
                    }
                    column.literal(&mut sql, rows[end]);
                }
                if several {
                    sql.push(b')');
                }
                end += 1;
            }
            sql.push(b')');
            sql.extend_from_slice(tail);
            let want = want(&rows[first..end]);
            packets.room_for(sql.len()).add(&sql, Expect { want, about });
            first = end;
        }
    }

    /// INSERTs of whole rows.
    fn values(&self, packets: &mut Packets, rows: &[&Row], tail: &[u8], affected_each: u64, about: About) {
        let head = insert_head(self.target);
        let mut first = 0;
        while first < rows.len() {
            let mut sql = head.clone();
            let mut end = first;
            while end < rows.len() && sql.len() < STATEMENT_BYTES_MAX {
                if end > first {
                    sql.push(b',');
                }
                push_row(&mut sql, rows[end], self.target);
                end += 1;
            }
            sql.extend_from_slice(tail);
            let want = Want::Affected(affected_each * (end - first) as u64);
            packets.room_for(sql.len()).add(&sql, Expect { want, about });
            first = end;
        }
    }
}
