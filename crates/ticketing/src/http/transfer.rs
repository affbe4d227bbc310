//! Pages about bank transfers: the visitor's, and the organiser's.

use axum::{
    Form,
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};

use super::{
    Visitor,
    answer::{Answer, Fields, finish, frame},
};
use crate::{desk::Desk, ids::HoldId, refusal::Refusal, view::transfer as view};

pub(super) async fn page(State(desk): State<Desk>, visitor: Visitor, Path(hold): Path<String>) -> Response {
    let run = async {
        let account = visitor.account()?;
        let hold = HoldId::parse(&hold).ok_or(Refusal::NoSuch)?;
        let (transfer, booked) = desk.transfer(account, &hold).await?.ok_or(Refusal::NoSuch)?;
        if let Some(booked) = booked {
            return Ok(Answer::Goto(format!("/bookings/{}", booked.no)));
        }
        let catalogue = desk.catalogue().await?;
        let event = catalogue.event(transfer.performance).ok_or(Refusal::NoSuch)?;
        let page = view::waiting(&frame(&desk, &visitor), &event, &transfer, desk.bank().unwrap_or(""));
        Ok(Answer::Page(page))
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn leave(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(hold): Path<String>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        let account = visitor.account()?;
        fields.check(&desk, &visitor, &headers)?;
        let hold = HoldId::parse(&hold).ok_or(Refusal::NoSuch)?;
        desk.leave_transfer(account, &hold).await?;
        Ok(Answer::Goto(format!("/transfers/{hold}")))
    };
    finish(&desk, &visitor, run.await)
}

async fn draw_bank(desk: &Desk, visitor: &Visitor, refusal: Option<&Refusal>) -> Result<Answer, Refusal> {
    let (waiting, owed) = desk.at_the_bank(visitor.account()?).await?;
    let catalogue = desk.catalogue().await?;
    let notice = refusal.map(|r| r.sentence(visitor.lang));
    let page = view::bank(&frame(desk, visitor), &catalogue, &waiting, &owed, notice.as_deref());
    Ok(match refusal {
        Some(refusal) => Answer::Refused(refusal.status(), page),
        None => Answer::Page(page),
    })
}

pub(super) async fn bank(State(desk): State<Desk>, visitor: Visitor) -> Response {
    let run = async { draw_bank(&desk, &visitor, None).await };
    finish(&desk, &visitor, run.await)
}

/// Money came, or went back.
pub(super) async fn arrived(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        let by = visitor.account()?;
        fields.check(&desk, &visitor, &headers)?;
        let id = |name: &str| fields.get(name).parse::<u64>().map_err(|_| Refusal::NoSuch);
        let done = if fields.get("sent_back").is_empty() {
            desk.transfer_arrived(by, id("arrived")?).await.map(drop)
        } else {
            desk.sent_back(by, id("sent_back")?).await
        };
        match done {
            Ok(()) => Ok(Answer::Goto("/organiser/transfers".into())),
            Err(no @ Refusal::Mend(_)) => draw_bank(&desk, &visitor, Some(&no)).await,
            Err(no) => Err(no),
        }
    };
    finish(&desk, &visitor, run.await)
}
