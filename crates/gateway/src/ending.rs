//! How a gateway ends: because it is told to, or because the next process has its listeners.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use runtime::process::Shutdown;

/// Told to end, requests under way are finished within this time: whoever told waits for it.
const DRAIN: Duration = Duration::from_millis(4_500);
/// Passed on, nobody waits: downloads and streams may go on for so long.
const DRAIN_PASSED_ON: Duration = Duration::from_secs(60);
/// Passed on, a connection that is open is answered on it for so long and told to close (`Connection: close`); only then
/// are those that ask nothing closed. To close one at once would fail the request that is on its way.
const LINGER: Duration = Duration::from_secs(2);

/// Told once, and known to all threads and connections.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    asked: Shutdown,
    passed_on: Arc<AtomicBool>,
}

impl Ending {
    /// Ends with `shutdown` at the latest.
    pub(crate) fn with(shutdown: &Shutdown) -> Ending {
        Ending { asked: shutdown.child_token(), passed_on: Arc::default() }
    }

    /// The next process accepts from now on.
    pub(crate) fn pass_on(&self) {
        self.passed_on.store(true, SeqCst);
        self.asked.cancel();
    }

    /// Ends when nothing new is to be begun.
    pub(crate) fn asked(&self) -> &Shutdown {
        &self.asked
    }

    pub(crate) fn is_passed_on(&self) -> bool {
        self.passed_on.load(SeqCst)
    }

    /// How long what is under way may take.
    pub(crate) fn drain(&self) -> Duration {
        if self.is_passed_on() { DRAIN_PASSED_ON } else { DRAIN }
    }

    /// Waits until a connection on which nothing is asked may be closed.
    pub(crate) async fn may_close(&self) {
        self.asked.cancelled().await;
        if self.is_passed_on() {
            tokio::time::sleep(LINGER).await; // for requests that are on their way
        }
    }
}
