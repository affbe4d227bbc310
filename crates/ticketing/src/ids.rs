//! Numbers that name things. Drawn, never counted: two instances in two places need not know each other.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Crockford's base 32: no I, L, O, U, so that it can be read out over a telephone.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// 2024-01-01T00:00:00Z: ids count milliseconds from here.
const ID_EPOCH_MS: u64 = 1_704_067_200_000;

/// A row's id: 41 bits of milliseconds, then 22 random bits. Later ids are larger, so the primary key grows at its
/// end; two drawn in one millisecond collide once in four million, and then the key refuses and we draw again.
pub fn row_id(now_ms: u64) -> u64 {
    let ms = now_ms.saturating_sub(ID_EPOCH_MS) & ((1 << 41) - 1);
    (ms << 22) | u64::from(rand::random::<u32>() >> 10)
}

/// The smallest id of a row that is made at `now_ms`.
pub fn first_row_id(now_ms: u64) -> u64 {
    (now_ms.saturating_sub(ID_EPOCH_MS) & ((1 << 41) - 1)) << 22
}

/// 14 characters, 70 random bits: unguessable, and unique without a counter that a lost site could repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookingNo(String);

impl BookingNo {
    /// A new one.
    pub fn draw() -> BookingNo {
        let bits: u128 = rand::random();
        BookingNo(base32(bits, 14))
    }

    /// One that a visitor typed or a row holds: separators are ignored, look-alike letters are read as meant.
    pub fn parse(text: &str) -> Option<BookingNo> {
        canonical(text, 14).map(BookingNo)
    }

    /// As stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In groups, for reading out: `7K3M-Q2X9D-4TWBA`.
    pub fn grouped(&self) -> String {
        let (head, tail) = self.0.split_at(4);
        let (middle, last) = tail.split_at(5);
        format!("{head}-{middle}-{last}")
    }
}

impl fmt::Display for BookingNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names the seats that one visitor took together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HoldId(String);

impl HoldId {
    /// A new one.
    pub fn draw() -> HoldId {
        HoldId(base32(rand::random(), 26))
    }

    /// The hold that this account asks for with this idempotency key: asking again names the same hold, and
    /// nobody else can name it.
    pub fn of_request(key: &[u8], account: u64, performance: u32, idempotency_key: &str) -> HoldId {
        let digest = mac(key, &["hold", &account.to_string(), &performance.to_string(), idempotency_key]);
        let mut bits = [0; 16];
        bits.copy_from_slice(&digest[..16]);
        HoldId(base32(u128::from_be_bytes(bits), 26))
    }

    /// One that a visitor sent.
    pub fn parse(text: &str) -> Option<HoldId> {
        canonical(text, 26).map(HoldId)
    }

    /// As stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A visitor's key for asking again safely: 1 to 64 of `A-Z a-z 0-9 . _ : -`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Checks one.
    pub fn parse(text: &str) -> Option<IdempotencyKey> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
        fits.then(|| IdempotencyKey(text.to_owned()))
    }

    /// The key of a page's pay button: one hold can be paid once, however often the button is pressed.
    pub fn of_hold(hold: &HoldId) -> IdempotencyKey {
        IdempotencyKey(format!("page:{hold}"))
    }

    /// The key of a bank transfer that pays a hold: one hold is paid once, whoever says that the money came.
    pub fn of_transfer(hold: &HoldId) -> IdempotencyKey {
        IdempotencyKey(format!("transfer:{hold}"))
    }

    /// As stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// HMAC-SHA256 over `parts`, separated so that no two lists of parts are one text.
pub fn mac(key: &[u8], parts: &[&str]) -> [u8; 32] {
    // HMAC takes keys of every length; the type only does not know it.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().into()
}

fn base32(mut bits: u128, characters: usize) -> String {
    let mut out = vec![b'0'; characters];
    for slot in out.iter_mut().rev() {
        *slot = ALPHABET[usize::try_from(bits & 31).unwrap_or(0)];
        bits >>= 5;
    }
    out.into_iter().map(char::from).collect()
}

fn canonical(text: &str, characters: usize) -> Option<String> {
    let mut out = String::with_capacity(characters);
    for c in text.chars().filter(|c| !matches!(c, '-' | ' ')) {
        let c = match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        };
        if out.len() == characters || !c.is_ascii() || !ALPHABET.contains(&u8::try_from(c).ok()?) {
            return None;
        }
        out.push(c);
    }
    (out.len() == characters).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_booking_number_survives_being_read_out() {
        let no = BookingNo::draw();
        assert_eq!(no.as_str().len(), 14);
        assert_eq!(BookingNo::parse(&no.grouped().to_lowercase()), Some(no.clone()));
        assert_eq!(BookingNo::parse("too short"), None);
        assert_eq!(BookingNo::parse("7K3M-Q2X9D-4TWB'"), None);
        assert_ne!(no, BookingNo::draw());
    }

    #[test]
    fn a_hold_asked_for_twice_is_one_hold() {
        let a = HoldId::of_request(b"k", 1, 2, "x");
        assert_eq!(a, HoldId::of_request(b"k", 1, 2, "x"));
        assert_ne!(a, HoldId::of_request(b"k", 2, 2, "x"));
        assert_eq!(HoldId::parse(a.as_str()), Some(a));
    }

    #[test]
    fn row_ids_grow_with_time() {
        let (a, b) = (row_id(1_800_000_000_000), row_id(1_800_000_000_001));
        assert!(a < b && b < 1 << 63);
    }
}
