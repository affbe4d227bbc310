//! One writer a performance: gathers what arrived while the last commit ran, decides it, writes it, answers.
//!
//! No request waits for a timer: the first one of a quiet moment is written at once, and under load batches grow by
//! themselves. No connection is held between reading and writing, nor while money moves.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{mpsc, oneshot};

use super::batch::{Outcome, Plan, Request, decide};
use crate::{
    clock::Clock,
    store::{Store, StoreError},
};

/// Requests of one transaction. More would make a conflict with another instance cost more than the commit saves.
const BATCH_MAX: usize = 64;
/// Requests that may wait for a writer. Beyond, the answer is "not now": better than a long silence.
const PENDING_MAX: usize = 2_048;
/// How often a batch is decided anew because another instance was faster.
const RACES: usize = 6;
/// After so many, each request goes alone: one that keeps failing must not drag the others along.
const TOGETHER: usize = 3;

/// Why there is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoOutcome {
    /// The database does not answer, or there is too much to do. Ask again with the same key.
    NotNow,
    /// A mistake of ours, logged.
    Broken,
}

type Told = Result<Outcome, NoOutcome>;

struct Job {
    request: Request,
    answer: oneshot::Sender<Told>,
}

/// The writers of this instance. Cheap to clone.
#[derive(Clone)]
pub struct Inventory {
    store: Store,
    clock: Clock,
    writers: Arc<Mutex<HashMap<u32, mpsc::Sender<Job>>>>,
}

impl Inventory {
    /// No writer yet: each begins with the first request for its performance.
    pub fn new(store: Store, clock: Clock) -> Inventory {
        Inventory { store, clock, writers: Arc::default() }
    }

    /// Hands a request in and waits for its outcome. It is carried out even if the caller goes away.
    pub async fn ask(&self, performance: u32, request: Request) -> Told {
        let (answer, told) = oneshot::channel();
        if self.writer(performance).try_send(Job { request, answer }).is_err() {
            return Err(NoOutcome::NotNow);
        }
        told.await.unwrap_or(Err(NoOutcome::Broken))
    }

    fn writer(&self, performance: u32) -> mpsc::Sender<Job> {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = writers.entry(performance).or_insert_with(|| {
            let (jobs, asked) = mpsc::channel(PENDING_MAX);
            tokio::spawn(write(performance, self.store.clone(), self.clock.clone(), asked));
            jobs
        });
        // A writer that ended (a panic in it) is replaced by the next one who asks.
        if writer.is_closed() {
            let (jobs, asked) = mpsc::channel(PENDING_MAX);
            tokio::spawn(write(performance, self.store.clone(), self.clock.clone(), asked));
            *writer = jobs;
        }
        writer.clone()
    }
}

/// The loop of one performance. Ends with the last [`Inventory`].
async fn write(performance: u32, store: Store, clock: Clock, mut asked: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(BATCH_MAX);
    while asked.recv_many(&mut jobs, BATCH_MAX).await > 0 {
        let (requests, answers): (Vec<Request>, Vec<oneshot::Sender<Told>>) =
            jobs.drain(..).map(|job| (job.request, job.answer)).unzip();
        let told = settle(&store, &clock, performance, requests).await;
        for (answer, told) in answers.into_iter().zip(told) {
            if answer.send(told).is_err() {
                tracing::debug!(performance, "a visitor left before the outcome");
            }
        }
    }
}

/// The outcome of each request, in order.
async fn settle(store: &Store, clock: &Clock, performance: u32, requests: Vec<Request>) -> Vec<Told> {
    if let Some(told) = together(store, clock, performance, &requests, TOGETHER).await {
        return told;
    }
    let mut told = Vec::with_capacity(requests.len());
    for request in requests {
        let alone = together(store, clock, performance, &[request], RACES).await;
        // Lost every race: to the visitor that is a moment in which it cannot be said.
        told.push(alone.and_then(|mut one| one.pop()).unwrap_or(Err(NoOutcome::NotNow)));
    }
    told
}

/// Tries to settle all of them in one transaction; none if another instance was faster every time.
async fn together(
    store: &Store,
    clock: &Clock,
    performance: u32,
    requests: &[Request],
    tries: usize,
) -> Option<Vec<Told>> {
    let all = |why: NoOutcome| Some(vec![Err(why); requests.len()]);
    for _ in 0..tries {
        let (claims, bookings) = match store.look(performance, requests).await {
            Ok(seen) => seen,
            Err(e) => return all(because(&e)),
        };
        let now_ms = clock.now_ms();
        let Plan { write, outcomes } = decide(requests, claims, bookings, now_ms);
        let written =
            if write.is_empty() { Ok(()) } else { store.write_batch(performance, &write, now_ms).await };
        match written {
            Ok(()) => return Some(outcomes.into_iter().map(Ok).collect()),
            Err(StoreError::Duplicate(_) | StoreError::Condition(_)) => {}
            // Whether it was written is not known, so the losers of this batch are not, either.
            Err(e @ StoreError::NotNow(_)) => return all(because(&e)),
            // One of them made a statement that the server does not understand: find out which.
            Err(e @ StoreError::Broken(_)) if requests.len() == 1 => return all(because(&e)),
            Err(StoreError::Broken(e)) => {
                tracing::error!(performance, "a batch of {}: {e}", requests.len());
                return None;
            }
        }
    }
    None
}

fn because(error: &StoreError) -> NoOutcome {
    match error {
        StoreError::NotNow(why) => {
            tracing::debug!("not now: {why}");
            NoOutcome::NotNow
        }
        error => {
            tracing::error!("{error}");
            NoOutcome::Broken
        }
    }
}
