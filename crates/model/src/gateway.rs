//! What a gateway says of itself.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    Epoch, Serving, Site,
    topology::{Policy, Unpark},
};

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
    /// Requests that are parked at this moment, because of a switchover.
    #[serde(default)]
    pub parked: u64,
    /// Requests that were parked since the start.
    #[serde(default)]
    pub parked_total: u64,
    /// The application's instances.
    pub targets: Vec<TargetStatus>,
}

/// `POST /v1/park`: let every request wait from now on, without forwarding it, and answer when those under way have
/// ended. Asking again for the same intent changes nothing and waits again.
///
/// Parking ends by itself: when the agent says that a later epoch has begun, or when `park_ms_max` has passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkRequest {
    /// The epoch that is to end.
    pub epoch: Epoch,
    /// The intent of the register in whose name this is asked.
    pub intent: u64,
    /// What has waited so long is told to come again.
    pub park_ms_max: u64,
    /// How many requests may wait; what comes then is told to come again.
    pub parked_max: u64,
    /// How long requests that are under way may take before the answer is that they still are.
    pub drain_ms_max: u64,
    /// What the new primary's gateway waits for, once its database is open.
    pub unpark: Unpark,
    /// For how long it waits for that.
    pub sync_wait_ms: u64,
}

impl ParkRequest {
    /// The order of an intent, with the policy's limits.
    pub fn of(policy: &Policy, epoch: Epoch, intent: u64) -> ParkRequest {
        ParkRequest {
            epoch,
            intent,
            park_ms_max: policy.switchover_park_ms,
            parked_max: policy.switchover_parked_max,
            drain_ms_max: policy.switchover_drain_ms,
            unpark: policy.switchover_unpark,
            sync_wait_ms: policy.switchover_sync_wait_ms,
        }
    }
}

/// What parking came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum ParkReply {
    /// Requests wait, and nothing is under way but answers that are already on their way out.
    Drained {
        /// Answers of reads whose bodies are still streaming.
        streaming: u64,
    },
    /// Requests wait, but some of those under way have not been answered yet.
    NotDrained {
        /// How many.
        unanswered: u64,
    },
    /// Nothing waits: the request does not fit what this gateway knows.
    Refused {
        /// Why.
        why: String,
    },
}

/// `POST /v1/unpark`: the switchover of this intent was rolled back. Requests go on, and nothing more is parked in its
/// name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnparkRequest {
    /// The intent.
    pub intent: u64,
}

/// How many requests went on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnparkReply {
    /// So many had been parked at that moment.
    pub parked: u64,
}

/// One instance of the application, as its gateway sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// The target group to which it belongs.
    #[serde(default)]
    pub group: String,
    /// Its name; its address where it has none.
    #[serde(default)]
    pub name: String,
    /// Its address.
    pub address: SocketAddr,
    /// The availability zone in which it stands, if that is known.
    #[serde(default)]
    pub zone: Option<String>,
    /// Whether requests are sent to it.
    pub state: TargetState,
    /// Why not, in ALB's words.
    #[serde(default)]
    pub reason: Option<TargetReason>,
    /// The same in a sentence, e.g. the last failed check.
    pub why: Option<String>,
}

/// `PUT /v1/target-groups/{name}/targets`: the targets of this group at this site are these from now on. Those that are
/// missing get nothing new and may finish what they have begun; the configuration is asked again at the next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetsRequest {
    /// All of them.
    pub targets: Vec<crate::topology::edge::Target>,
}

/// Why a target is not asked, in ALB's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TargetReason {
    /// No check has ended yet.
    #[serde(rename = "Elb.InitialHealthChecking")]
    InitialHealthChecking,
    /// The check was answered with a status that the matcher does not name.
    #[serde(rename = "Target.ResponseCodeMismatch")]
    ResponseCodeMismatch,
    /// The check was not answered in time.
    #[serde(rename = "Target.Timeout")]
    Timeout,
    /// The check could not be sent, or its connection broke.
    #[serde(rename = "Target.FailedHealthChecks")]
    FailedHealthChecks,
    /// It was taken out.
    #[serde(rename = "Target.DeregistrationInProgress")]
    DeregistrationInProgress,
    /// No rule forwards to its group.
    #[serde(rename = "Target.NotInUse")]
    NotInUse,
    /// Visitors' requests failed on it; ALB has no word for this.
    #[serde(rename = "Ghostlight.Ejected")]
    Ejected,
}

/// The state of a target, in ALB's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// Not checked yet. Used only when nothing is healthy.
    Initial,
    /// Enough checks in a row went well.
    Healthy,
    /// Enough checks in a row failed, or visitors' requests did. Used only when nothing is healthy.
    Unhealthy,
    /// It was taken out: it gets nothing new and finishes what it has begun.
    Draining,
    /// No rule forwards to its group, so it is not checked.
    Unused,
}
