//! The mode machine with its driver against a real row and a register in memory.

use std::time::Duration;

use model::{Epoch, Incarnation, Mode, Watermark, agent::Row, topology::WhenStandbyLost};
use mysql_async::Conn;
use replicate::{heartbeat::Beat, mode::Rules, mode_driver, register, row};
use runtime::{clock::Boot, process::Shutdown};
use tokio::sync::watch;

use crate::support::{Bed, MemoryRegister, nhn, register, until};

struct Bench {
    bed: Bed,
    register: MemoryRegister,
    watermarks: watch::Sender<Option<Watermark>>,
    standby_follows: watch::Sender<bool>,
    shutdown: Shutdown,
}

impl Bench {
    /// `nhn` is primary of epoch 1, in `solo`; what commits and looks is simulated by small tasks, the standby too.
    async fn new() -> Bench {
        let bed = Bed::new().await;
        bed.born(1, nhn(), 0).await;
        let register = MemoryRegister::new(register(5, 1, nhn(), 7));
        let (watermarks, beats, row_seen) =
            (watch::Sender::new(None), watch::Sender::new(None), watch::Sender::new(None));
        let (register_seen, seen) = watch::channel(None);
        let shutdown = Shutdown::new();
        let standby_follows = watch::Sender::new(false);
        tokio::spawn(register::poll(
            register.handle(),
            Duration::from_millis(20),
            register_seen,
            shutdown.clone(),
        ));
        tokio::spawn(beat(
            bed.agent().await,
            beats.clone(),
            row_seen.clone(),
            watermarks.clone(),
            standby_follows.subscribe(),
            shutdown.clone(),
        ));
        let inputs = mode_driver::Inputs {
            rules: Rules {
                site: nhn(),
                epoch: Epoch(1),
                when_standby_lost: WhenStandbyLost::Solo,
                solo_after_ms: 500,
                hold_max_ms: 10_000,
                retry_ms: 20,
            },
            database: bed.database(),
            register: register.handle(),
            register_seen: seen,
            row_seen: row_seen.subscribe(),
            beats: beats.subscribe(),
            watermarks: watermarks.subscribe(),
            row_changes: watch::Sender::new(0),
            lag_ms: watch::Sender::new(None),
        };
        tokio::spawn(mode_driver::run(inputs, shutdown.clone()));
        Bench { bed, register, watermarks, standby_follows, shutdown }
    }

    async fn row(&self) -> Row {
        row::snapshot(&mut self.bed.agent().await).await.unwrap().row
    }

    async fn reaches(&self, mode: Mode) {
        until(&format!("register and row say {mode}"), async || {
            (self.register.now().mode == mode && self.row().await.mode == mode).then_some(())
        })
        .await;
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Commits and looks every 20 ms; while the standby follows, it holds each commit at once.
async fn beat(
    mut conn: Conn,
    beats: watch::Sender<Option<Beat>>,
    rows: watch::Sender<Option<Row>>,
    watermarks: watch::Sender<Option<Watermark>>,
    follows: watch::Receiver<bool>,
    shutdown: Shutdown,
) {
    use mysql_async::prelude::Queryable;
    while !shutdown.is_cancelled() {
        let began = Boot::now();
        conn.query_drop("UPDATE ghostlight.heartbeat SET n = n + 1").await.unwrap();
        let here = row::snapshot(&mut conn).await.unwrap();
        let position = here.end_of_log.clone();
        beats.send_replace(Some(Beat {
            epoch: here.row.epoch,
            position: position.clone(),
            began,
            committed: Boot::now(),
        }));
        rows.send_replace(Some(here.row));
        if *follows.borrow() {
            let mark = Watermark { epoch: Epoch(1), incarnation: Incarnation(7), position };
            watermarks.send_replace(Some(mark));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_mode_follows_the_standby_there_and_back() {
    let bench = Bench::new().await;
    bench.standby_follows.send_replace(true);
    bench.reaches(Mode::Sync).await;
    let (version, token) = (bench.register.now().version, bench.row().await.token);
    bench.standby_follows.send_replace(false);
    bench.reaches(Mode::Solo).await;
    assert!(bench.register.now().version > version);
    assert_ne!(bench.row().await.token, token);
    bench.standby_follows.send_replace(true);
    bench.reaches(Mode::Sync).await;
}

#[tokio::test]
async fn without_the_register_a_lost_standby_changes_nothing() {
    let bench = Bench::new().await;
    bench.standby_follows.send_replace(true);
    bench.reaches(Mode::Sync).await;
    bench.register.answers(false);
    bench.standby_follows.send_replace(false);
    tokio::time::sleep(Duration::from_millis(1_500)).await; // three times as long as it takes with a register
    assert_eq!((bench.register.now().mode, bench.row().await.mode), (Mode::Sync, Mode::Sync));
    bench.register.answers(true);
    bench.reaches(Mode::Solo).await;
}

#[tokio::test]
async fn a_failover_wins_against_a_move_to_solo() {
    let bench = Bench::new().await;
    bench.standby_follows.send_replace(true);
    bench.reaches(Mode::Sync).await;
    bench.register.answers(false);
    bench.standby_follows.send_replace(false);
    bench.register.change(|r| {
        r.epoch = Epoch(2);
        r.primary = crate::support::aws();
        r.mode = Mode::Solo;
    });
    bench.register.answers(true);
    let version = bench.register.now().version;
    tokio::time::sleep(Duration::from_millis(1_500)).await; // three times as long as the move would take
    assert_eq!(bench.register.now().version, version, "the register is the new primary's now");
    assert_eq!(bench.row().await.mode, Mode::Sync, "and answers go on waiting");
}

#[tokio::test]
async fn the_watermark_of_another_life_does_not_lead_to_sync() {
    let bench = Bench::new().await;
    bench.register.change(|r| r.standby_incarnation = Incarnation(8));
    bench.standby_follows.send_replace(true);
    until("watermarks come", async || bench.watermarks.borrow().is_some().then_some(())).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await; // ten times as long as it takes in the right life
    assert_eq!(bench.register.now().mode, Mode::Solo);
}
