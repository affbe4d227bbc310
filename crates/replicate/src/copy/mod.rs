//! One mechanism that makes a standby's data equal to the primary's, or proves that they are, while writes go on.
//!
//! The unit is a [`Chunk`]: the rows of one range of one table's primary key, true at one place of the primary's
//! stream, and sent at exactly that place of the link. The standby takes it where everything in front of it has been
//! applied and nothing behind it, so both sides speak of the same moment and nothing needs to be locked.
//!
//! - [`fill`] makes a standby's data from nothing, or from whatever is left of an older life: it walks all tables and
//!   makes each range equal, while the stream is applied leniently around it;
//! - [`verify`] walks the tables of an attached standby, compares each range, names what differs, and repairs it
//!   if asked.
//!
//! Who walks is the standby: it asks ([`Walk`]), throttles and remembers; the primary's side only answers and keeps
//! nothing. Always true here: a range is compared and made equal byte for byte, whatever its collation says; ranges
//! are cut by the server's own order of keys.

pub mod begin;
pub mod equal;
pub mod fill;
pub mod lenient;
pub mod read;
pub mod verify;

use model::Position;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::apply::hex;
use crate::transaction::{Kind, Row, Table, Value};

/// A chunk has about so many rows,
pub const CHUNK_ROWS: u64 = 1_000;
/// and about so many bytes.
pub const CHUNK_BYTES: u64 = 512 * 1024;

/// One end of a range: the values of a primary key, in the key's order, each with what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound(pub Vec<(Value, Kind)>);

impl Bound {
    /// As text for a durable note.
    pub fn to_text(&self) -> Result<String, postcard::Error> {
        Ok(hex(&postcard::to_stdvec(self)?))
    }

    /// Reads such a note.
    pub fn from_text(text: &str) -> Option<Bound> {
        let bytes: Option<Vec<u8>> =
            (0..text.len()).step_by(2).map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect();
        postcard::from_bytes(&bytes?).ok()
    }
}

/// What a chunk brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// The rows.
    Rows,
    /// What they hash to.
    Digest,
}

/// Walk a range of a table, chunk by chunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    /// Stamped on its chunks. A walk replaces the one before it.
    pub number: u32,
    /// The table's database.
    pub schema: String,
    /// The table.
    pub table: String,
    /// Behind this key; `None`: from the beginning.
    pub from: Option<Bound>,
    /// Up to this key, it included; `None`: to the end.
    pub to: Option<Bound>,
    /// What is wanted of each chunk.
    pub form: Form,
    /// So many chunks may come before more are asked for.
    pub chunks: u32,
}

/// The rows of one range, as they are at the place of the stream where this stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// The walk's number.
    pub walk: u32,
    /// The table, and what its columns hold when they are selected.
    pub table: Table,
    /// Behind this key.
    pub from: Option<Bound>,
    /// Up to this key, it included; `None`: to the table's end.
    pub to: Option<Bound>,
    /// Whether the walk ends here.
    pub last: bool,
    /// How many rows there are.
    pub rows: u64,
    /// Of a table's first chunk: how the server shows the table's definition.
    pub definition: Option<Vec<u8>>,
    /// Them.
    pub content: Content,
}

/// What there is in a range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Content {
    /// The rows, in the key's order.
    Rows(Vec<Row>),
    /// What they hash to.
    Digest([u8; 32]),
    /// There is no such table any more; the stream tells what became of it.
    Gone,
}

/// Every definition, as it stands at one place of the primary's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    /// The place.
    pub at: Position,
    /// In an order in which most of them can be made.
    pub definitions: Vec<Definition>,
}

/// One definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// Of what.
    pub what: What,
    /// Where.
    pub schema: String,
    /// Its name; of a schema, the same as `schema`.
    pub name: String,
    /// As the server shows it.
    #[serde(with = "crate::transaction::as_bytes")]
    pub sql: Vec<u8>,
}

/// Kinds of definitions.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A database.
    Schema,
    /// A table.
    Table,
    /// A procedure.
    Procedure,
    /// A function.
    Function,
    /// A view.
    View,
}

/// A row's bytes: two rows are the same if and only if these are.
pub(crate) fn bytes(row: &Row) -> Vec<u8> {
    // Into memory nothing can fail but memory itself; an empty result would only make rows differ.
    postcard::to_stdvec(row).unwrap_or_default()
}

/// What rows hash to, in their order.
pub(crate) fn digest(rows: &[Row]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for row in rows {
        let bytes = bytes(row);
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(bytes);
    }
    hash.finalize().into()
}

/// The key of a row as a bound.
pub(crate) fn bound(table: &Table, row: &Row) -> Bound {
    let part = |k: &u16| {
        let k = usize::from(*k);
        Some((row.get(k)?.clone(), table.columns.get(k)?.kind.clone()))
    };
    Bound(table.key.iter().filter_map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_read_back_from_its_note() {
        let text = Kind::Text { charset: "utf8mb4".into() };
        let bound = Bound(vec![
            (Value::Bytes("가 ".into()), text),
            (Value::Signed(-3), Kind::Number),
            (Value::Null, Kind::Temporal),
        ]);
        assert_eq!(Bound::from_text(&bound.to_text().unwrap()), Some(bound));
        assert_eq!(Bound::from_text("zz"), None);
        assert_eq!(Bound::from_text("0"), None);
    }

    #[test]
    fn rows_that_compare_equal_but_are_not_the_same_differ() {
        let row = |v| vec![vec![v]];
        assert_ne!(digest(&row(Value::Double(0.0))), digest(&row(Value::Double(-0.0))));
        assert_ne!(digest(&row(Value::Bytes(b"a".to_vec()))), digest(&row(Value::Bytes(b"a ".to_vec()))));
        let split = |a: &str, b: &str| vec![vec![Value::Bytes(a.into())], vec![Value::Bytes(b.into())]];
        assert_ne!(digest(&split("ab", "c")), digest(&split("a", "bc")));
    }
}
