//! In which order a transaction, its slot and its watermark become true: the standby's core, sans-IO.
//!
//! [`Checkpoint`] takes the stream's parts and hands out work for the database, one piece at a time; when a piece
//! is done it says so, and the next follows. While one piece is under way further transactions gather, and then
//! go together, in order and unmerged, in one transaction of this database.
//!
//! The invariants, in the order in which they are kept:
//! 1. A piece of work that opens a transaction moves the slot by compare-and-set *first*, so that the transaction
//!    bears its mark before its first row and cannot be applied twice.
//! 2. The COMMIT is handed out only after all statements were executed and their outcomes checked.
//! 3. A position is told ([`Effect::Applied`]) only after that COMMIT's OK, never earlier.
//! 4. One transaction of this database never holds a definition (DDL) together with anything before it.
//! 5. There is no way back: after any error the whole value is thrown away, and a new one begins at what the
//!    slot then says. Whether a COMMIT whose OK was lost took effect is therefore never guessed.

use std::{collections::VecDeque, fmt, str::FromStr};

use crate::transaction::{At, Change, End, Statement};

/// Transactions applied together cost at most this many bytes (a larger one goes alone).
const BATCH_COST_MAX: usize = 1024 * 1024;

/// At most so many transactions are applied together.
const BATCH_TRANSACTIONS_MAX: usize = 1_000;

/// With this much waiting, nothing more should be read from the link.
const WAITING_COST_MAX: usize = 8 * 1024 * 1024;

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

/// What the database is to do. Each piece in the session of the pieces before it.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Execute, and check every outcome.
    Apply {
        /// The slot as it must stand.
        from: At,
        /// Begin a transaction: lock and check the epoch, then move the slot to `to` or, without `to`, mark it.
        /// Otherwise one is open.
        opens: bool,
        /// To execute, in order.
        changes: Vec<Change>,
        /// Where the slot is to stand. Without it, the transaction goes on.
        to: Option<At>,
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
    /// ROLLBACK.
    Rollback,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Give it to the database; answer with [`Event::Done`].
    Work(Work),
    /// Everything up to here is durable: send the watermark.
    Applied(End),
}

/// The peer broke the protocol; connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream is out of order: {0}")]
pub struct OutOfOrder(&'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Nothing is handed out.
    Nothing,
    /// Statements are; with the end that the slot was moved to.
    Applying(Option<End>),
    /// A definition is.
    Defining,
    /// A COMMIT is.
    Committing(End),
    /// A ROLLBACK is.
    RollingBack,
}

/// How far this standby is, and what waits.
#[derive(Debug)]
pub struct Checkpoint {
    /// The slot: after the last COMMIT's OK.
    slot: At,
    /// A heartbeat among what is being applied.
    heartbeat_at_ms: Option<u64>,
    /// A transaction is open in the database.
    open: bool,
    /// That transaction will have no end: roll it back.
    void: bool,
    doing: Doing,
    waiting: VecDeque<Part>,
    waiting_cost: usize,
    /// The end of what was last received.
    received: At,
    /// A transaction's first parts were received and not yet its last.
    receiving: bool,
}

impl Checkpoint {
    /// Begins where the slot stands.
    pub fn new(slot: At) -> Checkpoint {
        Checkpoint {
            slot,
            heartbeat_at_ms: None,
            open: false,
            void: false,
            doing: Doing::Nothing,
            waiting: VecDeque::new(),
            waiting_cost: 0,
            received: slot,
            receiving: false,
        }
    }

    /// Where the slot stands.
    pub fn slot(&self) -> At {
        self.slot
    }

    /// Whether everything that was received is applied and committed.
    pub fn is_idle(&self) -> bool {
        self.doing == Doing::Nothing && self.waiting.is_empty() && !self.open
    }

    /// Whether more of the stream should be read.
    pub fn wants_more(&self) -> bool {
        self.waiting_cost < WAITING_COST_MAX
    }

    /// Takes an event; what it leads to is added to `effects`, in order.
    pub fn step(&mut self, event: Event, effects: &mut Vec<Effect>) -> Result<(), OutOfOrder> {
        match event {
            Event::Part(part) => self.receive(part)?,
            Event::Abandoned => self.abandon()?,
            Event::Done => self.done(effects)?,
        }
        if self.doing == Doing::Nothing
            && let Some(work) = self.next_work()?
        {
            effects.push(Effect::Work(work));
        }
        Ok(())
    }

    fn receive(&mut self, part: Part) -> Result<(), OutOfOrder> {
        if let Some(end) = part.end {
            if end.at <= self.received {
                return Err(OutOfOrder("a transaction ends before the one in front of it"));
            }
            self.received = end.at;
        }
        self.receiving = part.end.is_none();
        self.waiting_cost += cost(&part);
        self.waiting.push_back(part);
        Ok(())
    }

    /// Drops what was received of the transaction that will have no end. If all that waited belonged to it, what is
    /// open in the database does so as well, and is rolled back as soon as the database is done with its work.
    fn abandon(&mut self) -> Result<(), OutOfOrder> {
        if !std::mem::take(&mut self.receiving) {
            return Err(OutOfOrder("nothing is there to abandon"));
        }
        while self.waiting.back().is_some_and(|p| p.end.is_none()) {
            self.waiting_cost -= self.waiting.pop_back().as_ref().map_or(0, cost);
        }
        let without_end = matches!(self.doing, Doing::Nothing | Doing::Applying(None) | Doing::Defining);
        self.void |= self.open && self.waiting.is_empty() && without_end;
        Ok(())
    }

    fn done(&mut self, effects: &mut Vec<Effect>) -> Result<(), OutOfOrder> {
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Nothing => return Err(OutOfOrder("nothing was handed out")),
            Doing::Applying(Some(end)) => {
                self.doing = Doing::Committing(end);
                effects.push(Effect::Work(Work::Commit));
            }
            Doing::Applying(None) | Doing::Defining => {}
            Doing::Committing(end) => {
                (self.open, self.slot) = (false, end.at);
                let heartbeat_at_ms = self.heartbeat_at_ms.take();
                effects.push(Effect::Applied(End { at: end.at, heartbeat_at_ms }));
            }
            Doing::RollingBack => self.open = false,
        }
        Ok(())
    }

    fn next_work(&mut self) -> Result<Option<Work>, OutOfOrder> {
        if std::mem::take(&mut self.void) {
            self.doing = Doing::RollingBack;
            return Ok(Some(Work::Rollback));
        }
        let Some(mut part) = self.take() else { return Ok(None) };
        let opens = !std::mem::replace(&mut self.open, true);
        if defines(&part) {
            if !opens {
                return Err(OutOfOrder("a definition stands within a transaction"));
            }
            let Change::Statement(statement) = part.changes.remove(0) else {
                return Err(OutOfOrder("a definition was expected"));
            };
            self.waiting_cost += cost(&part);
            self.waiting.push_front(part); // its rows (CREATE TABLE … SELECT) or just its end
            self.doing = Doing::Defining;
            return Ok(Some(Work::Define { from: self.slot, statement }));
        }
        self.heartbeat_at_ms = part.end.and_then(|e| e.heartbeat_at_ms).or(self.heartbeat_at_ms);
        let Part { mut changes, mut end } = part;
        let (mut spent, mut transactions) = (changes.iter().map(Change::cost).sum::<usize>(), 1);
        while opens
            && end.is_some()
            && transactions < BATCH_TRANSACTIONS_MAX
            && let Some(next) = self.waiting.front()
            && let Some(next_end) = next.end
            && !defines(next)
            && spent + cost(next) <= BATCH_COST_MAX
        {
            let Some(next) = self.take() else { break };
            (spent, transactions) = (spent + cost(&next), transactions + 1);
            self.heartbeat_at_ms = next_end.heartbeat_at_ms.or(self.heartbeat_at_ms);
            changes.extend(next.changes);
            end = Some(next_end);
        }
        if changes.iter().any(|c| matches!(c, Change::Statement(_))) {
            return Err(OutOfOrder("a definition stands behind other changes of its transaction"));
        }
        self.doing = Doing::Applying(end);
        Ok(Some(Work::Apply { from: self.slot, opens, changes, to: end.map(|e| e.at) }))
    }

    fn take(&mut self) -> Option<Part> {
        let part = self.waiting.pop_front()?;
        self.waiting_cost -= cost(&part);
        Some(part)
    }
}

fn cost(part: &Part) -> usize {
    part.changes.iter().map(Change::cost).sum::<usize>() + 32
}

/// Whether a part begins with a definition.
fn defines(part: &Part) -> bool {
    matches!(part.changes.first(), Some(Change::Statement(_)))
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
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn what_is_written_into_pending_is_read_back() {
        let all = [
            Pending::Part,
            Pending::Seed { connection: 7, step: 12 },
            Pending::Undo { left: 1_000_000 },
            Pending::Ddl { connection: 8, fingerprint: "9f".into() },
        ];
        for pending in all {
            assert_eq!(pending.to_string().parse::<Pending>().unwrap(), pending);
        }
        assert!("ddl:8".parse::<Pending>().is_err());
    }

    fn at(offset: u64) -> At {
        At { file: 1, offset }
    }

    fn end(offset: u64) -> Option<End> {
        Some(End { at: at(offset), heartbeat_at_ms: None })
    }

    fn row(n: u64) -> Change {
        Change::Savepoint(n.to_string())
    }

    fn ddl(n: u64) -> Change {
        Change::Statement(Statement { sql: n.to_string().into(), ..Statement::default() })
    }

    fn part(changes: Vec<Change>, end: Option<End>) -> Event {
        Event::Part(Part { changes, end })
    }

    /// Feeds events; returns every effect in a short notation.
    fn check(events: Vec<Event>, expected: &[&str]) {
        let (mut checkpoint, mut effects) = (Checkpoint::new(at(0)), Vec::new());
        for event in events {
            checkpoint.step(event, &mut effects).unwrap();
        }
        let told: Vec<String> = effects.iter().map(short).collect();
        assert_eq!(told, expected);
    }

    fn short(effect: &Effect) -> String {
        match effect {
            Effect::Work(Work::Apply { from, opens, changes, to }) => format!(
                "{}{}:{}→{}",
                if *opens { "begin " } else { "" },
                from.offset,
                changes.len(),
                to.map_or("…".into(), |t| t.offset.to_string())
            ),
            Effect::Work(Work::Define { from, .. }) => format!("define {}", from.offset),
            Effect::Work(Work::Commit) => "commit".into(),
            Effect::Work(Work::Rollback) => "rollback".into(),
            Effect::Applied(e) => format!("applied {}", e.at.offset),
        }
    }

    #[test]
    fn what_waits_goes_together_and_is_told_after_the_commit() {
        check(
            vec![
                part(vec![row(1)], end(10)),
                part(vec![row(2)], end(20)),
                part(vec![], end(30)),
                part(vec![row(3), row(4)], end(40)),
                Event::Done,
                Event::Done,
                Event::Done,
                Event::Done,
            ],
            &["begin 0:1→10", "commit", "applied 10", "begin 10:3→40", "commit", "applied 40"],
        );
    }

    #[test]
    fn a_definition_goes_alone() {
        check(
            vec![
                part(vec![row(1)], end(10)),
                part(vec![row(2)], end(20)),
                part(vec![ddl(3), row(4)], end(30)),
                part(vec![row(5)], end(40)),
                Event::Done,
                Event::Done,
                Event::Done,
                Event::Done,
                Event::Done,
                Event::Done,
                Event::Done,
            ],
            &[
                "begin 0:1→10",
                "commit",
                "applied 10",
                "begin 10:1→20",
                "commit",
                "applied 20",
                "define 20",
                "20:1→30",
                "commit",
                "applied 30",
                "begin 30:1→40",
            ],
        );
    }

    #[test]
    fn a_large_transaction_is_one_and_an_abandoned_one_is_none() {
        check(
            vec![
                part(vec![row(1)], None),
                Event::Done,
                part(vec![row(2)], end(20)),
                Event::Done,
                Event::Done,
            ],
            &["begin 0:1→…", "0:1→20", "commit", "applied 20"],
        );
        let lost = vec![part(vec![row(1)], None), part(vec![row(2)], None), Event::Abandoned];
        let next = [part(vec![row(3)], end(30)), Event::Done, Event::Done];
        check(lost.into_iter().chain(next).collect(), &["begin 0:1→…", "rollback", "begin 0:1→30"]);
    }

    #[test]
    fn a_stream_that_goes_back_is_refused() {
        let (mut checkpoint, mut effects) = (Checkpoint::new(at(10)), Vec::new());
        assert!(checkpoint.step(part(vec![row(1)], end(10)), &mut effects).is_err());
        assert!(checkpoint.step(Event::Abandoned, &mut effects).is_err());
        assert!(effects.is_empty());
    }

    /// A database that does what it is told, and can be cut off at any moment.
    #[derive(Default)]
    struct Database {
        slot: At,
        applied: Vec<u64>,
        /// Rows and the slot of the open transaction.
        open: Option<(Vec<u64>, At)>,
        /// The definition behind the slot has run.
        defined: bool,
    }

    impl Database {
        fn work(&mut self, work: &Work) {
            let number = |c: &Change| match c {
                Change::Savepoint(n) => n.parse::<u64>().unwrap(),
                Change::Statement(_) | Change::Rows { .. } => panic!("not a row"),
            };
            match work {
                Work::Apply { from, opens, changes, to } => {
                    assert_eq!(*from, self.slot, "the compare of compare-and-set");
                    assert_eq!(*opens, self.open.is_none());
                    let slot = self.slot;
                    let open = self.open.get_or_insert_with(|| (Vec::new(), slot));
                    open.0.extend(changes.iter().map(number));
                    open.1 = to.unwrap_or(open.1);
                }
                Work::Define { from, statement } => {
                    assert_eq!(*from, self.slot);
                    assert!(self.open.is_none(), "a definition commits what is open");
                    if !std::mem::replace(&mut self.defined, true) {
                        self.applied.push(String::from_utf8_lossy(&statement.sql).parse().unwrap());
                    }
                    self.open = Some((Vec::new(), self.slot));
                }
                Work::Commit => {
                    let (rows, slot) = self.open.take().expect("something is open");
                    assert!(slot > self.slot, "a commit moves the slot");
                    self.applied.extend(rows);
                    (self.slot, self.defined) = (slot, false);
                }
                Work::Rollback => self.open = None,
            }
        }
    }

    /// A stream of transactions of all kinds, with the number of each row in order.
    fn stream(random: &mut StdRng) -> (Vec<Event>, Vec<u64>) {
        let (mut events, mut rows, mut offset) = (Vec::new(), Vec::new(), 0);
        let mut next = || {
            let n = u64::try_from(rows.len()).unwrap();
            rows.push(n);
            n
        };
        for _ in 0..random.random_range(1..30) {
            offset += 10;
            match random.random_range(0..6) {
                0 => events.push(part(vec![], end(offset))),
                1 => events.push(part(vec![ddl(next())], end(offset))),
                2 => events.push(part(vec![ddl(next()), row(next())], end(offset))),
                3 => {
                    events.push(part(vec![row(next())], None));
                    events.push(part(vec![row(next())], None));
                    events.push(part(vec![], end(offset)));
                }
                4 => {
                    events.push(part(vec![row(9_999)], None));
                    events.push(Event::Abandoned);
                }
                _ => events.push(part(vec![row(next()), row(next())], end(offset))),
            }
        }
        (events, rows)
    }

    /// Runs the stream from the database's slot, cut off after `steps` steps; true if it came to its end.
    fn run(events: &[Event], database: &mut Database, random: &mut StdRng, mut steps: u32) -> bool {
        database.open = None;
        let behind = |e: &Event| matches!(e, Event::Part(Part { end: Some(e), .. }) if e.at <= database.slot);
        let first = events.iter().rposition(behind).map_or(0, |i| i + 1);
        let mut arriving = events[first..].iter();
        let (mut checkpoint, mut effects) = (Checkpoint::new(database.slot), Vec::new());
        let mut outstanding: VecDeque<Work> = VecDeque::new();
        loop {
            if steps == 0 {
                return false;
            }
            steps -= 1;
            let arrives = outstanding.is_empty() || random.random_bool(0.5);
            let event = match (arrives.then(|| arriving.next()).flatten(), outstanding.pop_front()) {
                (Some(event), work) => {
                    outstanding.extend(work);
                    event.clone()
                }
                (None, Some(work)) => {
                    database.work(&work);
                    if steps == 0 {
                        return false; // it took effect, and nobody heard of it
                    }
                    Event::Done
                }
                (None, None) if arriving.len() == 0 => return true,
                (None, None) => continue,
            };
            checkpoint.step(event, &mut effects).unwrap();
            for effect in effects.drain(..) {
                match effect {
                    Effect::Work(work) => outstanding.push_back(work),
                    Effect::Applied(end) => assert!(end.at <= database.slot, "told before it was durable"),
                }
            }
            assert!(outstanding.len() <= 1, "one piece of work at a time");
        }
    }

    #[test]
    fn whatever_is_interrupted_everything_is_applied_exactly_once_and_in_order() {
        for seed in 0..2_000 {
            let mut random = StdRng::seed_from_u64(seed);
            let (events, rows) = stream(&mut random);
            let mut database = Database::default();
            for _ in 0..5 {
                let steps = random.random_range(1..60);
                run(&events, &mut database, &mut random, steps);
            }
            assert!(run(&events, &mut database, &mut random, u32::MAX), "seed {seed}");
            assert_eq!(database.applied, rows, "seed {seed}");
        }
    }
}
