//! Doors: the check-in page, and what it sends.

use axum::{
    Form, Json,
    body::Bytes,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Visitor,
    answer::{Answer, Fields, finish, frame},
    api::No,
};
use crate::{
    calendar::iso,
    desk::{Desk, Shown, Verdict},
    ids::BookingNo,
    refusal::Refusal,
    role::Role,
    view::door as view,
};

/// Performances whose doors are open: from half a day before to half a day after they begin.
const OPEN_MS: u64 = 12 * 3_600_000;

/// The performances of today.
pub(super) async fn list(State(desk): State<Desk>, visitor: Visitor) -> Response {
    let run = async {
        desk.require(visitor.account()?, Role::Door).await?;
        let catalogue = desk.catalogue().await?;
        let now_ms = desk.clock.now_ms();
        let events: Vec<_> = catalogue
            .performances
            .iter()
            .filter(|p| p.starts_at_ms.abs_diff(now_ms) <= OPEN_MS)
            .filter_map(|p| catalogue.event(p.id))
            .collect();
        Ok(Answer::Page(view::list(&frame(&desk, &visitor), &events)))
    };
    finish(&desk, &visitor, run.await)
}

#[derive(Deserialize, Default)]
pub(super) struct Looked {
    /// A booking number that was typed.
    #[serde(default)]
    q: String,
}

/// The check-in page of a performance; with a number, the tickets of that booking.
pub(super) async fn page(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    looked: Result<Query<Looked>, QueryRejection>,
) -> Response {
    let q = looked.map(|q| q.0.q).unwrap_or_default();
    let run = async { draw(&desk, &visitor, id, &q, None).await };
    finish(&desk, &visitor, run.await)
}

async fn draw(
    desk: &Desk,
    visitor: &Visitor,
    id: u32,
    q: &str,
    verdict: Option<Verdict>,
) -> Result<Answer, Refusal> {
    let by = visitor.account()?;
    let report = desk.door(by, id).await?;
    let catalogue = desk.catalogue().await?;
    let event = catalogue.event(id).ok_or(Refusal::NoSuch)?;
    let typed: String = q.chars().filter(char::is_ascii_alphanumeric).collect();
    let found = match BookingNo::parse(&typed.to_uppercase()) {
        Some(no) => match desk.door_tickets(by, id, &no).await {
            Ok(found) => Some(found),
            Err(Refusal::NoSuch) => None,
            Err(no) => return Err(no),
        },
        None => None,
    };
    let page = view::page_of(
        &frame(desk, visitor),
        &view::DoorView {
            event,
            report: &report,
            asked: q,
            found: found.as_ref(),
            verdict: verdict.as_ref(),
        },
    );
    Ok(Answer::Page(page))
}

/// Lets somebody in whose phone is dead.
pub(super) async fn admit(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        let by = visitor.account()?;
        fields.check(&desk, &visitor, &headers)?;
        let shown = Shown {
            ticket: fields.get("ticket").to_owned(),
            number: rand::random(),
            at_ms: desk.clock.now_ms(),
        };
        let verdicts = desk.scanned(by, id, &format!("desk{by}"), &[shown]).await?;
        draw(&desk, &visitor, id, fields.get("q"), verdicts.into_iter().next()).await
    };
    finish(&desk, &visitor, run.await)
}

/// What a door keeps for when its network is gone.
pub(super) async fn kept(State(desk): State<Desk>, visitor: Visitor, Path(id): Path<u32>) -> Response {
    let run = async {
        let report = desk.door(visitor.account()?, id).await?;
        let catalogue = desk.catalogue().await?;
        let event = catalogue.event(id).ok_or(Refusal::NoSuch)?;
        // Row numbers are larger than what a script counts exactly: they travel as text.
        let name = |(booking, seat): &(u64, String)| format!("{booking}/{seat}");
        Ok(json!({
            "performance_id": id,
            "title": event.show.title.in_lang(visitor.lang),
            "public_key": STANDARD.encode(desk.ticket_key()),
            "sold": report.sales.sold,
            "entered": report.entered.iter().map(|(ticket, at_ms)| json!([name(ticket), at_ms])).collect::<Vec<_>>(),
            "cancelled": report.lines.iter().filter(|l| !l.confirmed).map(|l| l.id.to_string()).collect::<Vec<_>>(),
        }))
    };
    match run.await {
        Ok(body) => Json(body).into_response(),
        Err(no) => No(no, visitor.lang).into_response(),
    }
}

#[derive(Deserialize)]
struct ScansBody {
    device: String,
    scans: Vec<ScanBody>,
}

#[derive(Deserialize)]
struct ScanBody {
    ticket: String,
    number: u32,
    at_ms: u64,
}

/// Takes a door's scans, in order, and answers each.
pub(super) async fn scans(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    body: Bytes,
) -> Response {
    let run = async {
        let by = visitor.account()?;
        let ScansBody { device, scans } = serde_json::from_slice(&body).map_err(|_| Refusal::NotJson)?;
        let shown: Vec<Shown> =
            scans.into_iter().map(|s| Shown { ticket: s.ticket, number: s.number, at_ms: s.at_ms }).collect();
        let verdicts = desk.scanned(by, id, &device, &shown).await?;
        let catalogue = desk.catalogue().await?;
        let event = catalogue.event(id).ok_or(Refusal::NoSuch)?;
        let name = |seat: &String| event.seat_name(visitor.lang, seat);
        let list: Vec<Value> = verdicts
            .iter()
            .map(|verdict| match verdict {
                Verdict::Enter(seat) => json!({ "verdict": "enter", "seat": name(seat) }),
                Verdict::Again(seat, at_ms) => {
                    json!({ "verdict": "again", "seat": name(seat), "first_at": iso(*at_ms) })
                }
                Verdict::Elsewhere(other) => json!({ "verdict": "elsewhere", "performance_id": other }),
                Verdict::Cancelled(seat) => json!({ "verdict": "cancelled", "seat": name(seat) }),
                Verdict::Forged => json!({ "verdict": "forged" }),
            })
            .collect();
        Ok(list)
    };
    match run.await {
        Ok(list) => Json(list).into_response(),
        Err(no) => No(no, visitor.lang).into_response(),
    }
}
