//! The lint of a plan: what must be true of every plan, whoever made it.
//!
//! The judgement is trusted to make good plans; this is the second pair of eyes, on the value itself, before anything
//! is executed. A plan with a fault is not executed at all.

use std::fmt;

use model::{
    Mode, Plan, Register, Step,
    sabotage::{self, Sabotage},
};

/// What is wrong with a plan: a mistake in the judgement, never the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The step, counted from 1.
    pub step: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}: {}", self.step, self.what)
    }
}

/// Everything that is wrong with `plan`, if it were begun while the register holds `register`.
pub fn lint(plan: &Plan, register: &Register) -> Vec<Fault> {
    // The register as it will stand when each step is reached.
    let mut now = register.clone();
    let mut faults = Vec::new();
    let mut steered = false;
    for (i, step) in plan.steps.iter().enumerate() {
        let mut must = |holds: bool, what: &str| {
            if !holds {
                faults.push(Fault { step: i + 1, what: what.to_owned() });
            }
        };
        must(!plan.steps.iter().take(i).any(|earlier| earlier == step), "it stands in the plan twice");
        must(!steered, "it comes after the visitors were steered");
        match step {
            Step::MoveRegister { record } => {
                must(
                    plan.steps.iter().take(i).all(is_before_the_move),
                    "the register moves first, before anything is done in its name",
                );
                must(record.version == now.version + 1, "its version is not the register's plus one");
                must(record.epoch == now.epoch.next(), "its epoch is not the register's plus one");
                must(record.primary != now.primary, "it names the site that is primary already");
                let ordered = record.forced_now().is_some();
                must(
                    now.mode == Mode::Sync || ordered || sabotage::is(Sabotage::PromoteInSolo),
                    "in solo nothing moves by itself",
                );
                let told = record.forced_now().is_none_or(|forced| forced.out_of == now.mode);
                must(told, "it names another mode than the one that it moves out of");
                must(record.mode == Mode::Solo, "an epoch begins in solo");
                must(
                    record.standby_incarnation == now.standby_incarnation,
                    "it names another incarnation than the one that is to be promoted",
                );
                must(
                    now.intent.as_ref().is_none_or(|intent| intent.to == record.primary),
                    "a switchover to another site is under way",
                );
                now = record.clone();
            }
            Step::Promote { site, epoch } => {
                let waits = i > 0 && now.forced_now().is_some_and(|forced| forced.out_of == Mode::Solo);
                must(!waits, "out of solo nobody is promoted before the old primary's lease has ended");
                must(*site == now.primary, "the register does not name the site to be promoted");
                must(*epoch == now.epoch, "it is stamped with another epoch than the register's");
            }
            Step::Fence { site, epoch, primary } => {
                must(*site != now.primary, "it would fence the primary");
                must(*epoch == now.epoch, "it is stamped with another epoch than the register's");
                must(*primary == now.primary, "it names another primary than the register");
            }
            Step::Steer { site, epoch } => {
                must(*site == now.primary, "it would steer visitors away from the primary");
                must(*epoch == now.epoch, "it is stamped with another epoch than the register's");
                steered = true;
            }
            Step::Announce { record } => {
                must(plan.steps.len() == 1, "nothing else is done while a switchover is announced");
                must(now.mode == Mode::Sync, "in solo no switchover begins");
                must(now.intent.is_none(), "another switchover is under way");
                let intent = record.intent.as_ref();
                must(intent.is_some_and(|i| i.to != now.primary), "it names no other site");
                must(
                    intent.is_some_and(|i| i.id == record.version),
                    "its intent is not numbered by its version",
                );
                must(changes_only_the_intent(&now, record), "it changes more than the intent");
            }
            Step::Withdraw { record } => {
                must(plan.steps.len() == 1, "nothing else is done before the intent is withdrawn");
                must(now.intent.is_some(), "there is no intent to withdraw");
                must(record.intent.is_none(), "it leaves an intent");
                must(changes_only_the_intent(&now, record), "it changes more than the intent");
            }
            Step::Park { epoch, intent, .. } => {
                must(is_of(&now, *epoch, *intent), "it is not done for the register's intent");
                let before = plan.steps.iter().take(i).all(|s| matches!(s, Step::Park { .. }));
                must(before, "requests are parked before anything else is done");
            }
            Step::Close { site, epoch, intent } => {
                must(is_of(&now, *epoch, *intent), "it is not done for the register's intent");
                must(*site == now.primary, "only the primary is closed");
                let before = plan.steps.iter().take(i).all(|s| matches!(s, Step::Park { .. }));
                must(before, "the primary is closed behind the parking and before the rest");
            }
            Step::CatchUp { site, epoch, intent } => {
                must(is_of(&now, *epoch, *intent), "it is not done for the register's intent");
                must(*site == now.primary, "only the primary's log has an end to catch up with");
                let before = plan.steps.iter().take(i);
                let before = before.clone().all(|s| matches!(s, Step::Park { .. } | Step::Close { .. }));
                must(before, "only a closed primary's log has an end to catch up with");
            }
            Step::Unpark { epoch, .. } => {
                must(now.intent.is_none(), "requests wait while a switchover is under way");
                must(*epoch == now.epoch, "it is stamped with another epoch than the register's");
            }
        }
    }
    faults
}

/// What a switchover does while the register still names the old primary.
fn is_before_the_move(step: &Step) -> bool {
    matches!(step, Step::Park { .. } | Step::Close { .. } | Step::CatchUp { .. })
}

fn is_of(now: &Register, epoch: model::Epoch, intent: u64) -> bool {
    epoch == now.epoch && now.intent.as_ref().is_some_and(|i| i.id == intent)
}

fn changes_only_the_intent(now: &Register, record: &Register) -> bool {
    let wanted = Register {
        version: now.version + 1,
        intent: record.intent.clone(),
        why: record.why.clone(),
        ..now.clone()
    };
    wanted == *record
}

#[cfg(test)]
mod tests {
    use model::{Epoch, Incarnation, Site, register::Forced};

    use super::*;

    fn register(mode: Mode) -> Register {
        Register {
            version: 9,
            epoch: Epoch(3),
            mode,
            standby_incarnation: Incarnation(2),
            ..Register::first(Site::new("nhn"), 0)
        }
    }

    fn moved() -> Register {
        Register { version: 10, epoch: Epoch(4), primary: Site::new("aws"), ..register(Mode::Solo) }
    }

    fn good() -> Vec<Step> {
        let (nhn, aws, epoch) = (Site::new("nhn"), Site::new("aws"), Epoch(4));
        vec![
            Step::MoveRegister { record: moved() },
            Step::Promote { site: aws.clone(), epoch },
            Step::Fence { site: nhn, epoch, primary: aws.clone() },
            Step::Steer { site: aws, epoch },
        ]
    }

    /// Changes the good plan, and expects a fault that contains `expected` (none if empty).
    fn check(register: &Register, change: impl FnOnce(&mut Vec<Step>), expected: &str) {
        let mut steps = good();
        change(&mut steps);
        let faults = lint(&Plan { steps }, register);
        match expected {
            "" => assert_eq!(faults, []),
            words => assert!(faults.iter().any(|f| f.what.contains(words)), "no `{words}` in {faults:?}"),
        }
    }

    #[test]
    fn a_whole_failover_and_each_of_its_remainders_are_clean() {
        check(&register(Mode::Sync), |_| {}, "");
        for taken in 1..=4 {
            check(&moved(), |steps| drop(steps.drain(..taken)), "");
        }
    }

    #[test]
    fn every_rule_is_kept_by_a_fault_of_its_own() {
        let sync = register(Mode::Sync);
        check(&register(Mode::Solo), |_| {}, "in solo nothing moves");
        check(&sync, |s| s.swap(0, 1), "the register moves first");
        check(&sync, |s| s.swap(0, 1), "does not name the site to be promoted");
        check(&sync, |s| s.swap(1, 3), "after the visitors were steered");
        check(&sync, |s| s.push(s[2].clone()), "twice");
        check(&sync, |s| drop(s.remove(0)), "another epoch than the register's");
        let intent = |to| Some(model::register::Intent { to: Site::new(to), id: 9 });
        check(&Register { intent: intent("nhn"), ..sync.clone() }, |_| {}, "to another site");
        check(&Register { intent: intent("aws"), ..sync.clone() }, |_| {}, "");
        let with_record = |change: fn(&mut Register)| {
            move |s: &mut Vec<Step>| {
                let mut record = moved();
                change(&mut record);
                s[0] = Step::MoveRegister { record };
            }
        };
        check(&sync, with_record(|r| r.version = 11), "version");
        check(&sync, with_record(|r| r.epoch = Epoch(5)), "epoch is not the register's plus one");
        check(&sync, with_record(|r| r.epoch = Epoch(3)), "epoch is not the register's plus one");
        check(&sync, with_record(|r| r.primary = Site::new("nhn")), "primary already");
        check(&sync, with_record(|r| r.mode = Mode::Sync), "begins in solo");
        check(&sync, with_record(|r| r.standby_incarnation = Incarnation(3)), "another incarnation");
        let forced =
            |epoch, out_of| Some(Forced { epoch: Epoch(epoch), out_of, accept_loss_s: 9, by: "kim".into() });
        let ordered = |forced: Option<Forced>, steps: usize| {
            move |s: &mut Vec<Step>| {
                s[0] = Step::MoveRegister { record: Register { forced, ..moved() } };
                s.truncate(steps);
            }
        };
        let solo = register(Mode::Solo);
        check(&solo, ordered(forced(4, Mode::Solo), 1), "");
        check(&solo, ordered(forced(4, Mode::Solo), 2), "before the old primary's lease has ended");
        check(&solo, ordered(forced(3, Mode::Solo), 1), "in solo nothing moves");
        check(&solo, ordered(forced(4, Mode::Sync), 1), "another mode");
        check(&sync, ordered(forced(4, Mode::Sync), 4), "");
        let (nhn, aws) = (Site::new("nhn"), Site::new("aws"));
        let fence_primary = Step::Fence { site: aws.clone(), epoch: Epoch(4), primary: aws };
        check(&sync, |s| s[2] = fence_primary, "would fence the primary");
        check(&sync, |s| s[3] = Step::Steer { site: nhn, epoch: Epoch(4) }, "away from the primary");
    }
}
