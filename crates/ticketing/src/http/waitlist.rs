//! The waiting list's pages.

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
use crate::{desk::Desk, refusal::Refusal, view::waitlist as view};

async fn draw(
    desk: &Desk,
    visitor: &Visitor,
    id: u32,
    fields: &Fields,
    refusal: Option<&Refusal>,
) -> Result<Answer, Refusal> {
    let account = visitor.account()?;
    let catalogue = desk.catalogue().await?;
    let event = catalogue.event(id).ok_or(Refusal::NoSuch)?;
    let scarce = desk.free_by_grade(id).await?;
    let mut waits = desk.waits_of(account).await?;
    waits.retain(|w| w.performance == id);
    let chosen = (fields.get("grade"), fields.get("count"));
    let notice = refusal.map(|r| r.sentence(visitor.lang));
    let page = view::page_of(&frame(desk, visitor), &event, &scarce, &waits, chosen, notice.as_deref());
    Ok(match refusal {
        Some(refusal) => Answer::Refused(refusal.status(), page),
        None => Answer::Page(page),
    })
}

pub(super) async fn page(State(desk): State<Desk>, visitor: Visitor, Path(id): Path<u32>) -> Response {
    let run = async { draw(&desk, &visitor, id, &Fields(Vec::new()), None).await };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn join(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        let account = visitor.account()?;
        fields.check(&desk, &visitor, &headers)?;
        let count = fields.get("count").parse().unwrap_or(0);
        match desk.join_waitlist(account, id, fields.get("grade"), count).await {
            Ok(()) => Ok(Answer::Goto(format!("/performances/{id}/waitlist"))),
            Err(no @ Refusal::Waitlist(_)) => draw(&desk, &visitor, id, &fields, Some(&no)).await,
            Err(no) => Err(no),
        }
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn leave(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        let account = visitor.account()?;
        fields.check(&desk, &visitor, &headers)?;
        let wait = fields.get("wait").parse().map_err(|_| Refusal::NoSuch)?;
        desk.leave_waitlist(account, wait).await?;
        Ok(Answer::Goto(format!("/performances/{id}/waitlist")))
    };
    finish(&desk, &visitor, run.await)
}
