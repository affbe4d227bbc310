//! Every way in which the API says no, as problem details (RFC 9457): the box office's own refusals, and what is
//! wrong with a request before the box office hears of it.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::key::Scope;
use crate::{
    booking::HoldRefusal, desk::KeyRefusal, lang::Lang, payment::PaymentError, refusal::Refusal,
    store::StoreError,
};

/// A no.
#[derive(Debug)]
pub(super) enum Problem {
    /// The box office's.
    Refusal(Refusal),
    /// A field, or the body as a whole, is not what the document says.
    Invalid(String),
    /// No key, or none that works.
    NoKey,
    /// A key without this scope.
    Scope(Scope),
    /// The key asked too often; when it may again.
    TooFast(u64),
    /// The address does not know this method.
    Method,
    /// The body is not JSON by its content type.
    Media,
    /// The body is too large.
    TooLarge,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem::Refusal(refusal)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        Problem::Refusal(error.into())
    }
}

impl From<KeyRefusal> for Problem {
    fn from(refusal: KeyRefusal) -> Problem {
        match refusal {
            KeyRefusal::Unknown => Problem::NoKey,
            KeyRefusal::TooFast(after_s) => Problem::TooFast(after_s),
            KeyRefusal::Refused(refusal) => Problem::Refusal(refusal),
        }
    }
}

impl Problem {
    /// What is wrong with a field.
    pub(super) fn invalid(what: impl Into<String>) -> Problem {
        Problem::Invalid(what.into())
    }

    fn code(&self) -> &'static str {
        match self {
            Problem::Refusal(refusal) => refusal.code(),
            Problem::Invalid(_) => "invalid_request",
            Problem::NoKey => "key_required",
            Problem::Scope(_) => "scope_missing",
            Problem::TooFast(_) => "too_fast",
            Problem::Method => "method_not_allowed",
            Problem::Media => "json_required",
            Problem::TooLarge => "too_large",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            // The request is well formed; what it names does not exist here.
            Problem::Refusal(Refusal::OddSeats | Refusal::Payment(PaymentError::UnknownMethod(_))) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Problem::Refusal(refusal) => refusal.status(),
            Problem::Invalid(_) => StatusCode::BAD_REQUEST,
            Problem::NoKey => StatusCode::UNAUTHORIZED,
            Problem::Scope(_) => StatusCode::FORBIDDEN,
            Problem::TooFast(_) => StatusCode::TOO_MANY_REQUESTS,
            Problem::Method => StatusCode::METHOD_NOT_ALLOWED,
            Problem::Media => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Problem::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    fn detail(&self) -> String {
        match self {
            Problem::Refusal(Refusal::NoSuch) => {
                "There is nothing here by this name that you may see.".into()
            }
            Problem::Refusal(Refusal::OddSeats) => {
                "These are not seats of this performance, or more than it lets one person have.".into()
            }
            Problem::Refusal(refusal) => refusal.sentence(Lang::En),
            Problem::Invalid(what) => what.clone(),
            Problem::NoKey => "Send Authorization: Bearer with a key that is not revoked.".into(),
            Problem::Scope(scope) => {
                format!("This key lacks the scope `{}`. Ask the organiser for one that has it.", scope.word())
            }
            Problem::TooFast(after_s) => format!("This key asks too often. Ask again in {after_s} s."),
            Problem::Method => "This address does not know the method; see the header Allow.".into(),
            Problem::Media => "Send Content-Type: application/json.".into(),
            Problem::TooLarge => "The body is larger than 256 KiB. Send it in parts.".into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code) = (self.status(), self.code());
        let mut body = json!({
            "type": format!("urn:ghostlight:problem:{code}"),
            "title": code.replace('_', " "),
            "status": status.as_u16(),
            "detail": self.detail(),
            "code": code,
        });
        match &self {
            Problem::Refusal(Refusal::Hold(HoldRefusal::SeatTaken(seats))) => body["seats"] = json!(seats),
            Problem::Refusal(Refusal::FeeChanged(fee_won)) => body["fee_won"] = json!(fee_won),
            _ => {}
        }
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Problem::NoKey => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Problem::TooFast(after_s) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(after_s));
            }
            Problem::Refusal(Refusal::NotNow) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
