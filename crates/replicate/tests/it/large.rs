//! What is large: transactions that do not fit into memory, and rows that fill a packet.

use std::{path::PathBuf, time::Duration};

use replicate::apply::StandbyError;
use tokio::time::sleep;

use crate::pair::Pair;

/// About 50 MB of row changes in one transaction, of which much folds and some does not.
const LARGE: &[&str] = &[
    "USE shop",
    "BEGIN",
    "INSERT INTO shop.large SELECT seq, REPEAT(CHAR(65 + seq % 26), 100), 0 FROM seq_1_to_150000",
    "UPDATE shop.large SET n = n + 1 WHERE id % 3 = 0",
    "DELETE FROM shop.large WHERE id % 7 = 0",
    "INSERT INTO shop.large VALUES (-1, 'last', 0)",
    "COMMIT",
];

fn spool(pair: &Pair) -> PathBuf {
    std::env::temp_dir().join(format!("ghostlight-spool-{}", pair.b.database.address))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_larger_than_memory_waits_on_disk_and_survives_cuts() {
    let pair = Pair::start().await;
    pair.a.run(&["CREATE DATABASE shop"]).await;
    pair.a.run(&["CREATE TABLE shop.large (id INT PRIMARY KEY, text VARCHAR(200), n INT)"]).await;
    let (shipping, mut follower) = pair.attached().await;
    pair.a.run(LARGE).await;
    for _ in 0..6 {
        sleep(Duration::from_millis(150)).await;
        follower.task.abort();
        drop(follower.task.await);
        let rows: u64 = pair.b.scalar("SELECT COUNT(*) FROM shop.large").await;
        assert!(rows == 0 || rows > 100_000, "half a transaction shows: {rows} rows");
        follower = pair.follow(&shipping);
    }
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;
    assert!(!spool(&pair).exists(), "something is left on disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_deep_in_a_large_transaction_is_named_and_nothing_is_changed() {
    let pair = Pair::start().await;
    pair.a.run(&["CREATE DATABASE shop"]).await;
    pair.a.run(&["CREATE TABLE shop.large (id INT PRIMARY KEY, text VARCHAR(200), n INT)"]).await;
    let (_shipping, follower) = pair.attached().await;
    pair.b.run(&["INSERT INTO shop.large VALUES (-1, 'theirs', 0)"]).await;
    pair.a.run(LARGE).await;
    let e = follower.stopped().await;
    assert!(matches!(e, StandbyError::Conflict(_)), "{e:?}");
    assert!(e.to_string().contains("INSERT of the row with the key (id=-1)"), "{e}");
    assert_eq!(pair.b.scalar::<u64>("SELECT COUNT(*) FROM shop.large").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_nearly_fill_a_packet_come_and_change_and_go() {
    let pair = Pair::start().await;
    pair.a
        .run(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.blobs (id INT PRIMARY KEY, b LONGBLOB, t LONGTEXT, n INT)",
            "INSERT INTO shop.blobs VALUES (1, 'small', 'small', 1)",
        ])
        .await;
    let (shipping, follower) = pair.attached().await;
    let mib = 1024 * 1024;
    pair.a
        .run(&[
            "USE shop",
            // Every byte there is, so that escapes are needed.
            &format!("INSERT INTO shop.blobs (id, b) SELECT 2, REPEAT(GROUP_CONCAT(CHAR(seq) ORDER BY seq SEPARATOR ''), {}) FROM seq_0_to_255", 60 * mib / 256),
            "UPDATE shop.blobs SET b = REVERSE(CONCAT(b, 'x')), n = 2 WHERE id = 2",
            &format!("INSERT INTO shop.blobs (id, t) SELECT 3, REPEAT('한글', {})", 60 * mib / 6),
            "UPDATE shop.blobs SET n = 3",
            "DELETE FROM shop.blobs WHERE id = 3",
        ])
        .await;
    pair.caught_up(&shipping).await;
    let sum = "SELECT GROUP_CONCAT(CONCAT_WS('/', id, LENGTH(b), MD5(b), t, n) ORDER BY id) FROM shop.blobs";
    let (a, b): (String, String) = (pair.a.scalar(sum).await, pair.b.scalar(sum).await);
    assert_eq!(a, b);
    assert!(a.contains(&format!("/{}/", 60 * mib + 1)), "{a}");
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_this_server_does_not_take_is_named() {
    let pair = Pair::start_with(&["SET GLOBAL max_allowed_packet=67108864"]).await;
    pair.a.run(&["CREATE DATABASE shop", "CREATE TABLE shop.blobs (id INT PRIMARY KEY, b LONGBLOB)"]).await;
    let (_shipping, follower) = pair.attached().await;
    // Written by a short statement; here every byte needs an escape.
    pair.a.run(&["INSERT INTO shop.blobs VALUES (1, REPEAT(CHAR(39), 40000000))"]).await;
    let e = follower.stopped().await;
    assert!(matches!(e, StandbyError::Unsupported(_)), "{e:?}");
    assert!(e.to_string().contains("shop.blobs") && e.to_string().contains("max_allowed_packet"), "{e}");
    assert_eq!(pair.b.scalar::<u64>("SELECT COUNT(*) FROM shop.blobs").await, 0);
}
