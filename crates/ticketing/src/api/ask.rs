//! Reading a request: strictly, so that a word that is misspelt is told and not ignored.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::IntoResponse,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{key::Caller, problem::Problem};
use crate::{desk::Desk, ids::IdempotencyKey, refusal::Refusal};

/// Entries of a page, if nobody says how many.
const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 100;

/// What stands in the address. What cannot be a name names nothing.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Desk> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<At<T>, Problem> {
        match Path::from_request_parts(parts, desk).await {
            Ok(Path(at)) => Ok(At(at)),
            Err(_) => Err(Refusal::NoSuch.into()),
        }
    }
}

/// What stands behind the question mark.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Desk> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Asked<T>, Problem> {
        match Query::from_request_parts(parts, desk).await {
            Ok(Query(asked)) => Ok(Asked(asked)),
            Err(e) => Err(Problem::invalid(e.body_text())),
        }
    }
}

/// A JSON body.
pub(super) struct Sent<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Desk> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, desk: &Desk) -> Result<Sent<T>, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        if !kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json") {
            return Err(Problem::Media);
        }
        let body =
            Bytes::from_request(request, desk).await.map_err(|e| match e.into_response().status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::TooLarge,
                _ => Problem::invalid("the body broke off"),
            })?;
        let odd = |e: serde_json::Error| Problem::invalid(e.to_string());
        let body = whole(serde_json::from_slice(&body).map_err(odd)?);
        serde_json::from_value(body).map(Sent).map_err(odd)
    }
}

/// JSON knows one kind of number: `2.0` is the integer 2.
fn whole(value: Value) -> Value {
    match value {
        Value::Array(list) => list.into_iter().map(whole).collect(),
        Value::Object(map) => map.into_iter().map(|(name, value)| (name, whole(value))).collect(),
        Value::Number(n) => match n.as_f64().filter(|f| n.is_f64() && f.fract() == 0.0 && f.abs() < 1e15) {
            Some(f) => format!("{f:.0}").parse::<i64>().map_or(Value::Number(n), Value::from),
            None => Value::Number(n),
        },
        other => other,
    }
}

/// Who asks, as the guard of the route found.
pub(super) struct By(pub(super) Caller);

impl FromRequestParts<Desk> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Desk) -> Result<By, Problem> {
        parts.extensions.get::<Caller>().cloned().map(By).ok_or(Problem::NoKey)
    }
}

/// Which part of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Paging {
    limit: Option<u32>,
    cursor: Option<String>,
}

impl Paging {
    /// At most how many entries, and after which one.
    pub(super) fn read(&self) -> Result<(usize, Option<u64>), Problem> {
        page(self.limit, self.cursor.as_deref())
    }
}

/// At most how many entries, and after which one.
pub(super) fn page(limit: Option<u32>, cursor: Option<&str>) -> Result<(usize, Option<u64>), Problem> {
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::invalid(format!("limit: from 1 to {LIMIT_MAX}")));
    }
    let after = match cursor {
        None => None,
        Some(text) if (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) => {
            Some(text.parse().map_err(|_| Problem::invalid("cursor: take it from `next_cursor`"))?)
        }
        Some(_) => return Err(Problem::invalid("cursor: take it from `next_cursor`")),
    };
    Ok((usize::try_from(limit).unwrap_or(1), after))
}

/// The header that makes asking again safe.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().and_then(IdempotencyKey::parse);
    key.map(Some).ok_or(Refusal::NoIdempotencyKey.into())
}

/// A text of `min` to `max` characters, all of which `fits`.
pub(super) fn text(name: &str, value: &str, max: usize, fits: impl Fn(char) -> bool) -> Result<(), Problem> {
    if (1..=max).contains(&value.chars().count()) && value.chars().all(fits) {
        Ok(())
    } else {
        Err(Problem::invalid(format!("{name}: 1 to {max} characters, as the document says")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_integer_is_one_however_it_is_written() {
        assert_eq!(
            whole(json!({ "a": [2.0, -3.0, 2.5, 7], "b": "2.0" })),
            json!({ "a": [2, -3, 2.5, 7], "b": "2.0" })
        );
        assert_eq!(whole(json!(1e300)), json!(1e300));
    }
}
