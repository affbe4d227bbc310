//! In which order a transaction, its slot and its watermark become true: the standby's core, sans-IO.
//!
//! [`Checkpoint`] takes the stream's parts and hands out work for the database, one piece at a time; when a piece
//! is done it says so, and the next follows. While one piece is under way further transactions gather, and then
//! go together as one [`Batch`] in one transaction of this database: one when there is nothing else, thousands when
//! much waits. A batch that is full is handed out for preparation ahead of its turn.
//!
//! The invariants, in the order in which they are kept:
//! 1. Only whole transactions are handed out, so that no transaction of this database waits for the link. One that
//!    is too large to be kept in memory until its end has come is spooled to disk ([`Effect::Spool`]) and applied
//!    from there.
//! 2. A piece of work that opens a transaction moves the slot by compare-and-set *first*, so that the transaction
//!    bears its mark before its first row and cannot be applied twice.
//! 3. The COMMIT is handed out only after all statements were executed and their outcomes checked.
//! 4. A position is told ([`Effect::Applied`]) only after that COMMIT's OK, never earlier.
//! 5. One transaction of this database never holds a definition (DDL) together with anything before it, and nothing
//!    behind a definition is prepared before that has run.
//! 6. There is no way back: after any error the whole value is thrown away, and a new one begins at what the
//!    slot then says. Whether a COMMIT whose OK was lost took effect is therefore never guessed.

use std::{collections::VecDeque, fmt, str::FromStr, sync::Arc};

use model::{
    Epoch, StreamId,
    sabotage::{self, Sabotage},
};

use crate::{
    row::AppliedSlot,
    transaction::{At, Change, End, Statement},
};

/// Transactions applied together cost at most this many bytes (a larger one goes alone).
pub const BATCH_COST_MAX: usize = 8 * 1024 * 1024;

/// At most so many transactions are applied together.
pub const BATCH_TRANSACTIONS_MAX: usize = 10_000;

/// With this much waiting, nothing more should be read from the link.
const WAITING_COST_MAX: usize = 16 * 1024 * 1024;

/// A transaction without an end as yet is kept in memory up to this cost, then spooled.
const SPOOL_AT_COST: usize = 4 * 1024 * 1024;

/// The next steps of the stream. With `end`, they are the last ones of their transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// In order.
    pub changes: Vec<Change>,
    /// Where the transaction ends, if it does.
    pub end: Option<End>,
}

/// What can happen to a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The stream went on.
    Part(Part),
    /// The parts since the last end are void.
    Abandoned,
    /// The work handed out last has succeeded. (If it fails, there is no next step.)
    Done,
}

/// Whole transactions that are applied together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// All their steps, in order. None is a definition.
    pub changes: Vec<Change>,
    /// How many transactions they are.
    pub transactions: usize,
}

/// What the database is to do. Each piece in the session of the pieces before it.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Execute, and check every outcome.
    Apply {
        /// The slot as it must stand.
        from: At,
        /// Begin a transaction: lock and check the epoch, then move the slot. Otherwise one is open, and the slot is
        /// marked; then it is moved last.
        opens: bool,
        /// What to execute.
        content: Content,
        /// Where the slot is to stand.
        to: At,
    },
    /// Run a definition, and leave a transaction open behind it, with the epoch's lock held and the slot marked.
    Define {
        /// The slot as it must stand.
        from: At,
        /// The definition.
        statement: Statement,
    },
    /// COMMIT.
    Commit,
}

/// What a piece of work executes.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// These transactions. The same value as was given in an [`Effect::Prepare`], if it was.
    Batch(Arc<Batch>),
    /// The one transaction that was spooled under this number.
    Spooled(u64),
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Give it to the database; answer with [`Event::Done`].
    Work(Work),
    /// This will be the content of the next work; what can be done for it without the database may begin.
    Prepare(Arc<Batch>),
    /// Everything up to here is durable: send the watermark.
    Applied(End),
    /// Keep these steps on disk, behind those that were kept under the same number before.
    Spool(u64, Vec<Change>),
    /// What was kept under this number is needed no more.
    Forget(u64),
}

/// The peer broke the protocol; connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream is out of order: {0}")]
pub struct OutOfOrder(&'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Nothing is handed out.
    Nothing,
    /// Statements are; with the end that the slot was moved to, and the spool that they came from.
    Applying(End, Option<u64>),
    /// A definition is.
    Defining,
    /// A COMMIT is.
    Committing(End, Option<u64>),
}

/// A transaction whose end has not come.
#[derive(Debug, Default)]
struct Gathering {
    /// It begins with this definition (CREATE TABLE … SELECT, or nothing but the definition).
    definition: Option<Statement>,
    changes: Vec<Change>,
    cost: usize,
    /// Its first steps are on disk.
    spool: Option<u64>,
}

/// A whole transaction that waits.
#[derive(Debug)]
struct Waiting {
    definition: Option<Statement>,
    body: Body,
    end: End,
    cost: usize,
}

#[derive(Debug)]
enum Body {
    Here(Vec<Change>),
    Spooled(u64),
}

/// How far this standby is, and what waits.
#[derive(Debug)]
pub struct Checkpoint {
    /// The slot: after the last COMMIT's OK.
    slot: At,
    /// A definition has run and its transaction is open in the database.
    open: bool,
    doing: Doing,
    gathering: Option<Gathering>,
    waiting: VecDeque<Waiting>,
    waiting_cost: usize,
    /// A full batch, handed out for preparation, with its cost.
    prepared: Option<(Arc<Batch>, End, usize)>,
    /// The end of what was last received.
    received: At,
    spools: u64,
}

impl Checkpoint {
    /// Begins where the slot stands.
    pub fn new(slot: At) -> Checkpoint {
        Checkpoint {
            slot,
            open: false,
            doing: Doing::Nothing,
            gathering: None,
            waiting: VecDeque::new(),
            waiting_cost: 0,
            prepared: None,
            received: slot,
            spools: 0,
        }
    }

    /// Where the slot stands.
    pub fn slot(&self) -> At {
        self.slot
    }

    /// Whether everything that was received is applied and committed.
    pub fn is_idle(&self) -> bool {
        self.doing == Doing::Nothing && self.waiting.is_empty() && self.prepared.is_none() && !self.open
    }

    /// Whether more of the stream should be read.
    pub fn wants_more(&self) -> bool {
        let prepared = self.prepared.as_ref().map_or(0, |(.., cost)| *cost);
        self.waiting_cost + prepared < WAITING_COST_MAX
    }

    /// Takes an event; what it leads to is added to `effects`, in order.
    pub fn step(&mut self, event: Event, effects: &mut Vec<Effect>) -> Result<(), OutOfOrder> {
        match event {
            Event::Part(part) => self.receive(part, effects)?,
            Event::Abandoned => self.abandon(effects)?,
            Event::Done => self.done(effects)?,
        }
        if self.doing == Doing::Nothing
            && let Some(work) = self.next_work()
        {
            effects.push(Effect::Work(work));
        }
        self.look_ahead(effects);
        Ok(())
    }

    fn receive(&mut self, part: Part, effects: &mut Vec<Effect>) -> Result<(), OutOfOrder> {
        let Part { mut changes, end } = part;
        if let Some(end) = end {
            if end.at <= self.received {
                return Err(OutOfOrder("a transaction ends before the one in front of it"));
            }
            self.received = end.at;
        }
        let begins = self.gathering.is_none();
        let mut whole = self.gathering.take().unwrap_or_default();
        if begins
            && matches!(changes.first(), Some(Change::Statement(_)))
            && let Change::Statement(statement) = changes.remove(0)
        {
            whole.definition = Some(statement);
        }
        if changes.iter().any(|c| matches!(c, Change::Statement(_))) {
            return Err(OutOfOrder("a definition stands behind other changes of its transaction"));
        }
        whole.cost += changes.iter().map(Change::cost).sum::<usize>();
        if whole.changes.is_empty() {
            whole.changes = changes;
        } else {
            whole.changes.append(&mut changes);
        }
        let Some(end) = end else {
            if whole.cost > SPOOL_AT_COST {
                self.spool(&mut whole, effects);
            }
            self.gathering = Some(whole);
            return Ok(());
        };
        if whole.spool.is_some() && !whole.changes.is_empty() {
            self.spool(&mut whole, effects);
        }
        let Gathering { definition, changes, cost, spool } = whole;
        let (body, cost) = match spool {
            // Nothing more is read until it has its turn: the disk need not hold two for long.
            Some(number) => (Body::Spooled(number), WAITING_COST_MAX),
            None => (Body::Here(changes), cost + 64),
        };
        self.waiting_cost += cost;
        self.waiting.push_back(Waiting { definition, body, end, cost });
        Ok(())
    }

    fn spool(&mut self, whole: &mut Gathering, effects: &mut Vec<Effect>) {
        let number = *whole.spool.get_or_insert_with(|| {
            self.spools += 1;
            self.spools
        });
        whole.cost = 0;
        effects.push(Effect::Spool(number, std::mem::take(&mut whole.changes)));
    }

    /// Drops what was received of the transaction that will have no end. Nothing of it was handed out.
    fn abandon(&mut self, effects: &mut Vec<Effect>) -> Result<(), OutOfOrder> {
        let Some(void) = self.gathering.take() else {
            return Err(OutOfOrder("nothing is there to abandon"));
        };
        effects.extend(void.spool.map(Effect::Forget));
        Ok(())
    }

    fn done(&mut self, effects: &mut Vec<Effect>) -> Result<(), OutOfOrder> {
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Nothing => return Err(OutOfOrder("nothing was handed out")),
            Doing::Applying(end, spool) => {
                self.doing = Doing::Committing(end, spool);
                if sabotage::is(Sabotage::WatermarkBeforeCommit) {
                    effects.push(Effect::Applied(end));
                }
                effects.push(Effect::Work(Work::Commit));
            }
            Doing::Defining => {}
            Doing::Committing(end, spool) => {
                (self.open, self.slot) = (false, end.at);
                effects.extend(spool.map(Effect::Forget));
                effects.push(Effect::Applied(end));
            }
        }
        Ok(())
    }

    fn next_work(&mut self) -> Option<Work> {
        let from = self.slot;
        if let Some((batch, end, _)) = self.prepared.take() {
            self.doing = Doing::Applying(end, None);
            return Some(Work::Apply { from, opens: true, content: Content::Batch(batch), to: end.at });
        }
        let front = self.waiting.front_mut()?;
        if let Some(statement) = front.definition.take() {
            (self.open, self.doing) = (true, Doing::Defining);
            return Some(Work::Define { from, statement });
        }
        let opens = !self.open;
        let (content, end, spool) = match front.body {
            Body::Spooled(number) => {
                let end = front.end;
                self.take();
                (Content::Spooled(number), end, Some(number))
            }
            Body::Here(_) => {
                let (batch, end, _) = self.gather(opens)?;
                (Content::Batch(batch), end, None)
            }
        };
        self.doing = Doing::Applying(end, spool);
        Some(Work::Apply { from, opens, content, to: end.at })
    }

    /// What waits at the front and may go together; only the first one if not `many`.
    fn gather(&mut self, many: bool) -> Option<(Arc<Batch>, End, usize)> {
        let (mut batch, mut cost, mut last) = (Batch::default(), 0, None::<End>);
        while let Some(next) = self.waiting.front()
            && (last.is_none()
                || many && cost + next.cost <= BATCH_COST_MAX && batch.transactions < BATCH_TRANSACTIONS_MAX)
            && next.definition.is_none()
            && matches!(next.body, Body::Here(_))
        {
            let Some(Waiting { body: Body::Here(mut changes), end, cost: more, .. }) = self.take() else {
                break;
            };
            cost += more;
            batch.changes.append(&mut changes);
            batch.transactions += 1;
            let heartbeat_at_ms = end.heartbeat_at_ms.or(last.and_then(|earlier| earlier.heartbeat_at_ms));
            last = Some(End { heartbeat_at_ms, ..end });
        }
        last.map(|end| (Arc::new(batch), end, cost))
    }

    /// While a batch is under way and another one is full, that one is handed out for preparation.
    fn look_ahead(&mut self, effects: &mut Vec<Effect>) {
        let plain = matches!(self.doing, Doing::Applying(..) | Doing::Committing(..));
        let full = self.waiting_cost >= BATCH_COST_MAX || self.waiting.len() >= BATCH_TRANSACTIONS_MAX;
        if plain
            && full
            && self.prepared.is_none()
            && let Some(next) = self.gather(true)
        {
            effects.push(Effect::Prepare(next.0.clone()));
            self.prepared = Some(next);
        }
    }

    fn take(&mut self) -> Option<Waiting> {
        let next = self.waiting.pop_front()?;
        self.waiting_cost -= next.cost;
        Some(next)
    }
}

/// Whether a transaction that locked the row and found `found` in it may apply what was written in `epoch`.
pub fn may_apply(found: Option<u64>, epoch: Epoch) -> bool {
    found == Some(epoch.0) || sabotage::is(Sabotage::SkipEpochCheck)
}

/// Which slot a transaction moves, and where it must stand. The database is asked in SQL, the simulation asks
/// [`SlotIs::holds`]; both say what the fields say.
#[derive(Clone, Copy, Debug)]
pub struct SlotIs<'a> {
    /// The slot of this stream.
    pub stream: &'a StreamId,
    /// Attached to this epoch.
    pub epoch: Epoch,
    /// Standing there.
    pub at: At,
    /// With nothing pending.
    pub idle: bool,
}

impl SlotIs<'_> {
    /// Whether it is this slot, and stands so.
    pub fn holds(&self, found: &AppliedSlot) -> bool {
        let slot = &found.slot;
        slot.position.stream == *self.stream
            && slot.epoch == self.epoch
            && (At::from(&slot.position) == self.at || sabotage::is(Sabotage::SkipSlotCheck))
            && (!self.idle || found.pending.is_none())
    }
}

/// The text in `ghostlight.applied.pending`: something has begun whose end is not yet in the slot.
///
/// It names the connection that does the work (`CONNECTION_ID()`), because that is how a reader of the log knows
/// a DDL statement as ours: DDL commits implicitly, so it cannot stand in one transaction with the mark.
///
/// A slot is *attached* (its position is true, and promotion may rely on it) unless it is being seeded. While DDL
/// is pending, the position stands just before that DDL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// `seed:<connection>:<step>`: this database is being filled. Its position means nothing yet.
    Seed {
        /// Who fills it.
        connection: u32,
        /// Grows with every transaction, so that each one changes the row and bears the mark.
        step: u64,
    },
    /// `ddl:<connection>:<fingerprint>`: the DDL statement behind the position may or may not have run.
    Ddl {
        /// Who runs it.
        connection: u32,
        /// What all definitions hashed to before it ran. If they hash to something else now, it has run.
        fingerprint: String,
    },
    /// `undo:<left>`: the tail of an old primary is being undone; so many lines of its quarantine are left. The position
    /// is where this database will follow the new primary, and means nothing before that.
    Undo {
        /// Grows less with every transaction, so that each one changes the row and bears the mark.
        left: u64,
    },
    /// `part`: a transaction too large for one packet is under way. Never seen committed.
    Part,
}

impl Pending {
    /// Whether the position of a slot with this mark is true.
    pub fn is_attached(&self) -> bool {
        !matches!(self, Pending::Seed { .. } | Pending::Undo { .. })
    }

    /// Whether a slot with this mark may not be promoted or continued from.
    pub fn is_seed(&self) -> bool {
        matches!(self, Pending::Seed { .. })
    }
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pending::Seed { connection, step } => write!(f, "seed:{connection}:{step}"),
            Pending::Ddl { connection, fingerprint } => write!(f, "ddl:{connection}:{fingerprint}"),
            Pending::Undo { left } => write!(f, "undo:{left}"),
            Pending::Part => f.write_str("part"),
        }
    }
}

/// The text in `pending` is none that we write.
#[derive(Debug, thiserror::Error)]
#[error(
    "ghostlight.applied.pending holds `{0}`, which no version of ours wrote; the standby must be seeded again"
)]
pub struct UnknownPending(String);

impl FromStr for Pending {
    type Err = UnknownPending;

    fn from_str(text: &str) -> Result<Self, UnknownPending> {
        let parts: Vec<&str> = text.split(':').collect();
        let number = |s: &str| s.parse::<u64>().ok();
        let connection = |s: &str| s.parse::<u32>().ok();
        let read = || match parts.as_slice() {
            ["part"] => Some(Pending::Part),
            ["undo", left] => Some(Pending::Undo { left: number(left)? }),
            ["seed", c, step] => Some(Pending::Seed { connection: connection(c)?, step: number(step)? }),
            ["ddl", c, fingerprint] => {
                Some(Pending::Ddl { connection: connection(c)?, fingerprint: (*fingerprint).to_owned() })
            }
            _ => None,
        };
        read().ok_or_else(|| UnknownPending(text.to_owned()))
    }
}

#[cfg(test)]
mod tests;
