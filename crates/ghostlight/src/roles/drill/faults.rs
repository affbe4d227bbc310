//! The drills that are one fault each: see `lab::drill::table`.

use std::process::ExitCode;

use lab::{
    disk,
    drill::{
        round::{self, Config, Round, Summary},
        stage::Stage,
        table::{self, Row},
    },
};
use model::topology::RegisterKind;
use runtime::process::shutdown_on_signal;
use serde_json::json;

use super::{FaultArgs, end, print, talk};

/// Runs the drill `name`.
pub(super) fn run(name: &str, args: &FaultArgs) -> anyhow::Result<ExitCode> {
    let row = table::row(name).ok_or_else(|| anyhow::anyhow!("there is no drill {name} in the table"))?;
    if row.needs_small_disk() {
        if args.common.attach {
            eprintln!("{name} plays in a lab of its own: the one that runs has no small disk");
            return Ok(ExitCode::from(runtime::EXIT_USAGE));
        }
        if let Err(why) = disk::possible_here().and_then(|()| disk::enter_namespace()) {
            eprintln!("{name} is not possible here: {why}");
            return Ok(ExitCode::from(runtime::EXIT_NOT_POSSIBLE));
        }
    }
    super::block_on(drill(row, args))
}

async fn drill(row: &'static Row, args: &FaultArgs) -> anyhow::Result<ExitCode> {
    let register = if row.needs_etcd() { RegisterKind::Etcd } else { args.register };
    let shutdown = shutdown_on_signal()?;
    let own = async || match row.needs_small_disk() {
        true => Stage::with_small_disks(&talk).await,
        false => Stage::own(true, register, &talk).await,
    };
    let stage = args.common.stage(own, &shutdown).await?;
    if row.needs_etcd() && stage.register() != RegisterKind::Etcd {
        eprintln!("{} needs a lab whose register is in etcd: `ghostlight up --register etcd`", row.name);
        return Ok(ExitCode::from(runtime::EXIT_USAGE));
    }
    let config = Config { rounds: args.rounds, seed: args.common.seed, rate_per_s: args.common.rate };
    let mut rounds: Vec<Round> = Vec::new();
    let access = stage.access()?;
    let outcome = Box::pin(round::run(
        access,
        row,
        &config,
        |round| {
            print_round(round, args.common.json);
            rounds.push(round.clone());
        },
        &|what| eprintln!("{what}"),
        &shutdown,
    ))
    .await;
    let summary = Summary::of(row.name, &rounds);
    let clean = outcome.is_ok() && summary.is_clean();
    end(stage, clean).await;
    print_summary(&summary, args.common.json);
    outcome?;
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_round(round: &Round, as_json: bool) {
    if as_json {
        return print(&json!(round).to_string());
    }
    let seconds = |s: Option<f64>| s.map_or("never".to_owned(), |s| format!("{s:.2} s"));
    print(&format!(
        "round {}: {}; {} ({} expected), named: {}; booking again after {}; {} acknowledged, {} lost, {} sold twice; \
         {} errors seen, {} unknown; in sync again after {} ({}); {} violations",
        round.round,
        round.fault,
        round.judged.verdict,
        round.expected,
        if round.judged.problems.is_empty() {
            "nothing".to_owned()
        } else {
            round.judged.problems.join(", ")
        },
        seconds(round.answered_s),
        round.acknowledged,
        round.lost,
        round.double_sold,
        round.visitor_errors,
        round.unknown_outcomes,
        seconds(round.resync_s),
        round.came_back.unwrap_or("not back"),
        round.violations,
    ));
    for reason in &round.judged.reasons {
        print(&format!("  because: {reason}"));
    }
    for violation in &round.violation_list {
        print(&format!("  {violation}"));
    }
}

fn print_summary(summary: &Summary, as_json: bool) {
    if as_json {
        return print(&json!({ "summary": summary }).to_string());
    }
    let seconds = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{s:.2} s"));
    print(&format!(
        "{} rounds, {} failovers, {} holds: {} of {} acknowledged bookings lost, {} violations; booking again after a \
         failover after {} (p50), {} (p99)",
        summary.rounds,
        summary.failovers,
        summary.holds,
        summary.lost,
        summary.acknowledged,
        summary.violations,
        seconds(summary.rto_s_p50),
        seconds(summary.rto_s_p99),
    ));
}
