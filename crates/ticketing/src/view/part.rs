//! Pieces that several pages share.

use maud::{Markup, html};

use super::{Frame, poster};
use crate::{
    calendar::{date, date_time, iso, time},
    catalogue::{Event, Grade, Show},
    lang::won,
};

/// A grade's name and price, in the colour and the shape that its seats have.
pub(super) fn chip(frame: &Frame<'_>, grade: &Grade) -> Markup {
    html! {
        span class=(format!("chip g{}", grade.rank)) {
            span.chip-dot aria-hidden="true" {}
            span { (grade.name.in_lang(frame.lang())) }
            strong { (won(frame.lang(), grade.price_won.into())) }
        }
    }
}

/// A show's poster.
pub(super) fn poster_of(frame: &Frame<'_>, show: &Show, eager: bool) -> Markup {
    html! {
        img.poster src=(poster::address(show)) width="600" height="800"
            alt=(format!("{} {}", show.title.in_lang(frame.lang()), frame.t("포스터", "poster")))
            loading=(if eager { "eager" } else { "lazy" });
    }
}

/// A moment that machines can read, too.
pub(super) fn moment(frame: &Frame<'_>, at_ms: u64) -> Markup {
    html! { time datetime=(iso(at_ms)) { (date_time(frame.lang(), at_ms)) } }
}

/// A show as a card: poster, name, first day, hall.
pub(super) fn card(
    frame: &Frame<'_>,
    show: &Show,
    first: Option<&Event<'_>>,
    last: Option<&Event<'_>>,
) -> Markup {
    let lang = frame.lang();
    html! {
        a.card href=(format!("/shows/{}", show.slug)) {
            (poster_of(frame, show, false))
            span.card-title { (show.title.in_lang(lang)) }
            @if let (Some(first), Some(last)) = (first, last) {
                span.card-facts {
                    (first.hall.name.in_lang(lang))
                    br;
                    span { (date(lang, first.performance.starts_at_ms)) }
                    @if first.performance.id != last.performance.id { " ~ " span { (date(lang, last.performance.starts_at_ms)) } }
                }
                @if first.performance.sale_opens_at_ms > frame.now_ms {
                    span.badge { (frame.t("오픈 예정", "Opens soon")) }
                }
            }
        }
    }
}

/// What is being booked, in one block: poster, name, when, where, seats.
pub(super) fn summary(frame: &Frame<'_>, event: &Event<'_>, seats: &[String]) -> Markup {
    let lang = frame.lang();
    html! {
        div.summary {
            (poster_of(frame, event.show, true))
            div {
                h2 { (event.show.title.in_lang(lang)) }
                p { (moment(frame, event.performance.starts_at_ms)) br; (event.hall.name.in_lang(lang)) }
                ul.seats-plain {
                    @for seat in seats {
                        li {
                            @if let Some(grade) = event.hall.section_of(seat).and_then(|s| event.show.grade(&s.grade)) {
                                span class=(format!("chip g{}", grade.rank)) {
                                    span.chip-dot aria-hidden="true" {}
                                    (grade.name.in_lang(lang))
                                }
                            }
                            span { (event.seat_name(lang, seat)) }
                        }
                    }
                }
            }
        }
    }
}

/// The kind of a reduced ticket, and what must be shown for it.
pub(super) fn kind(frame: &Frame<'_>, event: &Event<'_>, word: &str) -> Markup {
    let lang = frame.lang();
    html! {
        @match event.show.discount(word) {
            None => (word),
            Some(discount) => {
                (discount.name.in_lang(lang))
                @if let Some(proof) = &discount.proof { " · " span.quiet { (proof.in_lang(lang)) } }
            }
        }
    }
}

/// A clock that runs down to a deadline; without scripts it says until when.
pub(super) fn timer(frame: &Frame<'_>, until_ms: u64, expired: &str) -> Markup {
    html! {
        p.timer role="timer" {
            span.timer-label { (frame.t("좌석을 잡아 둔 시간", "Your seats are held")) }
            strong data-until-ms=(until_ms) data-over=(expired) {
                (frame.t("", "until ")) (time(until_ms)) (frame.t("까지", ""))
            }
        }
    }
}

/// A sentence that must not be missed.
pub(super) fn notice(sentence: &str) -> Markup {
    html! { p.notice role="alert" { (sentence) } }
}
