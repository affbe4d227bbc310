//! The schema `ghostlight`: what each database knows of itself. It is never replicated.
//!
//! `site` is written last and by one statement: a database without that row counts as empty, whatever a crash left
//! of the rest, and the making is simply begun again.

use model::{Epoch, Incarnation, Mode, Site};
use mysql_async::{Conn, Params, prelude::Queryable};

use crate::{database::DatabaseError, stream};

/// The name of the schema.
pub const SCHEMA: &str = "ghostlight";

/// Every table, in words that MariaDB and MySQL share. Columns keep their meaning for ever; new ones have defaults.
///
/// - `site`: this database's row. `stream` is the log that it was written in, see [`crate::stream`]. `seeding` is 1 from the making of a standby until its first slot is attached:
///   what is in such a database is a copy that nobody has written to. It is 0 from the commit on that ends the copy.
/// - `applied`: how far another database's stream is applied here; see [`crate::checkpoint`].
/// - `failover`: where the old primary's stream ended, written by each promotion.
/// - `heartbeat`: a commit of the transaction path. It also remembers the end of this database's own log, so that a
///   log that begins anew is found out: (`stream`, `file`, `offset`, `gtid`) lie just before the heartbeat itself.
/// - `copying`: while `site.seeding` is 1, every table of the application and how far it is copied; see
///   [`crate::copy::fill`].
/// - `watermark`: changed to make a commit, for whoever must wait until the log goes on.
/// - `closed`: the newest switchover's intent for which the application is kept out of a primary; see [`crate::fence`].
const TABLES: [&str; 7] = [
    "CREATE TABLE IF NOT EXISTS ghostlight.site (
        id TINYINT UNSIGNED NOT NULL PRIMARY KEY,
        epoch BIGINT UNSIGNED NOT NULL,
        `primary` VARCHAR(64) NOT NULL,
        mode ENUM('sync','solo') NOT NULL,
        token BIGINT UNSIGNED NOT NULL,
        stream VARCHAR(64) NOT NULL,
        incarnation BIGINT UNSIGNED NOT NULL,
        seeding TINYINT UNSIGNED NOT NULL DEFAULT 0
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS ghostlight.applied (
        stream VARCHAR(64) NOT NULL PRIMARY KEY,
        file BIGINT UNSIGNED NOT NULL,
        `offset` BIGINT UNSIGNED NOT NULL,
        origin VARCHAR(64) NOT NULL,
        epoch BIGINT UNSIGNED NOT NULL,
        pending VARCHAR(255) NULL
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS ghostlight.failover (
        epoch BIGINT UNSIGNED NOT NULL PRIMARY KEY,
        stream VARCHAR(64) NOT NULL,
        file BIGINT UNSIGNED NOT NULL,
        `offset` BIGINT UNSIGNED NOT NULL,
        origin VARCHAR(64) NOT NULL,
        slot_epoch BIGINT UNSIGNED NOT NULL,
        pending VARCHAR(255) NULL,
        promoted_stream VARCHAR(64) NOT NULL,
        promoted_file BIGINT UNSIGNED NOT NULL,
        promoted_offset BIGINT UNSIGNED NOT NULL
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS ghostlight.heartbeat (
        id TINYINT UNSIGNED NOT NULL PRIMARY KEY,
        n BIGINT UNSIGNED NOT NULL,
        at_ms BIGINT UNSIGNED NOT NULL,
        stream VARCHAR(64) NOT NULL DEFAULT '',
        file BIGINT UNSIGNED NOT NULL DEFAULT 0,
        `offset` BIGINT UNSIGNED NOT NULL DEFAULT 0,
        gtid VARCHAR(1024) NOT NULL DEFAULT ''
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS ghostlight.copying (
        table_schema VARCHAR(64) NOT NULL,
        table_name VARCHAR(64) NOT NULL,
        up_to LONGTEXT CHARACTER SET ascii NULL,
        complete TINYINT UNSIGNED NOT NULL DEFAULT 0,
        PRIMARY KEY (table_schema, table_name)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS ghostlight.watermark (
        id TINYINT UNSIGNED NOT NULL PRIMARY KEY,
        n BIGINT UNSIGNED NOT NULL
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS ghostlight.closed (
        id TINYINT UNSIGNED NOT NULL PRIMARY KEY,
        intent BIGINT UNSIGNED NOT NULL
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
];

/// What the first row of a database says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Birth {
    /// The current epoch.
    pub epoch: Epoch,
    /// Its primary: this site itself at the very first start, the other one for a standby.
    pub primary: Site,
    /// The life of the data, as the register names it.
    pub incarnation: Incarnation,
    /// Whether this database is to be filled from the primary.
    pub seeding: bool,
}

/// Makes the schema and the row. Whoever interrupts it leaves a database that still counts as empty.
///
/// A row that is there is left alone, unless it belongs to a seeding that was never finished: such a database
/// holds nothing of its own, and takes the new birth. Whether another birth was in the way is for the caller to
/// read from the row afterwards.
pub async fn create(conn: &mut Conn, birth: &Birth) -> Result<(), DatabaseError> {
    conn.query_drop("CREATE DATABASE IF NOT EXISTS ghostlight CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        .await?;
    for table in TABLES {
        conn.query_drop(table).await?;
    }
    conn.query_drop("INSERT IGNORE INTO ghostlight.heartbeat (id, n, at_ms) VALUES (1, 0, 0)").await?;
    let values = Params::Positional(vec![
        birth.epoch.0.into(),
        birth.primary.as_str().into(),
        Mode::Solo.as_str().into(),
        new_token().into(),
        birth.incarnation.0.into(),
        u8::from(birth.seeding).into(),
    ]);
    let fresh = stream::fresh(conn);
    conn.exec_drop(
        format!(
            "INSERT IGNORE INTO ghostlight.site (id, epoch, `primary`, mode, token, stream, incarnation, seeding)
             VALUES (1, ?, ?, ?, ?, {fresh}, ?, ?)"
        ),
        values,
    )
    .await?;
    if birth.seeding {
        let written_here = stream::written_here(conn);
        conn.exec_drop(
            format!(
                "UPDATE ghostlight.site SET epoch = ?, `primary` = ?, mode = 'solo', token = ?, incarnation = ?, \
                 {written_here} WHERE id = 1 AND seeding = 1 AND epoch <= ?"
            ),
            (birth.epoch.0, birth.primary.as_str(), new_token(), birth.incarnation.0, birth.epoch.0),
        )
        .await?;
    }
    Ok(())
}

/// The schemas with tables that are neither the server's nor ours.
pub async fn application_schemas(conn: &mut Conn) -> Result<Vec<String>, DatabaseError> {
    Ok(conn
        .query(
            "SELECT DISTINCT table_schema FROM information_schema.tables
             WHERE table_schema NOT IN ('mysql','sys','information_schema','performance_schema','ghostlight')
             ORDER BY table_schema",
        )
        .await?)
}

/// Gives this database's log a new name, whatever it was called: for a copy of a whole server that begins a life of its own.
pub async fn name_anew(conn: &mut Conn) -> Result<(), DatabaseError> {
    let fresh = stream::fresh(conn);
    Ok(conn.query_drop(format!("UPDATE ghostlight.site SET stream = {fresh}")).await?)
}

/// A token that was never used before.
pub fn new_token() -> u64 {
    rand::random()
}
