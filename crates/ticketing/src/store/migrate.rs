//! Brings the schema to what this program expects. Whoever may write does it; twice at once is harmless.
//!
//! A named lock lets one instance through at a time, and `schema_migrations` tells the next that it is done. DDL
//! commits by itself, so each step bears being cut short and begun again (`IF NOT EXISTS`, `INSERT IGNORE`).

use mysql_async::{Conn, Result, prelude::Queryable};

use super::{
    catalogue::write_season,
    kinds::insert_discounts,
    queue::insert_room,
    sql::{as_ms, moment, quoted},
};
use crate::{
    catalogue::Category,
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
    /// Discounts for its shows.
    Kinds,
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
    (10, "api", Step::Sql(include_str!("migrations/0010_api.sql"))),
    (11, "refunds", Step::Sql(include_str!("migrations/0011_refunds.sql"))),
    (12, "waitlist", Step::Sql(include_str!("migrations/0012_waitlist.sql"))),
    (13, "discounts", Step::Sql(include_str!("migrations/0013_discounts.sql"))),
    (14, "kinds", Step::Kinds),
    (15, "transfers", Step::Sql(include_str!("migrations/0015_transfers.sql"))),
    (16, "webhooks", Step::Sql(include_str!("migrations/0016_webhooks.sql"))),
];

/// How many steps there are.
pub(crate) fn count() -> usize {
    MIGRATIONS.len()
}

/// Runs what has not been run.
pub(crate) async fn run(conn: &mut Conn, now_ms: u64) -> Result<()> {
    if missing(conn).await?.is_empty() {
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

/// What has not been run, by number: a later one may have come first, from somebody else's hand.
async fn missing(conn: &mut Conn) -> Result<Vec<&'static (u32, &'static str, Step)>> {
    let done: Vec<u32> = match conn.query("SELECT version FROM schema_migrations").await {
        Ok(done) => done,
        // No such table: a new database.
        Err(mysql_async::Error::Server(e)) if e.code == 1146 => Vec::new(),
        Err(e) => return Err(e),
    };
    Ok(MIGRATIONS.iter().filter(|m| !done.contains(&m.0)).collect())
}

async fn apply(conn: &mut Conn, now_ms: u64) -> Result<()> {
    conn.query_drop(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version INT UNSIGNED NOT NULL PRIMARY KEY, \
         name VARCHAR(60) NOT NULL, applied_at DATETIME(3) NOT NULL) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4",
    )
    .await?;
    for (version, name, step) in missing(conn).await? {
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
            Step::Kinds => {
                let shows: Vec<(u32, String)> =
                    conn.query("SELECT id, CAST(category AS CHAR) FROM shows ORDER BY id").await?;
                conn.query_drop("START TRANSACTION").await?;
                for (show, category) in shows {
                    let Some(category) = Category::from_word(&category) else { continue };
                    let discounts = fixture::discounts(category, now_ms);
                    conn.query_drop(insert_discounts(show, 0, &discounts)).await?;
                }
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
