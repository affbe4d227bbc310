//! Accepting visitors: one single-threaded runtime a core, each with its own listener on the same address
//! (`SO_REUSEPORT`), its own connections to the application and its own gate.
//!
//! Threads share nothing that changes while a request is served, but counters: what the agent says, the rules and the
//! fit targets arrive as whole new values, and each thread keeps its own copy.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use model::{Epoch, Serving};
use runtime::{
    admin::Client,
    listen::{self, ListenError},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::{Builder, LocalOptions},
    sync::{Notify, mpsc, watch},
    task::{JoinSet, spawn_local},
};
use tokio_util::task::TaskTracker;

use crate::{
    Config, access,
    agent::{GateDriver, Heard},
    balance::{Event, Shares, Snapshot},
    door::{self, Door},
    ending::Ending,
    hold,
    keys::Keys,
    metrics::GatewayMetrics,
    parking::Parking,
    peer::Stamp,
    pressure::Pressure,
    route::{self, Destination},
    upstream::Pool,
};

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: u32 = 4_096;
/// After an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Barrier requests of the whole process under way at once.
const BARRIERS_MAX: usize = 8;
const BARRIER_WAIT_MS: u64 = 1_000;
const BARRIER_RETRY_MS: u64 = 25;

/// A listener that another process has opened, ready for this one.
pub(crate) fn adopted(
    what: &str,
    address: SocketAddr,
    listener: std::net::TcpListener,
) -> Result<TcpListener, ListenError> {
    let ready = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
    ready.map_err(|source| ListenError::Refused { what: what.to_owned(), address, source })
}

/// Listeners on one address, one for each thread; or `old`, as many as another process has opened there: visitors wait in
/// each of them.
pub(crate) async fn reuseport(
    what: &str,
    address: SocketAddr,
    threads: usize,
    old: Vec<std::net::TcpListener>,
) -> Result<Vec<std::net::TcpListener>, ListenError> {
    // With SO_REUSEPORT a second gateway of the same user would silently share the port: ask without it first. A port
    // that the system chooses is nobody's.
    if address.port() != 0 && old.is_empty() {
        drop(listen::tcp(what, address).await?);
    }
    let refused = |source| ListenError::Refused { what: what.to_owned(), address, source };
    let one = |address: SocketAddr| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    if !old.is_empty() {
        // None is opened besides: the kernel would fill its queue at once, and we do not accept before we know who is
        // primary.
        return Ok(old);
    }
    let first = one(address).map_err(refused)?;
    let address = first.local_addr().map_err(refused)?;
    let others = (1..threads).map(|_| one(address)).collect::<std::io::Result<Vec<_>>>().map_err(refused)?;
    Ok(std::iter::once(first).chain(others).collect())
}

/// What all threads get at their start.
#[derive(Clone)]
pub(crate) struct Common {
    /// The configuration, whole; another one after a reload.
    pub(crate) settings: watch::Receiver<Arc<Config>>,
    pub(crate) ending: Ending,
    pub(crate) keys: Keys,
    pub(crate) stamp: Stamp,
    pub(crate) metrics: Arc<GatewayMetrics>,
    pub(crate) parking: Arc<Parking>,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) heard: watch::Receiver<Heard>,
    /// Rules and fit targets, whole.
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Where a thread tells that a target fails.
    pub(crate) report: mpsc::Sender<Event>,
}

/// One thread's half of the gateway: what its requests look at.
pub(crate) struct Edge {
    /// This thread's own copy: what many threads count references of, they would fight over.
    settings: RefCell<Rc<Config>>,
    pub(crate) ending: Ending,
    pub(crate) keys: Keys,
    pub(crate) stamp: Stamp,
    pub(crate) metrics: Arc<GatewayMetrics>,
    pub(crate) parking: Arc<Parking>,
    /// How much there is to do already.
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) pool: Rc<Pool>,
    pub(crate) access: Option<Rc<access::Log>>,
    pub(crate) gate: Rc<GateDriver>,
    /// Told when the agent has said something new.
    pub(crate) changed: Notify,
    heard: watch::Receiver<Heard>,
    serving: RefCell<Option<Serving>>,
    shares: RefCell<Rc<Shares>>,
    report: mpsc::Sender<Event>,
    epoch: Cell<Epoch>,
    /// The number of the agent's words that this thread acts on.
    number: Cell<u64>,
}

impl Edge {
    fn new(common: Common) -> Rc<Edge> {
        let Common {
            settings: mut configs,
            ending,
            keys,
            stamp,
            metrics,
            parking,
            pressure,
            heard,
            mut snapshots,
            report,
        } = common;
        let settings = Rc::new(Config::clone(&configs.borrow_and_update()));
        let limits = hold::Limits {
            hold_max_ms: settings.hold_max_ms,
            barrier_wait_ms: BARRIER_WAIT_MS.min(settings.hold_max_ms),
            barriers_max: (BARRIERS_MAX / settings.threads).max(1),
            retry_ms: BARRIER_RETRY_MS,
        };
        let agent = Client::new(settings.agent, settings.admin_token.clone());
        let snapshot = snapshots.borrow_and_update().clone();
        let shares = Shares::new(snapshot, None, settings.threads, &report, &metrics);
        let access = settings.access.clone().map(access::Log::new);
        if let Some(log) = &access {
            spawn_local(log.clone().keep_writing());
        }
        let edge = Rc::new(Edge {
            access,
            gate: GateDriver::start(limits, agent, metrics.clone()),
            settings: RefCell::new(settings),
            ending,
            keys,
            stamp,
            pool: Pool::new(metrics.clone()),
            metrics,
            parking,
            pressure,
            changed: Notify::new(),
            heard: heard.clone(),
            serving: RefCell::default(),
            shares: RefCell::new(Rc::new(shares)),
            report,
            epoch: Cell::new(Epoch(0)),
            number: Cell::new(0),
        });
        edge.hear(&heard.borrow());
        spawn_local(edge.clone().follow(heard, snapshots, configs));
        edge
    }

    /// The configuration in force.
    pub(crate) fn settings(&self) -> Rc<Config> {
        self.settings.borrow().clone()
    }

    /// Where a request goes now.
    pub(crate) fn destination(&self, forwarded: bool) -> Destination {
        route::choose(self.serving.borrow().as_ref(), forwarded)
    }

    /// The epoch that the agent told last; 0 before.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch.get()
    }

    /// The targets that may be asked now.
    pub(crate) fn shares(&self) -> Rc<Shares> {
        self.shares.borrow().clone()
    }

    /// Whether this site is primary and open, and the agent has said so within `age`.
    pub(crate) fn is_open_since(&self, age: Duration) -> bool {
        let fresh = self.heard.borrow().at.is_some_and(|at| at.elapsed() < age);
        fresh && self.serving.borrow().as_ref().is_some_and(route::is_open)
    }

    /// Waits until this thread acts on what the agent said up to `number`.
    pub(crate) async fn knows(&self, number: u64) {
        loop {
            let changed = self.changed.notified();
            if self.number.get() >= number {
                return;
            }
            changed.await;
        }
    }

    fn hear(self: &Rc<Self>, heard: &Heard) {
        let Some(serving) = &heard.serving else { return };
        let before = self.epoch.replace(serving.epoch);
        self.serving.replace(Some(serving.clone()));
        self.number.set(heard.number);
        if before != serving.epoch {
            self.pool.close_all();
            self.gate.epoch_known(serving.epoch);
        }
        self.changed.notify_waiters();
    }

    async fn follow(
        self: Rc<Self>,
        mut heard: watch::Receiver<Heard>,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        mut configs: watch::Receiver<Arc<Config>>,
    ) {
        loop {
            tokio::select! {
                said = heard.changed() => {
                    if said.is_err() { return }
                    let said = heard.borrow_and_update().clone();
                    self.hear(&said);
                }
                said = snapshots.changed() => {
                    if said.is_err() { return }
                    let snapshot = snapshots.borrow_and_update().clone();
                    let before = self.shares();
                    let threads = self.settings().threads;
                    let shares = Shares::new(snapshot, Some(&before), threads, &self.report, &self.metrics);
                    self.shares.replace(Rc::new(shares));
                }
                // Where nothing can be read again its sender is gone, and nothing ever changes.
                Ok(()) = configs.changed() => {
                    let config = Config::clone(&configs.borrow_and_update());
                    self.settings.replace(Rc::new(config));
                }
            }
        }
    }
}

/// A listener of one thread, and how its connections begin.
pub(crate) type Entrance = (std::net::TcpListener, Door);

/// Runs one thread's share until the end is asked for, then finishes the requests under way, for as long as they may take.
pub(crate) fn run_thread(entrances: Vec<Entrance>, common: Common) -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let ending = common.ending.clone();
        let edge = Edge::new(common);
        let open = TaskTracker::new();
        let mut accepting = JoinSet::new();
        for (listener, door) in entrances {
            let listener = TcpListener::from_std(listener)?;
            accepting.spawn_local(accept(edge.clone(), listener, Rc::new(door), open.clone()));
        }
        while accepting.join_next().await.is_some() {}
        open.close();
        if tokio::time::timeout(ending.drain(), open.wait()).await.is_err() {
            tracing::warn!(connections = open.len(), "ending with requests under way");
        }
        Ok(())
    })
}

async fn accept(edge: Rc<Edge>, listener: TcpListener, door: Rc<Door>, open: TaskTracker) {
    let asked = edge.ending.asked().clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = asked.cancelled() => return,
        };
        match accepted {
            Ok((stream, address)) => {
                let connection = door::connection(edge.clone(), door.clone(), stream, address);
                spawn_local(open.track_future(connection));
            }
            Err(e) => {
                tracing::warn!("accepting a visitor failed: {e}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
