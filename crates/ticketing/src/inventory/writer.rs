//! One writer: gathers what arrived while the last commit ran, decides it, writes it, answers.
//!
//! No request waits for a timer: the first one of a quiet moment is written at once, and under load batches grow by
//! themselves. One writer for all performances, not one for each: a statement and a commit cost the database the same
//! for one booking as for thirty, and most evenings many performances are on sale. No connection is held between
//! reading and writing, nor while money moves.

use tokio::sync::{mpsc, oneshot};

use super::batch::{Outcome, Plan, Request, decide};
use crate::{
    clock::Clock,
    store::{Store, StoreError},
};

/// Requests of one transaction. More would make a conflict with another instance cost more than the commit saves.
const BATCH_MAX: usize = 64;
/// Requests that may wait for the writer. Beyond, the answer is "not now": better than a long silence.
const PENDING_MAX: usize = 4_096;
/// How often a request is decided anew because another instance was faster.
const RACES: usize = 6;
/// After so many a batch is halved: one that keeps failing must not drag the others along.
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

/// The writer of this instance. Cheap to clone.
#[derive(Clone)]
pub struct Inventory {
    jobs: mpsc::Sender<Job>,
}

impl Inventory {
    /// Starts the writer, which ends with the last clone.
    pub fn start(store: Store, clock: Clock) -> Inventory {
        let (jobs, asked) = mpsc::channel(PENDING_MAX);
        tokio::spawn(write(store, clock, asked));
        Inventory { jobs }
    }

    /// Hands a request in and waits for its outcome. It is carried out even if the caller goes away.
    pub async fn ask(&self, request: Request) -> Told {
        let (answer, told) = oneshot::channel();
        if self.jobs.try_send(Job { request, answer }).is_err() {
            return Err(NoOutcome::NotNow);
        }
        told.await.unwrap_or(Err(NoOutcome::Broken))
    }
}

/// The loop.
async fn write(store: Store, clock: Clock, mut asked: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(BATCH_MAX);
    while asked.recv_many(&mut jobs, BATCH_MAX).await > 0 {
        let (requests, answers): (Vec<Request>, Vec<oneshot::Sender<Told>>) =
            jobs.drain(..).map(|job| (job.request, job.answer)).unzip();
        // In a task of its own: a panic in it costs this batch its answers, not the instance its writer.
        let settled = tokio::spawn(settle(store.clone(), clock.clone(), requests)).await;
        let told = settled.unwrap_or_else(|e| {
            tracing::error!("a batch of {} was not settled: {e}", answers.len());
            vec![Err(NoOutcome::Broken); answers.len()]
        });
        for (answer, told) in answers.into_iter().zip(told) {
            if answer.send(told).is_err() {
                tracing::debug!("a visitor left before the outcome");
            }
        }
    }
}

/// The outcome of each request, in order. What cannot be settled together is settled in halves.
async fn settle(store: Store, clock: Clock, requests: Vec<Request>) -> Vec<Told> {
    let mut told = Vec::with_capacity(requests.len());
    // Still to be settled, what comes first last.
    let mut parts = vec![requests.as_slice()];
    while let Some(part) = parts.pop() {
        let tries = if part.len() == 1 { RACES } else { TOGETHER };
        match together(&store, &clock, part, tries).await {
            Some(outcomes) => told.extend(outcomes),
            // Lost every race: to the visitor that is a moment in which it cannot be said.
            None if part.len() == 1 => told.push(Err(NoOutcome::NotNow)),
            None => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
        }
    }
    told
}

/// Tries to settle all of them in one transaction; none if another instance was faster every time.
async fn together(store: &Store, clock: &Clock, requests: &[Request], tries: usize) -> Option<Vec<Told>> {
    let all = |why: NoOutcome| Some(vec![Err(why); requests.len()]);
    for _ in 0..tries {
        let (claims, bookings) = match store.look(requests).await {
            Ok(seen) => seen,
            Err(e) => return all(because(&e)),
        };
        let now_ms = clock.now_ms();
        let Plan { write, outcomes } = decide(requests, claims, bookings, now_ms);
        let written = if write.is_empty() { Ok(()) } else { store.write_batch(&write, now_ms).await };
        match written {
            Ok(()) => return Some(outcomes.into_iter().map(Ok).collect()),
            Err(StoreError::Duplicate(_) | StoreError::Condition(_)) => {}
            // Whether it was written is not known, so the losers of this batch are not, either.
            Err(e @ StoreError::NotNow(_)) => return all(because(&e)),
            // One of them made a statement that the server does not understand: find out which.
            Err(e @ StoreError::Broken(_)) if requests.len() == 1 => return all(because(&e)),
            Err(StoreError::Broken(e)) => {
                tracing::error!("a batch of {}: {e}", requests.len());
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
