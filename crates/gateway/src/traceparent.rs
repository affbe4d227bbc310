//! W3C trace context: a request's `traceparent` and `tracestate`.
//!
//! A valid one goes on as it is: we make no spans of our own, and whoever put us into the middle still sees one trace. A
//! missing or malformed one is replaced by a new one that asks nobody to record (flags 00), so that the application's log,
//! and whatever it calls, can be joined; the `tracestate` of a malformed one goes with it (level 1, §4.3).

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};

use crate::headers;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Version, trace, parent and flags, with what is between them.
const BYTES: usize = 55;

/// Sees to it that the request carries a valid trace context.
pub(crate) fn ensure(headers: &mut HeaderMap) {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let is_one = given.next().is_some_and(|v| is_valid(v.as_bytes())) && given.next().is_none();
    if is_one {
        return;
    }
    headers.remove(TRACESTATE);
    if let Ok(made) = HeaderValue::from_bytes(&make(rand::random(), rand::random())) {
        headers.insert(TRACEPARENT, made);
    }
}

/// `00-` trace `-` parent `-00`. All zeros would be invalid: of 2^64 that comes up once, and is told apart here.
fn make(trace: u128, parent: u64) -> [u8; BYTES] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    if let Some(place) = text.get_mut(3..35) {
        headers::hex(place, trace.max(1));
    }
    if let Some(place) = text.get_mut(36..52) {
        headers::hex(place, parent.max(1).into());
    }
    text
}

/// Version 00 is exactly as long; later ones may be longer behind another `-`; ff is none.
fn is_valid(text: &[u8]) -> bool {
    let Some((head, rest)) = text.split_at_checked(BYTES) else { return false };
    let mut parts = head.split(|b| *b == b'-');
    let mut part = |length: usize| {
        let is_hex = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
        parts.next().filter(|p| p.len() == length && p.iter().all(is_hex))
    };
    let (Some(version), Some(trace), Some(parent), Some(_flags)) = (part(2), part(32), part(16), part(2))
    else {
        return false;
    };
    let is_something = |id: &[u8]| id.iter().any(|b| *b != b'0');
    let ends_well = match version {
        b"ff" => false,
        b"00" => rest.is_empty(),
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    ends_well && is_something(trace) && is_something(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn valid_is_what_the_recommendation_says() {
        let check = |text: &str, want| assert_eq!(is_valid(text.as_bytes()), want, "{text}");
        check(GOOD, true);
        check("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", true);
        check("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more", false);
        check(&format!("{GOOD}-more"), false);
        check(&GOOD.to_uppercase(), false);
        check(&GOOD.replacen("00-", "ff-", 1), false);
        check("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false);
        check("00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01", false);
        check("", false);
    }

    #[test]
    fn a_new_one_is_valid_and_says_its_numbers() {
        assert_eq!(&make(0xab, 0xcd), b"00-000000000000000000000000000000ab-00000000000000cd-00");
        assert!(is_valid(&make(0, 0)) && is_valid(&make(u128::MAX, u64::MAX)));
    }

    #[test]
    fn one_is_kept_and_two_or_a_malformed_one_are_replaced() {
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            values.iter().for_each(|v| {
                headers.append(TRACEPARENT, v.parse().unwrap());
            });
            headers.insert(TRACESTATE, "a=1".parse().unwrap());
            ensure(&mut headers);
            headers
        };
        let kept = with(&[GOOD]);
        assert_eq!(kept.get(TRACEPARENT).unwrap(), GOOD);
        assert_eq!(kept.get(TRACESTATE).unwrap(), "a=1");
        for values in [&[][..], &["00-xyz"], &[GOOD, GOOD]] {
            let replaced = with(values);
            let made: Vec<_> = replaced.get_all(TRACEPARENT).iter().collect();
            assert!(made.len() == 1 && is_valid(made[0].as_bytes()) && made[0] != GOOD, "{made:?}");
            assert!(!replaced.contains_key(TRACESTATE));
        }
    }
}
