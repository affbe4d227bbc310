//! Samples of what matched, as `get-sampled-requests` gives them.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::{request::RequestView, verdict::Verdict};

/// Samples that are kept of each rule.
const PER_RULE_MAX: usize = 100;
/// How long they are kept.
const KEPT_MS: u64 = 3 * 3_600 * 1_000;
/// Headers of a sample are cut after so many bytes.
const HEADER_MAX: usize = 1_024;

/// One request.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When.
    pub now_ms: u64,
    /// In AWS's shape.
    pub json: Value,
}

/// The last samples of each rule: bounded in number and age.
#[derive(Default)]
pub struct Samples {
    rules: BTreeMap<String, VecDeque<Sample>>,
    /// Requests since the last sample of each rule: a sample's weight.
    skipped: BTreeMap<String, u64>,
}

impl Samples {
    /// Takes the request as a sample of the rule that ended it.
    ///
    /// More than ten a second of one rule are not kept one by one: the next one that is kept weighs as many.
    pub fn take(&mut self, request: &RequestView<'_>, verdict: &Verdict) {
        if !verdict.sampled {
            return;
        }
        let rule = &verdict.terminating.rule;
        let list = self.rules.entry(rule.clone()).or_default();
        while list.front().is_some_and(|s| s.now_ms + KEPT_MS < request.now_ms) {
            list.pop_front();
        }
        let weight = self.skipped.entry(rule.clone()).or_insert(0);
        *weight += 1;
        if list.len() >= 10 && list.get(list.len() - 10).is_some_and(|s| s.now_ms + 1_000 > request.now_ms) {
            return;
        }
        if list.len() == PER_RULE_MAX {
            list.pop_front();
        }
        let cut = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(HEADER_MAX)]).into_owned();
        let json = json!({
            "Request": {
                "ClientIP": request.client_ip.to_string(),
                "Country": super::country(verdict),
                "URI": cut(request.path),
                "Method": request.method,
                "HTTPVersion": request.version,
                "Headers": request.headers.iter().map(|h| json!({"Name": h.name, "Value": cut(h.value)})).collect::<Vec<_>>(),
            },
            "Weight": *weight,
            "Timestamp": request.now_ms / 1_000,
            "Action": verdict.outcome.name(),
            "RuleNameWithinRuleGroup": verdict.terminating.within,
            "RequestHeadersInserted": verdict.inserted.iter().map(|h| json!({"Name": h.name, "Value": h.value})).collect::<Vec<_>>(),
            "ResponseCodeSent": verdict.response.as_ref().map(|r| r.status),
            "Labels": verdict.labels.iter().map(|l| json!({"Name": &**l})).collect::<Vec<_>>(),
        });
        *weight = 0;
        list.push_back(Sample { now_ms: request.now_ms, json });
    }

    /// The rule's samples, the newest first.
    pub fn of(&self, rule: &str) -> impl Iterator<Item = &Sample> {
        self.rules.get(rule).into_iter().flat_map(|list| list.iter().rev())
    }
}
