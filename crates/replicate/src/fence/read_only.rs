//! `read_only`: the server itself refuses everybody's writes, accounts that nobody has locked included.
//!
//! The agent must go on applying, so it is set only where this account is exempt from it (MariaDB: READ_ONLY ADMIN, which
//! also lets it be set; MySQL: CONNECTION_ADMIN, and SYSTEM_VARIABLES_ADMIN to set it), and that is proved by a write. A
//! managed server keeps these privileges to itself: then it is told by name that this is not possible. A server that
//! starts again has forgotten it; the account's lock stays.

use model::agent::{FenceDriver, FenceMeans, FenceResult};
use mysql_async::{Conn, prelude::Queryable};

use crate::{database::DatabaseError, dialect};

/// The server's words for "you may not": access denied; a variable that this server lets nobody set.
const DENIED: [u16; 3] = [1227, 1238, 3167];
/// "The server is running with the --read-only option so it cannot execute this statement".
const IS_READ_ONLY: u16 = 1290;
/// What is still committing, or holds tables, kept it waiting.
const WAITED: [u16; 2] = [1205, 1223];
/// For so long, in seconds.
const WAIT_S: u32 = 2;

/// No such schema, no such table: this database is empty to us.
const NO_SUCH: [u16; 2] = [1049, 1146];

/// Any write that changes nothing of anybody's.
const A_WRITE: &str =
    "INSERT INTO ghostlight.watermark (id, n) VALUES (1, 1) ON DUPLICATE KEY UPDATE n = n + 1";

/// Sets it, if it is not set, and says what became of it. An error says that the server does not answer.
pub(super) async fn set(conn: &mut Conn) -> Result<FenceDriver, DatabaseError> {
    let told = |result, why: Option<String>| FenceDriver { driver: FenceMeans::ReadOnly, result, why };
    let needed = dialect::of(conn).may_set_read_only.join(" and ");
    let denied = |why: String| {
        let why = format!(
            "this server does not let the agent's account set read_only and go on writing ({why}): that needs {needed}, which \
             managed servers keep to themselves; the account's lock is the fence"
        );
        told(FenceResult::NotPossible, Some(why))
    };
    match conn.query_drop("SELECT 1 FROM ghostlight.watermark LIMIT 0").await {
        Ok(()) => {}
        Err(mysql_async::Error::Server(e)) if NO_SUCH.contains(&e.code) => {
            let why = "this database is empty: it is set when a standby's data begin";
            return Ok(told(FenceResult::NotDone, Some(why.into())));
        }
        Err(e) => return Err(e.into()),
    }
    if !is_set(conn).await?
        && let Err((code, why)) = change(conn, true).await?
    {
        return Ok(match code {
            code if DENIED.contains(&code) => denied(why),
            code if WAITED.contains(&code) => {
                told(FenceResult::NotDone, Some(format!("something held it up for {WAIT_S} s: {why}")))
            }
            _ => told(FenceResult::NotDone, Some(why)),
        });
    }
    match conn.query_drop(A_WRITE).await {
        Ok(()) => Ok(told(FenceResult::Done, None)),
        Err(mysql_async::Error::Server(e)) if e.code == IS_READ_ONLY => {
            // Nothing could be applied here any more.
            if let Err((_, why)) = change(conn, false).await? {
                return Err(DatabaseError::Unexpected(format!(
                    "the server is read_only for the agent, too, and it cannot be taken back ({why}): nothing can be applied"
                )));
            }
            Ok(denied(e.message))
        }
        Err(e) => Err(e.into()),
    }
}

/// Takes it back, whoever set it: a primary takes writes. If that cannot be, it is said and goes on; the application's
/// writes tell it, too.
pub(super) async fn lift(conn: &mut Conn) -> Result<(), DatabaseError> {
    if is_set(conn).await?
        && let Err((_, why)) = change(conn, false).await?
    {
        tracing::error!(
            "the server is read_only and does not let the agent's account change that ({why}): no write of the application \
             succeeds; `SET GLOBAL read_only = 0` by an administrator opens it"
        );
    }
    Ok(())
}

/// Whether the server refuses writes now.
pub(super) async fn is_set(conn: &mut Conn) -> Result<bool, DatabaseError> {
    let set: Option<Option<u8>> =
        conn.query_first("SELECT CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF', '')").await?;
    Ok(set.flatten().is_some_and(|set| set != 0))
}

/// The inner error is the server's refusal.
async fn change(conn: &mut Conn, on: bool) -> Result<Result<(), (u16, String)>, DatabaseError> {
    conn.query_drop(format!("SET SESSION lock_wait_timeout = {WAIT_S}")).await?;
    let changed = conn.query_drop(format!("SET GLOBAL read_only = {}", u8::from(on))).await;
    conn.query_drop("SET SESSION lock_wait_timeout = DEFAULT").await?;
    match changed {
        Ok(()) => Ok(Ok(())),
        Err(mysql_async::Error::Server(e)) => Ok(Err((e.code, e.message))),
        Err(e) => Err(e.into()),
    }
}
