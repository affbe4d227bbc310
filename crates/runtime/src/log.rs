//! Logs: one line an event, on stderr. Data goes to stdout and is never mixed with them.

use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging for this process. `RUST_LOG` chooses the level; `info` without it.
///
/// A second call in one process does nothing, so that tests may call it freely.
pub fn start(role: &'static str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let started =
        fmt().with_env_filter(filter).with_target(true).with_writer(std::io::stderr).with_ansi(false);
    if started.try_init().is_ok() {
        tracing::debug!(role, "logging started");
    }
}
