//! Breaking the protocol on purpose, so that the simulation can show that it would notice.
//!
//! Each [`Sabotage`] names one line of a shipped module that is left out or turned round while it is active. Without
//! the cargo feature `sabotage`, which only the tests of `sim` turn on, [`is`] is the constant `false` and nothing of
//! this is in a program.

/// A line that is left out or turned round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// `replicate::checkpoint`: an applying transaction does not check the row's epoch.
    SkipEpochCheck,
    /// `replicate::checkpoint`: an applying transaction does not compare where the slot stands.
    SkipSlotCheck,
    /// `replicate::checkpoint`: a watermark is sent before its COMMIT.
    WatermarkBeforeCommit,
    /// `replicate::row`: the row is set to `solo` whatever token was read.
    IgnoreRowToken,
    /// `replicate::mode`: the row is set to `solo` before the register is, so answers go out before the compare-and-set.
    RowBeforeRegister,
    /// `replicate::mode`: the register is set to `sync` without waiting for the row's change to be on the standby.
    SyncWithoutWaiting,
    /// `replicate::mode`, `replicate::promote`, `decide`: which life of the standby's data is meant makes no difference.
    IgnoreIncarnation,
    /// `replicate::barrier`: a query also serves those that arrived while it was under way.
    EarlierQuery,
    /// `gateway::hold`: an answer goes out although its epoch has changed.
    ReleaseChangedEpoch,
    /// `gateway::hold`: a barrier also releases answers that were completed after it was sent.
    ReleaseUnserved,
    /// `decide`: a failover out of `solo` is allowed.
    PromoteInSolo,
    /// `decide`: a failover that an operator forced out of `solo` does not wait the old primary's lease out.
    PromoteWithinLease,
    /// `cloud::local::register_file`: a compare-and-set does not compare.
    SetWithoutCompare,
    /// `replicate::reinstate`: an old primary follows from a place that it remembers, not from the promotion.
    RememberedSlot,
}

impl Sabotage {
    /// Every one. The simulation must notice each of them.
    pub const ALL: [Sabotage; 14] = [
        Sabotage::SkipEpochCheck,
        Sabotage::SkipSlotCheck,
        Sabotage::WatermarkBeforeCommit,
        Sabotage::IgnoreRowToken,
        Sabotage::RowBeforeRegister,
        Sabotage::SyncWithoutWaiting,
        Sabotage::IgnoreIncarnation,
        Sabotage::EarlierQuery,
        Sabotage::ReleaseChangedEpoch,
        Sabotage::ReleaseUnserved,
        Sabotage::PromoteInSolo,
        Sabotage::PromoteWithinLease,
        Sabotage::SetWithoutCompare,
        Sabotage::RememberedSlot,
    ];
}

/// Whether this sabotage is active on this thread. Never, without the feature.
#[cfg(not(feature = "sabotage"))]
#[inline(always)]
pub const fn is(_: Sabotage) -> bool {
    false
}

#[cfg(feature = "sabotage")]
pub use self::active::{is, with};

#[cfg(feature = "sabotage")]
mod active {
    use std::cell::Cell;

    use super::Sabotage;

    thread_local! {
        static ACTIVE: Cell<Option<Sabotage>> = const { Cell::new(None) };
    }

    /// Whether this sabotage is active on this thread.
    pub fn is(sabotage: Sabotage) -> bool {
        ACTIVE.get() == Some(sabotage)
    }

    /// Runs `work` on this thread with `sabotage` active, or with none.
    pub fn with<T>(sabotage: Option<Sabotage>, work: impl FnOnce() -> T) -> T {
        struct Before(Option<Sabotage>);
        impl Drop for Before {
            fn drop(&mut self) {
                ACTIVE.set(self.0);
            }
        }
        let _before = Before(ACTIVE.replace(sabotage));
        work()
    }
}
