//! Brings the schema to what this program expects. Whoever may write does it; twice at once is harmless.
//!
//! A named lock lets one instance through at a time, and `schema_migrations` tells the next that it is done. DDL
//! commits by itself, so each step bears being cut short and begun again (`IF NOT EXISTS`, `INSERT IGNORE`).

use mysql_async::{Conn, Result, prelude::Queryable};

use super::{
    catalogue::write_season,
    queue::insert_room,
    sql::{as_ms, moment, quoted},
};
use crate::{
    fixture::{self, ROOM_FROM_SEATS},
    queue::{Sale, draw::Seed},
};

const LOCK: &str = "ticketing.migrate";
const LOCK_WAIT_S: u32 = 4;

enum Step {
    Sql(&'static str),
    /// The invented season of a new database.
    Season,
    /// Waiting rooms for its large sales.
    Rooms,
}

const MIGRATIONS: &[(u32, &str, Step)] = &[
    (1, "schema", Step::Sql(include_str!("migrations/0001_schema.sql"))),
    (2, "season", Step::Season),
    (3, "queue", Step::Sql(include_str!("migrations/0003_queue.sql"))),
    (4, "rooms", Step::Rooms),
    (5, "cancellations", Step::Sql(include_str!("migrations/0005_cancellations.sql"))),
    (6, "accounts", Step::Sql(include_str!("migrations/0006_accounts.sql"))),
    (7, "organisers", Step::Sql(include_str!("migrations/0007_organisers.sql"))),
    (8, "intents", Step::Sql(include_str!("migrations/0008_intents.sql"))),
    (9, "guests", Step::Sql(include_str!("migrations/0009_guests.sql"))),
];

/// Runs what has not been run.
pub(crate) async fn run(conn: &mut Conn, now_ms: u64) -> Result<()> {
    if version(conn).await? == MIGRATIONS.last().map_or(0, |m| m.0) {
        return Ok(());
    }
    let got: Option<Option<u8>> = conn.exec_first("SELECT GET_LOCK(?, ?)", (LOCK, LOCK_WAIT_S)).await?;
    if got.flatten() != Some(1) {
        // Somebody else is at it. The keeper knocks again and finds it done, or the lock free.
        return Err(mysql_async::Error::Other("another instance is migrating".into()));
    }
    let done = Box::pin(apply(conn, now_ms)).await;
    conn.exec_drop("DO RELEASE_LOCK(?)", (LOCK,)).await?;
    done
}

async fn version(conn: &mut Conn) -> Result<u32> {
    let asked = conn.query_first("SELECT COALESCE(MAX(version), 0) FROM schema_migrations").await;
    match asked {
        Ok(version) => Ok(version.unwrap_or(0)),
        // No such table: a new database.
        Err(mysql_async::Error::Server(e)) if e.code == 1146 => Ok(0),
        Err(e) => Err(e),
    }
}

async fn apply(conn: &mut Conn, now_ms: u64) -> Result<()> {
    conn.query_drop(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version INT UNSIGNED NOT NULL PRIMARY KEY, \
         name VARCHAR(60) NOT NULL, applied_at DATETIME(3) NOT NULL) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4",
    )
    .await?;
    let have = version(conn).await?;
    for (version, name, step) in MIGRATIONS.iter().filter(|m| m.0 > have) {
        let note = format!(
            "INSERT INTO schema_migrations (version, name, applied_at) VALUES ({version}, {}, {})",
            quoted(name),
            moment(now_ms)
        );
        match step {
            Step::Sql(statements) => {
                conn.query_drop(*statements).await?;
                conn.query_drop(note).await?;
            }
            Step::Season => {
                conn.query_drop("START TRANSACTION").await?;
                write_season(conn, &fixture::season(now_ms)).await?;
                conn.query_drop(note).await?;
                conn.query_drop("COMMIT").await?;
            }
            Step::Rooms => {
                let sales: Vec<(u32, u64)> = conn
                    .query(format!(
                        "SELECT id, {} FROM performances WHERE capacity >= {ROOM_FROM_SEATS} AND sale_opens_at > {}",
                        as_ms("sale_opens_at"),
                        moment(now_ms)
                    ))
                    .await?;
                for (performance, opens_ms) in sales {
                    let seed = Seed::new(rand::random());
                    let sale = Sale::announced(performance, opens_ms, &seed);
                    conn.query_drop(insert_room(&sale, &seed)).await?;
                }
                conn.query_drop(note).await?;
            }
        }
        tracing::info!(version, name, "migrated");
    }
    Ok(())
}
