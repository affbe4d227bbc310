//! What every answer gets on its way out: the headers that keep pages ours, and gzip.

use std::io::Write;

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Smaller bodies fit one packet anyway.
const WORTH_BYTES: usize = 1_200;
/// No answer of ours is larger.
const BODY_MAX_BYTES: usize = 8 << 20;

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

pub(super) async fn finish(request: Request, next: Next) -> Response {
    let zip = accepts_gzip(request.headers());
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if zip && is_text(response.headers()) && !response.headers().contains_key(header::CONTENT_ENCODING) {
        return zipped(response).await;
    }
    response
}

pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("gzip"))
}

fn is_text(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|v| {
        // A stream has no end that could be waited for.
        (v.starts_with("text/") && !v.starts_with("text/event-stream"))
            || v.starts_with("application/json")
            || v.starts_with("image/svg")
    })
}

async fn zipped(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let body = match to_bytes(body, BODY_MAX_BYTES).await {
        Ok(body) => body,
        Err(e) => {
            tracing::error!("an answer could not be read for compressing it: {e}");
            return axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    if body.len() < WORTH_BYTES {
        return Response::from_parts(parts, Body::from(body));
    }
    let Some(small) = gzip(&body, 5) else { return Response::from_parts(parts, Body::from(body)) };
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.insert(header::VARY, HeaderValue::from_static("accept-encoding, cookie"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(small))
}

pub(super) fn gzip(body: &[u8], level: u32) -> Option<Vec<u8>> {
    let mut zip = GzEncoder::new(Vec::with_capacity(body.len() / 3), Compression::new(level));
    zip.write_all(body).ok()?;
    zip.finish().ok()
}
