//! What the agent tells of itself after each turn of its loop: role, serving, metrics.
//!
//! Derived from what the loop has learnt, and from nothing else: no question is asked here.

use model::{
    Mode, Serving,
    agent::{Fence, ReinstatePhase, Reinstatement, Role, StandbyPhase},
};

use super::Loop;
use crate::{
    duty::{Duty, Look},
    status::Known,
};

impl Loop {
    pub(super) fn publish(&self) {
        let look = self.look.as_ref().map(|(_, look)| look);
        let site = look.and_then(|look| look.site.as_ref());
        let fence = match (&self.look_error, look) {
            (None, Some(look)) => look.fence,
            _ => Fence::Unknown,
        };
        let role = self.role(look);
        self.metrics.reinstating.set(i64::from(matches!(role, Role::Reinstating { .. })));
        if let Role::Reinstating { transactions, rows, undone, .. } = role {
            let counted = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            self.metrics.quarantined_transactions.set(counted(transactions));
            self.metrics.quarantined_rows.set(counted(rows));
            self.metrics.undone_rows.set(counted(undone));
        }
        if let Some(site) = site {
            let open = role == Role::Primary && look.is_some_and(|look| look.fence == Fence::Open);
            let serving = Serving {
                site: self.config.site.clone(),
                epoch: site.row.epoch,
                stream: site.end_of_log.stream.clone(),
                primary: site.row.primary.clone(),
                mode: site.row.mode,
                open,
            };
            self.metrics.epoch.set(i64::try_from(site.row.epoch.0).unwrap_or(i64::MAX));
            self.metrics.mode_sync.set(i64::from(site.row.mode == Mode::Sync));
            self.metrics.open.set(i64::from(open));
            self.parts.serving.send_if_modified(|known| {
                let changed = known.as_ref() != Some(&serving);
                *known = Some(serving);
                changed
            });
        }
        if let Some(lag_ms) = *self.board.lag_ms.borrow() {
            self.metrics.lag_ms.set(i64::try_from(lag_ms).unwrap_or(i64::MAX));
        }
        let left_s = self.board.retention.borrow().map(|r| r.left_s);
        self.metrics.retention_left_s.set(left_s.map_or(-1, |s| i64::try_from(s).unwrap_or(i64::MAX)));
        if let Some(coverage) = self.board.verifier.coverage() {
            let figure = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            self.metrics.verify_permille.set(figure(coverage.permille));
            self.metrics.verify_differences.set(figure(coverage.differences));
            self.metrics.verify_round_age_s.set(coverage.last_round_age_s.map_or(-1, figure));
        }
        if let Some(seen) = &self.seen {
            self.metrics
                .register_age_ms
                .set(i64::try_from(seen.asked.elapsed().as_millis()).unwrap_or(i64::MAX));
        }
        let slot = site.and_then(|site| {
            look?
                .slots
                .iter()
                .find(|s| s.slot.epoch == site.row.epoch && s.is_attached())
                .map(|s| s.slot.clone())
        });
        self.parts.known.send_replace(Known {
            role,
            row: site.map(|site| site.row.clone()),
            stream: site.map(|site| site.end_of_log.stream.clone()),
            end_of_log: site.map(|site| site.end_of_log.clone()),
            slot,
            incarnation: site.map(|site| site.incarnation),
            fence,
        });
    }

    fn role(&self, look: Option<&Look>) -> Role {
        let Some(look) = look else {
            let why = match &self.look_error {
                Some(why) => why.clone(),
                None => "the database has not answered yet".into(),
            };
            return Role::Starting { why };
        };
        if self.promoting && !matches!(self.duty, Duty::Primary(_)) {
            return Role::Promoting;
        }
        match &self.duty {
            Duty::Wait(why) => Role::Starting { why: why.clone() },
            Duty::Found => Role::Starting { why: "this database becomes the first primary".into() },
            Duty::BeginStandby => Role::Standby { phase: StandbyPhase::Connecting },
            Duty::Primary(_) => Role::Primary,
            Duty::AwaitPromotion => Role::Promoting,
            Duty::FenceSelf { epoch, primary } => {
                Role::Starting { why: format!("closing: epoch {epoch} of {primary} has begun") }
            }
            Duty::Resync(why) => Role::Starting { why: format!("these data will be filled anew: {why}") },
            Duty::BeginLife(why) => Role::Starting { why: format!("a new life is announced: {why}") },
            Duty::Unproven(_) if self.adopts_these_data() => {
                Role::Starting { why: "an operator has taken these data for the primary's".into() }
            }
            Duty::Stop(why) | Duty::Unproven(why) => Role::Stopped { why: why.clone() },
            Duty::BeginReinstatement => {
                let phase = match self.may_reinstate() {
                    true => ReinstatePhase::Announcing,
                    false => ReinstatePhase::AwaitingOrder,
                };
                let waits_for = match phase {
                    ReinstatePhase::AwaitingOrder => Some("ghostlight reinstate".into()),
                    _ => self.act_error.clone(),
                };
                Role::Reinstating { phase, transactions: 0, rows: 0, undone: 0, waits_for }
            }
            Duty::Seed(incarnation) | Duty::Reinstate(incarnation) | Duty::Follow(incarnation, _) => {
                let epoch = look.site.as_ref().map(|site| site.row.epoch);
                if let Some(end) = &self.standby_end
                    && Some(end.key) == epoch.map(|epoch| (epoch, *incarnation))
                    && let Some(role) = &end.role
                {
                    return role.clone();
                }
                let progress = self.board.progress.borrow();
                match (&self.duty, &progress.reinstating) {
                    (Duty::Reinstate(_), told) => {
                        let now = told.unwrap_or(Reinstatement {
                            phase: ReinstatePhase::Asking,
                            ..Reinstatement::default()
                        });
                        Role::Reinstating {
                            phase: now.phase,
                            transactions: now.transactions,
                            rows: now.rows,
                            undone: now.undone,
                            waits_for: progress.trouble.clone(),
                        }
                    }
                    _ => Role::Standby { phase: progress.phase },
                }
            }
        }
    }
}
