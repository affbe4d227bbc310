use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt,
};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{metrics::Metrics, process::Shutdown, secret::Secret};

/// Serves `routes` until `shutdown`; answers under way are finished.
///
/// `routes` are the process's own, all under `/v1`. `/healthz` and `/metrics` need no token: they tell no secret
/// and change nothing.
pub async fn serve(
    listener: TcpListener,
    token: Secret,
    metrics: Metrics,
    routes: Router,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    let app = routes
        .layer(middleware::from_fn_with_state(token, authenticate))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(move || async move { metrics.text() }))
        .fallback(|| async { ApiError::not_found("no such path; the API document lists all of them") });
    let listener = listener.tap_io(|io| {
        if let Err(e) = io.set_nodelay(true) {
            tracing::debug!("TCP_NODELAY on an admin connection: {e}");
        }
    });
    axum::serve(listener, app).with_graceful_shutdown(async move { shutdown.cancelled().await }).await
}

async fn authenticate(State(token): State<Secret>, request: Request, next: Next) -> Response {
    let given =
        request.headers().get(AUTHORIZATION).map(|v| v.as_bytes().strip_prefix(b"Bearer ").unwrap_or(b""));
    match given {
        Some(given) if token.matches(given) => next.run(request).await,
        _ => ApiError::new(StatusCode::UNAUTHORIZED, "send `Authorization: Bearer <admin token>`")
            .into_response(),
    }
}

/// An answer that says no: `{"error": "…"}` with a status.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    what: String,
}

impl ApiError {
    /// With this status and sentence.
    pub fn new(status: StatusCode, what: impl Into<String>) -> ApiError {
        ApiError { status, what: what.into() }
    }

    /// 404.
    pub fn not_found(what: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, what)
    }

    /// 409: the caller's knowledge is out of date.
    pub fn conflict(what: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::CONFLICT, what)
    }

    /// 503: not now; ask again.
    pub fn unavailable(what: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, what)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.what }))).into_response()
    }
}
