//! Batches that are folded: what waited comes out equal, and what must stop the stream stops it from within a batch.

use mysql_async::prelude::Queryable;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use replicate::apply::StandbyError;

use crate::{
    equal::{CHANGE_ALL, EVERY_TYPE},
    pair::Pair,
};

/// Tables on which folding could go wrong.
const TRAPS: &[&str] = &[
    "CREATE DATABASE shop",
    "USE shop",
    "CREATE TABLE swaps (id INT PRIMARY KEY, u INT, v INT, w VARCHAR(20), UNIQUE KEY (u), UNIQUE KEY (v, w), KEY (w))",
    "CREATE TABLE folded (name VARCHAR(20) COLLATE utf8mb4_unicode_ci PRIMARY KEY, n INT)",
    "CREATE TABLE folded_unique (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20) COLLATE utf8mb4_unicode_ci UNIQUE)",
    "CREATE TABLE pairs (a INT, b VARCHAR(10) CHARACTER SET latin1, n DECIMAL(9,3), PRIMARY KEY (b, a))",
    "CREATE TABLE generated (id INT PRIMARY KEY, a INT, twice INT AS (a * 2) VIRTUAL, thrice INT AS (a * 3) STORED,
        hidden INT INVISIBLE DEFAULT 5, UNIQUE KEY (thrice))",
    "CREATE TABLE parents (id INT PRIMARY KEY, code INT UNIQUE, n INT)",
    "CREATE TABLE children (id INT PRIMARY KEY, p INT, c INT NULL, n INT,
        FOREIGN KEY (p) REFERENCES parents (id) ON DELETE CASCADE ON UPDATE CASCADE,
        FOREIGN KEY (c) REFERENCES parents (code) ON DELETE SET NULL ON UPDATE CASCADE)",
    "CREATE DATABASE other",
    "CREATE TABLE other.strict (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES shop.swaps (id))",
    "CREATE TABLE counters (id INT PRIMARY KEY, n BIGINT, at DATETIME(6), changed TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)",
    "INSERT INTO counters (id, n) VALUES (1,0),(2,0),(3,0)",
];

/// One statement; many fail (a key is taken, a parent is missing), and then nothing is written.
fn statement(random: &mut StdRng) -> String {
    let (a, b, n) = (random.random_range(0..12), random.random_range(0..12), random.random_range(0..100));
    let name = ["a", "A", "á", "b", "B ", "b", "ㄱ", "straße", "STRASSE"][random.random_range(0..9)];
    match random.random_range(0..26) {
        0 => format!("INSERT INTO swaps VALUES ({a},{b},{n},'{name}')"),
        1 => format!("UPDATE swaps SET u=NULL WHERE id={a}"),
        2 => format!("UPDATE swaps SET u={b} WHERE id={a}"),
        3 => format!("UPDATE swaps SET v=v+1, w='{name}' WHERE id={a}"),
        4 => format!("UPDATE swaps SET id={b} WHERE id={a}"),
        5 => format!("DELETE FROM swaps WHERE id={a}"),
        6 => format!("INSERT INTO folded VALUES ('{name}',{n})"),
        7 => format!("UPDATE folded SET name='{name}' WHERE n={n} LIMIT 1"),
        8 => format!(
            "UPDATE folded SET name=IF(BINARY name=BINARY UPPER(name), LOWER(name), UPPER(name)) WHERE n > {n}"
        ),
        9 => format!("DELETE FROM folded WHERE name='{name}'"),
        10 => format!("INSERT INTO folded_unique (name) VALUES ('{name}')"),
        11 => format!("DELETE FROM folded_unique WHERE name='{name}'"),
        12 => format!("INSERT INTO pairs VALUES ({a},'{}',{n}.5)", if name.is_ascii() { name } else { "é" }),
        13 => format!("UPDATE pairs SET n=-n, a={b} WHERE a={a} LIMIT 1"),
        14 => format!("DELETE FROM pairs WHERE a={a}"),
        15 => format!("INSERT INTO generated (id,a) VALUES ({a},{b})"),
        16 => format!("UPDATE generated SET a={n}, hidden={b} WHERE id={a}"),
        17 => format!("DELETE FROM generated WHERE id={a}"),
        18 => format!("INSERT INTO parents VALUES ({a},{b},{n})"),
        19 => format!("UPDATE parents SET n=n+1, code={n} WHERE id={a}"),
        20 => format!("UPDATE parents SET id={b} WHERE id={a}"),
        21 if n < 30 => format!("DELETE FROM parents WHERE id={a}"),
        21 => format!("UPDATE parents SET n=n+1 WHERE id={a}"),
        22 => format!("INSERT INTO children SELECT {n}, {a}, code, 1 FROM parents WHERE id={b}"),
        23 => format!("UPDATE children SET n=n+1, p={b} WHERE id={n}"),
        24 => format!("REPLACE INTO other.strict VALUES ({a},{b})"),
        _ => format!("UPDATE counters SET n=n+{n}, at=NOW(6) WHERE id={}", a % 3 + 1),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_waited_is_folded_and_comes_out_equal() {
    let pair = Pair::start().await;
    pair.a.run(TRAPS).await;
    let (shipping, mut follower) = pair.attached().await;
    for seed in 0..8 {
        follower.stop().await;
        let mut random = StdRng::seed_from_u64(seed);
        let mut conn = pair.a.conn().await;
        conn.query_drop("USE shop").await.unwrap();
        for _ in 0..500 {
            let several = random.random_range(0..4) == 0;
            let (savepoint, back) = (random.random_range(0..10) == 0, random.random_bool(0.5));
            let mut transaction = vec!["BEGIN".to_owned()];
            for i in 0..random.random_range(1..if several { 8 } else { 2 }) {
                if savepoint && i == 2 {
                    transaction.push("SAVEPOINT s".into());
                }
                transaction.push(statement(&mut random));
            }
            if savepoint && back && transaction.len() > 4 {
                transaction.push("ROLLBACK TO s".into());
                transaction.push(statement(&mut random));
            }
            transaction.push(if random.random_range(0..12) == 0 { "ROLLBACK" } else { "COMMIT" }.into());
            for sql in transaction {
                drop(conn.query_drop(&sql).await);
            }
        }
        follower = pair.follow(&shipping);
        pair.caught_up(&shipping).await;
        pair.check_equal().await;
    }
    follower.stop().await;
    let metrics = &pair.metrics;
    let (rows, folded) = (metrics.applied_rows_total.get(), metrics.folded_rows_total.get());
    assert!(folded > rows / 20, "{folded} of {rows} row changes were folded away");
    // A batch in which keys that only a collation takes for the same came and went is done again; that is rare.
    let again = metrics.batches_again_total.get();
    assert!(again <= 8, "{again} batches were done again");
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_agree_on_every_column_type() {
    let pair = Pair::start().await;
    pair.a.run(EVERY_TYPE).await;
    // Numbers that thirty decimals do not hold are a false alarm, and nothing worse; not what is tested here.
    pair.a.run(&["UPDATE types.numbers SET n=1.5, o=-0.1, q=123.456, p=99.99"]).await;
    let (shipping, follower) = pair.attached().await;
    follower.stop().await;
    pair.a
        .run(&[
            // The number 0 of an ENUM and large rows go one by one.
            "DELETE FROM types.strings WHERE id IN ('no member', 'large')",
            "BEGIN",
            "UPDATE types.numbers SET a = a + 1 WHERE id < 3 AND a < 100",
            "UPDATE types.times SET a = '2026-01-01'",
            "UPDATE types.strings SET b = 'b'",
            "UPDATE types.others SET hidden = 7",
            "UPDATE types.numbers SET a = NULL, n = 0.1, o = 12345.678",
            "UPDATE types.times SET a = NULL",
            "UPDATE types.strings SET b = NULL, a = 'ㄱ'",
            "UPDATE types.others SET hidden = 8",
            "COMMIT",
        ])
        .await;
    let follower = pair.follow(&shipping);
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    assert_eq!(pair.metrics.batches_again_total.get(), 0);
    assert!(pair.metrics.folded_rows_total.get() > 0);
    follower.stop().await;
    pair.a.run(CHANGE_ALL).await;
    pair.a
        .run(&[
            "UPDATE types.numbers SET o = 1e300, n = 1e-38 WHERE id = 2",
            "UPDATE types.numbers SET o = 2e300",
        ])
        .await;
    let follower = pair.follow(&shipping);
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;
}

const SHOP: &[&str] = &[
    "CREATE DATABASE shop",
    "USE shop",
    "CREATE TABLE shop.t (id INT PRIMARY KEY, a VARCHAR(20), n INT, UNIQUE KEY ua (a))",
    "INSERT INTO shop.t SELECT seq, CONCAT('t', seq), 0 FROM seq_1_to_100",
];

/// Somebody writes at the standby; then the primary writes much, with `at_primary` in the middle. The stream must
/// stop with all of `words` in its message, and the standby keep what it had.
async fn check(at_standby: &str, at_primary: &[&str], words: &[&str]) {
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let (shipping, follower) = pair.attached().await;
    follower.stop().await;
    pair.b.run(&[at_standby]).await;
    let before = pair.b.content().await;
    // All in one transaction of the primary, and so in one batch.
    let around = "UPDATE shop.t SET n=n+1 WHERE id BETWEEN 20 AND 60";
    pair.a.run(&["BEGIN", around, around]).await;
    let mut all = vec!["BEGIN", around, "INSERT INTO shop.t VALUES (500,'new',0)"];
    all.extend(at_primary);
    all.extend(["DELETE FROM shop.t WHERE id BETWEEN 40 AND 50", around, "COMMIT"]);
    pair.a.run(&all).await;
    let e = pair.follow(&shipping).stopped().await;
    assert!(matches!(e, StandbyError::Conflict(_)), "{e:?}");
    for word in words {
        assert!(e.to_string().contains(word), "`{word}` is not in: {e}");
    }
    assert_eq!(pair.b.content().await, before, "something was overwritten");
    assert_eq!(pair.metrics.batches_again_total.get(), 1, "the exact way decided");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_batch_a_row_that_is_gone_stops_the_stream() {
    let words = ["shop.t", "UPDATE", "id=2", "0 rows matched", "found: no row"];
    let twice = ["UPDATE shop.t SET n=7 WHERE id=2", "UPDATE shop.t SET a='zwei' WHERE id=2"];
    check("DELETE FROM shop.t WHERE id=2", &twice, &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_batch_a_row_that_differs_stops_the_stream() {
    let words = ["shop.t", "UPDATE", "id=2", "n=0", "found: (id='2', a='t2', n='5')"];
    check("UPDATE shop.t SET n=5 WHERE id=2", &["UPDATE shop.t SET a='zwei' WHERE id=2"], &words).await;
    let words = ["shop.t", "DELETE", "id=3", "found: (id='3', a='T3', n='0')"];
    check("UPDATE shop.t SET a='T3' WHERE id=3", &["DELETE FROM shop.t WHERE id=3"], &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_batch_a_row_that_is_there_stops_the_stream() {
    let words = ["shop.t", "INSERT", "id=200", "for key 'PRIMARY'", "found: (id='200', a='theirs', n='1')"];
    let there = "INSERT INTO shop.t VALUES (200,'theirs',1)";
    check(there, &["INSERT INTO shop.t VALUES (200,'ours',2)"], &words).await;
    // Even if the row is gone again at the batch's end.
    let came_and_went = ["INSERT INTO shop.t VALUES (200,'ours',2)", "DELETE FROM shop.t WHERE id=200"];
    check(there, &came_and_went, &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_batch_another_unique_key_stops_the_stream() {
    let words = ["shop.t", "id=300", "Duplicate entry 'same' for key 'ua'"];
    let there = "INSERT INTO shop.t VALUES (200,'same',1)";
    check(there, &["INSERT INTO shop.t VALUES (300,'same',1)"], &words).await;
    let words = ["shop.t", "UPDATE", "id=7", "Duplicate entry 'same' for key 'ua'"];
    check(there, &["UPDATE shop.t SET a='same' WHERE id=7"], &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_batch_a_row_that_came_back_to_what_it_was_is_looked_at_too() {
    let words = ["shop.t", "UPDATE", "id=9", "found: (id='9', a='t9', n='4')"];
    let there_and_back = ["UPDATE shop.t SET a='neun' WHERE id=9", "UPDATE shop.t SET a='t9' WHERE id=9"];
    check("UPDATE shop.t SET n=4 WHERE id=9", &there_and_back, &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_renews_what_is_known_of_foreign_keys() {
    let pair = Pair::start().await;
    pair.a
        .run(&[
            "CREATE DATABASE shop",
            "USE shop",
            "CREATE TABLE shop.p (id INT PRIMARY KEY, n INT)",
            "CREATE TABLE shop.c (id INT PRIMARY KEY, p INT, n INT)",
            "INSERT INTO shop.p SELECT seq, 0 FROM seq_1_to_50",
            "INSERT INTO shop.c SELECT seq, 1 + seq % 50, 0 FROM seq_1_to_200",
        ])
        .await;
    let (shipping, follower) = pair.attached().await;
    follower.stop().await;
    pair.a
        .run(&[
            "UPDATE shop.p SET n=n+1",
            "DELETE FROM shop.p WHERE id=50",
            "DELETE FROM shop.c WHERE p=50",
            "ALTER TABLE shop.c ADD FOREIGN KEY (p) REFERENCES shop.p (id) ON DELETE CASCADE ON UPDATE SET NULL",
            "UPDATE shop.c SET n=n+1",
            "UPDATE shop.p SET n=n+1",
            "DELETE FROM shop.p WHERE id<20",
            "UPDATE shop.c SET n=n+1",
            "UPDATE shop.p SET id=id+100 WHERE id>40",
            "UPDATE shop.c SET n=n+1",
        ])
        .await;
    let follower = pair.follow(&shipping);
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    assert_eq!(pair.metrics.batches_again_total.get(), 0);
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_of_a_row_that_came_and_went_in_a_batch_is_not_given_again() {
    let pair = Pair::start().await;
    pair.a
        .run(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.t (id INT PRIMARY KEY AUTO_INCREMENT, a INT UNIQUE)",
        ])
        .await;
    let (shipping, follower) = pair.attached().await;
    // One transaction, and so one batch: ten come, those with the highest numbers go.
    pair.a
        .run(&[
            "USE shop",
            "BEGIN",
            "INSERT INTO t (a) SELECT seq FROM seq_1_to_10",
            "DELETE FROM t WHERE a > 2",
            "INSERT INTO t (id, a) VALUES (5, 10)",
            "COMMIT",
        ])
        .await;
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    assert!(pair.metrics.folded_rows_total.get() > 0);
    follower.stop().await;
    pair.b.run(&["INSERT INTO shop.t (a) VALUES (99)"]).await;
    let id: u64 = pair.b.scalar("SELECT id FROM shop.t WHERE a = 99").await;
    assert!(id > 10, "number {id} is given a second time");
}
