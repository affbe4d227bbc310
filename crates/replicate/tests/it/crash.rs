//! The follower and both servers end at random moments, under load; afterwards both databases are equal, and every
//! transaction was applied exactly once.

use std::{sync::Arc, time::Duration};

use mysql_async::prelude::Queryable;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use replicate::database::DatabaseConfig;
use runtime::process::Shutdown;
use tokio::{task::JoinHandle, time::sleep};

use crate::pair::Pair;

/// Transactions that are not idempotent (a sum, a counter, rows by AUTO_INCREMENT), and now and then a definition.
fn load(database: DatabaseConfig, stop: Shutdown, definitions: bool) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let (mut n, mut conn) = (0_u64, None);
        while !stop.is_cancelled() {
            let Some(open) = conn.as_mut() else {
                conn = database.open().await.ok();
                sleep(Duration::from_millis(5)).await;
                continue;
            };
            n += 1;
            let mut statements = vec![
                "BEGIN".to_owned(),
                format!("UPDATE shop.sum SET n = n + 1, total = total + {n}"),
                format!("INSERT INTO shop.log (text) VALUES ('{n}'),('{n}b')"),
                format!("DELETE FROM shop.log WHERE id < {n} AND id % 7 = 3"),
                "COMMIT".to_owned(),
            ];
            if definitions && n % 40 == 0 {
                statements.push(match n / 40 % 4 {
                    0 => "ALTER TABLE shop.log ADD COLUMN extra INT DEFAULT 1".to_owned(),
                    1 => "ALTER TABLE shop.log ADD INDEX (text)".to_owned(),
                    2 => "ALTER TABLE shop.log DROP COLUMN extra, DROP INDEX text".to_owned(),
                    _ => format!(
                        "CREATE TABLE shop.t{n} (id INT PRIMARY KEY) SELECT seq AS id FROM seq_1_to_50"
                    ),
                });
            }
            for sql in statements {
                if open.query_drop(&sql).await.is_err() {
                    conn = None; // the server was killed, or an ALTER repeats one whose answer was lost
                    break;
                }
            }
        }
        n
    })
}

const SHOP: &[&str] = &[
    "CREATE DATABASE shop",
    "CREATE TABLE shop.sum (id INT PRIMARY KEY, n BIGINT, total BIGINT)",
    "INSERT INTO shop.sum VALUES (1,0,0)",
    "CREATE TABLE shop.log (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(20))",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_cut_off_at_random_applies_everything_once() {
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let (shipping, mut follower) = pair.attached().await;
    let stop = Shutdown::new();
    let writer = load(pair.a.database.clone(), stop.clone(), true);
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..40 {
        sleep(Duration::from_millis(random.random_range(1..120))).await;
        // Not asked to stop: ended between any two of its steps.
        follower.task.abort();
        drop(follower.task.await);
        follower = pair.follow(&shipping);
    }
    stop.cancel();
    let written = writer.await.unwrap();
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    let applied: u64 = pair.b.scalar("SELECT n FROM shop.sum").await;
    assert!(written > 50 && applied >= written - 1, "{applied} of {written}");
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_killed_come_back_equal() {
    let mut pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let (shipping, follower) = pair.attached().await;
    let stop = Shutdown::new();
    let writers = [load(pair.a.database.clone(), stop.clone(), false)];
    for round in 0..6 {
        sleep(Duration::from_millis(300)).await;
        let half = if round % 3 == 2 { &mut pair.a } else { &mut pair.b };
        half.server.kill().await.unwrap();
        half.server.start().await.unwrap();
    }
    stop.cancel();
    for writer in writers {
        writer.await.unwrap();
    }
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_ran_before_a_crash_is_not_run_again() {
    let pair = Arc::new(Pair::start().await);
    pair.a.run(SHOP).await;
    let (shipping, follower) = pair.attached().await;
    follower.stop().await;
    // Unnamed, it would be made a second time under another name without any error.
    pair.a.run(&["ALTER TABLE shop.log ADD INDEX (text)"]).await;
    // As a crash leaves it: the mark is written, the statement has run, the slot has not moved.
    let mut conn = pair.b.conn().await;
    let fingerprint = replicate::apply::fingerprint(&mut conn).await.unwrap();
    pair.b.run(&[&format!("UPDATE ghostlight.applied SET pending='ddl:1:{fingerprint}'")]).await;
    pair.b.run(&["ALTER TABLE shop.log ADD INDEX (text)"]).await;
    let follower = pair.follow(&shipping);
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;

    // And where the crash came before the statement: the mark is there, and nothing has changed.
    pair.a.run(&["ALTER TABLE shop.log ADD COLUMN late INT"]).await;
    let fingerprint = replicate::apply::fingerprint(&mut conn).await.unwrap();
    pair.b.run(&[&format!("UPDATE ghostlight.applied SET pending='ddl:1:{fingerprint}'")]).await;
    let follower = pair.follow(&shipping);
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;
}
