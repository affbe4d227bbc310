//! What an agent says of its database, and what a controller may ask of it.

use serde::{Deserialize, Serialize};

use crate::{Epoch, Incarnation, Mode, Position, Site, StreamId, Watermark};

/// How often a standby's agent tells the primary's that it lives, if it has nothing else to tell, in milliseconds.
pub const LINK_ALIVE_MS: u64 = 500;

/// The row of `ghostlight.site`: what this database itself believes. Never replicated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The highest epoch that this database has heard of.
    pub epoch: Epoch,
    /// Who is primary in it.
    pub primary: Site,
    /// Whether answers wait, while this database is the primary's.
    pub mode: Mode,
    /// Drawn anew with every change, so that a change can be made conditional on what was read.
    pub token: u64,
    /// The stream that it was written in. It speaks for no other: a server that took this one's place may have lost its
    /// last change.
    #[serde(default)]
    pub stream: StreamId,
}

/// One slot of `ghostlight.applied`: how far this database has applied another one's stream. Origin mark and
/// exactly-once checkpoint are this one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Everything before this is applied.
    pub position: Position,
    /// The epoch to which the slot is attached.
    pub epoch: Epoch,
    /// Whose stream it is.
    pub origin: Site,
}

/// What an agent is doing for its site, derived from its row and the register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "role")]
pub enum Role {
    /// Not yet decided: the database or the register has not answered since the start.
    Starting {
        /// What is being waited for.
        why: String,
    },
    /// This database takes the writes of the current epoch.
    Primary,
    /// This database applies the peer's stream.
    Standby {
        /// How far along it is.
        phase: StandbyPhase,
    },
    /// The register names this site for a newer epoch than its row: waiting to be promoted.
    Promoting,
    /// This database was primary in an older epoch and is taken back without a rebuild: what it committed and nobody
    /// was told of goes into quarantine and is undone.
    Reinstating {
        /// How far along it is.
        phase: ReinstatePhase,
        /// Transactions in quarantine so far.
        transactions: u64,
        /// Rows in quarantine so far.
        rows: u64,
        /// Rows undone so far.
        undone: u64,
        /// What is being waited for, if something is.
        waits_for: Option<String>,
    },
    /// The stream met a conflict or a table that cannot be applied, and stopped.
    Stopped {
        /// Table, key, expected and found.
        why: String,
    },
}

/// The stages of a reinstatement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReinstatePhase {
    /// Waiting for an operator's `ghostlight reinstate`: the policy says `manual`.
    #[default]
    AwaitingOrder,
    /// Telling the register that a new life of these data begins.
    Announcing,
    /// Asking the new primary how far it had applied this database's log.
    Asking,
    /// Writing the quarantine.
    Exporting,
    /// Undoing, the last row first.
    Undoing,
    /// Looking again at the rows that were undone.
    Verifying,
}

/// How far a reinstatement is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reinstatement {
    /// What is being done.
    pub phase: ReinstatePhase,
    /// Transactions in quarantine so far.
    pub transactions: u64,
    /// Rows in quarantine so far.
    pub rows: u64,
    /// Rows undone so far.
    pub undone: u64,
}

/// The stages of a standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandbyPhase {
    /// No link to the primary's agent at the moment.
    Connecting,
    /// Copying the primary's data.
    Seeding,
    /// Applying the stream.
    Attached,
}

/// Whether the application's account can write here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fence {
    /// The account is unlocked.
    Open,
    /// The account is locked and none of its sessions is left.
    Closed,
    /// The database has not answered.
    Unknown,
}

/// `GET /v1/status` on an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// The agent's site.
    pub site: Site,
    /// What it is doing.
    #[serde(flatten)]
    pub role: Role,
    /// The database's row, as last read.
    pub row: Option<Row>,
    /// This database's own stream.
    pub stream: Option<StreamId>,
    /// The end of this database's log, as last read.
    pub end_of_log: Option<Position>,
    /// On a standby: its slot. On a primary: none.
    pub slot: Option<Slot>,
    /// Which life of its data this database holds, while it is a standby's.
    pub incarnation: Option<Incarnation>,
    /// On a primary: the newest watermark received for its own stream. On a standby: the newest one sent.
    pub watermark: Option<Watermark>,
    /// Milliseconds between a commit on the primary and its application on the standby, as last measured.
    pub lag_ms: Option<u64>,
    /// Answers that wait for a watermark at this moment.
    pub held_responses: u64,
    /// On a standby: milliseconds since the primary's last heartbeat came through the stream.
    pub heartbeat_age_ms: Option<u64>,
    /// Milliseconds since this database last committed a heartbeat, while it is the primary's.
    pub commit_age_ms: Option<u64>,
    /// Milliseconds since the register was last seen, counted from the sending of the question.
    pub register_age_ms: Option<u64>,
    /// Whether the application's account can write here.
    pub fence: Fence,
    /// On a standby: how much of it has been held against the primary, row for row.
    #[serde(default)]
    pub coverage: Option<Coverage>,
    /// On a primary whose standby was heard of: for so many seconds its log still holds the standby's place at least,
    /// unless somebody deletes it by hand. `None` also if the server keeps it for ever.
    #[serde(default)]
    pub retention_left_s: Option<u64>,
    /// On a primary: milliseconds since anything came from the standby's agent over the link.
    #[serde(default)]
    pub standby_heard_age_ms: Option<u64>,
    /// Whether the server refuses everybody's writes (`read_only`), as last asked.
    #[serde(default)]
    pub read_only: Option<bool>,
    /// Bytes that are free where the server keeps its data; `None` where that cannot be seen from here (another machine's
    /// disk, a managed server).
    #[serde(default)]
    pub disk_free_bytes: Option<u64>,
    /// The last time that this agent itself stood still (SIGSTOP, a suspended machine), if it did since its start.
    #[serde(default)]
    pub paused: Option<Paused>,
}

impl AgentStatus {
    /// Of an agent that has only just begun.
    pub fn starting(site: Site) -> AgentStatus {
        AgentStatus {
            site,
            role: Role::Starting { why: "it has just begun".into() },
            row: None,
            stream: None,
            end_of_log: None,
            slot: None,
            incarnation: None,
            watermark: None,
            lag_ms: None,
            held_responses: 0,
            heartbeat_age_ms: None,
            commit_age_ms: None,
            register_age_ms: None,
            fence: Fence::Unknown,
            coverage: None,
            retention_left_s: None,
            standby_heard_age_ms: None,
            read_only: None,
            disk_free_bytes: None,
            paused: None,
        }
    }
}

/// A time in which a process did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// How long it lasted, in milliseconds.
    pub lasted_ms: u64,
    /// Milliseconds since its end.
    pub ended_ms_ago: u64,
}

/// How much of a standby's data the verifier in the background has compared with the primary's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Of every thousand rows, so many were compared in the present round.
    pub permille: u64,
    /// Seconds since the last round over all tables was complete; `None`: none has been since this agent started.
    pub last_round_age_s: Option<u64>,
    /// Rows that were found to differ and have not been found equal since.
    pub differences: u64,
    /// The first of them: table and key.
    pub first_difference: Option<String>,
}

/// `POST /v1/verify` on the standby's agent: compare with the primary, row for row, while both go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyRequest {
    /// Only this one, as `schema.table`; `None`: all.
    pub table: Option<String>,
    /// Make what differs equal to the primary.
    pub repair: bool,
    /// Not faster than so many rows a second; `None`: as fast as it goes.
    pub rows_per_s: Option<u64>,
}

/// `POST /v1/seed` on a standby's agent: fill its database anew from the primary, in place, in a new life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum SeedReply {
    /// It begins; the status tells how far it is.
    Begun,
    /// It does not.
    Refused {
        /// Why not.
        why: String,
    },
}

/// A comparison that was asked for. `GET /v1/verify` tells how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyRun {
    /// Which one, since the agent started.
    pub number: u64,
    /// It has come to its end.
    pub done: bool,
    /// Why it cannot come to its end, if so.
    pub failed: Option<String>,
    /// Why it does not go on at the moment, if so.
    pub waits_for: Option<String>,
    /// Tables to compare.
    pub tables: u64,
    /// Tables compared.
    pub tables_done: u64,
    /// Rows to compare, as the server estimates.
    pub rows_estimated: u64,
    /// Rows compared.
    pub rows: u64,
    /// Rows that differed.
    pub differences: u64,
    /// Of these: made equal.
    pub repaired: u64,
    /// The first thousand of them, and definitions that differ.
    pub list: Vec<Differing>,
}

/// Something that differs between a standby and its primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differing {
    /// `schema.table`.
    pub table: String,
    /// The row's key: column and value; of a definition, both in words.
    pub key: String,
    /// In which way.
    pub wrong: Wrong,
    /// It was made equal.
    pub repaired: bool,
}

/// What is wrong with a standby's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// It is at the primary and not here.
    MissingHere,
    /// It is here and not at the primary.
    ExtraHere,
    /// It is at both and not the same.
    Different,
    /// It is no row: the table is defined otherwise.
    Definition,
    /// It is no row: the counter of AUTO_INCREMENT here is behind the primary's. Numbers that were given out there and
    /// never committed would be given out again after a failover. No difference of the data.
    Counter,
}

/// `POST /v1/probe` on an agent: commit a heartbeat on the transaction path, now. Only a primary's agent does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReply {
    /// The row's epoch, read in the same transaction.
    pub epoch: Epoch,
    /// Milliseconds that the commit took.
    pub commit_ms: u64,
}

/// `POST /v1/promote` on the standby's agent. Allowed only when the register already names this site in `epoch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromoteRequest {
    /// The epoch to begin.
    pub epoch: Epoch,
}

/// What a promotion came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum PromoteReply {
    /// This database is the primary's now, and the application's account is unlocked.
    Promoted {
        /// Where the old primary's stream ended for us.
        record: FailoverRecord,
    },
    /// It was already promoted to this epoch; nothing was done but unlocking the account, if that was missing.
    AlreadyPromoted,
    /// It must not be promoted; the refusal is written into its row, so that it cannot be promoted to this epoch
    /// later either.
    Refused {
        /// Which condition failed.
        why: String,
    },
    /// The database or the register did not answer. Ask again.
    NotNow {
        /// What did not answer.
        why: String,
    },
}

/// The slot as it stood at the promotion: where the old primary's history ends for the new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverRecord {
    /// The epoch that began.
    pub epoch: Epoch,
    /// The old primary's stream, up to here, is part of the new primary's history.
    pub slot: Slot,
    /// This database's own log just before the promotion; the promotion's event is the first row change behind.
    pub promoted_after: Position,
}

/// `POST /v1/fence` on an agent: close this database to the application, for ever in epochs below `epoch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceRequest {
    /// The epoch whose primary asks. A database whose row is at this epoch or above does nothing.
    pub epoch: Epoch,
    /// The primary of that epoch.
    pub primary: Site,
}

/// What a fence came to, step by step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceReply {
    /// The row stands at the epoch asked for or above.
    pub row_raised: bool,
    /// The application's account is locked.
    pub account_locked: bool,
    /// Sessions of the application that were ended.
    pub sessions_killed: u64,
    /// Sessions of the application that are still there; 0 when the fence is complete.
    pub sessions_left: u64,
    /// Why a step is not done, in words.
    pub why: Option<String>,
    /// Whether the server itself refuses everybody's writes but the agent's. A courtesy beside the lock, and no condition:
    /// managed servers do not let it be set. `None`: it did not come to it.
    #[serde(default)]
    pub read_only: Option<FenceDriver>,
}

/// A means by which a site is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceMeans {
    /// The database's row stands at the newer epoch: nothing of an older one is acknowledged.
    Row,
    /// The application's account is locked.
    AccountLock,
    /// Its sessions are ended.
    SessionsKilled,
    /// The server takes nobody's writes (`read_only`) but those of the agent, which goes on applying.
    ReadOnly,
    /// The gateway lets no visitor in.
    GatewayDrained,
    /// The provider isolates the site.
    Provider,
}

/// What became of a means of fencing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceResult {
    /// It was seen to be done.
    Done,
    /// It is not done, or not known to be.
    NotDone,
    /// It cannot be done here.
    NotPossible,
}

/// One means of fencing, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceDriver {
    /// Which.
    pub driver: FenceMeans,
    /// What became of it.
    pub result: FenceResult,
    /// Why it is not done, or what was found.
    pub why: Option<String>,
}

/// What became of fencing a site, the last time that this controller did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceReport {
    /// Which site.
    pub site: Site,
    /// For which newer epoch.
    pub epoch: Epoch,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// One by one.
    pub drivers: Vec<FenceDriver>,
}

/// `POST /v1/reinstate` on an agent: take this database back, though the policy says `manual`, or once more after it
/// had stopped. How far it comes is told by the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum ReinstateReply {
    /// It begins, or goes on.
    Ordered,
    /// There is nothing to take back.
    NotNeeded {
        /// What this database is instead.
        why: String,
    },
}

/// `POST /v1/close` on the primary's agent: close this database to the application for a switchover. Allowed only while
/// the register holds this very intent; the agent opens it again by itself once the register no longer holds any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseRequest {
    /// The epoch in which this site is primary.
    pub epoch: Epoch,
    /// The intent.
    pub intent: u64,
}

/// What a closing came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum CloseReply {
    /// The account is locked and none of its sessions is left.
    Closed {
        /// Sessions of the application that were ended.
        sessions_killed: u64,
    },
    /// It is not closed, or not known to be.
    NotClosed {
        /// Why.
        why: String,
    },
}
