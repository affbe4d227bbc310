//! `[[target_group]]` and `[[rule]]`: what the gateways do with a request. Written once for both sites, so that visitors
//! meet the same service after a failover.
//!
//! ```toml
//! [[target_group]]
//! name = "web"
//! algorithm = "least_outstanding_requests"
//! target = [
//!     { site = "nhn", name = "web1", address = "10.0.1.11:80", zone = "a" },
//!     { site = "nhn", name = "web2", address = "10.0.2.11:80", zone = "c" },
//!     { site = "aws", name = "web1", address = "172.16.1.11:80", zone = "a" },
//! ]
//!
//! [[rule]]
//! priority = 10
//! path = ["/DVWA*"]
//! forward = [{ target_group = "security-test" }]
//! ```
//!
//! The short form is `targets` of a site's gateway: one group named `default`. A request that no rule takes goes to that
//! group.

mod dns;
mod faults;
mod limits;

use std::{collections::BTreeMap, fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::Site;

pub use dns::DnsTargets;
pub use limits::Limits;

/// The group that takes what no rule takes.
pub const DEFAULT_GROUP: &str = "default";

/// `[[target_group]]`: instances of an application that can stand in for each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetGroup {
    /// Its name: letters, digits and `-`.
    pub name: String,
    /// How one of its targets is chosen.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// Of what `consistent_hash` makes its key.
    #[serde(default)]
    pub hash_on: HashOn,
    /// What is spoken with its targets. Default: HTTP/1.1.
    #[serde(default)]
    pub protocol: Protocol,
    /// Its targets at both sites. A gateway uses those of its own site.
    #[serde(default, rename = "target")]
    pub targets: Vec<Target>,
    /// Targets that are found by a name, besides these.
    #[serde(default)]
    pub dns: Vec<DnsTargets>,
    /// Whether targets in other zones than the gateway's are used while one in its own zone is fit.
    #[serde(default = "yes")]
    pub cross_zone: bool,
    /// Visitors keep their target by a cookie. Default: they do not.
    #[serde(default)]
    pub stickiness: Option<Stickiness>,
    /// A target that has become healthy gets its full share of requests only after so long, in milliseconds; 0: at once.
    #[serde(default)]
    pub slow_start_ms: u64,
    /// For how long a target that was taken out may finish what it has begun, in milliseconds.
    #[serde(default = "deregistration_delay_ms")]
    pub deregistration_delay_ms: u64,
    /// How targets are checked.
    #[serde(default)]
    pub health_check: HealthCheck,
    /// When a target is left out because visitors' requests fail on it.
    #[serde(default)]
    pub circuit_breaker: CircuitBreaker,
    /// Whether a read (GET or HEAD without a body) is sent once more when its target breaks the connection before it has
    /// answered. Default: no; once a byte was sent, nothing is sent again. A write, a read whose answer is held, and a read
    /// that would run in another epoch than at first are never sent again, whatever this says; nor is any read of the group
    /// after one of its reads was answered with `Ghostlight-Hold: required`.
    #[serde(default)]
    pub retry_reads: bool,
    /// So many of a hundred requests may be such repetitions; beyond that they fail, so that a group in trouble is not
    /// given more to do.
    #[serde(default = "retry_percent_max")]
    pub retry_percent_max: u32,
    /// When no target is fit: use them all (`true`), or answer 503 (`false`).
    #[serde(default = "yes")]
    pub fail_open: bool,
    /// Requests under way at one target, of the whole gateway; a target that has so many gets no more. 0: any number.
    #[serde(default)]
    pub requests_max: u32,
}

/// One instance of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The site at which it stands.
    pub site: Site,
    /// Where it accepts connections.
    pub address: SocketAddr,
    /// Its name. Give the same name to its counterpart at the other site: a visitor who is bound to it by a cookie is
    /// bound to the counterpart after a failover. Default: its address.
    #[serde(default)]
    pub name: Option<String>,
    /// The availability zone in which it stands.
    #[serde(default)]
    pub zone: Option<String>,
    /// Its share of requests, against the others' weights. 0: a reserve, asked while no other can be, or where a cookie
    /// names it.
    #[serde(default = "one")]
    pub weight: u32,
}

/// How one target of a group is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// In turn, as often as their weights say.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way for its weight, as seen by the thread that chooses.
    LeastOutstandingRequests,
    /// By lot, as often as their weights say.
    WeightedRandom,
    /// By a key of the request (`hash_on`): the same key, the same target, while it is fit. Few keys move when a target
    /// comes or goes.
    ConsistentHash,
}

/// What is spoken with the targets of a group, whatever the visitor speaks with us. Always without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, known beforehand (h2c), many requests on one connection. WebSocket does not go through.
    Http2,
    /// HTTP/2 for gRPC: trailers go through in both directions, and targets are checked as gRPC wants it:
    /// `health_check.path` is the method that is called (write `/grpc.health.v1.Health/Check` if they have it); a target
    /// that does not know it (status 12) is alive. Behind the commit gate a call is answered when it has ended: streams of
    /// answers come at once, and calls in which both sides speak in turn do not work there.
    Grpc,
}

/// Of what `consistent_hash` makes its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HashOn {
    /// The visitor's address.
    #[default]
    SourceIp,
    /// The path.
    Path,
    /// A header's value; the visitor's address where it is absent.
    Header(String),
    /// A cookie's value; the visitor's address where it is absent.
    Cookie(String),
}

/// Visitors keep their target by a cookie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stickiness {
    /// The cookie's name. Default: `ghostlight_target_` and the group's name.
    pub cookie: Option<String>,
    /// For how long a browser keeps it, in seconds; 0: until it is closed.
    pub max_age_s: u64,
}

impl Default for Stickiness {
    fn default() -> Self {
        Stickiness { cookie: None, max_age_s: 86_400 }
    }
}

/// How the targets of a group are checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthCheck {
    /// The path that is asked with GET.
    pub path: String,
    /// Between two checks of one target, in milliseconds.
    pub interval_ms: u64,
    /// How long one check may take, in milliseconds.
    pub timeout_ms: u64,
    /// So many successes in a row make an unhealthy target healthy. A new target needs one.
    pub healthy_after: u32,
    /// So many failures in a row make a target unhealthy.
    pub unhealthy_after: u32,
    /// The status codes that are a success: `200`, `200,302` or `200-399`.
    pub matcher: Matcher,
}

impl Default for HealthCheck {
    fn default() -> Self {
        HealthCheck {
            path: "/healthz".into(),
            interval_ms: 250,
            timeout_ms: 1_000,
            healthy_after: 1,
            unhealthy_after: 2,
            matcher: Matcher(vec![(200, 399)]),
        }
    }
}

/// Status codes and ranges of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Matcher(pub Vec<(u16, u16)>);

impl Matcher {
    /// Whether `status` is one of them.
    pub fn matches(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }
}

impl TryFrom<String> for Matcher {
    type Error = String;

    fn try_from(text: String) -> Result<Matcher, String> {
        let wrong = || format!("`{text}` names no status codes; write e.g. `200`, `200,302` or `200-399`");
        let code =
            |t: &str| t.trim().parse::<u16>().ok().filter(|c| (200..=499).contains(c)).ok_or_else(wrong);
        let range = |part: &str| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (code(from)?, code(to)?);
            if from <= to { Ok((from, to)) } else { Err(wrong()) }
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Matcher)
    }
}

impl From<Matcher> for String {
    fn from(matcher: Matcher) -> String {
        matcher.to_string()
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (from, to)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            if from == to { write!(f, "{comma}{from}")? } else { write!(f, "{comma}{from}-{to}")? }
        }
        Ok(())
    }
}

/// A circuit breaker for each target. It opens when visitors' requests fail on the target: it refuses or breaks
/// connections, or does not answer in time. While it is open the target is left out. When its time is over it is half open:
/// the next health check, not a visitor, tries it, and closes it by a success. At least half of a group's fit targets are
/// never left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CircuitBreaker {
    /// So many failures in a row, seen by one thread; 0: never.
    pub failures: u32,
    /// For how long at first, in milliseconds; twice as long each time it happens again soon, up to ten times.
    pub for_ms: u64,
    /// Whether an answer 502, 503 or 504 of the application counts as a failure.
    pub on_5xx: bool,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        CircuitBreaker { failures: 5, for_ms: 1_000, on_5xx: false }
    }
}

/// `[[rule]]`: which requests, and what is done with them. The smallest `priority` whose conditions all hold decides. A
/// condition holds if one of its values does; a condition that is not written always holds. `*` stands for any text, `?`
/// for one character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its place; each is given once.
    pub priority: u32,
    /// The name that visitors wrote, without port; capitals do not matter.
    #[serde(default)]
    pub host: Vec<String>,
    /// The path as it was sent, without the query; capitals matter.
    #[serde(default)]
    pub path: Vec<String>,
    /// The method; no patterns.
    #[serde(default)]
    pub method: Vec<String>,
    /// Headers by name; capitals do not matter. Of several headers each must hold.
    #[serde(default)]
    pub header: BTreeMap<String, Vec<String>>,
    /// Parts of the query: `{ key = "version", value = "v1" }`, or only a value, which any key may have; capitals do not
    /// matter.
    #[serde(default)]
    pub query: Vec<QueryIs>,
    /// The visitor's address: `203.0.113.7` or `203.0.113.0/24`.
    #[serde(default)]
    pub source_ip: Vec<Cidr>,
    /// Forward to one of these groups, as often as their weights say.
    #[serde(default)]
    pub forward: Option<Vec<Forward>>,
    /// Send the visitor elsewhere.
    #[serde(default)]
    pub redirect: Option<Redirect>,
    /// Answer at once.
    #[serde(default)]
    pub fixed_response: Option<FixedResponse>,
}

/// A part of the query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryIs {
    /// The key; any if it is not written.
    #[serde(default)]
    pub key: Option<String>,
    /// The value.
    pub value: String,
}

/// A group that a rule forwards to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// The group's name.
    pub target_group: String,
    /// How often, against the others' weights.
    #[serde(default = "one")]
    pub weight: u32,
}

/// Where a visitor is sent. `#{protocol}`, `#{host}`, `#{port}`, `#{path}` (without its first `/`) and `#{query}` stand
/// for what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redirect {
    /// `http` or `https`.
    pub protocol: String,
    /// The name.
    pub host: String,
    /// The port.
    pub port: String,
    /// The path.
    pub path: String,
    /// The query, without `?`.
    pub query: String,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

impl Default for Redirect {
    fn default() -> Self {
        Redirect {
            protocol: "#{protocol}".into(),
            host: "#{host}".into(),
            port: "#{port}".into(),
            path: "/#{path}".into(),
            query: "#{query}".into(),
            status: 302,
        }
    }
}

/// An answer of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedResponse {
    /// 200 to 599.
    pub status: u16,
    /// What kind of text it is.
    #[serde(default = "plain")]
    pub content_type: String,
    /// The text.
    #[serde(default)]
    pub body: String,
}

/// An address, or all addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    /// The address.
    pub address: std::net::IpAddr,
    /// How many of its first bits count.
    pub bits: u8,
}

impl Cidr {
    /// Whether `address` is among them. An IPv4 address written as IPv6 is the IPv4 address.
    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        use std::net::IpAddr::{V4, V6};
        let same = |a: u128, b: u128, width: u32| {
            let host_bits = width.saturating_sub(u32::from(self.bits));
            a.checked_shr(host_bits).unwrap_or(0) == b.checked_shr(host_bits).unwrap_or(0)
        };
        match (self.address.to_canonical(), address.to_canonical()) {
            (V4(a), V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (V6(a), V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

impl TryFrom<String> for Cidr {
    type Error = String;

    fn try_from(text: String) -> Result<Cidr, String> {
        let wrong = || format!("`{text}` is no address; write e.g. `203.0.113.7` or `203.0.113.0/24`");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text.as_str(), None),
        };
        let address: std::net::IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits > width { Err(wrong()) } else { Ok(Cidr { address, bits }) }
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> String {
        format!("{}/{}", cidr.address, cidr.bits)
    }
}

/// What one site's gateway is told of all this.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routing {
    /// The groups, each with the targets of this site only.
    pub groups: Vec<TargetGroup>,
    /// The rules, by priority.
    pub rules: Vec<Rule>,
}

impl Routing {
    /// One group named `default`: the short form.
    pub fn of_targets(site: &Site, targets: &[SocketAddr], health_check: HealthCheck) -> Routing {
        let mut group = TargetGroup::named(DEFAULT_GROUP);
        group.health_check = health_check;
        group.add(site, targets);
        Routing { groups: vec![group], rules: Vec::new() }
    }
}

impl TargetGroup {
    /// A group with nothing but defaults.
    pub fn named(name: &str) -> TargetGroup {
        TargetGroup {
            name: name.to_owned(),
            algorithm: Algorithm::default(),
            hash_on: HashOn::default(),
            protocol: Protocol::default(),
            targets: Vec::new(),
            dns: Vec::new(),
            cross_zone: true,
            stickiness: None,
            slow_start_ms: 0,
            deregistration_delay_ms: deregistration_delay_ms(),
            health_check: HealthCheck::default(),
            circuit_breaker: CircuitBreaker::default(),
            retry_reads: false,
            retry_percent_max: retry_percent_max(),
            fail_open: true,
            requests_max: 0,
        }
    }

    /// There is nobody to ask at all.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.dns.is_empty()
    }

    /// Takes in targets of which only the address is given.
    pub fn add(&mut self, site: &Site, targets: &[SocketAddr]) {
        let target = |address: &SocketAddr| Target {
            site: site.clone(),
            address: *address,
            name: None,
            zone: None,
            weight: 1,
        };
        self.targets.extend(targets.iter().map(target));
    }
}

impl super::Topology {
    /// What `site`'s gateway is told: its own targets, the short form taken in, the rules in their order.
    pub fn routing(&self, site: &Site) -> Routing {
        let mut groups = self.target_groups.clone();
        for group in &mut groups {
            group.targets.retain(|t| t.site == *site);
            group.dns.retain(|d| d.site == *site);
        }
        if let Some(gateway) = self.sites.get(site).map(|s| &s.gateway).filter(|g| !g.targets.is_empty()) {
            let short = HealthCheck { path: gateway.health_path.clone(), ..HealthCheck::default() };
            match groups.iter_mut().find(|g| g.name == DEFAULT_GROUP) {
                Some(group) => group.add(site, &gateway.targets),
                None => groups.extend(Routing::of_targets(site, &gateway.targets, short).groups),
            }
        }
        let mut rules = self.rules.clone();
        rules.sort_by_key(|r| r.priority);
        Routing { groups, rules }
    }
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn plain() -> String {
    "text/plain".to_owned()
}

fn retry_percent_max() -> u32 {
    20
}

fn deregistration_delay_ms() -> u64 {
    300_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matcher_is_codes_and_ranges() {
        let read = |text: &str| Matcher::try_from(text.to_owned());
        let both = read("200,301-308").unwrap();
        assert!([200, 301, 308].into_iter().all(|s| both.matches(s)));
        assert!([199, 201, 300, 309].into_iter().all(|s| !both.matches(s)));
        assert_eq!(both.to_string(), "200,301-308");
        for bad in ["", "2xx", "200-", "399-200", "99", "200-500"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[track_caller]
    fn holds(cidr: &str, address: &str, want: bool) {
        let cidr = Cidr::try_from(cidr.to_owned()).unwrap();
        assert_eq!(cidr.contains(address.parse().unwrap()), want, "{cidr:?} {address}");
    }

    #[test]
    fn an_address_belongs_to_a_range_by_its_first_bits() {
        holds("203.0.113.0/24", "203.0.113.255", true);
        holds("203.0.113.0/24", "203.0.114.0", false);
        holds("203.0.113.7", "203.0.113.7", true);
        holds("203.0.113.7", "203.0.113.8", false);
        holds("0.0.0.0/0", "9.9.9.9", true);
        holds("::/0", "2001:db8::1", true);
        holds("2001:db8::/32", "2001:db8:1::1", true);
        holds("2001:db8::/32", "2001:db9::1", false);
        holds("10.0.0.0/8", "::ffff:10.1.2.3", true);
        holds("0.0.0.0/0", "2001:db8::1", false);
        for bad in ["", "1.2.3", "1.2.3.4/33", "::/129", "1.2.3.4/x"] {
            assert!(Cidr::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
