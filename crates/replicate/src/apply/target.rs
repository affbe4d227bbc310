//! A table as it stands here, where rows are about to be written.
//!
//! How a row is *read* comes from the log alone. Here is only asked what this server can be *told*: columns that
//! it computes itself must be left out, and a few types want another notation than the log's. That is sound,
//! because this database stands at exactly the row's position: every definition before it has been applied, and
//! none behind it.

use std::{
    borrow::Cow,
    io::Write,
    sync::atomic::{AtomicU8, Ordering},
};

use mysql_async::{Conn, prelude::Queryable};

use super::{relations::Relations, sql};
use crate::{
    database::DatabaseError,
    transaction::{Kind, Row, Rows, Table, Value},
};

/// Where the rows of one described table go.
#[derive(Debug)]
pub(crate) struct Target {
    /// Quoted, with its schema.
    pub(super) name: String,
    columns: Vec<TargetColumn>,
    /// The primary key's columns, as the log describes it.
    pub(super) key: Vec<usize>,
    /// What folding must know of this table here; `None`: its changes are not folded.
    pub(super) folding: Option<Folding>,
    /// How often folded changes of this table were refused that one by one were right.
    doubts: AtomicU8,
}

/// What folding must know of a table.
#[derive(Debug, Default)]
pub(super) struct Folding {
    /// Columns of unique keys other than the primary one.
    unique: Vec<usize>,
    /// Such a key holds what is not in the log's row as it is (a computed column): every change may touch it.
    unique_always: bool,
    /// Columns that other tables refer to by foreign keys which the server follows when they change.
    cascading_update: Vec<usize>,
    /// Whether it follows such foreign keys when a row goes.
    cascading_delete: bool,
    /// Whether foreign keys lead from or to this table.
    pub(super) foreign_keys: bool,
    /// The checksum over a row, as an expression.
    pub(super) checksum: String,
}

/// A value of an AUTO_INCREMENT column, for comparing.
fn counted(value: Option<&Value>) -> Option<i128> {
    match value {
        Some(Value::Signed(n)) => Some(i128::from(*n)),
        Some(Value::Unsigned(n)) => Some(i128::from(*n)),
        _ => None,
    }
}

/// After so many false alarms a table's changes are not folded any more.
const DOUBTS_MAX: u8 = 3;

/// One column.
#[derive(Debug)]
pub(super) struct TargetColumn {
    /// Its place in the log's rows.
    pub(super) index: usize,
    /// Quoted.
    pub(super) name: String,
    /// What its values are.
    pub(super) kind: Kind,
    computed: bool,
    enumeration: bool,
    /// AUTO_INCREMENT.
    counts: bool,
    notation: Notation,
    nullable: bool,
    look: Look,
    /// Digits behind the second that the server shows.
    decimals: usize,
}

/// How a column's value goes into a row's checksum, here and at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// As its text.
    Text,
    /// As a number, because its text is something else.
    Number,
    /// As a decimal with thirty digits. What that cannot hold gives a false alarm, never a missed one.
    Decimal,
    /// By its bytes' own checksum.
    Bytes,
}

/// Types whose form in the log is not what the server takes as a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notation {
    AsLogged,
    Uuid,
    Inet6,
    Inet4,
}

/// Larger rows are not folded.
const FOLDED_ROW_MAX: usize = 256 * 1024;

/// Where the rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// From the log.
    Logged,
    /// From a SELECT.
    Selected,
}

/// Why a described table has no place here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTarget {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// It is not there, or has other columns.
    #[error("{0}")]
    Differs(String),
}

impl Target {
    /// Looks `table` up.
    pub(crate) async fn find(conn: &mut Conn, table: &Table, form: Form) -> Result<Target, NoTarget> {
        let found: Vec<(String, String, String, String, String)> = conn
            .query(format!(
                "SELECT COLUMN_NAME, DATA_TYPE, EXTRA, COLUMN_TYPE, IS_NULLABLE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA={} AND TABLE_NAME={} ORDER BY ORDINAL_POSITION",
                sql::text(&table.schema),
                sql::text(&table.name)
            ))
            .await
            .map_err(DatabaseError::from)?;
        if found.is_empty() {
            return Err(NoTarget::Differs(format!("the table {table} does not exist here")));
        }
        let theirs: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
        let ours: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
        if theirs != ours {
            return Err(NoTarget::Differs(format!(
                "the table {table} has the columns ({}) here and ({}) at the primary",
                ours.join(", "),
                theirs.join(", ")
            )));
        }
        let columns = found.iter().zip(&table.columns).enumerate().map(
            |(index, ((name, data_type, extra, column_type, nullable), column))| {
                let notation = match data_type.as_str() {
                    _ if form == Form::Selected => Notation::AsLogged,
                    "uuid" => Notation::Uuid,
                    "inet6" => Notation::Inet6,
                    "inet4" => Notation::Inet4,
                    _ => Notation::AsLogged,
                };
                TargetColumn {
                    index,
                    name: sql::quoted(name),
                    kind: if notation == Notation::AsLogged { column.kind.clone() } else { Kind::Temporal },
                    computed: extra.contains("GENERATED"),
                    enumeration: data_type == "enum",
                    counts: extra.contains("auto_increment"),
                    notation,
                    nullable: nullable != "NO",
                    decimals: match data_type.as_str() {
                        "time" | "datetime" | "timestamp" => in_brackets(column_type).unwrap_or(0),
                        _ => 0,
                    },
                    look: match data_type.as_str() {
                        "bit" | "enum" | "set" | "year" => Look::Number,
                        "float" | "double" => Look::Decimal,
                        _ if column_type.contains("zerofill") => Look::Number,
                        _ if notation == Notation::AsLogged
                            && !matches!(column.kind, Kind::Number | Kind::Temporal) =>
                        {
                            Look::Bytes
                        }
                        _ => Look::Text,
                    },
                }
            },
        );
        Ok(Target {
            name: format!("{}.{}", sql::quoted(&table.schema), sql::quoted(&table.name)),
            columns: columns.collect(),
            key: table.key.iter().map(|k| usize::from(*k)).collect(),
            folding: None,
            doubts: AtomicU8::new(0),
        })
    }

    /// Its name, quoted, with its schema.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has a primary key.
    pub(crate) fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    /// The names of the columns that the server computes by itself.
    pub(crate) fn computed(&self) -> Vec<String> {
        let computed = self.columns.iter().filter(|c| c.computed);
        computed.map(|c| c.name.trim_matches('`').replace("``", "`")).collect()
    }

    /// Learns what folding must know: the keys as they stand here, and who refers to the table.
    pub(super) async fn learn(
        &mut self,
        conn: &mut Conn,
        table: &Table,
        relations: &Relations,
    ) -> Result<(), DatabaseError> {
        let found: Vec<(String, Option<String>)> = conn
            .query(format!(
                "SELECT INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA={} AND TABLE_NAME={} AND NON_UNIQUE=0 ORDER BY INDEX_NAME, SEQ_IN_INDEX",
                sql::text(&table.schema),
                sql::text(&table.name)
            ))
            .await?;
        let place = |name: &str| table.columns.iter().position(|c| c.name.eq_ignore_ascii_case(name));
        let mut folding = Folding { checksum: self.checksum_sql(), ..Folding::default() };
        let mut primary = Vec::new();
        for (index, column) in found {
            let column = column.and_then(|name| place(&name));
            let computed = column.and_then(|c| self.columns.get(c)).is_none_or(|c| c.computed);
            match column {
                Some(column) if index == "PRIMARY" => primary.push(column),
                Some(column) if !computed => folding.unique.push(column),
                _ => folding.unique_always = true,
            }
        }
        let relation = relations.of(table).cloned().unwrap_or_default();
        folding.foreign_keys = relation.foreign_keys;
        folding.cascading_delete = relation.cascading_delete;
        folding.cascading_update = relation.cascading_update.iter().filter_map(|name| place(name)).collect();
        self.folding = (!primary.is_empty() && primary == self.key).then_some(folding);
        Ok(())
    }

    fn checksum_sql(&self) -> String {
        let of = |column: &TargetColumn| {
            let name = &column.name;
            let value = match column.look {
                // A UUID or an address would take the sign for NULL for one of its own, too.
                Look::Text if column.notation != Notation::AsLogged => format!("CAST({name} AS CHAR)"),
                Look::Text => name.clone(),
                Look::Number => format!("CAST({name} AS UNSIGNED)"),
                Look::Decimal => format!("CAST({name} AS DECIMAL(65,30))"),
                Look::Bytes if column.kind == Kind::Geometry => format!("CRC32(CAST({name} AS BINARY))"),
                Look::Bytes => format!("CRC32({name})"),
            };
            if column.nullable { format!("IFNULL({value},'n')") } else { value }
        };
        let all: Vec<String> = self.written().map(of).collect();
        format!("CRC32(CONCAT_WS('/',{}))", all.join(","))
    }

    /// What [`Folding::checksum`] gives for a row that stands as `row`. `scratch` is overwritten.
    pub(super) fn checksum(&self, row: &Row, scratch: &mut Vec<u8>) -> u64 {
        scratch.clear();
        for column in self.written() {
            if !scratch.is_empty() {
                scratch.push(b'/');
            }
            column.look_at(scratch, row.get(column.index).unwrap_or(&Value::Null));
        }
        u64::from(crc32fast::hash(scratch))
    }

    /// The row with the highest AUTO_INCREMENT value; `None` if the table has no such column.
    pub(super) fn highest<'a>(&self, rows: &[&'a Row]) -> Option<&'a Row> {
        let column = self.columns.iter().find(|c| c.counts)?.index;
        rows.iter().max_by_key(|row| counted(row.get(column))).copied()
    }

    /// Whether an update touches a unique key other than the primary one.
    pub(super) fn touches_unique(&self, before: &Row, after: &Row) -> bool {
        self.folding.as_ref().is_none_or(|folding| {
            folding.unique_always || folding.unique.iter().any(|c| before.get(*c) != after.get(*c))
        })
    }

    /// Whether these changes may be folded: the server does nothing by itself for them that is not in the log.
    pub(super) fn folds(&self, rows: &Rows, foreign_key_checks: bool) -> bool {
        let Some(folding) = &self.folding else { return false };
        if self.doubts.load(Ordering::Relaxed) >= DOUBTS_MAX {
            return false;
        }
        let plain = |row: &Row| {
            row.len() == self.columns.len()
                && row.iter().map(Value::cost).sum::<usize>() <= FOLDED_ROW_MAX
                && !self.needs_leniency(row)
        };
        let differ = |a: &Row, b: &Row| folding.cascading_update.iter().any(|c| a.get(*c) != b.get(*c));
        match rows {
            Rows::Insert(rows) => rows.iter().all(plain),
            Rows::Delete(rows) => !(foreign_key_checks && folding.cascading_delete) && rows.iter().all(plain),
            Rows::Update(rows) => {
                rows.iter().all(|(a, b)| plain(a) && plain(b) && !(foreign_key_checks && differ(a, b)))
            }
        }
    }

    /// Folded changes of this table were refused, and one by one they were right.
    pub(super) fn doubted(&self) {
        let more = self.doubts.load(Ordering::Relaxed).saturating_add(1);
        self.doubts.store(more, Ordering::Relaxed);
        if more == DOUBTS_MAX {
            tracing::info!("changes of {} are not folded any more: their checksums do not tell", self.name);
        }
    }

    /// The columns that are written.
    pub(super) fn written(&self) -> impl Iterator<Item = &TargetColumn> {
        self.columns.iter().filter(|c| !c.computed)
    }

    /// Whether a row holds what only a session that is not strict may write: the number 0 of an ENUM, which such a
    /// session made of a text that is no member.
    pub(super) fn needs_leniency(&self, row: &Row) -> bool {
        let zero = |v: Option<&Value>| matches!(v, Some(Value::Unsigned(0) | Value::Signed(0)));
        self.columns.iter().any(|c| c.enumeration && zero(row.get(c.index)))
    }

    /// The primary key's columns.
    pub(super) fn key(&self) -> impl Iterator<Item = &TargetColumn> {
        self.key.iter().filter_map(|k| self.columns.get(*k))
    }
}

impl TargetColumn {
    /// Writes this column's value of `row` down.
    pub(super) fn literal(&self, out: &mut Vec<u8>, row: &Row) {
        match row.get(self.index) {
            Some(value) => sql::literal(out, &self.converted(value), &self.kind),
            None => sql::literal(out, &Value::Null, &self.kind),
        }
    }

    /// Writes a value down as it goes into a row's checksum.
    fn look_at(&self, out: &mut Vec<u8>, value: &Value) {
        let written = match self.converted(value).as_ref() {
            Value::Null => out.write_all(b"n"),
            Value::Signed(n) => write!(out, "{n}"),
            Value::Unsigned(n) => write!(out, "{n}"),
            Value::Float(n) => write!(out, "{}", thirty_digits(f64::from(*n))),
            Value::Double(n) => write!(out, "{}", thirty_digits(*n)),
            // The log's text has six decimals or none.
            Value::Temporal(text) if self.decimals > 0 => {
                let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
                write!(out, "{whole}.{fraction:0<width$.width$}", width = self.decimals)
            }
            Value::Decimal(text) | Value::Temporal(text) => out.write_all(text.as_bytes()),
            Value::Bytes(bytes) => {
                let mut hash = crc32fast::Hasher::new();
                hash.update(bytes);
                if let Kind::Binary { fixed: Some(length) } = self.kind {
                    let padding = usize::from(length).saturating_sub(bytes.len());
                    hash.update(&[0; 256][..padding.min(256)]);
                }
                write!(out, "{}", hash.finalize())
            }
        };
        debug_assert!(written.is_ok());
    }

    /// The value in the server's notation.
    pub(super) fn converted<'a>(&self, value: &'a Value) -> Cow<'a, Value> {
        match (self.notation, value) {
            (Notation::AsLogged, _) => Cow::Borrowed(value),
            (notation, Value::Bytes(bytes)) => {
                let text = match notation {
                    Notation::Uuid => uuid(padded(bytes)),
                    Notation::Inet6 => std::net::Ipv6Addr::from(padded::<16>(bytes)).to_string(),
                    Notation::Inet4 | Notation::AsLogged => {
                        std::net::Ipv4Addr::from(padded::<4>(bytes)).to_string()
                    }
                };
                Cow::Owned(Value::Temporal(text))
            }
            _ => Cow::Borrowed(value),
        }
    }
}

/// The number in `datetime(6)`.
fn in_brackets(column_type: &str) -> Option<usize> {
    column_type.split_once('(')?.1.split_once(')')?.0.parse().ok()
}

/// The shortest digits that read back as the same number, filled up to thirty decimals.
fn thirty_digits(n: f64) -> String {
    let text = n.to_string();
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let point = if decimals == 0 { "." } else { "" };
    format!("{text}{point}{}", "0".repeat(30_usize.saturating_sub(decimals)))
}

/// The log leaves out zeros at the end.
fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut all = [0; N];
    all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    all
}

/// MariaDB stores UUIDs of versions 1 to 5 with their groups in reverse, so that times sort.
fn uuid(stored: [u8; 16]) -> String {
    let reversed = stored[6] & 0x80 != 0 && stored[8] > 0 && stored[8] < 0x60;
    let group = |at: std::ops::Range<usize>| sql::hex(&stored[at]);
    let groups = match reversed {
        true => [group(12..16), group(10..12), group(8..10), group(6..8), group(0..6)],
        false => [group(0..4), group(4..6), group(6..8), group(8..10), group(10..16)],
    };
    groups.join("-")
}
