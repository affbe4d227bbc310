//! Request smuggling, family by family: what two readers could understand differently is refused, or it reaches the
//! application as one request. Never as two.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, Uri},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    agent::serving,
    stage::{Stage, default_group, only},
    tls::{Files, connect, stage as tls_stage},
};

const PATIENCE: Duration = Duration::from_secs(10);
/// What an attacker would like the next request to be.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// An application that writes down what it is asked: method, path, bytes of the body.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    async fn start() -> (Recorder, SocketAddr) {
        let recorder = Recorder::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().fallback(record).with_state(recorder.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (recorder, address)
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

async fn record(
    State(recorder): State<Recorder>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> String {
    if uri.path() != "/healthz" {
        let host = headers.get("host").map_or("", |h| h.to_str().unwrap());
        recorder.0.lock().unwrap().push(format!("{method} {host}{uri} {}", body.len()));
    }
    String::new()
}

async fn stage() -> (Stage, Recorder) {
    let (recorder, address) = Recorder::start().await;
    let stage = Stage::new(serving("nhn", 7), |c| {
        c.gate = false;
        only(c, &[address]);
        default_group(c).health_check.interval_ms = 3_600_000;
    })
    .await;
    (stage, recorder)
}

/// Everything that comes until the other side hangs up.
async fn all_of(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut answers = Vec::new();
    // A reset after the last answer is an end, too.
    timeout(PATIENCE, stream.read_to_end(&mut answers)).await.expect("the connection stays open").ok();
    answers
}

/// Sends `text` over a connection of its own and reads to the connection's end.
async fn exchange(stage: &Stage, text: &str) -> String {
    let mut stream = TcpStream::connect(stage.gateway).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    String::from_utf8(all_of(&mut stream).await).unwrap()
}

/// Each of these, with more bytes behind it, is refused, and the connection with it.
async fn refused(family: &str, heads: &[&str]) {
    let (stage, recorder) = stage().await;
    for head in heads {
        let answers = exchange(&stage, &format!("{head}\r\n\r\n5\r\nhello\r\n0\r\n\r\n{SMUGGLED}")).await;
        assert!(answers.starts_with("HTTP/1.1 400 "), "{family}: {head:?} is answered {answers:?}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{family}: {head:?} is answered {answers:?}");
        assert_eq!(recorder.take(), Vec::<String>::new(), "{family}: {head:?}");
    }
}

/// `text` closes its connection, and is one request: `want`.
async fn one(stage: &Stage, recorder: &Recorder, text: &str, want: &str) {
    let answers = exchange(stage, text).await;
    assert!(answers.starts_with("HTTP/1.1 200 "), "{text:?} is answered {answers:?}");
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{text:?} is answered {answers:?}");
    assert_eq!(recorder.take(), [want], "{text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cl_te_and_te_cl() {
    refused(
        "CL.TE and TE.CL",
        &[
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 6",
            "POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH:6\r\ntransfer-ENCODING:chunked",
            "\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked",
            "POST / HTTP/1.1\nHost: a\nContent-Length: 6\nTransfer-Encoding: chunked",
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cl_te_behind_a_request_that_was_read_before() {
    let (stage, recorder) = stage().await;
    let mut visitor = stage.send("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab").await;
    assert_eq!(visitor.answer().await.status, 200);
    let both =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    visitor.write(&format!("{both}{SMUGGLED}")).await;
    assert_eq!(visitor.answer().await.status, 400);
    assert!(visitor.is_hung_up().await);
    assert_eq!(recorder.take(), ["POST a/first 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cl_te_pipelined_into_one_read_is_one_request_and_the_last() {
    let (stage, recorder) = stage().await;
    let both = "POST /both HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n";
    let text = format!("GET /first HTTP/1.1\r\nHost: a\r\n\r\n{both}5\r\nhello\r\n0\r\n\r\n{SMUGGLED}");
    let mut stream = TcpStream::connect(stage.gateway).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    all_of(&mut stream).await;
    let asked = recorder.take();
    assert_eq!(asked.first().map(String::as_str), Some("GET a/first 0"));
    assert!(asked.iter().all(|a| !a.contains("smuggled")), "{asked:?}");
    assert!(asked.get(1).is_none_or(|a| a == "POST a/both 5"), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn te_te_obfuscations() {
    let with = |line: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{line}");
    let heads: Vec<String> = [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chunked\x00",
    ]
    .map(with)
    .to_vec();
    refused("TE.TE", &heads.iter().map(String::as_str).collect::<Vec<_>>()).await;
    refused("TE in HTTP/1.0", &["POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn obsolete_folding_and_names_that_end_early() {
    refused(
        "obs-fold",
        &[
            "POST / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\nContent-Length: 0",
            "POST / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\nContent-Length: 0",
            "POST / HTTP/1.1\r\n Host: a\r\nContent-Length: 0",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n 5",
            "POST / HTTP/1.1\r\nHost: a\r\nX\r\nContent-Length: 0",
            "POST / HTTP/1.1\r\nHost: a\r\nX y: z\r\nContent-Length: 0",
            "POST / HTTP/1.1\r\nHost: a\r\nX: a\rContent-Length: 5\r\nContent-Length: 0",
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_are_doubled_or_no_numbers() {
    let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}");
    let heads: Vec<String> = [
        "Content-Length: 6\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 5.0",
        "Content-Length : 5",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
    ]
    .map(with)
    .to_vec();
    refused("lengths", &heads.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // The same number twice is one number (RFC 9112 §6.3), and goes on as one.
    let (stage, recorder) = stage().await;
    let twice = "POST /twice HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n";
    one(&stage, &recorder, &format!("{twice}hello{SMUGGLED}"), "POST a/twice 5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_line_feeds() {
    let (stage, recorder) = stage().await;
    // A head whose lines end without CR is one request, and leaves with CR.
    let head = "POST /lf HTTP/1.1\nHost: a\nConnection: close\nContent-Length: 5\n\n";
    one(&stage, &recorder, &format!("{head}hello{SMUGGLED}"), "POST a/lf 5").await;
    let mixed = "POST /lf HTTP/1.1\r\nHost: a\nConnection: close\r\nContent-Length: 5\n\r\n";
    one(&stage, &recorder, &format!("{mixed}hello{SMUGGLED}"), "POST a/lf 5").await;
    // In the framing of chunks it is none: there the two readings differ by what follows.
    let chunked = "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in
        ["5\nhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5;x\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\n\r\n"]
    {
        let answers = exchange(&stage, &format!("{chunked}{chunks}{SMUGGLED}")).await;
        assert!(answers.starts_with("HTTP/1.1 400 "), "{chunks:?} is answered {answers:?}");
        assert_eq!(recorder.take(), Vec::<String>::new(), "{chunks:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunk_sizes_that_two_readers_read_differently() {
    let (stage, recorder) = stage().await;
    let chunked = "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
    ] {
        let answers = exchange(&stage, &format!("{chunked}{chunks}{SMUGGLED}")).await;
        assert!(answers.starts_with("HTTP/1.1 400 "), "{chunks:?} is answered {answers:?}");
        assert_eq!(recorder.take(), Vec::<String>::new(), "{chunks:?}");
    }
    // Trailers end with the body: none of them becomes a header, and none the next request.
    let trailers = "POST /t HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                    5\r\nhello\r\n0\r\nContent-Length: 99\r\nHost: b\r\n\r\n";
    one(&stage, &recorder, &format!("{trailers}{SMUGGLED}"), "POST a/t 5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_a_method_does_not_want_is_still_its_body() {
    let (stage, recorder) = stage().await;
    let get = "GET /get HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 35\r\n\r\n";
    assert_eq!(SMUGGLED.len(), 35);
    one(&stage, &recorder, &format!("{get}{SMUGGLED}"), "GET a/get 35").await;
    let chunked = "GET /get HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    one(&stage, &recorder, &format!("{chunked}23\r\n{SMUGGLED}\r\n0\r\n\r\n"), "GET a/get 35").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_and_hosts_that_differ() {
    refused(
        "absolute form and Host",
        &[
            "GET http://b/ HTTP/1.1\r\nHost: a",
            "GET http://a:81/ HTTP/1.1\r\nHost: a",
            "GET http://u@a/ HTTP/1.1\r\nHost: a",
            "GET http://u@a/ HTTP/1.1\r\nHost: u@a",
            "GET ftp://a/ HTTP/1.1\r\nHost: a",
            "GET a:80 HTTP/1.1\r\nHost: a:80",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a",
            "GET / HTTP/1.1\r\nHost: a, b",
            "GET / HTTP/1.1\r\nHost: a/b",
            "GET / HTTP/1.1\r\nHost: a@b",
            "GET / HTTP/1.1\r\nHost:",
            "GET / HTTP/1.1\r\nX: y",
            "GET * HTTP/1.1\r\nHost: a",
        ],
    )
    .await;
    let (stage, recorder) = stage().await;
    let absolute = "GET http://a/p?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    one(&stage, &recorder, absolute, "GET a/p?q 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_lines_that_two_readers_read_differently() {
    refused(
        "request lines",
        &[
            "GET / HTTP/1.1 HTTP/1.1\r\nHost: a",
            "GET /\x00 HTTP/1.1\r\nHost: a",
            "GET\x0b/ HTTP/1.1\r\nHost: a",
            "GET / HTTP/1.10\r\nHost: a",
            "GET / http/1.1\r\nHost: a",
            "G(T / HTTP/1.1\r\nHost: a",
        ],
    )
    .await;
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HPACK without its table and without Huffman's code: each field as it is.
fn fields(pairs: &[(&str, &str)]) -> Vec<u8> {
    let text = |t: &str| [&[u8::try_from(t.len()).unwrap()], t.as_bytes()].concat();
    pairs.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What became of stream 1: the status of its answer, or none if it was reset.
async fn over_http2(stage: &Stage, files: &Files, head: &[(&str, &str)], data: &[&[u8]]) -> Option<String> {
    let mut stream = connect(stage.addresses[1], "a.test", &files.shown("a.test"), &["h2"]).await.unwrap();
    let mut text = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    text.extend(frame(4, 0, 0, &[]));
    let no_body = if data.is_empty() { END_STREAM } else { 0 };
    text.extend(frame(HEADERS, END_HEADERS | no_body, 1, &fields(head)));
    for (n, piece) in data.iter().enumerate() {
        text.extend(frame(0, if n + 1 == data.len() { END_STREAM } else { 0 }, 1, piece));
    }
    stream.write_all(&text).await.unwrap();
    let answer = async {
        loop {
            let mut head = [0; 9];
            // GOAWAY and hanging up refuse it, too.
            if stream.read_exact(&mut head).await.is_err() {
                return None;
            }
            let [a, b, c, kind, _, id @ ..] = head;
            let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
            stream.read_exact(&mut payload).await.unwrap();
            match (kind, u32::from_be_bytes(id)) {
                (RST_STREAM, 1) | (7, _) => return None,
                // The first field is `:status`, from the static table (200, 400) or literally behind its index 8.
                (HEADERS, 1) => {
                    return Some(match payload.first() {
                        Some(0x88) => "200".to_owned(),
                        Some(0x8c) => "400".to_owned(),
                        other => format!("{other:?}"),
                    });
                }
                _ => {}
            }
        }
    };
    timeout(PATIENCE, answer).await.expect("no answer")
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/h2")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "a.test"), (":path", "/h2")];

#[tokio::test(flavor = "multi_thread")]
async fn http2_that_would_mean_something_else_as_http1() {
    let files = Files::new("desync");
    files.make("a.test");
    let (recorder, address) = Recorder::start().await;
    let stage = tls_stage(&files, &["a.test"], |c| only(c, &[address])).await;
    let told = over_http2(&stage, &files, &GET, &[]).await;
    assert_eq!((told.as_deref(), recorder.take()), (Some("200"), vec!["GET a.test/h2 0".to_owned()]));
    let told =
        over_http2(&stage, &files, &[&POST[..], &[("content-length", "5")]].concat(), &[b"hello"]).await;
    assert_eq!((told.as_deref(), recorder.take()), (Some("200"), vec!["POST a.test/h2 5".to_owned()]));

    let smuggled: &[u8] = SMUGGLED.as_bytes();
    for (more, data) in [
        // H2.CL: a length that is not the body's.
        (vec![("content-length", "0")], vec![smuggled]),
        (vec![("content-length", "4")], vec![&b"hello"[..]]),
        (vec![("content-length", "6")], vec![&b"hello"[..]]),
        (vec![("content-length", "5")], vec![]),
        (vec![("content-length", "5"), ("content-length", "6")], vec![&b"hello"[..]]),
        (vec![("content-length", "+5")], vec![&b"hello"[..]]),
        // H2.TE, and what else concerns one connection only.
        (vec![("transfer-encoding", "chunked")], vec![&b"0\r\n\r\n"[..], smuggled]),
        (vec![("connection", "keep-alive")], vec![]),
        (vec![("connection", "transfer-encoding")], vec![]),
        (vec![("keep-alive", "5")], vec![]),
        (vec![("proxy-connection", "close")], vec![]),
        (vec![("upgrade", "h2c")], vec![]),
        (vec![("te", "trailers, chunked")], vec![]),
        // Lines that would end early.
        (vec![("x", "y\r\ntransfer-encoding: chunked")], vec![]),
        (vec![("x\r\ntransfer-encoding", "chunked")], vec![]),
        (vec![("x", "y\nz")], vec![]),
        (vec![("x", "y\0z")], vec![]),
        (vec![("X-Capital", "y")], vec![]),
        (vec![("x y", "z")], vec![]),
        // Other hosts.
        (vec![("host", "b.test")], vec![]),
        (vec![("host", "a.test"), ("host", "a.test")], vec![]),
    ] {
        let told = over_http2(&stage, &files, &[&POST[..], &more].concat(), &data).await;
        assert!(told.as_deref().is_none_or(|t| t == "400"), "{more:?} is answered {told:?}");
        assert_eq!(recorder.take(), Vec::<String>::new(), "{more:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_pseudo_headers_that_would_break_a_request_line() {
    let files = Files::new("pseudo");
    files.make("a.test");
    let (recorder, address) = Recorder::start().await;
    let stage = tls_stage(&files, &["a.test"], |c| only(c, &[address])).await;
    for (name, value) in [
        (":method", "GET / HTTP/1.1\r\nhost: b\r\n\r\nGET"),
        (":method", "G T"),
        (":path", "/ HTTP/1.1\r\nhost: b\r\n\r\nGET /smuggled"),
        (":path", "/a b"),
        (":path", "smuggled"),
        (":path", ""),
        (":authority", "a.test\r\nx: y"),
        (":authority", "u@a.test"),
        (":authority", "a.test/b"),
        (":scheme", "ht tp"),
    ] {
        let head: Vec<_> = GET.iter().map(|(n, v)| (*n, if *n == name { value } else { *v })).collect();
        let told = over_http2(&stage, &files, &head, &[]).await;
        assert!(told.as_deref().is_none_or(|t| t == "400"), "{name}: {value:?} is answered {told:?}");
        assert_eq!(recorder.take(), Vec::<String>::new(), "{name}: {value:?}");
    }
    let twice = [&GET[..], &[(":path", "/other")]].concat();
    assert_eq!(over_http2(&stage, &files, &twice, &[]).await, None);
    assert_eq!(recorder.take(), Vec::<String>::new());
}
