//! What is on sale, and what of it is free.

use axum::{extract::State, http::HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer,
    answer::{fresh, has, page, tagged, text, unchanged, with_tag},
    ask::{self, Asked, At, Paging},
    problem::Problem,
};
use crate::{
    calendar::iso,
    catalogue::{Event, Show},
    desk::Desk,
    inventory::board::{Board, SeatIndex},
    refusal::Refusal,
    seating::Wanted,
};

pub(super) async fn shows(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Asked(paging): Asked<Paging>,
) -> Answer {
    let (limit, after) = paging.read()?;
    let catalogue = desk.catalogue().await?;
    let mut shows: Vec<&Show> =
        catalogue.shows.iter().filter(|s| after.is_none_or(|id| u64::from(s.id) > id)).collect();
    shows.sort_by_key(|s| s.id);
    let next = (shows.len() > limit).then(|| u64::from(shows[limit - 1].id));
    let items = shows.into_iter().take(limit).map(show_json).collect();
    Ok(tagged(&headers, page(items, next)))
}

pub(super) async fn show(State(desk): State<Desk>, headers: HeaderMap, At(id): At<u32>) -> Answer {
    let catalogue = desk.catalogue().await?;
    let show = catalogue.shows.iter().find(|s| s.id == id).ok_or(Refusal::NoSuch)?;
    Ok(tagged(&headers, show_json(show)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    show_id: Option<u32>,
    limit: Option<u32>,
    cursor: Option<String>,
}

pub(super) async fn performances(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
) -> Answer {
    if which.show_id == Some(0) {
        return Err(Problem::invalid("show_id: from 1"));
    }
    let (limit, after) = ask::page(which.limit, which.cursor.as_deref())?;
    let catalogue = desk.catalogue().await?;
    let mut events: Vec<Event<'_>> = catalogue
        .performances
        .iter()
        .filter(|p| which.show_id.is_none_or(|show| p.show == show))
        .filter(|p| after.is_none_or(|id| u64::from(p.id) > id))
        .filter_map(|p| catalogue.event(p.id))
        .collect();
    events.sort_by_key(|e| e.performance.id);
    let next = (events.len() > limit).then(|| u64::from(events[limit - 1].performance.id));
    let now_ms = desk.clock.now_ms();
    let items = events.iter().take(limit).map(|e| performance_json(e, now_ms)).collect();
    Ok(tagged(&headers, page(items, next)))
}

pub(super) async fn performance(State(desk): State<Desk>, headers: HeaderMap, At(id): At<u32>) -> Answer {
    let catalogue = desk.catalogue().await?;
    let event = catalogue.event(id).ok_or(Refusal::NoSuch)?;
    Ok(tagged(&headers, performance_json(&event, desk.clock.now_ms())))
}

/// Free seats by section. The tag is the board's version: while no seat changes hands nothing is counted.
pub(super) async fn availability(State(desk): State<Desk>, headers: HeaderMap, At(id): At<u32>) -> Answer {
    let catalogue = desk.catalogue().await?;
    let event = catalogue.event(id).ok_or(Refusal::NoSuch)?;
    let (index, board) = desk.live.board(&event).await?;
    let known = board.known();
    let tag = format!("\"{}.{}\"", known.generation, known.version);
    if has(&headers, &tag) {
        return Ok(unchanged(&tag));
    }
    let sections = event.hall.layout.sections.iter().map(|section| {
        let free = section.seats().filter(|(seat, ..)| is_free(&index, &board, seat)).count();
        json!({
            "section": section.id,
            "name": text(&section.name),
            "grade": section.grade,
            "price_won": event.show.grade(&section.grade).map_or(0, |g| g.price_won),
            "capacity": section.capacity(),
            "free": free,
        })
    });
    let sections: Vec<Value> = sections.collect();
    let body = json!({ "performance_id": id, "free": board.free(), "sections": sections });
    Ok(with_tag(&tag, fresh(body)))
}

fn is_free(index: &SeatIndex, board: &Board, seat: &str) -> bool {
    index.index(seat).is_some_and(|at| !board.is_taken(at))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Where {
    section: String,
}

/// Every seat of a section.
pub(super) async fn seats(State(desk): State<Desk>, At(id): At<u32>, Asked(part): Asked<Where>) -> Answer {
    ask::text("section", &part.section, 8, |c| c.is_ascii_alphanumeric())?;
    let catalogue = desk.catalogue().await?;
    let event = catalogue.event(id).ok_or(Refusal::NoSuch)?;
    let section = event.hall.section(&part.section).ok_or(Refusal::NoSuch)?;
    let (index, board) = desk.live.board(&event).await?;
    let seats = section.seats().map(|(seat, row, number)| {
        json!({
            "free": is_free(&index, &board, &seat),
            "wheelchair": section.is_wheelchair(row, number),
            "sight": section.sight_from(row, number).map(text),
            "row": row,
            "number": number,
            "seat": seat,
        })
    });
    let seats: Vec<Value> = seats.collect();
    Ok(fresh(json!({ "performance_id": id, "section": section.id, "grade": section.grade, "seats": seats })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Best {
    count: u16,
    grade: Option<String>,
    #[serde(default)]
    wheelchair: bool,
}

pub(super) async fn best(State(desk): State<Desk>, At(id): At<u32>, Asked(wish): Asked<Best>) -> Answer {
    if !(1..=8).contains(&wish.count) {
        return Err(Problem::invalid("count: from 1 to 8"));
    }
    if let Some(grade) = &wish.grade {
        ask::text("grade", grade, 8, |c| c.is_ascii_alphanumeric())?;
    }
    let wanted = Wanted { count: wish.count, grade: wish.grade, wheelchair: wish.wheelchair };
    let found = desk.best_seats(id, &wanted, rand::random()).await?;
    Ok(fresh(json!({ "groups": found.groups })))
}

fn show_json(show: &Show) -> Value {
    json!({
        "id": show.id,
        "slug": show.slug,
        "category": show.category.word(),
        "title": text(&show.title),
        "tagline": text(&show.tagline),
        "about": text(&show.about),
        "cast": text(&show.cast),
        "runtime_min": show.runtime_min,
        "age_min": show.age_min,
        "grades": show.grades.iter()
            .map(|g| json!({ "grade": g.word, "name": text(&g.name), "price_won": g.price_won }))
            .collect::<Vec<_>>(),
    })
}

fn performance_json(event: &Event<'_>, now_ms: u64) -> Value {
    let p = event.performance;
    json!({
        "id": p.id,
        "show_id": event.show.id,
        "hall": { "id": event.hall.id, "name": text(&event.hall.name) },
        "starts_at": iso(p.starts_at_ms),
        "sale_opens_at": iso(p.sale_opens_at_ms),
        "sale": p.sale(now_ms).word(),
        "capacity": p.capacity,
        "account_limit": p.account_limit,
        "waiting_room": p.waiting_room,
    })
}
