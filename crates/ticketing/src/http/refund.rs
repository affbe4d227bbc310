//! The organiser's page on which a booking is given back.

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
use crate::{
    desk::{Desk, RefundWish},
    ids::BookingNo,
    refund::Reason,
    refusal::Refusal,
    view::refund as view,
};

async fn draw(
    desk: &Desk,
    visitor: &Visitor,
    no: &BookingNo,
    fields: &Fields,
    refusal: Option<&Refusal>,
) -> Result<Answer, Refusal> {
    let refundable = desk.refundable(visitor.account()?, no).await?;
    let catalogue = desk.catalogue().await?;
    let event = catalogue.event(refundable.booking.performance).ok_or(Refusal::NoSuch)?;
    let notice = refusal.map(|r| r.sentence(visitor.lang));
    let was = |name: &str| fields.get(name).to_owned();
    let page = view::refund(&frame(desk, visitor), &event, &refundable, &was, notice.as_deref());
    Ok(match refusal {
        Some(refusal) => Answer::Refused(refusal.status(), page),
        None => Answer::Page(page),
    })
}

pub(super) async fn page(State(desk): State<Desk>, visitor: Visitor, Path(no): Path<String>) -> Response {
    let run = async {
        let no = BookingNo::parse(&no).ok_or(Refusal::NoSuch)?;
        draw(&desk, &visitor, &no, &Fields(Vec::new()), None).await
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn refund(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(no): Path<String>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        let by = visitor.account()?;
        fields.check(&desk, &visitor, &headers)?;
        let no = BookingNo::parse(&no).ok_or(Refusal::NoSuch)?;
        let wish = RefundWish {
            reason: Reason::from_word(fields.get("reason")).ok_or(Refusal::NoSuch)?,
            note: fields.get("note").to_owned(),
            keeps_fee: fields.get("fee") == "policy",
        };
        match desk.refund(by, &no, wish).await {
            Ok(()) => Ok(Answer::Goto(format!("/organiser/bookings/{no}/refund"))),
            Err(refused @ (Refusal::Mend(_) | Refusal::TooLateToCancel)) => {
                draw(&desk, &visitor, &no, &fields, Some(&refused)).await
            }
            Err(refused) => Err(refused),
        }
    };
    finish(&desk, &visitor, run.await)
}
