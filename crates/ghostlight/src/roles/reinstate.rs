//! `ghostlight reinstate`: asks an old primary's agent to take its database back, and tells how far it is. Where another
//! server has taken the place of a primary's, in `solo`, it takes that one's data for the primary's.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Context;
use model::{
    Site,
    agent::{AgentStatus, ReinstateReply, Role, StandbyPhase},
};
use runtime::{
    admin::{Client, ClientError},
    clock::Boot,
};
use serde_json::json;

use super::{drill::print, status::or_the_labs};
use crate::topology;

/// How long one question may take.
const ASK: Duration = Duration::from_secs(3);
/// How often the agent is asked how far it is.
const EVERY: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Whose database; the one that waits for it if not given.
    #[arg(long)]
    site: Option<String>,
    /// One JSON object on stdout at the end.
    #[arg(long)]
    json: bool,
}

/// How it ended.
struct End {
    outcome: &'static str,
    why: String,
    transactions: u64,
    rows: u64,
}

pub(crate) fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let loaded = topology::load(&or_the_labs(config))?;
    let token = topology::secret(&loaded, &loaded.value.secrets.admin_token)?;
    let agents: Vec<(Site, Client)> = loaded
        .value
        .sites
        .iter()
        .filter(|(site, _)| arguments.site.as_deref().is_none_or(|wanted| wanted == site.as_str()))
        .map(|(site, here)| (site.clone(), Client::new(here.agent.admin, token.clone())))
        .collect();
    if let Some(wanted) = &arguments.site {
        topology::site(&loaded, &Site::new(wanted.as_str()))?;
    }
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    executor.block_on(reinstate(&agents, arguments))
}

async fn reinstate(agents: &[(Site, Client)], arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let started = Boot::now();
    let mut not_needed = Vec::new();
    for (site, agent) in agents {
        let reply = match agent.post::<ReinstateReply>("/v1/reinstate", &(), ASK).await {
            Ok(reply) => reply,
            // Without --site the other one may be the one that is meant.
            Err(e) if agents.len() > 1 => {
                eprintln!("{site}: {e}");
                continue;
            }
            Err(e) => {
                eprintln!("ghostlight: {site}: {e}");
                return Ok(ExitCode::from(runtime::EXIT_UNAVAILABLE));
            }
        };
        match reply {
            ReinstateReply::NotNeeded { why } => not_needed.push((site, why)),
            ReinstateReply::Ordered => {
                let end = watch(site, agent).await.with_context(|| format!("the agent of {site}"))?;
                let seconds = started.elapsed().as_secs_f64();
                return Ok(tell(site, &end, seconds, arguments.json));
            }
        }
    }
    if not_needed.is_empty() {
        eprintln!("ghostlight: no agent answers; start it, then ask again");
        return Ok(ExitCode::from(runtime::EXIT_UNAVAILABLE));
    }
    for (site, why) in not_needed {
        let end = End { outcome: "not_needed", why, transactions: 0, rows: 0 };
        tell(site, &end, started.elapsed().as_secs_f64(), arguments.json);
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks again and again until the database is a standby, or its agent stopped.
async fn watch(site: &Site, agent: &Client) -> Result<End, ClientError> {
    let (mut transactions, mut rows, mut told) = (0, 0, String::new());
    let mut began = false;
    loop {
        let status: AgentStatus = agent.get("/v1/status", ASK).await?;
        let end = |outcome, why| End { outcome, why, transactions, rows };
        match status.role {
            Role::Reinstating { phase, transactions: t, rows: r, undone, waits_for } => {
                (transactions, rows, began) = (transactions.max(t), rows.max(r), true);
                let phase = json!(phase);
                let mut now = format!("{site}: {}", phase.as_str().unwrap_or_default().replace('_', " "));
                if r > 0 {
                    now.push_str(&format!(", {t} transactions in quarantine, {undone} of {r} rows undone"));
                }
                if let Some(what) = waits_for {
                    now.push_str(&format!(" ({what})"));
                }
                if now != told {
                    eprintln!("{now}");
                    told = now;
                }
            }
            Role::Standby { phase: StandbyPhase::Attached } => {
                return Ok(end("reinstated", "it follows the primary".into()));
            }
            Role::Standby { .. } if !began => {}
            Role::Standby { phase: StandbyPhase::Seeding } => {
                let why = "it could not be undone row by row; its data are compared and repaired in place";
                return Ok(end("resynchronising", why.into()));
            }
            Role::Stopped { why } => return Ok(end("stopped", why)),
            Role::Standby { .. } | Role::Starting { .. } | Role::Promoting => {}
            Role::Primary => {
                let why =
                    "another server's data are the primary's now; fill the standby anew by `ghostlight seed`";
                return Ok(end("taken", why.into()));
            }
        }
        tokio::time::sleep(EVERY).await; // the agent tells how far it is when it is asked
    }
}

fn tell(site: &Site, end: &End, seconds: f64, as_json: bool) -> ExitCode {
    let End { outcome, why, transactions, rows } = end;
    if as_json {
        print(&line(site, end, seconds).to_string());
    } else {
        let outcome = outcome.replace('_', " ");
        print(&format!(
            "{site}: {outcome} after {seconds:.1} s; {transactions} transactions ({rows} rows) in quarantine; {why}"
        ));
    }
    if *outcome == "stopped" { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn line(site: &Site, end: &End, seconds: f64) -> serde_json::Value {
    json!({
        "site": site, "outcome": end.outcome, "why": end.why, "quarantined_transactions": end.transactions,
        "quarantined_rows": end.rows, "reinstate_s": seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_documented() {
        const DOCUMENT: &str = include_str!("../../../../docs/json-output.md");
        let section = DOCUMENT.split("\n## ").find(|s| s.starts_with("`ghostlight reinstate")).unwrap();
        let keys = section.lines().filter_map(|l| l.strip_prefix("| `")?.split_once("` |"));
        let documented: std::collections::BTreeSet<&str> = keys.map(|(key, _)| key).collect();
        let end = End { outcome: "not_needed", why: String::new(), transactions: 0, rows: 0 };
        let line = line(&Site::new("nhn"), &end, 0.0);
        let printed = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(documented, printed);
    }
}
