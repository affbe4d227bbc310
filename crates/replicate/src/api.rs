//! The agent's admin API. The bodies are the types of `model`; what each route does is said there.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{Query, State},
    routing::{get, post},
};
use model::{
    BarrierReply, BarrierRequest, Epoch, Mode, Serving, Site,
    agent::{AgentStatus, FenceReply, FenceRequest, ProbeReply, PromoteReply, PromoteRequest},
};
use runtime::{admin::ApiError, clock::Boot};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use crate::{barrier::Barrier, heartbeat::Heart, status::Board};

/// No long poll lasts longer.
const WAIT_MS_MAX: u64 = 60_000;

/// What the API asks of the agent's loop.
#[derive(Debug)]
pub enum Command {
    /// Promote this database.
    Promote(PromoteRequest, oneshot::Sender<PromoteReply>),
    /// Close this database.
    Fence(FenceRequest, oneshot::Sender<FenceReply>),
}

/// What the routes need. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api {
    /// What the agent knows.
    pub board: Board,
    /// Where barriers are asked for.
    pub barrier: Barrier,
    /// Where probes are asked for.
    pub heart: Heart,
    /// The agent's loop.
    pub commands: mpsc::Sender<Command>,
}

impl Api {
    /// The routes, to be served by `runtime::admin`.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/v1/status", get(status))
            .route("/v1/serving", get(serving))
            .route("/v1/barrier", post(barrier))
            .route("/v1/probe", post(probe))
            .route("/v1/promote", post(promote))
            .route("/v1/fence", post(fence))
            .with_state(self)
    }
}

async fn status(State(api): State<Api>) -> Json<AgentStatus> {
    Json(api.board.status())
}

/// What the gateway knows, in the query of a long poll.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct KnownServing {
    epoch: Option<u64>,
    primary: Option<String>,
    mode: Option<Mode>,
    open: Option<bool>,
    wait_ms: u64,
}

impl KnownServing {
    /// A key that is not given is not compared; a poll that names none asks for what is known now.
    fn differs(&self, now: &Serving) -> bool {
        self.epoch.is_some_and(|e| Epoch(e) != now.epoch)
            || self.primary.as_deref().is_some_and(|p| p != now.primary.as_str())
            || self.mode.is_some_and(|m| m != now.mode)
            || self.open.is_some_and(|o| o != now.open)
    }

    fn names_nothing(&self) -> bool {
        self.epoch.is_none() && self.primary.is_none() && self.mode.is_none() && self.open.is_none()
    }
}

async fn serving(
    State(mut api): State<Api>,
    Query(known): Query<KnownServing>,
) -> Result<Json<Serving>, ApiError> {
    let deadline = Boot::now() + Duration::from_millis(known.wait_ms.min(WAIT_MS_MAX));
    loop {
        let now = api.board.serving.borrow_and_update().clone();
        if let Some(now) = &now
            && (known.names_nothing() || known.differs(now))
        {
            return Ok(Json(now.clone()));
        }
        let left = deadline.since(Boot::now());
        let changed = tokio::time::timeout(left, api.board.serving.changed()).await;
        match (changed, now) {
            (Ok(Ok(())), _) => {}
            (_, Some(now)) => return Ok(Json(now)),
            (_, None) => return Err(ApiError::unavailable(no_row(&api.board.site))),
        }
    }
}

fn no_row(site: &Site) -> String {
    format!("the database of {site} has not been read yet, or is empty")
}

async fn barrier(State(api): State<Api>, Json(request): Json<BarrierRequest>) -> Json<BarrierReply> {
    Json(api.barrier.ask(request).await)
}

async fn probe(State(api): State<Api>) -> Result<Json<ProbeReply>, ApiError> {
    api.heart.probe().await.map(Json).map_err(|e| ApiError::unavailable(e.to_string()))
}

async fn promote(
    State(api): State<Api>,
    Json(request): Json<PromoteRequest>,
) -> Result<Json<PromoteReply>, ApiError> {
    command(&api, |reply| Command::Promote(request, reply)).await
}

async fn fence(
    State(api): State<Api>,
    Json(request): Json<FenceRequest>,
) -> Result<Json<FenceReply>, ApiError> {
    command(&api, |reply| Command::Fence(request, reply)).await
}

async fn command<T>(
    api: &Api,
    make: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<Json<T>, ApiError> {
    let (reply, answer) = oneshot::channel();
    let ended = || ApiError::unavailable("the agent is ending; ask again");
    api.commands.send(make(reply)).await.map_err(|_| ended())?;
    answer.await.map(Json).map_err(|_| ended())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_poll_wakes_on_any_difference_that_it_names() {
        let now = Serving {
            site: Site::new("nhn"),
            epoch: Epoch(2),
            primary: Site::new("nhn"),
            mode: Mode::Sync,
            open: true,
        };
        let known = || KnownServing {
            epoch: Some(2),
            primary: Some("nhn".into()),
            mode: Some(Mode::Sync),
            open: Some(true),
            wait_ms: 0,
        };
        assert!(!known().differs(&now));
        assert!(KnownServing { epoch: Some(1), ..known() }.differs(&now));
        assert!(KnownServing { primary: Some("aws".into()), ..known() }.differs(&now));
        assert!(KnownServing { mode: Some(Mode::Solo), ..known() }.differs(&now));
        assert!(KnownServing { open: Some(false), ..known() }.differs(&now));
        assert!(!KnownServing { mode: None, open: None, ..known() }.differs(&now));
        assert!(KnownServing::default().names_nothing());
    }
}
