//! Visitors and the name server. A visitor wants seats, one after the other, and asks again when it was not told.
//!
//! Not shipped code: both stand for what is outside.

use model::{Epoch, plan::Steering};

use crate::{
    context::{Caller, Calls, Context, Input, Timer},
    message::{Answer, Ask, Message, Outcome, Seat, Who, number, site},
};

/// A visitor's patience.
const PATIENCE_MS: u64 = 7_000;
/// So many seats there are.
const SEATS: u64 = 4_000;
/// So often a visitor asks for the same thing.
const TRIES: u32 = 4;

/// A visitor.
#[derive(Debug)]
pub struct Visitor {
    me: usize,
    requests: u64,
    wanted: Option<(Seat, u32)>,
    known: usize,
    calls: Calls<Purpose>,
}

#[derive(Debug)]
enum Purpose {
    Name,
    Visit(Seat),
}

impl Visitor {
    /// Number `me`.
    pub fn new(me: usize) -> Visitor {
        Visitor { me, requests: 0, wanted: None, known: 0, calls: Calls::default() }
    }

    /// Takes what happens.
    pub fn take(&mut self, ctx: &mut Context<'_>, input: Input) {
        match input {
            Input::Start | Input::Wake(Timer::Tick) => {
                // Every so often the name is looked up; between, the old answer is used.
                if self.wanted.is_none() || ctx.rng.chance(500) {
                    self.calls.ask(ctx, Who::NameServer, Ask::Steering, 300, Purpose::Name);
                } else {
                    self.visit(ctx);
                }
            }
            Input::Wake(Timer::Call(call)) => match self.calls.close(call) {
                Some(Purpose::Name) => self.visit(ctx),
                Some(Purpose::Visit(_)) => self.again(ctx),
                None => {}
            },
            Input::Message(Message::Answer { call, answer, .. }) => match (self.calls.close(call), answer) {
                (Some(Purpose::Name), answer) => {
                    if let Answer::Steering(steering) = answer {
                        self.known = number(&steering.site);
                    }
                    self.visit(ctx);
                }
                (Some(Purpose::Visit(seat)), Answer::Visit(outcome)) => self.told(ctx, seat, outcome),
                (Some(Purpose::Visit(_)), _) => self.again(ctx),
                (None, _) => {}
            },
            _ => {}
        }
    }

    fn visit(&mut self, ctx: &mut Context<'_>) {
        let (seat, tries) = self.wanted.unwrap_or_else(|| {
            // Requests of all visitors have numbers of their own.
            let id = self.requests * 8 + self.me as u64;
            self.requests += 1;
            (Seat { seat: ctx.rng.below(SEATS), id }, 0)
        });
        self.wanted = Some((seat, tries + 1));
        let ask = Ask::Visit { seat, forwarded: false };
        self.calls.ask(ctx, Who::Gateway(self.known), ask, PATIENCE_MS, Purpose::Visit(seat));
    }

    fn told(&mut self, ctx: &mut Context<'_>, seat: Seat, outcome: Outcome) {
        match outcome {
            Outcome::Yours { .. } | Outcome::Taken => {
                self.wanted = None;
                let pause = ctx.rng.between(40, 240);
                ctx.wake(pause, Timer::Tick);
            }
            Outcome::Unknown => {
                ctx.truth.unknowns += 1;
                ctx.say(|| format!("is told that the outcome of request {} is unknown", seat.id));
                self.again(ctx);
            }
            Outcome::NotSent => self.again(ctx),
        }
    }

    fn again(&mut self, ctx: &mut Context<'_>) {
        if self.wanted.is_some_and(|(_, tries)| tries >= TRIES) {
            self.wanted = None;
        }
        let pause = ctx.rng.between(150, 500);
        ctx.wake(pause, Timer::Tick);
    }
}

/// The name server: answers one site, and takes no older epoch.
#[derive(Debug)]
pub struct NameServer {
    steering: Steering,
}

impl Default for NameServer {
    fn default() -> Self {
        NameServer { steering: Steering { site: site(0), epoch: Epoch::FIRST } }
    }
}

impl NameServer {
    /// Takes what happens.
    pub fn take(&mut self, ctx: &mut Context<'_>, input: Input) {
        let Input::Message(Message::Ask { from, life, call, ask }) = input else { return };
        let caller = Caller { who: from, life, call };
        if let Ask::Steer(wanted) = ask
            && wanted.epoch >= self.steering.epoch
            && wanted != self.steering
        {
            ctx.say(|| format!("leads to {} from now on", wanted.site));
            self.steering = wanted;
        }
        ctx.answer(caller, Answer::Steering(self.steering.clone()));
    }
}
