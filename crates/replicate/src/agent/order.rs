//! What an operator's orders change: taking an old primary back, filling a standby anew.

use model::{
    agent::{ReinstateReply, SeedReply},
    topology::Reinstate,
};
use runtime::clock::Boot;

use super::{Loop, ends::StandbyEnd};
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

    /// An operator wants a standby's data filled anew, whatever they are: their place counts as lost. What of them is
    /// right is kept.
    pub(super) fn fill_anew(&mut self) -> SeedReply {
        let here = self.look.as_ref().and_then(|(_, look)| look.site.as_ref());
        match (&self.duty, here) {
            (Duty::BeginStandby | Duty::Resync(_), _) => SeedReply::Begun,
            (Duty::Seed(_) | Duty::Follow(..), Some(site)) => {
                let lost = Some("an operator asked for it".to_owned());
                let key = (site.row.epoch, site.incarnation);
                self.standby_end = Some(StandbyEnd { key, role: None, lost, not_before: Boot::now() });
                SeedReply::Begun
            }
            _ => SeedReply::Refused {
                why: "only a standby's database is filled, and this one is not, or not yet".into(),
            },
        }
    }
}
