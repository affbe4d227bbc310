//! The fence on a real server: the row first, then nobody in and nobody left.

use std::time::{Duration, Instant};

use model::{
    Epoch, Site,
    agent::{Fence, FenceMeans, FenceReply, FenceRequest, FenceResult},
};
use mysql_async::{Conn, prelude::Queryable};
use replicate::fence::{accounts, close_for, closed_for, fence, state};

use crate::support::{APPLICATION, Bed, aws, epoch_and_primary, nhn};

/// As the primary of this epoch does.
async fn open(conn: &mut Conn, epoch: u64, closed_for: Option<u64>) -> bool {
    replicate::fence::open(conn, (&nhn(), Epoch(epoch)), APPLICATION, closed_for).await.unwrap()
}

/// It is closed, or will be: the server lists a session that it refused until that has ended.
async fn closed(conn: &mut Conn) {
    assert!(accounts(conn, APPLICATION).await.unwrap().iter().all(|(_, locked)| *locked));
    let within = Duration::from_secs(10);
    let began = Instant::now();
    while state(conn, APPLICATION).await.unwrap() != Fence::Closed {
        assert!(began.elapsed() < within, "not closed within {within:?}");
        tokio::task::yield_now().await;
    }
}

async fn ask(conn: &mut Conn, epoch: u64, primary: Site) -> FenceReply {
    fence(conn, &nhn(), APPLICATION, &FenceRequest { epoch: Epoch(epoch), primary }).await.unwrap()
}

#[tokio::test]
async fn an_older_primary_is_closed_and_its_sessions_are_ended() {
    let bed = Bed::new().await;
    let mut conn = bed.born(1, nhn(), 0).await;
    conn.query_drop("CREATE DATABASE IF NOT EXISTS ticketing").await.unwrap();
    conn.query_drop("CREATE TABLE ticketing.t (id INT PRIMARY KEY)").await.unwrap();
    assert!(open(&mut conn, 1, None).await);
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

    // An agent that was about to open and stood still finds what the row says now.
    assert!(!open(&mut conn, 1, None).await);
    assert!(!open(&mut conn, 2, None).await);
    closed(&mut conn).await;

    // A fence that was interrupted behind the row is finished by asking again.
    conn.query_drop("ALTER USER ticketing@'%' ACCOUNT UNLOCK").await.unwrap();
    let reply = ask(&mut conn, 2, aws()).await;
    assert!(reply.account_locked, "{reply:?}");
    assert!(bed.application().await.is_err());
}

#[tokio::test]
async fn a_fenced_server_takes_nobodys_writes_but_the_agents_until_it_is_opened() {
    let bed = Bed::new().await;
    let mut conn = bed.born(1, nhn(), 0).await;
    conn.query_drop("CREATE DATABASE IF NOT EXISTS ticketing").await.unwrap();
    conn.query_drop("CREATE TABLE ticketing.t (id INT PRIMARY KEY)").await.unwrap();
    assert!(open(&mut conn, 1, None).await);
    let reply = ask(&mut conn, 2, aws()).await;
    let told = reply.read_only.unwrap();
    assert_eq!((told.driver, told.result), (FenceMeans::ReadOnly, FenceResult::Done), "{told:?}");
    // Somebody unlocks the account by hand: the server refuses all the same. The agent's sessions go on.
    conn.query_drop("ALTER USER ticketing@'%' ACCOUNT UNLOCK").await.unwrap();
    let mut ticketing = bed.application().await.unwrap();
    let refused = ticketing.query_drop("INSERT INTO ticketing.t VALUES (1)").await.unwrap_err().to_string();
    assert!(refused.contains("read-only"), "{refused}");
    bed.agent().await.query_drop("INSERT INTO ticketing.t VALUES (2)").await.unwrap();
    conn.query_drop("UPDATE ghostlight.site SET epoch = 3, `primary` = 'nhn'").await.unwrap();
    assert!(open(&mut conn, 3, None).await);
    ticketing.query_drop("INSERT INTO ticketing.t VALUES (1)").await.unwrap();
}

#[tokio::test]
async fn where_the_privilege_is_kept_read_only_is_named_as_not_possible_and_the_rest_is_done() {
    let bed = Bed::new().await;
    let mut conn = bed.born(1, nhn(), 0).await;
    assert!(open(&mut conn, 1, None).await);
    // As on a managed server.
    let mut operator = bed.operator().await;
    operator.query_drop("REVOKE READ_ONLY ADMIN ON *.* FROM ghostlight@'%'").await.unwrap();
    let mut conn = bed.agent().await;
    let reply = ask(&mut conn, 2, aws()).await;
    assert!(reply.row_raised && reply.account_locked && reply.why.is_none(), "{reply:?}");
    let told = reply.read_only.unwrap();
    assert_eq!(told.result, FenceResult::NotPossible, "{told:?}");
    assert!(told.why.unwrap().contains("READ_ONLY ADMIN"));
    assert_eq!(state(&mut conn, APPLICATION).await.unwrap(), Fence::Closed);
}

#[tokio::test]
async fn a_primary_is_not_closed_by_its_own_or_an_older_epoch() {
    let bed = Bed::new().await;
    let mut conn = bed.born(3, nhn(), 0).await;
    assert!(open(&mut conn, 3, None).await);
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

#[tokio::test]
async fn letting_in_again_names_the_intent_that_it_belongs_to() {
    let bed = Bed::new().await;
    let mut conn = bed.born(1, nhn(), 0).await;
    assert!(open(&mut conn, 1, None).await);
    assert_eq!(close_for(&mut conn, APPLICATION, 7).await.unwrap().why, None);
    // An agent reads that intent 7 was given up, and is paused. The next switchover closes the database meanwhile, and a
    // late repetition of the first one's request comes, too.
    let named = closed_for(&mut conn).await.unwrap();
    assert_eq!(named, Some(7));
    let mut other = bed.agent().await;
    assert!(close_for(&mut other, APPLICATION, 9).await.unwrap().account_locked);
    assert!(close_for(&mut other, APPLICATION, 7).await.unwrap().account_locked);
    assert!(!open(&mut conn, 1, named).await, "it is closed for intent 9");
    assert!(!open(&mut conn, 1, None).await, "nor by a promotion's late request");
    assert_eq!(state(&mut conn, APPLICATION).await.unwrap(), Fence::Closed);
    assert!(open(&mut conn, 1, Some(9)).await);
    assert_eq!(
        (state(&mut conn, APPLICATION).await.unwrap(), closed_for(&mut conn).await.unwrap()),
        (Fence::Open, None)
    );
}

#[tokio::test]
async fn who_closes_ends_the_turn_of_one_that_stands_still_in_its_opening() {
    let bed = Bed::new().await;
    let mut conn = bed.born(1, nhn(), 0).await;
    assert!(close_for(&mut conn, APPLICATION, 7).await.unwrap().account_locked);
    let mut paused = bed.agent().await;
    paused.query_drop("DO GET_LOCK('ghostlight.account', 0)").await.unwrap();
    assert!(close_for(&mut conn, APPLICATION, 9).await.unwrap().account_locked);
    assert_eq!(closed_for(&mut conn).await.unwrap(), Some(9));
    // What it would have done next.
    let late = paused.query_drop("ALTER USER ticketing@'%' ACCOUNT UNLOCK").await;
    assert!(late.is_err(), "its session has ended");
    assert_eq!(state(&mut conn, APPLICATION).await.unwrap(), Fence::Closed);
}
