//! A gateway whose site is not primary.

use std::net::SocketAddr;

use model::BarrierOutcome;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket},
};

use crate::{
    agent::serving,
    stage::{Stage, nowhere},
};

const GET: &str = "GET /show HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /buy HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";

async fn standby(peer: SocketAddr) -> Stage {
    Stage::new(serving("aws", 7), |c| c.peer = peer).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_passes_requests_to_the_peer_whose_gate_holds_them() {
    let primary = Stage::new(serving("nhn", 7), |_| {}).await;
    let standby = standby(primary.gateway).await;
    let read = standby.ask(GET).await;
    assert_eq!(read.status, 200);
    assert!(read.text().contains("x-forwarded-for: 127.0.0.1"), "{}", read.text());
    assert!(!read.text().contains("ghostlight-"), "{}", read.text());
    let mut visitor = standby.send(POST).await;
    let barrier = primary.agent.asked().await;
    assert!(visitor.hears_nothing());
    barrier.reply(BarrierOutcome::EpochChanged);
    let answer = visitor.answer().await;
    assert_eq!((answer.status, answer.header("ghostlight-outcome")), (503, "unknown"));
    assert!(answer.cookie().starts_with("ghostlight_unknown=1.7."));
    assert_eq!((standby.app.asked(), primary.app.asked()), (0, 2));
    assert!(standby.agent.is_idle().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_that_both_believe_the_other_is_primary_pass_a_request_once() {
    // The first passes it to the second, whose own peer would be the first again.
    let second = standby(nowhere()).await;
    let first = standby(second.gateway).await;
    let answer = first.ask(POST).await;
    assert_eq!((answer.status, answer.header("ghostlight-outcome")), (503, "not-sent"));
    assert_eq!((first.app.asked(), second.app.asked()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_cannot_pretend_to_be_the_peer() {
    let primary = Stage::new(serving("nhn", 7), |_| {}).await;
    let standby = standby(primary.gateway).await;
    let forged = "GET /show HTTP/1.1\r\nHost: a\r\nGhostlight-Forwarded: aws\r\nGhostlight-Forwarded-Token: 00\r\n\r\n";
    assert_eq!(standby.ask(forged).await.status, 200, "not taken for forwarded, so forwarded");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_peer_is_away_browsers_see_a_calm_page() {
    let stage = standby(nowhere()).await;
    let page = stage.ask("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n").await;
    assert_eq!((page.status, page.header("content-type")), (503, "text/html; charset=utf-8"));
    assert_eq!(page.header("ghostlight-outcome"), "not-sent");
    let again_s: u32 = page.header("retry-after").parse().unwrap();
    assert!((3..=8).contains(&again_s), "not everybody at once: {again_s}");
    assert!(page.text().contains("잠시만 기다려") && page.text().contains("One moment, please"));
    let json = stage.ask(POST).await;
    let value: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(value["outcome"], "not-sent");
    assert_eq!(json.cookie(), "", "nothing was sent, nothing is in doubt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_for_a_silent_peer_is_served_here_after_the_promotion() {
    // A full backlog: connections to this address neither succeed nor fail.
    let (silent, _keep) = full_backlog().await;
    let stage = standby(silent).await;
    let mut visitor = stage.send(GET).await;
    assert!(visitor.hears_nothing());
    stage.agent.says(serving("nhn", 8));
    let answer = visitor.answer().await;
    assert_eq!((answer.status, answer.header("x-app")), (200, "yes"));
    assert_eq!(stage.app.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_new_epoch_begins_nothing_is_heard_from_the_old_primary_any_more() {
    // A peer that takes the request and never answers.
    let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stage = standby(peer.local_addr().unwrap()).await;
    let mut visitor = stage.send(POST).await;
    // A connection may be given up while nothing was sent over it: the one that brings the request counts.
    let _taken = loop {
        let (mut stream, _) = peer.accept().await.unwrap();
        let mut head = vec![0; 4096];
        if stream.read(&mut head).await.is_ok_and(|n| head[..n].starts_with(b"POST")) {
            break stream;
        }
    };
    stage.agent.says(serving("nhn", 8));
    let answer = visitor.answer().await;
    assert_eq!((answer.status, answer.header("ghostlight-outcome")), (503, "unknown"));
    assert_eq!(stage.app.asked(), 0, "what was sent is never sent again");
}

async fn full_backlog() -> (SocketAddr, impl Sized) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    loop {
        let connect = tokio::net::TcpStream::connect(address);
        match tokio::time::timeout(std::time::Duration::from_millis(100), connect).await {
            Ok(stream) => filling.push(stream.unwrap()),
            Err(_) => return (address, (listener, filling)),
        }
    }
}
