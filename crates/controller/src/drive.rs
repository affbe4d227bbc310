//! The core of a controller: every event that can happen to it, and what it does about each. Sans-IO.
//!
//! [`Core`] owns all state. It is driven by [`Core::apply`] with the time and one [`Event`], and answers with
//! [`Effect`]s that somebody else carries out; each of them comes back as an event. Nothing in here waits, and the
//! tests (and the simulation) drive this very type by a clock of their own.
//!
//! After every event the world is judged afresh. A leader then begins the steps that the verdict names and that are
//! not under way already: the register's move and the promotion one at a time and in order, fence and steering side
//! by side behind them, so that a dark old primary delays nothing.

use std::{collections::BTreeMap, sync::Arc};

use decide::{
    World, check, judge,
    world::{Beliefs, Heard},
};
use model::{
    Epoch, Mode, Place, Register, Site, Step, Verdict,
    agent::AgentStatus,
    observation::{Observation, ProbeResult, View},
    orders::Orders,
    plan::Steering,
    register::{LeaseReply, LeaseRequest},
    topology::Policy,
};

use self::switchover::Switchover;
use crate::{
    execute::Outcome,
    journal::{Entry, Sighting, What},
    lease::Leadership,
    probe::{Tally, Target},
};

/// How often the core must be told the time.
pub const TICK_MS: u64 = 50;

/// How often the name server is asked where it leads, so that a restarted one is steered again.
const STEERING_INTERVAL_MS: u64 = 1_000;

/// A step that failed is not begun again within this time.
const RETRY_MS: u64 = 200;

/// So many questions to one place may be under way at once.
const QUESTIONS_MAX: u32 = 2;

/// Everything that can happen to a controller.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// A probe of ours ended.
    Probed {
        /// Which site.
        of: Site,
        /// Which of its doors.
        target: Target,
        /// The number under which it was sent.
        sequence: u64,
        /// How it ended.
        result: ProbeResult,
        /// What the agent said, if it was asked.
        status: Option<Box<AgentStatus>>,
    },
    /// Another controller told what it sees, or did not answer.
    Told {
        /// Who was asked.
        place: Place,
        /// When the question was sent.
        sent_ms: u64,
        /// Its observations.
        observations: Option<Vec<Observation>>,
    },
    /// The register was read, or did not answer.
    RegisterRead {
        /// When the question was sent.
        sent_ms: u64,
        /// The record.
        record: Option<Register>,
    },
    /// The operators' orders were read, or did not come.
    OrdersRead {
        /// When the question was sent.
        sent_ms: u64,
        /// The orders.
        orders: Option<Orders>,
    },
    /// The register answered a question for the lease, or did not.
    Leased {
        /// When the question was sent.
        sent_ms: u64,
        /// The question.
        request: LeaseRequest,
        /// The answer.
        reply: Option<LeaseReply>,
    },
    /// The name server told where it leads, or did not answer.
    SteeringRead {
        /// When the question was sent.
        sent_ms: u64,
        /// Where it leads.
        steering: Option<Steering>,
    },
    /// An operator asks for a switchover.
    Asked {
        /// The number of the request, chosen by whoever took it.
        number: u64,
        /// What is asked for.
        request: model::switchover::Request,
    },
    /// A step of ours ended.
    Ended {
        /// Which.
        step: Step,
        /// When it was begun.
        began_ms: u64,
        /// How.
        outcome: Outcome,
    },
}

/// What is to be done outside. Every effect but `Note` comes back as an event.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Probe one door of a site.
    Probe {
        /// Which site.
        of: Site,
        /// Which door.
        target: Target,
        /// Under this number.
        sequence: u64,
    },
    /// Ask another controller what it sees.
    Ask {
        /// Which.
        place: Place,
    },
    /// Read the register.
    ReadRegister,
    /// Read the operators' orders, at the register.
    ReadOrders,
    /// Ask the name server where it leads.
    ReadSteering,
    /// Ask for the lease.
    AskLease {
        /// The question.
        request: LeaseRequest,
    },
    /// Take a step.
    Take {
        /// Which.
        step: Step,
    },
    /// Write a line into the journal.
    Note(Box<Entry>),
}

/// Everything that a controller knows, and the part that it plays.
#[derive(Debug)]
pub struct Core {
    place: Place,
    sites: [Site; 2],
    policy: Policy,
    own: BTreeMap<Site, Own>,
    others: BTreeMap<Place, Other>,
    register: Option<Heard<Register>>,
    /// When the question was sent to which the newest answer came.
    register_read_at_ms: u64,
    /// When the present version was first heard of. An older one counts only if it was asked for later: then the
    /// register has truly gone back.
    register_heard_at_ms: u64,
    register_questions: u32,
    /// The operators' orders, and when the question was sent to which they came.
    orders: Option<(Orders, u64)>,
    orders_questions: u32,
    /// When the register's epoch was seen to begin; `None` if that was before our own beginning.
    epoch_since_ms: Option<u64>,
    steering: Option<(Steering, u64)>,
    promoted: Option<(Site, Epoch, u64)>,
    refused: Option<(Site, Epoch, String)>,
    leadership: Leadership,
    switchover: Switchover,
    running: Vec<Step>,
    /// Steps that ended lately, and until when they are not begun again.
    resting: Vec<(Step, u64)>,
    verdict: Verdict,
    due: Due,
    sequence: u64,
}

/// What we see of one site ourselves.
#[derive(Debug, Default)]
struct Own {
    tallies: BTreeMap<Target, Tally>,
    status: Option<Arc<AgentStatus>>,
    ended_ms: u64,
}

/// What another place told last.
#[derive(Debug, Default)]
struct Other {
    told: Vec<Observation>,
    sent_ms: u64,
    questions: u32,
    /// By how much its clock is ahead of ours at least.
    clock_ahead_ms: Option<i64>,
}

/// When each of the recurring questions is due.
#[derive(Debug, Default)]
struct Due {
    probes_ms: u64,
    others_ms: u64,
    register_ms: u64,
    steering_ms: u64,
    lease_ms: u64,
}

impl Core {
    /// A controller that knows nothing yet.
    pub fn new(place: Place, sites: [Site; 2], policy: Policy) -> Core {
        let places = [Place::Witness].into_iter().chain(sites.iter().cloned().map(Place::Site));
        let others = places.filter(|p| *p != place).map(|p| (p, Other::default())).collect();
        let own = sites.iter().map(|s| (s.clone(), Own::default())).collect();
        Core {
            leadership: Leadership::new(place.to_string(), policy.leader_lease_ms),
            switchover: Switchover::default(),
            place,
            sites,
            policy,
            own,
            others,
            register: None,
            register_read_at_ms: 0,
            register_heard_at_ms: 0,
            register_questions: 0,
            orders: None,
            orders_questions: 0,
            epoch_since_ms: None,
            steering: None,
            promoted: None,
            refused: None,
            running: Vec::new(),
            resting: Vec::new(),
            verdict: Verdict { problems: Vec::new(), plan: model::Plan::default(), reasons: Vec::new() },
            due: Due::default(),
            sequence: 0,
        }
    }

    /// The site to which the service returns, if the policy says so.
    #[must_use]
    pub fn preferring(mut self, site: Site) -> Core {
        self.switchover.prefer(site);
        self
    }

    /// Takes in one event. `now_ms` never goes back; `wall_ms` only goes into records for people.
    pub fn apply(&mut self, now_ms: u64, wall_ms: u64, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Tick => self.recur(now_ms, &mut effects),
            Event::Probed { of, target, sequence, result, status } => {
                if let Some(own) = self.own.get_mut(&of) {
                    own.ended_ms = now_ms;
                    own.tallies.entry(target).or_default().count(now_ms, sequence, result);
                    if let Some(status) = status {
                        own.status = Some(Arc::from(status));
                    }
                }
            }
            Event::Told { place, sent_ms, observations } => {
                if let Some(other) = self.others.get_mut(&place) {
                    other.questions = other.questions.saturating_sub(1);
                    if let Some(observations) = observations.filter(|_| sent_ms >= other.sent_ms) {
                        // A place speaks for itself only.
                        let their_wall_ms = observations.iter().find_map(|o| o.wall_ms);
                        other.clock_ahead_ms = their_wall_ms
                            .map(|theirs| clock_ahead_ms(theirs, wall_ms, now_ms.saturating_sub(sent_ms)));
                        other.told = observations.into_iter().filter(|o| o.by == place).collect();
                        other.sent_ms = sent_ms;
                    }
                }
            }
            Event::RegisterRead { sent_ms, record } => {
                self.register_questions = self.register_questions.saturating_sub(1);
                if let Some(record) = record {
                    self.learn(now_ms, sent_ms, record);
                }
            }
            Event::OrdersRead { sent_ms, orders } => {
                self.orders_questions = self.orders_questions.saturating_sub(1);
                // An answer that was overtaken by a newer question's says nothing.
                let newer = self.orders.as_ref().is_none_or(|(_, known_ms)| sent_ms >= *known_ms);
                if let Some(orders) = orders.filter(|_| newer) {
                    let known = self.orders.as_ref().map_or(0, |(known, _)| known.version);
                    if known != orders.version {
                        let orders = Box::new(orders.clone());
                        effects.push(self.note(now_ms, wall_ms, What::Ordered { orders }));
                    }
                    self.orders = Some((orders, sent_ms));
                }
            }
            Event::Leased { sent_ms, request, reply } => match reply {
                Some(reply) => self.leadership.answered(sent_ms, &request, &reply),
                None => self.leadership.unanswered(now_ms),
            },
            Event::SteeringRead { sent_ms, steering } => {
                // An answer from before our own steering ended would undo what we know.
                let newer = self.steering.as_ref().is_none_or(|(_, known_ms)| sent_ms >= *known_ms);
                if let Some(steering) = steering.filter(|_| newer) {
                    self.steering = Some((steering, now_ms));
                }
            }
            Event::Asked { number, request } => self.asked(now_ms, wall_ms, number, &request),
            Event::Ended { step, began_ms, outcome } => {
                self.ended(now_ms, wall_ms, began_ms, &step, &outcome);
                let took_ms = now_ms.saturating_sub(began_ms);
                effects.push(self.note(now_ms, wall_ms, What::Ended { step, outcome, took_ms }));
            }
        }
        self.consider(now_ms, wall_ms, &mut effects);
        effects
    }

    /// What this place itself sees of both sites.
    pub fn observations(&self, now_ms: u64) -> Vec<Observation> {
        let primary = self.register.as_ref().map(|r| &r.value.primary);
        let told = |own: &Own, target| {
            own.tallies
                .get(&target)
                .map_or_else(model::observation::Probe::never, |t| t.told(now_ms, self.policy.flap_window_ms))
        };
        self.own
            .iter()
            .map(|(site, own)| Observation {
                by: self.place.clone(),
                of: site.clone(),
                age_ms: now_ms.saturating_sub(own.ended_ms),
                commit: (primary == Some(site)).then(|| told(own, Target::Commit)),
                gateway: told(own, Target::Gateway),
                agent: told(own, Target::Agent),
                status: own.status.clone(),
                wall_ms: None, // told by the clock of the moment of telling, in `api`
            })
            .collect()
    }

    /// Everything that is known and judged, for the admin API.
    pub fn view(&self, now_ms: u64) -> View {
        let world = self.world(now_ms, 0);
        let beliefs = Beliefs::form(&world, &self.policy);
        let loss_s_max = beliefs.as_ref().and_then(decide::rules::loss_s_max);
        let readiness = beliefs.as_ref().map(decide::readiness::of);
        View {
            loss_s_max,
            readiness,
            fencing: Vec::new(), // told by the hands, not known here
            orders: world.orders.map(|orders| orders.value),
            place: self.place.clone(),
            leader: self.leadership.holder().map(str::to_owned),
            register_age_ms: world.register.as_ref().map(|r| r.age_ms),
            register: world.register.map(|r| r.value),
            steering: world.steering,
            observations: world.observations,
            verdict: self.verdict.clone(),
            switchover: self.switchover.told(),
        }
    }

    /// Whether this controller leads.
    pub fn leads(&self, now_ms: u64) -> bool {
        self.leadership.leads(now_ms)
    }

    /// The recurring questions, each at its own pace.
    fn recur(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let interval_ms = self.policy.probe_interval_ms;
        let is_due = |due_ms: &mut u64, every_ms: u64| {
            let due = now_ms >= *due_ms;
            if due {
                // A core that was paused does not catch up on what it missed.
                *due_ms = if *due_ms + every_ms > now_ms { *due_ms + every_ms } else { now_ms + every_ms };
            }
            due
        };
        if is_due(&mut self.due.probes_ms, interval_ms) {
            let primary = self.register.as_ref().map(|r| r.value.primary.clone());
            for of in &self.sites {
                for target in Target::ALL {
                    // A standby is not asked to commit.
                    if target == Target::Commit && primary.as_ref() != Some(of) {
                        continue;
                    }
                    self.sequence += 1;
                    if let Some(own) = self.own.get_mut(of) {
                        own.tallies.entry(target).or_default().sent(now_ms, self.sequence);
                    }
                    effects.push(Effect::Probe { of: of.clone(), target, sequence: self.sequence });
                }
            }
        }
        // While the primary looks doubtful from here, what the others see decides: ask at every tick.
        let doubtful = self
            .register
            .as_ref()
            .and_then(|r| self.own.get(&r.value.primary))
            .is_some_and(|own| own.tallies.get(&Target::Commit).is_some_and(Tally::is_failing));
        if is_due(&mut self.due.others_ms, if doubtful { TICK_MS } else { interval_ms }) {
            for (place, other) in self.others.iter_mut().filter(|(_, o)| o.questions < QUESTIONS_MAX) {
                other.questions += 1;
                effects.push(Effect::Ask { place: place.clone() });
            }
        }
        if is_due(&mut self.due.register_ms, interval_ms) {
            if self.register_questions < QUESTIONS_MAX {
                self.register_questions += 1;
                effects.push(Effect::ReadRegister);
            }
            if self.orders_questions < QUESTIONS_MAX {
                self.orders_questions += 1;
                effects.push(Effect::ReadOrders);
            }
        }
        if is_due(&mut self.due.steering_ms, STEERING_INTERVAL_MS) {
            effects.push(Effect::ReadSteering);
        }
        if is_due(&mut self.due.lease_ms, self.leadership.interval_ms()) {
            let last = self.is_to_lead_last(now_ms);
            effects.push(Effect::AskLease { request: self.leadership.question(now_ms, last) });
        }
    }

    /// Whether another controller should lead: this one stands beside the primary, has nothing under way, and
    /// another one is heard.
    fn is_to_lead_last(&self, now_ms: u64) -> bool {
        let beside =
            self.register.as_ref().is_some_and(|r| self.place == Place::Site(r.value.primary.clone()));
        let fresh_ms = decide::world::fresh_ms(&self.policy);
        let heard = self.others.values().any(|o| !o.told.is_empty() && now_ms - o.sent_ms <= fresh_ms);
        beside && heard && self.running.is_empty() && self.verdict.plan.steps.is_empty()
    }

    /// Takes in a record of the register that was asked for at `sent_ms`.
    fn learn(&mut self, now_ms: u64, sent_ms: u64, record: Register) {
        let known = self.register.as_ref().map(|r| &r.value);
        if known.is_some_and(|k| k.version > record.version) && sent_ms <= self.register_heard_at_ms {
            return; // an answer that was overtaken
        }
        if known.is_none_or(|k| k.version != record.version) {
            self.register_heard_at_ms = now_ms;
        }
        // A controller that has just begun does not know how old the epoch is. One that is in `sync` already is not
        // young: its standby has been filled since. One in `solo` may be, so the pause counts from here.
        let began = match known {
            None => record.mode == Mode::Solo,
            Some(known) => known.epoch != record.epoch,
        };
        if began {
            self.epoch_since_ms = Some(now_ms);
        }
        if known.is_some_and(|k| k.primary != record.primary)
            && let Some(own) = self.own.get_mut(&record.primary)
        {
            // What was counted when it was primary before says nothing of now.
            own.tallies.remove(&Target::Commit);
        }
        self.register_read_at_ms = self.register_read_at_ms.max(sent_ms);
        self.switchover.learn(now_ms, &record);
        self.register = Some(Heard { value: record, age_ms: 0 });
    }

    /// An operator asks. Only the leader begins; and it says at once what speaks against it.
    fn asked(&mut self, now_ms: u64, wall_ms: u64, number: u64, request: &model::switchover::Request) {
        let world = self.world(now_ms, wall_ms);
        let against = if !self.leads(now_ms) {
            let leader = self.leadership.holder().filter(|l| *l != self.place.to_string());
            vec![match leader {
                Some(leader) => format!("{leader} leads the controllers: ask there"),
                None => "no controller leads at the moment: ask again".to_owned(),
            }]
        } else {
            match decide::world::Beliefs::form(&world, &self.policy) {
                Some(b) => {
                    decide::switchover::obstacles(&b, &request.to).iter().map(ToString::to_string).collect()
                }
                None => vec!["the register was never read".to_owned()],
            }
        };
        let register = self.register.as_ref().map(|r| &r.value);
        self.switchover.asked(now_ms, wall_ms, number, request, register, against);
    }

    fn ended(&mut self, now_ms: u64, wall_ms: u64, began_ms: u64, step: &Step, outcome: &Outcome) {
        self.running.retain(|s| !is_same(s, step));
        self.switchover.ended(now_ms, wall_ms, began_ms, step, outcome);
        // What is done shows in the world only when the other side has been looked at again.
        let seen_ms = self.policy.probe_interval_ms + self.policy.probe_timeout_ms;
        let rest_ms = if outcome.is_done() { seen_ms } else { RETRY_MS };
        self.resting.push((step.clone(), now_ms + rest_ms));
        match (outcome, step) {
            (Outcome::Moved { record } | Outcome::Stale { record }, _) => {
                self.learn(now_ms, began_ms, record.clone());
            }
            (Outcome::Promoted, Step::Promote { site, epoch }) => {
                self.promoted = Some((site.clone(), *epoch, now_ms));
            }
            (Outcome::Refused { why }, Step::Promote { site, epoch }) => {
                self.refused = Some((site.clone(), *epoch, why.clone()));
            }
            (Outcome::Steered { steering }, _) => self.steering = Some((steering.clone(), now_ms)),
            _ => {}
        }
    }

    /// The world as it is known now.
    fn world(&self, now_ms: u64, wall_ms: u64) -> World {
        let mut observations = self.observations(now_ms);
        for other in self.others.values() {
            let by_ms = now_ms.saturating_sub(other.sent_ms);
            observations.extend(other.told.iter().cloned().map(|o| o.aged(by_ms)));
        }
        let register = self.register.as_ref().map(|r| Heard {
            value: r.value.clone(),
            age_ms: now_ms.saturating_sub(self.register_read_at_ms),
        });
        // A confirmed promotion counts until the agent itself has surely been heard after it.
        let promoted = self.promoted.as_ref().filter(|(site, _, at_ms)| {
            let heard = observations.iter().filter(|o| o.of == *site).filter_map(|o| o.agent.last_success_ms);
            heard
                .min()
                .is_none_or(|age_ms| age_ms + self.policy.probe_timeout_ms >= now_ms.saturating_sub(*at_ms))
        });
        let steering_ms_max = 3 * STEERING_INTERVAL_MS;
        let steering = self.steering.as_ref().filter(|(_, at_ms)| now_ms - at_ms <= steering_ms_max);
        World {
            sites: self.sites.clone(),
            register,
            promoted: promoted.map(|(site, epoch, _)| (site.clone(), *epoch)),
            observations,
            steering: steering.map(|(s, _)| s.clone()),
            refused: self.refused.clone(),
            switchover: self.switchover.known(now_ms),
            epoch_age_ms: self.epoch_since_ms.map_or(u64::MAX, |since| now_ms.saturating_sub(since)),
            orders: self.orders.as_ref().map(|(orders, sent_ms)| Heard {
                value: orders.clone(),
                age_ms: now_ms.saturating_sub(*sent_ms),
            }),
            clocks_ahead_ms: self
                .others
                .iter()
                .filter_map(|(place, other)| Some((place.clone(), other.clock_ahead_ms?)))
                .collect(),
            wall_ms,
        }
    }

    /// Judges, and begins what is to be begun.
    fn consider(&mut self, now_ms: u64, wall_ms: u64, effects: &mut Vec<Effect>) {
        let world = self.world(now_ms, wall_ms);
        let verdict = judge(&world, &self.policy);
        // Almost always it is the very same; only then its words are compared, which leave out what is for people.
        let changed = verdict != self.verdict
            && decide::scenario::describe(&verdict) != decide::scenario::describe(&self.verdict);
        self.verdict = verdict;
        self.switchover.judged(now_ms, &self.verdict);
        if changed {
            let verdict = self.verdict.clone();
            let register = world.register.as_ref().map(|r| Box::new(r.value.clone()));
            let seen = Sighting::all(&world);
            effects.push(self.note(now_ms, wall_ms, What::Judged { verdict, seen, register }));
        }
        self.resting.retain(|(_, until_ms)| now_ms < *until_ms);
        let Some(register) = world.register.as_ref().filter(|_| self.leads(now_ms)) else { return };
        let faults = check::lint(&self.verdict.plan, &register.value);
        if !faults.is_empty() {
            if changed {
                let faults = faults.iter().map(ToString::to_string).collect();
                effects.push(self.note(now_ms, wall_ms, What::PlanRefused { faults }));
            }
            return;
        }
        for (i, step) in self.verdict.plan.steps.clone().into_iter().enumerate() {
            if i > 0 && waits_for_all_before(&step) {
                break;
            }
            let alone = waits_for_all_before(&step) || matches!(step, Step::Promote { .. });
            let under_way = self.running.iter().any(|s| is_same(s, &step));
            let rests = self.resting.iter().any(|(s, _)| is_same(s, &step));
            if !under_way && !rests {
                self.running.push(step.clone());
                effects.push(self.note(now_ms, wall_ms, What::Began { step: step.clone() }));
                effects.push(Effect::Take { step });
            }
            if alone {
                break; // what follows rests on it, and is judged again when it has ended
            }
        }
    }

    fn note(&self, now_ms: u64, wall_ms: u64, what: What) -> Effect {
        Effect::Note(Box::new(Entry {
            at_ms: wall_ms,
            place: self.place.to_string(),
            leads: self.leads(now_ms),
            epoch: self.register.as_ref().map(|r| r.value.epoch),
            what,
        }))
    }
}

/// By how much a clock that showed `theirs` is ahead of ours, which shows `wall_ms` now, if the question was sent
/// `way_ms` ago. It was read at some moment in between, so only what no such moment explains counts.
fn clock_ahead_ms(theirs: u64, wall_ms: u64, way_ms: u64) -> i64 {
    let earliest = wall_ms.saturating_sub(way_ms);
    let ms = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    if theirs > wall_ms {
        ms(theirs - wall_ms)
    } else if theirs < earliest {
        -ms(earliest - theirs)
    } else {
        0
    }
}

/// Whether a step rests on every one that stands before it in the plan.
fn waits_for_all_before(step: &Step) -> bool {
    match step {
        Step::MoveRegister { .. }
        | Step::Announce { .. }
        | Step::Close { .. }
        | Step::CatchUp { .. }
        | Step::Withdraw { .. } => true,
        Step::Promote { .. }
        | Step::Fence { .. }
        | Step::Steer { .. }
        | Step::Park { .. }
        | Step::Unpark { .. } => false,
    }
}

/// Whether two steps are the same act: a record's words and date for people make no difference.
fn is_same(a: &Step, b: &Step) -> bool {
    match (a, b) {
        (Step::MoveRegister { record: a }, Step::MoveRegister { record: b })
        | (Step::Announce { record: a }, Step::Announce { record: b })
        | (Step::Withdraw { record: a }, Step::Withdraw { record: b }) => {
            (a.version, a.epoch, &a.primary) == (b.version, b.epoch, &b.primary)
        }
        _ => a == b,
    }
}

mod switchover;
#[cfg(test)]
mod tests;
