//! A standby whose data are old, wrong or half there becomes equal while the primary goes on.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use replicate::{apply::FollowProgress, copy::fill};
use runtime::process::Shutdown;
use tokio::{sync::watch, task::JoinHandle};

use crate::pair::{Half, Pair};

/// A table with each kind of key, and what hangs together.
pub(crate) const TABLES: &[&str] = &[
    "CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
    "USE shop",
    "CREATE TABLE parent (id INT PRIMARY KEY AUTO_INCREMENT, code INT UNIQUE, text VARCHAR(100))",
    "CREATE TABLE a_child (id INT PRIMARY KEY AUTO_INCREMENT, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE TABLE b_child (id INT PRIMARY KEY AUTO_INCREMENT, c INT, FOREIGN KEY (c) REFERENCES parent (code) ON DELETE SET NULL ON UPDATE CASCADE)",
    "CREATE TABLE z_grandchild (id INT PRIMARY KEY AUTO_INCREMENT, a INT, FOREIGN KEY (a) REFERENCES a_child (id) ON DELETE CASCADE)",
    "CREATE TABLE strict_child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id))",
    "INSERT INTO parent SELECT seq, seq * 10, REPEAT('x', seq % 100) FROM seq_1_to_6000",
    "INSERT INTO a_child SELECT seq, 1 + seq % 6000 FROM seq_1_to_6000",
    "INSERT INTO b_child SELECT seq, 10 * (1 + seq % 6000) FROM seq_1_to_6000",
    "INSERT INTO z_grandchild SELECT seq, 1 + seq % 6000 FROM seq_1_to_6000",
    "INSERT INTO strict_child SELECT seq, seq FROM seq_5900_to_6000",
    "CREATE TABLE ci (k VARCHAR(40) PRIMARY KEY, v INT)",
    "INSERT INTO ci SELECT CONCAT(ELT(1 + seq % 3, 'Ä', 'b ', '한'), seq), seq FROM seq_1_to_2500",
    "CREATE TABLE nopad (k VARCHAR(40) COLLATE utf8mb4_nopad_bin, l CHAR(3) CHARACTER SET latin1, v INT, PRIMARY KEY (k, l))",
    "INSERT INTO nopad SELECT CONCAT('a', REPEAT(' ', seq % 5)), CHAR(65 + seq DIV 5), seq FROM seq_1_to_100",
    "CREATE TABLE bin (a INT, b BINARY(4), v FLOAT, PRIMARY KEY (b, a))",
    "INSERT INTO bin SELECT seq, UNHEX(LPAD(HEX(seq % 7), 2, '0')), seq / 3 FROM seq_1_to_2500",
    "CREATE TABLE dec_time (d DECIMAL(20,5), t DATETIME(6), e ENUM('x','a','m'), v DOUBLE, PRIMARY KEY (e, d, t))",
    "INSERT INTO dec_time SELECT seq / 7, '2026-01-01' + INTERVAL seq * 12345 MICROSECOND, 1 + seq % 3, 1 / seq FROM seq_1_to_2500",
    "CREATE TABLE others (u UUID, i INET6, b BIT(20), y YEAR, f DOUBLE, d DATE, s TIME(3), PRIMARY KEY (u, i, b, y, f, d, s))",
    "INSERT INTO others SELECT LPAD(HEX(seq * 7919), 32, '1'), CONCAT('2001:db8::', HEX(seq % 9)), seq % 5, 2000 + seq % 3, seq / 3, '2026-02-28' - INTERVAL seq DAY, SEC_TO_TIME(seq) FROM seq_1_to_1500",
    "CREATE TABLE empty (id INT PRIMARY KEY)",
    "CREATE TABLE large (id INT PRIMARY KEY, b LONGBLOB)",
    "INSERT INTO large SELECT seq, REPEAT(CHAR(64 + seq), 300000) FROM seq_1_to_9",
];

/// Changes of every kind, until `stop`.
pub(crate) fn write(half: &Half, stop: &Shutdown) -> JoinHandle<u64> {
    let (database, stopped) = (half.database.clone(), stop.clone());
    tokio::spawn(async move {
        let (mut conn, mut n) = (database.open().await.unwrap(), 0_u64);
        while !stopped.is_cancelled() {
            n += 1;
            let (low, high) = (n * 37 % 5_000 + 1, n * 91 % 5_000 + 1);
            for sql in [
                format!("UPDATE shop.parent SET text='{n}' WHERE id={low}"),
                // A number that AUTO_INCREMENT has given away meanwhile is left alone.
                format!("UPDATE IGNORE shop.parent SET id = id + 100000 WHERE id={high}"),
                format!("UPDATE shop.parent SET code = code + 1 WHERE id={}", n % 5_000),
                format!("DELETE FROM shop.parent WHERE id={}", n * 13 % 5_000),
                format!("INSERT INTO shop.parent (code, text) VALUES ({}, 'new')", 1_000_000 + n),
                "INSERT INTO shop.a_child (p) SELECT MAX(id) FROM shop.parent".to_owned(),
                format!("UPDATE shop.ci SET k = UPPER(k), v = v + 1 WHERE v={low}"),
                format!("DELETE FROM shop.bin WHERE a={low}"),
                format!("INSERT IGNORE INTO shop.bin VALUES ({high}, 0x05, 0.5)"),
                format!("UPDATE shop.dec_time SET d = d + 1000, v = -v WHERE v < 1 / {}", 2_400 + n % 90),
                format!("UPDATE IGNORE shop.nopad SET k = CONCAT(k, ' ') WHERE v={}", n % 100),
                format!("UPDATE shop.large SET b = CONCAT('{n}', b) WHERE id={}", n % 9),
                // Two rows exchange a unique value.
                format!("UPDATE shop.parent SET code = -code WHERE id IN ({low}, {high})"),
                format!("UPDATE shop.parent SET code = -code WHERE id IN ({low}, {high})"),
            ] {
                conn.query_drop(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            }
            let swap = [
                "BEGIN".to_owned(),
                format!(
                    "SET @a = (SELECT code FROM shop.parent WHERE id={low}), @b = (SELECT code FROM shop.parent WHERE id={high})"
                ),
                format!("UPDATE shop.parent SET code = NULL WHERE id={low}"),
                format!(
                    "UPDATE shop.parent SET code = @a WHERE id={high} AND @b IS NOT NULL AND {low} <> {high} AND @a IS NOT NULL"
                ),
                format!("UPDATE shop.parent SET code = @b WHERE id={low} AND @a IS NOT NULL"),
                "COMMIT".to_owned(),
            ];
            for sql in swap {
                conn.query_drop(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            }
        }
        n
    })
}

/// Copies while the primary writes, follows for a moment, and compares.
async fn check_copy(pair: &Pair) {
    let shipping = pair.ship(&pair.a, 1).await;
    let stop = Shutdown::new();
    let writer = write(&pair.a, &stop);
    pair.seed(&shipping).await.unwrap();
    let follower = pair.follow(&shipping);
    tokio::time::sleep(Duration::from_millis(200)).await; // a while of load on the attached stream
    stop.cancel();
    let written = writer.await.unwrap();
    assert!(written > 3, "the writer wrote {written} rounds");
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;
    let left: u64 = pair.b.scalar("SELECT COUNT(*) FROM ghostlight.copying").await;
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_standby_becomes_equal_under_writes_of_every_kind() {
    let pair = Pair::start().await;
    pair.a.run(TABLES).await;
    check_copy(&pair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_with_old_and_wrong_data_becomes_equal_in_place() {
    let pair = Pair::start().await;
    pair.a.run(TABLES).await;
    pair.b.run(TABLES).await;
    pair.b
        .run(&[
            "USE shop",
            "SET foreign_key_checks=0",
            "DELETE FROM parent WHERE id % 7 = 0",
            "UPDATE parent SET code = NULL",
            "UPDATE parent SET code = 60010 - id * 10",
            "UPDATE parent SET text = CONCAT(text, ' ') WHERE id % 11 = 0",
            "INSERT INTO parent SELECT seq, seq * 1000 + 1, 'extra' FROM seq_7000_to_8000",
            "INSERT INTO a_child SELECT seq, 5 FROM seq_9000_to_9900",
            "UPDATE strict_child SET p = p - 5000",
            "UPDATE ci SET k = LOWER(k)",
            "DELETE FROM ci WHERE v % 3 = 0",
            "UPDATE bin SET v = -0.0 WHERE a < 10",
            "INSERT INTO bin VALUES (-1, 0x00000000, 0), (9999999, 0xffffffff, 0)",
            "DELETE FROM nopad WHERE k = 'a '",
            "INSERT INTO empty VALUES (1), (2)",
            "TRUNCATE TABLE large",
            "CREATE TABLE unknown_there (id INT PRIMARY KEY)",
            "ALTER TABLE dec_time ADD COLUMN of_here INT",
            "CREATE DATABASE only_here",
            "CREATE VIEW only_here.v AS SELECT * FROM shop.ci",
        ])
        .await;
    check_copy(&pair).await;
    let schemas: u64 =
        pair.b.scalar("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME='only_here'").await;
    assert_eq!(schemas, 0);
    // What was kept was kept: no table was made anew whose definition was right.
    let counter: u64 = pair
        .b
        .scalar("SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_NAME='a_child'")
        .await;
    assert!(counter > 9_900, "{counter}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_again_and_again_comes_to_its_end() {
    let pair = Pair::start().await;
    pair.a.run(TABLES).await;
    let shipping = pair.ship(&pair.a, 1).await;
    let stop = Shutdown::new();
    let writer = write(&pair.a, &stop);
    for round in 1..=6 {
        let (progress, mut seen) = watch::channel(FollowProgress::default());
        let config = pair.config(&pair.b, &shipping, &pair.a.site, 1);
        let copying = tokio::spawn(fill::run(config, progress, Shutdown::new()));
        tokio::time::timeout(Duration::from_secs(30), seen.wait_for(|p| p.rows_seeded > 1_500 * (round % 3)))
            .await
            .unwrap()
            .unwrap();
        copying.abort();
        drop(copying.await);
    }
    pair.seed(&shipping).await.unwrap();
    let follower = pair.follow(&shipping);
    stop.cancel();
    writer.await.unwrap();
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_in_the_middle_of_a_copy_are_followed() {
    let pair = Pair::start().await;
    pair.a.run(TABLES).await;
    let shipping = pair.ship(&pair.a, 1).await;
    let stop = Shutdown::new();
    let writer = write(&pair.a, &stop);
    let (progress, mut seen) = watch::channel(FollowProgress::default());
    let config = pair.config(&pair.b, &shipping, &pair.a.site, 1);
    let copying = tokio::spawn(fill::run(config, progress, Shutdown::new()));
    let copied = |rows| move |p: &FollowProgress| p.rows_seeded > rows;
    seen.wait_for(copied(1_000)).await.unwrap();
    pair.a
        .run(&[
            "ALTER TABLE shop.a_child ADD COLUMN late INT DEFAULT 7",
            "CREATE TABLE shop.made (PRIMARY KEY (k)) SELECT * FROM shop.ci",
        ])
        .await;
    seen.wait_for(copied(3_000)).await.unwrap();
    pair.a
        .run(&[
            "ALTER TABLE shop.made MODIFY v BIGINT",
            "RENAME TABLE shop.ci TO shop.ci_was, shop.made TO shop.ci",
            "RENAME TABLE shop.ci TO shop.made, shop.ci_was TO shop.ci",
            "DROP TABLE shop.strict_child",
            "CREATE UNIQUE INDEX vu ON shop.nopad (v)",
            "CREATE TABLE shop.new (id INT PRIMARY KEY)",
            "INSERT INTO shop.new SELECT seq FROM shop.seq_1_to_3000",
            "TRUNCATE TABLE shop.large",
        ])
        .await;
    tokio::time::timeout(Duration::from_secs(60), copying).await.unwrap().unwrap().unwrap();
    let follower = pair.follow(&shipping);
    stop.cancel();
    writer.await.unwrap();
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;
}
