//! Of the list in docs/replication-limits.md: what is refused by name, and what needs a test of its own.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use replicate::apply::StandbyError;

use crate::{
    pair::{Pair, reached},
    support,
};

const SHOP: &[&str] = &[
    "CREATE DATABASE shop",
    "CREATE TABLE shop.t (id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(20))",
    "INSERT INTO shop.t VALUES (1,'one')",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_replicated_stops_the_stream_by_its_name() {
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let (shipping, mut follower) = pair.attached().await;
    let cases: [(&[&str], &str); 2] = [
        (&["CREATE SEQUENCE shop.s"], "sequence"),
        (
            &[
                "XA START 'x'",
                "INSERT INTO shop.t VALUES (9,'xa')",
                "XA END 'x'",
                "XA PREPARE 'x'",
                "XA COMMIT 'x'",
            ],
            "XA",
        ),
    ];
    for (statements, word) in cases {
        pair.a.run(statements).await;
        let e = follower.stopped().await;
        assert!(matches!(e, StandbyError::Unsupported(_)), "{word}: {e:?}");
        assert!(e.to_string().contains(word), "`{word}` is not in: {e}");
        // The next case stands behind it.
        let end = pair.a.end_of_log().await;
        let skip = format!("UPDATE ghostlight.applied SET file={}, `offset`={}", end.file, end.offset);
        pair.b.run(&[&skip]).await;
        follower = pair.follow(&shipping);
    }
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_in_another_accounts_name_stops_the_stream_and_check_tells_before() {
    let pair = Pair::start().await;
    pair.a.run(&["CREATE DATABASE ticketing", "ALTER USER 'ticketing'@'%' ACCOUNT UNLOCK"]).await;
    let (_shipping, follower) = pair.attached().await;
    let mut application = support::application(&pair.a.server).await.unwrap();
    for sql in [
        "CREATE TABLE ticketing.t (id INT PRIMARY KEY)",
        "CREATE VIEW ticketing.v AS SELECT id FROM ticketing.t",
    ] {
        application.query_drop(sql).await.unwrap();
    }
    let e = follower.stopped().await.to_string();
    assert!(e.contains("VIEW") && e.contains("SET USER"), "{e}");
    let facts = replicate::check::gather(&mut pair.a.conn().await, "ticketing").await.unwrap();
    assert_eq!(facts.others_definers, ["view ticketing.v"]);
}

/// 16 MiB in the ordinary run; `GHOSTLIGHT_LARGE_MIB=64` takes a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_comes_whole() {
    let mib: u64 = std::env::var("GHOSTLIGHT_LARGE_MIB").map_or(16, |text| text.parse().unwrap());
    let pair = Pair::start().await;
    pair.a.run(&["CREATE DATABASE shop", "CREATE TABLE shop.big (id INT PRIMARY KEY, b LONGBLOB)"]).await;
    let (shipping, follower) = pair.attached().await;
    pair.a
        .run(&[
            &format!("INSERT INTO shop.big SELECT 1, REPEAT(0x00ff277f, {mib} * 262144)"),
            "UPDATE shop.big SET b = CONCAT(b, 'end'), id = 2",
        ])
        .await;
    let goal = pair.a.end_of_log().await;
    tokio::time::timeout(Duration::from_secs(60), reached(&mut shipping.watermarks.clone(), &goal))
        .await
        .unwrap();
    let sum = "SELECT CONCAT(LENGTH(b), ' ', MD5(b)) FROM shop.big WHERE id = 2";
    let (a, b): (String, String) = (pair.a.scalar(sum).await, pair.b.scalar(sum).await);
    assert_eq!(a, b);
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_was_given_is_not_given_again_after_a_failover() {
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let (shipping, follower) = pair.attached().await;
    // A backlog in which the newest rows come and go: folded, nothing of them is left.
    follower.stop().await;
    pair.a
        .run(&["INSERT INTO shop.t (a) VALUES ('two'),('three'),('four')", "DELETE FROM shop.t WHERE id > 2"])
        .await;
    let follower = pair.follow(&shipping);
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;
    let mut conn = pair.b.conn().await;
    conn.query_drop("INSERT INTO shop.t (a) VALUES ('after the failover')").await.unwrap();
    let id: u64 = pair.b.scalar("SELECT MAX(id) FROM shop.t").await;
    assert!(id > 4, "the visitor who had number {id} meets another one's row");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_converts_in_its_writers_time_zone() {
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let (shipping, follower) = pair.attached().await;
    pair.a
        .run(&[
            "CREATE TABLE shop.at (id INT PRIMARY KEY, a TIMESTAMP NULL, b TIMESTAMP(3) NULL)",
            "INSERT INTO shop.at VALUES (1,'2026-01-02 03:04:05','2026-07-02 03:04:05.678')",
            "SET time_zone='+09:00'",
            "ALTER TABLE shop.at MODIFY a DATETIME",
            "SET time_zone='SYSTEM'",
            "ALTER TABLE shop.at MODIFY b DATETIME(3)",
        ])
        .await;
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    let a: String = pair.b.scalar("SELECT CAST(a AS CHAR) FROM shop.at").await;
    assert_eq!(a, "2026-01-02 12:04:05");
    follower.stop().await;
}
