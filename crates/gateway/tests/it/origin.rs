//! Where a request comes from, as the application hears it; and what joins its logs with ours.

use model::topology::edge::Cidr;

use crate::{agent::serving, stage::Stage};

async fn stage(trusted: &[&str]) -> Stage {
    let trusted = trusted.iter().map(|t| Cidr::try_from((*t).to_owned()).unwrap()).collect();
    Stage::new(serving("nhn", 7), |c| (c.gate, c.trusted_proxies) = (false, trusted)).await
}

const ASKED: &str = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9, 203.0.113.7\r\nX-Forwarded-Proto: https\r\n\
                     X-Forwarded-Host: b\r\nForwarded: for=8.8.8.8\r\nX_Forwarded_For: 7.7.7.7\r\n\r\n";

#[track_caller]
fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|l| l == *line), "{line} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_word_counts_for_nothing() {
    let text = stage(&["10.0.0.0/8"]).await.ask(ASKED).await.text();
    has(
        &text,
        &[
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-proto: http",
            "x-forwarded-host: a",
            "forwarded: for=127.0.0.1;host=\"a\";proto=http",
        ],
    );
    assert!(["9.9.9.9", "8.8.8.8", "7.7.7.7"].iter().all(|a| !text.contains(a)), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxys_list_is_added_to() {
    let text = stage(&["127.0.0.0/8"]).await.ask(ASKED).await.text();
    has(
        &text,
        &[
            "x-forwarded-for: 9.9.9.9, 203.0.113.7, 127.0.0.1",
            "x-forwarded-proto: https",
            "x-forwarded-host: b",
            "forwarded: for=9.9.9.9, for=203.0.113.7, for=127.0.0.1;host=\"b\";proto=https",
        ],
    );
    assert!(["8.8.8.8", "7.7.7.7"].iter().all(|a| !text.contains(a)), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_and_where_there_is_none_one_begins() {
    let stage = stage(&[]).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let text = stage
        .ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nTraceparent: {trace}\r\nTracestate: v=1\r\n\r\n"))
        .await
        .text();
    has(&text, &[&format!("traceparent: {trace}"), "tracestate: v=1"]);
    let text = stage.ask("GET / HTTP/1.1\r\nHost: a\r\nTracestate: v=1\r\n\r\n").await.text();
    let made = text.lines().find_map(|l| l.strip_prefix("traceparent: 00-")).unwrap();
    assert!(made.ends_with("-00") && made.len() == 52, "{made}");
    assert!(!text.contains("tracestate"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_gateway_says_who_the_visitor_is_and_is_believed() {
    // Two gateways: the one here is not primary and passes on to the one there.
    let there = Stage::new(serving("nhn", 7), |c| c.gate = false).await;
    let here = Stage::new(serving("aws", 7), |c| {
        (c.gate, c.peer) = (false, there.gateway);
        c.trusted_proxies = vec![Cidr::try_from("127.0.0.0/8".to_owned()).unwrap()];
    })
    .await;
    let text = here.ask(ASKED).await.text();
    has(&text, &["x-forwarded-for: 9.9.9.9, 203.0.113.7, 127.0.0.1", "x-forwarded-proto: https"]);
    assert!(!text.contains("ghostlight"), "{text}");
}
