//! The standby's side of the link: applies the primary's stream to this database.
//!
//! One visible loop: frames and finished work go into the [`Checkpoint`], and what it answers goes to the database
//! or, as a watermark, back up the link. It decides nothing itself. Any error ends the attempt; the next one
//! begins at what the slot says.

mod ddl;
mod fold;
mod prepare;
mod relations;
mod session;
mod spool;
mod sql;
mod target;
mod told;
pub(crate) mod upsert;

use std::{
    collections::HashMap, convert::Infallible, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use model::{
    Epoch, Incarnation, Position, Site, Watermark,
    agent::{Reinstatement, Slot, StandbyPhase},
    topology::WithoutPrimaryKey,
};
use runtime::{
    clock::{Boot, Wall},
    process::Shutdown,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep, sleep_until},
};

pub use self::ddl::fingerprint;
pub(crate) use self::{
    ddl::run as run_definition,
    relations::{Name, Relations},
    session::{Session, without_key},
    sql::{Packet, Packets, by_key, found, hex, portable_literal, quoted, text},
    target::{Form, NoTarget, Target},
    told::told,
};
use self::{
    prepare::{Prepared, Way},
    session::Known,
    spool::{Spool, SpoolError},
};
use crate::{
    checkpoint::{Batch, Checkpoint, Content, Effect, Event, OutOfOrder, Part, Work},
    copy::{
        Chunk,
        verify::{self, Placed, Verifier},
    },
    database::{DatabaseConfig, DatabaseError},
    link::{
        self, ALIVE_EVERY, Connected, Identity, Link, LinkError, Receiver, SILENCE_MAX, Sender,
        frame::{Down, PROTOCOL, Refusal, Request, Up, Want},
    },
    metrics::ReplicateMetrics,
    transaction::{At, Change, End, Table},
};

/// A standby, in one epoch and one life of its data. Used by [`follow`] and by [`crate::copy::fill::run`].
#[derive(Clone, Debug)]
pub struct StandbyConfig {
    /// This site's database.
    pub database: DatabaseConfig,
    /// The primary's agent, as reached from here.
    pub peer_link: SocketAddr,
    /// Who this agent is on the link.
    pub identity: Identity,
    /// This site.
    pub site: Site,
    /// The primary's site.
    pub origin: Site,
    /// The epoch in which to apply. The row must be at it, and the slot attached to it.
    pub epoch: Epoch,
    /// The life of this database's data, as the register names it; stamped on every watermark.
    pub incarnation: Incarnation,
    /// Whether a table without primary key may be applied.
    pub tables_without_primary_key: WithoutPrimaryKey,
    /// What is compared with the primary meanwhile.
    pub verifier: Verifier,
    /// A folder of this follower alone, on disk, for transactions that are too large for memory. It is emptied at the
    /// start, made when it is not there, and removed at the end.
    pub spool: PathBuf,
    /// What is counted. A fresh `Arc::default()` where nobody reads it.
    pub metrics: Arc<ReplicateMetrics>,
}

/// How far along a standby is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowProgress {
    /// What it is doing.
    pub phase: StandbyPhase,
    /// The slot after the last COMMIT.
    pub slot: Option<Slot>,
    /// The newest watermark sent.
    pub watermark: Option<Watermark>,
    /// Milliseconds between the primary's writing of its last heartbeat (its wall clock) and our application of
    /// it (our wall clock). Only as good as the two clocks agree.
    pub lag_ms: Option<u64>,
    /// When the last heartbeat was applied, on this machine's clock.
    pub heartbeat_at: Option<Boot>,
    /// How far a reinstatement is, while there is one.
    pub reinstating: Option<Reinstatement>,
    /// Rows copied so far, while seeding.
    pub rows_seeded: u64,
    /// Why there is no progress at the moment, in words; `None` while there is.
    pub trouble: Option<String>,
}

impl Default for FollowProgress {
    fn default() -> Self {
        FollowProgress {
            phase: StandbyPhase::Connecting,
            slot: None,
            watermark: None,
            lag_ms: None,
            heartbeat_at: None,
            reinstating: None,
            rows_seeded: 0,
            trouble: None,
        }
    }
}

/// Why a standby stopped for good. Whatever passes by itself (a cut link, a restarting database, a primary that
/// is not ready) is not here: it is waited out.
#[derive(Debug, thiserror::Error)]
pub enum StandbyError {
    /// The row of this database is no longer at our epoch, or the slot is not ours. Nobody's fault: a promotion
    /// or a fence came between. Read row and register again.
    #[error("{0}")]
    EpochMoved(String),
    /// There is no slot that could be continued: this database must be seeded (in a new incarnation).
    #[error("{0}")]
    NoSlot(String),
    /// The primary no longer has the log that this standby would continue with: this database must be filled anew
    /// (in a new incarnation).
    #[error("{0}")]
    PositionLost(String),
    /// The primary's log is another one than this standby followed. An operator decides whose data count.
    #[error("{0}")]
    OtherLog(String),
    /// This database holds something else than the primary did when it made a change. Nothing was overwritten.
    /// An operator must find out who wrote here, then repair or seed.
    #[error("{0}")]
    Conflict(String),
    /// The stream holds something that cannot be applied (a setting, a kind of table or statement). The operator's
    /// to mend, as the text says.
    #[error("{0}")]
    Unsupported(String),
    /// These data hold what the new primary's never did, and it cannot be undone row by row: compare and repair them.
    /// What could be read of it is in quarantine.
    #[error("{0}")]
    CannotBeUndone(String),
    /// The peer's agent does not let us in (token, version, or it is not what the topology says).
    #[error("{0}")]
    Refused(String),
    /// The database refuses what it must allow.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It passes by itself: try again.
    Passing(String),
    /// It does not.
    Final(StandbyError),
}

impl From<StandbyError> for Ended {
    fn from(e: StandbyError) -> Self {
        match e {
            StandbyError::Database(e) if e.is_transient() => Ended::Passing(e.to_string()),
            e => Ended::Final(e),
        }
    }
}

impl From<DatabaseError> for Ended {
    fn from(e: DatabaseError) -> Self {
        StandbyError::from(e).into()
    }
}

impl From<LinkError> for Ended {
    fn from(e: LinkError) -> Self {
        match e {
            LinkError::Denied(why) => Ended::Final(StandbyError::Refused(why)),
            e => Ended::Passing(e.to_string()),
        }
    }
}

impl From<SpoolError> for Ended {
    fn from(e: SpoolError) -> Self {
        Ended::Passing(e.to_string())
    }
}

impl From<OutOfOrder> for Ended {
    fn from(e: OutOfOrder) -> Self {
        Ended::Final(StandbyError::Refused(e.to_string()))
    }
}

impl From<Refusal> for Ended {
    fn from(why: Refusal) -> Self {
        match why {
            Refusal::NotNow(why) => Ended::Passing(why),
            Refusal::PositionLost(why) => Ended::Final(StandbyError::PositionLost(why)),
            Refusal::OtherLog(why) => Ended::Final(StandbyError::OtherLog(why)),
            Refusal::Unsupported(why) => Ended::Final(StandbyError::Unsupported(why)),
            Refusal::Denied(why) => Ended::Final(StandbyError::Refused(why)),
        }
    }
}

/// The pauses between attempts.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Makes attempts until one succeeds, `stop` comes (then `None`), or trying again cannot help.
pub(crate) async fn retry<'a, T>(
    progress: &watch::Sender<FollowProgress>,
    stop: &Shutdown,
    attempt: impl Fn() -> BoxFuture<'a, Result<T, Ended>>,
) -> Result<Option<T>, StandbyError> {
    let mut pause = PAUSE_FIRST;
    loop {
        let began = Instant::now();
        let outcome = tokio::select! {
            () = stop.cancelled() => return Ok(None),
            outcome = attempt() => outcome,
        };
        let why = match outcome {
            Ok(value) => return Ok(Some(value)),
            Err(Ended::Final(e)) => {
                tell_trouble(progress, &e.to_string());
                return Err(e);
            }
            Err(Ended::Passing(why)) => why,
        };
        tracing::info!("the standby begins again: {why}");
        tell_trouble(progress, &why);
        pause = if began.elapsed() > PAUSE_MAX { PAUSE_FIRST } else { (pause * 2).min(PAUSE_MAX) };
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = sleep(pause) => {}
        }
    }
}

fn tell_trouble(progress: &watch::Sender<FollowProgress>, why: &str) {
    progress.send_modify(|p| {
        p.phase = StandbyPhase::Connecting;
        p.trouble = Some(why.to_owned());
    });
}

/// Connects to the primary's agent and asks for something.
pub(crate) async fn ask(config: &StandbyConfig, want: Want) -> Result<Link, Ended> {
    let request = Request {
        protocol: PROTOCOL,
        site: config.site.clone(),
        epoch: config.epoch,
        incarnation: config.incarnation,
        want,
    };
    match link::connect(config.peer_link, &config.identity, &config.origin, request).await? {
        Connected::Welcome(link) => Ok(*link),
        Connected::Refused(why) => Err(why.into()),
    }
}

/// Applies the primary's stream until `stop`, from where the slot says, reconnecting by itself.
///
/// Returns `Ok` on `stop` (the transaction under way is rolled back or finished, never half done), and an error
/// only when trying again cannot help.
pub async fn follow(
    config: StandbyConfig,
    progress: watch::Sender<FollowProgress>,
    stop: Shutdown,
) -> Result<(), StandbyError> {
    retry(&progress, &stop, || attempt(&config, &progress).boxed()).await.map(|_: Option<Infallible>| ())
}

/// What the session's side of the loop is given.
enum Order {
    Describe(u32, Table),
    /// With the batch prepared ahead, if it was.
    Work(Work, Option<Preparing>),
}

/// A batch that is being prepared on another thread. `None` comes of it if a table is not known yet.
type Preparing = JoinHandle<Option<Prepared>>;

/// One connection, from the slot until something breaks.
async fn attempt(
    config: &StandbyConfig,
    progress: &watch::Sender<FollowProgress>,
) -> Result<Infallible, Ended> {
    let (mut session, slot) = Session::attach(config.clone()).await?;
    let spool = Arc::new(Spool::open(&config.spool)?);
    let Link { sender, receiver } = ask(config, Want::Log(slot.position.clone())).await?;
    tracing::info!(origin = %config.origin, "following from {}", slot.position);
    let (orders_to, mut orders) = mpsc::unbounded_channel();
    let (done_to, done) = mpsc::channel(1);
    let (known, kept) = (session.known(), spool.clone());
    let working = async {
        while let Some(order) = orders.recv().await {
            match order {
                Order::Describe(number, table) => session.describe(number, table),
                Order::Work(work, preparing) => {
                    let ready = match preparing {
                        // What could not be prepared ahead is prepared now.
                        Some(preparing) => preparing.await.ok().flatten(),
                        None => None,
                    };
                    session.work(work, ready, &kept).await?;
                    if done_to.send(()).await.is_err() {
                        break;
                    }
                }
            }
        }
        Err::<Infallible, Ended>(Ended::Passing("the loop has ended".into()))
    };
    let (asks_to, asks) = mpsc::channel(1);
    let (placed_to, placed) = mpsc::channel(1);
    let mut following = Following {
        asks,
        chunk: None,
        placed: placed_to,
        config,
        progress,
        sender,
        orders: orders_to,
        known,
        spool,
        tables: Tables::default(),
        ahead: None,
        checkpoint: Checkpoint::new(At::from(&slot.position)),
        slot,
        effects: Vec::new(),
    };
    following.progress.send_modify(|p| {
        p.phase = StandbyPhase::Attached;
        p.trouble = None;
    });
    // What was applied before this connection is durable as well; the primary may wait for nothing else.
    following.tell(End { at: At::from(&following.slot.position), heartbeat_at_ms: None }).await?;
    let ended = tokio::select! {
        ended = working => ended,
        ended = following.run(receiver, done) => ended,
        ended = verify::drive(config, asks_to, placed) => ended,
    };
    config.verifier.disconnected("the connection to the primary");
    ended
}

/// The tables that the link has described. Its numbers may be given again to others; ours are not, because changes
/// that wait still name them.
#[derive(Default)]
struct Tables {
    numbers: HashMap<u32, u32>,
    shapes: Vec<Table>,
    by_name: HashMap<String, Vec<u32>>,
}

impl Tables {
    /// Takes a description; returns our number of the table if it is a new one.
    fn describe(&mut self, theirs: u32, table: &Table) -> Option<u32> {
        let same_name = self.by_name.entry(table.to_string()).or_default();
        let shapes = &self.shapes;
        let known = same_name.iter().find(|n| shapes.get(**n as usize) == Some(table)).copied();
        let ours = known.unwrap_or_else(|| {
            let new = u32::try_from(self.shapes.len()).unwrap_or(u32::MAX);
            same_name.push(new);
            self.shapes.push(table.clone());
            new
        });
        self.numbers.insert(theirs, ours);
        known.is_none().then_some(ours)
    }

    /// Gives changes our numbers. False: a table was never described.
    fn renumber(&self, changes: &mut [Change]) -> bool {
        changes.iter_mut().all(|change| match change {
            Change::Rows { table, .. } => self.numbers.get(table).map(|ours| *table = *ours).is_some(),
            Change::Savepoint(_) | Change::Statement(_) => true,
        })
    }
}

/// The loop's own part: the link, the checkpoint, and what is told of them.
struct Following<'a> {
    config: &'a StandbyConfig,
    progress: &'a watch::Sender<FollowProgress>,
    sender: Sender,
    orders: mpsc::UnboundedSender<Order>,
    known: Arc<Known>,
    spool: Arc<Spool>,
    tables: Tables,
    /// The batch that is prepared for the next work.
    ahead: Option<(Arc<Batch>, Preparing)>,
    checkpoint: Checkpoint,
    slot: Slot,
    effects: Vec<Effect>,
    /// What the verifier asks of the primary.
    asks: mpsc::Receiver<Up>,
    /// A chunk that has come: nothing more is read until everything in front of it is applied.
    chunk: Option<Box<Chunk>>,
    /// To the verifier.
    placed: mpsc::Sender<Placed>,
}

impl Following<'_> {
    async fn run(
        &mut self,
        mut receiver: Receiver,
        mut done: mpsc::Receiver<()>,
    ) -> Result<Infallible, Ended> {
        let mut heard = Instant::now();
        let mut pulse = tokio::time::interval(ALIVE_EVERY);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let reading = self.checkpoint.wants_more() && self.chunk.is_none();
            tokio::select! {
                frame = receiver.receive(), if reading => {
                    heard = Instant::now();
                    self.take(frame?)?;
                }
                Some(()) = done.recv() => {
                    self.checkpoint.step(Event::Done, &mut self.effects)?;
                    if !reading {
                        heard = Instant::now(); // it was we who did not listen
                    }
                }
                Some(asked) = self.asks.recv() => self.sender.send(&asked).await?,
                // So that the primary can tell a link that is cut towards us from one that is cut towards it.
                _ = pulse.tick() => self.sender.send(&Up::Alive).await?,
                () = sleep_until(heard + SILENCE_MAX), if reading => return Err(LinkError::Silent.into()),
            }
            for effect in std::mem::take(&mut self.effects) {
                self.act(effect).await?;
            }
            if self.checkpoint.is_idle()
                && let Some(chunk) = self.chunk.take()
            {
                let (go_on, may_go_on) = oneshot::channel();
                // Either side's end is this connection's end.
                drop(self.placed.send(Placed { chunk: *chunk, go_on }).await);
                drop(may_go_on.await);
                heard = Instant::now();
            }
        }
    }

    async fn act(&mut self, effect: Effect) -> Result<(), Ended> {
        match effect {
            Effect::Work(work) => {
                let ready = match (&work, self.ahead.take()) {
                    (Work::Apply { content: Content::Batch(batch), .. }, Some((ahead, preparing)))
                        if Arc::ptr_eq(batch, &ahead) =>
                    {
                        Some(preparing)
                    }
                    (_, ahead) => {
                        self.ahead = ahead;
                        None
                    }
                };
                // The session's side ends only together with this loop.
                drop(self.orders.send(Order::Work(work, ready)));
            }
            Effect::Prepare(batch) => {
                let (known, ahead) = (self.known.clone(), batch.clone());
                self.ahead = Some((batch, spawn_blocking(move || known.prepare(&ahead, Way::Merged))));
            }
            Effect::Applied(end) => self.tell(end).await?,
            Effect::Spool(number, changes) => {
                let spool = self.spool.clone();
                let kept = spawn_blocking(move || spool.append(number, &changes)).await;
                kept.map_err(|e| Ended::Passing(format!("a large transaction could not be kept: {e}")))??;
            }
            Effect::Forget(number) => self.spool.forget(number)?,
        }
        Ok(())
    }

    fn take(&mut self, frame: Down) -> Result<(), Ended> {
        let event = match frame {
            Down::Part { mut changes, end } => {
                if !self.tables.renumber(&mut changes) {
                    return Err(LinkError::Senseless.into());
                }
                Event::Part(Part { changes, end })
            }
            Down::Abandoned => Event::Abandoned,
            Down::Table { number, table } => {
                if let Some(ours) = self.tables.describe(number, &table) {
                    drop(self.orders.send(Order::Describe(ours, table)));
                }
                return Ok(());
            }
            Down::Alive => return Ok(()),
            Down::Refused(why) => return Err(why.into()),
            Down::Chunk(chunk) => {
                self.chunk = Some(chunk);
                return Ok(());
            }
            Down::Outline(_) | Down::Failovers(_) => return Err(LinkError::Senseless.into()),
        };
        Ok(self.checkpoint.step(event, &mut self.effects)?)
    }

    /// Sends the watermark, then tells our own side.
    async fn tell(&mut self, end: End) -> Result<(), Ended> {
        let position: Position = end.at.in_stream(&self.slot.position.stream);
        self.slot.position = position.clone();
        let watermark =
            Watermark { epoch: self.config.epoch, incarnation: self.config.incarnation, position };
        self.sender.send(&Up::Watermark(watermark.clone())).await?;
        self.progress.send_modify(|p| {
            p.slot = Some(self.slot.clone());
            p.watermark = Some(watermark);
            if let Some(written_ms) = end.heartbeat_at_ms {
                p.lag_ms = Some(Wall::now().as_ms().saturating_sub(written_ms));
                p.heartbeat_at = Some(Boot::now());
            }
        });
        Ok(())
    }
}
