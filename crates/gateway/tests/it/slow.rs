//! Visitors who are slow, many, or both: nobody else waits for them.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

use crate::{
    agent::serving,
    stage::{Stage, default_group, only},
};

const PATIENCE: Duration = Duration::from_secs(20);
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends `text` byte by byte, one every 50 ms, until the other side hangs up or there is no more; what was answered.
async fn drip(stage: &Stage, first: &str, text: &str) -> (String, Duration) {
    let mut stream = TcpStream::connect(stage.gateway).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(first.as_bytes()).await.unwrap();
    let began = Instant::now();
    let mut answer = Vec::new();
    let (mut read, mut write) = stream.split();
    let dripping = async {
        for byte in text.as_bytes() {
            tokio::time::sleep(Duration::from_millis(50)).await; // that is the attack
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = timeout(PATIENCE, read.read_to_end(&mut answer)) => {
            ended.expect("a slow visitor is never hung up on").ok(); // a reset is an end, too
        }
        () = dripping => {}
    }
    (String::from_utf8(answer).unwrap(), began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_drips_is_not_waited_for() {
    let stage = Stage::new(serving("nhn", 7), |c| (c.gate, c.limits.head_ms) = (false, 500)).await;
    let (answer, took) = drip(&stage, "GET / HTTP/1.1\r\n", &"X-Slow: loris\r\n".repeat(100)).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(5), "{took:?}");
    // An idle connection is no slow head.
    let mut idle = stage.send(GET).await;
    assert_eq!(idle.answer().await.status, 200);
    tokio::time::sleep(Duration::from_millis(800)).await; // longer than a head may take
    idle.write(GET).await;
    assert_eq!(idle.answer().await.status, 200);
    assert_eq!(stage.app.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_is_told_so() {
    let stage = Stage::new(serving("nhn", 7), |c| {
        c.gate = false;
        c.limits.body_bytes_per_s_min = 1_000;
    })
    .await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    let (answer, took) = drip(&stage, head, &"x".repeat(1_000)).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(took >= Duration::from_secs(4) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(stage.app.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_takes_nothing_of_his_answer_is_hung_up_on() {
    // An application that never ends its answer.
    let endless = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = endless.local_addr().unwrap();
    let stage = Stage::new(serving("nhn", 7), |c| {
        c.gate = false;
        c.limits.reader_idle_ms = 300;
        only(c, &[at]);
        default_group(c).health_check.interval_ms = 3_600_000;
    })
    .await;
    let visitor = stage.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let ended = async {
        loop {
            let (mut stream, _) = endless.accept().await.unwrap();
            let mut head = vec![0; 4_096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            if !head[..read].starts_with(b"GET /endless") {
                continue;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await.unwrap();
            // The gateway takes less and less of it, and hangs up in the end.
            while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
            return;
        }
    };
    timeout(PATIENCE, ended).await.expect("it keeps a connection for a visitor who does not read");
    drop(visitor);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stands_still_is_broken_off() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let stage = Stage::new(serving("nhn", 7), |c| {
        c.gate = false;
        c.limits.answer_idle_ms = 300;
        only(c, &[at]);
        default_group(c).health_check.interval_ms = 3_600_000;
    })
    .await;
    let mut visitor = stage.send("GET /half HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut kept, mut head) = loop {
        let (mut stream, _) = silent.accept().await.unwrap();
        let mut head = vec![0; 4_096];
        let read = stream.read(&mut head).await.unwrap_or(0);
        if head[..read].starts_with(b"GET /half") {
            break (stream, head);
        }
    };
    kept.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, visitor.stream.read_to_end(&mut rest)).await.expect("it waits for ever").ok();
    assert!(rest.ends_with(b"\r\n\r\nhalf"), "{}", String::from_utf8_lossy(&rest));
    // Both ends are hung up on: what the target says now is nobody's answer.
    assert_eq!(timeout(PATIENCE, kept.read(&mut head)).await.unwrap().unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_visitors_are_told_to_come_again_and_far_beyond_they_are_hung_up_on() {
    let stage = Stage::new(serving("nhn", 7), |c| (c.gate, c.limits.connections_max) = (false, 10)).await;
    let mut open = Vec::new();
    // The one to the application counts as well; those of the test's own questions may still be open.
    let mut turned_away = None;
    for _ in 0..12 {
        let mut visitor = stage.send(GET).await;
        let answer = visitor.answer().await;
        open.push(visitor);
        if answer.status == 503 {
            turned_away = Some(answer);
            break;
        }
        assert_eq!(answer.status, 200);
    }
    let answer = turned_away.expect("as many as there are, all are served");
    assert_eq!((answer.header("retry-after"), answer.header("connection")), ("1", "close"));
    assert_eq!(answer.header("ghostlight-outcome"), "not-sent");
    // Those who are in are served on.
    open[0].write(GET).await;
    assert_eq!(open[0].answer().await.status, 200);
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(stage.gateway).await.unwrap());
    }
    let mut byte = [0];
    let last = silent.last_mut().unwrap();
    assert!(matches!(timeout(PATIENCE, last.read(&mut byte)).await.unwrap(), Ok(0) | Err(_)));
    drop((silent, open));
    // When they have gone there is room again.
    let again = async {
        loop {
            let mut stream = TcpStream::connect(stage.gateway).await.unwrap();
            let mut answer = Vec::new();
            // Who is hung up on cannot write, or reads nothing.
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.ok();
            stream.read_to_end(&mut answer).await.ok();
            if answer.starts_with(b"HTTP/1.1 200 ") {
                return;
            }
        }
    };
    timeout(PATIENCE, again).await.expect("nobody is served any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_memory_is_short_requests_are_told_to_come_again() {
    let stage = Stage::new(serving("nhn", 7), |c| (c.gate, c.limits.memory_bytes_max) = (false, 1)).await;
    let told = async {
        loop {
            let answer = stage.ask(GET).await;
            if answer.status == 503 {
                return answer;
            }
        }
    };
    let answer = timeout(PATIENCE, told).await.expect("it never minds");
    assert_eq!((answer.header("retry-after"), answer.header("ghostlight-outcome")), ("1", "not-sent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn expectations() {
    let stage = Stage::new(serving("nhn", 7), |c| (c.gate, c.limits.body_bytes_max) = (false, 10)).await;
    let ask = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
    // Refused before it is asked for.
    assert_eq!(stage.ask(&ask("Content-Length: 11\r\nExpect: 100-continue")).await.status, 413);
    assert_eq!(stage.ask(&ask("Content-Length: 3\r\nExpect: miracles")).await.status, 417);
    assert_eq!(stage.app.asked(), 0);
    let mut visitor = stage.send(&ask("Content-Length: 3\r\nExpect: 100-Continue")).await;
    assert_eq!(visitor.answer().await.status, 100);
    visitor.write("abc").await;
    assert_eq!(visitor.answer().await.status, 200);
}
