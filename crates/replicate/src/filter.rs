//! What must not travel: our own bookkeeping, each server's own matters, and what came from the peer.
//!
//! Put every [`Item`] of a log through it, in order. Ends always pass, so that the reader's position follows. The
//! mark of a transaction that came from the peer is a change of `ghostlight.applied`, which our appliers make
//! first in each transaction; DDL of theirs is known by the connection that the mark before it names.

use std::collections::HashMap;

use crate::{
    binlog::{DecodeError, Item, excerpt},
    checkpoint::Pending,
    statement::{Class, classify},
    transaction::{Change, End, Rows, Statement, Table, Value},
};

/// Our own schema.
pub const OURS: &str = "ghostlight";

/// Schemas that belong to a server.
pub const SERVERS: [&str; 4] = ["mysql", "information_schema", "performance_schema", "sys"];

/// The application's schemas, as a condition behind a column of schema names.
pub(crate) const APPLICATIONS_SQL: &str =
    "NOT IN ('ghostlight','mysql','information_schema','performance_schema','sys')";

/// Whether a schema is the application's.
pub fn is_applications(schema: &str) -> bool {
    let is = |other: &str| schema.eq_ignore_ascii_case(other);
    !is(OURS) && !SERVERS.iter().any(|s| is(s))
}

/// What a table is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Applications,
    /// `ghostlight.applied`, and where its column `pending` stands.
    Slots {
        pending: Option<usize>,
    },
    /// `ghostlight.heartbeat`, and where its column `at_ms` stands.
    Heartbeat {
        at_ms: Option<usize>,
    },
    Other,
}

/// Where a transaction came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was written here.
    Local,
    /// It was applied here from the peer's stream.
    Peer,
}

/// The state between items.
#[derive(Debug, Default)]
pub struct Filter {
    tables: HashMap<u32, Meaning>,
    /// The transaction under way bears the mark.
    from_peer: bool,
    /// The transaction under way has already let a change pass.
    passed: bool,
    heartbeat_at_ms: Option<u64>,
    /// The connection whose DDL came from the peer, as the last mark says.
    peers_connection: Option<u32>,
    last_origin: Option<Origin>,
}

impl Filter {
    /// What of `item` may travel.
    pub fn pass(&mut self, item: Item) -> Result<Option<Item>, DecodeError> {
        match item {
            Item::Table { number, table } => {
                let meaning = Meaning::of(&table);
                self.tables.insert(number, meaning);
                Ok((meaning == Meaning::Applications).then_some(Item::Table { number, table }))
            }
            Item::Change(change) => Ok(self.change(change)?.map(Item::Change)),
            Item::End(end) => {
                self.last_origin = Some(if self.from_peer { Origin::Peer } else { Origin::Local });
                let end = End { heartbeat_at_ms: self.heartbeat_at_ms, ..end };
                self.begin();
                Ok(Some(Item::End(end)))
            }
            Item::Abandoned => {
                self.begin();
                Ok(Some(Item::Abandoned))
            }
        }
    }

    /// Where the transaction of the last [`Item::End`] came from.
    pub fn origin(&self) -> Option<Origin> {
        self.last_origin
    }

    fn begin(&mut self) {
        (self.from_peer, self.passed, self.heartbeat_at_ms) = (false, false, None);
    }

    fn change(&mut self, change: Change) -> Result<Option<Change>, DecodeError> {
        match change {
            Change::Rows { table, foreign_key_checks, rows } => {
                match self.tables.get(&table).copied().unwrap_or(Meaning::Other) {
                    Meaning::Slots { pending } => return self.mark(&rows, pending).map(|()| None),
                    Meaning::Heartbeat { at_ms: Some(column) } => {
                        self.heartbeat_at_ms = newest(&rows).and_then(|row| row.get(column)).and_then(number);
                        return Ok(None);
                    }
                    Meaning::Heartbeat { at_ms: None } | Meaning::Other => return Ok(None),
                    Meaning::Applications => {}
                }
                Ok(self.travels(Change::Rows { table, foreign_key_checks, rows }))
            }
            Change::Savepoint(sql) => Ok(self.travels(Change::Savepoint(sql))),
            Change::Statement(statement) => self.statement(statement),
        }
    }

    fn travels(&mut self, change: Change) -> Option<Change> {
        self.passed |= !self.from_peer;
        (!self.from_peer).then_some(change)
    }

    fn mark(&mut self, rows: &Rows, pending: Option<usize>) -> Result<(), DecodeError> {
        if self.passed {
            return Err(DecodeError::Unsupported(
                "a transaction changed the application's tables before ghostlight.applied: nobody but the agent may write there".into(),
            ));
        }
        self.from_peer = true;
        let text = match (newest(rows), pending) {
            (Some(row), Some(column)) => match row.get(column) {
                Some(Value::Bytes(text)) => String::from_utf8_lossy(text).into_owned(),
                _ => String::new(),
            },
            _ => String::new(),
        };
        self.peers_connection = match text.parse::<Pending>() {
            Ok(Pending::Ddl { connection, .. } | Pending::Seed { connection, .. }) => Some(connection),
            Ok(Pending::Part | Pending::Undo { .. }) | Err(_) => None,
        };
        Ok(())
    }

    fn statement(&mut self, statement: Statement) -> Result<Option<Change>, DecodeError> {
        if self.peers_connection == Some(statement.connection) {
            self.from_peer = true;
            return Ok(None);
        }
        match classify(&statement.sql, &statement.schema) {
            Class::Definition { schema } if is_applications(&schema) => {
                Ok(self.travels(Change::Statement(statement)))
            }
            Class::Refused { schema, why } if is_applications(&schema) => {
                Err(DecodeError::Unsupported(format!("{} defines {why}", excerpt(&statement))))
            }
            _ => Ok(None),
        }
    }
}

impl Meaning {
    fn of(table: &Table) -> Meaning {
        let column = |name: &str| table.columns.iter().position(|c| c.name == name);
        match (table.schema.as_str(), table.name.as_str()) {
            (OURS, "applied") => Meaning::Slots { pending: column("pending") },
            (OURS, "heartbeat") => Meaning::Heartbeat { at_ms: column("at_ms") },
            (schema, _) if is_applications(schema) => Meaning::Applications,
            _ => Meaning::Other,
        }
    }
}

/// The last row of a change, as it is afterwards.
fn newest(rows: &Rows) -> Option<&[Value]> {
    match rows {
        Rows::Insert(rows) => rows.last().map(Vec::as_slice),
        Rows::Update(rows) => rows.last().map(|(_, after)| after.as_slice()),
        Rows::Delete(_) => None,
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Unsigned(n) => Some(*n),
        Value::Signed(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::transaction::{At, Column, Kind};

    fn table(number: u32, schema: &str, name: &str, columns: &[&str]) -> Item {
        let columns = columns.iter().map(|c| Column { name: (*c).into(), kind: Kind::Number }).collect();
        let table = Table { schema: schema.into(), name: name.into(), columns, key: vec![0] };
        Item::Table { number, table: Arc::new(table) }
    }

    fn insert(table: u32, row: Vec<Value>) -> Item {
        Item::Change(Change::Rows { table, foreign_key_checks: true, rows: Rows::Insert(vec![row]) })
    }

    fn ddl(connection: u32, sql: &str) -> Item {
        let statement =
            Statement { connection, schema: "shop".into(), sql: sql.into(), ..Statement::default() };
        Item::Change(Change::Statement(statement))
    }

    fn end() -> Item {
        Item::End(End { at: At { file: 1, offset: 9 }, heartbeat_at_ms: None })
    }

    /// Feeds everything; returns how many changes passed, and the filter.
    fn check(items: Vec<Item>, changes: usize) -> Filter {
        let mut filter = Filter::default();
        let passed: Vec<Item> = items.into_iter().filter_map(|i| filter.pass(i).unwrap()).collect();
        assert_eq!(passed.iter().filter(|i| matches!(i, Item::Change(_))).count(), changes, "{passed:?}");
        filter
    }

    fn tables() -> Vec<Item> {
        vec![
            table(0, "shop", "t", &["a"]),
            table(1, "ghostlight", "applied", &["stream", "pending"]),
            table(2, "ghostlight", "heartbeat", &["id", "at_ms"]),
        ]
    }

    #[test]
    fn the_condition_in_sql_leaves_out_the_same_schemas() {
        let all: Vec<String> = [OURS].iter().chain(&SERVERS).map(|s| format!("'{s}'")).collect();
        assert_eq!(APPLICATIONS_SQL, format!("NOT IN ({})", all.join(",")));
    }

    #[test]
    fn a_marked_transaction_does_not_travel_and_its_neighbours_do() {
        let mut items = tables();
        items.extend([insert(0, vec![Value::Signed(1)]), end()]);
        items.extend([insert(1, vec![Value::Null, Value::Null]), insert(0, vec![Value::Signed(2)]), end()]);
        assert_eq!(check(items.clone(), 1).origin(), Some(Origin::Peer));
        items.extend([insert(0, vec![Value::Signed(3)]), end()]);
        assert_eq!(check(items, 2).origin(), Some(Origin::Local));
    }

    #[test]
    fn ddl_of_the_applying_connection_does_not_travel() {
        let mark = |text: &str| insert(1, vec![Value::Null, Value::Bytes(text.into())]);
        let mut items = tables();
        items.extend([mark("ddl:8:f"), end(), ddl(8, "CREATE TABLE u (a INT)"), end()]);
        items.extend([ddl(9, "CREATE TABLE v (a INT)"), end()]);
        items.extend([insert(1, vec![Value::Null, Value::Null]), end(), ddl(8, "DROP TABLE u"), end()]);
        check(items, 2);
    }

    #[test]
    fn accounts_and_server_schemas_stay_and_a_heartbeat_leaves_its_time() {
        let mut filter = Filter::default();
        for item in tables() {
            filter.pass(item).unwrap();
        }
        for sql in [
            "GRANT ALL ON *.* TO a",
            "CREATE TABLE mysql.x (a INT)",
            "CREATE DATABASE ghostlight",
            "FLUSH LOGS",
        ] {
            assert_eq!(filter.pass(ddl(1, sql)).unwrap(), None, "{sql}");
        }
        assert_eq!(filter.pass(insert(2, vec![Value::Signed(1), Value::Unsigned(77)])).unwrap(), None);
        let Some(Item::End(end)) = filter.pass(end()).unwrap() else { panic!("an end passes") };
        assert_eq!(end.heartbeat_at_ms, Some(77));
    }

    #[test]
    fn a_trigger_is_refused_and_a_late_mark_too() {
        let mut filter = Filter::default();
        let e = filter.pass(ddl(1, "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @a=1")).unwrap_err();
        assert!(e.to_string().contains("trigger"), "{e}");
        for item in tables().into_iter().chain([insert(0, vec![Value::Signed(1)])]) {
            filter.pass(item).unwrap();
        }
        assert!(filter.pass(insert(1, vec![Value::Null, Value::Null])).is_err());
    }
}
