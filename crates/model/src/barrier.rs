//! What a gateway asks its agent before it lets an answer out.

use serde::{Deserialize, Serialize};

use crate::{Epoch, Mode, Position, Site, StreamId};

/// `GET /v1/serving` on an agent: what a gateway must know to route and to stamp requests with an epoch and a stream.
///
/// With `?epoch=E&stream=S&primary=P&mode=M&open=B&wait_ms=N` the agent answers as soon as any of these differs from what
/// the gateway knows, at the latest after N milliseconds (a long poll). `open` is `true` or `false`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// The agent's own site.
    pub site: Site,
    /// The epoch in this database's row.
    pub epoch: Epoch,
    /// This database's own stream, as last looked at: a request that begins now begins in it.
    #[serde(default)]
    pub stream: StreamId,
    /// The primary in this database's row.
    pub primary: Site,
    /// The mode in this database's row.
    pub mode: Mode,
    /// Whether the application may write here: the row names this site, the register agrees (or was not
    /// reachable), and the application's account is unlocked.
    pub open: bool,
}

/// `POST /v1/barrier`: has everything committed so far reached the standby?
///
/// The caller sends it only after the last byte of the application's answer. One query of the agent serves all
/// requests that arrived before that query was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarrierRequest {
    /// The epoch that the gateway knew when the visitor's request began.
    pub epoch: Epoch,
    /// The primary's stream that it knew then. A server that took another one's place since, or a log that began anew, may
    /// lack the visitor's write: a barrier of any later moment refuses it.
    pub stream: StreamId,
    /// How long the agent may wait for the watermark before it answers `timed_out`, in milliseconds.
    pub wait_ms: u64,
}

/// The agent's answer to a barrier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarrierReply {
    /// What became of it.
    pub outcome: BarrierOutcome,
    /// The epoch in the row when the barrier's query ran, if it ran. The gateway's new knowledge.
    pub epoch: Option<Epoch>,
    /// The mode in the row when the barrier's query ran, if it ran.
    pub mode: Option<Mode>,
    /// The position behind everything that was committed when the query ran, if it ran.
    pub position: Option<Position>,
}

/// What a barrier came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum BarrierOutcome {
    /// Mode `sync`: the standby holds everything up to the position. Let the answer out.
    Replicated,
    /// Mode `solo`: nothing is waited for. The answer may go out while the register was seen recently enough.
    Solo {
        /// Milliseconds that the gateway may add to the moment in which it *sent* the barrier request. Past that
        /// moment (on a clock that runs through suspension) the answer must not go out.
        lease_left_ms: u64,
    },
    /// The row's epoch is not the one in which the request began, or another site is primary.
    EpochChanged,
    /// The database behind the agent is not the one it was when the request began (identity or binlog incarnation
    /// changed), or what its row says was said of another one.
    IdentityChanged,
    /// The watermark did not reach the position in the time given.
    TimedOut,
    /// In `solo`, the register has not been seen within the lease.
    LeaseExpired,
    /// The database did not answer. Whether the write is in it is not known.
    DatabaseUnavailable,
}

impl BarrierOutcome {
    /// Whether the held answer may go out (for `Solo`: until the lease's end).
    pub fn releases(self) -> bool {
        matches!(self, BarrierOutcome::Replicated | BarrierOutcome::Solo { .. })
    }
}
