//! Rows as SQL text: literals that mean exactly the value, and statements that say what must come of them.
//!
//! Nothing here executes anything. Characters stand in quotes where the session's own character set (utf8mb4) writes
//! them without loss, which costs the server least; everything else is written in hex with the name of its
//! character set. The session's settings are ours, so backslashes escape.

use std::io::Write;

use sha2::{Digest, Sha256};

use super::target::Target;
use crate::checkpoint::SlotIs;
use crate::database::SQL_MODE;
use crate::transaction::{Kind, Row, Rows, Value};

/// One INSERT holds at most so many bytes of rows.
const INSERT_BYTES_MAX: usize = 256 * 1024;

/// Bytes longer than this are compared by their hash and not written down twice.
const COMPARED_WHOLE_MAX: usize = 1024;

/// Binary strings up to this length are written in hex; longer ones in quotes, which take half the room.
const HEX_BYTES_MAX: usize = 1024;

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

/// Bytes as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    push_hex(&mut out, bytes);
    out.into_iter().map(char::from).collect()
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2);
    for b in bytes {
        out.push(DIGITS[usize::from(b >> 4)]);
        out.push(DIGITS[usize::from(b & 15)]);
    }
}

/// Bytes in quotes, with escapes for what would end or change them.
fn push_quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 2);
    out.push(b'\'');
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|b| matches!(b, b'\'' | b'\\' | 0)) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'\'' => b"\\'",
            0 => b"\\0",
            _ => b"\\\\",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\'');
}

/// Whether a literal in utf8mb4 means exactly these bytes of that character set.
fn fits_quotes(bytes: &[u8], charset: &str) -> bool {
    match charset {
        "utf8mb4" | "utf8mb3" | "utf8" => std::str::from_utf8(bytes).is_ok(),
        "ascii" | "latin1" => bytes.is_ascii(),
        _ => false,
    }
}

/// Writes a value down for a session of ours. Writing into memory cannot fail, so its result is not looked at.
pub(super) fn literal(out: &mut Vec<u8>, value: &Value, kind: &Kind) {
    write_literal(out, value, kind, true);
}

/// The value as text that means the same in any session, whatever its settings.
pub(crate) fn portable_literal(value: &Value, kind: &Kind) -> String {
    let mut out = Vec::new();
    write_literal(&mut out, value, kind, false);
    out.into_iter().map(char::from).collect()
}

fn write_literal(out: &mut Vec<u8>, value: &Value, kind: &Kind, quotes: bool) {
    let written = match value {
        Value::Null => out.write_all(b"NULL"),
        Value::Signed(n) => write!(out, "{n}"),
        Value::Unsigned(n) => write!(out, "{n}"),
        // The shortest text that reads back as the same 64 bits; a FLOAT fits exactly.
        Value::Float(n) => write!(out, "{:e}", f64::from(*n)),
        Value::Double(n) => write!(out, "{n:e}"),
        Value::Decimal(digits) => out.write_all(digits.as_bytes()),
        Value::Temporal(text) => write!(out, "'{text}'"),
        Value::Bytes(bytes) => {
            match kind {
                Kind::Text { charset } if quotes && fits_quotes(bytes, charset) => push_quoted(out, bytes),
                Kind::Binary { fixed: None } if quotes && bytes.len() > HEX_BYTES_MAX => {
                    out.extend_from_slice(b"_binary");
                    push_quoted(out, bytes);
                }
                _ => {
                    if let Kind::Text { charset } = kind {
                        out.push(b'_');
                        out.extend_from_slice(charset.as_bytes());
                        out.push(b' ');
                    }
                    out.extend_from_slice(b"x'");
                    push_hex(out, bytes);
                    if let Kind::Binary { fixed: Some(length) } = kind {
                        // The log leaves out the zeros to which the server pads.
                        (bytes.len()..usize::from(*length)).for_each(|_| out.extend_from_slice(b"00"));
                    }
                    out.push(b'\'');
                }
            }
            Ok(())
        }
    };
    debug_assert!(written.is_ok());
}

/// A condition that holds only where the column has exactly this value, byte for byte.
fn condition(out: &mut Vec<u8>, column: &str, value: &Value, kind: &Kind) {
    match (value, kind) {
        (Value::Null, _) => {
            out.extend_from_slice(column.as_bytes());
            out.extend_from_slice(b" IS NULL");
        }
        (Value::Bytes(bytes), Kind::Text { .. } | Kind::Geometry | Kind::Binary { fixed: None })
            if bytes.len() > COMPARED_WHOLE_MAX =>
        {
            out.extend_from_slice(b"SHA2(CAST(");
            out.extend_from_slice(column.as_bytes());
            out.extend_from_slice(b" AS BINARY),256)='");
            push_hex(out, &Sha256::digest(bytes));
            out.push(b'\'');
        }
        (Value::Bytes(bytes), Kind::Text { .. } | Kind::Geometry) => {
            out.extend_from_slice(b"CAST(");
            out.extend_from_slice(column.as_bytes());
            out.extend_from_slice(b" AS BINARY)=x'");
            push_hex(out, bytes);
            out.push(b'\'');
        }
        _ => {
            out.extend_from_slice(column.as_bytes());
            out.push(b'=');
            literal(out, value, kind);
        }
    }
}

/// What must come of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// So many rows are affected.
    Affected(u64),
    /// It answers with one row: how many rows there are, and the sum of their checksums.
    Rows {
        /// How many.
        count: u64,
        /// The sum; 0 if there are none.
        sum: u64,
    },
}

/// What a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// Our own bookkeeping.
    Ours,
    /// A change of the work, by its number, and its first row there.
    Row(usize, usize),
    /// Folded changes of a table, by its number among the folded ones.
    Folded(usize),
    /// Keys under which nothing may stand, of such a table. Where a collation takes two keys for the same, one of
    /// them may.
    Absent(usize),
}

/// One statement, with what must come of it.
#[derive(Debug)]
pub(crate) struct Expect {
    /// What must come of it.
    pub(super) want: Want,
    /// What it is about.
    pub(super) about: About,
}

/// Statements that go in one packet, and what must come of each.
#[derive(Debug, Default)]
pub(crate) struct Packet {
    pub(super) sql: Vec<u8>,
    pub(super) expects: Vec<Expect>,
}

impl Packet {
    /// Adds a statement of our own.
    pub(crate) fn push(&mut self, sql: &str, affected: u64) {
        self.add(sql.as_bytes(), Expect { want: Want::Affected(affected), about: About::Ours });
    }

    pub(super) fn add(&mut self, sql: &[u8], expect: Expect) {
        if !self.sql.is_empty() {
            self.sql.push(b';');
        }
        self.sql.extend_from_slice(sql);
        self.expects.push(expect);
    }

    /// Adds the statements of another packet behind these.
    pub(super) fn append(&mut self, mut other: Packet) {
        if self.sql.is_empty() {
            self.sql = other.sql;
        } else if !other.sql.is_empty() {
            self.sql.push(b';');
            self.sql.append(&mut other.sql);
        }
        self.expects.append(&mut other.expects);
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
                    let mut sql = format!("DELETE FROM {}", target.name).into_bytes();
                    found(&mut sql, row, target);
                    self.about(&sql, 1, change, i);
                }
            }
            Rows::Update(rows) => {
                for (i, (before, after)) in rows.iter().enumerate() {
                    let mut sql = format!("UPDATE {} SET ", target.name).into_bytes();
                    for (n, column) in target.written().enumerate() {
                        if n > 0 {
                            sql.push(b',');
                        }
                        sql.extend_from_slice(column.name.as_bytes());
                        sql.push(b'=');
                        column.literal(&mut sql, after);
                    }
                    found(&mut sql, before, target);
                    self.about(&sql, 1, change, i);
                }
            }
        }
    }

    fn inserts(&mut self, change: usize, rows: &[Row], target: &Target) {
        let head = insert_head(target);
        let (mut sql, mut first, mut count) = (head.clone(), 0, 0);
        for (i, row) in rows.iter().enumerate() {
            if count > 0 {
                sql.push(b',');
            }
            push_row(&mut sql, row, target);
            count += 1;
            if sql.len() >= INSERT_BYTES_MAX || i + 1 == rows.len() {
                self.about(&sql, count, change, first);
                (sql, first, count) = (head.clone(), i + 1, 0);
            }
        }
    }

    fn about(&mut self, sql: &[u8], affected: u64, change: usize, first: usize) {
        let expect = Expect { want: Want::Affected(affected), about: About::Row(change, first) };
        self.room_for(sql.len()).add(sql, expect);
    }
}

/// `INSERT INTO … VALUES `
pub(super) fn insert_head(target: &Target) -> Vec<u8> {
    let names: Vec<&str> = target.written().map(|c| c.name.as_str()).collect();
    format!("INSERT INTO {} ({}) VALUES ", target.name, names.join(",")).into_bytes()
}

/// `(…)`, all that is written of a row.
pub(super) fn push_row(sql: &mut Vec<u8>, row: &Row, target: &Target) {
    sql.push(b'(');
    for (n, column) in target.written().enumerate() {
        if n > 0 {
            sql.push(b',');
        }
        column.literal(sql, row);
    }
    sql.push(b')');
}

/// ` WHERE …` that finds exactly the row `before`: by its key, and only if the rest is what it was. Without a key,
/// by everything, and then one row of several equal ones.
pub(crate) fn found(sql: &mut Vec<u8>, before: &Row, target: &Target) {
    sql.extend_from_slice(b" WHERE ");
    let mut first = true;
    let mut and = |sql: &mut Vec<u8>| {
        if !std::mem::replace(&mut first, false) {
            sql.extend_from_slice(b" AND ");
        }
    };
    for column in target.key() {
        and(sql);
        sql.extend_from_slice(column.name.as_bytes());
        sql.push(b'=');
        column.literal(sql, before);
    }
    for column in target.written() {
        and(sql);
        match before.get(column.index) {
            Some(value) => condition(sql, &column.name, &column.converted(value), &column.kind),
            None => sql.extend_from_slice(b"FALSE"),
        }
    }
    if target.key().next().is_none() {
        sql.extend_from_slice(b" LIMIT 1");
    }
}

/// ` WHERE …` that finds the row with the key of `row`, for looking at it.
pub(crate) fn by_key(row: &Row, target: &Target) -> Option<Vec<u8>> {
    target.key().next()?;
    let mut sql = b" WHERE ".to_vec();
    for (n, column) in target.key().enumerate() {
        if n > 0 {
            sql.extend_from_slice(b" AND ");
        }
        sql.extend_from_slice(column.name.as_bytes());
        sql.push(b'=');
        column.literal(&mut sql, row);
    }
    Some(sql)
}

/// Moves a slot by compare-and-set. `set` is what becomes of it.
pub(crate) fn move_slot(slot: &SlotIs<'_>, set: &str) -> String {
    let SlotIs { stream, epoch, at, idle } = slot;
    let idle = if *idle { " AND pending IS NULL" } else { "" };
    format!(
        "UPDATE ghostlight.applied SET {set} WHERE `stream`={} AND `epoch`={epoch} AND `file`={} AND `offset`={}{idle}",
        text(&stream.0),
        at.file,
        at.offset
    )
}

/// Locks the row of the epoch until the transaction's end, and reads it.
pub(crate) const LOCK_EPOCH: &str = "SELECT `epoch` FROM ghostlight.site WHERE id=1 FOR UPDATE";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Value, kind: &Kind, expected: &str) {
        let mut out = Vec::new();
        literal(&mut out, &value, kind);
        assert_eq!(String::from_utf8_lossy(&out), expected);
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
        let utf8 = Kind::Text { charset: "utf8mb4".into() };
        check(Value::Bytes("한'\\\0\n".into()), &utf8, "'한\\'\\\\\\0\n'");
        check(Value::Bytes(vec![0xff]), &utf8, "_utf8mb4 x'ff'");
        let latin1 = Kind::Text { charset: "latin1".into() };
        check(Value::Bytes("é".into()), &latin1, "_latin1 x'c3a9'");
        check(Value::Bytes("e".into()), &latin1, "'e'");
    }

    #[test]
    fn identifiers_cannot_end_early() {
        assert_eq!(quoted("a`b"), "`a``b`");
    }
}
