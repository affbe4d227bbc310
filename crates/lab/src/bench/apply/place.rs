//! Where the bench plays: a folder and addresses of its own, one server that is prepared and stopped, and copies of it.
//!
//! The source and every replica begin as copies of the same stopped data folder, so no contender finds a replica that
//! another one has warmed or filled. However the bench ends, its servers and its folder go with it: at SIGKILL the
//! kernel ends the servers, and the next bench under the same lab number removes the folder.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use cloud::local::{
    lab_number::{self, LabNumber},
    mariadb::{AGENT_USER, Accounts, Options, Server, Template, folder_for_databases},
};
use model::{Epoch, Incarnation, Position, StreamId};
use mysql_async::{Conn, OptsBuilder, prelude::Queryable};
use replicate::{
    binlog,
    database::DatabaseConfig,
    link::authority,
    schema::{self, Birth},
};
use runtime::secret::Secret;

use super::{Contender, because, settings, workload::Workload};
use crate::{
    drill::Aborted,
    layout::{Addresses, Cloud},
};

/// The account that writes the load and looks at everything; the agent's account has only the agent's rights.
const BENCH_USER: &str = "bench";
/// Prepared in it, and never compared.
const BASE_REDO_MIB: u32 = 16;
const BUFFER_POOL_MIB: u32 = 256;
const REDO_MIB: u32 = 512;
const BINLOG_MIB: u32 = 1024;
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// A folder that is removed with everything in it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0) {
            tracing::warn!("{} is left behind: {e}", self.0.display());
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) addresses: Addresses,
    template: Template,
    agent: Secret,
    bench: Secret,
    folder: Folder,
    // Last: the number is given back when everything under it is gone.
    _number: LabNumber,
}

/// A running server of the bench. Dropping it kills it and removes its data.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) server: Server,
    pub(super) agent: DatabaseConfig,
    admin: OptsBuilder,
    _folder: Folder,
}

impl Node {
    /// A connection that may do anything.
    pub(super) async fn admin(&self) -> Result<Conn, Aborted> {
        Conn::new(self.admin.clone()).await.map_err(because("a connection to a server of the bench"))
    }

    /// Ends it; what it holds is needed no more.
    pub(super) async fn end(mut self) -> Result<(), Aborted> {
        self.server.kill().await.map_err(because("ending a server of the bench"))
    }
}

/// Where the source's log stood before the load.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// As we write it.
    pub(super) position: Position,
    /// As MariaDB's replication does.
    pub(super) gtid: String,
}

impl Place {
    pub(super) async fn prepare() -> Result<Place, Aborted> {
        let number = lab_number::claim().map_err(because("a lab number"))?;
        let folder = PathBuf::from(format!("/var/tmp/ghostlight-bench-apply-{}", number.get()));
        if folder.exists() {
            // The number is ours now: whoever had it before was killed before it could tidy up.
            fs::remove_dir_all(&folder).map_err(because(folder.display().to_string()))?;
        }
        let folder = Folder(folder_for_databases(&folder).map_err(because("the bench's folder"))?);
        let (agent, bench) = (Secret::random(), Secret::random());
        let accounts = Accounts { agent: agent.clone(), application: Secret::random() };
        let template = Template::prepare(&folder.0, &accounts).await.map_err(because("an empty database"))?;
        authority::prepare(&certificates_in(&folder.0), &Cloud::BOTH.map(Cloud::site), &[])
            .map_err(because("the link's certificates"))?;
        let addresses = Addresses::of(number.get());
        Ok(Place { addresses, template, agent, bench, folder, _number: number })
    }

    /// A stopped server with the workload's tables, and Ghostlight's own schema as a primary has it.
    pub(super) async fn base(&self, workload: Workload, seed: u64) -> Result<Base, Aborted> {
        let password = self.bench.expose();
        let options = Options {
            redo_log_mib: BASE_REDO_MIB,
            buffer_pool_mib: BUFFER_POOL_MIB,
            at_start: vec![
                "SET sql_log_bin=0".into(),
                format!("CREATE USER IF NOT EXISTS '{BENCH_USER}'@'%' IDENTIFIED BY '{password}'"),
                format!("GRANT ALL ON *.* TO '{BENCH_USER}'@'%'"),
            ],
            ..Options::default()
        };
        let mut node = self.start(&self.template, "base", Cloud::Nhn, 1, options).await?;
        let mut conn = node.admin().await?;
        let birth = Birth {
            epoch: Epoch(1),
            primary: Cloud::Nhn.site(),
            incarnation: Incarnation(1),
            seeding: false,
        };
        schema::create(&mut conn, &birth).await.map_err(because("Ghostlight's schema"))?;
        for statement in workload.preparation(seed) {
            conn.query_drop(statement).await.map_err(because("preparing the tables"))?;
        }
        drop(conn);
        node.server.stop(STOP_DEADLINE).await.map_err(because("stopping the prepared server"))?;
        let template =
            node.server.as_template().ok_or_else(|| "the prepared server still runs".to_owned())?;
        Ok(Base { template, _node: node })
    }

    /// The source: a copy of the base, with its log's end.
    pub(super) async fn source(&self, base: &Base) -> Result<(Node, Mark), Aborted> {
        let node =
            self.start(&base.template, "source", Cloud::Nhn, 2, sized(settings::arguments(None))).await?;
        let mut conn = node.admin().await?;
        // A copy of the base is another server, and its row says so: its log begins a life of its own.
        schema::name_anew(&mut conn).await.map_err(because("naming the source's log"))?;
        let mark = mark(&mut conn).await?;
        Ok((node, mark))
    }

    /// A fresh replica for a contender: a copy of the base.
    pub(super) async fn replica(&self, base: &Base, contender: Contender) -> Result<Node, Aborted> {
        let options = sized(settings::arguments(Some(contender)));
        self.start(&base.template, contender.name(), Cloud::Aws, 3, options).await
    }

    async fn start(
        &self,
        template: &Template,
        name: &str,
        cloud: Cloud,
        server_id: u32,
        options: Options,
    ) -> Result<Node, Aborted> {
        let path = self.folder.0.join(name);
        fs::create_dir_all(&path).map_err(because(path.display().to_string()))?;
        let folder = Folder(path.clone());
        let address = self.addresses.database(cloud);
        let what = format!("the server `{name}`");
        let server = Server::create(template, &path.join("data"), address, server_id, options).await;
        let mut server = server.map_err(because(&what))?;
        server.start().await.map_err(because(&what))?;
        let admin = OptsBuilder::default()
            .ip_or_hostname(address.ip().to_string())
            .tcp_port(address.port())
            .user(Some(BENCH_USER))
            .pass(Some(self.bench.expose()))
            .prefer_socket(false)
            .tcp_nodelay(true);
        let agent = DatabaseConfig { address, user: AGENT_USER.into(), password: self.agent.clone() };
        Ok(Node { server, agent, admin, _folder: folder })
    }

    /// The folder of the link's certificates.
    pub(super) fn certificates(&self) -> PathBuf {
        certificates_in(&self.folder.0)
    }

    /// The bench's account on every server, for a replica to log in at its source.
    pub(super) fn account(&self) -> (&'static str, &str) {
        (BENCH_USER, self.bench.expose())
    }
}

/// A prepared and stopped server: what all others are copies of.
#[derive(Debug)]
pub(super) struct Base {
    template: Template,
    _node: Node,
}

fn sized(more: Vec<String>) -> Options {
    Options {
        buffer_pool_mib: BUFFER_POOL_MIB,
        redo_log_mib: REDO_MIB,
        binlog_mib: BINLOG_MIB,
        more,
        ..Options::default()
    }
}

fn certificates_in(folder: &Path) -> PathBuf {
    folder.join("link")
}

/// Where a server's log ends now.
pub(super) async fn mark(conn: &mut Conn) -> Result<Mark, Aborted> {
    const WHAT: &str = "the end of the source's log";
    let at = binlog::end_of_log(conn).await.map_err(because(WHAT))?;
    let read: Option<(String, String)> = conn
        .query_first("SELECT stream, @@gtid_binlog_pos FROM ghostlight.site")
        .await
        .map_err(because(WHAT))?;
    let (stream, gtid) = read.ok_or_else(|| format!("{WHAT}: ghostlight.site is empty"))?;
    Ok(Mark { position: at.in_stream(&StreamId(stream)), gtid })
}
