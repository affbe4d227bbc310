//! The token that a solved challenge leaves in a cookie.
//!
//! A challenge is a page that lets the browser find a number such that SHA-256 of seed and number begins with
//! [`WORK_BITS`] zero bits, about a tenth of a second of a browser's time. The seed is the time, signed together with
//! the client's address and user agent, so nothing has to be remembered here, and a token is of no use to another client. A
//! client without a browser gets no page and no token: that is what a challenge is for.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::{
    acl::Body,
    request::RequestView,
    verdict::{Response, TokenState},
};

/// The cookie's name.
pub const COOKIE: &str = "ghostlight-waf-token";
/// How much work a challenge asks for.
pub const WORK_BITS: u32 = 16;
/// A seed may be this far in the future: clocks of gateways differ.
const SKEW_S: u64 = 60;

/// The first cookie of this name.
pub(crate) fn cookie<'r>(request: &RequestView<'r>, name: &str) -> Option<&'r [u8]> {
    let lines = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case("cookie"));
    lines.flat_map(|h| h.value.split(|&b| b == b';')).map(<[u8]>::trim_ascii).find_map(|cookie| {
        let at = memchr::memchr(b'=', cookie)?;
        cookie[..at].eq_ignore_ascii_case(name.as_bytes()).then(|| &cookie[at + 1..])
    })
}

/// Whether the request carries a valid token that is not older than the immunity time.
pub(crate) fn check(key: &[u8], request: &RequestView<'_>, immunity_s: u64) -> TokenState {
    let Some(token) = cookie(request, COOKIE) else { return TokenState::Missing };
    let Ok(token) = std::str::from_utf8(token) else { return TokenState::Invalid };
    // TIME.SIGNATURE.NUMBER
    let mut parts = token.split('.');
    let (Some(time), Some(signature), Some(number), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return TokenState::Invalid;
    };
    let Ok(time_s) = time.parse::<u64>() else { return TokenState::Invalid };
    if number.len() > 20 || !same(signature.as_bytes(), sign(key, request, time_s).as_bytes()) {
        return TokenState::Invalid;
    }
    if leading_zeros(&Sha256::digest(token.as_bytes())) < WORK_BITS {
        return TokenState::Invalid;
    }
    let now_s = request.now_ms / 1_000;
    if time_s > now_s + SKEW_S {
        TokenState::Invalid
    } else if now_s.saturating_sub(time_s) > immunity_s {
        TokenState::Expired
    } else {
        TokenState::Valid
    }
}

/// The challenge: a page for browsers, an empty 202 for everyone else, as AWS has it.
pub(crate) fn challenge(key: &[u8], request: &RequestView<'_>) -> Response {
    let headers = vec![
        ("x-amzn-waf-action".to_owned(), "challenge".to_owned()),
        ("Cache-Control".to_owned(), "no-store".to_owned()),
    ];
    let html = request.header("accept").is_some_and(|a| memchr::memmem::find(a, b"text/html").is_some());
    if !html || request.method != "GET" {
        return Response { status: 202, headers, body: None };
    }
    let time_s = request.now_ms / 1_000;
    let seed = format!("{time_s}.{}.", sign(key, request, time_s));
    let page = include_str!("token/challenge.html")
        .replace("@SEED@", &seed)
        .replace("@BITS@", &WORK_BITS.to_string())
        .replace("@COOKIE@", COOKIE);
    Response { status: 202, headers, body: Some(Body { content_type: "text/html", content: page }) }
}

/// Signs the time for this client.
fn sign(key: &[u8], request: &RequestView<'_>, time_s: u64) -> String {
    // A key of any length is a key: this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(&time_s.to_be_bytes());
    mac.update(request.client_ip.to_string().as_bytes());
    mac.update(b"\0");
    mac.update(request.header("user-agent").unwrap_or_default());
    mac.finalize().into_bytes().iter().take(16).map(|b| format!("{b:02x}")).collect()
}

/// Compares without telling by its time where the difference is.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && !left.is_empty()
        && left.iter().zip(right).fold(0, |sum, (l, r)| sum | (l ^ r)) == 0
}

fn leading_zeros(digest: &[u8]) -> u32 {
    let mut bits = 0;
    for byte in digest {
        bits += byte.leading_zeros();
        if *byte != 0 {
            break;
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Header;

    fn view<'a>(headers: &'a [Header<'a>], now_ms: u64) -> RequestView<'a> {
        RequestView {
            method: "GET",
            path: b"/",
            query: b"",
            fragment: b"",
            version: "HTTP/1.1",
            headers,
            body: b"",
            client_ip: std::net::IpAddr::from([192, 0, 2, 1]),
            ja3: None,
            ja4: None,
            request_id: "1",
            now_ms,
        }
    }

    #[test]
    fn who_has_done_the_work_passes_until_it_is_too_old_and_nobody_else_may_use_it() {
        let agent = Header { name: "User-Agent", value: b"Browser" };
        let accept = Header { name: "Accept", value: b"text/html,*/*" };
        let plain = [agent, accept];
        let now = 1_700_000_000_000;
        assert_eq!(check(b"key", &view(&plain, now), 300), TokenState::Missing);
        let page = challenge(b"key", &view(&plain, now));
        assert_eq!(page.status, 202);
        let seed = format!("{}.{}.", now / 1_000, sign(b"key", &view(&plain, now), now / 1_000));
        assert!(page.body.is_some_and(|b| b.content.contains(&seed)));
        let number = (0u64..)
            .find(|n| leading_zeros(&Sha256::digest(format!("{seed}{n}").as_bytes())) >= WORK_BITS)
            .unwrap();
        let token = format!("a=b; {COOKIE}={seed}{number}");
        let with = [agent, accept, Header { name: "cookie", value: token.as_bytes() }];
        assert_eq!(check(b"key", &view(&with, now + 5_000), 300), TokenState::Valid);
        assert_eq!(check(b"key", &view(&with, now + 301_000), 300), TokenState::Expired);
        assert_eq!(check(b"other", &view(&with, now), 300), TokenState::Invalid);
        let other = [Header { name: "User-Agent", value: b"Bot" }, accept, with[2]];
        assert_eq!(check(b"key", &view(&other, now), 300), TokenState::Invalid);
        let lazy = format!("{COOKIE}={seed}x");
        let lazy = [agent, accept, Header { name: "Cookie", value: lazy.as_bytes() }];
        assert_eq!(check(b"key", &view(&lazy, now), 300), TokenState::Invalid);
    }
}
