//! The lab's control API: what the lab runs, and the faults that can be made on purpose.
//!
//! `GET /v1/lab` · `POST /v1/lab/sites/{site}/kill` · `POST /v1/lab/sites/{site}/restore` ·
//! `POST /v1/lab/sites/{site}/disk` · `POST /v1/lab/processes/{name}/{act}` · `POST /v1/lab/link`, all behind the admin
//! token. An act is `kill` (it comes back), `down` (it stays down until `up`), `pause` (SIGSTOP) or `resume`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use model::Site;
use runtime::{
    admin::{self, ApiError},
    metrics::Metrics,
    process::Shutdown,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    blackout::How,
    divergence::Divergence,
    lab::Inner,
    layout::Cloud,
    link::{LinkCounters, LinkState},
    processes::Member,
};

/// `GET /v1/lab`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabView {
    /// Its number, the third byte of its addresses.
    pub number: u8,
    /// The two sites.
    pub sites: Vec<SiteView>,
    /// The witness's processes.
    pub witness: Vec<ProcessView>,
    /// Addresses for people, by what is there.
    pub urls: BTreeMap<String, String>,
    /// The link between the sites.
    pub link: LinkState,
    /// What has passed over it.
    pub link_counters: LinkCounters,
    /// How a site goes dark here.
    pub blackout: How,
}

/// A site's processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteView {
    /// Which.
    pub site: Site,
    /// Whether it is not dark and all of its processes run.
    pub up: bool,
    /// What runs there.
    pub processes: Vec<ProcessView>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessView {
    /// Its name, also that of its log.
    pub name: String,
    /// Its process number, while it runs.
    pub pid: Option<u32>,
    /// How often it was started again after it had ended by itself.
    pub restarts: u64,
}

/// `POST /v1/lab/sites/{site}/kill`: what is asked; `{}` for nothing more than that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KillRequest {
    /// A tail that its database commits before it dies, when nobody hears it any more.
    pub divergence: Option<Divergence>,
}

/// `POST /v1/lab/sites/{site}/kill`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillReply {
    /// How its addresses were made silent.
    pub how: How,
    /// Just before the first packet was dropped: milliseconds on the boot clock of this machine.
    pub at_ms: u64,
    /// Transactions that the database committed on purpose after that.
    pub diverged: u32,
}

/// `POST /v1/lab/sites/{site}/disk`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskRequest {
    /// Whether no byte is to be free on the disk of its database.
    pub full: bool,
}

/// What can be done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// It dies and comes back, as after a crash.
    Kill,
    /// It dies and stays down.
    Down,
    /// It is started again.
    Up,
    /// It stands still: neither ends nor answers.
    Pause,
    /// It goes on.
    Resume,
}

impl Act {
    /// Its name in the path.
    pub fn as_str(self) -> &'static str {
        match self {
            Act::Kill => "kill",
            Act::Down => "down",
            Act::Up => "up",
            Act::Pause => "pause",
            Act::Resume => "resume",
        }
    }
}

/// Serves the control API until `shutdown`.
pub(crate) async fn serve(listener: TcpListener, lab: Arc<Inner>, shutdown: Shutdown) {
    let token = lab.secrets.admin_token.clone();
    let routes = Router::new()
        .route("/v1/lab", get(view))
        .route("/v1/lab/sites/{site}/kill", post(kill_site))
        .route("/v1/lab/sites/{site}/restore", post(restore_site))
        .route("/v1/lab/sites/{site}/disk", post(fill_disk))
        .route("/v1/lab/processes/{name}/{act}", post(act_on_process))
        .route("/v1/lab/link", post(set_link))
        .with_state(lab);
    if let Err(e) = admin::serve(listener, token, Metrics::default(), routes, shutdown).await {
        tracing::error!("the lab's control API ended: {e}");
    }
}

async fn view(State(lab): State<Arc<Inner>>) -> Json<LabView> {
    let seen = |m: &Member| {
        let seen = m.keeper.seen();
        ProcessView { name: m.keeper.name().to_owned(), pid: seen.pid, restarts: seen.restarts }
    };
    let sites = Cloud::BOTH.map(|cloud| {
        let processes: Vec<ProcessView> = lab.of(cloud).map(seen).collect();
        let up = !lab.is_dark(cloud) && processes.iter().all(|p| p.pid.is_some());
        SiteView { site: cloud.site(), up, processes }
    });
    Json(LabView {
        number: lab.number.get(),
        sites: sites.into(),
        witness: lab.members.iter().filter(|m| m.cloud.is_none()).map(seen).collect(),
        urls: lab.urls().into_iter().map(|(what, url)| (what.to_owned(), url)).collect(),
        link: lab.link.state(),
        link_counters: lab.link.counters(),
        blackout: lab.blackout.how(),
    })
}

async fn kill_site(
    State(lab): State<Arc<Inner>>,
    Path(site): Path<Site>,
    Json(asked): Json<KillRequest>,
) -> Result<Json<KillReply>, ApiError> {
    let darkened = lab.kill_site(known(&site)?, asked.divergence).await.map_err(ApiError::conflict)?;
    Ok(Json(KillReply { how: darkened.how, at_ms: darkened.at_ms, diverged: darkened.diverged }))
}

async fn restore_site(
    State(lab): State<Arc<Inner>>,
    Path(site): Path<Site>,
) -> Result<Json<Value>, ApiError> {
    lab.restore_site(known(&site)?).await.map_err(ApiError::conflict)?;
    Ok(Json(json!({ "restored": site })))
}

async fn fill_disk(
    State(lab): State<Arc<Inner>>,
    Path(site): Path<Site>,
    Json(asked): Json<DiskRequest>,
) -> Result<Json<DiskRequest>, ApiError> {
    lab.fill_disk(known(&site)?, asked.full).await.map_err(ApiError::conflict)?;
    Ok(Json(asked))
}

async fn act_on_process(
    State(lab): State<Arc<Inner>>,
    Path((name, act)): Path<(String, Act)>,
) -> Result<Json<Value>, ApiError> {
    let member = lab.members.iter().find(|m| m.keeper.name() == name);
    let member = member.ok_or_else(|| ApiError::not_found(format!("the lab runs no process `{name}`")))?;
    let pid = member.keeper.seen().pid;
    let running = || pid.ok_or_else(|| ApiError::conflict(format!("{name} is not running at the moment")));
    match act {
        Act::Kill => {
            running()?;
            member.keeper.crash();
            return Ok(Json(json!({ "killed": name, "pid": pid })));
        }
        Act::Down => {
            running()?;
            member.keeper.kill();
            member.keeper.at_rest().await;
        }
        Act::Up => member.keeper.run(),
        Act::Pause => {
            running()?;
            member.keeper.pause();
        }
        Act::Resume => {
            running()?;
            member.keeper.resume();
        }
    }
    Ok(Json(json!({ "process": name, "act": act, "pid": pid })))
}

async fn set_link(State(lab): State<Arc<Inner>>, Json(state): Json<LinkState>) -> Json<LinkState> {
    lab.link.set(state);
    Json(lab.link.state())
}

fn known(site: &Site) -> Result<Cloud, ApiError> {
    Cloud::of(site).ok_or_else(|| ApiError::not_found(format!("the lab has no site `{site}`")))
}
