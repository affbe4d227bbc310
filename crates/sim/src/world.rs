//! The queue of what happens, and the processes to which it does.
//!
//! One event at a time: a message arrives, somebody is woken, a fault strikes. The process that it meets says what it
//! wants sent; then the invariants are looked at. A process that died has lost everything but its disk, and answers to
//! its questions of before do not reach it; one that stands still gets everything late, in order.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use model::topology::Policy;

use crate::{
    agent::Agent,
    context::{Context, Input, Out, Timer, Trace},
    controllers::Controller,
    database::Database,
    faults::{END_MS, Fault, MENDED_AT_MS, Part, Planned, Process, When, plan},
    gateway::Gateway,
    invariants::{Counts, Truth},
    message::{Answer, Ask, Message, OUTSIDE, SITES, WITNESS, Who, number},
    network::Network,
    register::Register,
    rng::Rng,
    visitors::{NameServer, Visitor},
};

/// So many visitors.
const VISITORS: usize = 4;
/// So much wall clock there was before the first moment.
const WALL_MS: u64 = 1_000_000_000;
/// Whoever meets a locked row asks again so much later.
const LOCK_WAIT_MS: u64 = 4;

/// How a history went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The first thing that must not be, and when.
    pub violation: Option<String>,
    /// How often what happened.
    pub counts: Counts,
    /// What was told on the way, if it was wanted.
    pub lines: Vec<String>,
}

/// Lives through the history of a seed.
pub fn run(seed: u64) -> Report {
    World::new(seed, false).live()
}

/// The same, and tells it line by line.
pub fn trace(seed: u64) -> Report {
    World::new(seed, true).live()
}

/// The rules of the simulated installation: as shipped, in the same proportions, with a slower pace of probes, because
/// each of them costs the simulation as much as everything else together.
fn policy() -> Policy {
    Policy {
        solo_after_ms: 1_400,
        hold_max_ms: 4_000,
        lease_ms: 2_000,
        heartbeat_ms: 200,
        probe_interval_ms: 400,
        probe_timeout_ms: 350,
        lost_after_probes: 3,
        leader_lease_ms: 1_500,
        failover_pause_ms: 1_500,
        ..Policy::default()
    }
}

enum What {
    Arrives {
        from: Who,
        to: Who,
        message: Message,
    },
    Woken {
        who: Who,
        life: u32,
        timer: Timer,
    },
    Strikes(Fault, u64),
    Starts(Who),
    /// A database notices that its client is gone.
    ClientGone {
        database: usize,
        client: Who,
        life: u32,
    },
    Mended(usize, usize),
    Dies(Who),
    /// Whoever stood still goes on.
    GoesOn(Who),
}

struct Event {
    at: u64,
    number: u64,
    what: What,
}

impl PartialEq for Event {
    fn eq(&self, other: &Event) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Event) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Event) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// What the world knows of a process.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    up: bool,
    number: u32,
    still_until: u64,
}

/// The world.
pub struct World {
    seed: u64,
    now: u64,
    numbers: u64,
    queue: BinaryHeap<Reverse<Event>>,
    rng: Rng,
    network: Network,
    trace: Trace,
    truth: Truth,
    aimed: Vec<Planned>,
    wall_ms: [i64; 4],
    lives: [Life; 13 + VISITORS],
    /// What came while a process stood still, in order.
    late: [VecDeque<What>; 13 + VISITORS],
    /// Which of a site's two agents answers at its address.
    current: [usize; 2],
    databases: [Database; 2],
    agents: [[Agent; 2]; 2],
    gateways: [Gateway; 2],
    controllers: [Controller; 3],
    register: Register,
    name_server: NameServer,
    visitors: Vec<Visitor>,
}

fn index(who: Who) -> usize {
    match who {
        Who::Database(s) => s,
        Who::Agent(s, n) => 2 + 2 * s + n,
        Who::TheAgent(s) => 2 + 2 * s,
        Who::Gateway(s) => 6 + s,
        Who::Controller(p) => 8 + p,
        Who::Register => 11,
        Who::NameServer => 12,
        Who::Visitor(n) => 13 + n,
    }
}

impl World {
    fn new(seed: u64, traced: bool) -> World {
        let policy = policy();
        let agent = |s| Agent::new(s, policy.clone());
        let mut world = World {
            seed,
            now: 0,
            numbers: 0,
            queue: BinaryHeap::new(),
            rng: Rng::new(seed),
            network: Network::default(),
            trace: Trace { on: traced, lines: Vec::new() },
            truth: Truth::default(),
            aimed: Vec::new(),
            wall_ms: [0; 4],
            lives: [Life::default(); 13 + VISITORS],
            late: std::array::from_fn(|_| VecDeque::new()),
            current: [0; 2],
            databases: [Database::new(0), Database::new(1)],
            agents: [[agent(0), agent(0)], [agent(1), agent(1)]],
            gateways: [0, 1].map(|s| Gateway::new(s, policy.hold_max_ms)),
            controllers: [0, 1, WITNESS].map(|p| Controller::new(p, policy.clone())),
            register: Register::new(policy.leader_lease_ms),
            name_server: NameServer::default(),
            visitors: (0..VISITORS).map(Visitor::new).collect(),
        };
        for s in 0..2 {
            for who in [Who::Database(s), Who::Agent(s, 0), Who::Gateway(s)] {
                let after = world.rng.below(30);
                world.later(after, What::Starts(who));
            }
        }
        for who in
            [Who::Register, Who::NameServer, Who::Controller(0), Who::Controller(1), Who::Controller(2)]
        {
            let after = world.rng.below(100);
            world.later(after, What::Starts(who));
        }
        for n in 0..VISITORS {
            let after = 200 + world.rng.below(600);
            world.later(after, What::Starts(Who::Visitor(n)));
        }
        for planned in plan(&mut world.rng) {
            match planned.when {
                When::At(at) => world.later(at, What::Strikes(planned.fault, planned.for_ms)),
                When::AfterMove { .. } => world.aimed.push(planned),
            }
        }
        world
    }

    fn live(mut self) -> Report {
        while let Some(Reverse(event)) = self.queue.pop() {
            if event.at > END_MS {
                break;
            }
            self.now = event.at;
            if self.now >= MENDED_AT_MS && !self.truth.at_the_end {
                self.mend();
            }
            let moves = self.truth.register_moves;
            self.happen(event.what);
            if self.truth.register_moves != moves {
                self.aim();
            }
            if self.truth.violation.is_some() {
                break;
            }
        }
        self.truth.counts.messages_hurt = self.network.hurt;
        if let Some(what) = &self.truth.violation {
            let what = what.clone();
            self.trace.say(self.now, "VIOLATION", || what);
        }
        Report {
            seed: self.seed,
            violation: self.truth.violation.map(|what| format!("{what} (after {} ms)", self.now)),
            counts: self.truth.counts,
            lines: self.trace.lines,
        }
    }

    fn later(&mut self, after_ms: u64, what: What) {
        self.numbers += 1;
        let event = Event { at: self.now + after_ms, number: self.numbers, what };
        self.queue.push(Reverse(event));
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Arrives { from, to, message } => self.arrive(from, to, message),
            What::Woken { who, life, timer } => {
                let state = self.lives[index(who)];
                if !state.up || state.number != life {
                    return;
                }
                if state.still_until > self.now || !self.late[index(who)].is_empty() {
                    self.late[index(who)].push_back(What::Woken { who, life, timer });
                    return;
                }
                self.meet(who, Input::Wake(timer));
            }
            What::Starts(who) => self.start(who),
            What::Strikes(fault, for_ms) => {
                if self.now < MENDED_AT_MS {
                    self.strike(fault, for_ms);
                }
            }
            What::ClientGone { database, client, life } => self.databases[database].client_gone(client, life),
            What::Mended(from, to) => *self.network.weather(from, to) = Default::default(),
            What::Dies(who) => self.crash(who, u64::MAX),
            What::GoesOn(who) if self.lives[index(who)].still_until <= self.now => {
                for late in std::mem::take(&mut self.late[index(who)]) {
                    self.happen(late);
                }
            }
            What::GoesOn(_) => {}
        }
    }

    fn arrive(&mut self, from: Who, to: Who, message: Message) {
        let to = match to {
            Who::TheAgent(s) => Who::Agent(s, self.current[s]),
            other => other,
        };
        if self.network.swallows(from, to, &message) {
            return;
        }
        let state = self.lives[index(to)];
        if !state.up {
            if let Message::Ask { from: asker, life, call, .. } = message {
                // The host is there and says that nobody listens.
                let message = Message::Answer { life, call, answer: Answer::Refused };
                self.send(to, asker, message);
            }
            return;
        }
        if state.still_until > self.now || !self.late[index(to)].is_empty() {
            self.late[index(to)].push_back(What::Arrives { from, to, message });
            return;
        }
        if let Message::Answer { life, .. } = &message
            && *life != state.number
        {
            return;
        }
        self.meet(to, Input::Message(message));
    }

    /// A process meets something: what it wants is done, and the invariants are looked at.
    fn meet(&mut self, who: Who, input: Input) {
        let wall =
            WALL_MS.saturating_add(self.now).saturating_add_signed(self.wall_ms[who.place().min(OUTSIDE)]);
        let mut ctx = Context {
            now: self.now,
            wall_ms: wall,
            me: who,
            life: self.lives[index(who)].number,
            rng: &mut self.rng,
            out: Vec::new(),
            truth: &mut self.truth,
            trace: &mut self.trace,
        };
        let mut looks = true;
        match who {
            Who::Database(s) => {
                if !self.databases[s].take(&mut ctx, &input) {
                    if let Input::Message(message) = input {
                        let what = What::Arrives { from: Who::Database(s), to: who, message };
                        self.later(LOCK_WAIT_MS, what);
                    }
                    return;
                }
            }
            Who::Agent(s, n) => {
                looks = false;
                self.agents[s][n].take(&mut ctx, input);
            }
            Who::TheAgent(_) => return,
            Who::Gateway(s) => self.gateways[s].take(&mut ctx, input),
            Who::Controller(p) => {
                looks = false;
                self.controllers[p].take(&mut ctx, input);
            }
            Who::Register => self.register.take(&mut ctx, input),
            Who::NameServer => self.name_server.take(&mut ctx, input),
            Who::Visitor(n) => {
                looks = false;
                self.visitors[n].take(&mut ctx, input);
            }
        }
        let (out, life) = (ctx.out, ctx.life);
        for wanted in out {
            match wanted {
                // Only the one that listens at the address is asked, and only it tells.
                Out::Send(Who::Gateway(s), Message::Serving(_)) if matches!(who, Who::Agent(_, n) if n != self.current[s]) =>
                    {}
                Out::Send(to, message) => self.send(who, to, message),
                Out::Wake(after, timer) => self.later(after, What::Woken { who, life, timer }),
            }
        }
        if self.register.torn {
            self.register.torn = false;
            let for_ms = 100 + self.rng.below(600);
            self.crash(Who::Register, for_ms);
        }
        // Nothing else changes what the invariants speak of.
        if looks {
            self.truth.check(self.register.record(), &self.databases);
        }
    }

    fn send(&mut self, from: Who, to: Who, message: Message) {
        let [first, second] = self.network.send(self.now, &mut self.rng, from, to, &message);
        if let Some(at) = second {
            self.later(at - self.now, What::Arrives { from, to, message: message.clone() });
        }
        if let Some(at) = first {
            self.later(at - self.now, What::Arrives { from, to, message });
        }
    }

    // === Lives ===

    fn start(&mut self, who: Who) {
        let life = &mut self.lives[index(who)];
        if life.up {
            return;
        }
        self.late[index(who)].clear();
        *life = Life { up: true, number: life.number + 1, still_until: 0 };
        match who {
            Who::Agent(s, n) => self.agents[s][n] = Agent::new(s, policy()),
            Who::Gateway(s) => self.gateways[s] = Gateway::new(s, policy().hold_max_ms),
            Who::Controller(p) => self.controllers[p] = Controller::new(p, policy()),
            Who::Register => self.register.start(self.now),
            Who::Database(_) | Who::TheAgent(_) | Who::NameServer | Who::Visitor(_) => {}
        }
        if self.now > 1_000 {
            self.trace.say(self.now, who, || "starts".into());
        }
        self.meet(who, Input::Start);
    }

    /// A process dies; after `for_ms` somebody starts it again.
    fn crash(&mut self, who: Who, for_ms: u64) {
        let state = &mut self.lives[index(who)];
        if !state.up {
            return;
        }
        state.up = false;
        let life = state.number;
        self.trace.say(self.now, who, || "dies".into());
        match who {
            Who::Database(s) => self.databases[s].crash(),
            Who::Agent(s, _) => {
                // What it had sent may still be executed before the server notices.
                let after = if self.rng.chance(150) { 400 } else { 30 };
                let after = 1 + self.rng.below(after);
                self.later(after, What::ClientGone { database: s, client: who, life });
            }
            _ => {}
        }
        if for_ms != u64::MAX {
            self.later(for_ms, What::Starts(who));
        }
    }

    fn still(&mut self, who: Who, for_ms: u64) {
        let until = self.now + for_ms;
        self.trace.say(self.now, who, || format!("stands still for {for_ms} ms"));
        let state = &mut self.lives[index(who)];
        state.still_until = state.still_until.max(until);
        self.later(for_ms, What::GoesOn(who));
    }

    // === Faults ===

    fn aim(&mut self) {
        let moves = self.truth.register_moves;
        let mut aimed = std::mem::take(&mut self.aimed);
        aimed.retain(|planned| match planned.when {
            When::AfterMove { nth, after_ms } if nth == moves => {
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

    fn strike(&mut self, fault: Fault, for_ms: u64) {
        self.truth.counts.faults += 1;
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
        self.trace.say(self.now, "FAULT", || told);
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
        }
    }

    /// The end of all faults: what is down is started, what stands still goes on.
    fn mend(&mut self) {
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
