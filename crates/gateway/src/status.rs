//! The gateway's admin API: `GET /v1/status`.

use std::sync::Arc;

use axum::{Json, Router, routing::get};
use model::gateway::GatewayStatus;
use tokio::sync::watch;

use crate::{Config, agent::Heard, health::Health, metrics::GatewayMetrics};

pub(crate) fn routes(
    config: Arc<Config>,
    heard: watch::Receiver<Heard>,
    health: watch::Receiver<Health>,
    metrics: Arc<GatewayMetrics>,
) -> Router {
    let status = move || {
        let Heard { serving, at } = heard.borrow().clone();
        let age_ms = at.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX));
        let status = GatewayStatus {
            site: config.site.clone(),
            serving,
            serving_age_ms: age_ms,
            gate: config.gate,
            held: u64::try_from(metrics.held.get()).unwrap_or(0),
            released_total: metrics.released.get(),
            unknown_total: metrics.unknown.get(),
            targets: health.borrow().status(),
        };
        std::future::ready(Json(status))
    };
    Router::new().route("/v1/status", get(status))
}
