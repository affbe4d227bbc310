//! How rules, groups, labels, overrides, actions and rates work together.

use std::net::IpAddr;

use serde_json::{Value, json};
use waf::{Bundle, Engine, Outcome};

use crate::harness::Request;

fn visibility() -> Value {
    json!({"SampledRequestsEnabled": true, "CloudWatchMetricsEnabled": true, "MetricName": "m"})
}

fn rule(name: &str, priority: u64, statement: Value, action: Value) -> Value {
    json!({"Name": name, "Priority": priority, "Statement": statement, "Action": action, "VisibilityConfig": visibility()})
}

fn group(name: &str, priority: u64, statement: Value, over: &str) -> Value {
    json!({"Name": name, "Priority": priority, "Statement": statement, "OverrideAction": {over: {}}, "VisibilityConfig": visibility()})
}

fn acl(rules: Value) -> Value {
    json!({"Name": "a", "Scope": "REGIONAL", "DefaultAction": {"Allow": {}}, "VisibilityConfig": visibility(), "Rules": rules})
}

fn engine(value: &Value) -> Engine {
    Engine::new(Bundle::read(value).unwrap(), b"key").unwrap()
}

fn bytes(field: Value, search: &str, position: &str, transformation: &str) -> Value {
    json!({"ByteMatchStatement": {"SearchString": search, "FieldToMatch": field, "PositionalConstraint": position,
        "TextTransformations": [{"Priority": 0, "Type": transformation}]}})
}

fn path(search: &str) -> Value {
    bytes(json!({"UriPath": {}}), search, "STARTS_WITH", "NONE")
}

#[test]
fn the_first_terminating_rule_by_priority_ends_and_count_goes_on() {
    let value = acl(json!([
        rule("block", 30, path("/"), json!({"Block": {}})),
        rule(
            "allow",
            20,
            path("/health"),
            json!({"Allow": {"CustomRequestHandling": {"InsertHeaders": [{"Name": "probe", "Value": "1"}]}}})
        ),
        rule("count", 10, path("/"), json!({"Count": {}})),
    ]));
    let engine = engine(&value);
    let verdict = Request::new("GET", "/health").judge(&engine);
    assert_eq!((verdict.outcome, verdict.terminating.rule.as_str()), (Outcome::Allow, "allow"));
    assert_eq!(verdict.inserted[0].name, "x-amzn-waf-probe");
    assert_eq!(verdict.others[0].rule, "count");
    let verdict = Request::new("GET", "/other").judge(&engine);
    assert_eq!((verdict.outcome, verdict.response.unwrap().status), (Outcome::Block, 403));
}

#[test]
fn an_acl_without_a_word_about_bodies_reads_none() {
    let of = |field: Value| {
        let rule = rule("r", 1, bytes(field, "x", "CONTAINS", "NONE"), json!({"Block": {}}));
        engine(&acl(json!([rule]))).reads_body()
    };
    assert!(!of(json!({"UriPath": {}})) && !of(json!({"Method": {}})));
    assert!(of(json!({"Body": {"OversizeHandling": "CONTINUE"}})));
    assert!(crate::harness::example().reads_body());
}

#[test]
fn a_custom_response_has_its_code_headers_and_body() {
    let mut value = acl(json!([rule(
        "b",
        1,
        path("/"),
        json!({"Block": {"CustomResponse":
        {"ResponseCode": 429, "CustomResponseBodyKey": "slow", "ResponseHeaders": [{"Name": "Retry-After", "Value": "60"}]}}})
    )]));
    value["CustomResponseBodies"] =
        json!({"slow": {"ContentType": "APPLICATION_JSON", "Content": "{\"slow\":true}"}});
    let response = Request::new("GET", "/").judge(&engine(&value)).response.unwrap();
    assert_eq!(response.status, 429);
    assert_eq!(response.headers, [("Retry-After".to_owned(), "60".to_owned())]);
    assert_eq!(response.body.unwrap().content_type, "application/json");
}

#[test]
fn labels_of_one_rule_are_seen_by_later_ones() {
    let mut counted = rule("tag", 1, path("/a"), json!({"Count": {}}));
    counted["RuleLabels"] = json!([{"Name": "team:a"}]);
    let by_label = json!({"LabelMatchStatement": {"Scope": "LABEL", "Key": "team:a"}});
    let engine = engine(&acl(json!([counted, rule("use", 2, by_label, json!({"Block": {}}))])));
    let verdict = Request::new("GET", "/a").judge(&engine);
    assert_eq!(verdict.outcome, Outcome::Block);
    assert_eq!(&*verdict.labels[0], "awswaf:000000000000:webacl:a:team:a");
    assert_eq!(Request::new("GET", "/b").judge(&engine).outcome, Outcome::Allow);
}

#[test]
fn a_groups_rules_can_be_overridden_excluded_counted_and_scoped_down() {
    let attack = Request::new("GET", "/?q=%3Cscript%3Ealert(1)%3C/script%3E");
    let managed = |more: Value| {
        let mut statement = json!({"VendorName": "AWS", "Name": "AWSManagedRulesCommonRuleSet"});
        statement.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"ManagedRuleGroupStatement": statement})
    };
    let judge =
        |more: Value, over: &str| attack.judge(&engine(&acl(json!([group("g", 1, managed(more), over)]))));
    let verdict = judge(json!({}), "None");
    assert_eq!(verdict.outcome, Outcome::Block);
    assert_eq!(verdict.terminating.within.as_deref(), Some("CrossSiteScripting_QUERYARGUMENTS"));
    assert!(
        verdict
            .labels
            .iter()
            .any(|l| &**l == "awswaf:managed:aws:core-rule-set:CrossSiteScripting_QueryArguments")
    );
    let verdict = judge(json!({}), "Count");
    assert_eq!(verdict.outcome, Outcome::Allow);
    assert_eq!(verdict.groups[0].terminating.as_ref().unwrap().overridden, Some("BLOCK"));
    let over = json!({"RuleActionOverrides": [{"Name": "CrossSiteScripting_QUERYARGUMENTS", "ActionToUse": {"Count": {}}}]});
    let verdict = judge(over, "None");
    assert_eq!(verdict.outcome, Outcome::Allow);
    assert_eq!(verdict.groups[0].others[0].overridden, Some("BLOCK"));
    assert!(!verdict.labels.is_empty(), "a counted rule labels");
    assert_eq!(
        judge(json!({"ExcludedRules": [{"Name": "CrossSiteScripting_QUERYARGUMENTS"}]}), "None").outcome,
        Outcome::Allow
    );
    assert_eq!(judge(json!({"ScopeDownStatement": path("/only")}), "None").outcome, Outcome::Allow);
}

#[test]
fn an_exclusion_reaches_one_parameter_on_one_path() {
    let statement =
        json!({"ManagedRuleGroupStatement": {"VendorName": "AWS", "Name": "AWSManagedRulesCommonRuleSet"}});
    let bundle = json!({
        "WebACL": acl(json!([group("g", 1, statement, "None")])),
        "Exclusions": [{"Rule": "CrossSiteScripting_QUERYARGUMENTS", "Path": "/edit*", "Parameter": "html"}],
    });
    let engine = engine(&bundle);
    let judge = |target: &str| Request::new("GET", target).judge(&engine).outcome;
    assert_eq!(judge("/editor?html=%3Cscript%3Ealert(1)%3C/script%3E"), Outcome::Allow);
    assert_eq!(judge("/editor?other=%3Cscript%3Ealert(1)%3C/script%3E"), Outcome::Block);
    assert_eq!(judge("/view?html=%3Cscript%3Ealert(1)%3C/script%3E"), Outcome::Block);
}

#[test]
fn a_rate_is_limited_by_key_within_its_scope_and_released() {
    let statement = json!({"RateBasedStatement": {"Limit": 10, "EvaluationWindowSec": 10, "AggregateKeyType": "IP", "ScopeDownStatement": path("/login")}});
    let engine = engine(&acl(json!([rule("rate", 1, statement, json!({"Block": {}}))])));
    let mut request = Request::new("GET", "/login");
    let judge = |request: &Request| request.judge(&engine).outcome;
    for _ in 0..10 {
        assert_eq!(judge(&request), Outcome::Allow);
    }
    assert_eq!(judge(&request), Outcome::Block);
    assert_eq!(judge(&Request::new("GET", "/other")), Outcome::Allow);
    let mut another = Request::new("GET", "/login");
    another.ip = IpAddr::from([198, 51, 100, 1]);
    assert_eq!(judge(&another), Outcome::Allow);
    request.now_ms += 20_000;
    assert_eq!(judge(&request), Outcome::Allow);
}

#[test]
fn addresses_sets_and_headers() {
    let bundle = json!({
        "WebACL": acl(json!([
            rule("office", 1, json!({"IPSetReferenceStatement": {"ARN": "office"}}), json!({"Allow": {}})),
            rule("proxy", 2, json!({"IPSetReferenceStatement": {"ARN": "office", "IPSetForwardedIPConfig": {"HeaderName": "X-Forwarded-For", "FallbackBehavior": "MATCH", "Position": "LAST"}}}), json!({"Block": {}})),
        ])),
        "IPSets": [{"Name": "office", "Scope": "REGIONAL", "IPAddressVersion": "IPV4", "Addresses": ["192.0.2.0/24", "10.0.0.0/8"]}],
    });
    let engine = engine(&bundle);
    let mut inside = Request::new("GET", "/");
    inside.ip = IpAddr::from([192, 0, 2, 9]);
    assert_eq!(inside.judge(&engine).terminating.rule, "office");
    let judge =
        |value: &str| Request::new("GET", "/").header("X-Forwarded-For", value).judge(&engine).outcome;
    assert_eq!(judge("1.1.1.1, 10.1.2.3"), Outcome::Block);
    assert_eq!(judge("10.1.2.3, 1.1.1.1"), Outcome::Allow);
    assert_eq!(judge("nonsense"), Outcome::Block, "the fallback is MATCH");
    assert_eq!(
        Request::new("GET", "/").judge(&engine).outcome,
        Outcome::Allow,
        "no such header: it does not apply"
    );
}

#[test]
fn bodies_are_looked_at_as_what_they_are() {
    let json_rule = |invalid: &str| {
        let mut field = json!({"MatchPattern": {"IncludedPaths": ["/a/b"]}, "MatchScope": "VALUE", "OversizeHandling": "CONTINUE"});
        if !invalid.is_empty() {
            field["InvalidFallbackBehavior"] = json!(invalid);
        }
        engine(&acl(json!([rule(
            "r",
            1,
            bytes(json!({"JsonBody": field}), "evil", "CONTAINS", "LOWERCASE"),
            json!({"Block": {}})
        )])))
    };
    let judge = |engine: &Engine, body: &str| {
        Request::new("POST", "/").body("application/json", body).judge(engine).outcome
    };
    let plain = json_rule("");
    assert_eq!(judge(&plain, r#"{"a":{"b":["\u0045VIL"]}}"#), Outcome::Block);
    assert_eq!(judge(&plain, r#"{"a":{"c":"evil"},"b":"evil"}"#), Outcome::Allow);
    assert_eq!(judge(&plain, r#"{"a":{"b":"evil"},"#), Outcome::Block, "what was read counts");
    assert_eq!(judge(&json_rule("NO_MATCH"), r#"{"a":{"b":"evil"},"#), Outcome::Allow);
    assert_eq!(judge(&json_rule("MATCH"), "not json"), Outcome::Block);
    assert_eq!(judge(&json_rule("EVALUATE_AS_STRING"), "not json, Evil"), Outcome::Block);
    let body = |oversize: &str| {
        let field = json!({"Body": {"OversizeHandling": oversize}});
        engine(&acl(json!([rule("r", 1, bytes(field, "evil", "CONTAINS", "NONE"), json!({"Block": {}}))])))
    };
    let large = "x".repeat(9_000);
    assert_eq!(judge(&body("CONTINUE"), &large), Outcome::Allow);
    assert_eq!(judge(&body("MATCH"), &large), Outcome::Block);
    let verdict = Request::new("POST", "/").body("text/plain", &large).judge(&body("CONTINUE"));
    assert_eq!(verdict.oversize, ["REQUEST_BODY"]);
}

#[test]
fn a_captcha_answers_405_and_a_challenge_202() {
    let engine = engine(&acl(json!([
        rule("c", 1, path("/captcha"), json!({"Captcha": {}})),
        rule("d", 2, path("/challenge"), json!({"Challenge": {}})),
    ])));
    let verdict = Request::new("GET", "/captcha").judge(&engine);
    assert_eq!((verdict.outcome, verdict.response.unwrap().status), (Outcome::Captcha, 405));
    let verdict = Request::new("GET", "/challenge").judge(&engine);
    assert_eq!((verdict.outcome, verdict.response.unwrap().status), (Outcome::Challenge, 202));
}
