//! The seat map: sections first, then the seats of one.
//!
//! The form of check boxes is what is sent, with or without scripts; the drawing and the list show the same boxes.
//! A free seat is a filled dot in its grade's colour, a taken one a grey square outline, a chosen one a ring with a
//! tick: never colour alone.

use std::collections::HashSet;

use maud::{Markup, html};

use super::{
    Frame, page, part,
    theatre::{self, PITCH},
};
use crate::{
    booking::{Claim, ClaimState},
    calendar::date_time,
    catalogue::{Event, Section},
    http::asset,
    lang::{thousands, won},
};

/// What the page knows about a performance's seats.
pub(crate) struct SeatView<'s> {
    /// Which performance.
    pub(crate) event: Event<'s>,
    /// Seats that are not free.
    pub(crate) taken: HashSet<String>,
    /// Living claims of the visitor.
    pub(crate) mine: Vec<Claim>,
    /// Seats to tick at once: chosen before signing in, or before a race was lost.
    pub(crate) picked: Vec<String>,
    /// Something that must be said first.
    pub(crate) notice: Option<String>,
}

impl SeatView<'_> {
    fn free_in(&self, section: &Section) -> usize {
        section.seats().filter(|(seat, ..)| !self.taken.contains(seat)).count()
    }
}

/// The page without a section chosen: the hall.
pub(crate) fn hall(frame: &Frame<'_>, view: &SeatView<'_>) -> Markup {
    let lang = frame.lang();
    let event = &view.event;
    let body = html! {
        (head(frame, view))
        (best_form(frame, event))
        section.hall {
            div.hall-map { (map(frame, view, None)) }
            div.hall-list {
                h2 { (frame.t("구역을 골라 주세요", "Choose a section")) }
                @for grade in &event.show.grades {
                    @let sections: Vec<&Section> = event.hall.layout.sections.iter().filter(|s| s.grade == grade.word).collect();
                    @if !sections.is_empty() {
                        h3 { (part::chip(frame, grade)) }
                        @if sections.iter().all(|s| view.free_in(s) == 0) {
                            p { a.plain href=(format!("/performances/{}/waitlist", event.performance.id)) { (frame.t("예매대기 신청하기", "Join the waiting list")) } }
                        }
                        ul.sections {
                            @for section in sections {
                                @let free = view.free_in(section);
                                li { a href=(address(event, &section.id)) {
                                    span { (section.name.in_lang(lang)) }
                                    span.quiet { @if free == 0 { (frame.t("매진", "sold out")) } @else { (thousands(u64::try_from(free).unwrap_or(0))) (frame.t("석", " free")) } }
                                } }
                            }
                        }
                    }
                }
            }
        }
    };
    page(frame, event.show.title.in_lang(lang), body)
}

fn address(event: &Event<'_>, section: &str) -> String {
    format!("/performances/{}?section={section}", event.performance.id)
}

fn head(frame: &Frame<'_>, view: &SeatView<'_>) -> Markup {
    let lang = frame.lang();
    let event = &view.event;
    let held: Vec<&Claim> = view.mine.iter().filter(|c| c.state == ClaimState::Held).collect();
    html! {
        div.seat-head {
            p.eyebrow { a href=(format!("/shows/{}", event.show.slug)) { (event.show.title.in_lang(lang)) } }
            h1 { (frame.t("좌석 선택", "Choose your seats")) }
            p.quiet { (date_time(lang, event.performance.starts_at_ms)) " · " (event.hall.name.in_lang(lang)) }
        }
        div #notice aria-live="assertive" {
            @if let Some(sentence) = &view.notice { (part::notice(sentence)) }
        }
        @if let Some(hold) = held.first().and_then(|c| c.hold.as_ref()) {
            div.held {
                p { (frame.t("이미 잡아 둔 좌석이 있어요: ", "You are already holding: "))
                    strong { (held.iter().map(|c| event.seat_name(lang, &c.seat)).collect::<Vec<_>>().join(" · ")) } }
                div.row {
                    a.button href=(format!("/checkout/{hold}")) { (frame.t("이어서 결제하기", "Go on to payment")) }
                    form method="post" action=(format!("/checkout/{hold}/release")) {
                        (frame.token_field())
                        button.plain { (frame.t("좌석 놓기", "Give them back")) }
                    }
                }
            }
        }
    }
}

/// The hall as a drawing: each section a link, shaded by how full it is.
fn map(frame: &Frame<'_>, view: &SeatView<'_>, here: Option<&str>) -> Markup {
    let lang = frame.lang();
    let event = &view.event;
    let layout = &event.hall.layout;
    let small = here.is_some();
    html! {
        svg.map viewBox=(format!("0 0 {} {}", layout.width, layout.height)) role="group"
            aria-label=(frame.t("공연장 구역", "Sections of the hall")) {
            rect.stage x=(layout.stage.x) y=(layout.stage.y) width=(layout.stage.width) height=(layout.stage.height) rx="14" {}
            text.stage-name x=(layout.stage.x + layout.stage.width / 2.0) y=(layout.stage.y + layout.stage.height / 2.0) { "STAGE" }
            @for section in &layout.sections {
                @let (path, (x, y)) = theatre::outline(event.hall, section);
                @let rank = event.show.grade(&section.grade).map_or(0, |g| g.rank);
                @let free = if small { 1 } else { view.free_in(section) };
                @let class = format!("sec g{rank}{}{}", if free == 0 { " full" } else { "" }, if here == Some(&section.id) { " here" } else { "" });
                a href=(address(event, &section.id)) class=(class)
                    aria-label=(if small { section.name.in_lang(lang).to_owned() } else { format!("{} {}{}, {}", section.id, free, frame.t("석 남음", " free"), section.name.in_lang(lang)) })
                    aria-current=[(here == Some(section.id.as_str())).then_some("true")] {
                    path d=(path) {}
                    @if !small {
                        text x=(format!("{x:.0}")) y=(format!("{:.0}", y - 7.0)) { (section.id) }
                        " "
                        text.free x=(format!("{x:.0}")) y=(format!("{:.0}", y + 13.0)) { @if free == 0 { "×" } @else { (free) } }
                    }
                }
            }
        }
    }
}

/// The seats of one section.
pub(crate) fn section(frame: &Frame<'_>, view: &SeatView<'_>, section: &Section) -> Markup {
    let lang = frame.lang();
    let event = &view.event;
    let plan = theatre::plan(section);
    let Some(grade) = event.show.grade(&section.grade) else { return hall(frame, view) };
    let mine = view.mine.len();
    let left = usize::from(event.performance.account_limit).saturating_sub(mine);
    let is_mine = |seat: &str| view.mine.iter().any(|c| c.seat == seat);
    let id = event.performance.id;
    let body = html! {
        (head(frame, view))
        form.seating #seating method="post" action=(format!("/performances/{id}/hold"))
            data-performance=(id) data-section=(section.id) data-left=(left) data-price=(grade.price_won)
            data-limit=(event.performance.account_limit) data-first=(first_seat(event, section))
            data-rows=(section.rows.iter().map(u16::to_string).collect::<Vec<_>>().join(",")) {
            (frame.token_field())
            input type="hidden" name="section" value=(section.id);
            div.seating-side {
                (map(frame, view, Some(&section.id)))
                p { a.back href=(format!("/performances/{id}")) { "‹ " (frame.t("전체 구역 보기", "All sections")) } }
                h2 { (section.name.in_lang(lang)) }
                p { (part::chip(frame, grade)) }
                ul.legend aria-label=(frame.t("표시 설명", "Legend")) {
                    li { (symbol(grade.rank, "free")) (frame.t("고를 수 있어요", "free")) }
                    li { (symbol(grade.rank, "picked")) (frame.t("내가 고른 자리", "yours")) }
                    li { (symbol(grade.rank, "taken")) (frame.t("이미 나간 자리", "taken")) }
                }
                @for sight in &section.sight {
                    p.quiet { (sight.from.rows.0) "~" (sight.from.rows.1) (frame.t("열 ", " row, seats ")) (sight.from.seats.0) "~" (sight.from.seats.1) (frame.t("번: ", ": ")) (sight.note.in_lang(lang)) }
                }
                @for block in &section.wheelchair {
                    p.quiet { "♿ " (block.rows.0) (frame.t("열 ", " row, seats ")) (block.seats.0) "~" (block.seats.1) (frame.t("번은 휠체어석이에요.", " are wheelchair places.")) }
                }
            }
            div.seating-main {
                p.towards aria-hidden="true" { (frame.t("무대 방향", "stage")) }
                div.plan-scroll tabindex="-1" {
                    svg.plan #plan width=(format!("{:.0}", plan.width)) height=(format!("{:.0}", plan.height))
                        viewBox=(format!("0 0 {:.0} {:.0}", plan.width, plan.height)) role="group"
                        aria-label=(format!("{} {}", section.name.in_lang(lang), frame.t("좌석 배치", "seats"))) {
                        @for (row, x, y) in &plan.rows { text.row-no x=(format!("{x:.0}")) y=(format!("{y:.0}")) { (row) } }
                        @for spot in &plan.spots {
                            @let state = if is_mine(&spot.seat) { "mine" } else if view.taken.contains(&spot.seat) { "taken" } else { "free" };
                            g class=(format!("seat g{} {state}", grade.rank)) data-seat=(spot.seat)
                                transform=(format!("translate({:.0} {:.0})", spot.x, spot.y)) {
                                rect.hit x=(-PITCH / 2.0) y=(-PITCH / 2.0) width=(PITCH) height=(PITCH) {}
                                @match state {
                                    "taken" => { rect.t x="-10" y="-10" width="20" height="20" rx="5" {} }
                                    "mine" => { circle.r r="17" {} circle.f r="12" {} path.k d="M-5 0l4 4 7-8" {} }
                                    _ => { circle.r r="17" {} circle.f r="13" {} path.k d="M-5 0l4 4 7-8" {} }
                                }
                            }
                        }
                    }
                }
                details.list #list open {
                    summary { (frame.t("목록으로 고르기", "Choose from a list")) }
                    @for (row, _, _) in &plan.rows {
                        fieldset {
                            legend { (row) (frame.t("열", " row")) }
                            @for spot in plan.spots.iter().filter(|s| s.row == *row && !view.taken.contains(&s.seat)) {
                                label {
                                    input type="checkbox" name="seats" value=(spot.seat) data-name=(full_name(frame, event, section, spot.row, spot.number, &spot.seat))
                                        checked[view.picked.contains(&spot.seat)];
                                    span { (spot.number) @if section.is_wheelchair(spot.row, spot.number) { " ♿" } }
                                }
                            }
                        }
                    }
                }
            }
            div.tray #tray {
                div.tray-in {
                    div.tray-text {
                        p #chosen { (frame.t("좌석을 골라 주세요", "Choose your seats")) }
                        p.tray-total { span.quiet { (frame.t("합계", "Total")) } " " strong #total { (won(lang, 0)) }
                            span.quiet { " · " (frame.t("한 분 ", "up to ")) (event.performance.account_limit) (frame.t("매까지", " each")) } }
                    }
                    button.button type="submit" #take { (frame.t("선택 완료", "Take these seats")) }
                }
            }
        }
        script type="module" src=(asset("seats.js")) {}
    };
    page(frame, event.show.title.in_lang(lang), body)
}

/// Where the section's first seat stands in the availability bits.
fn first_seat(event: &Event<'_>, section: &Section) -> u32 {
    let before = event.hall.layout.sections.iter().take_while(|s| s.id != section.id);
    before.map(Section::capacity).sum()
}

/// A seat's name with what one should know about it.
fn full_name(
    frame: &Frame<'_>,
    event: &Event<'_>,
    section: &Section,
    row: u16,
    number: u16,
    seat: &str,
) -> String {
    let mut name = event.seat_name(frame.lang(), seat);
    if section.is_wheelchair(row, number) {
        name.push_str(frame.t(" (휠체어석)", " (wheelchair)"));
    }
    if section.sight_from(row, number).is_some() {
        name.push_str(frame.t(" (시야 제한)", " (limited view)"));
    }
    name
}

/// How many seats at most are looked for together.
const TOGETHER_MAX: u8 = 4;

/// Without choosing a section: the best seats that are free, together.
fn best_form(frame: &Frame<'_>, event: &Event<'_>) -> Markup {
    let lang = frame.lang();
    html! {
        form.best method="get" action=(format!("/performances/{}/best", event.performance.id)) {
            h2 { (frame.t("좋은 자리 찾아 주세요", "Find good seats for me")) }
            div.row {
                label { (frame.t("매수", "Seats")) " "
                    select name="count" {
                        @for n in 1..=event.performance.account_limit.min(TOGETHER_MAX) { option value=(n) selected[n == 2] { (n) } }
                    }
                }
                label { (frame.t("등급", "Grade")) " "
                    select name="grade" {
                        option value="" { (frame.t("모두", "any")) }
                        @for grade in &event.show.grades { option value=(grade.word) { (grade.name.in_lang(lang)) " " (won(lang, grade.price_won.into())) } }
                    }
                }
                label { input type="checkbox" name="wheelchair" value="yes"; " " (frame.t("휠체어석", "wheelchair places")) }
                button.button { (frame.t("찾기", "Find")) }
            }
        }
    }
}

fn symbol(rank: u8, state: &str) -> Markup {
    html! {
        svg.key viewBox="-22 -22 44 44" width="28" height="28" aria-hidden="true" {
            g class=(format!("seat g{rank} {state}")) {
                @if state == "taken" { rect.t x="-10" y="-10" width="20" height="20" rx="5" {} }
                @else { circle.r r="17" {} circle.f r="13" {} path.k d="M-5 0l4 4 7-8" {} }
            }
        }
    }
}
