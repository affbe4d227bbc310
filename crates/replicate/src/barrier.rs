//! The barrier: has everything that was committed when the application finished answering reached the standby?
//!
//! One query on the application's own endpoint serves every request that arrived before the query was sent. It
//! returns the row, then the position (in this order, one round trip). What follows is arithmetic: in `solo`
//! nothing is waited for while the lease lasts; in `sync` a request is released by the first watermark of the same
//! stream and epoch that has reached its position.
//!
//! [`Core`] decides and knows neither clock nor socket; [`run`] feeds it: one task, one connection, one query at a
//! time. A barrier costs a message to the task and one back; a query is shared by all that wait for it, so the
//! busier the service, the fewer queries a request costs.
//!
//! Always true here: nothing is released by what an earlier query said of the mode or the epoch. When a stream
//! ends (another server behind the address, a log that begins anew) nothing that began in it is ever released, whenever
//! it is asked about; and a row that was written in another stream says nothing of this one.

use std::{collections::VecDeque, future::pending, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use model::{
    BarrierOutcome, BarrierReply, BarrierRequest, Epoch, Mode, Position, Site, StreamId, Watermark,
    sabotage::{self, Sabotage},
};
use mysql_async::Conn;
use runtime::{clock::Boot, process::Shutdown};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    database::{DatabaseConfig, DatabaseError},
    metrics::ReplicateMetrics,
    row::{self, Snapshot},
};

/// While somebody waits for a watermark the row is asked again this often: a move to `solo` frees those who wait.
const ASK_AGAIN_MS: u64 = 100;
/// A request that has waited so long for a database that does not answer is told so.
const UNAVAILABLE_AFTER_MS: u64 = 1_000;
/// Deadlines are looked at this often.
const TICK: Duration = Duration::from_millis(10);
/// Requests that may be on their way to the task; more wait at the caller's.
const INBOX: usize = 4_096;

/// One request as the core keeps it; `T` is whatever the answer is to be given to.
#[derive(Debug)]
struct Waiter<T> {
    epoch: Epoch,
    /// The stream that it began in.
    stream: StreamId,
    arrived_ms: u64,
    deadline_ms: u64,
    reply_to: T,
}

/// Requests that one query served and that wait for the same position.
#[derive(Debug)]
struct Batch<T> {
    position: Position,
    waiters: Vec<Waiter<T>>,
}

/// When and where the register was last seen to name this site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The epoch that it named this site in.
    pub epoch: Epoch,
    /// When the question was sent, on the clock that runs through suspension.
    pub asked_ms: u64,
}

/// What the core was told of the database's identity.
#[derive(Debug)]
enum Stream {
    Unknown,
    /// The stream, and the furthest position that it was seen at.
    Known(Position),
    /// This stream's log went backwards: it is another log, whatever its name says.
    Broken(StreamId),
}

/// The waiting and the batching, without clock and socket.
#[derive(Debug)]
pub struct Core<T> {
    site: Site,
    lease_ms: u64,
    lease: Option<Lease>,
    stream: Stream,
    arrived: Vec<Waiter<T>>,
    asking: Option<Vec<Waiter<T>>>,
    asked_ms: u64,
    ask_again: bool,
    waiting: VecDeque<Batch<T>>,
    waiting_count: usize,
}

/// An answer and whom to give it to.
pub type Answer<T> = (T, BarrierReply);

impl<T> Core<T> {
    /// A core for the database of `site`. Answers in `solo` go out within `lease_ms` of the register's question.
    pub fn new(site: Site, lease_ms: u64) -> Core<T> {
        Core {
            site,
            lease_ms,
            lease: None,
            stream: Stream::Unknown,
            arrived: Vec::new(),
            asking: None,
            asked_ms: 0,
            ask_again: false,
            waiting: VecDeque::new(),
            waiting_count: 0,
        }
    }

    /// Takes a request that arrived at `now_ms`.
    pub fn request(&mut self, now_ms: u64, request: BarrierRequest, reply_to: T) {
        self.arrived.push(Waiter {
            epoch: request.epoch,
            stream: request.stream,
            arrived_ms: now_ms,
            deadline_ms: now_ms.saturating_add(request.wait_ms),
            reply_to,
        });
    }

    /// Whether a query is to be sent now. If so, everything that has arrived belongs to it.
    pub fn begin_query(&mut self, now_ms: u64) -> bool {
        if self.asking.is_some() {
            return false;
        }
        let stale = self.waiting_count > 0 && now_ms.saturating_sub(self.asked_ms) >= ASK_AGAIN_MS;
        if self.arrived.is_empty() && !stale && !self.ask_again {
            return false;
        }
        self.ask_again = false;
        self.asked_ms = now_ms;
        self.asking = Some(std::mem::take(&mut self.arrived));
        true
    }

    /// The row may have changed: ask again, if anybody waits.
    pub fn row_changed(&mut self) {
        self.ask_again = self.waiting_count > 0;
    }

    /// The register was seen to name this site primary.
    pub fn lease_renewed(&mut self, lease: Lease) {
        if self.lease.is_none_or(|known| (known.epoch, known.asked_ms) < (lease.epoch, lease.asked_ms)) {
            self.lease = Some(lease);
        }
    }

    /// What the query under way brought. Returns whether this database's log was found to have begun anew; then
    /// every request is answered `identity_changed` until the row names a new stream.
    pub fn answered(
        &mut self,
        now_ms: u64,
        seen: &Snapshot,
        mark: Option<&Watermark>,
        out: &mut Vec<Answer<T>>,
    ) -> bool {
        let mut batch = self.asking.take().unwrap_or_default();
        if sabotage::is(Sabotage::EarlierQuery) {
            batch.append(&mut self.arrived);
        }
        let here = &seen.end_of_log;
        let same = match &self.stream {
            Stream::Unknown => true,
            Stream::Known(last) => here.has_reached(last),
            Stream::Broken(_) => false,
        };
        if !same {
            // Nobody can say whether what was committed in the old log is in this one.
            let reply = reply(BarrierOutcome::IdentityChanged, Some(seen));
            out.extend(batch.into_iter().map(|w| (w.reply_to, reply.clone())));
            self.end_all_waiting(&reply, out);
            let begun_anew = match &self.stream {
                Stream::Known(last) => last.stream == here.stream,
                Stream::Broken(broken) => *broken == here.stream,
                Stream::Unknown => false,
            };
            self.stream =
                if begun_anew { Stream::Broken(here.stream.clone()) } else { Stream::Known(here.clone()) };
            return begun_anew;
        }
        self.stream = Stream::Known(here.clone());

        if !seen.row_speaks() {
            // A node that lost the change to `sync` says `solo`, and may lack what was committed before it.
            let reply = reply(BarrierOutcome::IdentityChanged, Some(seen));
            out.extend(batch.into_iter().map(|w| (w.reply_to, reply.clone())));
            self.end_all_waiting(&reply, out);
            return false;
        }
        if seen.row.primary != self.site {
            let reply = reply(BarrierOutcome::EpochChanged, Some(seen));
            out.extend(batch.into_iter().map(|w| (w.reply_to, reply.clone())));
            self.end_all_waiting(&reply, out);
            return false;
        }
        let mut still = Batch { position: here.clone(), waiters: Vec::with_capacity(batch.len()) };
        for waiter in batch {
            match self.judge(now_ms, seen, &waiter) {
                Some(outcome) => out.push((waiter.reply_to, reply(outcome, Some(seen)))),
                None => still.waiters.push(waiter),
            }
        }
        // Those who waited before: the newer answer counts for them too, their positions stay their own.
        if seen.row.mode == Mode::Solo
            || self.waiting.iter().any(|b| b.waiters.iter().any(|w| w.epoch != seen.row.epoch))
        {
            for batch in std::mem::take(&mut self.waiting) {
                let mut kept = Batch { position: batch.position, waiters: Vec::new() };
                for waiter in batch.waiters {
                    match self.judge(now_ms, seen, &waiter) {
                        Some(outcome) => out.push((waiter.reply_to, reply(outcome, Some(seen)))),
                        None => kept.waiters.push(waiter),
                    }
                }
                if !kept.waiters.is_empty() {
                    self.waiting.push_back(kept);
                }
            }
        }
        if !still.waiters.is_empty() {
            self.waiting.push_back(still);
        }
        self.waiting_count = self.waiting.iter().map(|b| b.waiters.len()).sum();
        if let Some(mark) = mark {
            self.watermark(mark, out);
        }
        false
    }

    /// The query failed. Those who have not waited long for the database are asked about again.
    pub fn failed(&mut self, now_ms: u64, out: &mut Vec<Answer<T>>) {
        let batch = self.asking.take().unwrap_or_default();
        let mut again = Vec::with_capacity(batch.len() + self.arrived.len());
        for waiter in batch {
            if now_ms.saturating_sub(waiter.arrived_ms) >= UNAVAILABLE_AFTER_MS {
                out.push((waiter.reply_to, reply(BarrierOutcome::DatabaseUnavailable, None)));
            } else {
                again.push(waiter);
            }
        }
        again.append(&mut self.arrived);
        self.arrived = again;
    }

    /// A watermark came. Whatever it covers is released; the rest keeps waiting.
    pub fn watermark(&mut self, mark: &Watermark, out: &mut Vec<Answer<T>>) {
        // Positions in `waiting` only grow, so the first batch that is not covered ends the search.
        while let Some(first) = self.waiting.front()
            && mark.position.has_reached(&first.position)
        {
            let Some(batch) = self.waiting.pop_front() else { break };
            let mut uncovered = Vec::new();
            for waiter in batch.waiters {
                if mark.covers(waiter.epoch, &batch.position) {
                    self.waiting_count = self.waiting_count.saturating_sub(1);
                    out.push((
                        waiter.reply_to,
                        BarrierReply {
                            outcome: BarrierOutcome::Replicated,
                            epoch: Some(waiter.epoch),
                            mode: Some(Mode::Sync),
                            position: Some(batch.position.clone()),
                        },
                    ));
                } else {
                    uncovered.push(waiter);
                }
            }
            if !uncovered.is_empty() {
                self.waiting.push_front(Batch { position: batch.position, waiters: uncovered });
                break;
            }
        }
    }

    /// Ends the waiting of those whose time is over.
    pub fn tick(&mut self, now_ms: u64, out: &mut Vec<Answer<T>>) {
        let mut expire = |waiters: &mut Vec<Waiter<T>>, position: Option<&Position>| {
            if waiters.iter().all(|w| w.deadline_ms > now_ms) {
                return;
            }
            for waiter in std::mem::take(waiters) {
                if waiter.deadline_ms > now_ms {
                    waiters.push(waiter);
                    continue;
                }
                let mut reply = reply(BarrierOutcome::TimedOut, None);
                if let Some(position) = position {
                    reply.epoch = Some(waiter.epoch);
                    reply.mode = Some(Mode::Sync);
                    reply.position = Some(position.clone());
                }
                out.push((waiter.reply_to, reply));
            }
        };
        expire(&mut self.arrived, None);
        if let Some(asking) = &mut self.asking {
            expire(asking, None);
        }
        for batch in &mut self.waiting {
            expire(&mut batch.waiters, Some(&batch.position));
        }
        self.waiting.retain(|b| !b.waiters.is_empty());
        self.waiting_count = self.waiting.iter().map(|b| b.waiters.len()).sum();
    }

    /// Everybody who has not been answered.
    pub fn held(&self) -> usize {
        self.arrived.len() + self.asking.as_ref().map_or(0, Vec::len) + self.waiting_count
    }

    /// What a query that ran after the request arrived says of it; `None`: it waits for a watermark.
    fn judge(&self, now_ms: u64, seen: &Snapshot, waiter: &Waiter<T>) -> Option<BarrierOutcome> {
        if seen.row.epoch != waiter.epoch {
            return Some(BarrierOutcome::EpochChanged);
        }
        if seen.end_of_log.stream != waiter.stream {
            return Some(BarrierOutcome::IdentityChanged);
        }
        match seen.row.mode {
            Mode::Sync => None,
            Mode::Solo => Some(self.solo(now_ms, waiter)),
        }
    }

    fn solo(&self, now_ms: u64, waiter: &Waiter<T>) -> BarrierOutcome {
        let Some(lease) = self.lease.filter(|lease| lease.epoch == waiter.epoch) else {
            return BarrierOutcome::LeaseExpired;
        };
        let ends_ms = lease.asked_ms.saturating_add(self.lease_ms);
        if now_ms >= ends_ms {
            return BarrierOutcome::LeaseExpired;
        }
        // The gateway adds this to the moment in which it *sent* the request, which is before it arrived here.
        BarrierOutcome::Solo { lease_left_ms: ends_ms.saturating_sub(waiter.arrived_ms) }
    }

    fn end_all_waiting(&mut self, reply: &BarrierReply, out: &mut Vec<Answer<T>>) {
        for batch in std::mem::take(&mut self.waiting) {
            out.extend(batch.waiters.into_iter().map(|w| (w.reply_to, reply.clone())));
        }
        self.waiting_count = 0;
    }
}

fn reply(outcome: BarrierOutcome, seen: Option<&Snapshot>) -> BarrierReply {
    BarrierReply {
        outcome,
        epoch: seen.map(|s| s.row.epoch),
        mode: seen.map(|s| s.row.mode),
        position: seen.map(|s| s.end_of_log.clone()),
    }
}

/// Where requests are handed in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Barrier {
    inbox: mpsc::Sender<Ask>,
}

#[derive(Debug)]
struct Ask {
    request: BarrierRequest,
    arrived: Boot,
    reply: oneshot::Sender<BarrierReply>,
}

impl Barrier {
    /// A barrier and the end from which [`run`] takes its requests.
    pub fn new() -> (Barrier, Inbox) {
        let (inbox, outbox) = mpsc::channel(INBOX);
        (Barrier { inbox }, Inbox(outbox))
    }

    /// Asks. Returns when the answer is known, at the latest a little after `request.wait_ms`.
    pub async fn ask(&self, request: BarrierRequest) -> BarrierReply {
        let (reply_to, answer) = oneshot::channel();
        let ask = Ask { request, arrived: Boot::now(), reply: reply_to };
        if self.inbox.send(ask).await.is_err() {
            return reply(BarrierOutcome::DatabaseUnavailable, None);
        }
        // The task answers everybody before it ends; a dropped sender means that the process is ending.
        answer.await.unwrap_or_else(|_| reply(BarrierOutcome::DatabaseUnavailable, None))
    }
}

/// The receiving end of a [`Barrier`].
#[derive(Debug)]
pub struct Inbox(mpsc::Receiver<Ask>);

/// What the task needs from the rest of the agent.
#[derive(Debug)]
pub struct Inputs {
    /// This site.
    pub site: Site,
    /// The application's own endpoint.
    pub database: DatabaseConfig,
    /// How long a sight of the register lasts, in milliseconds.
    pub lease_ms: u64,
    /// The newest watermark for this database's stream.
    pub watermarks: watch::Receiver<Option<Watermark>>,
    /// When the register last named this site.
    pub leases: watch::Receiver<Option<Lease>>,
    /// Counts the changes of the row that this agent makes.
    pub row_changes: watch::Receiver<u64>,
    /// Counted up when the log is found to have begun anew within one stream.
    pub log_begun_anew: watch::Sender<u64>,
    /// Where the waiting are counted.
    pub metrics: Arc<ReplicateMetrics>,
}

type Query = BoxFuture<'static, (Option<Conn>, Result<Snapshot, DatabaseError>)>;

/// Serves the requests of `inbox` until `shutdown`; connects by itself, again and again.
pub async fn run(mut inbox: Inbox, mut inputs: Inputs, shutdown: Shutdown) {
    let mut core: Core<(Boot, oneshot::Sender<BarrierReply>)> =
        Core::new(inputs.site.clone(), inputs.lease_ms);
    let (mut conn, mut query): (Option<Conn>, Option<Query>) = (None, None);
    let (mut asks, mut out) = (Vec::new(), Vec::new());
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut inbox_open, mut asked) = (true, Boot::now());
    loop {
        tokio::select! {
            count = inbox.0.recv_many(&mut asks, INBOX), if inbox_open => {
                inbox_open = count > 0;
                for ask in asks.drain(..) {
                    core.request(ask.arrived.as_ms(), ask.request, (ask.arrived, ask.reply));
                }
            }
            (connection, result) = async {
                match query.as_mut() {
                    Some(query) => query.await,
                    None => pending().await,
                }
            } => {
                query = None;
                conn = connection;
                inputs.metrics.barrier_query_s.observe(asked.elapsed().as_secs_f64());
                let now_ms = Boot::now().as_ms();
                match result {
                    Ok(seen) => {
                        let mark = inputs.watermarks.borrow_and_update().clone();
                        if core.answered(now_ms, &seen, mark.as_ref(), &mut out) {
                            inputs.log_begun_anew.send_modify(|n| *n += 1);
                        }
                    }
                    Err(e) => {
                        tracing::debug!("a barrier's query failed: {e}");
                        core.failed(now_ms, &mut out);
                    }
                }
            }
            Ok(()) = inputs.watermarks.changed() => {
                if let Some(mark) = inputs.watermarks.borrow_and_update().as_ref() {
                    core.watermark(mark, &mut out);
                }
            }
            Ok(()) = inputs.leases.changed() => {
                if let Some(lease) = *inputs.leases.borrow_and_update() {
                    core.lease_renewed(lease);
                }
            }
            Ok(()) = inputs.row_changes.changed() => core.row_changed(),
            _ = tick.tick(), if core.held() > 0 => core.tick(Boot::now().as_ms(), &mut out),
            () = shutdown.cancelled() => return,
        }
        for ((arrived, reply_to), reply) in out.drain(..) {
            inputs.metrics.count_barrier(reply.outcome, arrived.elapsed().as_secs_f64());
            // A gateway that has hung up is not waiting for the answer.
            drop(reply_to.send(reply));
        }
        if query.is_none() && core.begin_query(Boot::now().as_ms()) {
            inputs.metrics.barrier_queries_total.inc();
            asked = Boot::now();
            query = Some(ask_database(inputs.database.clone(), conn.take()).boxed());
        }
        inputs.metrics.held_responses.set(i64::try_from(core.held()).unwrap_or(i64::MAX));
    }
}

/// Longer than this the database is taken not to answer, and the connection is given up.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// After a failure.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);

async fn ask_database(
    database: DatabaseConfig,
    kept: Option<Conn>,
) -> (Option<Conn>, Result<Snapshot, DatabaseError>) {
    let ask = async {
        if let Some(mut conn) = kept {
            match row::snapshot(&mut conn).await {
                Ok(seen) => return Ok((conn, seen)),
                // A kept connection may have been ended for reasons of its own (a promotion, a restart).
                Err(e) if e.is_transient() => tracing::debug!("a barrier's connection is opened again: {e}"),
                Err(e) => return Err(e),
            }
        }
        let mut conn = database.open().await?;
        let seen = row::snapshot(&mut conn).await?;
        Ok((conn, seen))
    };
    let result = match tokio::time::timeout(QUERY_TIMEOUT, ask).await {
        Ok(result) => result,
        Err(_) => Err(DatabaseError::Lost(format!("no answer within {} s", QUERY_TIMEOUT.as_secs()))),
    };
    match result {
        Ok((conn, seen)) => (Some(conn), Ok(seen)),
        Err(e) => {
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await; // so that a refusing server is not asked in a tight loop
            (None, Err(e))
        }
    }
}

#[cfg(test)]
mod tests;
