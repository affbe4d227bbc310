//! Pages that say no, calmly.

use maud::{DOCTYPE, Markup, html};

use super::{Frame, page};
use crate::{http::asset, refusal::Refusal};

/// A refusal as a page.
pub(crate) fn refused(frame: &Frame<'_>, refusal: &Refusal) -> Markup {
    if *refusal == Refusal::NotNow {
        return not_now(frame);
    }
    let title = match refusal {
        Refusal::NoSuch => frame.t("화면을 찾지 못했어요", "Nothing here"),
        _ => frame.t("잠깐 멈췄어요", "One moment"),
    };
    let body = html! {
        div.column.narrow.calm {
            p.big-no aria-hidden="true" { (refusal.status().as_u16()) }
            h1 { (title) }
            p.lead { (refusal.sentence(frame.lang())) }
            p.row { a.button href="/" { (frame.t("처음으로", "Front page")) } a.plain href="/my" { (frame.t("내 티켓", "My tickets")) } }
        }
    };
    page(frame, title, body)
}

/// The database does not answer: one lamp, one sentence, and the page comes back by itself, scripts or not.
fn not_now(frame: &Frame<'_>) -> Markup {
    let title = frame.t("잠시만 기다려 주세요", "One moment, please");
    html! {
        (DOCTYPE)
        html lang=(frame.lang().code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // After a refused POST the front of the flow is safer than sending it again.
                meta http-equiv="refresh" content="2";
                title { (title) }
                link rel="icon" href=(asset("lamp.svg")) type="image/svg+xml";
                link rel="stylesheet" href=(asset("tokens.css"));
                link rel="stylesheet" href=(asset("pages.css"));
            }
            body.dim {
                main.column.narrow.calm {
                    div.glow { (super::lamp()) }
                    h1 { (title) }
                    p.lead role="status" { (Refusal::NotNow.sentence(frame.lang())) }
                    p { a.button href="" { (frame.t("지금 다시 열기", "Try now")) } }
                }
            }
        }
    }
}
