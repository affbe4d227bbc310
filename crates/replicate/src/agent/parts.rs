//! What the loop tells the agent's other parts, and what they tell each other, a channel each.

use std::sync::Arc;

use model::{
    Epoch, Serving, Site,
    agent::{Fence, Role, Row},
};
use runtime::clock::Boot;
use tokio::sync::watch;

use crate::{
    apply::FollowProgress,
    barrier::Lease,
    copy::verify::Verifier,
    heartbeat,
    metrics::ReplicateMetrics,
    register::Seen,
    retention::Retention,
    ship::Authority,
    status::{Board, Known},
    vitals::{Pause, Vitals},
};

/// The sending ends of what the loop tells the agent's other parts.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) known: watch::Sender<Known>,
    pub(super) serving: watch::Sender<Option<Serving>>,
    pub(super) register: watch::Sender<Option<Seen>>,
    pub(super) row: watch::Sender<Option<Row>>,
    pub(super) leases: watch::Sender<Option<Lease>>,
    pub(super) authority: watch::Sender<Option<Authority>>,
    pub(super) primary_in: watch::Sender<Option<Epoch>>,
    pub(super) progress: watch::Sender<FollowProgress>,
    pub(super) lag_ms: watch::Sender<Option<u64>>,
    pub(super) row_changes: watch::Sender<u64>,
    pub(super) log_begun_anew: watch::Sender<u64>,
}

/// The sending ends that belong to one task each.
#[derive(Debug)]
pub(super) struct OwnedInputs {
    pub(super) beats: watch::Sender<Option<heartbeat::Beat>>,
    pub(super) retention: watch::Sender<Option<Retention>>,
    pub(super) watermarks: watch::Sender<Option<model::Watermark>>,
    pub(super) standby_heard: watch::Sender<Option<Boot>>,
    pub(super) vitals: watch::Sender<Vitals>,
    pub(super) paused: watch::Sender<Option<Pause>>,
}

impl Parts {
    pub(super) fn new(
        site: &Site,
        verifier: Verifier,
        metrics: Arc<ReplicateMetrics>,
    ) -> (Parts, Board, OwnedInputs) {
        let start = Known {
            role: Role::Starting { why: "the database has not answered yet".into() },
            row: None,
            stream: None,
            end_of_log: None,
            slot: None,
            incarnation: None,
            fence: Fence::Unknown,
        };
        let (known, known_seen) = watch::channel(start);
        let (serving, serving_seen) = watch::channel(None);
        let (register, register_seen) = watch::channel(None);
        let (beats, beats_seen) = watch::channel(None);
        let (retention, retention_seen) = watch::channel(None);
        let (watermarks, watermarks_seen) = watch::channel(None);
        let (standby_heard, standby_heard_seen) = watch::channel(None);
        let (vitals, vitals_seen) = watch::channel(Vitals::default());
        let (paused, paused_seen) = watch::channel(None);
        let (lag_ms, lag_seen) = watch::channel(None);
        let (progress, progress_seen) = watch::channel(FollowProgress::default());
        let board = Board {
            site: site.clone(),
            known: known_seen,
            serving: serving_seen,
            register: register_seen,
            beats: beats_seen,
            watermarks: watermarks_seen,
            lag_ms: lag_seen,
            progress: progress_seen,
            retention: retention_seen,
            standby_heard: standby_heard_seen,
            vitals: vitals_seen,
            paused: paused_seen,
            verifier,
            metrics,
        };
        let parts = Parts {
            known,
            serving,
            register,
            row: watch::Sender::new(None),
            leases: watch::Sender::new(None),
            authority: watch::Sender::new(None),
            primary_in: watch::Sender::new(None),
            progress,
            lag_ms,
            row_changes: watch::Sender::new(0),
            log_begun_anew: watch::Sender::new(0),
        };
        (parts, board, OwnedInputs { beats, retention, watermarks, standby_heard, vitals, paused })
    }
}

/// A receiver to which the present value counts as not seen yet.
pub(super) fn fresh<T>(sender: &watch::Sender<T>) -> watch::Receiver<T> {
    let mut receiver = sender.subscribe();
    receiver.mark_changed();
    receiver
}
