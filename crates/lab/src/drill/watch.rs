//! What happened when: a watcher beside the drill notes the first moment at which each step of a failover could be
//! seen from outside.
//!
//! The watcher only asks; what it notes is up to one question (some 30 ms) late, never early.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::{
    Epoch, Mode, Problem, Site,
    agent::{Role, StandbyPhase},
    observation::View,
};
use runtime::{clock::Boot, process::Shutdown};
use serde::Serialize;
use tokio_util::task::TaskTracker;

use super::access::Access;

/// How often each thing is asked about.
const EVERY: Duration = Duration::from_millis(30);

/// The steps of a site's loss and return, each in milliseconds after the kill. `None`: not seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Phases {
    /// The witness named the loss.
    pub detected: Option<u64>,
    /// The register names the other site.
    pub register_moved: Option<u64>,
    /// The other site's database is the primary's, and open to the application.
    pub promoted: Option<u64>,
    /// The public name leads to the other site.
    pub steered: Option<u64>,
    /// The first booking that was sent after the kill was acknowledged.
    pub first_acknowledged: Option<u64>,
    /// The slowest of the visitors who only follow DNS was acknowledged.
    pub dns_acknowledged: Option<u64>,
    /// The doors closed: nobody arrives any more.
    pub load_ended: Option<u64>,
    /// The dead site was told to come back.
    pub restored: Option<u64>,
    /// Its agent answered again.
    pub returned: Option<u64>,
    /// What it had committed and nobody was told of was going into quarantine, or was being undone.
    pub reinstating: Option<u64>,
    /// Its database was being filled anew.
    pub seeding: Option<u64>,
    /// It applied the stream.
    pub attached: Option<u64>,
    /// Answers wait for it again.
    pub sync: Option<u64>,
}

impl Phases {
    /// Some steps cannot come after others. Where one was seen later than what proves it, or not at all because it
    /// was over between two questions, it is noted for the moment of the proof.
    fn order(&mut self) {
        let proven = |step: Option<u64>, proof: Option<u64>| match (step, proof) {
            (Some(step), Some(proof)) => Some(step.min(proof)),
            (step, proof) => step.or(proof),
        };
        self.attached = proven(self.attached, self.sync);
        self.promoted = proven(self.promoted, self.first_acknowledged);
        self.register_moved = proven(self.register_moved, self.promoted);
        self.detected = proven(self.detected, self.register_moved);
    }
}

/// Watches from the kill on.
#[derive(Debug)]
pub struct Watch {
    phases: Arc<Mutex<Phases>>,
    killed_at_ms: u64,
    stop: Shutdown,
    tasks: TaskTracker,
}

impl Watch {
    /// Begins to watch how `other` takes over from the site that was killed at `killed_at_ms` in `epoch`.
    pub fn failover(access: &Access, other: &Site, epoch: Epoch, killed_at_ms: u64) -> Watch {
        let watch =
            Watch { phases: Arc::default(), killed_at_ms, stop: Shutdown::new(), tasks: TaskTracker::new() };
        let a = access.clone();
        watch.until(
            move |p| p.detected.is_some(),
            move |note| {
                let a = a.clone();
                async move {
                    if a.view().await.is_ok_and(|view| names_a_loss(&view)) {
                        note.set(|p| &mut p.detected);
                    }
                }
            },
        );
        let a = access.clone();
        watch.until(
            move |p| p.sync.is_some(),
            move |note| {
                let a = a.clone();
                async move {
                    if let Ok(register) = a.register().await
                        && register.epoch > epoch
                    {
                        note.set(|p| &mut p.register_moved);
                        if register.mode == Mode::Sync {
                            note.set(|p| &mut p.sync);
                        }
                    }
                }
            },
        );
        let (a, site) = (access.clone(), other.clone());
        watch.until(
            move |p| p.promoted.is_some(),
            move |note| {
                let (a, site) = (a.clone(), site.clone());
                async move {
                    if a.serves(&site).await.is_ok_and(|serves| serves) {
                        note.set(|p| &mut p.promoted);
                    }
                }
            },
        );
        let (a, site) = (access.clone(), other.clone());
        watch.until(
            move |p| p.steered.is_some(),
            move |note| {
                let (a, site) = (a.clone(), site.clone());
                async move {
                    if a.steering().await.is_ok_and(|s| s.site == site) {
                        note.set(|p| &mut p.steered);
                    }
                }
            },
        );
        watch
    }

    /// Begins to watch how `site`, told to come back now, becomes a standby.
    pub fn return_of(&self, access: &Access, site: &Site) {
        self.note().set(|p| &mut p.restored);
        let (a, site) = (access.clone(), site.clone());
        self.until(
            move |p| p.attached.is_some(),
            move |note| {
                let (a, site) = (a.clone(), site.clone());
                async move {
                    let Ok(status) = a.status(&site).await else { return };
                    note.set(|p| &mut p.returned);
                    match status.role {
                        Role::Reinstating { .. } => note.set(|p| &mut p.reinstating),
                        Role::Standby { phase: StandbyPhase::Seeding } => note.set(|p| &mut p.seeding),
                        Role::Standby { phase: StandbyPhase::Attached } => note.set(|p| &mut p.attached),
                        _ => {}
                    }
                }
            },
        );
    }

    /// Notes a moment that the drill itself has seen.
    pub fn set(&self, at_ms: u64, phase: impl FnOnce(&mut Phases) -> &mut Option<u64>) {
        *phase(&mut self.note().lock()) = Some(at_ms.saturating_sub(self.killed_at_ms));
    }

    /// Ends the watch and returns what was seen.
    pub async fn end(self) -> Phases {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let mut seen = self.note().lock().clone();
        seen.order();
        seen
    }

    fn note(&self) -> Note {
        Note { phases: self.phases.clone(), killed_at_ms: self.killed_at_ms }
    }

    /// Asks again and again until `seen`.
    fn until<F: Future<Output = ()> + Send + 'static>(
        &self,
        seen: impl Fn(&Phases) -> bool + Send + 'static,
        ask: impl Fn(Note) -> F + Send + 'static,
    ) {
        let (note, stop) = (self.note(), self.stop.clone());
        self.tasks.spawn(async move {
            while !seen(&note.lock()) {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = ask(note.clone()) => {}
                }
                tokio::time::sleep(EVERY).await;
            }
        });
    }
}

#[derive(Clone, Debug)]
struct Note {
    phases: Arc<Mutex<Phases>>,
    killed_at_ms: u64,
}

impl Note {
    /// Notes the first moment only.
    fn set(&self, phase: impl FnOnce(&mut Phases) -> &mut Option<u64>) {
        let now_ms = Boot::now().as_ms().saturating_sub(self.killed_at_ms);
        phase(&mut self.lock()).get_or_insert(now_ms);
    }

    fn lock(&self) -> MutexGuard<'_, Phases> {
        self.phases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a view's verdict names the loss of the primary, or of a part of it.
fn names_a_loss(view: &View) -> bool {
    use Problem::{PrimaryAgentLost, PrimaryDatabaseLost, PrimaryGatewayLost, PrimarySiteLost};
    let losses = [PrimarySiteLost, PrimaryDatabaseLost, PrimaryGatewayLost, PrimaryAgentLost];
    view.verdict.problems.iter().any(|problem| losses.contains(problem))
}
