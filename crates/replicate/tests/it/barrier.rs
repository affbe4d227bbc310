//! The barrier against a real server: moving watermarks, a changing epoch, a log that begins anew.

use std::{sync::Arc, time::Duration};

use model::{BarrierOutcome, BarrierReply, BarrierRequest, Epoch, Incarnation, Mode, StreamId, Watermark};
use mysql_async::prelude::Queryable;
use replicate::{
    barrier::{self, Barrier, Inputs, Lease},
    metrics::ReplicateMetrics,
    row,
};
use runtime::{clock::Boot, process::Shutdown};
use tokio::{sync::watch, task::JoinSet};

use crate::support::{Bed, aws, nhn, until};

struct Bench {
    bed: Bed,
    barrier: Barrier,
    watermarks: watch::Sender<Option<Watermark>>,
    leases: watch::Sender<Option<Lease>>,
    row_changes: watch::Sender<u64>,
    log_begun_anew: watch::Receiver<u64>,
    metrics: Arc<ReplicateMetrics>,
    /// In which a request that is asked about began.
    stream: StreamId,
    shutdown: Shutdown,
}

impl Bench {
    /// `nhn` is primary of epoch 1.
    async fn new(mode: Mode) -> Bench {
        let bed = Bed::new().await;
        let mut conn = bed.born(1, nhn(), 0).await;
        let stream = row::snapshot(&mut conn).await.unwrap().end_of_log.stream;
        if mode == Mode::Sync {
            assert!(row::to_sync(&mut conn, Epoch(1), &nhn(), &stream).await.unwrap());
        }
        conn.query_drop("CREATE DATABASE IF NOT EXISTS ticketing").await.unwrap();
        conn.query_drop("CREATE TABLE ticketing.t (id INT AUTO_INCREMENT PRIMARY KEY)").await.unwrap();
        let (barrier, inbox) = Barrier::new();
        let (watermarks, leases, row_changes) =
            (watch::Sender::new(None), watch::Sender::new(None), watch::Sender::new(0));
        let (begun_anew, log_begun_anew) = watch::channel(0);
        let metrics = Arc::new(ReplicateMetrics::default());
        let inputs = Inputs {
            site: nhn(),
            database: bed.database(),
            lease_ms: 3_600_000,
            watermarks: watermarks.subscribe(),
            leases: leases.subscribe(),
            row_changes: row_changes.subscribe(),
            log_begun_anew: begun_anew,
            metrics: Arc::clone(&metrics),
        };
        let shutdown = Shutdown::new();
        tokio::spawn(barrier::run(inbox, inputs, shutdown.clone()));
        Bench { bed, barrier, watermarks, leases, row_changes, log_begun_anew, metrics, stream, shutdown }
    }

    fn ask(&self) -> impl Future<Output = BarrierReply> + Send + 'static {
        let barrier = self.barrier.clone();
        let request = self.request();
        async move { barrier.ask(request).await }
    }

    fn request(&self) -> BarrierRequest {
        BarrierRequest { epoch: Epoch(1), stream: self.stream.clone(), wait_ms: 60_000 }
    }

    /// The standby has applied everything that is in the log now.
    async fn standby_catches_up(&self) {
        let mut conn = self.bed.agent().await;
        let position = row::snapshot(&mut conn).await.unwrap().end_of_log;
        let mark = Watermark { epoch: Epoch(1), incarnation: Incarnation(1), position };
        self.watermarks.send_replace(Some(mark));
    }

    async fn held(&self, count: i64) {
        until("held responses", async || (self.metrics.held_responses.get() == count).then_some(())).await;
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

#[tokio::test]
async fn in_sync_an_answer_waits_for_the_watermark_of_what_was_committed_before_it() {
    let bench = Bench::new(Mode::Sync).await;
    let mut conn = bench.bed.agent().await;
    conn.query_drop("INSERT INTO ticketing.t VALUES ()").await.unwrap();
    bench.standby_catches_up().await;
    let reply = bench.ask().await;
    assert_eq!((reply.outcome, reply.mode), (BarrierOutcome::Replicated, Some(Mode::Sync)));

    conn.query_drop("INSERT INTO ticketing.t VALUES ()").await.unwrap();
    let waits = tokio::spawn(bench.ask());
    bench.held(1).await;
    assert!(!waits.is_finished());
    bench.standby_catches_up().await;
    assert_eq!(waits.await.unwrap().outcome, BarrierOutcome::Replicated);
    bench.held(0).await;
}

#[tokio::test]
async fn a_changed_epoch_ends_those_who_wait_and_a_move_to_solo_frees_them() {
    let bench = Bench::new(Mode::Sync).await;
    let mut conn = bench.bed.agent().await;
    let token = row::snapshot(&mut conn).await.unwrap().row.token;
    bench.leases.send_replace(Some(Lease { epoch: Epoch(1), asked_ms: Boot::now().as_ms() }));
    let waits = tokio::spawn(bench.ask());
    bench.held(1).await;
    assert!(row::to_solo(&mut conn, Epoch(1), &nhn(), &bench.stream, token).await.unwrap());
    bench.row_changes.send_modify(|n| *n += 1);
    let outcome = waits.await.unwrap().outcome;
    assert!(
        matches!(outcome, BarrierOutcome::Solo { lease_left_ms } if lease_left_ms > 3_000_000),
        "{outcome:?}"
    );

    assert!(row::to_sync(&mut conn, Epoch(1), &nhn(), &bench.stream).await.unwrap());
    let waits = tokio::spawn(bench.ask());
    bench.held(1).await;
    // Nobody tells the barrier: it looks again by itself while somebody waits.
    assert!(row::raise(&mut conn, Epoch(2), &aws()).await.unwrap());
    let reply = waits.await.unwrap();
    assert_eq!((reply.outcome, reply.epoch), (BarrierOutcome::EpochChanged, Some(Epoch(2))));
}

#[tokio::test]
async fn in_solo_without_the_register_nothing_goes_out() {
    let bench = Bench::new(Mode::Solo).await;
    assert_eq!(bench.ask().await.outcome, BarrierOutcome::LeaseExpired);
}

#[tokio::test]
async fn a_log_that_begins_anew_is_an_unknown_answer() {
    let mut bench = Bench::new(Mode::Sync).await;
    bench.standby_catches_up().await;
    assert_eq!(bench.ask().await.outcome, BarrierOutcome::Replicated);
    let waits = tokio::spawn({
        let ask = bench.ask();
        let mut conn = bench.bed.agent().await;
        conn.query_drop("INSERT INTO ticketing.t VALUES ()").await.unwrap();
        ask
    });
    bench.held(1).await;
    bench.bed.agent().await.query_drop("RESET MASTER").await.unwrap();
    assert_eq!(waits.await.unwrap().outcome, BarrierOutcome::IdentityChanged);
    bench.log_begun_anew.changed().await.unwrap();
    assert_eq!(bench.ask().await.outcome, BarrierOutcome::IdentityChanged);

    // A new name for the log: what is asked from then on can be answered again.
    let mut conn = bench.bed.agent().await;
    let old = row::snapshot(&mut conn).await.unwrap().end_of_log.stream;
    assert!(row::new_stream(&mut conn, &old).await.unwrap());
    bench.standby_catches_up().await;
    assert_eq!(
        bench.ask().await.outcome,
        BarrierOutcome::IdentityChanged,
        "what began in the old one stays unknown"
    );
    bench.stream = row::snapshot(&mut conn).await.unwrap().end_of_log.stream;
    bench.standby_catches_up().await;
    until("answers in the new log", async || {
        (bench.ask().await.outcome == BarrierOutcome::Replicated).then_some(())
    })
    .await;
}

/// Another server takes the place of the one that wrote the row: with its data, but it is another one. A server's number
/// is what tells it from another, so a changed number is just that.
#[tokio::test]
async fn another_server_with_the_same_row_lets_nothing_out_in_either_mode() {
    for mode in [Mode::Sync, Mode::Solo] {
        let mut bench = Bench::new(mode).await;
        bench.leases.send_replace(Some(Lease { epoch: Epoch(1), asked_ms: Boot::now().as_ms() }));
        bench.standby_catches_up().await;
        assert!(bench.ask().await.outcome.releases());
        let mut conn = bench.bed.agent().await;
        let token = row::snapshot(&mut conn).await.unwrap().row.token;
        bench.bed.becomes_another_server().await;
        bench.standby_catches_up().await;
        assert_eq!(bench.ask().await.outcome, BarrierOutcome::IdentityChanged);
        // Neither for a request that begins now: what the row says was said by the other server.
        let old = bench.stream.clone();
        bench.stream = row::snapshot(&mut conn).await.unwrap().end_of_log.stream;
        assert_ne!(old, bench.stream);
        assert_eq!(bench.ask().await.outcome, BarrierOutcome::IdentityChanged);

        // And its mode is not moved, by whichever name of the log.
        for stream in [&old, &bench.stream] {
            assert!(!row::to_solo(&mut conn, Epoch(1), &nhn(), stream, token).await.unwrap());
            assert!(!row::to_sync(&mut conn, Epoch(1), &nhn(), stream).await.unwrap());
            assert!(!row::new_stream(&mut conn, stream).await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_database_that_restarts_only_delays() {
    let mut bench = Bench::new(Mode::Sync).await;
    bench.standby_catches_up().await;
    assert_eq!(bench.ask().await.outcome, BarrierOutcome::Replicated);
    bench.bed.server.kill().await.unwrap();
    bench.bed.server.start().await.unwrap();
    bench.standby_catches_up().await;
    until("it answers again", async || {
        (bench.ask().await.outcome == BarrierOutcome::Replicated).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_share_few_queries() {
    let bench = Bench::new(Mode::Sync).await;
    bench.standby_catches_up().await;
    let began = Boot::now();
    let mut asks = JoinSet::new();
    for _ in 0..200 {
        let (barrier, request) = (bench.barrier.clone(), bench.request());
        asks.spawn(async move {
            for _ in 0..50 {
                let reply = barrier.ask(request.clone()).await;
                assert_eq!(reply.outcome, BarrierOutcome::Replicated);
            }
        });
    }
    while let Some(ended) = asks.join_next().await {
        ended.unwrap();
    }
    let queries = bench.metrics.barrier_queries_total.get();
    println!("10000 barriers, {queries} queries, {:?}", began.elapsed().max(Duration::from_millis(1)));
    assert!(queries < 5_000, "{queries} queries for 10000 barriers: they are not shared");
}
