//! The site's addresses. Each handler extracts, calls the desk, renders; it decides nothing.

mod account;
mod answer;
mod api;
mod assets;
mod booking;
mod door;
mod edge;
mod home;
mod integrations;
mod live;
mod organiser;
mod profile;
mod programme;
mod queue;
mod refund;
mod seats;
mod show;
mod transfer;
mod visitor;
mod waitlist;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};

pub(crate) use assets::address as asset;
pub(crate) use visitor::Visitor;

use crate::{desk::Desk, refusal::Refusal};

/// Every address.
pub fn router(desk: Desk) -> Router {
    Router::new()
        .route("/", get(home::front))
        .route("/musical", get(home::musicals))
        .route("/concert", get(home::concerts))
        .route("/sports", get(home::sports))
        .route("/ranking", get(home::ranking))
        .route("/search", get(home::search))
        .route("/shows/{slug}", get(show::show))
        .route("/performances/{id}", get(seats::map))
        .route("/performances/{id}/best", get(seats::best))
        .route("/performances/{id}/hold", post(seats::take).get(seats::back))
        .route("/performances/{id}/queue", get(queue::page).post(queue::join))
        .route("/performances/{id}/queue/enter", post(queue::enter).get(queue::page))
        .route("/performances/{id}/waitlist", get(waitlist::page).post(waitlist::join))
        .route("/performances/{id}/waitlist/leave", post(waitlist::leave).get(waitlist::page))
        .route("/checkout/{hold}", get(booking::checkout))
        .route("/checkout/{hold}/pay", post(booking::pay).get(booking::back))
        .route("/checkout/{hold}/release", post(booking::release).get(booking::back))
        .route("/transfers/{hold}", get(transfer::page))
        .route("/transfers/{hold}/leave", post(transfer::leave).get(transfer::page))
        .route("/organiser/transfers", get(transfer::bank).post(transfer::arrived))
        .route("/bookings/{no}", get(booking::done))
        .route("/bookings/{no}/calendar.ics", get(booking::calendar))
        .route("/bookings/{no}/cancel", post(booking::cancel).get(booking::done_again))
        .route("/my", get(booking::mine))
        .route("/organiser", get(organiser::list))
        .route("/organiser/integrations", get(integrations::page).post(integrations::act))
        .route("/organiser/staff", get(organiser::staff).post(organiser::set_role))
        .route("/organiser/halls", get(programme::halls).post(programme::add_hall))
        .route("/organiser/programme", get(programme::programme))
        .route("/organiser/shows", post(programme::add_show).get(programme::programme))
        .route("/organiser/discounts", post(programme::add_discount).get(programme::programme))
        .route("/organiser/performances", post(programme::add_performance).get(programme::programme))
        .route("/organiser/bookings/{no}/refund", get(refund::page).post(refund::refund))
        .route("/organiser/performances/{id}", get(organiser::report))
        .route("/organiser/performances/{id}/guests", get(programme::guests).post(programme::keep_back))
        .route("/organiser/performances/{id}/bookings.csv", get(organiser::csv))
        .route("/organiser/performances/{id}/door-list", get(organiser::door_list))
        .route("/door", get(door::list))
        .route("/door/{id}", get(door::page).post(door::admit))
        .route("/my/profile", get(profile::profile).post(profile::rename))
        .route("/my/confirm", post(profile::confirm_again).get(profile::back))
        .route("/my/password", post(profile::change_password).get(profile::back))
        .route("/my/close", post(profile::close).get(profile::back))
        .route("/forgot", get(profile::forgot_form).post(profile::forgot))
        .route("/reset", get(profile::reset_form).post(profile::reset))
        .route("/confirm", get(profile::confirm_form).post(profile::confirm))
        .route("/signup", get(account::sign_up_form).post(account::sign_up))
        .route("/login", get(account::sign_in_form).post(account::sign_in))
        .route("/logout", post(account::sign_out).get(home::back))
        .route("/terms", get(account::terms))
        .route("/en", get(home::in_english))
        .route("/en/", get(home::in_english))
        .route("/en/{*rest}", get(home::in_english))
        .route("/ko", get(home::in_korean))
        .route("/ko/", get(home::in_korean))
        .route("/ko/{*rest}", get(home::in_korean))
        .route("/posters/{file}", get(assets::poster))
        .route("/assets/{name}", get(assets::file))
        .fallback(nowhere)
        .nest("/api", api::routes())
        .nest("/api/v1", crate::api::routes(&desk))
        .layer(middleware::from_fn(edge::finish))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(desk)
}

async fn ready(State(desk): State<Desk>) -> Response {
    match desk.store.ping().await {
        Ok(()) => "ready\n".into_response(),
        Err(e) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {e}\n")).into_response(),
    }
}

async fn nowhere(State(desk): State<Desk>, visitor: Visitor) -> Response {
    answer::finish(&desk, &visitor, Err(Refusal::NoSuch))
}

/// A text as a part of a query.
pub(crate) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.~/".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}
