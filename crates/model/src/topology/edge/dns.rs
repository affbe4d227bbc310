//! `[[target_group.dns]]`: targets by a name.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::Site;

/// Every address that the name leads to is a target: those of IPv4, or where there are none those of IPv6. The name is asked
/// for again when its answer's time to live is over, at the earliest after a second, at the latest after a minute; new
/// addresses become targets, missing ones finish what they have begun. While there is no answer, or one without any
/// address, the targets of before stay: the health checks know better than a name server in trouble.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsTargets {
    /// The site at which they stand.
    pub site: Site,
    /// The whole name; no search domain is added.
    pub name: String,
    /// Where they accept connections.
    pub port: u16,
    /// The availability zone in which they stand.
    #[serde(default)]
    pub zone: Option<String>,
    /// The share of requests of each of them, against the others' weights.
    #[serde(default = "super::one")]
    pub weight: u32,
    /// The name server. Default: the first one of `/etc/resolv.conf`.
    #[serde(default)]
    pub server: Option<SocketAddr>,
}
