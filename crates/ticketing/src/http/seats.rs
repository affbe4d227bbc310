//! The seat map, and taking seats from it.

use axum::{
    Form,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::Response,
};
use serde::Deserialize;

use super::{
    Visitor,
    answer::{Answer, Fields, finish, frame},
    percent, queue,
};
use crate::{
    booking::SaleState,
    catalogue::split_seat,
    desk::Desk,
    refusal::Refusal,
    seating,
    view::seats::{self as view, SeatView},
};

#[derive(Deserialize, Default)]
pub(super) struct Wanted {
    #[serde(default)]
    section: String,
    /// Seats chosen before signing in, joined by commas.
    #[serde(default)]
    pick: String,
}

pub(super) async fn map(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let Wanted { section, pick } = wanted.map(|q| q.0).unwrap_or_default();
    let picked = pick.split(',').filter(|s| !s.is_empty()).take(8).map(str::to_owned).collect();
    let run = async {
        // Whoever has no turn goes to the waiting room, and comes back here with one.
        let waits = desk.waiting.room(id).map(|room| room.sale.phase(desk.clock.now_ms()));
        if queue::must_wait(waits) {
            let account = visitor.account()?;
            if desk.check_turn(id, account, queue::turn_of(&headers, id)).await.is_err() {
                return Ok(Answer::Goto(format!("/performances/{id}/queue")));
            }
        }
        draw(&desk, &visitor, id, &section, picked, None).await
    };
    finish(&desk, &visitor, run.await)
}

async fn draw(
    desk: &Desk,
    visitor: &Visitor,
    id: u32,
    section: &str,
    picked: Vec<String>,
    refusal: Option<Refusal>,
) -> Result<Answer, Refusal> {
    let catalogue = desk.catalogue().await?;
    let event = catalogue.event(id).ok_or(Refusal::NoSuch)?;
    match event.performance.sale(desk.clock.now_ms()) {
        SaleState::Open => {}
        SaleState::NotYet => return Err(Refusal::SaleNotOpen),
        SaleState::Over => return Err(Refusal::SaleOver),
    }
    let taken = desk.store.taken(id, desk.clock.now_ms()).await?;
    let mine = match visitor.session {
        Some(session) => desk.claims_of(id, session.account).await?,
        None => Vec::new(),
    };
    let notice = refusal.as_ref().map(|r| r.sentence(visitor.lang));
    let view = SeatView { event, taken: taken.into_iter().map(|t| t.seat).collect(), mine, picked, notice };
    let frame = frame(desk, visitor);
    let page = match event.hall.section(section) {
        Some(section) => view::section(&frame, &view, section),
        None => view::hall(&frame, &view),
    };
    Ok(match refusal {
        Some(refusal) => Answer::Refused(refusal.status(), page),
        None => Answer::Page(page),
    })
}

#[derive(Deserialize)]
pub(super) struct Best {
    #[serde(default)]
    count: u16,
    #[serde(default)]
    grade: String,
    #[serde(default)]
    wheelchair: String,
}

/// Looks for good seats and shows them, chosen, in their section.
pub(super) async fn best(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    asked: Result<Query<Best>, QueryRejection>,
) -> Response {
    let run = async {
        let Best { count, grade, wheelchair } = asked.map_err(|_| Refusal::OddSeats)?.0;
        let wanted = seating::Wanted {
            count,
            grade: (!grade.is_empty()).then_some(grade),
            wheelchair: wheelchair == "yes",
        };
        let found = desk.best_seats(id, &wanted, rand::random()).await?;
        let seats = found.groups.concat();
        let section = seats.first().and_then(|seat| split_seat(seat)).map_or("", |(section, ..)| section);
        let to =
            format!("/performances/{id}?section={}&pick={}", percent(section), percent(&seats.join(",")));
        Ok(Answer::Goto(to))
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn take(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let (seats, section) = (fields.all("seats"), fields.get("section").to_owned());
    let run = async {
        let Ok(account) = visitor.account() else {
            // The seats are chosen again after signing in.
            let next = format!("/performances/{id}?section={section}&pick={}", seats.join(","));
            return Ok(Answer::Goto(format!("/login?next={}", percent(&next))));
        };
        fields.check(&desk, &visitor, &headers)?;
        desk.check_turn(id, account, queue::turn_of(&headers, id)).await?;
        match desk.hold(account, id, seats.clone(), None).await {
            Ok(hold) => Ok(Answer::Goto(format!("/checkout/{}", hold.id))),
            Err(no @ (Refusal::Hold(_) | Refusal::OddSeats)) => {
                draw(&desk, &visitor, id, &section, seats, Some(no)).await
            }
            Err(no) => Err(no),
        }
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn back(State(desk): State<Desk>, visitor: Visitor, Path(id): Path<u32>) -> Response {
    finish(&desk, &visitor, Ok(Answer::Goto(format!("/performances/{id}"))))
}
