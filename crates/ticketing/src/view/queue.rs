//! The waiting room: one number, one bar, one sentence.

use maud::{Markup, html};

use super::{Frame, page, part};
use crate::{
    calendar::date_time,
    catalogue::Event,
    http::asset,
    lang::{Lang, thousands},
    queue::{
        Phase, Sale,
        draw::{Entry, Seed},
        place::{Place, Wait},
    },
};

/// What the page knows.
pub(crate) struct QueueView<'q> {
    /// Which performance.
    pub(crate) performance: u32,
    /// Its names, unless the database does not answer.
    pub(crate) event: Option<Event<'q>>,
    /// The room's row, as last read.
    pub(crate) sale: &'q Sale,
    /// Where the room stands.
    pub(crate) phase: Phase,
    /// The visitor's name in the lottery.
    pub(crate) entry: Entry,
    /// Where the visitor stands, if they took a number.
    pub(crate) place: Option<Place>,
    /// Whether the numbers are of now.
    pub(crate) fresh: bool,
    /// The lottery's seed, once it was drawn.
    pub(crate) seed: Option<&'q Seed>,
}

/// The page.
pub(crate) fn page_of(frame: &Frame<'_>, view: &QueueView<'_>) -> Markup {
    let lang = frame.lang();
    let title = frame.t("대기실", "Waiting room");
    let number = match view.place {
        Some(Place::Waiting(wait)) => Some(wait.number),
        Some(Place::Called { number }) => Some(number),
        _ => None,
    };
    let body = html! {
        div.column.narrow.queue #queue data-performance=(view.performance) data-entry=(view.entry.0 % 200)
            data-number=[number] data-joined=[view.place.map(|_| "1")] data-opens-at=(view.sale.opens_ms) {
            @if let Some(event) = &view.event {
                p.eyebrow { (event.show.title.in_lang(lang)) }
                p.quiet { (date_time(lang, event.performance.starts_at_ms)) " · " (event.hall.name.in_lang(lang)) }
            }
            h1 { (title) }
            @match view.place {
                Some(Place::Waiting(wait)) => { (waiting(frame, view, &wait)) }
                Some(Place::Called { number }) => { (called(frame, view.performance, number)) }
                Some(Place::Lobby { opens_ms }) => { (lobby(frame, opens_ms)) }
                Some(Place::Drawing) => {
                    p.lead role="status" #say { (frame.t("지금 순번을 추첨하고 있어요.", "Numbers are being drawn.")) }
                }
                Some(Place::Unknown) | None => { (join(frame, view)) }
            }
            p.quiet role="status" #line hidden[view.fresh] {
                (frame.t("연결을 다시 잇고 있어요. 순번은 그대로예요.", "Reconnecting. You keep your number."))
            }
            (fairness(frame, view))
            @if view.place.is_some() {
                noscript { meta http-equiv="refresh" content=(refresh_s(view.place)); }
            }
        }
        script type="module" src=(asset("queue.js")) {}
    };
    page(frame, title, body)
}

/// Without scripts the page asks again by itself, as often as a script would.
fn refresh_s(place: Option<Place>) -> u32 {
    match place {
        Some(Place::Waiting(wait)) => wait.poll_ms.div_ceil(1_000).max(2),
        _ => 5,
    }
}

fn waiting(frame: &Frame<'_>, view: &QueueView<'_>, wait: &Wait) -> Markup {
    let lang = frame.lang();
    html! {
        p.queue-no { span.quiet { (frame.t("내 순번", "Your number")) } strong { (thousands(wait.number.into())) } }
        progress #bar max=(wait.number) value=(view.sale.serving)
            aria-label=(frame.t("입장까지 남은 정도", "How far the line has come")) {}
        p.lead role="status" #say { (sentence(lang, wait)) }
        p.quiet {
            (frame.t("뒤에 ", "")) span #behind { (thousands(wait.behind.into())) } (frame.t("명이 있어요. ", " people are behind you. "))
            (frame.t("이 창을 닫아도 순번은 유지돼요.", "You keep your number even if you close this page."))
        }
        (enter(frame, view.performance, true))
    }
}

/// `앞에 1,234명, 약 2분 남았어요.`
pub(crate) fn sentence(lang: Lang, wait: &Wait) -> String {
    let ahead = thousands(wait.ahead.into());
    let minutes = wait.wait_s.map(|s| s.div_ceil(60));
    match (lang, minutes) {
        (Lang::Ko, Some(0 | 1)) => format!("앞에 {ahead}명, 곧 들어가요."),
        (Lang::Ko, Some(minutes)) => format!("앞에 {ahead}명, 약 {}분 남았어요.", thousands(minutes.into())),
        (Lang::Ko, None) => format!("앞에 {ahead}명이 있어요."),
        (Lang::En, Some(0 | 1)) => format!("{ahead} people ahead of you; it is your turn in a moment."),
        (Lang::En, Some(minutes)) => {
            format!("{ahead} people ahead of you, about {} minutes.", thousands(minutes.into()))
        }
        (Lang::En, None) => format!("{ahead} people ahead of you."),
    }
}

fn called(frame: &Frame<'_>, performance: u32, number: u32) -> Markup {
    html! {
        p.queue-no { span.quiet { (frame.t("내 순번", "Your number")) } strong { (thousands(number.into())) } }
        p.lead role="status" #say { (frame.t("이제 들어갈 수 있어요. 10분 동안 좌석을 고를 수 있어요.", "It is your turn. You have ten minutes to choose.")) }
        (enter(frame, performance, false))
    }
}

fn enter(frame: &Frame<'_>, performance: u32, hidden: bool) -> Markup {
    html! {
        form #enter method="post" action=(format!("/performances/{performance}/queue/enter")) hidden[hidden] {
            (frame.token_field())
            button.button { (frame.t("좌석 고르러 가기", "Choose seats")) }
        }
    }
}

fn lobby(frame: &Frame<'_>, opens_ms: u64) -> Markup {
    html! {
        p.lead role="status" #say {
            (frame.t("들어와 계세요. 예매가 열리면 무작위로 순번을 뽑아요. 먼저 왔다고 앞서지 않으니 편히 기다려 주세요.",
                "You are in. Numbers are drawn at random when the sale opens; coming first does not help."))
        }
        p.timer role="timer" {
            span.timer-label { (frame.t("추첨까지", "Until the lottery")) }
            strong data-until-ms=(opens_ms) data-over=(frame.t("추첨 중", "drawing")) { (part::moment(frame, opens_ms)) }
        }
        p.quiet { (frame.t("이 창을 닫아도 자리는 유지돼요.", "You keep your place even if you close this page.")) }
    }
}

fn join(frame: &Frame<'_>, view: &QueueView<'_>) -> Markup {
    html! {
        @match view.phase {
            Phase::Closed => {
                p.lead { (frame.t("대기실은 아직 열리지 않았어요.", "The waiting room is not open yet.")) }
                p.timer role="timer" {
                    span.timer-label { (frame.t("열릴 때까지", "Opens in")) }
                    strong data-until-ms=(view.sale.lobby_opens_ms) data-over=(frame.t("열렸어요", "Open")) data-reload="1" {
                        (part::moment(frame, view.sale.lobby_opens_ms))
                    }
                }
            }
            Phase::Drawing => {
                p.lead role="status" #say { (frame.t("지금 순번을 추첨하고 있어요. 곧 순번을 받을 수 있어요.", "Numbers are being drawn. You can take one in a moment.")) }
                noscript { meta http-equiv="refresh" content="3"; }
            }
            Phase::Lobby | Phase::Open => {
                p.lead {
                    @if view.phase == Phase::Lobby {
                        (frame.t("지금 들어오시면 추첨에 함께해요.", "Come in and take part in the lottery."))
                    } @else {
                        (thousands(view.sale.waiting().into())) (frame.t("명이 기다리고 있어요.", " people are waiting."))
                    }
                }
                form #join method="post" action=(format!("/performances/{}/queue", view.performance)) {
                    (frame.token_field())
                    button.button { (frame.t("순번 받기", "Take a number")) }
                }
            }
        }
        p.quiet { (frame.t("한 분이 한 순번을 받아요. 창을 여러 개 열어도 순번은 같아요.", "One number each: more windows do not help.")) }
    }
}

fn fairness(frame: &Frame<'_>, view: &QueueView<'_>) -> Markup {
    html! {
        details.quiet {
            summary { (frame.t("공정하게 뽑아요", "How it is drawn")) }
            p {
                (frame.t("추첨에 쓰는 값의 SHA-256을 미리 공개하고, 추첨이 끝나면 그 값을 공개해요. 누구나 순번을 다시 계산할 수 있어요.",
                    "The SHA-256 of the lottery's seed is published before, the seed after: anybody can compute the numbers again."))
            }
            dl {
                dt { "SHA-256" } dd { code { (view.sale.commitment.hex()) } }
                @if let Some(seed) = view.seed { dt { (frame.t("추첨 값", "Seed")) } dd { code { (seed.hex()) } } }
                dt { (frame.t("내 응모 번호", "Your entry")) } dd { code { (format!("{:016x}", view.entry.0)) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sentence_says_it() {
        let wait = |ahead, wait_s| Wait { number: ahead + 1, ahead, behind: 0, wait_s, poll_ms: 1_000 };
        assert_eq!(sentence(Lang::Ko, &wait(1_234, Some(110))), "앞에 1,234명, 약 2분 남았어요.");
        assert_eq!(sentence(Lang::Ko, &wait(0, Some(1))), "앞에 0명, 곧 들어가요.");
        assert_eq!(sentence(Lang::En, &wait(9, None)), "9 people ahead of you.");
    }
}
