//! The long-running roles, one file each: read the topology, listen, announce, run, drain.

use std::{future::Future, process::ExitCode, time::Duration};

use runtime::process::{Shutdown, shutdown_on_signal};

pub(crate) mod agent;
pub(crate) mod bench;
pub(crate) mod controller;
pub(crate) mod dns;
pub(crate) mod drill;
pub(crate) mod failover;
pub(crate) mod gateway;
pub(crate) mod journal;
pub(crate) mod orders;
pub(crate) mod quarantine;
pub(crate) mod reinstate;
pub(crate) mod rush;
pub(crate) mod status;
pub(crate) mod switchover;
pub(crate) mod up;
pub(crate) mod verify;

/// How long a role may take to end after it was asked to.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Runs a role to its end: logging, an executor, and a token that the first SIGTERM or SIGINT cancels. What has not
/// drained [`DRAIN_MAX`] after that is dropped.
fn serve<F>(role: &'static str, run: impl FnOnce(Shutdown) -> F) -> anyhow::Result<ExitCode>
where
    F: Future<Output = anyhow::Result<()>>,
{
    runtime::log::start(role);
    let executor = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = executor.block_on(async {
        let shutdown = shutdown_on_signal()?;
        let deadline = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN_MAX).await; // the time allowed for draining
        };
        tokio::select! {
            result = Box::pin(run(shutdown.clone())) => result,
            () = deadline => {
                tracing::warn!(role, "not drained {DRAIN_MAX:?} after the signal; ending all the same");
                Ok(())
            }
        }
    });
    executor.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}
