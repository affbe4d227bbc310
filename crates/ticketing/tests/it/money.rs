//! Real money: written down, safe, taken; and what becomes of a payment that was left in the middle.
//!
//! Box offices over a real database, a provider of ours that speaks like Toss Payments, and somebody who says whether
//! what was written is safe, all over real connections.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use axum::{Json, Router, extract::State, http::HeaderMap, http::StatusCode, routing::get};
use runtime::secret::Secret;
use serde_json::{Value, json};
use ticketing::payment::{Assurance, Till};
use tokio::net::TcpListener;

use crate::{
    site::{ARENA, Answer, Site, Visitor, until},
    toss::{Shared, provider},
};

/// Somebody who knows what is safe.
#[derive(Default)]
struct Keeper {
    notes: AtomicU32,
    unsafe_now: AtomicBool,
    /// What the database had of the payment when it was asked about: the order of things.
    asked: Mutex<Vec<Value>>,
}

async fn note(State(keeper): State<Arc<Keeper>>, headers: HeaderMap) -> Result<Json<Value>, StatusCode> {
    if headers.get("authorization").is_none_or(|v| v != "Bearer a token for asking") {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let number = keeper.notes.fetch_add(1, Ordering::Relaxed);
    Ok(Json(json!({ "epoch": 1, "stream": "s", "number": number })))
}

async fn safe(State(keeper): State<Arc<Keeper>>, Json(note): Json<Value>) -> Json<Value> {
    keeper.asked.lock().unwrap().push(note);
    let safe = !keeper.unsafe_now.load(Ordering::Relaxed);
    Json(json!({ "outcome": { "result": "…" }, "safe": safe }))
}

struct Bed {
    site: Site,
    shop: Shared,
    keeper: Arc<Keeper>,
    url: String,
}

impl Bed {
    async fn new() -> Bed {
        let keeper = Arc::new(Keeper::default());
        let router = Router::new().route("/v1/barrier", get(note).post(safe)).with_state(keeper.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/barrier", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let (shop, _) = provider().await;
        Bed { site: Site::open().await, shop, keeper, url }
    }

    /// A box office that takes real money; the provider is the same for all.
    async fn instance(&self, ask: &str) -> SocketAddr {
        let token = Secret::new("a token for asking");
        let assurance = Assurance::new(ask, Some(token), Path::new("/nowhere")).unwrap();
        let till =
            Till { provider: Arc::new(crate::toss::client_of(&self.shop)), assurance: Some(assurance) };
        self.site.with_till(till).await
    }

    fn captured_won(&self) -> u64 {
        self.shop.lock().unwrap().captured_won
    }

    fn returned_won(&self) -> u64 {
        self.shop.lock().unwrap().returned_won
    }

    async fn intents(&self, state: &str) -> u64 {
        self.site
            .number(&format!("SELECT COUNT(*) FROM ticketing.payment_intents WHERE state = '{state}'"))
            .await
    }

    async fn bookings(&self) -> u64 {
        self.site.number("SELECT COUNT(*) FROM ticketing.bookings").await
    }
}

async fn pay(visitor: &Visitor, hold: &Value, key: &str, token: &str) -> Answer {
    let path = format!("/api/holds/{}/pay", hold["hold_id"].as_str().unwrap());
    visitor.post(&path, key, &json!({ "method": "toss", "token": token })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_taken_after_its_record_is_safe_and_never_before() {
    let bed = Bed::new().await;
    let visitor = Visitor::signed_up(bed.instance(&bed.url).await).await;
    let hold = visitor.hold(ARENA, "", &["F3-1-1", "F3-1-2"]).await.json();

    bed.keeper.unsafe_now.store(true, Ordering::Relaxed);
    let refused = pay(&visitor, &hold, "a", "tgen_1").await;
    assert_eq!((refused.status, refused.json()["error"].as_str()), (503, Some("not_now")), "{refused:?}");
    assert_eq!((bed.captured_won(), bed.bookings().await, bed.intents("open").await), (0, 0, 1));

    bed.keeper.unsafe_now.store(false, Ordering::Relaxed);
    let paid = pay(&visitor, &hold, "a", "tgen_1").await;
    assert_eq!(paid.status, 201, "{paid:?}");
    assert_eq!(pay(&visitor, &hold, "a", "tgen_1").await.status, 200, "asked again: the same booking");
    assert_eq!(bed.captured_won(), hold["amount_won"].as_u64().unwrap());
    assert_eq!((bed.bookings().await, bed.intents("booked").await), (1, 1));
    let asked = bed.keeper.asked.lock().unwrap().clone();
    let numbers: Vec<&Value> = asked.iter().map(|note| &note["number"]).collect();
    assert_eq!(numbers, [0, 1], "each attempt sends its own note back; a finished payment asks nothing");

    // Nobody there to ask, or a wrong token: no money.
    let nobody = "http://127.0.0.1:1/v1/barrier".to_owned();
    for (seat, ask) in [("F3-2-1", nobody), ("F3-2-2", format!("{}/elsewhere", bed.url))] {
        let other = Visitor { at: bed.instance(&ask).await, ..visitor.clone() };
        let hold = other.hold(ARENA, "", &[seat]).await.json();
        assert_eq!(pay(&other, &hold, seat, "tgen_2").await.status, 503, "{ask}");
    }
    assert_eq!(bed.captured_won(), hold["amount_won"].as_u64().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_ends_the_key_and_leaves_the_seats() {
    let bed = Bed::new().await;
    let visitor = Visitor::signed_up(bed.instance(&bed.url).await).await;
    let hold = visitor.hold(ARENA, "", &["F3-1-1"]).await.json();
    for _ in 0..2 {
        assert_eq!(pay(&visitor, &hold, "a", "declined").await.status, 402);
    }
    assert_eq!(bed.intents("closed").await, 1);
    let other = visitor.hold(ARENA, "", &["F3-1-2"]).await.json();
    let reused = pay(&visitor, &other, "a", "tgen_1").await;
    assert_eq!((reused.status, bed.captured_won()), (400, 0), "a key is one payment's: {reused:?}");
    assert_eq!(pay(&visitor, &hold, "b", "tgen_1").await.status, 201, "another card, another key");
    assert_eq!(bed.captured_won(), hold["amount_won"].as_u64().unwrap());
}

/// The money is taken, and whoever took it is gone before there is a booking.
async fn left_in_the_middle(bed: &Bed, visitor: &Visitor, seat: &str, key: &str) -> Value {
    bed.shop.lock().unwrap().silent = true;
    let hold = visitor.hold(ARENA, "", &[seat]).await.json();
    let before_won = bed.captured_won();
    let lost = tokio::spawn({
        let (visitor, hold, key) = (visitor.clone(), hold.clone(), key.to_owned());
        let token = format!("tgen_{key}");
        async move { pay(&visitor, &hold, &key, &token).await }
    });
    until("the money is taken", || async { bed.captured_won() > before_won }).await;
    lost.abort();
    bed.shop.lock().unwrap().silent = false;
    hold
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_left_in_the_middle_becomes_a_booking() {
    let bed = Bed::new().await;
    let visitor = Visitor::signed_up(bed.instance(&bed.url).await).await;
    let hold = left_in_the_middle(&bed, &visitor, "F3-1-1", "a").await;
    assert_eq!((bed.bookings().await, bed.intents("open").await), (0, 1));
    bed.site.clock.advance(91_000);
    until("the booking is made", || async { bed.intents("booked").await == 1 }).await;
    assert_eq!((bed.bookings().await, bed.returned_won()), (1, 0));
    let mine = visitor.get("/api/bookings").await.json();
    assert_eq!(mine[0]["amount_won"], hold["amount_won"]);
    assert_eq!(pay(&visitor, &hold, "a", "tgen_a").await.status, 200, "the visitor presses again");
    assert_eq!(bed.captured_won(), hold["amount_won"].as_u64().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_seats_are_gone_is_given_back() {
    let bed = Bed::new().await;
    let visitor = Visitor::signed_up(bed.instance(&bed.url).await).await;
    let hold = left_in_the_middle(&bed, &visitor, "F3-1-1", "a").await;
    // The hold runs out before anybody looks.
    bed.site.clock.advance(7 * 60_000 + 1_000);
    until("the money is back", || async { bed.intents("closed").await == 1 }).await;
    assert_eq!((bed.bookings().await, bed.returned_won()), (0, hold["amount_won"].as_u64().unwrap()));
    let late = pay(&visitor, &hold, "a", "tgen_a").await;
    assert_eq!((late.status, late.json()["error"].as_str()), (409, Some("hold_expired")));
    // What was never taken is closed, and nothing is given back for it.
    bed.keeper.unsafe_now.store(true, Ordering::Relaxed);
    let hold = visitor.hold(ARENA, "", &["F3-1-3"]).await.json();
    assert_eq!(pay(&visitor, &hold, "c", "tgen_c").await.status, 503);
    bed.site.clock.advance(91_000);
    until("it is closed", || async { bed.intents("closed").await == 2 }).await;
    assert_eq!(bed.returned_won(), bed.captured_won());
}
