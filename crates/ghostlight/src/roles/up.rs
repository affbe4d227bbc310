//! `ghostlight up`: both clouds on this machine, until Ctrl-C.

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use cloud::local::lab_number;
use lab::lab::LabOptions;
use runtime::process::shutdown_on_signal;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the lab keeps its files: data, secrets, logs. What is there is continued.
    #[arg(long, default_value = ".ghostlight")]
    folder: PathBuf,
    /// The port of the visitor's front door on localhost.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The round trip that the link between the sites adds, in milliseconds.
    #[arg(long, default_value_t = 0)]
    link_rtt_ms: u64,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // The lab's own troubles are told on stderr beside the progress; what its processes log is in their files.
    runtime::log::start("up");
    let mut options = LabOptions::new(arguments.folder);
    options.number = Some(lab_number::UP);
    options.front_door = Some(arguments.port);
    options.link_rtt_ms = arguments.link_rtt_ms;
    let executor = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = executor.block_on(async {
        let shutdown = shutdown_on_signal()?;
        let progress = |what: &str| eprintln!("up: {what}");
        let ready = |table: &str| {
            // Nobody reads it any more: that ends nothing.
            if let Err(e) = std::io::stdout().write_all(table.as_bytes()) {
                tracing::debug!("the table was not read: {e}");
            }
        };
        Box::pin(lab::up::run(options, &progress, ready, shutdown)).await.map_err(anyhow::Error::from)
    });
    executor.shutdown_timeout(Duration::from_secs(1));
    outcome.map(|()| ExitCode::SUCCESS)
}
