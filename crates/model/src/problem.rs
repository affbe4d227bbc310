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
    /// The primary's server takes nobody's writes: it is `read_only`.
    PrimaryReadOnly,
    /// Another server answers for the primary's database, and what it lacks of the one before is not known.
    PrimaryReplaced,
    /// The disk of the primary's database is full.
    PrimaryDiskFull,
    /// The witness's controller is not heard.
    WitnessLost,
    /// The standby hears nothing of the primary; the primary hears the standby.
    LinkCutToStandby,
    /// The primary hears nothing of the standby; the standby hears the primary.
    LinkCutFromStandby,
    /// Answers over the link take too long.
    LinkSlow,
    /// The standby follows, too far behind.
    LagAboveLimit,
    /// The primary's log will soon no longer hold the standby's place.
    RetentionShort,
    /// The clocks of two places differ too much.
    ClockSkew,
    /// The primary's database is promoted and open, and its gateway lets nobody in.
    PromotedNotReachable,
    /// Both agents hold their databases for the primary's.
    BothPrimariesClaimed,
    /// An agent stood still for a time and is back.
    AgentPaused,
    /// The primary is lost and comes back, again and again.
    Flapping,
    /// An operator has ordered that nothing is moved automatically.
    AutomationOff,
}
