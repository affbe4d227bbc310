//! The site's addresses. Each handler extracts, calls the desk, renders; it decides nothing.

mod api;
mod visitor;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};

use crate::desk::Desk;

/// Every address.
pub fn router(desk: Desk) -> Router {
    Router::new()
        .nest("/api", api::routes())
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
