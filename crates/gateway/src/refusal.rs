//! What a visitor is told when there is no answer of the application: every case in one table, as a page for
//! browsers (Korean and English) and as JSON for programs.
//!
//! Always true here: `Ghostlight-Outcome: not-sent` only where provably not a byte reached the application;
//! `unknown` wherever a write may have happened.

use hyper::{
    HeaderMap, Response, StatusCode,
    header::{self, HeaderValue},
};
use model::{Epoch, Position};

use crate::{
    body::AnswerBody,
    headers::OUTCOME,
    hold::Why,
    page::{self, Kind, Language, Page},
};

/// Why there is no answer of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request is malformed or ambiguous; sending it again changes nothing.
    BadRequest(&'static str),
    /// The body is larger than `gateway.body_bytes_max`.
    TooLarge,
    /// The visitor stopped sending the body.
    Stalled,
    /// CONNECT: we are no tunnel.
    MethodNotAllowed,
    /// The visitor expects something that we do not do.
    ExpectationFailed,
    /// The web ACL refuses it. Nothing was sent to the application.
    Blocked,
    /// Nothing was sent to the application. Come again.
    NotSent(NotSent),
    /// Something was sent; what became of it is not known.
    Unknown(Unknown),
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// This site is not primary, and the other site's gateway cannot be reached.
    NoPeer,
    /// The other gateway forwarded this, but this site is not primary either.
    Loop,
    /// No instance of the application accepted a connection.
    NoTarget,
    /// Too many answers are held already.
    Full,
    /// There are more visitors than connections or memory.
    Shed,
    /// A switchover has taken longer than a request may wait for it, or too many wait.
    Parked,
}

/// Why the outcome is unknown, and what the client's cookie is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unknown {
    pub(crate) why: WhyUnknown,
    pub(crate) epoch: Epoch,
    pub(crate) position: Option<Position>,
    /// Whether the request may have changed something, so that the client's reads are to be held from now on.
    pub(crate) marks_client: bool,
}

/// Why the outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhyUnknown {
    /// The commit gate could not let the answer out.
    Gate(Why),
    /// The application or the peer broke off after a byte was sent.
    Upstream,
    /// The answer could not be kept until its release.
    Keeping,
}

/// One row of the table.
struct Words {
    status: StatusCode,
    code: &'static str,
    ko: &'static str,
    en: &'static str,
}

impl Refusal {
    fn words(&self) -> Words {
        let words = |status, code, ko, en| Words { status, code, ko, en };
        match self {
            Refusal::BadRequest(what) => {
                words(StatusCode::BAD_REQUEST, "bad_request", "요청을 이해할 수 없습니다.", what)
            }
            Refusal::TooLarge => words(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "보내신 내용이 너무 큽니다.",
                "What you sent is larger than this service accepts.",
            ),
            Refusal::Stalled => words(
                StatusCode::REQUEST_TIMEOUT,
                "body_stalled",
                "요청을 끝까지 받지 못했습니다.",
                "Your request did not arrive completely.",
            ),
            Refusal::MethodNotAllowed => words(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "허용되지 않는 요청입니다.",
                "This method is not allowed here.",
            ),
            Refusal::Blocked => words(
                StatusCode::FORBIDDEN,
                "blocked",
                "보안 규칙에 따라 차단된 요청입니다. 잘못 차단되었다면 X-Request-Id를 알려 주세요.",
                "This request was blocked by a security rule. If that is wrong, tell us its X-Request-Id.",
            ),
            Refusal::ExpectationFailed => words(
                StatusCode::EXPECTATION_FAILED,
                "expectation_failed",
                "요청하신 방식은 지원되지 않습니다.",
                "Of expectations only 100-continue is met here.",
            ),
            Refusal::NotSent(NotSent::Full | NotSent::Shed) => words(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "이용자가 많습니다. 잠시 후 다시 시도해 주세요. 요청은 처리되지 않았습니다.",
                "Many people are here. Your request was not processed; please try again in a moment.",
            ),
            Refusal::NotSent(_) => words(
                StatusCode::SERVICE_UNAVAILABLE,
                "not_available",
                "잠시만 기다려 주세요. 서비스를 곧 다시 이용하실 수 있습니다. 요청은 처리되지 않았습니다.",
                "One moment, please. The service will be back shortly. Your request was not processed.",
            ),
            Refusal::Unknown(_) => words(
                StatusCode::SERVICE_UNAVAILABLE,
                "outcome_unknown",
                "요청이 처리되었는지 아직 확인되지 않았습니다. 잠시 후 내역을 확인하거나 다시 시도해 주세요.",
                "We cannot tell yet whether your request took effect. Please check in a moment, or try again.",
            ),
        }
    }

    fn outcome(&self) -> Option<&'static str> {
        match self {
            Refusal::NotSent(_) => Some("not-sent"),
            Refusal::Unknown(_) => Some("unknown"),
            _ => None,
        }
    }

    fn page(&self, words: &Words, language: Language, reload: bool) -> Page {
        let kind = match self {
            Refusal::NotSent(_) if reload => Kind::WaitsHere,
            Refusal::NotSent(_) => Kind::MayRepeat,
            Refusal::Unknown(_) => Kind::MustLook,
            _ => Kind::Refused,
        };
        Page { ko: words.ko, en: words.en, code: words.code, kind, language }
    }

    /// The answer, in the form that `asked` prefers. `reload`: a browser may fetch the page again by itself.
    pub(crate) fn answer(&self, asked: &Prefers, reload: bool) -> Response<AnswerBody> {
        let words = self.words();
        let outcome = self.outcome();
        let (content_type, text, again_s) = if asked.html {
            let (text, again_s) = self.page(&words, asked.language, reload).write(rand::random());
            ("text/html; charset=utf-8", text, again_s)
        } else {
            ("application/json", json(&words, outcome), None)
        };
        let mut response = Response::new(AnswerBody::from(bytes::Bytes::from(text)));
        *response.status_mut() = words.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if asked.html {
            let policy = HeaderValue::from_static(page::CONTENT_SECURITY_POLICY);
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        if let Some(outcome) = outcome {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(again_s.unwrap_or(1)));
            headers.insert(OUTCOME, HeaderValue::from_static(outcome));
        }
        // What is left of an unread or ambiguous request must not be taken for the next one.
        if matches!(
            self,
            Refusal::BadRequest(_) | Refusal::TooLarge | Refusal::Stalled | Refusal::ExpectationFailed
        ) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The form in which a client wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefers {
    html: bool,
    language: Language,
}

impl Prefers {
    /// Browsers name `text/html` when they navigate; all others get JSON.
    pub(crate) fn of(headers: &HeaderMap) -> Prefers {
        let names_html = |v: &HeaderValue| v.to_str().is_ok_and(|v| v.contains("text/html"));
        let language = headers.get(header::ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        Prefers {
            html: headers.get_all(header::ACCEPT).iter().any(names_html),
            language: Language::of(language),
        }
    }
}

fn json(words: &Words, outcome: Option<&str>) -> String {
    // The words are ours and need no escaping.
    let outcome = outcome.map(|o| format!(r#","outcome":"{o}""#)).unwrap_or_default();
    let Words { code, en, ko, .. } = words;
    format!(r#"{{"error":"{code}","message":"{en}","message_ko":"{ko}"{outcome}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, refusal: Refusal, content_type: &str, outcome: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        let answer = refusal.answer(&Prefers::of(&headers), true);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], content_type);
        assert_eq!(answer.headers().get(OUTCOME).map(|v| v.to_str().unwrap()), outcome);
        assert_eq!(answer.headers().contains_key(header::RETRY_AFTER), outcome.is_some());
    }

    #[test]
    fn browsers_get_a_page_and_programs_get_json() {
        let not_sent = Refusal::NotSent(NotSent::NoPeer);
        check("text/html,*/*;q=0.8", not_sent.clone(), "text/html; charset=utf-8", Some("not-sent"));
        check("application/json", not_sent, "application/json", Some("not-sent"));
        check("*/*", Refusal::TooLarge, "application/json", None);
    }

    #[test]
    fn every_json_sentence_is_json() {
        for refusal in [
            Refusal::BadRequest("Both lengths."),
            Refusal::TooLarge,
            Refusal::Stalled,
            Refusal::ExpectationFailed,
            Refusal::Blocked,
            Refusal::NotSent(NotSent::Full),
            Refusal::NotSent(NotSent::Shed),
            Refusal::NotSent(NotSent::Loop),
        ] {
            let text = json(&refusal.words(), refusal.outcome());
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(value["error"].is_string(), "{text}");
        }
    }
}
