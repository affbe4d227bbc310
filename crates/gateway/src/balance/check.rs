//! One health check, on a connection of its own, so that it also tells whether the target still accepts any.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Request, Response,
    body::Incoming,
    client::conn::{http1, http2},
    header,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::{
    gateway::TargetReason,
    topology::edge::{HealthCheck, Protocol},
};
use tokio::net::TcpStream;

use super::health::Miss;

/// gRPC's answer to a health check is two bytes behind five.
const ANSWER_BYTES_MAX: usize = 4 << 10;
/// A message without a field, uncompressed: `HealthCheckRequest` for the whole server.
const EMPTY_MESSAGE: &[u8] = &[0; 5];
/// The field `status` of a `HealthCheckResponse`: SERVING.
const SERVING: &[u8] = &[0x08, 1];
const GRPC_OK: &str = "0";
const GRPC_UNIMPLEMENTED: &str = "12";

/// Asks once.
pub(super) async fn check(address: SocketAddr, config: &HealthCheck, protocol: Protocol) -> Result<(), Miss> {
    let asking = async {
        let stream = TcpStream::connect(address).await.map_err(failed)?;
        match protocol {
            Protocol::Http1 => {
                let (mut sender, connection) =
                    http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
                let answer = sender.send_request(get(address, &config.path)?);
                matches(config, &driven(connection, answer).await?)
            }
            Protocol::Http2 => {
                let (mut sender, connection) =
                    http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(failed)?;
                let uri = format!("http://{address}{}", config.path);
                let answer = sender.send_request(get(address, &uri)?);
                matches(config, &driven(connection, answer).await?)
            }
            Protocol::Grpc => {
                let (mut sender, connection) =
                    http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(failed)?;
                let answer = async {
                    let answer = sender.send_request(call(address, &config.path)?).await.map_err(failed)?;
                    serves(answer).await
                };
                driven(connection, answer).await
            }
        }
    };
    match tokio::time::timeout(Duration::from_millis(config.timeout_ms), asking).await {
        Ok(result) => result,
        Err(_) => {
            let why = format!("no answer within {} ms", config.timeout_ms);
            Err(Miss { reason: TargetReason::Timeout, why })
        }
    }
}

fn failed(why: impl std::fmt::Display) -> Miss {
    Miss { reason: TargetReason::FailedHealthChecks, why: why.to_string() }
}

impl From<hyper::Error> for Miss {
    fn from(e: hyper::Error) -> Miss {
        failed(e)
    }
}

/// What `answer` comes to while its connection is driven.
async fn driven<T, E: Into<Miss>>(
    connection: impl Future,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, Miss> {
    tokio::pin!(connection, answer);
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // The connection may end just after delivering the answer.
        _ = &mut connection => answer.await,
    };
    answer.map_err(Into::into)
}

fn get(address: SocketAddr, uri: &str) -> Result<Request<Full<Bytes>>, Miss> {
    let request = Request::get(uri).header(header::USER_AGENT, "ghostlight-health");
    let request = if uri.starts_with('/') {
        request.header(header::HOST, address.to_string()).header(header::CONNECTION, "close")
    } else {
        request
    };
    request.body(Full::default()).map_err(failed)
}

fn matches(config: &HealthCheck, answer: &Response<Incoming>) -> Result<(), Miss> {
    let status = answer.status().as_u16();
    if config.matcher.matches(status) {
        return Ok(());
    }
    let why = format!("{} answered {status}, not {}", config.path, config.matcher);
    Err(Miss { reason: TargetReason::ResponseCodeMismatch, why })
}

/// A call of gRPC's, with an empty message.
fn call(address: SocketAddr, method: &str) -> Result<Request<Full<Bytes>>, Miss> {
    Request::post(format!("http://{address}{method}"))
        .header(header::USER_AGENT, "ghostlight-health")
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::from(Bytes::from_static(EMPTY_MESSAGE)))
        .map_err(failed)
}

/// A target serves if it says so, or if it speaks gRPC and does not know the question.
async fn serves(answer: Response<Incoming>) -> Result<(), Miss> {
    let wrong = |why: String| Miss { reason: TargetReason::ResponseCodeMismatch, why };
    if answer.status() != hyper::StatusCode::OK {
        return Err(wrong(format!("it answered {}: that is no gRPC", answer.status().as_u16())));
    }
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(failed)?;
    let status =
        |headers: &HeaderMap| headers.get("grpc-status").and_then(|s| s.to_str().ok()).map(str::to_owned);
    let told = body.trailers().and_then(status).or_else(|| status(&parts.headers));
    let message = body.to_bytes();
    match told.as_deref() {
        Some(GRPC_OK) if message.get(EMPTY_MESSAGE.len()..).is_some_and(|m| m.starts_with(SERVING)) => Ok(()),
        Some(GRPC_OK) => Err(wrong("it says that it does not serve".into())),
        Some(GRPC_UNIMPLEMENTED) => Ok(()),
        Some(other) => Err(wrong(format!("it answered with gRPC's status {other}"))),
        None => Err(wrong("its answer has no gRPC status".into())),
    }
}
