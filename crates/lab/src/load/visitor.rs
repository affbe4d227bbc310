//! One visitor: holds seats, pays, and insists with the same `Idempotency-Key` until told yes, told no, or out
//! of patience.
//!
//! The visitor knows the service's JSON API and nothing of sites: an answer is an answer, silence is silence.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, header};
use rand::RngExt;
use runtime::clock::Boot;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    http::{Answer, Http},
    route::Route,
};
use crate::{
    checker::Violation,
    ledger::{Acknowledged, Ledger, Outcome, Request as Asked},
};

/// A signed-up visitor with a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its e-mail address.
    pub email: String,
    /// The `Cookie` header that carries its session.
    pub cookie: String,
}

/// What a visitor came for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Who.
    pub account: Arc<Account>,
    /// For which performance.
    pub performance: u32,
    /// Which seats.
    pub seats: Vec<String>,
    /// The stem of the idempotency keys; unique in the ledger.
    pub key: String,
}

/// How long a visitor waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one answer.
    pub answer: Duration,
    /// Before asking again, on average; a `Retry-After` of the service is honoured if `polite`.
    pub pause: Duration,
    /// Whether `Retry-After` is honoured.
    pub polite: bool,
    /// For the whole booking.
    pub all: Duration,
}

impl Patience {
    /// Somebody at home: an answer within 2 s or it is asked for again, up to half a minute.
    pub const PUBLIC: Patience = Patience {
        answer: Duration::from_secs(2),
        pause: Duration::from_millis(400),
        polite: true,
        all: Duration::from_secs(30),
    };
    /// Somebody with all the time: what the loader itself reads before the doors open.
    pub const PREPARING: Patience =
        Patience { answer: Duration::from_secs(20), all: Duration::from_secs(60), ..Patience::PUBLIC };
    /// Somebody who measures when the service is back, and asks again at once.
    pub const MEASURING: Patience = Patience {
        answer: Duration::from_millis(700),
        pause: Duration::from_millis(30),
        polite: false,
        all: Duration::from_secs(60),
    };
}

/// What all visitors of a drill share.
#[derive(Clone, Debug)]
pub struct Visitors {
    /// Their connections.
    pub http: Arc<Http>,
    /// Where they enter what they were told.
    pub ledger: Arc<Ledger>,
    /// The `Host` that they ask for.
    pub host: Arc<str>,
    /// The present round.
    pub round: u32,
}

/// Why a visitor stopped insisting.
pub(crate) struct GaveUp {
    /// Whether some attempt may have taken effect.
    pub(crate) open: bool,
    /// What was heard last.
    pub(crate) what: String,
}

/// One request as it is repeated.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Value,
    pub(crate) cookie: Option<&'a str>,
    pub(crate) key: Option<String>,
}

/// One visitor's run through one wish.
pub(crate) struct Run<'a> {
    all: &'a Visitors,
    route: &'a mut Route,
    patience: Patience,
    deadline: Instant,
    smooth: bool,
}

impl Visitors {
    /// Books what is wished for and enters the outcome in the ledger.
    pub async fn book(&self, wish: &Wish, route: &mut Route, patience: Patience) -> Outcome {
        self.ledger.arrived();
        let mut run = Run::new(self, route, patience);
        let outcome = run.book(wish).await;
        self.ledger.ended(&outcome, run.smooth);
        outcome
    }

    /// Signs up, or logs in where the account exists already.
    pub async fn enter(&self, email: &str, password: &str, route: &mut Route) -> Result<Account, String> {
        let mut run = Run::new(self, route, Patience::PREPARING);
        let name = email.split('@').next().unwrap_or(email);
        let sign_up = json!({ "email": email, "name": name, "password": password, "terms": true });
        let log_in = json!({ "email": email, "password": password });
        let mut said = String::new();
        for (path, body) in [("/api/signup", sign_up), ("/api/login", log_in)] {
            let ask = Ask { method: Method::POST, path: path.into(), body, cookie: None, key: None };
            let answer = run.insist(&ask).await.map_err(|e| format!("{path}: {}", e.what))?;
            if answer.status.is_success() {
                let cookie = session(&answer).ok_or_else(|| format!("{path} set no session cookie"))?;
                return Ok(Account { email: email.to_owned(), cookie });
            }
            said = format!("{path}: {}", brief(&answer));
        }
        Err(said)
    }

    /// Reads a public page of the API.
    pub async fn read(&self, path: &str, route: &mut Route) -> Result<Value, String> {
        let mut run = Run::new(self, route, Patience::PREPARING);
        let ask = Ask { method: Method::GET, path: path.into(), body: Value::Null, cookie: None, key: None };
        let answer = run.insist(&ask).await.map_err(|e| format!("{path}: {}", e.what))?;
        if !answer.status.is_success() {
            return Err(format!("{path}: {}", brief(&answer)));
        }
        Ok(answer.json())
    }
}

impl<'a> Run<'a> {
    /// Begins now, and lasts as long as the patience.
    pub(crate) fn new(all: &'a Visitors, route: &'a mut Route, patience: Patience) -> Run<'a> {
        Run { all, route, patience, deadline: Instant::now() + patience.all, smooth: true }
    }

    async fn book(&mut self, wish: &Wish) -> Outcome {
        let sent_at_ms = Boot::now().as_ms();
        let hold = Ask {
            method: Method::POST,
            path: format!("/api/performances/{}/holds", wish.performance),
            body: json!({ "seats": wish.seats }),
            cookie: Some(&wish.account.cookie),
            key: Some(format!("{}-h", wish.key)),
        };
        let held = match self.insist(&hold).await {
            Ok(answer) if answer.status.is_success() => answer.json(),
            Ok(answer) => {
                if answer.status == StatusCode::UNAUTHORIZED {
                    let what = format!(
                        "{} was logged in and is not any more: {}",
                        wish.account.email,
                        brief(&answer)
                    );
                    self.all.ledger.broken_promise(Violation::new("session", what));
                }
                return refused(&answer);
            }
            // Nothing was paid, so nothing can be booked.
            Err(gave_up) => return Outcome::Failed { what: format!("hold: {}", gave_up.what) },
        };
        let Some(hold_id) = held.get("hold_id").and_then(Value::as_str) else {
            return Outcome::Failed { what: format!("a hold without a hold_id: {held}") };
        };
        let key = format!("{}-p", wish.key);
        let pay = Ask {
            method: Method::POST,
            path: format!("/api/holds/{hold_id}/pay"),
            body: json!({ "method": "test" }),
            cookie: Some(&wish.account.cookie),
            key: Some(key.clone()),
        };
        let (paid, answered_by) = match self.insist_where(&pay).await {
            Ok((answer, by)) if answer.status.is_success() => (answer.json(), by),
            Ok((answer, _)) => {
                // The hold was acknowledged and is minutes from its deadline: it cannot be gone.
                self.all.ledger.broken_promise(Violation::new("I6", format!(
                    "hold {hold_id} of {} for performance {} seats {:?} was acknowledged, and paying it is refused: {}",
                    wish.account.email, wish.performance, wish.seats, brief(&answer)
                )));
                return refused(&answer);
            }
            Err(GaveUp { open: true, .. }) => return Outcome::Unknown,
            Err(gave_up) => return Outcome::Failed { what: format!("pay: {}", gave_up.what) },
        };
        let acknowledged_at_ms = Boot::now().as_ms();
        let (Some(booking_no), Some(amount_won)) =
            (paid.get("booking_no").and_then(Value::as_str), paid.get("amount_won").and_then(Value::as_u64))
        else {
            return Outcome::Failed { what: format!("a payment's answer without number or amount: {paid}") };
        };
        if held.get("amount_won").and_then(Value::as_u64) != Some(amount_won) {
            self.all.ledger.broken_promise(Violation::new(
                "I10",
                format!(
                    "booking {booking_no} cost {amount_won} won, its hold {hold_id} said {}",
                    held.get("amount_won").unwrap_or(&Value::Null)
                ),
            ));
        }
        Outcome::Acknowledged(Box::new(Acknowledged {
            booking_no: booking_no.to_owned(),
            account: wish.account.email.clone(),
            performance: wish.performance,
            seats: wish.seats.clone(),
            amount_won,
            idempotency_key: key,
            sent_at_ms,
            acknowledged_at_ms,
            answered_by,
            round: self.all.round,
        }))
    }

    pub(crate) async fn insist(&mut self, ask: &Ask<'_>) -> Result<Answer, GaveUp> {
        self.insist_where(ask).await.map(|(answer, _)| answer)
    }

    /// Sends `ask` until there is an answer that is yes or no, or the deadline has come.
    pub(crate) async fn insist_where(
        &mut self,
        ask: &Ask<'_>,
    ) -> Result<(Answer, std::net::SocketAddr), GaveUp> {
        let mut gave_up = GaveUp { open: false, what: "no time was left".into() };
        while Instant::now() < self.deadline {
            let mut pause = self.patience.pause.mul_f64(rand::rng().random_range(0.5..1.5));
            match self.route.whom().await {
                Err(what) => {
                    let now_ms = Boot::now().as_ms();
                    let error = Some(ask.and(&what));
                    self.all.ledger.requested(Asked { sent_at_ms: now_ms, ended_at_ms: now_ms, error });
                    self.error_seen(false);
                    gave_up.what = what;
                }
                Ok(to) => {
                    let left = self.deadline.saturating_duration_since(Instant::now());
                    let request = ask
                        .request(&self.all.host)
                        .map_err(|e| GaveUp { open: gave_up.open, what: e.to_string() })?;
                    let sent_at_ms = Boot::now().as_ms();
                    let heard = self.all.http.send(to, request, self.patience.answer.min(left)).await;
                    let error = match &heard {
                        Ok(a) if a.status.is_success() || a.status == StatusCode::CONFLICT => None,
                        Ok(answer) => Some(ask.and(&brief(answer))),
                        Err(failure) => Some(ask.and(&failure.to_string())),
                    };
                    let ended_at_ms = Boot::now().as_ms();
                    self.all.ledger.requested(Asked { sent_at_ms, ended_at_ms, error });
                    match heard {
                        Ok(answer) if is_final(answer.status) => {
                            self.route.served(to);
                            return Ok((answer, to));
                        }
                        Ok(answer) => {
                            let outcome = answer.header("ghostlight-outcome");
                            self.error_seen(outcome == Some("unknown"));
                            gave_up.open |= outcome != Some("not-sent");
                            gave_up.what = brief(&answer);
                            if self.patience.polite
                                && let Some(seconds) =
                                    answer.header("retry-after").and_then(|v| v.parse().ok())
                            {
                                pause += Duration::from_secs(seconds);
                            }
                        }
                        Err(failure) => {
                            self.error_seen(failure.leaves_open());
                            gave_up.open |= failure.leaves_open();
                            gave_up.what = failure.to_string();
                            self.route.was_silent(to);
                        }
                    }
                }
            }
            // What a person does between two attempts.
            tokio::time::sleep(pause).await;
        }
        Err(gave_up)
    }

    fn error_seen(&mut self, unknown: bool) {
        self.smooth = false;
        self.all.ledger.error_seen(unknown);
    }
}

impl Ask<'_> {
    /// What was asked, and what came of it.
    fn and(&self, came: &str) -> String {
        format!("{} {}: {came}", self.method, self.path)
    }

    fn request(&self, host: &str) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(header::HOST, host)
            .header(header::ACCEPT, "application/json");
        if let Some(cookie) = self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        if let Some(key) = &self.key {
            request = request.header("idempotency-key", key);
        }
        if self.body.is_null() {
            return request.body(Full::default());
        }
        request.header(header::CONTENT_TYPE, "application/json").body(self.body.to_string().into())
    }
}

/// Yes or no; everything else is worth asking again.
fn is_final(status: StatusCode) -> bool {
    !status.is_server_error()
        && status != StatusCode::TOO_MANY_REQUESTS
        && status != StatusCode::REQUEST_TIMEOUT
}

fn refused(answer: &Answer) -> Outcome {
    let code = answer.json().get("error").and_then(Value::as_str).map(str::to_owned);
    match code {
        Some(code) if answer.status == StatusCode::CONFLICT => Outcome::Refused { code },
        _ => Outcome::Failed { what: brief(answer) },
    }
}

pub(crate) fn brief(answer: &Answer) -> String {
    let text: String = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
    format!("{} {text}", answer.status)
}

pub(crate) fn session(answer: &Answer) -> Option<String> {
    let all = answer.headers.get_all(header::SET_COOKIE).iter();
    all.filter_map(|v| v.to_str().ok())
        .filter_map(|v| v.split(';').next())
        .find(|pair| pair.starts_with("sid="))
        .map(str::to_owned)
}
