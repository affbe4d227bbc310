//! The standby's side of the link: drives the shipped checkpoint, and takes an old primary back.
//!
//! One attempt after the other, each from what the slot says, as `replicate::apply` makes them. Filling is one whole
//! copy at one place of the stream (the shipped one goes by chunks). A return asks, keeps, undoes and attaches in the
//! order of `replicate::reinstate`, whose [`history_end`] and [`follow_from`] decide.

use model::{
    Epoch, Incarnation, Watermark,
    agent::{Slot, StandbyPhase},
};
use replicate::{
    checkpoint::{Checkpoint, Content, Effect, Event, Part, Pending, Work},
    duty::Duty,
    reinstate::{HistoryEnd, follow_from, history_end},
    transaction::{At, Change, End, Rows, Value},
};

use super::{Agent, Key, Purpose};
use crate::{
    context::Context,
    message::{Answer, Copied, Entry, Frame, Message, Seat, Sql, SqlAnswer, Want, Who, number, site},
};

/// Longer than this the link is taken to be cut.
const SILENCE_MS: u64 = 700;
/// After an attempt that failed.
const PAUSE_MS: u64 = 120;
/// After an epoch that moved.
const MOVED_MS: u64 = 250;

/// What comes before following.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Nothing,
    Copy,
    Return,
}

#[derive(Debug)]
enum Doing {
    /// Until then.
    Resting(u64),
    Attaching,
    /// Something was asked of the primary.
    Asking,
    Filling,
    /// Looking at what an earlier attempt of a return left.
    Looking,
    ReadingTail {
        follow: model::agent::FailoverRecord,
        left: Option<u64>,
    },
    Undoing {
        lines: Vec<Seat>,
        left: u64,
    },
    Attached,
    Following(Box<Following>),
}

#[derive(Debug)]
struct Following {
    checkpoint: Checkpoint,
    session: u64,
    slot: Slot,
    welcome: bool,
}

/// A standby in one epoch and life.
pub(super) struct Standby {
    key: Key,
    origin: usize,
    first: First,
    attempt: u64,
    connection: u64,
    heard_at: u64,
    left: Option<u64>,
    beat_at: Option<u64>,
    doing: Doing,
}

impl Standby {
    pub(super) fn key(&self) -> Key {
        self.key
    }

    pub(super) fn beat_at(&self) -> Option<u64> {
        self.beat_at
    }

    pub(super) fn phase(&self) -> StandbyPhase {
        match (&self.doing, self.first) {
            (_, First::Copy) => StandbyPhase::Seeding,
            (Doing::Following(_), _) => StandbyPhase::Attached,
            _ => StandbyPhase::Connecting,
        }
    }
}

fn as_event(entry: &Entry) -> Event {
    let row = |s: &Seat| vec![Value::Unsigned(s.seat), Value::Unsigned(s.id)];
    let rows: Vec<_> = entry.changes.iter().map(row).collect();
    let changes = match rows.is_empty() {
        true => Vec::new(),
        false => vec![Change::Rows { table: 0, foreign_key_checks: true, rows: Rows::Insert(rows) }],
    };
    let end = End { at: At { file: 1, offset: entry.at }, heartbeat_at_ms: entry.beat_ms };
    Event::Part(Part { changes, end: Some(end) })
}

impl Agent {
    pub(super) fn start_standby(&mut self, ctx: &mut Context<'_>, key: Key) {
        let first = match self.duty {
            Duty::Seed(_) => First::Copy,
            Duty::Reinstate(_) => First::Return,
            _ => First::Nothing,
        };
        let origin = match self.look.as_ref().and_then(|(_, look)| look.site.as_ref()) {
            Some(here) => number(&here.row.primary),
            None => return,
        };
        self.standby = Some(Standby {
            key,
            origin,
            first,
            attempt: self.attempts,
            connection: 0,
            heard_at: ctx.now,
            left: None,
            beat_at: None,
            doing: Doing::Resting(ctx.now),
        });
        self.tick_standby(ctx);
    }

    pub(super) fn tick_standby(&mut self, ctx: &mut Context<'_>) {
        let now = ctx.now;
        let Some(standby) = &mut self.standby else { return };
        match standby.doing {
            Doing::Resting(until) if now >= until => self.attempt(ctx),
            Doing::Asking | Doing::Following(_) if now > standby.heard_at + SILENCE_MS => self.rest(ctx),
            _ => {}
        }
    }

    fn attempt(&mut self, ctx: &mut Context<'_>) {
        self.attempts += 1;
        let attempt = self.attempts;
        let Some(standby) = &mut self.standby else { return };
        standby.attempt = attempt;
        standby.heard_at = ctx.now;
        let epoch = standby.key.0;
        match standby.first {
            First::Nothing => {
                standby.doing = Doing::Attaching;
                self.sql(ctx, Sql::Attach { epoch }, Purpose::Standby { attempt });
            }
            First::Copy => {
                standby.doing = Doing::Asking;
                self.ask_primary(ctx, Want::Copy);
            }
            First::Return => {
                standby.doing = Doing::Looking;
                self.sql(ctx, Sql::Look, Purpose::Standby { attempt });
            }
        }
    }

    fn ask_primary(&mut self, ctx: &mut Context<'_>, want: Want) {
        let Some(standby) = &mut self.standby else { return };
        // A number that nobody else uses.
        standby.connection = ctx.rng.next_u64();
        let (epoch, incarnation): (Epoch, Incarnation) = standby.key;
        let (to, connection) = (Who::TheAgent(standby.origin), standby.connection);
        self.link(ctx, to, connection, Frame::Hello { epoch, incarnation, want });
    }

    /// This attempt is over; the next one begins at what the slot then says.
    fn rest(&mut self, ctx: &mut Context<'_>) {
        if let Some(standby) = &mut self.standby {
            standby.doing = Doing::Resting(ctx.now + PAUSE_MS + ctx.rng.below(100));
            standby.attempt = 0;
            standby.connection = 0;
        }
    }

    fn ends_as_lost(&mut self, ctx: &mut Context<'_>, why: &str) {
        if let Some(standby) = self.standby.take() {
            ctx.say(|| format!("cannot continue as standby: {why}"));
            self.lost = Some((standby.key, why.to_owned()));
        }
        self.advance(ctx);
    }

    fn ends_as_moved(&mut self, ctx: &mut Context<'_>) {
        self.standby = None;
        self.standby_not_before = ctx.now + MOVED_MS;
    }

    fn ends_as_stopped(&mut self, ctx: &mut Context<'_>, why: String) {
        if let Some(standby) = self.standby.take() {
            ctx.say(|| format!("stops at a conflict: {why}"));
            ctx.truth.conflict(&why);
            self.stopped = Some((standby.key, why));
        }
    }

    pub(super) fn standby_answered(&mut self, ctx: &mut Context<'_>, attempt: u64, answer: Option<Answer>) {
        let Some(standby) = self.standby.as_mut().filter(|s| s.attempt == attempt) else { return };
        let Some(Answer::Sql(answer)) = answer else { return self.rest(ctx) };
        let epoch = standby.key.0;
        let purpose = Purpose::Standby { attempt };
        match (&mut standby.doing, answer) {
            (_, SqlAnswer::EpochMoved) => self.ends_as_moved(ctx),
            (_, SqlAnswer::NoSlot) => self.ends_as_lost(ctx, "there is no slot to continue"),
            (_, SqlAnswer::Conflict(why)) => self.ends_as_stopped(ctx, why),
            (Doing::Attaching, SqlAnswer::Attached(session, slot)) => {
                let position = slot.position.clone();
                let checkpoint = Checkpoint::new(At::from(&position));
                let following = Following { checkpoint, session, slot, welcome: false };
                standby.doing = Doing::Following(Box::new(following));
                standby.heard_at = ctx.now;
                self.ask_primary(ctx, Want::Log(position));
            }
            (Doing::Following(_), SqlAnswer::Done) => self.step_checkpoint(ctx, Event::Done),
            (Doing::Filling, SqlAnswer::Done) => {
                standby.first = First::Nothing;
                self.look_due = ctx.now;
                self.attempt(ctx);
            }
            (Doing::Looking, SqlAnswer::Look(look)) => {
                let ours = look.slots.iter().find(|s| s.slot.epoch == epoch);
                if ours.is_some_and(|slot| slot.is_attached()) {
                    standby.first = First::Nothing;
                    return self.attempt(ctx);
                }
                standby.left = ours.and_then(|slot| match slot.pending.as_deref()?.parse() {
                    Ok(Pending::Undo { left }) => Some(left),
                    _ => None,
                });
                standby.doing = Doing::Asking;
                self.ask_primary(ctx, Want::Failovers);
            }
            (Doing::ReadingTail { follow, left }, SqlAnswer::Tail(lines, slots)) => {
                let (follow, left) = (follow.clone(), *left);
                let all = lines.len() as u64;
                ctx.say(|| format!("keeps {all} requests in quarantine for epoch {epoch}"));
                match left {
                    Some(left) => {
                        standby.doing = Doing::Undoing { lines, left };
                        self.undo(ctx);
                    }
                    None => {
                        let old = slots.iter().filter(|s| s.slot.epoch != epoch).count();
                        let follow = follow_from(&follow, &slots);
                        standby.doing = Doing::Undoing { lines, left: all };
                        self.sql(ctx, Sql::UndoBegin { epoch, follow, left: all, old }, purpose);
                    }
                }
            }
            (Doing::Undoing { .. }, SqlAnswer::Done) => self.undo(ctx),
            (Doing::Attached, SqlAnswer::Done) => {
                standby.first = First::Nothing;
                self.look_due = ctx.now;
                self.attempt(ctx);
            }
            _ => self.rest(ctx),
        }
    }

    /// The next line, the last one first; then the slot becomes true.
    fn undo(&mut self, ctx: &mut Context<'_>) {
        let Some(standby) = &mut self.standby else { return };
        let (epoch, attempt) = (standby.key.0, standby.attempt);
        let Doing::Undoing { lines, left } = &mut standby.doing else { return };
        let line = usize::try_from(*left).ok().and_then(|n| lines.get(n.checked_sub(1)?)).copied();
        let sql = match line {
            Some(line) => {
                let before = *left;
                *left -= 1;
                Sql::Undo { epoch, left: before, line }
            }
            None => {
                standby.doing = Doing::Attached;
                Sql::UndoEnd { epoch }
            }
        };
        self.sql(ctx, sql, Purpose::Standby { attempt });
    }

    pub(super) fn take_frame(&mut self, ctx: &mut Context<'_>, connection: u64, frame: Frame) {
        let me = self.site;
        let Some(standby) = self.standby.as_mut().filter(|s| s.connection == connection) else { return };
        standby.heard_at = ctx.now;
        let (epoch, incarnation) = standby.key;
        let attempt = standby.attempt;
        match (&mut standby.doing, frame) {
            (_, Frame::Refused(_)) => self.rest(ctx),
            (Doing::Following(following), Frame::Alive) => {
                let welcome = std::mem::replace(&mut following.welcome, true);
                let at = At::from(&following.slot.position);
                if !welcome {
                    // What was applied before this connection is durable as well.
                    self.tell(ctx, End { at, heartbeat_at_ms: None });
                }
            }
            (Doing::Following(_), Frame::Log(entries)) => {
                for entry in &entries {
                    self.step_checkpoint(ctx, as_event(entry));
                }
            }
            (Doing::Asking, Frame::Copy(copy)) => {
                standby.doing = Doing::Filling;
                let sql = Sql::Fill { epoch, incarnation, copy: Box::new(Copied::clone(&copy)) };
                self.sql(ctx, sql, Purpose::Standby { attempt });
            }
            (Doing::Asking, Frame::Failovers(records)) => {
                let stream = self
                    .look
                    .as_ref()
                    .and_then(|(_, look)| look.site.as_ref())
                    .map(|here| here.end_of_log.stream.clone());
                let Some(stream) = stream else { return self.rest(ctx) };
                match history_end(&site(me), &stream, epoch, &records) {
                    HistoryEnd::Here(record) => {
                        let from = At::from(&record.slot.position);
                        standby.doing = Doing::ReadingTail { follow: record, left: standby.left };
                        self.sql(ctx, Sql::Tail { from, epoch }, Purpose::Standby { attempt });
                    }
                    HistoryEnd::Earlier(_) | HistoryEnd::Unknown => {
                        self.ends_as_lost(ctx, "its tail cannot be undone row by row");
                    }
                }
            }
            _ => {}
        }
    }

    fn step_checkpoint(&mut self, ctx: &mut Context<'_>, event: Event) {
        let Some(standby) = &mut self.standby else { return };
        let (epoch, attempt) = (standby.key.0, standby.attempt);
        let Doing::Following(following) = &mut standby.doing else { return };
        let mut effects = Vec::new();
        if following.checkpoint.step(event, &mut effects).is_err() {
            return self.rest(ctx);
        }
        let session = following.session;
        let stream = following.slot.position.stream.clone();
        for effect in effects {
            match effect {
                Effect::Work(Work::Apply { from, content: Content::Batch(batch), to, .. }) => {
                    let from = from.in_stream(&stream);
                    let sql = Sql::Apply { session, epoch, from, to, batch };
                    self.sql(ctx, sql, Purpose::Standby { attempt });
                }
                Effect::Work(Work::Commit) => {
                    self.sql(ctx, Sql::Commit { session }, Purpose::Standby { attempt });
                }
                Effect::Applied(end) => self.tell(ctx, end),
                // Definitions and transactions that do not fit into memory are not simulated.
                Effect::Work(_) | Effect::Prepare(_) | Effect::Spool(..) | Effect::Forget(_) => {}
            }
        }
    }

    /// The watermark follows the COMMIT's OK.
    fn tell(&mut self, ctx: &mut Context<'_>, end: End) {
        let Some(standby) = &mut self.standby else { return };
        let Doing::Following(following) = &mut standby.doing else { return };
        let position = end.at.in_stream(&following.slot.position.stream);
        following.slot.position = position.clone();
        if end.heartbeat_at_ms.is_some() {
            standby.beat_at = Some(ctx.now);
        }
        let (epoch, incarnation) = standby.key;
        let (to, connection) = (Who::TheAgent(standby.origin), standby.connection);
        let from = ctx.me;
        let frame = Frame::Watermark(Watermark { epoch, incarnation, position });
        ctx.send(to, Message::Link { from, connection, frame });
    }
}
