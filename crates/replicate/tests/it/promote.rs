//! Promotion on a real server: conditional, done once, refused for ever.

use model::{Epoch, Register, agent::PromoteReply};
use mysql_async::{Conn, prelude::Queryable};
use replicate::promote::{Promotion, promote, record};

use crate::support::{APPLICATION, Bed, attach, aws, epoch_and_primary, nhn, register};

async fn ask(conn: &mut Conn, epoch: u64, register: &Register) -> PromoteReply {
    let site = nhn();
    let wanted = Promotion {
        epoch: Epoch(epoch),
        site: &site,
        register,
        agent_user: "ghostlight",
        application_user: APPLICATION,
    };
    promote(conn, &wanted).await.unwrap()
}

#[tokio::test]
async fn a_standby_is_promoted_once_and_opened() {
    let bed = Bed::new().await;
    let mut conn = bed.born(1, aws(), 4).await;
    let slot = attach(&mut conn, 1, None).await;
    assert!(bed.application().await.is_err(), "the account is made locked");

    let named = register(9, 2, nhn(), 4);
    let PromoteReply::Promoted { record: told } = ask(&mut conn, 2, &named).await else { panic!() };
    assert_eq!(told.slot, slot);
    assert_eq!(record(&mut conn, Epoch(2)).await.unwrap(), Some(told.clone()));
    assert_eq!(epoch_and_primary(&mut conn).await, (2, "nhn".into()));
    bed.application().await.unwrap();

    // The agent died after the transaction, before the account was opened: asking again does just that.
    conn.query_drop("ALTER USER ticketing@'%' ACCOUNT LOCK").await.unwrap();
    assert_eq!(ask(&mut conn, 2, &named).await, PromoteReply::AlreadyPromoted);
    bed.application().await.unwrap();
    assert_eq!(record(&mut conn, Epoch(2)).await.unwrap(), Some(told), "the record is written once");
}

#[tokio::test]
async fn what_still_applies_is_ended_before_the_row_moves() {
    let bed = Bed::new().await;
    let mut conn = bed.born(1, aws(), 0).await;
    attach(&mut conn, 1, None).await;
    // An applier of a paused agent, in the middle of its transaction: it holds the row and has moved the slot.
    let mut applier = bed.agent().await;
    applier.query_drop("START TRANSACTION").await.unwrap();
    let _: Option<u8> =
        applier.query_first("SELECT id FROM ghostlight.site WHERE epoch = 1 FOR UPDATE").await.unwrap();
    applier.query_drop("UPDATE ghostlight.applied SET `offset` = 900").await.unwrap();

    let PromoteReply::Promoted { record } = ask(&mut conn, 2, &register(9, 2, nhn(), 0)).await else {
        panic!()
    };
    assert_eq!(record.slot.position.offset, 777, "what it had not committed is not part of our history");
    assert!(applier.query_drop("COMMIT").await.is_err(), "and it cannot commit any more");
}

#[tokio::test]
async fn pending_ddl_is_copied_into_the_record() {
    let bed = Bed::new().await;
    let mut conn = bed.born(1, aws(), 0).await;
    attach(&mut conn, 1, Some("ddl:7:ab")).await;
    assert!(matches!(ask(&mut conn, 2, &register(9, 2, nhn(), 0)).await, PromoteReply::Promoted { .. }));
    let pending: Option<String> =
        conn.query_first("SELECT pending FROM ghostlight.failover WHERE epoch = 2").await.unwrap();
    assert_eq!(pending.as_deref(), Some("ddl:7:ab"));
}

#[tokio::test]
async fn a_request_that_the_register_does_not_bear_out_decides_nothing() {
    let bed = Bed::new().await;
    let mut conn = bed.born(1, aws(), 0).await;
    attach(&mut conn, 1, None).await;
    for named in [register(9, 1, aws(), 0), register(9, 2, aws(), 0), register(9, 3, nhn(), 0)] {
        let reply = ask(&mut conn, 2, &named).await;
        assert!(matches!(reply, PromoteReply::NotNow { .. }), "{reply:?}");
    }
    assert_eq!(epoch_and_primary(&mut conn).await, (1, "aws".into()));
    assert!(bed.application().await.is_err());
}

#[tokio::test]
async fn a_refusal_is_for_ever() {
    // The life of the data, the slot's epoch and what is pending in it.
    let cases = [
        ("another life", 3, Some(1), None),
        ("no slot", 4, None, None),
        ("a slot of an older epoch", 4, Some(0), None),
        ("a copy that is not complete", 4, Some(1), Some("seed:7:3")),
    ];
    let bed = Bed::new().await;
    for (what, incarnation, slot_epoch, pending) in cases {
        bed.agent().await.query_drop("DROP DATABASE IF EXISTS ghostlight").await.unwrap();
        let mut conn = bed.born(1, aws(), incarnation).await;
        if let Some(slot_epoch) = slot_epoch {
            attach(&mut conn, slot_epoch, pending).await;
        }
        let named = register(9, 2, nhn(), 4);
        let reply = ask(&mut conn, 2, &named).await;
        assert!(matches!(reply, PromoteReply::Refused { .. }), "{what}: {reply:?}");
        assert_eq!(epoch_and_primary(&mut conn).await, (2, "aws".into()), "{what}");

        // Whatever was missing is there now: it stays refused.
        conn.query_drop("UPDATE ghostlight.site SET incarnation = 4").await.unwrap();
        attach(&mut conn, 1, None).await;
        let again = ask(&mut conn, 2, &named).await;
        assert!(matches!(again, PromoteReply::Refused { .. }), "{what}: {again:?}");
        assert!(bed.application().await.is_err(), "{what}");
    }
}

#[tokio::test]
async fn a_standby_whose_place_another_server_took_is_refused() {
    let bed = Bed::new().await;
    let mut conn = bed.born(1, aws(), 4).await;
    attach(&mut conn, 1, None).await;
    bed.becomes_another_server().await;
    let named = register(9, 2, nhn(), 4);
    let reply = ask(&mut conn, 2, &named).await;
    assert!(matches!(&reply, PromoteReply::Refused { why } if why.contains("another server")), "{reply:?}");
    let again = ask(&mut conn, 2, &named).await;
    assert!(matches!(again, PromoteReply::Refused { .. }), "the refusal has named the log: {again:?}");
}

#[tokio::test]
async fn an_old_primarys_data_are_neither_promoted_nor_closed_by_a_refusal() {
    let bed = Bed::new().await;
    let mut conn = bed.born(1, nhn(), 0).await;
    attach(&mut conn, 1, None).await;
    for epoch in [2, 3] {
        let reply = ask(&mut conn, epoch, &register(9, epoch, nhn(), 0)).await;
        assert!(matches!(reply, PromoteReply::NotNow { .. }), "{reply:?}");
    }
    assert_eq!(epoch_and_primary(&mut conn).await, (1, "nhn".into()));
}
