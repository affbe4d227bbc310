//! The organiser's page of programs: keys for partners, and endpoints that are told what happens.

use axum::{Form, extract::State, http::HeaderMap, response::Response};

use super::{
    Visitor,
    answer::{Answer, Fields, finish, frame},
};
use crate::{api::key::Scopes, desk::Desk, refusal::Refusal, view::integrations as view};

pub(super) async fn page(State(desk): State<Desk>, visitor: Visitor) -> Response {
    let run = async { draw(&desk, &visitor, view::News::default()).await };
    finish(&desk, &visitor, run.await)
}

async fn draw(desk: &Desk, visitor: &Visitor, news: view::News) -> Result<Answer, Refusal> {
    let by = visitor.account()?;
    let (keys, webhooks) = (desk.keys(by).await?, desk.webhooks(by).await?);
    let page = view::page_of(&frame(desk, visitor), &view::Known { keys: &keys, webhooks: &webhooks }, &news);
    Ok(match news.refusal {
        Some(refusal) => Answer::Refused(refusal.status(), page),
        None => Answer::Page(page),
    })
}

/// Does what a button says. A secret is shown in the answer to this, and never again.
pub(super) async fn act(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        let by = visitor.account()?;
        fields.check(&desk, &visitor, &headers)?;
        let done = match fields.get("do") {
            "make-key" => {
                let scopes = fields.all("scope");
                let scopes = Scopes::from_words(scopes.iter().map(String::as_str));
                desk.create_key(by, fields.get("partner"), scopes).await.map(Some)
            }
            "revoke-key" => desk.revoke_key(by, number(&fields)?).await.map(|()| None),
            "make-webhook" => desk.add_webhook(by, fields.get("url")).await.map(Some),
            "remove-webhook" => desk.remove_webhook(by, number(&fields)?).await.map(|()| None),
            "enable-webhook" => desk.enable_webhook(by, number(&fields)?).await.map(|()| None),
            _ => return Err(Refusal::NoSuch),
        };
        match done {
            Ok(None) => Ok(Answer::Goto("/organiser/integrations".into())),
            Ok(secret) => draw(&desk, &visitor, view::News { secret, refusal: None }).await,
            Err(no @ Refusal::Odd(_)) => {
                draw(&desk, &visitor, view::News { secret: None, refusal: Some(no) }).await
            }
            Err(no) => Err(no),
        }
    };
    finish(&desk, &visitor, run.await)
}

/// Row numbers are larger than what a script counts exactly; pages write them in hex.
fn number(fields: &Fields) -> Result<u64, Refusal> {
    u64::from_str_radix(fields.get("id"), 16).map_err(|_| Refusal::NoSuch)
}
