//! Ghostlight keeps a MySQL-backed web service alive on two clouds.
//!
//! One subcommand per role. This crate joins what the other crates bring and holds no logic of its own.

mod topology;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Keeps a MySQL-backed web service alive on two clouds.
#[derive(Parser)]
#[command(name = "ghostlight", version)]
struct Cli {
    /// The topology file.
    #[arg(long, global = true, default_value = "ghostlight.toml", env = "GHOSTLIGHT_CONFIG")]
    config: PathBuf,
    /// End when the parent process ends, however it ends.
    #[arg(long, global = true, hide = true)]
    die_with_parent: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the topology file.
    Check,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let code = if e.use_stderr() { runtime::EXIT_USAGE } else { 0 };
            return match e.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::FAILURE,
            };
        }
    };
    match run(cli) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("ghostlight: {e:#}");
            // A mistake in the configuration is the operator's to mend: EX_USAGE.
            let usage = e.downcast_ref::<topology::Refused>().is_some();
            ExitCode::from(if usage { runtime::EXIT_USAGE } else { 1 })
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if cli.die_with_parent {
        runtime::process::die_with_parent()?;
    }
    match cli.command {
        Command::Check => {
            topology::load(&cli.config)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
