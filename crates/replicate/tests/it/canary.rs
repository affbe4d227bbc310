//! The canary against a real log: what bears the mark is the peer's, what does not is an alarm.

use std::{sync::Arc, time::Duration};

use model::{Epoch, Incarnation, Position, StreamId, Watermark, topology::WithoutPrimaryKey};
use mysql_async::prelude::Queryable;
use replicate::{
    apply::{FollowProgress, StandbyConfig, StandbyError},
    canary,
    link::authority::Authority,
};
use tokio::sync::watch;

use crate::support::{Bed, attach, aws, nhn};

/// Runs the canary while a "follower" writes one row, with or without the mark in the same transaction.
async fn check(marked: bool) -> Result<(), StandbyError> {
    let bed = Bed::new().await;
    let mut conn = bed.born(1, aws(), 1).await;
    attach(&mut conn, 1, None).await;
    conn.query_drop("CREATE DATABASE shop").await.unwrap();
    conn.query_drop("CREATE TABLE shop.t (id INT PRIMARY KEY)").await.unwrap();
    let config = StandbyConfig {
        database: bed.database(),
        peer_link: bed.server.address(),
        identity: Authority::new().unwrap().identity(&nhn()).unwrap(),
        site: nhn(),
        origin: aws(),
        epoch: Epoch(1),
        incarnation: Incarnation(1),
        tables_without_primary_key: WithoutPrimaryKey::Refuse,
        verifier: replicate::copy::verify::Verifier::default(),
        spool: std::env::temp_dir(),
        metrics: Arc::default(),
    };
    let (progress, seen) = watch::channel(FollowProgress::default());
    let mark = |offset| FollowProgress {
        watermark: Some(Watermark {
            epoch: Epoch(1),
            incarnation: Incarnation(1),
            position: Position { stream: StreamId("theirs".into()), file: 3, offset },
        }),
        ..FollowProgress::default()
    };
    progress.send_replace(mark(777));
    let canary = tokio::spawn(async move { canary::sing(&config, seen).await });
    // Until the canary has noted where the log stands, whatever is written before is not its business; so the
    // follower goes on writing, as a real one does.
    for offset in 778_u64.. {
        if canary.is_finished() {
            break;
        }
        conn.query_drop("START TRANSACTION").await.unwrap();
        if marked {
            conn.exec_drop("UPDATE ghostlight.applied SET `offset` = ?", (offset,)).await.unwrap();
        }
        conn.exec_drop("INSERT INTO shop.t VALUES (?)", (offset,)).await.unwrap();
        conn.query_drop("COMMIT").await.unwrap();
        progress.send_replace(mark(offset));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(offset < 5_000, "the canary never sang");
    }
    canary.await.unwrap()
}

#[tokio::test]
async fn what_bears_the_mark_closes_the_loop() {
    check(true).await.unwrap();
}

#[tokio::test]
async fn what_does_not_is_an_alarm() {
    let alarm = check(false).await.unwrap_err();
    assert!(matches!(alarm, StandbyError::Conflict(_)), "{alarm}");
}
