//! The organiser's page on which a booking is given back, and what its visitor reads about it.

use maud::{Markup, html};

use super::{Frame, organiser::tabs, page, part};
use crate::{
    calendar::date_time,
    catalogue::Event,
    desk::{REFUND_NOTE_MAX, Refundable},
    lang::won,
    refund::{Because, Reason},
};

/// A booking, with the form that gives it back; or what was given back, and why.
pub(crate) fn refund(
    frame: &Frame<'_>,
    event: &Event<'_>,
    of: &Refundable,
    was: &dyn Fn(&str) -> String,
    notice: Option<&str>,
) -> Markup {
    let lang = frame.lang();
    let booking = &of.booking;
    let title = frame.t("예매 환불", "Refund a booking");
    let body = html! {
        (tabs(frame, ""))
        div.column {
            p.eyebrow { a href=(format!("/organiser/performances/{}", booking.performance)) { (event.show.title.in_lang(lang)) } }
            h1 { (title) }
            @if let Some(sentence) = notice { (part::notice(sentence)) }
            table.facts {
                tr { th scope="row" { (frame.t("예매번호", "Booking number")) } td { strong.mono { (booking.no.grouped()) } } }
                tr { th scope="row" { (frame.t("일시", "When")) } td { (date_time(lang, event.performance.starts_at_ms)) } }
                tr { th scope="row" { (frame.t("좌석", "Seats")) } td { (booking.seats.iter().map(|s| event.seat_name(lang, s)).collect::<Vec<_>>().join(", ")) } }
                tr { th scope="row" { (frame.t("결제 금액", "Paid")) } td { (won(lang, booking.amount_won)) } }
            }
            @match (&booking.cancelled, of.whole_won) {
                (Some(cancelled), _) => {
                    p.notice.good role="status" {
                        (won(lang, cancelled.refund_won)) (frame.t("을 돌려드렸어요. 취소 수수료 ", " went back. Fee: ")) (won(lang, cancelled.fee_won))
                    }
                    @if let Some(because) = &of.because { (reason(frame, because)) }
                }
                (None, Some(whole_won)) => { (form(frame, of, whole_won, was)) }
                (None, None) => {}
            }
        }
    };
    page(frame, title, body)
}

fn form(frame: &Frame<'_>, of: &Refundable, whole_won: u64, was: &dyn Fn(&str) -> String) -> Markup {
    let lang = frame.lang();
    let chosen = Reason::from_word(&was("reason")).unwrap_or(Reason::ALL[0]);
    html! {
        form.fields method="post" action=(format!("/organiser/bookings/{}/refund", of.booking.no)) {
            (frame.token_field())
            fieldset.methods {
                legend { (frame.t("사유 (예매하신 분께 그대로 보여요)", "Reason (the visitor reads it)")) }
                @for reason in Reason::ALL {
                    label { input type="radio" name="reason" value=(reason.word()) checked[reason == chosen]; span { strong { (reason.name().in_lang(lang)) }
                        @if reason.is_ours() { span.quiet { (frame.t("언제나 전액을 돌려드려요", "everything goes back, whatever the day")) } } } }
                }
            }
            label { span { (frame.t("덧붙이는 안내", "A note")) " " span.quiet { (frame.t("(약관에 어긋난 예매라면 꼭 적어 주세요)", "(needed if it was against the terms)")) } }
                input name="note" maxlength=(REFUND_NOTE_MAX) value=(was("note")); }
            fieldset.methods {
                legend { (frame.t("돌려드리는 금액", "What goes back")) }
                label { input type="radio" name="fee" value="none" checked[was("fee") != "policy"]; span { strong { (won(lang, whole_won)) } span.quiet { (frame.t("전액", "everything")) } } }
                @if let Some(fee) = of.by_policy.filter(|fee| fee.fee_won > 0) {
                    label { input type="radio" name="fee" value="policy" checked[was("fee") == "policy"]; span { strong { (won(lang, fee.refund_won)) }
                        span.quiet { (frame.t("오늘의 취소 수수료를 빼고: ", "less today's fee: ")) (won(lang, fee.fee_won)) } } }
                }
            }
            button.button { (frame.t("환불하기", "Give it back")) }
            p.quiet { (frame.t("환불은 되돌릴 수 없어요. 누가 왜 했는지 기록에 남아요.", "This cannot be taken back. Who did it, and why, stands in the log.")) }
        }
    }
}

/// Why an organiser gave a booking back, for its visitor.
pub(super) fn reason(frame: &Frame<'_>, because: &Because) -> Markup {
    html! {
        div.notice {
            p { strong { (because.reason.name().in_lang(frame.lang())) } }
            @if !because.note.is_empty() { p { (because.note) } }
        }
    }
}
