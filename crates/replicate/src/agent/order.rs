//! What an operator's orders change: taking an old primary back, or a primary's data on another server; filling a standby
//! anew.

use model::{
    Mode,
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

    /// Whether an operator has taken the data of the very server that answers now.
    pub(super) fn adopts_these_data(&self) -> bool {
        let here = self.look.as_ref().and_then(|(_, look)| look.site.as_ref());
        here.is_some_and(|here| self.adopts.as_ref() == Some(&here.end_of_log.stream))
    }

    /// An operator wants this database taken back: by the policy `manual`, or again after it had stopped.
    pub(super) fn order_reinstatement(&mut self) -> ReinstateReply {
        match &self.duty {
            Duty::BeginReinstatement | Duty::Reinstate(_) => {
                self.ordered = true;
                self.standby_end = None;
                ReinstateReply::Ordered
            }
            Duty::Unproven(_) => match self.seen.as_ref().map(|seen| seen.register.mode) {
                Some(Mode::Solo) => {
                    // For this server only, not for whichever comes next.
                    let here = self.look.as_ref().and_then(|(_, look)| look.site.as_ref());
                    self.adopts = here.map(|here| here.end_of_log.stream.clone());
                    ReinstateReply::Ordered
                }
                _ => ReinstateReply::NotNeeded {
                    why: "the register says `sync`, or has not been seen: the standby holds everything that was answered, and \
                          these data may not. Let it be promoted; this database is then taken back as its standby"
                        .into(),
                },
            },
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
