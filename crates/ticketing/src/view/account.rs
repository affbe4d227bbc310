//! Sign-up, login, terms.

use maud::{Markup, html};

use super::{Frame, page, part};
use crate::password::PASSWORD_MIN;

/// What was typed before, so that nobody types it twice.
#[derive(Default)]
pub(crate) struct Typed {
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) next: String,
    pub(crate) notice: Option<String>,
}

/// The sign-up form.
pub(crate) fn sign_up(frame: &Frame<'_>, typed: &Typed) -> Markup {
    let body = html! {
        div.column.narrow {
            h1 { (frame.t("회원가입", "Sign up")) }
            p.lead { (frame.t("세 가지만 알려 주시면 돼요.", "Three things, and you are in.")) }
            @if let Some(sentence) = &typed.notice { (part::notice(sentence)) }
            form.fields method="post" action="/signup" {
                (frame.token_field())
                input type="hidden" name="next" value=(typed.next);
                label { span { (frame.t("이름", "Name")) } input name="name" autocomplete="name" required maxlength="30" value=(typed.name); }
                label { span { (frame.t("이메일", "E-mail")) } input name="email" type="email" autocomplete="username" required maxlength="254" value=(typed.email); }
                label { span { (frame.t("비밀번호", "Password")) " " span.quiet { "(" (PASSWORD_MIN) (frame.t("자 이상)", " characters or more)")) } }
                    input name="password" type="password" autocomplete="new-password" required minlength=(PASSWORD_MIN) maxlength="200"; }
                label.tick { input type="checkbox" name="terms" value="yes" required;
                    span { a href="/terms" { (frame.t("이용약관", "the terms")) } (frame.t("에 동의해요", " are fine with me")) } }
                button.button.wide { (frame.t("가입하기", "Sign up")) }
            }
            p { (frame.t("이미 회원이신가요? ", "Already with us? ")) a href=(with_next("/login", &typed.next)) { (frame.t("로그인", "Sign in")) } }
        }
    };
    page(frame, frame.t("회원가입", "Sign up"), body)
}

/// The login form.
pub(crate) fn sign_in(frame: &Frame<'_>, typed: &Typed) -> Markup {
    let body = html! {
        div.column.narrow {
            h1 { (frame.t("로그인", "Sign in")) }
            @if let Some(sentence) = &typed.notice { (part::notice(sentence)) }
            form.fields method="post" action="/login" {
                (frame.token_field())
                input type="hidden" name="next" value=(typed.next);
                label { span { (frame.t("이메일", "E-mail")) } input name="email" type="email" autocomplete="username" required maxlength="254" value=(typed.email); }
                label { span { (frame.t("비밀번호", "Password")) } input name="password" type="password" autocomplete="current-password" required maxlength="200"; }
                label.tick { input type="checkbox" name="remember" value="yes"; span { (frame.t("로그인 상태 유지", "Stay signed in")) } }
                button.button.wide { (frame.t("로그인", "Sign in")) }
            }
            p { a href="/forgot" { (frame.t("비밀번호를 잊으셨나요?", "Forgot your password?")) } }
            p { (frame.t("처음이신가요? ", "New here? ")) a href=(with_next("/signup", &typed.next)) { (frame.t("회원가입", "Sign up")) } }
        }
    };
    page(frame, frame.t("로그인", "Sign in"), body)
}

/// Terms, short enough to be read.
pub(crate) fn terms(frame: &Frame<'_>) -> Markup {
    let points = match frame.lang() {
        crate::lang::Lang::Ko => [
            ("좌석", "고르신 좌석은 7분 동안 잡아 두어요. 그 안에 결제하시면 예매가 끝나요."),
            ("매수", "한 회차에 뮤지컬은 2매, 콘서트와 스포츠는 4매까지 예매할 수 있어요."),
            ("결제", "같은 결제를 여러 번 누르셔도 한 번만 결제돼요."),
            (
                "개인정보",
                "이름과 이메일만 보관하고, 예매를 확인하는 데에만 써요. 쿠키는 로그인과 언어를 기억하는 데에만 써요.",
            ),
        ],
        crate::lang::Lang::En => [
            (
                "Seats",
                "Seats that you choose are held for 7 minutes. Pay within that time and they are yours.",
            ),
            ("Limits", "For one performance: 2 tickets for musicals, 4 for concerts and sports."),
            ("Payment", "Pressing the button twice pays once."),
            (
                "Your data",
                "We keep your name and e-mail address to know your bookings by, nothing else. Cookies remember your sign-in and your language.",
            ),
        ],
    };
    let body = html! {
        div.column.narrow {
            h1 { (frame.t("이용약관", "Terms")) }
            @for (head, text) in points { h2 { (head) } p { (text) } }
        }
    };
    page(frame, frame.t("이용약관", "Terms"), body)
}

fn with_next(path: &str, next: &str) -> String {
    if next.is_empty() || next == "/" {
        path.to_owned()
    } else {
        format!("{path}?next={}", crate::http::percent(next))
    }
}
