//! A TABLE_MAP event: what the rows behind it look like.
//!
//! The server writes one in front of every statement's rows. With `binlog_row_metadata=FULL` it holds all that is
//! needed to write the rows down again: names, signedness, character sets, the primary key. So a row is read by
//! the table as it was when the row was written, whatever became of the table since.

use std::collections::HashMap;

use super::{
    DecodeError,
    bytes::{Bytes, bit},
    value::Layout,
};
use crate::transaction::{Column, Kind, Row, Table, Value};

/// The server's collation numbers, each with its character set's name.
pub type Charsets = HashMap<u16, String>;

/// A table and how its rows are laid down.
#[derive(Debug)]
pub(super) struct TableMap {
    pub(super) table: Table,
    /// One for each column of the table, and behind them those of columns that only the server knows.
    pub(super) layouts: Vec<Layout>,
}

/// MariaDB keeps a hash beside each unique key over whole TEXTs or BLOBs, in columns that no statement can name, at the
/// end of the row. Every server makes its own.
fn is_servers_own(name: &str, layout: Layout) -> bool {
    let numbered = name.strip_prefix("DB_ROW_HASH_").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    numbered && matches!(layout, Layout::Integer { bytes: 8, .. })
}

/// The collation number of byte strings.
const BINARY: u16 = 63;

/// How the character sets of a table's columns are told: one for all with exceptions, or one each.
#[derive(Default)]
struct Collations {
    default: Option<u16>,
    exceptions: HashMap<usize, u16>,
    each: Vec<u16>,
}

impl Collations {
    fn of(&self, nth: usize) -> Option<u16> {
        self.each.get(nth).or_else(|| self.exceptions.get(&nth)).copied().or(self.default)
    }
}

/// The optional part of the event.
#[derive(Default)]
struct Metadata<'a> {
    unsigned: &'a [u8],
    names: Vec<String>,
    key: Vec<u16>,
    text: Collations,
}

impl TableMap {
    /// Reads the event's body behind its table number and flags.
    pub(super) fn read(body: &[u8], charsets: &Charsets, mysql: bool) -> Result<TableMap, DecodeError> {
        let mut from = Bytes(body);
        let (schema, name) = (terminated_name(&mut from)?, terminated_name(&mut from)?);
        let table = format!("{schema}.{name}");
        let columns = from.packed_len()?;
        let types = from.take(columns)?;
        let meta_len = from.packed_len()?;
        let mut meta = Bytes(from.take(meta_len)?);
        from.take(columns.div_ceil(8))?;
        let metadata = Metadata::read(from)?;
        if metadata.names.len() != columns {
            return Err(DecodeError::Setting {
                variable: "binlog_row_metadata",
                needed: "FULL",
                found: format!("the log describes {table} without its columns' names"),
            });
        }
        let (mut kinds, mut layouts) = (Vec::with_capacity(columns), Vec::with_capacity(columns));
        let (mut numeric, mut textual) = (0, 0);
        for (&code, column) in types.iter().zip(&metadata.names) {
            let mut next_unsigned = || {
                numeric += 1;
                metadata
                    .unsigned
                    .get((numeric - 1) / 8)
                    .is_some_and(|b| b & (0x80 >> ((numeric - 1) % 8)) != 0)
            };
            let mut next_charset = |fixed: Option<u16>| {
                textual += 1;
                match metadata.text.of(textual - 1) {
                    None => Err(DecodeError::Malformed("a column has no character set")),
                    Some(BINARY) => Ok(Kind::Binary { fixed }),
                    Some(id) => {
                        charsets.get(&id).map(|c| Kind::Text { charset: c.clone() }).ok_or_else(|| {
                            DecodeError::Unsupported(format!(
                                "column {table}.{column} has the unknown collation {id}"
                            ))
                        })
                    }
                }
            };
            let (kind, layout) = match code {
                1 | 2 | 3 | 8 | 9 => {
                    let bytes = match code {
                        1 => 1,
                        2 => 2,
                        9 => 3,
                        3 => 4,
                        _ => 8,
                    };
                    (Kind::Number, Layout::Integer { bytes, unsigned: next_unsigned() })
                }
                4 | 5 => {
                    next_unsigned();
                    meta.u8()?;
                    (Kind::Number, if code == 4 { Layout::Float } else { Layout::Double })
                }
                246 => {
                    next_unsigned();
                    (Kind::Number, Layout::Decimal { digits: meta.u8()?, scale: meta.u8()? })
                }
                13 => {
                    next_unsigned();
                    (Kind::Number, Layout::Year)
                }
                16 => {
                    let (odd_bits, whole_bytes) = (meta.u8()?, meta.u8()?);
                    let bytes = whole_bytes.saturating_add(u8::from(odd_bits > 0));
                    (Kind::Number, Layout::Bits { bytes: small(bytes)? })
                }
                10 | 14 => (Kind::Temporal, Layout::Date),
                17 => (Kind::Temporal, Layout::Timestamp { decimals: meta.u8()? }),
                18 => (Kind::Temporal, Layout::Datetime { decimals: meta.u8()? }),
                19 => (Kind::Temporal, Layout::Time { decimals: meta.u8()? }),
                15 | 253 => {
                    let length_bytes = if meta.u16()? < 256 { 1 } else { 2 };
                    (next_charset(None)?, Layout::String { length_bytes })
                }
                254 => match (meta.u8()?, meta.u8()?) {
                    (247, bytes) => (Kind::Number, Layout::Enum { bytes: small(bytes)? }),
                    (248, bytes) => (Kind::Number, Layout::Set { bytes: small(bytes)? }),
                    (high, low) => {
                        // The two bits above 255 of a CHAR's length are kept, inverted, in its type's byte.
                        let length = u16::from(low) | (u16::from(!high & 0x30) << 4);
                        let length_bytes = if length < 256 { 1 } else { 2 };
                        (next_charset(Some(length))?, Layout::String { length_bytes })
                    }
                },
                249..=252 => (next_charset(None)?, Layout::String { length_bytes: small(meta.u8()?)? }),
                255 => {
                    if !mysql {
                        next_charset(None)?; // MariaDB lists one for geometries, too
                    }
                    (Kind::Geometry, Layout::String { length_bytes: small(meta.u8()?)? })
                }
                _ => {
                    return Err(DecodeError::Unsupported(format!(
                        "column {table}.{column} {}",
                        why_not(code)
                    )));
                }
            };
            kinds.push(kind);
            layouts.push(layout);
        }
        let named = metadata.names.into_iter().zip(kinds);
        let mut columns: Vec<Column> = named.map(|(name, kind)| Column { name, kind }).collect();
        while let (Some(last), Some(layout)) = (columns.last(), layouts.get(columns.len().saturating_sub(1)))
            && is_servers_own(&last.name, *layout)
        {
            columns.pop();
        }
        if metadata.key.iter().any(|k| usize::from(*k) >= columns.len()) {
            return Err(DecodeError::Malformed("a primary key names a column that is not there"));
        }
        Ok(TableMap { table: Table { schema, name, columns, key: metadata.key }, layouts })
    }
}

impl<'a> Metadata<'a> {
    fn read(mut from: Bytes<'a>) -> Result<Self, DecodeError> {
        let mut found = Metadata::default();
        while !from.is_empty() {
            let field = from.u8()?;
            let length = from.packed_len()?;
            let mut value = Bytes(from.take(length)?);
            match field {
                1 => found.unsigned = value.0,
                2 => {
                    found.text.default = Some(collation(&mut value)?);
                    while !value.is_empty() {
                        let nth = value.packed_len()?;
                        found.text.exceptions.insert(nth, collation(&mut value)?);
                    }
                }
                3 => {
                    while !value.is_empty() {
                        found.text.each.push(collation(&mut value)?);
                    }
                }
                4 => {
                    while !value.is_empty() {
                        let length = value.packed_len()?;
                        found.names.push(name(value.take(length)?)?);
                    }
                }
                8 => {
                    while !value.is_empty() {
                        found.key.push(column_index(&mut value)?);
                    }
                }
                9 => {
                    while !value.is_empty() {
                        found.key.push(column_index(&mut value)?);
                        value.packed()?; // the length of the prefix; rows are found by the whole value
                    }
                }
                // Members of enums and sets travel by number, which is exact; visibility and geometry subtypes
                // change no value.
                _ => {}
            }
        }
        Ok(found)
    }
}

fn collation(from: &mut Bytes<'_>) -> Result<u16, DecodeError> {
    u16::try_from(from.packed()?).map_err(|_| DecodeError::Malformed("a collation's number is too large"))
}

fn column_index(from: &mut Bytes<'_>) -> Result<u16, DecodeError> {
    u16::try_from(from.packed()?).map_err(|_| DecodeError::Malformed("a column's number is too large"))
}

fn name(bytes: &[u8]) -> Result<String, DecodeError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::Malformed("a name is not UTF-8"))
}

fn terminated_name(from: &mut Bytes<'_>) -> Result<String, DecodeError> {
    let length = from.u8()?;
    let text = name(from.take(length.into())?)?;
    from.take(1)?;
    Ok(text)
}

/// A number's width in bytes, which is never above eight.
fn small(bytes: u8) -> Result<u8, DecodeError> {
    match bytes {
        1..=8 => Ok(bytes),
        _ => Err(DecodeError::Malformed("a column is wider than it can be")),
    }
}

fn why_not(code: u8) -> String {
    match code {
        7 | 11 | 12 => {
            "has the temporal format of before 5.6: rebuild the table with mysql56_temporal_format=ON".into()
        }
        140 | 141 => "is COMPRESSED: rebuild it without that attribute".into(),
        245 => "is of MySQL's binary JSON type: use LONGTEXT, or MariaDB's JSON".into(),
        _ => format!("is of the unknown type {code}"),
    }
}

/// Rows of one event, by the bitmap of the columns that they hold.
pub(super) fn read_row(map: &TableMap, present: &[u8], from: &mut Bytes<'_>) -> Result<Row, DecodeError> {
    if (0..map.layouts.len()).any(|i| !bit(present, i)) {
        return Err(DecodeError::Setting {
            variable: "binlog_row_image",
            needed: "FULL",
            found: format!("the log holds rows of {} without all of their columns", map.table),
        });
    }
    let nulls = from.take(map.layouts.len().div_ceil(8))?;
    let values = map.layouts.iter().enumerate();
    let mut row = values
        .map(|(i, layout)| if bit(nulls, i) { Ok(Value::Null) } else { layout.read(from) })
        .collect::<Result<Vec<_>, _>>()?;
    row.truncate(map.table.columns.len());
    Ok(row)
}
