//! Writing answers that a reader who has them already need not load again.

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::catalogue::Text;

/// A body with its tag; nothing but the tag for a reader who has it.
pub(super) fn tagged(headers: &HeaderMap, body: Value) -> Response {
    let body = body.to_string();
    let digest: String =
        Sha256::digest(body.as_bytes()).iter().take(12).map(|b| format!("{b:02x}")).collect();
    let tag = format!("\"{digest}\"");
    if has(headers, &tag) {
        return unchanged(&tag);
    }
    with_tag(&tag, ([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Whether the reader has what this tag names.
pub(super) fn has(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).unwrap_or("");
    known.split(',').any(|one| one.trim() == tag)
}

/// Nothing new.
pub(super) fn unchanged(tag: &str) -> Response {
    with_tag(tag, StatusCode::NOT_MODIFIED.into_response())
}

/// The same answer under a tag.
pub(super) fn with_tag(tag: &str, mut response: Response) -> Response {
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

/// A page of a list.
pub(super) fn page(items: Vec<Value>, next: Option<u64>) -> Value {
    json!({ "items": items, "next_cursor": next.map(|id| id.to_string()) })
}

/// JSON that nobody keeps.
pub(super) fn fresh(body: Value) -> Response {
    Json(body).into_response()
}

/// A text in both languages.
pub(super) fn text(text: &Text) -> Value {
    json!({ "ko": text.ko, "en": text.en })
}
