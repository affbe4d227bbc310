//! How the leader steers: `GET` and `POST /v1/steer`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use model::plan::Steering;
use runtime::admin::ApiError;
use serde_json::json;

use crate::{
    metrics::Metrics,
    steering::{SteerError, Steerer},
};

/// The admin routes of the name server.
pub fn routes(steerer: Arc<Steerer>, metrics: Metrics) -> Router {
    metrics.steered(steerer.present().epoch);
    Router::new().route("/v1/steer", get(present).post(steer)).with_state((steerer, metrics))
}

async fn present(State((steerer, _)): State<(Arc<Steerer>, Metrics)>) -> Json<Steering> {
    Json(steerer.present())
}

async fn steer(
    State((steerer, metrics)): State<(Arc<Steerer>, Metrics)>,
    Json(asked): Json<Steering>,
) -> Response {
    // Steering waits for the disk; replies to visitors must not wait with it.
    let steered = tokio::task::spawn_blocking(move || steerer.steer(asked)).await;
    match steered {
        Ok(Ok(steering)) => {
            metrics.steered(steering.epoch);
            Json(steering).into_response()
        }
        Ok(Err(e)) => refused(&e),
        Err(e) => ApiError::unavailable(format!("the steering was interrupted: {e}")).into_response(),
    }
}

fn refused(e: &SteerError) -> Response {
    let what = e.to_string();
    match e {
        SteerError::Conflict { present, .. } => {
            let body = json!({ "error": what, "site": present.site, "epoch": present.epoch });
            (StatusCode::CONFLICT, Json(body)).into_response()
        }
        SteerError::Zone(_) => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, what).into_response(),
        SteerError::NotWritten { .. } => ApiError::unavailable(what).into_response(),
    }
}
