//! Toss Payments' API against a provider of ours that speaks like it, over a real connection.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use runtime::secret::Secret;
use serde_json::{Value, json};
use ticketing::payment::{Charge, Fate, PaymentError, PaymentProvider, Refund, toss::Toss, wire::HttpWire};
use tokio::net::TcpListener;

/// What the provider knows.
#[derive(Default)]
pub(crate) struct Shop {
    /// Where it is.
    address: String,
    /// Payments by order.
    payments: HashMap<String, Value>,
    /// Answers by idempotency key.
    answers: HashMap<String, (StatusCode, Value)>,
    pub(crate) captured_won: u64,
    pub(crate) returned_won: u64,
    /// Takes the money and then does not answer.
    pub(crate) silent: bool,
}

pub(crate) type Shared = Arc<Mutex<Shop>>;

fn no(status: StatusCode, code: &str) -> (StatusCode, Value) {
    (status, json!({ "code": code, "message": "…" }))
}

async fn confirm(
    State(shop): State<Shared>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let (answer, silent) = {
        let mut shop = shop.lock().unwrap();
        let known = shop.answers.get(&key).cloned();
        let answer = match known {
            Some(answer) => answer,
            None if headers["authorization"] != "Basic c2tfdGVzdDo=" => {
                no(StatusCode::UNAUTHORIZED, "UNAUTHORIZED_KEY")
            }
            None if body["paymentKey"] == "declined" => no(StatusCode::FORBIDDEN, "REJECT_CARD_PAYMENT"),
            None => {
                let order = body["orderId"].as_str().unwrap().to_owned();
                let payment = json!({ "paymentKey": body["paymentKey"], "orderId": order, "status": "DONE",
                                      "totalAmount": body["amount"] });
                shop.captured_won += body["amount"].as_u64().unwrap();
                shop.payments.insert(order, payment.clone());
                (StatusCode::OK, payment)
            }
        };
        shop.answers.insert(key, answer.clone());
        (answer, shop.silent)
    };
    if silent {
        // Longer than anybody waits: the test ends it.
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    (answer.0, Json(answer.1))
}

async fn order(
    State(shop): State<Shared>,
    axum::extract::Path(order): axum::extract::Path<String>,
) -> (StatusCode, Json<Value>) {
    let found = shop.lock().unwrap().payments.get(&order).cloned();
    let (status, body) =
        found.map_or_else(|| no(StatusCode::NOT_FOUND, "NOT_FOUND_PAYMENT"), |p| (StatusCode::OK, p));
    (status, Json(body))
}

async fn cancel(
    State(shop): State<Shared>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let mut shop = shop.lock().unwrap();
    if let Some((status, body)) = shop.answers.get(&key).cloned() {
        return (status, Json(body));
    }
    shop.returned_won += body["cancelAmount"].as_u64().unwrap();
    let answer = (StatusCode::OK, json!({ "status": "PARTIAL_CANCELED" }));
    shop.answers.insert(key, answer.clone());
    (answer.0, Json(answer.1))
}

pub(crate) async fn provider() -> (Shared, Toss<HttpWire>) {
    let shop = Shared::default();
    let router = Router::new()
        .route("/v1/payments/confirm", post(confirm))
        .route("/v1/payments/orders/{order}", get(order))
        .route("/v1/payments/{key}/cancel", post(cancel))
        .with_state(shop.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    shop.lock().unwrap().address = address;
    let toss = client_of(&shop);
    (shop, toss)
}

/// Another shop of ours at the same provider.
pub(crate) fn client_of(shop: &Shared) -> Toss<HttpWire> {
    let wire = HttpWire::new(&shop.lock().unwrap().address, Path::new("/nowhere")).unwrap();
    Toss::new(Secret::new("sk_test"), wire)
}

fn charge(token: &str, key: &str) -> Charge {
    Charge {
        account: 1,
        idempotency_key: key.into(),
        amount_won: 154_000,
        method: "toss".into(),
        token: Some(token.into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_is_taken_once_and_given_back_once() {
    let (shop, toss) = provider().await;
    let first = toss.capture(&charge("tgen_1", "a")).await.unwrap();
    assert_eq!(toss.capture(&charge("tgen_1", "a")).await.unwrap(), first);
    assert_eq!(first.reference, "tgen_1");
    assert_eq!(toss.capture(&charge("declined", "b")).await, Err(PaymentError::Declined));
    assert_eq!(shop.lock().unwrap().captured_won, 154_000);

    let refund = Refund {
        reference: first.reference,
        amount_won: 138_600,
        idempotency_key: "booking-1".into(),
        reason: "예매 취소".into(),
    };
    toss.refund(&refund).await.unwrap();
    toss.refund(&refund).await.unwrap();
    assert_eq!(shop.lock().unwrap().returned_won, 138_600);
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_was_taken_without_an_answer_is_found_by_its_order() {
    let (shop, toss) = provider().await;
    shop.lock().unwrap().silent = true;
    let lost = charge("tgen_2", "c");
    // The visitor's request is gone before the provider answers.
    assert!(tokio::time::timeout(Duration::from_millis(300), toss.capture(&lost)).await.is_err());
    assert!(matches!(toss.find(&lost).await, Ok(Fate::Captured(c)) if c.reference == "tgen_2"));
    assert_eq!(toss.find(&charge("tgen_3", "d")).await, Ok(Fate::Never));
    shop.lock().unwrap().silent = false;
    assert_eq!(toss.capture(&lost).await.unwrap().reference, "tgen_2");
    assert_eq!(shop.lock().unwrap().captured_won, 154_000, "once");
}

#[test]
fn an_odd_address_is_told_before_anything_is_sent() {
    for odd in ["", "api.example.com", "ftp://api.example.com"] {
        assert!(HttpWire::new(odd, Path::new("/nowhere")).is_err(), "{odd}");
    }
    let told = HttpWire::new("https://api.example.com", Path::new("/nowhere")).err().unwrap().to_string();
    assert!(told.contains("/nowhere"), "{told}");
}
