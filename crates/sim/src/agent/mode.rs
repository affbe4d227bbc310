//! Drives the shipped machine of the mode, as `replicate::mode_driver` does: one effect at a time; what is heard
//! meanwhile is told afterwards, the newest of each kind.

use model::{Epoch, Register, Watermark, agent::Row};
use replicate::{
    duty::Look,
    mode::{Effect, Event, Machine, Rules},
};

use super::{Agent, Purpose, REGISTER_TIMEOUT_MS};
use crate::{
    context::Context,
    message::{Answer, Ask, Sql, SqlAnswer, Who, site},
};

/// A machine, and what it waits for.
pub(super) struct Mode {
    run: u64,
    epoch: Epoch,
    machine: Machine,
    doing: Doing,
    register: Option<Register>,
    row: Option<Row>,
    committed: Option<model::Position>,
    watermark: Option<Watermark>,
}

enum Doing {
    Nothing,
    ReadingRegister,
    ReadingRow(Register),
    Register,
    Row,
}

impl Mode {
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What came while an effect was under way.
    fn missed(&mut self) -> Option<Event> {
        if let Some(register) = self.register.take() {
            return Some(Event::RegisterSeen(register));
        }
        if let Some(row) = self.row.take() {
            return Some(Event::RowSeen(row));
        }
        if let Some(position) = self.committed.take() {
            return Some(Event::Committed(position));
        }
        self.watermark.take().map(Event::Watermark)
    }
}

impl Agent {
    pub(super) fn start_mode(&mut self, ctx: &mut Context<'_>, epoch: Epoch, look: &Look) {
        let rules = Rules {
            site: site(self.site),
            epoch,
            when_standby_lost: self.policy.when_standby_lost,
            solo_after_ms: self.policy.solo_after_ms,
            hold_max_ms: self.policy.hold_max_ms,
            retry_ms: self.policy.heartbeat_ms,
        };
        self.runs += 1;
        self.mode = Some(Mode {
            run: self.runs,
            epoch,
            machine: Machine::new(rules, ctx.now),
            doing: Doing::Nothing,
            register: None,
            row: None,
            committed: None,
            watermark: self.watermark.clone(),
        });
        if let Some((register, _)) = self.seen.clone() {
            self.step_mode(ctx, Event::RegisterSeen(register));
        }
        if let Some(here) = &look.site {
            self.step_mode(ctx, Event::RowSeen(here.row.clone()));
        }
    }

    pub(super) fn step_mode(&mut self, ctx: &mut Context<'_>, event: Event) {
        let Some(mode) = &mut self.mode else { return };
        if !matches!(mode.doing, Doing::Nothing) {
            match event {
                Event::RegisterSeen(register) => mode.register = Some(register),
                Event::RowSeen(row) => mode.row = Some(row),
                Event::Committed(position) => mode.committed = Some(position),
                Event::Watermark(mark) => mode.watermark = Some(mark),
                _ => {}
            }
            return;
        }
        let mut next = Some(event);
        while let Some(event) = next {
            if let Some(effect) = mode.machine.step(ctx.now, event) {
                self.do_mode(ctx, effect);
                return;
            }
            next = mode.missed();
        }
    }

    fn do_mode(&mut self, ctx: &mut Context<'_>, effect: Effect) {
        let Some(mode) = &mut self.mode else { return };
        let purpose = Purpose::Mode { run: mode.run };
        match effect {
            Effect::Read => {
                mode.doing = Doing::ReadingRegister;
                self.calls.ask(ctx, Who::Register, Ask::ReadRegister, REGISTER_TIMEOUT_MS, purpose);
            }
            Effect::Cas(request) => {
                mode.doing = Doing::Register;
                self.calls.ask(ctx, Who::Register, Ask::Cas(request), REGISTER_TIMEOUT_MS, purpose);
            }
            Effect::RowToSolo { epoch, stream, token } => {
                mode.doing = Doing::Row;
                let sql = Sql::SetMode { mode: model::Mode::Solo, epoch, stream, token: Some(token) };
                self.sql(ctx, sql, purpose);
            }
            Effect::RowToSync { epoch, stream } => {
                mode.doing = Doing::Row;
                let sql = Sql::SetMode { mode: model::Mode::Sync, epoch, stream, token: None };
                self.sql(ctx, sql, purpose);
            }
        }
    }

    pub(super) fn mode_answered(&mut self, ctx: &mut Context<'_>, run: u64, answer: Option<Answer>) {
        let Some(mode) = self.mode.as_mut().filter(|mode| mode.run == run) else { return };
        let event = match (std::mem::replace(&mut mode.doing, Doing::Nothing), answer) {
            (Doing::ReadingRegister, Some(Answer::Register(register))) => {
                mode.doing = Doing::ReadingRow(register);
                self.sql(ctx, Sql::Snapshot, Purpose::Mode { run });
                return;
            }
            (Doing::ReadingRow(register), Some(Answer::Sql(SqlAnswer::Snapshot(seen)))) => {
                Event::Read { register, row: seen.row, here: seen.end_of_log.stream }
            }
            (Doing::Register, Some(Answer::Cas(reply))) => Event::CasAnswered(reply),
            (Doing::Row, Some(Answer::Sql(SqlAnswer::Changed(after)))) => {
                self.barrier.row_changed();
                self.look_due = ctx.now;
                Event::RowChanged(after.end_of_log)
            }
            (Doing::Row, Some(Answer::Sql(SqlAnswer::NotMatched))) => Event::RowNotMatched,
            _ => Event::Failed,
        };
        self.step_mode(ctx, event);
    }
}
