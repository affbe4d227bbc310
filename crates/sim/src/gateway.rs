//! A site's gateway, with the application behind it: drives the shipped [`Gate`].
//!
//! The way of a request (route, send once, hold, look at the lease's clock, release) is written here as
//! `gateway::request` goes it; what is held and when it may go out is the shipped gate's alone.

use std::collections::BTreeMap;

use ::gateway::hold::{AnswerId, BarrierId, Effect, Event, Gate, Limits};
use model::{Epoch, Serving};

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
    /// The application sells a seat; asked by whom, in which epoch.
    Sell(Caller, Seat, Epoch),
    Barrier(BarrierId),
    Peer(Caller),
    Serving,
}

/// The gateway.
pub struct Gateway {
    me: usize,
    gate: Gate,
    heard: Option<(Serving, u64)>,
    held: BTreeMap<AnswerId, Held>,
    answers: u64,
    calls: Calls<Purpose>,
    woken_at: Option<u64>,
}

struct Held {
    caller: Caller,
    seat: Seat,
    epoch: Epoch,
    since_ms: u64,
}

impl Gateway {
    /// Of this site.
    pub fn new(me: usize, hold_max_ms: u64) -> Gateway {
        let limits = Limits { hold_max_ms, barrier_wait_ms: 1_500, barriers_max: 4, retry_ms: 20 };
        Gateway {
            me,
            gate: Gate::new(limits),
            heard: None,
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
        self.heard = Some((serving, ctx.now));
        self.step(ctx, Event::EpochKnown(epoch));
    }

    fn visit(&mut self, ctx: &mut Context<'_>, caller: Caller, seat: Seat, forwarded: bool) {
        let Some((serving, _)) = &self.heard else {
            ctx.answer(caller, Answer::Visit(Outcome::NotSent));
            return;
        };
        if serving.open && number(&serving.primary) == self.me {
            let purpose = Purpose::Sell(caller, seat, serving.epoch);
            self.calls.ask(ctx, Who::Database(self.me), Ask::Sql(Sql::Sell(seat)), APPLICATION_MS, purpose);
        } else if forwarded || number(&serving.primary) == self.me {
            ctx.answer(caller, Answer::Visit(Outcome::NotSent));
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
            (Purpose::Sell(caller, seat, epoch), Some(Answer::Sql(SqlAnswer::Done))) => {
                self.answers += 1;
                let id = AnswerId(self.answers);
                self.held.insert(id, Held { caller, seat, epoch, since_ms: ctx.now });
                self.step(ctx, Event::Answered { id, epoch, since_ms: ctx.now });
            }
            (Purpose::Sell(caller, ..), Some(Answer::Sql(SqlAnswer::Taken))) => {
                ctx.answer(caller, Answer::Visit(Outcome::Taken));
            }
            (Purpose::Sell(caller, ..), Some(Answer::Sql(SqlAnswer::Locked) | Answer::Refused)) => {
                ctx.answer(caller, Answer::Visit(Outcome::NotSent));
            }
            (Purpose::Sell(caller, ..), _) => ctx.answer(caller, Answer::Visit(Outcome::Unknown)),
            (Purpose::Barrier(id), Some(Answer::Barrier(reply))) => self.step(ctx, Event::Replied(id, reply)),
            (Purpose::Barrier(id), _) => self.step(ctx, Event::Failed(id)),
            // The peer's own gate has let it out.
            (Purpose::Peer(caller), Some(Answer::Visit(outcome))) => {
                ctx.answer(caller, Answer::Visit(outcome));
            }
            (Purpose::Peer(caller), Some(Answer::Refused)) => {
                ctx.answer(caller, Answer::Visit(Outcome::NotSent));
            }
            (Purpose::Peer(caller), _) => ctx.answer(caller, Answer::Visit(Outcome::Unknown)),
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
                        ctx.answer(held.caller, Answer::Visit(Outcome::Unknown));
                    }
                }
            }
        }
        if let Some(at) = self.gate.wake_at_ms()
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
            let (epoch, since_ms) = (held.epoch, held.since_ms);
            self.held.insert(id, held);
            self.step(ctx, Event::Answered { id, epoch, since_ms });
            return;
        }
        let Held { caller, seat, epoch, .. } = held;
        ctx.say(|| format!("answers request {}: seat {} is yours (epoch {epoch})", seat.id, seat.seat));
        ctx.truth.acknowledged(seat, epoch, self.me);
        ctx.answer(caller, Answer::Visit(Outcome::Yours { by: self.me, epoch }));
    }
}
