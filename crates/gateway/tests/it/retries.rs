//! What is sent again, and what never is.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    agent::serving,
    stage::{App, Stage, default_group, only},
};

/// A target that reads each request, says `words` and hangs up; how many it has read.
async fn breaking(words: &'static str) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, read) = (listener.local_addr().unwrap(), Arc::new(AtomicU32::new(0)));
    let counted = read.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4_096];
            let bytes = stream.read(&mut head).await.unwrap_or(0);
            if bytes > 0 && !head.starts_with(b"GET /healthz") {
                counted.fetch_add(1, SeqCst);
            }
            stream.write_all(words.as_bytes()).await.ok(); // its reader may have left
        }
    });
    (at, read)
}

/// A breaking target, and a good one that is asked second.
async fn stage(words: &'static str, adjust: impl FnOnce(&mut gateway::Config)) -> (Stage, Arc<AtomicU32>, App) {
    let (broken, read) = breaking(words).await;
    let app = App::start().await;
    let stage = Stage::new(serving("nhn", 7), |c| {
        only(c, &[broken, app.address]);
        let group = default_group(c);
        (group.health_check.interval_ms, group.circuit_breaker.failures) = (3_600_000, 0);
        // The reserve is asked only where no other may be.
        group.targets[1].weight = 0;
        adjust(c);
    })
    .await;
    (stage, read, app)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_target_breaks_is_sent_once_more_elsewhere() {
    let (stage, read, app) = stage("", |_| {}).await;
    for method in ["GET", "HEAD", "OPTIONS"] {
        let text = format!("{method} /p?q=1 HTTP/1.1\r\nHost: a\r\nX-Mine: 1\r\n\r\n");
        let mut answer = stage.send(&text).await;
        answer.until(b"\r\n\r\n").await;
        assert!(answer.taken().starts_with(b"HTTP/1.1 200 "), "{method}");
    }
    assert_eq!((read.load(SeqCst), app.asked()), (3, 3));
    let text = stage.ask("GET /p?q=1 HTTP/1.1\r\nHost: a\r\nX-Mine: 1\r\n\r\n").await.text();
    assert!(text.starts_with("GET /p?q=1\n") && text.contains("x-mine: 1\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_target_breaks_is_never_sent_again() {
    let (stage, read, app) = stage("", |c| c.gate = false).await;
    let mut times = 0;
    for method in ["POST", "PUT", "DELETE", "PATCH", "PROPFIND"] {
        let answer = stage.ask(&format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!((answer.status, answer.header("ghostlight-outcome")), (503, "unknown"), "{method}");
        times += 1;
    }
    // A read with a body has been consumed by sending it.
    let body = stage.ask("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab").await;
    assert_eq!((body.status, body.header("ghostlight-outcome")), (503, "unknown"));
    assert_eq!((read.load(SeqCst), app.asked()), (times + 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_answer_is_held_is_never_sent_again() {
    let (stage, read, app) = stage("", |_| {}).await;
    let told = stage.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    let marked = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", told.cookie());
    assert!(told.cookie().starts_with("ghostlight_unknown="), "{told:?}");
    assert_eq!(stage.ask(&marked).await.status, 503);
    assert_eq!((read.load(SeqCst), app.asked()), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_not_sent_again_after_words_or_silence_or_where_it_is_not_wanted() {
    for (words, wanted) in [("nonsense\r\n\r\n", true), ("", false)] {
        let (stage, read, app) = stage(words, |c| default_group(c).retry_reads = wanted).await;
        assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 503);
        assert_eq!((read.load(SeqCst), app.asked()), (1, 0), "{words:?}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = App::start().await;
    let stage = Stage::new(serving("nhn", 7), |c| {
        only(c, &[silent.local_addr().unwrap(), app.address]);
        default_group(c).targets[1].weight = 0;
        default_group(c).health_check.interval_ms = 3_600_000;
        c.limits.answer_ms = 200;
    })
    .await;
    assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 503);
    assert_eq!(app.asked(), 0, "silence is repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_in_trouble_is_not_given_much_more_to_do() {
    let (broken, read) = breaking("").await;
    let stage = Stage::new(serving("nhn", 7), |c| {
        only(c, &[broken]);
        let group = default_group(c);
        (group.health_check.interval_ms, group.circuit_breaker.failures) = (3_600_000, 0);
        group.retry_percent_max = 10;
    })
    .await;
    for _ in 0..100 {
        assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 503);
    }
    // Ten in hand at first, and one for every ten requests.
    assert_eq!(read.load(SeqCst), 120);
}
