//! Toss Payments: confirm, look up, cancel.
//!
//! The visitor's browser approves the payment in the provider's window and comes back with a `paymentKey`; the money
//! is taken only when we confirm it. Every POST carries an `Idempotency-Key`, which the provider keeps for 15 days.
//!
//! What decides: `200` with `status: DONE` and the amount that we asked for is taken; a short list of refusals is a
//! refusal; everything else (a time-out, 5xx, a code that we do not know) decides nothing, and the order is looked
//! up before anything is said. Wrongly taking a charge for refused would charge somebody for nothing.
//!
//! The wire is a trait ([`Wire`]), so that the rules here are tested without one.

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::BoxFuture;
use runtime::secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Capture, Charge, Fate, PaymentError, PaymentProvider, Refund};

/// Codes that refuse a payment for good.
const REFUSALS: [&str; 14] = [
    "REJECT_CARD_PAYMENT",
    "REJECT_CARD_COMPANY",
    "REJECT_ACCOUNT_PAYMENT",
    "REJECT_TOSSPAY_INVALID_ACCOUNT",
    "EXCEED_MAX_DAILY_PAYMENT_COUNT",
    "EXCEED_MAX_PAYMENT_AMOUNT",
    "EXCEED_MAX_AUTH_COUNT",
    "INVALID_REJECT_CARD",
    "INVALID_STOPPED_CARD",
    "INVALID_CARD_EXPIRATION",
    "INVALID_CARD_LOST_OR_STOLEN",
    "INVALID_CARD_NUMBER",
    "RESTRICTED_TRANSFER_ACCOUNT",
    "NOT_AVAILABLE_PAYMENT",
];
/// Codes that say that the shop is not set up.
const MISCONFIGURED: [&str; 4] =
    ["UNAUTHORIZED_KEY", "INVALID_API_KEY", "FORBIDDEN_REQUEST", "INVALID_IDEMPOTENCY_KEY"];
/// States of a payment that will not be taken any more.
const ENDED: [&str; 3] = ["ABORTED", "EXPIRED", "CANCELED"];

/// A request to the provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Below the provider's address.
    pub path: String,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// JSON, for a POST.
    pub body: Option<Value>,
}

/// Carries a request and brings the answer's status and body. An error means that nobody knows whether it arrived.
pub trait Wire: Send + Sync {
    /// Carries one.
    fn carry(&self, ask: Ask) -> BoxFuture<'_, Result<(u16, Vec<u8>), String>>;
}

/// The provider.
pub struct Toss<W> {
    key: Secret,
    wire: W,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payment {
    payment_key: String,
    order_id: String,
    status: String,
    total_amount: u64,
}

#[derive(Deserialize)]
struct Trouble {
    code: String,
    #[serde(default)]
    message: String,
}

impl<W: Wire> Toss<W> {
    /// With the shop's secret key.
    pub fn new(key: Secret, wire: W) -> Toss<W> {
        Toss { key, wire }
    }

    fn headers(&self, idempotency_key: Option<String>) -> Vec<(&'static str, String)> {
        // The key is the name, the password is empty.
        let basic = STANDARD.encode(format!("{}:", self.key.expose()));
        let mut headers = vec![("authorization", format!("Basic {basic}"))];
        if let Some(key) = idempotency_key {
            headers.push(("content-type", "application/json".into()));
            headers.push(("idempotency-key", key));
        }
        headers
    }

    async fn carry(&self, ask: Ask) -> Result<(u16, Vec<u8>), PaymentError> {
        self.wire.carry(ask).await.map_err(PaymentError::Unknown)
    }

    async fn look_up(&self, charge: &Charge) -> Result<Fate, PaymentError> {
        let path = format!("/v1/payments/orders/{}", charge.order_id());
        let ask = Ask { method: "GET", path, headers: self.headers(None), body: None };
        let (status, body) = self.carry(ask).await?;
        looked_up(charge, status, &body)
    }
}

impl<W: Wire> PaymentProvider for Toss<W> {
    fn name(&self) -> &'static str {
        "toss"
    }

    fn moves_money(&self) -> bool {
        true
    }

    fn capture<'a>(&'a self, charge: &'a Charge) -> BoxFuture<'a, Result<Capture, PaymentError>> {
        Box::pin(async move {
            let Some(token) = &charge.token else {
                return Err(PaymentError::UnknownMethod(charge.method.clone()));
            };
            let order = charge.order_id();
            let ask = Ask {
                method: "POST",
                path: "/v1/payments/confirm".into(),
                headers: self.headers(Some(format!("confirm:{order}"))),
                body: Some(json!({ "paymentKey": token, "orderId": order, "amount": charge.amount_won })),
            };
            let told = match self.carry(ask).await {
                Ok((status, body)) => confirmed(charge, status, &body),
                Err(e) => Err(e),
            };
            match told {
                // It says nothing about this charge: ask what became of it.
                Err(PaymentError::Unknown(why)) => match self.look_up(charge).await? {
                    Fate::Captured(capture) => Ok(capture),
                    Fate::Never => Err(PaymentError::Declined),
                    Fate::Pending => Err(PaymentError::Unknown(why)),
                },
                decided => decided,
            }
        })
    }

    fn find<'a>(&'a self, charge: &'a Charge) -> BoxFuture<'a, Result<Fate, PaymentError>> {
        Box::pin(self.look_up(charge))
    }

    fn refund<'a>(&'a self, refund: &'a Refund) -> BoxFuture<'a, Result<(), PaymentError>> {
        Box::pin(async move {
            let ask = Ask {
                method: "POST",
                path: format!("/v1/payments/{}/cancel", refund.reference),
                headers: self.headers(Some(format!("cancel:{}", refund.idempotency_key))),
                body: Some(json!({ "cancelReason": refund.reason, "cancelAmount": refund.amount_won })),
            };
            let (status, body) = self.carry(ask).await?;
            cancelled(status, &body)
        })
    }
}

fn confirmed(charge: &Charge, status: u16, body: &[u8]) -> Result<Capture, PaymentError> {
    if status != 200 {
        return Err(trouble(status, body));
    }
    let payment: Payment =
        serde_json::from_slice(body).map_err(|e| PaymentError::Unknown(format!("the answer: {e}")))?;
    if payment.order_id != charge.order_id() || payment.total_amount != charge.amount_won {
        return Err(PaymentError::Unknown("the answer is about another payment".into()));
    }
    if payment.status != "DONE" {
        return Err(PaymentError::Unknown(format!("status {}", payment.status)));
    }
    Ok(Capture { reference: payment.payment_key })
}

fn looked_up(charge: &Charge, status: u16, body: &[u8]) -> Result<Fate, PaymentError> {
    if status == 404 && code(body).as_deref() == Some("NOT_FOUND_PAYMENT") {
        return Ok(Fate::Never);
    }
    if status != 200 {
        return match trouble(status, body) {
            // A look-up that is refused says nothing about the payment.
            PaymentError::Declined => Err(PaymentError::Unknown("the look-up was refused".into())),
            other => Err(other),
        };
    }
    let payment: Payment =
        serde_json::from_slice(body).map_err(|e| PaymentError::Unknown(format!("the answer: {e}")))?;
    if payment.order_id != charge.order_id() {
        return Err(PaymentError::Unknown("the answer is about another payment".into()));
    }
    Ok(match payment.status.as_str() {
        "DONE" | "PARTIAL_CANCELED" => Fate::Captured(Capture { reference: payment.payment_key }),
        ended if ENDED.contains(&ended) => Fate::Never,
        _ => Fate::Pending,
    })
}

fn cancelled(status: u16, body: &[u8]) -> Result<(), PaymentError> {
    match (status, code(body).as_deref()) {
        (200, _) | (_, Some("ALREADY_CANCELED_PAYMENT")) => Ok(()),
        _ => match trouble(status, body) {
            // Money that is owed is owed, whatever they say now: it is asked again, and a person is told.
            PaymentError::Declined => Err(PaymentError::Unknown("the refund was refused".into())),
            other => Err(other),
        },
    }
}

fn code(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<Trouble>(body).ok().map(|t| t.code)
}

fn trouble(status: u16, body: &[u8]) -> PaymentError {
    let Ok(Trouble { code, message }) = serde_json::from_slice(body) else {
        return PaymentError::Unknown(format!("status {status}"));
    };
    if REFUSALS.contains(&code.as_str()) {
        PaymentError::Declined
    } else if MISCONFIGURED.contains(&code.as_str()) {
        PaymentError::Misconfigured(format!("{code}: {message}"))
    } else {
        PaymentError::Unknown(format!("{status} {code}"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Answers in the order in which it was told to, and remembers what it was asked.
    #[derive(Default)]
    struct Script {
        answers: Mutex<Vec<Result<(u16, Value), String>>>,
        asked: Mutex<Vec<Ask>>,
    }

    impl Wire for &Script {
        fn carry(&self, ask: Ask) -> BoxFuture<'_, Result<(u16, Vec<u8>), String>> {
            self.asked.lock().unwrap().push(ask);
            let answer = self.answers.lock().unwrap().remove(0);
            Box::pin(async move { answer.map(|(status, body)| (status, body.to_string().into_bytes())) })
        }
    }

    fn charge() -> Charge {
        Charge {
            account: 7,
            idempotency_key: "page:H".into(),
            amount_won: 352_000,
            method: "toss".into(),
            token: Some("tgen_20261123".into()),
        }
    }

    fn payment(status: &str) -> Value {
        json!({ "paymentKey": "tgen_20261123", "orderId": charge().order_id(), "status": status,
                "totalAmount": 352_000, "method": "카드" })
    }

    fn no(code: &str) -> Value {
        json!({ "code": code, "message": "…" })
    }

    async fn capture(
        answers: Vec<Result<(u16, Value), String>>,
    ) -> (Result<Capture, PaymentError>, Vec<Ask>) {
        let script = Script { answers: Mutex::new(answers), asked: Mutex::default() };
        let toss = Toss::new(Secret::new("test_sk_x"), &script);
        let told = toss.capture(&charge()).await;
        (told, script.asked.into_inner().unwrap())
    }

    #[tokio::test]
    async fn a_confirmation_is_asked_for_as_their_manual_says() {
        let (told, asked) = capture(vec![Ok((200, payment("DONE")))]).await;
        assert_eq!(told, Ok(Capture { reference: "tgen_20261123".into() }));
        assert_eq!((asked[0].method, asked[0].path.as_str()), ("POST", "/v1/payments/confirm"));
        let header = |name: &str| asked[0].headers.iter().find(|h| h.0 == name).unwrap().1.clone();
        assert_eq!(header("authorization"), "Basic dGVzdF9za194Og==");
        assert!(header("idempotency-key").len() <= 300);
        assert_eq!(asked[0].body.as_ref().unwrap()["amount"], 352_000);
        let order = charge().order_id();
        assert!((6..=64).contains(&order.len()) && order.bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[tokio::test]
    async fn what_decides_nothing_is_looked_up_before_anything_is_said() {
        let unsure = [
            Err("timed out".to_owned()),
            Ok((500, no("FAILED_INTERNAL_SYSTEM_PROCESSING"))),
            Ok((409, no("IDEMPOTENT_REQUEST_PROCESSING"))),
            Ok((400, no("ALREADY_PROCESSED_PAYMENT"))),
            Ok((418, no("A_CODE_OF_NEXT_YEAR"))),
            Ok((200, payment("IN_PROGRESS"))),
        ];
        for (i, first) in unsure.into_iter().enumerate() {
            let (told, asked) = capture(vec![first.clone(), Ok((200, payment("DONE")))]).await;
            assert_eq!(told, Ok(Capture { reference: "tgen_20261123".into() }), "{i}");
            assert_eq!((asked[1].method, asked[1].path.contains("/orders/")), ("GET", true));
            let (told, _) = capture(vec![first.clone(), Ok((404, no("NOT_FOUND_PAYMENT")))]).await;
            assert_eq!(told, Err(PaymentError::Declined), "{i}");
            let (told, _) = capture(vec![first, Ok((200, payment("IN_PROGRESS")))]).await;
            assert!(matches!(told, Err(PaymentError::Unknown(_))), "{i}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_a_refusal_and_a_wrong_key_is_the_operators() {
        let (told, asked) = capture(vec![Ok((403, no("REJECT_CARD_PAYMENT")))]).await;
        assert_eq!((told, asked.len()), (Err(PaymentError::Declined), 1));
        let (told, _) = capture(vec![Ok((401, no("UNAUTHORIZED_KEY")))]).await;
        assert!(matches!(told, Err(PaymentError::Misconfigured(_))));
        // Another amount than we asked for is not our payment.
        let mut other = payment("DONE");
        other["totalAmount"] = json!(1);
        let (told, _) = capture(vec![Ok((200, other.clone())), Ok((200, payment("IN_PROGRESS")))]).await;
        assert!(matches!(told, Err(PaymentError::Unknown(_))));
    }

    #[tokio::test]
    async fn money_is_given_back_once() {
        let refund = Refund {
            reference: "tgen_20261123".into(),
            amount_won: 316_800,
            idempotency_key: "k".into(),
            reason: "예매 취소".into(),
        };
        for (answer, right) in [
            (Ok((200, payment("PARTIAL_CANCELED"))), true),
            (Ok((400, no("ALREADY_CANCELED_PAYMENT"))), true),
            (Ok((403, no("NOT_AVAILABLE_PAYMENT"))), false),
            (Err("timed out".to_owned()), false),
        ] {
            let script = Script { answers: Mutex::new(vec![answer]), asked: Mutex::default() };
            let told = Toss::new(Secret::new("k"), &script).refund(&refund).await;
            assert_eq!(told.is_ok(), right);
            let asked = script.asked.into_inner().unwrap();
            assert_eq!(asked[0].path, "/v1/payments/tgen_20261123/cancel");
            assert_eq!(asked[0].body.as_ref().unwrap()["cancelAmount"], 316_800);
        }
    }
}
