//! A thread's share of the snapshot: the same targets, and what this thread counts of each.
//!
//! Counts outlive a new snapshot: they belong to a group's name and an address.

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc};

use hyper::StatusCode;
use tokio::sync::mpsc;

use super::{Group, Snapshot, Target, health};
use crate::metrics::{Counted, GatewayMetrics};

/// All groups, as one thread sees them.
pub(crate) struct Shares {
    pub(crate) snapshot: Arc<Snapshot>,
    groups: Vec<Share>,
    /// Requests by rule; the last one counts what no rule took.
    rules: Vec<Counted>,
}

/// A group, as one thread sees it.
pub(crate) struct Share {
    name: Arc<str>,
    /// One for each fit target, in the snapshot's order.
    pub(crate) slots: Vec<Rc<Slot>>,
    /// Where the next round begins.
    pub(crate) turn: Cell<usize>,
    /// Requests that one thread may have under way at one target; 0: any number.
    pub(crate) requests_max: u32,
    /// How many reads may be sent once more. The same for every snapshot: requests under way still look at an old one.
    pub(crate) retries: Rc<Retries>,
}

/// A budget of repetitions: a share of the requests, with some in hand for the moment at which a target is lost.
pub(crate) struct Retries {
    /// In hundredths of a repetition.
    credit: Cell<u32>,
    /// A read of this group was answered with `Ghostlight-Hold: required`.
    pub(crate) holds_reads: Cell<bool>,
}

impl Retries {
    const ONE: u32 = 100;
    /// What a thread begins with, and the most that it saves.
    const FIRST: u32 = 10 * Retries::ONE;
    const MOST: u32 = 100 * Retries::ONE;

    fn new() -> Retries {
        Retries { credit: Cell::new(Retries::FIRST), holds_reads: Cell::new(false) }
    }

    /// A request has come of which a repetition would be one of so many percent.
    pub(crate) fn asked(&self, percent: u32) {
        self.credit.set(self.credit.get().saturating_add(percent).min(Retries::MOST));
    }

    /// Takes one repetition, if there is one.
    pub(crate) fn take(&self) -> bool {
        let left = self.credit.get().checked_sub(Retries::ONE);
        self.credit.set(left.unwrap_or(self.credit.get()));
        left.is_some()
    }
}

/// What a thread counts of one target.
pub(crate) struct Slot {
    key: health::Key,
    pub(crate) under_way: Cell<u32>,
    /// Grows by its weight with every choice, shrinks by all weights when it is taken.
    pub(crate) credit: Cell<i64>,
    failures: Cell<u32>,
    /// So many failures in a row are told; 0: never.
    failures_max: u32,
    /// Whether the application's own words that it cannot are failures too.
    on_5xx: bool,
    report: mpsc::Sender<health::Event>,
    counted: Counted,
}

/// A request under way at a target, counted until this is dropped.
pub(crate) struct InFlight(Rc<Slot>);

impl Shares {
    /// `before`: whose counts go on. `threads`: how many share the limit of a target.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        before: Option<&Shares>,
        threads: usize,
        report: &mpsc::Sender<health::Event>,
        metrics: &GatewayMetrics,
    ) -> Shares {
        let threads = u32::try_from(threads).unwrap_or(1).max(1);
        let share = |group: &Group| {
            let name: Arc<str> = group.config.name.as_str().into();
            let old = before.and_then(|b| b.groups.iter().find(|s| s.name == name));
            let slot = |target: &Target| {
                Rc::new(Slot {
                    key: health::Key { group: name.clone(), address: target.address },
                    under_way: Cell::new(0),
                    credit: Cell::new(0),
                    failures: Cell::new(0),
                    failures_max: group.config.circuit_breaker.failures,
                    on_5xx: group.config.circuit_breaker.on_5xx,
                    report: report.clone(),
                    counted: metrics.target(&group.config.name, &target.identity.name),
                })
            };
            // Requests under way hold their slot: one that still has some goes on counting.
            let slot = |target: &Target| {
                let busy = old.and_then(|s| s.slots.iter().find(|s| s.is(target, group))).cloned();
                busy.unwrap_or_else(|| slot(target))
            };
            Share {
                slots: group.fit.iter().map(slot).collect(),
                turn: Cell::new(old.map_or(0, |s| s.turn.get())),
                requests_max: group.config.requests_max.div_ceil(threads),
                retries: old.map_or_else(|| Rc::new(Retries::new()), |s| s.retries.clone()),
                name,
            }
        };
        let rules = snapshot.table.priorities().map(|p| p.to_string()).chain(["default".to_owned()]);
        Shares {
            groups: snapshot.groups.iter().map(share).collect(),
            rules: rules.map(|rule| metrics.rule(&rule)).collect(),
            snapshot,
        }
    }

    /// A group by its place in this snapshot.
    pub(crate) fn at(&self, place: usize) -> Option<(&Group, &Share)> {
        Some((self.snapshot.groups.get(place)?, self.groups.get(place)?))
    }

    /// A group's place in this snapshot.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|s| *s.name == *name)
    }

    /// A rule took a request; `None`: none did.
    pub(crate) fn count_rule(&self, place: Option<usize>) {
        if let Some(rule) = place.and_then(|p| self.rules.get(p)).or(self.rules.last()) {
            rule.inc();
        }
    }
}

impl Slot {
    fn is(&self, target: &Target, group: &Group) -> bool {
        let breaker = &group.config.circuit_breaker;
        self.key.address == target.address
            && (self.failures_max, self.on_5xx) == (breaker.failures, breaker.on_5xx)
    }

    /// A request begins.
    pub(crate) fn begin(self: &Rc<Self>) -> InFlight {
        self.under_way.set(self.under_way.get() + 1);
        InFlight(self.clone())
    }

    /// A request failed there.
    pub(crate) fn failed(&self) {
        self.failures.set(self.failures.get() + 1);
        if self.failures_max > 0 && self.failures.get() >= self.failures_max {
            self.failures.set(0);
            // Full: others have told worse news already, and the next failure tells again.
            self.report.try_send(health::Event::Failing(self.key.clone())).ok();
        }
    }

    /// Where it accepts connections.
    pub(crate) fn address(&self) -> SocketAddr {
        self.key.address
    }
}

impl InFlight {
    /// It is being sent.
    pub(crate) fn sent(&self) {
        self.0.counted.inc();
    }

    /// No answer came.
    pub(crate) fn failed(&self) {
        self.0.failed();
    }

    /// An answer's head came.
    pub(crate) fn answered(&self, status: StatusCode) {
        if self.0.on_5xx && matches!(status.as_u16(), 502..=504) {
            self.0.failed();
        } else {
            self.0.failures.set(0);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_in_five_may_be_a_repetition_and_some_are_in_hand() {
        let budget = Retries::new();
        let at_once = |most: usize| (0..most).filter(|_| budget.take()).count();
        assert_eq!(at_once(100), 10);
        let in_a_row = (0..100).filter(|_| {
            budget.asked(20);
            budget.take()
        });
        assert_eq!(in_a_row.count(), 20);
        (0..10_000).for_each(|_| budget.asked(20));
        assert_eq!(at_once(1_000), 100);
    }
}
