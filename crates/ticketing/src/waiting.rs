//! The waiting rooms as this instance knows them: one loop that reads them once a second, and one that enters people
//! by the hundred.
//!
//! What is read stays when the database refuses: a page goes on telling the last known numbers, and says that they
//! are old. Nobody enters meanwhile, nobody loses a place.
//!
//! Owns: the last reading of every room, the drawn orders, this instance's [`Pace`]s. Decides nothing: that is
//! [`crate::queue`].

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    clock::Clock,
    queue::{
        Phase, Sale,
        admit::{Limits, Pace, Sample, TICK_MS, Why},
        draw::{Class, Entry, Order, Seed},
        measure::{Counted, Gauge},
        origin::Origins,
        place::{self, Place},
        ticket::Ticket,
    },
    refusal::{QueueRefusal, Refusal},
    store::{Joined, Joining, Store, StoreError},
};

/// Entries of one transaction.
const BATCH_MAX: usize = 1_000;
/// Entries that may wait for a transaction. Beyond, the answer is "not now": better than a long silence.
const PENDING_MAX: usize = 50_000;
/// Entries of one network that are drawn like everybody.
const ORIGIN_LIMIT: u16 = 100;
/// A reading older than this is told as old.
const FRESH_MS: u64 = 5_000;

/// The waiting rooms. Cheap to clone.
#[derive(Clone)]
pub struct Waiting {
    inner: Arc<Inner>,
}

struct Inner {
    rooms: Mutex<HashMap<u32, Arc<Room>>>,
    asks: mpsc::Sender<Ask>,
    gauge: Gauge,
    origins: Mutex<Origins>,
    clock: Clock,
}

/// A waiting room as it was last read.
#[derive(Clone, Debug)]
pub struct Room {
    /// Its row.
    pub sale: Sale,
    /// What the lottery is drawn with. Shown only once it was.
    seed: Seed,
    order: Option<Arc<Order>>,
    /// Why the pace is what it is.
    pub why: Why,
    /// When it was read.
    pub read_ms: u64,
}

struct Ask {
    room: u32,
    entry: Entry,
    class: Class,
    answer: oneshot::Sender<Result<Joined, Refusal>>,
}

impl Room {
    /// Whether the reading is a recent one.
    pub fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.read_ms) < FRESH_MS
    }

    /// The seed, once the lottery is drawn.
    pub fn revealed(&self) -> Option<&Seed> {
        self.sale.early.map(|_| &self.seed)
    }

    /// Where a ticket stands.
    pub fn place(&self, ticket: &Ticket, now_ms: u64) -> Place {
        let drawn = self.order.as_deref().map(|order| (&self.seed, order));
        place::place(&self.sale, ticket, drawn, now_ms)
    }
}

impl Waiting {
    /// Starts both loops. They end when the last clone is gone.
    pub fn start(store: Store, clock: Clock) -> Waiting {
        let (asks, asked) = mpsc::channel(PENDING_MAX);
        let inner = Arc::new(Inner {
            rooms: Mutex::new(HashMap::new()),
            asks,
            gauge: Gauge::default(),
            origins: Mutex::new(Origins::new(ORIGIN_LIMIT)),
            clock: clock.clone(),
        });
        tokio::spawn(enter(store.clone(), clock, asked));
        tokio::spawn(keep(Arc::downgrade(&inner), store));
        Waiting { inner }
    }

    /// The room of a performance, if it has one.
    pub fn room(&self, performance: u32) -> Option<Arc<Room>> {
        self.inner.rooms.lock().unwrap_or_else(PoisonError::into_inner).get(&performance).cloned()
    }

    /// Counts an answer of the box office, for the pace.
    pub fn measured(&self, took_ms: u64, refused: bool) {
        self.inner.gauge.count(took_ms, refused);
    }

    /// Enters somebody, or finds them where they are.
    pub async fn join(&self, room: u32, entry: Entry, from: Option<IpAddr>) -> Result<Ticket, Refusal> {
        let class = match from {
            Some(from) => self.inner.origins.lock().unwrap_or_else(PoisonError::into_inner).count(from),
            None => Class::Ordinary,
        };
        let (answer, joined) = oneshot::channel();
        let asked = self.inner.asks.try_send(Ask { room, entry, class, answer });
        if asked.is_err() {
            return Err(Refusal::NotNow);
        }
        let joined = joined.await.map_err(|_| Refusal::NotNow)??;
        Ok(Ticket { sale: room, entry, class: joined.class, number: joined.number })
    }

    /// What time it is here.
    pub fn now_ms(&self) -> u64 {
        self.inner.clock.now_ms()
    }
}

/// Enters whoever asks, as many at once as asked while the last transaction ran.
async fn enter(store: Store, clock: Clock, mut asked: mpsc::Receiver<Ask>) {
    let mut asks = Vec::with_capacity(BATCH_MAX);
    loop {
        if asked.recv_many(&mut asks, BATCH_MAX).await == 0 {
            return;
        }
        let mut by_room: HashMap<u32, Vec<Ask>> = HashMap::new();
        for ask in asks.drain(..) {
            by_room.entry(ask.room).or_default().push(ask);
        }
        for (room, asks) in by_room {
            let mut seen = HashSet::with_capacity(asks.len());
            let entries: Vec<(Entry, Class)> =
                asks.iter().filter(|ask| seen.insert(ask.entry)).map(|ask| (ask.entry, ask.class)).collect();
            let joining = store.join(room, entries, clock.now_ms()).await;
            for ask in asks {
                // Whoever went away does not hear it; the entry stands all the same.
                if ask.answer.send(told(&joining, ask.entry)).is_err() {
                    tracing::debug!(room, "a visitor left while entering");
                }
            }
        }
    }
}

fn told(joining: &Result<Joining, StoreError>, entry: Entry) -> Result<Joined, Refusal> {
    match joining {
        Ok(Joining::In(joined)) => joined.get(&entry).copied().ok_or(Refusal::Broken),
        Ok(Joining::NoRoom) => Err(Refusal::NoSuch),
        Ok(Joining::NotNow(Phase::Closed)) => Err(Refusal::Queue(QueueRefusal::Closed)),
        Ok(Joining::NotNow(_)) => Err(Refusal::Queue(QueueRefusal::Drawing)),
        Err(StoreError::NotNow(_) | StoreError::Duplicate(_)) => Err(Refusal::NotNow),
        Err(e) => {
            tracing::error!("entering the waiting room: {e}");
            Err(Refusal::Broken)
        }
    }
}

/// Reads the rooms every second, draws what is due, calls numbers.
async fn keep(inner: Weak<Inner>, store: Store) {
    let mut tick = tokio::time::interval(Duration::from_millis(TICK_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut paces: HashMap<u32, Pace> = HashMap::new();
    loop {
        tick.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let now_ms = inner.clock.now_ms();
        let counted = inner.gauge.take();
        let read = match store.rooms(now_ms).await {
            Ok(read) => read,
            Err(e) => {
                tracing::debug!("the waiting rooms cannot be read: {e}");
                continue;
            }
        };
        let known = inner.rooms.lock().unwrap_or_else(PoisonError::into_inner).clone();
        paces.retain(|id, _| read.iter().any(|(sale, _)| sale.id == *id));
        let mut rooms = HashMap::with_capacity(read.len());
        for (sale, seed) in read {
            let before = known.get(&sale.id);
            let room = Room {
                order: before.and_then(|room| room.order.clone()),
                why: before.map_or(Why::First, |room| room.why),
                sale,
                seed,
                read_ms: now_ms,
            };
            let id = room.sale.id;
            match Box::pin(turn(&store, room, &mut paces, &counted, now_ms)).await {
                Ok(room) => {
                    rooms.insert(id, Arc::new(room));
                }
                Err(e) => {
                    tracing::debug!(performance = id, "the waiting room waits: {e}");
                    if let Some(before) = before {
                        rooms.insert(id, before.clone());
                    }
                }
            }
        }
        *inner.rooms.lock().unwrap_or_else(PoisonError::into_inner) = rooms;
    }
}

/// One look at one room.
async fn turn(
    store: &Store,
    mut room: Room,
    paces: &mut HashMap<u32, Pace>,
    counted: &Counted,
    now_ms: u64,
) -> Result<Room, StoreError> {
    let id = room.sale.id;
    if room.sale.phase(now_ms) == Phase::Drawing && store.draw_lottery(id).await? {
        tracing::info!(performance = id, "the lottery is drawn");
    }
    let Some(early) = room.sale.early else { return Ok(room) };
    if room.order.is_none() {
        let (seed, entries) = (room.seed.clone(), store.early_entries(id).await?);
        // A second's work for a million entries: not on a thread that answers visitors.
        let drawn = tokio::task::spawn_blocking(move || Order::draw(&seed, id, entries)).await;
        let order = drawn.map_err(|e| StoreError::Broken(format!("the lottery of {id}: {e}")))?;
        if order.len() != early {
            tracing::error!(
                performance = id,
                early,
                found = order.len(),
                "the lobby changed after the lottery"
            );
        }
        room.order = Some(Arc::new(order));
    }
    let inside = store.inside(id, now_ms).await?;
    let sample = Sample {
        attempts: counted.attempts,
        refused: counted.refused,
        p95_ms: counted.p95_ms,
        inside: inside.turns,
        came: inside.came,
        seats_free: inside.seats_free,
    };
    let pace = paces.entry(id).or_insert_with(|| Pace::resumed(Limits::default(), room.sale.pace_milli));
    let call = pace.step(now_ms, room.sale.serving, room.sale.given, &sample);
    room.why = call.why;
    if call.serving > room.sale.serving
        && store.call(id, room.sale.serving, call.serving, call.pace_milli, now_ms).await?
    {
        room.sale.serving = call.serving;
        room.sale.pace_milli = call.pace_milli;
    }
    Ok(room)
}
