//! Taking one step: a call to the register, an agent or the name server, bounded in time.
//!
//! There is nothing left to choose here. Every step may be taken twice (it is stamped with its epoch) and every
//! failure is an outcome; whether and when to try again is judged from the next view of the world.

use std::time::Duration;

use cloud::{
    provider::{NoProvider, Provider as _},
    register::{AnyRegister, Register as _},
};
use model::{
    BarrierOutcome, BarrierReply, BarrierRequest, Register, Serving, Site, Step,
    agent::{CloseReply, CloseRequest, FenceDriver, FenceReply, FenceRequest, PromoteReply, PromoteRequest},
    gateway::{ParkReply, ParkRequest, UnparkReply, UnparkRequest},
    observation::ProbeResult,
    plan::Steering,
    register::{CasReply, CasRequest},
    topology::Policy,
};
use runtime::admin::Client;

use crate::{
    fencing,
    probe::{Eyes, Target},
};

/// No single step is waited for longer; the work may go on at the other end, and is found done or asked for again.
const STEP_MS_MAX: Duration = Duration::from_millis(2_500);

/// So often the door of a fenced site is looked at,
const DOOR_LOOKS: u32 = 10;
/// with so much time between two looks.
const DOOR_PAUSE: Duration = Duration::from_millis(50);

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// The register now holds our record.
    Moved {
        /// As it stands.
        record: Register,
    },
    /// Somebody changed the register first.
    Stale {
        /// As it stands.
        record: Register,
    },
    /// The database is promoted to the epoch asked for.
    Promoted,
    /// It will never be promoted to that epoch.
    Refused {
        /// In the agent's words.
        why: String,
    },
    /// The database is closed to the application.
    Fenced,
    /// The gateway lets requests wait, and none is under way.
    Parked,
    /// The gateway lets requests go on.
    Unparked,
    /// The standby holds everything.
    CaughtUp,
    /// The name leads there.
    Steered {
        /// As the name server confirms.
        steering: Steering,
    },
    /// Not done, or not known to be done.
    Failed {
        /// In the other side's words.
        why: String,
    },
}

impl Outcome {
    /// Whether the step has reached its aim.
    pub fn is_done(&self) -> bool {
        match self {
            Outcome::Moved { .. }
            | Outcome::Promoted
            | Outcome::Fenced
            | Outcome::Parked
            | Outcome::Unparked
            | Outcome::CaughtUp
            | Outcome::Steered { .. } => true,
            Outcome::Stale { .. } | Outcome::Refused { .. } | Outcome::Failed { .. } => false,
        }
    }
}

/// What steps are taken with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hands {
    register: AnyRegister,
    eyes: Eyes,
    nameserver: Client,
    policy: Policy,
}

impl Hands {
    /// Acts on this register, through these addresses, within the limits of this policy.
    pub fn new(register: AnyRegister, eyes: Eyes, nameserver: Client, policy: Policy) -> Hands {
        Hands { register, eyes, nameserver, policy }
    }

    /// Takes one step. Ends within `STEP_MS_MAX`; of a fence, the report (empty for other steps) may take a moment more.
    pub async fn take(&self, step: &Step) -> (Outcome, Vec<FenceDriver>) {
        if let Step::Fence { site, epoch, primary } = step {
            return self.fence(site, FenceRequest { epoch: *epoch, primary: primary.clone() }).await;
        }
        let outcome = match tokio::time::timeout(STEP_MS_MAX, self.attempt(step)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => Outcome::Failed { why },
            Err(_) => Outcome::Failed { why: format!("no answer within {STEP_MS_MAX:?}") },
        };
        (outcome, Vec::new())
    }

    async fn fence(&self, site: &Site, request: FenceRequest) -> (Outcome, Vec<FenceDriver>) {
        let reply: Result<FenceReply, String> = match self.eyes.agent(site) {
            Some(agent) => agent.post("/v1/fence", &request, STEP_MS_MAX).await.map_err(|e| e.to_string()),
            None => Err(format!("{site} is not in the topology")),
        };
        let (door, provider) = tokio::join!(self.door(site), NoProvider.isolate(site));
        let drivers = fencing::report(reply.as_ref().map_err(String::as_str), &door, provider);
        let outcome = match reply {
            Ok(reply) if reply.row_raised && reply.account_locked && reply.sessions_left == 0 => {
                Outcome::Fenced
            }
            Ok(reply) => {
                let left = format!("{} sessions are left", reply.sessions_left);
                Outcome::Failed { why: reply.why.unwrap_or(left) }
            }
            Err(why) => Outcome::Failed { why },
        };
        (outcome, drivers)
    }

    /// The gateway of a site that was just fenced hears of it from its agent a moment later: looked at until it says no.
    async fn door(&self, site: &Site) -> ProbeResult {
        let mut looks = 0;
        loop {
            let (door, _) = self.eyes.probe(site, Target::Gateway).await;
            looks += 1;
            if door != ProbeResult::Ok || looks == DOOR_LOOKS {
                return door;
            }
            tokio::time::sleep(DOOR_PAUSE).await; // the pace of looking
        }
    }

    async fn attempt(&self, step: &Step) -> Result<Outcome, String> {
        let agent = |site| self.eyes.agent(site).ok_or(format!("{site} is not in the topology"));
        let gateway = |site| self.eyes.gateway(site).ok_or(format!("{site} is not in the topology"));
        match step {
            Step::MoveRegister { record } | Step::Announce { record } | Step::Withdraw { record } => {
                let expected_version = record.version.saturating_sub(1);
                let request = CasRequest { expected_version, record: record.clone() };
                match self.register.cas(request).await.map_err(|e| e.to_string())? {
                    CasReply::Swapped(record) => Ok(Outcome::Moved { record }),
                    CasReply::Stale(record) => Ok(Outcome::Stale { record }),
                }
            }
            Step::Promote { site, epoch } => {
                let request = PromoteRequest { epoch: *epoch };
                let reply = agent(site)?.post("/v1/promote", &request, STEP_MS_MAX).await;
                Ok(match reply.map_err(|e| e.to_string())? {
                    PromoteReply::Promoted { .. } | PromoteReply::AlreadyPromoted => Outcome::Promoted,
                    PromoteReply::Refused { why } => Outcome::Refused { why },
                    PromoteReply::NotNow { why } => Outcome::Failed { why },
                })
            }
            Step::Fence { .. } => Err("a fence is taken with its report".into()),
            Step::Park { site, epoch, intent } => {
                let request = ParkRequest::of(&self.policy, *epoch, *intent);
                let reply = gateway(site)?.post("/v1/park", &request, STEP_MS_MAX).await;
                match reply.map_err(|e| e.to_string())? {
                    ParkReply::Drained { .. } => Ok(Outcome::Parked),
                    ParkReply::NotDrained { unanswered } => {
                        Err(format!("{unanswered} requests are still under way"))
                    }
                    ParkReply::Refused { why } => Err(why),
                }
            }
            Step::Close { site, epoch, intent } => {
                let request = CloseRequest { epoch: *epoch, intent: *intent };
                let reply = agent(site)?.post("/v1/close", &request, STEP_MS_MAX).await;
                match reply.map_err(|e| e.to_string())? {
                    CloseReply::Closed { .. } => Ok(Outcome::Fenced),
                    CloseReply::NotClosed { why } => Err(why),
                }
            }
            Step::CatchUp { site, epoch, .. } => {
                // A barrier asks exactly this: does the standby hold everything that is in the log now, in this epoch?
                let wait_ms = self.policy.switchover_catch_up_ms;
                // It is asked in the stream that is here now: a server that takes this one's place meanwhile refuses it.
                let serving = agent(site)?.get("/v1/serving", STEP_MS_MAX).await;
                let Serving { stream, .. } = serving.map_err(|e| e.to_string())?;
                let request = BarrierRequest { epoch: *epoch, stream, wait_ms };
                let reply = agent(site)?.post("/v1/barrier", &request, STEP_MS_MAX).await;
                let reply: BarrierReply = reply.map_err(|e| e.to_string())?;
                match reply.outcome {
                    BarrierOutcome::Replicated => Ok(Outcome::CaughtUp),
                    BarrierOutcome::TimedOut => Err(format!("not within {wait_ms} ms")),
                    BarrierOutcome::Solo { .. } => Err("the primary's row says solo".into()),
                    BarrierOutcome::EpochChanged
                    | BarrierOutcome::IdentityChanged
                    | BarrierOutcome::LeaseExpired
                    | BarrierOutcome::DatabaseUnavailable => {
                        Err(format!("the primary's agent says {:?}", reply.outcome))
                    }
                }
            }
            Step::Unpark { site, intent, .. } => {
                let request = UnparkRequest { intent: *intent };
                let reply = gateway(site)?.post("/v1/unpark", &request, STEP_MS_MAX).await;
                let _: UnparkReply = reply.map_err(|e| e.to_string())?;
                Ok(Outcome::Unparked)
            }
            Step::Steer { site, epoch } => {
                let steering = Steering { site: site.clone(), epoch: *epoch };
                let reply = self.nameserver.post("/v1/steer", &steering, STEP_MS_MAX).await;
                Ok(Outcome::Steered { steering: reply.map_err(|e| e.to_string())? })
            }
        }
    }
}
