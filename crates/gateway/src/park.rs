//! Parking: while a switchover is under way, requests wait here instead of being forwarded, and whoever leads is told
//! when nothing is under way any more.
//!
//! Give it what happened and the time; every request asks [`Park::enter`] before it is forwarded, and says when it ends.
//!
//! Always true here:
//! * While parked, a request of a visitor is not forwarded. One that the other gateway forwarded passes as long as this
//!   site is open in the epoch that is to end: that gateway has parked its own visitors, so these run out.
//! * It is drained when parked and every request that entered has been answered, its commit gate included. Both gateways
//!   drained means that nothing is under way anywhere.
//! * Parking ends by itself: at the old primary's gateway when its agent says that another site is primary in a later
//!   epoch; at the new primary's when its agent says that it is open in one, and `sync`, or has waited for that long
//!   enough. Nobody needs to be alive for it but the agents.
//! * No request waits longer than to the end of `park_ms_max`, and no more than `parked_max` wait. Who has waited until
//!   then is told to come again: nobody knows whether the database behind is open.
//! * What was done in the name of an intent that was released is never done again.
//!
//! This module reads no clock, opens no socket and knows no request.

use model::{Mode, Serving, gateway::ParkRequest, topology::Unpark};

/// What a request is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Be forwarded; it counts as under way until [`Park::left`]. Whoever forwards it must know what the agent said up
    /// to this number.
    Pass {
        /// The number of the agent's words.
        heard: u64,
    },
    /// Wait for a change, at most until this moment, and ask again.
    Wait {
        /// In milliseconds.
        until_ms: u64,
    },
    /// Be told to come again: too many wait, or it has waited long enough.
    Refuse,
}

/// How a request that passed is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flight {
    /// No answer yet, or one that is held.
    Unanswered,
    /// Its answer is streaming out; it was not held.
    Streaming,
}

#[derive(Debug)]
struct Parked {
    order: ParkRequest,
    until_ms: u64,
    /// When this site was first heard to be open in a later epoch.
    opened_ms: Option<u64>,
}

/// One gateway's parking.
#[derive(Debug, Default)]
pub struct Park {
    parked: Option<Parked>,
    /// Intents up to this one have ended here.
    released: u64,
    unanswered: u64,
    streaming: u64,
    waiting: u64,
    serving: Option<Serving>,
    heard: u64,
}

impl Park {
    /// Nothing is parked.
    pub fn new() -> Park {
        Park::default()
    }

    /// Requests that wait.
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Requests that are under way: not answered, and answered but still streaming.
    pub fn under_way(&self) -> (u64, u64) {
        (self.unanswered, self.streaming)
    }

    /// Whether requests are parked.
    pub fn is_parked(&self) -> bool {
        self.parked.is_some()
    }

    /// Begins to park, or goes on parking for the same intent. In words why not, if it does not fit.
    ///
    /// # Errors
    /// When another epoch is served here, or this intent has ended here already.
    pub fn order(&mut self, now_ms: u64, order: ParkRequest) -> Result<(), String> {
        let epoch = self.serving.as_ref().map(|s| s.epoch);
        if epoch != Some(order.epoch) {
            return Err(match epoch {
                Some(epoch) => format!("the agent here says epoch {epoch}, not {}", order.epoch),
                None => "the agent here has not said anything yet".into(),
            });
        }
        if order.intent <= self.released {
            return Err(format!("the switchover of intent {} has ended here", order.intent));
        }
        if self.parked.as_ref().is_some_and(|p| p.order.intent == order.intent) {
            return Ok(());
        }
        let until_ms = now_ms.saturating_add(order.park_ms_max);
        self.parked = Some(Parked { order, until_ms, opened_ms: None });
        Ok(())
    }

    /// The switchover of this intent was rolled back. Whether anything was parked for it.
    pub fn release(&mut self, intent: u64) -> bool {
        self.released = self.released.max(intent);
        let ours = self.parked.as_ref().is_some_and(|p| p.order.intent <= intent);
        if ours {
            self.parked = None;
        }
        ours
    }

    /// The agent says something new; `number` grows with each. Whether that ended the parking.
    pub fn hear(&mut self, now_ms: u64, number: u64, serving: Serving) -> bool {
        self.heard = number;
        self.serving = Some(serving);
        self.look(now_ms)
    }

    /// Time passed; due at [`Park::wake_at_ms`]. Whether the parking has ended.
    pub fn tick(&mut self, now_ms: u64) -> bool {
        self.look(now_ms)
    }

    /// When [`Park::tick`] is due.
    pub fn wake_at_ms(&self) -> Option<u64> {
        let parked = self.parked.as_ref()?;
        // A site that was open and is not any more is waited for until it says something: no time ends that but the last.
        let open = self.serving.as_ref().is_some_and(|s| s.open);
        let opened = parked.opened_ms.filter(|_| open);
        let opened = opened.map(|at| at.saturating_add(parked.order.sync_wait_ms));
        Some(opened.map_or(parked.until_ms, |at| at.min(parked.until_ms)))
    }

    /// What a request is to do now. `waited_until_ms`: until when it may wait, if it waits already.
    pub fn enter(&mut self, now_ms: u64, forwarded: bool, waited_until_ms: Option<u64>) -> Entry {
        if waited_until_ms.is_some_and(|until_ms| now_ms >= until_ms) {
            return Entry::Refuse;
        }
        // Whoever comes at its last moment must not depend on who is told first that it is over.
        let Some(parked) = self.parked.as_ref().filter(|p| now_ms < p.until_ms) else { return self.pass() };
        let ours = |s: &Serving| s.primary == s.site && s.open && s.epoch == parked.order.epoch;
        if forwarded && self.serving.as_ref().is_some_and(ours) {
            return self.pass();
        }
        // A request that waits already is counted by whoever waits.
        if waited_until_ms.is_none() && self.waiting >= parked.order.parked_max {
            return Entry::Refuse;
        }
        Entry::Wait { until_ms: waited_until_ms.unwrap_or(parked.until_ms) }
    }

    /// A request begins to wait.
    pub fn waits(&mut self) {
        self.waiting += 1;
    }

    /// A request waits no longer.
    pub fn waits_no_more(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// A request's answer begins to stream.
    pub fn streams(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.streaming += 1;
    }

    /// A request that passed has ended.
    pub fn left(&mut self, flight: Flight) {
        let count = match flight {
            Flight::Unanswered => &mut self.unanswered,
            Flight::Streaming => &mut self.streaming,
        };
        *count = count.saturating_sub(1);
    }

    fn pass(&mut self) -> Entry {
        self.unanswered += 1;
        Entry::Pass { heard: self.heard }
    }

    fn look(&mut self, now_ms: u64) -> bool {
        let (Some(parked), Some(serving)) = (&mut self.parked, &self.serving) else { return false };
        let later = serving.epoch > parked.order.epoch;
        let here = serving.primary == serving.site;
        let over = if later && here {
            let since_ms = match (serving.open, parked.opened_ms) {
                (true, None) => *parked.opened_ms.insert(now_ms),
                (_, Some(at)) => at,
                (false, None) => now_ms,
            };
            let waited = now_ms >= since_ms.saturating_add(parked.order.sync_wait_ms);
            serving.open && (parked.order.unpark == Unpark::Solo || serving.mode == Mode::Sync || waited)
        } else {
            later
        };
        if over || now_ms >= parked.until_ms {
            self.released = self.released.max(parked.order.intent);
            self.parked = None;
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests;
