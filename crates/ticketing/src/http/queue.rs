//! The waiting room's pages and answers.
//!
//! `GET /api/queue/{performance}` is the same for everybody, so every cache may keep it for a second, and show it
//! while this place cannot be reached. What is a visitor's own (number, turn) is in cookies.

use std::net::IpAddr;

use axum::{
    Form, Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    Visitor,
    answer::{Answer, Fields, finish, frame},
    api::No,
    visitor::cookie,
};
use crate::{
    desk::Desk,
    queue::{
        LOBBY_MS, Phase, TURN_MS,
        place::Place,
        ticket::{Ticket, Turn},
    },
    refusal::{QueueRefusal, Refusal},
    view::queue::{self as view, QueueView},
    waiting::Room,
};

/// How long a ticket's cookie lives: the lobby, and the longest line.
const TICKET_S: u64 = LOBBY_MS / 1_000 + 24 * 3_600;

fn ticket_name(performance: u32) -> String {
    format!("qn{performance}")
}

fn turn_name(performance: u32) -> String {
    format!("qt{performance}")
}

/// The turn's cookie of a request.
pub(super) fn turn_of(headers: &HeaderMap, performance: u32) -> Option<&str> {
    cookie(headers, &turn_name(performance))
}

fn ticket_cookie(desk: &Desk, ticket: &Ticket) -> String {
    let (name, value) = (ticket_name(ticket.sale), ticket.sealed(desk.signer.key()));
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={TICKET_S}")
}

fn turn_cookie(desk: &Desk, turn: &Turn) -> String {
    let (name, value) = (turn_name(turn.sale), turn.sealed(desk.signer.key()));
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}", TURN_MS / 1_000)
}

/// Where the request came from, as the nearest proxy saw it: what stands before that, anybody could have written.
fn origin(headers: &HeaderMap) -> Option<IpAddr> {
    let seen = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    seen.rsplit(',').next()?.trim().parse().ok()
}

/// What everybody may know about a room.
fn public(room: &Room, now_ms: u64) -> Value {
    let sale = &room.sale;
    json!({
        "performance_id": sale.id,
        "phase": sale.phase(now_ms).word(),
        "serving": sale.serving,
        "given": sale.given,
        "early": sale.early,
        "pace_milli": sale.pace_milli,
        "opens_ms": sale.opens_ms,
        "now_ms": now_ms,
        "fresh": room.is_fresh(now_ms),
        "seed_sha256": sale.commitment.hex(),
        "seed": room.revealed().map(crate::queue::draw::Seed::hex),
    })
}

pub(super) async fn serving(State(desk): State<Desk>, visitor: Visitor, Path(id): Path<u32>) -> Response {
    let Some(room) = desk.waiting.room(id) else { return No(Refusal::NoSuch, visitor.lang).into_response() };
    let now_ms = desk.clock.now_ms();
    let mut response = Json(public(&room, now_ms)).into_response();
    let caching = "public, max-age=1, stale-while-revalidate=5, stale-if-error=3600";
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}

fn place_json(ticket: &Ticket, place: Option<Place>) -> Value {
    match place {
        Some(Place::Lobby { opens_ms }) => json!({ "place": "lobby", "opens_ms": opens_ms }),
        Some(Place::Drawing) => json!({ "place": "drawing" }),
        Some(Place::Waiting(wait)) => json!({
            "place": "waiting", "number": wait.number, "ahead": wait.ahead, "behind": wait.behind,
            "wait_s": wait.wait_s, "poll_ms": wait.poll_ms,
        }),
        Some(Place::Called { number }) => json!({ "place": "called", "number": number }),
        Some(Place::Unknown) => json!({ "place": "unknown" }),
        // Not read yet: the number on the ticket stands.
        None => json!({ "place": "reconnecting", "number": ticket.number }),
    }
}

pub(super) async fn join_api(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    headers: HeaderMap,
    _: Bytes,
) -> Response {
    let run = async { desk.take_number(id, visitor.account()?, origin(&headers)).await };
    match run.await {
        Ok(ticket) => {
            let body = Json(place_json(&ticket, desk.queue_place(&ticket)));
            (StatusCode::CREATED, [(header::SET_COOKIE, ticket_cookie(&desk, &ticket))], body).into_response()
        }
        Err(no) => No(no, visitor.lang).into_response(),
    }
}

pub(super) async fn place_api(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    headers: HeaderMap,
) -> Response {
    let found = visitor.account().and_then(|account| {
        desk.queue_ticket(id, account, cookie(&headers, &ticket_name(id))).ok_or(Refusal::NoSuch)
    });
    match found {
        Ok(ticket) => Json(place_json(&ticket, desk.queue_place(&ticket))).into_response(),
        Err(no) => No(no, visitor.lang).into_response(),
    }
}

async fn begin(desk: &Desk, visitor: &Visitor, id: u32, headers: &HeaderMap) -> Result<Turn, Refusal> {
    let account = visitor.account()?;
    let ticket = desk
        .queue_ticket(id, account, cookie(headers, &ticket_name(id)))
        .ok_or(Refusal::Queue(QueueRefusal::NoTurn))?;
    desk.begin_turn(&ticket).await
}

pub(super) async fn enter_api(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    headers: HeaderMap,
    _: Bytes,
) -> Response {
    match begin(&desk, &visitor, id, &headers).await {
        Ok(turn) => {
            let body = Json(json!({ "until": crate::calendar::iso(turn.until_ms) }));
            ([(header::SET_COOKIE, turn_cookie(&desk, &turn))], body).into_response()
        }
        Err(no) => No(no, visitor.lang).into_response(),
    }
}

pub(super) async fn page(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    headers: HeaderMap,
) -> Response {
    let run = async {
        let account = visitor.account()?;
        let room = desk.waiting.room(id).ok_or(Refusal::NotNow)?;
        let ticket = desk.queue_ticket(id, account, cookie(&headers, &ticket_name(id)));
        // The catalogue is only for the title: this page stands while the database does not answer.
        let catalogue = desk.catalogue().await.ok();
        let event = catalogue.as_ref().and_then(|c| c.event(id));
        let now_ms = desk.clock.now_ms();
        let view = QueueView {
            performance: id,
            event,
            sale: &room.sale,
            phase: room.sale.phase(now_ms),
            entry: desk.queue_entry(id, account),
            place: ticket.as_ref().map(|ticket| room.place(ticket, now_ms)),
            fresh: room.is_fresh(now_ms),
            seed: room.revealed(),
        };
        Ok(Answer::Page(view::page_of(&frame(&desk, &visitor), &view)))
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn join(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let to = format!("/performances/{id}/queue");
    let run = async {
        let account = visitor.account()?;
        Fields(fields).check(&desk, &visitor, &headers)?;
        match desk.take_number(id, account, origin(&headers)).await {
            Ok(ticket) => Ok(Answer::Signed(to, ticket_cookie(&desk, &ticket))),
            // The page says the same, and counts down.
            Err(Refusal::Queue(_)) => Ok(Answer::Goto(to)),
            Err(no) => Err(no),
        }
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn enter(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let run = async {
        visitor.account()?;
        Fields(fields).check(&desk, &visitor, &headers)?;
        match begin(&desk, &visitor, id, &headers).await {
            Ok(turn) => Ok(Answer::Signed(format!("/performances/{id}"), turn_cookie(&desk, &turn))),
            Err(Refusal::Queue(_)) => Ok(Answer::Goto(format!("/performances/{id}/queue"))),
            Err(no) => Err(no),
        }
    };
    finish(&desk, &visitor, run.await)
}

/// Whether a room's page should stand where the seat map would.
pub(super) fn must_wait(phase: Option<Phase>) -> bool {
    phase.is_some_and(|phase| phase != Phase::Closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_proxy_says_where_a_visitor_is() {
        let mut headers = HeaderMap::new();
        assert_eq!(origin(&headers), None);
        headers.append("x-forwarded-for", HeaderValue::from_static("6.6.6.6, 203.0.113.9"));
        assert_eq!(origin(&headers), "203.0.113.9".parse().ok());
        headers.append("x-forwarded-for", HeaderValue::from_static("2001:db8::1"));
        assert_eq!(origin(&headers), "2001:db8::1".parse().ok());
        headers.append("x-forwarded-for", HeaderValue::from_static("nonsense"));
        assert_eq!(origin(&headers), None);
    }
}
