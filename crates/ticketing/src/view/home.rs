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
        @let ranked = ranked(catalogue, ranking, 5);
        @if !ranked.is_empty() {
            section.shelf aria-labelledby="ranking" {
                div.shelf-head {
                    h2 #ranking { (frame.t("지금 많이 찾는 공연", "Most booked now")) }
                    a href="/ranking" { (frame.t("모두 보기", "See all")) }
                }
                (ranks(frame, &ranked))
            }
        }
    };
    page(frame, frame.t("오늘의 무대", "Tonight's stage"), body)
}

fn ranked<'c>(catalogue: &'c Catalogue, ranking: &[(u32, u64)], most: usize) -> Vec<&'c Show> {
    ranking.iter().filter_map(|(id, _)| catalogue.shows.iter().find(|s| s.id == *id)).take(most).collect()
}

fn ranks(frame: &Frame<'_>, shows: &[&Show]) -> Markup {
    let lang = frame.lang();
    html! {
        ol.ranking {
            @for show in shows {
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

/// How many shows a ranking has.
const RANKS: usize = 20;

/// What sells most, counted from bookings.
pub(crate) fn ranking(frame: &Frame<'_>, catalogue: &Catalogue, ranking: &[(u32, u64)]) -> Markup {
    let name = frame.t("랭킹", "Ranking");
    let ranked = ranked(catalogue, ranking, RANKS);
    let body = html! {
        section.shelf {
            h1 { (name) }
            p.lead { (frame.t("지금 가장 많이 예매한 공연이에요.", "What most people book now.")) }
            @if ranked.is_empty() {
                p.quiet { (frame.t("아직 예매가 없어요. 첫 예매가 순위를 열어요.", "Nothing was booked yet. The first booking opens the ranking.")) }
            }
            (ranks(frame, &ranked))
        }
    };
    page(frame, name, body)
}

/// Shows whose names, people or hall have all the words of `wanted`.
pub(crate) fn search(frame: &Frame<'_>, catalogue: &Catalogue, wanted: &str) -> Markup {
    let name = frame.t("공연 찾기", "Search");
    let words: Vec<String> = wanted.split_whitespace().map(str::to_lowercase).collect();
    let found: Vec<&Show> =
        catalogue.shows.iter().filter(|s| !words.is_empty() && has(catalogue, s, &words)).collect();
    let body = html! {
        section.shelf {
            h1 { (name) }
            form.search method="get" action="/search" role="search" {
                label { span.quiet { (frame.t("공연, 출연자, 공연장", "Show, artist or hall")) }
                    input name="q" type="search" maxlength="60" value=(wanted) autocomplete="off"; }
                button.button { (frame.t("찾기", "Search")) }
            }
            @if !words.is_empty() {
                p role="status" {
                    @if found.is_empty() {
                        (frame.t("찾으시는 공연이 없어요. 다른 말로 찾아볼까요?", "Nothing was found. Shall we try other words?"))
                    } @else { strong { (found.len()) } (frame.t("개 공연을 찾았어요.", " found.")) }
                }
            }
            (cards(frame, catalogue, found.into_iter()))
        }
    };
    page(frame, name, body)
}

fn has(catalogue: &Catalogue, show: &Show, words: &[String]) -> bool {
    let halls = catalogue.performances_of(show.id).take(1).map(|e| &e.hall.name);
    let texts = [&show.title, &show.tagline, &show.cast].into_iter().chain(halls);
    let text: String =
        texts.flat_map(|t| [t.ko.to_lowercase(), t.en.to_lowercase()]).collect::<Vec<_>>().join(" ");
    words.iter().all(|word| text.contains(word))
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
