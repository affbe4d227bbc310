//! Where `bench gateway` and `bench waf` run: addresses of a lab number of its own, a folder, and the processes in it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use axum::{Json, Router, extract::Query, routing::get};
use cloud::local::lab_number::{self, LabNumber};
use model::{
    Epoch, Mode, Serving, Site, StreamId,
    gateway::{GatewayStatus, TargetState},
};
use runtime::{admin::Client, clock::Boot, metrics::Metrics, process::Shutdown, secret::Secret};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::{sleep, timeout},
};

const ORIGIN: &str = include_str!("origin.nginx.conf");
const NGINX: &str = include_str!("nginx.conf");
const HAPROXY: &str = include_str!("haproxy.cfg");
const OURS: &str = include_str!("ghostlight.toml");
const ACL: &str = include_str!("../../../../../examples/waf/web-acl.json");
const MODSECURITY: &str = include_str!("../waf/modsecurity.conf");
/// Where Debian has it.
const MODSECURITY_MODULE: &str = "load_module /usr/lib/nginx/modules/ngx_http_modsecurity_module.so;";
const MODSECURITY_ON: &str = "modsecurity on;\n        modsecurity_rules_file {folder}/modsecurity.conf;";

/// Our gateway's configuration.
const CONFIG: &str = "ghostlight.toml";

/// How long a process may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long a process may take to end.
const END_WITHIN: Duration = Duration::from_secs(10);
/// The unit in which Linux tells CPU times (USER_HZ), on every machine that we run on.
const TICKS_PER_S: u64 = 100;
/// The body of `/64k`.
const LARGE_BYTES: usize = 64 << 10;

/// A reverse proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum Proxy {
    Ours,
    Nginx,
    Haproxy,
    /// Ours with the example's web ACL.
    OursGuarded,
    /// nginx with libmodsecurity and CRS.
    NginxModsecurity,
}

impl Proxy {
    /// Those of `bench gateway`.
    pub(in crate::bench) const ALL: [Proxy; 3] = [Proxy::Ours, Proxy::Nginx, Proxy::Haproxy];

    pub(in crate::bench) fn name(self) -> &'static str {
        match self {
            Proxy::Ours => "ours",
            Proxy::Nginx => "nginx",
            Proxy::Haproxy => "haproxy",
            Proxy::OursGuarded => "ours-guarded",
            Proxy::NginxModsecurity => "nginx-modsecurity",
        }
    }
}

/// The place, ours until this is dropped.
pub(in crate::bench) struct Place {
    number: LabNumber,
    folder: PathBuf,
    token: Secret,
    gate: bool,
    instances: u8,
}

/// A process that answers. It dies with this value.
pub(in crate::bench) struct Running {
    name: &'static str,
    address: SocketAddr,
    child: Child,
}

/// An agent that says that this site is open. It ends with this value.
pub(in crate::bench) struct Agent(Shutdown);

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Place {
    /// `gate`: whether our gateway holds what is written. What its agent is here answers no barrier. `instances` of the
    /// application: one where proxies are compared, since the peers' configurations know one only. (To wake the second
    /// of two that have little to do takes the proxy more CPU than to write to one that is busy.)
    pub(in crate::bench) fn take(gate: bool, instances: u8) -> Result<Place, String> {
        let number = lab_number::claim().map_err(|e| e.to_string())?;
        let folder = PathBuf::from(format!("/var/tmp/ghostlight-bench-gateway-{}", std::process::id()));
        let large = "seat A1 ".repeat(LARGE_BYTES / 8);
        let made =
            fs::create_dir_all(folder.join("www")).and_then(|()| fs::write(folder.join("www/64k"), large));
        made.map_err(|e| format!("{}: {e}", folder.display()))?;
        let place = Place { number, folder, token: Secret::random(), gate, instances };
        place.certify()?;
        Ok(place)
    }

    pub(in crate::bench) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(in crate::bench) fn clean_up(&self) {
        if let Err(e) = fs::remove_dir_all(&self.folder) {
            tracing::warn!("{} is left behind: {e}", self.folder.display());
        }
    }

    /// A certificate that nobody trusts; the load does not look.
    fn certify(&self) -> Result<(), String> {
        let made = rcgen::generate_simple_self_signed(["bench.ghostlight.test".to_owned()]);
        let made = made.map_err(|e| format!("a certificate cannot be made: {e}"))?;
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        for (name, text) in
            [("bench.pem", &chain), ("bench.key", &key), ("both.pem", &format!("{chain}{key}"))]
        {
            let path = self.folder.join(name);
            fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(())
    }

    fn at(&self, host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([127, 10, self.number.get(), host], port))
    }

    fn listen(&self, proxy: Proxy) -> SocketAddr {
        let port = match proxy {
            Proxy::Ours => 8_081,
            Proxy::Nginx => 8_082,
            Proxy::Haproxy => 8_083,
            Proxy::OursGuarded => 8_084,
            Proxy::NginxModsecurity => 8_085,
        };
        self.at(1, port)
    }

    /// Writes a configuration into the folder.
    fn write(&self, name: &str, template: &str, listen: SocketAddr) -> Result<PathBuf, String> {
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let targets: Vec<_> = (0..self.instances).map(|n| format!("\"{}\"", self.target(n))).collect();
        let text = template
            .replace("{folder}", &self.folder.display().to_string())
            .replace("{workers}", &workers.to_string())
            .replace("{origin}", &listen_of(name, listen, self.target(0)).to_string())
            .replace("{targets}", &targets.join(", "))
            .replace("{secure}", &secure(listen).to_string())
            .replace("{gate}", if self.gate { "true" } else { "false" })
            .replace("{agent}", &self.at(3, 7_100).to_string())
            .replace("{net}", &format!("127.10.{}", self.number.get()))
            .replace("{listen}", &listen.to_string());
        self.script(name, &text)
    }

    /// Writes a file into the folder as it stands.
    pub(in crate::bench) fn script(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }

    /// Where the application's instances are.
    fn target(&self, n: u8) -> SocketAddr {
        self.at(9 + n, 8_080)
    }

    /// All instances of the application.
    pub(in crate::bench) async fn application(&self) -> Result<Vec<Running>, String> {
        let mut all = Vec::new();
        for n in 0..self.instances {
            all.push(self.origin(n).await?);
        }
        Ok(all)
    }

    /// An instance of the application.
    pub(super) async fn origin(&self, n: u8) -> Result<Running, String> {
        let name = name_of(n);
        let address = self.target(n);
        let config = self.write(
            &format!("{name}.nginx.conf"),
            &ORIGIN.replace("origin.", &format!("{name}.")),
            address,
        )?;
        let mut command = bound_to_us("nginx");
        command.arg("-c").arg(config).arg("-p").arg(&self.folder);
        self.start(name, address, command).await
    }

    /// Lets an instance of the application fail its health check, or pass it again.
    pub(super) fn leaves(&self, n: u8, leaves: bool) -> Result<(), String> {
        let path = self.folder.join(format!("{}.leaving", name_of(n)));
        let done = if leaves { fs::write(&path, "") } else { fs::remove_file(&path) };
        done.map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Waits until our gateway asks an instance of the application, or asks it no more.
    pub(super) async fn is_asked(&self, n: u8, asked: bool) -> Result<(), String> {
        let client = Client::new(self.at(3, 7_200), self.token.clone());
        let deadline = Boot::now() + READY_WITHIN;
        while Boot::now() < deadline {
            let status: GatewayStatus =
                client.get("/v1/status", END_WITHIN).await.map_err(|e| e.to_string())?;
            let target = status.targets.iter().find(|t| t.address == self.target(n));
            if target.is_some_and(|t| (t.state == TargetState::Healthy) == asked) {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await; // the gateway tells when it is asked
        }
        Err(format!(
            "the gateway does not find within {} s that {} has changed",
            READY_WITHIN.as_secs(),
            name_of(n)
        ))
    }

    /// The gateway that takes over from the one that runs.
    pub(super) async fn successor(&self, mut ours: Command) -> Result<Running, String> {
        let config = self.folder.join(CONFIG);
        ours.arg("--die-with-parent").arg("--config").arg(config);
        ours.args(["gateway", "--site", "nhn", "--take-over"]);
        self.start("successor", self.listen(Proxy::Ours), ours).await
    }

    /// What our gateway asks whether this site serves.
    pub(in crate::bench) async fn agent(&self) -> Result<Agent, String> {
        let listener = TcpListener::bind(self.at(3, 7_100)).await.map_err(|e| format!("the agent: {e}"))?;
        let routes = Router::new().route("/v1/serving", get(serving));
        let shutdown = Shutdown::new();
        let api =
            runtime::admin::serve(listener, self.token.clone(), Metrics::default(), routes, shutdown.clone());
        tokio::spawn(api);
        Ok(Agent(shutdown))
    }

    /// Starts a proxy; `ours` is the command of our own binary.
    pub(in crate::bench) async fn proxy(
        &self,
        proxy: Proxy,
        ours: Option<Command>,
    ) -> Result<Running, String> {
        let listen = self.listen(proxy);
        let command = match (proxy, ours) {
            (Proxy::Ours | Proxy::OursGuarded, Some(mut command)) => {
                self.script("admin.token", self.token.expose())?;
                let (file, waf, admin) = if proxy == Proxy::OursGuarded {
                    self.script("web-acl.json", ACL)?;
                    ("guarded.toml", "waf = { acl = \"web-acl.json\" }", 7_201)
                } else {
                    (CONFIG, "", 7_200)
                };
                let text = OURS
                    .replace("{waf}", waf)
                    .replace("{admin}", &self.at(3, admin).to_string())
                    .replace("{name}", proxy.name());
                let config = self.write(file, &text, listen)?;
                command
                    .arg("--die-with-parent")
                    .arg("--config")
                    .arg(config)
                    .args(["gateway", "--site", "nhn"]);
                command
            }
            (Proxy::Haproxy, _) => {
                let mut command = bound_to_us("haproxy");
                command.arg("-db").arg("-f").arg(self.write("haproxy.cfg", HAPROXY, listen)?);
                command
            }
            _ => {
                let (module, on) = if proxy == Proxy::NginxModsecurity {
                    self.write("modsecurity.conf", MODSECURITY, listen)?;
                    (MODSECURITY_MODULE, MODSECURITY_ON)
                } else {
                    ("", "")
                };
                let text =
                    NGINX.replace("{module}", module).replace("{waf}", on).replace("{name}", proxy.name());
                let config = self.write(&format!("{}.conf", proxy.name()), &text, listen)?;
                let mut command = bound_to_us("nginx");
                command.arg("-c").arg(config).arg("-p").arg(&self.folder);
                command
            }
        };
        self.start(proxy.name(), listen, command).await
    }

    async fn start(
        &self,
        name: &'static str,
        address: SocketAddr,
        mut command: Command,
    ) -> Result<Running, String> {
        let log = |what: &str| fs::File::create(self.folder.join(format!("{name}.{what}.log")));
        let logs =
            log("out").and_then(|out| Ok((out, log("err")?))).map_err(|e| format!("{name}'s logs: {e}"))?;
        command.stdin(Stdio::null()).stdout(logs.0).stderr(logs.1).kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| {
            format!("{name} cannot be started: {e}; install what is missing: scripts/setup --bench")
        })?;
        let deadline = Boot::now() + READY_WITHIN;
        while !answers(address).await {
            let ended = child.try_wait().map_err(|e| format!("{name}: {e}"))?;
            if ended.is_some() || Boot::now() > deadline {
                let said =
                    fs::read_to_string(self.folder.join(format!("{name}.err.log"))).unwrap_or_default();
                return Err(format!("{name} does not answer at {address}: {}", said.trim()));
            }
            // Nothing tells when a foreign process is ready; it is asked.
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Running { name, address, child })
    }
}

/// A server that is told to end when we die, however we die. Debian keeps servers where not every user's PATH looks.
fn bound_to_us(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
    command.args(["--pdeathsig", "TERM", program]);
    command
}

/// An instance of the application.
fn name_of(n: u8) -> &'static str {
    if n == 0 { "origin" } else { "origin2" }
}

/// Where a proxy speaks TLS.
fn secure(listen: SocketAddr) -> SocketAddr {
    SocketAddr::new(listen.ip(), listen.port() + 10)
}

/// An origin listens where it is told to; to a proxy `{origin}` is the first instance.
fn listen_of(name: &str, listen: SocketAddr, first: SocketAddr) -> SocketAddr {
    if name.starts_with("origin") { listen } else { first }
}

impl Running {
    /// Where it speaks TLS, if it is a proxy.
    pub(super) fn secure(&self) -> SocketAddr {
        secure(self.address)
    }

    /// Tells the process something.
    pub(super) fn tell(&self, signal: Signal) -> Result<(), String> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let pid = pid.ok_or_else(|| format!("{} has ended", self.name))?;
        kill_process(pid, signal).map_err(|e| format!("{} cannot be told: {e}", self.name))
    }

    /// Waits until it has ended, however.
    pub(super) async fn gone(&mut self) -> Result<(), String> {
        match timeout(END_WITHIN, self.child.wait()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => Err(format!("{}: {e}", self.name)),
            Err(_) => Err(format!("{} does not end within {} s", self.name, END_WITHIN.as_secs())),
        }
    }

    /// Waits until it has ended by itself, and well.
    pub(super) async fn ended(mut self, within: Duration) -> Result<(), String> {
        match timeout(within, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("{} ended with {status}", self.name)),
            Ok(Err(e)) => Err(format!("{}: {e}", self.name)),
            Err(_) => Err(format!("{} does not end within {} s", self.name, within.as_secs())),
        }
    }

    /// Memory of the process, in MiB.
    pub(super) fn rss_mib(&self) -> Result<f64, String> {
        let pid = self.child.id().ok_or_else(|| format!("{} has ended", self.name))?;
        let text =
            fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| format!("{}: {e}", self.name))?;
        let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
        let kib = line.trim().strip_suffix(" kB").and_then(|n| n.trim().parse::<f64>().ok());
        kib.map(|kib| kib / 1_024.0).ok_or_else(|| format!("/proc tells no memory of {}", self.name))
    }

    pub(in crate::bench) fn name(&self) -> &'static str {
        self.name
    }

    pub(in crate::bench) fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU time that the process and its children have used.
    pub(in crate::bench) fn cpu_ms(&self) -> Result<u64, String> {
        let own = self.child.id().ok_or_else(|| format!("{} has ended", self.name))?;
        let processes = fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?.flatten();
        let ticks = processes.filter_map(|p| {
            let pid: u32 = p.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(p.path().join("stat")).ok()?;
            // The name stands in brackets and may hold anything.
            let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
            let parent: u32 = fields.get(1)?.parse().ok()?;
            let (user, system): (u64, u64) = (fields.get(11)?.parse().ok()?, fields.get(12)?.parse().ok()?);
            (pid == own || parent == own).then_some(user + system)
        });
        Ok(ticks.sum::<u64>() * 1_000 / TICKS_PER_S)
    }

    /// Ends it and waits for its end.
    pub(in crate::bench) async fn end(mut self) -> Result<(), String> {
        self.tell(Signal::TERM)?;
        self.gone().await
    }
}

/// Whether `/small` is answered with 200.
async fn answers(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /small HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    };
    timeout(Duration::from_secs(2), ask).await.is_ok_and(|r| r.unwrap_or(false))
}

#[derive(Deserialize)]
struct Known {
    epoch: Option<Epoch>,
    wait_ms: Option<u64>,
}

async fn serving(Query(known): Query<Known>) -> Json<Serving> {
    if known.epoch.is_some() {
        // There is never any news: whoever knows an epoch waits as long as he wants to.
        sleep(Duration::from_millis(known.wait_ms.unwrap_or(0))).await;
    }
    let site = Site::new("nhn");
    let stream = StreamId("bench".into());
    Json(Serving { primary: site.clone(), site, epoch: Epoch(1), stream, mode: Mode::Sync, open: true })
}
