//! Who there is, and what they tell each other. The contents are the shipped types wherever there is one.

use std::{fmt, sync::Arc};

use model::{
    BarrierReply, BarrierRequest, Epoch, Incarnation, Mode, Position, Register, Serving, Site, StreamId,
    agent::{
        AgentStatus, CloseReply, CloseRequest, FailoverRecord, FenceReply, FenceRequest, PromoteReply, Slot,
    },
    gateway::{ParkReply, ParkRequest},
    observation::Observation,
    orders::Orders,
    plan::Steering,
    register::{CasReply, CasRequest, LeaseReply, LeaseRequest},
    switchover::Request,
};
use replicate::{
    checkpoint::Batch,
    duty::Look,
    row::{AppliedSlot, Snapshot},
    transaction::At,
};

/// The two sites are 0 and 1; of places, the witness is 2, and visitors stand at 3.
pub const SITES: [&str; 2] = ["nhn", "aws"];
/// The place of the register, the name server and one controller.
pub const WITNESS: usize = 2;
/// Where visitors are.
pub const OUTSIDE: usize = 3;

thread_local! {
    /// Made once a thread: clones share a count, over which two threads would fight.
    static NAMES: [Site; 3] = [Site::new(SITES[0]), Site::new(SITES[1]), Site::new("witness")];
}

/// A site by its number.
pub fn site(n: usize) -> Site {
    NAMES.with(|names| names[n.min(WITNESS)].clone())
}

/// A site's number.
pub fn number(site: &Site) -> usize {
    usize::from(site.as_str() != SITES[0])
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A site's database server.
    Database(usize),
    /// A site's agent. There may be two for a while, because one that was taken for dead was not.
    Agent(usize, usize),
    /// Whichever of the two answers at the agent's address.
    TheAgent(usize),
    /// A site's gateway, and the application behind it.
    Gateway(usize),
    /// A place's controller.
    Controller(usize),
    /// The witness's register.
    Register,
    /// The witness's name server.
    NameServer,
    /// A visitor.
    Visitor(usize),
}

impl Who {
    /// Where it runs.
    pub fn place(self) -> usize {
        match self {
            Who::Database(s) | Who::Agent(s, _) | Who::TheAgent(s) | Who::Gateway(s) | Who::Controller(s) => {
                s
            }
            Who::Register | Who::NameServer => WITNESS,
            Who::Visitor(_) => OUTSIDE,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = SITES.get(self.place()).copied().unwrap_or("witness");
        match self {
            Who::Database(_) => write!(f, "{place} database"),
            Who::Agent(_, 0) | Who::TheAgent(_) => write!(f, "{place} agent"),
            Who::Agent(..) => write!(f, "{place} second agent"),
            Who::Gateway(_) => write!(f, "{place} gateway"),
            Who::Controller(_) => write!(f, "{place} controller"),
            Who::Register => f.write_str("register"),
            Who::NameServer => f.write_str("name server"),
            Who::Visitor(n) => write!(f, "visitor {n}"),
        }
    }
}

/// What travels.
#[derive(Clone, Debug)]
pub enum Message {
    /// A question.
    Ask {
        /// Of whom.
        from: Who,
        /// In which of its lives.
        life: u32,
        /// Under which number.
        call: u64,
        /// What.
        ask: Ask,
    },
    /// Its answer.
    Answer {
        /// To the asker in that life.
        life: u32,
        /// Under that number.
        call: u64,
        /// What.
        answer: Answer,
    },
    /// On the link between the agents; in order, as on one TCP connection.
    Link {
        /// From.
        from: Who,
        /// Which connection.
        connection: u64,
        /// What.
        frame: Frame,
    },
    /// From a database to the agent that reads its log.
    Log {
        /// For which connection of the link.
        connection: u64,
        /// What.
        entries: Vec<Entry>,
    },
    /// From an agent to its gateway: the answer of a long poll.
    Serving(Serving),
}

/// A transaction in a log, as it travels.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The place behind it.
    pub at: u64,
    /// What the application changed in it; nothing if it came from the peer.
    pub changes: Vec<Seat>,
    /// If it is a heartbeat: the wall clock.
    pub beat_ms: Option<u64>,
}

/// A row: this seat belongs to that request. Seats are the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The seat.
    pub seat: u64,
    /// The visitor's request.
    pub id: u64,
}

/// Frames of the link.
#[derive(Clone, Debug)]
pub enum Frame {
    /// The standby's agent asks for something.
    Hello {
        /// Its epoch.
        epoch: Epoch,
        /// Its life.
        incarnation: Incarnation,
        /// What it wants.
        want: Want,
    },
    /// Transactions.
    Log(Vec<Entry>),
    /// Nothing new.
    Alive,
    /// The data, as they stand there.
    Copy(Box<Copied>),
    /// What promotions wrote.
    Failovers(Vec<FailoverRecord>),
    /// No.
    Refused(String),
    /// How far the standby is.
    Watermark(model::Watermark),
}

/// What a standby wants of the primary.
#[derive(Clone, Debug)]
pub enum Want {
    /// Its log behind there.
    Log(Position),
    /// All data.
    Copy,
    /// The failover records.
    Failovers,
}

/// A whole copy.
#[derive(Clone, Debug)]
pub struct Copied {
    /// True there.
    pub at: Position,
    /// All rows.
    pub rows: Vec<Seat>,
}

/// Questions.
#[derive(Clone, Debug)]
pub enum Ask {
    /// To a database.
    Sql(Sql),
    /// To the register.
    ReadRegister,
    /// To the register: the operators' orders.
    ReadOrders,
    /// To the register.
    Cas(CasRequest),
    /// To the register.
    Lease(LeaseRequest),
    /// To an agent.
    Status,
    /// To an agent: commit a heartbeat.
    Probe,
    /// To an agent.
    Promote(Epoch),
    /// To an agent.
    Fence(FenceRequest),
    /// To an agent: close a primary for a switchover.
    Close(CloseRequest),
    /// To an agent.
    Barrier(BarrierRequest),
    /// To an agent.
    Serving,
    /// To a gateway: would it let visitors in?
    Door,
    /// To a gateway: let requests wait.
    Park(ParkRequest),
    /// To a gateway: the switchover of this intent was rolled back.
    Unpark(u64),
    /// To a controller, from an operator.
    Switchover(Request),
    /// To a controller.
    Observations,
    /// To the name server.
    Steering,
    /// To the name server.
    Steer(Steering),
    /// To a gateway: a visitor wants a seat.
    Visit {
        /// Which.
        seat: Seat,
        /// Came through the other gateway.
        forwarded: bool,
    },
    /// To an agent, from its operator: fill this standby anew.
    Seed,
}

/// Answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Nothing listens there.
    Refused,
    /// It answered that it will not, or not now.
    No,
    /// Of the register.
    Register(Register),
    /// Of the register.
    Cas(CasReply),
    /// Of the register.
    Lease(LeaseReply),
    /// Of the register.
    Orders(Box<Orders>),
    /// Of an agent.
    Status(Box<AgentStatus>),
    /// Of an agent: it committed.
    Probed,
    /// Of an agent.
    Promote(PromoteReply),
    /// Of an agent.
    Fence(FenceReply),
    /// Of an agent.
    Close(CloseReply),
    /// Of an agent.
    Barrier(BarrierReply),
    /// Of an agent.
    Serving(Serving),
    /// Of a gateway.
    Door,
    /// Of a gateway.
    Park(ParkReply),
    /// Of a gateway.
    Unparked,
    /// Of a controller.
    Observations(Vec<Observation>),
    /// Of the name server.
    Steering(Steering),
    /// Of a gateway, to a visitor.
    Visit(Outcome),
    /// Of a database.
    Sql(SqlAnswer),
}

/// What a visitor is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The seat is yours. This is the word that must never be taken back.
    Yours {
        /// The site whose gateway said so.
        by: usize,
        /// The epoch in which it did.
        epoch: Epoch,
    },
    /// Somebody has it.
    Taken,
    /// Nobody knows.
    Unknown,
    /// Nothing was done.
    NotSent,
}

/// What a database is asked. Each is one transaction of it; what it rests on is judged by shipped code, see
/// [`crate::database`].
#[derive(Clone, Debug)]
pub enum Sql {
    /// The application sells a seat.
    Sell(Seat),
    /// Everything that an agent looks at.
    Look,
    /// The row and the end of the log.
    Snapshot,
    /// To `solo` with the token that was read, to `sync` without one.
    SetMode {
        /// To which.
        mode: Mode,
        /// In which epoch.
        epoch: Epoch,
        /// And in which stream.
        stream: StreamId,
        /// What was read.
        token: Option<u64>,
    },
    /// A heartbeat.
    Beat {
        /// The wall clock.
        wall_ms: u64,
    },
    /// Opens the applying session.
    Attach {
        /// In this epoch.
        epoch: Epoch,
    },
    /// In that session: executes a batch.
    Apply {
        /// The session.
        session: u64,
        /// The epoch that is checked.
        epoch: Epoch,
        /// The slot as it must stand.
        from: Position,
        /// Where it is to stand.
        to: At,
        /// The rows.
        batch: Arc<Batch>,
    },
    /// In that session.
    Commit {
        /// The session.
        session: u64,
    },
    /// Before a promotion: end the sessions that apply, unless there is nothing to promote.
    EndSessions {
        /// To this epoch.
        epoch: Epoch,
        /// The register, as read after the request came.
        register: Register,
    },
    /// Become primary.
    Promote {
        /// Of this epoch.
        epoch: Epoch,
        /// The register, as read after the request came.
        register: Register,
    },
    /// Close it for all older epochs.
    Fence(FenceRequest),
    /// Let the application in.
    Open,
    /// Keep it out.
    Close,
    /// Note a life that was announced for an old primary's data.
    BeginLife {
        /// In this epoch.
        epoch: Epoch,
        /// Of this primary.
        primary: Site,
        /// Which.
        incarnation: Incarnation,
    },
    /// Mark a standby's data as a copy under way.
    FillAnew {
        /// In this epoch.
        epoch: Epoch,
        /// Of this primary.
        primary: Site,
        /// In this life.
        incarnation: Incarnation,
    },
    /// Put the copy in.
    Fill {
        /// In this epoch.
        epoch: Epoch,
        /// In this life.
        incarnation: Incarnation,
        /// What.
        copy: Box<Copied>,
    },
    /// What the application committed here behind that place, and what stands in the way.
    Tail {
        /// The place.
        from: At,
        /// For which epoch's quarantine.
        epoch: Epoch,
    },
    /// Begin to undo: the old slots away, the new one marked.
    UndoBegin {
        /// In this epoch.
        epoch: Epoch,
        /// Where this database will follow.
        follow: Position,
        /// So many lines.
        left: u64,
        /// So many slots of older epochs were read.
        old: usize,
    },
    /// Undo the last line that is left.
    Undo {
        /// In this epoch.
        epoch: Epoch,
        /// So many are left before.
        left: u64,
        /// It.
        line: Seat,
    },
    /// Make the slot true.
    UndoEnd {
        /// In this epoch.
        epoch: Epoch,
    },
    /// What promotions wrote.
    Failovers,
    /// Send the log to this agent.
    Dump {
        /// From there on.
        from: u64,
        /// For this connection.
        connection: u64,
    },
    /// All rows.
    Copy,
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum SqlAnswer {
    /// Done.
    Done,
    /// The condition did not match, or the session is gone: nothing was changed.
    NotMatched,
    /// Another epoch has begun, or the slot is not where it must be.
    EpochMoved,
    /// There is no slot to continue.
    NoSlot,
    /// It holds something else than it must.
    Conflict(String),
    /// The application's account is locked.
    Locked,
    /// The seat is somebody else's.
    Taken,
    /// Everything.
    Look(Box<Look>),
    /// The row and the end of the log.
    Snapshot(Snapshot),
    /// Changed, and the row and log behind it.
    Changed(Snapshot),
    /// The session, and its slot.
    Attached(u64, Slot),
    /// Of a promotion.
    Promote(PromoteReply),
    /// Of a fence.
    Fence(FenceReply),
    /// The tail, oldest first, and all slots.
    Tail(Vec<Seat>, Vec<AppliedSlot>),
    /// Records.
    Failovers(Vec<FailoverRecord>),
    /// Rows.
    Copy(Box<Copied>),
}
