//! `ghostlight check`: the topology file, then what lives: both databases, by themselves and beside each other, and
//! the register.

use std::{path::Path, process::ExitCode, time::Duration};

use cloud::register::{Examined, Found};
use model::{
    Site,
    topology::{SiteConfig, Topology},
};
use replicate::{
    check::{self, Facts, Finding, Verdict},
    database::DatabaseConfig,
    link::Identity,
};
use runtime::config::Loaded;
use serde_json::json;

use crate::{register, topology};

const REGISTER_TIMEOUT: Duration = Duration::from_secs(2);
/// A certificate of the link that ends sooner is a finding.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);

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
    findings.extend(register::of(loaded, REGISTER_TIMEOUT)?.examine().await.into_iter().map(of_register));
    findings.extend(certificates(loaded));
    findings.extend(
        sites_here(loaded)
            .map(|(site, config)| check::data_folder(site, &topology::data_folder(loaded, site, config))),
    );
    Ok(findings)
}

/// What the register's driver found, as a finding.
fn of_register(Examined { check, finding }: Examined) -> Finding {
    let verdict = match finding {
        Found::Ok(found) => Verdict::Ok { found },
        Found::Wrong { what, fix } => Verdict::Wrong { found: what, fix },
        Found::Silent(why) => Verdict::Unreachable { why },
    };
    Finding { site: None, check: check.into(), verdict }
}

/// The sites whose agent runs on this machine: a site has the key of its own end of the link, and not the other one's.
fn sites_here(loaded: &Loaded<Topology>) -> impl Iterator<Item = (&Site, &SiteConfig)> {
    let folder = loaded.folder().join(&loaded.value.link.folder);
    loaded.value.sites.iter().filter(move |(site, _)| folder.join(format!("{site}.key")).exists())
}

/// The certificates of the link that are on this machine.
pub(crate) fn certificates(loaded: &Loaded<Topology>) -> Vec<Finding> {
    let folder = loaded.folder().join(&loaded.value.link.folder);
    let here: Vec<&Site> = sites_here(loaded).map(|(site, _)| site).collect();
    let check = "link_certificate".to_owned();
    if here.is_empty() {
        let found = format!("{} holds no site's certificate and key", folder.display());
        let fix = "`ghostlight init` makes them; each site needs authority.pem and its own two files".into();
        return vec![Finding { site: None, check, verdict: Verdict::Wrong { found, fix } }];
    }
    let judge = |site: &Site| match Identity::load(&folder, site) {
        Ok(identity) if identity.lasts(RENEW_BEFORE) => {
            Verdict::Ok { found: format!("valid for {} days or more", RENEW_BEFORE.as_secs() / 86_400) }
        }
        Ok(_) => Verdict::Wrong {
            found: format!("it ends within {} days", RENEW_BEFORE.as_secs() / 86_400),
            fix: format!("make a new one with `ghostlight init --renew {site}` and restart the site's agent"),
        },
        Err(e) => Verdict::Wrong {
            found: e.to_string(),
            fix: format!("put the right files there, or make new ones with `ghostlight init --renew {site}`"),
        },
    };
    here.into_iter()
        .map(|site| Finding { site: Some(site.clone()), check: check.clone(), verdict: judge(site) })
        .collect()
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
