//! Style sheets, scripts, posters: named by their content, kept for ever.

use std::{collections::HashMap, sync::LazyLock};

use axum::{
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    Visitor, answer,
    edge::{accepts_gzip, gzip},
};
use crate::{desk::Desk, refusal::Refusal, view::poster};

struct Asset {
    kind: &'static str,
    plain: Bytes,
    zipped: Option<Bytes>,
    version: String,
}

const FILES: [(&str, &str, &str); 7] = [
    ("tokens.css", "text/css; charset=utf-8", include_str!("../assets/tokens.css")),
    ("pages.css", "text/css; charset=utf-8", include_str!("../assets/pages.css")),
    ("clock.js", "text/javascript; charset=utf-8", include_str!("../assets/clock.js")),
    ("seats.js", "text/javascript; charset=utf-8", include_str!("../assets/seats.js")),
    ("queue.js", "text/javascript; charset=utf-8", include_str!("../assets/queue.js")),
    ("door.js", "text/javascript; charset=utf-8", include_str!("../assets/door.js")),
    ("lamp.svg", SVG, include_str!("../assets/lamp.svg")),
];
const SVG: &str = "image/svg+xml; charset=utf-8";

static ASSETS: LazyLock<HashMap<&str, Asset>> = LazyLock::new(|| {
    FILES.into_iter().map(|(name, kind, text)| (name, Asset::new(kind, text.as_bytes()))).collect()
});

impl Asset {
    fn new(kind: &'static str, body: &[u8]) -> Asset {
        let version = Sha256::digest(body).iter().take(6).map(|b| format!("{b:02x}")).collect();
        Asset { kind, plain: Bytes::copy_from_slice(body), zipped: gzip(body, 9).map(Bytes::from), version }
    }

    fn respond(&self, headers: &HeaderMap, for_ever: bool) -> Response {
        let etag = format!("\"{}\"", self.version);
        let fresh = headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == etag.as_bytes());
        let mut response = if fresh {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            match &self.zipped {
                Some(zipped) if accepts_gzip(headers) => {
                    ([(header::CONTENT_ENCODING, "gzip")], zipped.clone()).into_response()
                }
                _ => self.plain.clone().into_response(),
            }
        };
        let caching = if for_ever { "public, max-age=31536000, immutable" } else { "public, no-cache" };
        let out = response.headers_mut();
        out.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        out.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        out.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            out.insert(header::ETAG, etag);
        }
        response
    }
}

/// Where a file is; the address changes when its content does.
pub(crate) fn address(name: &str) -> String {
    match ASSETS.get(name) {
        Some(asset) => format!("/assets/{name}?v={}", asset.version),
        None => format!("/assets/{name}"),
    }
}

pub(super) async fn file(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match ASSETS.get(name.as_str()) {
        Some(asset) => asset.respond(&headers, query == Some(format!("v={}", asset.version))),
        None => answer::finish(&desk, &visitor, Err(Refusal::NoSuch)),
    }
}

pub(super) async fn poster(
    State(desk): State<Desk>,
    visitor: Visitor,
    Path(file): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let find = async {
        let catalogue = desk.catalogue().await?;
        let show = file.strip_suffix(".svg").and_then(|slug| catalogue.show(slug)).ok_or(Refusal::NoSuch)?;
        Ok(Asset::new(SVG, poster::draw(show).as_bytes()))
    };
    match find.await {
        Ok(asset) => asset.respond(&headers, query.is_some()),
        Err(refusal) => answer::finish(&desk, &visitor, Err(refusal)),
    }
}
