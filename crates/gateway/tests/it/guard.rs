//! The web ACL's phase, over real sockets.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use gateway::guard::{Guard, Settings};
use runtime::{admin::Client, secret::Secret};
use serde_json::{Value, json};
use waf::Nowhere;

use crate::{
    agent::{TOKEN, serving},
    stage::Stage,
};

const PATIENCE: Duration = Duration::from_secs(10);
const SCRIPT: &str = "<script>alert(document.cookie);</script>";
const SQL: &str = "' OR '1'='1";

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/waf/web-acl.json")
}

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("ghostlight-guard-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn settings(acl: &Path) -> Settings {
    Settings {
        acl: acl.to_owned(),
        log: None,
        logging: None,
        mmdb: None,
        places: Box::new(Nowhere),
        admin_token: Secret::new(TOKEN),
        id: "nhn".into(),
    }
}

async fn stage(settings: Settings) -> Stage {
    let guard = Guard::read(settings).unwrap();
    Stage::new(serving("nhn", 7), |c| (c.gate, c.guard) = (false, Some(guard))).await
}

fn visibility() -> Value {
    json!({"SampledRequestsEnabled": true, "CloudWatchMetricsEnabled": true, "MetricName": "m"})
}

/// An ACL of one rule: paths that begin so.
fn acl_of(path: &str, action: Value) -> Value {
    json!({"Name": "own", "Scope": "REGIONAL", "DefaultAction": {"Allow": {}}, "VisibilityConfig": visibility(), "Rules": [{
        "Name": "path", "Priority": 1, "Action": action, "VisibilityConfig": visibility(),
        "Statement": {"ByteMatchStatement": {"SearchString": path, "FieldToMatch": {"UriPath": {}},
            "PositionalConstraint": "STARTS_WITH", "TextTransformations": [{"Priority": 0, "Type": "NONE"}]}},
    }]})
}

fn encoded(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02x}")).collect()
}

fn post(content_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /DVWA/ HTTP/1.1\r\nHost: a\r\nUser-Agent: t\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn get(target: &str, header: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\nUser-Agent: t\r\n{header}\r\n")
}

/// The request with this in every place where applications read.
fn everywhere(payload: &str) -> Vec<String> {
    let part = format!("--x\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\n{payload}\r\n--x--\r\n");
    vec![
        get(&format!("/DVWA/?name={}", encoded(payload)), ""),
        post("application/x-www-form-urlencoded", &format!("name={}", encoded(payload))),
        post("multipart/form-data; boundary=x", &part),
        post("application/json", &json!({ "name": payload }).to_string()),
        get("/DVWA/", &format!("Cookie: name={}\r\n", encoded(payload))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn attacks_are_refused_wherever_they_stand_and_only_with_an_acl() {
    let guarded = stage(settings(&example())).await;
    let open = Stage::new(serving("nhn", 7), |c| c.gate = false).await;
    let (mut refused, mut let_in) = (0, 0);
    for request in [SCRIPT, SQL].into_iter().flat_map(everywhere) {
        let answer = guarded.ask(&request).await;
        assert_eq!(answer.status, 403, "{request}");
        refused += 1;
        let_in += u64::from(open.ask(&request).await.status == 200);
    }
    assert_eq!((refused, let_in), (10, 10));
    assert_eq!((guarded.app.asked(), open.app.asked()), (0, 10));
    for request in everywhere("예매 seat A-1, it's fine") {
        assert_eq!(guarded.ask(&request).await.status, 200, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_was_inspected_reaches_the_application_whole() {
    let stage = stage(settings(&example())).await;
    for length in [0, 1, 8_192, 8_193, 300_000] {
        let answer = stage.ask(&post("text/plain", &"a".repeat(length))).await;
        assert!(answer.text().contains(&format!("\nbody {length}\n")), "{length}: {}", answer.text());
    }
    // In pieces, and without a length.
    let head = "POST / HTTP/1.1\r\nHost: a\r\nUser-Agent: t\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut visitor = stage.send(head).await;
    for piece in ["5\r\nabcde\r\n", "2\r\nfg\r\n", "0\r\n\r\n"] {
        visitor.write(piece).await;
    }
    assert!(visitor.answer().await.text().contains("\nbody 7\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_acl_inserts_reaches_the_application_and_no_visitor_can_say_it() {
    let file = folder("insert").join("acl.json");
    let insert =
        json!({"Count": {"CustomRequestHandling": {"InsertHeaders": [{"Name": "seen", "Value": "1"}]}}});
    std::fs::write(&file, acl_of("/in", insert).to_string()).unwrap();
    let stage = stage(settings(&file)).await;
    let forged = "X-Amzn-Waf-Seen: 0\r\nX-Amzn-Waf-Other: 1\r\n";
    let told = stage.ask(&get("/in", forged)).await.text();
    assert!(told.contains("x-amzn-waf-seen: 1\n") && !told.contains("waf-other"), "{told}");
    let told = stage.ask(&get("/out", forged)).await.text();
    assert!(!told.contains("x-amzn-waf-"), "{told}");
    let bare = Stage::new(serving("nhn", 7), |c| c.gate = false).await;
    assert!(!bare.ask(&get("/", forged)).await.text().contains("x-amzn-waf-"), "without an ACL neither");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_acl_is_enforced_and_a_wrong_one_is_not() {
    let file = folder("change").join("acl.json");
    std::fs::write(&file, acl_of("/a", json!({"Block": {}})).to_string()).unwrap();
    let stage = stage(settings(&file)).await;
    let status = async |path: &str| stage.ask(&get(path, "")).await.status;
    assert_eq!((status("/a").await, status("/b").await), (403, 200));
    std::fs::write(&file, "{").unwrap();
    let other = file.with_extension("new");
    std::fs::write(&other, acl_of("/b", json!({"Block": {}})).to_string()).unwrap();
    let changed = async {
        // The wrong one has been looked at when a look's time has passed twice, and changes nothing.
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(status("/a").await, 403);
        }
        std::fs::rename(&other, &file).unwrap();
        while status("/b").await != 403 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE * 2, changed).await.expect("the changed ACL is never enforced");
    assert_eq!(status("/a").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_are_logged_redacted_counted_and_sampled() {
    let folder = folder("log");
    let (log, logging) = (folder.join("waf.log"), folder.join("logging.json"));
    std::fs::remove_file(&log).ok(); // of an earlier process of the same number
    std::fs::write(
        &logging,
        json!({"RedactedFields": [{"SingleHeader": {"Name": "authorization"}}]}).to_string(),
    )
    .unwrap();
    let stage =
        stage(Settings { log: Some(log.clone()), logging: Some(logging), ..settings(&example()) }).await;
    let target = format!("/DVWA/?name={}", encoded(SCRIPT));
    let secret = "Authorization: Bearer secret\r\nX-Request-Id: line-1\r\n";
    assert_eq!(stage.ask(&get(&target, secret)).await.status, 403);
    assert_eq!(stage.ask(&get("/", "X-Request-Id: line-2\r\n")).await.status, 200);
    let written = async {
        loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if text.contains("line-1") {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // a file tells nobody that it has grown
        }
    };
    let text = tokio::time::timeout(PATIENCE, written).await.expect("the line is never written");
    assert!(!text.contains("line-2"), "what was simply allowed is not logged");
    let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&line["action"], &line["terminatingRuleId"]), (&json!("BLOCK"), &json!("common")));
    assert_eq!(line["httpRequest"]["clientIp"], "127.0.0.1");
    assert!(!text.contains("Bearer"), "{text}");
    assert!(waf::log::suggest(&line).is_ok());

    // What lies beyond the limit is not inspected, as with AWS, and the line says that there was more.
    let beyond = format!("{}{SCRIPT}", "a".repeat(9_000));
    let beyond = post("text/plain", &beyond).replace("User-Agent", "X-Request-Id: line-3\r\nUser-Agent");
    assert_eq!(stage.ask(&beyond).await.status, 200);
    let grown = async {
        loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(line) = text.lines().find(|l| l.contains("line-3")) {
                return serde_json::from_str::<Value>(line).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // as above
        }
    };
    let line = tokio::time::timeout(PATIENCE, grown).await.expect("the line is never written");
    assert_eq!((&line["action"], &line["oversizeFields"]), (&json!("ALLOW"), &json!(["REQUEST_BODY"])));

    let counted = stage.metrics.text();
    for (metric, group, rule, times) in [
        ("BlockedRequests", "", "common", 1),
        ("BlockedRequests", "AWS#AWSManagedRulesCommonRuleSet", "CrossSiteScripting_QUERYARGUMENTS", 1),
        ("CountedRequests", "AWS#AWSManagedRulesCommonRuleSet", "SizeRestrictions_BODY", 1),
        ("AllowedRequests", "", "Default_Action", 2),
    ] {
        let by = format!(r#"{{metric="{metric}",web_acl="ghostlight",rule_group="{group}",rule="{rule}"}}"#);
        let line = format!("waf_requests_total{by} {times}\n");
        assert!(counted.contains(&line), "{line} {counted}");
    }

    let client = Client::new(stage.admin, Secret::new(TOKEN));
    let samples: Value = client.get("/v1/waf/samples?rule=common", PATIENCE).await.unwrap();
    assert_eq!(samples["SampledRequests"][0]["Request"]["URI"], "/DVWA/");
    assert_eq!(samples["SampledRequests"][0]["RuleNameWithinRuleGroup"], "CrossSiteScripting_QUERYARGUMENTS");
}

#[test]
fn a_wrong_acl_is_named_with_its_place() {
    let folder = folder("wrong");
    let file = folder.join("acl.json");
    let mut acl = acl_of("/a", json!({"Block": {}}));
    acl["Rules"][0]["Statement"]["ByteMatchStatement"]["PositionalConstraint"] = json!("SOMEWHERE");
    std::fs::write(&file, acl.to_string()).unwrap();
    let words = Guard::read(settings(&file)).unwrap_err().to_string();
    assert!(words.contains("acl.json: $.Rules[0].Statement") && words.contains("STARTS_WITH"), "{words}");
    let words = Guard::read(settings(&folder.join("none.json"))).unwrap_err().to_string();
    assert!(words.contains("none.json"), "{words}");
}
