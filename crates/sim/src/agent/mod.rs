//! A site's agent.
//!
//! Shipped and driven here: the table of duties ([`duty::derive`]), the mode's machine, the barrier's core, the
//! standby's checkpoint, and where a history ended. The loop around them ([`Agent::advance`]) repeats
//! `replicate::agent`, whose own is tied to tasks and connections: what is to be stopped is stopped first, then at
//! most one act on the database is under way, what people and controllers asked for before what the duty lacks.

mod acts;
mod mode;
mod ship;
mod standby;

use std::{collections::VecDeque, rc::Rc};

use model::{
    BarrierRequest, Epoch, Incarnation, Register, Serving, Watermark,
    agent::{AgentStatus, CloseRequest, Fence, FenceRequest, ReinstatePhase, Role, StandbyPhase},
    topology::Policy,
};
use replicate::{
    barrier::{self, Lease},
    duty::{self, Duty, Look},
};

use self::{acts::Act, mode::Mode, ship::Ship, standby::Standby};
use crate::{
    context::{Caller, Calls, Context, Input, Timer},
    message::{Answer, Ask, Frame, Message, Sql, SqlAnswer, Who, site},
};

const TICK_MS: u64 = 50;
const POLL_MS: u64 = 250;
const LOOK_MS: u64 = 250;
const REGISTER_TIMEOUT_MS: u64 = 700;
const DATABASE_TIMEOUT_MS: u64 = 900;
const RETRY_MS: u64 = 150;
/// After a query that failed.
const BARRIER_PAUSE_MS: u64 = 20;

/// What a question of the agent is for.
#[derive(Debug)]
enum Purpose {
    Poll { asked: u64 },
    Look { asked: u64 },
    Barrier,
    Beat,
    Mode { run: u64 },
    Act,
    Standby { attempt: u64 },
    Ship { connection: u64 },
    Subscribed,
}

/// What was asked of the loop.
#[derive(Debug)]
enum Command {
    Promote(Epoch, Caller),
    Fence(FenceRequest, Caller),
    Close(CloseRequest, Caller),
}

/// The epoch and the life for which a standby follows.
type Key = (Epoch, Incarnation);

/// The agent.
pub struct Agent {
    site: usize,
    policy: Policy,
    calls: Calls<Purpose>,
    seen: Option<(Register, u64)>,
    look: Option<(u64, Rc<Look>)>,
    look_failed: bool,
    duty: Duty,
    act: Option<Act>,
    act_asked: u64,
    act_not_before: u64,
    commands: VecDeque<Command>,
    standby: Option<Standby>,
    attempts: u64,
    /// Where a standby ended for good: its place is lost, or it has met a conflict.
    lost: Option<(Key, String)>,
    stopped: Option<(Key, String)>,
    standby_not_before: u64,
    mode: Option<Mode>,
    runs: u64,
    barrier: barrier::Core<Caller>,
    barrier_not_before: u64,
    watermark: Option<Watermark>,
    primary_in: Option<Epoch>,
    beating: bool,
    beat_due: u64,
    committed_at: Option<u64>,
    probers: Vec<Caller>,
    ship: Option<Ship>,
    told: Option<Serving>,
    polling: bool,
    poll_due: u64,
    looking: bool,
    look_due: u64,
}

impl Agent {
    /// Of this site.
    pub fn new(site: usize, policy: Policy) -> Agent {
        Agent {
            barrier: barrier::Core::new(crate::message::site(site), policy.lease_ms),
            site,
            policy,
            calls: Calls::default(),
            seen: None,
            look: None,
            look_failed: false,
            duty: Duty::Wait("the database has not answered yet".into()),
            act: None,
            act_asked: 0,
            act_not_before: 0,
            commands: VecDeque::new(),
            standby: None,
            attempts: 0,
            lost: None,
            stopped: None,
            standby_not_before: 0,
            mode: None,
            runs: 0,
            barrier_not_before: 0,
            watermark: None,
            primary_in: None,
            beating: false,
            beat_due: 0,
            committed_at: None,
            probers: Vec::new(),
            ship: None,
            told: None,
            polling: false,
            poll_due: 0,
            looking: false,
            look_due: 0,
        }
    }

    /// Its looks at database and register hang until then: a connection of theirs is dead and nobody has noticed.
    pub fn hang(&mut self, until: u64) {
        (self.poll_due, self.look_due) = (until, until);
    }

    /// Takes what happens.
    pub fn take(&mut self, ctx: &mut Context<'_>, input: Input) {
        match input {
            Input::Start | Input::Wake(Timer::Tick) => self.tick(ctx),
            Input::Wake(Timer::Due(_)) => self.serve_barrier(ctx),
            Input::Wake(Timer::Call(call)) => {
                if let Some(purpose) = self.calls.close(call) {
                    self.answered(ctx, purpose, None);
                }
            }
            Input::Message(Message::Answer { call, answer, .. }) => {
                if let Some(purpose) = self.calls.close(call) {
                    self.answered(ctx, purpose, Some(answer));
                }
            }
            Input::Message(Message::Ask { from, life, call, ask }) => {
                self.asked(ctx, Caller { who: from, life, call }, ask);
            }
            Input::Message(Message::Link { from, connection, frame }) => match frame {
                Frame::Hello { epoch, incarnation, want } => {
                    self.hello(ctx, from, connection, epoch, incarnation, want);
                }
                Frame::Watermark(mark) => self.take_watermark(ctx, connection, mark),
                frame => self.take_frame(ctx, connection, frame),
            },
            Input::Message(Message::Log { connection, entries }) => {
                self.forward_log(ctx, connection, entries);
            }
            Input::Message(Message::Serving(_)) => {}
        }
        self.serve_barrier(ctx);
    }

    fn tick(&mut self, ctx: &mut Context<'_>) {
        ctx.wake(TICK_MS, Timer::Tick);
        let now = ctx.now;
        if !self.polling && now >= self.poll_due {
            (self.polling, self.poll_due) = (true, now + POLL_MS);
            let purpose = Purpose::Poll { asked: now };
            self.calls.ask(ctx, Who::Register, Ask::ReadRegister, REGISTER_TIMEOUT_MS, purpose);
        }
        if !self.looking && now >= self.look_due {
            self.look_now(ctx);
        }
        if self.primary_in.is_some() && !self.beating && now >= self.beat_due {
            self.beat(ctx);
        }
        self.step_mode(ctx, replicate::mode::Event::Tick);
        let mut out = Vec::new();
        self.barrier.tick(now, &mut out);
        self.tell_barrier(ctx, out);
        self.tick_ship(ctx);
        self.tick_standby(ctx);
        self.advance(ctx);
    }

    fn look_now(&mut self, ctx: &mut Context<'_>) {
        (self.looking, self.look_due) = (true, ctx.now + LOOK_MS);
        self.sql(ctx, Sql::Look, Purpose::Look { asked: ctx.now });
    }

    fn sql(&mut self, ctx: &mut Context<'_>, sql: Sql, purpose: Purpose) {
        self.calls.ask(ctx, Who::Database(self.site), Ask::Sql(sql), DATABASE_TIMEOUT_MS, purpose);
    }

    fn beat(&mut self, ctx: &mut Context<'_>) {
        (self.beating, self.beat_due) = (true, ctx.now + self.policy.heartbeat_ms);
        let wall_ms = ctx.wall_ms;
        self.sql(ctx, Sql::Beat { wall_ms }, Purpose::Beat);
    }

    fn asked(&mut self, ctx: &mut Context<'_>, caller: Caller, ask: Ask) {
        match ask {
            Ask::Status => {
                let status = self.status(ctx.now);
                ctx.answer(caller, Answer::Status(Box::new(status)));
            }
            Ask::Probe if self.primary_in.is_none() => ctx.answer(caller, Answer::No),
            Ask::Probe => {
                self.probers.push(caller);
                if !self.beating {
                    self.beat(ctx);
                }
            }
            Ask::Barrier(request) => self.ask_barrier(ctx, caller, request),
            Ask::Serving => match &self.told {
                Some(serving) => ctx.answer(caller, Answer::Serving(serving.clone())),
                None => ctx.answer(caller, Answer::No),
            },
            Ask::Promote(epoch) => {
                self.commands.push_back(Command::Promote(epoch, caller));
                self.advance(ctx);
            }
            Ask::Fence(request) => {
                self.commands.push_back(Command::Fence(request, caller));
                self.advance(ctx);
            }
            Ask::Close(request) => {
                self.commands.push_back(Command::Close(request, caller));
                self.advance(ctx);
            }
            Ask::Seed => {
                let key = self.here();
                if let (Duty::Follow(..), Some(key)) = (&self.duty, key) {
                    ctx.say(|| "is ordered to fill its database anew".into());
                    self.lost = Some((key, "an operator asked for it".into()));
                }
                self.advance(ctx);
            }
            _ => ctx.answer(caller, Answer::No),
        }
    }

    fn answered(&mut self, ctx: &mut Context<'_>, purpose: Purpose, answer: Option<Answer>) {
        match purpose {
            Purpose::Poll { asked } => {
                self.polling = false;
                if let Some(Answer::Register(register)) = answer {
                    self.learn_register(ctx, register, asked);
                    self.advance(ctx);
                }
            }
            Purpose::Look { asked } => {
                self.looking = false;
                match answer {
                    Some(Answer::Sql(SqlAnswer::Look(look))) => {
                        self.look_failed = false;
                        self.learn_look(ctx, asked, Rc::from(look));
                    }
                    _ => self.look_failed = true,
                }
                self.advance(ctx);
            }
            Purpose::Barrier => {
                let mut out = Vec::new();
                match answer {
                    Some(Answer::Sql(SqlAnswer::Snapshot(seen))) => {
                        self.barrier.answered(ctx.now, &seen, self.watermark.as_ref(), &mut out);
                    }
                    _ => {
                        self.barrier.failed(ctx.now, &mut out);
                        self.barrier_not_before = ctx.now + BARRIER_PAUSE_MS;
                        ctx.wake(BARRIER_PAUSE_MS, Timer::Due(0));
                    }
                }
                self.tell_barrier(ctx, out);
            }
            Purpose::Beat => self.beat_ended(ctx, answer),
            Purpose::Mode { run } => self.mode_answered(ctx, run, answer),
            Purpose::Act => self.act_answered(ctx, answer),
            Purpose::Standby { attempt } => self.standby_answered(ctx, attempt, answer),
            Purpose::Ship { connection } => self.ship_answered(ctx, connection, answer),
            Purpose::Subscribed => {}
        }
    }

    fn beat_ended(&mut self, ctx: &mut Context<'_>, answer: Option<Answer>) {
        self.beating = false;
        let seen = match answer {
            Some(Answer::Sql(SqlAnswer::Snapshot(seen))) => Some(seen),
            _ => None,
        };
        let ours = seen.filter(|s| s.row.primary == site(self.site) && Some(s.row.epoch) == self.primary_in);
        let reply = if ours.is_some() { Answer::Probed } else { Answer::No };
        for prober in std::mem::take(&mut self.probers) {
            ctx.answer(prober, reply.clone());
        }
        if let Some(seen) = ours {
            self.committed_at = Some(ctx.now);
            self.step_mode(ctx, replicate::mode::Event::Committed(seen.end_of_log));
        }
    }

    // === The barrier ===

    fn ask_barrier(&mut self, ctx: &mut Context<'_>, caller: Caller, request: BarrierRequest) {
        self.barrier.request(ctx.now, request, caller);
    }

    fn serve_barrier(&mut self, ctx: &mut Context<'_>) {
        if ctx.now >= self.barrier_not_before && self.barrier.begin_query(ctx.now) {
            self.sql(ctx, Sql::Snapshot, Purpose::Barrier);
        }
    }

    fn tell_barrier(&mut self, ctx: &mut Context<'_>, answers: Vec<barrier::Answer<Caller>>) {
        for (caller, reply) in answers {
            ctx.answer(caller, Answer::Barrier(reply));
        }
    }

    // === What is known ===

    fn learn_register(&mut self, ctx: &mut Context<'_>, register: Register, asked: u64) {
        if self.seen.as_ref().is_some_and(|(_, known)| *known > asked) {
            return;
        }
        if register.primary == site(self.site) {
            self.barrier.lease_renewed(Lease { epoch: register.epoch, asked_ms: asked });
        }
        self.seen = Some((register.clone(), asked));
        self.step_mode(ctx, replicate::mode::Event::RegisterSeen(register));
    }

    fn learn_look(&mut self, ctx: &mut Context<'_>, asked: u64, look: Rc<Look>) {
        if self.look.as_ref().is_some_and(|(known, _)| *known > asked) {
            return;
        }
        let row = look.site.as_ref().map(|s| s.row.clone());
        self.look = Some((asked, look));
        if let Some(row) = row {
            self.step_mode(ctx, replicate::mode::Event::RowSeen(row));
        }
    }

    fn here(&self) -> Option<Key> {
        let look = self.look.as_ref()?.1.site.as_ref()?;
        Some((look.row.epoch, look.incarnation))
    }

    /// Starts what is to be done and stops what is not to be done any more. Called after everything that was learnt.
    fn advance(&mut self, ctx: &mut Context<'_>) {
        let Some((_, look)) = &self.look else { return };
        let look = Rc::clone(look);
        let register = self.seen.as_ref().map(|(register, _)| register);
        let mut duty = duty::derive(&site(self.site), register, &look);
        let here = self.here();
        if let Some((key, why)) = &self.lost
            && Some(*key) == here
            && register.is_some()
        {
            duty = duty.with_lost_position(why);
        }
        self.duty = duty;

        // Stop first.
        let primary_in = match self.duty {
            Duty::Primary(epoch) => Some(epoch),
            _ => None,
        };
        if self.mode.as_ref().is_some_and(|mode| Some(mode.epoch()) != primary_in) {
            self.mode = None;
        }
        self.primary_in = primary_in;
        self.check_authority();
        let key = match &self.duty {
            Duty::Follow(incarnation, _) | Duty::Seed(incarnation) | Duty::Reinstate(incarnation) => {
                here.map(|(epoch, _)| (epoch, *incarnation))
            }
            Duty::AwaitPromotion => self.standby.as_ref().map(Standby::key),
            _ => None,
        };
        if self.standby.as_ref().is_some_and(|standby| Some(standby.key()) != key) {
            self.standby = None;
        }
        if let Some(epoch) = primary_in
            && self.mode.is_none()
        {
            self.start_mode(ctx, epoch, &look);
        }
        self.publish(ctx, &look);

        // Then at most one act, commands first.
        if self.act.is_some() {
            return;
        }
        if let Some(command) = self.commands.pop_front() {
            let act = match command {
                Command::Promote(epoch, caller) => Act::ReadForPromotion(epoch, caller),
                Command::Fence(request, caller) => Act::Fence(request, Some(caller)),
                Command::Close(request, caller) => Act::ReadForClose(request, caller),
            };
            self.start_act(ctx, act);
            return;
        }
        if ctx.now < self.act_not_before {
            return;
        }
        if let Some(act) = self.missing_act(&look) {
            self.start_act(ctx, act);
            return;
        }
        let may_start = ctx.now >= self.standby_not_before
            && self.stopped.as_ref().is_none_or(|(stopped, _)| Some(*stopped) != key);
        if let Some(key) = key
            && self.standby.is_none()
            && !matches!(self.duty, Duty::AwaitPromotion)
            && may_start
        {
            self.start_standby(ctx, key);
        }
    }

    fn publish(&mut self, ctx: &mut Context<'_>, look: &Look) {
        let Some(here) = &look.site else { return };
        let open = matches!(self.duty, Duty::Primary(_)) && look.fence == Fence::Open;
        let serving = Serving {
            site: site(self.site),
            epoch: here.row.epoch,
            stream: here.end_of_log.stream.clone(),
            primary: here.row.primary.clone(),
            mode: here.row.mode,
            open,
        };
        if self.told.as_ref() != Some(&serving) {
            self.told = Some(serving.clone());
            ctx.send(Who::Gateway(self.site), Message::Serving(serving));
        }
    }

    fn role(&self) -> Role {
        if self.look.is_none() {
            return Role::Starting { why: "the database has not answered yet".into() };
        }
        if matches!(self.act, Some(Act::ReadForPromotion(..) | Act::EndSessions(..) | Act::Promote(_)))
            && !matches!(self.duty, Duty::Primary(_))
        {
            return Role::Promoting;
        }
        match &self.duty {
            Duty::Primary(_) => Role::Primary,
            Duty::AwaitPromotion => Role::Promoting,
            Duty::Wait(why) | Duty::Resync(why) | Duty::BeginLife(why) => Role::Starting { why: why.clone() },
            Duty::Found | Duty::FenceSelf { .. } => Role::Starting { why: "closing".into() },
            Duty::BeginStandby => Role::Standby { phase: StandbyPhase::Connecting },
            Duty::Stop(why) | Duty::Unproven(why) => Role::Stopped { why: why.clone() },
            Duty::BeginReinstatement | Duty::Reinstate(_) => Role::Reinstating {
                phase: ReinstatePhase::Undoing,
                transactions: 0,
                rows: 0,
                undone: 0,
                waits_for: None,
            },
            Duty::Seed(_) | Duty::Follow(..) => match (&self.stopped, &self.standby) {
                (Some((key, why)), _) if Some(*key) == self.here() => Role::Stopped { why: why.clone() },
                (_, Some(standby)) => Role::Standby { phase: standby.phase() },
                (_, None) => Role::Standby { phase: StandbyPhase::Connecting },
            },
        }
    }

    /// As `replicate::status` tells it.
    fn status(&self, now: u64) -> AgentStatus {
        let role = self.role();
        let primary = role == Role::Primary;
        let look = self.look.as_ref().map(|(_, look)| look.as_ref());
        let here = look.and_then(|look| look.site.as_ref());
        let attached = here.and_then(|here| {
            let of_epoch = |s: &&replicate::row::AppliedSlot| s.slot.epoch == here.row.epoch;
            look?.slots.iter().filter(of_epoch).find(|s| s.is_attached()).map(|s| s.slot.clone())
        });
        let beat = self.standby.as_ref().and_then(Standby::beat_at);
        AgentStatus {
            site: site(self.site),
            role,
            row: here.map(|h| h.row.clone()),
            stream: here.map(|h| h.end_of_log.stream.clone()),
            end_of_log: here.map(|h| h.end_of_log.clone()),
            slot: attached.filter(|_| !primary),
            incarnation: here.map(|h| h.incarnation),
            watermark: if primary { self.watermark.clone() } else { None },
            lag_ms: None,
            held_responses: 0,
            heartbeat_age_ms: beat.filter(|_| !primary).map(|at| now.saturating_sub(at)),
            commit_age_ms: self.committed_at.filter(|_| primary).map(|at| now.saturating_sub(at)),
            register_age_ms: self.seen.as_ref().map(|(_, asked)| now.saturating_sub(*asked)),
            fence: match look {
                Some(look) if !self.look_failed => look.fence,
                _ => Fence::Unknown,
            },
            ..AgentStatus::starting(site(self.site))
        }
    }
}
