//! Checkout, the finished booking, my page.

use axum::{
    Form,
    extract::{Path, Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};

use serde::Deserialize;

use super::{
    Visitor,
    answer::{Answer, Fields, finish, frame},
};
use crate::{
    desk::{BY_BANK, Desk, Kinds, OpenHold},
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
    priced: bool,
) -> Result<Answer, Refusal> {
    let account = account(desk, visitor).await?;
    let catalogue = desk.catalogue().await?;
    let event = catalogue.event(open.performance).ok_or(Refusal::NoSuch)?;
    let sentence = refusal.map(|r| r.sentence(visitor.lang));
    let kinds = desk.kinds_of(&open.hold.id).await?;
    let frame = frame(desk, visitor);
    let more = view::Choices { kinds: &kinds, priced, transfer_due_ms: desk.transfer_due(&event) };
    let page = view::checkout(&frame, &event, open, &account, &more, sentence.as_deref());
    Ok(match refusal {
        Some(refusal) => Answer::Refused(refusal.status(), page),
        None => Answer::Page(page),
    })
}

/// What was done just now.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Seen {
    priced: Option<String>,
}

/// The kinds that a form chose; none if it has no such field.
fn kinds_in(fields: &Fields) -> Option<Kinds> {
    let chosen: Kinds = fields
        .0
        .iter()
        .filter_map(|(name, kind)| Some((name.strip_prefix("kind:")?.to_owned(), kind.clone())))
        .collect();
    (!chosen.is_empty()).then_some(chosen)
}

pub(super) async fn checkout(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(hold): Path<String>,
    Query(seen): Query<Seen>,
) -> Response {
    let run = async {
        let account = visitor.account()?;
        let hold = HoldId::parse(&hold).ok_or(Refusal::NoSuch)?;
        if desk.transfer(account, &hold).await?.is_some() {
            return Ok(Answer::Goto(format!("/transfers/{hold}")));
        }
        let open = desk.open_hold(account, &hold).await?;
        draw(&desk, &visitor, &open, None, seen.priced.is_some()).await
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
        // Other kinds than the page showed prices for: it shows these first, and nobody pays what they did not see.
        if let Some(kinds) = kinds_in(&fields) {
            match desk.choose_kinds(account, &hold, kinds).await {
                Ok(named) if named != hold || fields.get("reprice") == "yes" => {
                    return Ok(Answer::Goto(format!("/checkout/{named}?priced=1")));
                }
                Err(no @ Refusal::Discount(_)) => {
                    let open = desk.open_hold(account, &hold).await?;
                    return draw(&desk, &visitor, &open, Some(&no), false).await;
                }
                // Of a hold that is paid or gone, the payment itself says what became of it.
                Ok(_) | Err(Refusal::Pay(_)) => {}
                Err(no) => return Err(no),
            }
        }
        if fields.get("method") == BY_BANK {
            return match desk.begin_transfer(account, &hold, fields.get("depositor")).await {
                Ok(()) => Ok(Answer::Goto(format!("/transfers/{hold}"))),
                Err(no @ (Refusal::Payment(_) | Refusal::Odd(_))) => {
                    let open = desk.open_hold(account, &hold).await?;
                    draw(&desk, &visitor, &open, Some(&no), false).await
                }
                Err(no) => Err(no),
            };
        }
        match desk.pay(account, &hold, &IdempotencyKey::of_hold(&hold), fields.get("method"), None).await {
            Ok(paid) => Ok(Answer::Goto(format!("/bookings/{}", paid.booking.no))),
            Err(no @ Refusal::Payment(_)) => {
                let open = desk.open_hold(account, &hold).await?;
                draw(&desk, &visitor, &open, Some(&no), false).await
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
        let kinds = desk.kinds_of_booking(account, &no).await?;
        let frame = frame(&desk, &visitor);
        let page = view::done(&frame, &event, &booking, terms.as_ref(), &tickets, because.as_ref(), &kinds);
        Ok(Answer::Page(page))
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
        let transfers = desk.transfers_of(account.id).await?;
        let catalogue = desk.catalogue().await?;
        let frame = frame(&desk, &visitor);
        Ok(Answer::Page(view::mine(&frame, &account, &bookings, &waits, &transfers, &catalogue)))
    };
    finish(&desk, &visitor, run.await)
}
