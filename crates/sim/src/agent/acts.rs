//! The agent's acts on its database, as `replicate::work` does them: each ends with a look.

use model::{
    Epoch, Incarnation, Mode, Register,
    agent::{CloseReply, CloseRequest, Fence, FenceRequest, PromoteReply},
    register::{CasReply, CasRequest},
};
use replicate::duty::{Duty, Look};

use super::{Agent, Purpose, REGISTER_TIMEOUT_MS, RETRY_MS};
use crate::{
    context::{Caller, Context},
    message::{Answer, Ask, Sql, SqlAnswer, Who, site},
};

/// An act under way, by the question whose answer it waits for.
#[derive(Debug)]
pub(super) enum Act {
    Open,
    Close,
    Fence(FenceRequest, Option<Caller>),
    ReadForPromotion(Epoch, Caller),
    EndSessions(Epoch, Register, Caller),
    Promote(Caller),
    ReadForClose(CloseRequest, Caller),
    LookForClose(CloseRequest, Caller),
    CloseFor(Caller),
    /// A new life of a standby's data, to be filled anew.
    AnnounceFill(Register),
    Fill,
    /// A new life of an old primary's data.
    AnnounceReturn(Register),
    Return,
    /// The look at what it left behind.
    Look(u64),
}

impl Agent {
    /// The act that the duty still lacks.
    pub(super) fn missing_act(&self, look: &Look) -> Option<Act> {
        let closed = look.fence == Fence::Closed;
        let register = || self.seen.as_ref().map(|(register, _)| register.clone());
        match &self.duty {
            Duty::Resync(_) | Duty::BeginReinstatement | Duty::BeginStandby if !closed => Some(Act::Close),
            Duty::Resync(_) => register().map(Act::AnnounceFill),
            Duty::BeginReinstatement => register().map(Act::AnnounceReturn),
            Duty::FenceSelf { epoch, primary } => {
                Some(Act::Fence(FenceRequest { epoch: *epoch, primary: primary.clone() }, None))
            }
            Duty::Primary(epoch) => {
                let register = register()?;
                let agrees = register.epoch == *epoch && register.primary == site(self.site);
                // A switchover has closed it, or is about to: it stays as it is until the register holds none.
                (agrees && closed && register.intent.is_none()).then_some(Act::Open)
            }
            Duty::Seed(_) | Duty::Reinstate(_) | Duty::Follow(..) | Duty::AwaitPromotion => {
                (!closed).then_some(Act::Close)
            }
            Duty::Stop(_) => {
                let ours = look.site.as_ref().is_some_and(|s| s.row.primary == site(self.site));
                (!ours && !closed).then_some(Act::Close)
            }
            // No server here ever takes another one's place.
            Duty::BeginLife(_) | Duty::Unproven(_) => None,
            Duty::Wait(_) | Duty::Found | Duty::BeginStandby => None,
        }
    }

    pub(super) fn start_act(&mut self, ctx: &mut Context<'_>, act: Act) {
        self.act_asked = ctx.now;
        match &act {
            Act::Open => self.sql(ctx, Sql::Open, Purpose::Act),
            Act::Close => self.sql(ctx, Sql::Close, Purpose::Act),
            Act::Fence(request, _) => self.sql(ctx, Sql::Fence(request.clone()), Purpose::Act),
            Act::ReadForPromotion(..) | Act::ReadForClose(..) => {
                self.calls.ask(ctx, Who::Register, Ask::ReadRegister, REGISTER_TIMEOUT_MS, Purpose::Act);
            }
            Act::AnnounceFill(register) => {
                let why = format!("the standby {} is filled anew", site(self.site));
                self.announce_life(ctx, register, why);
            }
            Act::AnnounceReturn(register) => {
                let why = format!("the old primary {} is taken back", site(self.site));
                self.announce_life(ctx, register, why);
            }
            Act::EndSessions(..)
            | Act::Promote(_)
            | Act::LookForClose(..)
            | Act::CloseFor(_)
            | Act::Fill
            | Act::Return
            | Act::Look(_) => {}
        }
        self.act = Some(act);
    }

    /// As `replicate::work::announce_life`.
    fn announce_life(&mut self, ctx: &mut Context<'_>, register: &Register, why: String) {
        let record = Register {
            version: register.version + 1,
            mode: Mode::Solo,
            standby_incarnation: Incarnation(register.standby_incarnation.0 + 1),
            why,
            ..register.clone()
        };
        let request = CasRequest { expected_version: register.version, record };
        self.calls.ask(ctx, Who::Register, Ask::Cas(request), REGISTER_TIMEOUT_MS, Purpose::Act);
    }

    pub(super) fn act_answered(&mut self, ctx: &mut Context<'_>, answer: Option<Answer>) {
        let Some(act) = self.act.take() else { return };
        let asked = self.act_asked;
        match (act, answer) {
            (Act::Look(asked), Some(Answer::Sql(SqlAnswer::Look(look)))) => {
                self.learn_look(ctx, asked, look.into());
                self.barrier.row_changed();
                self.advance(ctx);
                return;
            }
            (Act::Open | Act::Close | Act::Fill | Act::Return, Some(Answer::Sql(SqlAnswer::Done))) => {}
            (Act::Fence(_, caller), Some(Answer::Sql(SqlAnswer::Fence(reply)))) => {
                if let Some(caller) = caller {
                    ctx.answer(caller, Answer::Fence(reply));
                }
            }
            (Act::ReadForPromotion(_, caller), Some(Answer::Register(register)))
                if register.intent.is_some() =>
            {
                self.learn_register(ctx, register, asked);
                let why = "the register holds a switchover that has not moved it yet".into();
                ctx.answer(caller, Answer::Promote(PromoteReply::NotNow { why }));
            }
            (Act::ReadForPromotion(epoch, caller), Some(Answer::Register(register))) => {
                self.learn_register(ctx, register.clone(), asked);
                if register.epoch == epoch && register.primary == site(self.site) {
                    // Nothing of this process may be applying when the row is locked.
                    self.standby = None;
                }
                self.act = Some(Act::EndSessions(epoch, register.clone(), caller));
                self.sql(ctx, Sql::EndSessions { epoch, register }, Purpose::Act);
                return;
            }
            (Act::EndSessions(epoch, register, caller), Some(Answer::Sql(SqlAnswer::Done))) => {
                self.act = Some(Act::Promote(caller));
                self.sql(ctx, Sql::Promote { epoch, register }, Purpose::Act);
                return;
            }
            (Act::ReadForPromotion(_, caller), _) => {
                let why = "the register did not answer".into();
                ctx.answer(caller, Answer::Promote(PromoteReply::NotNow { why }));
            }
            (Act::Promote(caller), Some(Answer::Sql(SqlAnswer::Promote(reply)))) => {
                ctx.answer(caller, Answer::Promote(reply));
            }
            // As `replicate::work::close_for`.
            (Act::ReadForClose(request, caller), Some(Answer::Register(register))) => {
                let intended = register.intent.as_ref().is_some_and(|i| i.id == request.intent);
                let ours = register.epoch == request.epoch && register.primary == site(self.site);
                self.learn_register(ctx, register, asked);
                if intended && ours {
                    self.act = Some(Act::LookForClose(request, caller));
                    self.sql(ctx, Sql::Snapshot, Purpose::Act);
                    return;
                }
                let why = "the register does not hold that intent".into();
                ctx.answer(caller, Answer::Close(CloseReply::NotClosed { why }));
            }
            (Act::LookForClose(request, caller), Some(Answer::Sql(SqlAnswer::Snapshot(here)))) => {
                if here.row.epoch == request.epoch && here.row.primary == site(self.site) {
                    self.act = Some(Act::CloseFor(caller));
                    self.sql(ctx, Sql::Close, Purpose::Act);
                    return;
                }
                let why = "this database stands in another epoch".into();
                ctx.answer(caller, Answer::Close(CloseReply::NotClosed { why }));
            }
            (Act::CloseFor(caller), Some(Answer::Sql(SqlAnswer::Done))) => {
                ctx.answer(caller, Answer::Close(CloseReply::Closed { sessions_killed: 0 }));
            }
            (Act::ReadForClose(_, caller) | Act::LookForClose(_, caller) | Act::CloseFor(caller), _) => {
                let why = "no answer".into();
                ctx.answer(caller, Answer::Close(CloseReply::NotClosed { why }));
            }
            (
                act @ (Act::AnnounceFill(_) | Act::AnnounceReturn(_)),
                Some(Answer::Cas(CasReply::Swapped(new))),
            ) => {
                let (epoch, primary) = (new.epoch, new.primary.clone());
                let incarnation = new.standby_incarnation;
                self.learn_register(ctx, new, asked);
                let (next, sql) = match act {
                    Act::AnnounceFill(_) => (Act::Fill, Sql::FillAnew { epoch, primary, incarnation }),
                    _ => (Act::Return, Sql::BeginLife { epoch, primary, incarnation }),
                };
                self.act = Some(next);
                self.sql(ctx, sql, Purpose::Act);
                return;
            }
            (Act::AnnounceFill(_) | Act::AnnounceReturn(_), Some(Answer::Cas(CasReply::Stale(register)))) => {
                self.learn_register(ctx, register, asked);
                self.act_not_before = ctx.now + RETRY_MS;
            }
            // Nobody knows how far it came: look, and begin what is still missing.
            _ => self.act_not_before = ctx.now + RETRY_MS,
        }
        if ctx.now < self.act_not_before {
            self.barrier.row_changed();
            self.look_due = ctx.now;
            return;
        }
        self.act = Some(Act::Look(ctx.now));
        self.sql(ctx, Sql::Look, Purpose::Act);
    }
}
