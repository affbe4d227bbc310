//! Bank transfers: how to pay, until when, and what happens if one does not; what the organiser looks for at the bank.

use maud::{Markup, html};

use super::{Frame, organiser::tabs, page, part};
use crate::{
    calendar::date_time,
    catalogue::{Catalogue, Event},
    lang::won,
    store::{OwedByBank, Transfer, TransferState},
};

/// Whether it can still be paid.
fn stands(frame: &Frame<'_>, transfer: &Transfer) -> bool {
    transfer.state == TransferState::Waiting && !transfer.seats.is_empty() && frame.now_ms < transfer.due_ms
}

/// The visitor's page while the money is waited for.
pub(crate) fn waiting(frame: &Frame<'_>, event: &Event<'_>, transfer: &Transfer, bank: &str) -> Markup {
    let lang = frame.lang();
    let title = frame.t("입금을 기다리고 있어요", "Waiting for your transfer");
    let stands = stands(frame, transfer);
    let body = html! {
        div.column {
            p.eyebrow { (frame.t("무통장입금", "Bank transfer")) }
            @if stands {
                h1 { (title) }
                p.booking-no { (won(lang, transfer.amount_won)) }
                table.facts {
                    tr { th scope="row" { (frame.t("받는 계좌", "To")) } td { strong { (bank) } } }
                    tr { th scope="row" { (frame.t("입금자 이름", "Name on the transfer")) } td { (transfer.depositor) } }
                    tr { th scope="row" { (frame.t("입금 기한", "Deadline")) } td { (part::moment(frame, transfer.due_ms)) " "
                        strong data-until-ms=(transfer.due_ms) data-over=(frame.t("시간이 지났어요", "over")) {} } }
                }
            } @else {
                h1 { (frame.t("입금 기한이 지났거나 좌석을 놓으셨어요", "The deadline is over, or you gave the seats back")) }
                p.quiet { (frame.t("이미 입금하셨다면 주최자가 확인해서 돌려드려요.", "If you have paid, the organiser sends your money back.")) }
            }
            @if !transfer.seats.is_empty() { section.step { (part::summary(frame, event, &transfer.seats)) } }
            section.about aria-labelledby="rules" {
                h2 #rules { (frame.t("이렇게 진행돼요", "How it works")) }
                ul.plain-list {
                    li { (frame.t("입금을 확인하면 예매번호와 티켓을 메일로 보내 드려요.", "When the money is there we send you the booking number and the tickets.")) }
                    li { (frame.t("다음 날 밤 11시까지 입금해 주세요. 금액과 이름이 같아야 확인할 수 있어요.", "Pay by 23:00 of the next day, the exact sum, under this name.")) }
                    li { (frame.t("입금하지 않은 좌석은 먼저 예매대기 중인 분께 드리고, 남은 좌석은 ", "Seats that are not paid go to those on the waiting list; the rest comes back, all together, at "))
                        (part::moment(frame, transfer.released_ms)) (frame.t("에 한꺼번에 다시 열려요.", ".")) }
                }
            }
            @if stands {
                form method="post" action=(format!("/transfers/{}/leave", transfer.hold)) {
                    (frame.token_field())
                    button.plain { (frame.t("입금하지 않고 좌석 놓기", "Give the seats back without paying")) }
                }
            }
            p.row { a.plain href="/my" { (frame.t("내 티켓 보기", "My tickets")) } }
        }
    };
    page(frame, title, body)
}

/// What somebody has yet to pay, for their own page.
pub(super) fn mine(frame: &Frame<'_>, transfers: &[Transfer], catalogue: &Catalogue) -> Markup {
    let lang = frame.lang();
    let open: Vec<(&Transfer, Event<'_>)> = transfers
        .iter()
        .filter(|t| stands(frame, t))
        .filter_map(|t| Some((t, catalogue.event(t.performance)?)))
        .collect();
    html! {
        @if !open.is_empty() {
            h2 { (frame.t("입금 대기", "To be paid")) }
            ul.doors { @for (transfer, event) in open { li {
                a href=(format!("/transfers/{}", transfer.hold)) {
                    strong { (event.show.title.in_lang(lang)) }
                    span.quiet { (date_time(lang, event.performance.starts_at_ms)) }
                    span { (date_time(lang, transfer.due_ms)) (frame.t("까지 ", ": ")) strong { (won(lang, transfer.amount_won)) } }
                }
            } } }
        }
    }
}

/// The organiser's page: what is waited for, and what must go back.
pub(crate) fn bank(
    frame: &Frame<'_>,
    catalogue: &Catalogue,
    waiting: &[Transfer],
    owed: &[OwedByBank],
    notice: Option<&str>,
) -> Markup {
    let lang = frame.lang();
    let title = frame.t("입금과 환불", "At the bank");
    let action = "/organiser/transfers";
    let body = html! {
        (tabs(frame, action))
        h1 { (title) }
        @if let Some(sentence) = notice { (part::notice(sentence)) }
        h2 { (frame.t("기다리는 입금", "Waited for")) }
        @if waiting.is_empty() { p.quiet { (frame.t("기다리는 입금이 없어요.", "Nothing is waited for.")) } }
        ul.doors { @for t in waiting { @if let Some(event) = catalogue.event(t.performance) { li { div.row {
            strong { (t.depositor) " " (won(lang, t.amount_won)) }
            span.quiet { (event.show.title.in_lang(lang)) " · " (t.email) " · " (date_time(lang, t.due_ms)) (frame.t("까지", " at the latest")) }
            form method="post" action=(action) {
                (frame.token_field())
                button.plain name="arrived" value=(t.id) aria-label=(format!("{}: {} {}", frame.t("입금 확인", "It came"), t.depositor, won(lang, t.amount_won))) { (frame.t("입금 확인", "It came")) }
            }
        } } } } }
        h2 { (frame.t("계좌로 돌려드릴 돈", "To be sent back")) }
        @if owed.is_empty() { p.quiet { (frame.t("돌려드릴 돈이 없어요.", "Nothing is owed.")) } }
        ul.doors { @for o in owed { li { div.row {
            strong { (o.name) " " (won(lang, o.amount_won)) }
            span.quiet { (o.no.grouped()) " · " (o.email) }
            form method="post" action=(action) {
                (frame.token_field())
                button.plain name="sent_back" value=(o.booking) aria-label=(format!("{}: {} {}", frame.t("보냈어요", "Sent"), o.name, won(lang, o.amount_won))) { (frame.t("보냈어요", "Sent")) }
            }
        } } } }
    };
    page(frame, title, body)
}
