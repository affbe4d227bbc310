//! Heartbeats on a real server, and the memory that they leave of its log.

use std::sync::Arc;

use model::Epoch;
use mysql_async::prelude::Queryable;
use replicate::{
    heartbeat::{self, Heart, Inputs, ProbeError, has_begun_anew},
    metrics::ReplicateMetrics,
    row,
};
use runtime::process::Shutdown;
use tokio::sync::watch;

use crate::support::{Bed, aws, nhn, until};

struct Bench {
    bed: Bed,
    heart: Heart,
    primary_in: watch::Sender<Option<Epoch>>,
    beats: watch::Receiver<Option<heartbeat::Beat>>,
    shutdown: Shutdown,
}

impl Bench {
    async fn new() -> Bench {
        let bed = Bed::new().await;
        bed.born(1, nhn(), 0).await;
        let (heart, probes) = Heart::new();
        let (primary_in, seen) = watch::channel(Some(Epoch(1)));
        let (beats, told) = watch::channel(None);
        let inputs = Inputs {
            site: nhn(),
            database: bed.database(),
            every_ms: 20,
            primary_in: seen,
            beats,
            log_begun_anew: watch::Sender::new(0),
            vitals: watch::Sender::new(replicate::vitals::Vitals::default()).subscribe(),
            metrics: Arc::new(ReplicateMetrics::default()),
        };
        let shutdown = Shutdown::new();
        tokio::spawn(heartbeat::run(probes, inputs, shutdown.clone()));
        Bench { bed, heart, primary_in, beats: told, shutdown }
    }

    async fn some_beats(&mut self) {
        for _ in 0..5 {
            self.beats.changed().await.unwrap();
        }
    }

    async fn begun_anew(&self) -> Option<String> {
        has_begun_anew(&mut self.bed.agent().await).await.unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

#[tokio::test]
async fn a_probe_commits_and_only_where_this_site_is_primary() {
    let mut bench = Bench::new().await;
    bench.some_beats().await;
    assert_eq!(bench.heart.probe().await.unwrap().epoch, Epoch(1));
    let before = bench.beats.borrow_and_update().clone().unwrap().position;
    bench.some_beats().await;
    let after = bench.beats.borrow().clone().unwrap().position;
    assert!(after.has_reached(&before) && after != before, "each beat is in the log");

    // The row says otherwise before anybody told the heart.
    row::raise(&mut bench.bed.agent().await, Epoch(2), &aws()).await.unwrap();
    assert_eq!(bench.heart.probe().await, Err(ProbeError::NotPrimary));
    bench.primary_in.send_replace(None);
    assert_eq!(bench.heart.probe().await, Err(ProbeError::NotPrimary));
}

#[tokio::test]
async fn a_database_that_dies_fails_its_probes_and_beats_again_when_it_is_back() {
    let mut bench = Bench::new().await;
    bench.some_beats().await;
    bench.bed.server.kill().await.unwrap();
    until("a probe fails", async || {
        matches!(bench.heart.probe().await, Err(ProbeError::DoesNotCommit(_))).then_some(())
    })
    .await;
    bench.bed.server.start().await.unwrap();
    bench.some_beats().await;
    assert_eq!(bench.begun_anew().await, None, "a restart is no new log");
}

#[tokio::test]
async fn a_new_log_is_told_from_one_that_was_closed_purged_or_continued() {
    let mut bench = Bench::new().await;
    bench.some_beats().await;
    bench.shutdown.cancel();
    let mut conn = bench.bed.agent().await;
    assert_eq!(bench.begun_anew().await, None);
    conn.query_drop("FLUSH BINARY LOGS").await.unwrap();
    assert_eq!(bench.begun_anew().await, None, "closed");

    // Begun anew, and grown far past the place that is remembered.
    conn.query_drop("RESET MASTER").await.unwrap();
    assert!(bench.begun_anew().await.is_some(), "shorter than it was");
    conn.query_drop("CREATE DATABASE shop").await.unwrap();
    conn.query_drop("CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, filler VARCHAR(5000))")
        .await
        .unwrap();
    for _ in 0..10 {
        conn.query_drop("INSERT INTO shop.t (filler) VALUES (REPEAT('x', 5000))").await.unwrap();
    }
    let why = bench.begun_anew().await;
    assert!(why.as_ref().is_some_and(|why| why.contains("no transaction that ends at")), "{why:?}");

    // With a new name it is a log like any other.
    let old = row::snapshot(&mut conn).await.unwrap().end_of_log.stream;
    assert!(row::new_stream(&mut conn, &old).await.unwrap());
    assert_eq!(bench.begun_anew().await, None);
    assert!(!row::new_stream(&mut conn, &old).await.unwrap(), "a second agent finds it done");
}
