//! The orderly end of a process, and children that end with it.

use std::sync::{LazyLock, mpsc};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
};
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

/// Lets this process open as many files as it may at all.
pub fn raise_file_limit() -> std::io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

type Order = (Handle, Command, oneshot::Sender<std::io::Result<Child>>);

/// The one thread that starts children. It lives as long as the process does.
static SPAWNER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
    let (send, receive) = mpsc::channel::<Order>();
    std::thread::spawn(move || {
        for (runtime, mut command, answer) in receive {
            let _inside = runtime.enter();
            // Nobody waits for the child any more: dropping it ends it, if the command says so.
            if let Err(unwanted) = answer.send(command.spawn()) {
                drop(unwanted);
            }
        }
    });
    send
});

/// Starts `command` from a thread that never ends.
///
/// The kernel's "die with the parent" means the parent *thread*: a child started from a pool's thread, or from a
/// test's, would be killed as soon as that thread is retired.
pub async fn spawn(command: Command) -> std::io::Result<Child> {
    let (answer, started) = oneshot::channel();
    let gone = || std::io::Error::other("the thread that starts children has ended");
    SPAWNER.send((Handle::current(), command, answer)).map_err(|_| gone())?;
    started.await.map_err(|_| gone())?
}
