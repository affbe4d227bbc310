//! Whether an old primary's database may be taken back now, and what an operator's order changes.

use model::{agent::ReinstateReply, topology::Reinstate};

use super::Loop;
use crate::duty::Duty;

impl Loop {
    pub(super) fn may_reinstate(&self) -> bool {
        self.ordered || self.config.policy.reinstate == Reinstate::Automatic
    }

    /// An operator wants this database taken back: by the policy `manual`, or again after it had stopped.
    pub(super) fn order_reinstatement(&mut self) -> ReinstateReply {
        match &self.duty {
            Duty::BeginReinstatement | Duty::Reinstate(_) => {
                self.ordered = true;
                self.standby_end = None;
                ReinstateReply::Ordered
            }
            Duty::FenceSelf { .. } | Duty::Wait(_) => {
                self.ordered = true;
                ReinstateReply::Ordered
            }
            _ => ReinstateReply::NotNeeded {
                why: "this database is not that of an old primary which waits to be taken back".into(),
            },
        }
    }
}
