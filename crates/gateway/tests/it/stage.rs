//! A gateway, its agent and an application, on ports of their own.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, Method, Uri},
    response::{IntoResponse, Response},
};
use gateway::{Config, Gateway, Limits, SpillLimits};
use model::{
    Serving, Site,
    gateway::GatewayStatus,
    topology::edge::{HealthCheck, Routing, TargetGroup},
};
use runtime::{admin::Client, metrics::Metrics, process::Shutdown, secret::Secret};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use crate::agent::{Agent, TOKEN};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Stage {
    pub(crate) gateway: SocketAddr,
    pub(crate) agent: Agent,
    pub(crate) app: App,
    pub(crate) shutdown: Shutdown,
    pub(crate) running: JoinHandle<()>,
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: Metrics,
    /// Where visitors arrive: the first listener, then the others.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// An application that counts, and says what it got.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicU64>,
}

impl App {
    pub(crate) async fn start() -> App {
        App::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn start_on(listener: TcpListener) -> App {
        let app = App { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let routes = Router::new().fallback(application).with_state(app.asked.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        app
    }

    /// Requests so far, health checks aside.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(SeqCst)
    }
}

async fn application(
    State(asked): State<Arc<AtomicU64>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if uri.path() == "/healthz" {
        return "ok".into_response();
    }
    asked.fetch_add(1, SeqCst);
    match uri.path() {
        "/hold" => ([("ghostlight-hold", "required"), ("ghostlight-x", "1")], "held by wish").into_response(),
        "/large" => Body::from(large()).into_response(),
        _ => {
            let lines: String =
                headers.iter().map(|(n, v)| format!("{n}: {}\n", v.to_str().unwrap())).collect();
            let mut answer = format!("{method} {uri}\n{lines}body {}\n", body.len()).into_response();
            answer.headers_mut().insert("x-app", HeaderValue::from_static("yes"));
            answer
        }
    }
}

/// An answer that does not fit in memory by these tests' limits.
pub(crate) fn large() -> Vec<u8> {
    (0..300_000u32).flat_map(u32::to_be_bytes).collect()
}

/// A port that is taken, but where nothing listens: connections are refused, and nobody else gets it. Listen on it with
/// [`TcpSocket::listen`].
pub(crate) fn reserved() -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (socket.local_addr().unwrap(), socket)
}

/// An address where nothing listens, now or later.
pub(crate) fn nowhere() -> SocketAddr {
    let (address, socket) = reserved();
    // Taken until these tests end: a port that was given back might be another test's server a moment later.
    std::mem::forget(socket);
    address
}

/// The group that takes what no rule takes.
pub(crate) fn default_group(config: &mut Config) -> &mut TargetGroup {
    &mut config.routing.groups[0]
}

/// These targets only, in the default group.
pub(crate) fn only(config: &mut Config, targets: &[SocketAddr]) {
    let site = config.site.clone();
    let group = default_group(config);
    group.targets.clear();
    group.add(&site, targets);
}

/// A gateway of `nhn` on ports of its own.
pub(crate) fn config(agent: SocketAddr, targets: Vec<SocketAddr>) -> Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let site = Site::new("nhn");
    Config {
        routing: Routing::of_targets(&site, &targets, HealthCheck::default()),
        zone: None,
        site,
        listen: any,
        admin: any,
        agent,
        peer: nowhere(),
        gate: true,
        hold_max_ms: 10_000,
        admin_token: Secret::new(TOKEN),
        limits: Limits::default(),
        spill: SpillLimits { memory_bytes_max: 100_000, ..SpillLimits::default() },
        access: None,
        guard: None,
        listeners: Vec::new(),
        redirect_to_https: None,
        trusted_proxies: Vec::new(),
        threads: 1,
        take_over: false,
        reload: None,
    }
}

impl Stage {
    /// A gateway whose agent says `serving`; `adjust` changes its configuration first.
    pub(crate) async fn new(serving: Serving, adjust: impl FnOnce(&mut Config)) -> Stage {
        runtime::log::start("test");
        let shutdown = Shutdown::new();
        let agent = Agent::start(serving.clone(), shutdown.clone()).await;
        let app = App::start().await;
        let mut config = config(agent.address, vec![app.address]);
        adjust(&mut config);
        let gateway = Gateway::bind(config).await.unwrap();
        let (at, admin) = (gateway.address(), gateway.admin_address());
        let addresses = gateway.addresses().collect();
        let until = shutdown.clone();
        let metrics = Metrics::default();
        let shown = metrics.clone();
        let running = tokio::spawn(async move { gateway.run(shown, until).await.unwrap() });
        let stage = Stage { gateway: at, agent, app, shutdown, running, admin, addresses, metrics };
        stage.knows(&serving).await;
        stage
    }

    pub(crate) async fn status(&self) -> GatewayStatus {
        let client = Client::new(self.admin, Secret::new(TOKEN));
        client.get("/v1/status", PATIENCE).await.unwrap()
    }

    /// Waits until the gateway has heard what its agent says, and its threads act on it.
    pub(crate) async fn knows(&self, serving: &Serving) {
        let open = serving.primary == serving.site && serving.open;
        let heard = async {
            loop {
                let page = self.ask("GET /ghostlight/serving HTTP/1.1\r\nHost: a\r\n\r\n").await;
                let status = self.status().await;
                if status.serving.as_ref() == Some(serving) && (page.status == 200) == open {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, heard).await.expect("the gateway does not hear its agent");
    }

    /// Sends one request, byte by byte as given, and reads its answer.
    pub(crate) async fn ask(&self, text: &str) -> Answer {
        self.send(text).await.answer().await
    }

    pub(crate) async fn send(&self, text: &str) -> Visitor {
        let mut stream = TcpStream::connect(self.gateway).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        Visitor { stream, read: Vec::new() }
    }
}

/// A visitor with a request under way.
pub(crate) struct Visitor {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The pair that a client sends back.
    pub(crate) fn cookie(&self) -> &str {
        self.header("set-cookie").split(';').next().unwrap_or_default()
    }
}

impl Visitor {
    /// One who has asked nothing yet.
    pub(crate) async fn at(gateway: SocketAddr) -> Visitor {
        Visitor { stream: TcpStream::connect(gateway).await.unwrap(), read: Vec::new() }
    }

    /// Whether not a byte has come.
    pub(crate) fn hears_nothing(&mut self) -> bool {
        let mut byte = [0];
        matches!(self.stream.try_read(&mut byte), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Everything that was read and belongs to no answer.
    pub(crate) fn taken(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.read)
    }

    /// Whether the gateway has closed the connection without another byte.
    pub(crate) async fn is_hung_up(&mut self) -> bool {
        let mut byte = [0];
        matches!(timeout(PATIENCE, self.stream.read(&mut byte)).await, Ok(Ok(0) | Err(_)))
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next answer, by its framing.
    pub(crate) async fn answer(&mut self) -> Answer {
        timeout(PATIENCE, self.read_answer()).await.expect("no answer within 10 s")
    }

    async fn read_answer(&mut self) -> Answer {
        let head_end = self.until(b"\r\n\r\n").await;
        let head = String::from_utf8(self.read.drain(..head_end).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: BTreeMap<String, String> =
            lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
        let mut body = Vec::new();
        if headers.get("transfer-encoding").is_some_and(|v| v == "chunked") {
            loop {
                let end = self.until(b"\r\n").await;
                let line: Vec<u8> = self.read.drain(..end).collect();
                let size = std::str::from_utf8(&line).unwrap().trim().to_owned();
                let size = usize::from_str_radix(&size, 16).unwrap();
                self.at_least(size + 2).await;
                body.extend(self.read.drain(..size + 2).take(size));
                if size == 0 {
                    break;
                }
            }
        } else if let Some(size) = headers.get("content-length") {
            let size = size.parse().unwrap();
            self.at_least(size).await;
            body.extend(self.read.drain(..size));
        }
        Answer { status, headers, body }
    }

    /// Reads until these bytes have come; how many that were.
    pub(crate) async fn until(&mut self, end: &[u8]) -> usize {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|w| w == end) {
                return at + end.len();
            }
            self.at_least(self.read.len() + 1).await;
        }
    }

    /// Reads until so many bytes wait to be taken.
    pub(crate) async fn at_least(&mut self, bytes: usize) {
        while self.read.len() < bytes {
            let read = self.stream.read_buf(&mut self.read).await.unwrap();
            assert!(read > 0, "the gateway hung up after {:?}", String::from_utf8_lossy(&self.read));
        }
    }
}
