//! Looking for seats, watching them go, giving them back.

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes};
use serde_json::json;
use ticketing::admission::Admission;

use crate::site::{ARENA, Site, Visitor, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_best_seats_are_together_free_and_not_the_same_for_everybody() {
    let site = Site::open().await;
    let at = site.ready_instance().await;
    let visitors = join_all((0..6).map(|_| Visitor::signed_up(at))).await;
    let held = join_all(visitors.iter().map(|visitor| async move {
        // Somebody else may be shown the same seats and be faster: look again, as a page does.
        for _ in 0..20 {
            let found = visitor.get(&format!("/api/performances/{ARENA}/best?count=3&grade=R")).await.json();
            let seats = found["groups"][0].as_array().unwrap().clone();
            assert_eq!(seats.len(), 3, "{found}");
            if visitor.hold(ARENA, "", &seats).await.status == 201 {
                return seats;
            }
        }
        panic!("never three seats together in an empty hall");
    }))
    .await;
    for seats in held {
        let numbers: Vec<u32> =
            seats.iter().map(|s| s.as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "{seats:?}");
    }
    let page = visitors[0].get(&format!("/performances/{ARENA}/best?count=1&grade=VIP")).await;
    assert!(page.header("location").contains("&pick="), "{page:?}");
    let none = visitors[0].get(&format!("/api/performances/{ARENA}/best?count=9")).await;
    assert_eq!(none.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seat_map_is_two_kilobytes_and_a_seat_that_goes_is_four_bytes() {
    let site = Site::open().await;
    let (one, two) = (site.ready_instance().await, site.ready_instance().await);
    let visitor = Visitor::signed_up(one).await;
    let path = format!("http://{two}/api/performances/{ARENA}/availability");
    let bytes = |address: String| {
        let client = visitor.client.clone();
        async move {
            let request = Request::get(address).body(Full::<Bytes>::default()).unwrap();
            client.request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
        }
    };
    let all = bytes(path.clone()).await;
    assert_eq!((all[0], all.len()), (0, 13 + 1_875));
    let word = |at: usize| u32::from_le_bytes(all[at..at + 4].try_into().unwrap());
    let since = format!("{path}?since={}.{}", word(1), word(5));
    assert_eq!(bytes(since.clone()).await[0], 2, "nothing new");

    // One who follows the stream is told, too.
    let request = Request::get(format!("http://{two}/api/performances/{ARENA}/live"));
    let stream = visitor.client.request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut stream = stream.into_body();
    let mut told = async || loop {
        let frame = stream.frame().await.unwrap().unwrap();
        let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
        if let Some(data) = text.lines().find_map(|l| l.strip_prefix("data: ")) {
            return STANDARD.decode(data).unwrap();
        }
    };
    assert_eq!(told().await[0], 0);

    // Section F1 comes first, its first row, too; its first two seats are the house's.
    assert_eq!(visitor.hold(ARENA, "", &["F1-1-3"]).await.status, 201);
    until("the other instance's readers see it", || async {
        let change = bytes(since.clone()).await;
        change[0] == 1 && change[9..] == [5, 0, 0, 0]
    })
    .await;
    let change = told().await;
    assert_eq!((change[0], &change[9..]), (1, &[5u8, 0, 0, 0][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_booking_is_given_back_once_and_its_seat_comes_back_when_it_was_said() {
    let site = Site::open().await;
    let (one, two) = (site.ready_instance().await, site.ready_instance().await);
    let (visitor, other) = (Visitor::signed_up(one).await, Visitor::signed_up(two).await);
    let hold = visitor.hold(ARENA, "", &["F2-3-4", "F2-3-5"]).await.json();
    let booking = visitor.pay(&hold, "k").await.json();
    let path = format!("/api/bookings/{}/cancel", booking["booking_no"].as_str().unwrap());
    let terms = visitor.get(&path).await.json();
    let sum = terms["fee_won"].as_u64().unwrap() + terms["refund_won"].as_u64().unwrap();
    assert_eq!(sum, booking["amount_won"].as_u64().unwrap());
    assert_eq!(other.get(&path).await.status, 404, "nobody else's booking");
    assert_eq!(other.post(&path, "", &json!({ "fee_won": 9_999_999 })).await.status, 404);

    let elsewhere = Visitor { at: two, ..visitor.clone() };
    // A ticket a seat, the same at both instances, good at a door that has nothing but the key.
    let tickets_path = path.replace("/cancel", "/tickets");
    let tickets = visitor.get(&tickets_path).await.json();
    assert_eq!(elsewhere.get(&tickets_path).await.json(), tickets);
    let key = other.get("/api/ticket-key").await.json();
    let key = STANDARD.decode(key["public_key"].as_str().unwrap()).unwrap();
    let admission = Admission::check(&key, tickets[1]["ticket"].as_str().unwrap()).unwrap();
    assert_eq!((admission.performance, admission.seat.as_str()), (ARENA, "F2-3-5"));

    let body = json!({ "fee_won": terms["fee_won"] });
    let pressed = join_all([&visitor, &elsewhere, &visitor].map(|v| v.post(&path, "", &body))).await;
    assert!(pressed.iter().all(|a| a.status == 204), "{pressed:?}");
    let count = |what: &'static str| site.number(what);
    assert_eq!(count("SELECT COUNT(*) FROM ticketing.cancellations WHERE seats = 'F2-3-4,F2-3-5'").await, 1);
    assert_eq!(count("SELECT COUNT(*) FROM ticketing.payments WHERE state = 'refunded'").await, 1);
    until("the money is given back", || async {
        count("SELECT COUNT(*) FROM ticketing.cancellations WHERE state = 'refunded'").await == 1
    })
    .await;
    let mine = visitor.get("/api/bookings").await.json();
    assert_eq!(mine[0]["cancelled"]["fee_won"], terms["fee_won"]);
    assert_eq!(mine[0]["seats"], json!(["F2-3-4", "F2-3-5"]));
    assert_eq!(visitor.get(&path).await.json()["error"], "too_late_to_cancel");
    assert_eq!(visitor.get(&tickets_path).await.json(), json!([]));

    // Not at once: at the published moment, for whoever comes then, once.
    let refused = other.hold(ARENA, "", &["F2-3-4"]).await;
    assert_eq!(refused.json()["error"], "seat_taken", "{refused:?}");
    site.clock.advance(12 * 60_000);
    let racers = join_all([one, two, one].map(Visitor::signed_up)).await;
    let answers = join_all(racers.iter().map(|v| v.hold(ARENA, "", &["F2-3-4"]))).await;
    assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 1, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_answer_is_asked_what_became_of_it() {
    let site = Site::open().await;
    let at = site.ready_instance().await;
    let visitor = Visitor::signed_up(at).await;
    let hold = visitor.hold(ARENA, "", &["U1-2-3"]).await.json();
    let path = format!("/api/holds/{}/pay", hold["hold_id"].as_str().unwrap());
    let pay = |key: &'static str, method: &'static str| {
        let (visitor, path) = (visitor.clone(), path.clone());
        async move { visitor.post(&path, key, &json!({ "method": method })).await }
    };
    assert_eq!(pay("a", "test-timeout").await.status, 402, "it was never taken");
    assert_eq!(pay("a", "test-lost").await.status, 201, "it was taken, only the answer was lost");
    assert_eq!(pay("a", "test-lost").await.status, 200, "and is not taken again");
    assert_eq!(site.number("SELECT COUNT(*) FROM ticketing.payments").await, 1);
}
