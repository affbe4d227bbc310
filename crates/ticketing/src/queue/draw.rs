//! The lottery among those who were there before the sale opened.
//!
//! A seed is drawn when the sale is announced, and its hash published. An entry's lot is a keyed hash of its name
//! under the seed; the smallest lot has number 1. After the opening the seed is published, too, and everybody can
//! compute every number again, here, at the other site or at home.
//!
//! The order is one sorted array of 64-bit lots: eight bytes an entry, and finding a number is one binary search.
//! Two of a million entries share a lot once in some ten million sales; then both have the smaller number and are
//! called together.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::ids::mac;

/// The name of an account in one sale: a keyed hash, so that it can be published and tells nobody who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry(pub u64);

impl Entry {
    /// The entry of an account. However many windows it opens, it is this one.
    pub fn of(key: &[u8], sale: u32, account: u64) -> Entry {
        let digest = mac(key, &["queue-entry", &sale.to_string(), &account.to_string()]);
        Entry(first_u64(&digest))
    }
}

/// Who is drawn before whom. Kept with the entry, so that every site draws alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Everybody.
    Ordinary,
    /// Entries that came by the hundred from one place: drawn after all others, never refused.
    Crowded,
}

impl Class {
    /// Its number in the database.
    pub fn code(self) -> u8 {
        match self {
            Class::Ordinary => 0,
            Class::Crowded => 1,
        }
    }

    /// The class with this number.
    pub fn from_code(code: u8) -> Class {
        if code == 0 { Class::Ordinary } else { Class::Crowded }
    }
}

/// What the lottery is drawn with. Never shown before the opening.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(…)")
    }
}

/// The seed's SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment([u8; 32]);

impl Seed {
    /// From 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Seed {
        Seed(bytes)
    }

    /// From the database or from a published page.
    pub fn from_hex(text: &str) -> Option<Seed> {
        unhex(text).map(Seed)
    }

    /// For the database, and for publishing after the opening.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// What is published before.
    pub fn commitment(&self) -> Commitment {
        Commitment(Sha256::digest(self.0).into())
    }

    /// The lot of an entry: where it stands in the order. The class decides first.
    pub fn lot(&self, sale: u32, entry: Entry, class: Class) -> u64 {
        Lots::new(self, sale).lot(entry, class)
    }
}

impl Commitment {
    /// From the database.
    pub fn from_hex(text: &str) -> Option<Commitment> {
        unhex(text).map(Commitment)
    }

    /// For pages and the database.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Whether this seed is the one that was promised.
    pub fn is_of(&self, seed: &Seed) -> bool {
        seed.commitment() == *self
    }
}

/// Computes lots with the seed's key schedule done once.
struct Lots {
    keyed: Option<Hmac<Sha256>>,
    sale: u32,
}

impl Lots {
    fn new(seed: &Seed, sale: u32) -> Lots {
        // HMAC takes keys of every length; the type only does not know it.
        Lots { keyed: Hmac::<Sha256>::new_from_slice(&seed.0).ok(), sale }
    }

    fn lot(&self, entry: Entry, class: Class) -> u64 {
        let Some(mut mac) = self.keyed.clone() else { return u64::MAX };
        mac.update(&self.sale.to_be_bytes());
        mac.update(&entry.0.to_be_bytes());
        let drawn: [u8; 32] = mac.finalize().into_bytes().into();
        (u64::from(class.code()) << 63) | (first_u64(&drawn) >> 1)
    }
}

/// Every early entry in the order in which it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    lots: Vec<u64>,
}

impl Order {
    /// Draws the lottery. In whatever order the entries come, the result is the same.
    pub fn draw(seed: &Seed, sale: u32, entries: impl IntoIterator<Item = (Entry, Class)>) -> Order {
        let lots_of = Lots::new(seed, sale);
        let mut lots: Vec<u64> =
            entries.into_iter().map(|(entry, class)| lots_of.lot(entry, class)).collect();
        lots.sort_unstable();
        lots.shrink_to_fit();
        Order { lots }
    }

    /// How many took part.
    pub fn len(&self) -> u32 {
        u32::try_from(self.lots.len()).unwrap_or(u32::MAX)
    }

    /// Whether nobody took part.
    pub fn is_empty(&self) -> bool {
        self.lots.is_empty()
    }

    /// The number of the entry with this lot, from 1; none if it took no part.
    pub fn number(&self, lot: u64) -> Option<u32> {
        let before = self.lots.partition_point(|l| *l < lot);
        (self.lots.get(before) == Some(&lot)).then(|| u32::try_from(before + 1).unwrap_or(u32::MAX))
    }

    /// What it costs in memory.
    pub fn bytes(&self) -> usize {
        self.lots.capacity() * size_of::<u64>()
    }
}

fn first_u64(digest: &[u8; 32]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = [0; 32];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SALE: u32 = 502;

    fn entries(n: u64) -> Vec<(Entry, Class)> {
        (1..=n).map(|account| (Entry::of(b"k", SALE, account), Class::Ordinary)).collect()
    }

    #[test]
    fn both_sites_draw_the_same_order_however_the_rows_came() {
        let seed = Seed::new([3; 32]);
        let mut rows = entries(500);
        let here = Order::draw(&seed, SALE, rows.clone());
        rows.reverse();
        rows.swap(3, 77);
        let there = Order::draw(&Seed::from_hex(&seed.hex()).unwrap(), SALE, rows.clone());
        assert_eq!(here, there);
        let numbers: BTreeSet<u32> =
            rows.iter().map(|(e, c)| here.number(seed.lot(SALE, *e, *c)).unwrap()).collect();
        assert_eq!(numbers, (1..=500).collect(), "each has a number of its own");
        assert_eq!(here.number(seed.lot(SALE, Entry(42), Class::Ordinary)), None);
        assert_ne!(here, Order::draw(&Seed::new([4; 32]), SALE, rows));
    }

    #[test]
    fn the_revealed_seed_proves_the_promise() {
        let seed = Seed::new([9; 32]);
        let promised = Commitment::from_hex(&seed.commitment().hex()).unwrap();
        assert!(promised.is_of(&seed));
        assert!(!promised.is_of(&Seed::new([8; 32])));
        for odd in ["", "12", &"g".repeat(64), &"a".repeat(65)] {
            assert_eq!(Seed::from_hex(odd), None);
        }
    }

    #[test]
    fn coming_first_is_no_better_than_coming_last() {
        let seed = Seed::new([5; 32]);
        let rows = entries(10_000);
        let order = Order::draw(&seed, SALE, rows.clone());
        let mean = |part: &[(Entry, Class)]| {
            let sum: u64 =
                part.iter().map(|(e, c)| u64::from(order.number(seed.lot(SALE, *e, *c)).unwrap())).sum();
            sum / u64::try_from(part.len()).unwrap()
        };
        // The mean of 1,000 of 10,000 numbers has a standard error of some 87.
        for part in [&rows[..1_000], &rows[9_000..]] {
            assert!((4_600..5_400).contains(&mean(part)), "{}", mean(part));
        }
    }

    #[test]
    fn a_crowd_from_one_place_is_drawn_after_everybody_else() {
        let seed = Seed::new([6; 32]);
        let mut rows = entries(200);
        for row in &mut rows[..150] {
            row.1 = Class::Crowded;
        }
        let order = Order::draw(&seed, SALE, rows.clone());
        for (entry, class) in rows {
            let number = order.number(seed.lot(SALE, entry, class)).unwrap();
            assert_eq!(number <= 50, class == Class::Ordinary);
        }
    }

    #[test]
    fn a_million_early_entries_cost_eight_megabytes() {
        // Names need not be hashes for this; drawing them would only take time.
        let rows = (0..1_000_000u64).map(|n| (Entry(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)), Class::Ordinary));
        let order = Order::draw(&Seed::new([1; 32]), SALE, rows);
        assert_eq!(order.len(), 1_000_000);
        // While it is drawn the growing array may need three times that for a moment; the issue allows 200 MB.
        assert!(order.bytes() <= 8_000_000 + 4_096, "{}", order.bytes());
    }
}
