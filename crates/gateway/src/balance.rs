//! Target groups: which instances of an application there are, which of them are fit, and which one is asked.
//!
//! ```text
//!   configuration ─┐                                            ┌─▶ thread 0: Shares ─▶ select
//!   admin API ─────┼─▶ watch (one loop) ─▶ health (core) ─▶ Snapshot, whole
//!   checks ────────┤                                            └─▶ thread 1: Shares ─▶ select
//!   serving threads: a target fails ─┘
//! ```
//!
//! Always true here: one core owns what is known of all targets; threads get it whole and count for themselves, so
//! choosing takes no lock. What that costs: "fewest requests under way" and "failures in a row" are each thread's own.
//!
//! Targets come from the configuration or from `PUT /v1/target-groups/…`, as whole lists ([`Event::Targets`]). Whatever
//! else knows targets (names in DNS, Kubernetes endpoints) needs to say no more than that.

mod check;
mod discover;
pub(crate) mod health;
pub(crate) mod select;
mod share;
pub(crate) mod watch;

use std::{net::SocketAddr, sync::Arc};

use hyper::header::HeaderValue;
use model::{
    gateway::TargetStatus,
    topology::edge::{self, TargetGroup},
};
use sha2::{Digest, Sha256};

pub(crate) use self::{
    health::Event,
    share::{InFlight, Share, Shares},
};
use crate::rules::Table;

/// All that threads know of rules and targets at one moment. Swapped in whole, never changed.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) table: Arc<Table>,
    pub(crate) groups: Vec<Group>,
    pub(crate) status: Vec<TargetStatus>,
}

/// A group with the targets that may be asked now.
#[derive(Debug)]
pub(crate) struct Group {
    /// Without its targets.
    pub(crate) config: Arc<TargetGroup>,
    /// The cookie that binds a visitor to a target, if one does.
    pub(crate) cookie: Option<Arc<str>>,
    pub(crate) fit: Vec<Target>,
}

/// A target that may be asked.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) identity: Arc<Identity>,
    pub(crate) weight: u32,
    /// Since when it has been healthy, in milliseconds; its share grows from then on.
    pub(crate) since_ms: u64,
}

/// What a target is known by, at both sites alike: made of its name, so that cookies and keys lead to its counterpart
/// after a failover.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: String,
    /// Mixed with a request's key for consistent hashing.
    pub(crate) seed: u64,
    /// What the cookie says; tells a visitor nothing of the name.
    pub(crate) mark: String,
    /// The whole `Set-Cookie` line, if its group binds visitors.
    pub(crate) set_cookie: Option<HeaderValue>,
}

impl Identity {
    fn new(group: &TargetGroup, target: &edge::Target) -> Identity {
        let name = target.name.clone().unwrap_or_else(|| target.address.to_string());
        let digest: [u8; 32] = Sha256::digest(format!("{} {name}", group.name)).into();
        let mark: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
        let seed = digest.iter().skip(8).take(8).fold(0, |seed, b| (seed << 8) | u64::from(*b));
        let set_cookie = group.stickiness.as_ref().and_then(|sticky| {
            let age =
                if sticky.max_age_s > 0 { format!("; Max-Age={}", sticky.max_age_s) } else { String::new() };
            let line = format!("{}={mark}; Path=/; HttpOnly; SameSite=Lax{age}", cookie_name(group)?);
            HeaderValue::try_from(line).ok()
        });
        Identity { name, seed, mark, set_cookie }
    }
}

fn cookie_name(group: &TargetGroup) -> Option<String> {
    let sticky = group.stickiness.as_ref()?;
    Some(sticky.cookie.clone().unwrap_or_else(|| format!("ghostlight_target_{}", group.name)))
}
