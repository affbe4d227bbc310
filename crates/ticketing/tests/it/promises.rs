//! What is promised to visitors, whoever races whom.

use futures_util::future::join_all;
use serde_json::json;
use ticketing::booking::HOLD_MS;

use crate::site::{ARENA, MUSICAL, Site, Visitor};

#[tokio::test(flavor = "multi_thread")]
async fn of_visitors_who_race_for_a_seat_one_gets_it_and_the_others_are_told() {
    let site = Site::open().await;
    let (one, two) = (site.ready_instance().await, site.ready_instance().await);
    let visitors = join_all([one, two, one, two].map(Visitor::signed_up)).await;
    for round in 1..=12 {
        let seat = format!("F3-2-{round}");
        let answers = join_all(visitors.iter().map(|v| v.hold(ARENA, "", std::slice::from_ref(&seat)))).await;
        let mut statuses: Vec<u16> = answers.iter().map(|a| a.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409], "{answers:?}");
        for lost in answers.iter().filter(|a| a.status == 409) {
            assert_eq!(lost.json()["error"], "seat_taken");
            assert_eq!(lost.json()["seats"], json!([seat]));
        }
        let (winner, won) = visitors.iter().zip(&answers).find(|(_, a)| a.status == 201).unwrap();
        let id = won.json()["hold_id"].as_str().unwrap().to_owned();
        assert_eq!(winner.send("DELETE", &format!("/api/holds/{id}"), &[], String::new()).await.status, 204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_however_many_requests_come_at_once() {
    let site = Site::open().await;
    let at = site.ready_instance().await;
    for (performance, limit, section) in [(ARENA, 4, "F4"), (MUSICAL, 2, "S2")] {
        let visitor = Visitor::signed_up(at).await;
        let seats: Vec<String> = (1..=7).map(|n| format!("{section}-3-{n}")).collect();
        let answers =
            join_all(seats.iter().map(|s| visitor.hold(performance, "", std::slice::from_ref(s)))).await;
        let held = answers.iter().filter(|a| a.status == 201).count();
        assert_eq!(held, limit, "{answers:?}");
        for no in answers.iter().filter(|a| a.status != 201) {
            assert_eq!((no.status, no.json()["error"].as_str()), (409, Some("limit_reached")), "{no:?}");
        }
    }
    let most = site
        .number("SELECT MAX(n) FROM (SELECT COUNT(*) n FROM ticketing.seat_claims WHERE account_id IS NOT NULL GROUP BY performance_id, account_id) t")
        .await;
    assert_eq!(most, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_again_with_the_same_key_holds_once_and_charges_once() {
    let site = Site::open().await;
    let (one, two) = (site.ready_instance().await, site.ready_instance().await);
    let visitor = Visitor::signed_up(one).await;
    let elsewhere = Visitor { at: two, ..visitor.clone() };

    let hold = visitor.hold(ARENA, "hold-1", &["L1-1-1", "L1-1-2"]).await;
    assert_eq!(hold.status, 201, "{hold:?}");
    assert_eq!(elsewhere.hold(ARENA, "hold-1", &["L1-1-1", "L1-1-2"]).await.text, hold.text);

    let hold = hold.json();
    let pressed = join_all((0..6).map(|i| [&visitor, &elsewhere][i % 2].pay(&hold, "pay-1"))).await;
    assert_eq!(pressed.iter().filter(|a| a.status == 201).count(), 1, "{pressed:?}");
    assert_eq!(pressed.iter().filter(|a| a.status == 200).count(), 5, "{pressed:?}");
    assert!(pressed.iter().all(|a| a.json() == pressed[0].json()), "{pressed:?}");
    assert_eq!(pressed[0].json()["seats"], json!(["L1-1-1", "L1-1-2"]));
    assert_eq!(pressed[0].json()["booking_no"].as_str().unwrap().len(), 14);

    let other_key = visitor.pay(&hold, "pay-2").await;
    assert_eq!((other_key.status, other_key.json()["error"].as_str()), (409, Some("already_booked")));
    assert_eq!(site.number("SELECT COUNT(*) FROM ticketing.payments").await, 1);
    let mine = visitor.get("/api/bookings").await.json();
    assert_eq!(mine.as_array().unwrap().len(), 1);
    assert_eq!(mine[0]["booking_no"], pressed[0].json()["booking_no"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_ran_out_is_free_for_others_and_cannot_be_paid() {
    let site = Site::open().await;
    let at = site.ready_instance().await;
    let (slow, quick) = (Visitor::signed_up(at).await, Visitor::signed_up(at).await);
    let hold = slow.hold(ARENA, "", &["F5-1-1", "F5-1-2"]).await.json();
    assert_eq!(quick.hold(ARENA, "", &["F5-1-2"]).await.status, 409);

    site.clock.advance(HOLD_MS + 1);
    let late = slow.pay(&hold, "late").await;
    assert_eq!((late.status, late.json()["error"].as_str()), (409, Some("hold_expired")), "{late:?}");
    let taken_over = quick.hold(ARENA, "", &["F5-1-2", "F5-1-3"]).await;
    assert_eq!(taken_over.status, 201, "{taken_over:?}");
    assert_eq!(quick.pay(&taken_over.json(), "in-time").await.status, 201);
    let late = slow.pay(&hold, "later").await;
    assert_eq!(late.json()["error"], "hold_expired");
    // The account's own places are free again, too.
    assert_eq!(slow.hold(ARENA, "", &["F5-2-1", "F5-2-2", "F5-2-3", "F5-2-4"]).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_payment_keeps_the_seats() {
    let site = Site::open().await;
    let at = site.ready_instance().await;
    let visitor = Visitor::signed_up(at).await;
    let hold = visitor.hold(MUSICAL, "", &["S1-2-2"]).await.json();
    let path = format!("/api/holds/{}/pay", hold["hold_id"].as_str().unwrap());
    let declined = visitor.post(&path, "a", &json!({ "method": "test-decline" })).await;
    assert_eq!((declined.status, declined.json()["error"].as_str()), (402, Some("payment_declined")));
    assert_eq!(visitor.pay(&hold, "a").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn seats_and_money_add_up_after_a_crowd() {
    let site = Site::open().await;
    let (one, two) = (site.ready_instance().await, site.ready_instance().await);
    let visitors = join_all((0..10).map(|i| Visitor::signed_up([one, two][i % 2]))).await;
    join_all(visitors.iter().enumerate().map(|(i, visitor)| async move {
        for n in 0..12 {
            // Neighbours want some of the same seats.
            let first = (i * 3 + n) % 24 + 1;
            let (a, b) = (format!("U1-9-{first}"), format!("U1-9-{}", first + 1));
            let hold = visitor.hold(ARENA, "", &[&a, &b]).await;
            assert!([201, 409].contains(&hold.status), "{hold:?}");
            if hold.status == 201 && n % 3 != 0 {
                let paid = visitor.pay(&hold.json(), &format!("k{n}")).await;
                assert_eq!(paid.status, 201, "{paid:?}");
            }
        }
    }))
    .await;

    assert!(site.number("SELECT COUNT(*) FROM ticketing.bookings").await > 0);
    for (what, sql) in [
        (
            "a booking has the seats that it says",
            "SELECT COUNT(*) FROM ticketing.bookings b WHERE b.seat_count <> (SELECT COUNT(*) FROM ticketing.seat_claims c WHERE c.booking_id = b.id AND c.state = 'sold')",
        ),
        (
            "a booking costs what its seats cost",
            "SELECT COUNT(*) FROM ticketing.bookings b WHERE b.amount_won <> (SELECT SUM(c.price_won) FROM ticketing.seat_claims c WHERE c.booking_id = b.id)",
        ),
        (
            "charged is confirmed, confirmed is charged",
            "SELECT COUNT(*) FROM ticketing.bookings b LEFT JOIN ticketing.payments p ON p.booking_id = b.id AND p.amount_won = b.amount_won AND p.state = 'captured' WHERE p.id IS NULL",
        ),
        (
            "no payment without a booking",
            "SELECT COUNT(*) FROM ticketing.payments p LEFT JOIN ticketing.bookings b ON b.id = p.booking_id WHERE b.id IS NULL",
        ),
        (
            "a sold seat belongs to a booking of its account",
            "SELECT COUNT(*) FROM ticketing.seat_claims c LEFT JOIN ticketing.bookings b ON b.id = c.booking_id AND b.account_id = c.account_id WHERE c.state = 'sold' AND b.id IS NULL",
        ),
        (
            "no hall has more claims than seats",
            "SELECT COUNT(*) FROM ticketing.performances p WHERE p.capacity < (SELECT COUNT(*) FROM ticketing.seat_claims c WHERE c.performance_id = p.id)",
        ),
        (
            "nobody has more than the limit",
            "SELECT COUNT(*) FROM (SELECT 1 FROM ticketing.seat_claims c JOIN ticketing.performances p ON p.id = c.performance_id WHERE c.account_id IS NOT NULL GROUP BY c.performance_id, c.account_id, p.account_limit HAVING COUNT(*) > p.account_limit) t",
        ),
    ] {
        assert_eq!(site.number(sql).await, 0, "not so: {what}");
    }
}
