//! A show.

use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    response::Response,
};
use serde::Deserialize;

use super::{
    Visitor,
    answer::{Answer, finish, frame},
};
use crate::{desk::Desk, refusal::Refusal, view::show as view};

#[derive(Deserialize)]
pub(super) struct Chosen {
    day: Option<u64>,
}

pub(super) async fn show(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(slug): Path<String>,
    chosen: Result<Query<Chosen>, QueryRejection>,
) -> Response {
    let run = async {
        let catalogue = desk.catalogue().await?;
        let show = catalogue.show(&slug).ok_or(Refusal::NoSuch)?;
        let events: Vec<_> = catalogue.performances_of(show.id).collect();
        let day = chosen.ok().and_then(|q| q.0.day);
        Ok(Answer::Page(view::show(&frame(&desk, &visitor), show, &events, day)))
    };
    finish(&desk, &visitor, run.await)
}
