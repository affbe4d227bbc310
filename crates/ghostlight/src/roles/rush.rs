//! `ghostlight rush`: everybody comes for one hall at the same moment. Data on stdout, talk on stderr.
//!
//! Exit codes: 0 without violations; 1 with any, or when it could not be finished; 64 for bad usage.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use lab::{
    drill::{Aborted, stage::Stage},
    rush::{self, Report, Rush},
};
use model::topology::RegisterKind;
use runtime::process::shutdown_on_signal;
use serde_json::json;

use super::drill::{block_on, end, print, talk};

/// The options of `rush`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How many come.
    #[arg(long, value_name = "N", default_value_t = Rush::default().visitors, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    visitors: u32,
    /// Of a hundred of them so many are bots.
    #[arg(long, value_name = "N", default_value_t = Rush::default().bots_percent, value_parser = clap::value_parser!(u32).range(0..=90))]
    bots_percent: u32,
    /// For which performance. Default: the largest hall's first one that has no waiting room yet.
    #[arg(long, value_name = "ID")]
    performance: Option<u32>,
    /// Connections that they share.
    #[arg(long, value_name = "N", default_value_t = Rush::default().connections, value_parser = clap::value_parser!(u32).range(16..=60_000))]
    connections: u32,
    /// Kill the primary's site, every process of it, when a quarter of the seats is taken.
    #[arg(long)]
    kill_primary: bool,
    /// Whoever still waits so many seconds after the opening goes home.
    #[arg(long, value_name = "S", default_value_t = Rush::default().seconds, value_parser = clap::value_parser!(u64).range(1..=7_200))]
    seconds: u64,
    /// Every choice of the visitors follows from it.
    #[arg(long, default_value_t = Rush::default().seed)]
    seed: u64,
    /// Print the result as a JSON line, and a summary as the last line.
    #[arg(long)]
    json: bool,
    /// Use the lab that runs in this folder instead of one of its own.
    #[arg(long)]
    attach: bool,
    /// The folder of the lab to attach to.
    #[arg(long, default_value = ".ghostlight", requires = "attach")]
    folder: PathBuf,
}

/// Runs it.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    runtime::log::start("rush");
    block_on(rush(arguments))
}

async fn rush(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = Rush {
        visitors: arguments.visitors,
        bots_percent: arguments.bots_percent,
        performance: arguments.performance,
        connections: arguments.connections,
        kill_primary: arguments.kill_primary,
        seconds: arguments.seconds,
        seed: arguments.seed,
    };
    let shutdown = shutdown_on_signal()?;
    let open = async {
        match arguments.attach {
            true => Stage::attach(&arguments.folder),
            false => Stage::own(true, RegisterKind::File, &talk).await,
        }
    };
    let stage = tokio::select! {
        stage = Box::pin(open) => stage?,
        () = shutdown.cancelled() => anyhow::bail!("interrupted while the lab was starting; nothing is left running"),
    };
    let access = stage.access()?;
    let outcome = tokio::select! {
        outcome = Box::pin(rush::run(access, &config, &|what| eprintln!("{what}"))) => outcome,
        () = shutdown.cancelled() => Err(Aborted::from("interrupted".to_owned())),
    };
    let clean = outcome.as_ref().is_ok_and(Report::is_clean);
    end(stage, clean).await;
    let report = outcome?;
    if arguments.json {
        print(&json!(report).to_string());
        print(&json!({ "summary": report.summary() }).to_string());
    } else {
        print_report(&report);
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_report(report: &Report) {
    let ms = |ms: Option<f64>| ms.map_or("-".to_owned(), |ms| format!("{ms:.0} ms"));
    print(&format!(
        "{} visitors, {} of them bots: {} bookings ({} of them bots'), {} seats of {} sold in {:.0} s, at most {} bookings/s",
        report.visitors,
        report.bots,
        report.accepted,
        report.accepted_bots,
        report.seats_sold,
        report.capacity,
        report.sale_s,
        report.acknowledged_per_s_max,
    ));
    print(&format!("how their ways ended: {:?}; refused on the way: {:?}", report.ended, report.refused));
    print(&format!(
        "hold {} (p50), {} (p99); payment {}, {}; {} requests, at most {}/s, {} errors",
        ms(report.hold_ms_p50),
        ms(report.hold_ms_p99),
        ms(report.pay_ms_p50),
        ms(report.pay_ms_p99),
        report.requests,
        report.requests_per_s_max,
        report.visitor_errors,
    ));
    for (what, n) in &report.errors {
        print(&format!("  {n} × {what}"));
    }
    if let Some(killed) = &report.killed {
        let back = report.rto_dns_s.map_or("never".to_owned(), |s| format!("{s:.2} s"));
        print(&format!("{killed} was killed in the middle; booked again after {back}"));
    }
    print(&format!(
        "{} lost, {} sold twice, {} violations of {}",
        report.lost,
        report.double_sold,
        report.violations,
        report.checked.join(" ")
    ));
    for violation in &report.violation_list {
        print(&format!("  {violation}"));
    }
}
