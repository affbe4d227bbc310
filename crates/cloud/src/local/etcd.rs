//! Private members of etcd: a cluster of the lab's or of a test's own, never the system's service.
//!
//! A member has its own data folder and its own two addresses, one for clients and one for the other members. It reads no
//! configuration from outside (etcd also takes every option from the environment), and the kernel kills it when the
//! process that started it ends.
//!
//! Always true here: data of another cluster, or of this one at other addresses, are refused and never overwritten. etcd
//! would start on them, look for its old companions and wait for ever.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use super::program::find;

/// How often etcd's leader is heard. A visitor's answer does not wait for it; a failover may.
const HEARTBEAT_MS: u32 = 50;
/// A leader that is not heard for so long (up to twice that, by lot) is replaced.
const ELECTION_MS: u32 = 500;

/// Why a member cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// The program is missing: the operator's to mend.
    #[error("`etcd` is not installed; install Debian's package etcd-server (scripts/setup --test does)")]
    NotInstalled,
    /// The data are of another cluster.
    #[error(
        "the data in {folder} belong to a cluster at other addresses ({found}); start the lab with the number that it \
         had, or take another folder"
    )]
    AnotherCluster {
        /// Where.
        folder: String,
        /// Whose they are.
        found: String,
    },
    /// A file or folder.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> EtcdError {
    move |source| EtcdError::Io { what: path.display().to_string(), source }
}

/// Where a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Where it answers clients.
    pub client: SocketAddr,
    /// Where it answers the other members.
    pub peer: SocketAddr,
}

impl Place {
    /// Its address as clients write it.
    pub fn url(&self) -> String {
        format!("http://{}", self.client)
    }
}

/// One member of a cluster; its data are there, whether it runs or not.
#[derive(Clone, Debug)]
pub struct Member {
    place: Place,
    /// `name=http://peer` of all, as etcd wants it.
    cluster: String,
    data: PathBuf,
}

impl Member {
    /// The member of `cluster` named `name`, with its data in `data`: made if there are none yet.
    pub fn create(cluster: &[Place], name: &str, data: &Path) -> Result<Member, EtcdError> {
        let whole: Vec<String> = cluster.iter().map(|p| format!("{}=http://{}", p.name, p.peer)).collect();
        let whole = whole.join(",");
        let place = cluster.iter().find(|p| p.name == name).cloned().ok_or_else(|| EtcdError::Io {
            what: format!("`{name}` among the members {whole}"),
            source: std::io::ErrorKind::NotFound.into(),
        })?;
        fs::create_dir_all(data).map_err(io(data))?;
        let stamp = data.join("cluster");
        match fs::read_to_string(&stamp) {
            Ok(found) if found == whole => {}
            Ok(found) => {
                return Err(EtcdError::AnotherCluster { folder: data.display().to_string(), found });
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                fs::write(&stamp, &whole).map_err(io(&stamp))?;
            }
            Err(e) => return Err(io(&stamp)(e)),
        }
        Ok(Member { place, cluster: whole, data: data.to_owned() })
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The command that runs it. Its messages come on stderr.
    pub fn command(&self) -> Result<Command, EtcdError> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        command.arg(find("etcd").ok_or(EtcdError::NotInstalled)?);
        command.args(self.arguments());
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null()).kill_on_drop(true);
        // A process group of its own: Ctrl-C at the terminal is for the one who started us, who stops us in order.
        command.process_group(0);
        Ok(command)
    }

    fn arguments(&self) -> Vec<String> {
        let Place { name, client, peer } = &self.place;
        vec![
            format!("--name={name}"),
            format!("--data-dir={}", self.data.join("data").display()),
            format!("--listen-client-urls=http://{client}"),
            format!("--advertise-client-urls=http://{client}"),
            format!("--listen-peer-urls=http://{peer}"),
            format!("--initial-advertise-peer-urls=http://{peer}"),
            format!("--initial-cluster={}", self.cluster),
            format!("--initial-cluster-token={}", self.cluster),
            "--initial-cluster-state=new".into(),
            format!("--heartbeat-interval={HEARTBEAT_MS}"),
            format!("--election-timeout={ELECTION_MS}"),
            // A member that comes back asks before it disturbs the others with an election.
            "--pre-vote=true".into(),
            "--auto-compaction-mode=periodic".into(),
            "--auto-compaction-retention=1h".into(),
            "--logger=zap".into(),
            "--log-level=warn".into(),
            "--log-outputs=stderr".into(),
        ]
    }
}
