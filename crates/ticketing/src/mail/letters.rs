//! What letters say: Korean first, English below, one purpose each.

use super::Letter;
use crate::{
    calendar::date_time,
    catalogue::Event,
    lang::{Lang, won},
    refund::Because,
    store::{Booked, Due, Offered, Transfer},
};

/// What a letter may name.
pub struct Facts<'f> {
    /// Where visitors find us, without a slash at the end.
    pub site: &'f str,
    /// The signed word of the letter's link, if it has one.
    pub token: String,
    /// The booking that it is about.
    pub booking: Option<(&'f Booked, Event<'f>)>,
    /// Why an organiser gave that booking back, if one did.
    pub because: Option<Because>,
    /// The seats that somebody is offered.
    pub offer: Option<(&'f Offered, Event<'f>)>,
    /// A transfer that is waited for, and to which account.
    pub transfer: Option<(&'f Transfer, &'f str, Event<'f>)>,
}

/// Writes a letter; nothing if what it is about is gone.
pub fn write(due: &Due, facts: &Facts<'_>) -> Option<Letter> {
    use super::Kind;
    let link = |page: &str| format!("{}/{page}?t={}", facts.site, facts.token);
    let (subject, ko, en) = match due.kind {
        Kind::Confirm => (
            "이메일 주소를 확인해 주세요 · Please confirm your address".to_owned(),
            format!(
                "아래 주소를 열고 ‘확인하기’를 눌러 주세요. 하루 동안 쓸 수 있어요.\n{}",
                link("confirm")
            ),
            format!("Open the address below and press “Confirm”. It works for a day.\n{}", link("confirm")),
        ),
        Kind::Reset => (
            "새 비밀번호를 정해 주세요 · Choose a new password".to_owned(),
            format!(
                "아래 주소에서 새 비밀번호를 정할 수 있어요. 한 시간 동안 한 번 쓸 수 있어요. 요청하신 적이 없다면 그대로 두셔도 안전해요.\n{}",
                link("reset")
            ),
            format!(
                "Choose a new password at the address below. It works once, for an hour. If you did not ask for it, do nothing: you are safe.\n{}",
                link("reset")
            ),
        ),
        Kind::Password => (
            "비밀번호가 바뀌었어요 · Your password was changed".to_owned(),
            format!(
                "비밀번호를 바꾸고 다른 기기에서는 로그아웃했어요. 바꾸신 적이 없다면 바로 새 비밀번호를 정해 주세요.\n{}/forgot",
                facts.site
            ),
            format!(
                "Your password was changed, and you were signed out elsewhere. If that was not you, choose a new one now.\n{}/forgot",
                facts.site
            ),
        ),
        Kind::Booked => {
            let (booking, event) = facts.booking.as_ref()?;
            let say = |lang: Lang| about(lang, facts.site, booking, event);
            (
                format!("{} 예매가 끝났어요 · You are booked", event.show.title.in_lang(Lang::Ko)),
                say(Lang::Ko),
                say(Lang::En),
            )
        }
        Kind::Cancelled => {
            let (booking, event) = facts.booking.as_ref()?;
            let cancelled = booking.cancelled?;
            let say = |lang: Lang| {
                let because = facts.because.as_ref().map(|b| {
                    let note = if b.note.is_empty() { String::new() } else { format!("\n{}", b.note) };
                    format!("{}.{note}\n\n", b.reason.name().in_lang(lang))
                });
                format!(
                    "{}{}\n{} {} · {} {}",
                    because.unwrap_or_default(),
                    about(lang, facts.site, booking, event),
                    lang.pick("취소 수수료", "Fee"),
                    won(lang, cancelled.fee_won),
                    lang.pick("돌려드리는 금액", "You get back"),
                    won(lang, cancelled.refund_won),
                )
            };
            (
                format!("{} 예매를 취소했어요 · Cancelled", event.show.title.in_lang(Lang::Ko)),
                say(Lang::Ko),
                say(Lang::En),
            )
        }
        Kind::Transfer => {
            let (transfer, bank, event) = facts.transfer.as_ref()?;
            let say = |lang: Lang| transferred(lang, facts.site, transfer, bank, event);
            (
                format!("{} 입금을 기다려요 · Waiting for your transfer", event.show.title.in_lang(Lang::Ko)),
                say(Lang::Ko),
                say(Lang::En),
            )
        }
        Kind::Offered => {
            let (offer, event) = facts.offer.as_ref()?;
            let say = |lang: Lang| offered(lang, facts.site, offer, event);
            (
                format!("{} 자리가 났어요 · A seat for you", event.show.title.in_lang(Lang::Ko)),
                say(Lang::Ko),
                say(Lang::En),
            )
        }
    };
    Some(Letter {
        id: format!("{}-{}", due.kind.word(), due.subject),
        to: due.email.clone(),
        subject,
        text: format!("{}님, 안녕하세요.\n\n{ko}\n\n──\n\nHello {},\n\n{en}\n", due.name, due.name),
        written_ms: due.created_ms,
    })
}

/// An offer in a few lines.
fn offered(lang: Lang, site: &str, offer: &Offered, event: &Event<'_>) -> String {
    let seats: Vec<String> = offer.seats.iter().map(|seat| event.seat_name(lang, seat)).collect();
    let until = date_time(lang, offer.until_ms);
    format!(
        "{}\n{}\n{}\n{}\n{}\n{site}/performances/{}/waitlist",
        event.show.title.in_lang(lang),
        date_time(lang, event.performance.starts_at_ms),
        event.hall.name.in_lang(lang),
        seats.join(", "),
        lang.pick(
            format!("{until}까지 결제하시면 내 자리예요. 그 뒤에는 다음 분께 넘어가요."),
            format!("Pay until {until} and they are yours. After that the next in line has them.")
        ),
        event.performance.id,
    )
}

/// How to transfer, in a few lines.
fn transferred(lang: Lang, site: &str, transfer: &Transfer, bank: &str, event: &Event<'_>) -> String {
    let seats: Vec<String> = transfer.seats.iter().map(|seat| event.seat_name(lang, seat)).collect();
    let (due, free) = (date_time(lang, transfer.due_ms), date_time(lang, transfer.released_ms));
    let (sum, name) = (won(lang, transfer.amount_won), &transfer.depositor);
    format!(
        "{}\n{}\n{}\n{}\n\n{}\n\n{}\n{site}/transfers/{}",
        event.show.title.in_lang(lang),
        date_time(lang, event.performance.starts_at_ms),
        event.hall.name.in_lang(lang),
        seats.join(", "),
        lang.pick(
            format!("{due}까지 {bank}(으)로 {sum}을 ‘{name}’ 이름으로 보내 주세요."),
            format!("Please transfer {sum} to {bank} by {due}, under the name “{name}”.")
        ),
        lang.pick(
            format!("입금을 확인하면 예매번호를 보내 드려요. 입금하지 않은 좌석은 {free}에 한꺼번에 다시 열려요."),
            format!("Your booking number comes when the money is there. Seats that are not paid come back together at {free}.")
        ),
        transfer.hold,
    )
}

/// A booking in a few lines.
fn about(lang: Lang, site: &str, booking: &Booked, event: &Event<'_>) -> String {
    let seats: Vec<String> = booking.seats.iter().map(|seat| event.seat_name(lang, seat)).collect();
    format!(
        "{}\n{}\n{}\n{}\n{} {}\n{} {}\n{site}/bookings/{}",
        event.show.title.in_lang(lang),
        date_time(lang, event.performance.starts_at_ms),
        event.hall.name.in_lang(lang),
        seats.join(", "),
        lang.pick("예매번호", "Booking number"),
        booking.no.grouped(),
        lang.pick("결제 금액", "Paid"),
        won(lang, booking.amount_won),
        booking.no,
    )
}
