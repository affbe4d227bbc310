//! Drives the one [`Core`]: gathers what happens, lets the core decide, checks targets as it says, and publishes whole
//! snapshots.

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::{
    gateway::TargetState,
    topology::edge::{DnsTargets, HealthCheck, Protocol, Routing},
};
use runtime::{clock::Boot, process::Shutdown};
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Snapshot, check, discover,
    health::{Core, Effect, Event, Key},
};

/// Events that may wait. Checks wait for room; what serving threads tell is told again if there is none.
const EVENTS_MAX: usize = 1_024;

/// The core with its first configuration, before anything is checked.
pub(crate) struct Watcher {
    core: Core,
    effects: Vec<Effect>,
    tell: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
}

impl Watcher {
    /// `zone`: where the gateway stands.
    pub(crate) fn new(zone: Option<String>, routing: Routing) -> Watcher {
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let (mut core, mut effects) = (Core::new(zone), Vec::new());
        core.step(Boot::now().as_ms(), Event::Configured(routing), &mut effects);
        Watcher { core, effects, tell, events }
    }

    /// Where events go.
    pub(crate) fn events(&self) -> mpsc::Sender<Event> {
        self.tell.clone()
    }

    /// What threads know at their start.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(self.core.snapshot())
    }

    /// Runs until `shutdown`.
    pub(crate) async fn run(self, snapshots: watch::Sender<Arc<Snapshot>>, shutdown: Shutdown) {
        let Watcher { mut core, mut effects, tell, mut events } = self;
        let mut checks: HashMap<Key, AbortOnDropHandle<()>> = HashMap::new();
        let mut names: HashMap<Arc<str>, Vec<AbortOnDropHandle<()>>> = HashMap::new();
        loop {
            follow(&effects, &mut names, &tell);
            apply(&core, &mut effects, &mut checks, &tell, &snapshots);
            let due = core.wake_at_ms().map(|at| at.saturating_sub(Boot::now().as_ms()));
            let event = tokio::select! {
                Some(event) = events.recv() => event,
                () = sleep_if(due.map(Duration::from_millis)) => Event::Tick,
                () = shutdown.cancelled() => return,
            };
            core.step(Boot::now().as_ms(), event, &mut effects);
        }
    }
}

async fn sleep_if(due: Option<Duration>) {
    match due {
        Some(left) => tokio::time::sleep(left).await,
        None => std::future::pending().await,
    }
}

/// Names that are to be asked for from now on.
fn follow(
    effects: &[Effect],
    names: &mut HashMap<Arc<str>, Vec<AbortOnDropHandle<()>>>,
    tell: &mpsc::Sender<Event>,
) {
    for effect in effects {
        if let Effect::Follow(group, all) = effect {
            let ask = |from: &DnsTargets| {
                let asking = discover::keep_asking(group.clone(), from.clone(), tell.clone());
                AbortOnDropHandle::new(tokio::spawn(asking))
            };
            names.insert(group.clone(), all.iter().map(ask).collect());
        }
    }
}

fn apply(
    core: &Core,
    effects: &mut Vec<Effect>,
    checks: &mut HashMap<Key, AbortOnDropHandle<()>>,
    tell: &mpsc::Sender<Event>,
    snapshots: &watch::Sender<Arc<Snapshot>>,
) {
    let publish = effects.contains(&Effect::Publish);
    for effect in effects.drain(..) {
        match effect {
            Effect::Watch(key, check, protocol) => {
                let watching = tokio::spawn(keep_checking(key.clone(), check, protocol, tell.clone()));
                checks.insert(key, AbortOnDropHandle::new(watching));
            }
            Effect::Unwatch(key) => {
                checks.remove(&key);
            }
            // Done by `follow`.
            Effect::Follow(..) => {}
            Effect::Publish => {}
            Effect::Tell { key: Key { group, address }, state: TargetState::Healthy, .. } => {
                tracing::info!(%group, %address, "target is healthy");
            }
            Effect::Tell { key: Key { group, address }, state, why } => {
                let why = why.unwrap_or_default();
                tracing::warn!(%group, %address, ?state, why, "target is not asked any more");
            }
        }
    }
    if publish {
        snapshots.send_replace(Arc::new(core.snapshot()));
    }
}

async fn keep_checking(key: Key, config: HealthCheck, protocol: Protocol, tell: mpsc::Sender<Event>) {
    let mut interval = tokio::time::interval(Duration::from_millis(config.interval_ms));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let began_ms = Boot::now().as_ms();
        let result = check::check(key.address, &config, protocol).await;
        if tell.send(Event::Checked { key: key.clone(), began_ms, result }).await.is_err() {
            return;
        }
    }
}
