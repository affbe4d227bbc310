//! `ghostlight bench`: how much it takes. Data on stdout, talk on stderr.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use lab::bench::{
    apply::{
        self, Apply, Told, Workload,
        backlog::{self, Backlog},
        latency::{self, Latency},
    },
    booking::{self, Booking, Line},
    gateway::{self, Edge},
    waf,
};
use runtime::process::{Shutdown, shutdown_on_signal};
use serde_json::json;

use super::drill::print;

/// The benches.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// One binary log, applied by us and by MariaDB's own replication, at equal durability.
    Apply(ApplyArgs),
    /// What `bench apply --backlog-rows` starts: follow as standard input says.
    #[command(hide = true)]
    Follow,
    /// Acknowledged bookings a second with and without the commit gate, beside one bare database.
    Booking(BookingArgs),
    /// Requests a second, and what one costs in CPU: our gateway beside nginx and HAProxy.
    Gateway(GatewayArgs),
    /// What inspecting a request costs in CPU: our web ACL beside ModSecurity with CRS.
    Waf(WafArgs),
}

/// The options of `bench waf`.
#[derive(Args)]
pub(crate) struct WafArgs {
    /// Print a JSON line a workload, and a summary as the last line.
    #[arg(long)]
    json: bool,
    /// Rounds of each load; each figure is the median of them.
    #[arg(long, value_name = "N", default_value_t = Edge::default().rounds, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each round.
    #[arg(long, value_name = "S", default_value_t = Edge::default().measure.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

/// The options of `bench gateway`.
#[derive(Args)]
pub(crate) struct GatewayArgs {
    /// Print a JSON line a workload, and a summary as the last line.
    #[arg(long)]
    json: bool,
    /// Only this load; may be given several times. http1_small, http1_64k, http2_small, http2_64k.
    #[arg(long, value_name = "NAME", value_parser = edge_workload)]
    workload: Vec<gateway::Workload>,
    /// Rounds of each load; each figure is the median of them.
    #[arg(long, value_name = "N", default_value_t = Edge::default().rounds, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each round.
    #[arg(long, value_name = "S", default_value_t = Edge::default().measure.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Connections at once.
    #[arg(long, value_name = "N", default_value_t = Edge::default().connections, value_parser = clap::value_parser!(u32).range(2..))]
    connections: u32,
    /// Measure instead how much memory so many idle connections take of our gateway.
    #[arg(long, value_name = "N", conflicts_with_all = ["workload", "slow_loris", "disturb"], value_parser = clap::value_parser!(u32).range(1..))]
    idle: Option<u32>,
    /// Measure instead what others notice of so many visitors who never finish their requests.
    #[arg(long, value_name = "N", conflicts_with_all = ["workload", "disturb"], value_parser = clap::value_parser!(u32).range(1..))]
    slow_loris: Option<u32>,
    /// Count instead the requests that fail while the configuration is read again, the binary is upgraded, and the
    /// application's instances are restarted.
    #[arg(long, conflicts_with = "workload")]
    disturb: bool,
}

/// The options of `bench apply`.
#[derive(Args)]
pub(crate) struct ApplyArgs {
    /// Print JSON lines: the settings, two a workload, and a summary as the last line.
    #[arg(long)]
    json: bool,
    /// Only this load; may be given several times. oltp_write_only, oltp_insert, hot_rows, ticketing_rush.
    #[arg(long, value_name = "NAME", value_parser = workload)]
    workload: Vec<Workload>,
    /// Transactions of each load.
    #[arg(long, value_name = "N", default_value_t = Apply::default().transactions, value_parser = clap::value_parser!(u64).range(1..))]
    transactions: u64,
    /// Every row of the load follows from it.
    #[arg(long, default_value_t = Apply::default().seed)]
    seed: u64,
    /// Measure instead how soon a commit is on the standby, at half of what the source can take: on the loopback link
    /// and with a round trip of 30 ms.
    #[arg(long, conflicts_with_all = ["workload", "transactions", "backlog_rows"])]
    latency: bool,
    /// Measure instead how a standby catches up with so many rows, and how much memory that takes.
    #[arg(long, value_name = "N", conflicts_with_all = ["workload", "transactions"], value_parser = clap::value_parser!(u64).range(1..))]
    backlog_rows: Option<u64>,
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

fn workload(name: &str) -> Result<Workload, String> {
    Workload::named(name).ok_or_else(|| format!("there are {}", Workload::ALL.map(Workload::name).join(", ")))
}

fn edge_workload(name: &str) -> Result<gateway::Workload, String> {
    let all = gateway::Workload::ALL.map(gateway::Workload::name).join(", ");
    gateway::Workload::named(name).ok_or_else(|| format!("there are {all}"))
}

/// Runs a bench.
pub(crate) fn run(bench: Bench) -> anyhow::Result<ExitCode> {
    runtime::log::start("bench");
    let executor = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = executor.block_on(async {
        let shutdown = shutdown_on_signal()?;
        match bench {
            Bench::Apply(args) if args.latency => Box::pin(run_latency(args, shutdown)).await,
            Bench::Apply(ApplyArgs { backlog_rows: Some(rows), json, seed, .. }) => {
                Box::pin(run_backlog(Backlog { rows, seed }, json, shutdown)).await
            }
            Bench::Apply(args) => Box::pin(run_apply(args, shutdown)).await,
            Bench::Follow => Box::pin(follow(shutdown)).await,
            Bench::Booking(args) => Box::pin(run_booking(args, shutdown)).await,
            Bench::Gateway(args) => Box::pin(run_gateway(args, shutdown)).await,
            Bench::Waf(args) => Box::pin(run_waf(args, shutdown)).await,
        }
    });
    executor.shutdown_background();
    result?;
    Ok(ExitCode::SUCCESS)
}

async fn run_booking(args: BookingArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let config = Booking { visitors: args.visitors, ..Booking::default() };
    let summary = tokio::select! {
        result = Box::pin(booking::run(config, |line| print_line(line, args.json), &talk)) => result?,
        () = shutdown.cancelled() => anyhow::bail!("interrupted"),
    };
    if args.json {
        print(&json!({ "summary": summary }).to_string());
    } else {
        print(&format!(
            "with the gate {} bookings/s, {:.2} of what one bare database takes",
            summary.acknowledged_per_s, summary.ratio_to_database
        ));
    }
    Ok(())
}

async fn run_gateway(args: GatewayArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let config = Edge {
        measure: std::time::Duration::from_secs(args.seconds),
        rounds: args.rounds,
        connections: args.connections,
        workloads: args.workload,
    };
    let ours = std::env::current_exe()?;
    let measured = async {
        Ok::<_, anyhow::Error>(if let Some(connections) = args.idle {
            print_measured(&gateway::idle(connections, ours.clone(), &talk).await?, args.json);
            true
        } else if let Some(connections) = args.slow_loris {
            let measured = gateway::slow_loris(connections, config.clone(), ours.clone(), &talk).await?;
            print_measured(&measured, args.json);
            true
        } else if args.disturb {
            let tell = |event: &gateway::Disturbed| print_measured(event, args.json);
            gateway::disturbed(config.clone(), ours.clone(), tell, &talk).await?;
            true
        } else {
            false
        })
    };
    let is_done = tokio::select! {
        result = Box::pin(measured) => result?,
        () = shutdown.cancelled() => anyhow::bail!("interrupted"),
    };
    if is_done {
        return Ok(());
    }
    let tell = |line: &gateway::Line| print_gateway(line, args.json);
    let summary = tokio::select! {
        result = Box::pin(gateway::run(config, ours, tell, &talk)) => result?,
        () = shutdown.cancelled() => anyhow::bail!("interrupted"),
    };
    if args.json {
        print(&json!({ "summary": summary }).to_string());
    } else if let Some(ratio) = summary.ratio_to_best_peer_min {
        print(&format!("at least {ratio:.2} times the requests of the better peer, for the same CPU time"));
    }
    Ok(())
}

/// A line as JSON, or its figures by their names.
fn print_measured(line: &impl serde::Serialize, as_json: bool) {
    let value = json!(line);
    let figures = value.as_object().into_iter().flatten();
    let words: Vec<String> = figures.map(|(name, figure)| format!("{name} {figure}")).collect();
    print(&if as_json { value.to_string() } else { words.join("  ") });
}

async fn run_waf(args: WafArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let measure = std::time::Duration::from_secs(args.seconds);
    let config = Edge { measure, rounds: args.rounds, ..Edge::default() };
    let ours = std::env::current_exe()?;
    let tell = |line: &waf::Line| print_waf(line, args.json);
    let summary = tokio::select! {
        result = Box::pin(waf::run(config, ours, tell, &talk)) => result?,
        () = shutdown.cancelled() => anyhow::bail!("interrupted"),
    };
    if args.json {
        print(&json!({ "summary": summary }).to_string());
    }
    Ok(())
}

fn print_waf(line: &waf::Line, as_json: bool) {
    if as_json {
        return match serde_json::to_string(line) {
            Ok(text) => print(&text),
            Err(e) => tracing::error!("a line cannot be written: {e}"),
        };
    }
    let ratio = line.ratio_to_modsecurity.map_or("–".to_owned(), |ratio| format!("{ratio:.1}"));
    print(&format!(
        "{:<10} ours adds {:.4} ms CPU to a request, ModSecurity with CRS {:.4} ms: {ratio} times as much",
        line.workload, line.cpu_ms_added, line.modsecurity_cpu_ms_added
    ));
}

fn print_gateway(line: &gateway::Line, as_json: bool) {
    if as_json {
        return match serde_json::to_string(line) {
            Ok(text) => print(&text),
            Err(e) => tracing::error!("a line cannot be written: {e}"),
        };
    }
    let row = |name: &str, rps: f64, cpu_ms: f64, p99_ms: f64| {
        format!("  {name:<8} {rps:>8.0} requests/s  {cpu_ms:>7.4} ms CPU each  p99 {p99_ms:>6.2} ms")
    };
    let rows = [
        format!("{} over {} connections: {:.2}", line.workload, line.connections, line.ratio_to_best_peer),
        row("ours", line.ours_rps, line.ours_cpu_ms, line.ours_p99_ms),
        row("nginx", line.nginx_rps, line.nginx_cpu_ms, line.nginx_p99_ms),
        row("haproxy", line.haproxy_rps, line.haproxy_cpu_ms, line.haproxy_p99_ms),
    ];
    print(&rows.join("\n"));
}

async fn run_apply(args: ApplyArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut config = Apply { transactions: args.transactions, seed: args.seed, ..Apply::default() };
    if !args.workload.is_empty() {
        config.workloads = args.workload;
    }
    let summary = tokio::select! {
        result = Box::pin(apply::run(config, |told| print_told(&told, args.json), &talk)) => result?,
        () = shutdown.cancelled() => anyhow::bail!("interrupted"),
    };
    if args.json {
        print(&json!({ "summary": summary }).to_string());
    } else if let Some(ratio) = summary.ratio_to_best_native_min {
        print(&format!(
            "at least {ratio:.1} times the best of MariaDB's own; all databases equal at the end"
        ));
    }
    Ok(())
}

async fn run_latency(args: ApplyArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let config = Latency { seed: args.seed, ..Latency::default() };
    let summary = tokio::select! {
        result = Box::pin(latency::run(config, |line| print_latency(line, args.json), &talk)) => result?,
        () = shutdown.cancelled() => anyhow::bail!("interrupted"),
    };
    if args.json {
        print(&json!({ "summary": summary }).to_string());
    }
    Ok(())
}

async fn run_backlog(config: Backlog, as_json: bool, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut follower = tokio::process::Command::new(std::env::current_exe()?);
    follower.args(["--die-with-parent", "bench", "follow"]);
    let line = tokio::select! {
        result = Box::pin(backlog::run(config, follower, &talk)) => result?,
        () = shutdown.cancelled() => anyhow::bail!("interrupted"),
    };
    if as_json {
        print(&serde_json::to_string(&line)?);
    } else {
        print(&format!(
            "{} rows applied at {:.0} rows/s; at most {} MiB in the process that follows, {} MiB in the one that ships",
            line.backlog_rows, line.rows_per_s, line.follower_rss_mib_max, line.shipper_rss_mib_max
        ));
    }
    Ok(())
}

async fn follow(shutdown: Shutdown) -> anyhow::Result<()> {
    let mut orders = String::new();
    std::io::stdin().read_line(&mut orders)?; // nothing else is to be done before it
    Ok(Box::pin(backlog::follow(&orders, shutdown)).await?)
}

fn print_latency(line: &latency::Line, as_json: bool) {
    if as_json {
        return match serde_json::to_string(line) {
            Ok(text) => print(&text),
            Err(e) => tracing::error!("a line cannot be written: {e}"),
        };
    }
    let ms = |ms: Option<f64>| ms.map_or("–".to_owned(), |ms| format!("{ms:.2} ms"));
    print(&format!(
        "round trip {:>3} ms: on the standby {} (p50), {} (p99) after the commit, at {:.0} of at most {:.0} transactions/s",
        line.link_rtt_ms,
        ms(line.commit_to_watermark_ms_p50),
        ms(line.commit_to_watermark_ms_p99),
        line.committed_tps,
        line.saturation_tps
    ));
}

fn talk(what: &str) {
    eprintln!("{what}");
}

fn print_told(told: &Told<'_>, as_json: bool) {
    match told {
        Told::Settings(settings) if as_json => print(&json!({ "settings": settings }).to_string()),
        Told::Details(details) if as_json => print(&json!({ "details": details }).to_string()),
        // Written as it is, so that the keys stand in their order.
        Told::Line(line) if as_json => match serde_json::to_string(line) {
            Ok(text) => print(&text),
            Err(e) => tracing::error!("a line cannot be written: {e}"),
        },
        Told::Settings(_) => print(&format!(
            "{:<16} {:>9} {:>9} {:>9} {:>9} {:>7}   transactions/s; the ratio is to the best native",
            "workload", "ours", "serial", "8", "16", "ratio"
        )),
        Told::Details(_) => {}
        Told::Line(line) => print(&format!(
            "{:<16} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>7.2}",
            line.workload,
            line.ours_tps,
            line.native_serial_tps,
            line.native_8_tps,
            line.native_16_tps,
            line.ratio_to_best_native
        )),
    }
}

fn print_line(line: &Line, as_json: bool) {
    if as_json {
        return print(&json!(line).to_string());
    }
    let name = match (line.workload, line.gate) {
        ("booking", Some(false)) => "bookings, gate off",
        ("booking", _) => "bookings, gate on",
        ("booking_half_load", _) => "bookings, half load",
        ("seat_map", _) => "seat maps",
        _ => "bookings, bare database",
    };
    let ms = |ms: Option<f64>| ms.map_or("–".to_owned(), |ms| format!("{ms:.1} ms"));
    print(&format!(
        "{name:<24} {:>8.1}/s, p50 {}, p99 {}, {} at a time, {} errors",
        line.acknowledged_per_s,
        ms(line.p50_ms),
        ms(line.p99_ms),
        line.concurrency,
        line.errors
    ));
    let of_all = line.busy_percent.map_or(String::new(), |busy| format!(", {busy:.0} % of all cores"));
    for (process, ms) in line.cpu_ms.iter().flatten() {
        print(&format!("  {process}: {ms:.3} ms of CPU a booking{of_all}"));
    }
}
