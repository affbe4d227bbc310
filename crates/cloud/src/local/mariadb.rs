//! A private MariaDB server: initialised once as a template, copied for each use, started, stopped, killed.
//!
//! It never touches the system's own server: own folder, own address, no option file, no socket file. It runs as
//! an unprivileged user, and the kernel kills it when the process that started it ends.
//!
//! Always true here: a server that we start is durable (`sync_binlog=1`, `innodb_flush_log_at_trx_commit=1`) and
//! logs full row images with full metadata; the template's accounts were made with the binary log off, so that
//! they are in no stream. What the server is used for is not known here.

mod folder;
mod template;

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use runtime::{
    clock::Boot,
    listen::{self, ListenError},
    process,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

pub use folder::folder_for_databases;
pub use template::{AGENT_USER, APPLICATION_DATABASE, APPLICATION_USER, Accounts, DRILL_USER, Template};

/// How often a starting server is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(20);
/// How long a server may take to start: InnoDB's recovery after a kill included.
pub const READY_DEADLINE: Duration = Duration::from_secs(60);
/// How much of a log an error quotes.
const LOG_TAIL_BYTES: u64 = 2_000;

/// Why a private server could not be had.
#[derive(Debug, thiserror::Error)]
pub enum MariadbError {
    /// A program is missing: the operator's to mend.
    #[error("`{0}` is not installed; install Debian's package {1} (scripts/setup does)")]
    NotInstalled(&'static str, &'static str),
    /// We are root, and the unprivileged user that the server must run as is missing.
    #[error("there is no user `mysql` to run the database as; install Debian's package mariadb-server")]
    NoMysqlUser,
    /// A password that cannot stand in an SQL literal.
    #[error("the password of `{0}` may hold only letters, digits and - _ .")]
    Password(&'static str),
    /// `mariadb-install-db` failed.
    #[error("mariadb-install-db failed ({status}):\n{output}")]
    Install {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        output: String,
    },
    /// A file or folder.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its address is taken.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The server ended while it was starting.
    #[error("mariadbd on {address} ended at its start ({status}); the end of {log}:\n{tail}")]
    Died {
        /// Where it was to listen.
        address: SocketAddr,
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: String,
        /// The log's last lines.
        tail: String,
    },
    /// The server runs but does not answer.
    #[error("mariadbd on {address} did not accept connections within {within:?}; the end of {log}:\n{tail}")]
    NotReady {
        /// Where it was to listen.
        address: SocketAddr,
        /// The deadline.
        within: Duration,
        /// Its log.
        log: String,
        /// The log's last lines.
        tail: String,
    },
}

impl MariadbError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> MariadbError {
        move |source| MariadbError::Io { what: what.into(), source }
    }
}

/// What may differ from server to server. Durability may not.
#[derive(Clone, Debug)]
pub struct Options {
    /// InnoDB's buffer pool, in MiB.
    pub buffer_pool_mib: u32,
    /// InnoDB's redo log, in MiB.
    pub redo_log_mib: u32,
    /// A binary log file is closed at this size, in MiB.
    pub binlog_mib: u32,
    /// Connections at a time.
    pub connections_max: u32,
    /// Where the server's messages go; beside the data folder, with `.log` behind its name, if not given.
    pub log: Option<PathBuf>,
    /// Further arguments, as `--name=value`. They stand in front of ours, so that ours win: nothing here makes a
    /// server less durable, or larger than it is said to be.
    pub more: Vec<String>,
    /// Statements that the server runs with all rights at each start, one each; none may hold a line break.
    pub at_start: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            buffer_pool_mib: 64,
            redo_log_mib: 64,
            binlog_mib: 256,
            connections_max: 200,
            log: None,
            more: Vec::new(),
            at_start: Vec::new(),
        }
    }
}

/// One private server, running or not. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    datadir: PathBuf,
    address: SocketAddr,
    server_id: u32,
    options: Options,
    log: PathBuf,
    account: template::Account,
    child: Option<Child>,
}

impl Server {
    /// A server on `address` with its data in `datadir`: a copy of the template, unless data are there already.
    ///
    /// The folder above `datadir` should come from [`folder_for_databases`]: the database's user must reach it.
    /// `server_id` must be unique among the servers that may ever read each other's logs.
    pub async fn create(
        template: &Template,
        datadir: &Path,
        address: SocketAddr,
        server_id: u32,
        options: Options,
    ) -> Result<Server, MariadbError> {
        if !datadir.join("mysql").is_dir() {
            template.copy_to(datadir).await?;
        }
        template
            .account()
            .have_folder(&temporary(datadir))
            .map_err(MariadbError::io("its temporary folder"))?;
        if !options.at_start.is_empty() {
            let file = at_start(datadir);
            let what = file.display().to_string();
            template
                .account()
                .private_file(&file, &format!("{};\n", options.at_start.join(";\n")))
                .map_err(MariadbError::io(what))?;
        }
        let log = options.log.clone().unwrap_or_else(|| datadir.with_extension("log"));
        Ok(Server {
            datadir: datadir.to_owned(),
            address,
            server_id,
            options,
            log,
            account: template.account().clone(),
            child: None,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its data folder.
    pub fn datadir(&self) -> &Path {
        &self.datadir
    }

    /// Where its messages go.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The command that runs the server, for those who supervise processes themselves. Its messages come on
    /// stderr.
    pub fn command(&self) -> Result<Command, MariadbError> {
        let mut command = Command::new("setpriv");
        // The kernel forgets the death signal when a process changes its user. So setpriv changes the user first
        // and asks for the signal afterwards; mariadbd's own `--user` would lose it.
        command.args(self.account.setpriv_arguments());
        command.args(["--pdeathsig", "KILL", "--"]);
        command.arg(template::program("mariadbd", "mariadb-server")?);
        command.arg("--no-defaults");
        command.args(self.arguments());
        command.stdin(Stdio::null()).kill_on_drop(true);
        // A process group of its own: Ctrl-C at the terminal is for the one who started us, who stops us in order.
        command.process_group(0);
        Ok(command)
    }

    fn arguments(&self) -> Vec<String> {
        let datadir = self.datadir.display();
        let o = &self.options;
        let mut arguments = o.more.clone();
        if !o.at_start.is_empty() {
            arguments.push(format!("--init-file={}", at_start(&self.datadir).display()));
        }
        arguments.extend([
            format!("--datadir={datadir}"),
            format!("--pid-file={datadir}/mariadbd.pid"),
            // A starting server deletes every temporary table in its temporary folder, whose ever it is: with /tmp
            // for all, servers would take each other's away.
            format!("--tmpdir={}", temporary(&self.datadir).display()),
            format!("--bind-address={}", self.address.ip()),
            format!("--port={}", self.address.port()),
            // An abstract name: no file, and no limit on the length of the folder's name.
            format!("--socket=@ghostlight-{}", self.address),
            format!("--server-id={}", self.server_id),
            "--log-bin=binlog".into(),
            "--binlog-format=ROW".into(),
            "--binlog-row-image=FULL".into(),
            "--binlog-row-metadata=FULL".into(),
            "--sync-binlog=1".into(),
            "--innodb-flush-log-at-trx-commit=1".into(),
            format!("--max-binlog-size={}M", o.binlog_mib),
            "--binlog-expire-logs-seconds=604800".into(),
            "--character-set-server=utf8mb4".into(),
            "--collation-server=utf8mb4_unicode_ci".into(),
            "--default-time-zone=+00:00".into(),
            "--skip-name-resolve".into(),
            "--local-infile=OFF".into(),
            "--performance-schema=OFF".into(),
            format!("--max-connections={}", o.connections_max),
            "--max-allowed-packet=1G".into(),
            format!("--innodb-buffer-pool-size={}M", o.buffer_pool_mib),
            format!("--innodb-log-file-size={}M", o.redo_log_mib),
            // Loading yesterday's pages only slows a small server's start down.
            "--innodb-buffer-pool-load-at-startup=OFF".into(),
            "--key-buffer-size=1M".into(),
            "--aria-pagecache-buffer-size=2M".into(),
            "--table-open-cache=400".into(),
        ]);
        arguments
    }

    /// This server's data as a template of further servers. Only a server that was stopped has data that can be
    /// copied: `None` while it runs.
    pub fn as_template(&self) -> Option<Template> {
        self.child.is_none().then(|| Template::of(&self.datadir, self.account.clone()))
    }

    /// Starts it and waits until it accepts connections.
    pub async fn start(&mut self) -> Result<(), MariadbError> {
        self.check_address().await?;
        let log = append(&self.log)?;
        let mut command = self.command()?;
        command
            .stdout(log.try_clone().map_err(MariadbError::io(self.log.display().to_string()))?)
            .stderr(log);
        let child = process::spawn(command).await.map_err(MariadbError::io("setpriv cannot be started"))?;
        self.child = Some(child);
        let started = Boot::now();
        loop {
            if accepts_connections(self.address).await {
                return Ok(());
            }
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                self.child = None;
                return Err(MariadbError::Died {
                    address: self.address,
                    status,
                    log: self.log.display().to_string(),
                    tail: tail(&self.log),
                });
            }
            if started.elapsed() > READY_DEADLINE {
                return Err(MariadbError::NotReady {
                    address: self.address,
                    within: READY_DEADLINE,
                    log: self.log.display().to_string(),
                    tail: tail(&self.log),
                });
            }
            sleep(READY_POLL).await;
        }
    }

    /// Fails if somebody else has the server's address, and says who.
    pub async fn check_address(&self) -> Result<(), MariadbError> {
        drop(listen::tcp("mariadbd", self.address).await?);
        Ok(())
    }

    /// Asks it to end and waits; kills it if it has not ended within `deadline`.
    pub async fn stop(&mut self, deadline: Duration) -> Result<(), MariadbError> {
        let Some(child) = self.child.as_mut() else { return Ok(()) };
        if let Some(pid) = pid_of(child)
            && let Err(e) = kill_process(pid, Signal::TERM)
        {
            tracing::debug!("mariadbd on {} has ended by itself: {e}", self.address);
        }
        match timeout(deadline, child.wait()).await {
            Ok(waited) => waited.map_err(MariadbError::io("waiting for mariadbd"))?,
            Err(_) => return self.kill().await,
        };
        self.child = None;
        Ok(())
    }

    /// Kills it with SIGKILL, as a power failure would, and waits until it is gone.
    pub async fn kill(&mut self) -> Result<(), MariadbError> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.map_err(MariadbError::io("killing mariadbd"))?;
        }
        Ok(())
    }

    /// Kills it without waiting, where nothing can be awaited.
    pub fn kill_now(&mut self) {
        if let Some(Err(e)) = self.child.as_mut().map(Child::start_kill) {
            tracing::debug!("mariadbd on {} has ended by itself: {e}", self.address);
        }
    }

    /// Its process number, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }
}

/// Whether a MySQL or MariaDB server greets on `address`.
pub async fn accepts_connections(address: SocketAddr) -> bool {
    let greeting = async {
        let mut stream = TcpStream::connect(address).await?;
        let mut packet = [0_u8; 5];
        stream.read_exact(&mut packet).await?;
        // Three bytes of length, one of sequence, then the protocol's version; 0xff is an error message.
        std::io::Result::Ok(packet[4] == 10)
    };
    matches!(timeout(Duration::from_millis(500), greeting).await, Ok(Ok(true)))
}

/// Where a server with its data in `datadir` keeps temporary tables.
fn temporary(datadir: &Path) -> PathBuf {
    datadir.with_extension("tmp")
}

/// Where the statements of [`Options::at_start`] stand.
fn at_start(datadir: &Path) -> PathBuf {
    datadir.with_extension("at_start.sql")
}

fn pid_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

fn append(path: &Path) -> Result<File, MariadbError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(MariadbError::io(path.display().to_string()))
}

/// The last lines of a log; empty if it cannot be read.
fn tail(path: &Path) -> String {
    let read = || {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        std::io::Result::Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    read().unwrap_or_default()
}
