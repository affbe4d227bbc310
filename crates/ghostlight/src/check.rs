//! `ghostlight check`: the topology file, then what lives: both databases, by themselves and beside each other, and
//! the register.

use std::{path::Path, process::ExitCode, time::Duration};

use cloud::{local::register_remote::RemoteRegister, register::Register};
use model::{Site, topology::Topology};
use replicate::{
    check::{self, Facts, Finding, Verdict},
    database::DatabaseConfig,
};
use runtime::config::Loaded;
use serde_json::json;

use crate::topology;

const REGISTER_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) fn run(config: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let loaded = topology::load(config)?;
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = executor.block_on(findings(&loaded))?;
    let count = |is: fn(&Verdict) -> bool| findings.iter().filter(|f| is(&f.verdict)).count();
    let wrong = count(|v| matches!(v, Verdict::Wrong { .. }));
    let unreachable = count(|v| matches!(v, Verdict::Unreachable { .. }));
    for finding in &findings {
        println!("{}", if as_json { serde_json::to_string(finding)? } else { line(finding) });
    }
    let summary = json!({ "checks": findings.len(), "wrong": wrong, "unreachable": unreachable });
    if as_json {
        println!("{}", json!({ "summary": summary }));
    } else {
        println!("{} checks, {wrong} wrong, {unreachable} without an answer", findings.len());
    }
    Ok(ExitCode::from(match (wrong, unreachable) {
        (0, 0) => 0,
        (0, _) => runtime::EXIT_UNAVAILABLE,
        _ => runtime::EXIT_WRONG,
    }))
}

async fn findings(loaded: &Loaded<Topology>) -> anyhow::Result<Vec<Finding>> {
    let topology = &loaded.value;
    let mut findings = Vec::new();
    let mut seen: Vec<(&Site, Facts, &str)> = Vec::new();
    for (site, config) in &topology.sites {
        let database = DatabaseConfig {
            address: config.database.address,
            user: config.database.user.clone(),
            password: topology::secret(loaded, &config.database.password)?,
        };
        let application = &config.database.application_user;
        let facts = async {
            let mut conn = database.open().await?;
            check::gather(&mut conn, application).await
        };
        match facts.await {
            Ok(facts) => {
                findings.extend(check::judge(site, &facts, application, &topology.policy));
                seen.push((site, facts, &config.database.user));
            }
            Err(e) => {
                let verdict = Verdict::Unreachable { why: e.to_string() };
                findings.push(Finding { site: Some(site.clone()), check: "database".into(), verdict });
            }
        }
    }
    if let [(one, facts, user), (other, others, _)] = &seen[..] {
        findings.extend(check::compare((one, facts), (other, others), user));
    }
    let token = topology::secret(loaded, &topology.secrets.admin_token)?;
    let register = RemoteRegister::new(topology.witness.controller, token, REGISTER_TIMEOUT);
    let verdict = match register.read().await {
        Ok(r) => Verdict::Ok { found: format!("epoch {} of {}, {}", r.epoch, r.primary, r.mode) },
        Err(e) => Verdict::Unreachable { why: format!("{e}; start the witness's controller") },
    };
    findings.push(Finding { site: None, check: "register".into(), verdict });
    Ok(findings)
}

fn line(finding: &Finding) -> String {
    let site = finding.site.as_ref().map_or("-", Site::as_str);
    let check = &finding.check;
    match &finding.verdict {
        Verdict::Ok { found } => format!("ok      {site:<6} {check}: {found}"),
        Verdict::Wrong { found, fix } => format!("WRONG   {site:<6} {check}: {found}; {fix}"),
        Verdict::Unreachable { why } => format!("SILENT  {site:<6} {check}: {why}"),
    }
}
