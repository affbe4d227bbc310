//! The organiser's pages: how it sells, who may do what.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{Frame, page, part};
use crate::{
    calendar::{date, date_time, korean_day, on_korean_day},
    catalogue::{Catalogue, Event},
    desk::Report,
    lang::{thousands, won},
    role::Role,
    store::{Audited, Sales},
};

/// Every performance with what it sold.
pub(crate) fn list(frame: &Frame<'_>, catalogue: &Catalogue, sales: &BTreeMap<u32, Sales>) -> Markup {
    let lang = frame.lang();
    let title = frame.t("판매 현황", "Sales");
    let total: u64 = sales.values().map(|s| s.sold_won + s.fees_won).sum();
    let body = html! {
        (tabs(frame, "/organiser"))
        h1 { (title) }
        p.lead { (frame.t("지금까지 ", "So far ")) strong { (won(lang, total)) } }
        div.scroll tabindex="0" role="region" aria-label=(title) {
            table.report {
                thead { tr {
                    th scope="col" { (frame.t("공연", "Show")) } th scope="col" { (frame.t("일시", "When")) }
                    th.n scope="col" { (frame.t("판매", "Sold")) } th.n scope="col" { (frame.t("선점", "Held")) }
                    th.n scope="col" { (frame.t("좌석", "Seats")) } th.n scope="col" { (frame.t("매출", "Revenue")) }
                } }
                tbody { @for p in &catalogue.performances { @if let Some(event) = catalogue.event(p.id) {
                    @let s = sales.get(&p.id).copied().unwrap_or_default();
                    tr {
                        th scope="row" { a href=(format!("/organiser/performances/{}", p.id)) { (event.show.title.in_lang(lang)) } }
                        td { (date_time(lang, p.starts_at_ms)) }
                        td.n { (thousands(s.sold)) } td.n { (thousands(s.held)) } td.n { (thousands(p.capacity.into())) }
                        td.n { (won(lang, s.sold_won + s.fees_won)) }
                    }
                } } }
            }
        }
    };
    page(frame, title, body)
}

pub(super) fn tabs(frame: &Frame<'_>, here: &str) -> Markup {
    let tabs = [
        ("/organiser", frame.t("판매 현황", "Sales")),
        ("/organiser/programme", frame.t("공연과 회차", "Programme")),
        ("/organiser/halls", frame.t("공연장", "Halls")),
        ("/organiser/transfers", frame.t("입금과 환불", "Bank")),
        ("/organiser/staff", frame.t("담당자와 기록", "Staff and log")),
        ("/organiser/integrations", frame.t("프로그램 연동", "Programs")),
        ("/door", frame.t("입장 확인", "Check-in")),
    ];
    html! {
        nav.tabs aria-label=(frame.t("주최자", "Organiser")) {
            @for (path, name) in tabs { a href=(path) aria-current=[(path == here).then_some("page")] { (name) } }
        }
    }
}

/// One performance: totals, a plot of its days, its grades, its bookings.
pub(crate) fn report(frame: &Frame<'_>, event: &Event<'_>, report: &Report) -> Markup {
    let lang = frame.lang();
    let (p, s) = (event.performance, report.sales);
    let free = u64::from(p.capacity).saturating_sub(s.sold + s.held + s.blocked);
    let facts = [
        (frame.t("판매", "Sold"), thousands(s.sold)),
        (frame.t("선점 중", "Held"), thousands(s.held)),
        (frame.t("보류", "Kept back"), thousands(s.blocked)),
        (frame.t("남은 좌석", "Free"), thousands(free)),
        (frame.t("티켓 매출", "Tickets"), won(lang, s.sold_won)),
        (frame.t("취소 수수료", "Cancellation fees"), won(lang, s.fees_won)),
        (frame.t("취소된 예매", "Cancelled bookings"), thousands(s.cancelled)),
        (frame.t("입장", "Came in"), thousands(s.entered)),
    ];
    let title = frame.t("판매 보고서", "Sales report");
    let body = html! {
        (tabs(frame, ""))
        h1 { (event.show.title.in_lang(lang)) }
        p.quiet { (date_time(lang, p.starts_at_ms)) " · " (event.hall.name.in_lang(lang)) }
        dl.numbers { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } }
        section.plot-in aria-labelledby="days" {
            h2 #days { (frame.t("날짜별 판매 좌석", "Seats sold by day")) }
            (plot(frame, report))
        }
        section aria-labelledby="grades" {
            h2 #grades { (frame.t("등급별", "By grade")) }
            (grades(frame, event, report))
        }
        section aria-labelledby="bookings" {
            h2 #bookings { (frame.t("예매 목록", "Bookings")) }
            p.row {
                a.button href=(format!("/organiser/performances/{}/bookings.csv", p.id)) { (frame.t("CSV로 내려받기", "Download as CSV")) }
                a.plain href=(format!("/organiser/performances/{}/door-list", p.id)) { (frame.t("입장 명단", "Door list")) }
                a.plain href=(format!("/organiser/performances/{}/guests", p.id)) { (frame.t("초대석", "Guests")) }
            }
            (bookings(frame, event, report))
        }
    };
    page(frame, title, body)
}

/// Rows that a page shows; the rest is in the CSV.
const ROWS: usize = 200;

fn bookings(frame: &Frame<'_>, event: &Event<'_>, report: &Report) -> Markup {
    let lang = frame.lang();
    html! {
        @if report.lines.len() > ROWS { p.quiet { (frame.t("최근 200건이에요. 전체는 CSV에 있어요.", "The newest 200. The CSV has all.")) } }
        div.scroll tabindex="0" role="region" aria-labelledby="bookings" {
            table.report {
                thead { tr {
                    th scope="col" { (frame.t("예매번호", "Number")) } th scope="col" { (frame.t("상태", "State")) }
                    th scope="col" { (frame.t("좌석", "Seats")) } th.n scope="col" { (frame.t("금액", "Amount")) } th scope="col" { (frame.t("예매 일시", "Made")) }
                } }
                tbody { @for line in report.lines.iter().rev().take(ROWS) { tr {
                    th scope="row" { a href=(format!("/organiser/bookings/{}/refund", line.no)) { (line.no.grouped()) } }
                    td { @if line.confirmed { (frame.t("확정", "confirmed")) } @else { (frame.t("취소", "cancelled")) } }
                    td { (line.seats.iter().map(|s| event.seat_name(lang, s)).collect::<Vec<_>>().join(", ")) }
                    td.n { (won(lang, line.amount_won)) }
                    td { (date_time(lang, line.created_ms)) }
                } } }
            }
        }
    }
}

fn grades(frame: &Frame<'_>, event: &Event<'_>, report: &Report) -> Markup {
    let mut sold: BTreeMap<&str, u64> = BTreeMap::new();
    for line in report.lines.iter().filter(|l| l.confirmed) {
        for seat in &line.seats {
            if let Some(section) = event.hall.section_of(seat) {
                *sold.entry(section.grade.as_str()).or_default() += 1;
            }
        }
    }
    html! {
        table.report.narrow-table {
            thead { tr { th scope="col" { (frame.t("등급", "Grade")) } th.n scope="col" { (frame.t("판매", "Sold")) } th.n scope="col" { (frame.t("좌석", "Seats")) } th.n scope="col" { "%" } } }
            tbody { @for grade in &event.show.grades {
                @let seats: u64 = event.hall.layout.sections.iter().filter(|s| s.grade == grade.word).map(|s| u64::from(s.capacity())).sum();
                @let n = sold.get(grade.word.as_str()).copied().unwrap_or(0);
                @if seats > 0 { tr {
                    th scope="row" { (part::chip(frame, grade)) } td.n { (thousands(n)) } td.n { (thousands(seats)) } td.n { (n * 100 / seats) }
                } }
            } }
        }
    }
}

/// Days of a plot.
const DAYS: u64 = 30;

/// Bars of seats sold, a day each, of the last days that sold any.
fn plot(frame: &Frame<'_>, report: &Report) -> Markup {
    let lang = frame.lang();
    let today = korean_day(frame.now_ms);
    let from = today.saturating_sub(DAYS - 1);
    let mut sold: BTreeMap<u64, u64> = (from..=today).map(|day| (day, 0)).collect();
    for line in report.lines.iter().filter(|l| l.confirmed) {
        if let Some(n) = sold.get_mut(&korean_day(line.created_ms)) {
            *n += u64::try_from(line.seats.len()).unwrap_or(0);
        }
    }
    let most = sold.values().copied().max().unwrap_or(0).max(1);
    let sum: u64 = sold.values().sum();
    let says = match lang {
        crate::lang::Lang::Ko => {
            format!("지난 {DAYS}일 동안 {}석, 가장 많은 날 {}석", thousands(sum), thousands(most))
        }
        crate::lang::Lang::En => {
            format!("{} seats in the last {DAYS} days, {} on the best day", thousands(sum), thousands(most))
        }
    };
    html! {
        p.quiet { (says) }
        svg.plot viewBox="0 0 900 200" role="img" aria-label=(says) {
            line.axis x1="0" y1="180" x2="900" y2="180" {}
            @for (i, (day, n)) in sold.iter().enumerate() {
                @let height = n * 160 / most;
                rect.bar x=(i * 30 + 3) y=(180 - height) width="24" height=(height) rx="4" {
                    title { (date(lang, on_korean_day(*day, 12, 0))) ": " (thousands(*n)) }
                }
            }
            text.axis-name x="0" y="197" { (date(lang, on_korean_day(from, 12, 0))) }
            text.axis-name.end x="900" y="197" { (date(lang, frame.now_ms)) }
        }
    }
}

/// Names by seat, to be printed before the doors open: for when everything is down.
pub(crate) fn door_list(frame: &Frame<'_>, event: &Event<'_>, report: &Report) -> Markup {
    let lang = frame.lang();
    let mut rows: Vec<(&str, &crate::store::Line)> = report
        .lines
        .iter()
        .filter(|l| l.confirmed)
        .flat_map(|l| l.seats.iter().map(move |seat| (seat.as_str(), l)))
        .collect();
    rows.sort_by_key(|(seat, _)| crate::catalogue::split_seat(seat).map(|(s, r, n)| (s.to_owned(), r, n)));
    let title = frame.t("입장 명단", "Door list");
    let body = html! {
        p.eyebrow { a href=(format!("/organiser/performances/{}", event.performance.id)) { (frame.t("판매 보고서", "Sales report")) } }
        h1 { (title) }
        p.quiet { (event.show.title.in_lang(lang)) " · " (date_time(lang, event.performance.starts_at_ms)) " · " (thousands(u64::try_from(rows.len()).unwrap_or(0))) (frame.t("석", " seats")) }
        div.scroll tabindex="0" role="region" aria-label=(title) { table.report {
            thead { tr { th scope="col" { "✓" } th scope="col" { (frame.t("좌석", "Seat")) } th scope="col" { (frame.t("권종", "Kind")) } th scope="col" { (frame.t("이름", "Name")) } th scope="col" { (frame.t("예매번호", "Number")) } } }
            tbody { @for (seat, line) in rows { tr {
                td { @if report.entered.contains_key(&(line.id, seat.to_owned())) { "✓" } @else { "☐" } }
                th scope="row" { (event.seat_name(lang, seat)) }
                td { @if let Some(kind) = report.kinds.get(seat) { (part::kind(frame, event, kind)) } }
                td { (line.name) } td { (line.no.grouped()) }
            } } }
        } }
    };
    page(frame, title, body)
}

/// Who has a role, and what was done with roles.
pub(crate) fn staff(
    frame: &Frame<'_>,
    staff: &[(String, Role)],
    log: &[Audited],
    notice: Option<&str>,
) -> Markup {
    let lang = frame.lang();
    let title = frame.t("담당자와 기록", "Staff and log");
    let name = |role: Role| match role {
        Role::Door => frame.t("입장 담당", "Door"),
        Role::Organiser => frame.t("주최자", "Organiser"),
    };
    let body = html! {
        (tabs(frame, "/organiser/staff"))
        h1 { (title) }
        @if let Some(sentence) = notice { (part::notice(sentence)) }
        form.search method="post" action="/organiser/staff" {
            (frame.token_field())
            label { span.quiet { (frame.t("가입한 분의 이메일", "Address of a member")) } input name="email" type="email" required maxlength="254"; }
            label { span.quiet { (frame.t("역할", "Role")) } select name="role" { @for role in Role::ALL { option value=(role.word()) { (name(role)) } } } }
            button.button name="has" value="yes" { (frame.t("역할 주기", "Give the role")) }
        }
        ul.doors {
            @for (email, role) in staff {
                li { div.row {
                    strong { (email) } span.quiet { (name(*role)) }
                    form method="post" action="/organiser/staff" {
                        (frame.token_field())
                        input type="hidden" name="email" value=(email);
                        input type="hidden" name="role" value=(role.word());
                        button.plain name="has" value="no" { (frame.t("역할 거두기", "Take it back")) }
                    }
                } }
            }
        }
        h2 { (frame.t("기록", "Log")) }
        div.scroll tabindex="0" role="region" aria-label=(frame.t("기록", "Log")) {
            table.report {
                thead { tr { th scope="col" { (frame.t("언제", "When")) } th scope="col" { (frame.t("누가", "Who")) } th scope="col" { (frame.t("무엇을", "What")) } th scope="col" { (frame.t("대상", "To what")) } } }
                tbody { @for line in log { tr {
                    td { (date_time(lang, line.at_ms)) } td { (line.who) } td { (line.what) } td { (line.detail) }
                } } }
            }
        }
    };
    page(frame, title, body)
}
