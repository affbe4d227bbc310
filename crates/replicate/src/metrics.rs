//! The metrics of this crate.

use model::BarrierOutcome;
use runtime::metrics::prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What became of a barrier.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// The outcome's name in the API.
    pub outcome: &'static str,
}

/// What an agent counts.
#[derive(Debug, Default)]
pub struct ReplicateMetrics {
    /// Barriers answered, by outcome.
    pub barriers_total: Family<OutcomeLabel, Counter>,
    /// Queries sent for them: the fewer per barrier, the better the batching.
    pub barrier_queries_total: Counter,
    /// Answers that wait at this moment.
    pub held_responses: Gauge,
    /// The row's epoch.
    pub epoch: Gauge,
    /// 1 while the row says `sync`.
    pub mode_sync: Gauge,
    /// 1 while the application may write here.
    pub open: Gauge,
    /// How far the standby is behind.
    pub lag_ms: Gauge,
    /// Age of the last sight of the register.
    pub register_age_ms: Gauge,
    /// Heartbeats committed.
    pub heartbeats_total: Counter,
    /// Heartbeats that the database did not take.
    pub heartbeats_failed_total: Counter,
}

impl ReplicateMetrics {
    /// Adds all of them to a process's metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("barriers", "Barriers answered, by outcome", self.barriers_total.clone());
        registry.register(
            "barrier_queries",
            "Queries sent to the database for barriers; one serves many",
            self.barrier_queries_total.clone(),
        );
        registry.register(
            "held_responses",
            "Answers that wait for the standby at this moment",
            self.held_responses.clone(),
        );
        registry.register("epoch", "The epoch in this database's row", self.epoch.clone());
        registry.register("mode_sync", "1 while the row's mode is sync, 0 in solo", self.mode_sync.clone());
        registry.register("database_open", "1 while the application may write here", self.open.clone());
        registry.register(
            "replication_lag_ms",
            "Milliseconds that the standby is behind, measured on the primary",
            self.lag_ms.clone(),
        );
        registry.register(
            "register_age_ms",
            "Milliseconds since the register was last seen",
            self.register_age_ms.clone(),
        );
        registry.register(
            "heartbeats",
            "Heartbeats committed on the transaction path",
            self.heartbeats_total.clone(),
        );
        registry.register(
            "heartbeats_failed",
            "Heartbeats that the database did not take",
            self.heartbeats_failed_total.clone(),
        );
    }

    /// Counts one answered barrier.
    pub fn count_barrier(&self, outcome: BarrierOutcome) {
        let outcome = match outcome {
            BarrierOutcome::Replicated => "replicated",
            BarrierOutcome::Solo { .. } => "solo",
            BarrierOutcome::EpochChanged => "epoch_changed",
            BarrierOutcome::IdentityChanged => "identity_changed",
            BarrierOutcome::TimedOut => "timed_out",
            BarrierOutcome::LeaseExpired => "lease_expired",
            BarrierOutcome::DatabaseUnavailable => "database_unavailable",
        };
        self.barriers_total.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}
