//! Sends every definition as it stands at one place of the log.
//!
//! Definitions have no snapshot: they are read as they are now, between two looks at the log's end. If the log shows
//! that one was changed between these, they are read again. A definition holds its table's lock until it is
//! logged, so none can be seen before it is in the log.

use model::StreamId;
use mysql_async::{Conn, prelude::Queryable};
use tokio::time::Instant;

use super::ShipError;
use crate::{
    apply::quoted,
    binlog::{AtEnd, Item, Log, LogError, end_of_log},
    copy::{Definition, Outline, What, read},
    database::{DatabaseConfig, DatabaseError},
    filter::{APPLICATIONS_SQL, Filter},
    link::{ALIVE_EVERY, Sender, frame::Down},
    stream::is_here,
    transaction::{At, Change},
};

/// What is told of something that is no more: no such database, table, routine, view.
const GONE: [u16; 4] = [1049, 1146, 1305, 1356];

/// Sends the outline.
pub(super) async fn send(
    database: &DatabaseConfig,
    stream: &StreamId,
    sender: &mut Sender,
) -> Result<(), ShipError> {
    let mut conn = database.open_with(vec!["SET character_set_results = NULL".to_owned()]).await?;
    if !is_here(&mut conn, stream).await? {
        // The agent will see it at its next look; until then nothing is copied from here.
        return Err(DatabaseError::Lost(format!("the server that answers is not the one of {stream}")).into());
    }
    refuse_what_cannot_travel(&mut conn).await?;
    loop {
        let at = end_of_log(&mut conn).await?;
        let definitions = match read_all(&mut conn).await {
            Ok(definitions) => definitions,
            Err(ShipError::Log(LogError::Database(DatabaseError::Sql { code, message })))
                if GONE.contains(&code) =>
            {
                tracing::info!("a definition went while it was read ({message}); they are read again");
                continue;
            }
            Err(e) => return Err(e),
        };
        match first_definition(database, at, sender).await? {
            None => {
                let outline = Outline { at: at.in_stream(stream), definitions };
                return Ok(sender.send(&Down::Outline(Box::new(outline))).await?);
            }
            Some(statement) => tracing::info!("definitions are read again: one was changed ({statement})"),
        }
    }
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

async fn read_all(conn: &mut Conn) -> Result<Vec<Definition>, ShipError> {
    let mut all = Vec::new();
    let schemas: Vec<String> = conn
        .query(format!(
            "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME {APPLICATIONS_SQL} ORDER BY 1"
        ))
        .await?;
    for schema in schemas {
        let sql = shown(conn, &format!("SHOW CREATE DATABASE {}", quoted(&schema)), 1).await?;
        all.push(Definition { what: What::Schema, name: schema.clone(), schema, sql });
    }
    for (schema, name) in read::tables(conn).await? {
        let sql = shown(conn, &format!("SHOW CREATE TABLE {}.{}", quoted(&schema), quoted(&name)), 1).await?;
        all.push(Definition { what: What::Table, schema, name, sql });
    }
    let routines: Vec<(String, String, String)> = conn
        .query(format!("SELECT ROUTINE_SCHEMA, ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA {APPLICATIONS_SQL} ORDER BY 1,2,3"))
        .await?;
    for (schema, kind, name) in routines {
        let show = format!("SHOW CREATE {kind} {}.{}", quoted(&schema), quoted(&name));
        let sql = shown(conn, &show, 2).await?;
        let what = if kind.eq_ignore_ascii_case("FUNCTION") { What::Function } else { What::Procedure };
        all.push(Definition { what, schema, name, sql });
    }
    let views: Vec<(String, String)> = conn
        .query(format!("SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA {APPLICATIONS_SQL} ORDER BY 1,2"))
        .await?;
    for (schema, name) in views {
        let sql = shown(conn, &format!("SHOW CREATE VIEW {}.{}", quoted(&schema), quoted(&name)), 1).await?;
        all.push(Definition { what: What::View, schema, name, sql });
    }
    Ok(all)
}

/// The definition that `show` tells in its column number `column`.
async fn shown(conn: &mut Conn, show: &str, column: usize) -> Result<Vec<u8>, ShipError> {
    let row: Option<mysql_async::Row> = conn.query_first(show).await?;
    row.and_then(|mut row| row.take::<Option<Vec<u8>>, _>(column)).flatten().ok_or_else(|| {
        ShipError::Unsupported(format!(
            "{show} tells nothing: the agent's account lacks a privilege on it (for routines: SELECT on mysql.proc)"
        ))
    })
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
