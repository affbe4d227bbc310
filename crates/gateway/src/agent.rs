//! The gateway's two conversations with its agent: what is served here (a long poll), and barriers.
//!
//! [`follow_serving`] runs once in the process and publishes what the agent says, whole. [`GateDriver`] runs once a
//! thread: it feeds that thread's [`Gate`] and does what the gate tells. Neither decides anything.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use model::{BarrierReply, BarrierRequest, Epoch, Position, Serving};
use runtime::{
    admin::{Client, ClientError},
    clock::Boot,
    process::Shutdown,
};
use tokio::{
    sync::{Notify, oneshot, watch},
    task::spawn_local,
};

use crate::{
    hold::{AnswerId, BarrierId, Effect, Event, Gate, Limits, Why},
    metrics::GatewayMetrics,
    parking::Parking,
    route::Began,
};

/// A long poll is answered after so long at the latest: the proof that the agent lives.
const POLL_MS: u64 = 1_000;
/// While the database is being opened we do not rely on being woken.
const POLL_OPENING_MS: u64 = 20;
/// Between two answers that tell nothing new, at least.
const PAUSE: Duration = Duration::from_millis(10);
/// Between two attempts while the agent is away.
const RETRY: Duration = Duration::from_millis(50);
/// How much longer than the agent may wait we wait for its words.
const GRACE: Duration = Duration::from_millis(500);

/// What the agent said last, and when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) serving: Option<Serving>,
    pub(crate) at: Option<Boot>,
    /// How often it has said something new.
    pub(crate) number: u64,
}

/// Publishes what the agent says until `shutdown`. Receivers are woken only when it says something new.
pub(crate) async fn follow_serving(
    agent: Client,
    heard: watch::Sender<Heard>,
    parking: Arc<Parking>,
    shutdown: Shutdown,
) {
    let mut reachable = true;
    let follow = async {
        loop {
            let known = heard.borrow().serving.clone();
            let asked = Boot::now();
            match ask_serving(&agent, known.as_ref()).await {
                Ok(serving) => {
                    if !reachable {
                        tracing::info!("the agent is back");
                    }
                    reachable = true;
                    let news = |heard: &mut Heard| {
                        heard.at = Some(Boot::now());
                        let new = heard.serving.as_ref() != Some(&serving);
                        if new {
                            tracing::info!(epoch = %serving.epoch, primary = %serving.primary, mode = %serving.mode,
                                open = serving.open, "the agent says what is served here");
                            heard.number += 1;
                            heard.serving = Some(serving.clone());
                        }
                        new
                    };
                    let new = heard.send_if_modified(news);
                    if new {
                        // Behind the threads' news: who is let go on now waits until its thread knows it, too.
                        let number = heard.borrow().number;
                        parking.hear(number, serving.clone());
                    }
                    if !new && asked.elapsed() < PAUSE {
                        // An agent that does not wait must not be asked in a tight circle.
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                Err(e) => {
                    if reachable {
                        tracing::warn!(
                            "the agent does not say what is served here: {e}; going on with its last words"
                        );
                    }
                    reachable = false;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    };
    tokio::select! {
        () = follow => {}
        () = shutdown.cancelled() => {}
    }
}

async fn ask_serving(agent: &Client, known: Option<&Serving>) -> Result<Serving, ClientError> {
    let Some(known) = known else { return agent.get("/v1/serving", GRACE).await };
    let opening = known.primary == known.site && !known.open;
    let wait_ms = if opening { POLL_OPENING_MS } else { POLL_MS };
    let Serving { epoch, stream, primary, mode, open, .. } = known;
    let path = format!(
        "/v1/serving?epoch={epoch}&stream={stream}&primary={primary}&mode={mode}&open={open}&wait_ms={wait_ms}"
    );
    agent.get(&path, Duration::from_millis(wait_ms) + GRACE).await
}

/// What became of a held answer.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It may go out, in `solo` only before this moment (milliseconds of [`Boot`]).
    Release { before_ms: Option<u64> },
    /// It must not go out.
    Unknown { why: Why, position: Option<Position> },
}

/// Drives one thread's gate.
pub(crate) struct GateDriver {
    gate: RefCell<Gate>,
    waiters: RefCell<HashMap<AnswerId, oneshot::Sender<Outcome>>>,
    next_answer: Cell<u64>,
    agent: Client,
    /// The gate's next wake-up may have moved.
    moved: Notify,
    metrics: Arc<GatewayMetrics>,
}

impl GateDriver {
    /// Starts driving a gate on this thread; its tasks end with the thread's `LocalSet`.
    pub(crate) fn start(limits: Limits, agent: Client, metrics: Arc<GatewayMetrics>) -> Rc<GateDriver> {
        let driver = Rc::new(GateDriver {
            gate: RefCell::new(Gate::new(limits)),
            waiters: RefCell::default(),
            next_answer: Cell::new(0),
            agent,
            moved: Notify::new(),
            metrics,
        });
        spawn_local(driver.clone().tick());
        driver
    }

    /// Answers held on this thread.
    pub(crate) fn held(&self) -> usize {
        self.gate.borrow().held()
    }

    /// Waits until the answer of a request that began in this epoch and stream may go out, or must not.
    ///
    /// `since_ms`: when it first began to wait. Dropping the future forgets the answer.
    pub(crate) async fn wait(self: &Rc<Self>, began: &Began, since_ms: u64) -> Outcome {
        let id = AnswerId(self.next_answer.replace(self.next_answer.get() + 1));
        let (tell, told) = oneshot::channel();
        self.waiters.borrow_mut().insert(id, tell);
        let waiting = Waiting { driver: self, id };
        self.metrics.held.inc();
        let Began { epoch, stream } = began.clone();
        self.step(Event::Answered { id, epoch, stream, since_ms });
        let outcome = told.await;
        drop(waiting);
        // The sender lives in `waiters` until it has told.
        outcome.unwrap_or(Outcome::Unknown { why: Why::TooLong, position: None })
    }

    /// News from the long poll.
    pub(crate) fn epoch_known(self: &Rc<Self>, epoch: Epoch) {
        self.step(Event::EpochKnown(epoch));
    }

    fn step(self: &Rc<Self>, event: Event) {
        let mut effects = Vec::new();
        let wake_before = {
            let mut gate = self.gate.borrow_mut();
            let before = gate.wake_at_ms();
            gate.step(Boot::now().as_ms(), event, &mut effects);
            before != gate.wake_at_ms()
        };
        if wake_before {
            self.moved.notify_one();
        }
        for effect in effects {
            match effect {
                Effect::Ask(id, request) => {
                    spawn_local(self.clone().ask(id, request));
                }
                Effect::Release { id, before_ms } => self.tell(id, Outcome::Release { before_ms }),
                Effect::Unknown { id, why, position } => self.tell(id, Outcome::Unknown { why, position }),
            }
        }
    }

    fn tell(&self, id: AnswerId, outcome: Outcome) {
        // Nobody listens when the visitor has just left: then nothing goes out, which is what is wanted.
        if let Some(waiter) = self.waiters.borrow_mut().remove(&id) {
            waiter.send(outcome).ok();
        }
    }

    async fn ask(self: Rc<Self>, id: BarrierId, request: BarrierRequest) {
        self.metrics.barriers.inc();
        let sent = Boot::now();
        let within = Duration::from_millis(request.wait_ms) + GRACE;
        let reply: Result<BarrierReply, _> = self.agent.post("/v1/barrier", &request, within).await;
        self.metrics.barrier_s.observe(sent.elapsed().as_secs_f64());
        match reply {
            Ok(reply) => self.step(Event::Replied(id, reply)),
            Err(e) => {
                self.metrics.barrier_failures.inc();
                tracing::debug!("barrier: {e}");
                self.step(Event::Failed(id));
            }
        }
    }

    async fn tick(self: Rc<Self>) {
        loop {
            let wake_at_ms = self.gate.borrow().wake_at_ms();
            let moved = self.moved.notified();
            match wake_at_ms {
                None => moved.await,
                Some(at) => {
                    let left_ms = at.saturating_sub(Boot::now().as_ms());
                    if left_ms == 0 {
                        // Behind all that is ready on this thread: their answers share the barrier.
                        tokio::task::yield_now().await;
                        self.step(Event::Tick);
                        continue;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(left_ms)) => self.step(Event::Tick),
                        () = moved => {}
                    }
                }
            }
        }
    }
}

/// Forgets the answer when its visitor leaves.
struct Waiting<'a> {
    driver: &'a Rc<GateDriver>,
    id: AnswerId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.driver.metrics.held.dec();
        if self.driver.waiters.borrow_mut().remove(&self.id).is_some() {
            self.driver.step(Event::Abandoned(self.id));
        }
    }
}
