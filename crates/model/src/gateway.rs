//! What a gateway says of itself.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{Serving, Site};

/// `GET /v1/status` on a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// The gateway's site.
    pub site: Site,
    /// What its agent last said; nothing since the start if `None`.
    pub serving: Option<Serving>,
    /// Milliseconds since the agent last said anything, if it ever did.
    pub serving_age_ms: Option<u64>,
    /// Whether answers to writes are held at all (`gateway.gate`).
    pub gate: bool,
    /// Answers that are held at this moment.
    pub held: u64,
    /// Answers released since the start, after a barrier.
    pub released_total: u64,
    /// Visitors that were told `unknown` since the start.
    pub unknown_total: u64,
    /// The application's instances.
    pub targets: Vec<TargetStatus>,
}

/// One instance of the application, as its gateway sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Its address.
    pub address: SocketAddr,
    /// Whether requests are sent to it.
    pub state: TargetState,
    /// The last failed check in words, while it is not healthy.
    pub why: Option<String>,
}

/// The state of a target, in the words of the load balancers that users know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// Not checked yet. Used only when nothing is healthy.
    Initial,
    /// Enough checks in a row went well.
    Healthy,
    /// Enough checks in a row failed. Used only when nothing is healthy.
    Unhealthy,
}
