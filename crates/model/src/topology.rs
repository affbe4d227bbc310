//! The topology file, `ghostlight.toml`: both sites, the witness, and the rules between them.
//!
//! The doc comments of these structs are the file's manual. Unknown keys are errors. Secrets never stand in the
//! file: only the name of a file or of an environment variable.

pub mod edge;
mod register;
mod traffic;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{Site, weekly::Weekly};

pub use register::{RegisterConfig, RegisterKind};
pub use traffic::{AccessLog, AccessLogFormat, WebAcl};

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// The service that is kept alive.
    pub service: Service,
    /// The rules of mode, hold and failover.
    #[serde(default)]
    pub policy: Policy,
    /// Where the shared secrets are.
    pub secrets: Secrets,
    /// The connection between the two agents.
    #[serde(default)]
    pub link: Link,
    /// What keeps the register.
    #[serde(default)]
    pub register: RegisterConfig,
    /// The third place.
    pub witness: Witness,
    /// The two sites, by name.
    pub sites: BTreeMap<Site, SiteConfig>,
    /// Groups of the application's instances, at both sites.
    #[serde(default, rename = "target_group")]
    pub target_groups: Vec<edge::TargetGroup>,
    /// What is done with which requests. What no rule takes goes to the group `default`.
    #[serde(default, rename = "rule")]
    pub rules: Vec<edge::Rule>,
}

/// `[service]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The name that visitors resolve, e.g. `tickets.example.kr`.
    pub name: String,
    /// Seconds that a resolver may keep an answer.
    #[serde(default = "defaults::ttl_s")]
    pub ttl_s: u32,
    /// The site that is primary at the first start, and to which a failback returns.
    pub preferred: Site,
}

/// `[policy]`: every time is in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// What the primary does when the standby is lost: go on alone, or stall its answers.
    pub when_standby_lost: WhenStandbyLost,
    /// How long the standby may be silent before the primary asks for `solo`.
    pub solo_after_ms: u64,
    /// How long an answer may be held before the visitor is told `unknown`.
    pub hold_max_ms: u64,
    /// In `solo`: how long after the register was last seen answers may still go out.
    pub lease_ms: u64,
    /// How often the primary commits a heartbeat.
    pub heartbeat_ms: u64,
    /// How often each controller probes both sites.
    pub probe_interval_ms: u64,
    /// How long one probe may take.
    pub probe_timeout_ms: u64,
    /// A site is lost to a viewpoint after so many failed probes in a row.
    pub lost_after_probes: u32,
    /// How long the leader's lease lasts.
    pub leader_lease_ms: u64,
    /// No automatic failover within this time after the last change of primary. It keeps a fault that follows the service
    /// from one cloud to the other from moving it to and fro; a failover that an operator orders does not wait.
    pub failover_pause_ms: u64,
    /// A standby that applies later than this is a problem with a name.
    pub lag_ms_max: u64,
    /// An answer over the link that takes longer than this is a problem with a name.
    pub link_ms_max: u64,
    /// The clocks of two places may differ by so much.
    pub clock_skew_ms_max: u64,
    /// If the primary's log holds the standby's place for less than this, in seconds, that is a problem with a name.
    pub retention_s_min: u64,
    /// Below so many free bytes the disk of a database counts as full.
    pub disk_free_bytes_min: u64,
    /// A primary that was lost and came back so often within `flap_window_ms` flaps.
    pub flaps_max: u32,
    /// Over how long losses are counted.
    pub flap_window_ms: u64,
    /// Whether an old primary that returns is taken back by itself, or when an operator says so.
    pub reinstate: Reinstate,
    /// What to do with a table that has no primary key.
    pub tables_without_primary_key: WithoutPrimaryKey,
    /// How many rows a second an attached standby compares with the primary in the background, over and over; 0: none.
    pub verify_rows_per_s: u64,
    /// A switchover that has not moved the register within this time is rolled back.
    pub switchover_ms_max: u64,
    /// In a switchover: how long requests that are under way may take until it is rolled back.
    pub switchover_drain_ms: u64,
    /// In a switchover: how long the standby may take to catch up with the closed primary. A standby that is further
    /// behind than this is not switched to at all.
    pub switchover_catch_up_ms: u64,
    /// In a switchover: a request that has waited so long is told to come again (503, `Retry-After`).
    pub switchover_park_ms: u64,
    /// In a switchover: so many requests may wait at each gateway; what comes then is told to come again.
    pub switchover_parked_max: u64,
    /// What parked requests wait for once the new primary is open.
    pub switchover_unpark: Unpark,
    /// For how long they wait for `sync` then; after that they go on in `solo`.
    pub switchover_sync_wait_ms: u64,
    /// Whether the service returns to `service.preferred` by itself.
    pub failback: Failback,
    /// Before it does, everything must have been well for so long without a break, and the primary unchanged.
    pub failback_after_ms: u64,
    /// With `failback = "scheduled"`: not before this time of the day (UTC, `HH:MM`), and not later than an hour after.
    pub failback_at: TimeOfDay,
    /// Maintenance that recurs: within one of these nothing is moved automatically, as in a window that an operator ordered
    /// (`ghostlight hold`). Each as `"sat 02:00-04:00 Asia/Seoul"`; clocks are `UTC`, `Asia/Seoul`, `Asia/Tokyo` or an
    /// offset (`+09:00`).
    pub maintenance: Vec<Weekly>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            when_standby_lost: WhenStandbyLost::Solo,
            solo_after_ms: 2_000,
            hold_max_ms: 10_000,
            lease_ms: 3_000,
            heartbeat_ms: 200,
            probe_interval_ms: 250,
            probe_timeout_ms: 500,
            lost_after_probes: 4,
            leader_lease_ms: 1_500,
            failover_pause_ms: 120_000,
            lag_ms_max: 10_000,
            link_ms_max: 250,
            clock_skew_ms_max: 1_000,
            retention_s_min: 21_600,
            disk_free_bytes_min: 16 << 20,
            flaps_max: 3,
            flap_window_ms: 300_000,
            reinstate: Reinstate::Automatic,
            tables_without_primary_key: WithoutPrimaryKey::Refuse,
            verify_rows_per_s: 1_000,
            switchover_ms_max: 4_000,
            switchover_drain_ms: 1_500,
            switchover_catch_up_ms: 1_000,
            switchover_park_ms: 5_000,
            switchover_parked_max: 20_000,
            switchover_unpark: Unpark::Sync,
            switchover_sync_wait_ms: 150,
            failback: Failback::Manual,
            failback_after_ms: 600_000,
            failback_at: TimeOfDay { minute: 19 * 60 },
            maintenance: Vec::new(),
        }
    }
}

/// What requests that were parked for a switchover wait for, once the new primary is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unpark {
    /// Until the old primary follows as standby and the mode is `sync` again, for `switchover_sync_wait_ms` at most.
    Sync,
    /// For nothing: the shortest pause. Until `sync` is back, a loss of the new primary loses what it acknowledged.
    Solo,
}

/// Whether, and when, the service returns to the preferred site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failback {
    /// When an operator says so: `ghostlight switchover`.
    Manual,
    /// Once everything has been well for `failback_after_ms`, in the hour that begins at `failback_at`.
    Scheduled,
    /// Once everything has been well for `failback_after_ms`.
    Auto,
}

/// A time of the day, UTC, written `HH:MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay {
    /// Minutes since midnight.
    pub minute: u32,
}

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<TimeOfDay, String> {
        let wrong = || format!("`{text}` is not a time of the day; write e.g. `04:30`");
        let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
        let part = |text: &str, below: u32| {
            let two = text.len() == 2;
            text.parse::<u32>().ok().filter(|n| two && *n < below).ok_or_else(wrong)
        };
        Ok(TimeOfDay { minute: part(hours, 24)? * 60 + part(minutes, 60)? })
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> String {
        format!("{:02}:{:02}", time.minute / 60, time.minute % 60)
    }
}

/// What to do when the standby does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenStandbyLost {
    /// Go on alone: answers no longer wait, and no automatic failover is possible until the standby is back.
    Solo,
    /// Hold every answer until the standby is back.
    Stall,
}

/// When an old primary that returns is taken back: what it committed and nobody was told of goes into quarantine and is
/// undone, and it becomes the standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reinstate {
    /// As soon as its agent sees that another site is primary.
    Automatic,
    /// It is fenced at once, and waits for `ghostlight reinstate`.
    Manual,
}

/// What to do with a table that has no primary key: its rows cannot be told apart by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithoutPrimaryKey {
    /// `ghostlight check` names it and refuses, and the stream stops at its first change.
    Refuse,
    /// Apply its changes row by row, found by their whole before image: correct, and slow.
    RowByRow,
}

/// `[secrets]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// Bearer token of the admin APIs.
    pub admin_token: SecretRef,
}

/// `[link]`: the connection between the two agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// The folder with the agents' certificates, relative to the topology file: `authority.pem`, and at each site its
    /// own `<site>.pem` and `<site>.key`. `ghostlight init` makes them.
    pub folder: PathBuf,
}

impl Default for Link {
    fn default() -> Self {
        Link { folder: "link".into() }
    }
}

/// Where a secret is: `{ file = "secrets/admin.token" }` (relative to the topology file) or `{ env = "NAME" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretRef {
    /// The first line of a file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// `[witness]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Where the witness's controller serves its admin API, and the register where that is a file.
    pub controller: SocketAddr,
    /// The register's file, where the register is a file. Only the witness process opens it.
    #[serde(default = "defaults::register_file")]
    pub register_file: PathBuf,
    /// The embedded name server.
    pub nameserver: Nameserver,
}

/// `[witness.nameserver]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nameserver {
    /// Where it answers, UDP and TCP.
    pub listen: SocketAddr,
    /// Its admin API.
    pub admin: SocketAddr,
    /// Where it remembers which site it answers, so that a restart never answers an older one.
    #[serde(default = "defaults::steering_file")]
    pub steering_file: PathBuf,
}

/// `[sites.<name>]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteConfig {
    /// The site's database.
    pub database: Database,
    /// The site's agent.
    pub agent: Agent,
    /// The site's gateway.
    pub gateway: Gateway,
    /// Where the site's controller serves its admin API.
    pub controller: SocketAddr,
    /// How this site reaches the other one, over the link.
    pub peer: Peer,
}

/// `[sites.<name>.database]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The address that the application uses, never a read-splitting proxy.
    pub address: SocketAddr,
    /// The agent's account. It needs REPLICATION SLAVE, BINLOG MONITOR (or REPLICATION CLIENT), CREATE USER for
    /// locking the application's account, CONNECTION ADMIN for ending its sessions, and ordinary DML and DDL.
    pub user: String,
    /// The agent's password.
    pub password: SecretRef,
    /// The application's account, which the fence locks.
    pub application_user: String,
}

/// `[sites.<name>.agent]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Its admin API.
    pub admin: SocketAddr,
    /// Where it accepts the peer's agent.
    pub link: SocketAddr,
    /// A folder for this agent alone, beside the topology file if relative. It holds the quarantine: what an old primary
    /// committed and nobody was told of, which is never deleted; and, in `spool/`, transactions that are too large for
    /// memory until their end has come, so it needs as much room as the largest. Default: `agent/<site>`.
    #[serde(default)]
    pub data_folder: Option<PathBuf>,
}

/// `[sites.<name>.gateway]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Where visitors arrive. This address is also what the name server answers for this site.
    pub listen: SocketAddr,
    /// Its admin API.
    pub admin: SocketAddr,
    /// The availability zone in which the gateway stands, for target groups with `cross_zone = false`.
    #[serde(default)]
    pub zone: Option<String>,
    /// The application's instances: the short form of a `[[target_group]]` named `default`.
    #[serde(default)]
    pub targets: Vec<SocketAddr>,
    /// Whether answers to writes are held (the commit gate). Only the drill that proves the gate's worth turns
    /// it off.
    #[serde(default = "defaults::yes")]
    pub gate: bool,
    /// The path that tells whether an instance of the application in `targets` serves: asked with GET, 200..399 is
    /// healthy. A `[[target_group]]` named `default` has its own `health_check` instead.
    #[serde(default = "defaults::health_path")]
    pub health_path: String,
    /// The largest request body in bytes; larger ones get 413.
    #[serde(default = "defaults::body_bytes_max")]
    pub body_bytes_max: u64,
    /// Listeners besides `listen`.
    #[serde(default, rename = "listener")]
    pub listeners: Vec<Listener>,
    /// Visitors who come to `listen` without TLS are sent to `https`, at the port of the first listener that has
    /// certificates. What the other site's gateway passes on is not.
    #[serde(default)]
    pub redirect_to_https: bool,
    /// Proxies before the gateway (a CDN, a cloud's load balancer), as addresses or ranges: what they say in `Forwarded`
    /// and `X-Forwarded-*` is believed and added to. What anybody else says there is replaced by what we see ourselves.
    #[serde(default)]
    pub trusted_proxies: Vec<edge::Cidr>,
    /// What one visitor may ask, and how long is waited for whom.
    #[serde(default)]
    pub limits: edge::Limits,
    /// A line for each answer. Default: none.
    #[serde(default)]
    pub access_log: Option<AccessLog>,
    /// The web ACL that judges every request before the rules. Default: none.
    #[serde(default)]
    pub waf: Option<WebAcl>,
}

/// `[[sites.<name>.gateway.listener]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Where visitors arrive.
    pub listen: SocketAddr,
    /// With certificates it speaks TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1. Of several the one is shown whose name the
    /// visitor asks for, the first if none has it. Files are looked at every two seconds; a new certificate is shown
    /// from the next handshake on, and no connection is dropped.
    #[serde(default, rename = "certificate")]
    pub certificates: Vec<Certificate>,
    /// Whether a load balancer before it says in a PROXY header (version 1 or 2) from whom a connection comes. The header
    /// must come then; let nobody but the load balancer connect.
    #[serde(default)]
    pub proxy_protocol: bool,
}

/// The files of a certificate, beside the topology file if relative.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The certificate and those between it and its authority, PEM.
    pub chain: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// `[sites.<name>.peer]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// The other site's agent, as reached from here.
    pub agent_link: SocketAddr,
    /// The other site's agent's admin API, as reached from here.
    pub agent_admin: SocketAddr,
    /// The other site's gateway, as reached from here.
    pub gateway: SocketAddr,
    /// The other site's controller, as reached from here. Default: the address at which it listens.
    #[serde(default)]
    pub controller: Option<SocketAddr>,
    /// The other site's gateway's admin API, as reached from here; its own `gateway.admin` if not given.
    #[serde(default)]
    pub gateway_admin: Option<SocketAddr>,
}

mod defaults {
    pub(super) fn register_file() -> std::path::PathBuf {
        "witness/register.json".into()
    }
    pub(super) fn steering_file() -> std::path::PathBuf {
        "witness/steering.json".into()
    }
    pub(super) fn ttl_s() -> u32 {
        5
    }
    pub(super) fn yes() -> bool {
        true
    }
    pub(super) fn health_path() -> String {
        "/healthz".to_owned()
    }
    pub(super) fn body_bytes_max() -> u64 {
        8 << 20
    }
}

/// A mistake in a topology that parses: where it is, what is wrong, what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The dotted key, e.g. `sites.aws.gateway.listen`.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
    /// What to write instead.
    pub fix: String,
}

impl Topology {
    /// Everything that is wrong with it beyond its form. Empty means that it can be run.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.sites.len() != 2 {
            faults.push(Fault {
                key: "sites".into(),
                what: format!("{} sites are named", self.sites.len()),
                fix: "name exactly two: one [sites.<name>] table each".into(),
            });
        }
        if !self.sites.contains_key(&self.service.preferred) {
            faults.push(Fault {
                key: "service.preferred".into(),
                what: format!("there is no site `{}`", self.service.preferred),
                fix: format!("write one of: {}", self.site_names()),
            });
        }
        if let Some(what) = name_fault(&self.service.name) {
            faults.push(Fault {
                key: "service.name".into(),
                what,
                fix: "write a name such as `tickets.example.kr`, in ASCII (xn--… for others)".into(),
            });
        }
        for (site, config) in &self.sites {
            if config.gateway.listen.ip().is_unspecified() {
                faults.push(Fault {
                    key: format!("sites.{site}.gateway.listen"),
                    what: format!("{} is no address that a visitor can reach", config.gateway.listen.ip()),
                    fix: "write the address itself: the name server answers it".into(),
                });
            }
        }
        for (site, config) in &self.sites {
            let has_tls = config.gateway.listeners.iter().any(|l| !l.certificates.is_empty());
            if config.gateway.redirect_to_https && !has_tls {
                faults.push(Fault {
                    key: format!("sites.{site}.gateway.redirect_to_https"),
                    what: "no listener has a certificate, so visitors would be sent to a closed door".into(),
                    fix: "add [[sites.<name>.gateway.listener]] with certificate = [{ chain = \"…\", key = \"…\" }]".into(),
                });
            }
            faults.extend(config.gateway.limits.faults(site));
            if !config.gateway.health_path.starts_with('/') {
                faults.push(Fault {
                    key: format!("sites.{site}.gateway.health_path"),
                    what: format!("`{}` is not a path", config.gateway.health_path),
                    fix: "write a path that begins with `/`, e.g. health_path = \"/healthz\"".into(),
                });
            }
        }
        faults.extend(self.edge_faults());
        faults.extend(self.duplicate_addresses());
        faults.extend(self.policy.faults());
        faults.extend(self.register.faults());
        faults
    }

    /// The controllers that answer for the register over their admin API: the witness's, which keeps the file; with etcd
    /// every one, because everyone asks the cluster itself.
    pub fn register_servers(&self) -> Vec<SocketAddr> {
        let sites = self.sites.values().map(|site| site.controller);
        let sites = sites.filter(|_| self.register.kind == RegisterKind::Etcd);
        std::iter::once(self.witness.controller).chain(sites).collect()
    }

    /// The other site, if `site` is one of the two.
    pub fn peer_of(&self, site: &Site) -> Option<&Site> {
        self.sites.contains_key(site).then(|| self.sites.keys().find(|s| *s != site)).flatten()
    }

    fn site_names(&self) -> String {
        self.sites.keys().map(Site::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Every address that some process listens on, with the key that names it.
    pub fn listeners(&self) -> Vec<(String, SocketAddr)> {
        let mut all = vec![
            ("witness.controller".to_owned(), self.witness.controller),
            ("witness.nameserver.listen".to_owned(), self.witness.nameserver.listen),
            ("witness.nameserver.admin".to_owned(), self.witness.nameserver.admin),
        ];
        for (site, c) in &self.sites {
            all.push((format!("sites.{site}.database.address"), c.database.address));
            all.push((format!("sites.{site}.agent.admin"), c.agent.admin));
            all.push((format!("sites.{site}.agent.link"), c.agent.link));
            all.push((format!("sites.{site}.gateway.listen"), c.gateway.listen));
            all.extend(
                c.gateway
                    .listeners
                    .iter()
                    .enumerate()
                    .map(|(n, l)| (format!("sites.{site}.gateway.listener.{n}.listen"), l.listen)),
            );
            all.push((format!("sites.{site}.gateway.admin"), c.gateway.admin));
            all.push((format!("sites.{site}.controller"), c.controller));
            all.extend(c.gateway.targets.iter().map(|a| (format!("sites.{site}.gateway.targets"), *a)));
        }
        all
    }

    fn duplicate_addresses(&self) -> Vec<Fault> {
        let mut owner: HashMap<SocketAddr, String> = HashMap::new();
        let mut faults = Vec::new();
        for (key, address) in self.listeners() {
            match owner.get(&address) {
                Some(first) => faults.push(Fault {
                    what: format!("{address} is already the address of `{first}`"),
                    fix: "give each listener an address or port of its own".into(),
                    key,
                }),
                None => {
                    owner.insert(address, key);
                }
            }
        }
        faults
    }
}

/// What keeps `name` from being a host's name in DNS, with room for the name server's own labels below it.
fn name_fault(name: &str) -> Option<String> {
    const LABEL_BYTES_MAX: usize = 63;
    const NAME_BYTES_MAX: usize = 240;
    if name.len() > NAME_BYTES_MAX {
        return Some(format!("{} characters are too many", name.len()));
    }
    let bad = |label: &str| {
        let fits = (1..=LABEL_BYTES_MAX).contains(&label.len());
        let ascii = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        !fits || !ascii || label.starts_with('-') || label.ends_with('-')
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.split('.').find(|label| bad(label)).map(|label| format!("`{label}` cannot be a part of a DNS name"))
}

impl Policy {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut at_least = |key: &str, value: u64, least: u64, why: &str| {
            if value < least {
                faults.push(Fault {
                    key: format!("policy.{key}"),
                    what: format!("{value} is too small: {why}"),
                    fix: format!("write {key} = {least} or more"),
                });
            }
        };
        at_least("heartbeat_ms", self.heartbeat_ms, 10, "each heartbeat is a durable commit");
        at_least("probe_interval_ms", self.probe_interval_ms, 50, "probes would crowd out the service");
        at_least("probe_timeout_ms", self.probe_timeout_ms, 50, "a healthy commit may take longer");
        at_least("lost_after_probes", self.lost_after_probes.into(), 2, "one lost packet is not a lost site");
        at_least("lease_ms", self.lease_ms, 4 * self.heartbeat_ms, "a lease must outlive a few questions");
        at_least("solo_after_ms", self.solo_after_ms, 2 * self.heartbeat_ms, "a heartbeat may be late");
        at_least(
            "hold_max_ms",
            self.hold_max_ms,
            self.solo_after_ms,
            "holds would end before `solo` can free them",
        );
        at_least("switchover_drain_ms", self.switchover_drain_ms, 50, "answers under way need time to end");
        at_least(
            "switchover_catch_up_ms",
            self.switchover_catch_up_ms,
            50,
            "a standby is always a little behind",
        );
        at_least(
            "switchover_ms_max",
            self.switchover_ms_max,
            self.switchover_drain_ms + self.switchover_catch_up_ms,
            "it would be rolled back before its steps may be through",
        );
        at_least(
            "switchover_park_ms",
            self.switchover_park_ms,
            self.switchover_ms_max,
            "requests would be turned away while the switchover may still succeed",
        );
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_as_hosts_are() {
        for good in ["tickets.example.kr", "tickets.example.kr.", "xn--9d0b.kr", "localhost", "a-b.c1"] {
            assert_eq!(name_fault(good), None, "{good}");
        }
        for bad in ["", ".", "a..b", "-a.kr", "a_b.kr", "예매.kr", "a b", &"x".repeat(64), &"a.".repeat(150)]
        {
            assert!(name_fault(bad).is_some(), "{bad}");
        }
    }
}
