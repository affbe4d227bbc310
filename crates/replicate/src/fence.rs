//! The fence: makes a database refuse the application's writes.
//!
//! The order is the point. First the row, so that whatever happens next, nothing is acknowledged in an older epoch;
//! then the account, so that nobody new comes in; then the sessions that are in; then a look that none is left. Each
//! step may be found done already: an interrupted fence is finished by asking again.
//!
//! It acts only where the row's epoch is lower than the one asked for, or where the row names another site anyway: a
//! primary is never closed by a fence of its own or an older epoch.
//!
//! A switchover closes a *primary* for its intent, and notes which ([`close_for`]); letting the application in again
//! names the intent that it belongs to ([`open`]) and does nothing if the primary has been closed for another one since.
//! So an agent that was paused between "the register holds no intent" and the account never opens what the next
//! switchover has closed.
//!
//! A change of an account cannot be part of a transaction. So who opens and who closes take turns by a named lock of the
//! server, and who opens reads the row within his turn: it must still say that this site is primary in the epoch for which
//! he opens. Who closes does not wait long for him: an agent that stands still keeps its turn until its session is ended.

mod read_only;

use std::time::Duration;

use model::{
    Epoch, Site,
    agent::{Fence, FenceReply, FenceRequest},
};
use mysql_async::{Conn, prelude::Queryable};
use runtime::clock::Boot;

use crate::{database::DatabaseError, dialect, row};

/// How long sessions that were told to end may take.
const SESSIONS_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks at the sessions.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Who closes waits so long for the turn of another, in whole seconds as the server counts them.
const PATIENCE: Duration = Duration::from_secs(1);

/// A fence that has not come anywhere yet.
pub const NOTHING_DONE: FenceReply = FenceReply {
    row_raised: false,
    account_locked: false,
    sessions_killed: 0,
    sessions_left: 0,
    why: None,
    read_only: None,
};

/// Closes this database to `application` for every epoch below the request's.
///
/// An error says only that it is not known how far it came; ask again.
pub async fn fence(
    conn: &mut Conn,
    site: &Site,
    application: &str,
    request: &FenceRequest,
) -> Result<FenceReply, DatabaseError> {
    let mut reply = NOTHING_DONE;
    let Some(before) = row::read(conn).await? else {
        reply.why = Some("this database has no row yet: it is empty".into());
        return Ok(reply);
    };
    if request.primary != *site && before.row.epoch < request.epoch {
        row::raise(conn, request.epoch, &request.primary).await?;
    }
    let Some(after) = row::read(conn).await? else {
        reply.why = Some("the row of ghostlight.site is gone".into());
        return Ok(reply);
    };
    reply.row_raised = after.row.epoch >= request.epoch;
    if after.row.primary == *site {
        reply.why = Some(format!(
            "this database is primary in epoch {}: a fence for epoch {} does not concern it",
            after.row.epoch, request.epoch
        ));
        return Ok(reply);
    }
    Ok(FenceReply { row_raised: reply.row_raised, ..close(conn, application).await? })
}

/// Locks the account, ends its sessions and sets `read_only` where that can be set, whatever the row says. For databases
/// that are not a primary's.
pub async fn close(conn: &mut Conn, application: &str) -> Result<FenceReply, DatabaseError> {
    take_turn_from(conn).await?;
    let closed = keep_out(conn, application).await?;
    end_turn(conn).await?;
    // Behind the rest, because it may wait for what is still committing.
    Ok(FenceReply { read_only: Some(read_only::set(conn).await?), ..closed })
}

/// Within the caller's turn.
async fn keep_out(conn: &mut Conn, application: &str) -> Result<FenceReply, DatabaseError> {
    set_lock(conn, application, true).await?;
    let (killed, left) = end_sessions(conn, application, &[]).await?;
    let why = (left > 0).then(|| {
        format!(
            "{left} sessions of `{application}` did not end within {} s; ask again",
            SESSIONS_TIMEOUT.as_secs()
        )
    });
    Ok(FenceReply {
        row_raised: false,
        account_locked: true,
        sessions_killed: killed,
        sessions_left: left,
        why,
        read_only: None,
    })
}

/// Keeps the application out of a primary, for the switchover with this intent. The server goes on taking writes: a
/// switchover that is given up opens again within moments.
pub async fn close_for(conn: &mut Conn, application: &str, intent: u64) -> Result<FenceReply, DatabaseError> {
    take_turn_from(conn).await?;
    // A request that comes late is of an older intent: the mark stays the newer one's.
    conn.exec_drop(
        "INSERT INTO ghostlight.closed (id, intent) VALUES (1, ?)
         ON DUPLICATE KEY UPDATE intent = GREATEST(intent, VALUES(intent))",
        (intent,),
    )
    .await?;
    let reply = keep_out(conn, application).await?;
    end_turn(conn).await?;
    Ok(reply)
}

/// The intent for which this primary is closed, if it is for one.
pub async fn closed_for(conn: &mut Conn) -> Result<Option<u64>, DatabaseError> {
    match conn.query_first("SELECT intent FROM ghostlight.closed WHERE id = 1").await {
        Ok(intent) => Ok(intent),
        // A database that was made before there was such a table.
        Err(mysql_async::Error::Server(e)) if e.code == NO_SUCH_TABLE => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Lets the application in, if the row says that `site` is primary in `epoch`, and this database is closed for
/// `closed_for` and for nothing else. Whether it did.
pub async fn open(
    conn: &mut Conn,
    (site, epoch): (&Site, Epoch),
    application: &str,
    closed_for: Option<u64>,
) -> Result<bool, DatabaseError> {
    take_turn(conn).await?;
    // Read within the turn: who closes raises the row first and takes the turn then, so he is seen here or comes behind.
    let here = row::read(conn).await?;
    let is_primary = here.is_some_and(|here| here.row.epoch == epoch && here.row.primary == *site);
    let named = is_primary && self::closed_for(conn).await? == closed_for;
    if named {
        read_only::lift(conn).await?;
        set_lock(conn, application, false).await?;
        forget_closed(conn).await?;
    }
    end_turn(conn).await?;
    Ok(named)
}

/// Drops the mark of a switchover: it was of an epoch that has ended.
pub(crate) async fn forget_closed(conn: &mut Conn) -> Result<(), DatabaseError> {
    if closed_for(conn).await?.is_some() {
        conn.query_drop("DELETE FROM ghostlight.closed").await?;
    }
    Ok(())
}

/// One at a time, of all agents of this site. The server ends the turn with the connection, behind what runs on it.
async fn take_turn(conn: &mut Conn) -> Result<(), DatabaseError> {
    match get_turn(conn, SESSIONS_TIMEOUT).await? {
        true => Ok(()),
        false => Err(DatabaseError::Lost(format!(
            "another agent has been opening or closing this database for {} s; it is tried again",
            SESSIONS_TIMEOUT.as_secs()
        ))),
    }
}

/// The same for who closes: he ends the session of one that keeps its turn. What that one was about to change has then
/// happened before this turn, or never does.
async fn take_turn_from(conn: &mut Conn) -> Result<(), DatabaseError> {
    if get_turn(conn, PATIENCE).await? {
        return Ok(());
    }
    let holder: Option<Option<u64>> = conn.query_first("SELECT IS_USED_LOCK('ghostlight.account')").await?;
    if let Some(id) = holder.flatten() {
        tracing::warn!(
            session = id,
            "an agent keeps its turn at this database's account: its session is ended"
        );
        kill(conn, id).await?;
    }
    take_turn(conn).await
}

async fn get_turn(conn: &mut Conn, wait: Duration) -> Result<bool, DatabaseError> {
    let seconds = wait.as_secs();
    let got: Option<Option<u8>> =
        conn.query_first(format!("SELECT GET_LOCK('ghostlight.account', {seconds})")).await?;
    Ok(got.flatten() == Some(1))
}

async fn end_turn(conn: &mut Conn) -> Result<(), DatabaseError> {
    Ok(conn.query_drop("DO RELEASE_LOCK('ghostlight.account')").await?)
}

/// Whether the server refuses everybody's writes but those of accounts that are exempt, as the agent's is where it can be.
pub(crate) async fn is_read_only(conn: &mut Conn) -> Result<bool, DatabaseError> {
    read_only::is_set(conn).await
}

/// Whether the application's account can write here, as the server's own tables tell.
pub async fn state(conn: &mut Conn, application: &str) -> Result<Fence, DatabaseError> {
    let locked = accounts(conn, application).await?;
    if locked.iter().any(|(_, locked)| !locked) {
        return Ok(Fence::Open);
    }
    let sessions = sessions(conn, application, &[]).await?;
    Ok(if sessions.is_empty() { Fence::Closed } else { Fence::Open })
}

/// The hosts for which the account exists, and whether each is locked.
pub async fn accounts(conn: &mut Conn, user: &str) -> Result<Vec<(String, bool)>, DatabaseError> {
    let query = dialect::of(conn).account_locks;
    let rows: Vec<(String, u8)> = conn.exec(query, (user,)).await?;
    Ok(rows.into_iter().map(|(host, locked)| (host, locked != 0)).collect())
}

/// Locks or unlocks the account for every host; those that are so already are left alone, because each statement
/// is an event in the log.
async fn set_lock(conn: &mut Conn, user: &str, lock: bool) -> Result<(), DatabaseError> {
    let accounts = accounts(conn, user).await?;
    if accounts.is_empty() {
        return Err(DatabaseError::Unexpected(format!(
            "there is no account `{user}`; create it on both sites (accounts are not replicated)"
        )));
    }
    let word = if lock { "LOCK" } else { "UNLOCK" };
    for (host, locked) in accounts {
        if locked != lock {
            conn.query_drop(format!("ALTER USER {}@{} ACCOUNT {word}", quoted(user), quoted(&host))).await?;
        }
    }
    Ok(())
}

/// Ends every session of `user` but those in `spare`, and waits for their end. How many were told, how many stayed.
///
/// A session may have passed the account's lock just before it was locked and only now become visible; so the
/// list must be found empty twice.
pub async fn end_sessions(conn: &mut Conn, user: &str, spare: &[u32]) -> Result<(u64, u64), DatabaseError> {
    let began = Boot::now();
    let mut told: Vec<u64> = Vec::new();
    let mut found_empty = false;
    loop {
        let left = sessions(conn, user, spare).await?;
        if left.is_empty() {
            if found_empty {
                return Ok((told.len() as u64, 0));
            }
            found_empty = true;
        } else {
            found_empty = false;
            if began.elapsed() > SESSIONS_TIMEOUT {
                return Ok((told.len() as u64, left.len() as u64));
            }
        }
        for id in left {
            if told.contains(&id) {
                continue;
            }
            if kill(conn, id).await? {
                told.push(id);
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Whether it was there; perhaps it ended by itself.
async fn kill(conn: &mut Conn, session: u64) -> Result<bool, DatabaseError> {
    match conn.query_drop(format!("KILL {session}")).await {
        Ok(()) => Ok(true),
        Err(mysql_async::Error::Server(e)) if e.code == NO_SUCH_THREAD => Ok(false),
        Err(e) => Err(e.into()),
    }
}

const NO_SUCH_THREAD: u16 = 1094;
const NO_SUCH_TABLE: u16 = 1146;

async fn sessions(conn: &mut Conn, user: &str, spare: &[u32]) -> Result<Vec<u64>, DatabaseError> {
    let all: Vec<u64> =
        conn.exec("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = ?", (user,)).await?;
    let own = u64::from(conn.id());
    Ok(all.into_iter().filter(|id| *id != own && !spare.iter().any(|s| u64::from(*s) == *id)).collect())
}

/// A name as a string literal.
pub(crate) fn quoted(name: &str) -> String {
    format!("'{}'", name.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(quoted("ticketing"), "'ticketing'");
        assert_eq!(quoted("o'neil\\"), "'o''neil\\\\'");
    }
}
