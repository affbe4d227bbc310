//! A planned change of primary, as it is asked for and told.

use serde::{Deserialize, Serialize};

use crate::{Epoch, Site};

/// `POST /v1/switchover` on a controller. Only the one that leads begins it; the others say who leads. The answer is a
/// [`Told`]: under way, or refused with its reasons. How it goes on is told by `GET /v1/view`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who is to be primary.
    pub to: Site,
    /// Who asks, for the register's words and the journal.
    pub by: String,
}

/// How far a switchover is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Which one, since this controller started.
    pub number: u64,
    /// Who was primary.
    pub from: Site,
    /// Who is to be.
    pub to: Site,
    /// Where it stands.
    pub state: State,
    /// Why it was refused or rolled back.
    pub reasons: Vec<String>,
    /// The epoch in which it was asked for.
    pub epoch: Epoch,
    /// When it was asked for, milliseconds since 1970 UTC.
    pub began_ms: u64,
    /// What was done, in the order in which it ended.
    pub phases: Vec<Phase>,
}

/// Where a switchover stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not begun, because the reasons speak against it.
    Refused,
    /// Asked for; the intent is not in the register yet.
    Asked,
    /// The register holds the intent, or names the new primary, whose promotion is not confirmed yet.
    UnderWay,
    /// The new primary is promoted.
    Done,
    /// Withdrawn: the old primary goes on in its epoch.
    RolledBack,
}

/// One act of a switchover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// The step's kind (`park`, `close`, …), or `sync`: the register says so again.
    pub phase: String,
    /// The site that it concerned.
    pub site: Site,
    /// When it ended, in milliseconds since the switchover was asked for.
    pub ended_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Whether it reached its aim.
    pub done: bool,
}
