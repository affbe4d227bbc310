//! Who asks, in which language, and whether a page of ours sent them.

use std::convert::Infallible;

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{HeaderMap, header, request::Parts},
};

use crate::{
    desk::Desk,
    lang::Lang,
    refusal::Refusal,
    session::{SESSION_COOKIE, Session, VISITOR_COOKIE},
};

/// The language cookie.
pub(super) const LANG_COOKIE: &str = "lang";

/// Somebody looking at a page.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) lang: Lang,
    pub(crate) session: Option<Session>,
    /// The visitor's browser prefers English and nobody chose a language yet.
    pub(crate) offer_english: bool,
    /// What form tokens are bound to: the session's cookie, or the anonymous one.
    pub(crate) bound_to: String,
    /// A `Set-Cookie` for an anonymous visitor who has none.
    pub(crate) new_cookie: Option<String>,
    /// Where they are, for a way back after signing in.
    pub(crate) path: String,
}

impl Visitor {
    /// The account, or the refusal that leads to the login page.
    pub(crate) fn account(&self) -> Result<u64, Refusal> {
        self.session.map(|s| s.account).ok_or(Refusal::NotSignedIn)
    }
}

impl FromRequestParts<Desk> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Visitor, Infallible> {
        let headers = &parts.headers;
        let chosen = cookie(headers, LANG_COOKIE).and_then(Lang::from_code);
        let accepts = headers.get(header::ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let sid = cookie(headers, SESSION_COOKIE);
        let session = sid.and_then(|c| session_of(desk, c));
        let anonymous = cookie(headers, VISITOR_COOKIE).filter(|c| c.len() == 32);
        let (bound_to, new_cookie) = match (session.and(sid), anonymous) {
            (Some(sid), _) => (sid.to_owned(), None),
            (None, Some(known)) => (known.to_owned(), None),
            (None, None) => {
                let drawn = format!("{:032x}", rand::random::<u128>());
                let set = format!("{VISITOR_COOKIE}={drawn}; Path=/; HttpOnly; SameSite=Lax");
                (drawn, Some(set))
            }
        };
        Ok(Visitor {
            lang: chosen.unwrap_or_default(),
            session,
            offer_english: chosen.is_none() && accepts.starts_with("en") && !accepts.contains("ko"),
            bound_to,
            new_cookie,
            path: parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        })
    }
}

impl OptionalFromRequestParts<Desk> for Session {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Option<Session>, Infallible> {
        let sid = cookie(&parts.headers, SESSION_COOKIE);
        Ok(sid.and_then(|c| session_of(desk, c)))
    }
}

/// The session in a cookie, unless it is over or was ended.
fn session_of(desk: &Desk, cookie: &str) -> Option<Session> {
    desk.signer.session(cookie, desk.clock.now_ms()).filter(|session| desk.sessions.stands(session))
}

/// The value of a cookie.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(n, value)| (n == name).then_some(value))
}

/// Whether a browser says that another site sent this request. Absent headers say nothing: form tokens and the
/// JSON content type stand behind this check.
pub(super) fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    match (text("origin"), text("host")) {
        (Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, from)| from != host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn another_site_is_foreign() {
        assert!(is_foreign(&headers(&[("sec-fetch-site", "cross-site")])));
        assert!(is_foreign(&headers(&[("origin", "http://evil.test"), ("host", "tickets.test")])));
        assert!(is_foreign(&headers(&[("origin", "null"), ("host", "tickets.test")])));
        assert!(!is_foreign(&headers(&[("sec-fetch-site", "same-origin")])));
        assert!(!is_foreign(&headers(&[("origin", "http://tickets.test"), ("host", "tickets.test")])));
        assert!(!is_foreign(&headers(&[])));
    }

    #[test]
    fn cookies_are_found_among_others() {
        let h = headers(&[("cookie", "a=1; sid=x.y=z; lang=en")]);
        assert_eq!(cookie(&h, "sid"), Some("x.y=z"));
        assert_eq!(cookie(&h, "lang"), Some("en"));
        assert_eq!(cookie(&h, "id"), None);
    }
}
