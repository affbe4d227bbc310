//! Moves the service between `sync` and `solo`: the register and the primary's row, in the only safe order.
//!
//! Give it what was seen and the time; it returns at most one thing to do, and is told how that went. It reads no
//! clock and opens no socket: [`drive`](crate::drive_mode) does what it says.
//!
//! The two records it keeps in step are the register (which decides whether a failover is allowed) and the row of
//! the primary's database (which decides whether answers wait). What must always hold:
//!
//! > **While the register says `sync`, no answer goes out that the standby does not hold.**
//!
//! So, in the order in which things are raised and lowered:
//!
//! - *To `solo`*: read the register's version v and the row's token t; compare-and-set v to `solo`, even if it says
//!   `solo` already; only then the row, and only if its token is still t. The compare-and-set defeats every attempt
//!   at `sync` that read the register before it; the token defeats a row that was set to `sync` after we read it.
//! - *To `sync`*: read the register's version v; set the row to `sync` with a new token, even if it says so already
//!   (answers wait again, and any attempt at `solo` that read the old token has lost); wait until a watermark of the
//!   register's standby incarnation has passed that very row change, which proves that everything answered before
//!   it is on the standby; compare-and-set v.
//!
//! Between any two steps the process may die, be paused for ever or exist twice. An attempt that failed anywhere is
//! forgotten, never undone: the next one starts from the beginning.
//!
//! A row speaks for the stream that it was written in, and an attempt dies with the stream that it began in. A server that
//! took another one's place may hold an older row, token and all; so the row's change compares the stream, too, and no
//! attempt begins on such a row: either change would call data the primary's which may have lost what was answered.

use std::collections::VecDeque;

use model::{
    Epoch, Incarnation, Mode, Position, Register, Site, StreamId, Watermark,
    agent::Row,
    register::{CasReply, CasRequest},
    sabotage::{self, Sabotage},
    topology::WhenStandbyLost,
};

/// The rules that the machine goes by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The site of this machine's database.
    pub site: Site,
    /// The epoch in which this database is primary. The machine does nothing in any other one.
    pub epoch: Epoch,
    /// What to do when the standby is lost.
    pub when_standby_lost: WhenStandbyLost,
    /// How long the standby may make no progress before it counts as lost.
    pub solo_after_ms: u64,
    /// How long an answer may be held: a standby that is further behind counts as lost, even if it makes progress.
    pub hold_max_ms: u64,
    /// How long to wait after an attempt that failed.
    pub retry_ms: u64,
}

/// What the machine is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time has passed. Told at least every `solo_after_ms / 4`.
    Tick,
    /// The register as it was seen by whoever polls it. Only a hint for *whether* to act.
    RegisterSeen(Register),
    /// The row as it was seen. Only a hint for *whether* to act.
    RowSeen(Row),
    /// Something (a heartbeat) is durable in our log before this position.
    Committed(Position),
    /// The standby says how far it is.
    Watermark(Watermark),
    /// The answer to [`Effect::Read`].
    Read {
        /// The register, asked for after the effect was returned.
        register: Register,
        /// The row, asked for after the effect was returned.
        row: Row,
        /// The stream of the server that the row was read from.
        here: StreamId,
    },
    /// The answer to [`Effect::Cas`].
    CasAnswered(CasReply),
    /// The answer to [`Effect::RowToSolo`] and [`Effect::RowToSync`]: one row matched, and the change is durable
    /// before this position.
    RowChanged(Position),
    /// The answer to [`Effect::RowToSolo`] and [`Effect::RowToSync`]: no row matched.
    RowNotMatched,
    /// The effect under way failed; whether it took place is not known.
    Failed,
}

/// What the machine wants done. It is told the result before it wants anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read the register and the row afresh, both.
    Read,
    /// Compare-and-set the register.
    Cas(CasRequest),
    /// Set the row to `solo` and draw a new token, where epoch, stream and token are these and this site is primary.
    RowToSolo {
        /// The row's epoch.
        epoch: Epoch,
        /// The stream that the row was read in.
        stream: StreamId,
        /// The token that was read before the compare-and-set.
        token: u64,
    },
    /// Set the row to `sync` and draw a new token, where epoch and stream are these and this site is primary.
    RowToSync {
        /// The row's epoch.
        epoch: Epoch,
        /// The stream that the row was read in.
        stream: StreamId,
    },
}

/// Where an attempt stands. Everything in it dies with the process.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Attempt {
    None,
    Reading(Mode),
    SoloCas { stream: StreamId, token: u64 },
    SoloRow,
    SyncRow { register: Register, stream: StreamId },
    SyncWait { register: Register, row_change: Position },
    SyncCas,
}

/// The machine of one primary in one epoch. Drive it with [`Machine::step`].
#[derive(Debug)]
pub struct Machine {
    rules: Rules,
    attempt: Attempt,
    not_before_ms: u64,
    register: Option<Register>,
    row_mode: Option<Mode>,
    progress: Progress,
}

/// How the standby keeps up, measured in our own commits.
#[derive(Debug)]
struct Progress {
    incarnation: Option<Incarnation>,
    watermark: Option<Watermark>,
    /// When the watermark last moved, or the machine began.
    moved_ms: u64,
    /// Our commits that no watermark has covered yet, oldest first, with the time of each.
    uncovered: VecDeque<(Position, u64)>,
    /// When the newest of our covered commits was made.
    covered_commit_ms: Option<u64>,
}

/// More uncovered commits than this are not remembered one by one: only the oldest and the newest matter.
const UNCOVERED_MAX: usize = 4096;

impl Machine {
    /// A machine that has seen nothing yet. The standby gets `solo_after_ms` from now to show itself.
    pub fn new(rules: Rules, now_ms: u64) -> Machine {
        Machine {
            rules,
            attempt: Attempt::None,
            not_before_ms: now_ms,
            register: None,
            row_mode: None,
            progress: Progress {
                incarnation: None,
                watermark: None,
                moved_ms: now_ms,
                uncovered: VecDeque::new(),
                covered_commit_ms: None,
            },
        }
    }

    /// Takes one event; returns what is to be done next, if anything.
    pub fn step(&mut self, now_ms: u64, event: Event) -> Option<Effect> {
        match event {
            Event::Tick => {}
            Event::RegisterSeen(register) => self.learn_register(register, now_ms),
            Event::RowSeen(row) => self.learn_row(&row),
            Event::Committed(position) => self.progress.committed(position, now_ms),
            Event::Watermark(mark) => {
                if mark.epoch == self.rules.epoch {
                    self.progress.watermark(mark, now_ms);
                }
            }
            result => return self.continue_attempt(now_ms, result),
        }
        match self.attempt {
            Attempt::None => self.begin_attempt(now_ms),
            Attempt::SyncWait { .. } => self.end_wait(now_ms),
            _ => None,
        }
    }

    /// Milliseconds that the standby is behind, as far as our own commits tell.
    pub fn lag_ms(&self, now_ms: u64) -> Option<u64> {
        self.progress.covered_commit_ms.map(|_| self.progress.behind_ms(now_ms))
    }

    /// Why the machine is not where it would like to be, in words; `None` when nothing is wanted.
    pub fn wants(&self, now_ms: u64) -> Option<Mode> {
        let register = self.register.as_ref()?;
        self.is_ours(register).then(|| self.wanted(now_ms)).flatten()
    }

    fn learn_register(&mut self, register: Register, now_ms: u64) {
        if self.register.as_ref().is_some_and(|known| known.version > register.version) {
            return; // An older answer that overtook a newer one.
        }
        self.progress.expect_incarnation(register.standby_incarnation, now_ms);
        self.register = Some(register);
    }

    fn learn_row(&mut self, row: &Row) {
        let ours = row.epoch == self.rules.epoch && row.primary == self.rules.site;
        self.row_mode = ours.then_some(row.mode);
    }

    fn is_ours(&self, register: &Register) -> bool {
        register.epoch == self.rules.epoch && register.primary == self.rules.site
    }

    fn wanted(&self, now_ms: u64) -> Option<Mode> {
        if self.rules.when_standby_lost == WhenStandbyLost::Stall {
            // Answers wait from the first one on; the register follows as soon as the standby is there.
            return Some(Mode::Sync);
        }
        if self.progress.is_lost(now_ms, &self.rules) {
            Some(Mode::Solo)
        } else if self.progress.has_caught_up(now_ms, self.rules.solo_after_ms / 2) {
            Some(Mode::Sync)
        } else {
            None
        }
    }

    fn begin_attempt(&mut self, now_ms: u64) -> Option<Effect> {
        let (register, row_mode) = (self.register.as_ref()?, self.row_mode?);
        if now_ms < self.not_before_ms || !self.is_ours(register) {
            return None;
        }
        let want = self.wanted(now_ms)?;
        if register.mode == want && row_mode == want {
            return None;
        }
        self.attempt = Attempt::Reading(want);
        Some(Effect::Read)
    }

    fn continue_attempt(&mut self, now_ms: u64, result: Event) -> Option<Effect> {
        let attempt = std::mem::replace(&mut self.attempt, Attempt::None);
        match (attempt, result) {
            (Attempt::Reading(want), Event::Read { register, row, here }) => {
                self.learn_register(register.clone(), now_ms);
                self.learn_row(&row);
                if !self.is_ours(&register) || self.row_mode.is_none() || row.stream != here {
                    return self.give_up(now_ms);
                }
                let epoch = self.rules.epoch;
                if register.mode == want && row.mode == want {
                    return None;
                }
                match want {
                    Mode::Solo if sabotage::is(Sabotage::RowBeforeRegister) && row.mode == Mode::Sync => {
                        self.attempt = Attempt::SoloRow;
                        Some(Effect::RowToSolo { epoch, stream: here, token: row.token })
                    }
                    Mode::Solo => {
                        self.attempt = Attempt::SoloCas { stream: here, token: row.token };
                        Some(cas(&register, Mode::Solo, "the standby does not keep up"))
                    }
                    Mode::Sync => {
                        self.attempt = Attempt::SyncRow { register, stream: here.clone() };
                        Some(Effect::RowToSync { epoch, stream: here })
                    }
                }
            }
            (Attempt::SoloCas { stream, token }, Event::CasAnswered(CasReply::Swapped(register))) => {
                self.learn_register(register, now_ms);
                self.attempt = Attempt::SoloRow;
                Some(Effect::RowToSolo { epoch: self.rules.epoch, stream, token })
            }
            (Attempt::SoloRow, Event::RowChanged(_)) => {
                self.row_mode = Some(Mode::Solo);
                None
            }
            (Attempt::SyncRow { register, stream }, Event::RowChanged(row_change))
                if row_change.stream == stream =>
            {
                self.row_mode = Some(Mode::Sync);
                self.progress.committed(row_change.clone(), now_ms);
                self.attempt = Attempt::SyncWait { register, row_change };
                self.end_wait(now_ms)
            }
            (Attempt::SyncCas, Event::CasAnswered(CasReply::Swapped(register))) => {
                self.learn_register(register, now_ms);
                None
            }
            (_, Event::CasAnswered(CasReply::Stale(register))) => {
                self.learn_register(register, now_ms);
                self.give_up(now_ms)
            }
            (_, Event::RowNotMatched) => {
                // Somebody changed the row since we read it: what we believe of it is worth nothing.
                self.row_mode = None;
                self.give_up(now_ms)
            }
            // Failed, or an answer to a question of an attempt that is gone.
            _ => self.give_up(now_ms),
        }
    }

    /// The wait before the register says `sync`: ends well when a watermark has passed the row change, badly when
    /// the register has moved on or the standby is lost.
    fn end_wait(&mut self, now_ms: u64) -> Option<Effect> {
        let Attempt::SyncWait { register, row_change } = &self.attempt else { return None };
        if self.register.as_ref().is_some_and(|seen| seen.version != register.version) {
            return self.give_up(now_ms);
        }
        let passed = self.progress.watermark.as_ref().is_some_and(|mark| {
            is_same_life(mark.incarnation, register.standby_incarnation)
                && mark.covers(self.rules.epoch, row_change)
        }) || sabotage::is(Sabotage::SyncWithoutWaiting);
        if passed {
            let effect = cas(register, Mode::Sync, "the standby holds everything");
            self.attempt = Attempt::SyncCas;
            return Some(effect);
        }
        if self.wanted(now_ms) == Some(Mode::Solo) {
            // Never back by the row alone: a whole new attempt at `solo`, with its own compare-and-set.
            return self.give_up(now_ms);
        }
        None
    }

    fn give_up(&mut self, now_ms: u64) -> Option<Effect> {
        self.attempt = Attempt::None;
        self.not_before_ms = now_ms + self.rules.retry_ms;
        None
    }
}

fn is_same_life(one: Incarnation, other: Incarnation) -> bool {
    one == other || sabotage::is(Sabotage::IgnoreIncarnation)
}

fn cas(read: &Register, mode: Mode, why: &str) -> Effect {
    let record = Register { version: read.version + 1, mode, why: why.to_owned(), ..read.clone() };
    Effect::Cas(CasRequest { expected_version: read.version, record })
}

impl Progress {
    fn expect_incarnation(&mut self, incarnation: Incarnation, now_ms: u64) {
        if self.incarnation.is_some_and(|known| is_same_life(known, incarnation)) {
            return;
        }
        let first = self.incarnation.is_none();
        self.incarnation = Some(incarnation);
        if first {
            // A watermark that came before the register was first seen may well be of this life.
            if let Some(mark) = self.watermark.take() {
                self.watermark(mark, now_ms);
            }
        } else {
            // What another life of the standby held proves nothing about this one.
            self.watermark = None;
            self.covered_commit_ms = None;
        }
    }

    fn committed(&mut self, position: Position, now_ms: u64) {
        if self.watermark.as_ref().is_some_and(|mark| mark.position.has_reached(&position)) {
            self.covered_commit_ms = Some(now_ms);
            return;
        }
        if self.uncovered.front().is_some_and(|(oldest, _)| oldest.stream != position.stream) {
            self.uncovered.clear();
        }
        if self.uncovered.len() == UNCOVERED_MAX {
            self.uncovered.pop_back();
        }
        self.uncovered.push_back((position, now_ms));
    }

    fn watermark(&mut self, mark: Watermark, now_ms: u64) {
        match self.incarnation {
            Some(expected) if !is_same_life(mark.incarnation, expected) => return,
            _ => {}
        }
        if self.watermark.as_ref().is_some_and(|known| known.position.has_reached(&mark.position)) {
            return; // Late or doubled: nothing new.
        }
        self.moved_ms = now_ms;
        while let Some((position, at_ms)) = self.uncovered.front()
            && mark.position.has_reached(position)
        {
            self.covered_commit_ms = Some(*at_ms);
            self.uncovered.pop_front();
        }
        self.watermark = Some(mark);
    }

    /// Milliseconds since the oldest of our commits that the standby does not hold.
    fn behind_ms(&self, now_ms: u64) -> u64 {
        self.uncovered.front().map_or(0, |(_, at_ms)| now_ms.saturating_sub(*at_ms))
    }

    /// A standby without anything to do is not lost, however long it is silent: our own database may be the one
    /// that does not commit.
    fn is_lost(&self, now_ms: u64, rules: &Rules) -> bool {
        let Some((_, oldest_ms)) = self.uncovered.front() else { return false };
        let silent_since_ms = self.moved_ms.max(*oldest_ms);
        now_ms.saturating_sub(silent_since_ms) >= rules.solo_after_ms
            || self.behind_ms(now_ms) >= rules.hold_max_ms
    }

    fn has_caught_up(&self, now_ms: u64, within_ms: u64) -> bool {
        self.incarnation.is_some()
            && self.watermark.as_ref().map(|mark| mark.incarnation) == self.incarnation
            && self.covered_commit_ms.is_some_and(|at_ms| now_ms.saturating_sub(at_ms) <= within_ms)
            && self.behind_ms(now_ms) <= within_ms
    }
}

#[cfg(test)]
mod tests;
