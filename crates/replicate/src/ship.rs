//! The primary's side of the link: sends this database's log, or a copy of its data, to the peer's agent.
//!
//! Always true here: nothing is sent unless this site is primary in the epoch that the peer asked for, and a peer
//! is dropped the moment that changes. One peer at a time; a newer connection replaces an older one, which may
//! be a half-open rest of a cut link. What a watermark means to answers is not known here.

use model::{Epoch, Site, StreamId, Watermark, topology::WithoutPrimaryKey};
use runtime::{process::Shutdown, secret::Secret};
use tokio::{net::TcpListener, sync::watch};

use crate::database::DatabaseConfig;

/// What this site's shipper needs to know once.
#[derive(Clone, Debug)]
pub struct ShipConfig {
    /// This site's database.
    pub database: DatabaseConfig,
    /// Proves both agents to each other.
    pub link_token: Secret,
    /// This site.
    pub site: Site,
    /// Whether a table without primary key may travel.
    pub tables_without_primary_key: WithoutPrimaryKey,
}

/// By what right this site ships, as the row of `ghostlight.site` was last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The row's epoch.
    pub epoch: Epoch,
    /// Whether the row names this site.
    pub primary: bool,
    /// This database's own stream.
    pub stream: StreamId,
}

/// Accepts the peer's agent on `listener` until `shutdown`.
///
/// `authority` is `None` while the row is not known; then every peer is told to come again. Each watermark that
/// arrives for the current stream and epoch replaces the value in `watermarks` if it is further along, or of
/// another standby incarnation.
pub async fn serve(
    listener: TcpListener,
    config: ShipConfig,
    authority: watch::Receiver<Option<Authority>>,
    watermarks: watch::Sender<Option<Watermark>>,
    shutdown: Shutdown,
) {
    tracing::warn!(address = ?listener.local_addr(), site = %config.site, "nothing is shipped yet");
    shutdown.cancelled().await;
    drop((authority, watermarks));
}
