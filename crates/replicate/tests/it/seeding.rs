//! An empty standby becomes equal while the primary goes on.

use std::time::Duration;

use model::{Site, agent::StandbyPhase};
use mysql_async::prelude::Queryable;
use replicate::{
    apply::{FollowProgress, StandbyError},
    copy,
};
use runtime::process::Shutdown;
use tokio::{sync::watch, time::sleep};

use crate::pair::Pair;

const SHOP: &[&str] = &[
    "CREATE DATABASE shop CHARACTER SET latin1",
    "USE shop",
    "CREATE TABLE parent (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(100))",
    "CREATE TABLE a_child (id INT PRIMARY KEY AUTO_INCREMENT, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
    "INSERT INTO parent SELECT seq, REPEAT('x', seq % 100) FROM seq_1_to_20000",
    "INSERT INTO a_child SELECT seq, 1 + seq % 20000 FROM seq_1_to_20000",
    "CREATE TABLE empty (id INT PRIMARY KEY)",
    "CREATE PROCEDURE clear() DELETE FROM parent WHERE id > 10",
    // The first by name needs the second.
    "CREATE VIEW b_view AS SELECT id, id * 2 AS t FROM parent WHERE id < 10",
    "CREATE VIEW a_view AS SELECT * FROM b_view",
    "CREATE DATABASE other",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_while_writes_and_definitions_go_on_comes_out_equal() {
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let shipping = pair.ship(&pair.a, 1).await;
    let stop = Shutdown::new();
    let (database, stopped) = (pair.a.database.clone(), stop.clone());
    let writer = tokio::spawn(async move {
        let (mut conn, mut n) = (database.open().await.unwrap(), 0_u64);
        while !stopped.is_cancelled() {
            n += 1;
            conn.query_drop(format!("UPDATE shop.parent SET text='{n}' WHERE id={}", n * 37 % 20000))
                .await
                .unwrap();
            conn.query_drop("INSERT INTO shop.a_child (p) VALUES (2),(3)").await.unwrap();
            conn.query_drop(format!("DELETE FROM shop.parent WHERE id={}", 20_000 - n)).await.unwrap();
            if n < 4 {
                conn.query_drop(format!("CREATE TABLE shop.during{n} (id INT PRIMARY KEY)")).await.unwrap();
                conn.query_drop(format!("ALTER TABLE shop.a_child ADD COLUMN during{n} INT")).await.unwrap();
            }
        }
    });
    pair.seed(&shipping).await.unwrap();
    let follower = pair.follow(&shipping);
    sleep(Duration::from_millis(200)).await; // a while of load on the attached stream
    stop.cancel();
    writer.await.unwrap();
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    let seen: u64 = pair.b.scalar("SELECT t FROM shop.a_view WHERE id=7").await;
    assert_eq!(seen, 14, "views are there and work");
    pair.b.run(&["DROP PROCEDURE shop.clear"]).await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_seed_goes_on_and_nothing_is_attached_before_its_end() {
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let shipping = pair.ship(&pair.a, 1).await;
    let (progress, mut seen) = watch::channel(FollowProgress::default());
    let stop = Shutdown::new();
    let config = pair.config(&pair.b, &shipping, &pair.a.site, 1);
    let seeding = tokio::spawn(copy::fill::run(config.clone(), progress, stop.clone()));
    seen.wait_for(|p| p.rows_seeded > 0).await.unwrap();
    assert_eq!(seen.borrow().phase, StandbyPhase::Seeding);
    seeding.abort();
    drop(seeding.await);
    let seeding: u8 = pair.b.scalar("SELECT seeding FROM ghostlight.site").await;
    assert_eq!(seeding, 1);
    let copied: u64 =
        pair.b.scalar("SELECT COUNT(*) FROM ghostlight.copying WHERE up_to IS NOT NULL OR complete").await;
    assert!(copied > 0, "what is copied is noted");
    // Rows behind the note are not read again: one of them goes missing, and nobody notices.
    pair.b.run(&["DELETE FROM shop.a_child WHERE id=1"]).await;
    pair.seed(&shipping).await.unwrap();
    let rows: u64 = pair.b.scalar("SELECT COUNT(*) FROM shop.a_child").await;
    assert_eq!(rows, 19_999, "it went on where it was");
    pair.a.run(&["DELETE FROM shop.a_child WHERE id=1"]).await;
    pair.check_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_holds_something_is_not_overwritten() {
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    pair.b
        .run(&[
            "UPDATE ghostlight.site SET seeding=0",
            "CREATE DATABASE precious",
            "CREATE TABLE precious.t (id INT PRIMARY KEY)",
        ])
        .await;
    let shipping = pair.ship(&pair.a, 1).await;
    let e = pair.seed(&shipping).await.unwrap_err();
    assert!(matches!(e, StandbyError::Conflict(_)), "{e:?}");
    pair.b.run(&["INSERT INTO precious.t VALUES (1)"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_in_another_epoch_is_refused() {
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let shipping = pair.ship(&pair.a, 1).await;
    pair.b.raise(2, &Site::new("aws")).await;
    let e = pair.seed(&shipping).await.unwrap_err();
    assert!(matches!(e, StandbyError::EpochMoved(_)), "{e:?}");
}
