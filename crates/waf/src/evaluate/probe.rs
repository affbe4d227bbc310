//! Statements that look into a part of the request.

use super::Evaluation;
use crate::{
    acl::{Field, On, Ours, Position},
    plan::Probe,
    verdict::Detail,
};

/// Bytes of what matched that go into a log line.
const DATA_MAX: usize = 64;

impl<'e> Evaluation<'_, 'e> {
    pub(super) fn probe(&mut self, look: usize, probe: &'e Probe) -> bool {
        if let Some(verdict) = self.inspector.verdict(look) {
            if verdict {
                self.found(look, None, "FALLBACK", 0);
            }
            return verdict;
        }
        match probe {
            Probe::Missing => {
                let looked = self.inspector.look(look);
                let missing = (looked.start..looked.end)
                    .all(|p| self.inspector.bytes(self.inspector.pairs[p].0).is_empty());
                if missing {
                    self.found(look, None, "MISSING", 0);
                }
                return missing;
            }
            // A part of which more is there than was read is longer than what was read.
            Probe::Size { comparison, size } if self.inspector.is_oversize(look) => {
                let limit = self.inspector.body_limit as u64;
                let longer = comparison.holds(limit + 1, *size);
                if longer {
                    self.found(look, None, "SIZE", 0);
                }
                return longer;
            }
            Probe::Patterns(set) if set.always.is_empty() && !self.inspector.may_match(look, set) => {
                return false;
            }
            _ => {}
        }
        let looked = self.inspector.look(look);
        for at in looked.start..looked.end {
            let (buffer, value) = self.inspector.pairs[at];
            let Some((condition, place)) = self.test(look, buffer, probe) else { continue };
            if !self.excluded.is_empty() && self.is_excluded(value) {
                continue;
            }
            self.found(look, Some(at), condition, place);
            return true;
        }
        false
    }

    fn is_excluded(&self, value: usize) -> bool {
        let name = self.inspector.name(value);
        self.excluded.iter().any(|&number| self.engine.bundle.exclusions[number].lets(name))
    }

    /// What matched and where.
    fn test(&mut self, look: usize, buffer: usize, probe: &'e Probe) -> Option<(&'static str, usize)> {
        match probe {
            Probe::Patterns(set) => {
                let pattern = self.inspector.matches(look, buffer, set)?;
                let place = self
                    .inspector
                    .plan
                    .bank
                    .find(pattern, self.inspector.bytes(buffer))
                    .map_or(0, |r| r.start);
                Some(("REGEX", place))
            }
            Probe::Sqli { high } => self.inspector.sqli(buffer, *high).then_some(("SQL_INJECTION", 0)),
            Probe::Xss => self.inspector.xss(buffer).then_some(("XSS", 0)),
            Probe::Size { comparison, size } => {
                comparison.holds(self.inspector.bytes(buffer).len() as u64, *size).then_some(("SIZE", 0))
            }
            Probe::Bytes { search, position } => {
                bytes(self.inspector.bytes(buffer), search, *position).map(|p| ("BYTES", p))
            }
            Probe::Offsite => self.offsite(buffer).then_some(("OFFSITE", 0)),
            Probe::Missing => None,
        }
    }

    /// Whether a URL names another host than the request's own.
    fn offsite(&self, buffer: usize) -> bool {
        let Some(host) = host_of(self.inspector.bytes(buffer)) else { return false };
        let own = self.request.header("host").unwrap_or_default();
        !own.eq_ignore_ascii_case(host)
    }

    fn found(&mut self, look: usize, pair: Option<usize>, condition: &'static str, place: usize) {
        let location = location(self.inspector.on(look));
        let (name, data) = match pair {
            None => (String::new(), String::new()),
            Some(at) => {
                let (buffer, value) = self.inspector.pairs[at];
                let bytes = self.inspector.bytes(buffer);
                let from = place.min(bytes.len());
                let data = &bytes[from..bytes.len().min(from + DATA_MAX)];
                (text(self.inspector.name(value)), text(data))
            }
        };
        self.details.push(Detail { condition, location, name, data });
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where the string stands as the constraint wants it.
fn bytes(input: &[u8], search: &[u8], position: Position) -> Option<usize> {
    match position {
        Position::Exactly => (input == search).then_some(0),
        Position::StartsWith => input.starts_with(search).then_some(0),
        Position::EndsWith => input.ends_with(search).then(|| input.len() - search.len()),
        Position::Contains => memchr::memmem::find(input, search),
        Position::ContainsWord => {
            let word = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
            memchr::memmem::find_iter(input, search).find(|&at| {
                let before = at.checked_sub(1).and_then(|b| input.get(b));
                !word(before) && !word(input.get(at + search.len()))
            })
        }
    }
}

/// The host, with its port, of `scheme://host/…`.
fn host_of(url: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::find(url, b"://")?;
    let rest = &url[at + 3..];
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let authority = &rest[..end];
    Some(memchr::memrchr(b'@', authority).map_or(authority, |at| &authority[at + 1..]))
}

/// AWS's word for the part.
fn location(on: &On) -> &'static str {
    match &on.field {
        Field::SingleHeader(_) | Field::Headers { .. } | Field::Ours(Ours::HeaderValues | Ours::Referer) => {
            "HEADER"
        }
        Field::Cookies { .. } | Field::Ours(Ours::CookieValues | Ours::CookieNames) => "COOKIE",
        Field::SingleQueryArgument(_) => "SINGLE_QUERY_ARG",
        Field::AllQueryArguments | Field::Ours(Ours::QueryValues | Ours::QueryNames) => "ALL_QUERY_ARGS",
        Field::UriPath => "URI",
        Field::QueryString => "QUERY_STRING",
        Field::Body(_) | Field::Ours(Ours::BodyValues | Ours::BodyNames | Ours::FileNames | Ours::Files) => {
            "BODY"
        }
        Field::JsonBody { .. } => "JSON_BODY",
        Field::Method => "METHOD",
        Field::HeaderOrder(_) => "HEADER_ORDER",
        Field::Ja3(_) => "JA3_FINGERPRINT",
        Field::Ja4(_) => "JA4_FINGERPRINT",
        Field::UriFragment(_) => "URI_FRAGMENT",
    }
}
