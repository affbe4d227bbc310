//! `ghostlight drill`: break it on purpose, measure, check. Data on stdout, talk on stderr.
//!
//! Exit codes: 0 without violations; 1 with any, or when the drill could not be finished; 64 for bad usage; 77 where this
//! machine or user does not allow the fault.

mod faults;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use lab::{
    drill::{
        Aborted,
        binlog_purged::{self, BinlogPurged},
        site_loss::{self, Round, SiteLoss, Summary},
        stage::Stage,
        switchover::{self, Switchover},
    },
    report,
};
use model::topology::RegisterKind;
use runtime::process::{Shutdown, shutdown_on_signal};
use serde_json::json;

use crate::register;

/// The drills.
#[derive(Subcommand)]
pub(crate) enum Drill {
    /// Kill the primary site under load, every process of it; measure until visitors book again; prove that no
    /// acknowledged booking is lost.
    SiteLoss(SiteLossArgs),
    /// Kill the primary's database for good: the standby must take over, and the old primary come back as its standby.
    DbLoss(FaultArgs),
    /// Cut the link between the sites: nobody may take over, answers go on alone after a moment.
    LinkCut(FaultArgs),
    /// Lose one direction of the link: what the primary sends, then what the standby sends. Nobody may take over.
    LinkOneWay(FaultArgs),
    /// Let the standby's site go dark: nobody may take over, answers go on alone after a moment.
    StandbyLoss(FaultArgs),
    /// Kill the witness for good, and the register with it: answers go on, nobody may take over.
    WitnessLoss(FaultArgs),
    /// Kill each member of etcd in turn: nothing may happen. Then two of three: answers go on, nobody may take over.
    RegisterLoss(FaultArgs),
    /// Kill the standby's controller, then the primary's: nothing may happen to visitors.
    ControllerLoss(FaultArgs),
    /// Let the primary stand still (SIGSTOP) and go on later: its agent for two seconds, its agent, its database, the whole
    /// site. Only the first is to be waited for.
    PausedPrimary(FaultArgs),
    /// Fill the disk under the primary's database, and free it later. It needs root: exit code 77 where a small disk cannot
    /// be mounted.
    DiskFull(FaultArgs),
    /// Let the primary's site, then the link, come and go: nobody may take over.
    Flap(FaultArgs),
    /// Change the primary on purpose under load, back and forth: how long is the pause, and does any visitor see an error?
    /// Every round ends with the checker.
    Switchover(SwitchoverArgs),
    /// Cut the link under load and delete the primary's log behind the standby: its position is lost. Measure until it
    /// has filled itself anew in place, and prove that both databases are equal.
    BinlogPurged(BinlogPurgedArgs),
}

/// The options of every drill.
#[derive(Args)]
pub(crate) struct CommonArgs {
    /// Every choice of the visitors, and the moments of kills, follow from it.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Print a JSON line a round, and a summary as the last line.
    #[arg(long)]
    json: bool,
    /// Use the lab that runs in this folder instead of one of the drill's own.
    #[arg(long)]
    attach: bool,
    /// The folder of the lab to attach to.
    #[arg(long, default_value = ".ghostlight", requires = "attach")]
    folder: PathBuf,
    /// Visitors a second.
    #[arg(long, value_name = "N", default_value_t = 260, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
}

impl CommonArgs {
    /// The lab that was named, or one of the drill's own that `own` starts.
    async fn stage(
        &self,
        own: impl AsyncFnOnce() -> Result<Stage, Aborted>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Stage> {
        let open = async {
            match self.attach {
                true => Stage::attach(&self.folder),
                false => own().await,
            }
        };
        tokio::select! {
            stage = Box::pin(open) => Ok(stage?),
            () = shutdown.cancelled() => anyhow::bail!("interrupted while the lab was starting; nothing is left running"),
        }
    }
}

/// What a lab that is starting says.
pub(super) fn talk(what: &str) {
    eprintln!("lab: {what}");
}

/// Ends what the drill started. The files of one that went wrong are kept.
pub(super) async fn end(stage: Stage, clean: bool) {
    eprintln!("the drill is over; ending what it started");
    if let Some(folder) = stage.end(clean).await {
        eprintln!("the lab's files are kept in {} for a look", folder.display());
    }
}

/// The options of the drills that are one fault each.
#[derive(Args)]
pub(crate) struct FaultArgs {
    /// How often; each round takes the next of the drill's cases. Default: each case once.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    #[command(flatten)]
    common: CommonArgs,
    /// What keeps the register of the drill's own lab: `file` or `etcd`; what breaks members of etcd needs no `etcd`.
    #[arg(long, default_value = "file", value_parser = register::kind, value_name = "KIND")]
    register: RegisterKind,
}

/// The options of `drill binlog-purged`.
#[derive(Args)]
pub(crate) struct BinlogPurgedArgs {
    #[command(flatten)]
    common: CommonArgs,
}

/// The options of `drill switchover`.
#[derive(Args)]
pub(crate) struct SwitchoverArgs {
    /// How often; each round goes to the site that is standby then.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[command(flatten)]
    common: CommonArgs,
    /// Make the link between the sites so long, there and back.
    #[arg(long, value_name = "N")]
    link_rtt_ms: Option<u64>,
}

/// The options of `drill site-loss`.
#[derive(Args)]
pub(crate) struct SiteLossArgs {
    /// How often; each round kills the site that is primary then.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[command(flatten)]
    common: CommonArgs,
    /// Write a report with a picture of each round.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Let answers out without waiting for the standby: the drill must then find losses.
    #[arg(long, conflicts_with = "attach")]
    no_gate: bool,
    /// What keeps the register of the drill's own lab: `file` or `etcd`.
    #[arg(long, default_value = "file", value_parser = register::kind, value_name = "KIND")]
    register: RegisterKind,
    /// Make the link between the sites so long, there and back.
    #[arg(long, value_name = "N")]
    link_rtt_ms: Option<u64>,
    /// So many transactions the dying primary commits when nobody hears it any more; they must all be found in quarantine.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    divergent: u32,
}

/// Runs a drill.
pub(crate) fn run(drill: Drill) -> anyhow::Result<ExitCode> {
    runtime::log::start("drill");
    match drill {
        Drill::SiteLoss(args) => block_on(site_loss(args)),
        Drill::Switchover(args) => block_on(switchover(args)),
        Drill::BinlogPurged(args) => block_on(binlog_purged(args)),
        Drill::DbLoss(args) => faults::run("db-loss", &args),
        Drill::LinkCut(args) => faults::run("link-cut", &args),
        Drill::LinkOneWay(args) => faults::run("link-one-way", &args),
        Drill::StandbyLoss(args) => faults::run("standby-loss", &args),
        Drill::WitnessLoss(args) => faults::run("witness-loss", &args),
        Drill::RegisterLoss(args) => faults::run("register-loss", &args),
        Drill::ControllerLoss(args) => faults::run("controller-loss", &args),
        Drill::PausedPrimary(args) => faults::run("paused-primary", &args),
        Drill::DiskFull(args) => faults::run("disk-full", &args),
        Drill::Flap(args) => faults::run("flap", &args),
    }
}

pub(super) fn block_on(drill: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let executor = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = executor.block_on(Box::pin(drill));
    executor.shutdown_background();
    code
}

async fn site_loss(args: SiteLossArgs) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown_on_signal()?;
    let own = async || Stage::own(!args.no_gate, args.register, &talk).await;
    let stage = args.common.stage(own, &shutdown).await?;
    let config = SiteLoss {
        rounds: args.rounds,
        seed: args.common.seed,
        rate_per_s: args.common.rate.into(),
        link_rtt_ms: args.link_rtt_ms,
        gate: stage.gate(),
        divergent: args.divergent,
    };
    let mut rounds: Vec<Round> = Vec::new();
    let access = stage.access()?;
    let outcome = tokio::select! {
        outcome = Box::pin(site_loss::run(
            access,
            &config,
            |round| {
                print_round(round, args.common.json);
                rounds.push(round.clone());
            },
            &|what| eprintln!("{what}"),
        )) => outcome,
        () = shutdown.cancelled() => Err(Aborted::from("interrupted".to_owned())),
    };
    let summary = Summary::of(&rounds);
    let clean = outcome.is_ok() && summary.lost == 0 && summary.violations == 0;
    end(stage, clean).await;
    let aborted = outcome.as_ref().err().map(ToString::to_string);
    if let Some(path) = &args.report {
        std::fs::write(path, report::site_loss(&config, &rounds, aborted.as_deref()))?;
        eprintln!("the report is in {}", path.display());
    }
    print_summary(&summary, args.common.json);
    outcome?;
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn binlog_purged(args: BinlogPurgedArgs) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown_on_signal()?;
    let own = async || Stage::own(true, RegisterKind::File, &talk).await;
    let stage = args.common.stage(own, &shutdown).await?;
    let config = BinlogPurged { seed: args.common.seed, rate_per_s: args.common.rate };
    let access = stage.access()?;
    let outcome = tokio::select! {
        outcome = Box::pin(binlog_purged::run(access, &config, &|what| eprintln!("{what}"))) => outcome,
        () = shutdown.cancelled() => Err(Aborted::from("interrupted".to_owned())),
    };
    let clean = outcome.as_ref().is_ok_and(|round| round.lost == 0 && round.violations == 0);
    end(stage, clean).await;
    let round = outcome?;
    if args.common.json {
        print(&json!(round).to_string());
        print(&json!({ "summary": round.summary() }).to_string());
    } else {
        print(&format!(
            "{}: in sync again {} after the link's return, in life {} of its data after {}; {} of {} acknowledged bookings lost, {} violations",
            round.standby,
            round.resync_s.map_or("never".to_owned(), |s| format!("{s:.2} s")),
            round.incarnation_after,
            round.incarnation_before,
            round.lost,
            round.acknowledged,
            round.violations,
        ));
        for violation in &round.violation_list {
            print(&format!("  {violation}"));
        }
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn switchover(args: SwitchoverArgs) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown_on_signal()?;
    let own = async || Stage::own(true, RegisterKind::File, &talk).await;
    let stage = args.common.stage(own, &shutdown).await?;
    let (seed, rounds, link_rtt_ms) = (args.common.seed, args.rounds, args.link_rtt_ms);
    let config = Switchover { rounds, seed, rate_per_s: args.common.rate.into(), link_rtt_ms };
    let mut rounds: Vec<switchover::Round> = Vec::new();
    let access = stage.access()?;
    let tell = |round: &switchover::Round| {
        print_switchover(round, args.common.json);
        rounds.push(round.clone());
    };
    let outcome = tokio::select! {
        outcome = Box::pin(switchover::run(access, &config, tell, &|what| eprintln!("{what}"))) => outcome,
        () = shutdown.cancelled() => Err(Aborted::from("interrupted".to_owned())),
    };
    let summary = switchover::Summary::of(&rounds);
    let clean = outcome.is_ok() && summary.is_clean();
    end(stage, clean).await;
    if args.common.json {
        print(&json!({ "summary": summary }).to_string());
    } else {
        let ms = |ms: Option<f64>| ms.map_or("never".to_owned(), |ms| format!("{ms:.0} ms"));
        print(&format!(
            "{} of {} switchovers done; pause {} (p50), {} (p99); {} of {} requests ended in an error; {} of {} \
             acknowledged bookings lost, {} violations",
            summary.done,
            summary.rounds,
            ms(summary.pause_ms_p50),
            ms(summary.pause_ms_p99),
            summary.visitor_errors,
            summary.requests,
            summary.lost,
            summary.acknowledged,
            summary.violations,
        ));
    }
    outcome?;
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_switchover(round: &switchover::Round, as_json: bool) {
    if as_json {
        return print(&json!(round).to_string());
    }
    print(&format!(
        "round {}: {} → {}: {}; pause {}; {} errors in {} requests; {} acknowledged, {} lost, {} violations",
        round.round,
        round.from,
        round.to,
        round.outcome,
        round.pause_ms.map_or("none".to_owned(), |ms| format!("{ms:.0} ms")),
        round.visitor_errors,
        round.requests,
        round.acknowledged,
        round.lost,
        round.violations,
    ));
    for reason in &round.reasons {
        print(&format!("  {reason}"));
    }
    for violation in &round.violation_list {
        print(&format!("  {violation}"));
    }
}

fn print_round(round: &Round, as_json: bool) {
    if as_json {
        return print(&json!(round).to_string());
    }
    let seconds = |s: Option<f64>| s.map_or("never".to_owned(), |s| format!("{s:.2} s"));
    print(&format!(
        "round {}: {} killed ({}, {}); booking again after {}, by DNS after {}; {} acknowledged, {} lost, {} sold \
         twice; {} errors seen, {} unknown; in sync again after {} ({}, {} of {} divergent transactions in \
         quarantine); {} violations",
        round.round,
        round.killed,
        round.how,
        round.mode_at_kill,
        seconds(round.rto_s),
        seconds(round.rto_dns_s),
        round.acknowledged,
        round.lost,
        round.double_sold,
        round.visitor_errors,
        round.unknown_outcomes,
        seconds(round.resync_s),
        if round.reinstated { "reinstated" } else { "not reinstated" },
        round.quarantined_transactions,
        round.divergent_transactions,
        round.violations,
    ));
    for violation in &round.violation_list {
        print(&format!("  {violation}"));
    }
}

fn print_summary(summary: &Summary, as_json: bool) {
    if as_json {
        return print(&json!({ "summary": summary }).to_string());
    }
    let seconds = |s: Option<f64>| s.map_or("never".to_owned(), |s| format!("{s:.2} s"));
    print(&format!(
        "{} rounds: {} of {} acknowledged bookings lost, {} violations; booking again after {} (p50), {} (p99); by \
         DNS after {} (p50), {} (p99)",
        summary.rounds,
        summary.lost,
        summary.acknowledged,
        summary.violations,
        seconds(summary.rto_s_p50),
        seconds(summary.rto_s_p99),
        seconds(summary.rto_dns_s_p50),
        seconds(summary.rto_dns_s_p99),
    ));
}

/// Data go to stdout, a line at a time; a reader that has gone away is no reason to leave a lab half drilled.
pub(crate) fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(e) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        tracing::debug!("stdout: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drill_of_the_table_is_a_subcommand() {
        for row in lab::drill::table::TABLE {
            assert!(Drill::has_subcommand(row.name), "{}", row.name);
        }
    }
}
