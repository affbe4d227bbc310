//! The pages, as functions from what is known to HTML.
//!
//! Must not know: the database, requests. Every page works without scripts; scripts make it nicer.

pub(crate) mod account;
pub(crate) mod booking;
pub(crate) mod door;
pub(crate) mod home;
pub(crate) mod ics;
pub(crate) mod integrations;
pub(crate) mod organiser;
mod part;
pub(crate) mod poster;
pub(crate) mod profile;
pub(crate) mod programme;
mod qr;
pub(crate) mod queue;
pub(crate) mod refund;
pub(crate) mod seats;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod theatre;
pub(crate) mod transfer;
pub(crate) mod waitlist;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    catalogue::Category,
    http::{Visitor, asset},
    lang::Lang,
};

/// What every page is told.
pub(crate) struct Frame<'p> {
    /// Who looks.
    pub(crate) visitor: &'p Visitor,
    /// What time it is here.
    pub(crate) now_ms: u64,
    /// Token for the forms on the page.
    pub(crate) token: String,
}

impl Frame<'_> {
    /// The language.
    pub(crate) fn lang(&self) -> Lang {
        self.visitor.lang
    }

    /// One of two texts.
    pub(crate) fn t<'t>(&self, ko: &'t str, en: &'t str) -> &'t str {
        self.visitor.lang.pick(ko, en)
    }

    /// The hidden field that proves that a form is ours.
    fn token_field(&self) -> Markup {
        html! { input type="hidden" name="token" value=(self.token); }
    }
}

/// A whole page around `body`.
pub(crate) fn page(frame: &Frame<'_>, title: &str, body: Markup) -> Markup {
    let name = frame.t("고스트라이트 티켓", "Ghostlight Tickets");
    html! {
        (DOCTYPE)
        html lang=(frame.lang().code()) data-now-ms=(frame.now_ms) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · " (name) }
                link rel="icon" href=(asset("lamp.svg")) type="image/svg+xml";
                link rel="stylesheet" href=(asset("tokens.css"));
                link rel="stylesheet" href=(asset("pages.css"));
                script type="module" src=(asset("clock.js")) {}
            }
            body {
                a.skip href="#main" { (frame.t("본문으로 가기", "Skip to content")) }
                @if frame.visitor.offer_english {
                    p.strip lang="en" { a href=(format!("/en{}", frame.visitor.path)) { "View this site in English" } }
                }
                (header(frame, name))
                main #main { (body) }
                (footer(frame, name))
            }
        }
    }
}

fn header(frame: &Frame<'_>, name: &str) -> Markup {
    html! {
        header.top {
            div.top-in {
                a.brand href="/" {
                    (lamp())
                    span { (name) }
                }
                nav.categories aria-label=(frame.t("공연 종류", "Kinds of shows")) {
                    @for category in Category::ALL {
                        @let here = frame.visitor.path.starts_with(&format!("/{}", category.word()));
                        a href=(format!("/{}", category.word())) aria-current=[here.then_some("page")] {
                            (category.name(frame.lang()))
                        }
                    }
                    a href="/ranking" aria-current=[(frame.visitor.path == "/ranking").then_some("page")] { (frame.t("랭킹", "Ranking")) }
                }
                nav.who aria-label=(frame.t("내 정보", "You")) {
                    a.find href="/search" aria-label=(frame.t("공연 찾기", "Search")) { (glass()) }
                    @if frame.visitor.session.is_some() {
                        a href="/my" { (frame.t("마이페이지", "My tickets")) }
                    } @else {
                        a href="/login" { (frame.t("로그인", "Sign in")) }
                    }
                }
            }
        }
    }
}

fn footer(frame: &Frame<'_>, name: &str) -> Markup {
    let (other, label) = match frame.lang() {
        Lang::Ko => ("en", "English"),
        Lang::En => ("ko", "한국어"),
    };
    html! {
        footer.foot {
            div.foot-in {
                p { strong { (name) } " · " (frame.t("무대의 불은 꺼지지 않아요.", "One lamp stays lit.")) }
                p.quiet { (frame.t("공연, 공연장, 인물과 팀은 모두 지어낸 것이에요.", "Every show, hall, person and team here is invented.")) }
                p.links {
                    a href="/terms" { (frame.t("이용약관", "Terms")) }
                    a href=(format!("/{other}{}", frame.visitor.path)) lang=(other) hreflang=(other) { (label) }
                }
            }
        }
    }
}

/// A looking glass.
fn glass() -> Markup {
    PreEscaped(
        "<svg viewBox=\"0 0 24 24\" width=\"22\" height=\"22\" aria-hidden=\"true\" fill=\"none\" stroke=\"currentColor\" \
         stroke-width=\"2\" stroke-linecap=\"round\"><circle cx=\"10.5\" cy=\"10.5\" r=\"6.5\"/><path d=\"M15.5 15.5L21 21\"/></svg>"
            .to_owned(),
    )
}

/// The lamp of the name: a bulb on a stand, alone on a stage.
fn lamp() -> Markup {
    PreEscaped(
        "<svg class=\"lamp\" viewBox=\"0 0 24 24\" width=\"24\" height=\"24\" aria-hidden=\"true\">\
         <circle cx=\"12\" cy=\"8\" r=\"7\" fill=\"currentColor\" opacity=\".22\"/>\
         <circle cx=\"12\" cy=\"8\" r=\"3.6\" fill=\"currentColor\"/>\
         <path d=\"M12 11.6V20M8 21.2h8\" stroke=\"currentColor\" stroke-width=\"1.8\" stroke-linecap=\"round\" fill=\"none\"/>\
         </svg>"
            .to_owned(),
    )
}
