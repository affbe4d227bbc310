//! What people see of their accounts: a new password, the address, the profile, the end.

use maud::{Markup, html};

use super::{Frame, page, part};
use crate::{password::PASSWORD_MIN, store::Account};

/// Where to send a link for a new password; `asked` once that was done.
pub(crate) fn forgot(frame: &Frame<'_>, asked: bool, notice: Option<&str>) -> Markup {
    let title = frame.t("비밀번호 찾기", "Forgot your password");
    let body = html! {
        div.column.narrow {
            h1 { (title) }
            @if let Some(sentence) = notice { (part::notice(sentence)) }
            @if asked {
                p.notice.good role="status" {
                    (frame.t("이 주소로 가입하셨다면 곧 메일이 도착해요. 메일의 주소에서 새 비밀번호를 정해 주세요.",
                        "If this address has an account, a letter is on its way. Its link leads to a new password."))
                }
                p.quiet { (frame.t("한 시간 동안 쓸 수 있어요. 오지 않으면 스팸함도 봐 주세요.", "The link works for an hour. If nothing comes, look among your spam, too.")) }
                p { a.button href="/login" { (frame.t("로그인으로", "To sign in")) } }
            } @else {
                p.lead { (frame.t("가입하신 이메일로 새 비밀번호를 정하는 주소를 보내 드려요.", "We send a link to your address, and you choose a new one.")) }
                form.fields method="post" action="/forgot" {
                    (frame.token_field())
                    label { span { (frame.t("이메일", "E-mail")) } input name="email" type="email" autocomplete="username" required maxlength="254"; }
                    button.button.wide { (frame.t("메일 받기", "Send the letter")) }
                }
                p { a href="/login" { (frame.t("로그인으로 돌아가기", "Back to sign in")) } }
            }
        }
    };
    page(frame, title, body)
}

/// A new password, by a letter's link.
pub(crate) fn reset(frame: &Frame<'_>, token: &str, notice: Option<&str>) -> Markup {
    let title = frame.t("새 비밀번호", "A new password");
    let body = html! {
        div.column.narrow {
            h1 { (title) }
            @if let Some(sentence) = notice { (part::notice(sentence)) }
            form.fields method="post" action="/reset" {
                (frame.token_field())
                input type="hidden" name="t" value=(token);
                (new_password(frame, frame.t("새 비밀번호", "New password")))
                button.button.wide { (frame.t("바꾸고 로그인하기", "Change it and sign in")) }
            }
            p.quiet { (frame.t("바꾸면 다른 기기에서는 모두 로그아웃돼요.", "You will be signed out everywhere else.")) }
        }
    };
    page(frame, title, body)
}

fn new_password(frame: &Frame<'_>, name: &str) -> Markup {
    html! {
        label { span { (name) " " span.quiet { "(" (PASSWORD_MIN) (frame.t("자 이상)", " characters or more)")) } }
            input name="password" type="password" autocomplete="new-password" required minlength=(PASSWORD_MIN) maxlength="200"; }
    }
}

/// One press confirms an address: programs that open every link in a letter confirm nothing.
pub(crate) fn confirm(frame: &Frame<'_>, token: &str) -> Markup {
    let title = frame.t("이메일 확인", "Confirm your address");
    let body = html! {
        div.column.narrow.calm {
            h1 { (title) }
            p.lead { (frame.t("이 주소가 맞으면 눌러 주세요.", "If this is your address, press once.")) }
            form method="post" action="/confirm" {
                (frame.token_field())
                input type="hidden" name="t" value=(token);
                button.button { (frame.t("확인하기", "Confirm")) }
            }
        }
    };
    page(frame, title, body)
}

/// What was done, in one sentence.
pub(crate) fn told(frame: &Frame<'_>, title: &str, sentence: &str) -> Markup {
    let body = html! {
        div.column.narrow.calm {
            h1 { (title) }
            p.lead role="status" { (sentence) }
            p.row { a.button href="/" { (frame.t("공연 둘러보기", "Look around")) } a.plain href="/my" { (frame.t("마이페이지", "My tickets")) } }
        }
    };
    page(frame, title, body)
}

/// What the profile page knows.
pub(crate) struct ProfileView<'p> {
    /// Whose.
    pub(crate) account: &'p Account,
    /// Whether the address was confirmed.
    pub(crate) confirmed: bool,
    /// Something that went wrong.
    pub(crate) notice: Option<String>,
    /// Something that was done.
    pub(crate) done: Option<&'p str>,
}

/// Name, address, password, the end.
pub(crate) fn profile(frame: &Frame<'_>, view: &ProfileView<'_>) -> Markup {
    let title = frame.t("내 정보", "My profile");
    let body = html! {
        div.column.narrow {
            p.eyebrow { a href="/my" { (frame.t("마이페이지", "My tickets")) } }
            h1 { (title) }
            @if let Some(sentence) = &view.notice { (part::notice(sentence)) }
            @if let Some(sentence) = view.done { p.notice.good role="status" { (sentence) } }
            section.step aria-labelledby="who" {
                h2 #who { (frame.t("이름과 이메일", "Name and address")) }
                form.fields method="post" action="/my/profile" {
                    (frame.token_field())
                    label { span { (frame.t("이름", "Name")) } input name="name" autocomplete="name" required maxlength="30" value=(view.account.name); }
                    button.button.ghost { (frame.t("이름 바꾸기", "Change name")) }
                }
                p { (view.account.email) br;
                    @if view.confirmed { span.quiet { "✓ " (frame.t("확인한 주소예요", "confirmed")) } }
                    @else { span.quiet { (frame.t("아직 확인하지 않은 주소예요", "not confirmed yet")) } }
                }
                @if !view.confirmed {
                    form method="post" action="/my/confirm" {
                        (frame.token_field())
                        button.plain { (frame.t("확인 메일 다시 받기", "Send the letter again")) }
                    }
                }
            }
            section.step aria-labelledby="password" {
                h2 #password { (frame.t("비밀번호", "Password")) }
                form.fields method="post" action="/my/password" {
                    (frame.token_field())
                    label { span { (frame.t("지금 비밀번호", "Current password")) } input name="current" type="password" autocomplete="current-password" required maxlength="200"; }
                    (new_password(frame, frame.t("새 비밀번호", "New password")))
                    button.button.ghost { (frame.t("비밀번호 바꾸기", "Change password")) }
                }
                p.quiet { (frame.t("바꾸면 다른 기기에서는 모두 로그아웃돼요.", "You will be signed out everywhere else.")) }
            }
            details.step {
                summary { (frame.t("회원 탈퇴", "Close my account")) }
                p { (frame.t("이름과 이메일을 바로 지워요. 예매와 결제 기록은 법이 정한 동안 이름 없이 남아요. 되돌릴 수 없어요.",
                    "Your name and address are erased at once. Bookings and payments stay without a name, as the law asks. This cannot be undone.")) }
                form.fields method="post" action="/my/close" {
                    (frame.token_field())
                    label { span { (frame.t("비밀번호", "Password")) } input name="current" type="password" autocomplete="current-password" required maxlength="200"; }
                    button.button.ghost { (frame.t("탈퇴하기", "Close it")) }
                }
            }
        }
    };
    page(frame, title, body)
}
