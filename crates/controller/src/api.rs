//! The controller's admin API; on the witness, the register's too.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use cloud::{
    local::register_file::RegisterFile,
    register::{Register as _, RegisterError},
};
use model::{
    Register,
    observation::{Observation, View},
    register::{CasReply, CasRequest, LeaseReply, LeaseRequest},
};
use runtime::{admin::ApiError, clock::Boot};
use tokio::sync::watch;

/// What the loop shows to the outside, as of one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// That moment.
    pub at: Boot,
    /// This place's own observations.
    pub observations: Vec<Observation>,
    /// Everything known and judged; `None` before the first event.
    pub view: Option<View>,
}

/// `GET /v1/observations` and `GET /v1/view`.
pub fn routes(snapshot: watch::Receiver<Arc<Snapshot>>) -> Router {
    Router::new()
        .route("/v1/observations", get(observations))
        .route("/v1/view", get(view))
        .with_state(snapshot)
}

/// `GET /v1/register`, `POST /v1/register/cas` and `POST /v1/lease`.
pub fn register_routes(register: Arc<RegisterFile>) -> Router {
    Router::new()
        .route("/v1/register", get(read))
        .route("/v1/register/cas", post(cas))
        .route("/v1/lease", post(lease))
        .with_state(register)
}

async fn observations(State(snapshot): State<watch::Receiver<Arc<Snapshot>>>) -> Json<Vec<Observation>> {
    let snapshot = snapshot.borrow().clone();
    let by_ms = u64::try_from(snapshot.at.elapsed().as_millis()).unwrap_or(u64::MAX);
    Json(snapshot.observations.iter().cloned().map(|o| o.aged(by_ms)).collect())
}

async fn view(State(snapshot): State<watch::Receiver<Arc<Snapshot>>>) -> Result<Json<View>, ApiError> {
    let snapshot = snapshot.borrow().clone();
    let view = snapshot.view.clone();
    view.map(Json).ok_or_else(|| ApiError::unavailable("nothing was seen yet; ask again"))
}

async fn read(State(register): State<Arc<RegisterFile>>) -> Result<Json<Register>, ApiError> {
    register.read().await.map(Json).map_err(refusal)
}

async fn cas(
    State(register): State<Arc<RegisterFile>>,
    Json(request): Json<CasRequest>,
) -> Result<Json<CasReply>, ApiError> {
    register.cas(request).await.map(Json).map_err(refusal)
}

async fn lease(
    State(register): State<Arc<RegisterFile>>,
    Json(request): Json<LeaseRequest>,
) -> Result<Json<LeaseReply>, ApiError> {
    register.lease(request).await.map(Json).map_err(refusal)
}

fn refusal(e: RegisterError) -> ApiError {
    if e.is_worth_retrying() {
        ApiError::unavailable(e.to_string())
    } else {
        ApiError::conflict(e.to_string())
    }
}
