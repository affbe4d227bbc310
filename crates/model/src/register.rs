//! The register: the one record that says who is primary.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Epoch, Site};

pub use crate::orders::{Approval, Halt, Orders, OrdersReply, OrdersRequest, Window};

/// Whether answers wait for the standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Answers wait until the standby holds what they report. Automatic failover loses nothing.
    Sync,
    /// The standby is known to be behind. Nothing waits, and no automatic failover is allowed.
    Solo,
}

impl Mode {
    /// As it stands in the register, the row and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Sync => "sync",
            Mode::Solo => "solo",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which life of the standby's data is meant. Seeding, restoring and re-synchronising begin a new one *before*
/// the first row is touched, so that a standby that lost something can never be promoted as if it had not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The compare-and-set record. Whoever changes it names the `version` that was read; one of two racers loses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// Grows by one with every change; the compare of compare-and-set.
    pub version: u64,
    /// The current term.
    pub epoch: Epoch,
    /// Whose database takes writes in this term.
    pub primary: Site,
    /// Whether a failover is allowed without loss.
    pub mode: Mode,
    /// The only life of the standby's data that may be promoted.
    pub standby_incarnation: Incarnation,
    /// A planned change under way (a switchover), to be finished or cleared by whoever leads.
    pub intent: Option<Intent>,
    /// When this epoch or mode began, milliseconds since 1970 UTC. For people; no decision reads it.
    pub since_ms: u64,
    /// Why it was last changed, in words. For people.
    pub why: String,
    /// How an epoch was begun by an operator's order, if that is how the present one (or the one named in it) began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<Forced>,
}

/// A failover that no judgement would have made. It is what the promise "nothing acknowledged is lost" excepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forced {
    /// The epoch that began so. An older one says nothing of the present.
    pub epoch: Epoch,
    /// The mode that it moved out of. Out of `solo` nobody is promoted before the old primary's lease has surely ended:
    /// until then its answers may still go out.
    pub out_of: Mode,
    /// The loss that was accepted, in seconds; [`Approval::ANY_LOSS`]: any.
    pub accept_loss_s: u64,
    /// Who ordered it.
    pub by: String,
}

/// A planned change of primary that has been announced but is not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Who is to be primary in the next epoch.
    pub to: Site,
    /// Its number: the version of the record that announced it. What is done in its name carries it, so that nothing
    /// of an intent that was withdrawn is taken for the next one's.
    #[serde(default)]
    pub id: u64,
}

impl Register {
    /// The record of a new installation: the first epoch, nothing replicated yet.
    pub fn first(primary: Site, since_ms: u64) -> Register {
        Register {
            version: 1,
            epoch: Epoch::FIRST,
            primary,
            mode: Mode::Solo,
            standby_incarnation: Incarnation(0),
            intent: None,
            since_ms,
            why: "first start".into(),
            forced: None,
        }
    }

    /// How this epoch was begun by an operator's order, if it was.
    pub fn forced_now(&self) -> Option<&Forced> {
        self.forced.as_ref().filter(|forced| forced.epoch == self.epoch)
    }
}

/// `POST /v1/register/cas`: replace the record if it is still at `expected_version`.
///
/// `record.version` must be `expected_version + 1`. An attempt whose answer got lost may be repeated: if the
/// register already holds exactly `record`, the answer is `Swapped` again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CasRequest {
    /// The version that was read.
    pub expected_version: u64,
    /// What it is to become.
    pub record: Register,
}

/// What a compare-and-set came to. The current record is returned in both cases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "record")]
pub enum CasReply {
    /// The record is now ours.
    Swapped(Register),
    /// Somebody was faster; read, think again.
    Stale(Register),
}

/// The second key: who leads the controllers. Its end is judged by the register's own clock.
///
/// Leading only avoids double work. Safety never rests on it: every act is stamped with an epoch and every
/// change of the register is a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The controller's place; empty while nobody holds it.
    pub holder: String,
    /// Milliseconds until it ends unless renewed; 0 while nobody holds it.
    pub remaining_ms: u64,
}

/// `POST /v1/lease`: take or renew the leader's lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// Who asks.
    pub holder: String,
    /// For how long, in milliseconds. 0 gives up one's own lease, and only looks at another's.
    pub ttl_ms: u64,
}

/// Who holds the lease after the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseReply {
    /// Whether it is the one who asked.
    pub granted: bool,
    /// The lease as it stands.
    pub lease: Lease,
}
