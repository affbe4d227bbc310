//! Scenarios: stories of faults as an operator would tell them, with the verdict that is expected.
//!
//! The files stand in `scenarios/`. A story is a sequence of moments, each headed by `== …`. A moment states what
//! has changed since the one before, and then what must be concluded:
//!
//! ```text
//! # why the story is told
//! register: epoch 3, primary nhn, mode sync, incarnation 2
//! epoch known for: 1 h
//! name leads to: nhn in epoch 3
//! nhn says: primary, epoch 3, open
//! aws says: standby attached, epoch 3, incarnation 2, last beat 150 ms ago, closed
//! witness sees nhn: commits, agent answers, gateway answers
//! == The power goes
//! witness sees nhn: everything silent 4 times
//! problems: none
//! plan: none
//! because: nhn commits in epoch 3: no failover is needed
//! ```
//!
//! Facts of the rules and of rarer faults:
//!
//! ```text
//! policy: failover pause 10 min, lag at most 10 s, maintenance every sat 02:00-04:00 Asia/Seoul
//! time of week: fri 17:10
//! orders: stopped by kim for a rehearsal
//! orders: observing, maintenance by kim for new switches
//! orders: failover out of epoch 3 to aws with a loss of 30 s approved by kim for the flood
//! clock of witness: 5 s ahead
//! nhn says: read-only, disk free 0 MiB, log kept 2 h, hears the standby 200 ms ago, lag 40 s, stood still 9 s until 2 s ago
//! witness sees nhn: commits, lost 4 times lately
//! aws sees nhn: agent answers in 400 ms
//! ```
//!
//! `X sees Y` takes `commits`, or `commit|agent|gateway|everything` with `answers`, `says no N times`,
//! `refused N times`, `silent N times`; and `nothing`, `told 5 s ago`. `X says` keeps what is not named. `plan:` lists
//! steps joined by ` → `. A moment's `because:` lines are all of the verdict's reasons, in order.
//!
//! Unknown words are errors with their line: a scenario that is not understood must not pass.

use std::sync::Arc;

use model::{
    Epoch, Incarnation, Mode, Place, Position, Problem, Register, Site, StreamId, Verdict,
    agent::{AgentStatus, Fence, Paused, ReinstatePhase, Role, Row, Slot, StandbyPhase},
    observation::{Observation, Probe, ProbeResult},
    plan::Steering,
    register::{Approval, Forced, Halt, Intent, Orders, Window},
    topology::Policy,
};

use crate::world::{Heard, World};

mod stories;

pub use stories::{Expectation, STORIES, expectation, expectations};

/// One moment of a story: the world as it is then, and what must be concluded.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Its heading.
    pub title: String,
    /// The line of the heading.
    pub line: usize,
    /// What is seen.
    pub world: World,
    /// The rules by which it is judged.
    pub policy: Policy,
    /// The verdict, as [`describe`] would tell it.
    pub expected: String,
}

/// A line that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misread {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// Reads a story. The moments stand in the order of the file.
pub fn read(text: &str, policy: &Policy) -> Result<Vec<Moment>, Misread> {
    let mut story = Story::new(policy.clone());
    for (i, line) in text.lines().enumerate() {
        story.line(i + 1, line.trim()).map_err(|what| Misread { line: i + 1, what })?;
    }
    story.close();
    Ok(story.moments)
}

/// A verdict in the words of a scenario.
pub fn describe(verdict: &Verdict) -> String {
    let problems: Vec<&str> = verdict.problems.iter().map(|p| name(*p)).collect();
    let steps: Vec<String> = verdict.plan.steps.iter().map(ToString::to_string).collect();
    let or_none = |list: String| if list.is_empty() { "none".to_owned() } else { list };
    let mut text = format!("problems: {}\n", or_none(problems.join(", ")));
    text.push_str(&format!("plan: {}\n", or_none(steps.join(" → "))));
    for reason in &verdict.reasons {
        text.push_str(&format!("because: {reason}\n"));
    }
    text
}

/// A problem's name as journals and scenarios write it.
pub fn name(problem: Problem) -> &'static str {
    match problem {
        Problem::PrimarySiteLost => "primary_site_lost",
        Problem::PrimaryDatabaseLost => "primary_database_lost",
        Problem::PrimaryGatewayLost => "primary_gateway_lost",
        Problem::PrimaryAgentLost => "primary_agent_lost",
        Problem::PrimarySuspected => "primary_suspected",
        Problem::ViewpointMissing => "viewpoint_missing",
        Problem::StandbyLost => "standby_lost",
        Problem::LinkCut => "link_cut",
        Problem::RegisterUnreachable => "register_unreachable",
        Problem::RegisterBehind => "register_behind",
        Problem::RunningSolo => "running_solo",
        Problem::ReplicationStopped => "replication_stopped",
        Problem::StandbyNotReady => "standby_not_ready",
        Problem::PromotionUnfinished => "promotion_unfinished",
        Problem::PromotionRefused => "promotion_refused",
        Problem::FenceUnfinished => "fence_unfinished",
        Problem::SteeringUnfinished => "steering_unfinished",
        Problem::PrimaryReadOnly => "primary_read_only",
        Problem::PrimaryReplaced => "primary_replaced",
        Problem::PrimaryDiskFull => "primary_disk_full",
        Problem::WitnessLost => "witness_lost",
        Problem::LinkCutToStandby => "link_cut_to_standby",
        Problem::LinkCutFromStandby => "link_cut_from_standby",
        Problem::LinkSlow => "link_slow",
        Problem::LagAboveLimit => "lag_above_limit",
        Problem::RetentionShort => "retention_short",
        Problem::ClockSkew => "clock_skew",
        Problem::PromotedNotReachable => "promoted_not_reachable",
        Problem::BothPrimariesClaimed => "both_primaries_claimed",
        Problem::AgentPaused => "agent_paused",
        Problem::Flapping => "flapping",
        Problem::AutomationOff => "automation_off",
    }
}

/// The wall clock in all stories.
const WALL_MS: u64 = 1_000_000;

struct Story {
    policy: Policy,
    world: World,
    statuses: Vec<AgentStatus>,
    title: String,
    title_line: usize,
    expected: Option<String>,
    moments: Vec<Moment>,
}

impl Story {
    fn new(policy: Policy) -> Story {
        let world = World {
            sites: [Site::new("aws"), Site::new("nhn")],
            register: None,
            observations: Vec::new(),
            steering: None,
            promoted: None,
            refused: None,
            switchover: crate::switchover::Known::default(),
            epoch_age_ms: 3_600_000,
            orders: Some(Heard { value: Orders::default(), age_ms: 0 }),
            clocks_ahead_ms: Vec::new(),
            wall_ms: WALL_MS,
        };
        Story {
            policy,
            world,
            statuses: Vec::new(),
            title: "the beginning".into(),
            title_line: 1,
            expected: None,
            moments: Vec::new(),
        }
    }

    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some(title) = line.strip_prefix("==") {
            self.close();
            self.title = title.trim().to_owned();
            self.title_line = number;
            return Ok(());
        }
        let (key, value) = line.split_once(':').ok_or("a line reads `what: value`")?;
        let (key, value) = (key.trim(), value.trim());
        let words: Vec<&str> = key.split_whitespace().collect();
        match words.as_slice() {
            ["problems" | "plan" | "because"] => {
                let expected = self.expected.get_or_insert_default();
                expected.push_str(&format!("{key}: {value}\n"));
                Ok(())
            }
            _ if self.expected.is_some() => {
                Err("a new fact after the conclusion; begin a moment with `==`".into())
            }
            ["register"] => self.register(value),
            ["epoch", "known", "for"] => {
                self.world.epoch_age_ms = duration_ms(value)?;
                Ok(())
            }
            ["name", "leads", "to"] => self.steering(value),
            ["orders"] => self.orders(value),
            ["policy"] => self.rules(value),
            ["clock", "of", place] => self.clock(place, value),
            ["switchover"] => self.switchover(value),
            ["time", "of", "day"] => {
                let time = model::topology::TimeOfDay::try_from(value.to_owned())?;
                self.world.wall_ms = u64::from(time.minute) * 60_000;
                Ok(())
            }
            ["time", "of", "week"] => {
                let (day, time) =
                    value.split_once(' ').ok_or("write a day and a time in UTC: `fri 17:10`")?;
                self.world.wall_ms = model::weekly::wall_ms_of(day, time)?;
                Ok(())
            }
            [site, "says"] => self.status(site, value),
            [site, "refused", "promotion"] => {
                let epoch = self.world.register.as_ref().map_or(Epoch::FIRST, |r| r.value.epoch);
                self.world.refused = Some((self.site(site)?, epoch, value.to_owned()));
                Ok(())
            }
            [place, "sees", site] => self.observation(place, site, value),
            _ => Err(format!("`{key}` is not a fact that scenarios know")),
        }
    }

    /// Ends the moment, if it has a conclusion.
    fn close(&mut self) {
        let Some(expected) = self.expected.take() else { return };
        let mut world = self.world.clone();
        for o in &mut world.observations {
            o.status = self.statuses.iter().find(|s| s.site == o.of).cloned().map(Arc::new);
        }
        let (title, policy) = (self.title.clone(), self.policy.clone());
        self.moments.push(Moment { title, line: self.title_line, world, policy, expected });
    }

    fn site(&self, name: &str) -> Result<Site, String> {
        self.world.sites.iter().find(|s| s.as_str() == name).cloned().ok_or(format!("`{name}` is no site"))
    }

    fn register(&mut self, value: &str) -> Result<(), String> {
        if value == "unknown" {
            self.world.register = None;
            return Ok(());
        }
        let first = Register::first(Site::new("nhn"), 0);
        let mut heard = self.world.register.take().unwrap_or(Heard { value: first, age_ms: 0 });
        heard.age_ms = 0;
        heard.value.version += 1;
        for part in parts(value) {
            let register = &mut heard.value;
            match words(part).as_slice() {
                ["epoch", n] => register.epoch = Epoch(number(n)?),
                ["primary", site] => register.primary = self.site(site)?,
                ["mode", "sync"] => register.mode = Mode::Sync,
                ["mode", "solo"] => register.mode = Mode::Solo,
                ["incarnation", n] => register.standby_incarnation = Incarnation(number(n)?),
                ["switchover", "to", site] => {
                    register.intent = Some(Intent { to: self.site(site)?, id: register.version });
                    self.world.switchover.intent_age_ms = 0;
                }
                ["no", "switchover"] => register.intent = None,
                ["last", "read", time @ .., "ago"] => heard.age_ms = duration_ms(&time.join(" "))?,
                ["begun", "by", "order", "of", by, "out", "of", mode] => {
                    let out_of = match *mode {
                        "solo" => Mode::Solo,
                        "sync" => Mode::Sync,
                        _ => return Err(format!("`{mode}` is not a mode")),
                    };
                    let (epoch, by) = (register.epoch, (*by).to_owned());
                    register.forced = Some(Forced { epoch, out_of, accept_loss_s: 30, by });
                }
                _ => return Err(format!("`{part}` is not known of the register")),
            }
        }
        self.world.register = Some(heard);
        Ok(())
    }

    fn steering(&mut self, value: &str) -> Result<(), String> {
        self.world.steering = match words(value).as_slice() {
            ["unknown"] => None,
            [site, "in", "epoch", n] => Some(Steering { site: self.site(site)?, epoch: Epoch(number(n)?) }),
            _ => return Err("write `SITE in epoch N`, or `unknown`".into()),
        };
        Ok(())
    }

    fn place(&self, name: &str) -> Result<Place, String> {
        Ok(if name == "witness" { Place::Witness } else { Place::Site(self.site(name)?) })
    }

    /// All standing orders; what is not named does not stand.
    fn orders(&mut self, value: &str) -> Result<(), String> {
        let version = self.world.orders.as_ref().map_or(0, |heard| heard.value.version) + 1;
        let mut orders = Orders { version, ..Orders::default() };
        for part in parts(value) {
            let words = words(part);
            match words.as_slice() {
                ["unknown"] => {
                    self.world.orders = None;
                    return Ok(());
                }
                ["none"] => {}
                ["observing"] => orders.observe = true,
                ["stopped", "by", by, "for", why @ ..] => {
                    orders.stopped = Some(Halt { by: (*by).into(), why: why.join(" "), at_ms: WALL_MS });
                }
                [when @ ("maintenance" | "later" | "past"), "by", by, "for", why @ ..] => {
                    let (from_ms, until_ms) = match *when {
                        "later" => (WALL_MS + 1, u64::MAX),
                        "past" => (0, WALL_MS),
                        _ => (WALL_MS, WALL_MS + 1),
                    };
                    let (by, why) = ((*by).into(), why.join(" "));
                    orders.windows.push(Window { from_ms, until_ms, by, why });
                }
                [
                    "failover",
                    "out",
                    "of",
                    "epoch",
                    n,
                    "to",
                    site,
                    "with",
                    loss @ ..,
                    "approved",
                    "by",
                    by,
                    "for",
                    why,
                ] => {
                    let accept_loss_s = match loss {
                        ["any", "loss"] => Approval::ANY_LOSS,
                        ["a", "loss", "of", n, "s"] => number(n)?,
                        _ => return Err("write `with a loss of N s`, or `with any loss`".into()),
                    };
                    orders.approval = Some(Approval {
                        epoch: Epoch(number(n)?),
                        to: self.site(site)?,
                        accept_loss_s,
                        by: (*by).into(),
                        why: (*why).into(),
                        until_ms: WALL_MS + 1,
                    });
                }
                _ => return Err(format!("`{part}` is not an order")),
            }
        }
        self.world.orders = Some(Heard { value: orders, age_ms: 0 });
        Ok(())
    }

    fn rules(&mut self, value: &str) -> Result<(), String> {
        for part in parts(value) {
            match words(part).as_slice() {
                ["failover", "pause", time @ ..] => {
                    self.policy.failover_pause_ms = duration_ms(&time.join(" "))?;
                }
                ["lag", "at", "most", time @ ..] => self.policy.lag_ms_max = duration_ms(&time.join(" "))?,
                ["link", "at", "most", time @ ..] => self.policy.link_ms_max = duration_ms(&time.join(" "))?,
                ["clocks", "at", "most", time @ ..] => {
                    self.policy.clock_skew_ms_max = duration_ms(&time.join(" "))?;
                }
                ["maintenance", "every", window @ ..] => {
                    self.policy.maintenance.push(window.join(" ").try_into()?);
                }
                _ => return Err(format!("`{part}` is not a policy that scenarios know")),
            }
        }
        Ok(())
    }

    fn clock(&mut self, place: &str, value: &str) -> Result<(), String> {
        let place = self.place(place)?;
        let ahead_ms = match words(value).as_slice() {
            ["right"] => 0,
            [time @ .., "ahead"] => signed(duration_ms(&time.join(" "))?)?,
            [time @ .., "behind"] => -signed(duration_ms(&time.join(" "))?)?,
            _ => return Err("write `5 s ahead`, `5 s behind` or `right`".into()),
        };
        self.world.clocks_ahead_ms.retain(|(known, _)| *known != place);
        self.world.clocks_ahead_ms.push((place, ahead_ms));
        Ok(())
    }

    /// `asked to SITE`, `not asked`, `prefers SITE`, `well for TIME`, `begun TIME ago`, `parked at SITE`,
    /// `closed`, `caught up`, `failed at WORDS`, `nothing done`: what the leader knows beside the register.
    fn switchover(&mut self, value: &str) -> Result<(), String> {
        let register = self.world.register.as_ref().map(|r| &r.value).ok_or("there is no register yet")?;
        let (epoch, id) = (register.epoch, register.intent.as_ref().map(|i| i.id));
        let under_way = || id.ok_or("the register holds no switchover");
        let mut known = std::mem::take(&mut self.world.switchover);
        for part in parts(value) {
            match words(part).as_slice() {
                ["asked", "to", site] => known.asked = Some(self.site(site)?),
                ["not", "asked"] => known.asked = None,
                ["prefers", site] => known.preferred = Some(self.site(site)?),
                ["well", "for", time @ ..] => known.well_ms = duration_ms(&time.join(" "))?,
                ["begun", time @ .., "ago"] => known.intent_age_ms = duration_ms(&time.join(" "))?,
                ["parked", "at", site] => {
                    known.parked.push((self.site(site)?, under_way()?));
                    known.epoch = Some(epoch);
                }
                ["closed"] => (known.closed, known.epoch) = (Some(under_way()?), Some(epoch)),
                ["caught", "up"] => known.caught_up = Some(under_way()?),
                ["failed", "at", words @ ..] => known.failed = Some((under_way()?, words.join(" "))),
                ["open"] => known.closed = None,
                ["nothing", "done"] => {
                    let (asked, preferred) = (known.asked.take(), known.preferred.take());
                    known = crate::switchover::Known { asked, preferred, ..Default::default() };
                }
                _ => return Err(format!("`{part}` is not known of a switchover")),
            }
        }
        self.world.switchover = known;
        Ok(())
    }

    fn status(&mut self, site: &str, value: &str) -> Result<(), String> {
        let site = self.site(site)?;
        let other = self.world.sites.iter().find(|s| **s != site).cloned().ok_or("one site only")?;
        let mut status = match self.statuses.iter().position(|s| s.site == site) {
            Some(at) => self.statuses.swap_remove(at),
            None => AgentStatus::starting(site.clone()),
        };
        // Who is primary in the row: this site while it says so, the other one while it follows.
        let mut row_epoch = status.row.as_ref().map(|r| r.epoch);
        let mut row_primary = status.row.as_ref().map_or(site.clone(), |r| r.primary.clone());
        let mut row_stream = status.row.as_ref().map_or(StreamId::default(), |r| r.stream.clone());
        for part in parts(value) {
            match words(part).as_slice() {
                ["primary"] => (status.role, row_primary) = (Role::Primary, site.clone()),
                ["promoting"] => status.role = Role::Promoting,
                ["standby", phase] => {
                    let phase = match *phase {
                        "attached" => StandbyPhase::Attached,
                        "connecting" => StandbyPhase::Connecting,
                        "seeding" => StandbyPhase::Seeding,
                        _ => return Err(format!("`{phase}` is not a standby's phase")),
                    };
                    (status.role, row_primary) = (Role::Standby { phase }, other.clone());
                }
                ["starting"] => status.role = Role::Starting { why: "it has just begun".into() },
                ["being", "taken", "back"] => {
                    status.role = Role::Reinstating {
                        phase: ReinstatePhase::Undoing,
                        transactions: 3,
                        rows: 5,
                        undone: 2,
                        waits_for: None,
                    };
                }
                ["stopped", "at", ..] => {
                    let why = part.trim_start_matches("stopped at ").to_owned();
                    status.role = Role::Stopped { why };
                }
                // The row is another server's.
                ["another", "server"] => {
                    status.role = Role::Stopped { why: "another server answers".into() };
                    (row_stream, status.stream) = (StreamId("old".into()), Some(StreamId("new".into())));
                }
                ["epoch", n] => row_epoch = Some(Epoch(number(n)?)),
                ["row", "of", name] => row_primary = self.site(name)?,
                ["no", "row"] => row_epoch = None,
                ["incarnation", n] => status.incarnation = Some(Incarnation(number(n)?)),
                ["no", "slot"] => status.incarnation = None,
                ["last", "beat", time @ .., "ago"] => {
                    status.heartbeat_age_ms = Some(duration_ms(&time.join(" "))?);
                }
                ["no", "beat", "yet"] => status.heartbeat_age_ms = None,
                ["open"] => status.fence = Fence::Open,
                ["closed"] => status.fence = Fence::Closed,
                ["fence", "unknown"] => status.fence = Fence::Unknown,
                ["read-only"] => status.read_only = Some(true),
                ["writable"] => status.read_only = Some(false),
                ["disk", "free", n, "MiB"] => status.disk_free_bytes = Some(number(n)? << 20),
                ["log", "kept", time @ ..] => {
                    status.retention_left_s = Some(duration_ms(&time.join(" "))? / 1_000);
                }
                ["hears", "the", "standby", time @ .., "ago"] => {
                    status.standby_heard_age_ms = Some(duration_ms(&time.join(" "))?);
                }
                ["lag", time @ ..] => status.lag_ms = Some(duration_ms(&time.join(" "))?),
                ["stood", "still", n, unit, "until", time @ .., "ago"] => {
                    status.paused = Some(Paused {
                        lasted_ms: duration_ms(&format!("{n} {unit}"))?,
                        ended_ms_ago: duration_ms(&time.join(" "))?,
                    });
                }
                _ => return Err(format!("`{part}` is not known of an agent")),
            }
        }
        status.row = row_epoch.map(|epoch| Row {
            epoch,
            primary: row_primary,
            mode: Mode::Sync,
            token: 1,
            stream: row_stream,
        });
        status.slot = match (&status.role, status.incarnation, row_epoch) {
            (Role::Primary | Role::Reinstating { .. }, ..) | (_, None, _) | (.., None) => None,
            (_, Some(_), Some(epoch)) => {
                let position = Position { stream: StreamId(other.to_string()), file: 1, offset: 4 };
                Some(Slot { position, epoch, origin: other })
            }
        };
        self.statuses.push(status);
        Ok(())
    }

    fn observation(&mut self, place: &str, site: &str, value: &str) -> Result<(), String> {
        let of = self.site(site)?;
        let by = self.place(place)?;
        let at = self.world.observations.iter().position(|o| o.by == by && o.of == of);
        let mut o = match at {
            Some(at) => self.world.observations.swap_remove(at),
            None => Observation {
                by,
                of,
                age_ms: 0,
                commit: None,
                gateway: Probe::never(),
                agent: Probe::never(),
                status: None,
                wall_ms: None,
            },
        };
        o.age_ms = 0;
        for part in parts(value) {
            match words(part).as_slice() {
                ["nothing"] => return Ok(()),
                ["told", time @ .., "ago"] => o = o.aged(duration_ms(&time.join(" "))?),
                ["lost", n, "times", "lately"] => {
                    let losses = u32::try_from(number(n)?).map_err(|e| e.to_string())?;
                    o.commit = o.commit.map(|commit| Probe { losses, ..commit });
                }
                ["commits"] => o.commit = Some(self.probe(&["answers"])?),
                ["commit", rest @ ..] => o.commit = Some(self.probe(rest)?),
                ["agent", rest @ ..] => o.agent = self.probe(rest)?,
                ["gateway", rest @ ..] => o.gateway = self.probe(rest)?,
                ["everything", rest @ ..] => {
                    let probe = self.probe(rest)?;
                    o.commit = o.commit.map(|_| probe.clone());
                    (o.agent, o.gateway) = (probe.clone(), probe);
                }
                _ => return Err(format!("`{part}` is not known of an observation")),
            }
        }
        self.world.observations.push(o);
        Ok(())
    }

    fn probe(&self, words: &[&str]) -> Result<Probe, String> {
        let failed = |last: ProbeResult, n: &str| -> Result<Probe, String> {
            let n: u32 = n.parse().map_err(|_| format!("`{n}` is not a number of times"))?;
            let since_ms = u64::from(n) * self.policy.probe_interval_ms;
            Ok(Probe { last, failed_in_a_row: n, last_success_ms: Some(since_ms), ..Probe::never() })
        };
        match words {
            ["answers"] => Ok(Probe { last: ProbeResult::Ok, last_success_ms: Some(50), ..Probe::never() }),
            ["answers", "in", n, "ms"] => {
                Ok(Probe { took_ms: Some(number(n)?), ..self.probe(&["answers"])? })
            }
            ["never", "asked"] => Ok(Probe::never()),
            ["refused", n, "times"] => failed(ProbeResult::Refused, n),
            ["silent", n, "times"] => failed(ProbeResult::Silent, n),
            ["says", "no", n, "times"] => failed(ProbeResult::Failed { why: "no".into() }, n),
            _ => Err(format!("`{}` is not a probe's result", words.join(" "))),
        }
    }
}

fn parts(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|p| !p.is_empty())
}

fn words(part: &str) -> Vec<&str> {
    part.split_whitespace().collect()
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number"))
}

fn signed(ms: u64) -> Result<i64, String> {
    i64::try_from(ms).map_err(|e| e.to_string())
}

/// `150 ms`, `3 s`, `5 min`, `1 h`.
fn duration_ms(text: &str) -> Result<u64, String> {
    match words(text).as_slice() {
        [n, unit] => {
            let unit_ms = match *unit {
                "ms" => 1,
                "s" => 1_000,
                "min" => 60_000,
                "h" => 3_600_000,
                _ => return Err(format!("`{unit}` is not a unit of time")),
            };
            Ok(number(n)? * unit_ms)
        }
        _ => Err(format!("`{text}` is not a time; write e.g. `150 ms`")),
    }
}
