//! What is said on the link.
//!
//! Once both sides have shown their certificates: [`Request`] up, [`Answer`] down. After a welcome only [`Down`] and
//! [`Up`] follow.

use model::{Epoch, Incarnation, Position, Site, Watermark, agent::FailoverRecord};
use serde::{Deserialize, Serialize};

use crate::{
    copy::{Chunk, Outline, Walk},
    transaction::{Change, End, Table},
};

/// Changes with every change of a frame's form. Two agents of different protocols do not talk.
pub const PROTOCOL: u32 = 6;

/// Who comes and what for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Its [`PROTOCOL`].
    pub protocol: u32,
    /// The standby's site.
    pub site: Site,
    /// The epoch in which it applies.
    pub epoch: Epoch,
    /// The life of its data.
    pub incarnation: Incarnation,
    /// What it wants.
    pub want: Want,
}

/// What a standby wants of the primary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Want {
    /// The log behind this position.
    Log(Position),
    /// All definitions of the application.
    Outline,
    /// What its promotions wrote: where the histories of other logs ended.
    Failovers,
}

/// How the primary's side takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// It begins.
    Welcome,
    /// It does not.
    Refused(Refusal),
}

/// Why the primary's side does not send (any more).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Not now: this site is not primary in that epoch, or its database does not answer. Come again.
    NotNow(String),
    /// The position asked for is not in this database's log (any more). The standby must be seeded.
    PositionLost(String),
    /// The log or the data hold what cannot be replicated; an operator must act.
    Unsupported(String),
    /// Another protocol, or another site's certificate.
    Denied(String),
    /// This database's log is another one than the standby followed. What the standby holds may be missing here, so
    /// an operator must decide whether to copy from this database.
    OtherLog(String),
}

/// From the primary to the standby.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Down {
    /// A table that changes behind this frame name by its number.
    Table {
        /// Its number, for the length of this connection.
        number: u32,
        /// What it looks like.
        table: Table,
    },
    /// The next steps of a transaction. With `end`, they are its last.
    Part {
        /// In order.
        changes: Vec<Change>,
        /// Where the transaction ends, if it does.
        end: Option<End>,
    },
    /// The parts since the last end are void.
    Abandoned,
    /// All definitions.
    Outline(Box<Outline>),
    /// A range of a table as it is here, between what stands before and behind it.
    Chunk(Box<Chunk>),
    /// Every failover record of this database, the oldest first.
    Failovers(Vec<FailoverRecord>),
    /// Nothing to say, and still there.
    Alive,
    /// The end of it.
    Refused(Refusal),
}

/// From the standby to the primary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Up {
    /// Durably applied up to here.
    Watermark(Watermark),
    /// Send chunks of a table.
    Walk(Box<Walk>),
    /// Send more chunks of that walk.
    More {
        /// Its number.
        walk: u32,
        /// How many more.
        chunks: u32,
    },
    /// Nothing to say, and still there.
    Alive,
}
