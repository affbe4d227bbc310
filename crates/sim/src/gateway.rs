//! A site's gateway, with the application behind it: drives the shipped [`Gate`] and the shipped [`Park`].
//!
//! The way of a request (park, route, send once, hold, look at the lease's clock, release) is written here as
//! `gateway::request` goes it; what waits, what is held and when it may go out is the shipped cores' alone.

use std::collections::BTreeMap;

use ::gateway::{
    hold::{AnswerId, BarrierId, Effect, Event, Gate, Limits},
    park::{Entry, Flight, Park},
};
use model::{
    Epoch, Serving, StreamId,
    gateway::{ParkReply, ParkRequest},
};

use crate::{
    context::{Caller, Calls, Context, Input, Timer},
    message::{Answer, Ask, Message, Outcome, Seat, Sql, SqlAnswer, Who, number},
};

/// The application's patience with its database.
const APPLICATION_MS: u64 = 3_000;
/// Longer than the agent may wait, its words are waited for.
const GRACE_MS: u64 = 300;
/// The agent's last words count for so long.
const STALE_MS: u64 = 3_000;
/// How often the agent is asked, besides what it says by itself.
const POLL_MS: u64 = 1_000;

#[derive(Debug)]
enum Purpose {
    /// The application sells a seat; asked by whom, in which epoch and stream.
    Sell(Caller, Seat, Epoch, StreamId),
    Barrier(BarrierId),
    Peer(Caller),
    Serving,
}

/// The gateway.
pub struct Gateway {
    me: usize,
    gate: Gate,
    park: Park,
    heard: Option<(Serving, u64)>,
    /// How often the agent was heard.
    times_heard: u64,
    /// Requests that are parked.
    waiting: Vec<Waiting>,
    /// Who waits until nothing is under way, and until when at most.
    draining: Vec<(Caller, u64)>,
    held: BTreeMap<AnswerId, Held>,
    answers: u64,
    calls: Calls<Purpose>,
    woken_at: Option<u64>,
}

#[derive(Clone, Copy)]
struct Waiting {
    caller: Caller,
    seat: Seat,
    forwarded: bool,
    until_ms: u64,
}

struct Held {
    caller: Caller,
    seat: Seat,
    epoch: Epoch,
    stream: StreamId,
    since_ms: u64,
}

impl Gateway {
    /// Of this site.
    pub fn new(me: usize, hold_max_ms: u64) -> Gateway {
        let limits = Limits { hold_max_ms, barrier_wait_ms: 1_500, barriers_max: 4, retry_ms: 20 };
        Gateway {
            me,
            gate: Gate::new(limits),
            park: Park::new(),
            heard: None,
            times_heard: 0,
            waiting: Vec::new(),
            draining: Vec::new(),
            held: BTreeMap::new(),
            answers: 0,
            calls: Calls::default(),
            woken_at: None,
        }
    }

    /// Takes what happens.
    pub fn take(&mut self, ctx: &mut Context<'_>, input: Input) {
        match input {
            Input::Start | Input::Wake(Timer::Tick) => {
                self.calls.ask(ctx, Who::TheAgent(self.me), Ask::Serving, 500, Purpose::Serving);
                ctx.wake(POLL_MS, Timer::Tick);
            }
            Input::Wake(Timer::Due(at)) => {
                if self.woken_at == Some(at) {
                    self.woken_at = None;
                }
                self.park.tick(ctx.now);
                self.go_on(ctx);
                self.step(ctx, Event::Tick);
            }
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
            Input::Message(Message::Serving(serving)) => self.hear(ctx, serving),
            Input::Message(Message::Ask { from, life, call, ask }) => {
                let caller = Caller { who: from, life, call };
                match ask {
                    Ask::Visit { seat, forwarded } => self.visit(ctx, caller, seat, forwarded),
                    Ask::Park(request) => self.order(ctx, caller, request),
                    Ask::Unpark(intent) => {
                        self.park.release(intent);
                        self.go_on(ctx);
                        ctx.answer(caller, Answer::Unparked);
                    }
                    Ask::Door => {
                        let fresh = |at: u64| ctx.now.saturating_sub(at) <= STALE_MS;
                        let serves = self.heard.as_ref().is_some_and(|(s, at)| s.open && fresh(*at));
                        ctx.answer(caller, if serves { Answer::Door } else { Answer::No });
                    }
                    _ => ctx.answer(caller, Answer::No),
                }
            }
            Input::Message(_) => {}
        }
    }

    fn hear(&mut self, ctx: &mut Context<'_>, serving: Serving) {
        let epoch = serving.epoch;
        self.times_heard += 1;
        self.park.hear(ctx.now, self.times_heard, serving.clone());
        self.heard = Some((serving, ctx.now));
        self.go_on(ctx);
        self.step(ctx, Event::EpochKnown(epoch));
    }

    // === Parking, as `gateway::parking` drives it ===

    fn visit(&mut self, ctx: &mut Context<'_>, caller: Caller, seat: Seat, forwarded: bool) {
        match self.park.enter(ctx.now, forwarded, None) {
            Entry::Pass { .. } => self.forward(ctx, caller, seat, forwarded),
            Entry::Wait { until_ms } => {
                self.park.waits();
                self.waiting.push(Waiting { caller, seat, forwarded, until_ms });
                ctx.say(|| format!("lets request {} wait", seat.id));
                self.set_alarm(ctx);
            }
            Entry::Refuse => ctx.answer(caller, Answer::Visit(Outcome::NotSent)),
        }
    }

    fn order(&mut self, ctx: &mut Context<'_>, caller: Caller, request: ParkRequest) {
        let (intent, until_ms) = (request.intent, ctx.now + request.drain_ms_max);
        if let Err(why) = self.park.order(ctx.now, request) {
            ctx.answer(caller, Answer::Park(ParkReply::Refused { why }));
            return;
        }
        ctx.say(|| format!("parks for intent {intent}"));
        self.draining.push((caller, until_ms));
        self.look_whether_drained(ctx);
        self.set_alarm(ctx);
    }

    /// Something has changed: who waits looks again.
    fn go_on(&mut self, ctx: &mut Context<'_>) {
        for waiting in std::mem::take(&mut self.waiting) {
            let Waiting { caller, seat, forwarded, until_ms } = waiting;
            match self.park.enter(ctx.now, forwarded, Some(until_ms)) {
                Entry::Wait { .. } => self.waiting.push(waiting),
                Entry::Pass { .. } => {
                    self.park.waits_no_more();
                    self.forward(ctx, caller, seat, forwarded);
                }
                Entry::Refuse => {
                    self.park.waits_no_more();
                    ctx.answer(caller, Answer::Visit(Outcome::NotSent));
                }
            }
        }
        self.look_whether_drained(ctx);
        self.set_alarm(ctx);
    }

    fn look_whether_drained(&mut self, ctx: &mut Context<'_>) {
        let (unanswered, streaming) = self.park.under_way();
        let now = ctx.now;
        self.draining.retain(|(caller, until_ms)| {
            let over = (unanswered, streaming) == (0, 0) || now >= *until_ms;
            if over {
                let reply = match unanswered {
                    0 => ParkReply::Drained { streaming },
                    _ => ParkReply::NotDrained { unanswered },
                };
                ctx.answer(*caller, Answer::Park(reply));
            }
            !over
        });
    }

    /// The end of a request that has passed.
    fn tell(&mut self, ctx: &mut Context<'_>, caller: Caller, outcome: Outcome) {
        ctx.answer(caller, Answer::Visit(outcome));
        self.park.left(Flight::Unanswered);
        self.look_whether_drained(ctx);
    }

    // === The way of a request ===

    fn forward(&mut self, ctx: &mut Context<'_>, caller: Caller, seat: Seat, forwarded: bool) {
        let Some((serving, _)) = &self.heard else { return self.tell(ctx, caller, Outcome::NotSent) };
        if serving.open && number(&serving.primary) == self.me {
            let purpose = Purpose::Sell(caller, seat, serving.epoch, serving.stream.clone());
            self.calls.ask(ctx, Who::Database(self.me), Ask::Sql(Sql::Sell(seat)), APPLICATION_MS, purpose);
        } else if forwarded || number(&serving.primary) == self.me {
            self.tell(ctx, caller, Outcome::NotSent);
        } else {
            let peer = Who::Gateway(1 - self.me);
            let ask = Ask::Visit { seat, forwarded: true };
            self.calls.ask(ctx, peer, ask, 6_000, Purpose::Peer(caller));
        }
    }

    fn answered(&mut self, ctx: &mut Context<'_>, purpose: Purpose, answer: Option<Answer>) {
        match (purpose, answer) {
            (Purpose::Serving, Some(Answer::Serving(serving))) => self.hear(ctx, serving),
            (Purpose::Serving, _) => {}
            (Purpose::Sell(caller, seat, epoch, stream), Some(Answer::Sql(SqlAnswer::Done))) => {
                self.answers += 1;
                let id = AnswerId(self.answers);
                let held = Held { caller, seat, epoch, stream: stream.clone(), since_ms: ctx.now };
                self.held.insert(id, held);
                self.step(ctx, Event::Answered { id, epoch, stream, since_ms: ctx.now });
            }
            (Purpose::Sell(caller, ..), Some(Answer::Sql(SqlAnswer::Taken))) => {
                self.tell(ctx, caller, Outcome::Taken);
            }
            (Purpose::Sell(caller, ..), Some(Answer::Sql(SqlAnswer::Locked) | Answer::Refused)) => {
                self.tell(ctx, caller, Outcome::NotSent);
            }
            (Purpose::Sell(caller, ..), _) => self.tell(ctx, caller, Outcome::Unknown),
            (Purpose::Barrier(id), Some(Answer::Barrier(reply))) => self.step(ctx, Event::Replied(id, reply)),
            (Purpose::Barrier(id), _) => self.step(ctx, Event::Failed(id)),
            // The peer's own gate has let it out.
            (Purpose::Peer(caller), Some(Answer::Visit(outcome))) => {
                self.tell(ctx, caller, outcome);
            }
            (Purpose::Peer(caller), Some(Answer::Refused)) => {
                self.tell(ctx, caller, Outcome::NotSent);
            }
            (Purpose::Peer(caller), _) => self.tell(ctx, caller, Outcome::Unknown),
        }
    }

    fn step(&mut self, ctx: &mut Context<'_>, event: Event) {
        let mut effects = Vec::new();
        self.gate.step(ctx.now, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Ask(id, request) => {
                    let within_ms = request.wait_ms + GRACE_MS;
                    let agent = Who::TheAgent(self.me);
                    self.calls.ask(ctx, agent, Ask::Barrier(request), within_ms, Purpose::Barrier(id));
                }
                Effect::Release { id, before_ms } => self.release(ctx, id, before_ms),
                Effect::Unknown { id, .. } => {
                    if let Some(held) = self.held.remove(&id) {
                        self.tell(ctx, held.caller, Outcome::Unknown);
                    }
                }
            }
        }
        self.set_alarm(ctx);
    }

    fn set_alarm(&mut self, ctx: &mut Context<'_>) {
        let cores = [self.gate.wake_at_ms(), self.park.wake_at_ms()].into_iter().flatten();
        let waiting = self.waiting.iter().map(|w| w.until_ms);
        let draining = self.draining.iter().map(|(_, until_ms)| *until_ms);
        if let Some(at) = cores.chain(waiting).chain(draining).min()
            && self.woken_at.is_none_or(|known| at < known)
        {
            self.woken_at = Some(at);
            ctx.wake(at.saturating_sub(ctx.now), Timer::Due(at));
        }
    }

    /// The last look at the lease's clock, then it is out.
    fn release(&mut self, ctx: &mut Context<'_>, id: AnswerId, before_ms: Option<u64>) {
        let Some(held) = self.held.remove(&id) else { return };
        if before_ms.is_some_and(|before| ctx.now >= before) {
            self.answers += 1;
            let id = AnswerId(self.answers);
            let (epoch, stream, since_ms) = (held.epoch, held.stream.clone(), held.since_ms);
            self.held.insert(id, held);
            self.step(ctx, Event::Answered { id, epoch, stream, since_ms });
            return;
        }
        let Held { caller, seat, epoch, .. } = held;
        ctx.say(|| format!("answers request {}: seat {} is yours (epoch {epoch})", seat.id, seat.seat));
        let alone = before_ms.is_some();
        ctx.truth.acknowledged(seat, epoch, self.me, alone);
        self.tell(ctx, caller, Outcome::Yours { by: self.me, epoch });
    }
}
