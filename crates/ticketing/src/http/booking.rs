//! Checkout, the finished booking, my page.

use axum::{
    Form,
    extract::{Path, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};

use super::{
    Visitor,
    answer::{Answer, Fields, finish, frame},
};
use crate::{
    desk::{Desk, OpenHold},
    ids::{BookingNo, HoldId, IdempotencyKey},
    refusal::Refusal,
    store::Account,
    view::{booking as view, ics},
};

async fn account(desk: &Desk, visitor: &Visitor) -> Result<Account, Refusal> {
    desk.store.account(visitor.account()?).await?.ok_or(Refusal::NotSignedIn)
}

async fn draw(
    desk: &Desk,
    visitor: &Visitor,
    open: &OpenHold,
    refusal: Option<&Refusal>,
) -> Result<Answer, Refusal> {
    let account = account(desk, visitor).await?;
    let catalogue = desk.catalogue().await?;
    let event = catalogue.event(open.performance).ok_or(Refusal::NoSuch)?;
    let sentence = refusal.map(|r| r.sentence(visitor.lang));
    let page = view::checkout(&frame(desk, visitor), &event, open, &account, sentence.as_deref());
    Ok(match refusal {
        Some(refusal) => Answer::Refused(refusal.status(), page),
        None => Answer::Page(page),
    })
}

pub(super) async fn checkout(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(hold): Path<String>,
) -> Response {
    let run = async {
        let account = visitor.account()?;
        let hold = HoldId::parse(&hold).ok_or(Refusal::NoSuch)?;
        let open = desk.open_hold(account, &hold).await?;
        draw(&desk, &visitor, &open, None).await
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn pay(
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
        match desk.pay(account, &hold, &IdempotencyKey::of_hold(&hold), fields.get("method"), None).await {
            Ok(paid) => Ok(Answer::Goto(format!("/bookings/{}", paid.booking.no))),
            Err(no @ Refusal::Payment(_)) => {
                let open = desk.open_hold(account, &hold).await?;
                draw(&desk, &visitor, &open, Some(&no)).await
            }
            Err(no) => Err(no),
        }
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn release(
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
        let to = match desk.open_hold(account, &hold).await {
            Ok(open) => format!("/performances/{}", open.performance),
            Err(Refusal::Pay(_)) => "/".to_owned(),
            Err(no) => return Err(no),
        };
        desk.release(account, &hold).await?;
        Ok(Answer::Goto(to))
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn back(State(desk): State<Desk>, visitor: Visitor, Path(hold): Path<String>) -> Response {
    let to = HoldId::parse(&hold).map_or("/".to_owned(), |hold| format!("/checkout/{hold}"));
    finish(&desk, &visitor, Ok(Answer::Goto(to)))
}

pub(super) async fn done(State(desk): State<Desk>, visitor: Visitor, Path(no): Path<String>) -> Response {
    let run = async {
        let account = visitor.account()?;
        let no = BookingNo::parse(&no).ok_or(Refusal::NoSuch)?;
        let booking = desk.store.booking(account, &no).await?.ok_or(Refusal::NoSuch)?;
        let catalogue = desk.catalogue().await?;
        let event = catalogue.event(booking.performance).ok_or(Refusal::NoSuch)?;
        let terms = desk.cancel_terms(account, &no).await?;
        let tickets = desk.tickets(account, &no).await?;
        let because = match booking.cancelled {
            Some(_) => desk.refund_reason(account, &no).await?,
            None => None,
        };
        let frame = frame(&desk, &visitor);
        Ok(Answer::Page(view::done(&frame, &event, &booking, terms.as_ref(), &tickets, because.as_ref())))
    };
    finish(&desk, &visitor, run.await)
}

/// The booking for a calendar.
pub(super) async fn calendar(State(desk): State<Desk>, visitor: Visitor, Path(no): Path<String>) -> Response {
    let run = async {
        let no = BookingNo::parse(&no).ok_or(Refusal::NoSuch)?;
        let booking = desk.store.booking(visitor.account()?, &no).await?.ok_or(Refusal::NoSuch)?;
        let catalogue = desk.catalogue().await?;
        let event = catalogue.event(booking.performance).ok_or(Refusal::NoSuch)?;
        Ok(ics::of(visitor.lang, &event, &booking))
    };
    match run.await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/calendar; charset=utf-8")], text).into_response(),
        Err(no) => finish(&desk, &visitor, Err(no)),
    }
}

pub(super) async fn cancel(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(no): Path<String>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        let account = visitor.account()?;
        fields.check(&desk, &visitor, &headers)?;
        let no = BookingNo::parse(&no).ok_or(Refusal::NoSuch)?;
        // A form without the fee agrees to none.
        let agreed_won = fields.get("fee_won").parse().unwrap_or(0);
        desk.cancel(account, &no, agreed_won).await?;
        Ok(Answer::Goto(format!("/bookings/{no}")))
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn done_again(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(no): Path<String>,
) -> Response {
    let to = BookingNo::parse(&no).map_or("/my".to_owned(), |no| format!("/bookings/{no}"));
    finish(&desk, &visitor, Ok(Answer::Goto(to)))
}

pub(super) async fn mine(State(desk): State<Desk>, visitor: Visitor) -> Response {
    let run = async {
        let account = account(&desk, &visitor).await?;
        let bookings = desk.store.bookings_of(account.id).await?;
        let waits = desk.waits_of(account.id).await?;
        let catalogue = desk.catalogue().await?;
        Ok(Answer::Page(view::mine(&frame(&desk, &visitor), &account, &bookings, &waits, &catalogue)))
    };
    finish(&desk, &visitor, run.await)
}
