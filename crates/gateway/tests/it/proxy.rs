//! What any careful reverse proxy does.

use gateway::{Config, Gateway};
use model::Mode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    agent::serving,
    stage::{App, Stage, config, default_group, nowhere, only, reserved},
};

async fn stage() -> Stage {
    Stage::new(serving("nhn", 7), |c| c.gate = false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_visitors_are_cleaned_on_their_way() {
    let stage = stage().await;
    let answer = stage
        .ask(
            "GET /p?q=1 HTTP/1.1\r\nHost: tickets\r\nGhostlight-Hold: required\r\nGhostlight-Anything: 1\r\n\
             X-Forwarded-For: 6.6.6.6\r\nConnection: X-Gone, keep-alive\r\nX-Gone: 1\r\nTE: trailers\r\n\
             X-Request-Id: my-id\r\nX-Stays: 1\r\n\r\n",
        )
        .await;
    let text = answer.text();
    assert!(text.starts_with("GET /p?q=1\n"), "{text}");
    for kept in ["host: tickets", "x-stays: 1", "x-request-id: my-id", "x-forwarded-for: 127.0.0.1"] {
        assert!(text.contains(kept), "{kept} in {text}");
    }
    for gone in ["ghostlight", "x-gone", "6.6.6.6", "te:", "connection"] {
        assert!(!text.contains(gone), "{gone} in {text}");
    }
    assert_eq!(answer.header("x-request-id"), "my-id");
}

/// Sends `text` and expects `status` and that the application never saw it.
#[track_caller]
fn refused(text: &'static str, status: u16) -> impl Future<Output = ()> {
    let at = std::panic::Location::caller();
    async move {
        let stage = stage().await;
        let answer = stage.ask(text).await;
        assert_eq!(answer.status, status, "{at}: {text:?}");
        assert_eq!(stage.app.asked(), 0, "{at}: {text:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_read_in_two_ways_is_refused() {
    let tail = "\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let with = |lines: &str| -> &'static str {
        Box::leak(format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}{tail}").into_boxed_str())
    };
    refused(with("Content-Length: 6\r\nTransfer-Encoding: chunked"), 400).await;
    refused(with("Transfer-Encoding: chunked\r\nContent-Length: 6"), 400).await;
    refused(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), 400).await;
    refused(with("Transfer-Encoding: chunked, x"), 400).await;
    refused(with("Content-Length: 6\r\nContent-Length: 5"), 400).await;
    refused(with("Content-Length: +5"), 400).await;
    refused(with("Content-Length : 5"), 400).await;
    refused(with("X: a\r\n folded\r\nContent-Length: 0"), 400).await;
    refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400).await;
    refused("GET / HTTP/1.1\r\n\r\n", 400).await;
    refused("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400).await;
    refused("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_is_no_offence_and_the_next_request_on_the_connection_neither() {
    let stage = stage().await;
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n17\r\n\r\ncontent-length: 5\r\n\r\n\r\n0\r\n\r\n";
    let mut visitor = stage.send(chunked).await;
    assert!(visitor.answer().await.text().ends_with("body 23\n"));
    visitor.write(chunked).await;
    assert!(visitor.answer().await.text().ends_with("body 23\n"));
    visitor.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab").await;
    assert!(visitor.answer().await.text().ends_with("body 2\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_limit_is_refused_whether_announced_or_not() {
    let stage = Stage::new(serving("nhn", 7), |c| c.limits.body_bytes_max = 10).await;
    let announced = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n01234567890";
    assert_eq!(stage.ask(announced).await.status, 413);
    let chunked =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n";
    assert_eq!(stage.ask(chunked).await.status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_asked_for_when_its_visitor_waits_to_be_asked() {
    let stage = stage().await;
    let mut visitor =
        stage.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(visitor.answer().await.status, 100);
    visitor.write("abc").await;
    assert!(visitor.answer().await.text().ends_with("body 3\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_which_a_byte_was_sent_is_never_sent_again() {
    let dying = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = dying.local_addr().unwrap();
    let stage = Stage::new(serving("nhn", 7), |c| {
        only(c, &[at]);
        default_group(c).health_check.interval_ms = 3_600_000;
    })
    .await;
    let mut visitor = stage.send("POST /buy HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await;
    let mut requests = 0;
    let answer = loop {
        tokio::select! {
            taken = dying.accept() => {
                let (mut stream, _) = taken.unwrap();
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap();
                requests += u32::from(head[..read].starts_with(b"POST"));
                // And gone it is, without an answer.
            }
            answer = visitor.answer() => break answer,
        }
    };
    assert_eq!((answer.status, answer.header("ghostlight-outcome")), (503, "unknown"));
    assert!(answer.cookie().starts_with("ghostlight_unknown=1.7."), "reads are held from now on");
    assert_eq!(requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_accepts_nothing_costs_no_request() {
    let dead = nowhere();
    let stage = Stage::new(serving("nhn", 7), |c| {
        c.gate = false;
        let alive = default_group(c).targets[0].address;
        only(c, &[dead, alive]);
        default_group(c).health_check.interval_ms = 3_600_000;
    })
    .await;
    for _ in 0..4 {
        let answer = stage.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(answer.status, 200);
    }
    let all_dead = Stage::new(serving("nhn", 7), |c| only(c, &[dead])).await;
    let answer = all_dead.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("ghostlight-outcome")), (503, "not-sent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_a_target_that_is_being_restarted() {
    let (at, socket) = reserved();
    let stage = Stage::new(serving("nhn", 7), |c| {
        c.gate = false;
        only(c, &[at]);
        c.limits.accept_ms = 10_000;
    })
    .await;
    let mut visitor = stage.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert!(visitor.hears_nothing());
    let app = App::start_on(socket.listen(64).unwrap());
    assert_eq!((visitor.answer().await.status, app.asked()), (200, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_target_closed_while_unused_costs_no_request() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = target.local_addr().unwrap();
    let stage = Stage::new(serving("nhn", 7), |c| {
        c.gate = false;
        only(c, &[at]);
        default_group(c).health_check.interval_ms = 3_600_000;
    })
    .await;
    // Serves one request a connection, keeps it open in words, and closes it.
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = target.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            if read > 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        }
    });
    for _ in 0..5 {
        let answer = stage.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
        // Between closing and our noticing it a request may have been written: then, and only then, it is unknown.
        assert!(answer.status == 200 || answer.header("ghostlight-outcome") == "unknown", "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_path_is_ours_and_tells_the_truth() {
    let stage = stage().await;
    let page = "GET /ghostlight/serving HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(stage.ask(page).await.status, 200);
    for (primary, open, status) in [("aws", false, 503), ("nhn", false, 503), ("nhn", true, 200)] {
        let mut says = serving(primary, 8);
        says.open = open;
        says.mode = Mode::Solo;
        stage.agent.says(says.clone());
        stage.knows(&says).await;
        assert_eq!(stage.ask(page).await.status, status);
    }
    assert_eq!(stage.app.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_end_with_the_gateway() {
    let mut stage = stage().await;
    let mut visitor = stage.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(visitor.answer().await.status, 200);
    stage.shutdown.cancel();
    assert!(visitor.is_hung_up().await);
    tokio::time::timeout(std::time::Duration::from_secs(10), &mut stage.running).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_the_same_address_is_told_who_has_it() {
    let first = stage().await;
    let config = Config { listen: first.gateway, ..config(first.agent.address, vec![]) };
    let error = Gateway::bind(config).await.err().expect("two gateways share a port").to_string();
    let pid = std::process::id().to_string();
    assert!(error.contains("sites.nhn.gateway.listen") && error.contains(&pid), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chunk_is_the_visitors_fault() {
    refused_or_cut(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    )
    .await;
    refused_or_cut("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n")
        .await;
}

/// The application may have seen the head, but never a complete request.
async fn refused_or_cut(text: &str) {
    let stage = stage().await;
    assert_eq!(stage.ask(text).await.status, 400, "{text:?}");
    assert_eq!(stage.app.asked(), 0, "{text:?}");
}
