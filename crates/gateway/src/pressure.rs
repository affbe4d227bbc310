//! Load shedding: turning visitors away while there is still room to do it kindly.
//!
//! Two things run out without a word: file descriptors, of which each connection needs one, and memory. So connections are
//! counted, and memory is looked at a few times a second. Beyond the limit a new connection is still accepted and heard,
//! and told `503`, `Retry-After`; that costs something too, so further beyond it is closed unheard. Closing is the last
//! resort: what waits in the kernel's queue keeps a visitor in the dark for longer.
//!
//! Always true here: a connection that is served never makes the process run out of file descriptors; those that are open
//! already are served on, whoever comes.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use model::topology::edge::Limits;
use runtime::process::Shutdown;
use rustix::process::{Resource, getrlimit};

use crate::metrics::GatewayMetrics;

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Files that are no connections: logs, spilled answers, listeners, the admin API.
const OTHER_FILES: u64 = 256;
/// Of the connections that may be open, so many are kept for those who are turned away: one in sixteen.
const MARGIN: u64 = 16;

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is served.
    Serve,
    /// It is told to come again.
    TurnAway,
    /// It is closed.
    HangUp,
}

/// How many connections there may be, and whether memory is short.
#[derive(Debug)]
pub(crate) struct Pressure {
    serve_max: u64,
    open_max: u64,
    memory_bytes_max: u64,
    memory_is_short: AtomicBool,
}

impl Pressure {
    pub(crate) fn new(limits: &Limits) -> Arc<Pressure> {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let memory = if limits.memory_bytes_max > 0 { limits.memory_bytes_max } else { memory() / 4 * 3 };
        let pressure = Pressure::of(files, limits.connections_max, memory);
        tracing::info!(
            connections_max = pressure.serve_max,
            memory_mib_max = pressure.memory_bytes_max >> 20,
            "visitors beyond this are turned away"
        );
        Arc::new(pressure)
    }

    fn of(files: u64, connections_max: usize, memory_bytes_max: u64) -> Pressure {
        let open_max = files.saturating_sub(OTHER_FILES.min(files / 4));
        let wanted = u64::try_from(connections_max).ok().filter(|n| *n > 0).unwrap_or(u64::MAX);
        let serve_max = (open_max - open_max / MARGIN).min(wanted);
        // Whoever wishes for few still has the margin above them.
        let open_max = open_max.min(serve_max.saturating_add(serve_max / MARGIN + MARGIN));
        Pressure { serve_max, open_max, memory_bytes_max, memory_is_short: AtomicBool::new(false) }
    }

    /// Decides on a new connection, with so many open, itself included.
    pub(crate) fn admit(&self, open: u64) -> Admission {
        match open {
            _ if open > self.open_max => Admission::HangUp,
            _ if open > self.serve_max => Admission::TurnAway,
            _ => Admission::Serve,
        }
    }

    /// Whether requests are to be turned away, on whatever connection.
    pub(crate) fn is_high(&self) -> bool {
        self.memory_is_short.load(Relaxed)
    }

    /// Looks at the memory until `shutdown`.
    pub(crate) async fn watch(self: Arc<Self>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = shutdown.cancelled() => return,
            }
            let Some(used) = resident() else { continue };
            let is_short = used > self.memory_bytes_max;
            if self.memory_is_short.swap(is_short, Relaxed) != is_short {
                let (used_mib, max_mib) = (used >> 20, self.memory_bytes_max >> 20);
                if is_short {
                    tracing::warn!(used_mib, max_mib, "memory is short: visitors are turned away");
                } else {
                    tracing::info!(used_mib, max_mib, "there is memory again");
                }
            }
        }
    }
}

/// Connections that are open now, visitors' and ours.
pub(crate) fn open(metrics: &GatewayMetrics) -> u64 {
    let both = metrics.connections.get().saturating_add(metrics.upstream_connections.get());
    u64::try_from(both).unwrap_or(0)
}

/// Bytes of this process that are in memory.
fn resident() -> Option<u64> {
    let pages: u64 = fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

/// Bytes of memory that there are: the machine's, or what its container may have.
fn memory() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some(kib << 10)
    });
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let container = container.and_then(|text| text.trim().parse::<u64>().ok());
    // Where neither can be read nothing is known, and nobody is turned away for it.
    machine.into_iter().chain(container).min().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_they_are_served_then_turned_away_then_hung_up_on() {
        let check =
            |pressure: &Pressure, open, want| assert_eq!(pressure.admit(open), want, "{open} {pressure:?}");
        let all = Pressure::of(20_000, 0, 0);
        check(&all, 18_000, Admission::Serve);
        check(&all, 19_000, Admission::TurnAway);
        check(&all, 19_900, Admission::HangUp);
        let few = Pressure::of(20_000, 10, 0);
        check(&few, 10, Admission::Serve);
        check(&few, 11, Admission::TurnAway);
        check(&few, 40, Admission::HangUp);
        let tiny = Pressure::of(64, 0, 0);
        check(&tiny, 40, Admission::Serve);
        check(&tiny, 60, Admission::HangUp);
    }

    #[test]
    fn this_process_uses_memory_and_there_is_more() {
        let used = resident().unwrap();
        assert!(used > 1 << 20 && used < memory(), "{used} of {}", memory());
    }
}
