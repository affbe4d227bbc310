//! Tickets that a door can check without a network: signed with Ed25519, one a seat.
//!
//! `GL1.<body>.<signature>`, both in URL-safe base64. The body: performance `u32`, booking's row number `u64`, moment
//! of issue in seconds `u64`, all big endian, then the seat's name. The signing key is derived from the key that all
//! instances share, so a ticket is the same at whichever site it is shown; the public key is published, and a door
//! that has it needs nothing else but the list of tickets that were cancelled.
//!
//! A copy of a ticket is as good as the ticket: the door lets the first one in. [`merge`] says what happens when two
//! doors that could not talk to each other both did.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::ids::mac;

/// What a ticket says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Admission {
    /// To which performance.
    pub performance: u32,
    /// By which booking.
    pub booking: u64,
    /// To which seat.
    pub seat: String,
    /// When it was issued.
    pub issued_s: u64,
}

/// The key cannot be used: a mistake of ours.
#[derive(Debug, thiserror::Error)]
#[error("the ticket key is refused: {0}")]
pub struct KeyError(String);

/// Signs tickets.
pub struct Issuer {
    pair: Ed25519KeyPair,
}

impl Issuer {
    /// With the key that every instance shares.
    pub fn new(key: &[u8]) -> Result<Issuer, KeyError> {
        let seed = mac(key, &["ticket-signing-key"]);
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|e| KeyError(e.to_string()))?;
        Ok(Issuer { pair })
    }

    /// What doors need.
    pub fn public_key(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    /// A ticket.
    pub fn issue(&self, admission: &Admission) -> String {
        let body = admission.body();
        let signature = self.pair.sign(&body);
        format!("GL1.{}.{}", URL_SAFE_NO_PAD.encode(&body), URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

impl Admission {
    fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(20 + self.seat.len());
        body.extend(self.performance.to_be_bytes());
        body.extend(self.booking.to_be_bytes());
        body.extend(self.issued_s.to_be_bytes());
        body.extend(self.seat.as_bytes());
        body
    }

    /// Reads a ticket; nothing if it was not signed with the key that belongs to `public_key`.
    pub fn check(public_key: &[u8], ticket: &str) -> Option<Admission> {
        let mut parts = ticket.trim().split('.');
        if parts.next()? != "GL1" {
            return None;
        }
        let body = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        if parts.next().is_some() {
            return None;
        }
        UnparsedPublicKey::new(&ED25519, public_key).verify(&body, &signature).ok()?;
        let (performance, rest) = body.split_first_chunk::<4>()?;
        let (booking, rest) = rest.split_first_chunk::<8>()?;
        let (issued_s, seat) = rest.split_first_chunk::<8>()?;
        Some(Admission {
            performance: u32::from_be_bytes(*performance),
            booking: u64::from_be_bytes(*booking),
            issued_s: u64::from_be_bytes(*issued_s),
            seat: String::from_utf8(seat.to_vec()).ok()?,
        })
    }
}

/// One ticket shown at one door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Which booking.
    pub booking: u64,
    /// Which seat.
    pub seat: String,
    /// Which device.
    pub device: String,
    /// The device's own count, so that sending a scan twice is one scan.
    pub number: u32,
    /// When, by the device's clock.
    pub at_ms: u64,
}

/// What became of a ticket at the doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// The scan that let somebody in.
    pub first: Scan,
    /// Others with the same ticket: each is somebody to ask.
    pub again: Vec<Scan>,
}

/// Puts the scans of all doors together, in whatever order and however often they were sent.
pub fn merge(scans: impl IntoIterator<Item = Scan>) -> BTreeMap<(u64, String), Entered> {
    let mut all: Vec<Scan> = scans.into_iter().collect();
    all.sort_by(|a, b| (a.at_ms, &a.device, a.number).cmp(&(b.at_ms, &b.device, b.number)));
    all.dedup_by(|a, b| a.device == b.device && a.number == b.number);
    let mut entered: BTreeMap<(u64, String), Entered> = BTreeMap::new();
    for scan in all {
        let ticket = (scan.booking, scan.seat.clone());
        match entered.get_mut(&ticket) {
            Some(known) => known.again.push(scan),
            None => {
                entered.insert(ticket, Entered { first: scan, again: Vec::new() });
            }
        }
    }
    entered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission { performance: 502, booking: 77, seat: "F3-4-5".into(), issued_s: 1_800_000_000 }
    }

    #[test]
    fn a_door_without_a_network_knows_a_ticket_of_either_site() {
        let (here, there) = (Issuer::new(b"shared").unwrap(), Issuer::new(b"shared").unwrap());
        let ticket = here.issue(&admission());
        assert_eq!(ticket, there.issue(&admission()));
        assert_eq!(Admission::check(&there.public_key(), &ticket), Some(admission()));
        // Short enough for a code that a phone reads from a phone.
        assert!(ticket.len() <= 150, "{}", ticket.len());
    }

    #[test]
    fn nobody_writes_or_changes_one() {
        let issuer = Issuer::new(b"shared").unwrap();
        let ticket = issuer.issue(&admission());
        assert_eq!(Admission::check(&Issuer::new(b"other").unwrap().public_key(), &ticket), None);
        let better = Admission { seat: "F1-1-1".into(), ..admission() };
        let forged =
            format!("GL1.{}.{}", URL_SAFE_NO_PAD.encode(better.body()), ticket.rsplit('.').next().unwrap());
        assert_eq!(Admission::check(&issuer.public_key(), &forged), None);
        for at in 0..ticket.len() {
            let mut odd = ticket.clone().into_bytes();
            odd[at] = if odd[at] == b'A' { b'B' } else { b'A' };
            let odd = String::from_utf8(odd).unwrap();
            assert_eq!(Admission::check(&issuer.public_key(), &odd), None, "character {at}");
        }
        for odd in ["", "GL1", "GL1..", "GL1.AAAA", "GL2.AAAA.AAAA", &format!("{ticket}.x")] {
            assert_eq!(Admission::check(&issuer.public_key(), odd), None);
        }
    }

    #[test]
    fn doors_that_could_not_talk_agree_afterwards() {
        let scan = |device: &str, number, at_ms, booking| Scan {
            booking,
            seat: "A-1-1".into(),
            device: device.into(),
            number,
            at_ms,
        };
        let all = [scan("b", 1, 20, 7), scan("a", 1, 10, 7), scan("a", 2, 11, 8), scan("a", 1, 10, 7)];
        let merged = merge(all.clone());
        assert_eq!(merged[&(7, "A-1-1".to_owned())].first, all[1]);
        assert_eq!(merged[&(7, "A-1-1".to_owned())].again, [all[0].clone()]);
        assert!(merged[&(8, "A-1-1".to_owned())].again.is_empty());
        let mut reversed = all.to_vec();
        reversed.reverse();
        assert_eq!(merge(reversed), merged);
    }
}
