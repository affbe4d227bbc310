//! Rows as SQL text: literals that mean exactly the value, and statements that say how many rows they must find.
//!
//! Nothing here executes anything. Characters and bytes are written in hex with the name of their character set, so
//! no connection setting can change them.

use std::fmt::Write;

use super::target::Target;
use crate::database::SQL_MODE;
use crate::transaction::{At, Kind, Row, Rows, Value};

/// One INSERT holds at most so many bytes of rows.
const INSERT_BYTES_MAX: usize = 256 * 1024;

/// [`SQL_MODE`] without its strictness.
pub(super) const LENIENT_SQL_MODE: &str = "ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION";

/// `name` as an identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// `text` as a string literal of ours (ASCII, or UTF-8 on a connection of ours).
pub(crate) fn text(text: &str) -> String {
    format!("_utf8mb4 x'{}'", hex(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    push_hex(&mut out, bytes);
    out
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for b in bytes {
        out.push(char::from(DIGITS[usize::from(b >> 4)]));
        out.push(char::from(DIGITS[usize::from(b & 15)]));
    }
}

/// Writes a value down. Formatting into a `String` cannot fail, so its result is not looked at.
pub(crate) fn literal(out: &mut String, value: &Value, kind: &Kind) {
    let written = match value {
        Value::Null => out.write_str("NULL"),
        Value::Signed(n) => write!(out, "{n}"),
        Value::Unsigned(n) => write!(out, "{n}"),
        // The shortest text that reads back as the same 64 bits; a FLOAT fits exactly.
        Value::Float(n) => write!(out, "{:e}", f64::from(*n)),
        Value::Double(n) => write!(out, "{n:e}"),
        Value::Decimal(digits) => out.write_str(digits),
        Value::Temporal(text) => write!(out, "'{text}'"),
        Value::Bytes(bytes) => {
            if let Kind::Text { charset } = kind {
                out.push('_');
                out.push_str(charset);
                out.push(' ');
            }
            out.push_str("x'");
            push_hex(out, bytes);
            if let Kind::Binary { fixed: Some(length) } = kind {
                // The log leaves out the zeros to which the server pads.
                (bytes.len()..usize::from(*length)).for_each(|_| out.push_str("00"));
            }
            out.write_str("'")
        }
    };
    debug_assert!(written.is_ok());
}

/// A condition that holds only where the column has exactly this value, byte for byte.
fn condition(out: &mut String, column: &str, value: &Value, kind: &Kind) {
    match (value, kind) {
        (Value::Null, _) => {
            out.push_str(column);
            out.push_str(" IS NULL");
        }
        (Value::Bytes(bytes), Kind::Text { .. } | Kind::Geometry) => {
            out.push_str("CAST(");
            out.push_str(column);
            out.push_str(" AS BINARY)=x'");
            push_hex(out, bytes);
            out.push('\'');
        }
        _ => {
            out.push_str(column);
            out.push('=');
            literal(out, value, kind);
        }
    }
}

/// One statement, with what must come of it.
#[derive(Debug)]
pub(crate) struct Expect {
    /// Rows that must be affected.
    pub(super) affected: u64,
    /// Which change of the work it belongs to, and its first row there; `None`: our own bookkeeping.
    pub(super) about: Option<(usize, usize)>,
}

/// Statements that go in one packet, and what must come of each.
#[derive(Debug, Default)]
pub(crate) struct Packet {
    pub(super) sql: String,
    pub(super) expects: Vec<Expect>,
}

impl Packet {
    /// Adds a statement of our own.
    pub(crate) fn push(&mut self, sql: &str, affected: u64) {
        self.add(sql, Expect { affected, about: None });
    }

    fn add(&mut self, sql: &str, expect: Expect) {
        if !self.sql.is_empty() {
            self.sql.push(';');
        }
        self.sql.push_str(sql);
        self.expects.push(expect);
    }
}

/// Packets of a limited size, filled in order.
#[derive(Debug)]
pub(crate) struct Packets {
    pub(super) full: Vec<Packet>,
    pub(crate) last: Packet,
    bytes_max: usize,
}

impl Packets {
    pub(crate) fn new(bytes_max: usize) -> Packets {
        Packets { full: Vec::new(), last: Packet::default(), bytes_max }
    }

    /// The packet into which a statement of `bytes` goes.
    pub(super) fn room_for(&mut self, bytes: usize) -> &mut Packet {
        if !self.last.sql.is_empty() && self.last.sql.len() + bytes >= self.bytes_max {
            self.full.push(std::mem::take(&mut self.last));
        }
        &mut self.last
    }

    pub(crate) fn into_all(mut self) -> Vec<Packet> {
        self.full.push(self.last);
        self.full
    }

    /// Adds the statements that make `rows` happen in `target`. They are the change number `change`.
    pub(crate) fn rows(&mut self, change: usize, rows: &Rows, target: &Target) {
        let lenient = match rows {
            Rows::Insert(rows) => rows.iter().any(|row| target.needs_leniency(row)),
            Rows::Update(rows) => rows.iter().any(|(_, after)| target.needs_leniency(after)),
            Rows::Delete(_) => false,
        };
        if lenient {
            let set = format!("SET sql_mode='{LENIENT_SQL_MODE}'");
            self.room_for(set.len()).push(&set, 0);
        }
        self.strictly(change, rows, target);
        if lenient {
            let set = format!("SET sql_mode='{SQL_MODE}'");
            self.room_for(set.len()).push(&set, 0);
        }
    }

    fn strictly(&mut self, change: usize, rows: &Rows, target: &Target) {
        match rows {
            Rows::Insert(rows) => self.inserts(change, rows, target),
            Rows::Delete(rows) => {
                for (i, row) in rows.iter().enumerate() {
                    let sql = format!("DELETE FROM {}{}", target.name, found(row, target));
                    self.room_for(sql.len()).add(&sql, Expect { affected: 1, about: Some((change, i)) });
                }
            }
            Rows::Update(rows) => {
                for (i, (before, after)) in rows.iter().enumerate() {
                    let mut sql = format!("UPDATE {} SET ", target.name);
                    for (n, column) in target.written().enumerate() {
                        if n > 0 {
                            sql.push(',');
                        }
                        sql.push_str(&column.name);
                        sql.push('=');
                        column.literal(&mut sql, after);
                    }
                    sql.push_str(&found(before, target));
                    self.room_for(sql.len()).add(&sql, Expect { affected: 1, about: Some((change, i)) });
                }
            }
        }
    }

    fn inserts(&mut self, change: usize, rows: &[Row], target: &Target) {
        let names: Vec<&str> = target.written().map(|c| c.name.as_str()).collect();
        let head = format!("INSERT INTO {} ({}) VALUES ", target.name, names.join(","));
        let (mut sql, mut first, mut count) = (head.clone(), 0, 0);
        for (i, row) in rows.iter().enumerate() {
            sql.push_str(if count > 0 { ",(" } else { "(" });
            for (n, column) in target.written().enumerate() {
                if n > 0 {
                    sql.push(',');
                }
                column.literal(&mut sql, row);
            }
            sql.push(')');
            count += 1;
            if sql.len() >= INSERT_BYTES_MAX || i + 1 == rows.len() {
                self.room_for(sql.len()).add(&sql, Expect { affected: count, about: Some((change, first)) });
                (sql, first, count) = (head.clone(), i + 1, 0);
            }
        }
    }
}

/// ` WHERE …` that finds exactly the row `before`: by its key, and only if the rest is what it was. Without a key,
/// by everything, and then one row of several equal ones.
pub(crate) fn found(before: &Row, target: &Target) -> String {
    let mut sql = String::from(" WHERE ");
    let mut first = true;
    let mut and = |sql: &mut String| {
        if !std::mem::replace(&mut first, false) {
            sql.push_str(" AND ");
        }
    };
    for column in target.key() {
        and(&mut sql);
        sql.push_str(&column.name);
        sql.push('=');
        column.literal(&mut sql, before);
    }
    for column in target.written() {
        and(&mut sql);
        match before.get(column.index) {
            Some(value) => condition(&mut sql, &column.name, &column.converted(value), &column.kind),
            None => sql.push_str("FALSE"),
        }
    }
    if target.key().next().is_none() {
        sql.push_str(" LIMIT 1");
    }
    sql
}

/// ` WHERE …` that finds the row with the key of `row`, for looking at it.
pub(crate) fn by_key(row: &Row, target: &Target) -> Option<String> {
    target.key().next()?;
    let mut sql = String::from(" WHERE ");
    for (n, column) in target.key().enumerate() {
        if n > 0 {
            sql.push_str(" AND ");
        }
        sql.push_str(&column.name);
        sql.push('=');
        column.literal(&mut sql, row);
    }
    Some(sql)
}

/// Moves a slot by compare-and-set. `set` is what becomes of it.
pub(crate) fn move_slot(stream: &str, epoch: u64, from: At, set: &str, only_if: &str) -> String {
    format!(
        "UPDATE ghostlight.applied SET {set} WHERE `stream`={} AND `epoch`={epoch} AND `file`={} AND `offset`={}{only_if}",
        text(stream),
        from.file,
        from.offset
    )
}

/// Locks the row of the epoch until the transaction's end, and reads it.
pub(crate) const LOCK_EPOCH: &str = "SELECT `epoch` FROM ghostlight.site WHERE id=1 FOR UPDATE";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Value, kind: &Kind, expected: &str) {
        let mut out = String::new();
        literal(&mut out, &value, kind);
        assert_eq!(out, expected);
    }

    #[test]
    fn literals_mean_exactly_the_value() {
        check(Value::Float(0.1), &Kind::Number, "1.0000000149011612e-1");
        check(Value::Double(-0.0), &Kind::Number, "-0e0");
        check(Value::Double(f64::MAX), &Kind::Number, "1.7976931348623157e308");
        check(Value::Signed(i64::MIN), &Kind::Number, "-9223372036854775808");
        check(Value::Decimal("-0.50".into()), &Kind::Number, "-0.50");
        let euckr = Kind::Text { charset: "euckr".into() };
        check(Value::Bytes(vec![0xb0, 0xa1, b'\'']), &euckr, "_euckr x'b0a127'");
        check(Value::Bytes(vec![]), &Kind::Binary { fixed: None }, "x''");
        check(Value::Bytes(vec![1]), &Kind::Binary { fixed: Some(3) }, "x'010000'");
    }

    #[test]
    fn identifiers_cannot_end_early() {
        assert_eq!(quoted("a`b"), "`a``b`");
    }
}
