//! Every way in which the box office says no: its code, its status, its sentence in both languages.
//!
//! A sentence says what happened, what is safe, and what to do; it never blames.

use axum::http::StatusCode;

use crate::{
    booking::{HoldRefusal, PayRefusal},
    catalogue::Text,
    discount::DiscountRefusal,
    lang::{Lang, won},
    password::PASSWORD_MIN,
    payment::PaymentError,
    store::StoreError,
};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The database does not answer for now.
    NotNow,
    /// A mistake of ours, logged.
    Broken,
    /// There is no such page, show, performance, hold or booking.
    NoSuch,
    /// For organisers, or doors.
    NotAllowed,
    /// Nobody has an account with this address.
    NoMember,
    /// Nobody is signed in.
    NotSignedIn,
    /// Address and password do not belong together.
    WrongPassword,
    /// The current password, asked for once more, is another one.
    WrongCurrentPassword,
    /// Too many failed tries lately.
    TooManyTries,
    /// A letter's link is too old, was used, or was never ours.
    LinkOver,
    /// An account with tickets for what is yet to come is not closed.
    TicketsLeft,
    /// The address cannot be used for a new account.
    SignupRefused,
    /// A field cannot be taken.
    Odd(Field),
    /// The request does not come from a page of ours.
    Foreign,
    /// A POST to the API that is not JSON.
    NotJson,
    /// No, or an unusable, `Idempotency-Key`.
    NoIdempotencyKey,
    /// No seat was named, or one twice, or one that the hall does not have.
    OddSeats,
    /// No so many free seats next to each other.
    NoneTogether,
    /// The sale opens later.
    SaleNotOpen,
    /// The performance has begun.
    SaleOver,
    /// Seats cannot be held.
    Hold(HoldRefusal),
    /// The performance has begun, or its policy ends before.
    TooLateToCancel,
    /// Cancelling costs more by now than the visitor agreed to: so much.
    FeeChanged(u64),
    /// A hold cannot be paid.
    Pay(PayRefusal),
    /// Money was not taken.
    Payment(PaymentError),
    /// What an organiser wrote cannot be taken; this says what to mend.
    Mend(Text),
    /// The waiting room comes first.
    Queue(QueueRefusal),
    /// Nobody can wait for this.
    Waitlist(WaitRefusal),
    /// These seats cannot have this kind of ticket.
    Discount(DiscountRefusal),
}

/// Why somebody cannot join a waiting list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitRefusal {
    /// So many seats can be bought now.
    StillFree,
    /// Enough people wait.
    Full,
    /// It is too late.
    Ended,
    /// They are in the line.
    Already,
    /// They would have more than they may.
    Limit {
        /// How many they may have.
        limit: u8,
        /// How many they have already.
        have: u8,
    },
}

/// Why somebody must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueRefusal {
    /// The lobby is not open yet.
    Closed,
    /// The lottery is being drawn.
    Drawing,
    /// The number is not called yet.
    NotCalled,
    /// No turn, or one that is over.
    NoTurn,
}

/// A field of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// E-mail address.
    Email,
    /// Name.
    Name,
    /// Password.
    Password,
    /// Consent to the terms.
    Terms,
    /// A partner's name, or what its key opens.
    Partner,
    /// The address of an endpoint that is to be told what happens.
    Endpoint,
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        match error {
            StoreError::NotNow(why) => {
                tracing::debug!("not now: {why}");
                Refusal::NotNow
            }
            error => {
                tracing::error!("{error}");
                Refusal::Broken
            }
        }
    }
}

impl Refusal {
    /// Its word in the API.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NotNow => "not_now",
            Refusal::Broken => "broken",
            Refusal::NoSuch => "not_found",
            Refusal::NotAllowed => "not_allowed",
            Refusal::NoMember => "no_member",
            Refusal::NotSignedIn => "not_signed_in",
            Refusal::WrongPassword => "wrong_email_or_password",
            Refusal::WrongCurrentPassword => "wrong_password",
            Refusal::TooManyTries => "too_many_tries",
            Refusal::LinkOver => "link_over",
            Refusal::TicketsLeft => "tickets_left",
            Refusal::SignupRefused => "signup_refused",
            Refusal::Odd(Field::Email) => "invalid_email",
            Refusal::Odd(Field::Name) => "invalid_name",
            Refusal::Odd(Field::Password) => "invalid_password",
            Refusal::Odd(Field::Terms) => "terms_required",
            Refusal::Odd(Field::Partner) => "invalid_partner",
            Refusal::Odd(Field::Endpoint) => "invalid_endpoint",
            Refusal::Foreign => "foreign_request",
            Refusal::NotJson => "json_required",
            Refusal::NoIdempotencyKey => "idempotency_key_required",
            Refusal::OddSeats => "invalid_seats",
            Refusal::NoneTogether => "none_together",
            Refusal::TooLateToCancel => "too_late_to_cancel",
            Refusal::FeeChanged(_) => "fee_changed",
            Refusal::SaleNotOpen => "sale_not_open",
            Refusal::SaleOver => "sale_over",
            Refusal::Hold(HoldRefusal::SeatTaken(_)) => "seat_taken",
            Refusal::Hold(HoldRefusal::LimitReached { .. }) => "limit_reached",
            Refusal::Hold(HoldRefusal::AlreadyBooked) | Refusal::Pay(PayRefusal::AlreadyBooked) => {
                "already_booked"
            }
            Refusal::Pay(PayRefusal::HoldExpired) => "hold_expired",
            Refusal::Payment(PaymentError::Declined) => "payment_declined",
            Refusal::Payment(PaymentError::UnknownMethod(_)) => "unknown_payment_method",
            Refusal::Payment(PaymentError::Unknown(_)) => "payment_unknown",
            Refusal::Payment(PaymentError::Misconfigured(_)) => "payment_unavailable",
            Refusal::Mend(_) => "invalid_programme",
            Refusal::Queue(QueueRefusal::Closed) => "queue_closed",
            Refusal::Queue(QueueRefusal::Drawing) => "queue_drawing",
            Refusal::Queue(QueueRefusal::NotCalled) => "queue_not_called",
            Refusal::Queue(QueueRefusal::NoTurn) => "turn_required",
            Refusal::Discount(_) => "discount_refused",
            Refusal::Waitlist(WaitRefusal::StillFree) => "waitlist_seats_free",
            Refusal::Waitlist(WaitRefusal::Full) => "waitlist_full",
            Refusal::Waitlist(WaitRefusal::Ended) => "waitlist_ended",
            Refusal::Waitlist(WaitRefusal::Already) => "waitlist_joined",
            Refusal::Waitlist(WaitRefusal::Limit { .. }) => "limit_reached",
        }
    }

    /// Its HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::NotNow => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Broken => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::NoSuch | Refusal::NoMember => StatusCode::NOT_FOUND,
            Refusal::NotSignedIn | Refusal::WrongPassword => StatusCode::UNAUTHORIZED,
            Refusal::WrongCurrentPassword => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::TooManyTries => StatusCode::TOO_MANY_REQUESTS,
            Refusal::LinkOver => StatusCode::GONE,
            Refusal::Foreign | Refusal::NotAllowed => StatusCode::FORBIDDEN,
            Refusal::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::Odd(_)
            | Refusal::NoIdempotencyKey
            | Refusal::OddSeats
            | Refusal::Mend(_)
            | Refusal::Payment(PaymentError::UnknownMethod(_)) => StatusCode::BAD_REQUEST,
            Refusal::Payment(PaymentError::Declined) => StatusCode::PAYMENT_REQUIRED,
            Refusal::Payment(PaymentError::Unknown(_)) => StatusCode::GATEWAY_TIMEOUT,
            Refusal::Payment(PaymentError::Misconfigured(_)) => StatusCode::BAD_GATEWAY,
            Refusal::SignupRefused
            | Refusal::TicketsLeft
            | Refusal::NoneTogether
            | Refusal::TooLateToCancel
            | Refusal::FeeChanged(_)
            | Refusal::SaleNotOpen
            | Refusal::SaleOver
            | Refusal::Hold(_)
            | Refusal::Pay(_)
            | Refusal::Queue(_)
            | Refusal::Waitlist(_)
            | Refusal::Discount(_) => StatusCode::CONFLICT,
        }
    }

    /// What a visitor reads.
    pub fn sentence(&self, lang: Lang) -> String {
        let text = match self {
            Refusal::NotNow => lang.pick(
                "잠시 연결을 다시 잇고 있어요. 예매하신 내역은 안전해요. 이 화면은 곧 저절로 다시 열려요.",
                "We are reconnecting for a moment. Your bookings are safe. This page will open again by itself.",
            ),
            Refusal::Broken => lang.pick(
                "저희 쪽에 문제가 생겼어요. 예매하신 내역은 안전해요. 잠시 뒤 다시 시도해 주세요.",
                "Something went wrong on our side. Your bookings are safe. Please try again in a moment.",
            ),
            Refusal::NoSuch => {
                lang.pick("찾으시는 화면이 없어요. 처음 화면에서 다시 찾아볼까요?", "There is no such page. Shall we start again from the front page?")
            }
            Refusal::NotAllowed => lang.pick(
                "담당자만 볼 수 있는 화면이에요. 주최자에게 역할을 부탁해 주세요.",
                "This page is for the staff. Ask the organiser for a role.",
            ),
            Refusal::NoMember => lang.pick(
                "이 이메일로 가입한 분이 없어요. 먼저 가입을 부탁해 주세요.",
                "Nobody has an account with this address. Ask them to sign up first.",
            ),
            Refusal::NotSignedIn => lang.pick("로그인하면 이어서 예매할 수 있어요.", "Sign in to go on with your booking."),
            Refusal::WrongPassword => lang.pick(
                "이메일이나 비밀번호가 맞지 않아요. 다시 확인해 주세요.",
                "The e-mail address or the password does not match. Please check both.",
            ),
            Refusal::WrongCurrentPassword => lang.pick(
                "지금 비밀번호가 맞지 않아요. 다시 확인해 주세요.",
                "That is not your current password. Please check it.",
            ),
            Refusal::TooManyTries => lang.pick(
                "여러 번 맞지 않아 잠시 쉬어 가요. 15분 뒤 다시 시도하거나, 비밀번호 찾기로 바로 새로 정할 수 있어요.",
                "That was tried too often, so we pause. Try again in 15 minutes, or choose a new password by letter now.",
            ),
            Refusal::LinkOver => lang.pick(
                "이 주소는 이미 썼거나 시간이 지났어요. 메일을 다시 받으면 이어서 할 수 있어요.",
                "This link was used already, or is too old. Ask for another letter to go on.",
            ),
            Refusal::TicketsLeft => lang.pick(
                "아직 남은 공연의 티켓이 있어요. 티켓이 사라지지 않도록, 먼저 취소하거나 공연이 끝난 뒤 탈퇴해 주세요.",
                "You have tickets for a show that is yet to come. So that they are not lost, cancel them first, or close your account after the show.",
            ),
            Refusal::SignupRefused => lang.pick(
                "이 이메일로는 새로 가입할 수 없어요. 이미 가입하셨다면 로그인해 주세요.",
                "This address cannot be used for a new account. If you already have one, please sign in.",
            ),
            Refusal::Odd(Field::Email) => {
                lang.pick("이메일 주소를 name@example.com처럼 적어 주세요.", "Please write your e-mail address like name@example.com.")
            }
            Refusal::Odd(Field::Name) => lang.pick("이름을 1자에서 30자로 적어 주세요.", "Please write your name in 1 to 30 characters."),
            Refusal::Odd(Field::Password) => {
                return match lang {
                    Lang::Ko => format!("비밀번호를 {PASSWORD_MIN}자 이상으로 정해 주세요."),
                    Lang::En => format!("Please choose a password of at least {PASSWORD_MIN} characters."),
                };
            }
            Refusal::Odd(Field::Terms) => lang.pick("이용약관에 동의하시면 가입할 수 있어요.", "Please agree to the terms to sign up."),
            Refusal::Odd(Field::Partner) => lang.pick(
                "파트너 이름을 영문 소문자, 숫자, -로 적고 권한을 하나 이상 골라 주세요.",
                "Write the partner's name in small letters, digits and -, and choose at least one scope.",
            ),
            Refusal::Odd(Field::Endpoint) => lang.pick(
                "https://로 시작하는, 누구나 닿을 수 있는 주소를 적어 주세요. 안쪽 망의 주소에는 보내지 않아요. 20곳까지 둘 수 있어요.",
                "Write a public address that begins with https://. We send nothing into private networks, and to at most 20 addresses.",
            ),
            Refusal::Foreign => lang.pick(
                "화면이 오래되어 안전을 위해 멈췄어요. 새로 고친 뒤 다시 눌러 주세요.",
                "This page was too old, so we stopped to be safe. Please reload it and press again.",
            ),
            Refusal::NotJson => lang.pick("Content-Type: application/json 으로 보내 주세요.", "Send Content-Type: application/json with a valid body."),
            Refusal::NoIdempotencyKey => lang.pick(
                "Idempotency-Key 헤더를 1자에서 64자로 보내 주세요.",
                "Send an Idempotency-Key header of 1 to 64 characters.",
            ),
            Refusal::OddSeats => lang.pick("좌석을 한 자리 이상 골라 주세요.", "Please choose at least one seat."),
            Refusal::NoneTogether => lang.pick(
                "나란히 비어 있는 자리를 찾지 못했어요. 매수를 줄이거나 다른 등급을 골라 볼까요?",
                "There are not so many free seats together. Shall we try fewer, or another grade?",
            ),
            Refusal::TooLateToCancel => lang.pick(
                "이 예매는 지금 취소할 수 없어요. 공연이 시작되었거나 취소 마감이 지났어요.",
                "This booking can no longer be cancelled: the performance has begun, or the deadline is over.",
            ),
            Refusal::FeeChanged(fee_won) => {
                let fee = won(lang, *fee_won);
                return match lang {
                    Lang::Ko => format!("그사이 취소 수수료가 {fee}으로 바뀌었어요. 아직 취소하지 않았으니 다시 확인해 주세요."),
                    Lang::En => format!("Cancelling costs {fee} by now. Nothing was cancelled yet; please look again."),
                };
            }
            Refusal::SaleNotOpen => lang.pick("아직 예매가 열리지 않았어요. 열리는 시각을 확인해 주세요.", "The sale has not opened yet. Please see when it opens."),
            Refusal::SaleOver => lang.pick("이 회차는 예매가 끝났어요. 다른 회차를 골라 주세요.", "The sale of this performance is over. Please choose another."),
            Refusal::Hold(HoldRefusal::SeatTaken(_)) => lang.pick(
                "방금 다른 분이 먼저 선택했어요. 가까운 자리를 찾아볼까요?",
                "Somebody else was a moment faster. Shall we look for a seat nearby?",
            ),
            Refusal::Hold(HoldRefusal::LimitReached { limit, have })
            | Refusal::Waitlist(WaitRefusal::Limit { limit, have }) => {
                return match lang {
                    Lang::Ko => format!("한 분이 {limit}매까지 예매할 수 있어요. 지금 {have}매를 가지고 계세요."),
                    Lang::En => format!("Each account may have {limit} tickets. You have {have} now."),
                };
            }
            Refusal::Hold(HoldRefusal::AlreadyBooked) | Refusal::Pay(PayRefusal::AlreadyBooked) => lang.pick(
                "이미 결제가 끝난 좌석이에요. 마이페이지에서 확인해 주세요.",
                "These seats are already paid for. You find them on your page.",
            ),
            Refusal::Pay(PayRefusal::HoldExpired) => lang.pick(
                "좌석을 잡아 둔 시간이 지났어요. 결제된 금액은 없어요. 좌석을 다시 골라 주세요.",
                "The time for these seats has run out. You were not charged. Please choose again.",
            ),
            Refusal::Payment(PaymentError::Declined) => lang.pick(
                "결제가 승인되지 않았어요. 좌석은 그대로 잡혀 있으니 다른 수단으로 결제해 주세요.",
                "The payment was declined. Your seats are still held; please pay another way.",
            ),
            Refusal::Payment(PaymentError::UnknownMethod(_)) => {
                lang.pick("결제 수단을 골라 주세요.", "Please choose how to pay.")
            }
            Refusal::Payment(PaymentError::Unknown(_)) => lang.pick(
                "결제 결과를 아직 확인하지 못했어요. 같은 버튼을 다시 눌러 주세요. 두 번 결제되지 않아요.",
                "We do not know yet whether the payment went through. Press the same button again; you are charged once.",
            ),
            Refusal::Payment(PaymentError::Misconfigured(_)) => lang.pick(
                "지금은 이 수단으로 결제할 수 없어요. 좌석은 그대로예요. 다른 수단을 골라 주세요.",
                "This way of paying does not work right now. Your seats are still held; please choose another.",
            ),
            Refusal::Mend(what) => what.in_lang(lang),
            Refusal::Discount(DiscountRefusal::NoSuch(_)) => lang.pick(
                "지금은 쓸 수 없는 할인이에요. 좌석은 그대로예요. 다른 권종을 골라 주세요.",
                "This discount cannot be had now. Your seats are still held; please choose another.",
            ),
            Refusal::Discount(DiscountRefusal::NotForGrade(_)) => lang.pick(
                "이 등급에는 쓸 수 없는 할인이에요. 다른 권종을 골라 주세요.",
                "This discount is not for seats of this grade. Please choose another.",
            ),
            Refusal::Discount(DiscountRefusal::TooMany { seats_max, .. }) => {
                return match lang {
                    Lang::Ko => format!("이 할인은 한 번에 {seats_max}매까지 쓸 수 있어요."),
                    Lang::En => format!("This discount is for up to {seats_max} tickets of a booking."),
                };
            }
            Refusal::Waitlist(WaitRefusal::StillFree) => lang.pick(
                "지금 바로 예매할 수 있는 자리가 있어요. 기다리지 말고 골라 보세요.",
                "There are seats that you can book right now, without waiting.",
            ),
            Refusal::Waitlist(WaitRefusal::Full) => lang.pick(
                "이 등급은 이미 많은 분이 기다리고 있어요. 다른 등급이나 회차를 골라 볼까요?",
                "Enough people wait for this grade. Shall we try another one, or another date?",
            ),
            Refusal::Waitlist(WaitRefusal::Ended) => lang.pick(
                "이 회차의 예매대기는 끝났어요. 지금부터 나오는 자리는 누구나 바로 예매할 수 있어요.",
                "The waiting list of this performance has ended. What comes back now is for everybody.",
            ),
            Refusal::Waitlist(WaitRefusal::Already) => {
                lang.pick("이미 이 등급을 기다리고 계세요.", "You are in the line for this grade already.")
            }
            Refusal::Queue(QueueRefusal::Closed) => lang.pick(
                "대기실은 예매 30분 전에 열려요. 미리 들어오신 분들은 무작위로 순번을 받아요.",
                "The waiting room opens 30 minutes before the sale. Whoever is there early gets a random number.",
            ),
            Refusal::Queue(QueueRefusal::Drawing) => lang.pick(
                "지금 순번을 추첨하고 있어요. 잠시 뒤 순번을 알려 드릴게요.",
                "Numbers are being drawn. You will have yours in a moment.",
            ),
            Refusal::Queue(QueueRefusal::NotCalled) => lang.pick(
                "아직 순서가 오지 않았어요. 이 창을 닫아도 순번은 유지돼요.",
                "It is not your turn yet. You keep your number even if you close this page.",
            ),
            Refusal::Queue(QueueRefusal::NoTurn) => lang.pick(
                "지금은 많은 분이 함께 예매하고 있어요. 대기실에서 순번을 받으면 이어서 고를 수 있어요.",
                "Many people are booking right now. Take a number in the waiting room to go on.",
            ),
        };
        text.to_owned()
    }
}
