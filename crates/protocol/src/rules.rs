//! The rules of the protocol, one by one, so that each can be broken on purpose; and how far a run goes.

use crate::state::Write;

/// A rule of the design's §4. A model that breaks one must be caught: that is what shows that the properties can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// §4.1 (3): a barrier refuses a request that began in another epoch.
    BarrierOfTheRequestsEpoch,
    /// §4.1 (5): a barrier refuses a request that began in another stream, as this model sharpens it: *whenever* it asks.
    BarrierOfTheRequestsStream,
    /// §4.1 (3): the mode is what this very query of the row brought, not what an earlier one did.
    ModeFromTheQueryItself,
    /// §4.1 (4): a watermark counts in its own epoch only.
    WatermarkOfTheEpoch,
    /// §4.2: a watermark counts in its own stream only.
    WatermarkOfTheStream,
    /// §4.3: every applying transaction checks the epoch row.
    ApplierChecksTheEpoch,
    /// §4.3: every applying transaction moves the slot by compare-and-set.
    ApplierComparesTheSlot,
    /// §4.3: a promotion that has been done is not done again.
    PromotionOnce,
    /// §4.3: a promotion requires an attached, whole standby of the epoch before.
    PromotionOfTheAttached,
    /// §4.3: a promotion requires the standby incarnation that the register names.
    PromotionOfTheNamedIncarnation,
    /// §4.3: the failover record is the slot as the promotion's own transaction finds it.
    RecordInsideThePromotion,
    /// §4.3: only after a refusal was made permanent may the register go back.
    RefusalBeforeReturn,
    /// §4.3: a promotion ends the applier's sessions and waits for their end.
    PromotionEndsSessions,
    /// §4.3, as this model sharpens it: it does so *while it holds the row's lock*; what it ended before may have been
    /// followed by another.
    PromotionEndsSessionsLocked,
    /// §4.3: the row's lock is held while a definition runs.
    DefinitionUnderLock,
    /// §4.3: a definition that was begun is looked for before it is run again.
    DefinitionLookedFor,
    /// §4.4, to `solo`: the register first, then the row.
    SoloRegisterFirst,
    /// §4.4, to `solo`: a compare-and-set, even if the register says `solo` already.
    SoloAlwaysByCas,
    /// §4.4, to `solo`: the row only if its token is the one that was read.
    SoloComparesTheToken,
    /// §4.4, to `sync`: the row first, then the register.
    SyncRowFirst,
    /// §4.4, to `sync`: the register only after a watermark has passed the row's change.
    SyncWaitsForTheRow,
    /// §4.4, to `sync`: the register by the version that was read, not by what it says.
    SyncComparesTheVersion,
    /// §4.4: a failover by itself only in `sync`.
    FailoverOnlyInSync,
    /// §4.4: in `solo` the lease is looked at when the answer goes out, not when the barrier answers.
    LeaseAtRelease,
    /// §4.4: a lease is counted from sending the question, not from the answer.
    LeaseFromSending,
    /// §4.4: a lease runs on a clock that runs through suspension.
    LeaseClockRunsOn,
    /// §4.4: a forced failover waits the lease out between its compare-and-set and its promotion.
    ForcedWaitsTheLeaseOut,
    /// §4.5: a re-synchronisation begins with a compare-and-set in the register.
    ResyncAnnounced,
    /// §4.5: never copy from a primary whose stream changed before it is proven to hold all that the standby applied.
    ProvenBeforeCopy,
    /// §4.5, as this model sharpens it: nor does such a primary move its mode.
    ProvenBeforeMode,
    /// §4.5, as this model sharpens it: the row speaks only for the stream that it was written in.
    RowOfThisStream,
    /// §4.5, as this model sharpens it: an attempt at moving the mode dies with the stream that it began in.
    AttemptOfThisStream,
    /// §4.7: a switchover fences first, and goes on only when that is done.
    SwitchoverFences,
    /// §4.7: and when the standby is at the end of the log.
    SwitchoverCatchesUp,
    /// §4.7: an intent is cleared by compare-and-set; only then the application is let in again.
    IntentClearedBeforeUnfence,
    /// §4.7, as this model sharpens it: letting in again names the intent that it belongs to.
    UnfenceNamesItsIntent,
    /// A switchover that keeps `sync` in the register keeps it in the promoted row, too.
    SwitchoverRowAsRegister,
    /// §4.8: a new standby attaches at the promotion event, never at a remembered slot.
    AttachAtThePromotion,
    /// §4.8: a tail with definitions is not undone row by row.
    DefinitionsAreNotUndone,
}

impl Rule {
    /// All of them, in this order.
    pub const ALL: &[Rule] = &[
        Rule::BarrierOfTheRequestsEpoch,
        Rule::BarrierOfTheRequestsStream,
        Rule::ModeFromTheQueryItself,
        Rule::WatermarkOfTheEpoch,
        Rule::WatermarkOfTheStream,
        Rule::ApplierChecksTheEpoch,
        Rule::ApplierComparesTheSlot,
        Rule::PromotionOnce,
        Rule::PromotionOfTheAttached,
        Rule::PromotionOfTheNamedIncarnation,
        Rule::RecordInsideThePromotion,
        Rule::RefusalBeforeReturn,
        Rule::PromotionEndsSessions,
        Rule::PromotionEndsSessionsLocked,
        Rule::DefinitionUnderLock,
        Rule::DefinitionLookedFor,
        Rule::SoloRegisterFirst,
        Rule::SoloAlwaysByCas,
        Rule::SoloComparesTheToken,
        Rule::SyncRowFirst,
        Rule::SyncWaitsForTheRow,
        Rule::SyncComparesTheVersion,
        Rule::FailoverOnlyInSync,
        Rule::LeaseAtRelease,
        Rule::LeaseFromSending,
        Rule::LeaseClockRunsOn,
        Rule::ForcedWaitsTheLeaseOut,
        Rule::ResyncAnnounced,
        Rule::ProvenBeforeCopy,
        Rule::ProvenBeforeMode,
        Rule::RowOfThisStream,
        Rule::AttemptOfThisStream,
        Rule::SwitchoverFences,
        Rule::SwitchoverCatchesUp,
        Rule::IntentClearedBeforeUnfence,
        Rule::UnfenceNamesItsIntent,
        Rule::SwitchoverRowAsRegister,
        Rule::AttachAtThePromotion,
        Rule::DefinitionsAreNotUndone,
    ];
}

/// What a switchover leaves the mode at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Switchover {
    /// There is none in this run.
    Never,
    /// §4.4: every epoch begins in `solo`.
    BeginsSolo,
    /// `sync` in the register and in the row: answers wait until the old primary follows.
    KeepsSync,
}

/// How far a run goes: how often each thing may happen. Everything else happens in every order, at any time or never.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Visitors' writes.
    pub writes: u8,
    /// Epochs after the first, returns not counted.
    pub promotions: u8,
    /// Attempts at moving the mode.
    pub mode_moves: u8,
    /// Instances of each agent (1 or 2).
    pub agents: u8,
    /// Logs that begin anew on a primary.
    pub binlog_resets: u8,
    /// Standbys that are set back (a restored snapshot, a lost disk cache).
    pub regressions: u8,
    /// Re-synchronisations.
    pub resyncs: u8,
    /// A second applier reads, is delayed, and commits later.
    pub second_applier: bool,
    /// Forced failovers. With any of them, answers in `solo` need a lease.
    pub forced: u8,
    /// Refused promotions after which the register goes back.
    pub returns: u8,
    /// Events that a primary loses by its own local HA.
    pub local_losses: u8,
    /// What a switchover does.
    pub switchover: Switchover,
    /// Switchovers wanted.
    pub intents: u8,
    /// Write 0 is a definition.
    pub definition: bool,
    /// Deaths of the sessions that run it.
    pub deaths: u8,
    /// Rules that this run breaks.
    pub broken: &'static [Rule],
}

impl Scope {
    /// The core alone: writes, promotions, moves of the mode; two instances of each agent; no fault of a database.
    pub const fn core(writes: u8, promotions: u8, mode_moves: u8) -> Scope {
        Scope {
            writes,
            promotions,
            mode_moves,
            agents: 2,
            binlog_resets: 0,
            regressions: 0,
            resyncs: 0,
            second_applier: false,
            forced: 0,
            returns: 0,
            local_losses: 0,
            switchover: Switchover::Never,
            intents: 0,
            definition: false,
            deaths: 0,
            broken: &[],
        }
    }

    /// The same without some rules.
    pub const fn breaking(self, broken: &'static [Rule]) -> Scope {
        Scope { broken, ..self }
    }

    /// Whether this run keeps a rule.
    pub fn keeps(&self, rule: Rule) -> bool {
        !self.broken.contains(&rule)
    }

    /// Whether answers in `solo` need a lease here. Without forced failovers every lease may be ignored, and the rest
    /// must hold all the same: in `sync`, safety needs no clock.
    pub fn has_leases(&self) -> bool {
        self.forced > 0
    }

    /// Whether a write is a definition.
    pub fn is_definition(&self, write: Write) -> bool {
        self.definition && write == 0
    }
}
