//! The gateway's admin API: `GET /v1/status`, and for switchovers `POST /v1/park` and `POST /v1/unpark`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use model::gateway::{GatewayStatus, ParkReply, ParkRequest, UnparkReply, UnparkRequest};
use tokio::sync::watch;

use crate::{Config, agent::Heard, health::Health, metrics::GatewayMetrics, parking::Parking};

pub(crate) fn routes(
    config: Arc<Config>,
    heard: watch::Receiver<Heard>,
    health: watch::Receiver<Health>,
    metrics: Arc<GatewayMetrics>,
    parking: Arc<Parking>,
) -> Router {
    let parks = Router::new().route("/v1/park", post(park)).route("/v1/unpark", post(unpark));
    let parks = parks.with_state(parking.clone());
    let status = move || {
        let Heard { serving, at, .. } = heard.borrow().clone();
        let age_ms = at.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX));
        let status = GatewayStatus {
            site: config.site.clone(),
            serving,
            serving_age_ms: age_ms,
            gate: config.gate,
            held: u64::try_from(metrics.held.get()).unwrap_or(0),
            released_total: metrics.released.get(),
            unknown_total: metrics.unknown.get(),
            parked: parking.waiting(),
            parked_total: metrics.parked_total.get(),
            targets: health.borrow().status(),
        };
        std::future::ready(Json(status))
    };
    Router::new().route("/v1/status", get(status)).merge(parks)
}

async fn park(State(parking): State<Arc<Parking>>, Json(request): Json<ParkRequest>) -> Json<ParkReply> {
    Json(parking.order(request).await)
}

async fn unpark(
    State(parking): State<Arc<Parking>>,
    Json(request): Json<UnparkRequest>,
) -> Json<UnparkReply> {
    Json(UnparkReply { parked: parking.release(request.intent) })
}
