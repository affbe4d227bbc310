//! How pages and refusals become responses, and how forms are read.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use maud::Markup;

use super::{Visitor, percent, visitor::is_foreign};
use crate::{
    desk::Desk,
    refusal::Refusal,
    view::{Frame, status},
};

/// What a page handler found.
pub(super) enum Answer {
    /// This page.
    Page(Markup),
    /// This page, with the status of the refusal that it tells.
    Refused(StatusCode, Markup),
    /// Go there.
    Goto(String),
    /// Go there, with this `Set-Cookie`.
    Signed(String, String),
}

/// The frame of a page for this visitor.
pub(super) fn frame<'v>(desk: &Desk, visitor: &'v Visitor) -> Frame<'v> {
    Frame { visitor, now_ms: desk.clock.now_ms(), token: desk.signer.form_token(&visitor.bound_to) }
}

/// Makes the response.
pub(super) fn finish(desk: &Desk, visitor: &Visitor, answer: Result<Answer, Refusal>) -> Response {
    let mut response = match answer {
        Ok(Answer::Page(markup)) => Html(markup.0).into_response(),
        Ok(Answer::Refused(status, markup)) => (status, Html(markup.0)).into_response(),
        Ok(Answer::Goto(to)) => see(&to),
        Ok(Answer::Signed(to, cookie)) => {
            let mut response = see(&to);
            add_cookie(&mut response, &cookie);
            response
        }
        Err(Refusal::NotSignedIn) => see(&format!("/login?next={}", percent(&visitor.path))),
        Err(refusal) => {
            let page = status::refused(&frame(desk, visitor), &refusal);
            let mut response = (refusal.status(), Html(page.0)).into_response();
            if refusal == Refusal::NotNow {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            response
        }
    };
    if let Some(cookie) = &visitor.new_cookie {
        add_cookie(&mut response, cookie);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

fn see(to: &str) -> Response {
    // Only addresses of ours are put here; one that is no header value leads to the front page.
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

fn add_cookie(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// The fields of a form.
pub(super) struct Fields(pub(super) Vec<(String, String)>);

impl Fields {
    /// The first with this name, or nothing.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// All with this name.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect()
    }

    /// Refuses a form that no page of ours showed to this visitor.
    pub(super) fn check(
        &self,
        desk: &Desk,
        visitor: &Visitor,
        headers: &axum::http::HeaderMap,
    ) -> Result<(), Refusal> {
        let ours = !is_foreign(headers) && desk.signer.is_form_token(&visitor.bound_to, self.get("token"));
        if ours { Ok(()) } else { Err(Refusal::Foreign) }
    }
}

/// A way back that stays on this site.
pub(super) fn local(next: &str) -> &str {
    let inside = next.starts_with('/')
        && !next[1..].starts_with(['/', '\\'])
        && next.bytes().all(|b| b.is_ascii_graphic());
    if inside { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_back_never_leaves_the_site() {
        assert_eq!(local("/performances/1?section=A1"), "/performances/1?section=A1");
        for odd in ["", "//evil.test", "/\\evil.test", "https://evil.test", "/a\nb", "my"] {
            assert_eq!(local(odd), "/", "{odd}");
        }
    }
}
