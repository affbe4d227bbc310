//! The canary at a standby's start: is the loop closed?
//!
//! What this site applies stands in its own log too. Should it become primary, that log is shipped back; so
//! everything in it must be recognised as the peer's, or a later failback would apply it a second time. The canary
//! looks at what the follower really wrote, with the very filter that the shipper uses.

use std::time::Duration;

use model::StreamId;
use tokio::sync::watch;

use crate::{
    apply::{FollowProgress, StandbyConfig, StandbyError},
    binlog::{AtEnd, Item, Log, LogError},
    database::DatabaseError,
    filter::{Filter, Origin},
    row,
    transaction::{At, Change},
};

/// So many transactions are looked at.
const TRANSACTIONS: usize = 100;
/// After a database that did not answer.
const RETRY: Duration = Duration::from_millis(500);

/// Waits until the follower has applied something, and reads it in this database's own log.
///
/// An error means that the follower must be stopped: what it writes would travel back.
pub async fn sing(
    config: &StandbyConfig,
    mut progress: watch::Receiver<FollowProgress>,
) -> Result<(), StandbyError> {
    loop {
        match listen(config, &mut progress).await {
            Ok(None) => return Ok(()),
            Ok(Some(why)) => return Err(StandbyError::Conflict(why)),
            Err(LogError::Decode(e)) => return Err(StandbyError::Unsupported(e.to_string())),
            Err(e) => {
                tracing::debug!("the canary begins again: {e}");
                tokio::time::sleep(RETRY).await; // the database is away; the follower waits for it too
            }
        }
    }
}

/// `None` if the loop is closed, otherwise why it is not.
async fn listen(
    config: &StandbyConfig,
    progress: &mut watch::Receiver<FollowProgress>,
) -> Result<Option<String>, LogError> {
    let mut conn = config.database.open().await?;
    let before = row::end(&mut conn, StreamId(String::new())).await?;
    drop(conn);
    let start = progress.borrow_and_update().watermark.clone();
    loop {
        if progress.changed().await.is_err() {
            return Ok(None); // The follower has ended by itself.
        }
        let now = progress.borrow_and_update().watermark.clone();
        // A watermark follows a COMMIT, so that COMMIT is in our log behind `before`. The first watermark of a
        // connection may only repeat what the slot said.
        if now.is_some() && start.is_some() && now != start {
            break;
        }
        if start.is_none() && now.is_some() {
            return Box::pin(listen(config, progress)).await;
        }
    }
    let from = At { file: before.file, offset: before.offset };
    let mut log = Log::open(&config.database, from, AtEnd::Stop).await?;
    let (mut filter, mut items) = (Filter::default(), Vec::new());
    let (mut from_peer, mut seen) = (0_usize, 0_usize);
    while seen < TRANSACTIONS && log.next(&mut items).await? {
        for item in items.drain(..) {
            match filter.pass(item)? {
                Some(Item::Change(Change::Rows { .. })) => {
                    return Ok(Some(format!(
                        "a row change in this standby's own log behind {}:{} is not recognised as the peer's: somebody \
                         else writes here, or the loop is not closed; find out who, then fill this standby anew",
                        from.file, from.offset
                    )));
                }
                Some(Item::End(_)) => {
                    seen += 1;
                    from_peer += usize::from(filter.origin() == Some(Origin::Peer));
                }
                _ => {}
            }
        }
    }
    if from_peer == 0 {
        return Err(DatabaseError::Unexpected("the log does not hold what was applied yet".into()).into());
    }
    tracing::info!(transactions = from_peer, "the loop is closed: what is applied here will not travel back");
    Ok(None)
}
