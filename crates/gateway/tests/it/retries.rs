//! What is sent again, and what never is.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use model::{BarrierOutcome, gateway::TargetState};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    agent::serving,
    balance::is,
    stage::{App, Stage, default_group, only},
};

/// A target that passes its checks, reads each request, says `words` and hangs up, or says nothing and stays, as it always does
/// at `/wait`; and how many requests it has read.
async fn breaking(words: Option<&'static str>) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, read) = (listener.local_addr().unwrap(), Arc::new(AtomicU32::new(0)));
    let counted = read.clone();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4_096];
            let bytes = stream.read(&mut head).await.unwrap_or(0);
            let is_check = head.starts_with(b"GET /healthz");
            counted.fetch_add(u32::from(bytes > 0 && !is_check), SeqCst);
            let waits = head.starts_with(b"GET /wait");
            let well = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            match words {
                Some(words) if !waits => {
                    let words = if is_check { well } else { words };
                    stream.write_all(words.as_bytes()).await.ok(); // its reader may have left
                }
                None if is_check => stream.write_all(well.as_bytes()).await.unwrap_or(()),
                _ => kept.push(stream),
            }
        }
    });
    (at, read)
}

/// A breaking target, and a good one that is asked only where the other may not be.
async fn stage(
    words: Option<&'static str>,
    adjust: impl FnOnce(&mut gateway::Config),
) -> (Stage, Arc<AtomicU32>, App) {
    let (broken, read) = breaking(words).await;
    let app = App::start().await;
    let stage = Stage::new(serving("nhn", 7), |c| {
        only(c, &[broken, app.address]);
        let group = default_group(c);
        group.circuit_breaker.failures = 0;
        group.targets[1].weight = 0;
        adjust(c);
    })
    .await;
    is(&stage, broken, TargetState::Healthy).await;
    is(&stage, app.address, TargetState::Healthy).await;
    // A serving thread may hear a moment later than we that the breaking one is fit, too; until then the other is asked.
    while read.load(SeqCst) == 0 {
        stage.ask("GET /warm HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }
    (stage, read, app)
}

fn wanted(config: &mut gateway::Config) {
    default_group(config).retry_reads = true;
}

const READ: &str = "GET /r HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn by_default_nothing_is_sent_again_of_which_a_byte_was_sent() {
    let (stage, read, app) = stage(Some(""), |_| {}).await;
    let before = (read.load(SeqCst), app.asked());
    for _ in 0..5 {
        let answer = stage.ask(READ).await;
        assert_eq!((answer.status, answer.header("ghostlight-outcome")), (503, "unknown"));
    }
    assert_eq!((read.load(SeqCst), app.asked()), (before.0 + 5, before.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_target_breaks_is_sent_once_more_elsewhere_where_that_is_wanted() {
    let (stage, read, app) = stage(Some(""), wanted).await;
    let before = (read.load(SeqCst), app.asked());
    for method in ["GET", "HEAD"] {
        let text = format!("{method} /p?q=1 HTTP/1.1\r\nHost: a\r\nX-Mine: 1\r\n\r\n");
        let mut answer = stage.send(&text).await;
        answer.until(b"\r\n\r\n").await;
        assert!(answer.taken().starts_with(b"HTTP/1.1 200 "), "{method}");
    }
    assert_eq!((read.load(SeqCst), app.asked()), (before.0 + 2, before.1 + 2));
    let text = stage.ask("GET /p?q=1 HTTP/1.1\r\nHost: a\r\nX-Mine: 1\r\n\r\n").await.text();
    assert!(text.starts_with("GET /p?q=1\n") && text.contains("x-mine: 1\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_target_breaks_is_never_sent_again() {
    let (stage, read, app) = stage(Some(""), |c| {
        wanted(c);
        c.gate = false;
    })
    .await;
    let before = (read.load(SeqCst), app.asked());
    let mut times = 0;
    for method in ["POST", "PUT", "DELETE", "PATCH", "PROPFIND", "OPTIONS"] {
        let answer = stage.ask(&format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!((answer.status, answer.header("ghostlight-outcome")), (503, "unknown"), "{method}");
        times += 1;
    }
    // A read with a body has been consumed by sending it.
    let body = stage.ask("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab").await;
    assert_eq!((body.status, body.header("ghostlight-outcome")), (503, "unknown"));
    assert_eq!((read.load(SeqCst), app.asked()), (before.0 + times + 1, before.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_answer_is_held_is_never_sent_again() {
    let (stage, read, app) = stage(Some(""), wanted).await;
    let before = (read.load(SeqCst), app.asked());
    let told = stage.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    let marked = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", told.cookie());
    assert!(told.cookie().starts_with("ghostlight_unknown="), "{told:?}");
    assert_eq!(stage.ask(&marked).await.status, 503);
    assert_eq!((read.load(SeqCst), app.asked()), (before.0 + 2, before.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_reads_were_held_once_has_none_sent_again() {
    let (stage, read, app) = stage(Some(""), wanted).await;
    let before = (read.load(SeqCst), app.asked());
    let mut visitor = stage.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    stage.agent.asked().await.reply(BarrierOutcome::Replicated);
    assert_eq!(visitor.answer().await.status, 200, "nobody could know yet that this read is held");
    assert_eq!((read.load(SeqCst), app.asked()), (before.0 + 1, before.1 + 1));
    assert_eq!(stage.ask(READ).await.header("ghostlight-outcome"), "unknown");
    assert_eq!((read.load(SeqCst), app.asked()), (before.0 + 2, before.1 + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_not_sent_again_in_another_epoch() {
    let (stage, read, app) = stage(Some(""), wanted).await;
    let before = (read.load(SeqCst), app.asked());
    let mut visitor = stage.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while read.load(SeqCst) == before.0 {
        tokio::task::yield_now().await;
    }
    // With the new epoch the connections of the old one are closed: to the request under way its target has broken off.
    stage.agent.says(serving("nhn", 8));
    let answer = visitor.answer().await;
    assert_eq!((answer.status, answer.header("ghostlight-outcome")), (503, "unknown"));
    assert_eq!((read.load(SeqCst), app.asked()), (before.0 + 1, before.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_not_sent_again_after_words_or_silence() {
    for words in [Some("nonsense\r\n\r\n"), None] {
        let (stage, read, app) = stage(words, |c| {
            wanted(c);
            c.limits.answer_ms = 300;
        })
        .await;
        let before = (read.load(SeqCst), app.asked());
        assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 503);
        assert_eq!((read.load(SeqCst), app.asked()), (before.0 + 1, before.1), "{words:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_in_trouble_is_not_given_much_more_to_do() {
    let (broken, read) = breaking(Some("")).await;
    let stage = Stage::new(serving("nhn", 7), |c| {
        only(c, &[broken]);
        let group = default_group(c);
        (group.health_check.interval_ms, group.circuit_breaker.failures) = (3_600_000, 0);
        (group.retry_reads, group.retry_percent_max) = (true, 10);
    })
    .await;
    for _ in 0..100 {
        assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 503);
    }
    // Ten in hand at first, and one for every ten requests.
    assert_eq!(read.load(SeqCst), 120);
}
