//! Each managed rule by itself: what it catches and what it must let through (`rules/cases.txt`).

use std::collections::BTreeSet;

use waf::managed;

use crate::harness::{Request, example};

fn encoded(text: &str) -> String {
    // What is written as an escape in a case is one for the server, too.
    text.bytes()
        .map(|b| match b {
            b'&' | b'+' | b'#' | b' ' | 0x80.. => format!("%{b:02x}"),
            _ => char::from(b).to_string(),
        })
        .collect()
}

fn request(part: &str, text: &str) -> Request {
    let filler = || "x".repeat(text.parse().unwrap());
    match part {
        "query" => Request::new("GET", &format!("/?q={}", encoded(text))),
        "name" => Request::new("GET", &format!("/?{}=1", encoded(text))),
        "path" => Request::new("GET", text),
        "cookie" => Request::new("GET", "/").header("Cookie", text),
        "agent" if text.is_empty() => {
            let mut bare = Request::new("GET", "/");
            bare.headers.retain(|(n, _)| n != "User-Agent");
            bare
        }
        "agent" => Request::new("GET", "/").header("User-Agent", text),
        "header" => Request::new("GET", "/").header("X-Note", text),
        "body" => Request::new("POST", "/")
            .body("application/x-www-form-urlencoded", format!("text={}", encoded(text))),
        "xml" => Request::new("POST", "/").body("application/xml", text),
        "file" => {
            let body = format!(
                "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{text}\"\r\n\r\nx\r\n--b--\r\n"
            );
            Request::new("POST", "/").body("multipart/form-data; boundary=b", body)
        }
        "session" => {
            Request::new("GET", &format!("/login?{text}=abc123")).header("Referer", "https://evil.example/")
        }
        "long-query" => Request::new("GET", &format!("/?{}", filler())),
        "long-path" => Request::new("GET", &format!("/{}", &filler()[1..])),
        "long-cookie" => Request::new("GET", "/").header("Cookie", filler()),
        "bytes" => Request::new("POST", "/").body("text/plain", filler()),
        other => panic!("`{other}` is no part"),
    }
}

#[test]
fn every_rule_catches_and_passes_what_its_cases_say() {
    let mut left: BTreeSet<&str> =
        managed::all().iter().flat_map(|g| &g.rules).map(|r| r.name.as_str()).collect();
    let mut rule = "";
    let mut wrong = Vec::new();
    for line in include_str!("../../rules/cases.txt").lines().filter(|l| !l.starts_with('#') && !l.is_empty())
    {
        let Some(case) = line.strip_prefix("  ") else {
            rule = line;
            assert!(left.remove(rule), "`{rule}` is no managed rule, or comes twice");
            continue;
        };
        let (expected, case) = case.split_once(' ').unwrap();
        let (part, text) = case.split_once(' ').unwrap_or((case, ""));
        let explained = request(part, text).explain(example());
        let matches = explained.iter().any(|e| e.within.as_deref() == Some(rule) && e.matches);
        if matches != (expected == "catches") {
            wrong.push(format!("{rule} {expected} {part} {text}"));
        }
        let harmless = expected == "passes"
            && !matches!(part, "bytes" | "session" | "long-query" | "long-path" | "long-cookie");
        let by =
            explained.iter().filter(|e| e.matches && e.action == "BLOCK").filter_map(|e| e.within.clone());
        for other in by.filter(|_| harmless) {
            wrong.push(format!("{rule} passes {part} {text}: but {other} catches it"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(left.is_empty(), "rules without a case: {left:?}");
}
