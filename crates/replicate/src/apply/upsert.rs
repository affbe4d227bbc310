//! Rows as statements that make them so, whatever was there: for a copy under way, where nothing is expected.

use super::{
    sql::{self, LENIENT_SQL_MODE},
    target::Target,
};
use crate::{database::SQL_MODE, transaction::Row};

/// One statement holds at most so many bytes of rows.
const BYTES_MAX: usize = 256 * 1024;

/// `REPLACE`s of rows: each row with its key, or with a unique value of it, goes; then it is there as it should be.
pub(crate) fn replace<'a>(rows: impl IntoIterator<Item = &'a Row>, target: &Target, out: &mut Vec<String>) {
    let names: Vec<&str> = target.written().map(|c| c.name.as_str()).collect();
    let head = format!("REPLACE INTO {} ({}) VALUES ", target.name, names.join(","));
    let (mut sql, mut lenient) = (String::new(), false);
    for row in rows {
        sql.push_str(if sql.is_empty() { &head } else { "," });
        sql.push('(');
        for (n, column) in target.written().enumerate() {
            if n > 0 {
                sql.push(',');
            }
            column.literal(&mut sql, row);
        }
        sql.push(')');
        lenient |= target.needs_leniency(row);
        if sql.len() >= BYTES_MAX {
            close(std::mem::take(&mut sql), std::mem::take(&mut lenient), out);
        }
    }
    close(sql, lenient, out);
}

fn close(sql: String, lenient: bool, out: &mut Vec<String>) {
    if sql.is_empty() {
        return;
    }
    if lenient {
        out.push(format!("SET sql_mode='{LENIENT_SQL_MODE}'"));
        out.push(sql);
        out.push(format!("SET sql_mode='{SQL_MODE}'"));
    } else {
        out.push(sql);
    }
}

/// Deletes the row with the key of `row`, if it is there. `None`: the table has no key.
pub(crate) fn delete(row: &Row, target: &Target) -> Option<String> {
    Some(format!("DELETE FROM {}{}", target.name, sql::by_key(row, target)?))
}

/// Sets the columns named `columns` of the row with the key of `before` to what they are in `after`. `None`: the
/// table has no key, or none of these columns.
pub(crate) fn update(before: &Row, after: &Row, columns: &[String], target: &Target) -> Option<String> {
    let set: Vec<String> = target
        .written()
        .filter(|c| columns.iter().any(|name| sql::quoted(name) == c.name))
        .map(|c| {
            let mut sql = format!("{}=", c.name);
            c.literal(&mut sql, after);
            sql
        })
        .collect();
    let found = sql::by_key(before, target)?;
    (!set.is_empty()).then(|| format!("UPDATE {} SET {}{found}", target.name, set.join(",")))
}
