//! A place's controller: drives the shipped [`Core`], which brings `decide` and the election with it.
//!
//! Here stand only its limbs, as `controller::execute` and `controller::run` have them: each effect is a question with
//! a time-out, and comes back as an event.

use ::controller::{
    drive::{Core, Effect, Event},
    execute::Outcome,
    journal::What,
    probe::Target,
};
use model::{
    BarrierOutcome, BarrierRequest, Place, Site, Step,
    agent::{CloseReply, CloseRequest, PromoteReply},
    gateway::{ParkReply, ParkRequest},
    observation::ProbeResult,
    register::{CasReply, CasRequest, LeaseRequest},
    topology::Policy,
};

use crate::{
    context::{Caller, Calls, Context, Input, Timer},
    message::{Answer, Ask, Message, WITNESS, Who, number, site},
};

/// How often the core is told the time.
const TICK_MS: u64 = 400;
/// No step is waited for longer.
const STEP_MS_MAX: u64 = 1_500;

#[derive(Debug)]
enum Purpose {
    Probe { of: Site, target: Target, sequence: u64 },
    Told { place: Place, sent_ms: u64 },
    Register { sent_ms: u64 },
    Orders { sent_ms: u64 },
    Lease { sent_ms: u64, request: LeaseRequest },
    Steering { sent_ms: u64 },
    Step { step: Step, began_ms: u64 },
}

/// The controller.
pub struct Controller {
    core: Core,
    policy: Policy,
    calls: Calls<Purpose>,
    /// So many switchovers were asked for here.
    asked: u64,
}

fn place(n: usize) -> Place {
    if n == WITNESS { Place::Witness } else { Place::Site(site(n)) }
}

fn at(place: &Place) -> usize {
    match place {
        Place::Witness => WITNESS,
        Place::Site(site) => number(site),
    }
}

impl Controller {
    /// Of this place.
    pub fn new(me: usize, policy: Policy) -> Controller {
        let core = Core::new(place(me), [site(0), site(1)], policy.clone());
        Controller { core, policy, calls: Calls::default(), asked: 0 }
    }

    /// Takes what happens.
    pub fn take(&mut self, ctx: &mut Context<'_>, input: Input) {
        match input {
            Input::Start | Input::Wake(Timer::Tick) => {
                ctx.wake(TICK_MS, Timer::Tick);
                self.apply(ctx, Event::Tick);
            }
            Input::Wake(Timer::Call(call)) => {
                if let Some(purpose) = self.calls.close(call) {
                    self.ended(ctx, purpose, None);
                }
            }
            Input::Message(Message::Answer { call, answer, .. }) => {
                if let Some(purpose) = self.calls.close(call) {
                    self.ended(ctx, purpose, Some(answer));
                }
            }
            Input::Message(Message::Ask { from, life, call, ask: Ask::Observations }) => {
                let told = self.core.observations(ctx.now);
                ctx.answer(Caller { who: from, life, call }, Answer::Observations(told));
            }
            Input::Message(Message::Ask { ask: Ask::Switchover(request), .. }) => {
                self.asked += 1;
                let number = self.asked;
                self.apply(ctx, Event::Asked { number, request });
            }
            _ => {}
        }
    }

    fn apply(&mut self, ctx: &mut Context<'_>, event: Event) {
        for effect in self.core.apply(ctx.now, ctx.wall_ms, event) {
            self.begin(ctx, effect);
        }
    }

    fn begin(&mut self, ctx: &mut Context<'_>, effect: Effect) {
        let (sent_ms, within_ms) = (ctx.now, self.policy.probe_timeout_ms);
        let (to, ask, within_ms, purpose) = match effect {
            Effect::Probe { of, target, sequence } => {
                let n = number(&of);
                let (to, ask) = match target {
                    Target::Commit => (Who::TheAgent(n), Ask::Probe),
                    Target::Agent => (Who::TheAgent(n), Ask::Status),
                    Target::Gateway => (Who::Gateway(n), Ask::Door),
                };
                (to, ask, within_ms, Purpose::Probe { of, target, sequence })
            }
            Effect::Ask { place } => {
                (Who::Controller(at(&place)), Ask::Observations, within_ms, Purpose::Told { place, sent_ms })
            }
            Effect::ReadRegister => {
                (Who::Register, Ask::ReadRegister, within_ms, Purpose::Register { sent_ms })
            }
            Effect::ReadOrders => (Who::Register, Ask::ReadOrders, within_ms, Purpose::Orders { sent_ms }),
            Effect::ReadSteering => {
                (Who::NameServer, Ask::Steering, within_ms, Purpose::Steering { sent_ms })
            }
            Effect::AskLease { request } => {
                let ask = Ask::Lease(request.clone());
                (Who::Register, ask, within_ms, Purpose::Lease { sent_ms, request })
            }
            Effect::Take { step } => {
                let (to, ask) = match &step {
                    Step::MoveRegister { record } | Step::Announce { record } | Step::Withdraw { record } => {
                        let expected_version = record.version.saturating_sub(1);
                        let request = CasRequest { expected_version, record: record.clone() };
                        (Who::Register, Ask::Cas(request))
                    }
                    Step::Promote { site, epoch } => (Who::TheAgent(number(site)), Ask::Promote(*epoch)),
                    Step::Fence { site, epoch, primary } => {
                        let request = model::agent::FenceRequest { epoch: *epoch, primary: primary.clone() };
                        (Who::TheAgent(number(site)), Ask::Fence(request))
                    }
                    Step::Steer { site, epoch } => {
                        let steering = model::plan::Steering { site: site.clone(), epoch: *epoch };
                        (Who::NameServer, Ask::Steer(steering))
                    }
                    Step::Park { site, epoch, intent } => {
                        let request = ParkRequest::of(&self.policy, *epoch, *intent);
                        (Who::Gateway(number(site)), Ask::Park(request))
                    }
                    Step::Close { site, epoch, intent } => {
                        let request = CloseRequest { epoch: *epoch, intent: *intent };
                        (Who::TheAgent(number(site)), Ask::Close(request))
                    }
                    Step::CatchUp { site, epoch, .. } => {
                        let wait_ms = self.policy.switchover_catch_up_ms;
                        let stream = crate::database::stream_of(number(site));
                        let request = BarrierRequest { epoch: *epoch, stream, wait_ms };
                        (Who::TheAgent(number(site)), Ask::Barrier(request))
                    }
                    Step::Unpark { site, intent, .. } => (Who::Gateway(number(site)), Ask::Unpark(*intent)),
                };
                (to, ask, STEP_MS_MAX, Purpose::Step { step, began_ms: sent_ms })
            }
            Effect::Note(entry) => {
                if let What::Began { step } = &entry.what {
                    ctx.say(|| format!("begins to {step}"));
                }
                return;
            }
        };
        self.calls.ask(ctx, to, ask, within_ms, purpose);
    }

    fn ended(&mut self, ctx: &mut Context<'_>, purpose: Purpose, answer: Option<Answer>) {
        let event = match purpose {
            Purpose::Probe { of, target, sequence } => {
                let (result, status) = match answer {
                    None => (ProbeResult::Silent, None),
                    Some(Answer::Refused) => (ProbeResult::Refused, None),
                    Some(Answer::Status(status)) => (ProbeResult::Ok, Some(status)),
                    Some(Answer::Probed | Answer::Door) => (ProbeResult::Ok, None),
                    Some(_) => (ProbeResult::Failed { why: "no".into() }, None),
                };
                Event::Probed { of, target, sequence, result, status }
            }
            Purpose::Told { place, sent_ms } => {
                let observations = match answer {
                    Some(Answer::Observations(told)) => Some(told),
                    _ => None,
                };
                Event::Told { place, sent_ms, observations }
            }
            Purpose::Register { sent_ms } => {
                let record = match answer {
                    Some(Answer::Register(record)) => Some(record),
                    _ => None,
                };
                Event::RegisterRead { sent_ms, record }
            }
            Purpose::Orders { sent_ms } => {
                let orders = match answer {
                    Some(Answer::Orders(orders)) => Some(*orders),
                    _ => None,
                };
                Event::OrdersRead { sent_ms, orders }
            }
            Purpose::Lease { sent_ms, request } => {
                let reply = match answer {
                    Some(Answer::Lease(reply)) => Some(reply),
                    _ => None,
                };
                Event::Leased { sent_ms, request, reply }
            }
            Purpose::Steering { sent_ms } => {
                let steering = match answer {
                    Some(Answer::Steering(steering)) => Some(steering),
                    _ => None,
                };
                Event::SteeringRead { sent_ms, steering }
            }
            Purpose::Step { step, began_ms } => {
                let outcome = outcome(answer);
                if !outcome.is_done() {
                    ctx.say(|| format!("could not {step}: {outcome:?}"));
                }
                Event::Ended { step, began_ms, outcome }
            }
        };
        self.apply(ctx, event);
    }
}

/// As `controller::execute` reads the answers.
fn outcome(answer: Option<Answer>) -> Outcome {
    match answer {
        Some(Answer::Cas(CasReply::Swapped(record))) => Outcome::Moved { record },
        Some(Answer::Cas(CasReply::Stale(record))) => Outcome::Stale { record },
        Some(Answer::Promote(PromoteReply::Promoted { .. } | PromoteReply::AlreadyPromoted)) => {
            Outcome::Promoted
        }
        Some(Answer::Promote(PromoteReply::Refused { why })) => Outcome::Refused { why },
        Some(Answer::Promote(PromoteReply::NotNow { why })) => Outcome::Failed { why },
        Some(Answer::Fence(reply)) if reply.row_raised && reply.account_locked => Outcome::Fenced,
        Some(Answer::Fence(reply)) => Outcome::Failed { why: reply.why.unwrap_or_default() },
        Some(Answer::Park(ParkReply::Drained { .. })) => Outcome::Parked,
        Some(Answer::Park(ParkReply::NotDrained { unanswered })) => {
            Outcome::Failed { why: format!("{unanswered} requests are still under way") }
        }
        Some(Answer::Park(ParkReply::Refused { why })) => Outcome::Failed { why },
        Some(Answer::Unparked) => Outcome::Unparked,
        Some(Answer::Close(CloseReply::Closed { .. })) => Outcome::Fenced,
        Some(Answer::Close(CloseReply::NotClosed { why })) => Outcome::Failed { why },
        Some(Answer::Barrier(reply)) if reply.outcome == BarrierOutcome::Replicated => Outcome::CaughtUp,
        Some(Answer::Barrier(reply)) => Outcome::Failed { why: format!("{:?}", reply.outcome) },
        Some(Answer::Steering(steering)) => Outcome::Steered { steering },
        Some(_) => Outcome::Failed { why: "it does not answer".into() },
        None => Outcome::Failed { why: "no answer in time".into() },
    }
}
