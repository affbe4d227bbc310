//! Reading: what is taken, and what is said about what is not.

use serde_json::{Value, json};

use super::{AclError, Bundle, Network};

fn visibility() -> Value {
    json!({"SampledRequestsEnabled": true, "CloudWatchMetricsEnabled": true, "MetricName": "m"})
}

pub(crate) fn acl(rules: Value) -> Value {
    json!({"Name": "a", "Scope": "REGIONAL", "DefaultAction": {"Allow": {}}, "VisibilityConfig": visibility(), "Rules": rules})
}

pub(crate) fn rule(name: &str, priority: u64, statement: Value, action: Value) -> Value {
    json!({"Name": name, "Priority": priority, "Statement": statement, "Action": action, "VisibilityConfig": visibility()})
}

fn one(statement: Value) -> Value {
    acl(json!([rule("r", 1, statement, json!({"Block": {}}))]))
}

#[track_caller]
fn refused(value: &Value, path: &str, allowed: &str) {
    let error: AclError = Bundle::read(value).err().unwrap();
    assert_eq!(error.path, path, "{error}");
    assert!(error.allowed.contains(allowed), "{error}");
}

#[test]
fn an_error_says_where_it_stands_and_what_is_allowed() {
    refused(&json!({"Name": "a"}), "$", "Scope");
    refused(
        &one(json!({"GeoMatchStatement": {"CountryCodes": ["kr"]}})),
        "$.Rules[0].Statement.GeoMatchStatement.CountryCodes[0]",
        "KR",
    );
    refused(
        &one(json!({"GeoMatchStatement": {"Countries": []}})),
        "$.Rules[0].Statement.GeoMatchStatement.Countries",
        "CountryCodes",
    );
    refused(
        &one(json!({"NoSuchStatement": {}})),
        "$.Rules[0].Statement.NoSuchStatement",
        "ByteMatchStatement",
    );
    refused(&one(json!({})), "$.Rules[0].Statement", "exactly one of");
    refused(
        &one(
            json!({"XssMatchStatement": {"FieldToMatch": {"Body": {}}, "TextTransformations": [{"Priority": 0, "Type": "URLDECODE"}]}}),
        ),
        "$.Rules[0].Statement.XssMatchStatement.TextTransformations[0].Type",
        "URL_DECODE_UNI",
    );
    refused(
        &one(
            json!({"RegexMatchStatement": {"RegexString": "(a)\\1", "FieldToMatch": {"UriPath": {}}, "TextTransformations": [{"Priority": 0, "Type": "NONE"}]}}),
        ),
        "$.Rules[0].Statement.RegexMatchStatement.RegexString",
        "back-references",
    );
    refused(
        &one(json!({"RateBasedStatement": {"Limit": 5, "AggregateKeyType": "IP"}})),
        "$.Rules[0].Statement.RateBasedStatement.Limit",
        "10 to 2000000000",
    );
    refused(&one(json!({"IPSetReferenceStatement": {"ARN": "probes"}})), "$", "what stands beside WebACL");
    let group = json!({"ManagedRuleGroupStatement": {"VendorName": "AWS", "Name": "AWSManagedRulesNoSuch"}});
    refused(&one(group), "$.Rules[0].Statement.ManagedRuleGroupStatement.Name", "AWSManagedRulesSQLiRuleSet");
    let nested = json!({"NotStatement": {"Statement": {"RateBasedStatement": {"Limit": 100, "AggregateKeyType": "IP"}}}});
    refused(
        &one(nested),
        "$.Rules[0].Statement.NotStatement.Statement.RateBasedStatement",
        "at the top of a rule",
    );
    let label = json!({"LabelMatchStatement": {"Scope": "LABEL", "Key": "a"}});
    let twice = acl(json!([
        rule("a", 1, label.clone(), json!({"Block": {}})),
        rule("b", 1, label, json!({"Block": {}}))
    ]));
    refused(&twice, "$.Rules[1]", "Priority of its own");
    let response = json!({"Block": {"CustomResponse": {"ResponseCode": 418}}});
    let geo = json!({"GeoMatchStatement": {"CountryCodes": ["KR"]}});
    refused(
        &acl(json!([rule("a", 1, geo, response)])),
        "$.Rules[0].Action.Block.CustomResponse.ResponseCode",
        "429",
    );
}

#[test]
fn what_aws_documents_is_read_and_its_capacity_counted() {
    let none = json!([{"Priority": 0, "Type": "NONE"}]);
    let check = |statement: Value, wcu: u64| {
        let bundle = Bundle::read(&one(statement.clone())).map_err(|e| format!("{statement}: {e}")).unwrap();
        assert_eq!(bundle.wcu(), wcu, "{statement}");
    };
    check(
        json!({"ByteMatchStatement": {"SearchString": "x", "FieldToMatch": {"UriPath": {}}, "TextTransformations": none, "PositionalConstraint": "EXACTLY"}}),
        2,
    );
    check(
        json!({"ByteMatchStatement": {"SearchString": "x", "FieldToMatch": {"AllQueryArguments": {}}, "TextTransformations": [{"Priority": 1, "Type": "LOWERCASE"}, {"Priority": 0, "Type": "URL_DECODE"}], "PositionalConstraint": "CONTAINS"}}),
        40,
    );
    check(
        json!({"SqliMatchStatement": {"FieldToMatch": {"JsonBody": {"MatchPattern": {"IncludedPaths": ["/a"]}, "MatchScope": "VALUE", "InvalidFallbackBehavior": "EVALUATE_AS_STRING", "OversizeHandling": "CONTINUE"}}, "TextTransformations": none, "SensitivityLevel": "HIGH"}}),
        60,
    );
    check(
        json!({"XssMatchStatement": {"FieldToMatch": {"Cookies": {"MatchPattern": {"All": {}}, "MatchScope": "ALL", "OversizeHandling": "NO_MATCH"}}, "TextTransformations": none}}),
        40,
    );
    check(
        json!({"SizeConstraintStatement": {"FieldToMatch": {"SingleHeader": {"Name": "User-Agent"}}, "ComparisonOperator": "GT", "Size": 10, "TextTransformations": none}}),
        1,
    );
    check(
        json!({"RegexMatchStatement": {"RegexString": "^/a", "FieldToMatch": {"UriPath": {}}, "TextTransformations": none}}),
        3,
    );
    check(
        json!({"AndStatement": {"Statements": [{"GeoMatchStatement": {"CountryCodes": ["KR", "XX"]}}, {"NotStatement": {"Statement": {"AsnMatchStatement": {"AsnList": [4766]}}}}]}}),
        2,
    );
    check(
        json!({"RateBasedStatement": {"Limit": 100, "EvaluationWindowSec": 10, "AggregateKeyType": "CUSTOM_KEYS", "CustomKeys": [{"Header": {"Name": "x", "TextTransformations": none}}, {"IP": {}}]}}),
        62,
    );
}

#[test]
fn a_search_string_is_base64_only_beyond_doubt() {
    let search = |text: &str| {
        let statement = json!({"ByteMatchStatement": {"SearchString": text, "FieldToMatch": {"UriPath": {}}, "TextTransformations": [{"Priority": 0, "Type": "NONE"}], "PositionalConstraint": "EXACTLY"}});
        let bundle = Bundle::read(&one(statement)).unwrap();
        match &bundle.acl.rules[0].statement {
            super::Statement::ByteMatch { search, .. } => String::from_utf8_lossy(search).into_owned(),
            other => format!("{other:?}"),
        }
    };
    assert_eq!(search("BadBot"), "BadBot");
    assert_eq!(search("/admin"), "/admin");
    assert_eq!(search("test"), "test");
    assert_eq!(search("QmFkQm90"), "BadBot");
    assert_eq!(search("L2FkbWlu"), "/admin");
    assert_eq!(search("password"), "password");
}

#[test]
fn networks() {
    let inside =
        |network: &str, address: &str| Network::parse(network).unwrap().contains(address.parse().unwrap());
    assert!(inside("10.0.0.0/8", "10.255.1.2") && !inside("10.0.0.0/8", "11.0.0.1"));
    assert!(inside("2001:db8::/32", "2001:db8:1::1") && !inside("2001:db8::/32", "2001:db9::1"));
    assert!(inside("192.0.2.1/32", "192.0.2.1") && !inside("192.0.2.1/32", "192.0.2.2"));
    for bad in ["10.0.0.0", "10.0.0.0/0", "10.0.0.0/33", "x/8", "::/0"] {
        assert_eq!(Network::parse(bad), None, "{bad}");
    }
}
