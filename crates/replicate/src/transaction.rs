//! The words in which a log's content travels: tables, rows, statements, and where a transaction ends.
//!
//! They are the same on both sides of the link. A row's values stand in the order of its table's columns; a table
//! is described once and then named by its number. Nothing here knows SQL or the log's bytes.

use std::fmt;

use model::{Position, StreamId};
use serde::{Deserialize, Serialize};

/// A [`Position`] whose stream is known from the context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct At {
    /// The number behind the dot of the log file's name.
    pub file: u64,
    /// Bytes from the beginning of that file.
    pub offset: u64,
}

impl At {
    /// The same place with its stream.
    pub fn in_stream(self, stream: &StreamId) -> Position {
        Position { stream: stream.clone(), file: self.file, offset: self.offset }
    }
}

impl From<&Position> for At {
    fn from(p: &Position) -> At {
        At { file: p.file, offset: p.offset }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}

/// A table as it was when its rows were written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Table {
    /// Its database.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns, from left to right.
    pub columns: Vec<Column>,
    /// Which of them make up the primary key, in the key's order. Empty: there is none.
    pub key: Vec<u16>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
}

/// What one must know of a column to write its values down exactly and to compare them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Integers, decimals, floating point, bits, years; enums and sets by number.
    Number,
    /// Dates and times, as text in UTC.
    Temporal,
    /// Characters, as the bytes of this character set.
    Text {
        /// The server's name of it (`utf8mb4`).
        charset: String,
    },
    /// Bytes. `fixed` is the length to which the server pads them with zeros (`BINARY(n)`).
    Binary {
        /// In bytes.
        fixed: Option<u16>,
    },
    /// The server's internal form of a geometry.
    Geometry,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// NULL.
    Null,
    /// A signed integer.
    Signed(i64),
    /// An unsigned integer, the bits of a BIT or SET, the number of an ENUM's member, a year.
    Unsigned(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL in its digits.
    Decimal(String),
    /// A date or a time in the server's own notation.
    Temporal(String),
    /// Characters or bytes.
    Bytes(#[serde(with = "as_bytes")] Vec<u8>),
}

impl Value {
    /// Roughly the bytes that it takes, for limits.
    pub fn cost(&self) -> usize {
        match self {
            Value::Bytes(b) => b.len() + 2,
            Value::Decimal(s) | Value::Temporal(s) => s.len() + 2,
            _ => 9,
        }
    }
}

/// A whole row.
pub type Row = Vec<Value>;

/// Row changes of one statement to one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Rows {
    /// Rows that came.
    Insert(Vec<Row>),
    /// Rows that changed: before, after.
    Update(Vec<(Row, Row)>),
    /// Rows that went, as they were.
    Delete(Vec<Row>),
}

impl Rows {
    /// Roughly the bytes that they take.
    pub fn cost(&self) -> usize {
        let row = |r: &Row| r.iter().map(Value::cost).sum::<usize>();
        match self {
            Rows::Insert(rows) | Rows::Delete(rows) => rows.iter().map(row).sum(),
            Rows::Update(rows) => rows.iter().map(|(a, b)| row(a) + row(b)).sum(),
        }
    }
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// Rows of a table that was described before under this number.
    Rows {
        /// The table's number.
        table: u32,
        /// Whether foreign keys were checked when the rows were written; their cascades are not in the log, so
        /// they must happen again.
        foreign_key_checks: bool,
        /// The rows.
        rows: Rows,
    },
    /// `SAVEPOINT` or `ROLLBACK TO`, with the name in backticks.
    Savepoint(String),
    /// A statement that defines something (DDL). It commits by itself.
    Statement(Statement),
}

impl Change {
    /// Roughly the bytes that it takes.
    pub fn cost(&self) -> usize {
        match self {
            Change::Rows { rows, .. } => rows.cost() + 8,
            Change::Savepoint(sql) => sql.len(),
            Change::Statement(s) => s.sql.len() + 64,
        }
    }
}

/// A statement with what its meaning depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The connection that ran it, as `CONNECTION_ID()` gives it.
    pub connection: u32,
    /// The default database; empty if there was none.
    pub schema: String,
    /// The text, in the client's character set.
    #[serde(with = "as_bytes")]
    pub sql: Vec<u8>,
    /// `sql_mode` as a number.
    pub sql_mode: Option<u64>,
    /// Collation numbers: `character_set_client`, `collation_connection`, `collation_server`.
    pub collations: Option<[u16; 3]>,
    /// `time_zone`.
    pub time_zone: Option<String>,
    /// `foreign_key_checks`.
    pub foreign_key_checks: bool,
    /// When it began, in microseconds since 1970 UTC; 0 if the log does not say. What it calls "now" (`ADD COLUMN …
    /// DEFAULT CURRENT_TIMESTAMP` writes that into every row) is this.
    pub at_us: u64,
    /// The error with which it ended where it was first run; 0 for none. It must end so again.
    pub error_code: u16,
}

/// The end of a transaction, or of anything else in the log that stands between transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The place just behind it.
    pub at: At,
    /// If the transaction wrote a heartbeat: the primary's wall clock then, in milliseconds since 1970 UTC.
    pub heartbeat_at_ms: Option<u64>,
}

/// Byte strings as one run of bytes, not as a sequence of numbers.
pub(crate) mod as_bytes {
    use std::fmt;

    use serde::{Deserializer, Serializer, de::Visitor};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        from.deserialize_byte_buf(Bytes)
    }
}
