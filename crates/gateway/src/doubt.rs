//! Whether a request can be read in two ways: the place where request smuggling ends.
//!
//! hyper reads bytes strictly and builds anew what we send on, so whatever passes here leaves as one request, with one
//! length and one host. What is left to refuse is what two honest readers could take for different requests.
//!
//! Always true here: a request with any doubt is answered with 400 and its connection is closed; nothing of it is sent on.

use hyper::{
    Method, Request, Version,
    body::Body,
    header::{self, HeaderName},
    http::uri::{Authority, Scheme},
};

/// What is ambiguous about `request`, if anything is. `had_length`: its head had a `Content-Length` line, which hyper
/// hides where there is a `Transfer-Encoding` too.
pub(crate) fn about<B: Body>(request: &Request<B>, had_length: bool) -> Option<&'static str> {
    about_framing(request, had_length).or_else(|| about_target(request))
}

fn about_framing<B: Body>(request: &Request<B>, had_length: bool) -> Option<&'static str> {
    let headers = request.headers();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if had_length {
            return Some("The request has both Content-Length and Transfer-Encoding.");
        }
        // Of other codings hyper takes off only the last, and we would send on what the visitor never meant.
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Some("The request has a Transfer-Encoding other than `chunked`.");
        }
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let body = request.body();
        let really = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
        let told: Option<u64> = length.to_str().ok().and_then(|l| l.parse().ok());
        if lengths.next().is_some() || told.is_none() || really.is_some_and(|really| told != Some(really)) {
            return Some("The request's Content-Length is not the length of its body.");
        }
    }
    None
}

fn about_target<B>(request: &Request<B>) -> Option<&'static str> {
    let (uri, headers) = (request.uri(), request.headers());
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Some("The request has more than one Host.");
    }
    if host.is_some_and(|h| !is_host(h.as_bytes())) {
        return Some("The request's Host is not a name or an address.");
    }
    match (uri.authority(), host) {
        (Some(authority), _) if !is_host(authority.as_str().as_bytes()) => {
            return Some("The request's target is not a name or an address.");
        }
        (Some(authority), Some(host))
            if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            return Some("The request names two different hosts.");
        }
        (None, None) if request.version() != Version::HTTP_10 => return Some("The request has no Host."),
        _ => {}
    }
    let is_web = uri.scheme().is_some_and(|s| *s == Scheme::HTTP || *s == Scheme::HTTPS);
    if uri.authority().is_some() && !is_web {
        return Some("The request's target is neither a path nor an address of the web.");
    }
    match uri.path() {
        "*" if request.method() == Method::OPTIONS => None,
        path if path.starts_with('/') => None,
        _ => Some("The request's target is not a path."),
    }
}

/// `name`, `name:port`, an address: nothing before an `@`, nothing that ends it early.
fn is_host(text: &[u8]) -> bool {
    // Nearly every host is a plain name, perhaps with a port, about which there are no two opinions.
    let mut parts = text.splitn(2, |b| *b == b':');
    let is_name = |name: &[u8]| name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    let is_plain = parts.next().is_some_and(|name| !name.is_empty() && is_name(name))
        && parts.next().is_none_or(|port| !port.is_empty() && port.iter().all(u8::is_ascii_digit));
    is_plain || !text.contains(&b'@') && Authority::try_from(text).is_ok()
}

/// Whether some applications read this header as another one: CGI and its heirs (WSGI, Rack, PHP) make `HTTP_X_REAL` of
/// `x-real` and of `x_real`. Only those that would be taken for what we answer for.
pub(crate) fn looks_alike(name: &HeaderName) -> bool {
    let is_ours = |name: &str| {
        name.starts_with("x-forwarded-")
            || name.starts_with("ghostlight-")
            || matches!(
                name,
                "host" | "content-length" | "transfer-encoding" | "forwarded" | "x-request-id" | "connection"
            )
    };
    name.as_str().contains('_') && is_ours(&name.as_str().replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{Empty, Full};

    use super::*;

    fn request(method: &str, uri: &str, lines: &[(&str, &str)]) -> Request<Empty<Bytes>> {
        let builder = Request::builder().method(method).uri(uri);
        let builder = lines.iter().fold(builder, |b, (name, value)| b.header(*name, *value));
        builder.body(Empty::new()).unwrap()
    }

    #[track_caller]
    fn check(method: &str, uri: &str, lines: &[(&str, &str)], doubtful: bool) {
        let found = about(&request(method, uri, lines), false);
        assert_eq!(found.is_some(), doubtful, "{method} {uri} {lines:?}: {found:?}");
    }

    #[test]
    fn a_target_has_one_host() {
        check("GET", "/", &[("host", "a")], false);
        check("GET", "/", &[("host", "a:8080")], false);
        check("GET", "/", &[("host", "[::1]:80")], false);
        check("GET", "http://a/", &[("host", "A")], false);
        check("GET", "http://a/", &[], false);
        check("GET", "http://a/", &[("host", "b")], true);
        check("GET", "http://a/", &[("host", "a:81")], true);
        check("GET", "http://u@a/", &[], true);
        check("GET", "http://u@a/", &[("host", "u@a")], true);
        check("GET", "ftp://a/", &[("host", "a")], true);
        check("GET", "a:80", &[("host", "a:80")], true);
        check("GET", "/", &[("host", "a"), ("host", "a")], true);
        check("GET", "/", &[("host", "")], true);
        check("GET", "/", &[("host", "a b")], true);
        check("GET", "/", &[("host", "a/b")], true);
        check("GET", "/", &[("host", "a@b")], true);
        check("GET", "/", &[], true);
        check("OPTIONS", "*", &[("host", "a")], false);
        check("GET", "*", &[("host", "a")], true);
    }

    #[test]
    fn a_body_has_one_length() {
        check("POST", "/", &[("host", "a"), ("content-length", "0")], false);
        check("POST", "/", &[("host", "a"), ("content-length", "5")], true);
        check("POST", "/", &[("host", "a"), ("content-length", "0"), ("content-length", "0")], true);
        check("POST", "/", &[("host", "a"), ("transfer-encoding", "Chunked")], false);
        for coding in ["identity", "gzip, chunked", "chunked, chunked", "xchunked", "chunked;q=1"] {
            check("POST", "/", &[("host", "a"), ("transfer-encoding", coding)], true);
        }
        let five = Request::post("/").header("host", "a").header("content-length", "5");
        assert_eq!(about(&five.body(Full::new(Bytes::from_static(b"hello"))).unwrap(), false), None);
        let both = request("POST", "/", &[("host", "a"), ("transfer-encoding", "chunked")]);
        assert!(about(&both, true).is_some());
    }

    #[test]
    fn what_an_application_would_take_for_ours_goes() {
        for name in ["x_forwarded_for", "x-forwarded_proto", "content_length", "ghostlight_hold"] {
            assert!(looks_alike(&name.parse().unwrap()), "{name}");
        }
        for name in ["x_mine", "x-forwarded-for"] {
            assert!(!looks_alike(&name.parse().unwrap()), "{name}");
        }
    }
}
