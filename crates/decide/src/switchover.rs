//! Decides how a planned change of primary goes on: which of its steps are still missing, or why it is taken back.
//!
//! ```text
//!  announce (CAS: intent) ─▶ park both gateways, drain ─▶ close the primary ─▶ catch up ─▶ move the register (CAS) ─▶
//!      │                          │                            │                  │        promote, fence, steer
//!      └──────────────────────────┴────────────────────────────┴──────────────────┴─▶ withdraw (CAS) ─▶ reopen ─▶ unpark
//! ```
//!
//! Nothing here is needed for safety: the register moves only out of `sync`, by compare-and-set, into an epoch that
//! begins in `solo`, exactly as in a failover, so no acknowledged write can be missing at the new primary even if every
//! one of the earlier steps were a lie. They are what makes it unnoticed: nobody is under way when the primary is
//! closed, and nothing stands in its log that the new primary lacks, so nothing has to be undone there.
//!
//! The intent is in the register, so whoever leads next sees it. A leader that did not take the steps itself takes them
//! again, which changes nothing where they were taken already. Until the register has moved, every doubt ends in
//! withdrawing the intent; the primary's agent opens its database only when the register holds none. Once the register
//! has moved there is no way back, and what is missing is what is missing of a failover.

use std::fmt;

use model::{
    Epoch, Mode, Register, Site, Step,
    agent::{Fence, Role, StandbyPhase},
    register::Intent,
    topology::{Failback, Policy},
};

use crate::{
    failover, rules,
    world::{Beliefs, Promotion, is_gone},
};

/// With `failback = "scheduled"`, the hour in which it may begin.
const SCHEDULED_MINUTES: u64 = 60;
const DAY_MINUTES: u64 = 24 * 60;

/// What a leader knows of switchovers beside the register: wishes, and what its own steps came to.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Who an operator wants to be primary, if one has asked.
    pub asked: Option<Site>,
    /// The site to which the service returns; `None`: neither is preferred.
    pub preferred: Option<Site>,
    /// For so long no problem has been named.
    pub well_ms: u64,
    /// Milliseconds since the register's intent was first seen here.
    pub intent_age_ms: u64,
    /// The epoch in which the following was done.
    pub epoch: Option<Epoch>,
    /// Gateways that have parked and drained, and for which intent.
    pub parked: Vec<(Site, u64)>,
    /// The intent for which the primary's database was closed.
    pub closed: Option<u64>,
    /// The intent for which the standby was found to hold all of the closed primary's log.
    pub caught_up: Option<u64>,
    /// An intent of which a step failed, and how.
    pub failed: Option<(u64, String)>,
}

impl Known {
    fn is_parked(&self, site: &Site, intent: u64) -> bool {
        self.parked.iter().any(|(s, i)| s == site && *i == intent)
    }
}

/// A reason that concerns a switchover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It goes on.
    UnderWay {
        /// To whom.
        to: Site,
    },
    /// It is taken back.
    Withdrawn {
        /// To whom it was to be.
        to: Site,
        /// Why.
        why: String,
    },
    /// It was asked for and does not begin.
    NotReady {
        /// To whom.
        to: Site,
        /// Why.
        why: String,
    },
    /// The preferred site is not primary, and it is not time to return.
    Failback {
        /// Who is preferred.
        to: Site,
        /// Why not yet.
        why: String,
    },
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::UnderWay { to } => write!(f, "a switchover to {to} is under way"),
            Hold::Withdrawn { to, why } => write!(f, "the switchover to {to} is rolled back: {why}"),
            Hold::NotReady { to, why } => write!(f, "no switchover to {to}: {why}"),
            Hold::Failback { to, why } => write!(f, "the service does not return to {to} yet: {why}"),
        }
    }
}

/// The steps that an intent in the register still lacks, or the one that takes it back. `None` without an intent.
pub(crate) fn under_way(b: &Beliefs<'_>) -> Option<(Vec<Step>, Vec<Hold>)> {
    let intent = b.register.intent.as_ref()?;
    let to = intent.to.clone();
    if let Some(why) = against_going_on(b, intent) {
        let record = Register {
            version: b.register.version + 1,
            intent: None,
            why: format!("the switchover to {to} is rolled back: {why}"),
            ..b.register.clone()
        };
        return Some((vec![Step::Withdraw { record }], vec![Hold::Withdrawn { to, why }]));
    }
    Some((steps(b, intent), vec![Hold::UnderWay { to }]))
}

fn steps(b: &Beliefs<'_>, intent: &Intent) -> Vec<Step> {
    let (known, id, epoch) = (&b.world.switchover, intent.id, b.register.epoch);
    let (primary, standby) = (b.primary.clone(), b.standby.clone());
    let mut steps = Vec::new();
    for site in [&standby, &primary] {
        if !known.is_parked(site, id) {
            steps.push(Step::Park { site: site.clone(), epoch, intent: id });
        }
    }
    if known.closed != Some(id) {
        steps.push(Step::Close { site: primary.clone(), epoch, intent: id });
    }
    if known.caught_up != Some(id) {
        steps.push(Step::CatchUp { site: primary.clone(), epoch, intent: id });
    }
    let next = epoch.next();
    let record = failover::next_record(b, format!("switchover from {primary}"), None);
    steps.extend([
        Step::MoveRegister { record },
        Step::Fence { site: primary, epoch: next, primary: standby.clone() },
        Step::Promote { site: standby.clone(), epoch: next },
        Step::Steer { site: standby, epoch: next },
    ]);
    steps
}

/// Why an intent that is in the register must be taken out of it again.
fn against_going_on(b: &Beliefs<'_>, intent: &Intent) -> Option<String> {
    let known = &b.world.switchover;
    if intent.to != *b.standby {
        return Some(format!("{} is not the standby", intent.to));
    }
    if b.register.mode == Mode::Solo {
        return Some(format!("the mode went to solo: {} is behind", b.standby));
    }
    if let Some(order) = rules::standing(b).into_iter().next() {
        return Some(order);
    }
    if let Some((_, why)) = known.failed.as_ref().filter(|(id, _)| *id == intent.id) {
        return Some(why.clone());
    }
    if known.intent_age_ms > b.policy.switchover_ms_max {
        return Some(format!("it was not through after {} ms", b.policy.switchover_ms_max));
    }
    b.standby_unready().map(|why| format!("{} cannot be promoted: {why}", b.standby))
}

/// What an intent that was withdrawn has left behind: a closed database, parked requests. In this order: what is let go
/// on must find an open database.
pub(crate) fn left_behind(b: &Beliefs<'_>) -> Vec<Step> {
    let (known, epoch) = (&b.world.switchover, b.register.epoch);
    if known.epoch != Some(epoch) || b.register.intent.is_some() {
        return Vec::new();
    }
    let mut steps = Vec::new();
    if known.closed.is_some() {
        // A database that is promoted to this epoch already is only opened by it.
        steps.push(Step::Promote { site: b.primary.clone(), epoch });
    }
    for (site, intent) in &known.parked {
        steps.push(Step::Unpark { site: site.clone(), epoch, intent: *intent });
    }
    steps
}

/// Whether the site that is no longer primary was closed by the switchover that ended its epoch: then its row is raised
/// at once, beside the promotion, so that its gateway knows and its data follow.
pub(crate) fn was_closed_for(b: &Beliefs<'_>) -> bool {
    let (known, epoch) = (&b.world.switchover, b.register.epoch);
    let raised = b.standby_said.and_then(|s| s.status.row.as_ref()).is_some_and(|row| row.epoch >= epoch);
    known.closed.is_some() && known.epoch.map(Epoch::next) == Some(epoch) && !raised
}

/// The step that begins a switchover which an operator or the policy wants; why not, if it is wanted and does not begin.
pub(crate) fn begin(b: &Beliefs<'_>) -> (Option<Step>, Vec<Hold>) {
    let known = &b.world.switchover;
    let (to, why) = match &known.asked {
        Some(to) => (to.clone(), format!("switchover to {to}, as an operator asked")),
        None => match failback(b) {
            Ok(None) => return (None, Vec::new()),
            Ok(Some(to)) => {
                let why =
                    format!("failback to {to}: all has been well for {} ms", b.policy.failback_after_ms);
                (to, why)
            }
            Err(hold) => return (None, vec![hold]),
        },
    };
    let against = obstacles(b, &to);
    if !against.is_empty() {
        return (None, against);
    }
    let version = b.register.version + 1;
    let intent = Some(Intent { to, id: version });
    (Some(Step::Announce { record: Register { version, intent, why, ..b.register.clone() } }), Vec::new())
}

/// Everything that speaks against beginning a switchover to `to` now.
pub fn obstacles(b: &Beliefs<'_>, to: &Site) -> Vec<Hold> {
    let mut against = Vec::new();
    let mut must = |holds: bool, why: String| {
        if !holds {
            against.push(Hold::NotReady { to: to.clone(), why });
        }
    };
    let (primary, standby) = (b.primary, b.standby);
    must(to != primary, format!("{primary} is the primary already"));
    if to == primary {
        return against;
    }
    must(to == standby, format!("{to} is not a site of the topology"));
    must(b.register_fresh, "the register does not answer".into());
    if let Some(intent) = &b.register.intent {
        must(false, format!("a switchover to {} is under way", intent.to));
    }
    must(b.register.mode == Mode::Sync, format!("the mode is solo: {standby} is behind {primary}"));
    if let Some(why) = b.standby_unready() {
        must(false, format!("{standby} cannot be promoted: {why}"));
    }
    let attached =
        b.standby_said.is_some_and(|s| s.status.role == Role::Standby { phase: StandbyPhase::Attached });
    must(attached, format!("{standby} does not follow the stream of {primary} at the moment"));
    let primary_said = b.primary_said.filter(|s| s.fresh);
    must(primary_said.is_some(), format!("the agent of {primary} does not answer"));
    let open = primary_said.is_some_and(|s| s.status.fence == Fence::Open);
    must(
        primary_said.is_none() || (open && b.promotion() == Promotion::Done),
        format!("the database of {primary} is not open: its own epoch has not begun"),
    );
    let limit_ms = b.policy.switchover_catch_up_ms;
    let lag_ms = primary_said.and_then(|s| s.status.lag_ms).unwrap_or(0);
    must(lag_ms <= limit_ms, format!("{standby} is more than {limit_ms} ms behind"));
    for site in [primary, standby] {
        let mut looked = b.seen_by_all(site).peekable();
        let seen = looked.peek().is_some();
        let gone = seen && looked.all(|o| is_gone(&o.gateway, b.policy));
        must(!gone, format!("the gateway of {site} does not answer, and would let nobody wait"));
    }
    against
}

/// Whether the policy wants the service to return to the preferred site now.
///
/// Against flapping: only when nothing at all has been wrong for `failback_after_ms` and the primary has been the same
/// for as long. A failback that was rolled back counts as something wrong.
pub fn failback(b: &Beliefs<'_>) -> Result<Option<Site>, Hold> {
    let known = &b.world.switchover;
    let Some(to) = known.preferred.clone().filter(|to| to == b.standby) else { return Ok(None) };
    if b.policy.failback == Failback::Manual {
        return Ok(None);
    }
    let after_ms = b.policy.failback_after_ms;
    if known.well_ms < after_ms || b.world.epoch_age_ms < after_ms {
        let why = format!("all must have been well for {after_ms} ms, with the same primary");
        return Err(Hold::Failback { to, why });
    }
    if b.policy.failback == Failback::Scheduled && !is_time(b.policy, b.world.wall_ms) {
        let at: String = b.policy.failback_at.into();
        return Err(Hold::Failback { to, why: format!("it is scheduled for the hour after {at} UTC") });
    }
    Ok(Some(to))
}

fn is_time(policy: &Policy, wall_ms: u64) -> bool {
    let minute = wall_ms / 60_000 % DAY_MINUTES;
    let since = (minute + DAY_MINUTES - u64::from(policy.failback_at.minute)) % DAY_MINUTES;
    since < SCHEDULED_MINUTES
}
