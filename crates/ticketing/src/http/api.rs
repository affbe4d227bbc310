//! The JSON API. Errors are `{"error": "code", "message": "sentence"}`.
//!
//! Every POST needs `Content-Type: application/json`, which no form of another site can send unasked.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    door, live, queue,
    visitor::{Visitor, is_foreign},
};
use crate::{
    calendar::iso,
    catalogue::{Event, Text, split_seat},
    desk::{Desk, Kinds, Signup},
    discount::Less,
    ids::{BookingNo, HoldId, IdempotencyKey},
    lang::Lang,
    refusal::Refusal,
    seating::Wanted,
    store::Booked,
};

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/signup", post(sign_up))
        .route("/login", post(sign_in))
        .route("/time", get(time))
        .route("/performances", get(performances))
        .route("/performances/{id}", get(performance))
        .route("/performances/{id}/seats", get(seats))
        .route("/performances/{id}/best", get(best))
        .route("/performances/{id}/availability", get(live::bits))
        .route("/performances/{id}/live", get(live::stream_of))
        .route("/performances/{id}/holds", post(hold))
        .route("/performances/{id}/queue", post(queue::join_api).get(queue::place_api))
        .route("/performances/{id}/queue/enter", post(queue::enter_api))
        .route("/queue/{id}", get(queue::serving))
        .route("/holds/{hold}", delete(release))
        .route("/holds/{hold}/kinds", post(choose_kinds))
        .route("/holds/{hold}/pay", post(pay))
        .route("/bookings", get(bookings))
        .route("/bookings/{no}/tickets", get(tickets))
        .route("/door/{id}", get(door::kept))
        .route("/door/{id}/scans", post(door::scans))
        .route("/ticket-key", get(ticket_key))
        .route("/bookings/{no}/cancel", post(cancel).get(cancel_terms))
        .layer(middleware::from_fn(only_json))
        .fallback(|visitor: Visitor| async move { No(Refusal::NoSuch, visitor.lang) })
}

/// A refusal as the API writes it.
pub(super) struct No(pub(super) Refusal, pub(super) Lang);

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let No(refusal, lang) = self;
        let mut body = json!({ "error": refusal.code(), "message": refusal.sentence(lang) });
        if let Refusal::Hold(crate::booking::HoldRefusal::SeatTaken(seats)) = &refusal {
            body["seats"] = json!(seats);
        }
        let mut response = (refusal.status(), Json(body)).into_response();
        if refusal == Refusal::NotNow {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

type Answer = Result<Response, No>;

async fn only_json(request: Request, next: Next) -> Response {
    let lang = Lang::default();
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes && is_foreign(request.headers()) {
        return No(Refusal::Foreign, lang).into_response();
    }
    if request.method() == Method::POST && !is_json(request.headers()) {
        return No(Refusal::NotJson, lang).into_response();
    }
    let mut response = next.run(request).await;
    // What everybody may keep says so itself.
    let caching = response.headers_mut().entry(header::CACHE_CONTROL);
    caching.or_insert(HeaderValue::from_static("no-store"));
    response
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json"))
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::NotJson)
}

fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Refusal> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    value.to_str().ok().and_then(IdempotencyKey::parse).map(Some).ok_or(Refusal::NoIdempotencyKey)
}

#[derive(Deserialize)]
struct SignupBody {
    email: String,
    name: String,
    password: String,
    #[serde(default)]
    terms: bool,
}

async fn sign_up(State(desk): State<Desk>, visitor: Visitor, body: Bytes) -> Answer {
    let run = async {
        let SignupBody { email, name, password, terms } = parse(&body)?;
        desk.sign_up(Signup { email, name, password, terms }).await
    };
    let account = run.await.map_err(|e| No(e, visitor.lang))?;
    let cookie = desk.begin_session(account.id, false);
    let body = json!({ "email": account.email, "name": account.name });
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie)], Json(body)).into_response())
}

#[derive(Deserialize)]
struct LoginBody {
    email: String,
    password: String,
    #[serde(default)]
    remember: bool,
}

async fn sign_in(State(desk): State<Desk>, visitor: Visitor, body: Bytes) -> Answer {
    let run = async {
        let LoginBody { email, password, remember } = parse(&body)?;
        Ok((desk.sign_in(&email, &password).await?, remember))
    };
    let (account, remember) = run.await.map_err(|e| No(e, visitor.lang))?;
    let cookie = desk.begin_session(account.id, remember);
    let body = json!({ "email": account.email, "name": account.name });
    Ok(([(header::SET_COOKIE, cookie)], Json(body)).into_response())
}

async fn time(State(desk): State<Desk>) -> Json<Value> {
    Json(json!({ "now_ms": desk.clock.now_ms() }))
}

async fn performances(State(desk): State<Desk>, visitor: Visitor) -> Answer {
    let catalogue = desk.catalogue().await.map_err(|e| No(e, visitor.lang))?;
    let now_ms = desk.clock.now_ms();
    let list: Vec<Value> = catalogue
        .performances
        .iter()
        .filter_map(|p| catalogue.event(p.id))
        .map(|e| event_json(&e, now_ms))
        .collect();
    Ok(Json(list).into_response())
}

async fn performance(State(desk): State<Desk>, visitor: Visitor, Path(id): Path<u32>) -> Answer {
    let catalogue = desk.catalogue().await.map_err(|e| No(e, visitor.lang))?;
    let event = catalogue.event(id).ok_or(No(Refusal::NoSuch, visitor.lang))?;
    Ok(Json(event_json(&event, desk.clock.now_ms())).into_response())
}

fn text(text: &Text) -> Value {
    json!({ "ko": text.ko, "en": text.en })
}

fn event_json(event: &Event<'_>, now_ms: u64) -> Value {
    let p = event.performance;
    json!({
        "id": p.id,
        "show": { "id": event.show.id, "slug": event.show.slug, "category": event.show.category.word(),
                  "title": text(&event.show.title) },
        "hall": { "id": event.hall.id, "name": text(&event.hall.name) },
        "starts_at": iso(p.starts_at_ms),
        "sale_opens_at": iso(p.sale_opens_at_ms),
        "sale": p.sale(now_ms).word(),
        "capacity": p.capacity,
        "account_limit": p.account_limit,
        "grades": event.show.grades.iter()
            .map(|g| json!({ "grade": g.word, "name": text(&g.name), "price_won": g.price_won }))
            .collect::<Vec<_>>(),
        "discounts": event.show.discounts.iter()
            .map(|d| {
                let (percent, won) = match d.less {
                    Less::Percent(percent) => (Some(percent), None),
                    Less::Won(won) => (None, Some(won)),
                };
                json!({ "id": d.id, "name": text(&d.name), "percent": percent, "won": won, "grades": d.grades,
                        "seats_max": d.seats_max, "proof": d.proof.as_ref().map(text),
                        "from": iso(d.from_ms), "until": iso(d.until_ms) })
            })
            .collect::<Vec<_>>(),
    })
}

#[derive(Deserialize, Default)]
struct Part {
    section: Option<String>,
}

/// `sections[].rows[i]` is how many seats row `i + 1` has; a seat's name is `<section id>-<row>-<number>`.
/// With `?section=F3` only what is taken there.
async fn seats(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    part: Result<Query<Part>, QueryRejection>,
) -> Answer {
    let lang = visitor.lang;
    let part = part.map(|q| q.0.section).unwrap_or_default();
    let catalogue = desk.catalogue().await.map_err(|e| No(e, lang))?;
    let event = catalogue.event(id).ok_or(No(Refusal::NoSuch, lang))?;
    let mut taken = desk.store.taken(id, desk.clock.now_ms()).await.map_err(|e| No(e.into(), lang))?;
    if let Some(section) = &part {
        taken.retain(|t| split_seat(&t.seat).is_some_and(|(of, ..)| of == section));
    }
    let sections: Vec<Value> = event
        .hall
        .layout
        .sections
        .iter()
        .filter(|s| part.as_ref().is_none_or(|section| s.id == *section))
        .map(|s| {
            json!({
                "id": s.id,
                "name": text(&s.name),
                "grade": s.grade,
                "price_won": event.show.grade(&s.grade).map(|g| g.price_won),
                "rows": s.rows,
            })
        })
        .collect();
    Ok(Json(json!({
        "capacity": event.performance.capacity,
        "account_limit": event.performance.account_limit,
        "sections": sections,
        "taken": taken.into_iter().map(|t| t.seat).collect::<Vec<_>>(),
    }))
    .into_response())
}

#[derive(Deserialize)]
struct BestWanted {
    count: u16,
    grade: Option<String>,
    #[serde(default)]
    wheelchair: bool,
}

/// The best free seats together: `{"groups": [[seat, ..]]}`, two groups if no row has room for all.
async fn best(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    wanted: Result<Query<BestWanted>, QueryRejection>,
) -> Answer {
    let run = async {
        let BestWanted { count, grade, wheelchair } = wanted.map_err(|_| Refusal::OddSeats)?.0;
        desk.best_seats(id, &Wanted { count, grade, wheelchair }, rand::random()).await
    };
    let found = run.await.map_err(|e| No(e, visitor.lang))?;
    Ok(Json(json!({ "groups": found.groups })).into_response())
}

#[derive(Deserialize)]
struct HoldBody {
    seats: Vec<String>,
}

async fn hold(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(performance): Path<u32>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let run = async {
        let account = visitor.account()?;
        let HoldBody { seats } = parse(&body)?;
        desk.check_turn(performance, account, queue::turn_of(&headers, performance)).await?;
        desk.hold(account, performance, seats, key(&headers)?.as_ref()).await
    };
    let hold = run.await.map_err(|e| No(e, visitor.lang))?;
    let body = json!({
        "hold_id": hold.id.as_str(),
        "seats": hold.seats,
        "amount_won": hold.amount_won,
        "held_until": iso(hold.held_until_ms),
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

async fn release(State(desk): State<Desk>, visitor: Visitor, Path(hold): Path<String>) -> Answer {
    let run = async {
        let account = visitor.account()?;
        let hold = HoldId::parse(&hold).ok_or(Refusal::NoSuch)?;
        desk.release(account, &hold).await
    };
    run.await.map_err(|e| No(e, visitor.lang))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
struct KindsBody {
    /// Seat → discount; a seat that is not named costs its full price.
    kinds: Kinds,
}

/// Prices a hold by kinds of tickets. It has the name in the answer from now on.
async fn choose_kinds(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(hold): Path<String>,
    body: Bytes,
) -> Answer {
    let run = async {
        let account = visitor.account()?;
        let KindsBody { kinds } = parse(&body)?;
        let hold = HoldId::parse(&hold).ok_or(Refusal::NoSuch)?;
        let named = desk.choose_kinds(account, &hold, kinds).await?;
        desk.open_hold(account, &named).await
    };
    let hold = run.await.map_err(|e| No(e, visitor.lang))?.hold;
    let body = json!({
        "hold_id": hold.id.as_str(),
        "seats": hold.seats,
        "amount_won": hold.amount_won,
        "held_until": iso(hold.held_until_ms),
    });
    Ok(Json(body).into_response())
}

#[derive(Deserialize)]
struct PayBody {
    method: String,
    /// What the provider gave the visitor's browser for this payment, if it works that way: Toss's `paymentKey`.
    token: Option<String>,
}

async fn pay(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(hold): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let run = async {
        let account = visitor.account()?;
        let PayBody { method, token } = parse(&body)?;
        let key = key(&headers)?.ok_or(Refusal::NoIdempotencyKey)?;
        let hold = HoldId::parse(&hold).ok_or(Refusal::NoSuch)?;
        desk.pay(account, &hold, &key, &method, token).await
    };
    let paid = run.await.map_err(|e| No(e, visitor.lang))?;
    let status = if paid.repeated { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(booking_json(&paid.booking))).into_response())
}

async fn bookings(State(desk): State<Desk>, visitor: Visitor) -> Answer {
    let run = async { Ok(desk.store.bookings_of(visitor.account()?).await?) };
    let bookings: Vec<Booked> = run.await.map_err(|e: Refusal| No(e, visitor.lang))?;
    let list: Vec<Value> = bookings
        .iter()
        .map(|b| {
            let mut body = booking_json(b);
            body["created_at"] = json!(iso(b.created_at_ms));
            if let Some(cancelled) = b.cancelled {
                body["cancelled"] =
                    json!({ "fee_won": cancelled.fee_won, "refund_won": cancelled.refund_won });
            }
            body
        })
        .collect();
    Ok(Json(list).into_response())
}

/// Each seat's ticket, as its QR code has it; `crate::admission` says how it is written.
async fn tickets(State(desk): State<Desk>, visitor: Visitor, Path(no): Path<String>) -> Answer {
    let run = async {
        let account = visitor.account()?;
        let no = BookingNo::parse(&no).ok_or(Refusal::NoSuch)?;
        desk.tickets(account, &no).await
    };
    let tickets = run.await.map_err(|e| No(e, visitor.lang))?;
    let list: Vec<Value> =
        tickets.into_iter().map(|(seat, ticket)| json!({ "seat": seat, "ticket": ticket })).collect();
    Ok(Json(list).into_response())
}

/// What a door checks tickets with; it may be kept for as long as the door likes.
async fn ticket_key(State(desk): State<Desk>) -> Json<Value> {
    Json(json!({ "algorithm": "Ed25519", "public_key": STANDARD.encode(desk.ticket_key()) }))
}

/// What cancelling costs now, and when that changes.
async fn cancel_terms(State(desk): State<Desk>, visitor: Visitor, Path(no): Path<String>) -> Answer {
    let run = async {
        let account = visitor.account()?;
        let no = BookingNo::parse(&no).ok_or(Refusal::NoSuch)?;
        desk.cancel_terms(account, &no).await?.ok_or(Refusal::TooLateToCancel)
    };
    let terms = run.await.map_err(|e| No(e, visitor.lang))?;
    let body = json!({
        "fee_won": terms.fee.fee_won,
        "refund_won": terms.fee.refund_won,
        "changes_at": terms.then.map(|(at_ms, _)| iso(at_ms)),
    });
    Ok(Json(body).into_response())
}

#[derive(Deserialize)]
struct CancelBody {
    /// The fee that was shown: nothing is cancelled for more.
    fee_won: u64,
}

async fn cancel(State(desk): State<Desk>, visitor: Visitor, Path(no): Path<String>, body: Bytes) -> Answer {
    let run = async {
        let account = visitor.account()?;
        let CancelBody { fee_won } = parse(&body)?;
        let no = BookingNo::parse(&no).ok_or(Refusal::NoSuch)?;
        desk.cancel(account, &no, fee_won).await
    };
    run.await.map_err(|e| No(e, visitor.lang))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn booking_json(booking: &Booked) -> Value {
    json!({
        "booking_no": booking.no.as_str(),
        "performance_id": booking.performance,
        "seats": booking.seats,
        "amount_won": booking.amount_won,
    })
}
