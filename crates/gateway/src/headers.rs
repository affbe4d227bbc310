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

use crate::{doubt, keys::Keys};

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
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// `Ghostlight-*`.
fn is_ours(name: &HeaderName) -> bool {
    name.as_str().starts_with("ghostlight-")
}

/// What a request's `Connection` header may not name: it must reach the application whoever asks for its removal.
const ALWAYS_END_TO_END: [HeaderName; 4] =
    [header::HOST, header::CONTENT_LENGTH, header::COOKIE, header::AUTHORIZATION];

/// Takes off what concerns one connection only.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    strip(headers, is_hop_by_hop);
}

/// A request's headers: off with what concerns one connection only, with what is ours, with what an application could take
/// for ours, and with `Expect`: hyper has answered it to the visitor already, and towards the application the body simply
/// follows.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    strip(headers, |name| {
        is_hop_by_hop(name) || is_ours(name) || *name == header::EXPECT || doubt::looks_alike(name)
    });
}

/// An answer's headers: off with what concerns one connection only, and with what is ours but `keep`.
pub(crate) fn strip_answer(headers: &mut HeaderMap, keep: Option<&HeaderName>) {
    strip(headers, |name| is_hop_by_hop(name) || is_ours(name) && Some(name) != keep);
}

/// Takes off the headers that go, and, if `Connection` is one of them, those that it names. Each name is looked at once:
/// this is done to every request and every answer, and mostly there is nothing to take off.
fn strip(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
    if names.contains(&header::CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
    }
    for name in names {
        headers.remove(name);
    }
}

/// What `Connection` names, but its own two words.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    let is_own = |word: &&str| word.eq_ignore_ascii_case("keep-alive") || word.eq_ignore_ascii_case("close");
    let words = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|word| !is_own(word));
    words.filter_map(|name| name.parse().ok()).filter(|name| !ALWAYS_END_TO_END.contains(name)).collect()
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
    let mut made = [b'0'; 32];
    hex(&mut made, rand::random());
    let value = HeaderValue::from_bytes(&made).unwrap_or(HeaderValue::from_static("unnamed"));
    headers.insert(REQUEST_ID, value.clone());
    value
}

/// Fills `place` with the last digits of `number`, in base 16.
pub(crate) fn hex(place: &mut [u8], mut number: u128) {
    for digit in place.iter_mut().rev() {
        let nibble = usize::try_from(number & 15).unwrap_or(0);
        *digit = b"0123456789abcdef".get(nibble).copied().unwrap_or(b'0');
        number >>= 4;
    }
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
            ("expect", "100-continue"),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(lines(&headers), ["cookie: c", "expect: 100-continue", "host: a", "x-other: 2"]);
        strip_request(&mut headers);
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
        strip_request(&mut headers);
        assert_eq!(lines(&headers), ["host: a"]);
    }

    #[test]
    fn of_an_answers_own_words_only_what_is_kept_goes_on() {
        let given = [("ghostlight-outcome", "unknown"), ("ghostlight-hold", "required"), ("age", "1")];
        let mut headers = map(&given);
        strip_answer(&mut headers, Some(&OUTCOME));
        assert_eq!(lines(&headers), ["age: 1", "ghostlight-outcome: unknown"]);
        strip_answer(&mut headers, None);
        assert_eq!(lines(&headers), ["age: 1"]);
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
