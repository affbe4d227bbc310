//! Every run of the catalogue, explored to its end; every broken rule, caught by the property that it names.
//!
//! Slow on purpose: some millions of states. What was found is written past the test runner's capture, so that it is
//! read even when all is well.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests end a test as tests do"
)]

use std::{collections::BTreeSet, fmt::Display, io::Write, num::NonZeroUsize, time::Duration};

use protocol::{
    catalogue::{BIG, EARLIER_WORDING, MORE_MUTANTS, MUTANTS, Mutant, RUNS},
    check::{Means, check, check_to_depth, hunt},
    rules::{Rule, Scope},
};

/// The test runner uses the other processors for other tests. The limit is for a machine that hangs.
const MEANS: Means = Means { threads: NonZeroUsize::MIN, limit: Duration::from_secs(900) };

fn mutants() -> impl Iterator<Item = &'static Mutant> {
    EARLIER_WORDING.iter().chain(MUTANTS).chain(MORE_MUTANTS)
}

fn tell(name: &str, found: impl Display) {
    let mut past_the_capture = std::io::stderr().lock();
    writeln!(past_the_capture, "protocol: {name:<50} {found}").unwrap();
}

#[track_caller]
fn holds(name: &str) {
    let run = RUNS.iter().find(|run| run.name == name).unwrap();
    let report = check(&run.scope, MEANS);
    tell(name, &report);
    assert!(report.violated.is_empty(), "{report}: {:#?}", report.violated);
    assert!(report.complete, "not within {:?}: {report}", MEANS.limit);
    assert!(report.not_reached.is_empty(), "{report}");
    assert!(report.states >= run.states_min, "something cannot happen any more: {report}");
}

/// The violation is the broken rule's: with the rule kept, no history of that length violates anything.
#[track_caller]
fn caught(name: &str) {
    let mutant = mutants().find(|mutant| mutant.name == name).unwrap();
    let report = hunt(&mutant.scope, MEANS, mutant.caught_by);
    tell(name, &report);
    let caught = report.violated.iter().find(|(property, _)| *property == mutant.caught_by);
    let (_, history) = caught.unwrap_or_else(|| panic!("`{}` does not see it: {report}", mutant.caught_by));
    let kept = check_to_depth(&Scope { broken: &[], ..mutant.scope.clone() }, MEANS, history.len());
    assert!(kept.violated.is_empty(), "with the rule kept: {kept}: {:#?}", kept.violated);
    assert!(kept.states > history.len(), "{kept}");
}

/// One test for each name, so that they run side by side and the one that fails is named.
macro_rules! tests {
    ($check:ident: $($test:ident = $name:literal,)*) => {
        mod $check {
            $(#[test] fn $test() { super::$check($name); })*
            pub(super) const NAMES: &[&str] = &[$($name),*];
        }
    };
}

tests! { holds:
    core = "core",
    two_failovers = "two failovers",
    two_appliers = "two appliers",
    databases_fail = "databases fail",
    log_begins_anew = "log begins anew",
    forced = "forced",
    forced_while_copying = "forced while copying",
    refused_and_returned = "refused and returned",
    definition = "definition",
    definition_and_copying = "definition and copying",
    local_loss = "local loss",
    local_loss_and_copying = "local loss and copying",
    switchover_begins_solo = "switchover begins solo",
    switchover_keeps_sync = "switchover keeps sync",
}

tests! { caught:
    earlier_wording_1 = "the row's change is not conditional",
    earlier_wording_2 = "a retreat to solo without a new compare-and-set",
    earlier_wording_3 = "a standby that was set back is promoted",
    earlier_wording_4 = "a re-synchronisation begins on an observed solo",
    solo_row_before_register = "solo: row before register",
    sync_register_before_row = "sync: register before row",
    sync_without_wait = "sync: no wait for the row's change",
    sync_by_mode = "sync: compared by mode",
    failover_in_solo = "failover in solo",
    applier_without_epoch = "applier without epoch",
    mode_from_memory = "mode from memory",
    stream_ignored_log_begins_anew = "stream ignored, log begins anew",
    stream_ignored_resynchronised = "stream ignored, re-synchronised",
    promoted_twice = "promoted twice",
    record_taken_early = "record taken at the compare-and-set",
    request_of_another_epoch = "request of another epoch",
    remembered_slot = "remembered slot",
    two_appliers_slot_not_compared = "two appliers, slot not compared",
    switchover_row_is_solo = "switchover keeps sync, row is solo",
    watermark_of_another_epoch = "watermark of another epoch",
    forced_without_wait = "forced: no wait",
    lease_at_the_barrier_only = "lease looked at by the barrier only",
    lease_from_the_answer = "lease from the answer",
    lease_on_a_clock_that_stops = "lease on a clock that stops",
    returned_before_the_refusal = "returned before the refusal",
    promotion_ends_no_session = "promotion ends no session",
    promotion_ends_sessions_before_the_lock_only = "promotion ends sessions before the lock only",
    definition_without_lock = "definition without lock",
    definition_run_again_unseen = "definition run again unseen",
    definition_undone = "definition undone",
    row_of_another_stream_believed = "row of another stream believed",
    attempt_outlives_its_stream = "attempt outlives its stream",
    copied_from_an_unproven_primary = "copied from an unproven primary",
    mode_moved_on_an_unproven_primary = "mode moved on an unproven primary",
    request_of_another_stream = "request of another stream",
    switchover_without_a_fence = "switchover without a fence",
    switchover_before_the_end_of_the_log = "switchover before the end of the log",
    unfenced_before_the_intent_is_cleared = "unfenced before the intent is cleared",
    unfenced_for_an_older_intent = "unfenced for an older intent",
}

#[test]
fn every_run_and_every_mutant_has_its_test() {
    let tested = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(tested(holds::NAMES), RUNS.iter().map(|run| run.name).collect());
    assert_eq!(tested(caught::NAMES), mutants().map(|mutant| mutant.name).collect());
    assert_eq!((EARLIER_WORDING.len(), MUTANTS.len()), (4, 16));
    assert!(BIG.iter().all(|run| run.name.starts_with("big ")));
}

#[test]
fn every_rule_is_broken_by_a_mutant() {
    assert_eq!(Rule::ALL.len(), Rule::DefinitionsAreNotUndone as usize + 1, "the last rule ends the list");
    for (at, rule) in Rule::ALL.iter().enumerate() {
        assert_eq!(*rule as usize, at, "{rule:?} is out of order in Rule::ALL");
        assert!(mutants().any(|mutant| !mutant.scope.keeps(*rule)), "nobody breaks {rule:?}");
    }
    assert!(RUNS.iter().chain(BIG).all(|run| run.scope.broken.is_empty()));
}
