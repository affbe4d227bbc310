//! The fence on a real server: the row first, then nobody in and nobody left.

use model::{
    Epoch, Site,
    agent::{Fence, FenceReply, FenceRequest},
};
use mysql_async::{Conn, prelude::Queryable};
use replicate::fence::{fence, open, state};

use crate::support::{APPLICATION, Bed, aws, epoch_and_primary, nhn};

async fn ask(conn: &mut Conn, epoch: u64, primary: Site) -> FenceReply {
    fence(conn, &nhn(), APPLICATION, &FenceRequest { epoch: Epoch(epoch), primary }).await.unwrap()
}

#[tokio::test]
async fn an_older_primary_is_closed_and_its_sessions_are_ended() {
    let bed = Bed::new().await;
    let mut conn = bed.born(1, nhn(), 0).await;
    conn.query_drop("CREATE DATABASE IF NOT EXISTS ticketing").await.unwrap();
    conn.query_drop("CREATE TABLE ticketing.t (id INT PRIMARY KEY)").await.unwrap();
    open(&mut conn, APPLICATION).await.unwrap();
    assert_eq!(state(&mut conn, APPLICATION).await.unwrap(), Fence::Open);
    let mut busy = bed.application().await.unwrap();
    busy.query_drop("START TRANSACTION").await.unwrap();
    busy.query_drop("INSERT INTO ticketing.t VALUES (1)").await.unwrap();
    let mut waiting = bed.application().await.unwrap();
    let waits = tokio::spawn(async move { waiting.query_drop("SELECT SLEEP(600)").await });

    let reply = ask(&mut conn, 2, aws()).await;
    assert_eq!((reply.row_raised, reply.account_locked), (true, true), "{reply:?}");
    assert_eq!((reply.sessions_killed, reply.sessions_left), (2, 0), "{reply:?}");
    assert_eq!(epoch_and_primary(&mut conn).await, (2, "aws".into()));
    assert_eq!(state(&mut conn, APPLICATION).await.unwrap(), Fence::Closed);
    assert!(busy.query_drop("COMMIT").await.is_err());
    // MariaDB answers an interrupted SLEEP with a row before it ends the session.
    drop(waits.await.unwrap());
    let rows: Option<u64> = conn.query_first("SELECT COUNT(*) FROM ticketing.t").await.unwrap();
    assert_eq!(rows, Some(0));
    let refused = bed.application().await.unwrap_err().to_string();
    assert!(refused.contains("locked"), "{refused}");

    // A fence that was interrupted behind the row is finished by asking again.
    open(&mut conn, APPLICATION).await.unwrap();
    let reply = ask(&mut conn, 2, aws()).await;
    assert!(reply.account_locked, "{reply:?}");
    assert!(bed.application().await.is_err());
}

#[tokio::test]
async fn a_primary_is_not_closed_by_its_own_or_an_older_epoch() {
    let bed = Bed::new().await;
    let mut conn = bed.born(3, nhn(), 0).await;
    open(&mut conn, APPLICATION).await.unwrap();
    for (epoch, primary) in [(2, aws()), (3, aws()), (3, nhn()), (4, nhn())] {
        let reply = ask(&mut conn, epoch, primary).await;
        assert!(!reply.account_locked && reply.why.is_some(), "{reply:?}");
    }
    assert_eq!(epoch_and_primary(&mut conn).await, (3, "nhn".into()));
    bed.application().await.unwrap();
}

#[tokio::test]
async fn an_empty_database_has_nothing_to_fence() {
    let bed = Bed::new().await;
    let mut conn = bed.agent().await;
    let reply = ask(&mut conn, 2, aws()).await;
    assert!(!reply.row_raised && reply.why.is_some(), "{reply:?}");
}
