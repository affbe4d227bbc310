//! The organiser's pages for what is put on sale.

use axum::{
    Form,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::Deserialize;

use super::{
    Visitor,
    answer::{Answer, Fields, finish, frame},
};
use crate::{
    calendar::from_form,
    catalogue::{Category, GRADES, Text},
    desk::{Desk, HallRefusal},
    discount::{Discount, Less},
    refusal::Refusal,
    store::{NewPerformance, NewShow},
    view::programme as view,
};

/// What was made just now.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Made {
    made: Option<u32>,
}

fn text(fields: &Fields, name: &str) -> Text {
    Text::new(fields.get(&format!("{name}_ko")), fields.get(&format!("{name}_en")))
}

/// A moment that a form says in Korean time.
fn moment(fields: &Fields, name: &str) -> Result<u64, Refusal> {
    from_form(fields.get(name)).ok_or_else(|| {
        Refusal::Mend(Text::new(
            "날짜와 시각을 2026-12-24T19:30처럼 적어 주세요.",
            "Please write date and time like 2026-12-24T19:30.",
        ))
    })
}

/// Whatever an organiser may mend stands on the same page, with what they wrote.
fn mends(no: &Refusal) -> bool {
    matches!(no, Refusal::Mend(_))
}

async fn draw_halls(
    desk: &Desk,
    visitor: &Visitor,
    fields: &Fields,
    refusal: Option<&HallRefusal>,
    made: Option<u32>,
) -> Result<Answer, Refusal> {
    let catalogue = desk.programme(visitor.account()?).await?;
    let written = (text(fields, "name"), fields.get("csv"));
    let page = view::halls(&frame(desk, visitor), &catalogue, &written, refusal, made);
    Ok(if refusal.is_some() { Answer::Refused(StatusCode::BAD_REQUEST, page) } else { Answer::Page(page) })
}

pub(super) async fn halls(State(desk): State<Desk>, visitor: Visitor, Query(made): Query<Made>) -> Response {
    let run = async { draw_halls(&desk, &visitor, &Fields(Vec::new()), None, made.made).await };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn add_hall(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        let by = visitor.account()?;
        fields.check(&desk, &visitor, &headers)?;
        match desk.add_hall(by, text(&fields, "name"), fields.get("csv")).await {
            Ok(id) => Ok(Answer::Goto(format!("/organiser/halls?made={id}"))),
            Err(HallRefusal::No(no)) if !mends(&no) => Err(no),
            Err(no) => draw_halls(&desk, &visitor, &fields, Some(&no), None).await,
        }
    };
    finish(&desk, &visitor, run.await)
}

async fn draw_programme(
    desk: &Desk,
    visitor: &Visitor,
    fields: &Fields,
    refusal: Option<&Refusal>,
    made: Option<u32>,
) -> Result<Answer, Refusal> {
    let catalogue = desk.programme(visitor.account()?).await?;
    let notice = refusal.map(|r| r.sentence(visitor.lang));
    let page =
        view::programme(&frame(desk, visitor), &catalogue, &|name| fields.get(name), notice.as_deref(), made);
    Ok(match refusal {
        Some(refusal) => Answer::Refused(refusal.status(), page),
        None => Answer::Page(page),
    })
}

pub(super) async fn programme(
    State(desk): State<Desk>,
    visitor: Visitor,
    Query(made): Query<Made>,
) -> Response {
    let run = async { draw_programme(&desk, &visitor, &Fields(Vec::new()), None, made.made).await };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn add_show(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        let by = visitor.account()?;
        fields.check(&desk, &visitor, &headers)?;
        let prices = GRADES.iter().filter_map(|(word, ..)| {
            let price = fields.get(&format!("price_{word}")).trim().replace(',', "");
            // A price that is no number is none that a grade may have.
            (!price.is_empty()).then(|| ((*word).to_owned(), price.parse().unwrap_or(0)))
        });
        let show = NewShow {
            id: 0,
            slug: fields.get("slug").trim().to_owned(),
            category: Category::from_word(fields.get("category")).ok_or(Refusal::NoSuch)?,
            title: text(&fields, "title"),
            tagline: text(&fields, "tagline"),
            about: text(&fields, "about"),
            cast: text(&fields, "cast"),
            runtime_min: fields.get("runtime_min").parse().unwrap_or(0),
            age_min: fields.get("age_min").parse().unwrap_or(u8::MAX),
            prices: prices.collect(),
        };
        match desk.add_show(by, show).await {
            Ok(id) => Ok(Answer::Goto(format!("/organiser/programme?made={id}"))),
            Err(no) if mends(&no) => draw_programme(&desk, &visitor, &fields, Some(&no), None).await,
            Err(no) => Err(no),
        }
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn add_performance(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        let by = visitor.account()?;
        fields.check(&desk, &visitor, &headers)?;
        let add = async {
            let new = NewPerformance {
                id: 0,
                show: fields.get("show").parse().map_err(|_| Refusal::NoSuch)?,
                hall: fields.get("hall").parse().map_err(|_| Refusal::NoSuch)?,
                starts_ms: moment(&fields, "starts")?,
                sale_opens_ms: moment(&fields, "sale_opens")?,
                capacity: 0,
                limit: fields.get("limit").parse().unwrap_or(0),
            };
            desk.add_performance(by, new).await
        };
        match add.await {
            Ok(id) => Ok(Answer::Goto(format!("/organiser/programme?made={id}"))),
            Err(no) if mends(&no) => draw_programme(&desk, &visitor, &fields, Some(&no), None).await,
            Err(no) => Err(no),
        }
    };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn add_discount(
    State(desk): State<Desk>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        let by = visitor.account()?;
        fields.check(&desk, &visitor, &headers)?;
        let add = async {
            let proof = text(&fields, "proof");
            // A number that cannot be read is one that no discount may have.
            let amount = fields.get("amount").trim().replace(',', "");
            let less = match fields.get("less") {
                "won" => Less::Won(amount.parse().unwrap_or(0)),
                _ => Less::Percent(amount.parse().unwrap_or(0)),
            };
            let discount = Discount {
                id: fields.get("word").trim().to_owned(),
                name: text(&fields, "kind"),
                less,
                grades: fields.all("grade"),
                seats_max: fields.get("seats_max").parse().ok().filter(|n| *n > 0),
                proof: (!proof.ko.trim().is_empty() || !proof.en.trim().is_empty()).then_some(proof),
                from_ms: moment(&fields, "from")?,
                until_ms: moment(&fields, "until")?,
            };
            let show = fields.get("show").parse().map_err(|_| Refusal::NoSuch)?;
            desk.add_discount(by, show, discount).await.map(|()| show)
        };
        match add.await {
            Ok(show) => Ok(Answer::Goto(format!("/organiser/programme?made={show}"))),
            Err(no) if mends(&no) => draw_programme(&desk, &visitor, &fields, Some(&no), None).await,
            Err(no) => Err(no),
        }
    };
    finish(&desk, &visitor, run.await)
}

async fn draw_guests(
    desk: &Desk,
    visitor: &Visitor,
    id: u32,
    fields: &Fields,
    refusal: Option<&Refusal>,
) -> Result<Answer, Refusal> {
    let kept = desk.kept_back(visitor.account()?, id).await?;
    let catalogue = desk.catalogue().await?;
    let event = catalogue.event(id).ok_or(Refusal::NoSuch)?;
    let notice = refusal.map(|r| r.sentence(visitor.lang));
    let written = (fields.get("seats"), fields.get("note"));
    let page = view::guests(&frame(desk, visitor), &event, &kept, written, notice.as_deref());
    Ok(match refusal {
        Some(refusal) => Answer::Refused(refusal.status(), page),
        None => Answer::Page(page),
    })
}

pub(super) async fn guests(State(desk): State<Desk>, visitor: Visitor, Path(id): Path<u32>) -> Response {
    let run = async { draw_guests(&desk, &visitor, id, &Fields(Vec::new()), None).await };
    finish(&desk, &visitor, run.await)
}

pub(super) async fn keep_back(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(id): Path<u32>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let run = async {
        let by = visitor.account()?;
        fields.check(&desk, &visitor, &headers)?;
        let seats = fields.get("seats").split([' ', ',', '\n', '\r', '\t']);
        let seats: Vec<String> = seats.filter(|s| !s.is_empty()).map(str::to_owned).collect();
        let done = if fields.get("free") == "yes" {
            desk.give_free(by, id, seats).await
        } else {
            desk.keep_back(by, id, seats, fields.get("note")).await
        };
        match done {
            Ok(()) => Ok(Answer::Goto(format!("/organiser/performances/{id}/guests"))),
            Err(no) if mends(&no) => draw_guests(&desk, &visitor, id, &fields, Some(&no)).await,
            Err(no) => Err(no),
        }
    };
    finish(&desk, &visitor, run.await)
}
