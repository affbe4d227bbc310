//! `ghostlight switchover`: asks the controller that leads for a planned change of primary, and tells how it goes.

use std::{path::Path, process::ExitCode, time::Duration};

use model::{
    Site,
    observation::View,
    switchover::{Request, State, Told},
    topology::{TimeOfDay, Topology},
};
use runtime::{
    admin::Client,
    clock::{Boot, Wall},
};
use serde_json::json;

use super::{drill::print, status::or_the_labs};
use crate::topology;

/// How long one question may take.
const ASK: Duration = Duration::from_secs(3);
/// How often the controller is asked how far it is.
const EVERY: Duration = Duration::from_millis(20);
/// A switchover that has told no end by then has lost its leader; the register tells how it ended.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the old primary may take to follow as standby, after the new one is open.
const SYNC_PATIENCE: Duration = Duration::from_secs(30);
const DAY_MS: u64 = 24 * 60 * 60_000;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Who is to be primary; the present standby if not given.
    #[arg(long)]
    to: Option<String>,
    /// Wait until this time of the day (UTC, `HH:MM`), then begin. The command keeps running until then.
    #[arg(long, value_name = "HH:MM")]
    at: Option<String>,
    /// One JSON object on stdout at the end.
    #[arg(long)]
    json: bool,
}

/// How it ended.
enum End {
    Told(Told),
    /// No controller answers, or none leads.
    Nobody(String),
}

pub(crate) fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let loaded = topology::load(&or_the_labs(config))?;
    let token = topology::secret(&loaded, &loaded.value.secrets.admin_token)?;
    if let Some(wanted) = &arguments.to {
        topology::site(&loaded, &Site::new(wanted.as_str()))?;
    }
    let at = match arguments.at.clone().map(TimeOfDay::try_from).transpose() {
        Ok(at) => at,
        Err(why) => {
            eprintln!("ghostlight: --at: {why}");
            return Ok(ExitCode::from(runtime::EXIT_USAGE));
        }
    };
    let controllers = controllers(&loaded.value, |address| Client::new(address, token.clone()));
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    executor.block_on(async {
        if let Some(at) = at {
            let wait_ms = until(at, Wall::now().as_ms());
            eprintln!("waiting {} s, until {} UTC", wait_ms / 1_000, String::from(at));
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        let end = switch(&controllers, arguments.to.as_deref().map(Site::new)).await;
        Ok(tell(&end, arguments.json))
    })
}

/// Milliseconds until the next time that it is `at`.
fn until(at: TimeOfDay, now_ms: u64) -> u64 {
    (u64::from(at.minute) * 60_000 + DAY_MS - now_ms % DAY_MS) % DAY_MS
}

/// Every controller by its place's name, the witness first: it leads as a rule.
fn controllers(
    topology: &Topology,
    client: impl Fn(std::net::SocketAddr) -> Client,
) -> Vec<(String, Client)> {
    let witness = ("witness".to_owned(), client(topology.witness.controller));
    let sites = topology.sites.iter().map(|(site, c)| (site.to_string(), client(c.controller)));
    [witness].into_iter().chain(sites).collect()
}

async fn view(of: &Client) -> Option<View> {
    of.get("/v1/view", ASK).await.ok()
}

async fn switch(controllers: &[(String, Client)], to: Option<Site>) -> End {
    // Whoever answers knows who leads.
    let mut leader = None;
    for (place, client) in controllers {
        match view(client).await {
            Some(view) if view.leader.is_some() => {
                leader = Some(view);
                break;
            }
            Some(_) => eprintln!("the controller at {place} knows of no leader"),
            None => eprintln!("the controller at {place} does not answer"),
        }
    }
    let Some(View { leader: Some(place), register: Some(register), observations, .. }) = leader else {
        return End::Nobody("no controller that knows a leader and the register answers".into());
    };
    let sites: Vec<&Site> = observations.iter().map(|o| &o.of).collect();
    let standby = sites.into_iter().find(|site| **site != register.primary).cloned();
    let Some(to) = to.or(standby) else {
        return End::Nobody("the standby is not known; name it by --to".into());
    };
    let Some((_, client)) = controllers.iter().find(|(name, _)| *name == place) else {
        return End::Nobody(format!("`{place}` leads, and is no place of this topology"));
    };
    eprintln!("{place} leads; asking it for a switchover from {} to {to}", register.primary);
    let request = Request { to: to.clone(), by: "ghostlight switchover".into() };
    match client.post::<Told>("/v1/switchover", &request, ASK).await {
        Ok(told) if told.state == State::Refused => End::Told(told),
        Ok(told) => follow(controllers, client, told).await,
        Err(e) => End::Nobody(format!("{place}: {e}")),
    }
}

/// Tells each phase as it ends, until the switchover has; then until `sync`.
async fn follow(controllers: &[(String, Client)], leader: &Client, first: Told) -> End {
    let began = Boot::now();
    let mut last = first;
    let mut told = 0;
    let mut done_at: Option<Boot> = None;
    loop {
        let now = view(leader).await.and_then(|v| v.switchover).filter(|t| t.number == last.number);
        if let Some(now) = now {
            for phase in now.phases.iter().skip(told) {
                let how = if phase.done { "" } else { ", not done" };
                let (ended, took) = (phase.ended_ms, phase.took_ms);
                eprintln!("{ended:>6} ms  {} {} ({took} ms{how})", phase.phase.replace('_', " "), phase.site);
            }
            told = now.phases.len();
            last = now;
        }
        match last.state {
            State::Refused | State::RolledBack => return End::Told(last),
            State::Done => {
                let since = *done_at.get_or_insert_with(Boot::now);
                let synced = last.phases.iter().any(|p| p.phase == "sync");
                if synced || since.elapsed() > SYNC_PATIENCE {
                    return End::Told(last);
                }
            }
            State::Asked | State::UnderWay if began.elapsed() > PATIENCE => {
                return End::Told(by_the_register(controllers, last).await);
            }
            State::Asked | State::UnderWay => {}
        }
        tokio::time::sleep(EVERY).await; // the controller tells how far it is when it is asked
    }
}

/// The leader that knew has gone: the register says how it ended.
async fn by_the_register(controllers: &[(String, Client)], mut told: Told) -> Told {
    for (_, client) in controllers {
        let Some(register) = view(client).await.and_then(|v| v.register) else { continue };
        if register.epoch > told.epoch && register.primary == told.to {
            told.state = State::Done;
        } else if register.intent.is_none() {
            told.state = State::RolledBack;
            told.reasons.push(register.why);
        }
        return told;
    }
    told
}

fn tell(end: &End, as_json: bool) -> ExitCode {
    if as_json {
        print(&line(end).to_string());
    }
    match end {
        End::Nobody(why) => {
            eprintln!("ghostlight: {why}");
            ExitCode::from(runtime::EXIT_UNAVAILABLE)
        }
        End::Told(told) => {
            for reason in &told.reasons {
                eprintln!("{reason}");
            }
            if !as_json {
                print(&format!("{} → {}: {}", told.from, told.to, word(told.state).replace('_', " ")));
            }
            if told.state == State::Done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Refused => "refused",
        State::Asked | State::UnderWay => "unknown",
        State::Done => "done",
        State::RolledBack => "rolled_back",
    }
}

fn line(end: &End) -> serde_json::Value {
    match end {
        End::Nobody(why) => json!({
            "outcome": "unavailable", "from": null, "to": null, "epoch": null, "reasons": [why], "phases": [],
        }),
        End::Told(told) => {
            let epoch = if told.state == State::Done { told.epoch.next() } else { told.epoch };
            json!({
                "outcome": word(told.state), "from": told.from, "to": told.to, "epoch": epoch,
                "reasons": told.reasons, "phases": told.phases,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_documented() {
        const DOCUMENT: &str = include_str!("../../../../docs/json-output.md");
        let section = DOCUMENT.split("\n## ").find(|s| s.starts_with("`ghostlight switchover")).unwrap();
        let section = section.split("\n### ").next().unwrap();
        let keys = section.lines().filter_map(|l| l.strip_prefix("| `")?.split_once("` |"));
        let documented: std::collections::BTreeSet<&str> = keys.map(|(key, _)| key).collect();
        let line = line(&End::Nobody(String::new()));
        let printed = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(documented, printed);
    }

    #[test]
    fn a_time_that_has_passed_is_tomorrows() {
        let at = |text: &str| TimeOfDay::try_from(text.to_owned()).unwrap();
        assert_eq!(until(at("00:10"), 5 * 60_000), 5 * 60_000);
        assert_eq!(until(at("00:10"), 10 * 60_000), 0);
        assert_eq!(until(at("00:10"), 11 * 60_000), DAY_MS - 60_000);
        assert!(TimeOfDay::try_from("24:00".to_owned()).is_err());
        assert!(TimeOfDay::try_from("4:30".to_owned()).is_err());
    }
}
