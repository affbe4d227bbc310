//! A site's database, in memory. Not shipped code; it stands for the server.
//!
//! It has what the protocol has of a server: one row in `ghostlight.site`, slots, failover records, a binary log,
//! sessions, an account that can be locked, and one table of seats whose key is the seat. Every question is one
//! transaction that happens at one moment. What the transactions rest on is judged by the shipped functions:
//! [`RowIs`] (changes of mode), [`may_apply`] and [`SlotIs`] (applying), [`promote::judge`] (promotion). The
//! conditions of fence, filling and undo stand in `replicate` as SQL and are written here once more, each beside the
//! name of the function that it repeats.
//!
//! What was committed survives a crash (`sync_binlog=1`); sessions and what they have not committed do not.

use std::collections::BTreeMap;

use model::{
    Epoch, Incarnation, Mode, Position, StreamId,
    agent::{FailoverRecord, Fence, FenceReply, FenceRequest, PromoteReply, Row, Slot},
};
use replicate::{
    checkpoint::{Batch, Pending, SlotIs, may_apply},
    duty::Look,
    fence,
    promote::{self, Judgement},
    row::{AppliedSlot, RowIs, SiteRow, Snapshot},
    transaction::{At, Change, Rows, Value},
};

use crate::{
    context::{Caller, Context, Input},
    ids::Ids,
    message::{Answer, Ask, Copied, Entry, Message, Seat, Sql, SqlAnswer, Who, number, site},
};

/// A transaction of the applying session that is not committed.
#[derive(Debug)]
struct Open {
    session: u64,
    slot: usize,
    to: At,
    seats: Vec<Seat>,
}

/// One entry of the log.
#[derive(Clone, Debug)]
struct Logged {
    change: Option<Seat>,
    beat_ms: Option<u64>,
}

/// The server.
#[derive(Debug)]
pub struct Database {
    me: usize,
    /// `ghostlight.site`.
    pub row: SiteRow,
    /// `ghostlight.applied`.
    pub slots: Vec<AppliedSlot>,
    /// `ghostlight.failover`.
    pub failovers: Vec<FailoverRecord>,
    /// Whether the application's account is unlocked.
    pub unlocked: bool,
    seats: BTreeMap<u64, u64>,
    /// The requests that have a seat here.
    pub has: Ids,
    log: Vec<Logged>,
    /// What the content hashed to behind each place of the log.
    hashes: Vec<u64>,
    hash: u64,
    open: Option<Open>,
    sessions: BTreeMap<u64, (Who, u32)>,
    next_session: u64,
    token: u64,
    readers: Vec<(Who, u64, usize)>,
    /// What the agent has on its disk.
    quarantine: BTreeMap<Epoch, Vec<Seat>>,
}

/// What the log of this site is called: no server here ever takes another one's place.
pub(crate) fn stream_of(me: usize) -> StreamId {
    StreamId(format!("{}-log", site(me)))
}

fn hash_of(seat: Seat) -> u64 {
    let mut rng = crate::rng::Rng::new(seat.seat.wrapping_mul(1_000_003) ^ seat.id);
    rng.next_u64()
}

impl Database {
    /// `nhn` is the first primary, `aws` its standby, attached and empty like it.
    pub fn new(me: usize) -> Database {
        let row = SiteRow {
            row: Row {
                epoch: Epoch::FIRST,
                primary: site(0),
                mode: Mode::Solo,
                token: 1,
                stream: stream_of(me),
            },
            stream: stream_of(me),
            incarnation: Incarnation(1),
            seeding: false,
        };
        let slot = AppliedSlot {
            slot: Slot {
                position: Position { stream: stream_of(0), file: 1, offset: 0 },
                epoch: Epoch::FIRST,
                origin: site(0),
            },
            pending: None,
        };
        Database {
            me,
            row,
            slots: if me == 0 { Vec::new() } else { vec![slot] },
            failovers: Vec::new(),
            unlocked: me == 0,
            seats: BTreeMap::new(),
            has: Ids::default(),
            log: Vec::new(),
            hashes: vec![0],
            hash: 0,
            open: None,
            sessions: BTreeMap::new(),
            next_session: 0,
            token: 1,
            readers: Vec::new(),
            quarantine: BTreeMap::new(),
        }
    }

    /// Whether this site is primary by its own row.
    pub fn is_primary(&self) -> bool {
        number(&self.row.row.primary) == self.me
    }

    /// What the content hashed to at a place of this log.
    pub fn hash_at(&self, offset: u64) -> Option<u64> {
        self.hashes.get(usize::try_from(offset).ok()?).copied()
    }

    /// What it hashes to now.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The slot that is attached to the row's epoch, while these data are a standby's.
    pub fn attached(&self) -> Option<&AppliedSlot> {
        let row = &self.row;
        let ours = |s: &&AppliedSlot| s.slot.epoch == row.row.epoch && s.slot.origin == row.row.primary;
        self.slots.iter().find(ours).filter(|s| s.is_attached() && !row.seeding && !self.is_primary())
    }

    /// The server has died and comes back.
    pub fn crash(&mut self) {
        self.open = None;
        self.sessions.clear();
        self.readers.clear();
    }

    /// The server notices that a client is gone.
    pub fn client_gone(&mut self, who: Who, life: u32) {
        let gone = (who, life);
        let open = self.open.as_ref().map(|o| o.session);
        if open.is_some_and(|session| self.sessions.get(&session) == Some(&gone)) {
            self.open = None;
        }
        self.sessions.retain(|_, of| *of != gone);
        self.readers.retain(|(reader, ..)| *reader != who);
    }

    /// Takes a question. False: the row is locked by somebody, it must wait.
    pub fn take(&mut self, ctx: &mut Context<'_>, input: &Input) -> bool {
        let Input::Message(Message::Ask { from, life, call, ask: Ask::Sql(sql) }) = input else {
            return true;
        };
        let caller = Caller { who: *from, life: *life, call: *call };
        let Some(answer) = self.execute(ctx, caller, sql) else { return false };
        ctx.answer(caller, Answer::Sql(answer));
        self.feed_readers(ctx);
        true
    }

    fn execute(&mut self, ctx: &mut Context<'_>, caller: Caller, sql: &Sql) -> Option<SqlAnswer> {
        let locked = self.open.is_some();
        Some(match sql {
            Sql::Sell(seat) => self.sell(ctx, *seat),
            Sql::Look => SqlAnswer::Look(Box::new(self.look())),
            Sql::Snapshot => SqlAnswer::Snapshot(self.snapshot()),
            Sql::SetMode { .. } if locked => return None,
            Sql::SetMode { mode, epoch, stream, token } => self.set_mode(ctx, *mode, *epoch, stream, *token),
            Sql::Beat { wall_ms } => {
                self.append(None, Some(*wall_ms));
                SqlAnswer::Snapshot(self.snapshot())
            }
            Sql::Attach { .. } if locked => return None,
            Sql::Attach { epoch } => self.attach(caller, *epoch),
            Sql::Apply { session, .. } if self.open.as_ref().is_some_and(|o| o.session != *session) => {
                return None;
            }
            Sql::Apply { session, epoch, from, to, batch } => self.apply(*session, *epoch, from, *to, batch),
            Sql::Commit { session } => self.commit(ctx, *session),
            Sql::EndSessions { epoch, register } => {
                let judged = promote::judge(*epoch, &site(self.me), register, &self.row, &self.slots);
                if matches!(judged, Judgement::Promote(_) | Judgement::Refuse(_)) {
                    self.sessions.clear();
                    self.open = None;
                }
                SqlAnswer::Done
            }
            Sql::Promote { .. } if locked => return None,
            Sql::Promote { epoch, register } => self.promote(ctx, *epoch, register),
            Sql::Fence(_) if locked => return None,
            Sql::Fence(request) => SqlAnswer::Fence(self.fence(ctx, request)),
            Sql::Open => self.lock_account(false),
            Sql::Close => self.lock_account(true),
            Sql::BeginLife { .. } | Sql::FillAnew { .. } | Sql::Fill { .. } if locked => return None,
            Sql::BeginLife { epoch, primary, incarnation } => {
                // replicate::row::begin_life
                let matched = self.row.row.epoch == *epoch
                    && self.row.row.primary == *primary
                    && self.row.incarnation < *incarnation;
                if matched {
                    self.row.incarnation = *incarnation;
                    self.changed();
                }
                if matched { SqlAnswer::Done } else { SqlAnswer::NotMatched }
            }
            Sql::FillAnew { epoch, primary, incarnation } => {
                // replicate::row::fill_anew
                if self.is_primary() || self.row.row.epoch > *epoch || self.row.incarnation >= *incarnation {
                    return Some(SqlAnswer::NotMatched);
                }
                self.slots.clear();
                self.row.row.epoch = *epoch;
                self.row.row.primary = primary.clone();
                self.row.row.mode = Mode::Solo;
                self.row.incarnation = *incarnation;
                self.row.seeding = true;
                self.changed();
                ctx.say(|| format!("is filled anew, in life {incarnation}"));
                SqlAnswer::Done
            }
            Sql::Fill { epoch, incarnation, copy } => self.fill(ctx, *epoch, *incarnation, copy),
            Sql::Tail { from, epoch } => {
                let from = usize::try_from(from.offset).unwrap_or(usize::MAX);
                let tail =
                    || self.log.get(from..).unwrap_or_default().iter().filter_map(|l| l.change).collect();
                if !self.quarantine.contains_key(epoch) {
                    let kept: Vec<Seat> = tail();
                    ctx.truth.quarantined(*epoch, &self.has, &kept);
                    self.quarantine.insert(*epoch, kept);
                }
                let kept = self.quarantine.get(epoch).cloned().unwrap_or_default();
                SqlAnswer::Tail(kept, self.slots.clone())
            }
            Sql::UndoBegin { .. } | Sql::Undo { .. } | Sql::UndoEnd { .. } if locked => return None,
            Sql::UndoBegin { epoch, follow, left, old } => self.undo_begin(*epoch, follow, *left, *old),
            Sql::Undo { epoch, left, line } => self.undo(*epoch, *left, *line),
            Sql::UndoEnd { epoch } => self.undo_end(ctx, *epoch),
            Sql::Failovers => SqlAnswer::Failovers(self.failovers.clone()),
            Sql::Dump { from, connection } => {
                self.readers.retain(|(who, ..)| *who != caller.who);
                self.readers.push((caller.who, *connection, usize::try_from(*from).unwrap_or(usize::MAX)));
                SqlAnswer::Done
            }
            Sql::Copy => {
                let rows = self.seats.iter().map(|(seat, id)| Seat { seat: *seat, id: *id }).collect();
                SqlAnswer::Copy(Box::new(Copied { at: self.end(), rows }))
            }
        })
    }

    fn end(&self) -> Position {
        Position { stream: self.row.stream.clone(), file: 1, offset: self.log.len() as u64 }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            row: self.row.row.clone(),
            end_of_log: self.end(),
            incarnation: self.row.incarnation,
            seeding: self.row.seeding,
        }
    }

    fn look(&self) -> Look {
        Look {
            site: Some(self.snapshot()),
            slots: self.slots.clone(),
            fence: if self.unlocked { Fence::Open } else { Fence::Closed },
            application_schemas: Vec::new(),
            begun_anew: None,
            promoted: self.failovers.last().map(|r| r.epoch),
        }
    }

    fn append(&mut self, change: Option<Seat>, beat_ms: Option<u64>) {
        self.log.push(Logged { change, beat_ms });
        self.hashes.push(self.hash);
    }

    /// The row was changed: an event of the log, and a new token.
    fn changed(&mut self) {
        self.token += 1;
        self.row.row.token = self.token;
        self.append(None, None);
    }

    fn put(&mut self, seat: Seat) {
        self.seats.insert(seat.seat, seat.id);
        self.has.insert(seat.id);
        self.hash = self.hash.wrapping_add(hash_of(seat));
    }

    fn take_back(&mut self, seat: Seat) {
        self.seats.remove(&seat.seat);
        self.has.remove(seat.id);
        self.hash = self.hash.wrapping_sub(hash_of(seat));
    }

    fn sell(&mut self, ctx: &mut Context<'_>, seat: Seat) -> SqlAnswer {
        if !self.unlocked {
            return SqlAnswer::Locked;
        }
        match self.seats.get(&seat.seat) {
            Some(id) if *id == seat.id => SqlAnswer::Done,
            Some(_) => SqlAnswer::Taken,
            None => {
                self.put(seat);
                self.append(Some(seat), None);
                ctx.say(|| {
                    format!("commits request {} for seat {} at {}", seat.id, seat.seat, self.log.len())
                });
                SqlAnswer::Done
            }
        }
    }

    fn set_mode(
        &mut self,
        ctx: &mut Context<'_>,
        mode: Mode,
        epoch: Epoch,
        stream: &StreamId,
        token: Option<u64>,
    ) -> SqlAnswer {
        let me = site(self.me);
        let condition = match token {
            Some(token) => RowIs::for_solo(epoch, &me, stream, token),
            None => RowIs::for_sync(epoch, &me, stream),
        };
        if !condition.holds(&self.row.row, &self.row.stream) {
            return SqlAnswer::NotMatched;
        }
        self.row.row.mode = mode;
        self.changed();
        ctx.say(|| format!("row says {mode} at {}", self.log.len()));
        SqlAnswer::Changed(self.snapshot())
    }

    fn attach(&mut self, caller: Caller, epoch: Epoch) -> SqlAnswer {
        if !may_apply(Some(self.row.row.epoch.0), epoch) {
            return SqlAnswer::EpochMoved;
        }
        let found: Vec<&AppliedSlot> = self.slots.iter().filter(|s| s.slot.epoch == epoch).collect();
        let [found] = found.as_slice() else { return SqlAnswer::NoSlot };
        if !found.is_attached() {
            return SqlAnswer::NoSlot;
        }
        self.next_session += 1;
        self.sessions.insert(self.next_session, (caller.who, caller.life));
        SqlAnswer::Attached(self.next_session, found.slot.clone())
    }

    fn apply(&mut self, session: u64, epoch: Epoch, from: &Position, to: At, batch: &Batch) -> SqlAnswer {
        if !self.sessions.contains_key(&session) || self.open.is_some() {
            return SqlAnswer::NotMatched;
        }
        if !may_apply(Some(self.row.row.epoch.0), epoch) {
            return SqlAnswer::EpochMoved;
        }
        let slot = SlotIs { stream: &from.stream, epoch, at: At::from(from), idle: true };
        let Some(slot) = self.slots.iter().position(|found| slot.holds(found)) else {
            return SqlAnswer::EpochMoved;
        };
        let mut seats = Vec::new();
        for change in &batch.changes {
            let Change::Rows { rows: Rows::Insert(rows), .. } = change else { continue };
            for row in rows {
                let [Value::Unsigned(seat), Value::Unsigned(id)] = row.as_slice() else { continue };
                if let Some(other) = self.seats.get(seat) {
                    return SqlAnswer::Conflict(format!("seat {seat} belongs to request {other}, not {id}"));
                }
                seats.push(Seat { seat: *seat, id: *id });
            }
        }
        self.open = Some(Open { session, slot, to, seats });
        SqlAnswer::Done
    }

    fn commit(&mut self, ctx: &mut Context<'_>, session: u64) -> SqlAnswer {
        match self.open.take() {
            Some(open) if open.session == session => {
                for seat in &open.seats {
                    self.put(*seat);
                }
                if let Some(slot) = self.slots.get_mut(open.slot) {
                    slot.slot.position.offset = open.to.offset;
                }
                self.append(None, None);
                if !open.seats.is_empty() {
                    ctx.say(|| {
                        let ids: Vec<String> = open.seats.iter().map(|s| s.id.to_string()).collect();
                        format!("has applied requests {} up to {}", ids.join(", "), open.to.offset)
                    });
                }
                SqlAnswer::Done
            }
            other => {
                self.open = other;
                SqlAnswer::NotMatched
            }
        }
    }

    /// As `replicate::promote::promote`: the applying sessions have been ended; one transaction judges and writes.
    fn promote(&mut self, ctx: &mut Context<'_>, epoch: Epoch, register: &model::Register) -> SqlAnswer {
        let me = site(self.me);
        let judge = |db: &Database| promote::judge(epoch, &me, register, &db.row, &db.slots);
        let reply = match judge(self) {
            Judgement::Already => {
                self.lock_account(false);
                PromoteReply::AlreadyPromoted
            }
            Judgement::NotNow(why) => PromoteReply::NotNow { why },
            Judgement::Refuse(why) => {
                self.raise(epoch, &self.row.row.primary.clone());
                ctx.say(|| format!("refuses for ever to be primary of epoch {epoch}: {why}"));
                PromoteReply::Refused { why }
            }
            Judgement::Promote(held) => {
                let record = FailoverRecord { epoch, slot: held.slot, promoted_after: self.end() };
                self.failovers.push(record.clone());
                self.row.row.epoch = epoch;
                self.row.row.primary = me;
                self.row.row.mode = Mode::Solo;
                self.row.seeding = false;
                self.changed();
                self.unlocked = true;
                ctx.truth.promoted(self.me, epoch, &self.has);
                ctx.say(|| format!("is primary of epoch {epoch}, after {}", record.slot.position));
                PromoteReply::Promoted { record }
            }
        };
        SqlAnswer::Promote(reply)
    }

    fn raise(&mut self, epoch: Epoch, primary: &model::Site) {
        // replicate::row::raise
        if self.row.row.epoch < epoch {
            self.row.row.epoch = epoch;
            self.row.row.primary = primary.clone();
            self.row.row.mode = Mode::Solo;
            self.changed();
        }
    }

    /// As `replicate::fence::fence`: the row first, then the account.
    fn fence(&mut self, ctx: &mut Context<'_>, request: &FenceRequest) -> FenceReply {
        let mut reply = fence::NOTHING_DONE;
        if number(&request.primary) != self.me && self.row.row.epoch < request.epoch {
            self.raise(request.epoch, &request.primary);
            ctx.say(|| format!("is fenced for epoch {}", request.epoch));
        }
        reply.row_raised = self.row.row.epoch >= request.epoch;
        if !self.is_primary() {
            self.lock_account(true);
            reply.account_locked = true;
        }
        reply
    }

    fn lock_account(&mut self, lock: bool) -> SqlAnswer {
        if self.unlocked == lock {
            self.unlocked = !lock;
            self.append(None, None);
        }
        SqlAnswer::Done
    }

    fn fill(
        &mut self,
        ctx: &mut Context<'_>,
        epoch: Epoch,
        incarnation: Incarnation,
        copy: &Copied,
    ) -> SqlAnswer {
        let row = &self.row;
        if !row.seeding || row.row.epoch != epoch || row.incarnation != incarnation {
            return SqlAnswer::NotMatched;
        }
        for seat in self.seats.clone() {
            self.take_back(Seat { seat: seat.0, id: seat.1 });
        }
        for seat in &copy.rows {
            self.put(*seat);
        }
        self.slots = vec![AppliedSlot {
            slot: Slot { position: copy.at.clone(), epoch, origin: self.row.row.primary.clone() },
            pending: None,
        }];
        self.row.seeding = false;
        self.changed();
        ctx.say(|| format!("is a copy of its primary at {}", copy.at));
        SqlAnswer::Done
    }

    /// As `replicate::reinstate::undo`: each transaction moves the mark before it touches a row.
    fn undo_begin(&mut self, epoch: Epoch, follow: &Position, left: u64, old: usize) -> SqlAnswer {
        let (of_before, of_now): (Vec<_>, Vec<_>) = self.slots.iter().partition(|s| s.slot.epoch != epoch);
        let begun = of_before.len() != old || !of_now.is_empty();
        if !may_apply(Some(self.row.row.epoch.0), epoch) || self.is_primary() || begun {
            return SqlAnswer::EpochMoved;
        }
        self.slots = vec![AppliedSlot {
            slot: Slot { position: follow.clone(), epoch, origin: self.row.row.primary.clone() },
            pending: Some(Pending::Undo { left }.to_string()),
        }];
        self.append(None, None);
        SqlAnswer::Done
    }

    fn marked(&mut self, epoch: Epoch, left: u64) -> Option<&mut AppliedSlot> {
        if !may_apply(Some(self.row.row.epoch.0), epoch) {
            return None;
        }
        let mark = Pending::Undo { left }.to_string();
        self.slots.iter_mut().find(|s| s.slot.epoch == epoch && s.pending.as_deref() == Some(mark.as_str()))
    }

    fn undo(&mut self, epoch: Epoch, left: u64, line: Seat) -> SqlAnswer {
        let Some(slot) = self.marked(epoch, left) else { return SqlAnswer::EpochMoved };
        slot.pending = Some(Pending::Undo { left: left - 1 }.to_string());
        if self.seats.get(&line.seat) != Some(&line.id) {
            return SqlAnswer::Conflict(format!("seat {} is not as the tail left it", line.seat));
        }
        self.take_back(line);
        self.append(None, None);
        SqlAnswer::Done
    }

    fn undo_end(&mut self, ctx: &mut Context<'_>, epoch: Epoch) -> SqlAnswer {
        let Some(slot) = self.marked(epoch, 0) else { return SqlAnswer::EpochMoved };
        slot.pending = None;
        let at = slot.slot.position.clone();
        self.append(None, None);
        ctx.truth.reinstated(self.me);
        ctx.say(|| format!("is reinstated: attached at {at}"));
        SqlAnswer::Done
    }

    /// Sends what is new in the log to whoever reads it.
    fn feed_readers(&mut self, ctx: &mut Context<'_>) {
        for (who, connection, next) in &mut self.readers {
            let Some(new) = self.log.get(*next..).filter(|new| !new.is_empty()) else { continue };
            let entry = |(n, logged): (usize, &Logged)| Entry {
                at: (*next + n + 1) as u64,
                changes: logged.change.into_iter().collect(),
                beat_ms: logged.beat_ms,
            };
            let entries = new.iter().enumerate().map(entry).collect();
            *next = self.log.len();
            ctx.send(*who, Message::Log { connection: *connection, entries });
        }
    }
}
