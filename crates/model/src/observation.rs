//! What a controller saw of a site, from its place.

use serde::{Deserialize, Serialize};

use crate::{Place, Site, agent::AgentStatus};

/// One viewpoint's present knowledge of one site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// From where it was seen.
    pub by: Place,
    /// What was looked at.
    pub of: Site,
    /// Milliseconds since the last probe ended, at the moment of telling.
    pub age_ms: u64,
    /// The transaction path: a heartbeat committed on demand (`POST /v1/probe` of the site's agent). `None` while
    /// the site is not known to be primary: a standby is not asked to commit.
    pub commit: Option<Probe>,
    /// The site's gateway, by its health path.
    pub gateway: Probe,
    /// The site's agent, by its status.
    pub agent: Probe,
    /// What the agent last said, however old.
    pub status: Option<AgentStatus>,
}

/// How the probes of one target have gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The last result.
    pub last: ProbeResult,
    /// How many have failed in a row; 0 after a success.
    pub failed_in_a_row: u32,
    /// Milliseconds since the last success, if there ever was one.
    pub last_success_ms: Option<u64>,
}

/// One probe's result. A refused connection tells of a living host; silence tells nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum ProbeResult {
    /// Answered as hoped.
    Ok,
    /// The host answered that nothing listens there.
    Refused,
    /// No answer in time.
    Silent,
    /// An answer that says no.
    Failed {
        /// In the answering side's words.
        why: String,
    },
    /// Not probed yet.
    Never,
}
