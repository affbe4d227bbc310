//! What the agent tells of itself, put together at the moment of asking, so that ages are true.

use std::sync::Arc;

use model::{
    Position, Serving, Site, StreamId, Watermark,
    agent::{AgentStatus, Fence, Role, Row, Slot},
};
use runtime::clock::Boot;
use tokio::sync::watch;

use crate::{
    apply::FollowProgress,
    copy::verify::Verifier,
    heartbeat::Beat,
    metrics::ReplicateMetrics,
    register::Seen,
    retention::Retention,
    vitals::{Pause, Vitals},
};

/// What the loop knows, as of its last turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it is doing.
    pub role: Role,
    /// The row.
    pub row: Option<Row>,
    /// This database's stream.
    pub stream: Option<StreamId>,
    /// The end of its log.
    pub end_of_log: Option<Position>,
    /// The slot that is attached to the row's epoch.
    pub slot: Option<Slot>,
    /// The life of a standby's data.
    pub incarnation: Option<model::Incarnation>,
    /// Whether the application can write here.
    pub fence: Fence,
}

/// The places where the agent's parts tell what they know. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Board {
    /// This site.
    pub site: Site,
    /// The loop's knowledge.
    pub known: watch::Receiver<Known>,
    /// What gateways are told.
    pub serving: watch::Receiver<Option<Serving>>,
    /// The last sight of the register.
    pub register: watch::Receiver<Option<Seen>>,
    /// The last commit, while primary.
    pub beats: watch::Receiver<Option<Beat>>,
    /// The newest watermark for our stream, while primary.
    pub watermarks: watch::Receiver<Option<Watermark>>,
    /// The lag of the standby, while primary.
    pub lag_ms: watch::Receiver<Option<u64>>,
    /// Our own progress, while standby.
    pub progress: watch::Receiver<FollowProgress>,
    /// How long the standby's place is still in our log, while primary.
    pub retention: watch::Receiver<Option<Retention>>,
    /// What compares this site with the primary, while standby.
    pub verifier: Verifier,
    /// When anything last came from the standby over the link.
    pub standby_heard: watch::Receiver<Option<Boot>>,
    /// How the server is.
    pub vitals: watch::Receiver<Vitals>,
    /// The last time that this process stood still.
    pub paused: watch::Receiver<Option<Pause>>,
    /// Where held responses are counted.
    pub metrics: Arc<ReplicateMetrics>,
}

impl Board {
    /// The status, now.
    pub fn status(&self) -> AgentStatus {
        let known = self.known.borrow().clone();
        let progress = self.progress.borrow().clone();
        let primary = known.role == Role::Primary;
        let standby = matches!(known.role, Role::Standby { .. } | Role::Promoting | Role::Stopped { .. });
        let age_ms = |at: Boot| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
        AgentStatus {
            standby_heard_age_ms: self.standby_heard.borrow().filter(|_| primary).map(age_ms),
            read_only: self.vitals.borrow().read_only,
            disk_free_bytes: self.vitals.borrow().disk_free_bytes,
            paused: self.paused.borrow().map(Pause::told),
            retention_left_s: self.retention.borrow().filter(|_| primary).map(|r| r.left_s),
            coverage: self.verifier.coverage().filter(|_| standby),
            site: self.site.clone(),
            slot: if primary { None } else { progress.slot.filter(|_| standby).or(known.slot) },
            watermark: if primary { self.watermarks.borrow().clone() } else { progress.watermark },
            lag_ms: if primary { *self.lag_ms.borrow() } else { progress.lag_ms },
            held_responses: u64::try_from(self.metrics.held_responses.get()).unwrap_or(0),
            heartbeat_age_ms: progress.heartbeat_at.filter(|_| standby).map(age_ms),
            commit_age_ms: self.beats.borrow().as_ref().filter(|_| primary).map(|b| age_ms(b.committed)),
            register_age_ms: self.register.borrow().as_ref().map(|seen| age_ms(seen.asked)),
            role: known.role,
            row: known.row,
            stream: known.stream,
            end_of_log: known.end_of_log,
            incarnation: known.incarnation,
            fence: known.fence,
        }
    }
}
