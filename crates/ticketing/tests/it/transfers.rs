//! Bank transfers over a real database: booked when the money is there, released when it is not, once and when it was said.

use serde_json::json;
use ticketing::{
    calendar::{korean_day, on_korean_day},
    policy::{transfer_due_ms, unpaid_release_ms},
};

use crate::{
    accounts::member,
    organiser::organiser,
    programme::puts_on_sale,
    site::{Answer, Site, Visitor, until},
};

const CSV: &str = "section,name_ko,name_en,grade,row,seats\nA1,왼쪽,Left,R,1,3\n";

/// Holds seats and chooses to transfer; where the page leads then.
async fn transfers(visitor: &Visitor, id: u32, seats: &[&str]) -> Answer {
    let hold = visitor.hold(id, "", seats).await;
    assert_eq!(hold.status, 201, "{hold:?}");
    let path = format!("/checkout/{}", hold.json()["hold_id"].as_str().unwrap());
    let page = visitor.get(&path).await;
    assert!(page.text.contains("무통장입금"), "{}", page.text);
    visitor.form(&page, &format!("{path}/pay"), &[("method", "transfer"), ("depositor", "문해준")]).await
}

/// The number of the transfer that an organiser's page shows.
async fn listed(organiser: &Visitor) -> Vec<String> {
    let page = organiser.get("/organiser/transfers").await.text;
    page.split("name=\"arrived\" value=\"").skip(1).map(|s| s.split('"').next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_came_is_a_booking_and_one_that_did_not_comes_back_when_it_was_said() {
    let site = Site::open().await;
    let at = site.postman().await;
    let mut organiser = organiser(&site, at).await;
    let id = puts_on_sale(&site, &organiser, CSV, 2, 20).await;
    let buyer = member(at, "buyer@example.com").await;
    let other = Visitor::signed_up(at).await;

    // The seats wait longer than any hold; pressing again waits once.
    let shown = transfers(&buyer, id, &["A1-1-1"]).await;
    let path = shown.header("location").to_owned();
    assert!(shown.status == 303 && path.starts_with("/transfers/"), "{shown:?}");
    let checkout = path.replace("/transfers/", "/checkout/");
    assert_eq!(buyer.get(&checkout).await.header("location"), path, "nobody pays it twice");
    let page = buyer.get(&path).await;
    for text in ["국민 123-45-678901 등대", "40,000원", "문해준"] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    let again = [("method", "transfer"), ("depositor", "문해준")];
    assert_eq!(buyer.form(&page, &format!("{checkout}/pay"), &again).await.header("location"), path);
    let letter = site.letter("transfer", "buyer@example.com").await;
    assert!(letter.contains("40,000원") && letter.contains(&path), "{letter}");
    assert!(buyer.get("/my").await.text.contains(&path));
    site.clock.advance(8 * 60_000);
    assert_eq!(other.hold(id, "", &["A1-1-1"]).await.status, 409);
    assert_eq!(other.get(&path).await.status, 404, "nobody else's");

    // An organiser sees the money: a booking, once.
    assert_eq!(buyer.get("/organiser/transfers").await.status, 403);
    let list = listed(&organiser).await;
    let page = organiser.get("/organiser/transfers").await;
    assert_eq!(buyer.form(&page, "/organiser/transfers", &[("arrived", &list[0])]).await.status, 403);
    for _ in 0..2 {
        let done = organiser.form(&page, "/organiser/transfers", &[("arrived", &list[0])]).await;
        assert_eq!(done.status, 303, "{}", done.text);
    }
    let booking = buyer.get(&path).await.header("location").to_owned();
    assert!(booking.starts_with("/bookings/"), "{booking}");
    assert_eq!(site.number("SELECT COUNT(*) FROM ticketing.bookings").await, 1);
    let paid = "SELECT COUNT(*) FROM ticketing.payments WHERE provider = 'transfer' AND amount_won = 40000";
    assert_eq!(site.number(paid).await, 1);
    assert!(listed(&organiser).await.is_empty());

    // What is cancelled goes back through the bank, when somebody has sent it.
    let terms = format!("/api{booking}/cancel");
    let fee = buyer.get(&terms).await.json()["fee_won"].clone();
    assert_eq!(buyer.post(&terms, "", &json!({ "fee_won": fee })).await.status, 204);
    let page = organiser.get("/organiser/transfers").await;
    let sent = page.text.split("name=\"sent_back\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(organiser.form(&page, "/organiser/transfers", &[("sent_back", sent)]).await.status, 303);
    let back = "SELECT COUNT(*) FROM ticketing.cancellations WHERE state = 'refunded'";
    assert_eq!(site.number(back).await, 1);

    // Two that nobody pays. One gives up: its seat comes back as a cancelled one does.
    let (late, gives_up) = (Visitor::signed_up(at).await, Visitor::signed_up(at).await);
    let now_ms = site.clock.now_ms();
    assert_eq!(transfers(&late, id, &["A1-1-2"]).await.status, 303);
    let left = transfers(&gives_up, id, &["A1-1-3"]).await.header("location").to_owned();
    let page = gives_up.get(&left).await;
    assert_eq!(other.form(&other.get("/my/profile").await, &format!("{left}/leave"), &[]).await.status, 303);
    assert_eq!(listed(&organiser).await.len(), 2, "a stranger gives up nothing");
    assert_eq!(gives_up.form(&page, &format!("{left}/leave"), &[]).await.status, 303);
    assert_eq!(other.hold(id, "", &["A1-1-3"]).await.status, 409);
    site.clock.advance(12 * 60_000);
    assert_eq!(other.hold(id, "", &["A1-1-3"]).await.status, 201);

    // The other's deadline passes: nobody has the seat until the published moment, then everybody may.
    let starts_ms = on_korean_day(korean_day(now_ms) + 20, 0, 0);
    let due_ms = transfer_due_ms(starts_ms, now_ms).unwrap();
    let arrived = listed(&organiser).await.remove(0);
    site.clock.advance(due_ms - site.clock.now_ms() + 60_000);
    // Sessions are over by then.
    organiser = member(at, "organiser@example.com").await;
    let other = Visitor::signed_up(at).await;
    assert_eq!(other.hold(id, "", &["A1-1-2"]).await.status, 409);
    site.clock.advance(unpaid_release_ms(due_ms) - site.clock.now_ms() + 1_000);
    assert_eq!(other.hold(id, "", &["A1-1-2"]).await.status, 201);
    let page = organiser.get("/organiser/transfers").await;
    let no = organiser.form(&page, "/organiser/transfers", &[("arrived", &arrived)]).await;
    assert!(no.status == 400 && no.text.contains("돌려드려야"), "{}", no.text);
    assert_eq!(site.number("SELECT COUNT(*) FROM ticketing.bookings").await, 1);
    let log = organiser.get("/organiser/staff").await.text;
    assert_eq!((log.matches("transfer_arrived").count(), log.matches("refund_sent").count()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_paid_goes_to_those_who_wait_before_anybody_else() {
    let site = Site::open().await;
    let at = site.postman().await;
    let organiser = organiser(&site, at).await;
    let id = puts_on_sale(&site, &organiser, CSV, 2, 20).await;
    let (two, one) = (Visitor::signed_up(at).await, Visitor::signed_up(at).await);
    let now_ms = site.clock.now_ms();
    assert_eq!(transfers(&two, id, &["A1-1-1", "A1-1-2"]).await.status, 303);
    let shown = transfers(&one, id, &["A1-1-3"]).await;
    assert_eq!(shown.status, 303);
    let waits = format!("/performances/{id}/waitlist");
    let waiter = member(at, "waiter@example.com").await;
    let page = waiter.get(&waits).await;
    assert_eq!(waiter.form(&page, &waits, &[("grade", "R"), ("count", "2")]).await.status, 303);

    // Giving a seat back by the checkout's own button is no way around the published moment.
    let hold = shown.header("location").rsplit('/').next().unwrap().to_owned();
    let page = one.get("/my/profile").await;
    assert_eq!(one.form(&page, &format!("/checkout/{hold}/release"), &[]).await.status, 303);
    let public = Visitor::signed_up(at).await;
    assert_eq!(public.hold(id, "", &["A1-1-3"]).await.status, 409);
    let left = "SELECT COUNT(*) FROM ticketing.transfers WHERE state = 'left'";
    assert_eq!(site.number(left).await, 1);

    let due_ms = transfer_due_ms(on_korean_day(korean_day(now_ms) + 20, 0, 0), now_ms).unwrap();
    site.clock.advance(due_ms - site.clock.now_ms() + 1_000);
    let waiter = member(at, "waiter@example.com").await;
    until("they are offered both", || async { waiter.get(&waits).await.text.contains("/checkout/") }).await;
    site.clock.advance(unpaid_release_ms(due_ms) - site.clock.now_ms() + 1_000);
    let public = Visitor::signed_up(at).await;
    let theirs = format!(
        "SELECT COUNT(*) FROM ticketing.seat_claims c JOIN ticketing.waitlist w ON w.hold_id = c.hold_id \
         WHERE c.performance_id = {id} AND c.account_id = w.account_id"
    );
    assert_eq!(site.number(&theirs).await, 2);
    let mut free = 0;
    for seat in ["A1-1-1", "A1-1-2", "A1-1-3"] {
        free += u32::from(public.hold(id, "", &[seat]).await.status == 201);
    }
    assert_eq!(free, 1, "the third seat is everybody's");
}
