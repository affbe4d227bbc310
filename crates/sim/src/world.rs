//! The queue of what happens, and the processes to which it does.
//!
//! One event at a time: a message arrives, somebody is woken, a fault strikes. The process that it meets says what it
//! wants sent; then the invariants are looked at. A process that died has lost everything but its disk, and answers to
//! its questions of before do not reach it; one that stands still gets everything late, in order.

mod queue;
mod strike;

use std::collections::VecDeque;

use model::topology::Policy;

use self::queue::Queue;
use crate::{
    agent::Agent,
    context::{Context, Input, Out, Timer, Trace},
    controllers::Controller,
    database::Database,
    faults::{END_MS, Fault, MENDED_AT_MS, Move, Planned, When, plan},
    gateway::Gateway,
    invariants::{Counts, Truth},
    message::{Answer, Message, OUTSIDE, WITNESS, Who},
    network::Network,
    register::Register,
    rng::Rng,
    visitors::{NameServer, Visitor},
};

/// So many visitors.
const VISITORS: usize = 4;
/// So much wall clock there was before the first moment.
const WALL_MS: u64 = 1_000_000_000;
/// More than this never happens within one millisecond, unless somebody asks again and again to be woken at a time that has
/// passed: in production that is a core that spins.
const THINGS_A_MS_MAX: u32 = 10_000;
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
        switchover_ms_max: 2_500,
        switchover_drain_ms: 800,
        switchover_catch_up_ms: 600,
        switchover_park_ms: 3_000,
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
    queue: Queue<What>,
    rng: Rng,
    network: Network,
    trace: Trace,
    truth: Truth,
    aimed: Vec<Planned>,
    /// What a process wants done, between two events always empty: one room for all.
    out: Vec<Out>,
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
            queue: Queue::default(),
            rng: Rng::new(seed),
            network: Network::default(),
            trace: Trace { on: traced, lines: Vec::new() },
            truth: Truth::default(),
            aimed: Vec::new(),
            out: Vec::new(),
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
                When::After { .. } => world.aimed.push(planned),
            }
        }
        world
    }

    fn live(mut self) -> Report {
        let mut things_now = 0;
        while let Some((at, what)) = self.queue.pop() {
            if at > END_MS {
                break;
            }
            things_now = if at == self.now { things_now + 1 } else { 0 };
            if things_now > THINGS_A_MS_MAX {
                let woken = match what {
                    What::Woken { who, .. } => format!("{who:?} is woken"),
                    _ => "something happens".into(),
                };
                self.truth.must(false, || format!("time stands still: {woken} again and again"));
                break;
            }
            self.now = at;
            if self.now >= MENDED_AT_MS && !self.truth.at_the_end {
                self.mend();
            }
            let moves = self.truth.moves(Move::Any);
            self.happen(what);
            if self.truth.moves(Move::Any) != moves {
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
        self.queue.push(self.now + after_ms, what);
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
            out: std::mem::take(&mut self.out),
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
        let (mut out, life) = (ctx.out, ctx.life);
        for wanted in out.drain(..) {
            match wanted {
                // Only the one that listens at the address is asked, and only it tells.
                Out::Send(Who::Gateway(s), Message::Serving(_)) if matches!(who, Who::Agent(_, n) if n != self.current[s]) =>
                    {}
                Out::Send(to, message) => self.send(who, to, message),
                Out::Wake(after, timer) => self.later(after, What::Woken { who, life, timer }),
            }
        }
        self.out = out;
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
            Who::Register => {
                self.register.start(self.now);
                // A torn write may have been a change all the same; nobody has been told yet.
                self.truth.register_moved(self.register.record());
            }
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
}
