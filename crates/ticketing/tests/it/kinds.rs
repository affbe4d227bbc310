//! Kinds of tickets over a real database: the price is the server's, and nobody pays one price for another.

use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::{
    organiser::organiser,
    site::{ARENA, Answer, MUSICAL, Site, Visitor},
};

async fn chooses(visitor: &Visitor, hold: &Value, kinds: Value) -> Answer {
    let path = format!("/api/holds/{}/kinds", hold["hold_id"].as_str().unwrap());
    visitor.post(&path, "", &json!({ "kinds": kinds })).await
}

/// What must be true of money, whatever was asked at once.
async fn money_adds_up(site: &Site) {
    for (what, sql) in [
        (
            "a booking costs what its seats cost",
            "SELECT COUNT(*) FROM ticketing.bookings b WHERE b.amount_won <> (SELECT SUM(c.price_won) FROM ticketing.seat_claims c WHERE c.booking_id = b.id)",
        ),
        (
            "a booking was paid",
            "SELECT COUNT(*) FROM ticketing.bookings b LEFT JOIN ticketing.payments p ON p.booking_id = b.id AND p.amount_won = b.amount_won WHERE p.id IS NULL",
        ),
        (
            "a price is the full one less its discount",
            "SELECT COUNT(*) FROM ticketing.seat_claims c JOIN ticketing.hold_discounts d ON d.hold_id = c.hold_id AND d.seat = c.seat WHERE c.price_won <> CASE d.discount WHEN 'youth' THEN d.full_won * 8 DIV 100 * 10 WHEN 'care' THEN d.full_won DIV 20 * 10 ELSE d.full_won END",
        ),
    ] {
        assert_eq!(site.number(sql).await, 0, "not so: {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reduced_ticket_costs_what_the_server_says_and_the_door_knows() {
    let site = Site::open().await;
    let (one, two) = (site.postman().await, site.ready_instance().await);
    let organiser = organiser(&site, one).await;
    let visitor = Visitor::signed_up(one).await;
    let event = visitor.get(&format!("/api/performances/{MUSICAL}")).await.json();
    assert_eq!(
        (&event["discounts"][0]["id"], &event["discounts"][0]["percent"]),
        (&json!("youth"), &json!(20))
    );
    let hold = visitor.hold(MUSICAL, "", &["S1-2-2", "S1-2-3"]).await.json();
    let full_won = hold["amount_won"].as_u64().unwrap();

    for (kinds, status, error) in [
        (json!({ "S1-2-2": "nothing" }), 409, "discount_refused"),
        (json!({ "S1-2-4": "youth" }), 400, "invalid_seats"),
    ] {
        let no = chooses(&visitor, &hold, kinds).await;
        assert_eq!((no.status, no.json()["error"].as_str()), (status, Some(error)), "{no:?}");
    }
    let stranger = Visitor::signed_up(two).await;
    let no = chooses(&stranger, &hold, json!({ "S1-2-2": "youth" })).await;
    assert_eq!(no.json()["error"], "hold_expired");
    let many = Visitor::signed_up(two).await;
    let three = many.hold(ARENA, "", &["F3-4-1", "F3-4-2", "F3-4-3"]).await.json();
    let all = json!({ "F3-4-1": "care", "F3-4-2": "care", "F3-4-3": "care" });
    assert_eq!(chooses(&many, &three, all).await.json()["error"], "discount_refused", "it is for two");

    // The hold has another name with another price; asking again names the same one.
    let named = chooses(&visitor, &hold, json!({ "S1-2-2": "youth" })).await;
    let reduced = named.json();
    assert_eq!(reduced["amount_won"], full_won - full_won / 2 / 5);
    assert_ne!(reduced["hold_id"], hold["hold_id"]);
    assert_eq!(reduced["held_until"], hold["held_until"], "choosing wins no time");
    let elsewhere = Visitor { at: two, ..visitor.clone() };
    assert_eq!(chooses(&elsewhere, &hold, json!({ "S1-2-2": "youth" })).await.text, named.text);
    assert_eq!(visitor.pay(&hold, "old").await.json()["error"], "hold_expired");

    // On the page: another choice is shown with its price before anything is paid.
    let path = format!("/checkout/{}", reduced["hold_id"].as_str().unwrap());
    let page = visitor.get(&path).await;
    assert!(page.text.contains("학생증 또는 청소년증") && page.text.contains("할인"), "{}", page.text);
    let pay = |first: &'static str| [("method", "test"), ("kind:S1-2-2", first), ("kind:S1-2-3", "care")];
    let shown = visitor.form(&page, &format!("{path}/pay"), &pay("youth")).await;
    assert_eq!(shown.status, 303);
    let path = shown.header("location").split('?').next().unwrap().to_owned();
    assert!(path.starts_with("/checkout/"), "{path}");
    assert_eq!(site.number("SELECT COUNT(*) FROM ticketing.bookings").await, 0);
    let odd = visitor.form(&page, &format!("{path}/pay"), &pay("gone")).await;
    assert!(odd.status == 409 && odd.text.contains("role=\"alert\""), "{}", odd.text);
    let mut booked = Vec::new();
    for _ in 0..2 {
        let done = visitor.form(&page, &format!("{path}/pay"), &pay("youth")).await;
        booked.push((done.status, done.header("location").to_owned()));
    }
    assert!(booked[0].1.starts_with("/bookings/") && booked[0] == booked[1], "{booked:?}");
    let due_won = full_won - full_won / 2 / 5 - full_won / 4;
    assert_eq!(
        site.number("SELECT CAST(SUM(amount_won) AS UNSIGNED) FROM ticketing.payments").await,
        due_won
    );
    let done = visitor.get(&booked[0].1).await.text;
    assert!(done.contains("청소년 (13~18세)") && done.contains("복지카드 또는 유공자증"), "{done}");
    let list = organiser.get(&format!("/organiser/performances/{MUSICAL}/door-list")).await.text;
    assert!(list.contains("청소년 (13~18세)") && list.contains("복지카드 또는 유공자증"), "{list}");
    let csv = organiser.get(&format!("/organiser/performances/{MUSICAL}/bookings.csv")).await.text;
    assert!(csv.contains("청소년 (13~18세) / 장애인·국가유공자"), "{csv}");
    let no = booked[0].1.split('/').next_back().unwrap();
    let terms = visitor.get(&format!("/api/bookings/{no}/cancel")).await.json();
    assert_eq!(terms["fee_won"].as_u64().unwrap() + terms["refund_won"].as_u64().unwrap(), due_won);
    money_adds_up(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organiser_gives_a_discount() {
    let site = Site::open().await;
    let at = site.postman().await;
    let organiser = organiser(&site, at).await;
    let page = organiser.get("/organiser/programme").await;
    let early = |word: &'static str, amount: &'static str, until: &'static str| {
        [
            ("show", "5"),
            ("word", word),
            ("kind_ko", "조기예매"),
            ("kind_en", "Early"),
            ("amount", amount),
            ("less", "won"),
            ("from", "2020-01-01T00:00"),
            ("until", until),
        ]
    };
    for (word, amount, until) in [
        ("Early", "5,000", "2037-01-01T00:00"),
        ("early", "free", "2037-01-01T00:00"),
        ("early", "5,000", "2019-01-01T00:00"),
        ("care", "5,000", "2037-01-01T00:00"),
    ] {
        let no = organiser.form(&page, "/organiser/discounts", &early(word, amount, until)).await;
        assert!(no.status == 400 && no.text.contains("조기예매"), "{word} {amount} {until}: {}", no.status);
    }
    let visitor = Visitor::signed_up(at).await;
    let form = early("early", "5,000", "2037-01-01T00:00");
    assert_eq!(visitor.form(&page, "/organiser/discounts", &form).await.status, 403);
    assert_eq!(organiser.form(&page, "/organiser/discounts", &form).await.status, 303);
    let hold = visitor.hold(ARENA, "", &["F3-5-1"]).await.json();
    let reduced = chooses(&visitor, &hold, json!({ "F3-5-1": "early" })).await.json();
    assert_eq!(reduced["amount_won"].as_u64().unwrap() + 5_000, hold["amount_won"].as_u64().unwrap());
    assert_eq!(visitor.pay(&reduced, "k").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_pays_while_the_price_changes_pays_what_they_saw_or_nothing() {
    let site = Site::open().await;
    let (one, two) = (site.ready_instance().await, site.ready_instance().await);
    let visitors = join_all((0..24).map(|_| Visitor::signed_up(one))).await;
    let races = visitors.iter().enumerate().map(|(i, visitor)| async move {
        let seat = format!("U1-9-{}", i + 1);
        let hold = visitor.hold(ARENA, "", &[&seat]).await.json();
        let elsewhere = Visitor { at: two, ..visitor.clone() };
        let (paid, chosen) =
            join(visitor.pay(&hold, "k"), chooses(&elsewhere, &hold, json!({ seat: "care" }))).await;
        match (paid.status, chosen.status) {
            (201, 409) => assert_eq!(paid.json()["amount_won"], hold["amount_won"]),
            (409, 200) => assert_eq!(visitor.pay(&chosen.json(), "k2").await.status, 201),
            other => panic!("{other:?}: {paid:?} {chosen:?}"),
        }
    });
    join_all(races).await;
    assert_eq!(site.number("SELECT COUNT(*) FROM ticketing.bookings").await, 24);
    money_adds_up(&site).await;
}
