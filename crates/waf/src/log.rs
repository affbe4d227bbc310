//! Log lines in AWS WAF's schema, and samples of requests in the shape of `get-sampled-requests`.

mod filter;
mod sample;
mod suggest;

pub use filter::{LogFilter, Redaction};
pub use sample::{Sample, Samples};
pub use suggest::suggest;

use serde_json::{Value, json};

use crate::{
    Engine,
    request::RequestView,
    verdict::{Detail, Matched, TokenState, Verdict},
};

/// Labels beyond these are left out, as AWS does.
const LABELS_MAX: usize = 100;

/// Who keeps the log: what stands in each line beside the request.
#[derive(Clone, Debug)]
pub struct LogSource {
    /// AWS: `ALB`. Ours: `GHOSTLIGHT`.
    pub name: String,
    /// Which gateway.
    pub id: String,
}

/// One line, without a line end.
pub fn line(
    engine: &Engine,
    source: &LogSource,
    request: &RequestView<'_>,
    verdict: &Verdict,
    redaction: &Redaction,
) -> Value {
    let acl = &engine.bundle().acl;
    let terminating = &verdict.terminating;
    let mut out = json!({
        "timestamp": request.now_ms,
        "formatVersion": 1,
        "webaclId": format!("arn:ghostlight:wafv2:::{}/webacl/{}", acl.scope.to_ascii_lowercase(), acl.name),
        "terminatingRuleId": terminating.rule,
        "terminatingRuleType": terminating.kind.name(),
        "action": verdict.outcome.name(),
        "terminatingRuleMatchDetails": details(&terminating.details, redaction),
        "httpSourceName": source.name,
        "httpSourceId": source.id,
        "ruleGroupList": verdict.groups.iter().map(|group| json!({
            "ruleGroupId": group.id,
            "terminatingRule": group.terminating.as_ref().map(|m| matched(m, redaction)),
            "nonTerminatingMatchingRules": group.others.iter().filter(|m| !m.excluded).map(|m| matched(m, redaction)).collect::<Vec<_>>(),
            "excludedRules": excluded(&group.others),
        })).collect::<Vec<_>>(),
        "rateBasedRuleList": verdict.rates.iter().map(|rate| json!({
            "rateBasedRuleId": rate.rule,
            "rateBasedRuleName": rate.rule,
            "limitKey": rate.key,
            "limitValue": rate.value,
            "maxRateAllowed": rate.limit,
            "evaluationWindowSec": rate.window_s,
        })).collect::<Vec<_>>(),
        "nonTerminatingMatchingRules": verdict.others.iter().map(|m| matched(m, redaction)).collect::<Vec<_>>(),
        "requestHeadersInserted": null_if_empty(verdict.inserted.iter().map(|h| json!({"name": h.name, "value": h.value})).collect()),
        "responseCodeSent": verdict.response.as_ref().map(|r| r.status),
        "httpRequest": {
            "clientIp": request.client_ip.to_string(),
            "country": country(verdict),
            "headers": request.headers.iter().map(|h| json!({
                "name": h.name,
                "value": redaction.header(h.name, &text(h.value)),
            })).collect::<Vec<_>>(),
            "uri": redaction.path(&text(request.path)),
            "args": redaction.query(&text(request.query)),
            "httpVersion": request.version,
            "httpMethod": redaction.method(request.method),
            "requestId": request.request_id,
        },
        "labels": verdict.labels.iter().take(LABELS_MAX).map(|l| json!({"name": &**l})).collect::<Vec<_>>(),
        "requestBodySize": request.body.len(),
        "requestBodySizeInspectedByWAF": request.body.len().min(acl.body_limit),
    });
    if !verdict.oversize.is_empty() {
        out["oversizeFields"] = json!(verdict.oversize);
    }
    if let Some(asn) = verdict.asn {
        out["clientAsn"] = json!(asn);
    }
    for (key, value) in [("ja3Fingerprint", request.ja3), ("ja4Fingerprint", request.ja4)] {
        if let Some(value) = value {
            out[key] = json!(value);
        }
    }
    if let Some(state) = verdict.token {
        let key =
            if verdict.outcome == crate::Outcome::Captcha { "captchaResponse" } else { "challengeResponse" };
        let failure = match state {
            TokenState::Valid => None,
            TokenState::Missing => Some("TOKEN_MISSING"),
            TokenState::Expired => Some("TOKEN_EXPIRED"),
            TokenState::Invalid => Some("TOKEN_INVALID"),
        };
        out[key] = json!({
            "responseCode": verdict.response.as_ref().map_or(0, |r| r.status),
            "solveTimestamp": 0,
            "failureReason": failure,
        });
    }
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn country(verdict: &Verdict) -> String {
    verdict.country.map_or_else(|| "-".to_owned(), |c| text(&c))
}

fn null_if_empty(list: Vec<Value>) -> Value {
    if list.is_empty() { Value::Null } else { list.into() }
}

fn matched(m: &Matched, redaction: &Redaction) -> Value {
    let mut out =
        json!({"ruleId": m.rule, "action": m.action, "ruleMatchDetails": details(&m.details, redaction)});
    if let Some(before) = m.overridden {
        out["overriddenAction"] = json!(before);
    }
    out
}

fn excluded(others: &[Matched]) -> Value {
    let list = others.iter().filter(|m| m.excluded);
    null_if_empty(list.map(|m| json!({"exclusionType": "EXCLUDED_AS_COUNT", "ruleId": m.rule})).collect())
}

/// AWS gives details of SQL injection and scripts only; ours of every pattern too, with the parameter's name, which is
/// what an operator needs for an exclusion.
fn details(list: &[Detail], redaction: &Redaction) -> Value {
    list.iter()
        .map(|d| {
            let mut out = json!({"conditionType": d.condition, "location": d.location});
            if !d.name.is_empty() {
                out["matchedFieldName"] = json!(d.name);
            }
            out["matchedData"] =
                if redaction.hides(d.location, &d.name) { json!(["REDACTED"]) } else { json!([d.data]) };
            out
        })
        .collect()
}
