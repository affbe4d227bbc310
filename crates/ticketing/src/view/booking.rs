//! Checkout, done, my page.

use maud::{Markup, html};

use super::{Frame, page, part, qr, refund, show::fees, transfer, waitlist};
use crate::{
    calendar::{date, time},
    catalogue::{Catalogue, Event},
    desk::{BY_BANK, Kinds, OpenHold, Terms},
    lang::won,
    refund::Because,
    store::{Account, Booked, Transfer, Wait},
};

/// What can be chosen at the checkout, and what was.
pub(crate) struct Choices<'c> {
    /// The kinds that were chosen.
    pub(crate) kinds: &'c Kinds,
    /// Whether they were priced just now.
    pub(crate) priced: bool,
    /// Until when a bank transfer must be there, if one can pay that way.
    pub(crate) transfer_due_ms: Option<u64>,
}

/// Three steps in one column: look once more, who you are, pay.
pub(crate) fn checkout(
    frame: &Frame<'_>,
    event: &Event<'_>,
    open: &OpenHold,
    account: &Account,
    more: &Choices<'_>,
    notice: Option<&str>,
) -> Markup {
    let lang = frame.lang();
    let hold = &open.hold;
    let full_won: u64 = hold.seats.iter().filter_map(|s| event.price_won(s)).map(u64::from).sum();
    let body = html! {
        div.column {
            div.checkout-top {
                h1 { (frame.t("예매 확인과 결제", "Check and pay")) }
                (part::timer(frame, hold.held_until_ms, frame.t("시간이 지났어요. 좌석을 다시 골라 주세요.", "The time is over. Please choose again.")))
            }
            @if let Some(sentence) = notice { (part::notice(sentence)) }
            section.step {
                h2 { span.step-no { "1" } (frame.t("고른 좌석", "Your seats")) }
                (part::summary(frame, event, &hold.seats))
                (kind_choice(frame, event, &hold.seats, more.kinds))
                @if more.priced { p.notice.good role="status" { (frame.t("권종을 반영했어요. 금액을 확인하고 결제해 주세요.", "The prices are up to date. Please check the sum, and pay.")) } }
            }
            section.step {
                h2 { span.step-no { "2" } (frame.t("예매하는 분", "Who is booking")) }
                table.facts {
                    tr { th scope="row" { (frame.t("이름", "Name")) } td { (account.name) } }
                    tr { th scope="row" { (frame.t("이메일", "E-mail")) } td { (account.email) } }
                    tr { th scope="row" { (frame.t("받는 방법", "Delivery")) } td { (frame.t("모바일 티켓", "Mobile ticket")) } }
                }
            }
            section.step {
                h2 { span.step-no { "3" } (frame.t("결제", "Payment")) }
                form #pay method="post" action=(format!("/checkout/{}/pay", hold.id)) {
                    (frame.token_field())
                    fieldset.methods {
                        legend.quiet { (frame.t("결제 수단", "How to pay")) }
                        label { input type="radio" name="method" value="test" checked; span { strong { (frame.t("시험 결제", "Test payment")) } span.quiet { (frame.t("돈이 빠져나가지 않아요", "no money moves")) } } }
                        label { input type="radio" name="method" value="test-decline"; span { strong { (frame.t("거절되는 시험 결제", "Test payment, declined")) } span.quiet { (frame.t("거절될 때를 보여 드려요", "shows what a refusal looks like")) } } }
                        @if let Some(due_ms) = more.transfer_due_ms {
                            label { input type="radio" name="method" value=(BY_BANK); span { strong { (frame.t("무통장입금", "Bank transfer")) }
                                span.quiet { (part::moment(frame, due_ms)) (frame.t("까지 입금", " is the deadline")) } } }
                            label.depositor { span { (frame.t("입금자 이름 (무통장입금일 때)", "Name on the transfer (if you pay by bank)")) }
                                input name="depositor" maxlength="30" value=(account.name); }
                            p.quiet { (frame.t("입금하지 않은 좌석은 그날 밤 2시에 한꺼번에 다시 열려요.", "Seats that are not paid come back together at two in the night that follows.")) }
                        }
                    }
                    table.facts.total {
                        tr { th scope="row" { (frame.t("티켓", "Tickets")) } td { (won(lang, full_won)) " (" (hold.seats.len()) (frame.t("매)", ")")) } }
                        @if full_won > hold.amount_won {
                            tr { th scope="row" { (frame.t("할인", "Discounts")) } td { "−" (won(lang, full_won - hold.amount_won)) } }
                        }
                        tr { th scope="row" { (frame.t("예매 수수료", "Booking fee")) } td { (won(lang, 0)) } }
                        tr.sum { th scope="row" { (frame.t("결제할 금액", "To pay")) } td { strong { (won(lang, hold.amount_won)) } } }
                    }
                    details { summary { (frame.t("취소 수수료 보기", "What cancelling costs")) } (fees(frame)) }
                    button.button.wide type="submit" { (won(lang, hold.amount_won)) (frame.t(" 결제하기", " · pay")) }
                    p.quiet { (frame.t("버튼을 여러 번 눌러도 한 번만 결제돼요.", "Pressing twice pays once.")) }
                }
                form method="post" action=(format!("/checkout/{}/release", hold.id)) {
                    (frame.token_field())
                    button.plain { (frame.t("취소하고 좌석 놓기", "Cancel and give the seats back")) }
                }
            }
        }
    };
    page(frame, frame.t("결제", "Payment"), body)
}

/// Who pays less for which seat. Its fields belong to the form that pays; without scripts a button prices them.
fn kind_choice(frame: &Frame<'_>, event: &Event<'_>, seats: &[String], kinds: &Kinds) -> Markup {
    let lang = frame.lang();
    html! {
        @if !event.show.discounts.is_empty() {
            div.kinds role="group" aria-label=(frame.t("권종", "Kinds of tickets")) {
                @for seat in seats {
                    @let grade = event.hall.section_of(seat).map_or("", |s| s.grade.as_str());
                    @let full = event.price_won(seat).unwrap_or(0);
                    @let chosen = kinds.get(seat);
                    label {
                        span { (event.seat_name(lang, seat)) }
                        select name=(format!("kind:{seat}")) form="pay" {
                            option value="" { (won(lang, full.into())) " " (frame.t("일반", "full price")) }
                            @for d in event.show.discounts.iter().filter(|d| d.is_for(grade, frame.now_ms) || chosen == Some(&d.id)) {
                                option value=(d.id) selected[chosen == Some(&d.id)] { (won(lang, d.less.of(full).into())) " " (d.name.in_lang(lang)) }
                            }
                        }
                    }
                    @if let Some(proof) = chosen.and_then(|k| event.show.discount(k)).and_then(|d| d.proof.as_ref()) {
                        p.quiet { (frame.t("입장할 때 보여 주세요: ", "To be shown at the door: ")) (proof.in_lang(lang)) }
                    }
                }
                button.button.ghost form="pay" name="reprice" value="yes" { (frame.t("권종 적용하기", "Apply")) }
            }
        }
    }
}

/// The booking is made.
pub(crate) fn done(
    frame: &Frame<'_>,
    event: &Event<'_>,
    booking: &Booked,
    terms: Option<&Terms>,
    tickets: &[(String, String)],
    because: Option<&Because>,
    kinds: &Kinds,
) -> Markup {
    let lang = frame.lang();
    let body = html! {
        div.column.done {
            @if let Some(cancelled) = &booking.cancelled {
                p.eyebrow { (frame.t("취소한 예매예요", "Cancelled")) }
                h1 { (won(frame.lang(), cancelled.refund_won)) (frame.t("을 돌려드려요", " comes back to you")) }
                p.quiet { (frame.t("취소 수수료 ", "Fee: ")) (won(frame.lang(), cancelled.fee_won)) }
                @if let Some(because) = because { (refund::reason(frame, because)) }
            } @else {
                p.eyebrow { (frame.t("예매를 마쳤어요", "You are booked")) }
                h1 { (frame.t("무대에서 만나요", "See you at the stage")) }
            }
            p.booking-no-label { (frame.t("예매번호", "Booking number")) }
            p.booking-no data-booking-no=(booking.no.as_str()) { (booking.no.grouped()) }
            (ticket(frame, event, booking))
            @if !kinds.is_empty() {
                ul.seats-plain { @for (seat, kind) in kinds { li { strong { (event.seat_name(lang, seat)) } span { (part::kind(frame, event, kind)) } } } }
            }
            (codes(frame, event, booking, tickets))
            @if let Some(terms) = terms { (cancelling(frame, booking, terms)) }
            p.row { a.button href="/my" { (frame.t("내 티켓 보기", "My tickets")) } a.plain href="/" { (frame.t("처음으로", "Front page")) } }
        }
    };
    page(frame, frame.t("예매 완료", "Booked"), body)
}

/// One code a seat, for the door; it is signed, so a door needs no network for it.
fn codes(frame: &Frame<'_>, event: &Event<'_>, booking: &Booked, tickets: &[(String, String)]) -> Markup {
    let lang = frame.lang();
    html! {
        @if !tickets.is_empty() {
            section.codes aria-labelledby="codes" {
                h2 #codes { (frame.t("입장 QR", "At the door")) }
                p.quiet { (frame.t("화면을 밝게 하고 입구에서 보여 주세요. 한 장에 한 분씩 들어가요.", "Turn your screen bright and show it at the door: one code, one person.")) }
                ul.codes-in {
                    @for (seat, ticket) in tickets {
                        @let name = event.seat_name(lang, seat);
                        li { (qr::draw(ticket, &format!("{name} {}", frame.t("입장 QR", "ticket code")))) strong { (name) } }
                    }
                }
                p { a.plain href=(format!("/bookings/{}/calendar.ics", booking.no)) { (frame.t("캘린더에 넣기", "Add to calendar")) } }
            }
        }
    }
}

/// What giving the tickets back costs now and later, behind one more press.
fn cancelling(frame: &Frame<'_>, booking: &Booked, terms: &Terms) -> Markup {
    let lang = frame.lang();
    html! {
        details.cancel {
            summary { (frame.t("예매 취소", "Cancel this booking")) }
            table.fees {
                thead { tr { th scope="col" {} th scope="col" { (frame.t("수수료", "Fee")) } th scope="col" { (frame.t("돌려받는 금액", "You get back")) } } }
                tbody {
                    tr.now { th scope="row" { (frame.t("지금", "Now")) } td { (won(lang, terms.fee.fee_won)) } td { (won(lang, terms.fee.refund_won)) } }
                    @if let Some((at_ms, fee)) = terms.then {
                        tr {
                            th scope="row" { (part::moment(frame, at_ms)) (frame.t("부터", " on")) }
                            @match fee {
                                Some(fee) => { td { (won(lang, fee.fee_won)) } td { (won(lang, fee.refund_won)) } }
                                None => td colspan="2" { (frame.t("취소할 수 없어요", "no cancelling")) }
                            }
                        }
                    }
                }
            }
            p.quiet { (frame.t("취소한 좌석은 다음 10분 단위 시각에 한꺼번에 다시 열려요.", "Cancelled seats are offered again together, at the next ten minutes.")) }
            form method="post" action=(format!("/bookings/{}/cancel", booking.no)) {
                (frame.token_field())
                input type="hidden" name="fee_won" value=(terms.fee.fee_won);
                button.button.ghost { (frame.t("이 조건으로 취소하기", "Cancel on these terms")) }
            }
        }
    }
}

/// My page: tickets as tickets.
pub(crate) fn mine(
    frame: &Frame<'_>,
    account: &Account,
    bookings: &[Booked],
    waits: &[Wait],
    transfers: &[Transfer],
    catalogue: &Catalogue,
) -> Markup {
    let coming = |b: &&Booked| {
        catalogue.event(b.performance).is_some_and(|e| e.performance.starts_at_ms >= frame.now_ms)
    };
    let (next, past): (Vec<&Booked>, Vec<&Booked>) = bookings.iter().partition(coming);
    let body = html! {
        div.column {
            div.my-head {
                div {
                    h1 { (account.name) (frame.t("님의 티켓", "'s tickets")) }
                    p.quiet { (account.email) }
                }
                p { a.back href="/my/profile" { (frame.t("내 정보", "My profile")) } }
                form method="post" action="/logout" { (frame.token_field()) button.plain { (frame.t("로그아웃", "Sign out")) } }
            }
            (transfer::mine(frame, transfers, catalogue))
            (waitlist::mine(frame, waits, catalogue))
            @if bookings.is_empty() {
                div.empty {
                    p { (frame.t("아직 예매한 공연이 없어요.", "No tickets yet.")) }
                    a.button href="/" { (frame.t("공연 둘러보기", "Look around")) }
                }
            }
            @for booking in next { @if let Some(event) = catalogue.event(booking.performance) { (ticket(frame, &event, booking)) } }
            @if !past.is_empty() { h2 { (frame.t("지난 공연", "Past")) } }
            @for booking in past { @if let Some(event) = catalogue.event(booking.performance) { (ticket(frame, &event, booking)) } }
        }
    };
    page(frame, frame.t("마이페이지", "My tickets"), body)
}

/// A ticket, with a stub.
fn ticket(frame: &Frame<'_>, event: &Event<'_>, booking: &Booked) -> Markup {
    let lang = frame.lang();
    html! {
        article.ticket.gone[booking.cancelled.is_some()] aria-label=(event.show.title.in_lang(lang)) {
            (part::poster_of(frame, event.show, true))
            div.ticket-main {
                p.eyebrow { (event.show.category.name(lang)) @if booking.cancelled.is_some() { " · " (frame.t("취소됨", "cancelled")) } }
                h2 { a href=(format!("/bookings/{}", booking.no)) { (event.show.title.in_lang(lang)) } }
                p { strong { (date(lang, event.performance.starts_at_ms)) " " (time(event.performance.starts_at_ms)) } br; (event.hall.name.in_lang(lang)) }
                ul.seats-plain { @for seat in &booking.seats { li { (event.seat_name(lang, seat)) } } }
            }
            div.ticket-stub {
                p { span.quiet { (frame.t("예매번호", "Booking number")) } br; strong.mono { (booking.no.grouped()) } }
                p { span.quiet { (booking.seats.len()) (frame.t("매", " tickets")) } br; strong { (won(lang, booking.amount_won)) } }
            }
        }
    }
}
