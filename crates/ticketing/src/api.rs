//! The API for partners and organisers, under `/api/v1`: a key in `Authorization: Bearer`, JSON both ways, every error
//! a problem (RFC 9457). `docs/api.md` tells how to use it.
//!
//! [`ROUTES`] is the one list of what is served and of who may ask; `api/openapi.json` says the same to the world, and
//! a test holds one against the other.
//!
//! Must not know: pages, sessions, cookies. What a visitor's browser asks is `http::api`.

mod answer;
mod ask;
mod catalogue;
mod door;
pub mod key;
mod problem;
mod sell;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};

use self::{key::Scope, problem::Problem};
use crate::{desk::Desk, refusal::Refusal};

/// What is served at `/api/v1/openapi.json`.
const OPENAPI: &str = include_str!("api/openapi.json");
/// Nothing that is sent to us is larger: five hundred scans.
const BODY_MAX_BYTES: usize = 256 << 10;

type Answer = Result<Response, Problem>;

/// How something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Get,
    Post,
    Delete,
}

impl Method {
    fn filter(self) -> MethodFilter {
        match self {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Delete => MethodFilter::DELETE,
        }
    }
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Everybody.
    Nothing,
    /// Whoever has a key.
    Key,
    /// Whoever has a key with this scope.
    Scope(Scope),
}

struct Route {
    method: Method,
    path: &'static str,
    /// Its `operationId`.
    id: &'static str,
    needs: Needs,
    serve: fn(MethodFilter) -> MethodRouter<Desk>,
}

const READ: Needs = Needs::Scope(Scope::Read);
const SELL: Needs = Needs::Scope(Scope::Sell);
const DOOR: Needs = Needs::Scope(Scope::Door);

macro_rules! routes {
    ($($method:ident $path:literal $id:literal $needs:expr => $handler:expr;)*) => {
        &[$(Route { method: Method::$method, path: $path, id: $id, needs: $needs, serve: |m| on(m, $handler) }),*]
    };
}

/// Everything that is served, each with who may ask for it.
#[rustfmt::skip]
const ROUTES: &[Route] = routes! {
    Get    "/openapi.json"                           "getOpenApi"           Needs::Nothing => openapi;
    Get    "/shows"                                  "listShows"            Needs::Key => catalogue::shows;
    Get    "/shows/{show_id}"                        "getShow"              Needs::Key => catalogue::show;
    Get    "/performances"                           "listPerformances"     Needs::Key => catalogue::performances;
    Get    "/performances/{performance_id}"          "getPerformance"       Needs::Key => catalogue::performance;
    Get    "/performances/{performance_id}/availability" "getAvailability"  Needs::Key => catalogue::availability;
    Get    "/performances/{performance_id}/seats"    "listSeats"            Needs::Key => catalogue::seats;
    Get    "/performances/{performance_id}/best"     "findBestSeats"        Needs::Key => catalogue::best;
    Get    "/performances/{performance_id}/sales"    "getSales"             READ => door::sales;
    Get    "/performances/{performance_id}/door-list" "listDoor"            DOOR => door::list;
    Post   "/performances/{performance_id}/check-ins" "checkIn"             DOOR => door::check_in;
    Get    "/ticket-key"                             "getTicketKey"         DOOR => door::ticket_key;
    Post   "/holds"                                  "createHold"           SELL => sell::hold;
    Get    "/holds/{hold_id}"                        "getHold"              SELL => sell::held;
    Delete "/holds/{hold_id}"                        "releaseHold"          SELL => sell::release;
    Post   "/bookings"                               "createBooking"        SELL => sell::book;
    Get    "/bookings"                               "listBookings"         SELL => sell::bookings;
    Get    "/bookings/{booking_no}"                  "getBooking"           SELL => sell::booking;
    Get    "/bookings/{booking_no}/tickets"          "listTickets"          SELL => sell::tickets;
    Get    "/bookings/{booking_no}/cancellation"     "getCancellationTerms" SELL => sell::cancel_terms;
    Post   "/bookings/{booking_no}/cancellation"     "cancelBooking"        SELL => sell::cancel;
};

/// All of it, to be mounted at `/api/v1`.
pub(crate) fn routes(desk: &Desk) -> Router<Desk> {
    let mut router = Router::new();
    for route in ROUTES {
        let methods = (route.serve)(route.method.filter());
        let guard = middleware::from_fn_with_state((desk.clone(), route), admit);
        router = router.route(route.path, methods.route_layer(guard));
    }
    router
        .method_not_allowed_fallback(|| async { Problem::Method })
        .fallback(|| async { Problem::from(Refusal::NoSuch) })
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(middleware::from_fn(uncached))
}

/// Lets in whoever may ask, and tells the handler who it is.
async fn admit(
    State((desk, route)): State<(Desk, &'static Route)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if route.needs != Needs::Nothing {
        let token = bearer(request.headers()).ok_or(Problem::NoKey)?;
        let caller = desk.caller(token).await?;
        if let Needs::Scope(scope) = route.needs
            && !caller.scopes.has(scope)
        {
            return Err(Problem::Scope(scope));
        }
        tracing::debug!(operation = route.id, partner = caller.partner, "asked");
        request.extensions_mut().insert(caller);
    }
    Ok(next.run(request).await)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// What nobody may keep says so.
async fn uncached(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let caching = response.headers_mut().entry(header::CACHE_CONTROL);
    caching.or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    /// What is said about an operation that both lists have: its name, and the scope that it needs.
    type Said = BTreeMap<(String, String), (String, Option<String>)>;

    fn served() -> Said {
        let said = ROUTES.iter().map(|route| {
            let method = format!("{:?}", route.method).to_lowercase();
            let needs = match route.needs {
                Needs::Nothing => None,
                Needs::Key => Some(String::new()),
                Needs::Scope(scope) => Some(scope.word().to_owned()),
            };
            ((method, route.path.to_owned()), (route.id.to_owned(), needs))
        });
        said.collect()
    }

    fn documented(document: &Value) -> Said {
        let mut said = Said::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap().iter().filter(|(m, _)| *m != "parameters") {
                let id = operation["operationId"].as_str().unwrap().to_owned();
                let open = operation["security"].as_array().is_some_and(Vec::is_empty);
                let scope = operation["x-scope"].as_str().unwrap_or("").to_owned();
                said.insert((method.clone(), path.clone()), (id, (!open).then_some(scope)));
            }
        }
        said
    }

    #[test]
    fn the_document_lists_what_is_served_and_nothing_else() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        assert_eq!(documented(&document), served());
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["servers"][0]["url"], "/api/v1");
        let mut fewer = document.clone();
        fewer["paths"].as_object_mut().unwrap().remove("/shows");
        assert_ne!(documented(&fewer), served(), "a route that is left out is noticed");
    }

    /// Every `$ref` leads somewhere, and every operation says what it answers to a wrong key.
    #[test]
    fn the_document_holds_together() {
        fn refs(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(to)) = map.get("$ref") {
                        found.push(to.clone());
                    }
                    map.values().for_each(|v| refs(v, found));
                }
                Value::Array(list) => list.iter().for_each(|v| refs(v, found)),
                _ => {}
            }
        }
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut found = Vec::new();
        refs(&document, &mut found);
        for to in &found {
            assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to} leads nowhere");
        }
        for route in ROUTES.iter().filter(|r| r.needs != Needs::Nothing) {
            let method = format!("{:?}", route.method).to_lowercase();
            let responses = &document["paths"][route.path][method]["responses"];
            for status in ["401", "403", "429", "503"] {
                assert!(responses.get(status).is_some(), "{} does not say {status}", route.id);
            }
        }
    }
}
