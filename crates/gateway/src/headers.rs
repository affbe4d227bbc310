//! Headers on their way through: what is taken off, what is put on.
//!
//! Where a request comes from is [`crate::origin`]'s; `Ghostlight-*` headers are ours alone: a visitor's are taken off. Only
//! the other site's gateway, proven by its token, is believed.

use std::net::IpAddr;

use hyper::{
    HeaderMap,
    header::{self, HeaderName, HeaderValue},
};
use model::Site;

use crate::keys::Keys;

/// Carries the site whose gateway forwarded the request.
pub(crate) const FORWARDED: HeaderName = HeaderName::from_static("ghostlight-forwarded");
/// Proves [`FORWARDED`].
pub(crate) const FORWARDED_TOKEN: HeaderName = HeaderName::from_static("ghostlight-forwarded-token");
/// Under [`FORWARDED_TOKEN`]: the visitor's own address, as the forwarding gateway knows it.
pub(crate) const SOURCE: HeaderName = HeaderName::from_static("ghostlight-source");
/// `required`: the application wants this answer held, whatever the method.
pub(crate) const HOLD: HeaderName = HeaderName::from_static("ghostlight-hold");
/// `unknown` or `not-sent`: what is known of a request that got 503.
pub(crate) const OUTCOME: HeaderName = HeaderName::from_static("ghostlight-outcome");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// RFC 9110 §7.6.1, and the two that only concern a proxy's own neighbour.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What a request's `Connection` header may not name: it must reach the application whoever asks for its removal.
const ALWAYS_END_TO_END: [HeaderName; 4] =
    [header::HOST, header::CONTENT_LENGTH, header::COOKIE, header::AUTHORIZATION];

/// Takes off what concerns one connection only.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .filter(|name| !ALWAYS_END_TO_END.contains(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Takes off every `Ghostlight-*` header but `keep`.
pub(crate) fn strip_ours(headers: &mut HeaderMap, keep: Option<&HeaderName>) {
    let ours: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("ghostlight-") && Some(*name) != keep)
        .cloned()
        .collect();
    for name in ours {
        headers.remove(name);
    }
}

/// The site whose gateway forwarded this request, if it proves it.
pub(crate) fn forwarded_by(headers: &HeaderMap, keys: &Keys) -> Option<Site> {
    let site = headers.get(FORWARDED)?.to_str().ok()?;
    let token = headers.get(FORWARDED_TOKEN)?;
    keys.is_forwarded_by(site, token.as_bytes()).then(|| Site::new(site))
}

/// HTTP/2 may send a cookie's pairs in headers of their own; before they go on over HTTP/1.1 they are one again (RFC 9113
/// §8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let pairs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&pairs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// The request's id: the visitor's if it is a sane one, else a new one, put on the request.
pub(crate) fn request_id(headers: &mut HeaderMap) -> HeaderValue {
    let sane = |v: &&HeaderValue| {
        (1..=128).contains(&v.len())
            && v.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:=+/@".contains(b))
    };
    if let Some(given) = headers.get(REQUEST_ID).filter(sane) {
        return given.clone();
    }
    let made = format!("{:032x}", rand::random::<u128>());
    let value = HeaderValue::try_from(made).unwrap_or(HeaderValue::from_static("unnamed"));
    headers.insert(REQUEST_ID, value.clone());
    value
}

/// From whom a request came that the other site's gateway has passed on.
pub(crate) fn source(headers: &HeaderMap) -> Option<IpAddr> {
    headers.get(SOURCE)?.to_str().ok()?.parse().ok()
}

/// Whether the application asks for this answer to be held.
pub(crate) fn wants_hold(headers: &HeaderMap) -> bool {
    headers.get_all(HOLD).iter().any(|v| v.as_bytes().eq_ignore_ascii_case(b"required"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let pair = |(n, v): &(&str, &str)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap());
        lines.iter().map(pair).fold(HeaderMap::new(), |mut all, (n, v): (HeaderName, HeaderValue)| {
            all.append(n, v);
            all
        })
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut all: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        all.sort();
        all
    }

    #[test]
    fn hop_by_hop_headers_go_and_what_they_name_but_never_what_is_end_to_end() {
        let mut headers = map(&[
            ("host", "a"),
            ("cookie", "c"),
            ("x-mine", "1"),
            ("x-other", "2"),
            ("connection", "close, X-Mine"),
            ("connection", "cookie, host"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("keep-alive", "5"),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(lines(&headers), ["cookie: c", "host: a", "x-other: 2"]);
    }

    #[test]
    fn a_visitor_cannot_speak_for_us() {
        let mut headers = map(&[
            ("ghostlight-forwarded", "aws"),
            ("ghostlight-forwarded-token", "00"),
            ("ghostlight-hold", "required"),
            ("ghostlight-source", "9.9.9.9"),
            ("host", "a"),
        ]);
        assert_eq!(forwarded_by(&headers, &Keys::derive(&runtime::secret::Secret::new("s"))), None);
        strip_ours(&mut headers, None);
        assert_eq!(lines(&headers), ["host: a"]);
    }

    #[test]
    fn a_sane_request_id_is_kept_and_another_replaced() {
        assert_eq!(request_id(&mut map(&[("x-request-id", "abc-1")])), "abc-1");
        assert_eq!(request_id(&mut map(&[("x-request-id", "a b")])).len(), 32);
        let mut none = HeaderMap::new();
        let made = request_id(&mut none);
        assert_eq!(none.get(REQUEST_ID), Some(&made));
    }
}
