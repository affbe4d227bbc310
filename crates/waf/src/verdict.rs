//! What the engine says of a request, and everything that a log line, a metric or an explanation needs.

use std::sync::Arc;

use crate::acl::{Body, InsertedHeader};

/// What is to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It goes on to the origin.
    Allow,
    /// It is refused.
    Block,
    /// It is answered with a CAPTCHA (here: 405, as AWS does to who cannot solve one).
    Captcha,
    /// It is answered with a challenge.
    Challenge,
}

impl Outcome {
    /// As logs have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Block => "BLOCK",
            Self::Captcha => "CAPTCHA",
            Self::Challenge => "CHALLENGE",
        }
    }
}

/// What is answered instead of the origin's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Besides `Content-Type` and `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// None: no body.
    pub body: Option<Body>,
}

/// The verdict.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What is to happen.
    pub outcome: Outcome,
    /// What is answered; `None` when the request goes on.
    pub response: Option<Response>,
    /// Headers for the origin.
    pub inserted: Vec<InsertedHeader>,
    /// Labels, in the order in which they were added.
    pub labels: Vec<Arc<str>>,
    /// Who ended it.
    pub terminating: Terminating,
    /// Rules that matched and ended nothing.
    pub others: Vec<Matched>,
    /// What each rule group said.
    pub groups: Vec<GroupVerdict>,
    /// Rate-based rules that matched.
    pub rates: Vec<RateMatch>,
    /// Parts that were larger than what is inspected.
    pub oversize: Vec<&'static str>,
    /// The client's country, if the ACL asked for it.
    pub country: Option<[u8; 2]>,
    /// The client's autonomous system, if the ACL asked for it.
    pub asn: Option<u32>,
    /// What a CAPTCHA or challenge found of the token.
    pub token: Option<TokenState>,
    /// Whether who ended it wants samples to be kept.
    pub sampled: bool,
}

/// A token that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenState {
    /// It is there and valid.
    Valid,
    /// It is not there.
    Missing,
    /// It is too old.
    Expired,
    /// It is not one of ours, or another client's.
    Invalid,
}

/// Who ended it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terminating {
    /// The rule's name, or `Default_Action`.
    pub rule: String,
    /// Of which kind.
    pub kind: RuleKind,
    /// The rule within its group.
    pub within: Option<String>,
    /// Where it matched.
    pub details: Vec<Detail>,
}

/// `terminatingRuleType`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "AWS's words")]
pub enum RuleKind {
    Regular,
    RateBased,
    Group,
    ManagedRuleGroup,
}

impl RuleKind {
    /// As logs have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Regular => "REGULAR",
            Self::RateBased => "RATE_BASED",
            Self::Group => "GROUP",
            Self::ManagedRuleGroup => "MANAGED_RULE_GROUP",
        }
    }
}

/// A rule that matched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matched {
    /// Its name.
    pub rule: String,
    /// What it did.
    pub action: &'static str,
    /// What it would have done, had it not been overridden.
    pub overridden: Option<&'static str>,
    /// Where.
    pub details: Vec<Detail>,
    /// By the legacy `ExcludedRules`.
    pub excluded: bool,
}

/// What a rule group said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupVerdict {
    /// `AWS#AWSManagedRulesCommonRuleSet`, or the name.
    pub id: String,
    /// The rule of it that ended its evaluation.
    pub terminating: Option<Matched>,
    /// Rules of it that matched and only counted.
    pub others: Vec<Matched>,
}

/// A rate-based rule that matched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RateMatch {
    /// Its name.
    pub rule: String,
    /// What it counts by, as logs have it: `IP`.
    pub key: &'static str,
    /// The value that was counted.
    pub value: String,
    /// Its limit.
    pub limit: u64,
    /// Its window.
    pub window_s: u64,
    /// What was counted.
    pub count: u64,
}

/// Where a statement matched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Detail {
    /// `SQL_INJECTION`, `XSS`, `REGEX`, `BYTES`, `SIZE`, `GEO`, `IP`, `LABEL`…
    pub condition: &'static str,
    /// AWS's word for the part: `ALL_QUERY_ARGS`, `BODY`, `HEADER`…
    pub location: &'static str,
    /// The argument's, cookie's, header's name there.
    pub name: String,
    /// What matched, cut to 64 bytes.
    pub data: String,
}

/// What one rule says of a request, asked by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explained {
    /// The rule of the ACL.
    pub rule: String,
    /// The rule of its group.
    pub within: Option<String>,
    /// Whether it matches.
    pub matches: bool,
    /// What it does then.
    pub action: &'static str,
    /// Where it matched.
    pub details: Vec<Detail>,
}
