//! What the judgement returns: a plan to execute, or the reasons for holding still.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Epoch, Problem, Register, Site};

/// The judgement on one view of the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Everything that is wrong, worst first.
    pub problems: Vec<Problem>,
    /// What to do now, in this order. Empty: hold.
    pub plan: Plan,
    /// Why nothing more is done, each reason a sentence.
    pub reasons: Vec<String>,
}

/// Steps in the order in which they are to be taken. A failed step ends the plan; the next view of the world
/// yields a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One idempotent act, stamped with its epoch: at another epoch it does nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum Step {
    /// Compare-and-set the register to this record (its version is the expected one plus one).
    MoveRegister {
        /// The record to write.
        record: Register,
    },
    /// Ask the site's agent to promote its database.
    Promote {
        /// Which site.
        site: Site,
        /// To which epoch.
        epoch: Epoch,
    },
    /// Ask the site's agent to close its database to the application.
    Fence {
        /// Which site.
        site: Site,
        /// For which newer epoch.
        epoch: Epoch,
        /// Whose epoch that is.
        primary: Site,
    },
    /// Answer for the service's name with this site.
    Steer {
        /// Which site.
        site: Site,
        /// In which epoch; the name server refuses an older one.
        epoch: Epoch,
    },
    /// Compare-and-set an intent into the register: a switchover begins.
    Announce {
        /// The record to write, with the intent.
        record: Register,
    },
    /// Ask the site's gateway to let requests wait, and to answer those that are under way.
    Park {
        /// Which site.
        site: Site,
        /// In which epoch.
        epoch: Epoch,
        /// For which intent.
        intent: u64,
    },
    /// Ask the primary's agent to close its database to the application, while its row still says primary.
    Close {
        /// Which site.
        site: Site,
        /// In which epoch.
        epoch: Epoch,
        /// For which intent.
        intent: u64,
    },
    /// Wait until the standby holds everything that stands in the closed primary's log.
    CatchUp {
        /// The primary, whose agent knows.
        site: Site,
        /// In which epoch.
        epoch: Epoch,
        /// For which intent.
        intent: u64,
    },
    /// Compare-and-set the intent out of the register: the switchover is rolled back.
    Withdraw {
        /// The record to write, without the intent.
        record: Register,
    },
    /// Tell the site's gateway that the switchover is rolled back: requests go on where they are.
    Unpark {
        /// Which site.
        site: Site,
        /// In which epoch.
        epoch: Epoch,
        /// Of which intent.
        intent: u64,
    },
}

impl Step {
    /// Its kind, for metrics and the phases of a switchover.
    pub fn kind(&self) -> &'static str {
        match self {
            Step::MoveRegister { .. } => "move_register",
            Step::Promote { .. } => "promote",
            Step::Fence { .. } => "fence",
            Step::Steer { .. } => "steer",
            Step::Announce { .. } => "announce",
            Step::Park { .. } => "park",
            Step::Close { .. } => "close",
            Step::CatchUp { .. } => "catch_up",
            Step::Withdraw { .. } => "withdraw",
            Step::Unpark { .. } => "unpark",
        }
    }

    /// The site that it concerns.
    pub fn site(&self) -> &Site {
        match self {
            Step::MoveRegister { record } | Step::Announce { record } | Step::Withdraw { record } => {
                &record.primary
            }
            Step::Promote { site, .. }
            | Step::Fence { site, .. }
            | Step::Steer { site, .. }
            | Step::Park { site, .. }
            | Step::Close { site, .. }
            | Step::CatchUp { site, .. }
            | Step::Unpark { site, .. } => site,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::MoveRegister { record } => {
                write!(f, "move the register to {} in epoch {}", record.primary, record.epoch)
            }
            Step::Promote { site, epoch } => write!(f, "promote {site} to epoch {epoch}"),
            Step::Fence { site, epoch, .. } => write!(f, "fence {site} for epoch {epoch}"),
            Step::Steer { site, epoch } => write!(f, "steer visitors to {site} in epoch {epoch}"),
            Step::Announce { record } => match &record.intent {
                Some(intent) => write!(f, "announce a switchover to {}", intent.to),
                None => f.write_str("announce nothing"),
            },
            Step::Park { site, .. } => write!(f, "park the requests at {site}"),
            Step::Close { site, epoch, .. } => write!(f, "close {site} in epoch {epoch}"),
            Step::CatchUp { site, .. } => write!(f, "let the standby catch up with {site}"),
            Step::Withdraw { record } => {
                write!(f, "withdraw the switchover: {} stays in epoch {}", record.primary, record.epoch)
            }
            Step::Unpark { site, .. } => write!(f, "let the requests at {site} go on"),
        }
    }
}

/// `POST /v1/steer` on the name server, and its `GET` answer: which site the service's name leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steering {
    /// The site.
    pub site: Site,
    /// The epoch that says so. An older epoch is refused with 409 and the present steering.
    pub epoch: Epoch,
}
