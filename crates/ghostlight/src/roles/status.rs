//! `ghostlight status`: what both sites say of themselves.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use model::{agent::FenceResult, observation::View};

use super::orders::any_controller;
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
        // What the controllers know of it is told where one answers; the report itself does not rest on it.
        let view = executor.block_on(any_controller::<View>(&loaded, &token, "/v1/view"));
        if let Ok((_, view)) = view {
            print!("{}", of_the_controllers(&view));
        }
    }
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What stands in the way of automatic acts, and what became of the last fences.
fn of_the_controllers(view: &View) -> String {
    let mut text = String::new();
    for problem in &view.verdict.problems {
        text.push_str(&format!("problem: {}\n", decide::scenario::name(*problem)));
    }
    for report in &view.fencing {
        for driver in &report.drivers {
            let result = match driver.result {
                FenceResult::Done => "done",
                FenceResult::NotDone => "not done",
                FenceResult::NotPossible => "not possible",
            };
            let why = driver.why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
            let means = format!("{:?}", driver.driver);
            text.push_str(&format!(
                "fence of {} for epoch {}: {means}: {result}{why}\n",
                report.site, report.epoch
            ));
        }
    }
    text
}

/// `config`, or the topology of the lab in this folder where there is no such file.
pub(crate) fn or_the_labs(config: &Path) -> PathBuf {
    let labs = Path::new(".ghostlight/ghostlight.toml");
    if !config.exists() && labs.exists() { labs.to_owned() } else { config.to_owned() }
}
