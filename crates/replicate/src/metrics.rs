//! The metrics of this crate.

use model::BarrierOutcome;
use runtime::metrics::prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// What became of a barrier.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// The outcome's name in the API.
    pub outcome: &'static str,
}

/// What an agent counts.
#[derive(Debug)]
pub struct ReplicateMetrics {
    /// Barriers answered, by outcome.
    pub barriers_total: Family<OutcomeLabel, Counter>,
    /// Queries sent for them: the fewer per barrier, the better the batching.
    pub barrier_queries_total: Counter,
    /// How long one such query took, in seconds.
    pub barrier_query_s: Histogram,
    /// How long answers were held, in seconds: from the barrier's arrival to its answer.
    pub barrier_hold_s: Histogram,
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
    /// Seconds for which this log still holds the standby's place at least.
    pub retention_left_s: Gauge,
    /// Of every thousand rows, so many were compared with the primary in the present round.
    pub verify_permille: Gauge,
    /// Rows that were found to differ from the primary.
    pub verify_differences: Gauge,
    /// Age of the last complete comparison of all tables.
    pub verify_round_age_s: Gauge,
    /// Age of the last sight of the register.
    pub register_age_ms: Gauge,
    /// 1 while this database is taken back.
    pub reinstating: Gauge,
    /// Transactions of the last tail in quarantine.
    pub quarantined_transactions: Gauge,
    /// Rows of the last tail in quarantine.
    pub quarantined_rows: Gauge,
    /// Of these, the ones that are undone.
    pub undone_rows: Gauge,
    /// Heartbeats committed.
    pub heartbeats_total: Counter,
    /// Heartbeats that the database did not take.
    pub heartbeats_failed_total: Counter,
    /// Transactions of the primary that went into one of the standby.
    pub batch_transactions: Histogram,
    /// Transactions applied here.
    pub applied_transactions_total: Counter,
    /// Row changes applied here, as the primary made them.
    pub applied_rows_total: Counter,
    /// Row changes that folding saved.
    pub folded_rows_total: Counter,
    /// Merged batches that were done again row by row.
    pub batches_again_total: Counter,
}

/// From a quarter of a millisecond to eight seconds, doubling.
fn buckets() -> impl Iterator<Item = f64> {
    (0..16).map(|i| 0.000_25 * f64::from(1 << i))
}

impl Default for ReplicateMetrics {
    fn default() -> Self {
        ReplicateMetrics {
            barriers_total: Family::default(),
            barrier_queries_total: Counter::default(),
            barrier_query_s: Histogram::new(buckets()),
            barrier_hold_s: Histogram::new(buckets()),
            held_responses: Gauge::default(),
            epoch: Gauge::default(),
            mode_sync: Gauge::default(),
            open: Gauge::default(),
            lag_ms: Gauge::default(),
            retention_left_s: Gauge::default(),
            verify_permille: Gauge::default(),
            verify_differences: Gauge::default(),
            verify_round_age_s: Gauge::default(),
            register_age_ms: Gauge::default(),
            reinstating: Gauge::default(),
            quarantined_transactions: Gauge::default(),
            quarantined_rows: Gauge::default(),
            undone_rows: Gauge::default(),
            heartbeats_total: Counter::default(),
            heartbeats_failed_total: Counter::default(),
            batch_transactions: Histogram::new((0..15).map(|i| f64::from(1 << i))),
            applied_transactions_total: Counter::default(),
            applied_rows_total: Counter::default(),
            folded_rows_total: Counter::default(),
            batches_again_total: Counter::default(),
        }
    }
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
            "barrier_query_seconds",
            "How long a barrier's query took",
            self.barrier_query_s.clone(),
        );
        registry.register(
            "barrier_hold_seconds",
            "How long answers were held, from the barrier's arrival to its answer",
            self.barrier_hold_s.clone(),
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
            "retention_left_s",
            "Seconds for which this primary's log still holds the standby's place at least; -1: not known, or for ever",
            self.retention_left_s.clone(),
        );
        registry.register(
            "verify_permille",
            "Of every thousand rows, so many were compared with the primary in the present round",
            self.verify_permille.clone(),
        );
        registry.register(
            "verify_differences",
            "Rows that were found to differ from the primary and were not repaired",
            self.verify_differences.clone(),
        );
        registry.register(
            "verify_round_age_s",
            "Seconds since all tables were compared with the primary for the last time; -1: not yet",
            self.verify_round_age_s.clone(),
        );
        registry.register(
            "register_age_ms",
            "Milliseconds since the register was last seen",
            self.register_age_ms.clone(),
        );
        registry.register(
            "reinstating",
            "1 while this database, an old primary's, is taken back",
            self.reinstating.clone(),
        );
        registry.register(
            "quarantined_transactions",
            "Transactions that were never acknowledged and were put into quarantine by this agent",
            self.quarantined_transactions.clone(),
        );
        registry.register(
            "quarantined_rows",
            "Rows of the transactions in quarantine",
            self.quarantined_rows.clone(),
        );
        registry.register(
            "undone_rows",
            "Rows of the transactions in quarantine that are undone",
            self.undone_rows.clone(),
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
        registry.register(
            "batch_transactions",
            "Transactions of the primary that went into one of the standby",
            self.batch_transactions.clone(),
        );
        registry.register(
            "applied_transactions",
            "The primary's transactions applied here",
            self.applied_transactions_total.clone(),
        );
        registry.register(
            "applied_rows",
            "Row changes applied here, as the primary made them",
            self.applied_rows_total.clone(),
        );
        registry.register(
            "folded_rows",
            "Row changes that need not be made, because later ones of the same batch replace them",
            self.folded_rows_total.clone(),
        );
        registry.register(
            "batches_done_again",
            "Merged batches that did not come out as they must and were done again row by row",
            self.batches_again_total.clone(),
        );
    }

    /// Counts one answered barrier that arrived `held_s` ago.
    pub fn count_barrier(&self, outcome: BarrierOutcome, held_s: f64) {
        self.barrier_hold_s.observe(held_s);
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
