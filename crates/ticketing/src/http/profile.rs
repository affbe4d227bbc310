//! A new password, a confirmed address, the profile, the end of an account.

use axum::{
    Form,
    extract::{Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::Response,
};
use serde::Deserialize;

use super::{
    Visitor,
    answer::{Answer, Fields, finish, frame},
};
use crate::{
    desk::Desk,
    refusal::Refusal,
    session::Signer,
    store::Account,
    view::profile::{self as view, ProfileView},
};

type Sent = Form<Vec<(String, String)>>;

pub(super) async fn forgot_form(State(desk): State<Desk>, visitor: Visitor) -> Response {
    let page = view::forgot(&frame(&desk, &visitor), false, None);
    finish(&desk, &visitor, Ok(Answer::Page(page)))
}

pub(super) async fn forgot(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Sent,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        fields.check(&desk, &visitor, &headers)?;
        desk.forgot(fields.get("email")).await
    };
    let answer = match run.await {
        Ok(()) => Ok(Answer::Page(view::forgot(&frame(&desk, &visitor), true, None))),
        Err(no @ Refusal::Odd(_)) => {
            let sentence = no.sentence(visitor.lang);
            Ok(Answer::Refused(no.status(), view::forgot(&frame(&desk, &visitor), false, Some(&sentence))))
        }
        Err(no) => Err(no),
    };
    finish(&desk, &visitor, answer)
}

#[derive(Deserialize, Default)]
pub(super) struct Link {
    #[serde(default)]
    t: String,
}

fn token(link: Result<Query<Link>, QueryRejection>) -> String {
    link.map(|q| q.0.t).unwrap_or_default()
}

pub(super) async fn reset_form(
    State(desk): State<Desk>,
    visitor: Visitor,
    link: Result<Query<Link>, QueryRejection>,
) -> Response {
    let token = token(link);
    let run = async {
        desk.check_reset(&token).await?;
        Ok(Answer::Page(view::reset(&frame(&desk, &visitor), &token, None)))
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn reset(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Sent,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        fields.check(&desk, &visitor, &headers)?;
        desk.reset(fields.get("t"), fields.get("password")).await?;
        Ok(Answer::Signed("/login".into(), Signer::sign_out()))
    };
    let answer = match run.await {
        Err(no @ Refusal::Odd(_)) => {
            let sentence = no.sentence(visitor.lang);
            let page = view::reset(&frame(&desk, &visitor), fields.get("t"), Some(&sentence));
            Ok(Answer::Refused(no.status(), page))
        }
        answer => answer,
    };
    finish(&desk, &visitor, answer)
}

pub(super) async fn confirm_form(
    State(desk): State<Desk>,
    visitor: Visitor,
    link: Result<Query<Link>, QueryRejection>,
) -> Response {
    let page = view::confirm(&frame(&desk, &visitor), &token(link));
    finish(&desk, &visitor, Ok(Answer::Page(page)))
}

pub(super) async fn confirm(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Sent,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        fields.check(&desk, &visitor, &headers)?;
        desk.confirm(fields.get("t")).await?;
        let frame = frame(&desk, &visitor);
        let (title, sentence) = (
            frame.t("확인했어요", "Confirmed"),
            frame.t("이제 예매 소식을 이 주소로 보내 드려요.", "Your tickets' letters go to this address."),
        );
        Ok(Answer::Page(view::told(&frame, title, sentence)))
    };
    finish(&desk, &visitor, run.await)
}

async fn account(desk: &Desk, visitor: &Visitor) -> Result<Account, Refusal> {
    desk.store.account(visitor.account()?).await?.ok_or(Refusal::NotSignedIn)
}

async fn draw(
    desk: &Desk,
    visitor: &Visitor,
    refusal: Option<Refusal>,
    done: Option<&str>,
) -> Result<Answer, Refusal> {
    let account = account(desk, visitor).await?;
    let confirmed = desk.store.is_confirmed(account.id).await?;
    let notice = refusal.as_ref().map(|r| r.sentence(visitor.lang));
    let page =
        view::profile(&frame(desk, visitor), &ProfileView { account: &account, confirmed, notice, done });
    Ok(match refusal {
        Some(refusal) => Answer::Refused(refusal.status(), page),
        None => Answer::Page(page),
    })
}

pub(super) async fn profile(State(desk): State<Desk>, visitor: Visitor) -> Response {
    let answer = draw(&desk, &visitor, None, None).await;
    finish(&desk, &visitor, answer)
}

/// Shows on the profile what came of a form on it.
async fn after(desk: &Desk, visitor: &Visitor, done: Result<&str, Refusal>) -> Response {
    let answer = match done {
        Ok(sentence) => draw(desk, visitor, None, Some(sentence)).await,
        Err(no @ (Refusal::NotSignedIn | Refusal::Foreign | Refusal::NotNow | Refusal::Broken)) => Err(no),
        Err(no) => draw(desk, visitor, Some(no), None).await,
    };
    finish(desk, visitor, answer)
}

pub(super) async fn rename(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Sent,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        fields.check(&desk, &visitor, &headers)?;
        desk.rename(visitor.account()?, fields.get("name")).await?;
        Ok(visitor.lang.pick("이름을 바꿨어요.", "Your name was changed."))
    };
    let done = run.await;
    after(&desk, &visitor, done).await
}

pub(super) async fn confirm_again(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Sent,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        fields.check(&desk, &visitor, &headers)?;
        desk.confirm_again(visitor.account()?).await?;
        Ok(visitor.lang.pick("확인 메일을 보냈어요.", "The letter is on its way."))
    };
    let done = run.await;
    after(&desk, &visitor, done).await
}

pub(super) async fn change_password(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Sent,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        fields.check(&desk, &visitor, &headers)?;
        let account = visitor.account()?;
        desk.change_password(account, fields.get("current"), fields.get("password")).await?;
        // This browser goes on, with a session of its own.
        Ok(desk.begin_session(account, false))
    };
    match run.await {
        Ok(cookie) => finish(&desk, &visitor, Ok(Answer::Signed("/my/profile".into(), cookie))),
        Err(no) => after(&desk, &visitor, Err(no)).await,
    }
}

pub(super) async fn close(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Sent,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        fields.check(&desk, &visitor, &headers)?;
        desk.close(visitor.account()?, fields.get("current")).await
    };
    match run.await {
        Ok(()) => finish(&desk, &visitor, Ok(Answer::Signed("/".into(), Signer::sign_out()))),
        Err(no) => after(&desk, &visitor, Err(no)).await,
    }
}

pub(super) async fn back(State(desk): State<Desk>, visitor: Visitor) -> Response {
    finish(&desk, &visitor, Ok(Answer::Goto("/my/profile".into())))
}
