//! Which runs there are: the protocol as it is, which must hold, and with rules broken, which must not.

use crate::{
    properties::{NO_TAIL, NOT_BLIND, ONCE, PROMOTION_FENCES, STANDBY_IS_A_PREFIX, TOLD_IS_KEPT},
    rules::{Rule, Scope, Switchover},
};

/// A run that must hold.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its name on the command line.
    pub name: &'static str,
    /// How far it goes.
    pub scope: Scope,
    /// It has at least so many states: fewer would mean that something cannot happen any more.
    pub states_min: usize,
}

/// A run with broken rules: it must violate this property.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Its name on the command line.
    pub name: &'static str,
    /// How far it goes, and what it breaks.
    pub scope: Scope,
    /// The property that catches it.
    pub caught_by: &'static str,
}

const fn run(name: &'static str, states_min: usize, scope: Scope) -> Run {
    Run { name, scope, states_min }
}

const fn mutant(name: &'static str, caught_by: &'static str, scope: Scope) -> Mutant {
    Mutant { name, scope, caught_by }
}

/// Two sites, one agent each, so many writes, promotions and moves of the mode.
const fn single(writes: u8, promotions: u8, mode_moves: u8) -> Scope {
    Scope { agents: 1, ..Scope::core(writes, promotions, mode_moves) }
}

const fn forced(writes: u8, promotions: u8, mode_moves: u8) -> Scope {
    Scope { forced: 1, ..single(writes, promotions, mode_moves) }
}

const fn definition(writes: u8, mode_moves: u8, deaths: u8) -> Scope {
    Scope { definition: true, deaths, ..single(writes, 1, mode_moves) }
}

const fn switchover(kind: Switchover, writes: u8, promotions: u8, mode_moves: u8, intents: u8) -> Scope {
    Scope { switchover: kind, intents, ..single(writes, promotions, mode_moves) }
}

const fn local_loss(writes: u8, mode_moves: u8, local_losses: u8) -> Scope {
    Scope { local_losses, ..single(writes, 1, mode_moves) }
}

/// What `cargo test` explores to the end.
pub const RUNS: &[Run] = &[
    run("core", 1_000_000, Scope::core(2, 1, 3)),
    run("two failovers", 90_000, Scope::core(3, 2, 1)),
    run(
        "two appliers",
        190_000,
        Scope { second_applier: true, binlog_resets: 1, regressions: 1, ..single(2, 1, 1) },
    ),
    run(
        "databases fail",
        1_600_000,
        Scope { binlog_resets: 1, regressions: 1, resyncs: 1, ..single(2, 1, 1) },
    ),
    run("log begins anew", 210_000, Scope { binlog_resets: 1, resyncs: 1, ..single(2, 2, 1) }),
    run("forced", 240_000, forced(2, 2, 1)),
    run("forced while copying", 210_000, Scope { returns: 1, resyncs: 1, ..forced(2, 1, 1) }),
    run("refused and returned", 160_000, Scope { returns: 1, regressions: 1, ..single(2, 1, 2) }),
    run("definition", 180_000, Scope { agents: 2, ..definition(3, 1, 2) }),
    run("definition and copying", 57_000, Scope { resyncs: 1, ..definition(2, 1, 1) }),
    run("local loss", 550_000, Scope { agents: 2, ..local_loss(2, 2, 2) }),
    run("local loss and copying", 800_000, Scope { resyncs: 1, ..local_loss(2, 2, 1) }),
    run("switchover begins solo", 230_000, switchover(Switchover::BeginsSolo, 2, 2, 1, 2)),
    run("switchover keeps sync", 340_000, switchover(Switchover::KeepsSync, 2, 2, 1, 2)),
];

/// What takes minutes: `cargo run -p protocol -- big`.
pub const BIG: &[Run] = &[
    run("big core", 1, Scope::core(2, 1, 4)),
    run("big two failovers", 1, Scope::core(3, 2, 2)),
    run("big databases fail", 1, Scope { binlog_resets: 1, regressions: 1, resyncs: 1, ..single(2, 1, 2) }),
    run("big forced", 1, Scope { agents: 2, ..forced(2, 2, 2) }),
    run("big forced while copying", 1, Scope { returns: 1, resyncs: 1, ..forced(2, 2, 2) }),
    run("big local loss", 1, Scope { resyncs: 1, ..local_loss(2, 2, 2) }),
    run("big switchover", 1, Scope { agents: 2, ..switchover(Switchover::KeepsSync, 2, 2, 2, 2) }),
];

/// The four ways in which an earlier wording of the design lost acknowledged writes.
pub const EARLIER_WORDING: &[Mutant] = &[
    mutant(
        "the row's change is not conditional",
        TOLD_IS_KEPT,
        Scope::core(2, 1, 3).breaking(&[Rule::SoloComparesTheToken]),
    ),
    mutant(
        "a retreat to solo without a new compare-and-set",
        TOLD_IS_KEPT,
        Scope::core(2, 1, 3).breaking(&[Rule::SoloAlwaysByCas]),
    ),
    mutant(
        "a standby that was set back is promoted",
        TOLD_IS_KEPT,
        Scope { regressions: 1, ..Scope::core(2, 1, 1) }.breaking(&[Rule::PromotionOfTheNamedIncarnation]),
    ),
    mutant(
        "a re-synchronisation begins on an observed solo",
        TOLD_IS_KEPT,
        Scope { resyncs: 1, ..Scope::core(2, 1, 3) }
            .breaking(&[Rule::ResyncAnnounced, Rule::PromotionOfTheAttached]),
    ),
];

/// The protocol with one rule broken (two, where another rule stands behind the first).
pub const MUTANTS: &[Mutant] = &[
    mutant(
        "solo: row before register",
        TOLD_IS_KEPT,
        Scope::core(2, 1, 3).breaking(&[Rule::SoloRegisterFirst]),
    ),
    mutant("sync: register before row", TOLD_IS_KEPT, Scope::core(2, 1, 3).breaking(&[Rule::SyncRowFirst])),
    mutant(
        "sync: no wait for the row's change",
        TOLD_IS_KEPT,
        Scope::core(2, 1, 3).breaking(&[Rule::SyncWaitsForTheRow]),
    ),
    mutant(
        "sync: compared by mode",
        TOLD_IS_KEPT,
        Scope::core(2, 1, 4).breaking(&[Rule::SyncComparesTheVersion]),
    ),
    mutant("failover in solo", TOLD_IS_KEPT, Scope::core(2, 1, 3).breaking(&[Rule::FailoverOnlyInSync])),
    mutant(
        "applier without epoch",
        TOLD_IS_KEPT,
        Scope::core(2, 1, 1).breaking(&[Rule::ApplierChecksTheEpoch]),
    ),
    mutant("mode from memory", TOLD_IS_KEPT, Scope::core(2, 1, 2).breaking(&[Rule::ModeFromTheQueryItself])),
    mutant(
        "stream ignored, log begins anew",
        TOLD_IS_KEPT,
        Scope { binlog_resets: 1, ..Scope::core(3, 1, 0) }.breaking(&[Rule::WatermarkOfTheStream]),
    ),
    mutant(
        "stream ignored, re-synchronised",
        TOLD_IS_KEPT,
        Scope { binlog_resets: 1, resyncs: 1, ..single(3, 1, 2) }.breaking(&[Rule::WatermarkOfTheStream]),
    ),
    mutant("promoted twice", TOLD_IS_KEPT, Scope::core(2, 2, 2).breaking(&[Rule::PromotionOnce])),
    mutant(
        "record taken at the compare-and-set",
        STANDBY_IS_A_PREFIX,
        Scope::core(3, 2, 1).breaking(&[Rule::RecordInsideThePromotion]),
    ),
    mutant(
        "request of another epoch",
        TOLD_IS_KEPT,
        Scope::core(2, 2, 1).breaking(&[Rule::BarrierOfTheRequestsEpoch]),
    ),
    mutant(
        "remembered slot",
        STANDBY_IS_A_PREFIX,
        Scope::core(3, 2, 1).breaking(&[Rule::AttachAtThePromotion]),
    ),
    mutant(
        "two appliers, slot not compared",
        ONCE,
        Scope { second_applier: true, ..Scope::core(2, 1, 0) }.breaking(&[Rule::ApplierComparesTheSlot]),
    ),
    mutant(
        "switchover keeps sync, row is solo",
        TOLD_IS_KEPT,
        switchover(Switchover::KeepsSync, 2, 2, 1, 1)
            .breaking(&[Rule::SwitchoverRowAsRegister, Rule::PromotionOfTheAttached]),
    ),
    mutant(
        "watermark of another epoch",
        TOLD_IS_KEPT,
        Scope::core(3, 2, 1).breaking(&[Rule::WatermarkOfTheEpoch]),
    ),
];

/// Rules that the dense model in the design's folder does not have.
pub const MORE_MUTANTS: &[Mutant] = &[
    mutant("forced: no wait", TOLD_IS_KEPT, forced(2, 1, 1).breaking(&[Rule::ForcedWaitsTheLeaseOut])),
    mutant(
        "lease looked at by the barrier only",
        TOLD_IS_KEPT,
        forced(2, 1, 1).breaking(&[Rule::LeaseAtRelease]),
    ),
    mutant("lease from the answer", TOLD_IS_KEPT, forced(2, 1, 1).breaking(&[Rule::LeaseFromSending])),
    mutant("lease on a clock that stops", TOLD_IS_KEPT, forced(2, 1, 1).breaking(&[Rule::LeaseClockRunsOn])),
    mutant(
        "returned before the refusal",
        TOLD_IS_KEPT,
        Scope { returns: 1, ..single(2, 1, 1) }.breaking(&[Rule::RefusalBeforeReturn]),
    ),
    mutant(
        "promotion ends no session",
        PROMOTION_FENCES,
        definition(1, 0, 1).breaking(&[Rule::PromotionEndsSessions, Rule::PromotionEndsSessionsLocked]),
    ),
    mutant(
        "promotion ends sessions before the lock only",
        PROMOTION_FENCES,
        definition(1, 0, 1).breaking(&[Rule::PromotionEndsSessionsLocked]),
    ),
    mutant(
        "definition without lock",
        PROMOTION_FENCES,
        definition(1, 0, 0).breaking(&[Rule::DefinitionUnderLock, Rule::PromotionEndsSessionsLocked]),
    ),
    mutant("definition run again unseen", ONCE, definition(1, 0, 1).breaking(&[Rule::DefinitionLookedFor])),
    mutant(
        "definition undone",
        STANDBY_IS_A_PREFIX,
        definition(2, 0, 1).breaking(&[Rule::DefinitionsAreNotUndone]),
    ),
    mutant(
        "row of another stream believed",
        TOLD_IS_KEPT,
        local_loss(2, 2, 1).breaking(&[Rule::RowOfThisStream]),
    ),
    mutant(
        "attempt outlives its stream",
        TOLD_IS_KEPT,
        Scope { agents: 2, ..local_loss(2, 2, 2) }.breaking(&[Rule::AttemptOfThisStream]),
    ),
    mutant(
        "copied from an unproven primary",
        TOLD_IS_KEPT,
        Scope { resyncs: 1, ..local_loss(2, 2, 1) }
            .breaking(&[Rule::ProvenBeforeCopy, Rule::ProvenBeforeMode]),
    ),
    mutant(
        "mode moved on an unproven primary",
        NOT_BLIND,
        local_loss(2, 1, 1).breaking(&[Rule::ProvenBeforeMode]),
    ),
    mutant(
        "request of another stream",
        TOLD_IS_KEPT,
        Scope { resyncs: 1, ..local_loss(2, 2, 1) }.breaking(&[Rule::BarrierOfTheRequestsStream]),
    ),
    mutant(
        "switchover without a fence",
        NO_TAIL,
        switchover(Switchover::BeginsSolo, 1, 1, 0, 1).breaking(&[Rule::SwitchoverFences]),
    ),
    mutant(
        "switchover before the end of the log",
        NO_TAIL,
        switchover(Switchover::BeginsSolo, 1, 1, 0, 1).breaking(&[Rule::SwitchoverCatchesUp]),
    ),
    mutant(
        "unfenced before the intent is cleared",
        NO_TAIL,
        switchover(Switchover::BeginsSolo, 1, 1, 0, 1).breaking(&[Rule::IntentClearedBeforeUnfence]),
    ),
    mutant(
        "unfenced for an older intent",
        NO_TAIL,
        switchover(Switchover::BeginsSolo, 1, 1, 0, 2).breaking(&[Rule::UnfenceNamesItsIntent]),
    ),
];
