//! A running lab: both clouds and the witness on this machine.
//!
//! [`Lab::start`] prepares the folder, starts every process and waits until each is ready; [`Lab::stop`] ends them
//! in order. In between a site can be killed and brought back. What the processes then make of it is theirs: the
//! lab decides nothing about roles, and never touches a database's data.
//!
//! Always true here: one lab a folder and one a number, kept by locks that the kernel frees; no process outlives
//! the lab; no data are deleted.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cloud::local::{
    etcd::EtcdError,
    lab_number::{self, ClaimError, LabNumber},
    mariadb::{self, Accounts, MariadbError, Server, Template, folder_for_databases},
};
use futures_util::future::join_all;
use model::{
    Site,
    topology::{RegisterKind, Topology},
};
use replicate::link::authority::{self, AuthorityError};
use runtime::{
    clock::Boot,
    config::{self, ConfigError},
    listen::{self, ListenError},
    process::Shutdown,
    secret::SecretError,
};
use rustix::fs::{FlockOperation, flock};
use tokio::task::JoinSet;

use crate::{
    api,
    blackout::{Blackout, How, SilentSockets},
    disk::SmallDisk,
    divergence::Divergence,
    dvwa::{self, SecurityTest},
    etcd, frontdoor,
    layout::{Addresses, Cloud, Files},
    link::{self, LinkControl, LinkState},
    processes::{Member, Part, Programs},
    resolver::Resolver,
    secrets::{self, Secrets},
    topology,
};

/// How long the processes may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// A process that has been restarted so often before it ever was ready will not become so.
const RESTARTS_AT_START_MAX: u64 = 5;
/// A site that goes dark loses its link to the other one this long before its visitors.
const LINK_GOES_FIRST: Duration = Duration::from_millis(20);
/// How often readiness is asked.
const POLL: Duration = Duration::from_millis(25);
/// How much of a log an error quotes.
const TAIL_LINES: usize = 12;

/// What may differ from lab to lab.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// Where the lab keeps its files. It is made if it is not there; what is there is continued.
    pub folder: PathBuf,
    /// The lab's number, which gives its addresses; any free one if `None`.
    pub number: Option<u8>,
    /// The port of the visitor's front door on `localhost`; none if `None`.
    pub front_door: Option<u16>,
    /// Whether the gateways hold answers to writes. Off only to prove what that is worth.
    pub gate: bool,
    /// What keeps the register: the witness's file, or a cluster of etcd of the lab's own.
    pub register: RegisterKind,
    /// The round trip that the link between the sites adds, in milliseconds.
    pub link_rtt_ms: u64,
    /// The silence of the standby, in milliseconds, after which the primary goes on alone.
    pub solo_after_ms: u64,
    /// The size of the databases.
    pub database: mariadb::Options,
    /// The folder with the programs `ghostlight` and `ticketing`; that of the running program if `None`.
    pub programs: Option<PathBuf>,
    /// What stands behind `/DVWA`; nothing if `None`.
    pub security_test: Option<SecurityTest>,
    /// The web ACL that the gateways enforce; it is copied into the folder.
    pub web_acl: Option<PathBuf>,
    /// Gives each site's database a disk of its own, so small that it can be filled: see [`crate::disk`].
    pub small_disks: bool,
}

impl LabOptions {
    /// A lab in `folder` on any free number, with the gate and without a front door: what drills use.
    pub fn new(folder: impl Into<PathBuf>) -> LabOptions {
        LabOptions {
            folder: folder.into(),
            number: None,
            front_door: None,
            gate: true,
            register: RegisterKind::File,
            link_rtt_ms: 0,
            solo_after_ms: 2_000,
            database: mariadb::Options::default(),
            programs: None,
            security_test: None,
            web_acl: None,
            small_disks: false,
        }
    }
}

/// Why a lab is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// There is one in this folder.
    #[error(
        "a lab is already running in {folder}, as process {pid}; `ghostlight status` shows it, Ctrl-C in its terminal ends it"
    )]
    AlreadyRunning {
        /// Where.
        folder: String,
        /// Whose.
        pid: String,
    },
    /// The number is taken, or all are.
    #[error(transparent)]
    Number(#[from] ClaimError),
    /// An address is taken.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A database.
    #[error(transparent)]
    Database(#[from] MariadbError),
    /// A member of etcd.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// The register of this folder is in etcd.
    #[error(
        "the register of the lab in {0} is in etcd, and the witness's file is not up to date; start it with --register \
         etcd, or take another folder"
    )]
    RegisterElsewhere(String),
    /// A secret's file.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The agents' certificates.
    #[error(transparent)]
    Certificates(#[from] AuthorityError),
    /// The topology that was written is not understood: a fault of ours.
    #[error(transparent)]
    Topology(#[from] ConfigError),
    /// A program is not built.
    #[error("{0} is not there; build it with `cargo build --workspace --bins`")]
    NoProgram(String),
    /// A small disk cannot be mounted.
    #[error("{0}")]
    Disk(String),
    /// A file or folder.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A process did not become ready.
    #[error("{process} {what}; the end of {log}:\n{tail}")]
    NotReady {
        /// Which.
        process: String,
        /// What it did instead.
        what: String,
        /// Its log.
        log: String,
        /// The log's last lines.
        tail: String,
    },
}

fn io(what: impl ToString) -> impl FnOnce(std::io::Error) -> LabError {
    move |source| LabError::Io { what: what.to_string(), source }
}

/// A running lab. [`Lab::stop`] ends it in order; dropping it kills everything.
#[derive(Debug)]
pub struct Lab {
    inner: Arc<Inner>,
    tasks: JoinSet<()>,
    shutdown: Shutdown,
    _running: File,
}

/// What the lab's own tasks share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) number: LabNumber,
    pub(crate) at: Addresses,
    pub(crate) files: Files,
    pub(crate) secrets: Secrets,
    pub(crate) topology: Topology,
    pub(crate) members: Vec<Member>,
    pub(crate) link: LinkControl,
    pub(crate) blackout: Blackout,
    disks: HashMap<Cloud, SmallDisk>,
    /// The sites that are dark, with what holds their addresses if packets cannot be dropped.
    dark: tokio::sync::Mutex<HashMap<Cloud, SilentSockets>>,
    /// The same, for those who only look.
    dark_names: Mutex<Vec<Cloud>>,
    front_door: Option<u16>,
}

/// What a blackout came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Darkened {
    /// How the site's addresses were made silent.
    pub how: How,
    /// Just before the first packet was dropped (on the link to the other site), on the boot clock.
    pub at_ms: u64,
    /// Transactions that the database committed on purpose after that.
    pub diverged: u32,
}

/// Receives a line about what is being done, while a lab starts.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

impl Lab {
    /// Starts a lab and waits until all of its processes are ready. Whether the sites are in `sync` yet is
    /// another question: see [`crate::drill::access::Access::wait_for_sync`].
    ///
    /// When it fails, or is dropped before it ends, nothing of the lab is left running.
    pub async fn start(options: LabOptions, progress: Progress<'_>) -> Result<Lab, LabError> {
        let started = Boot::now();
        let programs = find_programs(&options)?;
        fs::create_dir_all(&options.folder).map_err(io(options.folder.display()))?;
        let folder = options.folder.canonicalize().map_err(io(options.folder.display()))?;
        let running = lock_folder(&folder)?;
        let number = match options.number {
            Some(number) => lab_number::claim_exactly(number)?,
            None => lab_number::claim()?,
        };
        let at = Addresses::of(number.get());
        let files = Files { databases: folder_for_databases(&folder)?, folder };
        let (secrets, topology) = write_folder(&files, at, &options)?;

        // Our own listeners first, then a look at the others': whoever has one of them is named before anything runs.
        let control = listen::tcp("the lab's control API", at.control()).await?;
        let ways = link::listen(&link::ways(&topology)).await?;
        let door = match options.front_door {
            Some(port) => Some(frontdoor::listen(port).await?),
            None => None,
        };
        let mut vulnerable = Vec::new();
        if options.security_test == Some(SecurityTest::BuiltIn) {
            for cloud in Cloud::BOTH {
                vulnerable.push(dvwa::listen(at.security_test(cloud)).await?);
            }
        }
        check_addresses(&topology, at).await?;

        let mut disks = HashMap::new();
        for cloud in Cloud::BOTH.into_iter().filter(|_| options.small_disks) {
            let disk = SmallDisk::mount(&files.disk(cloud)).await.map_err(LabError::Disk)?;
            disks.insert(cloud, disk);
        }
        progress("preparing the databases");
        let accounts = Accounts {
            agent: secrets.agent_password.clone(),
            application: secrets.application_password.clone(),
        };
        let template = Template::prepare(&files.databases, &accounts).await?;
        let programs = Programs {
            folder: programs,
            files: files.clone(),
            at,
            visitors_at: options.front_door.map(|port| format!("http://localhost:{port}")),
        };
        let mut members = programs.of_witness();
        for cloud in Cloud::BOTH {
            let server = database(&template, &files, at, cloud, &options.database).await?;
            members.extend(programs.of_site(cloud, Arc::new(server)));
        }
        if topology.register.kind == RegisterKind::Etcd {
            let cluster = etcd::members(at, &files)?;
            members.extend(cluster.into_iter().map(|(place, member)| programs.of_etcd(place, member)));
        }
        let blackout = Blackout::prepare(number.get()).await;
        if let Some(why) = blackout.why_not_nft() {
            progress(&format!("a site that goes dark will be held by silent sockets: {why}"));
        }
        let inner = Arc::new(Inner {
            number,
            at,
            files,
            secrets,
            topology,
            members,
            link: LinkControl::new(),
            blackout,
            disks,
            dark: tokio::sync::Mutex::default(),
            dark_names: Mutex::default(),
            front_door: options.front_door,
        });
        inner.link.set(LinkState { rtt_ms: options.link_rtt_ms, ..LinkState::default() });
        let shutdown = Shutdown::new();
        let mut lab = Lab { inner: inner.clone(), tasks: JoinSet::new(), shutdown, _running: running };
        lab.spawn_tasks(control, ways, door);
        for listener in vulnerable {
            lab.tasks.spawn(dvwa::run(listener, lab.shutdown.clone()));
        }

        let engine = |m: &Member| matches!(m.part, Part::Database | Part::Etcd);
        progress("starting the database servers");
        inner.start_and_wait(engine).await?;
        progress(&format!("database servers are ready ({:.1} s)", started.elapsed().as_secs_f64()));
        progress("starting agents, gateways, controllers, the name server and the ticketing service");
        inner.start_and_wait(|m| !engine(m)).await?;
        progress(&format!("all processes are ready ({:.1} s)", started.elapsed().as_secs_f64()));
        Ok(lab)
    }

    fn spawn_tasks(
        &mut self,
        control: tokio::net::TcpListener,
        ways: Vec<link::OpenWay>,
        door: Option<Vec<tokio::net::TcpListener>>,
    ) {
        let (inner, shutdown) = (self.inner.clone(), self.shutdown.clone());
        self.tasks.spawn(link::run(ways, inner.link.clone(), shutdown.clone()));
        self.tasks.spawn(api::serve(control, inner.clone(), shutdown.clone()));
        if let Some(listeners) = door {
            let resolver = Arc::new(Resolver::new(inner.at.nameserver()));
            let port = inner.at.gateway(Cloud::Nhn).port();
            let name = topology::SERVICE_NAME.to_owned();
            self.tasks.spawn(frontdoor::run(listeners, resolver, name, port, shutdown));
        }
    }

    /// The lab's number.
    pub fn number(&self) -> u8 {
        self.inner.number.get()
    }

    /// Its topology.
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    /// Its folder, to which relative paths of the topology refer.
    pub fn folder(&self) -> &std::path::Path {
        &self.inner.files.folder
    }

    /// Its addresses.
    pub fn addresses(&self) -> Addresses {
        self.inner.at
    }

    /// Its addresses for people: what is there, and where.
    pub fn urls(&self) -> Vec<(&'static str, String)> {
        self.inner.urls()
    }

    /// How a site goes dark in this lab.
    pub fn how_dark(&self) -> How {
        self.inner.blackout.how()
    }

    /// Lets a site go dark and kills every process of it, the database too.
    pub async fn kill_site(&self, cloud: Cloud) -> Result<Darkened, String> {
        self.inner.kill_site(cloud, None).await
    }

    /// Lets a dark site's packets pass again and starts its processes; they have until the deadline to be ready.
    pub async fn restore_site(&self, cloud: Cloud) -> Result<(), String> {
        self.inner.restore_site(cloud).await
    }

    /// Changes the link between the sites.
    pub fn set_link(&self, state: LinkState) {
        self.inner.link.set(state);
    }

    /// Ends everything in order. Nothing is left running, however long a process takes.
    pub async fn stop(mut self) {
        for part in Part::IN_ORDER_OF_END {
            let part = self.inner.members.iter().filter(|m| m.part == part);
            let members: Vec<&Member> = part.collect();
            members.iter().for_each(|m| m.keeper.stop());
            join_all(members.iter().map(|m| m.keeper.at_rest())).await;
        }
        self.shutdown.cancel();
        self.inner.blackout.remove().await;
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        // Whatever was true a moment ago: this is what "ended" means.
        for member in self.inner.members.iter().filter(|m| m.keeper.seen().pid.is_some()) {
            tracing::error!(process = member.keeper.name(), "is still running");
        }
        for disk in self.inner.disks.values() {
            disk.unmount().await;
        }
        if let Err(e) = fs::remove_file(self.inner.files.running()) {
            tracing::debug!("{}: {e}", self.inner.files.running().display());
        }
    }
}

impl Inner {
    pub(crate) fn of(&self, cloud: Cloud) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |m| m.cloud == Some(cloud))
    }

    pub(crate) fn is_dark(&self, cloud: Cloud) -> bool {
        self.dark_names.lock().unwrap_or_else(PoisonError::into_inner).contains(&cloud)
    }

    /// The addresses for people.
    pub(crate) fn urls(&self) -> Vec<(&'static str, String)> {
        let url = |address: SocketAddr| format!("http://{address}");
        let mut urls = Vec::new();
        if let Some(port) = self.front_door {
            urls.push(("tickets", format!("http://localhost:{port}")));
        }
        urls.push(("tickets at nhn", url(self.at.gateway(Cloud::Nhn))));
        urls.push(("tickets at aws", url(self.at.gateway(Cloud::Aws))));
        urls.push(("name server", format!("{} ({})", self.at.nameserver(), topology::SERVICE_NAME)));
        urls.push(("control API", url(self.at.control())));
        urls
    }

    /// Starts those members and waits until each is ready.
    async fn start_and_wait(&self, which: impl Fn(&Member) -> bool) -> Result<(), LabError> {
        let members: Vec<&Member> = self.members.iter().filter(|m| which(m)).collect();
        members.iter().for_each(|m| m.keeper.run());
        wait_ready(&members).await
    }

    /// See [`Lab::kill_site`]; with a `divergence` the database lives a moment longer than everything around it, and
    /// commits what nobody will hear of.
    pub(crate) async fn kill_site(
        &self,
        cloud: Cloud,
        divergence: Option<Divergence>,
    ) -> Result<Darkened, String> {
        let mut dark = self.dark.lock().await;
        if dark.contains_key(&cloud) {
            return Err(format!("{} is dark already", cloud.name()));
        }
        self.dark_names.lock().unwrap_or_else(PoisonError::into_inner).push(cloud);
        let at_ms = Boot::now().as_ms();
        // No cloud ends in one instant. The order here is the worst one: the link first, so that for a moment
        // visitors are served and nothing reaches the standby any more.
        self.link.set_dark(true);
        tokio::time::sleep(LINK_GOES_FIRST).await;
        let darkened = self.blackout.darken(&self.at.network(cloud)).await;
        let around = || self.of(cloud).filter(|m| divergence.is_none() || m.part != Part::Database);
        around().for_each(|m| m.keeper.kill());
        join_all(around().map(|m| m.keeper.at_rest())).await;
        let written = match divergence {
            Some(tail) => {
                let written = tail.write(self.at.database(cloud), &self.secrets.application_password).await;
                self.of(cloud).for_each(|m| m.keeper.kill());
                join_all(self.of(cloud).map(|m| m.keeper.at_rest())).await;
                written.map_err(|e| format!("the tail of {} could not be written: {e}", cloud.name()))
            }
            None => Ok(0),
        };
        let held = match self.blackout.how() {
            How::Nft => SilentSockets::default(),
            How::SilentSockets => SilentSockets::take(self.listeners_of(cloud)),
        };
        dark.insert(cloud, held);
        darkened?;
        tracing::info!(site = cloud.name(), how = ?self.blackout.how(), "went dark");
        Ok(Darkened { how: self.blackout.how(), at_ms, diverged: written? })
    }

    pub(crate) async fn restore_site(&self, cloud: Cloud) -> Result<(), String> {
        let mut dark = self.dark.lock().await;
        if dark.remove(&cloud).is_none() {
            return Err(format!("{} is not dark", cloud.name()));
        }
        self.blackout.lighten(&self.at.network(cloud)).await?;
        self.link.set_dark(!dark.is_empty());
        self.dark_names.lock().unwrap_or_else(PoisonError::into_inner).retain(|c| *c != cloud);
        tracing::info!(site = cloud.name(), "is back");
        let members: Vec<&Member> = self.of(cloud).collect();
        members.iter().for_each(|m| m.keeper.run());
        wait_ready(&members).await.map_err(|e| e.to_string())
    }

    /// Takes every free byte of the disk of a site's database, or gives them back.
    pub(crate) async fn fill_disk(&self, cloud: Cloud, full: bool) -> Result<(), String> {
        let disk = self.disks.get(&cloud);
        let disk = disk.ok_or_else(|| format!("the database of {} has no disk of its own", cloud.name()))?;
        if full { disk.fill().await } else { disk.free() }
    }

    /// Every address on which a process of the site listens.
    fn listeners_of(&self, cloud: Cloud) -> Vec<SocketAddr> {
        let prefix = format!("sites.{}.", cloud.name());
        let of_site = self.topology.listeners().into_iter().filter(|(key, _)| key.starts_with(&prefix));
        let member = [self.at.etcd(Some(cloud)), self.at.etcd_peer(Some(cloud))];
        let member = member.into_iter().filter(|_| self.topology.register.kind == RegisterKind::Etcd);
        of_site.map(|(_, address)| address).chain(member).collect()
    }
}

async fn wait_ready(members: &[&Member]) -> Result<(), LabError> {
    for result in join_all(members.iter().map(|m| ready(m))).await {
        result?;
    }
    Ok(())
}

async fn ready(member: &Member) -> Result<(), LabError> {
    let (started, before) = (Boot::now(), member.keeper.seen().restarts);
    loop {
        // Somebody else may answer at the address: our own process must be there, too.
        let seen = member.keeper.seen();
        if seen.pid.is_some() && member.ready.is().await {
            return Ok(());
        }
        let gave_up = if started.elapsed() > READY_WITHIN {
            Some(format!("was not ready within {} s", READY_WITHIN.as_secs()))
        } else if seen.restarts > before + RESTARTS_AT_START_MAX {
            Some(format!("ends at its start ({})", seen.last_end.unwrap_or_default()))
        } else {
            None
        };
        if let Some(what) = gave_up {
            return Err(LabError::NotReady {
                process: member.keeper.name().to_owned(),
                what,
                log: member.keeper.log().display().to_string(),
                tail: tail(member.keeper.log()),
            });
        }
        tokio::time::sleep(POLL).await; // nobody tells us when a process is ready; we ask
    }
}

fn tail(log: &std::path::Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn find_programs(options: &LabOptions) -> Result<PathBuf, LabError> {
    let folder = match &options.programs {
        Some(folder) => folder.clone(),
        None => std::env::current_exe()
            .map_err(io("this program's own folder"))?
            .parent()
            .map(PathBuf::from)
            .unwrap_or_default(),
    };
    for name in ["ghostlight", "ticketing"] {
        let program = folder.join(name);
        if !program.is_file() {
            return Err(LabError::NoProgram(program.display().to_string()));
        }
    }
    Ok(folder)
}

/// Whether a lab runs in `folder`.
pub fn runs_in(folder: &std::path::Path) -> bool {
    let file = File::open(crate::layout::running_file(folder));
    file.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

/// Takes the folder for this process. The lock ends with the process, however it ends.
fn lock_folder(folder: &std::path::Path) -> Result<File, LabError> {
    let path = crate::layout::running_file(folder);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io(path.display()))?;
    // The lock tells, not the file: a lab that was killed leaves its file behind.
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        file.read_to_string(&mut pid).map_err(io(path.display()))?;
        let pid = if pid.trim().is_empty() { "(starting)".into() } else { pid.trim().to_owned() };
        return Err(LabError::AlreadyRunning { folder: folder.display().to_string(), pid });
    }
    let write = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    write.map_err(io(path.display()))?;
    Ok(file)
}

fn write_folder(files: &Files, at: Addresses, options: &LabOptions) -> Result<(Secrets, Topology), LabError> {
    for folder in ["logs", "witness"] {
        let folder = files.folder.join(folder);
        fs::create_dir_all(&folder).map_err(io(folder.display()))?;
    }
    let secrets = secrets::prepare(files)?;
    if options.register == RegisterKind::File && files.etcd().exists() {
        return Err(LabError::RegisterElsewhere(files.folder.display().to_string()));
    }
    let choices = topology::Choices {
        gate: options.gate,
        register: options.register,
        solo_after_ms: options.solo_after_ms,
        security_test: options.security_test,
        web_acl: options.web_acl.is_some(),
    };
    if let Some(acl) = &options.web_acl {
        fs::copy(acl, files.folder.join(topology::WEB_ACL)).map_err(io(acl.display()))?;
    }
    let text = topology::text(at, choices);
    let path = files.topology();
    fs::write(&path, &text).map_err(io(path.display()))?;
    let topology = config::parse::<Topology>(&path, text)?.value;
    let sites: Vec<Site> = topology.sites.keys().cloned().collect();
    authority::prepare(&files.folder.join(&topology.link.folder), &sites, &[])?;
    Ok((secrets, topology))
}

async fn check_addresses(topology: &Topology, at: Addresses) -> Result<(), LabError> {
    if topology.register.kind == RegisterKind::Etcd {
        for member in etcd::places(at) {
            for address in [member.client, member.peer] {
                drop(listen::tcp(&member.name, address).await?);
            }
        }
    }
    for (key, address) in topology.listeners() {
        drop(listen::tcp(&key, address).await?);
    }
    drop(listen::udp("witness.nameserver.listen", topology.witness.nameserver.listen).await?);
    Ok(())
}

async fn database(
    template: &Template,
    files: &Files,
    at: Addresses,
    cloud: Cloud,
    options: &mariadb::Options,
) -> Result<Server, LabError> {
    let data = files.data(cloud);
    let server_id = u32::from(cloud.network());
    Ok(Server::create(template, &data, at.database(cloud), server_id, options.clone()).await?)
}
