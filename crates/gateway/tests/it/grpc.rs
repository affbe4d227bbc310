//! gRPC and HTTP/2 towards targets: trailers in both directions, checks as gRPC wants them.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::http::{HeaderMap, HeaderValue, Request, Response, Version};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::{
    BarrierOutcome,
    gateway::{TargetReason, TargetState},
    topology::edge::Protocol,
};
use tokio::{net::TcpListener, time::timeout};

use crate::{
    stage::{Stage, default_group, only},
    tls::{Files, connect, stage as tls_stage},
};

const PATIENCE: Duration = Duration::from_secs(10);
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// A gRPC server: answers a call with its message behind `5`, and says what it saw in trailers.
#[derive(Clone)]
struct Service {
    /// What it says of its health: 1 serves, 2 does not; anything else: it does not know the question.
    health: Arc<AtomicU8>,
    connections: Arc<AtomicU32>,
}

impl Service {
    async fn start() -> (Service, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let service = Service { health: Arc::new(AtomicU8::new(1)), connections: Arc::default() };
        let started = service.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = service.clone();
                service.connections.fetch_add(1, SeqCst);
                let answer = service_fn(move |request| service.clone().answer(request));
                let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), answer);
                tokio::spawn(served);
            }
        });
        (started, at)
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
        let (parts, body) = request.into_parts();
        let message = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let mut trailers = HeaderMap::new();
        let mut put = |name: &'static str, value: String| {
            trailers.insert(name, HeaderValue::try_from(value).unwrap());
        };
        let mut answer = vec![0, 0, 0, 0, 2, 0x08, self.health.load(SeqCst)];
        if parts.uri.path() == CHECK && answer.last().is_some_and(|h| *h > 2) {
            put("grpc-status", "12".into());
            answer.clear();
        } else {
            put("grpc-status", "0".into());
        }
        if parts.uri.path() != CHECK {
            answer = [&b"5"[..], &message].concat();
            let te = parts.headers.get("te").map_or("", |v| v.to_str().unwrap());
            put("x-seen", format!("{:?} {} te={te} {}", parts.version, parts.method, parts.uri));
        }
        let frames = [Ok(Frame::data(Bytes::from(answer))), Ok(Frame::trailers(trailers))];
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
        let mut response = Response::new(BodyExt::boxed(body));
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        assert_eq!(parts.version, Version::HTTP_2);
        Ok(response)
    }
}

async fn stage(files: &Files, service: SocketAddr, gate: bool, interval_ms: u64) -> Stage {
    files.make("a.test");
    tls_stage(files, &["a.test"], |c| {
        c.gate = gate;
        only(c, &[service]);
        let group = default_group(c);
        (group.protocol, group.health_check.path) = (Protocol::Grpc, CHECK.into());
        (group.health_check.interval_ms, group.circuit_breaker.failures) = (interval_ms, 0);
    })
    .await
}

async fn client(stage: &Stage, files: &Files) -> http2::SendRequest<Full<Bytes>> {
    let stream = connect(stage.addresses[1], "a.test", &files.shown("a.test"), &["h2"]).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A call, its message, and the trailers that came.
async fn call(sender: &mut http2::SendRequest<Full<Bytes>>) -> (u16, Bytes, HeaderMap) {
    let request = Request::post("https://a.test/tickets.Seats/Hold")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(b"seat A1")))
        .unwrap();
    let answer = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
    let status = answer.status().as_u16();
    let body = timeout(PATIENCE, answer.into_body().collect()).await.unwrap().unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    (status, body.to_bytes(), trailers)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_through_with_their_trailers_over_one_connection() {
    let files = Files::new("grpc");
    let (service, at) = Service::start().await;
    let stage = stage(&files, at, false, 3_600_000).await;
    let mut sender = client(&stage, &files).await;
    for _ in 0..5 {
        let (status, message, trailers) = call(&mut sender).await;
        assert_eq!((status, &message[..]), (200, &b"5seat A1"[..]));
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["x-seen"], "HTTP/2.0 POST te=trailers http://a.test/tickets.Seats/Hold");
    }
    let mut calls = Vec::new();
    for _ in 0..20 {
        let mut sender = sender.clone();
        calls.push(tokio::spawn(async move { call(&mut sender).await.0 }));
    }
    for answer in calls {
        assert_eq!(answer.await.unwrap(), 200);
    }
    let opened = service.connections.load(SeqCst);
    assert!(opened <= 2, "{opened} connections for one check and 25 calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_call_keeps_its_trailers_until_the_gate_opens() {
    let files = Files::new("grpc-held");
    let (_service, at) = Service::start().await;
    let stage = stage(&files, at, true, 3_600_000).await;
    let mut sender = client(&stage, &files).await;
    let calling = tokio::spawn(async move { call(&mut sender).await });
    stage.agent.asked().await.reply(BarrierOutcome::Replicated);
    let (status, message, trailers) = calling.await.unwrap();
    assert_eq!((status, &message[..]), (200, &b"5seat A1"[..]));
    assert_eq!(trailers["grpc-status"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_checked_as_grpc_wants_it() {
    let files = Files::new("grpc-health");
    let (service, at) = Service::start().await;
    let stage = stage(&files, at, false, 50).await;
    for (health, state, reason) in [
        (1, TargetState::Healthy, None),
        (2, TargetState::Unhealthy, Some(TargetReason::ResponseCodeMismatch)),
        // Does not know the question, and is alive.
        (9, TargetState::Healthy, None),
    ] {
        service.health.store(health, SeqCst);
        let known = async {
            loop {
                let status = stage.status().await;
                if status.targets.iter().any(|t| t.state == state && t.reason == reason) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await; // the gateway tells when it is asked
            }
        };
        timeout(PATIENCE, known).await.unwrap_or_else(|_| panic!("never {state:?} with {health}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http1_visitors_reach_http2_targets() {
    let files = Files::new("grpc-h1");
    let (_service, at) = Service::start().await;
    let stage = stage(&files, at, false, 3_600_000).await;
    let answer = stage.ask("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "5ab"));
    let chunked = "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    assert_eq!(stage.ask(chunked).await.text(), "5ab");
}
