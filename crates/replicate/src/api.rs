//! The agent's admin API. The bodies are the types of `model`; what each route does is said there.

use std::{path::PathBuf, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    routing::{get, post},
};
use model::{
    BarrierReply, BarrierRequest, Epoch, Mode, Serving, Site,
    agent::{
        AgentStatus, CloseReply, CloseRequest, FenceReply, FenceRequest, ProbeReply, PromoteReply,
        PromoteRequest, ReinstateReply, Role, SeedReply, StandbyPhase, VerifyRequest, VerifyRun,
    },
};
use runtime::{admin::ApiError, clock::Boot};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::{
    barrier::Barrier,
    heartbeat::Heart,
    quarantine::{self, Page, QuarantineError, Shown, Summary},
    status::Board,
};

/// No long poll lasts longer.
const WAIT_MS_MAX: u64 = 60_000;
/// How long a barrier waits for a caller who does not choose.
const BARRIER_WAIT_MS: u64 = 3_000;
/// So many lines of a quarantine are told at a time,
const ROWS_AT_A_TIME_MAX: usize = 10_000;
/// of about so many bytes.
const ROWS_BYTES_MAX: usize = 4 << 20;

/// What the API asks of the agent's loop.
#[derive(Debug)]
pub enum Command {
    /// Promote this database.
    Promote(PromoteRequest, oneshot::Sender<PromoteReply>),
    /// Close this database.
    Fence(FenceRequest, oneshot::Sender<FenceReply>),
    /// Close this database for a switchover.
    Close(CloseRequest, oneshot::Sender<CloseReply>),
    /// Take this database back, though the policy says `manual`, or once more.
    Reinstate(oneshot::Sender<ReinstateReply>),
    /// Fill this standby's database anew.
    Seed(oneshot::Sender<SeedReply>),
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
    /// The agent's data folder.
    pub data: PathBuf,
}

impl Api {
    /// The routes, to be served by `runtime::admin`.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/v1/status", get(status))
            .route("/v1/serving", get(serving))
            .route("/v1/barrier", get(barrier_from_now).post(barrier))
            .route("/v1/probe", post(probe))
            .route("/v1/promote", post(promote))
            .route("/v1/seed", post(seed))
            .route("/v1/verify", get(verify_run).post(verify))
            .route("/v1/fence", post(fence))
            .route("/v1/close", post(close))
            .route("/v1/reinstate", post(reinstate))
            .route("/v1/quarantine", get(quarantines))
            .route("/v1/quarantine/{id}", get(quarantine))
            .route("/v1/quarantine/{id}/rows", get(quarantined_rows))
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
    stream: Option<String>,
    primary: Option<String>,
    mode: Option<Mode>,
    open: Option<bool>,
    wait_ms: u64,
}

impl KnownServing {
    /// A key that is not given is not compared; a poll that names none asks for what is known now.
    fn differs(&self, now: &Serving) -> bool {
        self.epoch.is_some_and(|e| Epoch(e) != now.epoch)
            || self.stream.as_deref().is_some_and(|s| s != now.stream.0)
            || self.primary.as_deref().is_some_and(|p| p != now.primary.as_str())
            || self.mode.is_some_and(|m| m != now.mode)
            || self.open.is_some_and(|o| o != now.open)
    }

    fn names_nothing(&self) -> bool {
        self.epoch.is_none()
            && self.stream.is_none()
            && self.primary.is_none()
            && self.mode.is_none()
            && self.open.is_none()
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

/// The answer to a barrier, for callers who know none of our words: whether what they wrote since they asked is safe.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    reply: BarrierReply,
    safe: bool,
}

async fn barrier(State(api): State<Api>, Json(request): Json<BarrierRequest>) -> Json<Told> {
    let reply = api.barrier.ask(request).await;
    Json(Told { safe: reply.outcome.releases(), reply })
}

/// What a caller who is about to write sends later, to hear whether the write is safe.
async fn barrier_from_now(State(api): State<Api>) -> Result<Json<BarrierRequest>, ApiError> {
    let now = api.board.serving.borrow().clone();
    match now {
        None => Err(ApiError::unavailable(no_row(&api.board.site))),
        Some(now) if !now.open => Err(ApiError::unavailable(format!(
            "{} takes no writes for now; {} is the primary of epoch {}",
            api.board.site, now.primary, now.epoch.0
        ))),
        Some(now) => {
            Ok(Json(BarrierRequest { epoch: now.epoch, stream: now.stream, wait_ms: BARRIER_WAIT_MS }))
        }
    }
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

async fn close(
    State(api): State<Api>,
    Json(request): Json<CloseRequest>,
) -> Result<Json<CloseReply>, ApiError> {
    command(&api, |reply| Command::Close(request, reply)).await
}

async fn reinstate(State(api): State<Api>) -> Result<Json<ReinstateReply>, ApiError> {
    command(&api, Command::Reinstate).await
}

async fn quarantines(State(api): State<Api>) -> Result<Json<Vec<Summary>>, ApiError> {
    from_disk(move || quarantine::list(&api.data)).await.map(Json)
}

async fn quarantine(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Shown>, ApiError> {
    let shown = from_disk(move || {
        let Some(found) = quarantine::find(&api.data, &id)? else { return Ok(Err(id)) };
        Ok(Ok(Shown { id, manifest: found.manifest().clone(), outcome: found.outcome()? }))
    });
    shown.await?.map(Json).map_err(|id| no_quarantine(&id))
}

/// From where on, and how many lines.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RowsAsked {
    cursor: Option<String>,
    limit: Option<usize>,
}

async fn quarantined_rows(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(asked): Query<RowsAsked>,
) -> Result<Json<Page>, ApiError> {
    let page = from_disk(move || {
        let Some(found) = quarantine::find(&api.data, &id)? else { return Ok(Err(id)) };
        let limit = asked.limit.unwrap_or(ROWS_AT_A_TIME_MAX).min(ROWS_AT_A_TIME_MAX);
        Ok(Ok(found.page(asked.cursor.as_deref(), limit, ROWS_BYTES_MAX)?))
    });
    page.await?.map(Json).map_err(|id| no_quarantine(&id))
}

fn no_quarantine(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no quarantine `{id}` here; GET /v1/quarantine lists them"))
}

/// Reads files on a thread that may wait for them.
async fn from_disk<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, QuarantineError> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(ApiError::unavailable(e.to_string())),
        Err(e) => Err(ApiError::unavailable(format!("the quarantine could not be read: {e}"))),
    }
}

async fn seed(State(api): State<Api>) -> Result<Json<SeedReply>, ApiError> {
    command(&api, Command::Seed).await
}

async fn verify(
    State(api): State<Api>,
    Json(request): Json<VerifyRequest>,
) -> Result<Json<VerifyRun>, ApiError> {
    let role = api.board.status().role;
    if role != (Role::Standby { phase: StandbyPhase::Attached }) {
        return Err(ApiError::unavailable(
            "only a standby that is attached can be held against its primary: ask the standby's agent",
        ));
    }
    Ok(Json(api.board.verifier.ask(request)))
}

async fn verify_run(State(api): State<Api>) -> Result<Json<VerifyRun>, ApiError> {
    let none = || ApiError::unavailable("no comparison was asked for since this agent started");
    api.board.verifier.run().map(Json).ok_or_else(none)
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
    use model::StreamId;

    use super::*;

    #[test]
    fn a_long_poll_wakes_on_any_difference_that_it_names() {
        let now = Serving {
            site: Site::new("nhn"),
            epoch: Epoch(2),
            stream: StreamId("s".into()),
            primary: Site::new("nhn"),
            mode: Mode::Sync,
            open: true,
        };
        let known = || KnownServing {
            epoch: Some(2),
            stream: Some("s".into()),
            primary: Some("nhn".into()),
            mode: Some(Mode::Sync),
            open: Some(true),
            wait_ms: 0,
        };
        assert!(!known().differs(&now));
        assert!(KnownServing { epoch: Some(1), ..known() }.differs(&now));
        assert!(KnownServing { stream: Some("t".into()), ..known() }.differs(&now));
        assert!(KnownServing { primary: Some("aws".into()), ..known() }.differs(&now));
        assert!(KnownServing { mode: Some(Mode::Solo), ..known() }.differs(&now));
        assert!(KnownServing { open: Some(false), ..known() }.differs(&now));
        assert!(!KnownServing { mode: None, open: None, ..known() }.differs(&now));
        assert!(KnownServing::default().names_nothing());
    }
}
