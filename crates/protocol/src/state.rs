//! The nouns of the model: what the two databases, the register and everybody between them hold at one moment.
//!
//! Names are those of the design's §1. Numbers are small on purpose; what is random in the product (tokens, stream
//! identities) is counted here, because all that matters is which are equal.

/// One cloud's half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// The primary of epoch 1.
    Nhn,
    /// Its standby.
    Aws,
}

impl Site {
    /// Both.
    pub const BOTH: [Site; 2] = [Site::Nhn, Site::Aws];

    /// The other one.
    pub fn other(self) -> Site {
        match self {
            Site::Nhn => Site::Aws,
            Site::Aws => Site::Nhn,
        }
    }
}

/// Whether answers wait for the standby (§1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// They do.
    Sync,
    /// They do not, and there is no automatic failover.
    Solo,
}

/// The number of a visitor's write. Write `n` is what request `n` asks for.
pub type Write = u8;
/// The number of a primary's term.
pub type Epoch = u8;
/// A place in a log: how many events lie before it.
pub type Position = u8;

/// What a database's tables hold, one entry for each, in the order in which it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// A visitor's write, and the epoch in which it was first committed.
    Wrote(Write, Epoch),
    /// The promotion that began an epoch.
    Promoted(Epoch),
}

/// What a database's binary log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A write of the application. It is what the standby applies.
    Write(Write, Epoch),
    /// A write that came from the other site: origin-marked, so it never travels back.
    Applied(Write),
    /// A write of the tail, taken back: origin-marked.
    Undone(Write),
    /// A change of mode in the row of `ghostlight.site`. It keeps what stood there before, for a database that
    /// forgets it.
    Mode {
        /// The row before the change.
        before: Row,
    },
    /// The promotion that began an epoch: its first event.
    Promotion(Epoch),
}

/// The row of `ghostlight.site` (§4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// What epoch this database believes to be in.
    pub epoch: Epoch,
    /// Whose epoch that is.
    pub primary: Site,
    /// Whether its answers wait.
    pub mode: Mode,
    /// Drawn anew by every change.
    pub token: u8,
    /// The stream in which the row was last changed: it speaks for no other.
    pub stream: u8,
}

/// How far a database has applied the other one's stream: checkpoint, origin mark and epoch in one row (§4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The stream that is followed.
    pub stream: u8,
    /// Up to here.
    pub position: Position,
    /// The epoch that it was attached in.
    pub epoch: Epoch,
    /// A definition was begun at `position`; whether it took effect is not known from the slot.
    pub defining: bool,
}

/// A transaction that a second, delayed applier has read and not committed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fetched {
    /// The slot that it will move.
    pub slot: Slot,
    /// What it will apply.
    pub event: Event,
}

/// A definition (DDL) that a session of the standby runs. It commits by itself, whatever becomes of the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Definition {
    /// What it is.
    pub write: Write,
    /// The epoch that it came in.
    pub epoch: Epoch,
    /// The second session, which holds the row's lock, still lives.
    pub locked: bool,
    /// It has taken effect.
    pub ran: bool,
}

/// How far a re-synchronisation of a standby is (§4.5, §4.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Copying {
    /// None is under way.
    No,
    /// The register has been told. No row has been touched.
    Announced,
    /// Rows are being overwritten: these data are nobody's.
    Rows,
}

/// One site's database, with everything that is durable in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Database {
    /// Its tables.
    pub facts: Vec<Fact>,
    /// Its binary log, since the stream began.
    pub log: Vec<Event>,
    /// Which stream that log is: changes with the server and with a log that begins anew (§4.2).
    pub stream: u8,
    /// The incarnation of these data as a standby's (§4.5).
    pub incarnation: u8,
    /// The row of `ghostlight.site`.
    pub row: Row,
    /// Tokens drawn so far, so that the next is new.
    pub tokens: u8,
    /// Where it follows the other one.
    pub slot: Option<Slot>,
    /// Where the former primary's history ended when this database was promoted (§4.3).
    pub failover_record: Option<Slot>,
    /// Whether it is being copied into.
    pub copying: Copying,
    /// What a second applier is about to do.
    pub fetched: Option<Fetched>,
    /// The definition that runs.
    pub definition: Option<Definition>,
    /// A promotion to this epoch has ended the applier's sessions and goes on to its transaction.
    pub promoting: Option<Epoch>,
    /// Closed to the application for the intent of this number (§4.7).
    pub fenced_for: Option<u8>,
}

impl Database {
    /// Draws a token that this database never had.
    pub fn new_token(&mut self) -> u8 {
        self.tokens += 1;
        self.tokens
    }

    /// The application commits a write.
    pub fn commit(&mut self, write: Write, epoch: Epoch) {
        self.facts.push(Fact::Wrote(write, epoch));
        self.log.push(Event::Write(write, epoch));
    }

    /// Changes the row's mode; the change is an event in the log.
    pub fn set_mode(&mut self, mode: Mode) {
        self.log.push(Event::Mode { before: self.row });
        self.row = Row { mode, token: self.new_token(), stream: self.stream, ..self.row };
    }

    /// The end of its log.
    pub fn end(&self) -> Position {
        position(self.log.len())
    }

    /// Whether the tables hold a write.
    pub fn holds(&self, write: Write) -> bool {
        self.facts.iter().any(|f| matches!(f, Fact::Wrote(w, _) if *w == write))
    }

    /// The tables hold what a standby's must: not half a copy.
    pub fn is_whole(&self) -> bool {
        self.copying != Copying::Rows
    }
}

/// A number of events as a position. Logs are a dozen events long.
pub fn position(events: usize) -> Position {
    Position::try_from(events).unwrap_or(Position::MAX)
}

/// The one compare-and-set record (§1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Register {
    /// Grows by one with each change.
    pub version: u8,
    /// The current primary's term.
    pub epoch: Epoch,
    /// The current primary.
    pub primary: Site,
    /// Whether an automatic failover is forbidden (`solo`).
    pub mode: Mode,
    /// Which incarnation of the standby's data counts.
    pub standby_incarnation: u8,
    /// A switchover is wanted; its number is the version that it was written in.
    pub intent: Option<u8>,
}

impl Register {
    /// One change: whatever `change` does, and a new version.
    pub fn set(&mut self, change: impl FnOnce(&mut Register)) {
        change(self);
        self.version += 1;
    }
}

/// Why an epoch began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The primary was lost, in `sync`.
    Failover,
    /// An operator's, in `solo`, with loss accepted.
    Forced,
    /// Planned.
    Switchover,
    /// The other site refused for good, and the register went back to the old primary.
    Return,
}

/// A change of primary as the register's compare-and-set ordered it. Never lost, never too late: it may be carried out
/// at any later time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// The epoch to begin.
    pub epoch: Epoch,
    /// Its primary.
    pub to: Site,
    /// Why.
    pub cause: Cause,
    /// The standby incarnation that the register named.
    pub incarnation: u8,
    /// When, in leases.
    pub at: u8,
    /// The standby's slot at that moment. Only a broken rule looks at it.
    pub slot: Option<Slot>,
}

/// What the standby has durably applied (§4.2). Once sent it may arrive at any time and any number of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Watermark {
    /// Whose log.
    pub of: Site,
    /// Which stream of it.
    pub stream: u8,
    /// The epoch of the slot that moved.
    pub epoch: Epoch,
    /// The incarnation of the data that hold it.
    pub incarnation: u8,
    /// Up to here.
    pub position: Position,
}

/// Where an agent's attempt to move the mode stands (§4.4). It dies with the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attempt {
    /// None.
    None,
    /// To `solo`: register and row were read.
    SoloCas(Read),
    /// To `solo`: the register says so, the row does not yet.
    SoloRow(Read),
    /// To `sync`: the register was read.
    SyncRow(Read),
    /// To `sync`: the row says so; its change lies before this position of this stream.
    SyncWait(Read, Position),
    /// Broken on purpose: the row went to `solo` first, the register is to follow.
    SoloCasLate(Read),
    /// Broken on purpose: the register went to `sync` first, the row is to follow.
    SyncRowLate(Read),
}

/// What an attempt read when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Read {
    /// The register's version.
    pub version: u8,
    /// The row's epoch, which was the register's.
    pub epoch: Epoch,
    /// The row's token.
    pub token: u8,
    /// The server's identity.
    pub stream: u8,
}

/// A visitor's request, from its commit to its answer (§4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Not sent yet.
    New,
    /// Committed; the application has answered, the gateway holds the answer.
    Answered {
        /// Where it was committed.
        site: Site,
        /// The epoch in which it began.
        epoch: Epoch,
        /// The stream in which it began.
        stream: u8,
    },
    /// The barrier said `solo`: nothing to wait for.
    MayGoAlone {
        /// Where.
        site: Site,
        /// In which epoch.
        epoch: Epoch,
        /// The database lacked a write that a standby had vouched for: it might sell that seat again.
        blind: bool,
    },
    /// The barrier said `sync`: waits for a watermark.
    Held {
        /// Where.
        site: Site,
        /// In which epoch.
        epoch: Epoch,
        /// Of this stream.
        stream: u8,
        /// That has passed this.
        position: Position,
    },
    /// The visitor was told that it is done. From now on it must never be taken back.
    Told {
        /// By whom.
        site: Site,
        /// In which epoch.
        epoch: Epoch,
        /// On whose word.
        on: Word,
    },
    /// The visitor was told `unknown`.
    Unknown,
    /// Told, and then lost by the only database that had it: no protocol can help that.
    LostWithItsOnlyCopy,
}

/// What an answer was let out on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// A watermark of this incarnation of the standby.
    Standby {
        /// Which.
        incarnation: u8,
    },
    /// The primary's alone.
    Alone {
        /// The next primary had already been promoted.
        late: bool,
        /// As the barrier found it.
        blind: bool,
    },
}

/// When the register was seen to name a site, and in which epoch (§4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Counted in leases from *sending* the question.
    pub at: u8,
    /// The epoch that the register named the site in.
    pub epoch: Epoch,
}

/// A gateway, as far as it remembers anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gate {
    /// The register's answer, on its way.
    pub asked: Option<Seen>,
    /// Its lease.
    pub lease: Option<Seen>,
    /// The last epoch in which a row was seen to say `solo`. Only a broken rule looks at it.
    pub saw_solo: Option<Epoch>,
}

/// How much of what is bounded has been used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spent {
    /// Attempts at moving the mode.
    pub mode_moves: u8,
    /// Logs begun anew.
    pub binlog_resets: u8,
    /// Standbys set back.
    pub regressions: u8,
    /// Re-synchronisations.
    pub resyncs: u8,
    /// Forced failovers.
    pub forced: u8,
    /// Registers gone back.
    pub returns: u8,
    /// Commits lost by a primary's own HA.
    pub local_losses: u8,
    /// Switchovers wanted.
    pub intents: u8,
    /// Definitions whose sessions died.
    pub deaths: u8,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Both databases.
    databases: [Database; 2],
    /// The register.
    pub register: Register,
    /// Every change of primary ever ordered, by epoch from 2 on.
    pub orders: Vec<Order>,
    /// The furthest watermark ever sent of each kind.
    pub watermarks: Vec<Watermark>,
    /// Two instances of each site's agent.
    pub agents: [[Attempt; 2]; 2],
    /// Each site's gateway.
    gates: [Gate; 2],
    /// The visitors' requests.
    pub requests: Vec<Request>,
    /// A leader has found a switchover ready, and the register at this version.
    pub ready: Option<u8>,
    /// The order to let the application in again, given for an intent that was cleared. It may arrive late.
    pub unfence: Option<u8>,
    /// The time, in leases.
    pub now: u8,
    /// What is used up.
    pub spent: Spent,
}

impl State {
    /// The beginning: epoch 1 at nhn, aws attached, `sync`, nothing written.
    pub fn first(writes: u8) -> State {
        let row = Row { epoch: 1, primary: Site::Nhn, mode: Mode::Sync, token: 0, stream: 0 };
        let primary = Database {
            facts: vec![],
            log: vec![],
            stream: 0,
            incarnation: 0,
            row,
            tokens: 0,
            slot: None,
            failover_record: None,
            copying: Copying::No,
            fetched: None,
            definition: None,
            promoting: None,
            fenced_for: None,
        };
        let slot = Slot { stream: 0, position: 0, epoch: 1, defining: false };
        let standby = Database { slot: Some(slot), ..primary.clone() };
        let gate = Gate { asked: None, lease: None, saw_solo: None };
        let mut state = State {
            databases: [primary, standby],
            register: Register {
                version: 0,
                epoch: 1,
                primary: Site::Nhn,
                mode: Mode::Sync,
                standby_incarnation: 0,
                intent: None,
            },
            orders: vec![],
            watermarks: vec![],
            agents: [[Attempt::None; 2]; 2],
            gates: [gate; 2],
            requests: vec![Request::New; usize::from(writes)],
            ready: None,
            unfence: None,
            now: 0,
            spent: Spent::default(),
        };
        state.send_watermark(Site::Aws);
        state
    }

    /// A site's database.
    pub fn db(&self, site: Site) -> &Database {
        &self.databases[site as usize]
    }

    /// A site's database, to change it.
    pub fn db_mut(&mut self, site: Site) -> &mut Database {
        &mut self.databases[site as usize]
    }

    /// A site's gateway.
    pub fn gate(&self, site: Site) -> &Gate {
        &self.gates[site as usize]
    }

    /// A site's gateway, to change it.
    pub fn gate_mut(&mut self, site: Site) -> &mut Gate {
        &mut self.gates[site as usize]
    }

    /// The order that began an epoch; epoch 1 was never ordered.
    pub fn order(&self, epoch: Epoch) -> Option<&Order> {
        self.orders.iter().find(|o| o.epoch == epoch)
    }

    /// Whether a site's own row names it primary.
    pub fn is_primary(&self, site: Site) -> bool {
        self.db(site).row.primary == site
    }

    /// The site whose database is primary of the newest epoch.
    pub fn newest_primary(&self) -> Site {
        let newest = |site: &Site| (self.is_primary(*site), self.db(*site).row.epoch);
        Site::BOTH.into_iter().max_by_key(newest).unwrap_or(Site::Nhn)
    }

    /// The standby tells how far it is. A watermark that was sent is never unsent.
    pub fn send_watermark(&mut self, standby: Site) {
        let db = self.db(standby);
        let (Some(slot), true) = (db.slot, db.is_whole()) else { return };
        let sent = Watermark {
            of: standby.other(),
            stream: slot.stream,
            epoch: slot.epoch,
            incarnation: db.incarnation,
            position: slot.position,
        };
        let same = |w: &&mut Watermark| Watermark { position: sent.position, ..**w } == sent;
        match self.watermarks.iter_mut().find(same) {
            Some(known) => known.position = known.position.max(sent.position),
            None => {
                self.watermarks.push(sent);
                self.watermarks.sort();
            }
        }
    }
}
