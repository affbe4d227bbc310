//! What must stop the stream stops it, with a name, and overwrites nothing.

use model::topology::WithoutPrimaryKey;
use replicate::{apply::StandbyError, ship::Authority};

use crate::pair::{Pair, eventually};

const SHOP: &[&str] = &[
    "CREATE DATABASE shop",
    "CREATE TABLE shop.t (id INT PRIMARY KEY, a VARCHAR(20), UNIQUE KEY ua (a))",
    "INSERT INTO shop.t VALUES (1,'one'),(2,'two'),(3,'three')",
];

/// Somebody writes at the standby, then the primary writes: the stream must stop with all of `words` in its
/// message, and the standby keep what it had.
async fn check(at_standby: &str, at_primary: &str, words: &[&str]) {
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let (_shipping, follower) = pair.attached().await;
    pair.b.run(&[at_standby]).await;
    let before = pair.b.content().await;
    // A good transaction in front of the bad one, in the same batch or not.
    pair.a.run(&["BEGIN", "INSERT INTO shop.t VALUES (50,'good')", at_primary, "COMMIT"]).await;
    let e = follower.stopped().await;
    assert!(matches!(e, StandbyError::Conflict(_)), "{e:?}");
    for word in words {
        assert!(e.to_string().contains(word), "`{word}` is not in: {e}");
    }
    assert_eq!(pair.b.content().await, before, "something was overwritten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_gone_stops_the_stream() {
    let words = ["shop.t", "UPDATE", "id=2", "0 rows matched", "found: no row"];
    check("DELETE FROM shop.t WHERE id=2", "UPDATE shop.t SET a='zwei' WHERE id=2", &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_differs_stops_the_stream() {
    let words = ["shop.t", "DELETE", "id=2", "a='two'", "found: (id='2', a='other')"];
    check("UPDATE shop.t SET a='other' WHERE id=2", "DELETE FROM shop.t WHERE id=2", &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_already_there_stops_the_stream() {
    let words =
        ["shop.t", "INSERT", "id=4", "Duplicate entry '4' for key 'PRIMARY'", "found: (id='4', a='theirs')"];
    check("INSERT INTO shop.t VALUES (4,'theirs')", "INSERT INTO shop.t VALUES (4,'ours')", &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_unique_key_stops_the_stream() {
    let words = ["shop.t", "id=5", "Duplicate entry 'same' for key 'ua'"];
    check("INSERT INTO shop.t VALUES (4,'same')", "INSERT INTO shop.t VALUES (5,'same')", &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_differs_and_a_definition_that_fails_stop_the_stream() {
    let words = ["shop.t", "(id, a, b) here", "(id, a) at the primary"];
    check("ALTER TABLE shop.t ADD COLUMN b INT", "UPDATE shop.t SET a='x' WHERE id=1", &words).await;
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let (_shipping, follower) = pair.attached().await;
    pair.b.run(&["CREATE TABLE shop.u (other INT)"]).await;
    pair.a.run(&["CREATE TABLE shop.u (id INT PRIMARY KEY)"]).await;
    let e = follower.stopped().await.to_string();
    assert!(e.contains("CREATE TABLE shop.u") && e.contains("already exists"), "{e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_primary_key_rows_are_refused_or_go_one_by_one() {
    let rows = [
        "CREATE TABLE shop.k (a VARCHAR(10), b INT, c DOUBLE, d BINARY(3))",
        "INSERT INTO shop.k VALUES ('x',1,0.1,'a'),('X',1,0.1,'a'),('x',1,0.1,'a'),(NULL,NULL,NULL,NULL),(NULL,NULL,NULL,NULL)",
        "DELETE FROM shop.k WHERE BINARY a='x' LIMIT 1",
        "UPDATE shop.k SET b=2 WHERE a IS NULL LIMIT 1",
        "DELETE FROM shop.k WHERE BINARY a='X'",
    ];
    let mut pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let (shipping, follower) = pair.attached().await;
    pair.a.run(&rows[..2]).await;
    let e = follower.stopped().await;
    assert!(matches!(e, StandbyError::Unsupported(_)), "{e:?}");
    assert!(e.to_string().contains("shop.k has no primary key"), "{e}");

    pair.without_key = WithoutPrimaryKey::RowByRow;
    let follower = pair.follow(&shipping);
    pair.a.run(&rows[2..]).await;
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_promotion_nothing_of_the_older_epoch_is_applied() {
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let (_shipping, follower) = pair.attached().await;
    pair.b.raise(2, &pair.b.site).await;
    let before = pair.b.content().await;
    pair.a.run(&["INSERT INTO shop.t VALUES (9,'late')"]).await;
    let e = follower.stopped().await;
    assert!(matches!(e, StandbyError::EpochMoved(_)), "{e:?}");
    assert_eq!(pair.b.content().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_another_one_moved_stops_the_stream() {
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let (_shipping, follower) = pair.attached().await;
    pair.b.run(&["UPDATE ghostlight.applied SET `offset` = `offset` - 1"]).await;
    pair.a.run(&["INSERT INTO shop.t VALUES (9,'nine')"]).await;
    let e = follower.stopped().await;
    assert!(matches!(e, StandbyError::EpochMoved(_)), "{e:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_none_any_more_sends_nothing() {
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let (shipping, follower) = pair.attached().await;
    let authority = shipping.authority.borrow().clone().unwrap();
    shipping.authority.send_replace(Some(Authority { primary: false, ..authority.clone() }));
    let mut progress = follower.progress.clone();
    progress.wait_for(|p| p.trouble.as_ref().is_some_and(|t| t.contains("not primary"))).await.unwrap();
    let before = pair.b.content().await;
    pair.a.run(&["INSERT INTO shop.t VALUES (9,'unshipped')"]).await;
    assert_eq!(pair.b.content().await, before);
    shipping.authority.send_replace(Some(authority));
    eventually("it is let in again", async || pair.b.content().await.len() > before.len()).await;
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_place_and_another_log_are_named() {
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let (shipping, follower) = pair.attached().await;
    follower.stop().await;
    for (place, word, lost) in [
        ("`file`=0", "expire_logs_days", true),
        ("`file`=99", "it is not the log that it was", false),
        ("`offset`=99999999", "it is not the log that it was", false),
    ] {
        pair.b.run(&[&format!("UPDATE ghostlight.applied SET {place}")]).await;
        let e = pair.follow(&shipping).stopped().await;
        assert_eq!(matches!(e, StandbyError::PositionLost(_)), lost, "{e:?}");
        assert_eq!(matches!(e, StandbyError::OtherLog(_)), !lost, "{e:?}");
        assert!(e.to_string().contains(word), "{e}");
        pair.b.run(&["UPDATE ghostlight.applied SET `file`=1, `offset`=4"]).await;
    }

    let mut other = shipping.authority.borrow().clone().unwrap();
    other.stream.0.push('x');
    shipping.authority.send_replace(Some(other));
    let e = pair.follow(&shipping).stopped().await;
    assert!(matches!(e, StandbyError::OtherLog(_)), "{e:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rows_cannot_carry_stops_the_stream_by_name() {
    let pair = Pair::start().await;
    pair.a.run(SHOP).await;
    let (shipping, follower) = pair.attached().await;
    pair.a.run(&["CREATE EVENT shop.ev ON SCHEDULE EVERY 1 DAY DO DELETE FROM shop.t"]).await;
    let e = follower.stopped().await;
    assert!(matches!(e, StandbyError::Unsupported(_)), "{e:?}");
    assert!(e.to_string().contains("EVENT shop.ev"), "{e}");
    // A seed meets it as well.
    pair.b.run(&["UPDATE ghostlight.site SET seeding=1", "DELETE FROM ghostlight.applied"]).await;
    let e = pair.seed(&shipping).await.unwrap_err();
    assert!(e.to_string().contains("shop.ev is an event"), "{e}");
}
