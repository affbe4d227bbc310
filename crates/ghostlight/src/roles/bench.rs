//! `ghostlight bench`: how much it takes. Data on stdout, talk on stderr.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use lab::bench::booking::{self, Booking, Line};
use runtime::process::shutdown_on_signal;
use serde_json::json;

use super::drill::print;

/// The benches.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Acknowledged bookings a second with and without the commit gate, beside one bare database.
    Booking(BookingArgs),
}

/// The options of `bench booking`.
#[derive(Args)]
pub(crate) struct BookingArgs {
    /// Print a JSON line a workload, and a summary as the last line.
    #[arg(long)]
    json: bool,
    /// Visitors at a time.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    visitors: u32,
}

/// Runs a bench.
pub(crate) fn run(bench: Bench) -> anyhow::Result<ExitCode> {
    runtime::log::start("bench");
    let executor = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let Bench::Booking(args) = bench;
    let result = executor.block_on(async {
        let shutdown = shutdown_on_signal()?;
        let config = Booking { visitors: args.visitors, ..Booking::default() };
        tokio::select! {
            result = Box::pin(booking::run(config, |line| print_line(line, args.json), &|what| eprintln!("{what}"))) => {
                Ok::<_, anyhow::Error>(result?)
            }
            () = shutdown.cancelled() => anyhow::bail!("interrupted"),
        }
    });
    executor.shutdown_background();
    let summary = result?;
    if args.json {
        print(&json!({ "summary": summary }).to_string());
    } else {
        print(&format!(
            "with the gate {} bookings/s, {:.2} of what one bare database takes",
            summary.acknowledged_per_s, summary.ratio_to_database
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn print_line(line: &Line, as_json: bool) {
    if as_json {
        return print(&json!(line).to_string());
    }
    let name = match line.gate {
        Some(true) => "service, gate on",
        Some(false) => "service, gate off",
        None => "bare database",
    };
    let ms = |ms: Option<f64>| ms.map_or("–".to_owned(), |ms| format!("{ms:.1} ms"));
    print(&format!(
        "{name:<18} {:>8.1} bookings/s, p50 {}, p99 {}, {} at a time, {} errors",
        line.acknowledged_per_s,
        ms(line.p50_ms),
        ms(line.p99_ms),
        line.concurrency,
        line.errors
    ));
}
