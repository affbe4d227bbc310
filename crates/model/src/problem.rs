//! Every failure mode has a name here. Console, journal, scenarios and tests speak these names.

use serde::{Deserialize, Serialize};

/// A named failure mode. The sentence, severity and predicate of each stand in `decide::problem`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// Neither agent nor gateway of the primary site answers.
    PrimarySiteLost,
    /// The primary's agent answers, its database does not commit.
    PrimaryDatabaseLost,
    /// The primary's gateway does not answer, the agent does.
    PrimaryGatewayLost,
    /// The primary's agent does not answer, the gateway does.
    PrimaryAgentLost,
    /// One viewpoint alone has lost the primary.
    PrimarySuspected,
    /// The witness's or the standby's controller is not heard, so that nobody can confirm a loss.
    ViewpointMissing,
    /// The standby site does not answer.
    StandbyLost,
    /// Both sites are seen, but the standby does not hear the primary's stream.
    LinkCut,
    /// The register has not answered.
    RegisterUnreachable,
    /// A database has seen a newer epoch than the register's: the register lost a change, or is not the right one.
    RegisterBehind,
    /// Answers do not wait for the standby: no automatic failover is possible.
    RunningSolo,
    /// The stream stopped at a conflict.
    ReplicationStopped,
    /// The standby is being filled, or waits for an empty database.
    StandbyNotReady,
    /// The register names a primary whose database is not promoted yet.
    PromotionUnfinished,
    /// The database of the register's primary refused its promotion.
    PromotionRefused,
    /// A site that is not the primary has an open database.
    FenceUnfinished,
    /// The name server does not answer for the primary.
    SteeringUnfinished,
}
