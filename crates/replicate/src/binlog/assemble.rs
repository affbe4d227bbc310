//! From the log's events, one after the other, to transactions: sans-IO, no clock, no socket.
//!
//! Feed it every event in order; it hands out the steps of transactions and their ends. What stands between
//! transactions (the log's own housekeeping) comes out as an end without steps, so that a reader's position can
//! follow the log to its very end.
//!
//! Always true here: an [`Item::End`] stands behind a complete transaction; an offset never goes back within a
//! file, although the event header's own is 32 bits wide and wraps at 4 GiB; any bytes end in a value or an error.

use std::{collections::HashMap, sync::Arc};

use super::{
    DecodeError,
    bytes::Bytes,
    query,
    table_map::{Charsets, TableMap, read_row},
    unpack,
};
use crate::{
    statement::{Class, classify},
    transaction::{At, Change, End, Rows, Statement, Table},
};

/// One event as it stands in the log, without its checksum.
#[derive(Clone, Copy, Debug)]
pub struct RawEvent<'a> {
    /// The header's type.
    pub kind: u8,
    /// The header's time, in seconds since 1970 UTC: when its statement began.
    pub at_s: u32,
    /// The header's end position: the low 32 bits, 0 if the server made the event up for us.
    pub end: u32,
    /// The header's flags.
    pub flags: u16,
    /// What follows the header.
    pub body: &'a [u8],
}

/// What the log says next.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A table that the following changes name by this number.
    Table {
        /// Its number, until the same number is given to another.
        number: u32,
        /// What it looks like.
        table: Arc<Table>,
    },
    /// A step of the transaction under way.
    Change(Change),
    /// Everything since the last end is complete.
    End(End),
    /// The transaction under way was never finished (its server died while writing it). Forget its steps.
    Abandoned,
}

/// Where we are within a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// Between transactions.
    None,
    /// A GTID was read (MySQL): `BEGIN` opens a transaction, any other statement is one by itself.
    Announced,
    /// The next statement is a transaction by itself.
    Standalone,
    /// Until XID or `COMMIT`.
    Open,
}

/// Remembered table descriptions; past this many the memory starts anew (numbers are given again).
const TABLES_MAX: usize = 4_096;

/// The state between events.
#[derive(Debug)]
pub struct Assembler {
    charsets: Charsets,
    at: At,
    skip_to: At,
    group: Group,
    /// What the transaction under way holds.
    holds_definition: bool,
    holds_rows: bool,
    /// A format description was read: from here on the library knows whether events end in a checksum.
    described: bool,
    /// The format description says that MySQL wrote this log, not MariaDB.
    mysql: bool,
    /// The server's table numbers, as last mapped.
    mapped: HashMap<u64, (u32, Arc<TableMap>)>,
    /// Every description seen, by its bytes: a hot table is described in each transaction, and parsed once.
    known: HashMap<Vec<u8>, (u32, Arc<TableMap>)>,
}

mod kind {
    pub(super) const QUERY: u8 = 2;
    pub(super) const STOP: u8 = 3;
    pub(super) const ROTATE: u8 = 4;
    pub(super) const FORMAT: u8 = 15;
    pub(super) const XID: u8 = 16;
    pub(super) const TABLE_MAP: u8 = 19;
    pub(super) const INCIDENT: u8 = 26;
    pub(super) const MARIADB_GTID: u8 = 162;
}

const ARTIFICIAL: u16 = 0x20;
const IGNORABLE: u16 = 0x80;
const ROWS_WITHOUT_FOREIGN_KEY_CHECKS: u16 = 0x2;

impl Assembler {
    /// Begins at `from`, a place between transactions. If the server can only be asked for an earlier place of the
    /// same file, everything up to `from` is read and dropped.
    pub fn new(charsets: Charsets, from: At) -> Assembler {
        Assembler {
            charsets,
            at: At { offset: 4, ..from },
            skip_to: from,
            group: Group::None,
            holds_definition: false,
            holds_rows: false,
            described: false,
            mysql: false,
            mapped: HashMap::new(),
            known: HashMap::new(),
        }
    }

    /// Tells that the server was asked to begin exactly at the place given, so that offsets count from there.
    pub fn begin_at_start(&mut self) {
        self.at = self.skip_to;
    }

    /// The place behind the last event.
    pub fn at(&self) -> At {
        self.at
    }

    /// Whether no transaction is under way.
    pub fn is_between(&self) -> bool {
        self.group == Group::None
    }

    /// Takes the next event; what it says is added to `items`.
    pub fn event(&mut self, event: &RawEvent<'_>, items: &mut Vec<Item>) -> Result<(), DecodeError> {
        if event.kind == kind::ROTATE {
            // The first one only repeats what was asked for, and may end in a checksum that nobody cut off.
            return if self.described { self.rotate(event, items) } else { Ok(()) };
        }
        if event.kind == kind::FORMAT {
            self.described = true;
            self.mysql = written_by_mysql(event.body);
        }
        if event.end == 0 || event.flags & ARTIFICIAL != 0 || matches!(event.kind, 27 | 41) {
            return match event.kind {
                // Passing over these would lose rows without a word.
                kind::QUERY
                | kind::XID
                | kind::TABLE_MAP
                | kind::MARIADB_GTID
                | 23..=25
                | 30..=34
                | 38..=40 => Err(DecodeError::Malformed("a part of a transaction has no place in the log")),
                _ => Ok(()), // made up for the connection; not in the log
            };
        }
        self.at.offset = unwrap_offset(self.at.offset, event.end);
        if self.at <= self.skip_to && self.at.file == self.skip_to.file {
            return Ok(());
        }
        match event.kind {
            kind::MARIADB_GTID => self.mariadb_gtid(event.body),
            33 | 34 | 42 => self.open(Group::Announced),
            kind::QUERY => self.query(event, items),
            kind::TABLE_MAP => self.table_map(event.body, items),
            23..=25 | 30..=32 => self.rows(event, items),
            kind::XID => self.end(items),
            5 | 13 | 14 | 28 | 29 | 160 => Ok(()), // context of a statement; the statement itself is judged
            kind::FORMAT | kind::STOP | 35 | 161 | 163 | 164 => self.housekeeping(event.kind, items),
            kind::INCIDENT => Err(DecodeError::Unsupported(
                "the server notes that its log has a gap (INCIDENT): the standby must be seeded again".into(),
            )),
            38 => Err(DecodeError::Unsupported(TWO_PHASE.into())),
            39 => Err(setting("binlog_row_value_options", "''", "rows with partial JSON updates")),
            40 => Err(setting("binlog_transaction_compression", "OFF", "a compressed transaction")),
            165 => self.query(&RawEvent { body: &unpack::query(event.body)?, ..*event }, items),
            166..=171 => {
                let kind = if event.kind <= 168 { event.kind - 166 + 23 } else { event.kind - 169 + 30 };
                self.rows(&RawEvent { kind, body: &unpack::rows(kind, event.body)?, ..*event }, items)
            }
            6..=12 | 17 | 18 => Err(setting("binlog_format", "ROW", "a LOAD DATA statement")),
            _ if event.flags & IGNORABLE != 0 => Ok(()),
            other => {
                Err(DecodeError::Unsupported(format!("the log holds an event of the unknown type {other}")))
            }
        }
    }

    fn rotate(&mut self, event: &RawEvent<'_>, items: &mut Vec<Item>) -> Result<(), DecodeError> {
        let mut body = Bytes(event.body);
        let offset = body.u64()?;
        let file = file_number(body.0).ok_or(DecodeError::Malformed("a log file's name has no number"))?;
        let next = At { file, offset };
        let made_up = event.end == 0 || event.flags & ARTIFICIAL != 0;
        if made_up && file == self.at.file {
            return Ok(());
        }
        if self.group != Group::None {
            (self.holds_definition, self.holds_rows) = (false, false);
            self.group = Group::None;
            items.push(Item::Abandoned);
        }
        self.at = next;
        self.mapped.clear();
        items.push(Item::End(End { at: self.at, heartbeat_at_ms: None }));
        Ok(())
    }

    fn open(&mut self, group: Group) -> Result<(), DecodeError> {
        match self.group {
            Group::None => {
                self.group = group;
                Ok(())
            }
            _ => Err(DecodeError::Malformed("a transaction begins within another")),
        }
    }

    fn mariadb_gtid(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        const STANDALONE: u8 = 1;
        const GROUP_COMMIT: u8 = 2;
        const XA: u8 = 64 | 128;
        const TWO_PHASE_ALTER: u8 = 2 | 4 | 8;
        let mut body = Bytes(body);
        let (_sequence, _domain, flags) = (body.u64()?, body.u32()?, body.u8()?);
        if flags & XA != 0 {
            return Err(DecodeError::Unsupported(TWO_PHASE.into()));
        }
        if flags & GROUP_COMMIT != 0 {
            body.u64()?;
        }
        if !body.is_empty() && body.u8()? & TWO_PHASE_ALTER != 0 {
            return Err(setting("binlog_alter_two_phase", "OFF", "an ALTER TABLE in two phases"));
        }
        self.open(if flags & STANDALONE != 0 { Group::Standalone } else { Group::Open })
    }

    fn query(&mut self, event: &RawEvent<'_>, items: &mut Vec<Item>) -> Result<(), DecodeError> {
        let mut statement = query::read(event.at_s, event.body)?;
        match classify(&statement.sql, &statement.schema) {
            Class::Begin => {
                self.group = Group::Open;
                Ok(())
            }
            Class::Commit => self.end(items),
            Class::Rollback => self.rolled_back(items),
            Class::Savepoint(sql) => {
                items.push(Item::Change(Change::Savepoint(sql)));
                Ok(())
            }
            Class::TwoPhase => Err(DecodeError::Unsupported(TWO_PHASE.into())),
            Class::Data => {
                Err(setting("binlog_format", "ROW", &format!("the statement {}", excerpt(&statement))))
            }
            Class::Account | Class::Local | Class::Definition { .. } | Class::Refused { .. } => {
                self.holds_definition = true;
                if self.group == Group::Open {
                    as_the_server_wrote_it(&mut statement);
                }
                items.push(Item::Change(Change::Statement(statement)));
                match self.group {
                    // CREATE TABLE … SELECT: rows follow the statement.
                    Group::Open => Ok(()),
                    Group::None | Group::Announced | Group::Standalone => self.end(items),
                }
            }
        }
    }

    fn table_map(&mut self, body: &[u8], items: &mut Vec<Item>) -> Result<(), DecodeError> {
        let mut from = Bytes(body);
        let id = from.little(6)?;
        from.u16()?;
        if let Some(known) = self.known.get(from.0) {
            self.mapped.insert(id, known.clone());
            return Ok(());
        }
        if self.known.len() >= TABLES_MAX {
            self.known.clear();
        }
        let map = Arc::new(TableMap::read(from.0, &self.charsets, self.mysql)?);
        let number = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        items.push(Item::Table { number, table: Arc::new(map.table.clone()) });
        self.known.insert(from.0.to_vec(), (number, map.clone()));
        self.mapped.insert(id, (number, map));
        Ok(())
    }

    fn rows(&mut self, event: &RawEvent<'_>, items: &mut Vec<Item>) -> Result<(), DecodeError> {
        let mut from = Bytes(event.body);
        let id = from.little(6)?;
        let flags = from.u16()?;
        if event.kind >= 30 {
            let extra = from.u16()?;
            from.take(usize::from(extra).saturating_sub(2))?;
        }
        let (number, map) =
            self.mapped.get(&id).ok_or(DecodeError::Malformed("rows of a table that was not described"))?;
        let columns = from.packed_len()?;
        if columns != map.layouts.len() {
            return Err(DecodeError::Malformed("rows have another number of columns than their table"));
        }
        let bitmap = columns.div_ceil(8);
        let before = from.take(bitmap)?;
        let rows = match event.kind {
            23 | 30 => Rows::Insert(read_all(&mut from, |f| read_row(map, before, f))?),
            25 | 32 => Rows::Delete(read_all(&mut from, |f| read_row(map, before, f))?),
            _ => {
                let after = from.take(bitmap)?;
                Rows::Update(read_all(&mut from, |f| {
                    Ok((read_row(map, before, f)?, read_row(map, after, f)?))
                })?)
            }
        };
        self.holds_rows = true;
        let foreign_key_checks = flags & ROWS_WITHOUT_FOREIGN_KEY_CHECKS == 0;
        items.push(Item::Change(Change::Rows { table: *number, foreign_key_checks, rows }));
        Ok(())
    }

    /// A transaction that was rolled back is logged if it made a temporary table: nothing of it stays. (Rows of other
    /// engines, which would stay, are logged in transactions of their own.) A definition commits by itself: MariaDB
    /// logs the DROP TABLE that is left of a failed CREATE OR REPLACE within a transaction that is rolled back.
    fn rolled_back(&mut self, items: &mut Vec<Item>) -> Result<(), DecodeError> {
        match (self.holds_definition, self.holds_rows) {
            (true, true) => Err(DecodeError::Unsupported(
                "the log holds a ROLLBACK of rows behind a definition: the standby must be seeded again"
                    .into(),
            )),
            (true, false) => self.end(items),
            (false, _) => {
                items.push(Item::Abandoned);
                self.end(items)
            }
        }
    }

    fn end(&mut self, items: &mut Vec<Item>) -> Result<(), DecodeError> {
        (self.holds_definition, self.holds_rows) = (false, false);
        self.group = Group::None;
        items.push(Item::End(End { at: self.at, heartbeat_at_ms: None }));
        Ok(())
    }

    fn housekeeping(&mut self, event: u8, items: &mut Vec<Item>) -> Result<(), DecodeError> {
        if self.group != Group::None {
            if event != kind::FORMAT && event != kind::STOP {
                return Ok(()); // a checkpoint may be noted at any time
            }
            items.push(Item::Abandoned);
        }
        self.end(items)
    }
}

fn read_all<'a, T>(
    from: &mut Bytes<'a>,
    read: impl Fn(&mut Bytes<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut all = Vec::new();
    while !from.is_empty() {
        let left = from.0.len();
        all.push(read(from)?);
        if from.0.len() == left {
            return Err(DecodeError::Malformed("rows without columns"));
        }
    }
    Ok(all)
}

/// The 64-bit offset that ends in the 32 bits of `end` and is not before `base`.
fn unwrap_offset(base: u64, end: u32) -> u64 {
    let candidate = (base & !u64::from(u32::MAX)) | u64::from(end);
    if candidate < base { candidate + (1 << 32) } else { candidate }
}

/// MariaDB's versions begin at 10, and MySQL's do not reach it.
fn written_by_mysql(format_description: &[u8]) -> bool {
    let version = format_description.get(2..52).unwrap_or_default();
    let major: Vec<u8> = version.iter().copied().take_while(u8::is_ascii_digit).collect();
    matches!(String::from_utf8_lossy(&major).parse::<u32>(), Ok(..10))
        && !version.windows(7).any(|w| w == b"MariaDB")
}

/// The number behind the last dot of a log file's name; whatever follows the digits is not looked at.
pub(crate) fn file_number(name: &[u8]) -> Option<u64> {
    let dot = name.iter().rposition(|b| *b == b'.')?;
    let digits: Vec<u8> = name[dot + 1..].iter().copied().take_while(u8::is_ascii_digit).collect();
    String::from_utf8(digits).ok()?.parse().ok()
}

const TWO_PHASE: &str = "the log holds an XA transaction, which cannot be replicated: its second half may come much later, or never; use ordinary transactions";

/// A definition with rows behind it (`CREATE TABLE … SELECT`) is logged in the server's words, not in the client's.
///
/// They hold backslashes as escapes whatever the session's `sql_mode` is. MySQL ends them with `START TRANSACTION`,
/// which the definition's own session would leave open.
fn as_the_server_wrote_it(statement: &mut Statement) {
    const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;
    statement.sql_mode = statement.sql_mode.map(|mode| mode & !NO_BACKSLASH_ESCAPES);
    if let Some(rest) = statement.sql.trim_ascii_end().strip_suffix(b"START TRANSACTION") {
        statement.sql.truncate(rest.len());
    }
}

fn setting(variable: &'static str, needed: &'static str, found: &str) -> DecodeError {
    DecodeError::Setting { variable, needed, found: format!("the log holds {found}") }
}

/// The beginning of a statement, for a message.
pub(crate) fn excerpt(statement: &Statement) -> String {
    let text: String = String::from_utf8_lossy(&statement.sql).chars().take(120).collect();
    format!("`{}`", text.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u8, end: u32, body: &[u8]) -> RawEvent<'_> {
        RawEvent { kind, at_s: 0, end, flags: 0, body }
    }

    fn gtid(flags: u8) -> Vec<u8> {
        let mut body = vec![0; 19];
        body[12] = flags;
        body
    }

    fn query_body(sql: &str) -> Vec<u8> {
        let mut body = vec![7, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
        body.extend_from_slice(b"shop\0");
        body.extend_from_slice(sql.as_bytes());
        body
    }

    fn ends(items: &[Item]) -> Vec<u64> {
        items.iter().filter_map(|i| if let Item::End(e) = i { Some(e.at.offset) } else { None }).collect()
    }

    fn begin(at: At) -> Assembler {
        let mut a = Assembler::new(Charsets::new(), at);
        a.begin_at_start();
        a
    }

    #[test]
    fn offsets_go_on_past_4_gib() {
        assert_eq!(unwrap_offset(4, 900), 900);
        assert_eq!(unwrap_offset(u64::from(u32::MAX) - 5, 10), (1 << 32) + 10);
        assert_eq!(unwrap_offset((1 << 32) + 10, 10), (1 << 32) + 10);
    }

    #[test]
    fn an_unfinished_transaction_is_abandoned_when_the_next_file_begins() {
        let (mut a, mut items) = (begin(At { file: 3, offset: 4 }), Vec::new());
        a.event(&RawEvent { kind: 15, at_s: 0, end: 0, flags: ARTIFICIAL, body: &[] }, &mut items).unwrap();
        a.event(&event(162, 100, &gtid(0)), &mut items).unwrap();
        let mut rotate = 4_u64.to_le_bytes().to_vec();
        rotate.extend_from_slice(b"binlog.000004");
        a.event(&RawEvent { kind: 4, at_s: 0, end: 0, flags: ARTIFICIAL, body: &rotate }, &mut items)
            .unwrap();
        assert_eq!(items[0], Item::Abandoned);
        assert_eq!(a.at(), At { file: 4, offset: 4 });
    }

    #[test]
    fn a_definition_is_a_transaction_and_so_is_a_definition_with_rows() {
        let (mut a, mut items) = (begin(At { file: 1, offset: 4 }), Vec::new());
        a.event(&event(162, 42, &gtid(1)), &mut items).unwrap();
        a.event(&event(2, 90, &query_body("CREATE TABLE t (a INT)")), &mut items).unwrap();
        assert_eq!(ends(&items), [90]);
        a.event(&event(162, 132, &gtid(0)), &mut items).unwrap();
        a.event(&event(2, 200, &query_body("CREATE TABLE u (a INT)")), &mut items).unwrap();
        assert_eq!(ends(&items), [90], "rows may follow");
        a.event(&event(16, 240, &[0; 8]), &mut items).unwrap();
        assert_eq!(ends(&items), [90, 240]);
    }

    #[test]
    fn of_what_was_rolled_back_only_definitions_stay() {
        let (mut a, mut items) = (begin(At { file: 1, offset: 4 }), Vec::new());
        a.event(&event(162, 42, &gtid(0)), &mut items).unwrap();
        a.event(&event(2, 90, &query_body("SAVEPOINT `x`")), &mut items).unwrap();
        a.event(&event(2, 120, &query_body("ROLLBACK")), &mut items).unwrap();
        assert_eq!(items[1], Item::Abandoned);
        assert_eq!(ends(&items), [120]);
        items.clear();
        a.event(&event(162, 162, &gtid(0)), &mut items).unwrap();
        a.event(&event(2, 200, &query_body("DROP TABLE IF EXISTS t")), &mut items).unwrap();
        a.event(&event(2, 240, &query_body("ROLLBACK")), &mut items).unwrap();
        assert!(matches!(items.as_slice(), [Item::Change(Change::Statement(_)), Item::End(_)]), "{items:?}");
    }

    #[test]
    fn what_is_before_the_start_is_read_and_dropped() {
        let (mut a, mut items) = (Assembler::new(Charsets::new(), At { file: 1, offset: 90 }), Vec::new());
        a.event(&event(162, 42, &gtid(1)), &mut items).unwrap();
        a.event(&event(2, 90, &query_body("CREATE TABLE t (a INT)")), &mut items).unwrap();
        assert!(items.is_empty());
        a.event(&event(162, 132, &gtid(1)), &mut items).unwrap();
        a.event(&event(2, 200, &query_body("DROP TABLE t")), &mut items).unwrap();
        assert_eq!(ends(&items), [200]);
    }

    #[test]
    fn a_statement_that_changes_rows_names_the_setting() {
        let (mut a, mut items) = (begin(At { file: 1, offset: 4 }), Vec::new());
        let e = a.event(&event(2, 90, &query_body("UPDATE t SET a = 1")), &mut items).unwrap_err();
        assert!(e.to_string().contains("binlog_format"), "{e}");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_end_in_a_value_or_an_error(
            events in proptest::collection::vec((0_u8..=255, 0_u32..9_000, proptest::collection::vec(0_u8..=255, 0..120)), 1..30)
        ) {
            let (mut a, mut items) = (begin(At { file: 1, offset: 4 }), Vec::new());
            for (kind, end, body) in &events {
                if a.event(&event(*kind, *end, body), &mut items).is_err() {
                    break;
                }
            }
        }
    }
}
