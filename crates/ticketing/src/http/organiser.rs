//! The organiser's pages and files.

use axum::{
    Form,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{
    Visitor,
    answer::{Answer, Fields, finish, frame},
};
use crate::{
    calendar::{date_time, korea},
    catalogue::Event,
    desk::{Desk, Report},
    lang::Lang,
    refusal::Refusal,
    role::Role,
    view::organiser as view,
};

pub(super) async fn list(State(desk): State<Desk>, visitor: Visitor) -> Response {
    let run = async {
        let sales = desk.sales(visitor.account()?).await?;
        let catalogue = desk.catalogue().await?;
        Ok(Answer::Page(view::list(&frame(&desk, &visitor), &catalogue, &sales)))
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn report(State(desk): State<Desk>, visitor: Visitor, Path(id): Path<u32>) -> Response {
    let run = async {
        let report = desk.report(visitor.account()?, id, "report_read").await?;
        let catalogue = desk.catalogue().await?;
        let event = catalogue.event(id).ok_or(Refusal::NoSuch)?;
        Ok(Answer::Page(view::report(&frame(&desk, &visitor), &event, &report)))
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn door_list(State(desk): State<Desk>, visitor: Visitor, Path(id): Path<u32>) -> Response {
    let run = async {
        let report = desk.report(visitor.account()?, id, "door_list_read").await?;
        let catalogue = desk.catalogue().await?;
        let event = catalogue.event(id).ok_or(Refusal::NoSuch)?;
        Ok(Answer::Page(view::door_list(&frame(&desk, &visitor), &event, &report)))
    };
    finish(&desk, &visitor, run.await)
}

/// Every booking of a performance, for a spreadsheet.
pub(super) async fn csv(State(desk): State<Desk>, visitor: Visitor, Path(id): Path<u32>) -> Response {
    let run = async {
        let report = desk.report(visitor.account()?, id, "bookings_exported").await?;
        let catalogue = desk.catalogue().await?;
        let event = catalogue.event(id).ok_or(Refusal::NoSuch)?;
        let c = korea(desk.clock.now_ms());
        let name = format!("bookings-{id}-{:04}{:02}{:02}.csv", c.year, c.month, c.day);
        Ok((name, written(&event, &report)))
    };
    match run.await {
        Ok((name, text)) => {
            let mut response = ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], text).into_response();
            if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
                response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
            }
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(no) => finish(&desk, &visitor, Err(no)),
    }
}

/// RFC 4180, with the mark by which spreadsheets know UTF-8.
fn written(event: &Event<'_>, report: &Report) -> String {
    let mut out = String::from(
        "\u{feff}예매번호,상태,좌석,매수,권종,결제 금액,취소 수수료,환불 금액,예매 일시,이름,이메일\r\n",
    );
    for line in &report.lines {
        let seats: Vec<String> = line.seats.iter().map(|s| event.seat_name(Lang::Ko, s)).collect();
        let kinds: Vec<&str> = line
            .seats
            .iter()
            .filter_map(|seat| report.kinds.get(seat).filter(|_| line.confirmed))
            .map(|word| event.show.discount(word).map_or(word.as_str(), |d| d.name.in_lang(Lang::Ko)))
            .collect();
        let cells = [
            line.no.grouped(),
            if line.confirmed { "확정" } else { "취소" }.to_owned(),
            seats.join(" / "),
            seats.len().to_string(),
            kinds.join(" / "),
            line.amount_won.to_string(),
            line.fee_won.to_string(),
            line.refund_won.to_string(),
            date_time(Lang::Ko, line.created_ms),
            line.name.clone(),
            line.email.clone(),
        ];
        out.push_str(&cells.map(|cell| quoted(&cell)).join(","));
        out.push_str("\r\n");
    }
    out
}

/// A cell. One that a spreadsheet would take for a formula, because a visitor chose such a name, is made a text.
fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

pub(super) async fn staff(State(desk): State<Desk>, visitor: Visitor) -> Response {
    let run = async { draw_staff(&desk, &visitor, None).await };
    finish(&desk, &visitor, run.await)
}

async fn draw_staff(desk: &Desk, visitor: &Visitor, refusal: Option<Refusal>) -> Result<Answer, Refusal> {
    let (staff, log) = desk.staff(visitor.account()?).await?;
    let notice = refusal.as_ref().map(|r| r.sentence(visitor.lang));
    let page = view::staff(&frame(desk, visitor), &staff, &log, notice.as_deref());
    Ok(match refusal {
        Some(refusal) => Answer::Refused(refusal.status(), page),
        None => Answer::Page(page),
    })
}

pub(super) async fn set_role(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        let by = visitor.account()?;
        fields.check(&desk, &visitor, &headers)?;
        let role = Role::from_word(fields.get("role")).ok_or(Refusal::NoSuch)?;
        match desk.set_role(by, fields.get("email"), role, fields.get("has") == "yes").await {
            Ok(()) => Ok(Answer::Goto("/organiser/staff".into())),
            Err(no @ Refusal::NoMember) => draw_staff(&desk, &visitor, Some(no)).await,
            Err(no) => Err(no),
        }
    };
    finish(&desk, &visitor, run.await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula_and_never_two_cells() {
        assert_eq!(quoted("=HYPERLINK(\"http://evil.test\")"), "\"'=HYPERLINK(\"\"http://evil.test\"\")\"");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("문해준"), "문해준");
    }
}
