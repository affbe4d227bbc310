//! Sign-up, login, logout, terms.

use axum::{
    Form,
    extract::{Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::Response,
};
use serde::Deserialize;

use super::{
    Visitor,
    answer::{Answer, Fields, finish, frame, local},
};
use crate::{
    desk::{Desk, Signup},
    refusal::Refusal,
    session::Signer,
    view::account::{self as view, Typed},
};

#[derive(Deserialize, Default)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

fn typed(next: Result<Query<Next>, QueryRejection>) -> Typed {
    let next = next.map(|q| q.0.next).unwrap_or_default();
    Typed { next: local(&next).to_owned(), ..Typed::default() }
}

pub(super) async fn sign_up_form(
    State(desk): State<Desk>,
    visitor: Visitor,
    next: Result<Query<Next>, QueryRejection>,
) -> Response {
    let page = view::sign_up(&frame(&desk, &visitor), &typed(next));
    finish(&desk, &visitor, Ok(Answer::Page(page)))
}

pub(super) async fn sign_in_form(
    State(desk): State<Desk>,
    visitor: Visitor,
    next: Result<Query<Next>, QueryRejection>,
) -> Response {
    let page = view::sign_in(&frame(&desk, &visitor), &typed(next));
    finish(&desk, &visitor, Ok(Answer::Page(page)))
}

/// A refusal that the visitor mends in the same form.
fn mendable(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Odd(_) | Refusal::WrongPassword | Refusal::SignupRefused)
}

pub(super) async fn sign_up(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        fields.check(&desk, &visitor, &headers)?;
        let signup = Signup {
            email: fields.get("email").to_owned(),
            name: fields.get("name").to_owned(),
            password: fields.get("password").to_owned(),
            terms: fields.get("terms") == "yes",
        };
        let account = desk.sign_up(signup).await?;
        let cookie = desk.begin_session(account.id, false);
        Ok(Answer::Signed(local(fields.get("next")).to_owned(), cookie))
    };
    let answer = match run.await {
        Err(no) if mendable(&no) => {
            let page = view::sign_up(&frame(&desk, &visitor), &again(&fields, &no, &visitor));
            Ok(Answer::Refused(no.status(), page))
        }
        answer => answer,
    };
    finish(&desk, &visitor, answer)
}

pub(super) async fn sign_in(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        fields.check(&desk, &visitor, &headers)?;
        let account = desk.sign_in(fields.get("email"), fields.get("password")).await?;
        let cookie = desk.begin_session(account.id, fields.get("remember") == "yes");
        Ok(Answer::Signed(local(fields.get("next")).to_owned(), cookie))
    };
    let answer = match run.await {
        Err(no) if mendable(&no) => {
            let page = view::sign_in(&frame(&desk, &visitor), &again(&fields, &no, &visitor));
            Ok(Answer::Refused(no.status(), page))
        }
        answer => answer,
    };
    finish(&desk, &visitor, answer)
}

fn again(fields: &Fields, no: &Refusal, visitor: &Visitor) -> Typed {
    Typed {
        email: fields.get("email").to_owned(),
        name: fields.get("name").to_owned(),
        next: local(fields.get("next")).to_owned(),
        notice: Some(no.sentence(visitor.lang)),
    }
}

pub(super) async fn sign_out(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let answer = Fields(fields)
        .check(&desk, &visitor, &headers)
        .map(|()| Answer::Signed("/".into(), Signer::sign_out()));
    finish(&desk, &visitor, answer)
}

pub(super) async fn terms(State(desk): State<Desk>, visitor: Visitor) -> Response {
    finish(&desk, &visitor, Ok(Answer::Page(view::terms(&frame(&desk, &visitor)))))
}
