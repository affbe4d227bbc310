//! Lines, what they leave out, which are kept, samples; from a line to an exclusion; the way to AWS.

use serde_json::{Value, json};
use waf::{
    Bundle, Engine, Outcome,
    log::{LogFilter, Redaction, Samples, suggest},
};

use crate::harness::{Request, example};

fn visibility() -> Value {
    json!({"SampledRequestsEnabled": true, "CloudWatchMetricsEnabled": true, "MetricName": "m"})
}

fn acl(rules: Value) -> Value {
    json!({"Name": "own", "Scope": "REGIONAL", "DefaultAction": {"Allow": {}}, "VisibilityConfig": visibility(), "Rules": rules})
}

fn starts(name: &str, priority: u64, path: &str, action: Value) -> Value {
    json!({"Name": name, "Priority": priority, "Action": action, "VisibilityConfig": visibility(),
        "Statement": {"ByteMatchStatement": {"SearchString": path, "FieldToMatch": {"UriPath": {}},
            "PositionalConstraint": "STARTS_WITH", "TextTransformations": [{"Priority": 0, "Type": "NONE"}]}}})
}

fn engine(value: &Value) -> Engine {
    Engine::new(Bundle::read(value).unwrap(), b"key").unwrap()
}

/// A script in the argument `name`, with a cookie and a token beside it.
fn attack() -> Request {
    Request::new("GET", "/DVWA/vulnerabilities/xss_r/?name=%3Cscript%3Ealert(1)%3C/script%3E&page=2")
        .header("Authorization", "Bearer secret")
        .header("Cookie", "session=abc")
}

#[test]
fn a_line_has_every_key_of_awss_schema() {
    let line = attack().line(example(), &Redaction::default());
    let keys = [
        "timestamp",
        "formatVersion",
        "webaclId",
        "terminatingRuleId",
        "terminatingRuleType",
        "action",
        "terminatingRuleMatchDetails",
        "httpSourceName",
        "httpSourceId",
        "ruleGroupList",
        "rateBasedRuleList",
        "nonTerminatingMatchingRules",
        "requestHeadersInserted",
        "responseCodeSent",
        "httpRequest",
        "labels",
    ];
    for key in keys {
        assert!(line.get(key).is_some(), "{key} of {line}");
    }
    for key in ["clientIp", "country", "headers", "uri", "args", "httpVersion", "httpMethod", "requestId"] {
        assert!(line["httpRequest"].get(key).is_some(), "httpRequest.{key} of {line}");
    }
    assert_eq!((&line["action"], &line["responseCodeSent"]), (&json!("BLOCK"), &json!(403)));
    assert_eq!(line["terminatingRuleType"], "MANAGED_RULE_GROUP");
    let group = &line["ruleGroupList"][0];
    assert_eq!(group["ruleGroupId"], "AWS#AWSManagedRulesCommonRuleSet");
    assert_eq!(group["terminatingRule"]["ruleId"], "CrossSiteScripting_QUERYARGUMENTS");
    assert_eq!(group["terminatingRule"]["ruleMatchDetails"][0]["location"], "ALL_QUERY_ARGS");
    let label = "awswaf:managed:aws:core-rule-set:CrossSiteScripting_QueryArguments";
    assert_eq!(line["labels"], json!([{"name": label}]));
}

#[test]
fn an_honest_requests_line_names_the_default_action_and_a_large_one_what_was_cut() {
    let line = Request::new("GET", "/").line(example(), &Redaction::default());
    assert_eq!((&line["action"], &line["terminatingRuleId"]), (&json!("ALLOW"), &json!("Default_Action")));
    assert_eq!((&line["responseCodeSent"], line.get("oversizeFields")), (&Value::Null, None));
    let line = Request::new("POST", "/")
        .body("text/plain", "좋아요 ".repeat(2_000))
        .line(example(), &Redaction::default());
    assert_eq!(line["oversizeFields"], json!(["REQUEST_BODY"]));
    let counted = &line["ruleGroupList"][0]["nonTerminatingMatchingRules"][0];
    assert_eq!((&counted["ruleId"], &counted["action"]), (&json!("SizeRestrictions_BODY"), &json!("COUNT")));
    assert_eq!(counted["overriddenAction"], "BLOCK");
}

#[test]
fn what_is_redacted_stands_nowhere_in_the_line() {
    #[track_caller]
    fn check(fields: Value, hidden: &[&str], shown: &[&str]) {
        let text = attack().line(example(), &Redaction::read(&fields).unwrap()).to_string();
        for words in hidden {
            assert!(!text.contains(words), "{fields} leaves {words} in {text}");
        }
        for words in shown {
            assert!(text.contains(words), "{fields} takes {words} from {text}");
        }
    }
    check(json!([]), &["REDACTED"], &["Bearer secret", "session=abc", "xss_r", "page=2", "\"GET\""]);
    check(json!([{"SingleHeader": {"Name": "AUTHORIZATION"}}]), &["Bearer"], &["session=abc", "page=2"]);
    check(json!([{"SingleHeader": {"Name": "cookie"}}]), &["session=abc"], &["Bearer secret"]);
    check(json!([{"QueryString": {}}]), &["page=2", "alert(1)"], &["xss_r"]);
    check(json!([{"UriPath": {}}]), &["xss_r"], &["page=2"]);
    check(json!([{"Method": {}}]), &["\"GET\""], &["xss_r"]);
    assert!(Redaction::read(&json!([{"Body": {}}])).is_err());
}

#[test]
fn the_first_filter_that_fits_decides_whether_a_line_is_kept() {
    let engine = engine(&acl(json!([
        starts("count", 1, "/counted", json!({"Count": {}})),
        starts("block", 2, "/blocked", json!({"Block": {}})),
    ])));
    let verdict = |path: &str| Request::new("GET", path).judge(&engine);
    let action = |action: &str| json!({"ActionCondition": {"Action": action}});
    let filter = LogFilter::read(&json!({"DefaultBehavior": "DROP", "Filters": [
        {"Behavior": "KEEP", "Requirement": "MEETS_ANY", "Conditions": [action("BLOCK"), action("COUNT")]}]}))
    .unwrap();
    for (path, kept) in [("/", false), ("/counted", true), ("/blocked", true)] {
        assert_eq!(filter.keeps(&verdict(path)), kept, "{path}");
    }
    let all = LogFilter::read(&json!({"DefaultBehavior": "KEEP", "Filters": [
        {"Behavior": "DROP", "Requirement": "MEETS_ALL", "Conditions": [action("BLOCK"), action("COUNT")]}]}))
    .unwrap();
    assert!(all.keeps(&verdict("/blocked")), "it was blocked and not counted");
    assert!(LogFilter::read(&json!({"DefaultBehavior": "MAYBE", "Filters": []})).is_err());
}

#[test]
fn samples_are_few_and_weigh_what_was_left_out() {
    let engine = engine(&acl(json!([starts("block", 1, "/blocked", json!({"Block": {}}))])));
    let mut samples = Samples::default();
    let at = |now_ms: u64| Request { now_ms, ..Request::new("GET", "/blocked?x") };
    for _ in 0..50 {
        at(1_000_000).sample(&engine, &mut samples);
    }
    at(1_002_000).sample(&engine, &mut samples);
    let weights: Vec<u64> = samples.of("block").map(|s| s.json["Weight"].as_u64().unwrap()).collect();
    assert_eq!((weights.len(), weights[0], weights.iter().sum::<u64>()), (11, 41, 51));
    assert_eq!(samples.of("block").next().unwrap().json["Request"]["URI"], "/blocked");
    assert_eq!(samples.of("Default_Action").count(), 0);
    at(1_002_000 + 3 * 3_600_000 + 1).sample(&engine, &mut samples);
    assert_eq!(samples.of("block").count(), 1, "after three hours they are gone");
}

#[test]
fn a_suggested_exclusion_lets_the_request_through_and_nothing_else() {
    let line = attack().line(example(), &Redaction::default());
    let exclusion = suggest(&line).unwrap();
    assert_eq!(
        exclusion.to_json(),
        json!({"Rule": "CrossSiteScripting_QUERYARGUMENTS", "Path": "/DVWA/vulnerabilities/xss_r/", "Parameter": "name"})
    );
    // Only this rule is asked, so that nothing but the exclusion decides.
    let common = json!({"Name": "common", "Priority": 1, "OverrideAction": {"None": {}}, "VisibilityConfig": visibility(),
        "Statement": {"ManagedRuleGroupStatement": {"VendorName": "AWS", "Name": "AWSManagedRulesCommonRuleSet"}}});
    let rules = json!([common]);
    let with = engine(&json!({"WebACL": acl(rules.clone()), "Exclusions": [exclusion.to_json()]}));
    let without = engine(&acl(rules));
    assert_eq!(attack().judge(&without).outcome, Outcome::Block);
    assert_eq!(attack().judge(&with).outcome, Outcome::Allow);
    let script = "%3Cscript%3Ealert(1)%3C/script%3E";
    for target in [format!("/DVWA/vulnerabilities/xss_r/?other={script}"), format!("/other?name={script}")] {
        assert_eq!(Request::new("GET", &target).judge(&with).outcome, Outcome::Block, "{target}");
    }
}

#[test]
fn no_exclusion_follows_from_a_line_that_does_not_say_enough() {
    let line = |r: &Request| r.line(example(), &Redaction::default());
    assert!(suggest(&line(&Request::new("GET", "/"))).unwrap_err().contains("nothing was refused"));
    let redacted = Redaction::read(&json!([{"UriPath": {}}])).unwrap();
    assert!(suggest(&attack().line(example(), &redacted)).unwrap_err().contains("redacted"));
    let mut value = acl(json!([]));
    value["DefaultAction"] = json!({"Block": {}});
    let line = Request::new("GET", "/").line(&engine(&value), &Redaction::default());
    assert!(suggest(&line).unwrap_err().contains("default action"));
    assert!(suggest(&json!({})).is_err());
}

#[test]
fn what_is_exported_is_what_was_read_with_search_strings_as_the_cli_wants_them() {
    let mut value = acl(json!([starts("block", 1, "/한", json!({"Block": {}}))]));
    let exported = Bundle::read(&value).unwrap().export().unwrap();
    let search = &mut value["Rules"][0]["Statement"]["ByteMatchStatement"]["SearchString"];
    *search = json!("L+2VnA==");
    assert_eq!(exported, value);
    let again = engine(&exported);
    assert_eq!(Request::new("GET", "/한글").judge(&again).outcome, Outcome::Block, "it reads its own export");
}

#[test]
fn what_aws_does_not_know_is_not_exported_and_named_by_its_path() {
    #[track_caller]
    fn check(bundle: &Value, path: &str) {
        assert_eq!(Bundle::read(bundle).unwrap().export().unwrap_err().path, path);
    }
    let rate = |window: u64| {
        json!({"Name": "rate", "Priority": 1, "Action": {"Block": {}}, "VisibilityConfig": visibility(),
            "Statement": {"RateBasedStatement": {"Limit": 100, "EvaluationWindowSec": window, "AggregateKeyType": "IP"}}})
    };
    check(&acl(json!([rate(10)])), "$.Rules[0].Statement.RateBasedStatement.EvaluationWindowSec");
    assert!(Bundle::read(&acl(json!([rate(60)]))).unwrap().export().is_ok());
    let ours = json!({"Name": "core", "Priority": 1, "OverrideAction": {"None": {}}, "VisibilityConfig": visibility(),
        "Statement": {"ManagedRuleGroupStatement": {"VendorName": "Ghostlight", "Name": "GhostlightCore"}}});
    check(&acl(json!([ours])), "$.Rules[0].Statement.ManagedRuleGroupStatement.VendorName");
    let excluded = json!({"WebACL": acl(json!([])), "Exclusions": [{"Rule": "SQLi_BODY", "Path": "/a"}]});
    check(&excluded, "$.Exclusions");
}
