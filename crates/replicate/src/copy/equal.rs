//! Holds a range of a table here against what a chunk says, and makes it so.

use std::collections::{HashMap, HashSet};

use model::agent::Wrong;
use mysql_async::{Conn, prelude::Queryable};

use super::{
    Bound, bound, bytes,
    read::{self, Shape},
};
use crate::{
    apply::{Target, told, upsert},
    binlog::Charsets,
    database::DatabaseError,
    transaction::{Row, Table},
};

/// So many rows of ours are held in memory at a time.
const OURS_MAX: u64 = 4_096;

/// One statement names at most so many rows to delete.
const DELETES_MAX: usize = 200;

/// A row that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// In which way.
    pub wrong: Wrong,
    /// Its key, in words.
    pub key: String,
}

/// A range, compared.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// Places in the chunk's rows.
    missing: Vec<usize>,
    different: Vec<usize>,
    /// Rows of ours.
    extra: Vec<Row>,
}

impl Comparison {
    pub(crate) fn is_equal(&self) -> bool {
        self.missing.is_empty() && self.different.is_empty() && self.extra.is_empty()
    }

    /// Each row that differs. `table` tells what the columns hold.
    pub(crate) fn differences(&self, table: &Table, rows: &[Row]) -> Vec<Difference> {
        let theirs = |places: &[usize], wrong| -> Vec<Difference> {
            places
                .iter()
                .filter_map(|i| rows.get(*i))
                .map(|row| Difference { wrong, key: key_told(table, row) })
                .collect()
        };
        let mut all = theirs(&self.missing, Wrong::MissingHere);
        all.extend(theirs(&self.different, Wrong::Different));
        all.extend(
            self.extra.iter().map(|row| Difference { wrong: Wrong::ExtraHere, key: key_told(table, row) }),
        );
        all
    }
}

/// A row's key in words; of a table without one, the whole row.
fn key_told(table: &Table, row: &Row) -> String {
    told(table, row, !table.key.is_empty())
}

/// Compares the range behind `from` up to `to` here with `rows`. Not more than a part of ours is held in memory.
pub(crate) async fn compare(
    conn: &mut Conn,
    charsets: &Charsets,
    shape: &Shape,
    (from, to): (Option<&Bound>, Option<&Bound>),
    rows: &[Row],
) -> Result<Comparison, DatabaseError> {
    if !shape.has_key() {
        return compare_without_key(conn, charsets, shape, rows).await;
    }
    let mut comparison = Comparison::default();
    let mut theirs: Option<HashMap<Vec<u8>, usize>> = None;
    let mut seen = HashSet::new();
    let mut cursor = from.cloned();
    loop {
        let (table, ours) = read::range(conn, charsets, shape, (cursor.as_ref(), to), Some(OURS_MAX)).await?;
        let key = |row: &Row| bytes(&bound(&table, row).0.into_iter().map(|(value, _)| value).collect());
        let theirs =
            theirs.get_or_insert_with(|| rows.iter().enumerate().map(|(i, row)| (key(row), i)).collect());
        let (count, last) = (ours.len(), ours.last().map(|row| bound(&table, row)));
        for row in ours {
            match theirs.get(&key(&row)) {
                None => comparison.extra.push(row),
                Some(i) => {
                    seen.insert(*i);
                    if rows.get(*i).is_none_or(|theirs| bytes(theirs) != bytes(&row)) {
                        comparison.different.push(*i);
                    }
                }
            }
        }
        match last {
            Some(last) if u64::try_from(count).unwrap_or(u64::MAX) >= OURS_MAX => cursor = Some(last),
            _ => break,
        }
    }
    comparison.missing = (0..rows.len()).filter(|i| !seen.contains(i)).collect();
    Ok(comparison)
}

/// Equal rows cannot be told apart, so they are counted.
async fn compare_without_key(
    conn: &mut Conn,
    charsets: &Charsets,
    shape: &Shape,
    rows: &[Row],
) -> Result<Comparison, DatabaseError> {
    let (_, ours) = read::range(conn, charsets, shape, (None, None), None).await?;
    let mut left: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
    for (i, row) in rows.iter().enumerate() {
        left.entry(bytes(row)).or_default().push(i);
    }
    let mut comparison = Comparison::default();
    for row in ours {
        if left.get_mut(&bytes(&row)).and_then(Vec::pop).is_none() {
            comparison.extra.push(row);
        }
    }
    comparison.missing = left.into_values().flatten().collect();
    comparison.missing.sort_unstable();
    Ok(comparison)
}

/// Makes the range so, in the transaction that is open on `conn`, whose foreign keys must not be checked: rows that
/// the primary has not go first, then its own are written, and whatever collides with them on another unique key is
/// stale and goes; its own chunk brings it back, if it is due.
pub(crate) async fn make(
    conn: &mut Conn,
    target: &Target,
    comparison: &Comparison,
    rows: &[Row],
) -> Result<(), DatabaseError> {
    let mut statements = Vec::new();
    let mut deletes: Vec<Vec<u8>> = Vec::new();
    if target.has_key() {
        deletes.extend(comparison.extra.iter().filter_map(|row| upsert::delete(row, target)));
        let write = comparison.missing.iter().chain(&comparison.different).filter_map(|i| rows.get(*i));
        upsert::replace(write, target, &mut statements);
    } else if !comparison.is_equal() {
        deletes.push(format!("DELETE FROM {}", target.name()).into_bytes());
        upsert::replace(rows, target, &mut statements);
    }
    for some in deletes.chunks(DELETES_MAX) {
        conn.query_drop(some.join(&b';')).await?;
    }
    for sql in statements {
        conn.query_drop(sql).await?;
    }
    Ok(())
}
