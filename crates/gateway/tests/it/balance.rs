//! Target groups over real sockets: who is asked, who is left out, who comes and goes.

use std::{net::SocketAddr, time::Duration};

use model::{
    gateway::{TargetReason, TargetState, TargetsRequest},
    topology::edge::{Stickiness, Target, TargetGroup},
};
use runtime::{admin::Client, secret::Secret};
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::{
    agent::{TOKEN, serving},
    stage::{App, Stage, default_group, nowhere, only},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(10);

/// A stage without gate whose default group has these targets.
async fn stage(targets: &[SocketAddr], adjust: impl FnOnce(&mut TargetGroup)) -> Stage {
    Stage::new(serving("nhn", 7), |c| {
        c.gate = false;
        only(c, targets);
        adjust(default_group(c));
    })
    .await
}

/// Waits until the gateway says that this target is in this state.
pub(crate) async fn is(stage: &Stage, target: SocketAddr, state: TargetState) -> Option<TargetReason> {
    let known = async {
        loop {
            let status = stage.status().await;
            if let Some(told) = status.targets.iter().find(|t| t.address == target && t.state == state) {
                return told.reason;
            }
            tokio::time::sleep(Duration::from_millis(5)).await; // the gateway tells when it is asked
        }
    };
    tokio::time::timeout(PATIENCE, known).await.expect("the target does not come into this state")
}

async fn set_targets(stage: &Stage, targets: &[SocketAddr]) {
    let target = |address: &SocketAddr| Target {
        site: model::Site::new("nhn"),
        address: *address,
        name: None,
        zone: None,
        weight: 1,
    };
    let request = TargetsRequest { targets: targets.iter().map(target).collect() };
    let url = format!("http://{}/v1/target-groups/default/targets", stage.admin);
    let status = put(&url, &serde_json::to_string(&request).unwrap()).await;
    assert_eq!(status, 202);
}

/// PUT by hand: no role of ours sends one.
async fn put(url: &str, body: &str) -> u16 {
    use tokio::io::AsyncWriteExt;
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let head = format!(
        "PUT /{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_spread_and_an_unhealthy_target_gets_none() {
    let (one, two) = (App::start().await, App::start().await);
    let dead = nowhere();
    let stage = stage(&[one.address, dead, two.address], |_| {}).await;
    let reason = is(&stage, dead, TargetState::Unhealthy).await;
    assert_eq!(reason, Some(TargetReason::FailedHealthChecks));
    is(&stage, one.address, TargetState::Healthy).await;
    is(&stage, two.address, TargetState::Healthy).await;
    for _ in 0..10 {
        assert_eq!(stage.ask(GET).await.status, 200);
    }
    // The serving thread may hear a moment later than we that a target is out: its turns shift by one then.
    assert!(one.asked() >= 4 && two.asked() >= 4, "{} {}", one.asked(), two.asked());
    assert_eq!(one.asked() + two.asked(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_is_answered_wrongly_tells_so() {
    let app = App::start().await;
    let stage =
        stage(&[app.address], |g| g.health_check.matcher = "201".to_owned().try_into().unwrap()).await;
    assert_eq!(
        is(&stage, app.address, TargetState::Unhealthy).await,
        Some(TargetReason::ResponseCodeMismatch)
    );
    assert_eq!(stage.ask(GET).await.status, 200, "nothing is fit: fail open");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_chose_to_fail_closed_nobody_is_asked() {
    let app = App::start().await;
    let stage = Stage::new(serving("nhn", 7), |c| {
        (c.gate, c.limits.accept_ms) = (false, 50);
        only(c, &[app.address]);
        let group = default_group(c);
        group.fail_open = false;
        group.health_check.matcher = "201".to_owned().try_into().unwrap();
    })
    .await;
    is(&stage, app.address, TargetState::Unhealthy).await;
    let answer = stage.ask("POST /buy HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("ghostlight-outcome")), (503, "not-sent"));
    assert_eq!(app.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_keeps_his_target_by_a_cookie_and_gets_another_when_it_dies() {
    let apps = [App::start().await, App::start().await, App::start().await];
    let stage =
        stage(&apps.each_ref().map(|a| a.address), |g| g.stickiness = Some(Stickiness::default())).await;
    for app in &apps {
        is(&stage, app.address, TargetState::Healthy).await;
    }
    let first = stage.ask(GET).await;
    let cookie = first.cookie().to_owned();
    assert!(cookie.starts_with("ghostlight_target_default="), "{first:?}");
    let before = apps.each_ref().map(App::asked);
    let bound = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n");
    for _ in 0..6 {
        let answer = stage.ask(&bound).await;
        assert_eq!((answer.status, answer.cookie()), (200, ""), "the cookie is right and is not set again");
    }
    let mut grown: Vec<u64> = apps.iter().zip(before).map(|(app, before)| app.asked() - before).collect();
    let mine = grown.iter().position(|n| *n == 6).expect("one target got all six");
    grown.sort_unstable();
    assert_eq!(grown, [0, 0, 6]);
    let others: Vec<SocketAddr> =
        (0..3).filter(|n| *n != mine).filter_map(|n| apps.get(n)).map(|a| a.address).collect();
    set_targets(&stage, &others).await;
    assert_eq!(
        is(&stage, apps[mine].address, TargetState::Draining).await,
        Some(TargetReason::DeregistrationInProgress)
    );
    // The serving thread may hear a moment later than we.
    let moved = async {
        loop {
            let answer = stage.ask(&bound).await;
            assert_eq!(answer.status, 200);
            if !answer.cookie().is_empty() {
                return answer.cookie().to_owned();
            }
        }
    };
    let moved =
        tokio::time::timeout(PATIENCE, moved).await.expect("he is bound to a target that was taken out");
    assert!(moved.starts_with("ghostlight_target_default=") && moved != cookie, "{moved}");
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_come_and_go_while_requests_are_under_way() {
    let (old, new) = (App::start().await, App::start().await);
    let stage = stage(&[old.address], |g| g.deregistration_delay_ms = 200).await;
    let large = stage.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    set_targets(&stage, &[new.address]).await;
    is(&stage, new.address, TargetState::Healthy).await;
    while new.asked() == 0 {
        // The serving thread may hear a moment later than we.
        assert_eq!(stage.ask(GET).await.status, 200);
    }
    let before = (old.asked(), new.asked());
    for _ in 0..4 {
        assert_eq!(stage.ask(GET).await.status, 200);
    }
    assert_eq!((old.asked(), new.asked()), (before.0, before.1 + 4));
    let gone = async {
        while stage.status().await.targets.iter().any(|t| t.address == old.address) {
            tokio::time::sleep(Duration::from_millis(5)).await; // the gateway tells when it is asked
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the old target is never forgotten");
    let mut large = large;
    assert_eq!(large.answer().await.body, crate::stage::large(), "what it had begun it finishes");
    let url = format!("http://{}/v1/target-groups/other/targets", stage.admin);
    assert_eq!(put(&url, r#"{"targets":[]}"#).await, 404);
    let elsewhere = r#"{"targets":[{"site":"aws","address":"127.0.0.1:1"}]}"#;
    let url = format!("http://{}/v1/target-groups/default/targets", stage.admin);
    assert_eq!(put(&url, elsewhere).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_on_which_requests_break_is_left_out_until_a_check_succeeds() {
    // Passes its checks, and breaks every other connection.
    let broken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = broken.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        loop {
            let (mut stream, _) = broken.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            if head[..read].starts_with(b"GET /healthz") {
                // The visitor of this answer may have left.
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.ok();
            }
        }
    });
    let app = App::start().await;
    let stage = stage(&[at, app.address], |g| {
        (g.circuit_breaker.failures, g.circuit_breaker.for_ms) = (3, 2_000);
        g.health_check.interval_ms = 50;
    })
    .await;
    is(&stage, at, TargetState::Healthy).await;
    is(&stage, app.address, TargetState::Healthy).await;
    let mut asked = 0;
    while stage.status().await.targets.iter().all(|t| t.reason != Some(TargetReason::Ejected)) {
        stage.ask(GET).await;
        asked += 1;
        assert!(asked <= 60, "it is never left out");
    }
    for _ in 0..4 {
        assert_eq!(stage.ask(GET).await.status, 200);
    }
    is(&stage, at, TargetState::Healthy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_target_is_full_visitors_are_told_to_come_again() {
    // Takes a request and keeps it.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stage = stage(&[silent.local_addr().unwrap()], |g| {
        g.requests_max = 2;
        g.health_check.interval_ms = 3_600_000;
    })
    .await;
    let mut kept = Vec::new();
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(stage.send(GET).await);
        // The check's own connection is not a visitor's.
        loop {
            let (mut stream, _) = silent.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            if head[..read].starts_with(b"GET / ") {
                kept.push(stream);
                break;
            }
        }
    }
    let answer = stage.ask(GET).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert!(answer.text().contains("busy"), "{}", answer.text());
    let client = Client::new(stage.admin, Secret::new(TOKEN));
    let status: model::gateway::GatewayStatus = client.get("/v1/status", PATIENCE).await.unwrap();
    assert_eq!(status.unknown_total, 0, "nothing was sent, nothing is in doubt");
}
