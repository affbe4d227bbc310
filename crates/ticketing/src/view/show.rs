//! A show: what, when, where, how much; a calendar with 회차.

use maud::{Markup, html};

use super::{Frame, page, part};
use crate::{
    booking::SaleState,
    calendar::{self, korea, korean_day, month, on_korean_day, weekday},
    catalogue::{Event, Show},
    queue::LOBBY_MS,
};

/// The page of a show. `day` is the Korean day that was chosen in the calendar.
pub(crate) fn show(frame: &Frame<'_>, show: &Show, events: &[Event<'_>], day: Option<u64>) -> Markup {
    let lang = frame.lang();
    let days: Vec<u64> = {
        let mut days: Vec<u64> = events.iter().map(|e| korean_day(e.performance.starts_at_ms)).collect();
        days.dedup();
        days
    };
    let day = day
        .filter(|d| days.contains(d))
        .or_else(|| days.iter().copied().find(|d| *d >= korean_day(frame.now_ms)))
        .or(days.last().copied());
    let body = html! {
        article.show {
            div.show-poster { (part::poster_of(frame, show, true)) }
            div.show-facts {
                p.eyebrow { (show.category.name(lang)) }
                h1 { (show.title.in_lang(lang)) }
                p.lead { (show.tagline.in_lang(lang)) }
                (facts(frame, show, events))
                p.chips { @for grade in &show.grades { @if has_grade(events, &grade.word) { (part::chip(frame, grade)) } } }
            }
        }
        section.when aria-labelledby="when" {
            h2 #when { (frame.t("날짜와 회차", "Choose a date")) }
            div.when-in {
                @if let Some(day) = day { (calendar_of(frame, show, &days, day)) }
                ol.turns {
                    @for (turn, event) in events.iter().filter(|e| Some(korean_day(e.performance.starts_at_ms)) == day).enumerate() {
                        li { (turn_of(frame, turn + 1, event)) }
                    }
                }
            }
        }
        section.about {
            h2 { (frame.t("작품 소개", "About")) }
            p { (show.about.in_lang(lang)) }
            h2 { (frame.t("취소와 환불", "Cancelling")) }
            (fees(frame))
        }
    };
    page(frame, show.title.in_lang(lang), body)
}

fn has_grade(events: &[Event<'_>], word: &str) -> bool {
    events.first().is_some_and(|e| e.hall.layout.sections.iter().any(|s| s.grade == word))
}

fn facts(frame: &Frame<'_>, show: &Show, events: &[Event<'_>]) -> Markup {
    let lang = frame.lang();
    html! {
        table.facts {
            @if let (Some(first), Some(last)) = (events.first(), events.last()) {
                tr { th scope="row" { (frame.t("기간", "Dates")) } td {
                    (calendar::date(lang, first.performance.starts_at_ms))
                    @if events.len() > 1 { " ~ " (calendar::date(lang, last.performance.starts_at_ms)) }
                } }
                tr { th scope="row" { (frame.t("장소", "Hall")) } td { (first.hall.name.in_lang(lang)) } }
                tr { th scope="row" { (frame.t("출연", "With")) } td { (show.cast.in_lang(lang)) } }
                tr { th scope="row" { (frame.t("시간", "Length")) } td { (show.runtime_min) (frame.t("분", " min")) } }
                tr { th scope="row" { (frame.t("관람", "Age")) } td {
                    @if show.age_min == 0 { (frame.t("모두 볼 수 있어요", "Everybody")) }
                    @else { (frame.t("만 ", "From ")) (show.age_min) (frame.t("세 이상", "")) }
                } }
                tr { th scope="row" { (frame.t("매수", "Limit")) } td {
                    (frame.t("한 분 ", "")) (first.performance.account_limit) (frame.t("매까지", " tickets each"))
                } }
                tr { th scope="row" { (frame.t("예매", "Sale")) } td {
                    @if first.performance.sale_opens_at_ms > frame.now_ms {
                        (part::moment(frame, first.performance.sale_opens_at_ms)) (frame.t(" 오픈", " opens"))
                    } @else { (frame.t("예매 중", "Open")) }
                } }
            }
        }
    }
}

/// A month of days; the ones with performances are links.
fn calendar_of(frame: &Frame<'_>, show: &Show, days: &[u64], chosen: u64) -> Markup {
    let at = on_korean_day(chosen, 12, 0);
    let c = korea(at);
    let first = chosen + 1 - c.day;
    let lead = korea(on_korean_day(first, 12, 0)).weekday;
    let length =
        (28..=31).rev().find(|n| korea(on_korean_day(first + n - 1, 12, 0)).month == c.month).unwrap_or(28);
    let before = days.iter().rev().copied().find(|d| *d < first);
    let after = days.iter().copied().find(|d| *d >= first + length);
    let link = |day: u64| format!("/shows/{}?day={day}#when", show.slug);
    html! {
        div.calendar {
            div.calendar-head {
                @if let Some(day) = before { a href=(link(day)) aria-label=(frame.t("이전 달", "Earlier")) { "‹" } } @else { span {} }
                strong { (month(frame.lang(), c.year, c.month)) }
                @if let Some(day) = after { a href=(link(day)) aria-label=(frame.t("다음 달", "Later")) { "›" } } @else { span {} }
            }
            table {
                thead { tr { @for d in 0..7 { th scope="col" { (weekday(frame.lang(), d)) } } } }
                tbody {
                    @for week in 0..6u64 {
                        @let row = week * 7;
                        @if row < length + u64::try_from(lead).unwrap_or(0) {
                            tr { @for column in 0..7u64 {
                                @let n = (row + column + 1).checked_sub(u64::try_from(lead).unwrap_or(0)).filter(|n| (1..=length).contains(n));
                                td {
                                    @if let Some(n) = n {
                                        @let day = first + n - 1;
                                        @if days.contains(&day) {
                                            a href=(link(day)) aria-current=[(day == chosen).then_some("date")] { (n) }
                                        } @else { span { (n) } }
                                    }
                                }
                            } }
                        }
                    }
                }
            }
        }
    }
}

fn turn_of(frame: &Frame<'_>, turn: usize, event: &Event<'_>) -> Markup {
    let p = event.performance;
    html! {
        div.turn {
            span.turn-no { (frame.t("", "No. ")) (turn) (frame.t("회차", "")) }
            strong { (calendar::time(p.starts_at_ms)) }
            span.quiet { (calendar::date(frame.lang(), p.starts_at_ms)) }
            @match p.sale(frame.now_ms) {
                SaleState::Open => a.button href=(format!("/performances/{}", p.id)) { (frame.t("예매하기", "Book")) }
                SaleState::NotYet if p.waiting_room && frame.now_ms + LOBBY_MS >= p.sale_opens_at_ms => {
                    a.button href=(format!("/performances/{}/queue", p.id)) { (frame.t("대기실 들어가기", "Waiting room")) }
                }
                SaleState::NotYet => span.turn-wait {
                    span.quiet { (frame.t("오픈까지", "Opens in")) }
                    strong data-until-ms=(p.sale_opens_at_ms) data-over=(frame.t("열렸어요", "Open")) data-reload="1" {
                        (part::moment(frame, p.sale_opens_at_ms))
                    }
                }
                SaleState::Over => span.quiet { (frame.t("예매 마감", "Closed")) }
            }
        }
    }
}

/// What cancelling costs, by the day.
pub(super) fn fees(frame: &Frame<'_>) -> Markup {
    html! {
        table.fees {
            tr { th scope="row" { (frame.t("관람 10일 전까지", "Until 10 days before")) } td { (frame.t("전액 환불", "full refund")) } }
            tr { th scope="row" { (frame.t("7일 전까지", "Until 7 days before")) } td { "10%" } }
            tr { th scope="row" { (frame.t("3일 전까지", "Until 3 days before")) } td { "20%" } }
            tr { th scope="row" { (frame.t("하루 전까지", "Until the day before")) } td { "30%" } }
            tr { th scope="row" { (frame.t("당일 시작 전", "On the day")) } td { "90%" } }
        }
    }
}
