//! Telling other programs what happened: which events there are, how they are signed, when they are sent again.
//!
//! `Webhook-Signature: t=<seconds since 1970>,v1=<hex>`, where `v1` is HMAC-SHA256 over `<t>.<body>` with the endpoint's
//! secret. An event has one id however often it is sent. Events of an endpoint come in no promised order.
//!
//! Must not know: the database, who registered what.

pub mod guard;
pub mod send;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::ids::mac;

/// After a day without success an endpoint is not asked any more.
pub const GIVE_UP_MS: u64 = 86_400_000;
/// Before the first repetition; then twice as long each time …
const FIRST_MS: u64 = 10_000;
/// … up to this.
const LONGEST_MS: u64 = 3_600_000;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A booking was made.
    Confirmed,
    /// A booking was cancelled.
    Cancelled,
    /// Somebody came in with a ticket.
    CheckIn,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Confirmed, Kind::Cancelled, Kind::CheckIn];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Confirmed => "booking.confirmed",
            Kind::Cancelled => "booking.cancelled",
            Kind::CheckIn => "check-in",
        }
    }

    /// The kind with this word.
    pub fn from_word(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// An event's id: the same whenever and wherever it is told, and it tells nothing of row numbers.
pub fn event_id(key: &[u8], kind: Kind, subject: &str) -> String {
    format!("evt_{}", hex(&mac(key, &["event", kind.word(), subject])[..16]))
}

/// The secret of an endpoint.
pub fn secret(key: &[u8], webhook: u64) -> String {
    format!("whsec_{}", hex(&mac(key, &["webhook-secret", &webhook.to_string()])))
}

/// The value of `Webhook-Signature`.
pub fn signature(secret: &str, at_s: u64, body: &str) -> String {
    // HMAC takes keys of every length; the type only does not know it.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(format!("{at_s}.{body}").as_bytes());
    format!("t={at_s},v1={}", hex(&mac.finalize().into_bytes()))
}

/// How long to wait after the `tries`th failure: twice as long each time, half of it by `luck`, so that endpoints that
/// failed together do not come back together.
pub fn wait_ms(tries: u32, luck: u64) -> u64 {
    let doubled = FIRST_MS.saturating_mul(1 << tries.saturating_sub(1).min(20));
    let whole = doubled.min(LONGEST_MS);
    whole / 2 + luck % (whole / 2 + 1)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_the_documentation_shows() {
        // printf '1798108200.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_example
        assert_eq!(
            signature("whsec_example", 1_798_108_200, "{\"id\":\"evt_1\"}"),
            "t=1798108200,v1=7b1e8ea3969ac73acfe983923b1350e9ef07b8c2deb58fbc53c6ab8a60773d9f"
        );
    }

    #[test]
    fn repetitions_come_later_and_later_and_never_together() {
        assert_eq!((wait_ms(1, 0), wait_ms(1, 5_000)), (5_000, 10_000));
        assert_eq!((wait_ms(2, 0), wait_ms(3, 0)), (10_000, 20_000));
        assert_eq!((wait_ms(40, 0), wait_ms(40, u64::MAX / 2 * 2)), (1_800_000, wait_ms(40, u64::MAX - 1)));
        for tries in 1..60 {
            assert!((FIRST_MS / 2..=LONGEST_MS).contains(&wait_ms(tries, rand::random())));
        }
    }

    #[test]
    fn an_event_has_one_id_and_an_endpoint_one_secret() {
        assert_eq!(event_id(b"k", Kind::CheckIn, "7/A-1-1"), event_id(b"k", Kind::CheckIn, "7/A-1-1"));
        assert_ne!(event_id(b"k", Kind::Confirmed, "7"), event_id(b"k", Kind::Cancelled, "7"));
        assert_ne!(secret(b"k", 1), secret(b"k", 2));
        for kind in Kind::ALL {
            assert_eq!(Kind::from_word(kind.word()), Some(kind));
        }
    }
}
