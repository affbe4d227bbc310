//! The front page, the kinds of shows, the languages.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use serde::Deserialize;

use super::{
    Visitor,
    answer::{Answer, finish, frame, local},
    visitor::LANG_COOKIE,
};
use crate::{catalogue::Category, desk::Desk, lang::Lang, view::home};

pub(super) async fn front(State(desk): State<Desk>, visitor: Visitor) -> Response {
    let run = async {
        let catalogue = desk.catalogue().await?;
        let ranking = desk.ranking().await?;
        Ok(Answer::Page(home::home(&frame(&desk, &visitor), &catalogue, &ranking)))
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn musicals(state: State<Desk>, visitor: Visitor) -> Response {
    category(state, visitor, Category::Musical).await
}

pub(super) async fn concerts(state: State<Desk>, visitor: Visitor) -> Response {
    category(state, visitor, Category::Concert).await
}

pub(super) async fn sports(state: State<Desk>, visitor: Visitor) -> Response {
    category(state, visitor, Category::Sports).await
}

async fn category(State(desk): State<Desk>, visitor: Visitor, category: Category) -> Response {
    let run = async {
        let catalogue = desk.catalogue().await?;
        Ok(Answer::Page(home::category(&frame(&desk, &visitor), &catalogue, category)))
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn ranking(State(desk): State<Desk>, visitor: Visitor) -> Response {
    let run = async {
        let catalogue = desk.catalogue().await?;
        let ranking = desk.ranking().await?;
        Ok(Answer::Page(home::ranking(&frame(&desk, &visitor), &catalogue, &ranking)))
    };
    finish(&desk, &visitor, run.await)
}

#[derive(Deserialize, Default)]
pub(super) struct Wanted {
    #[serde(default)]
    q: String,
}

/// Nobody types more letters than this to find a show.
const WANTED_MAX: usize = 60;

pub(super) async fn search(
    State(desk): State<Desk>,
    visitor: Visitor,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let wanted: String = wanted.map(|q| q.0.q).unwrap_or_default().chars().take(WANTED_MAX).collect();
    let run = async {
        let catalogue = desk.catalogue().await?;
        Ok(Answer::Page(home::search(&frame(&desk, &visitor), &catalogue, wanted.trim())))
    };
    finish(&desk, &visitor, run.await)
}

/// The page behind a form, asked for without its form: after a refusal, or from the history.
pub(super) async fn back(State(desk): State<Desk>, visitor: Visitor) -> Response {
    finish(&desk, &visitor, Ok(Answer::Goto("/".into())))
}

pub(super) async fn in_english(visitor: Visitor) -> Response {
    speak(Lang::En, &visitor)
}

pub(super) async fn in_korean(visitor: Visitor) -> Response {
    speak(Lang::Ko, &visitor)
}

/// Remembers the language and goes to the same page in it.
fn speak(lang: Lang, visitor: &Visitor) -> Response {
    let path = visitor.path.get(3..).unwrap_or("");
    let to = local(path).to_owned();
    let cookie = format!("{LANG_COOKIE}={}; Path=/; SameSite=Lax; Max-Age=31536000", lang.code());
    (StatusCode::SEE_OTHER, [(header::LOCATION, to), (header::SET_COOKIE, cookie)]).into_response()
}
