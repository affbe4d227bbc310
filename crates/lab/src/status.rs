//! `ghostlight status`: both sites, the register and the name, as their own processes tell it.
//!
//! It asks every process over its admin API and shows what answered; what did not answer is shown as such. It needs
//! nothing but the topology file, so it works for any installation; a lab's processes are listed when its control
//! API answers.

use std::{collections::BTreeMap, fmt, time::Duration};

use model::{
    Register, Site,
    agent::{AgentStatus, Fence, FenceReport, ReinstatePhase, Role, StandbyPhase},
    gateway::{GatewayStatus, TargetState},
    observation::View,
    plan::Steering,
    topology::Topology,
};
use runtime::{
    admin::{Client, ClientError},
    secret::Secret,
};
use serde::Serialize;

use crate::{api::LabView, drill::access};

/// How long one process may take to answer.
const ASK: Duration = Duration::from_millis(1_500);

/// Everything that was asked. `Err` holds why there is no answer.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The register.
    pub register: Result<Register, String>,
    /// Where the public name leads.
    pub steering: Result<Steering, String>,
    /// The sites, by name.
    pub sites: BTreeMap<Site, SiteReport>,
    /// What became of fencing each site the last time that a controller did, means by means.
    pub fencing: Vec<FenceReport>,
    /// The lab's own account, if a lab runs.
    pub lab: Option<LabView>,
}

/// One site.
#[derive(Clone, Debug, Serialize)]
pub struct SiteReport {
    /// What its agent says.
    pub agent: Result<AgentStatus, String>,
    /// What its gateway says.
    pub gateway: Result<GatewayStatus, String>,
}

impl Report {
    /// Whether the register and both agents answered.
    pub fn is_complete(&self) -> bool {
        self.register.is_ok() && self.sites.values().all(|s| s.agent.is_ok() && s.gateway.is_ok())
    }
}

/// Asks every process of `topology`.
pub async fn gather(topology: &Topology, token: &Secret) -> Report {
    let client = |address| Client::new(address, token.clone());
    let nameserver = client(topology.witness.nameserver.admin);
    let sites = async {
        let asked = topology.sites.iter().map(|(site, config)| {
            let (agent, gateway) = (client(config.agent.admin), client(config.gateway.admin));
            async move {
                let (agent, gateway) =
                    tokio::join!(agent.get("/v1/status", ASK), gateway.get("/v1/status", ASK));
                (site.clone(), SiteReport { agent: words(agent), gateway: words(gateway) })
            }
        });
        futures_util::future::join_all(asked).await.into_iter().collect()
    };
    let lab = async {
        let control = client(access::control_address(topology).ok()?);
        control.get::<LabView>("/v1/lab", ASK).await.ok()
    };
    let (register, steering, sites, fencing, lab) = tokio::join!(
        register(topology, token),
        nameserver.get("/v1/steer", ASK),
        sites,
        fencing(topology, token),
        lab
    );
    Report { register, steering: words(steering), sites, fencing, lab }
}

/// What the controllers know of the last fences. Each knows those that it took itself, so all are asked.
async fn fencing(topology: &Topology, token: &Secret) -> Vec<FenceReport> {
    let sites = topology.sites.values().map(|site| site.controller);
    let views = sites.chain([topology.witness.controller]).map(|controller| {
        let client = Client::new(controller, token.clone());
        async move { client.get::<View>("/v1/view", ASK).await }
    });
    let views = futures_util::future::join_all(views).await;
    newest(views.into_iter().flatten().flat_map(|view| view.fencing))
}

/// Of each site the newest.
fn newest(reports: impl Iterator<Item = FenceReport>) -> Vec<FenceReport> {
    let mut by_site: BTreeMap<Site, FenceReport> = BTreeMap::new();
    for report in reports {
        let known = by_site.get(&report.site);
        if known.is_none_or(|known| (known.epoch, known.at_ms) < (report.epoch, report.at_ms)) {
            by_site.insert(report.site.clone(), report);
        }
    }
    by_site.into_values().collect()
}

/// The register, by the first that answers for it.
async fn register(topology: &Topology, token: &Secret) -> Result<Register, String> {
    let mut said = Vec::new();
    for address in topology.register_servers() {
        match Client::new(address, token.clone()).get("/v1/register", ASK).await {
            Ok(register) => return Ok(register),
            Err(e) => said.push(e.to_string()),
        }
    }
    Err(said.join("; "))
}

fn words<T>(answer: Result<T, ClientError>) -> Result<T, String> {
    answer.map_err(|e| e.to_string())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.register {
            Ok(r) => writeln!(
                f,
                "primary {} · epoch {} · mode {} · {}",
                r.primary,
                r.epoch,
                r.mode,
                if r.why.is_empty() { "no reason given" } else { &r.why }
            )?,
            Err(e) => writeln!(f, "the register does not answer: {e}")?,
        }
        match &self.steering {
            Ok(s) => writeln!(f, "the public name leads to {} (epoch {})", s.site, s.epoch)?,
            Err(e) => writeln!(f, "the name server does not answer: {e}")?,
        }
        writeln!(f)?;
        let mut rows = vec![vec![String::new()]];
        rows[0].extend(self.sites.keys().map(ToString::to_string));
        for (label, value) in SITE_ROWS {
            let mut row = vec![(*label).to_owned()];
            row.extend(self.sites.values().map(value));
            rows.push(row);
        }
        if let Some(lab) = &self.lab {
            let mut row = vec!["processes".to_owned()];
            for site in self.sites.keys() {
                row.push(lab.sites.iter().find(|s| s.site == *site).map_or_else(dash, processes));
            }
            rows.push(row);
        }
        for row in columns(&rows) {
            writeln!(f, "{row}")?;
        }
        for (site, report) in &self.sites {
            for e in [report.agent.as_ref().err(), report.gateway.as_ref().err()].into_iter().flatten() {
                writeln!(f, "\n{site}: {e}")?;
            }
        }
        Ok(())
    }
}

type Row = (&'static str, fn(&SiteReport) -> String);

/// What is shown of each site, line by line.
const SITE_ROWS: &[Row] = &[
    ("role", |s| agent(s, |a| role(&a.role))),
    ("database", |s| agent(s, |a| fence(a.fence).into())),
    ("epoch in it", |s| agent(s, |a| a.row.as_ref().map_or_else(dash, |r| r.epoch.to_string()))),
    // A standby's row keeps the mode of the day it was filled; it means nothing until a promotion.
    ("mode in it", |s| agent(s, |a| if a.role == Role::Primary { mode(a) } else { dash() })),
    ("lag", |s| agent(s, |a| a.lag_ms.map_or_else(dash, |ms| format!("{ms} ms")))),
    ("gateway", |s| gateway(s, serving)),
    ("held answers", |s| gateway(s, |g| g.held.to_string())),
    ("instances", |s| gateway(s, healthy)),
];

fn mode(agent: &AgentStatus) -> String {
    agent.row.as_ref().map_or_else(dash, |r| r.mode.to_string())
}

fn dash() -> String {
    "-".into()
}

fn agent(site: &SiteReport, tell: impl Fn(&AgentStatus) -> String) -> String {
    site.agent.as_ref().map_or_else(|_| "no answer".into(), tell)
}

fn gateway(site: &SiteReport, tell: impl Fn(&GatewayStatus) -> String) -> String {
    site.gateway.as_ref().map_or_else(|_| "no answer".into(), tell)
}

fn role(role: &Role) -> String {
    match role {
        Role::Starting { why } => format!("starting: {why}"),
        Role::Primary => "primary".into(),
        Role::Standby { phase: StandbyPhase::Connecting } => "standby, connecting".into(),
        Role::Standby { phase: StandbyPhase::Seeding } => "standby, being filled".into(),
        Role::Standby { phase: StandbyPhase::Attached } => "standby".into(),
        Role::Promoting => "being promoted".into(),
        Role::Reinstating { phase, transactions, rows, undone, waits_for } => {
            let doing = match phase {
                ReinstatePhase::AwaitingOrder => "waits to be taken back".to_owned(),
                ReinstatePhase::Announcing => "being taken back: announcing it".into(),
                ReinstatePhase::Asking => {
                    "being taken back: asking the primary where its history ended".into()
                }
                ReinstatePhase::Exporting => {
                    format!("being taken back: {transactions} transactions in quarantine")
                }
                ReinstatePhase::Undoing => format!("being taken back: {undone} of {rows} rows undone"),
                ReinstatePhase::Verifying => {
                    format!("being taken back: {rows} rows are undone, looking again")
                }
            };
            waits_for.as_ref().map_or(doing.clone(), |what| format!("{doing} ({what})"))
        }
        Role::Stopped { why } => format!("stopped: {why}"),
    }
}

fn fence(fence: Fence) -> &'static str {
    match fence {
        Fence::Open => "open to the application",
        Fence::Closed => "closed to the application",
        Fence::Unknown => "not known",
    }
}

fn serving(gateway: &GatewayStatus) -> String {
    match &gateway.serving {
        Some(s) if s.open && s.primary == s.site => "serves".into(),
        Some(s) if s.primary != s.site => format!("forwards to {}", s.primary),
        Some(_) => "closed".into(),
        None => "waits for its agent".into(),
    }
}

fn healthy(gateway: &GatewayStatus) -> String {
    let healthy = gateway.targets.iter().filter(|t| t.state == TargetState::Healthy).count();
    format!("{healthy} of {} healthy", gateway.targets.len())
}

fn processes(site: &crate::api::SiteView) -> String {
    let running = site.processes.iter().filter(|p| p.pid.is_some()).count();
    let restarts: u64 = site.processes.iter().map(|p| p.restarts).sum();
    format!("{running} of {} run, {restarts} restarts", site.processes.len())
}

/// Rows with their cells padded to columns.
fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use model::{Epoch, Mode};

    use super::*;

    #[test]
    fn of_several_controllers_words_on_a_fence_the_newest_counts() {
        let report = |site: &str, epoch, at_ms| FenceReport {
            site: Site::new(site),
            epoch: Epoch(epoch),
            at_ms,
            drivers: Vec::new(),
        };
        let told = [report("nhn", 2, 900), report("aws", 3, 950), report("nhn", 4, 10), report("nhn", 4, 9)];
        assert_eq!(newest(told.into_iter()), [report("aws", 3, 950), report("nhn", 4, 10)]);
    }

    #[test]
    fn what_does_not_answer_is_shown_as_such_and_never_hidden() {
        fn refused<T>() -> Result<T, String> {
            Err("127.20.0.2:7100 refused the connection".to_owned())
        }
        let gateway = GatewayStatus {
            site: Site::new("nhn"),
            serving: None,
            serving_age_ms: None,
            gate: true,
            held: 3,
            released_total: 9,
            unknown_total: 0,
            parked: 0,
            parked_total: 0,
            targets: Vec::new(),
        };
        let sites = [
            ("aws", SiteReport { agent: refused(), gateway: refused() }),
            ("nhn", SiteReport { agent: refused(), gateway: Ok(gateway) }),
        ];
        let mut register = Register::first(Site::new("nhn"), 0);
        register.mode = Mode::Sync;
        let report = Report {
            register: Ok(register),
            steering: Ok(Steering { site: Site::new("nhn"), epoch: Epoch(1) }),
            sites: sites.map(|(name, report)| (Site::new(name), report)).into(),
            fencing: Vec::new(),
            lab: None,
        };
        let text = report.to_string();
        assert!(text.starts_with("primary nhn · epoch 1 · mode sync · first start\n"), "{text}");
        assert!(text.contains("held answers  no answer  3\n"), "{text}");
        assert!(text.contains("aws: 127.20.0.2:7100 refused the connection"), "{text}");
        assert!(!report.is_complete());
    }
}
