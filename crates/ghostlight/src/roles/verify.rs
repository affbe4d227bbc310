//! `ghostlight verify` and `ghostlight seed`: ask the standby's agent, show how far it is, tell what came of it.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::bail;
use model::{
    Site,
    agent::{AgentStatus, Role, SeedReply, StandbyPhase, VerifyRequest, VerifyRun},
};
use runtime::{admin::Client, clock::Boot};
use serde_json::json;

use super::{drill::print, status::or_the_labs};
use crate::topology;

type Loaded = runtime::config::Loaded<model::topology::Topology>;

/// How long an answer may take.
const ASK: Duration = Duration::from_secs(5);
/// How often the agent is asked how far it is.
const EVERY: Duration = Duration::from_millis(200);
/// A line of progress, where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The options of `verify`.
#[derive(clap::Args)]
pub(crate) struct VerifyArguments {
    /// Only this table, as `schema.table`.
    #[arg(long)]
    table: Option<String>,
    /// Make what differs equal to the primary.
    #[arg(long)]
    repair: bool,
    /// Compare not faster than so many rows a second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rows_per_s: Option<u64>,
    /// Only show the comparison that is under way or was the last: it goes on without this command.
    #[arg(long, conflicts_with_all = ["table", "repair", "rows_per_s"])]
    attach: bool,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

/// The options of `seed`.
#[derive(clap::Args)]
pub(crate) struct SeedArguments {
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn verify(config: &Path, arguments: &VerifyArguments) -> anyhow::Result<ExitCode> {
    let loaded = topology::load(&or_the_labs(config))?;
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = executor.block_on(run_verify(&loaded, arguments))?;
    let left = run.differences - run.repaired.min(run.differences);
    if arguments.json {
        print(&serde_json::to_string(&run)?);
    } else {
        for d in &run.list {
            let repaired = if d.repaired { ", repaired" } else { "" };
            print(&format!("{}: {}: {:?}{repaired}", d.table, d.key, d.wrong));
        }
        print(&format!(
            "{} tables, {} rows compared; {} differ, {} repaired",
            run.tables_done, run.rows, run.differences, run.repaired
        ));
    }
    if let Some(why) = &run.failed {
        bail!("the comparison was not done: {why}");
    }
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run_verify(loaded: &Loaded, arguments: &VerifyArguments) -> anyhow::Result<VerifyRun> {
    let (site, agent) =
        standby(loaded, |role| *role == Role::Standby { phase: StandbyPhase::Attached }, "attached").await?;
    let begun: VerifyRun = if arguments.attach {
        agent.get("/v1/verify", ASK).await?
    } else {
        let request = VerifyRequest {
            table: arguments.table.clone(),
            repair: arguments.repair,
            rows_per_s: arguments.rows_per_s,
        };
        agent.post("/v1/verify", &request, ASK).await?
    };
    eprintln!("comparing {site} with its primary; the agent goes on by itself if this command is ended");
    let mut bar = Bar::default();
    loop {
        let run: VerifyRun = match agent.get("/v1/verify", ASK).await {
            Ok(run) => run,
            Err(e) => bail!("{site}'s agent does not answer ({e}); `ghostlight verify --attach` looks again"),
        };
        if run.number != begun.number {
            bail!("another comparison was asked for meanwhile");
        }
        let waits = run.waits_for.as_ref().map_or(String::new(), |what| format!(", waiting for {what}"));
        bar.show(
            run.rows,
            run.rows_estimated,
            &format!(
                "{}/{} tables, {} rows, {} differ{waits}",
                run.tables_done, run.tables, run.rows, run.differences
            ),
        );
        if run.done || run.failed.is_some() {
            bar.end();
            return Ok(run);
        }
        tokio::time::sleep(EVERY).await; // the agent tells when asked
    }
}

pub(crate) fn seed(config: &Path, arguments: &SeedArguments) -> anyhow::Result<ExitCode> {
    let loaded = topology::load(&or_the_labs(config))?;
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let started = Boot::now();
    let (site, status) = executor.block_on(run_seed(&loaded))?;
    let seconds = started.elapsed().as_secs_f64();
    let incarnation = status.incarnation.map(|i| i.0);
    match arguments.json {
        true => print(&json!({ "site": site, "incarnation": incarnation, "seconds": seconds }).to_string()),
        false => print(&format!("{site} is attached again after {seconds:.1} s")),
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_seed(loaded: &Loaded) -> anyhow::Result<(Site, AgentStatus)> {
    let is_no_primary = |role: &Role| !matches!(role, Role::Primary | Role::Promoting);
    let (site, agent) = standby(loaded, is_no_primary, "no primary").await?;
    let before: AgentStatus = agent.get("/v1/status", ASK).await?;
    if let SeedReply::Refused { why } = agent.post("/v1/seed", &(), ASK).await? {
        bail!("{site} is not filled: {why}");
    }
    eprintln!("{site} is filled anew in place; it goes on by itself if this command is ended");
    let mut bar = Bar::default();
    loop {
        let status: AgentStatus = agent.get("/v1/status", ASK).await?;
        bar.show(0, 0, &format!("{:?}", status.role));
        if let Role::Stopped { why } = &status.role {
            bail!("{site} has stopped: {why}");
        }
        if status.role == (Role::Standby { phase: StandbyPhase::Attached })
            && status.incarnation > before.incarnation
        {
            bar.end();
            return Ok((site, status));
        }
        tokio::time::sleep(EVERY).await; // the agent tells when asked
    }
}

/// The agent whose role `fits`.
async fn standby(
    loaded: &Loaded,
    fits: impl Fn(&Role) -> bool,
    what: &str,
) -> anyhow::Result<(Site, Client)> {
    let token = topology::secret(loaded, &loaded.value.secrets.admin_token)?;
    let mut seen = Vec::new();
    for (site, config) in &loaded.value.sites {
        let agent = Client::new(config.agent.admin, token.clone());
        match agent.get::<AgentStatus>("/v1/status", ASK).await {
            Ok(status) if fits(&status.role) => return Ok((site.clone(), agent)),
            Ok(status) => seen.push(format!("{site} is {:?}", status.role)),
            Err(e) => seen.push(format!("{site}: {e}")),
        }
    }
    bail!("no site is a standby that is {what}: {}", seen.join("; "))
}

/// Progress on stderr: one line that is written over, or a line now and then where nobody looks on.
#[derive(Default)]
struct Bar {
    told: Option<Boot>,
}

impl Bar {
    fn show(&mut self, done: u64, all: u64, words: &str) {
        const WIDTH: u64 = 24;
        let mut out = std::io::stderr().lock();
        let shown = if out.is_terminal() {
            let filled = (WIDTH * done).checked_div(all).unwrap_or(0).min(WIDTH);
            let bar: String = (0..WIDTH).map(|i| if i < filled { '#' } else { '-' }).collect();
            write!(out, "\r[{bar}] {words}\x1b[K").and_then(|()| out.flush())
        } else if self.told.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
            self.told = Some(Boot::now());
            writeln!(out, "{words}")
        } else {
            Ok(())
        };
        if let Err(e) = shown {
            tracing::debug!("stderr: {e}");
        }
    }

    fn end(&self) {
        if std::io::stderr().is_terminal() {
            eprintln!();
        }
    }
}
