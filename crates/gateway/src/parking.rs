//! Drives the process's one [`Park`]: requests of every thread ask here before they are forwarded.
//!
//! It is the one thing that threads share while a request is served: two short looks at a lock a request.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::{
    Serving,
    gateway::{ParkReply, ParkRequest},
};
use runtime::{clock::Boot, process::Shutdown};
use tokio::sync::watch;

use crate::{
    metrics::GatewayMetrics,
    park::{Entry, Flight, Park},
    refusal::{NotSent, Refusal},
};

/// The process's parking.
pub(crate) struct Parking {
    core: Mutex<Park>,
    /// Counted up with everything that may let a request, or whoever waits for the drain, go on.
    changed: watch::Sender<u64>,
    metrics: Arc<GatewayMetrics>,
}

/// A request that may be forwarded; it counts as under way until this is dropped.
pub(crate) struct Passage {
    parking: Arc<Parking>,
    flight: Flight,
    /// What the agent said up to this number must be known where it is forwarded.
    pub(crate) heard: u64,
}

impl Parking {
    pub(crate) fn new(metrics: Arc<GatewayMetrics>) -> Arc<Parking> {
        Arc::new(Parking { core: Mutex::new(Park::new()), changed: watch::Sender::new(0), metrics })
    }

    fn core(&self) -> MutexGuard<'_, Park> {
        // The core's counts are changed one at a time: whoever died in between left nothing half done.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// Waits while requests are parked.
    pub(crate) async fn enter(self: &Arc<Self>, forwarded: bool) -> Result<Passage, Refusal> {
        let mut waiting: Option<Waiting<'_>> = None;
        let mut changed = None;
        loop {
            let waited_until_ms = waiting.as_ref().map(|w| w.until_ms);
            let entry = self.core().enter(Boot::now().as_ms(), forwarded, waited_until_ms);
            match entry {
                Entry::Pass { heard } => {
                    let parking = self.clone();
                    return Ok(Passage { parking, flight: Flight::Unanswered, heard });
                }
                Entry::Refuse => return Err(Refusal::NotSent(NotSent::Parked)),
                Entry::Wait { until_ms } => {
                    let Some(news) = &mut changed else {
                        // Listen first, then look once more: what changes in between must not be missed.
                        changed = Some(self.changed.subscribe());
                        waiting = Some(Waiting::begin(self, until_ms));
                        continue;
                    };
                    let left = Duration::from_millis(until_ms.saturating_sub(Boot::now().as_ms()));
                    // Its end, a change and the deadline all lead to the next look.
                    drop(tokio::time::timeout(left, news.changed()).await);
                }
            }
        }
    }

    /// The agent says something new.
    pub(crate) fn hear(&self, number: u64, serving: Serving) {
        let over = self.core().hear(Boot::now().as_ms(), number, serving);
        if over {
            tracing::info!("a new epoch serves: parked requests go on");
        }
        self.tell();
    }

    /// Parks, and waits until nothing is under way.
    pub(crate) async fn order(&self, request: ParkRequest) -> ParkReply {
        let began = Boot::now();
        let limit = Duration::from_millis(request.drain_ms_max);
        let intent = request.intent;
        if let Err(why) = self.core().order(began.as_ms(), request) {
            return ParkReply::Refused { why };
        }
        let mut changed = self.changed.subscribe();
        self.tell();
        loop {
            let (unanswered, streaming) = self.core().under_way();
            let left = limit.saturating_sub(began.elapsed());
            if (unanswered, streaming) == (0, 0) || left.is_zero() {
                tracing::info!(intent, unanswered, streaming, "parked for a switchover");
                return match unanswered {
                    0 => ParkReply::Drained { streaming },
                    _ => ParkReply::NotDrained { unanswered },
                };
            }
            drop(tokio::time::timeout(left, changed.changed()).await);
        }
    }

    /// The switchover of `intent` was rolled back. How many requests had waited.
    pub(crate) fn release(&self, intent: u64) -> u64 {
        let mut core = self.core();
        let parked = core.waiting();
        if core.release(intent) {
            tracing::info!(intent, parked, "the switchover is rolled back: parked requests go on");
        }
        drop(core);
        self.tell();
        parked
    }

    /// Requests that wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.core().waiting()
    }

    /// Tells the core the time when it is due, until `shutdown`.
    pub(crate) async fn keep_time(self: Arc<Self>, shutdown: Shutdown) {
        let mut changed = self.changed.subscribe();
        loop {
            let wake_at_ms = self.core().wake_at_ms();
            let due = async {
                match wake_at_ms {
                    Some(at) => {
                        let left_ms = at.saturating_sub(Boot::now().as_ms());
                        tokio::time::sleep(Duration::from_millis(left_ms)).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {
                    let over = self.core().tick(Boot::now().as_ms());
                    if over {
                        tracing::info!("parked requests have waited long enough: they go on");
                        self.tell();
                    }
                }
                _ = changed.changed() => {}
                () = shutdown.cancelled() => return,
            }
        }
    }
}

/// A request that waits, counted.
struct Waiting<'a> {
    parking: &'a Parking,
    until_ms: u64,
    since: Boot,
}

impl<'a> Waiting<'a> {
    fn begin(parking: &'a Parking, until_ms: u64) -> Waiting<'a> {
        parking.core().waits();
        parking.metrics.parked.inc();
        parking.metrics.parked_total.inc();
        Waiting { parking, until_ms, since: Boot::now() }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.parking.core().waits_no_more();
        self.parking.metrics.parked.dec();
        self.parking.metrics.parked_s.observe(self.since.elapsed().as_secs_f64());
    }
}

impl Passage {
    /// Its answer is on its way out and was not held.
    pub(crate) fn streams(&mut self) {
        if self.flight == Flight::Unanswered {
            self.flight = Flight::Streaming;
            self.parking.core().streams();
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let mut core = self.parking.core();
        core.left(self.flight);
        let somebody_waits = core.is_parked();
        drop(core);
        if somebody_waits {
            self.parking.tell();
        }
    }
}
