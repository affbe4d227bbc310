//! Rows as statements that make them so, whatever was there: for a copy under way, where nothing is expected.

use super::{
    sql::{self, LENIENT_SQL_MODE},
    target::Target,
};
use crate::{database::SQL_MODE, transaction::Row};

/// One statement holds at most so many bytes of rows.
const BYTES_MAX: usize = 256 * 1024;

/// `REPLACE`s of rows: each row with its key, or with a unique value of it, goes; then it is there as it should be.
pub(crate) fn replace<'a>(rows: impl IntoIterator<Item = &'a Row>, target: &Target, out: &mut Vec<Vec<u8>>) {
    let names: Vec<&str> = target.written().map(|c| c.name.as_str()).collect();
    let head = format!("REPLACE INTO {} ({}) VALUES ", target.name, names.join(",")).into_bytes();
    let (mut sql, mut lenient) = (Vec::new(), false);
    for row in rows {
        if sql.is_empty() {
            sql.extend_from_slice(&head);
        } else {
            sql.push(b',');
        }
        sql::push_row(&mut sql, row, target);
        lenient |= target.needs_leniency(row);
        if sql.len() >= BYTES_MAX {
            close(std::mem::take(&mut sql), std::mem::take(&mut lenient), out);
        }
    }
    close(sql, lenient, out);
}

fn close(sql: Vec<u8>, lenient: bool, out: &mut Vec<Vec<u8>>) {
    if sql.is_empty() {
        return;
    }
    if lenient {
        out.push(format!("SET sql_mode='{LENIENT_SQL_MODE}'").into_bytes());
        out.push(sql);
        out.push(format!("SET sql_mode='{SQL_MODE}'").into_bytes());
    } else {
        out.push(sql);
    }
}

/// Deletes the row with the key of `row`, if it is there. `None`: the table has no key.
pub(crate) fn delete(row: &Row, target: &Target) -> Option<Vec<u8>> {
    let mut sql = format!("DELETE FROM {}", target.name).into_bytes();
    sql.append(&mut sql::by_key(row, target)?);
    Some(sql)
}

/// Sets the columns named `columns` of the row with the key of `before` to what they are in `after`. `None`: the
/// table has no key, or none of these columns.
pub(crate) fn update(before: &Row, after: &Row, columns: &[String], target: &Target) -> Option<Vec<u8>> {
    let mut sql = format!("UPDATE {} SET ", target.name).into_bytes();
    let mut any = false;
    for column in target.written().filter(|c| columns.iter().any(|name| sql::quoted(name) == c.name)) {
        if std::mem::replace(&mut any, true) {
            sql.push(b',');
        }
        sql.extend_from_slice(column.name.as_bytes());
        sql.push(b'=');
        column.literal(&mut sql, after);
    }
    sql.append(&mut sql::by_key(before, target)?);
    any.then_some(sql)
}
