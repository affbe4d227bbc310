//! Switchovers of the whole lab. Slow (a minute): two clouds of real processes, visitors, four changes of primary.

use std::{path::PathBuf, time::Duration};

use lab::{
    drill::{
        access::Access,
        switchover::{self, Summary, Switchover},
    },
    lab::{Lab, LabOptions},
};
use model::{observation::View, switchover::State};
use mysql_async::{Row, prelude::Queryable as _};
use runtime::clock::Boot;

use crate::up::programs;

const PATIENCE: Duration = Duration::from_secs(90);

/// A lab for one test. Its folder stays to be looked at when the test has failed.
async fn with_a_lab(name: &str, solo_after_ms: u64, test: impl AsyncFnOnce(&Access)) {
    let folder = PathBuf::from(format!("/var/tmp/ghostlight-test-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut options = LabOptions::new(folder.join("lab"));
    options.programs = Some(programs());
    options.solo_after_ms = solo_after_ms;
    options.database.redo_log_mib = 16;
    let lab = Box::pin(Lab::start(options, &|what| eprintln!("lab: {what}"))).await.unwrap();
    let access = Access::new(lab.topology().clone(), lab.folder()).unwrap();
    access.wait_for_sync(PATIENCE).await.unwrap();
    all_is_well(&access).await;
    test(&access).await;
    lab.stop().await;
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Waits until the controller that leads has seen the `sync`, too: it refuses what it has not seen yet.
async fn all_is_well(access: &Access) {
    let (leader, began) = (access.leader().await.unwrap(), Boot::now());
    loop {
        let view: View = leader.get("/v1/view", PATIENCE).await.unwrap();
        if view.verdict.problems.is_empty() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{:?}", view.verdict);
        tokio::time::sleep(Duration::from_millis(20)).await; // the controller tells when it is asked
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_back_under_load_and_nobody_is_told_an_error() {
    with_a_lab("switchover", 2_000, async |access| {
        let config = Switchover { rounds: 2, seed: 7, rate_per_s: 60.0, link_rtt_ms: None };
        let mut rounds = Vec::new();
        let talk = |what: String| eprintln!("{what}");
        switchover::run(access.clone(), &config, |round| rounds.push(round.clone()), &talk).await.unwrap();
        let summary = Summary::of(&rounds);
        assert!(summary.is_clean(), "{summary:?} {rounds:#?}");
        assert_eq!((rounds[0].from.as_str(), rounds[1].from.as_str()), ("nhn", "aws"));
        assert!(summary.requests > 100, "{summary:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_cannot_catch_up_in_time_is_not_switched_to() {
    // The primary goes on alone later than the catch-up gives up, or either could be the reason for taking it back.
    with_a_lab("rollback", 8_000, async |access| {
        let before = access.register().await.unwrap();
        let to = access.topology.peer_of(&before.primary).unwrap().clone();
        // From now on the standby receives everything and applies nothing; what was measured until now was fine.
        let mut standby = access.database(&to).await.unwrap();
        standby.query_drop("START TRANSACTION").await.unwrap();
        let _: Vec<Row> = standby.query("SELECT * FROM ghostlight.applied FOR UPDATE").await.unwrap();
        let began = Boot::now();
        let (mut told, leader) = access.switchover(&to).await.unwrap();
        while matches!(told.state, State::Asked | State::UnderWay) {
            assert!(began.elapsed() < PATIENCE, "{told:?}");
            tokio::time::sleep(Duration::from_millis(20)).await; // the controller tells when it is asked
            let view: View = leader.get("/v1/view", PATIENCE).await.unwrap();
            told = view.switchover.unwrap();
        }
        assert_eq!(told.state, State::RolledBack, "{told:?}");
        assert!(told.reasons.iter().any(|r| r.contains("did not catch up")), "{told:?}");
        let kinds: Vec<&str> = told.phases.iter().map(|p| p.phase.as_str()).collect();
        assert!(kinds.contains(&"close") && kinds.contains(&"withdraw"), "{kinds:?}");

        // The old primary serves again, in its epoch, although the standby is as far behind as before.
        while !access.serves(&before.primary).await.unwrap() {
            assert!(began.elapsed() < PATIENCE, "{} is not open again", before.primary);
            tokio::time::sleep(Duration::from_millis(20)).await; // the agent tells when it is asked
        }
        let after = access.register().await.unwrap();
        assert_eq!((after.epoch, &after.primary, &after.intent), (before.epoch, &before.primary, &None));
        standby.query_drop("ROLLBACK").await.unwrap();
        let synced = access.wait_for_sync(PATIENCE).await.unwrap();
        assert_eq!(synced.primary, before.primary);
    })
    .await;
}
