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
