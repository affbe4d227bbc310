//! The scripted world.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use cloud::{
    local::{register_file::RegisterFile, register_remote::RemoteRegister},
    register::{AnyRegister, Register as _},
};
use controller::Setup;
use model::{
    Epoch, Incarnation, Mode, Place, Position, Problem, Register, Site, StreamId,
    agent::{
        AgentStatus, Fence, FenceReply, FenceRequest, ProbeReply, PromoteReply, PromoteRequest, Role, Row,
        Slot, StandbyPhase,
    },
    observation::View,
    plan::Steering,
    register::CasRequest,
    topology::*,
};
use runtime::{
    admin::{self, ApiError},
    clock::Boot,
    metrics::Metrics,
    process::Shutdown,
    secret::Secret,
};
use tokio::{net::TcpListener, task::JoinHandle};

const TOKEN: &str = "test-token";

#[derive(Default)]
struct Shared {
    sites: BTreeMap<Site, Scripted>,
    steering: Option<Steering>,
    hang_promotion: bool,
    promotion_asked: bool,
}

struct Scripted {
    dark: bool,
    dark_since: Option<Boot>,
    database: bool,
    row: Row,
    open: bool,
    promotions: Vec<(Epoch, Boot)>,
}

type Ground = Arc<Mutex<Shared>>;

type Running = (Shutdown, JoinHandle<std::io::Result<()>>);

pub(crate) struct World {
    ground: Ground,
    topology: Topology,
    folder: PathBuf,
    running: Mutex<BTreeMap<String, Running>>,
    views: Mutex<Vec<View>>,
    _servers: Shutdown,
}

impl Drop for World {
    fn drop(&mut self) {
        self._servers.cancel();
        for (shutdown, _) in self.running.lock().unwrap().values() {
            shutdown.cancel();
        }
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn site(name: &str) -> Site {
    Site::new(name)
}

fn locked(ground: &Ground) -> MutexGuard<'_, Shared> {
    ground.lock().unwrap()
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

impl World {
    /// A healthy service in `sync`, epoch 3 of nhn, and a controller in each place.
    pub(crate) async fn start() -> World {
        let folder =
            std::env::temp_dir().join(format!("ghostlight-controller-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&folder).unwrap();
        let servers = Shutdown::new();
        let ground = Ground::default();
        locked(&ground).steering = Some(Steering { site: site("nhn"), epoch: Epoch(3) });

        let mut agents = BTreeMap::new();
        for name in ["nhn", "aws"] {
            locked(&ground).sites.insert(
                site(name),
                Scripted {
                    dark: false,
                    dark_since: None,
                    database: true,
                    row: Row {
                        epoch: Epoch(3),
                        primary: site("nhn"),
                        mode: Mode::Sync,
                        token: 1,
                        stream: StreamId::default(),
                    },
                    open: name == "nhn",
                    promotions: Vec::new(),
                },
            );
            let (agent, agent_address) = listener().await;
            serve(agent, agent_routes(ground.clone(), site(name)), &servers);
            let (gateway, gateway_address) = listener().await;
            let door = Router::new()
                .route("/ghostlight/serving", get(serving))
                .with_state((ground.clone(), site(name)));
            tokio::spawn(async move { axum::serve(gateway, door).await });
            agents.insert(name, (agent_address, gateway_address));
        }
        let (nameserver, nameserver_address) = listener().await;
        let steer = Router::new().route("/v1/steer", get(steering).post(steer)).with_state(ground.clone());
        serve(nameserver, steer, &servers);

        let world = World {
            topology: topology(&agents, nameserver_address),
            ground,
            folder,
            running: Mutex::default(),
            views: Mutex::default(),
            _servers: servers,
        };
        world.first_register().await;
        for place in ["witness", "nhn", "aws"] {
            world.begin(place).await;
        }
        world
    }

    async fn first_register(&self) {
        let first = Register {
            epoch: Epoch(3),
            mode: Mode::Sync,
            standby_incarnation: Incarnation(2),
            ..Register::first(site("nhn"), 0)
        };
        drop(RegisterFile::open(&self.register_file(), first, Duration::ZERO).unwrap());
    }

    fn register_file(&self) -> PathBuf {
        self.folder.join("register.json")
    }

    /// Opens it. A connection that the last controller was still answering keeps its file for a moment; a process takes all
    /// of them with it.
    async fn register_once_free(&self, pause: Duration) -> RegisterFile {
        let began = Boot::now();
        loop {
            match RegisterFile::open(&self.register_file(), Register::first(site("nhn"), 0), pause) {
                Ok(file) => return file,
                Err(e) => assert!(began.elapsed() < Duration::from_secs(10), "{e}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // the pace of the polling
        }
    }

    fn address(&self, place: &str) -> SocketAddr {
        match place {
            "witness" => self.topology.witness.controller,
            name => self.topology.sites[&site(name)].controller,
        }
    }

    /// Starts the controller of a place.
    pub(crate) async fn begin(&self, place: &str) {
        let token = Secret::new(TOKEN);
        let topology = self.topology.clone();
        let (place_value, register) = if place == "witness" {
            let pause = Duration::from_millis(topology.policy.leader_lease_ms);
            (Place::Witness, AnyRegister::File(Arc::new(self.register_once_free(pause).await)))
        } else {
            let timeout = Duration::from_millis(topology.policy.probe_timeout_ms);
            let remote = RemoteRegister::new(topology.witness.controller, token.clone(), timeout);
            (Place::Site(site(place)), AnyRegister::Remote(Box::new(remote)))
        };
        let setup = Setup {
            place: place_value,
            topology,
            token,
            register,
            journal: self.folder.join(format!("{place}.jsonl")),
            metrics: Metrics::default(),
        };
        let shutdown = Shutdown::new();
        let listener = TcpListener::bind(self.address(place)).await.unwrap();
        let task = tokio::spawn(controller::run(listener, setup, shutdown.clone()));
        self.running.lock().unwrap().insert(place.to_owned(), (shutdown, task));
    }

    /// Ends the controller of a place in the middle of whatever it does.
    pub(crate) async fn stop(&self, place: &str) {
        let (shutdown, task) = self.running.lock().unwrap().remove(place).unwrap();
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap().unwrap();
    }

    /// Nothing of a site answers any more; its controller is gone.
    pub(crate) fn go_dark(&self, name: &str) {
        {
            let mut shared = locked(&self.ground);
            let scripted = shared.sites.get_mut(&site(name)).unwrap();
            (scripted.dark, scripted.dark_since) = (true, Some(Boot::now()));
        }
        if let Some((shutdown, task)) = self.running.lock().unwrap().remove(name) {
            shutdown.cancel();
            task.abort();
        }
    }

    /// A site answers again, believing what it believed.
    pub(crate) async fn return_of(&self, name: &str) {
        locked(&self.ground).sites.get_mut(&site(name)).unwrap().dark = false;
    }

    pub(crate) fn set_database(&self, name: &str, up: bool) {
        locked(&self.ground).sites.get_mut(&site(name)).unwrap().database = up;
    }

    pub(crate) fn hang_promotion(&self, hang: bool) {
        locked(&self.ground).hang_promotion = hang;
    }

    pub(crate) fn promotion_asked(&self) -> bool {
        locked(&self.ground).promotion_asked
    }

    pub(crate) fn promotions(&self, name: &str) -> Vec<Epoch> {
        locked(&self.ground).sites[&site(name)].promotions.iter().map(|(epoch, _)| *epoch).collect()
    }

    pub(crate) fn promoted_after(&self, moment: Boot) -> Option<Duration> {
        locked(&self.ground).sites[&site("aws")].promotions.first().map(|(_, at)| at.since(moment))
    }

    pub(crate) fn is_closed(&self, name: &str) -> bool {
        !locked(&self.ground).sites[&site(name)].open
    }

    pub(crate) fn steered_to(&self, name: &str, epoch: u64) -> bool {
        locked(&self.ground).steering == Some(Steering { site: site(name), epoch: Epoch(epoch) })
    }

    pub(crate) fn journal(&self) -> String {
        let read = |place| std::fs::read_to_string(self.folder.join(format!("{place}.jsonl"))).unwrap();
        read("witness") + &read("aws")
    }

    /// As the primary's agent does when its standby is silent.
    pub(crate) async fn go_solo(&self) {
        let register = self.register().await;
        let record = Register { version: register.version + 1, mode: Mode::Solo, ..register };
        let request = CasRequest { expected_version: record.version - 1, record };
        self.remote().cas(request).await.unwrap();
    }

    /// Asks the controller of a place.
    pub(crate) fn controller(&self, place: &str) -> admin::Client {
        admin::Client::new(self.address(place), Secret::new(TOKEN))
    }

    fn remote(&self) -> RemoteRegister {
        RemoteRegister::new(self.address("witness"), Secret::new(TOKEN), Duration::from_secs(5))
    }

    pub(crate) async fn register(&self) -> Register {
        self.remote().read().await.unwrap()
    }

    /// Every running controller sees no problem, and they agree on a leader.
    pub(crate) fn is_calm(&self) -> bool {
        let views = self.views.lock().unwrap();
        let calm = |v: &View| {
            v.verdict.problems.iter().all(|p| *p == Problem::Flapping) // that is told for minutes
                && v.leader.is_some()
                && v.verdict.reasons.iter().any(|r| r.contains("commits"))
        };
        views.len() == self.running.lock().unwrap().len() && views.iter().all(calm)
    }

    pub(crate) fn holds_because(&self, words: &str) -> bool {
        let views = self.views.lock().unwrap();
        views
            .iter()
            .any(|v| v.verdict.plan.steps.is_empty() && v.verdict.reasons.iter().any(|r| r.contains(words)))
    }

    /// Polls until `holds`, with fresh views of every running controller.
    pub(crate) async fn wait(&self, what: &str, deadline: Duration, holds: impl Fn(&World) -> bool) {
        let began = Boot::now();
        loop {
            let places: Vec<String> = self.running.lock().unwrap().keys().cloned().collect();
            let mut views = Vec::new();
            for place in places {
                let client = admin::Client::new(self.address(&place), Secret::new(TOKEN));
                views.extend(client.get::<View>("/v1/view", Duration::from_secs(2)).await.ok());
            }
            *self.views.lock().unwrap() = views;
            if holds(self) {
                return;
            }
            let verdicts: Vec<_> = self.views.lock().unwrap().iter().map(|v| v.verdict.clone()).collect();
            assert!(began.elapsed() < deadline, "not {what} within {deadline:?}: {verdicts:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await; // the pace of the polling
        }
    }
}

fn serve(listener: TcpListener, routes: Router, shutdown: &Shutdown) {
    tokio::spawn(admin::serve(listener, Secret::new(TOKEN), Metrics::default(), routes, shutdown.clone()));
}

/// An address for a controller that comes and goes. Nobody else may take it meanwhile: the port is outside of the range that
/// connections take theirs from, and the loopback address is this process's, and this controller's, own.
fn own_address() -> SocketAddr {
    static GIVEN: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 100 + high % 100, low, GIVEN.fetch_add(1, Ordering::Relaxed)], 7000))
}

fn topology(agents: &BTreeMap<&str, (SocketAddr, SocketAddr)>, nameserver: SocketAddr) -> Topology {
    let sites = agents.iter().map(|(name, (agent, gateway))| {
        let (_, (peer_agent, peer_gateway)) = agents.iter().find(|(n, _)| *n != name).unwrap();
        (site(name), *agent, *gateway, *peer_agent, *peer_gateway)
    });
    let unused: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let mut configs = serde_json::Map::new();
    for (name, agent, gateway, peer_agent, peer_gateway) in sites {
        let controller = own_address();
        configs.insert(name.to_string(), serde_json::json!({
            "database": { "address": unused, "user": "u", "password": { "env": "X" }, "application_user": "t" },
            "agent": { "admin": agent, "link": unused },
            "gateway": { "listen": gateway, "admin": unused, "targets": [unused] },
            "controller": controller,
            "peer": { "agent_link": unused, "agent_admin": peer_agent, "gateway": peer_gateway },
        }));
    }
    let witness = own_address();
    serde_json::from_value(serde_json::json!({
        "service": { "name": "tickets.ghostlight.test", "preferred": "nhn" },
        "secrets": { "admin_token": { "env": "X" } },
        "witness": {
            "controller": witness,
            "register_file": "register.json",
            "nameserver": { "listen": unused, "admin": nameserver },
        },
        "sites": configs,
    }))
    .unwrap()
}

type Agent = (Ground, Site);

fn agent_routes(ground: Ground, site: Site) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/probe", post(probe))
        .route("/v1/promote", post(promote))
        .route("/v1/fence", post(fence))
        .with_state((ground, site))
}

/// A dark site takes what comes and never answers.
async fn unless_dark((ground, site): &Agent) {
    if locked(ground).sites[site].dark {
        std::future::pending::<()>().await;
    }
}

async fn serving(State(agent): State<Agent>) -> Result<&'static str, ApiError> {
    unless_dark(&agent).await;
    let shared = locked(&agent.0);
    let scripted = &shared.sites[&agent.1];
    if scripted.open { Ok("ok") } else { Err(ApiError::unavailable("not here")) }
}

async fn status(State(agent): State<Agent>) -> Json<AgentStatus> {
    unless_dark(&agent).await;
    let (ground, site) = &agent;
    let shared = locked(ground);
    let scripted = &shared.sites[site];
    let (other, peer) = shared.sites.iter().find(|(s, _)| *s != site).unwrap();
    let primary = scripted.row.primary == *site;
    let position = Position { stream: StreamId("s".into()), file: 1, offset: 4 };
    let beat_age = peer.dark_since.filter(|_| peer.dark).map_or(Duration::from_millis(100), Boot::elapsed);
    Json(AgentStatus {
        site: site.clone(),
        role: if primary { Role::Primary } else { Role::Standby { phase: StandbyPhase::Attached } },
        row: scripted.database.then(|| scripted.row.clone()),
        slot: (!primary).then(|| Slot { position, epoch: Epoch(3), origin: other.clone() }),
        incarnation: (!primary).then_some(Incarnation(2)),
        heartbeat_age_ms: (!primary).then(|| u64::try_from(beat_age.as_millis()).unwrap()),
        fence: if scripted.open { Fence::Open } else { Fence::Closed },
        ..AgentStatus::starting(site.clone())
    })
}

async fn probe(State(agent): State<Agent>) -> Result<Json<ProbeReply>, ApiError> {
    unless_dark(&agent).await;
    let shared = locked(&agent.0);
    let scripted = &shared.sites[&agent.1];
    if scripted.database && scripted.open {
        Ok(Json(ProbeReply { epoch: scripted.row.epoch, commit_ms: 1 }))
    } else {
        Err(ApiError::unavailable("the database does not commit"))
    }
}

async fn promote(State(agent): State<Agent>, Json(request): Json<PromoteRequest>) -> Json<PromoteReply> {
    unless_dark(&agent).await;
    let (ground, site) = &agent;
    locked(ground).promotion_asked = true;
    if locked(ground).hang_promotion {
        std::future::pending::<()>().await;
    }
    let mut shared = locked(ground);
    let scripted = shared.sites.get_mut(site).unwrap();
    scripted.row.epoch = request.epoch;
    scripted.row.primary = site.clone();
    scripted.open = true;
    scripted.promotions.push((request.epoch, Boot::now()));
    Json(PromoteReply::AlreadyPromoted)
}

async fn fence(State(agent): State<Agent>, Json(request): Json<FenceRequest>) -> Json<FenceReply> {
    unless_dark(&agent).await;
    let mut shared = locked(&agent.0);
    let scripted = shared.sites.get_mut(&agent.1).unwrap();
    scripted.row.epoch = request.epoch;
    scripted.row.primary = request.primary;
    scripted.open = false;
    let done = FenceReply {
        row_raised: true,
        account_locked: true,
        sessions_killed: 2,
        sessions_left: 0,
        why: None,
        read_only: None,
    };
    Json(done)
}

async fn steering(State(ground): State<Ground>) -> Json<Steering> {
    Json(locked(&ground).steering.clone().unwrap())
}

async fn steer(State(ground): State<Ground>, Json(to): Json<Steering>) -> Result<Json<Steering>, ApiError> {
    let mut shared = locked(&ground);
    if shared.steering.as_ref().is_some_and(|s| s.epoch > to.epoch) {
        return Err(ApiError::conflict("an older epoch"));
    }
    shared.steering = Some(to.clone());
    Ok(Json(to))
}
