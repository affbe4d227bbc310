//! The waiting list: its rules, joining it, one's place, and what one was offered.

use maud::{Markup, html};

use super::{Frame, page, part};
use crate::{
    calendar::date_time,
    catalogue::{Catalogue, Event},
    desk::Scarce,
    lang::thousands,
    store::{Offered, Wait},
    waitlist::{ENDS_BEFORE_MS, OFFER_MS, WAITERS_PER_SEAT},
};

/// The page of a performance's waiting list.
pub(crate) fn page_of(
    frame: &Frame<'_>,
    event: &Event<'_>,
    scarce: &[Scarce],
    waits: &[Wait],
    chosen: (&str, &str),
    notice: Option<&str>,
) -> Markup {
    let lang = frame.lang();
    let title = frame.t("예매대기", "Waiting list");
    let body = html! {
        div.column {
            p.eyebrow { a href=(format!("/performances/{}", event.performance.id)) { (event.show.title.in_lang(lang)) } }
            h1 { (title) }
            p.quiet { (date_time(lang, event.performance.starts_at_ms)) " · " (event.hall.name.in_lang(lang)) }
            @if let Some(sentence) = notice { (part::notice(sentence)) }
            @for wait in waits { (place(frame, event, wait)) }
            (join_form(frame, event, scarce, chosen))
            (rules(frame))
        }
    };
    page(frame, title, body)
}

fn join_form(frame: &Frame<'_>, event: &Event<'_>, scarce: &[Scarce], chosen: (&str, &str)) -> Markup {
    let limit = event.performance.account_limit;
    html! {
        section.step aria-labelledby="join" {
            h2 #join { (frame.t("기다리기", "Wait for a seat")) }
            form.fields method="post" action=(format!("/performances/{}/waitlist", event.performance.id)) {
                (frame.token_field())
                fieldset.methods {
                    legend.quiet { (frame.t("등급", "Grade")) }
                    @for (i, one) in scarce.iter().enumerate() {
                        @if let Some(grade) = event.show.grade(&one.grade) {
                            label { input type="radio" name="grade" value=(one.grade) required checked[if chosen.0.is_empty() { i == 0 } else { chosen.0 == one.grade }];
                                span { (part::chip(frame, grade))
                                    span.quiet { @if one.free == 0 { (frame.t("매진", "sold out")) } @else { (thousands(one.free.into())) (frame.t("석 남음", " free now")) } } } }
                        }
                    }
                }
                label { span { (frame.t("매수", "Seats")) }
                    select name="count" { @for n in 1..=limit { option value=(n) selected[chosen.1 == n.to_string()] { (n) } } } }
                button.button { (frame.t("줄 서기", "Join the line")) }
            }
        }
    }
}

/// How it works, before anybody joins.
fn rules(frame: &Frame<'_>) -> Markup {
    let (hours, days) = (OFFER_MS / 3_600_000, ENDS_BEFORE_MS / 86_400_000);
    html! {
        section.about aria-labelledby="rules" {
            h2 #rules { (frame.t("이렇게 진행돼요", "How it works")) }
            ul.plain-list {
                li { (frame.t("취소된 자리는 공개되기 전에 먼저 기다린 분께 차례로 드려요.", "Seats that are given back go to those who wait, in order, before anybody else sees them.")) }
                li { (frame.t("자리가 나면 메일로 알려 드리고, ", "We write to you, and keep the seat for ")) strong { (hours) (frame.t("시간", " hours")) } (frame.t(" 동안 잡아 둬요. 그 안에 결제하면 내 자리예요.", ". Pay within that time and it is yours.")) }
                li { (frame.t("시간이 지나면 다음 분께 넘어가요.", "After that the next in line has it.")) }
                li { (frame.t("공연 ", "The list ends ")) (days) (frame.t("일 전에 대기를 마치고, 그 뒤에 나온 자리는 누구나 예매할 수 있어요.", " days before the performance; what comes back later is for everybody.")) }
                li { (frame.t("한 등급의 좌석 하나에 ", "Up to ")) (WAITERS_PER_SEAT) (frame.t("분까지 기다릴 수 있어요. 기다리는 동안 내는 돈은 없어요.", " people may wait for each seat of a grade. Waiting costs nothing.")) }
            }
        }
    }
}

/// One's place, or what one was offered.
fn place(frame: &Frame<'_>, event: &Event<'_>, wait: &Wait) -> Markup {
    let grade = event.show.grade(&wait.grade);
    html! {
        section.step.waits aria-label=(frame.t("내 대기", "Your place")) {
            p { @if let Some(grade) = grade { (part::chip(frame, grade)) } " " (wait.count) (frame.t("매", " seats")) }
            @match &wait.offer {
                None => p.waits-place { strong { (thousands(u64::from(wait.ahead) + 1)) } (frame.t("번째로 기다리고 있어요", " in line")) },
                Some(offer) => { (offered(frame, event, offer)) }
            }
            @if wait.offer.as_ref().is_none_or(|o| stands(frame, o)) {
                form method="post" action=(format!("/performances/{}/waitlist/leave", wait.performance)) {
                    (frame.token_field())
                    button.plain name="wait" value=(wait.id) { (frame.t("그만 기다리기", "Leave the line")) }
                }
            }
        }
    }
}

/// Whether an offer can still be taken.
fn stands(frame: &Frame<'_>, offer: &Offered) -> bool {
    !offer.bought && !offer.seats.is_empty() && frame.now_ms < offer.until_ms
}

fn offered(frame: &Frame<'_>, event: &Event<'_>, offer: &Offered) -> Markup {
    let lang = frame.lang();
    html! {
        @if offer.bought {
            p { (frame.t("이 자리를 예매하셨어요.", "You booked these seats.")) }
        } @else if stands(frame, offer) {
            p { strong { (frame.t("자리가 났어요! ", "A seat for you: ")) } (offer.seats.iter().map(|s| event.seat_name(lang, s)).collect::<Vec<_>>().join(" · ")) }
            p { (part::moment(frame, offer.until_ms)) (frame.t("까지 결제하면 내 자리예요.", " is the deadline for paying.")) " "
                strong data-until-ms=(offer.until_ms) data-over=(frame.t("시간이 지났어요", "over")) {} }
            p { a.button href=(format!("/checkout/{}", offer.hold)) { (frame.t("결제하러 가기", "Go on to payment")) } }
        } @else {
            p.quiet { (frame.t("결제 시간이 지나 다음 분께 넘어갔어요. 다시 줄을 설 수 있어요.", "The time for paying is over, and the next in line has it. You may join again.")) }
        }
    }
}

/// Where somebody waits, for their own page.
pub(super) fn mine(frame: &Frame<'_>, waits: &[Wait], catalogue: &Catalogue) -> Markup {
    let lang = frame.lang();
    let coming: Vec<(&Wait, Event<'_>)> = waits
        .iter()
        .filter_map(|w| Some((w, catalogue.event(w.performance)?)))
        .filter(|(w, e)| {
            e.performance.starts_at_ms > frame.now_ms && w.offer.as_ref().is_none_or(|o| stands(frame, o))
        })
        .collect();
    html! {
        @if !coming.is_empty() {
            h2 { (frame.t("예매대기", "Waiting list")) }
            ul.doors { @for (wait, event) in coming { li {
                a href=(format!("/performances/{}/waitlist", wait.performance)) {
                    strong { (event.show.title.in_lang(lang)) }
                    span.quiet { (date_time(lang, event.performance.starts_at_ms)) " · " (event.show.grade(&wait.grade).map_or("", |g| g.name.in_lang(lang))) " " (wait.count) (frame.t("매", " seats")) }
                    @match &wait.offer {
                        None => span { (thousands(u64::from(wait.ahead) + 1)) (frame.t("번째로 기다리고 있어요", " in line")) },
                        Some(offer) => strong { (frame.t("자리가 났어요. ", "A seat for you. Pay until ")) (date_time(lang, offer.until_ms)) (frame.t("까지 결제해 주세요", "")) },
                    }
                }
            } } }
        }
    }
}
