//! The web ACL's counters, under AWS's names.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use waf::{Engine, Matched, Outcome, Verdict};

/// What ends a request that no rule ends.
const DEFAULT: &str = "Default_Action";

/// The dimensions that AWS gives them; `metric` is AWS's name of the metric.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct By {
    metric: &'static str,
    web_acl: String,
    rule_group: String,
    rule: String,
}

#[derive(Default)]
pub(super) struct Tally {
    requests: Family<By, Counter>,
}

impl Tally {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.sub_registry_with_prefix("waf").register(
            "requests",
            "Requests by what the web ACL did with them, under AWS WAF's names of metrics and dimensions",
            self.requests.clone(),
        );
    }

    /// The counter of what the ACL simply allows, which is nearly everything: found once.
    pub(super) fn allowed(&self, engine: &Engine) -> Counter {
        let allowed = By {
            metric: "AllowedRequests",
            web_acl: engine.bundle().acl.visibility.metric.clone(),
            rule_group: String::new(),
            rule: DEFAULT.to_owned(),
        };
        self.requests.get_or_create(&allowed).clone()
    }

    /// Whether that counter is all that counts it.
    pub(super) fn is_simply_allowed(verdict: &Verdict) -> bool {
        verdict.outcome == Outcome::Allow
            && verdict.terminating.rule == DEFAULT
            && verdict.others.is_empty()
            && verdict.groups.is_empty()
    }

    pub(super) fn count(&self, engine: &Engine, verdict: &Verdict) {
        let acl = &engine.bundle().acl;
        let add = |metric: &'static str, group: &str, rule: &str| {
            let by = By {
                metric,
                web_acl: acl.visibility.metric.clone(),
                rule_group: group.to_owned(),
                rule: rule.to_owned(),
            };
            self.requests.get_or_create(&by).inc();
        };
        // A rule is counted under the name that its VisibilityConfig gives its metric.
        let metric_of = |rule: &str| {
            let found = acl.rules.iter().find(|r| r.name == rule);
            found.map_or_else(|| rule.to_owned(), |r| r.visibility.metric.clone())
        };
        let metric = match verdict.outcome {
            Outcome::Allow => "AllowedRequests",
            Outcome::Block => "BlockedRequests",
            Outcome::Captcha => "CaptchaRequests",
            Outcome::Challenge => "ChallengeRequests",
        };
        add(metric, "", &metric_of(&verdict.terminating.rule));
        for other in &verdict.others {
            add(counted(other), "", &metric_of(&other.rule));
        }
        for group in &verdict.groups {
            for matched in group.terminating.iter().chain(&group.others) {
                let ended = group.terminating.as_ref() == Some(matched) && matched.action != "COUNT";
                add(if ended { metric } else { counted(matched) }, &group.id, &matched.rule);
            }
        }
    }
}

/// What a rule that matched and ended nothing is counted as: a CAPTCHA or challenge that goes on has found a valid token.
fn counted(matched: &Matched) -> &'static str {
    match matched.action {
        "CAPTCHA" => "RequestsWithValidCaptchaToken",
        "CHALLENGE" => "RequestsWithValidChallengeToken",
        _ => "CountedRequests",
    }
}
