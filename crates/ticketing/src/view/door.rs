//! The door: one camera, one answer, large enough to be read at arm's length.

use maud::{Markup, html};

use super::{Frame, page, part};
use crate::{
    calendar::time,
    catalogue::Event,
    desk::{Report, Verdict},
    http::asset,
    lang::thousands,
    store::Line,
};

/// Today's doors.
pub(crate) fn list(frame: &Frame<'_>, events: &[Event<'_>]) -> Markup {
    let lang = frame.lang();
    let title = frame.t("오늘의 입장", "Today's doors");
    let body = html! {
        div.column {
            h1 { (title) }
            @if events.is_empty() { p.quiet { (frame.t("오늘은 공연이 없어요.", "There is no performance today.")) } }
            ul.doors {
                @for event in events {
                    li { a href=(format!("/door/{}", event.performance.id)) {
                        strong { (event.show.title.in_lang(lang)) }
                        span.quiet { (part::moment(frame, event.performance.starts_at_ms)) " · " (event.hall.name.in_lang(lang)) }
                    } }
                }
            }
        }
    };
    page(frame, title, body)
}

/// What the check-in page knows.
pub(crate) struct DoorView<'d> {
    /// Which performance.
    pub(crate) event: Event<'d>,
    /// How many are in.
    pub(crate) report: &'d Report,
    /// The number that was typed.
    pub(crate) asked: &'d str,
    /// The booking with this number, and its tickets.
    pub(crate) found: Option<&'d (Line, Vec<(String, String)>)>,
    /// What came of a press.
    pub(crate) verdict: Option<&'d Verdict>,
}

/// The check-in page. Without scripts a booking is found by its number.
pub(crate) fn page_of(frame: &Frame<'_>, view: &DoorView<'_>) -> Markup {
    let lang = frame.lang();
    let (event, id) = (&view.event, view.event.performance.id);
    let title = frame.t("입장 확인", "Check-in");
    let body = html! {
        div.column.narrow.door #door data-performance=(id) {
            p.eyebrow { a href="/door" { (frame.t("오늘의 입장", "Today's doors")) } }
            h1 { (event.show.title.in_lang(lang)) }
            p.quiet { (part::moment(frame, event.performance.starts_at_ms)) " · " (event.hall.name.in_lang(lang)) }
            p.door-count { strong #entered { (thousands(view.report.sales.entered)) } span.quiet { " / " (thousands(view.report.sales.sold)) (frame.t("명 입장", " are in")) } }
            div #verdict role="status" aria-live="assertive" class=(format!("verdict {}", view.verdict.map_or("", class))) {
                @match view.verdict {
                    Some(verdict) => (said(frame, event, verdict)),
                    None => p.quiet { (frame.t("티켓의 QR을 보여 주세요", "Show a ticket's code")) }
                }
            }
            p.notice.good #offline hidden { (frame.t("인터넷이 끊겼어요. 확인은 계속되고, 다시 이어지면 저절로 보내요. ", "No network. Checking goes on, and is sent by itself later. ")) strong #pending { "0" } }
            video #camera hidden playsinline="" muted="" aria-label=(frame.t("카메라 화면", "Camera")) {}
            button.button.wide #start type="button" hidden { (frame.t("카메라 켜기", "Turn the camera on")) }
            form.search #look method="get" action=(format!("/door/{id}")) {
                label { span.quiet { (frame.t("예매번호 또는 티켓 코드", "Booking number or ticket code")) }
                    input name="q" value=(view.asked) autocomplete="off" autocapitalize="characters" spellcheck="false" maxlength="300"; }
                button.button { (frame.t("확인", "Check")) }
            }
            @match view.found {
                Some((line, tickets)) => (found(frame, view, line, tickets)),
                None => @if !view.asked.is_empty() && view.verdict.is_none() {
                    p role="status" { (frame.t("이 공연에서 그 예매번호를 찾지 못했어요.", "No booking of this performance has that number.")) }
                }
            }
        }
        script type="module" src=(asset("door.js")) {}
    };
    page(frame, title, body)
}

fn found(frame: &Frame<'_>, view: &DoorView<'_>, line: &Line, tickets: &[(String, String)]) -> Markup {
    let lang = frame.lang();
    html! {
        section.step {
            h2 { (line.no.grouped()) }
            p { (line.name) }
            @if tickets.is_empty() { p { (frame.t("취소된 예매예요.", "This booking was cancelled.")) } }
            @for (seat, ticket) in tickets {
                @let entered = view.report.entered.get(&(line.id, seat.clone()));
                div.row {
                    strong { (view.event.seat_name(lang, seat)) }
                    @if let Some(at_ms) = entered { span.quiet { (time(*at_ms)) (frame.t("에 입장했어요", " came in")) } }
                    @else {
                        form method="post" action=(format!("/door/{}", view.event.performance.id)) {
                            (frame.token_field())
                            input type="hidden" name="q" value=(view.asked);
                            input type="hidden" name="ticket" value=(ticket);
                            button.button.ghost { (frame.t("들여보내기", "Let in")) }
                        }
                    }
                }
            }
        }
    }
}

fn class(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Enter(_) => "enter",
        Verdict::Again(..) => "again",
        Verdict::Elsewhere(_) | Verdict::Cancelled(_) | Verdict::Forged => "no",
    }
}

fn said(frame: &Frame<'_>, event: &Event<'_>, verdict: &Verdict) -> Markup {
    let seat = |seat: &String| event.seat_name(frame.lang(), seat);
    html! {
        @match verdict {
            Verdict::Enter(name) => { strong { (frame.t("✓ 입장", "✓ Enter")) } span { (seat(name)) } }
            Verdict::Again(name, at_ms) => { strong { (frame.t("! 이미 입장한 티켓", "! Already used")) } span { (seat(name)) " · " (time(*at_ms)) } }
            Verdict::Elsewhere(_) => strong { (frame.t("✕ 다른 회차의 티켓", "✕ Another performance")) }
            Verdict::Cancelled(name) => { strong { (frame.t("✕ 취소된 티켓", "✕ Cancelled")) } span { (seat(name)) } }
            Verdict::Forged => strong { (frame.t("✕ 저희 티켓이 아니에요", "✕ Not a ticket of ours")) }
        }
    }
}
