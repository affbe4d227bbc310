//! What a controller saw of a site, from its place.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Place, Register, Site, Verdict,
    agent::{AgentStatus, FenceReport},
    orders::Orders,
    plan::Steering,
};

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
    /// What the agent last said, however old. Judged after every event and copied on the way, hence shared.
    #[serde(default, with = "shared")]
    pub status: Option<Arc<AgentStatus>>,
    /// The clock of the place that tells this, at the moment of telling: milliseconds since 1970 UTC.
    #[serde(default)]
    pub wall_ms: Option<u64>,
}

/// What is shared is written and read as what it is.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::agent::AgentStatus;

    pub(super) fn serialize<S: Serializer>(
        status: &Option<Arc<AgentStatus>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        status.as_deref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<AgentStatus>>, D::Error> {
        Ok(Option::<AgentStatus>::deserialize(deserializer)?.map(Arc::new))
    }
}

impl Probe {
    /// Of a target that was never probed.
    pub fn never() -> Probe {
        Probe {
            last: ProbeResult::Never,
            failed_in_a_row: 0,
            last_success_ms: None,
            took_ms: None,
            losses: 0,
        }
    }
}

impl Observation {
    /// The same knowledge, told `by_ms` milliseconds later. What the agent said keeps the ages that it had then.
    pub fn aged(mut self, by_ms: u64) -> Observation {
        self.age_ms = self.age_ms.saturating_add(by_ms);
        for probe in
            [Some(&mut self.gateway), Some(&mut self.agent), self.commit.as_mut()].into_iter().flatten()
        {
            probe.last_success_ms = probe.last_success_ms.map(|ms| ms.saturating_add(by_ms));
        }
        self
    }
}

/// `GET /v1/view` on a controller: everything on which its judgement rests, and the judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The controller's place.
    pub place: Place,
    /// Which place leads the controllers, as last heard; `None` while nobody does or the register is silent.
    pub leader: Option<String>,
    /// The register, as last read.
    pub register: Option<Register>,
    /// Milliseconds since the register was last read, counted from the sending of the question.
    pub register_age_ms: Option<u64>,
    /// What the name server last said.
    pub steering: Option<Steering>,
    /// What every place sees of every site.
    pub observations: Vec<Observation>,
    /// The judgement on all this. Only the leader acts on it.
    pub verdict: Verdict,
    /// What operators have ordered, as last read.
    #[serde(default)]
    pub orders: Option<Orders>,
    /// How many seconds of acknowledged writes a failover now could lose at most; `None`: nobody knows.
    #[serde(default)]
    pub loss_s_max: Option<u64>,
    /// Whether a failover now would succeed; `None` while the register was never read.
    #[serde(default)]
    pub readiness: Option<Readiness>,
    /// What became of fencing each site, the last time that this controller did.
    #[serde(default)]
    pub fencing: Vec<FenceReport>,
    /// The last switchover that this controller was asked for or led, if there was one since it started.
    #[serde(default)]
    pub switchover: Option<crate::switchover::Told>,
}

/// Whether a failover to a site would succeed now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// The site that would become primary.
    pub site: Site,
    /// Whether no line says no.
    pub ready: bool,
    /// What it needs, one by one.
    pub lines: Vec<Line>,
}

/// One thing that a failover needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub found: String,
}

/// How a thing stands that a failover needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it must be.
    Yes,
    /// A failover would fail on it, or lose something.
    No,
    /// It was not seen.
    Unknown,
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
    /// How long the last success took, in milliseconds.
    #[serde(default)]
    pub took_ms: Option<u64>,
    /// How often the target was lost and came back in the last minutes (`policy.flap_window_ms`): two probes at least
    /// had failed in a row each time.
    #[serde(default)]
    pub losses: u32,
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
