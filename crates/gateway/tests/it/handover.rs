//! A new configuration, and a new process, while visitors are being served.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use gateway::{Config, Gateway, Reload};
use model::topology::edge::{Cidr, FixedResponse, Rule};
use runtime::{metrics::Metrics, process::Shutdown};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    agent::{TOKEN, serving},
    stage::{Stage, Visitor, config, default_group},
};

const PATIENCE: Duration = Duration::from_secs(20);
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

async fn post(admin: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

fn teapot() -> Rule {
    Rule {
        priority: 1,
        host: Vec::new(),
        path: vec!["/tea".into()],
        method: Vec::new(),
        header: std::collections::BTreeMap::new(),
        query: Vec::new(),
        source_ip: Vec::new(),
        forward: None,
        redirect: None,
        fixed_response: Some(FixedResponse {
            status: 418,
            content_type: "text/plain".into(),
            body: "tea".into(),
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_is_taken_whole_or_not_at_all() {
    let file: Arc<Mutex<Option<Result<Config, String>>>> = Arc::default();
    let read = file.clone();
    let mut running = None;
    let stage = Stage::new(serving("nhn", 7), |c| {
        c.gate = false;
        c.reload = Some(Reload::by(move || read.lock().unwrap().clone().unwrap()));
        running = Some(c.clone());
    })
    .await;
    let running = running.unwrap();
    let mut visitor = stage.send(GET).await;
    assert_eq!(visitor.answer().await.status, 200);
    let tea = "GET /tea HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n";

    let mut new = running.clone();
    new.routing.rules = vec![teapot()];
    new.limits.body_bytes_max = 10;
    new.trusted_proxies = vec![Cidr::try_from("127.0.0.0/8".to_owned()).unwrap()];
    *file.lock().unwrap() = Some(Ok(new.clone()));
    assert_eq!(post(stage.admin, "/v1/reload").await.0, 204);
    // A thread may hear of it a moment later than we are told, and of its parts one after the other.
    let known = async {
        loop {
            let tea = stage.ask(tea).await.status;
            let large = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n01234567890";
            if (tea, stage.ask(large).await.status) == (418, 413) {
                return;
            }
        }
    };
    timeout(PATIENCE, known).await.expect("the new configuration is never in force");
    visitor.write("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n").await;
    let text = visitor.answer().await.text();
    assert!(
        text.contains("x-forwarded-for: 203.0.113.7, 127.0.0.1\n"),
        "the open connection is served on: {text}"
    );

    // What cannot change is named, and nothing of it is taken.
    let mut other = new.clone();
    other.routing.rules = Vec::new();
    (other.hold_max_ms, other.zone) = (1, Some("z".into()));
    *file.lock().unwrap() = Some(Ok(other));
    let (status, words) = post(stage.admin, "/v1/reload").await;
    assert_eq!(status, 409);
    assert!(words.contains("policy.hold_max_ms") && words.contains("gateway.zone"), "{words}");
    assert!(words.contains("--take-over"), "{words}");
    *file.lock().unwrap() = Some(Err("ghostlight.toml: line 3 is wrong".into()));
    let (status, words) = post(stage.admin, "/v1/reload").await;
    assert!(status == 409 && words.contains("line 3"), "{words}");
    assert_eq!(stage.ask(tea).await.status, 418);
}

/// Asks over one connection, opening another when it is told to, until `end`; how often it was answered.
fn steady(at: SocketAddr, end: Shutdown) -> JoinHandle<u32> {
    tokio::spawn(async move {
        let mut answered = 0;
        while !end.is_cancelled() {
            let mut visitor = Visitor::at(at).await;
            while !end.is_cancelled() {
                visitor.write(GET).await;
                let answer = visitor.answer().await;
                assert_eq!(answer.status, 200, "{answer:?}");
                answered += 1;
                if answer.header("connection") == "close" {
                    break;
                }
            }
        }
        answered
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_process_takes_the_listeners_and_no_request_fails() {
    let mut stage = Stage::new(serving("nhn", 7), |c| {
        (c.gate, c.threads) = (false, 2);
        default_group(c).health_check.interval_ms = 3_600_000;
    })
    .await;
    let end = Shutdown::new();
    let visitors: Vec<_> = (0..8).map(|_| steady(stage.gateway, end.clone())).collect();
    let new = Config {
        listen: stage.gateway,
        admin: stage.admin,
        gate: false,
        take_over: true,
        // Another number: every listener that was opened is served all the same.
        threads: 1,
        ..config(stage.agent.address, vec![stage.app.address])
    };
    let gateway = Gateway::bind(new).await.unwrap();
    assert_eq!((gateway.address(), gateway.admin_address()), (stage.gateway, stage.admin));
    let until = Shutdown::new();
    let next = tokio::spawn(gateway.run(Metrics::default(), until.clone()));
    timeout(PATIENCE, &mut stage.running).await.expect("the old one does not end").unwrap();
    // The old one has ended, so these are answers of the next.
    for _ in 0..20 {
        assert_eq!(stage.ask(GET).await.status, 200);
    }
    assert_eq!(
        stage.status().await.serving,
        Some(serving("nhn", 7)),
        "its admin API is reached at the same place"
    );
    end.cancel();
    for visitor in visitors {
        assert!(visitor.await.unwrap() > 0);
    }
    until.cancel();
    timeout(PATIENCE, next).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_process_that_knows_nothing_takes_nothing() {
    let stage = Stage::new(serving("nhn", 7), |c| c.gate = false).await;
    // Its agent is nobody: it ends before it serves.
    let new = Config {
        listen: stage.gateway,
        admin: stage.admin,
        take_over: true,
        ..config(crate::stage::nowhere(), vec![stage.app.address])
    };
    let gateway = Gateway::bind(new).await.unwrap();
    let next = tokio::spawn(gateway.run(Metrics::default(), Shutdown::new()));
    next.abort();
    drop(next.await);
    for _ in 0..20 {
        assert_eq!(stage.ask(GET).await.status, 200);
    }
    assert!(!stage.running.is_finished());
}
