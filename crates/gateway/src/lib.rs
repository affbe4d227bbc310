//! The edge: takes visitors' requests, passes them to the application here or to the other site's gateway, and
//! holds the answers to writes until the standby has them.
//!
//! ```text
//!   listen ─▶ request (the phases, one list) ─▶ rules ─▶ route ─▶ balance ─▶ upstream (pool) ─▶ application
//!                 │                                      │                       └────▶ other gateway
//!                 └─▶ agent (driver) ─▶ hold (the gate: sans-IO)
//!                       what the agent says, rules and fit targets: whole snapshots
//! ```
//!
//! Start reading at [`request`], then [`hold`], then [`park`].
//!
//! Always true here: nothing of a held answer leaves before its barrier has passed; a request of which a byte was
//! sent is not sent again (reads alone may be, where a target group says so); threads share only snapshots that are swapped in whole, and counters.
//!
//! This crate does not know how replication works or who should be primary: its agent tells.

pub mod access;
mod agent;
mod balance;
mod body;
mod door;
mod doubt;
mod ending;
mod forward;
mod framing;
pub mod guard;
mod handover;
mod headers;
pub mod hold;
mod keys;
mod listen;
mod metrics;
mod origin;
mod page;
pub mod park;
mod parking;
mod peer;
mod pressure;
mod proxied;
mod rarely;
mod refusal;
mod reload;
mod request;
mod route;
mod rules;
mod spill;
mod status;
pub mod tls;
mod traceparent;
mod upgrade;
mod upstream;

use std::{
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use model::{
    Site,
    topology::edge::{Cidr, Routing},
};
use runtime::{
    admin::{self, Client},
    listen::ListenError,
    metrics::Metrics,
    process::Shutdown,
    secret::Secret,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
};

use crate::ending::Ending;

pub use model::topology::edge::Limits;

pub use crate::{metrics::GatewayMetrics, reload::Reload, spill::SpillLimits};

/// A gateway that takes over serves nobody before its agent has told it who is primary; it gives up after this time.
const AGENT_WITHIN: Duration = Duration::from_secs(20);

/// Everything that a gateway is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its site.
    pub site: Site,
    /// Where visitors arrive, without TLS; the other site's gateway too.
    pub listen: SocketAddr,
    /// Where they arrive besides.
    pub listeners: Vec<Listener>,
    /// Visitors who come without TLS are sent to `https`, at this port.
    pub redirect_to_https: Option<u16>,
    /// Proxies before us whose word on where a request comes from is believed; nobody else's is.
    pub trusted_proxies: Vec<Cidr>,
    /// Its own admin API.
    pub admin: SocketAddr,
    /// The admin API of its agent.
    pub agent: SocketAddr,
    /// The other site's gateway, as reached from here.
    pub peer: SocketAddr,
    /// The availability zone in which it stands, if that matters.
    pub zone: Option<String>,
    /// Rules and target groups.
    pub routing: Routing,
    /// Whether answers to writes are held.
    pub gate: bool,
    /// How long an answer may be held, in milliseconds.
    pub hold_max_ms: u64,
    /// The token of all admin APIs. Cookies and the proof between gateways are signed with keys derived from it.
    pub admin_token: Secret,
    /// What one visitor may ask of us, and how long we wait for whom.
    pub limits: Limits,
    /// Where large held answers go.
    pub spill: SpillLimits,
    /// Where and how answers are logged; nowhere if not given.
    pub access: Option<access::Settings>,
    /// The web ACL; none: nothing is inspected.
    pub guard: Option<Arc<guard::Guard>>,
    /// How many threads serve visitors; one a core.
    pub threads: usize,
    /// Whether a gateway that serves these addresses is asked for its listeners; it ends then.
    pub take_over: bool,
    /// How the configuration is read again; never if not given.
    pub reload: Option<Reload>,
}

/// A listener besides the first one.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where.
    pub listen: SocketAddr,
    /// What it shows; none: no TLS.
    pub certificates: Option<Arc<tls::Certificates>>,
    /// Whether a load balancer before it says in a PROXY header from whom a connection comes.
    pub proxy_protocol: bool,
}

/// A gateway that has its addresses but does not serve yet.
pub struct Gateway {
    config: Arc<Config>,
    /// One list for each listener, in it one for each thread.
    visitors: Vec<Vec<std::net::TcpListener>>,
    admin: TcpListener,
    /// Whom the listeners came from.
    taken: Option<handover::Taken>,
}

/// Why a gateway cannot go on. Its supervisor may start it again.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A socket or thread of ours failed.
    #[error("the gateway cannot serve: {0}")]
    Io(#[from] std::io::Error),
    /// A serving thread ended by itself.
    #[error("a serving thread ended unexpectedly")]
    ThreadEnded,
    /// A listener's TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The listeners of the running gateway were not taken over; it serves on.
    #[error("the running gateway was not taken over, and serves on: {0}")]
    NotTakenOver(String),
    /// The site's name cannot be sent in a header: the topology's fault.
    #[error("the site's name `{0}` cannot be sent to the other gateway; use letters, digits and `-`")]
    SiteName(Site),
}

impl Gateway {
    /// Takes the addresses, from the gateway that has them if it is to be taken over. Fails at once, naming who has them, if
    /// they are taken.
    pub async fn bind(config: Config) -> Result<Gateway, ListenError> {
        let threads = config.threads.max(1);
        let key = |name: &str| format!("sites.{}.gateway.{name}", config.site);
        let mut taken = if config.take_over { take_over(config.listen).await } else { None };
        let mut from_old = |address| taken.as_mut().map(|old| old.at(address)).unwrap_or_default();
        let old = from_old(config.listen);
        let mut visitors = vec![listen::reuseport(&key("listen"), config.listen, threads, old).await?];
        for more in &config.listeners {
            let old = from_old(more.listen);
            visitors.push(listen::reuseport(&key("listener"), more.listen, threads, old).await?);
        }
        let admin = match from_old(config.admin).pop() {
            Some(admin) => listen::adopted(&key("admin"), config.admin, admin)?,
            None => runtime::listen::tcp(&key("admin"), config.admin).await?,
        };
        Ok(Gateway { config: Arc::new(Config { threads, ..config }), visitors, admin, taken })
    }

    /// Where visitors arrive.
    pub fn address(&self) -> SocketAddr {
        self.addresses().next().unwrap_or(self.config.listen)
    }

    /// Where visitors arrive: the first listener, then the others.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.visitors.iter().filter_map(|threads| threads.first()?.local_addr().ok())
    }

    /// Where its admin API is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.local_addr().unwrap_or(self.config.admin)
    }

    /// Serves until `shutdown`; requests under way are finished.
    pub async fn run(self, metrics: Metrics, shutdown: Shutdown) -> Result<(), GatewayError> {
        let Gateway { config, visitors, admin, taken } = self;
        let ending = Ending::with(&shutdown);
        let at = visitors.iter().flatten().find_map(|l| l.local_addr().ok()).unwrap_or(config.listen);
        let sockets = visitors.iter().flatten().map(AsFd::as_fd).chain([admin.as_fd()]);
        let sockets = sockets.map(|s| s.try_clone_to_owned()).collect::<std::io::Result<Vec<_>>>()?;
        let own = Arc::new(GatewayMetrics::default());
        metrics.register(|registry| own.register(registry));
        if let Some(guard) = &config.guard {
            metrics.register(|registry| guard.register(registry));
        }
        let keys = keys::Keys::derive(&config.admin_token);
        let stamp = peer::Stamp::new(&config.site, &keys)
            .ok_or_else(|| GatewayError::SiteName(config.site.clone()))?;
        let (heard_tx, heard) = watch::channel(agent::Heard::default());
        let watcher = balance::watch::Watcher::new(config.zone.clone(), config.routing.clone());
        let report = watcher.events();
        let (publish, snapshots) = watch::channel(watcher.snapshot());

        let agent = Client::new(config.agent, config.admin_token.clone());
        // These outlive the drain: held answers still need the agent's news.
        let background = Shutdown::new();
        let _end_background = background.clone().drop_guard();
        let parking = parking::Parking::new(own.clone());
        let pressure = pressure::Pressure::new(&config.limits);
        tokio::spawn(pressure.clone().watch(background.clone()));
        tokio::spawn(agent::follow_serving(agent, heard_tx, parking.clone(), background.clone()));
        tokio::spawn(parking.clone().keep_time(background.clone()));
        tokio::spawn(watcher.run(publish, background.clone()));
        let guarding = config.guard.clone().map(|guard| tokio::spawn(guard.follow(background.clone())));

        let told = status::Told {
            config: config.clone(),
            heard: heard.clone(),
            snapshots: snapshots.clone(),
            metrics: own.clone(),
        };
        let (configs, config_news) = watch::channel(config.clone());
        let (orders, ordered) = mpsc::channel(1);
        if let Some(reload) = config.reload.clone() {
            let following = reload::follow(reload, configs, report.clone(), ordered, ending.clone());
            tokio::spawn(async move {
                if let Err(e) = following.await {
                    tracing::error!("the configuration cannot be read again: {e}");
                }
            });
        }
        let routes = status::routes(told, parking.clone(), report.clone(), orders);
        let api = admin::serve(admin, config.admin_token.clone(), metrics, routes, ending.asked().clone());
        let api = tokio::spawn(api);

        let common = listen::Common {
            settings: config_news,
            ending: ending.clone(),
            keys,
            stamp,
            metrics: own,
            parking,
            pressure,
            heard,
            snapshots,
            report,
        };
        let mut doors = vec![door::Door::plain()];
        for more in &config.listeners {
            doors.push(door::Door::new(more.certificates.as_ref(), more.proxy_protocol)?);
            if let Some(certificates) = more.certificates.clone() {
                tokio::spawn(certificates.follow(background.clone()));
            }
        }
        if taken.is_some() {
            let told = common.heard.clone();
            knows_the_primary(told).await?;
        }
        // Each thread has a listener of each address; where another process had another number of threads, some have several,
        // or some threads have none and are not needed.
        let mut entrances: Vec<Vec<listen::Entrance>> = (0..config.threads).map(|_| Vec::new()).collect();
        for (listeners, door) in visitors.into_iter().zip(&doors) {
            for (n, listener) in listeners.into_iter().enumerate() {
                if let Some(thread) = entrances.get_mut(n % config.threads) {
                    thread.push((listener, door.clone()));
                }
            }
        }
        let mut threads = Vec::new();
        entrances.retain(|thread| !thread.is_empty());
        for (n, entrances) in entrances.into_iter().enumerate() {
            threads.push(serving_thread(n, entrances, common.clone())?);
        }
        if let Some(old) = taken {
            tokio::task::spawn_blocking(move || old.serves())
                .await
                .map_err(std::io::Error::other)
                .and_then(|served| served)
                .map_err(|e| GatewayError::NotTakenOver(e.to_string()))?;
            tracing::info!("the gateway of before has passed its listeners on");
        }
        let offering = tokio::spawn(offer(at, sockets, ending.clone()));
        let mut result = Ok(());
        for ended in threads {
            match ended.await {
                Ok(Ended { result: Ok(()), asked: true }) => {}
                Ok(Ended { result: Err(e), .. }) => result = Err(e.into()),
                _ => result = Err(GatewayError::ThreadEnded),
            }
        }
        api.abort();
        // With it the last copies of the listeners are closed.
        if let Err(e) = offering.await {
            tracing::warn!("the listeners' offer ended badly: {e}");
        }
        // Its last lines are written.
        background.cancel();
        if let Some(guarding) = guarding {
            guarding.await.map_err(std::io::Error::other)?;
        }
        result
    }
}

/// Takes the listeners of the gateway that serves `listen`, if one does.
async fn take_over(listen: SocketAddr) -> Option<handover::Taken> {
    let taken = tokio::task::spawn_blocking(move || handover::take(listen)).await;
    match taken.map_err(std::io::Error::other).and_then(|taken| taken) {
        Ok(Some(taken)) => return Some(taken),
        Ok(None) => tracing::info!(%listen, "no gateway serves here that could be taken over"),
        // What comes next, opening the addresses, will say who has them.
        Err(e) => tracing::warn!(%listen, "the running gateway cannot be taken over: {e}"),
    }
    None
}

/// Waits until the agent has said who is primary: the old gateway knows it, so visitors would notice a new one that does not.
async fn knows_the_primary(mut heard: watch::Receiver<agent::Heard>) -> Result<(), GatewayError> {
    let knows = heard.wait_for(|heard| heard.serving.is_some());
    match tokio::time::timeout(AGENT_WITHIN, knows).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(GatewayError::NotTakenOver(format!(
            "the agent has not said within {} s who is primary",
            AGENT_WITHIN.as_secs()
        ))),
    }
}

/// Lets the next process have the listeners.
async fn offer(at: SocketAddr, sockets: Vec<OwnedFd>, ending: Ending) {
    match handover::offer(at, sockets, ending.asked().clone()).await {
        Ok(true) => {
            tracing::info!("the next gateway accepts visitors from now on; what is under way is finished");
            ending.pass_on();
        }
        Ok(false) => {}
        Err(e) => tracing::warn!("this gateway cannot pass its listeners on: {e}"),
    }
}

fn serving_thread(
    n: usize,
    entrances: Vec<listen::Entrance>,
    common: listen::Common,
) -> std::io::Result<oneshot::Receiver<Ended>> {
    let (tell, ended) = oneshot::channel();
    std::thread::Builder::new().name(format!("visitors-{n}")).spawn(move || {
        let asked = common.ending.asked().clone();
        // However this thread ends, the process ends: half a gateway is worse than a restart.
        let _end_all = asked.clone().drop_guard();
        let result = listen::run_thread(entrances, common);
        // Nobody listens only when the process ends.
        tell.send(Ended { result, asked: asked.is_cancelled() }).ok();
    })?;
    Ok(ended)
}

/// How a serving thread ended.
struct Ended {
    result: std::io::Result<()>,
    /// After the end was asked for.
    asked: bool,
}
