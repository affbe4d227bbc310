//! What a visitor carries: a ticket with a number, then a turn.
//!
//! Both are cookies, signed with the key that every instance of both sites has, so that none of them must be looked
//! up to be believed. Neither holds a secret.
//!
//! - ticket: `<sale>.<entry>.<class>.<number>.<seal>`; number 0 before the lottery;
//! - turn: `<sale>.<entry>.<until, ms>.<seal>`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use super::draw::{Class, Entry};
use crate::ids::mac;

/// Bytes of a seal. 2^128 guesses are enough to keep anybody out.
const SEAL_BYTES: usize = 16;

/// A place in the waiting room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which sale.
    pub sale: u32,
    /// Whose.
    pub entry: Entry,
    /// Who is drawn before whom.
    pub class: Class,
    /// The number of somebody who came after the opening. An early one's follows from the lottery.
    pub number: Option<u32>,
}

/// Leave to choose seats until a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Which sale.
    pub sale: u32,
    /// Whose.
    pub entry: Entry,
    /// Until when.
    pub until_ms: u64,
}

impl Ticket {
    /// As a cookie's value.
    pub fn sealed(&self, key: &[u8]) -> String {
        let body =
            format!("{}.{:016x}.{}.{}", self.sale, self.entry.0, self.class.code(), self.number.unwrap_or(0));
        seal("queue-ticket", key, body)
    }

    /// Reads a cookie's value; nothing if we did not write it.
    pub fn open(key: &[u8], text: &str) -> Option<Ticket> {
        let mut parts = opened("queue-ticket", key, text)?.split('.');
        let ticket = Ticket {
            sale: parts.next()?.parse().ok()?,
            entry: entry(parts.next()?)?,
            class: Class::from_code(parts.next()?.parse().ok()?),
            number: parts.next()?.parse().ok().map(|n: u32| (n > 0).then_some(n))?,
        };
        parts.next().is_none().then_some(ticket)
    }
}

impl Turn {
    /// As a cookie's value.
    pub fn sealed(&self, key: &[u8]) -> String {
        seal("queue-turn", key, format!("{}.{:016x}.{}", self.sale, self.entry.0, self.until_ms))
    }

    /// Reads a cookie's value; nothing if we did not write it.
    pub fn open(key: &[u8], text: &str) -> Option<Turn> {
        let mut parts = opened("queue-turn", key, text)?.split('.');
        let turn = Turn {
            sale: parts.next()?.parse().ok()?,
            entry: entry(parts.next()?)?,
            until_ms: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(turn)
    }

    /// Whether it lets this entry of this sale in at `now_ms`.
    pub fn admits(&self, sale: u32, entry: Entry, now_ms: u64) -> bool {
        self.sale == sale && self.entry == entry && now_ms < self.until_ms
    }
}

fn entry(text: &str) -> Option<Entry> {
    let plain = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(text, 16).ok().map(Entry))?
}

fn seal(kind: &str, key: &[u8], body: String) -> String {
    let seal = URL_SAFE_NO_PAD.encode(&mac(key, &[kind, &body])[..SEAL_BYTES]);
    format!("{body}.{seal}")
}

fn opened<'t>(kind: &str, key: &[u8], text: &'t str) -> Option<&'t str> {
    let (body, given) = text.rsplit_once('.')?;
    let right = URL_SAFE_NO_PAD.encode(&mac(key, &[kind, body])[..SEAL_BYTES]);
    bool::from(right.as_bytes().ct_eq(given.as_bytes())).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Entry = Entry(0x0123_4567_89ab_cdef);

    #[test]
    fn a_ticket_is_as_good_at_the_other_site_and_nobody_writes_one() {
        for number in [None, Some(7), Some(u32::MAX)] {
            let ticket = Ticket { sale: 5, entry: ENTRY, class: Class::Crowded, number };
            let text = ticket.sealed(b"shared");
            assert_eq!(Ticket::open(b"shared", &text), Some(ticket));
            assert_eq!(Ticket::open(b"other", &text), None);
            assert_eq!(Ticket::open(b"shared", &text.replacen("5.", "6.", 1)), None);
        }
        for odd in ["", ".", "1.2.3", "5.0123456789abcdef.0.1.AAAA", "....."] {
            assert_eq!(Ticket::open(b"shared", odd), None);
        }
    }

    #[test]
    fn a_turn_ends_at_its_deadline_and_is_nobody_elses() {
        let turn = Turn { sale: 5, entry: ENTRY, until_ms: 1_000 };
        let read = Turn::open(b"k", &turn.sealed(b"k")).unwrap();
        assert_eq!(read, turn);
        assert!(read.admits(5, ENTRY, 999));
        assert!(!read.admits(5, ENTRY, 1_000));
        assert!(!read.admits(6, ENTRY, 0));
        assert!(!read.admits(5, Entry(1), 0));
        // A ticket is no turn, though both are signed with one key.
        let ticket = Ticket { sale: 5, entry: ENTRY, class: Class::Ordinary, number: None };
        assert_eq!(Turn::open(b"k", &ticket.sealed(b"k")), None);
    }
}
