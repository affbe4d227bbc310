//! A managed database's own failover puts another server in the place of the one that wrote the row: with its data, but
//! perhaps not with the last of them. A server is told from another by its number, so a changed number is just that.

use std::time::Duration;

use model::{
    BarrierOutcome, Epoch, Mode,
    agent::{PromoteReply, ReinstateReply, Role, SeedReply, StandbyPhase},
};
use mysql_async::prelude::Queryable;
use replicate::row;

use crate::{
    agent::{PATIENCE, Pair},
    support::{application, aws, becomes_another_server, database, nhn, until},
};

/// Both sites, in `sync`, with a table.
async fn in_sync() -> Pair {
    let mut pair = Pair::new().await;
    pair.start(&nhn()).await;
    pair.nhn.is_open_primary(1).await;
    let mut ticketing = application(&pair.nhn.server).await.unwrap();
    ticketing.query_drop("CREATE DATABASE ticketing").await.unwrap();
    ticketing.query_drop("CREATE TABLE ticketing.seat (id INT PRIMARY KEY)").await.unwrap();
    pair.start(&aws()).await;
    until("the register says sync", async || (pair.register.now().mode == Mode::Sync).then_some(())).await;
    pair.aws.becomes("attached", |s| s.role == Role::Standby { phase: StandbyPhase::Attached }).await;
    pair
}

/// While the primary's agent is away, its server's place is taken by one that lost the change to `sync` and every seat, and
/// whose log is its own. The agent that begins then remembers nothing: only the row can tell it.
async fn the_primarys_place_is_taken(pair: &mut Pair) {
    pair.nhn.stop().await;
    becomes_another_server(&pair.nhn.server).await;
    let mut conn = database(&pair.nhn.server).open().await.unwrap();
    conn.query_drop("DELETE FROM ticketing.seat").await.unwrap();
    conn.query_drop("UPDATE ghostlight.site SET mode = 'solo', token = token + 1").await.unwrap();
    conn.query_drop("RESET MASTER").await.unwrap();
    pair.start(&nhn()).await;
}

async fn seats(pair: &Pair) -> u64 {
    let mut standby = database(&pair.aws.server).open().await.unwrap();
    standby.query_first("SELECT COUNT(*) FROM ticketing.seat").await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unproven_primary_answers_nothing_moves_no_mode_and_is_not_copied_from() {
    let mut pair = in_sync().await;
    let stream = pair.nhn.serving().await.stream;
    let mut ticketing = application(&pair.nhn.server).await.unwrap();
    ticketing.query_drop("INSERT INTO ticketing.seat VALUES (1)").await.unwrap();
    assert_eq!(pair.nhn.barrier(1).await.outcome, BarrierOutcome::Replicated, "somebody was told of it");
    the_primarys_place_is_taken(&mut pair).await;
    let before = pair.register.now();
    pair.nhn.becomes("stopped", |s| matches!(s.role, Role::Stopped { .. })).await;
    assert!(!pair.nhn.serving().await.open);
    for began in [stream, pair.nhn.serving().await.stream] {
        let reply = pair.nhn.barrier_in(1, began).await;
        assert_eq!(reply.outcome, BarrierOutcome::IdentityChanged, "its row says `solo`, and lies");
    }
    // Longer than a standby may be silent, and than one that lost its place takes to announce a new life.
    tokio::time::sleep(Duration::from_millis(2 * pair.nhn.policy.solo_after_ms)).await;
    assert_eq!(pair.register.now(), before, "neither side has moved the register");
    assert_eq!(seats(&pair).await, 1, "the standby has kept what the primary lost");
    let reply: ReinstateReply = pair.nhn.client.post("/v1/reinstate", &(), PATIENCE).await.unwrap();
    assert!(matches!(reply, ReinstateReply::NotNeeded { .. }), "not while the register says sync: {reply:?}");

    // What a controller does then. The old site is closed by the newer epoch, whatever its data are.
    pair.register.change(|r| (r.epoch, r.primary, r.mode) = (Epoch(2), aws(), Mode::Solo));
    let reply = pair.aws.promote(2).await;
    assert!(matches!(reply, PromoteReply::Promoted { .. }), "{reply:?}");
    assert_eq!(seats(&pair).await, 1);
    pair.nhn.becomes("closed", |s| s.row.as_ref().is_some_and(|row| row.epoch == Epoch(2))).await;
    // Its log is not the one that the failover ended, so it is compared and made equal in place.
    let mut old = database(&pair.nhn.server).open().await.unwrap();
    until("it holds what was lost", async || {
        let seats: Option<u64> = old.query_first("SELECT COUNT(*) FROM ticketing.seat").await.unwrap();
        (seats == Some(1)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_solo_an_operator_may_take_the_other_servers_data_and_then_fill_the_standby() {
    let mut pair = in_sync().await;
    pair.register.change(|r| r.mode = Mode::Solo);
    the_primarys_place_is_taken(&mut pair).await;
    let stopped = pair.nhn.becomes("stopped", |s| matches!(s.role, Role::Stopped { .. })).await;
    assert_eq!(pair.register.now().mode, Mode::Solo);
    let reply: ReinstateReply = pair.nhn.client.post("/v1/reinstate", &(), PATIENCE).await.unwrap();
    assert_eq!(reply, ReinstateReply::Ordered);
    let open = pair.nhn.is_open_primary(1).await;
    assert_ne!(open.stream, stopped.stream, "under a name that no log ever had");
    until("it answers alone", async || pair.nhn.barrier(1).await.outcome.releases().then_some(())).await;
    pair.aws.becomes("told of another log", |s| matches!(s.role, Role::Stopped { .. })).await;
    let reply: SeedReply = pair.aws.client.post("/v1/seed", &(), PATIENCE).await.unwrap();
    assert_eq!(reply, SeedReply::Begun);
    until("sync again", async || (pair.register.now().mode == Mode::Sync).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standbys_data_on_another_server_begin_a_new_life_and_go_on() {
    let pair = in_sync().await;
    let life = pair.register.now().standby_incarnation;
    becomes_another_server(&pair.aws.server).await;
    until("a new life is announced", async || (pair.register.now().standby_incarnation > life).then_some(()))
        .await;
    until("sync again", async || (pair.register.now().mode == Mode::Sync).then_some(())).await;
    let mut standby = database(&pair.aws.server).open().await.unwrap();
    assert!(row::snapshot(&mut standby).await.unwrap().row_speaks());
    assert_eq!(pair.register.now().standby_incarnation.0, life.0 + 1, "once");
}
