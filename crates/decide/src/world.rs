//! From observations to beliefs.
//!
//! A [`World`] is only what was seen, with its age. [`Beliefs`] are what may be concluded from it. The one
//! conclusion that matters, that a viewpoint has *lost* the primary, is drawn in [`sight`] and [`standby_sight`].

use model::{
    Epoch, Mode, Place, Register, Site,
    agent::{AgentStatus, Fence},
    observation::{Observation, Probe, ProbeResult},
    orders::Orders,
    plan::Steering,
    sabotage::{self, Sabotage},
    topology::Policy,
};

/// Everything that the leader knows at one moment. All ages are as of that moment.
#[derive(Clone, Debug)]
pub struct World {
    /// The two sites.
    pub sites: [Site; 2],
    /// The register as last read; `None` if it was never read.
    pub register: Option<Heard<Register>>,
    /// What every place sees of every site, as last told.
    pub observations: Vec<Observation>,
    /// What the name server last said; `None` if it does not answer.
    pub steering: Option<Steering>,
    /// A promotion that its agent has confirmed since that agent's status was last seen.
    pub promoted: Option<(Site, Epoch)>,
    /// A promotion that its agent has refused for good, and its words.
    pub refused: Option<(Site, Epoch, String)>,
    /// What is known of switchovers beside the register.
    pub switchover: crate::switchover::Known,
    /// Milliseconds for which the register's epoch has been known here.
    pub epoch_age_ms: u64,
    /// What operators have ordered, as last read; `None` if it was never read.
    pub orders: Option<Heard<Orders>>,
    /// By how much the clock of another place is ahead of ours, in milliseconds; behind, if negative. What may be the
    /// way of the answer is not counted.
    pub clocks_ahead_ms: Vec<(Place, i64)>,
    /// Milliseconds since 1970 UTC. It goes into records for people; of the judgements, only the ends of maintenance
    /// windows and of approvals read it.
    pub wall_ms: u64,
}

/// Something with the age of its knowledge.
#[derive(Clone, Debug)]
pub struct Heard<T> {
    /// What was heard.
    pub value: T,
    /// Milliseconds since the question was sent.
    pub age_ms: u64,
}

/// What of the primary does not answer: decides how long to wait before it counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Agent and gateway do not answer.
    Site,
    /// The agent answers and does not commit.
    Database,
    /// The agent does not answer, the gateway does: most likely a process that is being restarted.
    Agent,
}

impl Loss {
    /// By how much a viewpoint's patience (`lost_after_probes`) is multiplied.
    ///
    /// Nobody restarts a dark site for us. A database that crashed needs about as long to recover as a failover
    /// takes. A supervisor restarts an agent within a second, and while it does, nothing is lost but time.
    pub fn patience(self) -> u32 {
        match self {
            Loss::Site => 1,
            Loss::Database => 2,
            Loss::Agent => 5,
        }
    }

    /// What is gone, for a sentence.
    pub fn what(self) -> &'static str {
        match self {
            Loss::Site => "the whole site",
            Loss::Database => "the database",
            Loss::Agent => "the agent",
        }
    }
}

/// One viewpoint's view of the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The viewpoint itself is not heard, or has not looked yet. It proves nothing.
    Blind {
        /// Why.
        why: &'static str,
    },
    /// The last commit probe went through.
    Healthy,
    /// Some probes failed, too few to call anything down.
    Doubted(Loss),
    /// Down, but not yet for so long that a restart is out of the question.
    Down(Loss),
    /// Lost: a failover may rest on it.
    Lost(Loss),
}

impl Sight {
    /// What is down, once enough probes have failed to say so.
    pub fn down(&self) -> Option<Loss> {
        match self {
            Sight::Down(loss) | Sight::Lost(loss) => Some(*loss),
            Sight::Blind { .. } | Sight::Healthy | Sight::Doubted(_) => None,
        }
    }
}

/// Whether the register's primary has begun its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// It has, and is open.
    Done,
    /// Its row says that it has not, or its account is still locked.
    Missing,
    /// Its row is not known, and nothing else proves it.
    Unknown,
}

/// What an agent said, and when.
#[derive(Clone, Copy, Debug)]
pub struct Said<'w> {
    /// Its words.
    pub status: &'w AgentStatus,
    /// Milliseconds since it said them.
    pub age_ms: u64,
    /// Whether it is recent enough to act on.
    pub fresh: bool,
}

/// What may be concluded from a [`World`] whose register is known.
#[derive(Debug)]
pub struct Beliefs<'w> {
    /// The facts.
    pub world: &'w World,
    /// The rules.
    pub policy: &'w Policy,
    /// The register as last read.
    pub register: &'w Register,
    /// Whether the register was read recently enough to act on.
    pub register_fresh: bool,
    /// The register's primary.
    pub primary: &'w Site,
    /// The other site.
    pub standby: &'w Site,
    /// What the primary's agent last said, to whomever.
    pub primary_said: Option<Said<'w>>,
    /// What the standby's agent last said, to whomever.
    pub standby_said: Option<Said<'w>>,
    /// The witness's view of the primary.
    pub from_witness: Sight,
    /// The standby's view of the primary: its controller's probes and its agent's stream.
    pub from_standby: Sight,
    /// The first of these two alone.
    pub standby_probes: Sight,
    /// Whether the standby hears the primary's heartbeats in the stream; `None` while its agent is not heard.
    pub beats: Option<bool>,
}

/// Knowledge older than this is not acted on: a probe's time-out and three intervals of being told.
pub fn fresh_ms(policy: &Policy) -> u64 {
    policy.probe_timeout_ms + 3 * policy.probe_interval_ms
}

/// Without a heartbeat for so long, the stream counts as silent.
pub fn silent_ms(policy: &Policy) -> u64 {
    u64::from(policy.lost_after_probes) * policy.probe_interval_ms
}

impl<'w> Beliefs<'w> {
    /// Draws the conclusions. `None` while the register was never read, or names a site that the topology does
    /// not: then nobody knows whom to watch.
    pub fn form(world: &'w World, policy: &'w Policy) -> Option<Beliefs<'w>> {
        let Heard { value: register, age_ms } = world.register.as_ref()?;
        let [a, b] = &world.sites;
        let (primary, standby) = match &register.primary {
            p if p == a => (a, b),
            p if p == b => (b, a),
            _ => return None,
        };
        let standby_said = last_said(world, policy, standby);
        let beats = standby_said
            .filter(|s| s.fresh)
            .map(|s| s.status.heartbeat_age_ms.is_some_and(|beat_age_ms| beat_age_ms < silent_ms(policy)));
        let standby_probes = sight(seen(world, &Place::Site(standby.clone()), primary), policy);
        Some(Beliefs {
            world,
            policy,
            register,
            register_fresh: *age_ms <= fresh_ms(policy),
            primary,
            standby,
            primary_said: last_said(world, policy, primary),
            standby_said,
            from_witness: sight(seen(world, &Place::Witness, primary), policy),
            from_standby: standby_sight(standby_probes.clone(), beats),
            standby_probes,
            beats,
        })
    }

    /// Whether the primary's database serves in the register's epoch.
    pub fn promotion(&self) -> Promotion {
        let told = self.world.promoted.as_ref();
        let confirmed =
            told.is_some_and(|(site, epoch)| site == self.primary && *epoch == self.register.epoch);
        // Only a promoted primary can have taken the mode to `sync`, and only one can commit.
        let proven = self.register.mode == Mode::Sync
            || self.from_witness == Sight::Healthy
            || self.from_standby == Sight::Healthy;
        // A switchover closes a primary that has begun its epoch.
        let closed = self.register.intent.is_none()
            && self.primary_said.is_some_and(|s| s.status.fence == Fence::Closed);
        match self.primary_row() {
            _ if confirmed => Promotion::Done,
            Some(row) if row.epoch == self.register.epoch && row.primary == *self.primary => {
                if closed {
                    Promotion::Missing
                } else {
                    Promotion::Done
                }
            }
            Some(_) => Promotion::Missing,
            None if proven => Promotion::Done,
            None => Promotion::Unknown,
        }
    }

    /// The primary's row, as last told.
    pub fn primary_row(&self) -> Option<&'w model::agent::Row> {
        self.primary_said.and_then(|s| s.status.row.as_ref())
    }

    /// Who has seen a newer epoch than the register as it was last read here, if anybody has. Either somebody moved
    /// it since, or it has lost a change: see [`Self::register_lost_a_change`].
    pub fn ahead_of_register(&self) -> Option<&'w str> {
        self.rows_ahead().map(|said| said.status.site.as_str()).next().or_else(|| self.steering_ahead())
    }

    /// Whether the register, read *after* a newer epoch was seen, still does not know that epoch.
    pub fn register_lost_a_change(&self) -> bool {
        let read_age_ms = self.world.register.as_ref().map_or(u64::MAX, |r| r.age_ms);
        self.steering_ahead().is_some() || self.rows_ahead().any(|said| said.age_ms >= read_age_ms)
    }

    fn rows_ahead(&self) -> impl Iterator<Item = Said<'w>> {
        let epoch = self.register.epoch;
        [self.primary_said, self.standby_said]
            .into_iter()
            .flatten()
            .filter(move |said| said.status.row.as_ref().is_some_and(|row| row.epoch > epoch))
    }

    fn steering_ahead(&self) -> Option<&'w str> {
        let ahead = self.world.steering.as_ref().is_some_and(|s| s.epoch > self.register.epoch);
        ahead.then_some("the name server")
    }

    /// Why the standby could not be promoted now, if so.
    pub fn standby_unready(&self) -> Option<String> {
        use model::agent::{Role, StandbyPhase};
        let Some(said) = self.standby_said else { return Some("its agent was never heard".into()) };
        if !said.fresh {
            return Some("its agent does not answer".into());
        }
        let status = said.status;
        match &status.role {
            Role::Standby { phase: StandbyPhase::Attached | StandbyPhase::Connecting } => {}
            Role::Standby { phase: StandbyPhase::Seeding } => return Some("it is being filled".into()),
            Role::Starting { why } => return Some(format!("its agent is starting: {why}")),
            Role::Reinstating { .. } => return Some("it is being taken back".into()),
            Role::Stopped { why } => return Some(format!("its stream has stopped: {why}")),
            Role::Primary | Role::Promoting => return Some("it holds itself for the primary".into()),
        }
        let e = self.register.epoch;
        match (&status.row, &status.slot) {
            (None, _) => Some("its database does not answer".into()),
            (Some(row), _) if row.epoch != e || row.primary != *self.primary => {
                Some(format!("its row says epoch {} of {}", row.epoch, row.primary))
            }
            (_, None) => Some("it is not attached to the primary's stream".into()),
            (_, Some(slot)) if slot.epoch != e || slot.origin != *self.primary => {
                Some(format!("it is attached to epoch {} of {}", slot.epoch, slot.origin))
            }
            _ if status.incarnation != Some(self.register.standby_incarnation)
                && !sabotage::is(Sabotage::IgnoreIncarnation) =>
            {
                Some(format!(
                    "the register names incarnation {} of its data, it holds {}",
                    self.register.standby_incarnation,
                    status.incarnation.map_or("none".into(), |i| i.to_string())
                ))
            }
            _ => None,
        }
    }

    /// What operators have ordered, if that was read recently enough to act on.
    pub fn orders(&self) -> Option<&'w Orders> {
        let limit_ms = fresh_ms(self.policy);
        self.world.orders.as_ref().filter(|heard| heard.age_ms <= limit_ms).map(|heard| &heard.value)
    }

    /// Every place's fresh observation of `site`.
    pub fn seen_by_all(&self, site: &Site) -> impl Iterator<Item = &'w Observation> {
        let limit_ms = fresh_ms(self.policy);
        self.world.observations.iter().filter(move |o| o.of == *site && o.age_ms <= limit_ms)
    }
}

/// What `by` told last of `of`.
pub fn seen<'w>(world: &'w World, by: &Place, of: &Site) -> Option<&'w Observation> {
    world.observations.iter().find(|o| o.by == *by && o.of == *of)
}

/// The freshest words of a site's agent.
fn last_said<'w>(world: &'w World, policy: &Policy, site: &Site) -> Option<Said<'w>> {
    world
        .observations
        .iter()
        .filter(|o| o.of == *site)
        .filter_map(|o| Some((o.status.as_ref()?, o.agent.last_success_ms?)))
        .min_by_key(|(_, age_ms)| *age_ms)
        .map(|(status, age_ms)| Said { status, age_ms, fresh: age_ms <= fresh_ms(policy) })
}

/// How one controller sees the primary: by its commit probes, and by what else answers.
fn sight(observation: Option<&Observation>, policy: &Policy) -> Sight {
    let Some(o) = observation else { return Sight::Blind { why: "its controller is not heard" } };
    if o.age_ms > fresh_ms(policy) {
        return Sight::Blind { why: "its controller is not heard" };
    }
    let commit = match &o.commit {
        Some(probe) if probe.last != ProbeResult::Never => probe,
        _ => return Sight::Blind { why: "its controller has not probed the primary yet" },
    };
    if commit.last == ProbeResult::Ok {
        return Sight::Healthy;
    }
    // What fails must fail everywhere that makes it what it is called: a site is not dark while one of its doors
    // has only just begun to fail.
    let (loss, failed) = if o.agent.last == ProbeResult::Ok {
        (Loss::Database, commit.failed_in_a_row)
    } else if is_alive(&o.gateway) {
        (Loss::Agent, commit.failed_in_a_row.min(o.agent.failed_in_a_row))
    } else {
        let all = commit.failed_in_a_row.min(o.agent.failed_in_a_row).min(o.gateway.failed_in_a_row);
        (Loss::Site, all)
    };
    let lasted = |probes: u32| {
        failed >= probes
            && commit.last_success_ms.is_none_or(|ms| ms >= u64::from(probes) * policy.probe_interval_ms)
    };
    if lasted(policy.lost_after_probes.saturating_mul(loss.patience())) {
        Sight::Lost(loss)
    } else if lasted(policy.lost_after_probes) {
        Sight::Down(loss)
    } else {
        Sight::Doubted(loss)
    }
}

/// The standby's viewpoint has two senses, its controller's probes and its agent's stream. It has lost the primary
/// only when both say so; a beating stream proves a committing primary.
fn standby_sight(controller: Sight, beats: Option<bool>) -> Sight {
    match (controller, beats) {
        (Sight::Down(_) | Sight::Lost(_), None) => Sight::Blind { why: "its agent is not heard" },
        (Sight::Down(loss) | Sight::Lost(loss), Some(true)) => Sight::Doubted(loss),
        (sight, _) => sight,
    }
}

/// Whether something answers there, be it a no.
fn is_alive(probe: &Probe) -> bool {
    matches!(probe.last, ProbeResult::Ok | ProbeResult::Failed { .. })
}

/// Whether so many probes in a row met a closed or silent door.
pub fn is_gone(probe: &Probe, policy: &Policy) -> bool {
    matches!(probe.last, ProbeResult::Refused | ProbeResult::Silent)
        && probe.failed_in_a_row >= policy.lost_after_probes
}
