//! The orderly end of a process.

use rustix::process::{Signal, set_parent_process_death_signal};
pub use tokio_util::sync::CancellationToken as Shutdown;

/// A token that is cancelled at the first SIGTERM or SIGINT.
///
/// Every `run(…, shutdown)` takes one; cancelling it is the only way in which a process is asked to end.
pub fn shutdown_on_signal() -> std::io::Result<Shutdown> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = Shutdown::new();
    let told = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        told.cancel();
    });
    Ok(shutdown)
}

/// Asks the kernel to kill this process when its parent ends, however the parent ends.
///
/// The lab's children call it first, so that no killed lab leaves a process behind.
pub fn die_with_parent() -> std::io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}
