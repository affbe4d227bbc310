//! The gateway's admin API: `GET /v1/status`; `POST /v1/reload` reads the configuration again; for switchovers `POST /v1/park`
//! and `POST /v1/unpark`; for whoever adds and removes instances `PUT /v1/target-groups/{name}/targets`; of the web ACL
//! `GET /v1/waf/samples?rule=NAME`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::{get, post, put},
};
use model::{
    Site,
    gateway::{GatewayStatus, ParkReply, ParkRequest, TargetsRequest, UnparkReply, UnparkRequest},
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Config,
    agent::Heard,
    balance::{Event, Snapshot},
    guard::Guard,
    metrics::GatewayMetrics,
    parking::Parking,
    reload,
};

/// What the status is made of.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) config: Arc<Config>,
    pub(crate) heard: watch::Receiver<Heard>,
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) metrics: Arc<GatewayMetrics>,
}

/// Where wishes for other targets go.
#[derive(Clone)]
struct Targets {
    site: Site,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    tell: mpsc::Sender<Event>,
}

pub(crate) fn routes(
    told: Told,
    parking: Arc<Parking>,
    tell: mpsc::Sender<Event>,
    orders: reload::Orders,
) -> Router {
    let parks = Router::new().route("/v1/park", post(park)).route("/v1/unpark", post(unpark));
    let parks = parks.with_state(parking.clone());
    let state = Targets { site: told.config.site.clone(), snapshots: told.snapshots.clone(), tell };
    let targets = Router::new().route("/v1/target-groups/{name}/targets", put(set_targets)).with_state(state);
    let samples = Router::new().route("/v1/waf/samples", get(samples)).with_state(told.config.guard.clone());
    let status = move || std::future::ready(Json(told.status(&parking)));
    let reloads = Router::new().route("/v1/reload", post(reload)).with_state(orders);
    Router::new().route("/v1/status", get(status)).merge(parks).merge(targets).merge(reloads).merge(samples)
}

/// Whose samples are asked for.
#[derive(serde::Deserialize)]
struct Sampled {
    /// The rule's name, or `Default_Action`.
    rule: String,
}

/// `SampledRequests`, as `aws wafv2 get-sampled-requests` gives them.
async fn samples(
    State(guard): State<Option<Arc<Guard>>>,
    Query(Sampled { rule }): Query<Sampled>,
) -> Result<Json<serde_json::Value>, (StatusCode, &'static str)> {
    let guard = guard.ok_or((StatusCode::NOT_FOUND, "this gateway has no web ACL"))?;
    Ok(Json(serde_json::json!({ "SampledRequests": guard.samples(&rule) })))
}

impl Told {
    fn status(&self, parking: &Parking) -> GatewayStatus {
        let Heard { serving, at, .. } = self.heard.borrow().clone();
        let age_ms = at.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX));
        GatewayStatus {
            site: self.config.site.clone(),
            serving,
            serving_age_ms: age_ms,
            gate: self.config.gate,
            held: u64::try_from(self.metrics.held.get()).unwrap_or(0),
            released_total: self.metrics.released.get(),
            unknown_total: self.metrics.unknown.get(),
            parked: parking.waiting(),
            parked_total: self.metrics.parked_total.get(),
            targets: self.snapshots.borrow().status.clone(),
        }
    }
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

/// 204: the configuration was read again and is in force. 409: it cannot be, and why.
async fn reload(State(orders): State<reload::Orders>) -> Result<StatusCode, (StatusCode, String)> {
    let (tell, done) = oneshot::channel();
    let nobody = || (StatusCode::CONFLICT, "this gateway cannot read its configuration again".to_owned());
    orders.send(tell).await.map_err(|_| nobody())?;
    match done.await {
        Ok(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(why)) => Err((StatusCode::CONFLICT, why)),
        Err(_) => Err(nobody()),
    }
}

/// 202: it was taken; `GET /v1/status` shows what became of it.
async fn set_targets(
    State(state): State<Targets>,
    Path(group): Path<String>,
    Json(TargetsRequest { targets }): Json<TargetsRequest>,
) -> Result<StatusCode, (StatusCode, String)> {
    let known = state.snapshots.borrow().groups.iter().any(|g| g.config.name == group);
    if !known {
        return Err((StatusCode::NOT_FOUND, format!("this gateway has no target group `{group}`")));
    }
    if let Some(elsewhere) = targets.iter().find(|t| t.site != state.site) {
        let words = format!(
            "{} stands at site `{}`, and this is the gateway of `{}`: ask that site's gateway",
            elsewhere.address, elsewhere.site, state.site
        );
        return Err((StatusCode::BAD_REQUEST, words));
    }
    let event = Event::Targets { group: group.as_str().into(), targets };
    let ended = |_| (StatusCode::SERVICE_UNAVAILABLE, "this gateway is ending".to_owned());
    state.tell.send(event).await.map_err(ended)?;
    Ok(StatusCode::ACCEPTED)
}
