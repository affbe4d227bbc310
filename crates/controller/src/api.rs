//! The controller's admin API; the register's too, where the register is at hand.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Query, State},
    routing::{get, post},
};
use cloud::register::{AnyRegister, Register as _, RegisterError};
use model::{
    Place, Register,
    observation::{Observation, View},
    register::{CasReply, CasRequest, LeaseReply, LeaseRequest, Orders, OrdersReply, OrdersRequest},
    switchover::{Request, Told},
};
use runtime::{
    admin::ApiError,
    clock::{Boot, Wall},
};
use tokio::sync::{mpsc, watch};

use crate::{
    drive::Event,
    journal,
    order::{self, Desk},
};

/// How long the loop may take to answer an operator.
const ANSWER: Duration = Duration::from_secs(2);

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

/// What an operator may ask for: `POST /v1/switchover`.
pub fn operator_routes(
    snapshot: watch::Receiver<Arc<Snapshot>>,
    mail: mpsc::UnboundedSender<Event>,
) -> Router {
    let desk = Counter { snapshot, mail, number: Arc::default() };
    Router::new().route("/v1/switchover", post(switchover)).with_state(desk)
}

/// Where operators' requests are taken.
#[derive(Clone)]
struct Counter {
    snapshot: watch::Receiver<Arc<Snapshot>>,
    mail: mpsc::UnboundedSender<Event>,
    number: Arc<AtomicU64>,
}

/// Puts the request before the loop and waits for its word: refused, or under way.
async fn switchover(
    State(desk): State<Counter>,
    Json(request): Json<Request>,
) -> Result<Json<Told>, ApiError> {
    let Counter { mut snapshot, mail, number } = desk;
    let number = number.fetch_add(1, Ordering::Relaxed) + 1;
    let ended = || ApiError::unavailable("this controller is ending; ask another one");
    mail.send(Event::Asked { number, request }).map_err(|_| ended())?;
    let told = snapshot.wait_for(|s| {
        let told = s.view.as_ref().and_then(|v| v.switchover.as_ref());
        told.is_some_and(|t| t.number >= number)
    });
    let silent = || ApiError::unavailable("the controller's loop does not answer");
    let seen = tokio::time::timeout(ANSWER, told).await.map_err(|_| silent())?.map_err(|_| ended())?.clone();
    let told = seen.view.as_ref().and_then(|v| v.switchover.clone());
    told.map(Json).ok_or_else(silent)
}

/// `GET /v1/register`, `POST /v1/register/cas` and `POST /v1/lease`.
pub fn register_routes(register: AnyRegister) -> Router {
    Router::new()
        .route("/v1/register", get(read))
        .route("/v1/register/cas", post(cas))
        .route("/v1/lease", post(lease))
        .with_state(register)
}

/// `POST /v1/failover`.
pub fn order_routes(desk: Desk) -> Router {
    Router::new().route("/v1/failover", post(order::failover)).with_state(desk)
}

/// `GET /v1/journal`.
pub fn journal_routes(place: Place, path: PathBuf) -> Router {
    let told = async |State((place, path)): State<(Place, PathBuf)>, Query(asked): Query<journal::Asked>| {
        let read = tokio::task::spawn_blocking(move || journal::read(place, &path, &asked));
        match read.await {
            Ok(Ok(told)) => Ok(Json(told)),
            Ok(Err(e)) => Err(ApiError::unavailable(format!("the journal cannot be read: {e}"))),
            Err(e) => Err(ApiError::unavailable(format!("the journal's reader ended early: {e}"))),
        }
    };
    Router::new().route("/v1/journal", get(told)).with_state((place, path))
}

/// `GET` and `POST /v1/orders`, on every controller: whoever is asked asks the register.
pub fn orders_routes(register: AnyRegister) -> Router {
    Router::new().route("/v1/orders", get(orders).post(set_orders)).with_state(register)
}

async fn orders(State(register): State<AnyRegister>) -> Result<Json<Orders>, ApiError> {
    register.orders().await.map(Json).map_err(refusal)
}

async fn set_orders(
    State(register): State<AnyRegister>,
    Json(request): Json<OrdersRequest>,
) -> Result<Json<OrdersReply>, ApiError> {
    register.set_orders(request).await.map(Json).map_err(refusal)
}

async fn observations(State(snapshot): State<watch::Receiver<Arc<Snapshot>>>) -> Json<Vec<Observation>> {
    let snapshot = snapshot.borrow().clone();
    let by_ms = u64::try_from(snapshot.at.elapsed().as_millis()).unwrap_or(u64::MAX);
    let wall_ms = Some(Wall::now().as_ms());
    let told = |o: &Observation| Observation { wall_ms, ..o.clone().aged(by_ms) };
    Json(snapshot.observations.iter().map(told).collect())
}

async fn view(State(snapshot): State<watch::Receiver<Arc<Snapshot>>>) -> Result<Json<View>, ApiError> {
    let snapshot = snapshot.borrow().clone();
    let view = snapshot.view.clone();
    view.map(Json).ok_or_else(|| ApiError::unavailable("nothing was seen yet; ask again"))
}

async fn read(State(register): State<AnyRegister>) -> Result<Json<Register>, ApiError> {
    register.read().await.map(Json).map_err(refusal)
}

async fn cas(
    State(register): State<AnyRegister>,
    Json(request): Json<CasRequest>,
) -> Result<Json<CasReply>, ApiError> {
    register.cas(request).await.map(Json).map_err(refusal)
}

async fn lease(
    State(register): State<AnyRegister>,
    Json(request): Json<LeaseRequest>,
) -> Result<Json<LeaseReply>, ApiError> {
    register.lease(request).await.map(Json).map_err(refusal)
}

pub(crate) fn refusal(e: RegisterError) -> ApiError {
    if e.is_worth_retrying() {
        ApiError::unavailable(e.to_string())
    } else {
        ApiError::conflict(e.to_string())
    }
}
