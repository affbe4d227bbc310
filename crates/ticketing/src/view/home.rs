//! The front page and the lists of shows.

use maud::{Markup, html};

use super::{Frame, page, part};
use crate::{
    calendar::{iso, korean_day},
    catalogue::{Catalogue, Category, Event, Show},
};

/// The front page: what opens next, then the kinds, then what sells.
pub(crate) fn home(frame: &Frame<'_>, catalogue: &Catalogue, ranking: &[(u32, u64)]) -> Markup {
    let lang = frame.lang();
    let body = html! {
        @if let Some(next) = catalogue.next_sale(frame.now_ms) { (hero(frame, &next)) }
        @for category in Category::ALL {
            section.shelf aria-labelledby=(category.word()) {
                div.shelf-head {
                    h2 id=(category.word()) { (category.name(lang)) }
                    a href=(format!("/{}", category.word())) { (frame.t("모두 보기", "See all")) }
                }
                (cards(frame, catalogue, catalogue.shows.iter().filter(|s| s.category == category).take(4)))
            }
        }
        @let ranked: Vec<&Show> = ranking.iter()
            .filter_map(|(id, _)| catalogue.shows.iter().find(|s| s.id == *id)).take(5).collect();
        @if !ranked.is_empty() {
            section.shelf aria-labelledby="ranking" {
                div.shelf-head { h2 #ranking { (frame.t("지금 많이 찾는 공연", "Most booked now")) } }
                ol.ranking {
                    @for show in ranked {
                        li { a href=(format!("/shows/{}", show.slug)) {
                            (part::poster_of(frame, show, false))
                            span {
                                strong { (show.title.in_lang(lang)) }
                                span.quiet { (show.category.name(lang)) }
                            }
                        } }
                    }
                }
            }
        }
    };
    page(frame, frame.t("오늘의 무대", "Tonight's stage"), body)
}

fn hero(frame: &Frame<'_>, event: &Event<'_>) -> Markup {
    let lang = frame.lang();
    let opens_ms = event.performance.sale_opens_at_ms;
    let left_s = opens_ms.saturating_sub(frame.now_ms) / 1_000;
    let days = korean_day(opens_ms).saturating_sub(korean_day(frame.now_ms));
    html! {
        section.hero aria-labelledby="next" {
            div.hero-text {
                p.eyebrow { (frame.t("다음 예매 오픈", "Next sale")) }
                h1 #next { (event.show.title.in_lang(lang)) }
                p.lead { (event.show.tagline.in_lang(lang)) }
                p.count aria-hidden="true" data-opens-ms=(opens_ms) {
                    span { b { (left_s / 86_400) } (frame.t("일", "days")) }
                    span { b { (format!("{:02}", left_s / 3_600 % 24)) } (frame.t("시간", "hours")) }
                    span { b { (format!("{:02}", left_s / 60 % 60)) } (frame.t("분", "min")) }
                    span { b { (format!("{:02}", left_s % 60)) } (frame.t("초", "sec")) }
                }
                p.opens {
                    @if days == 0 { (frame.t("오늘 ", "Today, ")) }
                    @if days == 1 { (frame.t("내일 ", "Tomorrow, ")) }
                    time datetime=(iso(opens_ms)) { strong { (crate::calendar::date_time(lang, opens_ms)) } }
                    (frame.t("에 열려요", ""))
                    span.quiet { (frame.t(" · 서버 시각 ", " · server time ")) time.clock data-clock { (crate::calendar::time(frame.now_ms)) } }
                }
                a.button href=(format!("/shows/{}", event.show.slug)) { (frame.t("공연 자세히 보기", "See the show")) }
            }
            a.hero-poster href=(format!("/shows/{}", event.show.slug)) tabindex="-1" aria-hidden="true" {
                (part::poster_of(frame, event.show, true))
            }
        }
    }
}

/// One kind of show.
pub(crate) fn category(frame: &Frame<'_>, catalogue: &Catalogue, category: Category) -> Markup {
    let name = category.name(frame.lang());
    let lead = match category {
        Category::Musical => frame.t("이야기가 노래가 되는 밤", "Nights on which stories sing"),
        Category::Concert => frame.t("같은 노래를 같은 자리에서", "The same song, in the same room"),
        Category::Sports => frame.t("결말을 아무도 모르는 공연", "The show whose end nobody knows"),
    };
    let body = html! {
        section.shelf {
            h1 { (name) }
            p.lead { (lead) }
            (cards(frame, catalogue, catalogue.shows.iter().filter(|s| s.category == category)))
        }
    };
    page(frame, name, body)
}

fn cards<'c>(frame: &Frame<'_>, catalogue: &'c Catalogue, shows: impl Iterator<Item = &'c Show>) -> Markup {
    html! {
        ul.cards {
            @for show in shows {
                @let events: Vec<Event<'_>> = catalogue.performances_of(show.id).collect();
                li { (part::card(frame, show, events.first(), events.last())) }
            }
        }
    }
}
