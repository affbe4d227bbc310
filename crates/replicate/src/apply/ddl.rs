//! Definitions (DDL) exactly once, although they commit by themselves.
//!
//! Before a definition runs, its slot is marked `ddl:<connection>:<fingerprint>`, where the fingerprint is a hash
//! over every definition in the application's schemas. After a crash the mark is found again, and the hash
//! taken anew:
//!
//! - it differs: nothing but this statement can have changed it (the slot has not moved, and this database is
//!   closed to everyone else), so the statement took effect and is not repeated;
//! - it is the same: either the statement did not run, or running it changes no definition (`TRUNCATE`, `CREATE …
//!   IF NOT EXISTS`, `ALTER TABLE … ENGINE=InnoDB`); such statements may be repeated. A swap of two tables with the
//!   same definition shows in InnoDB's table numbers, which are part of the hash where the agent's account may
//!   read them (PROCESS).
//!
//! `DROP` of several things and `CREATE OR REPLACE` can be cut off half way by the server's death, so they are
//! repeated in any case, and then "does not exist" is no error.

use std::time::Duration;

use mysql_async::{Conn, prelude::Queryable};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::sql::{hex, quoted, text};
use crate::{
    database::{DatabaseError, SQL_MODE},
    filter::APPLICATIONS_SQL,
    transaction::Statement,
};

/// Every definition, in an order of its own. `{}` stands for the condition on the schema.
const DEFINITIONS: [&str; 9] = [
    "SELECT SCHEMA_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME {} ORDER BY 1",
    "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, ROW_FORMAT, TABLE_COLLATION, CREATE_OPTIONS, TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA {} ORDER BY 1,2",
    "SELECT TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION, COLUMN_NAME, COLUMN_DEFAULT, IS_NULLABLE, COLUMN_TYPE, COLLATION_NAME, EXTRA, COLUMN_COMMENT, GENERATION_EXPRESSION FROM information_schema.COLUMNS WHERE TABLE_SCHEMA {} ORDER BY 1,2,3",
    "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, COLUMN_NAME, NON_UNIQUE, SUB_PART, INDEX_TYPE, INDEX_COMMENT FROM information_schema.STATISTICS WHERE TABLE_SCHEMA {} ORDER BY 1,2,3,4",
    "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_NAME, UPDATE_RULE, DELETE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA {} ORDER BY 1,2,3",
    "SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, CONSTRAINT_TYPE FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA {} ORDER BY 1,2,3,4",
    "SELECT TABLE_SCHEMA, TABLE_NAME, PARTITION_NAME, PARTITION_METHOD, PARTITION_EXPRESSION, PARTITION_DESCRIPTION FROM information_schema.PARTITIONS WHERE PARTITION_NAME IS NOT NULL AND TABLE_SCHEMA {} ORDER BY 1,2,3",
    "SELECT TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION, DEFINER, SECURITY_TYPE FROM information_schema.VIEWS WHERE TABLE_SCHEMA {} ORDER BY 1,2",
    "SELECT ROUTINE_SCHEMA, ROUTINE_TYPE, ROUTINE_NAME, ROUTINE_DEFINITION, DTD_IDENTIFIER, SQL_MODE, DEFINER, ROUTINE_COMMENT FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA {} ORDER BY 1,2,3",
];

/// InnoDB's own numbers of the tables, under MariaDB's name and under MySQL's.
const TABLE_NUMBERS: [&str; 2] = [
    "SELECT NAME, TABLE_ID FROM information_schema.INNODB_SYS_TABLES WHERE NAME LIKE '%/%' AND NAME NOT LIKE 'mysql/%' ORDER BY 1",
    "SELECT NAME, TABLE_ID FROM information_schema.INNODB_TABLES WHERE NAME LIKE '%/%' AND NAME NOT LIKE 'mysql/%' ORDER BY 1",
];

/// A hash over every definition in the application's schemas.
pub async fn fingerprint(conn: &mut Conn) -> Result<String, DatabaseError> {
    let mut hash = Sha256::new();
    for query in DEFINITIONS {
        add(conn, &query.replace("{}", APPLICATIONS_SQL), &mut hash).await?;
    }
    for query in TABLE_NUMBERS {
        match add(conn, query, &mut hash).await {
            Ok(()) => break,
            // Another kind of server, or no PROCESS privilege: the definitions alone must do.
            Err(DatabaseError::Sql { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(hex(&hash.finalize()[..12]))
}

async fn add(conn: &mut Conn, query: &str, hash: &mut Sha256) -> Result<(), DatabaseError> {
    let rows: Vec<mysql_async::Row> = conn.query(query).await?;
    for row in rows {
        for value in row.unwrap_raw() {
            let text = value.map_or_else(String::new, |v| v.as_sql(false));
            hash.update(text.as_bytes());
            hash.update([0]);
        }
        hash.update([1]);
    }
    hash.update([2]);
    Ok(())
}

/// Ends the session that a definition was begun in, and waits for its end: whoever began it is gone, but the server
/// may still be at it, and what it then changes would not be in a fingerprint taken now.
pub(super) async fn end(conn: &mut Conn, connection: u32) -> Result<(), DatabaseError> {
    let began = Instant::now();
    loop {
        // An account may end its own sessions without any privilege. Numbers are given again after the server's
        // restart, so another session of ours may be hit; it then begins again, as after any lost connection.
        let of_ours = format!(
            "SELECT 1 FROM information_schema.PROCESSLIST WHERE ID={connection} AND USER=SUBSTRING_INDEX(USER(),'@',1)"
        );
        let there: Option<u8> = conn.query_first(of_ours).await?;
        if there.is_none() {
            return Ok(());
        }
        if began.elapsed() > SESSION_ENDS_WITHIN {
            return Err(DatabaseError::Lost(format!(
                "session {connection}, which ran a definition for an earlier agent, does not end; it is tried again"
            )));
        }
        match conn.query_drop(format!("KILL {connection}")).await.map_err(DatabaseError::from) {
            // It ended by itself.
            Ok(()) | Err(DatabaseError::Sql { code: NO_SUCH_THREAD, .. }) => {}
            Err(e) => return Err(e),
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// How long a session may take to end.
const SESSION_ENDS_WITHIN: Duration = Duration::from_secs(10);
/// How often is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const NO_SUCH_THREAD: u16 = 1094;

/// Runs a definition with the settings that it was first run with.
pub(crate) async fn run(conn: &mut Conn, statement: &Statement, repeated: bool) -> Result<(), DatabaseError> {
    let mut settings = vec![format!("foreign_key_checks={}", u8::from(statement.foreign_key_checks))];
    settings.push(match statement.sql_mode {
        Some(mode) => format!("sql_mode={mode}"),
        None => format!("sql_mode='{SQL_MODE}'"),
    });
    if let Some([client, connection, server]) = statement.collations {
        settings.push(format!(
            "character_set_client={client}, collation_connection={connection}, collation_server={server}"
        ));
    }
    // It is in the log only if the statement depends on it. SYSTEM is the same zone at both sites, as `check` demands; a
    // named one that this server does not know stops the stream with that zone's name.
    let zone = statement.time_zone.as_deref().unwrap_or("+00:00");
    settings.push(format!("time_zone={}", text(zone)));
    if statement.at_us > 0 {
        settings.push(format!(
            "timestamp={}.{:06}",
            statement.at_us / 1_000_000,
            statement.at_us % 1_000_000
        ));
    }
    conn.query_drop(format!("SET {}", settings.join(", "))).await?;
    if !statement.schema.is_empty() {
        match conn.query_drop(format!("USE {}", quoted(&statement.schema))).await.map_err(DatabaseError::from)
        {
            // It may name its objects in full; if it does not, it will say so itself.
            Ok(()) | Err(DatabaseError::Sql { code: 1049, .. }) => {}
            Err(e) => return Err(e),
        }
    }
    let outcome = conn.query_drop(statement.sql.as_slice()).await.map_err(DatabaseError::from);
    match outcome {
        Ok(()) => Ok(()),
        Err(e) if statement.error_code != 0 && e.code() == Some(statement.error_code) => Ok(()),
        Err(e) if repeated && e.code().is_some_and(|code| DOES_NOT_EXIST.contains(&code)) => Ok(()),
        Err(e) => Err(e),
    }
}

/// No such database, table, view, routine.
const DOES_NOT_EXIST: [u16; 5] = [1008, 1051, 1146, 1305, 4092];

/// Whether a statement drops something first, so that a crash may have left it half done. Doing it again is right: what
/// is gone is gone, and `CREATE OR REPLACE` (which the server does in two steps) says itself what is to be there.
pub(super) fn drops(statement: &Statement) -> bool {
    let text = String::from_utf8_lossy(&statement.sql).to_ascii_uppercase();
    let mut words = text.split_ascii_whitespace();
    match words.next() {
        Some("DROP") => true,
        Some("CREATE") => words.next() == Some("OR") && words.next() == Some("REPLACE"),
        _ => false,
    }
}
