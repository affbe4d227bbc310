//! A table as it stands here, where rows are about to be written.
//!
//! How a row is *read* comes from the log alone. Here is only asked what this server can be *told*: columns that
//! it computes itself must be left out, and a few types want another notation than the log's. That is sound,
//! because this database stands at exactly the row's position: every definition before it has been applied, and
//! none behind it.

use std::borrow::Cow;

use mysql_async::{Conn, prelude::Queryable};

use super::sql;
use crate::{
    database::DatabaseError,
    transaction::{Kind, Row, Table, Value},
};

/// Where the rows of one described table go.
#[derive(Debug)]
pub(crate) struct Target {
    /// Quoted, with its schema.
    pub(super) name: String,
    columns: Vec<TargetColumn>,
    key: Vec<usize>,
}

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
    notation: Notation,
}

/// Types whose form in the log is not what the server takes as a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notation {
    AsLogged,
    Uuid,
    Inet6,
    Inet4,
}

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
        let found: Vec<(String, String, String)> = conn
            .query(format!(
                "SELECT COLUMN_NAME, DATA_TYPE, EXTRA FROM information_schema.COLUMNS WHERE TABLE_SCHEMA={} AND TABLE_NAME={} ORDER BY ORDINAL_POSITION",
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
            |(index, ((name, data_type, extra), column))| {
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
                    notation,
                }
            },
        );
        Ok(Target {
            name: format!("{}.{}", sql::quoted(&table.schema), sql::quoted(&table.name)),
            columns: columns.collect(),
            key: table.key.iter().map(|k| usize::from(*k)).collect(),
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
    pub(super) fn literal(&self, out: &mut String, row: &Row) {
        match row.get(self.index) {
            Some(value) => sql::literal(out, &self.converted(value), &self.kind),
            None => sql::literal(out, &Value::Null, &self.kind),
        }
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

/// The log leaves out zeros at the end.
fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut all = [0; N];
    all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    all
}

/// MariaDB stores UUIDs of versions 1 to 5 with their groups in reverse, so that times sort.
fn uuid(stored: [u8; 16]) -> String {
    let reversed = stored[6] & 0x80 != 0 && stored[8] > 0 && stored[8] < 0x60;
    let group =
        |at: std::ops::Range<usize>| stored[at].iter().map(|b| format!("{b:02x}")).collect::<String>();
    let groups = match reversed {
        true => [group(12..16), group(10..12), group(8..10), group(6..8), group(0..6)],
        false => [group(0..4), group(4..6), group(6..8), group(8..10), group(10..16)],
    };
    groups.join("-")
}
