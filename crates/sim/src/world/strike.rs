//! Faults strike, operators ask, and in the end everything is mended.

use model::{register::Approval, switchover::Request};

use super::{WALL_MS, What, World};
use crate::{
    faults::{Fault, Part, Process, When},
    message::{Ask, Message, OUTSIDE, SITES, WITNESS, Who, number, site},
};

impl World {
    pub(super) fn aim(&mut self) {
        let mut aimed = std::mem::take(&mut self.aimed);
        aimed.retain(|planned| match planned.when {
            When::After { moved, nth, after_ms } if nth == self.truth.moves(moved) => {
                self.later(after_ms, What::Strikes(planned.fault, planned.for_ms));
                false
            }
            _ => true,
        });
        self.aimed = aimed;
    }

    fn site(&self, part: Part) -> usize {
        let primary = number(&self.register.record().primary);
        match part {
            Part::Primary => primary,
            Part::Standby => 1 - primary,
        }
    }

    fn process(&self, process: Process) -> Who {
        match process {
            Process::Database(part) => Who::Database(self.site(part)),
            Process::Agent(part) => {
                let s = self.site(part);
                Who::Agent(s, self.current[s])
            }
            Process::Gateway(part) => Who::Gateway(self.site(part)),
            Process::Controller(place) => Who::Controller(place),
            Process::Register => Who::Register,
            Process::NameServer => Who::NameServer,
        }
    }

    fn of_site(s: usize) -> [Who; 5] {
        [Who::Database(s), Who::Agent(s, 0), Who::Agent(s, 1), Who::Gateway(s), Who::Controller(s)]
    }

    fn cut(&mut self, from: usize, to: usize, for_ms: u64) {
        let swallows = self.rng.chance(500);
        let weather = self.network.weather(from, to);
        (weather.cut, weather.swallows) = (true, swallows);
        self.later(for_ms, What::Mended(from, to));
    }

    pub(super) fn strike(&mut self, fault: Fault, for_ms: u64) {
        self.truth.counts.faults += u64::from(!fault.is_request());
        let name = |n: usize| SITES.get(n).copied().unwrap_or("witness");
        let at_place = |n: usize| if n < 2 { SITES[n] } else { "witness" };
        let told = match fault {
            Fault::Dark(part) => format!("{} is dark for {for_ms} ms", name(self.site(part))),
            Fault::Dead(part) => format!("{} has no power for {for_ms} ms", name(self.site(part))),
            Fault::Frozen(part) => format!("{} stands still for {for_ms} ms", name(self.site(part))),
            Fault::OneWay(from, to) => {
                format!("nothing passes from {} to {} for {for_ms} ms", at_place(from), at_place(to))
            }
            Fault::LinkCut => format!("the link is cut for {for_ms} ms"),
            Fault::WitnessDark => format!("the witness is dark for {for_ms} ms"),
            Fault::Storm(from, to) => {
                format!("messages from {} to {} suffer for {for_ms} ms", at_place(from), at_place(to))
            }
            other => format!("{other:?}"),
        };
        let title = if fault.is_request() { "OPERATOR" } else { "FAULT" };
        self.trace.say(self.now, title, || told);
        match fault {
            Fault::Dark(part) => {
                let s = self.site(part);
                // Visitors may still reach a site that nobody else does: what it sells then is a tail.
                let places = if self.rng.chance(500) { OUTSIDE } else { WITNESS };
                for other in (0..=places).filter(|other| *other != s) {
                    self.cut(s, other, for_ms);
                    self.cut(other, s, for_ms);
                }
            }
            Fault::Dead(part) => {
                let s = self.site(part);
                let alive = self.current[s];
                for who in World::of_site(s) {
                    let starts = !matches!(who, Who::Agent(_, n) if n != alive);
                    let after = for_ms + self.rng.below(300);
                    self.crash(who, if starts { after } else { u64::MAX });
                }
                for other in (0..=OUTSIDE).filter(|other| *other != s) {
                    self.cut(other, s, for_ms);
                }
            }
            Fault::Crash(process) => self.crash(self.process(process), 50 + for_ms / 2),
            Fault::Pause(process) => self.still(self.process(process), for_ms),
            Fault::Frozen(part) => {
                for who in World::of_site(self.site(part)) {
                    self.still(who, for_ms);
                }
            }
            Fault::Twice(part) | Fault::Blind(part) => {
                let s = self.site(part);
                let old = self.current[s];
                match fault {
                    Fault::Twice(_) => self.still(Who::Agent(s, old), for_ms / 2),
                    _ => self.agents[s][old].hang(self.now + for_ms),
                }
                self.current[s] = 1 - old;
                self.start(Who::Agent(s, 1 - old));
                self.later(for_ms + 1_500, What::Dies(Who::Agent(s, old)));
            }
            Fault::OneWay(from, to) => self.cut(from, to, for_ms),
            Fault::LinkCut => {
                self.cut(0, 1, for_ms);
                self.cut(1, 0, for_ms);
            }
            Fault::WitnessDark => {
                for other in [0, 1] {
                    self.cut(WITNESS, other, for_ms);
                    self.cut(other, WITNESS, for_ms);
                }
            }
            Fault::Storm(from, to) => {
                let (loss, doubled) = (self.rng.below(200), self.rng.below(300));
                let delay_ms = 20 + self.rng.below(500);
                let weather = self.network.weather(from, to);
                (weather.loss, weather.doubled, weather.delay_ms) = (loss, doubled, delay_ms);
                self.later(for_ms, What::Mended(from, to));
            }
            Fault::Clock(place) => {
                let jump = i64::try_from(self.rng.below(7_200_000)).unwrap_or(0) - 3_600_000;
                self.wall_ms[place.min(OUTSIDE)] += jump;
            }
            Fault::Torn(tear) => self.register.tear = Some(tear),
            Fault::Seed => {
                let s = self.site(Part::Standby);
                let ask = Ask::Seed;
                let message = Message::Ask { from: Who::Visitor(0), life: 0, call: 0, ask };
                self.later(0, What::Arrives { from: Who::TheAgent(s), to: Who::TheAgent(s), message });
            }
            Fault::Switchover => {
                // Whoever leads begins; the others say that they do not.
                let from = Who::Visitor(0);
                let request = Request { to: site(self.site(Part::Standby)), by: "an operator".into() };
                for place in 0..=WITNESS {
                    let ask = Ask::Switchover(request.clone());
                    let message = Message::Ask { from, life: 0, call: 0, ask };
                    self.later(0, What::Arrives { from, to: Who::Controller(place), message });
                }
            }
            Fault::Failover => {
                let accept_loss_s = if self.rng.chance(300) { 3 } else { Approval::ANY_LOSS };
                let approval = Approval {
                    epoch: self.register.record().epoch,
                    to: site(self.site(Part::Standby)),
                    accept_loss_s,
                    by: "an operator".into(),
                    why: "it must go on".into(),
                    until_ms: WALL_MS + self.now + 60_000,
                };
                self.register.approve(approval);
            }
        }
    }

    /// The end of all faults: what is down is started, what stands still goes on.
    pub(super) fn mend(&mut self) {
        self.truth.at_the_end = true;
        self.trace.say(self.now, "MENDED", || "no more faults from here on".into());
        self.network.heal();
        self.register.tear = None;
        self.aimed.clear();
        let current = self.current;
        let agents = (0..2).map(|s| Who::Agent(s, current[s]));
        let sites = (0..2).flat_map(|s| [Who::Database(s), Who::Gateway(s), Who::Controller(s)]);
        let witness = [Who::Register, Who::NameServer, Who::Controller(WITNESS)];
        let all: Vec<Who> = agents.chain(sites).chain(witness).collect();
        for who in all {
            self.start(who);
        }
        for (s, current) in current.into_iter().enumerate() {
            self.crash(Who::Agent(s, 1 - current), u64::MAX);
        }
    }
}
