//! The waiting list over a real database: in order, one offer at a time, never past the public's back.

use crate::{
    accounts::member,
    organiser::{books, organiser},
    programme::puts_on_sale,
    site::{Site, Visitor, until},
};

const CSV: &str = "section,name_ko,name_en,grade,row,seats\nA1,왼쪽,Left,R,1,3\nA2,가운데,Centre,VIP,1,2\n";
const OFFER_MS: u64 = 6 * 3_600_000;

/// The hold that somebody's page offers to pay.
async fn offered(visitor: &Visitor, id: u32) -> Option<String> {
    let page = visitor.get(&format!("/performances/{id}/waitlist")).await.text;
    page.split_once("/checkout/").map(|(_, rest)| rest.split('"').next().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seat_that_comes_back_is_offered_in_order_and_sold_once() {
    let site = Site::open().await;
    let (one, two) = (site.postman().await, site.ready_instance().await);
    let organiser = organiser(&site, one).await;
    let id = puts_on_sale(&site, &organiser, CSV, 2, 20).await;
    let buyer = member(one, "buyer@example.com").await;
    let booking = books(&buyer, id, &["A1-1-1", "A1-1-2"]).await;
    let late = Visitor::signed_up(one).await;
    books(&late, id, &["A1-1-3"]).await;
    until("every instance sells it", || async {
        Visitor::new(two).get(&format!("/api/performances/{id}")).await.status == 200
    })
    .await;

    let path = format!("/performances/{id}/waitlist");
    let first = member(one, "first@example.com").await;
    let second = member(two, "second@example.com").await;
    let third = member(one, "third@example.com").await;
    let joins = async |who: &Visitor, grade: &str, count: &str| {
        let page = who.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.text);
        who.form(&page, &path, &[("grade", grade), ("count", count)]).await
    };
    assert_eq!(Visitor::new(one).get(&path).await.status, 303, "nobody waits without an account");
    assert!(
        first.get(&format!("/performances/{id}")).await.text.contains(&path),
        "the hall's page leads there"
    );
    for (grade, count) in [("VIP", "1"), ("R", "3"), ("R", "0")] {
        assert_eq!(joins(&first, grade, count).await.status, 409, "{grade} {count}");
    }
    for who in [&first, &second, &third] {
        assert_eq!(joins(who, "R", "1").await.status, 303);
    }
    assert_eq!(joins(&first, "R", "1").await.status, 409, "once for a grade");
    assert!(third.get(&path).await.text.contains("<strong>3</strong>번째로"), "their place");

    // Two seats come back: the first two are offered one each, before anybody else may have them.
    let terms = format!("/api/bookings/{booking}/cancel");
    let fee = buyer.get(&terms).await.json()["fee_won"].clone();
    assert_eq!(buyer.post(&terms, "", &serde_json::json!({ "fee_won": fee })).await.status, 204);
    for who in [&first, &second] {
        until("it is their turn", || async { offered(who, id).await.is_some() }).await;
    }
    assert_eq!(offered(&third, id).await, None);
    for seat in ["A1-1-1", "A1-1-2"] {
        assert_eq!(late.hold(id, "", &[seat]).await.status, 409, "{seat} is not for the public");
    }
    let letter = site.letter("offered", "first@example.com").await;
    assert!(letter.contains("왼쪽 1열 1번") && letter.contains(&path), "{letter}");
    assert!(first.get("/my").await.text.contains("자리가 났어요"));

    // The first pays as for any hold; the second lets it pass, and the third has it.
    let hold = offered(&first, id).await.unwrap();
    assert_eq!(second.get(&format!("/checkout/{hold}")).await.status, 409, "nobody else's");
    assert_eq!(first.get(&format!("/checkout/{hold}")).await.status, 200);
    let paid = first.pay(&serde_json::json!({ "hold_id": hold }), "k").await;
    assert_eq!((paid.status, &paid.json()["seats"]), (201, &serde_json::json!(["A1-1-1"])));
    let passed = offered(&second, id).await.unwrap();
    site.clock.advance(OFFER_MS + 1_000);
    assert_eq!(late.hold(id, "", &["A1-1-2"]).await.status, 409, "the next in line comes first");
    until("it is the third's turn", || async { offered(&third, id).await.is_some() }).await;
    assert_eq!(second.pay(&serde_json::json!({ "hold_id": passed }), "k").await.status, 409);
    assert!(second.get(&path).await.text.contains("다음 분께 넘어갔어요"));
    assert_eq!(joins(&second, "R", "1").await.status, 303, "whoever let it pass may wait again, at the end");

    // The third leaves: the seat goes to whoever waits, that is the second again, who leaves, too.
    for (who, left) in [(&third, 1), (&second, 0)] {
        until("it is their turn", || async { offered(who, id).await.is_some() }).await;
        let page = who.get(&path).await;
        let wait =
            page.text.split("name=\"wait\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let leave = format!("{path}/leave");
        let stranger = late.form(&late.get(&path).await, &leave, &[("wait", &wait)]).await;
        assert_eq!(stranger.status, 303);
        assert!(offered(who, id).await.is_some(), "a stranger ends nobody's waiting");
        assert_eq!(who.form(&page, &leave, &[("wait", &wait)]).await.status, 303);
        assert_eq!(offered(who, id).await, None);
        let waiting = "SELECT COUNT(*) FROM ticketing.waitlist WHERE account_id IN (SELECT id FROM ticketing.accounts \
                       WHERE email IN ('second@example.com', 'third@example.com'))";
        assert_eq!(site.number(waiting).await, left);
    }
    assert_eq!(late.hold(id, "", &["A1-1-2"]).await.status, 409, "not before the published moment");
    site.clock.advance(12 * 60_000);
    assert_eq!(late.hold(id, "", &["A1-1-2"]).await.status, 201, "then it is everybody's");
    assert_eq!(site.number("SELECT COUNT(*) FROM ticketing.outbox WHERE kind = 'offered'").await, 4);
    let sold =
        format!("SELECT COUNT(*) FROM ticketing.seat_claims WHERE performance_id = {id} AND state = 'sold'");
    assert_eq!(site.number(&sold).await, 2);
}
