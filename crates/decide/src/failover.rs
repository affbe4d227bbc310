//! Decides what is still to be done: the remaining steps of the last failover, a new failover, or nothing, and why.
//!
//! A failover is four steps, and their order is the safety of the whole system:
//!
//! 1. *move the register* (compare-and-set, only out of `sync`): from here on the old epoch is history;
//! 2. *promote* the standby's database: from here on nothing of the old epoch can be applied there, so nothing
//!    written at the old primary can ever be acknowledged;
//! 3. *fence* the old primary, if it is within reach: a courtesy, not a condition. A dark site is fenced when it
//!    returns, because the step is missing then and so it appears;
//! 4. *steer* the visitors.
//!
//! The steps are never remembered. Each verdict looks at the world and lists what is missing, so it makes no
//! difference who took the steps before, or where they stopped.

use std::fmt;

use model::{
    Epoch, Mode, Place, Plan, Problem, Register, Site, Step, Verdict,
    agent::Fence,
    register::{Approval, Forced},
    sabotage::{self, Sabotage},
    topology::Policy,
};

use crate::{
    problem, rules, switchover,
    world::{Beliefs, Loss, Promotion, Sight, World},
};

/// Judges this view of the world. The same view gives the same verdict.
pub fn judge(world: &World, policy: &Policy) -> Verdict {
    let Some(b) = Beliefs::form(world, policy) else {
        let hold = Hold::RegisterUnknown;
        return Verdict {
            problems: vec![Problem::RegisterUnreachable],
            plan: Plan::default(),
            reasons: vec![hold.to_string()],
        };
    };
    let problems = problem::named(&b);
    let (steps, holds) = what_to_do(&b);
    let (plan, reasons) = rules::obey(&b, steps, holds.iter().map(Hold::to_string).collect());
    Verdict { problems, plan, reasons }
}

fn what_to_do(b: &Beliefs<'_>) -> (Vec<Step>, Vec<Hold>) {
    if !b.register_fresh {
        return (Vec::new(), vec![Hold::RegisterSilent]);
    }
    if let Some(who) = b.ahead_of_register() {
        let who = who.to_owned();
        let hold =
            if b.register_lost_a_change() { Hold::RegisterBehind { who } } else { Hold::Reread { who } };
        return (Vec::new(), vec![hold]);
    }
    // A primary that both viewpoints have lost in the middle of a switchover is replaced as ever.
    if both_lost(b).is_none()
        && let Some((steps, holds)) = switchover::under_way(b)
    {
        return (steps, holds.into_iter().map(Hold::Switchover).collect());
    }
    let wanted = failover(b).or_else(|holds| match rules::approval(b) {
        Some(approval) => ordered(b, approval),
        None => Err(holds),
    });
    match wanted {
        Ok(steps) => {
            let mut holds = Vec::new();
            if !steps.iter().any(|s| matches!(s, Step::Promote { .. })) {
                holds.push(Hold::Lease { old: b.primary.clone(), lease_ms: b.policy.lease_ms });
            } else if !steps.iter().any(|s| matches!(s, Step::Fence { .. })) {
                holds.push(Hold::OutOfReach { site: b.primary.clone() });
            }
            (steps, holds)
        }
        Err(mut holds) => {
            let mut steps = unfinished(b, &mut holds);
            if steps.is_empty() {
                let (begin, against) = switchover::begin(b);
                steps.extend(begin);
                holds.extend(against.into_iter().map(Hold::Switchover));
            }
            (steps, holds)
        }
    }
}

/// A new failover: all four steps, or every reason against it.
fn failover(b: &Beliefs<'_>) -> Result<Vec<Step>, Vec<Hold>> {
    let mut against = doubts(b);
    if against.is_empty() || both_lost(b).is_some() {
        against.extend(obstacles(b, false));
    }
    let Some(loss) = both_lost(b).filter(|_| against.is_empty()) else { return Err(against) };

    let why = format!("failover: the witness and {} have lost {} of {}", b.standby, loss.what(), b.primary);
    let record = next_record(b, why, None);
    let reachable = b.primary_said.is_some_and(|s| s.fresh) && loss != Loss::Site;
    Ok([vec![Step::MoveRegister { record }], behind_the_move(b, reachable)].concat())
}

/// A failover that an operator has ordered: whatever is lost or not, out of whatever mode.
///
/// Out of `solo` the old primary may still answer until its lease ends, so only the register moves now: the promotion
/// follows when the lease has surely ended, see [`unfinished`].
fn ordered(b: &Beliefs<'_>, approval: &Approval) -> Result<Vec<Step>, Vec<Hold>> {
    let mut against = obstacles(b, true);
    against.extend(rules::loss_beyond(b, approval).map(Hold::Rule));
    if !against.is_empty() {
        return Err(against);
    }
    let out_of = b.register.mode;
    let Approval { by, accept_loss_s, why, .. } = approval;
    let forced =
        Forced { epoch: b.register.epoch.next(), out_of, accept_loss_s: *accept_loss_s, by: by.clone() };
    let record = next_record(b, format!("failover ordered by {by}: {why}"), Some(forced));
    let mut steps = vec![Step::MoveRegister { record }];
    if out_of == Mode::Sync {
        steps.extend(behind_the_move(b, b.primary_said.is_some_and(|s| s.fresh)));
    }
    Ok(steps)
}

/// The record with which the standby becomes the next epoch's primary.
pub(crate) fn next_record(b: &Beliefs<'_>, why: String, forced: Option<Forced>) -> Register {
    Register {
        version: b.register.version + 1,
        epoch: b.register.epoch.next(),
        primary: b.standby.clone(),
        mode: Mode::Solo,
        standby_incarnation: b.register.standby_incarnation,
        intent: None,
        since_ms: b.world.wall_ms,
        why,
        forced,
    }
}

/// The steps of a failover behind its first.
fn behind_the_move(b: &Beliefs<'_>, old_is_reachable: bool) -> Vec<Step> {
    let epoch = b.register.epoch.next();
    let mut steps = vec![Step::Promote { site: b.standby.clone(), epoch }];
    if old_is_reachable {
        steps.push(Step::Fence { site: b.primary.clone(), epoch, primary: b.standby.clone() });
    }
    steps.push(Step::Steer { site: b.standby.clone(), epoch });
    steps
}

/// What both viewpoints have lost, if both have lost the primary.
fn both_lost(b: &Beliefs<'_>) -> Option<Loss> {
    match (&b.from_witness, &b.from_standby) {
        (Sight::Lost(loss), Sight::Lost(_)) => Some(*loss),
        _ => None,
    }
}

/// Why the primary is not lost, by viewpoint.
fn doubts(b: &Beliefs<'_>) -> Vec<Hold> {
    let standby = || Place::Site(b.standby.clone());
    let witness = || Place::Witness;
    let primary = b.primary.clone();
    if b.register.mode == Mode::Solo && b.promotion() == Promotion::Missing && b.register.epoch > Epoch::FIRST
    {
        // Nobody can commit yet; whether it is "lost" is not the question. (In `sync` it has served.)
        return vec![Hold::NotPromotedYet { primary }];
    }
    let blind = |place: Place, sight: &Sight| match sight {
        Sight::Blind { why } => Some(Hold::Blind { place, why }),
        _ => None,
    };
    let mut holds: Vec<Hold> =
        blind(witness(), &b.from_witness).into_iter().chain(blind(standby(), &b.from_standby)).collect();
    match (&b.from_witness, &b.from_standby) {
        (Sight::Lost(_), Sight::Lost(_)) => {}
        (Sight::Healthy, _) if problem::link_cut(b) => {
            holds.push(Hold::LinkCut { primary, standby: b.standby.clone() });
        }
        (Sight::Healthy, Sight::Healthy) => holds.push(Hold::Commits { primary, epoch: b.register.epoch }),
        (Sight::Healthy, other) if other.down().is_some() => {
            holds.push(Hold::OneAlone { lost_by: standby(), seen_by: witness(), primary });
        }
        (other, Sight::Healthy) if other.down().is_some() => {
            holds.push(Hold::OneAlone { lost_by: witness(), seen_by: standby(), primary });
        }
        (Sight::Healthy, _) | (_, Sight::Healthy) => {
            holds.push(Hold::Commits { primary, epoch: b.register.epoch });
        }
        (from_witness, from_standby) => {
            for (place, sight) in [(witness(), from_witness), (standby(), from_standby)] {
                match sight {
                    Sight::Doubted(_) if place != Place::Witness && b.standby_probes.down().is_some() => {
                        holds.push(Hold::StreamBeats { standby: b.standby.clone() });
                    }
                    Sight::Doubted(loss) => holds.push(Hold::NotYetLost { place, loss: *loss }),
                    Sight::Down(loss) => holds.push(Hold::AwaitRestart { place, loss: *loss }),
                    Sight::Blind { .. } | Sight::Healthy | Sight::Lost(_) => {}
                }
            }
        }
    }
    holds
}

/// Why a primary is not replaced all the same, though it is lost or an operator has `ordered` it: the safety rules,
/// and what makes it impossible.
fn obstacles(b: &Beliefs<'_>, ordered: bool) -> Vec<Hold> {
    let mut holds: Vec<Hold> = rules::against_failover(b, ordered).into_iter().map(Hold::Rule).collect();
    if let Some(why) = b.standby_unready() {
        holds.push(Hold::StandbyUnready { standby: b.standby.clone(), why });
    }
    holds
}

/// What is missing of the change that the register already records.
fn unfinished(b: &Beliefs<'_>, holds: &mut Vec<Hold>) -> Vec<Step> {
    let epoch = b.register.epoch;
    let (primary, standby) = (b.primary.clone(), b.standby.clone());
    let mut steps = switchover::left_behind(b);
    let switched = switchover::was_closed_for(b);
    if switched && b.standby_said.is_some_and(|s| s.fresh) {
        steps.push(Step::Fence { site: standby.clone(), epoch, primary: primary.clone() });
    }

    // In the first epoch the database makes itself primary; there is nothing to promote from.
    let mut will_serve = b.promotion() == Promotion::Done;
    if !will_serve && epoch > Epoch::FIRST {
        if problem::promotion_refused(b) {
            let told = b.world.refused.as_ref().filter(|(_, e, _)| *e == epoch).map(|(.., why)| why.clone());
            holds.push(Hold::Refused {
                primary: primary.clone(),
                why: told.unwrap_or("its row says so".into()),
            });
        } else if lease_may_run(b) {
            holds.push(Hold::Lease { old: standby.clone(), lease_ms: b.policy.lease_ms });
        } else if b.primary_said.is_some_and(|s| s.fresh && s.status.row.is_some()) {
            let promote = Step::Promote { site: primary.clone(), epoch };
            if !steps.contains(&promote) {
                steps.push(promote);
            }
            will_serve = true;
        } else {
            holds.push(Hold::Unpromotable { primary: primary.clone() });
        }
    }
    if let Some(said) = b.standby_said.filter(|s| s.status.fence == Fence::Open && !switched) {
        if said.fresh {
            steps.push(Step::Fence { site: standby, epoch, primary: primary.clone() });
        } else {
            holds.push(Hold::OutOfReach { site: standby });
        }
    }
    if !problem::steered(b) {
        if b.world.steering.is_none() {
            holds.push(Hold::NameServerSilent);
        } else if will_serve {
            steps.push(Step::Steer { site: primary, epoch });
        }
    }
    steps
}

/// Whether the primary of the epoch before may still answer alone: this epoch was begun by an order out of `solo`, and
/// not so long ago that its lease has surely ended. (It was renewed by reading the register *before* it moved.)
fn lease_may_run(b: &Beliefs<'_>) -> bool {
    let out_of_solo = b.register.forced_now().is_some_and(|forced| forced.out_of == Mode::Solo);
    out_of_solo && b.world.epoch_age_ms <= b.policy.lease_ms && !sabotage::is(Sabotage::PromoteWithinLease)
}

/// A reason for doing nothing more. Its words hold no number that changes by the second, so that a verdict changes
/// only when its meaning does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hold {
    RegisterUnknown,
    RegisterSilent,
    RegisterBehind {
        who: String,
    },
    Reread {
        who: String,
    },
    Commits {
        primary: Site,
        epoch: Epoch,
    },
    LinkCut {
        primary: Site,
        standby: Site,
    },
    OneAlone {
        lost_by: Place,
        seen_by: Place,
        primary: Site,
    },
    Blind {
        place: Place,
        why: &'static str,
    },
    NotYetLost {
        place: Place,
        loss: Loss,
    },
    AwaitRestart {
        place: Place,
        loss: Loss,
    },
    StreamBeats {
        standby: Site,
    },
    /// One of the safety rules, in its words.
    Rule(String),
    Switchover(switchover::Hold),
    Lease {
        old: Site,
        lease_ms: u64,
    },
    StandbyUnready {
        standby: Site,
        why: String,
    },
    NotPromotedYet {
        primary: Site,
    },
    Refused {
        primary: Site,
        why: String,
    },
    Unpromotable {
        primary: Site,
    },
    OutOfReach {
        site: Site,
    },
    NameServerSilent,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::RegisterUnknown => {
                f.write_str("the register was never read, or names a site that the topology does not: nobody knows who is primary")
            }
            Hold::RegisterSilent => {
                f.write_str("the register does not answer: nothing is changed without it")
            }
            Hold::RegisterBehind { who } => {
                write!(f, "{who} has seen a newer epoch than the register: nothing is changed until an operator has compared them")
            }
            Hold::Reread { who } => {
                write!(f, "{who} has seen a newer epoch than the register when it was last read: it is read again first")
            }
            Hold::Commits { primary, epoch } => {
                write!(f, "{primary} commits in epoch {epoch}: no failover is needed")
            }
            Hold::LinkCut { primary, standby } => {
                write!(f, "the witness sees {primary} commit, only {standby} does not hear it: a cut link is answered by solo, not by a failover")
            }
            Hold::OneAlone { lost_by, seen_by, primary } => {
                write!(f, "{lost_by} alone has lost {primary}; {seen_by} sees it commit")
            }
            Hold::Blind { place, why } => write!(f, "the view from {place} is missing: {why}"),
            Hold::NotYetLost { place, loss } => {
                write!(f, "seen from {place}, {} does not answer, not yet for long enough", loss.what())
            }
            Hold::AwaitRestart { place, loss } => {
                write!(f, "seen from {place}, {} is down while the rest of its site answers: it is given time to restart", loss.what())
            }
            Hold::StreamBeats { standby } => {
                write!(f, "the probes from {standby} fail, but heartbeats still come through the stream")
            }
            Hold::Rule(words) => f.write_str(words),
            Hold::Switchover(hold) => hold.fmt(f),
            Hold::Lease { old, lease_ms } => {
                write!(f, "{old} may answer alone until its lease of {lease_ms} ms has ended: nobody is promoted before")
            }
            Hold::StandbyUnready { standby, why } => write!(f, "{standby} cannot be promoted: {why}"),
            Hold::NotPromotedYet { primary } => {
                write!(f, "{primary} is the register's primary and not promoted yet: that is finished first")
            }
            Hold::Refused { primary, why } => {
                write!(f, "{primary} has refused its promotion for good ({why}): that is an operator's decision")
            }
            Hold::Unpromotable { primary } => {
                write!(f, "{primary} cannot be promoted while its agent or its database does not answer")
            }
            Hold::OutOfReach { site } => {
                write!(f, "{site} cannot be reached: it is fenced when it returns, and nothing that it commits until then is acknowledged")
            }
            Hold::NameServerSilent => f.write_str("the name server does not answer: it is steered when it does"),
        }
    }
}
