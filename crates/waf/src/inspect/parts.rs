//! Which bytes a field is.

use std::borrow::Cow;

use super::{HEADER_BYTES_MAX, HEADERS_MAX, Inspector};
use crate::{
    acl::{Fallback, Field, InvalidJson, Ours, Pick, Scope},
    body::{self, Kind, Part},
};

/// A body in pieces.
pub(super) struct ParsedBody<'r> {
    pieces: Vec<Piece<'r>>,
}

/// What it is, its name, its bytes.
type Piece<'r> = (Part, Cow<'r, [u8]>, Cow<'r, [u8]>);
type Pair<'r> = (&'r [u8], &'r [u8]);

impl<'r> Inspector<'r, '_> {
    /// Pushes the field's values; whether it is larger than what is inspected, and what it decides by itself.
    pub(super) fn fill(&mut self, field: usize) -> (bool, Option<bool>) {
        let request = self.request;
        let field = &self.plan.fields[field];
        match field {
            Field::UriPath => self.push_value(Cow::Borrowed(b""), Cow::Borrowed(request.path)),
            Field::QueryString => self.push_value(Cow::Borrowed(b""), Cow::Borrowed(request.query)),
            Field::Method => self.push_value(Cow::Borrowed(b""), Cow::Borrowed(request.method.as_bytes())),
            Field::UriFragment(fallback) => {
                return self
                    .or_fallback((!request.fragment.is_empty()).then_some(request.fragment), *fallback);
            }
            Field::Ja3(fallback) => return self.or_fallback(request.ja3.map(str::as_bytes), *fallback),
            Field::Ja4(fallback) => return self.or_fallback(request.ja4.map(str::as_bytes), *fallback),
            Field::SingleHeader(name) => {
                for header in request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name)) {
                    self.push_value(Cow::Borrowed(header.name.as_bytes()), Cow::Borrowed(header.value));
                }
            }
            Field::SingleQueryArgument(name) => {
                for (key, value) in arguments(request.query) {
                    if key.eq_ignore_ascii_case(name.as_bytes()) {
                        self.push_value(Cow::Borrowed(key), Cow::Borrowed(value));
                    }
                }
            }
            Field::AllQueryArguments => {
                for (key, value) in arguments(request.query) {
                    self.push_value(Cow::Borrowed(key), Cow::Borrowed(value));
                }
            }
            Field::Headers { pick, scope, .. } => {
                let all = request.headers.iter().map(|h| (h.name.as_bytes(), h.value));
                return (self.pairs_of(all, pick, *scope, "REQUEST_HEADERS"), None);
            }
            Field::Cookies { pick, scope, .. } => {
                return (self.pairs_of(cookies(self.request.headers), pick, *scope, "REQUEST_COOKIES"), None);
            }
            Field::HeaderOrder(_) => {
                let names: Vec<String> =
                    request.headers.iter().take(HEADERS_MAX).map(|h| h.name.to_ascii_lowercase()).collect();
                self.push_value(Cow::Borrowed(b""), Cow::Owned(names.join(":").into_bytes()));
                return (request.headers.len() > HEADERS_MAX, None);
            }
            Field::Body(_) => {
                let over = self.body_is_over();
                let body = &request.body[..request.body.len().min(self.body_limit)];
                self.push_value(Cow::Borrowed(b""), Cow::Borrowed(body));
                return (over, None);
            }
            Field::JsonBody { pick, scope, invalid, .. } => return self.json_body(pick, *scope, *invalid),
            Field::Ours(ours) => self.ours(*ours),
        }
        (false, None)
    }

    fn or_fallback(&mut self, bytes: Option<&'r [u8]>, fallback: Fallback) -> (bool, Option<bool>) {
        match bytes {
            Some(bytes) => {
                self.push_value(Cow::Borrowed(b""), Cow::Borrowed(bytes));
                (false, None)
            }
            None => (false, Some(fallback == Fallback::Match)),
        }
    }

    fn body_is_over(&mut self) -> bool {
        let over = self.request.body.len() > self.body_limit;
        self.note(over, "REQUEST_BODY");
        over
    }

    fn note(&mut self, over: bool, what: &'static str) {
        if over && !self.oversize.contains(&what) {
            self.oversize.push(what);
        }
    }

    fn pairs_of(
        &mut self,
        all: impl Iterator<Item = Pair<'r>>,
        pick: &Pick,
        scope: Scope,
        what: &'static str,
    ) -> bool {
        let mut bytes = 0;
        for (count, (name, value)) in all.enumerate() {
            bytes += name.len() + value.len();
            if count >= HEADERS_MAX || bytes > HEADER_BYTES_MAX {
                self.note(true, what);
                return true;
            }
            let named = |list: &[String]| list.iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()));
            let wanted = match pick {
                Pick::All => true,
                Pick::Included(list) => named(list),
                Pick::Excluded(list) => !named(list),
            };
            if !wanted {
                continue;
            }
            if scope != Scope::Value {
                self.push_value(Cow::Borrowed(name), Cow::Borrowed(name));
            }
            if scope != Scope::Key {
                self.push_value(Cow::Borrowed(name), Cow::Borrowed(value));
            }
        }
        false
    }

    fn json_body(&mut self, pick: &Pick, scope: Scope, invalid: InvalidJson) -> (bool, Option<bool>) {
        let request = self.request;
        let over = request.body.len() > self.body_limit;
        self.note(over, "REQUEST_JSON_BODY");
        let body = &request.body[..request.body.len().min(self.body_limit)];
        let mut found = Vec::new();
        let whole = body::json(body, &mut |piece, path, value| {
            let wanted = match pick {
                Pick::Included(list) => list.iter().any(|p| {
                    path.strip_prefix(p.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                }),
                _ => true,
            };
            let scoped = match scope {
                Scope::All => true,
                Scope::Key => piece == body::Scope::Key,
                Scope::Value => piece == body::Scope::Value,
            };
            if wanted && scoped {
                found.push((path.as_bytes().to_vec(), value));
            }
        });
        // A body that was cut is not invalid for it.
        if !whole && !over {
            match invalid {
                InvalidJson::Parsed => {}
                InvalidJson::Match => return (over, Some(true)),
                InvalidJson::NoMatch => return (over, Some(false)),
                InvalidJson::EvaluateAsString => {
                    self.push_value(Cow::Borrowed(b""), Cow::Borrowed(body));
                    return (over, None);
                }
            }
        }
        for (path, value) in found {
            self.push_value(Cow::Owned(path), value);
        }
        (over, None)
    }

    fn ours(&mut self, part: Ours) {
        let request = self.request;
        match part {
            Ours::QueryValues => {
                for (name, value) in arguments(request.query).filter(|(_, v)| !v.is_empty()) {
                    self.push_value(Cow::Borrowed(name), Cow::Borrowed(value));
                }
            }
            Ours::QueryNames => {
                for (name, _) in arguments(request.query).filter(|(n, _)| !is_plain_name(n)) {
                    self.push_value(Cow::Borrowed(name), Cow::Borrowed(name));
                }
            }
            Ours::CookieValues => {
                for (name, value) in cookies(request.headers) {
                    self.push_value(Cow::Borrowed(name), Cow::Borrowed(value));
                }
            }
            Ours::CookieNames => {
                for (name, _) in cookies(request.headers).filter(|(n, _)| !is_plain_name(n)) {
                    self.push_value(Cow::Borrowed(name), Cow::Borrowed(name));
                }
            }
            Ours::HeaderValues => {
                for header in request.headers.iter().take(HEADERS_MAX).filter(|h| is_free(h.name)) {
                    self.push_value(Cow::Borrowed(header.name.as_bytes()), Cow::Borrowed(header.value));
                }
            }
            Ours::Referer => {
                if let Some(value) = request.header("referer") {
                    self.push_value(Cow::Borrowed(b"referer"), Cow::Borrowed(value));
                }
            }
            Ours::FileNames => {
                for header in request.headers.iter().filter(|h| names_a_file(h.name)) {
                    self.push_value(Cow::Borrowed(header.name.as_bytes()), Cow::Borrowed(header.value));
                }
                self.pieces(&[Part::FileName]);
            }
            Ours::BodyValues => self.pieces(&[Part::Value]),
            Ours::BodyNames => self.pieces(&[Part::Name]),
            Ours::Files => self.pieces(&[Part::File]),
        }
    }

    fn pieces(&mut self, parts: &[Part]) {
        if self.parsed.is_none() {
            self.body_is_over();
            let body = &self.request.body[..self.request.body.len().min(self.body_limit)];
            self.parsed = Some(parse(self.request.header("content-type"), body));
        }
        let Some(parsed) = self.parsed.take() else { return };
        for (part, name, value) in &parsed.pieces {
            if parts.contains(part) && !value.is_empty() && !(*part == Part::Name && is_plain_name(value)) {
                self.push_value(name.clone(), value.clone());
            }
        }
        self.parsed = Some(parsed);
    }
}

fn parse<'r>(content_type: Option<&'r [u8]>, body: &'r [u8]) -> ParsedBody<'r> {
    let mut pieces: Vec<Piece<'r>> = Vec::new();
    if body.is_empty() {
        return ParsedBody { pieces };
    }
    match Kind::of(content_type, body) {
        Kind::Form => body::form(body, |part, name, value| pieces.push((part, Cow::Borrowed(name), value))),
        Kind::Json => {
            let whole = body::json(body, &mut |scope, path, value| {
                let part = if scope == body::Scope::Key { Part::Name } else { Part::Value };
                pieces.push((part, Cow::Owned(path.as_bytes().to_vec()), value));
            });
            // What claims to be JSON and is not is looked at as a whole, too: parsers behind us may be more lenient.
            if !whole && pieces.is_empty() {
                pieces.push((Part::Value, Cow::Borrowed(b""), Cow::Borrowed(body)));
            }
        }
        Kind::Multipart => {
            body::multipart(content_type.unwrap_or_default(), body, &mut |part, name, value| {
                pieces.push((part, Cow::Borrowed(name), value));
            })
        }
        Kind::Xml => {
            body::xml(body, &mut |part, name, value| pieces.push((part, Cow::Borrowed(name), value)));
            // A document type is an attack by itself, and stands between the pieces.
            if memchr::memmem::find(body, b"<!").is_some() {
                pieces.push((Part::File, Cow::Borrowed(b""), Cow::Borrowed(body)));
            }
        }
        Kind::Text => {
            pieces.push((Part::Value, Cow::Borrowed(b""), Cow::Borrowed(body)));
        }
        Kind::Opaque => pieces.push((Part::File, Cow::Borrowed(b""), Cow::Borrowed(body))),
    }
    ParsedBody { pieces }
}

/// `a=1&b`: names and values as received.
fn arguments(query: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    query.split(|&b| b == b'&').filter(|p| !p.is_empty()).map(|pair| match memchr::memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[] as &[u8]),
    })
}

fn cookies<'r>(headers: &'r [crate::request::Header<'r>]) -> impl Iterator<Item = Pair<'r>> {
    let lines = headers.iter().filter(|h| h.name.eq_ignore_ascii_case("cookie"));
    lines.flat_map(|h| h.value.split(|&b| b == b';')).map(<[u8]>::trim_ascii).filter(|c| !c.is_empty()).map(
        |cookie| match memchr::memchr(b'=', cookie) {
            Some(at) => (&cookie[..at], &cookie[at + 1..]),
            None => (&[] as &[u8], cookie),
        },
    )
}

/// Three letters or digits: no attack fits in.
fn is_plain_name(name: &[u8]) -> bool {
    name.len() <= 3 && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// Headers whose content is the client's own choice. The others are the protocol's, are long, random or full of marks
/// that mean something else there, and no application reads them as text.
fn is_free(name: &str) -> bool {
    // Servers give names in lower case as a rule.
    let lower = match name.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    };
    let of_protocol = matches!(
        &*lower,
        "accept"
            | "accept-charset"
            | "accept-encoding"
            | "accept-language"
            | "authorization"
            | "cache-control"
            | "connection"
            | "content-encoding"
            | "content-length"
            | "content-type"
            | "cookie"
            | "date"
            | "dnt"
            | "dpop"
            | "expect"
            | "host"
            | "if-match"
            | "if-modified-since"
            | "if-none-match"
            | "if-range"
            | "if-unmodified-since"
            | "keep-alive"
            | "origin"
            | "pragma"
            | "priority"
            | "proxy-authorization"
            | "proxy-connection"
            | "range"
            | "save-data"
            | "signature"
            | "signature-input"
            | "te"
            | "traceparent"
            | "tracestate"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "upgrade-insecure-requests"
            | "via"
            | "baggage"
    );
    !of_protocol && !lower.starts_with("sec-")
}

/// `X-Filename`, `X_File_Name`, `X.Filename`: what uploaders send instead of a form.
fn names_a_file(name: &str) -> bool {
    let letters = name.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase());
    letters.eq(b"xfilename".iter().copied())
}
