//! How it sells, who is expected, who came in.

use axum::{extract::State, http::HeaderMap};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer,
    answer::{fresh, page, tagged},
    ask::{Asked, At, By, Paging, Sent, text},
    problem::Problem,
};
use crate::{
    calendar::iso,
    catalogue::split_seat,
    desk::{Desk, Shown, Verdict},
    refusal::Refusal,
    store::Line,
};

/// Scans that are taken at once.
const SCANS_MAX: usize = 500;
/// The year 2100: no device's clock is that wrong.
const LATEST_MS: u64 = 4_102_444_800_000;

pub(super) async fn sales(State(desk): State<Desk>, By(caller): By, At(id): At<u32>) -> Answer {
    let sales = desk.sales(caller.by).await?.remove(&id).ok_or(Refusal::NoSuch)?;
    Ok(fresh(json!({
        "performance_id": id,
        "sold": sales.sold,
        "held": sales.held,
        "blocked": sales.blocked,
        "sold_won": sales.sold_won,
        "fees_won": sales.fees_won,
        "cancelled": sales.cancelled,
        "entered": sales.entered,
    })))
}

/// Names by seat. That a key looked at names is written down.
pub(super) async fn list(
    State(desk): State<Desk>,
    By(caller): By,
    At(id): At<u32>,
    Asked(paging): Asked<Paging>,
) -> Answer {
    let (limit, after) = paging.read()?;
    let report = desk.door(caller.by, id).await?;
    desk.audit_key(&caller, "door_list_read", &format!("performance {id}")).await?;
    let mut seats: Vec<(&String, &Line)> = report
        .lines
        .iter()
        .filter(|line| line.confirmed)
        .flat_map(|line| line.seats.iter().map(move |seat| (seat, line)))
        .collect();
    seats.sort_by_key(|(seat, _)| split_seat(seat).map(|(s, r, n)| (s.to_owned(), r, n)));
    let from = usize::try_from(after.unwrap_or(0)).unwrap_or(usize::MAX);
    let until = from.saturating_add(limit);
    let next = (until < seats.len()).then(|| u64::try_from(until).unwrap_or(0));
    let items = seats.into_iter().skip(from).take(limit).map(|(seat, line)| {
        let entered = report.entered.get(&(line.id, seat.clone()));
        json!({
            "seat": seat,
            "booking_no": line.no.as_str(),
            "name": line.name,
            "entered_at": entered.map(|at_ms| iso(*at_ms)),
        })
    });
    Ok(fresh(page(items.collect(), next)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scans {
    device: String,
    scans: Vec<Scan>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scan {
    ticket: String,
    number: u32,
    at_ms: u64,
}

/// Takes scans in order and answers each; sending them again answers the same.
pub(super) async fn check_in(
    State(desk): State<Desk>,
    By(caller): By,
    At(id): At<u32>,
    Sent(sent): Sent<Scans>,
) -> Answer {
    text("device", &sent.device, 32, |c| c.is_ascii_alphanumeric())?;
    if !(1..=SCANS_MAX).contains(&sent.scans.len()) {
        return Err(Problem::invalid(format!("scans: 1 to {SCANS_MAX} of them")));
    }
    for scan in &sent.scans {
        text("ticket", &scan.ticket, 400, |c| c.is_ascii_graphic())?;
        if scan.at_ms > LATEST_MS {
            return Err(Problem::invalid("at_ms: milliseconds since 1970"));
        }
    }
    desk.catalogue().await?.event(id).ok_or(Refusal::NoSuch)?;
    let shown: Vec<Shown> = sent
        .scans
        .into_iter()
        .map(|s| Shown { ticket: s.ticket, number: s.number, at_ms: s.at_ms })
        .collect();
    let verdicts = desk.scanned(caller.by, id, &sent.device, &shown).await?;
    let verdicts: Vec<Value> = verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::Enter(seat) => json!({ "verdict": "enter", "seat": seat }),
            Verdict::Again(seat, at_ms) => {
                json!({ "verdict": "again", "seat": seat, "first_at": iso(*at_ms) })
            }
            Verdict::Elsewhere(other) => json!({ "verdict": "elsewhere", "performance_id": other }),
            Verdict::Cancelled(seat) => json!({ "verdict": "cancelled", "seat": seat }),
            Verdict::Forged => json!({ "verdict": "forged" }),
        })
        .collect();
    Ok(fresh(json!({ "verdicts": verdicts })))
}

/// What a door checks tickets with, without a network.
pub(super) async fn ticket_key(State(desk): State<Desk>, headers: HeaderMap) -> Answer {
    let key = STANDARD.encode(desk.ticket_key());
    Ok(tagged(&headers, json!({ "algorithm": "Ed25519", "public_key": key })))
}
