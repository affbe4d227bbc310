//! The web ACL as AWS's API has it: what `aws wafv2 create-web-acl --cli-input-json` takes, and the sets and groups that
//! it refers to.
//!
//! Reading is strict. A key that AWS does not know, a value out of AWS's range, a statement where AWS allows none, is an
//! error that says where it stands and what is allowed there: an ACL that is half understood lets attacks through.

mod action;
mod exclusion;
mod export;
pub(crate) mod node;
mod read;
mod statement;
mod wcu;

use std::{collections::BTreeMap, net::IpAddr};

pub use action::{Action, CustomResponse, GroupOverride, InsertedHeader};
pub use exclusion::Exclusion;
pub use node::AclError;
pub use wcu::{WCU_BASIC, WCU_MAX};

use crate::transform::Transformation;

/// Everything that one gateway enforces: the ACL and what it refers to.
///
/// As JSON it is either the bare web ACL, or an object with `WebACL` and, each a list, `IPSets`, `RegexPatternSets` and
/// `RuleGroups` in the shapes of AWS's own `create-…` calls, and our `Exclusions`.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The ACL.
    pub acl: WebAcl,
    /// Address sets by name.
    pub ip_sets: BTreeMap<String, Vec<Network>>,
    /// Pattern sets by name.
    pub pattern_sets: BTreeMap<String, Vec<String>>,
    /// Rule groups by name.
    pub groups: BTreeMap<String, RuleGroup>,
    /// What is let through by name of rule, path and parameter.
    pub exclusions: Vec<Exclusion>,
    /// The ACL's own JSON, as it was read: what `export` gives back.
    pub source: serde_json::Value,
}

/// The ACL.
#[derive(Clone, Debug)]
pub struct WebAcl {
    /// Its name.
    pub name: String,
    /// `REGIONAL` or `CLOUDFRONT`.
    pub scope: String,
    /// What happens to a request that no rule ends.
    pub default_action: Action,
    /// By ascending priority.
    pub rules: Vec<Rule>,
    /// Metric's name and whether requests are sampled.
    pub visibility: Visibility,
    /// The bodies of custom responses, by key.
    pub bodies: BTreeMap<String, Body>,
    /// Bytes of the body that are inspected.
    pub body_limit: usize,
    /// Domains for which a token counts beside the request's own.
    pub token_domains: Vec<String>,
    /// Seconds for which a solved CAPTCHA counts.
    pub captcha_immunity_s: u64,
    /// Seconds for which a solved challenge counts.
    pub challenge_immunity_s: u64,
}

/// A rule group of the operator's own.
#[derive(Clone, Debug)]
pub struct RuleGroup {
    /// Its name.
    pub name: String,
    /// WCU that it reserves.
    pub capacity: u64,
    /// By ascending priority.
    pub rules: Vec<Rule>,
    /// The bodies of its rules' custom responses.
    pub bodies: BTreeMap<String, Body>,
}

/// The body of a custom response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// `text/html`, `text/plain`, `application/json`.
    pub content_type: &'static str,
    /// Up to 4 KB.
    pub content: String,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique in its ACL or group.
    pub name: String,
    /// Its place.
    pub priority: u64,
    /// What it looks for.
    pub statement: Statement,
    /// What happens to a request that it matches; of a rule that refers to a group: the override.
    pub act: Act,
    /// Labels that it adds.
    pub labels: Vec<String>,
    /// Metric's name and sampling.
    pub visibility: Visibility,
    /// Of its own, in seconds.
    pub captcha_immunity_s: Option<u64>,
    /// Of its own, in seconds.
    pub challenge_immunity_s: Option<u64>,
}

/// `Action` or `OverrideAction`.
#[derive(Clone, Debug)]
pub enum Act {
    /// Of an ordinary rule.
    Action(Action),
    /// Of a rule that refers to a group: as the group says, or count only.
    Group(GroupOverride),
}

/// `VisibilityConfig`.
#[derive(Clone, Debug)]
pub struct Visibility {
    /// The metric's name.
    pub metric: String,
    /// Whether matching requests are kept as samples.
    pub sampled: bool,
}

/// What a rule looks for.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are those of AWS's statements of the same name")]
pub enum Statement {
    ByteMatch { search: Vec<u8>, on: On, position: Position },
    SqliMatch { on: On, high: bool },
    XssMatch { on: On },
    SizeConstraint { on: On, comparison: Comparison, size: u64 },
    GeoMatch { countries: Vec<[u8; 2]>, source: AddressSource },
    IpSet { name: String, source: AddressSource },
    AsnMatch { numbers: Vec<u32>, source: AddressSource },
    RegexMatch { pattern: String, on: On },
    RegexPatternSet { name: String, on: On },
    LabelMatch { namespace: bool, key: String },
    RateBased(Box<RateBased>),
    ManagedRuleGroup(Box<Managed>),
    RuleGroupReference { name: String, overrides: Vec<(String, Action)> },
    And(Vec<Statement>),
    Or(Vec<Statement>),
    Not(Box<Statement>),
}

/// Which part of the request, and what is undone before it is looked at.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct On {
    /// The part.
    pub field: Field,
    /// In order; without `NONE`.
    pub transformations: Vec<Transformation>,
}

/// `FieldToMatch`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "the names are those of AWS's fields to match")]
pub enum Field {
    SingleHeader(String),
    Headers {
        pick: Pick,
        scope: Scope,
        oversize: Oversize,
    },
    Cookies {
        pick: Pick,
        scope: Scope,
        oversize: Oversize,
    },
    SingleQueryArgument(String),
    AllQueryArguments,
    UriPath,
    QueryString,
    Body(Oversize),
    JsonBody {
        pick: Pick,
        scope: Scope,
        invalid: InvalidJson,
        oversize: Oversize,
    },
    Method,
    HeaderOrder(Oversize),
    Ja3(Fallback),
    Ja4(Fallback),
    UriFragment(Fallback),
    /// A part that AWS cannot name and its managed groups (and ours) look at.
    Ours(Ours),
}

/// Parts of the request for the managed groups: each value by itself, names too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ours {
    /// Values of query arguments.
    QueryValues,
    /// Their names.
    QueryNames,
    /// Values of a form, JSON, multipart or XML body; a text body as a whole.
    BodyValues,
    /// Their names.
    BodyNames,
    /// Cookies' values.
    CookieValues,
    /// Cookies' names.
    CookieNames,
    /// Values of headers whose content is the client's own: all but the protocol's.
    HeaderValues,
    /// Names of uploaded files, in multipart bodies and in the headers that uploaders use.
    FileNames,
    /// The content of uploaded files.
    Files,
    /// The site that the request says it comes from: `Referer`.
    Referer,
}

/// `All`, `Included…`, `Excluded…` of a match pattern.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "said above")]
pub enum Pick {
    All,
    Included(Vec<String>),
    Excluded(Vec<String>),
}

/// `ALL`, `KEY`, `VALUE`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "said above")]
pub enum Scope {
    All,
    Key,
    Value,
}

/// What to do with a part that is larger than what is inspected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "AWS's words")]
pub enum Oversize {
    Continue,
    Match,
    NoMatch,
}

/// What to do with a body that is no JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "AWS's words")]
pub enum InvalidJson {
    /// What was read until the fault is inspected (AWS: no `InvalidFallbackBehavior` given).
    Parsed,
    Match,
    NoMatch,
    EvaluateAsString,
}

/// What to do where there is nothing to look at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "AWS's words")]
pub enum Fallback {
    Match,
    NoMatch,
}

/// `PositionalConstraint`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "AWS's words")]
pub enum Position {
    Exactly,
    StartsWith,
    EndsWith,
    Contains,
    ContainsWord,
}

/// `ComparisonOperator`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "AWS's words")]
pub enum Comparison {
    Eq,
    Ne,
    Le,
    Lt,
    Ge,
    Gt,
}

impl Comparison {
    /// Whether `left` stands so to `right`.
    pub fn holds(self, left: u64, right: u64) -> bool {
        match self {
            Self::Eq => left == right,
            Self::Ne => left != right,
            Self::Le => left <= right,
            Self::Lt => left < right,
            Self::Ge => left >= right,
            Self::Gt => left > right,
        }
    }
}

/// Which address counts.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum AddressSource {
    /// Who is connected.
    Client,
    /// An address out of a header such as `X-Forwarded-For`.
    Forwarded {
        /// In lower case.
        header: String,
        /// When it holds no address.
        fallback: Fallback,
        /// Which of several.
        position: ForwardedPosition,
    },
}

/// `FIRST`, `LAST`, `ANY`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "AWS's words")]
pub enum ForwardedPosition {
    First,
    Last,
    Any,
}

/// `RateBasedStatement`.
#[derive(Clone, Debug)]
pub struct RateBased {
    /// Requests in a window.
    pub limit: u64,
    /// The window. AWS knows 60, 120, 300 and 600; we take all from 10 to 600.
    pub window_s: u64,
    /// What is counted apart.
    pub key: RateKey,
    /// Only requests that match it are counted and limited.
    pub scope_down: Option<Statement>,
}

/// `AggregateKeyType` and what belongs to it.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "AWS's words")]
pub enum RateKey {
    Ip,
    ForwardedIp(AddressSource),
    Constant,
    Custom(Vec<KeyPart>),
}

/// One of `CustomKeys`.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "AWS's words")]
pub enum KeyPart {
    /// A header, cookie, query argument, the query string or the path, transformed.
    On(On),
    Cookie(String, Vec<Transformation>),
    Method,
    Ip,
    ForwardedIp(AddressSource),
    LabelNamespace(String),
    Ja3(Fallback),
    Ja4(Fallback),
    Asn,
}

/// `ManagedRuleGroupStatement`.
#[derive(Clone, Debug)]
pub struct Managed {
    /// `AWS`, or `Ghostlight` for what AWS's groups lack.
    pub vendor: String,
    /// Its name.
    pub name: String,
    /// Its version; ours have one.
    pub version: Option<String>,
    /// Other actions for some of its rules.
    pub overrides: Vec<(String, Action)>,
    /// The legacy form: rules that only count.
    pub excluded: Vec<String>,
    /// Only requests that match it are looked at.
    pub scope_down: Option<Statement>,
}

/// An address range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    base: u128,
    /// Of the 128 bits that an IPv4 address has when it is mapped into IPv6.
    bits: u32,
}

impl Network {
    /// `10.0.0.0/8`, `2001:db8::/32`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let length: u32 = length.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        if length == 0 || length > longest {
            return None;
        }
        let bits = 128 - longest + length;
        Some(Self { base: mapped(address) & mask(bits), bits })
    }

    /// Whether the address is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        mapped(address) & mask(self.bits) == self.base
    }

    /// For sorting and searching: the first and the last address.
    pub(crate) fn range(self) -> (u128, u128) {
        (self.base, self.base | !mask(self.bits))
    }
}

pub(crate) fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn mask(bits: u32) -> u128 {
    if bits == 0 { 0 } else { u128::MAX << (128 - bits) }
}

#[cfg(test)]
mod tests;
