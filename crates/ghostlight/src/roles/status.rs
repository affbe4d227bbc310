//! `ghostlight status`: what both sites say of themselves.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::topology;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// As one JSON document.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let loaded = topology::load(&or_the_labs(config))?;
    let token = topology::secret(&loaded, &loaded.value.secrets.admin_token)?;
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = executor.block_on(lab::status::gather(&loaded.value, &token));
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `config`, or the topology of the lab in this folder where there is no such file.
pub(super) fn or_the_labs(config: &Path) -> PathBuf {
    let labs = Path::new(".ghostlight/ghostlight.toml");
    if !config.exists() && labs.exists() { labs.to_owned() } else { config.to_owned() }
}
