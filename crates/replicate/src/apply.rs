//! The standby's side of the link: applies the primary's stream to this database.

use std::net::SocketAddr;

use model::{
    Epoch, Incarnation, Site, Watermark,
    agent::{Slot, StandbyPhase},
    topology::WithoutPrimaryKey,
};
use runtime::{clock::Boot, process::Shutdown, secret::Secret};
use tokio::sync::watch;

use crate::database::{DatabaseConfig, DatabaseError};

/// A standby, in one epoch and one life of its data. Used by [`follow`] and by [`crate::seed::run`].
#[derive(Clone, Debug)]
pub struct StandbyConfig {
    /// This site's database.
    pub database: DatabaseConfig,
    /// The primary's agent, as reached from here.
    pub peer_link: SocketAddr,
    /// Proves both agents to each other.
    pub link_token: Secret,
    /// This site.
    pub site: Site,
    /// The primary's site.
    pub origin: Site,
    /// The epoch in which to apply. The row must be at it, and the slot attached to it.
    pub epoch: Epoch,
    /// The life of this database's data, as the register names it; stamped on every watermark.
    pub incarnation: Incarnation,
    /// Whether a table without primary key may be applied.
    pub tables_without_primary_key: WithoutPrimaryKey,
}

/// How far along a standby is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowProgress {
    /// What it is doing.
    pub phase: StandbyPhase,
    /// The slot after the last COMMIT.
    pub slot: Option<Slot>,
    /// The newest watermark sent.
    pub watermark: Option<Watermark>,
    /// Milliseconds between the primary's writing of its last heartbeat (its wall clock) and our application of
    /// it (our wall clock). Only as good as the two clocks agree.
    pub lag_ms: Option<u64>,
    /// When the last heartbeat was applied, on this machine's clock.
    pub heartbeat_at: Option<Boot>,
    /// Rows copied so far, while seeding.
    pub rows_seeded: u64,
    /// Why there is no progress at the moment, in words; `None` while there is.
    pub trouble: Option<String>,
}

impl Default for FollowProgress {
    fn default() -> Self {
        FollowProgress {
            phase: StandbyPhase::Connecting,
            slot: None,
            watermark: None,
            lag_ms: None,
            heartbeat_at: None,
            rows_seeded: 0,
            trouble: None,
        }
    }
}

/// Why a standby stopped for good. Whatever passes by itself (a cut link, a restarting database, a primary that
/// is not ready) is not here: it is waited out.
#[derive(Debug, thiserror::Error)]
pub enum StandbyError {
    /// The row of this database is no longer at our epoch, or the slot is not ours. Nobody's fault: a promotion
    /// or a fence came between. Read row and register again.
    #[error("{0}")]
    EpochMoved(String),
    /// There is no slot that could be continued: this database must be seeded (in a new incarnation).
    #[error("{0}")]
    NoSlot(String),
    /// The primary no longer has the log that this standby would continue with, or it is another log: this
    /// database must be seeded (in a new incarnation).
    #[error("{0}")]
    PositionLost(String),
    /// This database holds something else than the primary did when it made a change. Nothing was overwritten.
    /// An operator must find out who wrote here, then repair or seed.
    #[error("{0}")]
    Conflict(String),
    /// The stream holds something that cannot be applied (a setting, a kind of table or statement). The operator's
    /// to mend, as the text says.
    #[error("{0}")]
    Unsupported(String),
    /// The peer's agent does not let us in (token, version, or it is not what the topology says).
    #[error("{0}")]
    Refused(String),
    /// The database refuses what it must allow.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Applies the primary's stream until `stop`, from where the slot says, reconnecting by itself.
///
/// Returns `Ok` on `stop` (the transaction under way is rolled back or finished, never half done), and an error
/// only when trying again cannot help.
pub async fn follow(
    config: StandbyConfig,
    progress: watch::Sender<FollowProgress>,
    stop: Shutdown,
) -> Result<(), StandbyError> {
    tracing::warn!(origin = %config.origin, "nothing is applied yet");
    stop.cancelled().await;
    drop(progress);
    Ok(())
}
