//! How long the primary's log still holds the standby's place, while the standby is behind or away.
//!
//! A server deletes a file of its log so many seconds after its last write. The standby's place was the log's end when
//! it was last heard of, so the file that holds it is kept at least that long from then on. A log that is deleted by
//! hand, or by a provider's own rules, cannot be foreseen; then the place is lost, and the standby fills itself anew.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use runtime::{clock::Boot, process::Shutdown};
use tokio::sync::watch;

use crate::database::{DatabaseConfig, DatabaseError};

/// How often the server is asked.
const EVERY: Duration = Duration::from_secs(10);

/// With less than this share of the time left, it is an alarm.
const ALARM_BELOW: u64 = 4;

/// How long the standby's place is still kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Seconds.
    pub left_s: u64,
    /// Little of it is left.
    pub alarm: bool,
}

/// Of a server that keeps its log for `kept_s` (0: for ever), when the standby was last heard of `silent_s` ago.
pub fn judge(kept_s: u64, silent_s: u64) -> Option<Retention> {
    (kept_s > 0).then(|| {
        let left_s = kept_s.saturating_sub(silent_s);
        Retention { left_s, alarm: left_s < kept_s / ALARM_BELOW }
    })
}

/// Keeps `told` true while this site is primary and its standby was heard of since the start.
pub async fn watch(
    database: DatabaseConfig,
    mut watermarks: watch::Receiver<Option<model::Watermark>>,
    mut primary: watch::Receiver<Option<model::Epoch>>,
    told: watch::Sender<Option<Retention>>,
    shutdown: Shutdown,
) {
    let mut timer = tokio::time::interval(EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut heard: Option<Boot> = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Ok(()) = watermarks.changed() => {
                heard = watermarks.borrow_and_update().as_ref().map(|_| Boot::now());
                continue;
            }
            _ = timer.tick() => {}
        }
        let is_primary = primary.borrow_and_update().is_some();
        let known = match heard {
            Some(heard) if is_primary => match kept_s(&database).await {
                Ok(kept_s) => judge(kept_s, heard.elapsed().as_secs()),
                Err(e) => {
                    tracing::debug!("how long the log is kept could not be asked: {e}");
                    continue;
                }
            },
            Some(_) | None => None,
        };
        if let Some(Retention { left_s, alarm: true }) = known {
            tracing::error!(
                left_s,
                "the standby's place in this log will soon be deleted: let it reach this site, or keep the log longer"
            );
        }
        told.send_replace(known);
    }
}

async fn kept_s(database: &DatabaseConfig) -> Result<u64, DatabaseError> {
    let mut conn = database.open().await?;
    let found: Option<(String, String)> =
        conn.query_first("SHOW GLOBAL VARIABLES LIKE 'binlog_expire_logs_seconds'").await?;
    Ok(found.and_then(|(_, value)| value.parse::<f64>().ok()).map_or(0, whole))
}

fn whole(seconds: f64) -> u64 {
    Duration::try_from_secs_f64(seconds).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_comes_before_the_place_is_lost_and_not_while_the_standby_is_heard() {
        assert_eq!(judge(0, 1_000_000), None, "kept for ever");
        assert_eq!(judge(1_000, 0), Some(Retention { left_s: 1_000, alarm: false }));
        assert_eq!(judge(1_000, 750), Some(Retention { left_s: 250, alarm: false }));
        assert_eq!(judge(1_000, 751), Some(Retention { left_s: 249, alarm: true }));
        assert_eq!(judge(1_000, 5_000), Some(Retention { left_s: 0, alarm: true }));
    }
}
