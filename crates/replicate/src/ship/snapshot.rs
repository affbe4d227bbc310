//! Sends a copy of all application data as they stood at one place of the log.
//!
//! Rows are read in one transaction with a consistent snapshot, whose place in the log the server tells. Definitions
//! have no snapshot: they are read as they are now, and if the log shows at the end that one was changed
//! meanwhile, the copy is void and the standby must ask again. Nothing is locked, and never more than a part of a
//! table is held in memory.

use futures_util::StreamExt;
use model::StreamId;
use mysql_async::{Conn, consts::ColumnType, prelude::Queryable};
use tokio::time::Instant;

use super::ShipError;
use crate::{
    apply::{quoted, text},
    binlog::{AtEnd, Charsets, Item, Log, LogError, charsets, file_number},
    database::{DatabaseConfig, DatabaseError},
    filter::{APPLICATIONS_SQL, Filter},
    link::{ALIVE_EVERY, Sender, frame::Down, pack::PART_COST},
    transaction::{At, Change, Column, Kind, Row, Rows, Statement, Table, Value},
};

/// Errors by which a server says that a table is not what it was when the snapshot was taken.
const DEFINITION_CHANGED: [u16; 3] = [1412, 1146, 1054];

/// Sends everything; the last frame is [`Down::Seeded`].
pub(super) async fn send(
    database: &DatabaseConfig,
    stream: &StreamId,
    sender: &mut Sender,
) -> Result<(), ShipError> {
    let settings = "SET character_set_results = NULL, net_write_timeout = 3600".to_owned();
    let mut conn = database.open_with(vec![settings]).await?;
    let charsets = charsets(&mut conn).await?;
    conn.query_drop("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
    conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
    let at = snapshot_place(&mut conn).await?;
    refuse_what_cannot_travel(&mut conn).await?;
    sender.send(&Down::Seeding(at.in_stream(stream))).await?;
    match copy(&mut conn, &charsets, sender).await {
        Err(ShipError::Log(LogError::Database(DatabaseError::Sql { code, message })))
            if DEFINITION_CHANGED.contains(&code) =>
        {
            return Err(begin_again(&message));
        }
        outcome => outcome?,
    }
    if let Some(statement) = first_definition(database, at, sender).await? {
        return Err(begin_again(&statement));
    }
    Ok(sender.send(&Down::Seeded).await?)
}

fn begin_again(what: &str) -> ShipError {
    DatabaseError::Lost(format!(
        "a definition changed while the data were copied ({what}); the copy begins again"
    ))
    .into()
}

async fn snapshot_place(conn: &mut Conn) -> Result<At, ShipError> {
    let status: Vec<(String, String)> = conn.query("SHOW STATUS LIKE 'binlog_snapshot_%'").await?;
    let value =
        |name: &str| status.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
    let place = || {
        let file = file_number(value("binlog_snapshot_file")?.as_bytes())?;
        Some(At { file, offset: value("binlog_snapshot_position")?.parse().ok()? })
    };
    place().ok_or_else(|| {
        ShipError::Unsupported(
            "this server does not tell the log's place of a snapshot (binlog_snapshot_file): a seed needs MariaDB".into(),
        )
    })
}

/// Names everything that the stream could not keep equal.
async fn refuse_what_cannot_travel(conn: &mut Conn) -> Result<(), ShipError> {
    let checks = [
        (
            "TRIGGER_SCHEMA, TRIGGER_NAME",
            "TRIGGERS",
            "TRIGGER_SCHEMA",
            "",
            "a trigger, which would fire again on the standby",
        ),
        (
            "EVENT_SCHEMA, EVENT_NAME",
            "EVENTS",
            "EVENT_SCHEMA",
            "",
            "an event, which would run on the standby, too",
        ),
        (
            "TABLE_SCHEMA, TABLE_NAME",
            "TABLES",
            "TABLE_SCHEMA",
            "AND TABLE_TYPE NOT IN ('BASE TABLE','VIEW')",
            "neither a plain table nor a view",
        ),
        (
            "TABLE_SCHEMA, TABLE_NAME",
            "TABLES",
            "TABLE_SCHEMA",
            "AND TABLE_TYPE='BASE TABLE' AND ENGINE<>'InnoDB'",
            "not an InnoDB table",
        ),
    ];
    let mut found = Vec::new();
    for (names, table, schema, and, why) in checks {
        let sql =
            format!("SELECT {names} FROM information_schema.{table} WHERE {schema} {APPLICATIONS_SQL} {and}");
        let rows: Vec<(String, String)> = conn.query(sql).await?;
        found.extend(rows.into_iter().map(|(schema, name)| format!("{schema}.{name} is {why}")));
    }
    match found.is_empty() {
        true => Ok(()),
        false => Err(ShipError::Unsupported(format!("the standby cannot be seeded: {}", found.join("; ")))),
    }
}

async fn copy(conn: &mut Conn, charsets: &Charsets, sender: &mut Sender) -> Result<(), ShipError> {
    let schemas: Vec<String> = conn
        .query(format!(
            "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME {APPLICATIONS_SQL} ORDER BY 1"
        ))
        .await?;
    for schema in &schemas {
        define(conn, sender, "", &format!("SHOW CREATE DATABASE {}", quoted(schema)), 1).await?;
    }
    let tables: Vec<(String, String)> = conn
        .query(format!("SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE='BASE TABLE' AND TABLE_SCHEMA {APPLICATIONS_SQL} ORDER BY 1,2"))
        .await?;
    for (schema, name) in &tables {
        define(conn, sender, schema, &format!("SHOW CREATE TABLE {}.{}", quoted(schema), quoted(name)), 1)
            .await?;
    }
    for (number, (schema, name)) in tables.iter().enumerate() {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        copy_table(conn, charsets, sender, number, schema, name).await?;
    }
    let routines: Vec<(String, String, String)> = conn
        .query(format!("SELECT ROUTINE_SCHEMA, ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA {APPLICATIONS_SQL} ORDER BY 1,2,3"))
        .await?;
    for (schema, kind, name) in &routines {
        define(conn, sender, schema, &format!("SHOW CREATE {kind} {}.{}", quoted(schema), quoted(name)), 2)
            .await?;
    }
    let views: Vec<(String, String)> = conn
        .query(format!("SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA {APPLICATIONS_SQL} ORDER BY 1,2"))
        .await?;
    for (schema, name) in &views {
        define(conn, sender, schema, &format!("SHOW CREATE VIEW {}.{}", quoted(schema), quoted(name)), 1)
            .await?;
    }
    Ok(())
}

/// Sends the definition that `show` tells in its column number `column`.
async fn define(
    conn: &mut Conn,
    sender: &mut Sender,
    schema: &str,
    show: &str,
    column: usize,
) -> Result<(), ShipError> {
    let row: Option<mysql_async::Row> = conn.query_first(show).await?;
    let Some(Some(sql)) = row.and_then(|mut row| row.take::<Option<Vec<u8>>, _>(column)) else {
        return Err(ShipError::Unsupported(format!(
            "{show} tells nothing: the agent's account lacks a privilege on it (for routines: SELECT on mysql.proc)"
        )));
    };
    let statement =
        Statement { schema: schema.to_owned(), sql, foreign_key_checks: false, ..Statement::default() };
    Ok(sender.feed(&Down::Part { changes: vec![Change::Statement(statement)], end: None }).await?)
}

async fn copy_table(
    conn: &mut Conn,
    charsets: &Charsets,
    sender: &mut Sender,
    number: u32,
    schema: &str,
    name: &str,
) -> Result<(), ShipError> {
    let of_table = format!("TABLE_SCHEMA={} AND TABLE_NAME={}", text(schema), text(name));
    let found: Vec<(String, String)> = conn
        .query(format!("SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE {of_table} ORDER BY ORDINAL_POSITION"))
        .await?;
    let columns: Vec<&String> = found.iter().map(|(name, _)| name).collect();
    let key: Vec<String> = conn
        .query(format!("SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE {of_table} AND INDEX_NAME='PRIMARY' ORDER BY SEQ_IN_INDEX"))
        .await?;
    let place =
        |column: &String| columns.iter().position(|c| *c == column).and_then(|i| u16::try_from(i).ok());
    let key = key.iter().filter_map(place).collect();
    // Members by number, as in the log: an ENUM may hold what is no member, and two members may look alike.
    let selected = |(name, data_type): &(String, String)| match data_type.as_str() {
        "enum" | "set" => format!("CAST({} AS UNSIGNED)", quoted(name)),
        _ => quoted(name),
    };
    let list: Vec<String> = found.iter().map(selected).collect();
    let select = format!("SELECT {} FROM {}.{}", list.join(","), quoted(schema), quoted(name));
    // Prepared, because only the binary protocol carries a FLOAT without rounding it.
    let mut result = conn.exec_iter(select, ()).await?;
    let described = result.columns().unwrap_or_else(|| Vec::new().into());
    let kinds: Result<Vec<Kind>, ShipError> = described
        .iter()
        .zip(&columns)
        .map(|(d, c)| {
            kind(d, charsets).ok_or_else(|| {
                ShipError::Unsupported(format!("column {schema}.{name}.{c} has an unknown collation"))
            })
        })
        .collect();
    let types: Vec<ColumnType> = described.iter().map(mysql_async::Column::column_type).collect();
    let columns =
        columns.iter().zip(kinds?).map(|(name, kind)| Column { name: (*name).clone(), kind }).collect();
    let table = Table { schema: schema.to_owned(), name: name.to_owned(), columns, key };
    sender.feed(&Down::Table { number, table }).await?;
    let Some(mut stream) = result.stream::<mysql_async::Row>().await? else { return Ok(()) };
    let (mut rows, mut cost) = (Vec::new(), 0);
    while let Some(row) = stream.next().await {
        let row: Row = row?.unwrap_raw().into_iter().zip(&types).map(|(v, t)| value(v, *t)).collect();
        cost += row.iter().map(Value::cost).sum::<usize>();
        rows.push(row);
        if cost >= PART_COST {
            send_rows(sender, number, std::mem::take(&mut rows)).await?;
            cost = 0;
        }
    }
    if !rows.is_empty() {
        send_rows(sender, number, rows).await?;
    }
    Ok(())
}

async fn send_rows(sender: &mut Sender, table: u32, rows: Vec<Row>) -> Result<(), ShipError> {
    let change = Change::Rows { table, foreign_key_checks: false, rows: Rows::Insert(rows) };
    Ok(sender.feed(&Down::Part { changes: vec![change], end: None }).await?)
}

/// What a selected column's values are.
fn kind(column: &mysql_async::Column, charsets: &Charsets) -> Option<Kind> {
    const BINARY: u16 = 63;
    use ColumnType::*;
    Some(match column.column_type() {
        MYSQL_TYPE_DATE | MYSQL_TYPE_NEWDATE | MYSQL_TYPE_TIME | MYSQL_TYPE_DATETIME
        | MYSQL_TYPE_TIMESTAMP => Kind::Temporal,
        MYSQL_TYPE_GEOMETRY => Kind::Geometry,
        MYSQL_TYPE_VARCHAR
        | MYSQL_TYPE_VAR_STRING
        | MYSQL_TYPE_STRING
        | MYSQL_TYPE_ENUM
        | MYSQL_TYPE_SET
        | MYSQL_TYPE_TINY_BLOB
        | MYSQL_TYPE_MEDIUM_BLOB
        | MYSQL_TYPE_LONG_BLOB
        | MYSQL_TYPE_BLOB
        | MYSQL_TYPE_JSON => match column.character_set() {
            BINARY => Kind::Binary { fixed: None },
            id => Kind::Text { charset: charsets.get(&id)?.clone() },
        },
        _ => Kind::Number,
    })
}

fn value(value: Option<mysql_async::Value>, column: ColumnType) -> Value {
    use mysql_async::Value as Theirs;
    match value {
        None | Some(Theirs::NULL) => Value::Null,
        Some(Theirs::Int(n)) => Value::Signed(n),
        Some(Theirs::UInt(n)) => Value::Unsigned(n),
        Some(Theirs::Float(n)) => Value::Float(n),
        Some(Theirs::Double(n)) => Value::Double(n),
        Some(Theirs::Date(year, month, day, h, m, s, us)) => Value::Temporal(match column {
            ColumnType::MYSQL_TYPE_DATE | ColumnType::MYSQL_TYPE_NEWDATE => {
                format!("{year:04}-{month:02}-{day:02}")
            }
            _ => format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}.{us:06}"),
        }),
        Some(Theirs::Time(negative, days, h, m, s, us)) => {
            let sign = if negative { "-" } else { "" };
            Value::Temporal(format!("{sign}{:02}:{m:02}:{s:02}.{us:06}", days * 24 + u32::from(h)))
        }
        Some(Theirs::Bytes(bytes)) => match column {
            ColumnType::MYSQL_TYPE_NEWDECIMAL | ColumnType::MYSQL_TYPE_DECIMAL => {
                Value::Decimal(String::from_utf8_lossy(&bytes).into_owned())
            }
            ColumnType::MYSQL_TYPE_BIT => {
                Value::Unsigned(bytes.iter().fold(0, |bits, b| (bits << 8) | u64::from(*b)))
            }
            _ => Value::Bytes(bytes),
        },
    }
}

/// The first definition of the application's that was logged behind `from`.
async fn first_definition(
    database: &DatabaseConfig,
    from: At,
    sender: &mut Sender,
) -> Result<Option<String>, ShipError> {
    let mut log = Log::open(database, from, AtEnd::Stop).await?;
    let (mut filter, mut items) = (Filter::default(), Vec::new());
    let mut told_alive = Instant::now();
    while log.next(&mut items).await? {
        if told_alive.elapsed() > ALIVE_EVERY {
            sender.send(&Down::Alive).await?;
            told_alive = Instant::now();
        }
        for item in items.drain(..) {
            if let Some(Item::Change(Change::Statement(s))) = filter.pass(item).map_err(LogError::Decode)? {
                return Ok(Some(crate::binlog::excerpt(&s)));
            }
        }
    }
    Ok(None)
}
