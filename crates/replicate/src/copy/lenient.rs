//! The stream's changes applied to a database that does not hold everything yet: the effect, without the expectation.
//!
//! A row that comes or changes is written whole, whatever was there; a row that goes is deleted if it is there. What
//! of it touches rows that are not copied yet is made right by their chunk; what touches copied rows is what the
//! primary did. Cascades are not in the log. So a parent that goes, or changes what its children refer to, is first
//! put there as it was, and then goes or changes with foreign keys checked: the children that are here follow it.

use std::collections::HashSet;

use mysql_async::{Conn, prelude::Queryable};

use crate::{
    apply::{Name, Relations, Target, upsert},
    database::DatabaseError,
    transaction::{Row, Rows, Table},
};

/// Errors of a foreign key that stale rows can cause: a child refers to what goes, a parent is not there, a row that
/// a cascade would make is there already.
const STALE_RELATION: [u16; 6] = [1062, 1451, 1452, 1557, 1761, 1762];

/// Statements that go in one packet hold at most so many bytes.
const PACKET_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Applies `rows` in the transaction that is open on `conn`, whose foreign keys are not checked. Returns the tables
/// that must be copied again from their beginning, because stale rows kept a cascade from being followed.
pub(crate) async fn apply(
    conn: &mut Conn,
    table: &Table,
    target: &Target,
    relations: &Relations,
    rows: &Rows,
    foreign_key_checks: bool,
) -> Result<HashSet<Name>, DatabaseError> {
    let followed = relations.of(table).map(|relation| &relation.followed);
    let referenced = followed.filter(|columns| foreign_key_checks && !columns.is_empty());
    let mut writing = Writing { conn, sql: Vec::new() };
    let mut again = HashSet::new();
    match rows {
        Rows::Insert(rows) => writing.replace(rows, target).await?,
        Rows::Delete(rows) => {
            for row in rows {
                let Some(delete) = upsert::delete(row, target) else { continue };
                if referenced.is_some() {
                    writing.replace([row], target).await?;
                    if !writing.cascade(&delete).await? {
                        again.extend(relations.descendants(table));
                        writing.push(&delete).await?;
                    }
                } else {
                    writing.push(&delete).await?;
                }
            }
        }
        Rows::Update(rows) => {
            for (before, after) in rows {
                let cascades = referenced.filter(|columns| {
                    changed(table, before, after).any(|name| columns.iter().any(|c| c == name))
                });
                if let Some(columns) = cascades
                    && let Some(update) = upsert::update(before, after, columns, target)
                {
                    // Once as it will be, so that stale rows which collide with that are gone; then as it was.
                    writing.replace([after], target).await?;
                    if let Some(delete) = upsert::delete(after, target) {
                        writing.push(&delete).await?;
                    }
                    writing.replace([before], target).await?;
                    if !writing.cascade(&update).await? {
                        again.extend(relations.descendants(table));
                        if let Some(delete) = upsert::delete(before, target) {
                            writing.push(&delete).await?;
                        }
                    }
                } else if table.key.iter().any(|k| before.get(usize::from(*k)) != after.get(usize::from(*k)))
                    && let Some(delete) = upsert::delete(before, target)
                {
                    writing.push(&delete).await?;
                }
                writing.replace([after], target).await?;
            }
        }
    }
    writing.send().await?;
    Ok(again)
}

/// The names of the columns that differ.
fn changed<'a>(table: &'a Table, before: &'a Row, after: &'a Row) -> impl Iterator<Item = &'a str> {
    let pairs = before.iter().zip(after).zip(&table.columns);
    pairs.filter(|((before, after), _)| before != after).map(|(_, column)| column.name.as_str())
}

/// Statements on their way, in order.
struct Writing<'a> {
    conn: &'a mut Conn,
    sql: Vec<u8>,
}

impl Writing<'_> {
    async fn push(&mut self, sql: &[u8]) -> Result<(), DatabaseError> {
        if self.sql.len() + sql.len() > PACKET_BYTES_MAX {
            self.send().await?;
        }
        if !self.sql.is_empty() {
            self.sql.push(b';');
        }
        self.sql.extend_from_slice(sql);
        Ok(())
    }

    async fn replace<'r>(
        &mut self,
        rows: impl IntoIterator<Item = &'r Row>,
        target: &Target,
    ) -> Result<(), DatabaseError> {
        let mut statements = Vec::new();
        upsert::replace(rows, target, &mut statements);
        for sql in statements {
            self.push(&sql).await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), DatabaseError> {
        match std::mem::take(&mut self.sql) {
            sql if sql.is_empty() => Ok(()),
            sql => Ok(self.conn.query_drop(sql).await?),
        }
    }

    /// Runs one statement with foreign keys checked. `false`: stale rows were in the way, and nothing was done.
    async fn cascade(&mut self, sql: &[u8]) -> Result<bool, DatabaseError> {
        self.push(b"SET foreign_key_checks=1").await?;
        self.send().await?;
        let outcome = self.conn.query_drop(sql).await.map_err(DatabaseError::from);
        self.conn.query_drop("SET foreign_key_checks=0").await?;
        match outcome {
            Ok(()) => Ok(true),
            Err(DatabaseError::Sql { code, .. }) if STALE_RELATION.contains(&code) => Ok(false),
            Err(e) => Err(e),
        }
    }
}
