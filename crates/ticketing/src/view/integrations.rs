//! The organiser's page of programs: keys for partners, and endpoints that are told what happens.

use maud::{Markup, html};

use super::{Frame, organiser::tabs, page, part};
use crate::{
    api::key::{ApiKey, Scope},
    refusal::Refusal,
    store::Webhook,
};

/// What the page shows.
pub(crate) struct Known<'k> {
    /// Keys, newest first.
    pub(crate) keys: &'k [ApiKey],
    /// Endpoints, oldest first.
    pub(crate) webhooks: &'k [Webhook],
}

/// What became of the button that was pressed.
#[derive(Default)]
pub(crate) struct News {
    /// A secret, shown this once.
    pub(crate) secret: Option<String>,
    /// What was wrong.
    pub(crate) refusal: Option<Refusal>,
}

const HERE: &str = "/organiser/integrations";

/// Keys, and how to make one.
pub(crate) fn page_of(frame: &Frame<'_>, known: &Known<'_>, news: &News) -> Markup {
    let title = frame.t("프로그램 연동", "Programs");
    let body = html! {
        (tabs(frame, HERE))
        h1 { (title) }
        p.lead { (frame.t("파트너의 프로그램이 좌석을 팔고, 판매와 입장을 읽을 수 있어요. ", "Partners' programs can sell seats, and read sales and doors. ")) a href="/api/v1/openapi.json" { "OpenAPI" } }
        @if let Some(refusal) = &news.refusal { (part::notice(&refusal.sentence(frame.lang()))) }
        @if let Some(secret) = &news.secret {
            section.secret aria-labelledby="secret" {
                h2 #secret { (frame.t("지금 복사해 두세요", "Copy it now")) }
                p { (frame.t("이 값은 다시 보여 드릴 수 없어요.", "We cannot show this again.")) }
                p.scroll tabindex="0" role="region" aria-label=(frame.t("비밀 값", "Secret")) { code { (secret) } }
            }
        }
        (keys(frame, known.keys))
        (webhooks(frame, known.webhooks))
    };
    page(frame, title, body)
}

fn keys(frame: &Frame<'_>, keys: &[ApiKey]) -> Markup {
    html! {
        section aria-labelledby="keys" {
            h2 #keys { (frame.t("키", "Keys")) }
            form.search method="post" action=(HERE) {
                (frame.token_field())
                label { span.quiet { (frame.t("파트너 이름 (영문 소문자, 숫자, -)", "Partner (small letters, digits, -)")) } input name="partner" required maxlength="40" pattern="[a-z0-9\\-]+"; }
                fieldset {
                    legend.quiet { (frame.t("권한", "Scopes")) }
                    @for scope in Scope::ALL { label { input type="checkbox" name="scope" value=(scope.word()); " " (scope_name(frame, scope)) } }
                }
                button.button name="do" value="make-key" { (frame.t("키 만들기", "Make a key")) }
            }
            ul.doors { @for key in keys {
                li { div.row {
                    strong { (key.partner) } span.quiet { (key.scopes) } code { (format!("gtk_{:016x}_…", key.id)) }
                    (part::moment(frame, key.created_ms))
                    @match key.revoked_ms {
                        Some(at_ms) => span.quiet { (frame.t("거둔 때 ", "revoked ")) (part::moment(frame, at_ms)) },
                        None => form method="post" action=(HERE) {
                            (frame.token_field())
                            input type="hidden" name="id" value=(format!("{:016x}", key.id));
                            button.plain name="do" value="revoke-key" { (frame.t("키 거두기", "Revoke")) }
                        },
                    }
                } }
            } }
        }
    }
}

fn webhooks(frame: &Frame<'_>, webhooks: &[Webhook]) -> Markup {
    let button = |id: u64, act: &str, name: &str| {
        html! { form method="post" action=(HERE) {
            (frame.token_field())
            input type="hidden" name="id" value=(format!("{id:016x}"));
            button.plain name="do" value=(act) { (name) }
        } }
    };
    html! {
        section aria-labelledby="webhooks" {
            h2 #webhooks { (frame.t("알림 주소", "Webhooks")) }
            p.quiet { (frame.t("예매, 취소, 입장이 있을 때마다 이 주소로 알려요.", "Each booking, cancellation and check-in is told to these addresses.")) }
            form.search method="post" action=(HERE) {
                (frame.token_field())
                label { span.quiet { (frame.t("주소 (https)", "Address (https)")) } input name="url" type="url" required maxlength="500"; }
                button.button name="do" value="make-webhook" { (frame.t("주소 더하기", "Add the address")) }
            }
            ul.doors { @for webhook in webhooks {
                li { div.row {
                    strong { (webhook.url) }
                    span.quiet { (frame.t("기다리는 알림 ", "waiting: ")) (webhook.waiting) }
                    @if let Some((at_ms, why)) = &webhook.disabled {
                        span.quiet { (frame.t("멈춤 ", "stopped ")) (part::moment(frame, *at_ms)) ": " (why) }
                        (button(webhook.id, "enable-webhook", frame.t("다시 보내기", "Send again")))
                    }
                    (button(webhook.id, "remove-webhook", frame.t("빼기", "Remove")))
                } }
            } }
        }
    }
}

fn scope_name<'t>(frame: &Frame<'_>, scope: Scope) -> &'t str {
    match scope {
        Scope::Read => frame.visitor.lang.pick("판매 읽기", "read sales"),
        Scope::Sell => frame.visitor.lang.pick("예매", "sell"),
        Scope::Door => frame.visitor.lang.pick("입장", "door"),
    }
}
