//! The commit gate: which answers wait, which barriers are under way, and when an answer may go out.
//!
//! Give it what happened and the time; get back what to do. An answer comes in when the application has finished
//! it and goes out as [`Effect::Release`] or [`Effect::Unknown`], exactly once, unless the visitor left first.
//!
//! Always true here:
//! * A barrier serves only answers that were complete before its request was sent. What comes later waits for a
//!   later one.
//! * An answer is released only by the success of a barrier that was asked in the epoch and the stream in which its
//!   request began, while that epoch is still the one we know. Streams have no order: whether one is still the
//!   primary's only the agent can tell, so a barrier serves answers of one stream.
//! * In `solo` a release carries the moment until which it is good, counted from *sending* the barrier request.
//!   Whoever lets the answer out looks at the clock again; past that moment the answer comes back in here.
//! * At most [`Limits::barriers_max`] requests are under way; everything that waits shares the next one.
//! * No answer waits longer than [`Limits::hold_max_ms`].
//!
//! This module reads no clock, opens no socket and knows no request: `now_ms` is milliseconds on
//! [`runtime::clock::Boot`], which runs on while the machine sleeps.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    BarrierOutcome, BarrierReply, BarrierRequest, Epoch, Position, StreamId,
    sabotage::{self, Sabotage},
};

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// An answer that has waited so long is told `unknown`, in milliseconds.
    pub hold_max_ms: u64,
    /// How long the agent may wait for the watermark before we ask anew, in milliseconds. Shorter than
    /// `hold_max_ms`, so that a stuck barrier never keeps its place for long.
    pub barrier_wait_ms: u64,
    /// Barrier requests under way at once.
    pub barriers_max: usize,
    /// Pause after a barrier that failed at once, in milliseconds: the agent or its database is away.
    pub retry_ms: u64,
}

/// An answer that waits. Grows by one with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnswerId(pub u64);

/// A barrier request. Grows by one with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BarrierId(pub u64);

/// What can happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// The application finished an answer that must be held.
    Answered {
        /// Chosen by the caller, never used before.
        id: AnswerId,
        /// The epoch that was known when its request began.
        epoch: Epoch,
        /// The primary's stream that was known then.
        stream: StreamId,
        /// When it began to wait: now, or earlier if a release came too late to be used.
        since_ms: u64,
    },
    /// The visitor left; nobody waits for this answer any more.
    Abandoned(AnswerId),
    /// The agent answered a barrier.
    Replied(BarrierId, BarrierReply),
    /// The agent did not answer a barrier, or said no: away, overloaded, restarting.
    Failed(BarrierId),
    /// The agent told its epoch by another way.
    EpochKnown(Epoch),
    /// Time passed; due at [`Gate::wake_at_ms`]. When that is at once, first let everything happen that is ready
    /// to happen: one barrier then serves all answers that were complete together.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask the agent; report back with [`Event::Replied`] or [`Event::Failed`].
    Ask(BarrierId, BarrierRequest),
    /// Let the answer out.
    Release {
        /// Which.
        id: AnswerId,
        /// In `solo`: not from this moment on (milliseconds). Check when it goes out; too late: `Answered` again.
        before_ms: Option<u64>,
    },
    /// Drop the answer and tell the visitor that the outcome is unknown.
    Unknown {
        /// Which.
        id: AnswerId,
        /// Why.
        why: Why,
        /// A position behind the visitor's write, if one is known.
        position: Option<Position>,
    },
}

/// Why an answer could not be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Another epoch began while it waited.
    EpochChanged,
    /// The database behind the agent is another one.
    IdentityChanged,
    /// `hold_max_ms` passed.
    TooLong,
}

#[derive(Debug)]
struct Waiting {
    epoch: Epoch,
    stream: StreamId,
    deadline_ms: u64,
    since_ms: u64,
    under: Option<BarrierId>,
}

#[derive(Debug)]
struct Asked {
    sent_ms: u64,
    serves: Vec<AnswerId>,
}

/// The gate of one thread. Drive it with [`Gate::step`]; call it again at [`Gate::wake_at_ms`].
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    epoch: Option<Epoch>,
    answers: BTreeMap<AnswerId, Waiting>,
    deadlines: BTreeSet<(u64, AnswerId)>,
    /// Answers that no barrier under way serves, oldest first.
    unserved: BTreeSet<AnswerId>,
    asked: BTreeMap<BarrierId, Asked>,
    next_barrier: u64,
    /// No new barrier before this moment.
    not_before_ms: u64,
    last_position: Option<Position>,
}

impl Gate {
    /// An empty gate.
    pub fn new(limits: Limits) -> Gate {
        Gate {
            limits,
            epoch: None,
            answers: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            unserved: BTreeSet::new(),
            asked: BTreeMap::new(),
            next_barrier: 0,
            not_before_ms: 0,
            last_position: None,
        }
    }

    /// Answers that wait.
    pub fn held(&self) -> usize {
        self.answers.len()
    }

    /// Barrier requests under way.
    pub fn barriers_under_way(&self) -> usize {
        self.asked.len()
    }

    /// When [`Event::Tick`] is due, in milliseconds; `None` while nothing depends on time.
    pub fn wake_at_ms(&self) -> Option<u64> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let may_ask = !self.unserved.is_empty() && self.asked.len() < self.limits.barriers_max;
        match (deadline, may_ask.then_some(self.not_before_ms)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Takes in what happened; appends what is to be done to `effects`.
    pub fn step(&mut self, now_ms: u64, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Answered { id, epoch, stream, since_ms } => {
                // Not asked for yet: others that are complete in this moment share the barrier of the Tick.
                self.answered(id, epoch, stream, since_ms, effects);
                return;
            }
            Event::Abandoned(id) => self.forget(id),
            Event::Replied(barrier, reply) => self.replied(now_ms, barrier, reply, effects),
            Event::Failed(barrier) => {
                if let Some(asked) = self.asked.remove(&barrier) {
                    self.wait_again(&asked, now_ms + self.limits.retry_ms);
                }
            }
            Event::EpochKnown(epoch) => self.epoch_known(epoch, effects),
            Event::Tick => {}
        }
        self.expire(now_ms, effects);
        self.ask(now_ms, effects);
    }

    fn answered(
        &mut self,
        id: AnswerId,
        epoch: Epoch,
        stream: StreamId,
        since_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        if self.epoch.is_some_and(|known| known != epoch) {
            let position = self.last_position.clone();
            effects.push(Effect::Unknown { id, why: Why::EpochChanged, position });
            return;
        }
        self.epoch = Some(epoch);
        let deadline_ms = since_ms.saturating_add(self.limits.hold_max_ms);
        self.answers.insert(id, Waiting { epoch, stream, deadline_ms, since_ms, under: None });
        self.deadlines.insert((deadline_ms, id));
        self.unserved.insert(id);
    }

    fn forget(&mut self, id: AnswerId) {
        if let Some(waiting) = self.answers.remove(&id) {
            self.deadlines.remove(&(waiting.deadline_ms, id));
            self.unserved.remove(&id);
        }
    }

    fn replied(&mut self, now_ms: u64, barrier: BarrierId, reply: BarrierReply, effects: &mut Vec<Effect>) {
        // A barrier that was given up has no answers left to serve, and its reply says nothing new.
        let Some(asked) = self.asked.remove(&barrier) else { return };
        if reply.position.is_some() {
            self.last_position = reply.position;
        }
        // First: if another epoch has begun, a success of the old one releases nothing.
        if let Some(epoch) = reply.epoch {
            self.epoch_known(epoch, effects);
        }
        let at_once = now_ms < asked.sent_ms + self.limits.retry_ms;
        match reply.outcome {
            BarrierOutcome::Replicated => self.release(barrier, &asked, None, effects),
            BarrierOutcome::Solo { lease_left_ms } => {
                let before_ms = asked.sent_ms.saturating_add(lease_left_ms);
                if now_ms < before_ms {
                    self.release(barrier, &asked, Some(before_ms), effects);
                } else {
                    self.wait_again(&asked, if at_once { now_ms + self.limits.retry_ms } else { now_ms });
                }
            }
            BarrierOutcome::EpochChanged if sabotage::is(Sabotage::ReleaseChangedEpoch) => {
                self.release(barrier, &asked, None, effects);
            }
            BarrierOutcome::EpochChanged => self.give_up(barrier, &asked, Why::EpochChanged, effects),
            BarrierOutcome::IdentityChanged => self.give_up(barrier, &asked, Why::IdentityChanged, effects),
            BarrierOutcome::TimedOut | BarrierOutcome::LeaseExpired | BarrierOutcome::DatabaseUnavailable => {
                self.wait_again(&asked, if at_once { now_ms + self.limits.retry_ms } else { now_ms });
            }
        }
    }

    fn release(
        &mut self,
        barrier: BarrierId,
        asked: &Asked,
        before_ms: Option<u64>,
        effects: &mut Vec<Effect>,
    ) {
        for id in self.served_by(barrier, asked) {
            self.forget(id);
            effects.push(Effect::Release { id, before_ms });
        }
    }

    fn give_up(&mut self, barrier: BarrierId, asked: &Asked, why: Why, effects: &mut Vec<Effect>) {
        for id in self.served_by(barrier, asked) {
            self.forget(id);
            effects.push(Effect::Unknown { id, why, position: self.last_position.clone() });
        }
    }

    /// The answers that still wait under this barrier: some have left, expired or changed epoch meanwhile.
    fn served_by(&self, barrier: BarrierId, asked: &Asked) -> Vec<AnswerId> {
        if sabotage::is(Sabotage::ReleaseUnserved) {
            return self.answers.keys().copied().collect();
        }
        let under = |id: &AnswerId| self.answers.get(id).is_some_and(|w| w.under == Some(barrier));
        asked.serves.iter().copied().filter(under).collect()
    }

    fn wait_again(&mut self, asked: &Asked, not_before_ms: u64) {
        for id in &asked.serves {
            if let Some(waiting) = self.answers.get_mut(id) {
                waiting.under = None;
                self.unserved.insert(*id);
            }
        }
        self.not_before_ms = self.not_before_ms.max(not_before_ms);
    }

    /// Epochs only grow: news of an older one is old news.
    fn epoch_known(&mut self, epoch: Epoch, effects: &mut Vec<Effect>) {
        if self.epoch.is_some_and(|known| known >= epoch) || sabotage::is(Sabotage::ReleaseChangedEpoch) {
            return;
        }
        self.epoch = Some(epoch);
        let of_before: Vec<AnswerId> =
            self.answers.iter().filter(|(_, w)| w.epoch != epoch).map(|(id, _)| *id).collect();
        for id in of_before {
            self.forget(id);
            let position = self.last_position.clone();
            effects.push(Effect::Unknown { id, why: Why::EpochChanged, position });
        }
    }

    fn expire(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        while let Some((at, id)) = self.deadlines.first().copied() {
            if at > now_ms {
                return;
            }
            self.forget(id);
            effects.push(Effect::Unknown { id, why: Why::TooLong, position: self.last_position.clone() });
        }
    }

    fn ask(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.unserved.is_empty()
            || self.asked.len() >= self.limits.barriers_max
            || now_ms < self.not_before_ms
        {
            return;
        }
        let oldest = self.unserved.first().and_then(|id| self.answers.get(id));
        let (Some(epoch), Some(stream)) = (self.epoch, oldest.map(|w| w.stream.clone())) else { return };
        let id = BarrierId(self.next_barrier);
        self.next_barrier += 1;
        // What began in another stream has a barrier of its own, the next one.
        let (serves, others) = std::mem::take(&mut self.unserved)
            .into_iter()
            .partition::<Vec<AnswerId>, _>(|id| self.answers.get(id).is_some_and(|w| w.stream == stream));
        self.unserved.extend(others);
        for answer in &serves {
            if let Some(waiting) = self.answers.get_mut(answer) {
                waiting.under = Some(id);
            }
        }
        // Waiting longer than the youngest answer may be held serves nobody.
        let left_ms = serves
            .last()
            .and_then(|a| self.answers.get(a))
            .map_or(0, |w| w.since_ms.saturating_add(self.limits.hold_max_ms).saturating_sub(now_ms));
        let wait_ms = self.limits.barrier_wait_ms.min(left_ms);
        self.asked.insert(id, Asked { sent_ms: now_ms, serves });
        effects.push(Effect::Ask(id, BarrierRequest { epoch, stream, wait_ms }));
    }
}

#[cfg(test)]
mod tests;
