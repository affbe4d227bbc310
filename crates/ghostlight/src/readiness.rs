//! `ghostlight check --site NAME`: whether a failover to that site would succeed now, and how long it would take.
//!
//! What the controllers know comes from them; what only a question can tell (the gateway's instances, privileges,
//! certificates) is asked here. A part of the time that was never measured is not guessed.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Context;
use model::{
    Register, Site,
    gateway::{GatewayStatus, TargetState},
    observation::{Line, Readiness, State, View},
    plan::Steering,
    topology::{Policy, Topology},
};
use replicate::{
    check::{self, Verdict},
    database::DatabaseConfig,
};
use runtime::{admin::Client, clock::Boot, config::Loaded, secret::Secret};
use serde_json::{Value, json};

use crate::{
    roles::{drill::print, orders::any_controller, status::or_the_labs},
    topology,
};

/// How long one question may take.
const ASK: Duration = Duration::from_secs(3);

/// A part of the time that a failover takes, and from what it is known.
struct Part {
    name: &'static str,
    ms: Option<u64>,
    from: String,
}

pub(crate) fn run(config: &Path, site: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let loaded = topology::load(&or_the_labs(config))?;
    let site = Site::new(site);
    topology::site(&loaded, &site)?;
    let token = topology::secret(&loaded, &loaded.value.secrets.admin_token)?;
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    executor.block_on(async {
        let (_, view) = any_controller::<View>(&loaded, &token, "/v1/view").await?;
        let known = view.readiness.context("the controller that answers knows too little yet; ask again")?;
        let mut lines = if known.site == site {
            known.lines
        } else {
            vec![line(
                "standby",
                State::No,
                format!("{site} is the primary: a failover would go to {}", known.site),
            )]
        };
        lines.push(capacity(&loaded.value, &token, &site).await);
        lines.extend(certificates(&loaded, &site));
        lines.push(line("backups", State::Unknown, "none configured"));
        lines.push(privileges(&loaded, &site).await);
        let ready = lines.iter().all(|line| line.state != State::No);
        let parts = parts(&loaded.value, &token, &site).await;
        let readiness = Readiness { site, ready, lines };
        if as_json {
            print(&object(&readiness, &parts).to_string());
        } else {
            tell(&readiness, &parts);
        }
        Ok(ExitCode::from(if readiness.ready { 0 } else { runtime::EXIT_WRONG }))
    })
}

fn line(name: &str, state: State, found: impl Into<String>) -> Line {
    Line { name: name.to_owned(), state, found: found.into() }
}

async fn capacity(topology: &Topology, token: &Secret, site: &Site) -> Line {
    let Some(config) = topology.sites.get(site) else {
        return line("capacity", State::No, "the site is not in the topology");
    };
    let gateway = Client::new(config.gateway.admin, token.clone());
    match gateway.get::<GatewayStatus>("/v1/status", ASK).await {
        Ok(status) => {
            let all = status.targets.len();
            let healthy = status.targets.iter().filter(|t| t.state == TargetState::Healthy).count();
            let state = if healthy == 0 { State::No } else { State::Yes };
            line("capacity", state, format!("the gateway answers, {healthy} of {all} instances are healthy"))
        }
        Err(e) => line("capacity", State::No, format!("the gateway does not answer: {e}")),
    }
}

fn certificates(loaded: &Loaded<Topology>, site: &Site) -> Vec<Line> {
    let of_the_site = |f: &check::Finding| f.site.as_ref().is_none_or(|s| s == site);
    let found: Vec<Line> = crate::check::certificates(loaded)
        .into_iter()
        .filter(of_the_site)
        .map(|f| match f.verdict {
            Verdict::Ok { found } => line("certificates", State::Yes, found),
            Verdict::Wrong { found, fix } => line("certificates", State::No, format!("{found}; {fix}")),
            Verdict::Unreachable { why } => line("certificates", State::Unknown, why),
        })
        .collect();
    if found.is_empty() {
        return vec![line("certificates", State::Unknown, "those of this site are on another machine")];
    }
    found
}

async fn privileges(loaded: &Loaded<Topology>, site: &Site) -> Line {
    let judged = async {
        let config = loaded.value.sites.get(site).context("the site is not in the topology")?;
        let database = DatabaseConfig {
            address: config.database.address,
            user: config.database.user.clone(),
            password: topology::secret(loaded, &config.database.password)?,
        };
        let application = &config.database.application_user;
        let facts = check::gather(&mut database.open().await?, application).await?;
        anyhow::Ok(check::judge(site, &facts, application, &loaded.value.policy))
    };
    match judged.await {
        Err(e) => line("privileges", State::No, format!("the database of {site} could not be asked: {e}")),
        Ok(findings) => {
            let wrong: Vec<String> = findings
                .iter()
                .filter_map(|f| match &f.verdict {
                    Verdict::Wrong { found, .. } => Some(format!("{}: {found}", f.check)),
                    _ => None,
                })
                .collect();
            if wrong.is_empty() {
                line(
                    "privileges",
                    State::Yes,
                    format!("{} requirements of its database are met", findings.len()),
                )
            } else {
                line("privileges", State::No, wrong.join("; "))
            }
        }
    }
}

/// How long each part would take: by the policy, by a question just now, or by what the journals say of the last time.
async fn parts(topology: &Topology, token: &Secret, site: &Site) -> Vec<Part> {
    let Policy { lost_after_probes, probe_interval_ms, probe_timeout_ms, .. } = &topology.policy;
    let detect_ms = u64::from(*lost_after_probes) * probe_interval_ms + probe_timeout_ms;
    let witness = Client::new(topology.witness.controller, token.clone());
    let nameserver = Client::new(topology.witness.nameserver.admin, token.clone());
    let just_now = "one question just now";
    let promote = last_promotion(topology, token, site).await;
    vec![
        Part {
            name: "detect",
            ms: Some(detect_ms),
            from: "the policy: probes, their pace and time-out".into(),
        },
        Part {
            name: "move_register",
            ms: timed(witness.get::<Register>("/v1/register", ASK)).await,
            from: just_now.into(),
        },
        Part {
            name: "promote",
            ms: promote,
            from: if promote.is_some() {
                "the last promotion in the journals"
            } else {
                "never measured here: no promotion is in the journals"
            }
            .into(),
        },
        Part {
            name: "steer",
            ms: timed(nameserver.get::<Steering>("/v1/steer", ASK)).await,
            from: just_now.into(),
        },
    ]
}

async fn timed<T, E>(question: impl Future<Output = Result<T, E>>) -> Option<u64> {
    let asked = Boot::now();
    question.await.ok()?;
    u64::try_from(asked.elapsed().as_millis()).ok()
}

/// How long the newest promotion took that any controller's journal tells of, of `site` if there is one.
async fn last_promotion(topology: &Topology, token: &Secret, site: &Site) -> Option<u64> {
    let sites = topology.sites.values().map(|site| site.controller);
    let mut newest: Option<(bool, u64, u64)> = None;
    for address in [topology.witness.controller].into_iter().chain(sites) {
        let Ok(told) = Client::new(address, token.clone()).get::<Value>("/v1/journal", ASK).await else {
            continue;
        };
        for line in told.get("lines").and_then(Value::as_array).into_iter().flatten() {
            let number = |key: &str| line.get(key).and_then(Value::as_u64);
            let promoted = line.get("outcome").and_then(Value::as_str) == Some("promoted");
            if let (true, Some(at), Some(took)) = (promoted, number("at_ms"), number("took_ms")) {
                let of_site = line.pointer("/step/site").and_then(Value::as_str) == Some(site.as_str());
                newest = newest.max(Some((of_site, at, took)));
            }
        }
    }
    newest.map(|(_, _, took_ms)| took_ms)
}

fn total_s(parts: &[Part]) -> Option<f64> {
    let ms: Option<u64> = parts.iter().map(|part| part.ms).sum();
    ms.map(|ms| Duration::from_millis(ms).as_secs_f64())
}

fn object(readiness: &Readiness, parts: &[Part]) -> Value {
    let told: Vec<Value> =
        parts.iter().map(|p| json!({ "part": p.name, "ms": p.ms, "from": p.from })).collect();
    json!({
        "site": readiness.site, "ready": readiness.ready, "lines": readiness.lines,
        "parts": told, "failover_s": total_s(parts),
    })
}

fn tell(readiness: &Readiness, parts: &[Part]) {
    for Line { name, state, found } in &readiness.lines {
        let mark = match state {
            State::Yes => "ok     ",
            State::No => "NO     ",
            State::Unknown => "unknown",
        };
        print(&format!("{mark} {name:<13} {found}"));
    }
    for part in parts {
        let ms = part.ms.map_or("?".to_owned(), |ms| format!("{ms} ms"));
        print(&format!("        {:<13} {ms} ({})", part.name, part.from));
    }
    let took = total_s(parts)
        .map_or("a time that is not known in all its parts".to_owned(), |s| format!("about {s:.1} s"));
    let site = &readiness.site;
    print(&if readiness.ready {
        format!(
            "a failover to {site} would succeed now, in {took} / 지금 {site}(으)로 장애 조치가 가능합니다"
        )
    } else {
        format!("a failover to {site} would not succeed now / 지금은 {site}(으)로 장애 조치할 수 없습니다")
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_documented_and_an_unmeasured_part_is_not_guessed() {
        let mut parts = vec![
            Part { name: "detect", ms: Some(1_500), from: "the policy".into() },
            Part { name: "promote", ms: None, from: "never measured".into() },
        ];
        let readiness = Readiness { site: Site::new("aws"), ready: true, lines: Vec::new() };
        let object = object(&readiness, &parts);
        crate::documented("`ghostlight check --site NAME --json`", &object);
        assert_eq!(object["failover_s"], Value::Null);
        parts[1].ms = Some(500);
        assert_eq!(total_s(&parts), Some(2.0));
    }
}
