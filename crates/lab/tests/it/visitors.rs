//! Visitors against a service that fails on purpose: they insist with the same key, book once, and their ledger
//! says what they were told.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use lab::{
    ledger::{Ledger, Outcome},
    load::{
        http::Http,
        route::Route,
        visitor::{Account, Patience, Visitors, Wish},
    },
};
use serde_json::{Value, json};

/// What the service says to the n-th request that carries one key; the last one is repeated.
#[derive(Clone, Copy)]
enum Say {
    Yes,
    Unknown,
    NotSent,
    Silence,
    Taken,
}

#[derive(Clone)]
struct Script {
    holds: &'static [Say],
    pays: &'static [Say],
    asked: Arc<Mutex<HashMap<String, usize>>>,
}

impl Script {
    async fn say(&self, headers: &HeaderMap, says: &[Say], yes: Value) -> Response {
        let key = headers.get("idempotency-key").unwrap().to_str().unwrap().to_owned();
        let n = {
            let mut asked = self.asked.lock().unwrap();
            let n = asked.entry(key).or_default();
            *n += 1;
            *n - 1
        };
        let unavailable = |outcome: &'static str| {
            (StatusCode::SERVICE_UNAVAILABLE, [("ghostlight-outcome", outcome)], "not now").into_response()
        };
        match says.get(n).or(says.last()).copied().unwrap() {
            Say::Yes => (StatusCode::CREATED, Json(yes)).into_response(),
            Say::Unknown => unavailable("unknown"),
            Say::NotSent => unavailable("not-sent"),
            Say::Silence => std::future::pending().await,
            Say::Taken => (StatusCode::CONFLICT, Json(json!({ "error": "seat_taken" }))).into_response(),
        }
    }
}

async fn hold(State(s): State<Script>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    assert_eq!(body, json!({ "seats": ["F1-1-1"] }));
    assert_eq!(headers.get("cookie").unwrap(), "sid=1");
    s.say(&headers, s.holds, json!({ "hold_id": "H", "amount_won": 99_000 })).await
}

async fn pay(State(s): State<Script>, Path(hold): Path<String>, headers: HeaderMap) -> Response {
    assert_eq!(hold, "H");
    s.say(&headers, s.pays, json!({ "booking_no": "NUMBER", "amount_won": 99_000 })).await
}

struct Ended {
    outcome: Outcome,
    ledger: Arc<Ledger>,
    keys: HashMap<String, usize>,
}

/// One visitor who wants one seat, and is out of patience after a second.
async fn visit(holds: &'static [Say], pays: &'static [Say]) -> Ended {
    let script = Script { holds, pays, asked: Arc::default() };
    let routes = Router::new()
        .route("/api/performances/{id}/holds", post(hold))
        .route("/api/holds/{hold}/pay", post(pay))
        .with_state(script.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let ledger = Arc::new(Ledger::default());
    let visitors =
        Visitors { http: Arc::new(Http::default()), ledger: ledger.clone(), host: "x".into(), round: 1 };
    let account = Account { email: "a@example.test".into(), cookie: "sid=1".into() };
    let wish =
        Wish { account: account.into(), performance: 7, seats: vec!["F1-1-1".into()], key: "k".into() };
    let patience = Patience {
        answer: Duration::from_millis(100),
        pause: Duration::from_millis(5),
        polite: true,
        all: Duration::from_secs(1),
    };
    let all: Arc<[SocketAddr]> = [address].into();
    let outcome = visitors.book(&wish, &mut Route::addresses(all, 0), patience).await;
    let keys = script.asked.lock().unwrap().clone();
    Ended { outcome, ledger, keys }
}

#[tokio::test]
async fn a_visitor_insists_with_the_same_key_and_is_booked_once() {
    let ended = visit(&[Say::Unknown, Say::Silence, Say::Yes], &[Say::NotSent, Say::Unknown, Say::Yes]).await;
    let Outcome::Acknowledged(entry) = ended.outcome else { panic!("{:?}", ended.outcome) };
    assert_eq!(
        (entry.booking_no.as_str(), entry.amount_won, entry.idempotency_key.as_str()),
        ("NUMBER", 99_000, "k-p")
    );
    assert_eq!(ended.keys, HashMap::from([("k-h".to_owned(), 3), ("k-p".to_owned(), 3)]));
    let tally = ended.ledger.close_round();
    assert_eq!((tally.errors_seen, tally.unknown_seen, tally.acknowledged), (4, 3, 1));
    assert!(tally.latency_ms.is_empty(), "a latency with errors on the way is not the service's");
    assert_eq!(ended.ledger.entries().len(), 1);
}

#[tokio::test]
async fn a_visitor_who_gives_up_knows_what_is_open() {
    let never_sent = visit(&[Say::Yes], &[Say::NotSent]).await;
    assert!(matches!(never_sent.outcome, Outcome::Failed { .. }), "{:?}", never_sent.outcome);
    let open = visit(&[Say::Yes], &[Say::Silence]).await;
    assert_eq!(open.outcome, Outcome::Unknown);
    let nothing_paid = visit(&[Say::Unknown], &[Say::Yes]).await;
    assert!(matches!(nothing_paid.outcome, Outcome::Failed { .. }), "{:?}", nothing_paid.outcome);
    assert!(nothing_paid.ledger.entries().is_empty());
}

#[tokio::test]
async fn a_taken_seat_is_no_error_and_a_hold_that_vanishes_is_a_broken_promise() {
    let taken = visit(&[Say::Taken], &[Say::Yes]).await;
    assert_eq!(taken.outcome, Outcome::Refused { code: "seat_taken".into() });
    let tally = taken.ledger.close_round();
    assert_eq!((tally.refused, tally.errors_seen, tally.broken_promises.len()), (1, 0, 0));

    let vanished = visit(&[Say::Yes], &[Say::Taken]).await;
    let tally = vanished.ledger.close_round();
    assert!(tally.broken_promises[0].to_string().starts_with("I6: hold H of a@example.test"), "{tally:?}");
}
