//! A running lab as a drill sees it: its topology, its processes' admin APIs, its control API, its databases.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    api::{Act, DiskRequest, LabView},
    divergence::Divergence,
    layout::Files,
    link::LinkState,
};
use model::{
    Mode, Place, Register, Serving, Site,
    agent::{AgentStatus, Role, StandbyPhase},
    observation::View,
    plan::Steering,
    switchover::{self, Told},
    topology::{SecretRef, Topology},
};
use mysql_async::{Conn, OptsBuilder};
use runtime::{
    admin::{Client, ClientError},
    clock::Boot,
    secret::{Secret, SecretError},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How long one question to an admin API may take.
const ASK: Duration = Duration::from_secs(2);
/// Those who only watch do not wait for a process that stands still.
const LOOK: Duration = Duration::from_millis(500);
/// Killing and restoring a whole site takes longer: processes end and start.
const ACT: Duration = Duration::from_secs(90);

/// Why the lab cannot be drilled.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A secret of the lab is missing.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// One of its processes did not answer as hoped.
    #[error("{what}: {source}")]
    Ask {
        /// What was asked.
        what: &'static str,
        /// What came back.
        source: ClientError,
    },
    /// One of its databases.
    #[error("the database of {site}: {source}")]
    Database {
        /// Whose.
        site: Site,
        /// What the driver said.
        source: mysql_async::Error,
    },
    /// The topology does not describe a lab.
    #[error("{0}")]
    NotALab(String),
}

/// `POST /v1/lab/sites/{site}/kill`'s answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Killed {
    /// How the addresses went dark: `nft` or `silent_sockets`.
    pub how: String,
    /// When the first packet was dropped, on the boot clock.
    pub at_ms: u64,
    /// Transactions that its database committed on purpose after that.
    pub diverged: u32,
}

/// What is asked of a lab.
#[derive(Clone, Debug)]
pub struct Access {
    /// Its topology.
    pub topology: Topology,
    control: Client,
    witness: Client,
    nameserver: Client,
    agents: BTreeMap<Site, Client>,
    /// By their places' names.
    controllers: BTreeMap<String, Client>,
    passwords: BTreeMap<Site, Secret>,
    files: Files,
}

impl Access {
    /// Access to the running lab of `topology`, whose relative files stand in `folder`.
    pub fn new(topology: Topology, folder: &Path) -> Result<Access, AccessError> {
        let token = secret(folder, &topology.secrets.admin_token)?;
        let client = |address| Client::new(address, token.clone());
        let mut passwords = BTreeMap::new();
        let (mut agents, mut controllers) = (BTreeMap::new(), BTreeMap::new());
        controllers.insert(Place::Witness.to_string(), client(topology.witness.controller));
        for (site, config) in &topology.sites {
            controllers.insert(site.to_string(), client(config.controller));
            passwords.insert(site.clone(), secret(folder, &config.database.password)?);
            agents.insert(site.clone(), client(config.agent.admin));
        }
        Ok(Access {
            control: client(control_address(&topology)?),
            witness: client(topology.witness.controller),
            nameserver: client(topology.witness.nameserver.admin),
            agents,
            controllers,
            passwords,
            files: Files { folder: folder.to_owned(), databases: folder.to_owned() },
            topology,
        })
    }

    /// The register.
    pub async fn register(&self) -> Result<Register, AccessError> {
        self.witness.get("/v1/register", ASK).await.map_err(ask("the register"))
    }

    /// What the witness's controller sees and concludes.
    pub async fn view(&self) -> Result<View, AccessError> {
        self.witness.get("/v1/view", ASK).await.map_err(ask("the witness's view"))
    }

    /// The places that have a controller.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.controllers.keys().map(String::as_str)
    }

    /// What the controller at `place` sees and concludes.
    pub async fn view_of(&self, place: &str) -> Result<View, AccessError> {
        let missing = || AccessError::NotALab(format!("no place {place}"));
        let controller = self.controllers.get(place).ok_or_else(missing)?;
        controller.get("/v1/view", LOOK).await.map_err(ask("a controller's view"))
    }

    /// The file to which the controller at `place` writes its journal.
    pub fn journal(&self, place: &str) -> PathBuf {
        self.files.journal(place)
    }

    /// An agent's status.
    pub async fn status(&self, site: &Site) -> Result<AgentStatus, AccessError> {
        let agent = self.agents.get(site).ok_or_else(|| AccessError::NotALab(format!("no site {site}")))?;
        agent.get("/v1/status", ASK).await.map_err(ask("an agent's status"))
    }

    /// Whether a site's agent says that its site takes writes: the gateway's own question.
    pub async fn serves(&self, site: &Site) -> Result<bool, AccessError> {
        let agent = self.agents.get(site).ok_or_else(|| AccessError::NotALab(format!("no site {site}")))?;
        let serving: Serving = agent.get("/v1/serving", ASK).await.map_err(ask("what an agent serves"))?;
        Ok(serving.open && serving.primary == *site)
    }

    /// Where the public name leads.
    pub async fn steering(&self) -> Result<Steering, AccessError> {
        self.nameserver.get("/v1/steer", ASK).await.map_err(ask("the name server's steering"))
    }

    /// Kills every process of a site, and its addresses go dark; its database commits a last `divergence` before it
    /// dies, if one is wanted.
    pub async fn kill(&self, site: &Site, divergence: Option<Divergence>) -> Result<Killed, AccessError> {
        let path = format!("/v1/lab/sites/{site}/kill");
        self.control
            .post(&path, &json!({ "divergence": divergence }), ACT)
            .await
            .map_err(ask("killing a site"))
    }

    /// A site's quarantine, whole: its manifest, what became of it, and every line.
    pub async fn quarantine(&self, site: &Site, id: &str) -> Result<(Value, Vec<Value>), AccessError> {
        let agent = self.agents.get(site).ok_or_else(|| AccessError::NotALab(format!("no site {site}")))?;
        let shown: Value =
            agent.get(&format!("/v1/quarantine/{id}"), ACT).await.map_err(ask("a quarantine"))?;
        let (mut lines, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let from = cursor.map(|c| format!("?cursor={c}")).unwrap_or_default();
            let path = format!("/v1/quarantine/{id}/rows{from}");
            let mut page: Value = agent.get(&path, ACT).await.map_err(ask("a quarantine's lines"))?;
            if let Some(Value::Array(rows)) = page.get_mut("rows").map(Value::take) {
                lines.extend(rows);
            }
            cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() {
                return Ok((shown, lines));
            }
        }
    }

    /// Every quarantine that a site keeps: its name, and how many transactions are in it.
    pub async fn quarantines(&self, site: &Site) -> Result<Vec<(String, u64)>, AccessError> {
        let agent = self.agents.get(site).ok_or_else(|| AccessError::NotALab(format!("no site {site}")))?;
        let all: Vec<replicate::quarantine::Summary> =
            agent.get("/v1/quarantine", ACT).await.map_err(ask("a site's quarantines"))?;
        Ok(all.into_iter().map(|q| (q.id, q.counts.transactions)).collect())
    }

    /// Asks the controller that leads for a switchover; what it answers at once, and where to ask how it goes on.
    pub async fn switchover(&self, to: &Site) -> Result<(Told, Client), AccessError> {
        let request = switchover::Request { to: to.clone(), by: "ghostlight drill switchover".into() };
        let leader = self.leader().await?;
        let told = leader.post("/v1/switchover", &request, ASK).await.map_err(ask("a switchover"))?;
        Ok((told, leader.clone()))
    }

    /// The controller that leads.
    pub async fn leader(&self) -> Result<&Client, AccessError> {
        let began = Boot::now();
        loop {
            let leads = self.view().await?.leader;
            match leads.and_then(|place| self.controllers.get(&place)) {
                Some(leader) => return Ok(leader),
                // Between two leaders there is none for a moment; the witness says so itself if it lasts.
                None if began.elapsed() >= ASK => return Ok(&self.witness),
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// How a tool of MariaDB's reaches a site's database: address, user, password.
    pub fn server(&self, site: &Site) -> Result<(SocketAddr, &str, &Secret), AccessError> {
        let missing = || AccessError::NotALab(format!("no site {site}"));
        let config = &self.topology.sites.get(site).ok_or_else(missing)?.database;
        Ok((config.address, &config.user, self.passwords.get(site).ok_or_else(missing)?))
    }

    /// Brings a site back.
    pub async fn restore(&self, site: &Site) -> Result<Value, AccessError> {
        let path = format!("/v1/lab/sites/{site}/restore");
        self.control.post(&path, &json!({}), ACT).await.map_err(ask("restoring a site"))
    }

    /// Sets the link between the sites.
    pub async fn link(&self, cut: bool, rtt_ms: u64) -> Result<Value, AccessError> {
        let link = json!({ "cut": cut, "rtt_ms": rtt_ms });
        self.control.post("/v1/lab/link", &link, ASK).await.map_err(ask("setting the link"))
    }

    /// Changes the link between the sites.
    pub async fn set_link(&self, link: &LinkState) -> Result<LinkState, AccessError> {
        self.control.post("/v1/lab/link", link, ASK).await.map_err(ask("setting the link"))
    }

    /// Does something to one process of the lab.
    pub async fn act(&self, process: &str, act: Act) -> Result<Value, AccessError> {
        let path = format!("/v1/lab/processes/{process}/{}", act.as_str());
        self.control.post(&path, &json!({}), ACT).await.map_err(ask("acting on a process"))
    }

    /// Fills the disk of a site's database to the last page, or frees it.
    pub async fn fill_disk(&self, site: &Site, full: bool) -> Result<DiskRequest, AccessError> {
        let path = format!("/v1/lab/sites/{site}/disk");
        self.control.post(&path, &DiskRequest { full }, ACT).await.map_err(ask("filling a disk"))
    }

    /// What the lab runs.
    pub async fn lab(&self) -> Result<LabView, AccessError> {
        self.control.get("/v1/lab", ASK).await.map_err(ask("the lab's control API"))
    }

    /// The lab's own account of its processes.
    pub async fn processes(&self) -> Result<Value, AccessError> {
        self.control.get("/v1/lab", ASK).await.map_err(ask("the lab's control API"))
    }

    /// A session on a site's database, as the agent's account.
    pub async fn database(&self, site: &Site) -> Result<Conn, AccessError> {
        let user = self.topology.sites.get(site).map(|config| config.database.user.clone());
        self.database_as(site, &user.unwrap_or_default()).await
    }

    /// A session on a site's database, as another account with the agent's password.
    pub async fn database_as(&self, site: &Site, user: &str) -> Result<Conn, AccessError> {
        let missing = || AccessError::NotALab(format!("no site {site}"));
        let config = &self.topology.sites.get(site).ok_or_else(missing)?.database;
        let password = self.passwords.get(site).ok_or_else(missing)?;
        let opts = OptsBuilder::default()
            .ip_or_hostname(config.address.ip().to_string())
            .tcp_port(config.address.port())
            .user(Some(user))
            .pass(Some(password.expose()))
            .prefer_socket(false);
        Conn::new(opts).await.map_err(|source| AccessError::Database { site: site.clone(), source })
    }

    /// Where a site's gateway takes visitors.
    pub fn gateways(&self) -> Vec<SocketAddr> {
        self.topology.sites.values().map(|s| s.gateway.listen).collect()
    }

    /// Whether both sites stand as they should: the register says `sync`, the primary is open, the standby is
    /// attached, and the public name leads to the primary. If not: what is missing, in words.
    pub async fn in_sync(&self) -> Result<Register, String> {
        let words = |e: AccessError| e.to_string();
        let register = self.register().await.map_err(words)?;
        if register.mode != Mode::Sync {
            return Err(format!("the register says {}: {}", register.mode, register.why));
        }
        let peer = self.topology.peer_of(&register.primary).ok_or("the register names no site of ours")?;
        let primary = self.status(&register.primary).await.map_err(words)?;
        if primary.role != Role::Primary {
            return Err(format!("{} is {:?}", register.primary, primary.role));
        }
        let standby = self.status(peer).await.map_err(words)?;
        if standby.role != (Role::Standby { phase: StandbyPhase::Attached }) {
            return Err(format!("{peer} is {:?}", standby.role));
        }
        let steering = self.steering().await.map_err(words)?;
        if steering.site != register.primary {
            return Err(format!("the public name leads to {}", steering.site));
        }
        Ok(register)
    }

    /// Waits for [`Access::in_sync`], at most `within`. An error tells what was missing last.
    pub async fn wait_for_sync(&self, within: Duration) -> Result<Register, String> {
        let started = Boot::now();
        loop {
            let missing = match self.in_sync().await {
                Ok(register) => return Ok(register),
                Err(missing) => missing,
            };
            if started.elapsed() > within {
                return Err(format!("not in sync after {} s: {missing}", within.as_secs()));
            }
            // The state is asked for, not told.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The lab's control API stands at `.1:7000` of the witness's network.
pub(crate) fn control_address(topology: &Topology) -> Result<SocketAddr, AccessError> {
    match topology.witness.controller {
        SocketAddr::V4(witness) if witness.ip().is_loopback() => {
            let [a, b, lab, _] = witness.ip().octets();
            Ok(SocketAddr::from((Ipv4Addr::new(a, b, lab, 1), 7000)))
        }
        other => Err(AccessError::NotALab(format!(
            "the witness is at {other}, which is no lab's address; drills break things only in a lab"
        ))),
    }
}

fn secret(folder: &Path, reference: &SecretRef) -> Result<Secret, SecretError> {
    match reference {
        SecretRef::File(path) => Secret::from_file(&PathBuf::from(folder).join(path)),
        SecretRef::Env(name) => Secret::from_env(name),
    }
}

fn ask(what: &'static str) -> impl FnOnce(ClientError) -> AccessError {
    move |source| AccessError::Ask { what, source }
}
