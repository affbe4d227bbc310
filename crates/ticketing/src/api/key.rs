//! Keys: what they look like, what they open, how often they may ask.
//!
//! `gtk_<number, 16 hex digits>_<secret, 64 hex digits>`. The secret is 32 random bytes, shown once; we keep its
//! SHA-256. A key does what the organiser who made it may do, as far as its scopes go: when that role is taken, the
//! key is dead.
//!
//! What was found about a key is used for [`KNOWN_MS`], so a key that was revoked at another instance works for that
//! long here. The pace is counted by each instance for itself.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use runtime::secret::Secret;
use sha2::{Digest, Sha256};

use crate::session::same;

/// How long what was read about a key is used.
pub(crate) const KNOWN_MS: u64 = 2_000;
/// A key's pace if nobody says another: requests a second, and so many at once.
pub const PER_SECOND: u32 = 50;

/// What a key opens, besides what every key may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Sales figures.
    Read,
    /// Holds, bookings, cancellations of its own customers.
    Sell,
    /// Door lists and check-in.
    Door,
}

impl Scope {
    /// All.
    pub const ALL: [Scope; 3] = [Scope::Read, Scope::Sell, Scope::Door];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Sell => "sell",
            Scope::Door => "door",
        }
    }
}

/// The scopes of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes([bool; 3]);

impl Scopes {
    /// The scopes with these words; other words are none.
    pub fn from_words<'w>(words: impl IntoIterator<Item = &'w str>) -> Scopes {
        let mut scopes = Scopes::default();
        for word in words {
            for (has, scope) in scopes.0.iter_mut().zip(Scope::ALL) {
                *has |= scope.word() == word;
            }
        }
        scopes
    }

    /// Whether this one is among them.
    pub fn has(self, scope: Scope) -> bool {
        Scope::ALL.into_iter().zip(self.0).any(|(of, has)| has && of == scope)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Scopes::default()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = Scope::ALL.into_iter().filter(|s| self.has(*s)).map(Scope::word).collect();
        f.write_str(&words.join(","))
    }
}

/// A key, as we keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its number.
    pub id: u64,
    /// In whose name it asks.
    pub partner: String,
    /// What it opens.
    pub scopes: Scopes,
    /// SHA-256 of its secret, in hex.
    pub secret_hash: String,
    /// Its pace.
    pub per_second: u32,
    /// The organiser who made it.
    pub created_by: u64,
    /// When.
    pub created_ms: u64,
    /// When it was revoked, if it was.
    pub revoked_ms: Option<u64>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Number of the key.
    pub key: u64,
    /// In whose name.
    pub partner: String,
    /// What it opens.
    pub scopes: Scopes,
    /// The organiser who answers for it.
    pub by: u64,
}

/// A key as its owner has it.
pub(crate) struct Token<'t> {
    pub(crate) id: u64,
    secret: &'t str,
}

impl<'t> Token<'t> {
    /// Reads one; nothing if no key of ours looks like this.
    pub(crate) fn parse(text: &'t str) -> Option<Token<'t>> {
        let (id, secret) = text.strip_prefix("gtk_")?.split_once('_')?;
        let hex = |text: &str, digits| {
            text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        (hex(id, 16) && hex(secret, 64)).then_some(())?;
        Some(Token { id: u64::from_str_radix(id, 16).ok()?, secret })
    }

    /// Whether it is this key, in a time that tells nothing.
    pub(crate) fn opens(&self, key: &ApiKey) -> bool {
        same(&hashed(self.secret), &key.secret_hash) && self.id == key.id && key.revoked_ms.is_none()
    }

    /// A new one for a key with this number: what its owner gets, and what we keep.
    pub(crate) fn draw(id: u64) -> (String, String) {
        let secret = Secret::random();
        (format!("gtk_{id:016x}_{}", secret.expose()), hashed(secret.expose()))
    }
}

fn hashed(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

/// What this instance knows of keys, and how fast each asks. Only keys that exist are in it.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    gates: Mutex<HashMap<u64, Gate>>,
}

#[derive(Debug)]
struct Gate {
    key: ApiKey,
    read_ms: u64,
    /// Thousandths of a request that may still be made.
    milli: u64,
    filled_ms: u64,
}

impl Gates {
    /// A key that was read lately.
    pub(crate) fn known(&self, id: u64, now_ms: u64) -> Option<ApiKey> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates.get(&id)?;
        (now_ms.abs_diff(gate.read_ms) < KNOWN_MS).then(|| gate.key.clone())
    }

    /// Remembers a key that was read.
    pub(crate) fn learn(&self, key: ApiKey, now_ms: u64) {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let full = u64::from(key.per_second) * 1_000;
        let gate = gates.entry(key.id).or_insert_with(|| Gate {
            key: key.clone(),
            read_ms: now_ms,
            milli: full,
            filled_ms: now_ms,
        });
        (gate.key, gate.read_ms) = (key, now_ms);
    }

    /// Forgets a key: it was revoked.
    pub(crate) fn forget(&self, id: u64) {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Counts a request; or says after how many seconds the next may be made.
    pub(crate) fn pass(&self, id: u64, now_ms: u64) -> Result<(), u64> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(gate) = gates.get_mut(&id) else { return Ok(()) };
        let pace = u64::from(gate.key.per_second).max(1);
        let passed_ms = now_ms.saturating_sub(gate.filled_ms);
        gate.milli = gate.milli.saturating_add(passed_ms.saturating_mul(pace)).min(pace * 1_000);
        gate.filled_ms = now_ms;
        match gate.milli.checked_sub(1_000) {
            Some(left) => {
                gate.milli = left;
                Ok(())
            }
            None => Err(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(per_second: u32) -> (String, ApiKey) {
        let (token, secret_hash) = Token::draw(7);
        let scopes = Scopes::from_words(["sell"]);
        let key = ApiKey {
            id: 7,
            partner: "p".into(),
            scopes,
            secret_hash,
            per_second,
            created_by: 1,
            created_ms: 0,
            revoked_ms: None,
        };
        (token, key)
    }

    #[test]
    fn a_key_opens_what_it_says_until_it_is_revoked() {
        let (token, mut key) = key(1);
        assert!(Token::parse(&token).unwrap().opens(&key));
        let odd = token.replacen("gtk_0", "gtk_1", 1);
        assert!(!Token::parse(&odd).unwrap().opens(&key));
        assert!(!Token::parse(&Token::draw(7).0).unwrap().opens(&key));
        key.revoked_ms = Some(1);
        assert!(!Token::parse(&token).unwrap().opens(&key));
        for odd in ["", "gtk_", "gtk_7_x", &token.to_uppercase(), &format!("{token}0")] {
            assert!(Token::parse(odd).is_none(), "{odd}");
        }
        assert!(!key.secret_hash.contains(token.rsplit('_').next().unwrap()));
    }

    #[test]
    fn scopes_are_read_as_they_are_written() {
        let scopes = Scopes::from_words("sell,door,what".split(','));
        assert_eq!(scopes.to_string(), "sell,door");
        assert!(scopes.has(Scope::Door) && !scopes.has(Scope::Read));
        assert!(Scopes::from_words([""]).is_empty());
    }

    #[test]
    fn a_key_that_asks_too_fast_waits_and_then_goes_on() {
        let gates = Gates::default();
        gates.learn(key(3).1, 10_000);
        assert_eq!([(); 4].map(|()| gates.pass(7, 10_000).is_ok()), [true, true, true, false]);
        assert!(gates.pass(7, 10_334).is_ok() && gates.pass(7, 10_335).is_err());
        // A long rest saves up a second's worth, no more.
        assert_eq!([(); 4].map(|()| gates.pass(7, 90_000).is_ok()), [true, true, true, false]);
        assert!(gates.known(7, 11_999).is_some() && gates.known(7, 12_000).is_none());
    }
}
