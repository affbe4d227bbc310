//! WebSockets and streams of events.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::{
    agent::serving,
    stage::{Stage, only},
};

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const AGREED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-App: yes\r\n\r\nhello";

/// An application that answers everything with `answer` and hands each connection over, with the head that it read.
async fn application(answer: &'static [u8]) -> (std::net::SocketAddr, mpsc::Receiver<(String, TcpStream)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (hand_over, taken) = mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 8_192];
            let read = stream.read(&mut head).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            if head.contains("/healthz") || read == 0 {
                continue;
            }
            stream.write_all(answer).await.unwrap();
            if hand_over.send((head, stream)).await.is_err() {
                return;
            }
        }
    });
    (address, taken)
}

async fn stage(answer: &'static [u8]) -> (Stage, mpsc::Receiver<(String, TcpStream)>) {
    let (address, taken) = application(answer).await;
    let stage = Stage::new(serving("nhn", 7), |c| {
        c.gate = false;
        only(c, &[address]);
    })
    .await;
    (stage, taken)
}

async fn read(stream: &mut TcpStream, want: &str) {
    let mut got = vec![0; want.len()];
    tokio::time::timeout(std::time::Duration::from_secs(10), stream.read_exact(&mut got))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&got), want);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_goes_through_both_ways_and_ends_with_either_side() {
    let (stage, mut taken) = stage(AGREED).await;
    let mut visitor = stage.send(ASK).await;
    let answer = visitor.answer().await;
    assert_eq!((answer.status, answer.header("x-app")), (101, "yes"));
    assert_eq!(answer.header("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!((answer.header("upgrade"), answer.header("connection")), ("websocket", "upgrade"));
    let (head, mut application) = taken.recv().await.unwrap();
    assert!(
        head.contains("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==") && head.contains("upgrade: websocket"),
        "{head}"
    );
    assert!(head.contains("x-forwarded-for: 127.0.0.1"), "{head}");
    // What came together with the agreement is not lost.
    visitor.at_least(5).await;
    assert_eq!(visitor.taken(), b"hello");
    visitor.write("from the visitor").await;
    read(&mut application, "from the visitor").await;
    application.write_all(b"from the application").await.unwrap();
    visitor.at_least(20).await;
    assert_eq!(visitor.taken(), b"from the application");
    drop(application);
    assert!(visitor.is_hung_up().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_ends_with_its_epoch() {
    let (stage, mut taken) = stage(AGREED).await;
    let mut visitor = stage.send(ASK).await;
    assert_eq!(visitor.answer().await.status, 101);
    visitor.at_least(5).await;
    let (_, _application) = taken.recv().await.unwrap();
    stage.agent.says(serving("nhn", 8));
    assert!(visitor.is_hung_up().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_may_say_no_and_another_protocol_is_not_asked_for() {
    let (stage, mut taken) = stage(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let mut visitor = stage.send(ASK).await;
    let answer = visitor.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    taken.recv().await.unwrap();
    let h2c = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n";
    assert_eq!(stage.ask(h2c).await.status, 403);
    let (head, _) = taken.recv().await.unwrap();
    assert!(!head.contains("upgrade") && !head.to_lowercase().contains("http2-settings"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_the_visitor_while_the_answer_is_under_way() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let (stage, mut taken) = stage(HEAD).await;
    let mut visitor =
        stage.send("GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n").await;
    let (_, mut application) = taken.recv().await.unwrap();
    for event in ["data: one\n\n", "data: two\n\n"] {
        application.write_all(event.as_bytes()).await.unwrap();
        visitor.until(event.as_bytes()).await;
    }
    // The application ends its answer by hanging up; the visitor gets its whole end.
    drop(application);
    visitor.until(b"0\r\n\r\n").await;
}
