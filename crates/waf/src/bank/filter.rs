//! Which of many literals stand in a value, by a table that stays in the first-level cache.
//!
//! An automaton of all literals is megabytes, and a server that does other things between two requests finds none of it in
//! its caches. Of each literal only its rarest three bytes in a row are looked for here, as classes of bytes: 64 classes,
//! so two bytes choose a word of 64 bits, and the third a bit in it. Where the bit is set, the few literals that have these
//! three there are compared. Each byte costs two loads, whatever the literals are; each byte of a value is compared with no
//! more bytes than the literals that share three bytes have together, so no input takes long.

use super::literal::share;
use crate::bytes::ByteSet;

/// How many classes of bytes there are.
const CLASSES: usize = 64;
/// The class of what stands behind the end, and of the bytes that hardly any literal has.
const END: u8 = 0;

/// The classes: each letter in either case, each mark but two, white space, zero, the other digits, and of what is not
/// ASCII: bytes that go on, bytes that Korean, Chinese and Japanese characters begin with, others.
static CLASS: [u8; 256] = {
    let mut table = [END; 256];
    let mut next = 7;
    let mut byte: u8 = 0;
    loop {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => table[byte as usize] = 1,
            b'0' => table[byte as usize] = 2,
            b'1'..=b'9' => table[byte as usize] = 3,
            0x80..=0xbf => table[byte as usize] = 4,
            0xe3..=0xed => table[byte as usize] = 5,
            0xc0.. => table[byte as usize] = 6,
            b'a'..=b'z' => {
                table[byte as usize] = next;
                table[byte.to_ascii_uppercase() as usize] = next;
                next += 1;
            }
            b'~' => table[byte as usize] = table[b'^' as usize],
            _ if byte.is_ascii_punctuation() => {
                table[byte as usize] = next;
                next += 1;
            }
            _ => {}
        }
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    assert!(next as usize == CLASSES, "every class has a number");
    table
};

fn class(byte: u8) -> u8 {
    CLASS[usize::from(byte)]
}

/// A place in the table of two classes.
fn row(first: u8, second: u8) -> usize {
    usize::from(first) * CLASSES + usize::from(second)
}

/// A literal that has a row's two classes.
#[derive(Clone, Copy)]
struct Entry {
    /// Four of its bytes from where the two classes stand, as far as it has them, and which bits of them count.
    four: u32,
    mask: u32,
    /// Where its bytes stand.
    start: u32,
    needle: u16,
    length: u8,
    /// Where in it the two classes stand.
    at: u8,
}

/// The first four bytes, in lower case; zeros where there are none.
fn four(bytes: &[u8]) -> u32 {
    let word = match *bytes {
        [a, b, c, d, ..] => [a, b, c, d],
        [a, b, c] => [a, b, c, 0],
        [a, b] => [a, b, 0, 0],
        _ => return 0,
    };
    u32::from_le_bytes(word.map(|b| b.to_ascii_lowercase()))
}

/// A set of literals.
pub(crate) struct Filter {
    /// By the first two classes: the third ones.
    grams: Box<[u64; CLASSES * CLASSES]>,
    /// By the first two classes: where their entries begin; one more at the end.
    rows: Box<[u16]>,
    entries: Vec<Entry>,
    literals: Vec<u8>,
    /// Literals of one byte need no looking for: it is known which bytes a value has.
    single: ByteSet,
    singles: Vec<(u8, u16)>,
}

impl Filter {
    /// Of literals in lower case with their numbers.
    pub(crate) fn build<'l>(needles: impl Iterator<Item = (&'l [u8], usize)>) -> Result<Self, String> {
        let mut filter = Self {
            grams: Box::new([0; CLASSES * CLASSES]),
            rows: Box::default(),
            entries: Vec::new(),
            literals: Vec::new(),
            single: ByteSet::default(),
            singles: Vec::new(),
        };
        let many = |_| "more literals than a filter holds".to_owned();
        let mut placed: Vec<(usize, Entry)> = Vec::new();
        for (literal, needle) in needles {
            let needle = u16::try_from(needle).map_err(many)?;
            if let [byte] = *literal {
                filter.single.add(ByteSet::of(&[byte]).in_either_case());
                filter.singles.push((byte, needle));
                continue;
            }
            let at = rarest(literal);
            let row = row(class(literal[at]), class(literal[at + 1]));
            filter.grams[row] |= literal.get(at + 2).map_or(u64::MAX, |b| 1 << class(*b));
            let entry = Entry {
                four: four(&literal[at..]),
                mask: match literal.len() - at {
                    2 => 0xffff,
                    3 => 0x00ff_ffff,
                    _ => u32::MAX,
                },
                start: u32::try_from(filter.literals.len()).map_err(many)?,
                needle,
                length: u8::try_from(literal.len()).map_err(many)?,
                at: u8::try_from(at).map_err(many)?,
            };
            filter.literals.extend_from_slice(literal);
            placed.push((row, entry));
        }
        placed.sort_by_key(|(row, _)| *row);
        let mut rows = Vec::with_capacity(CLASSES * CLASSES + 1);
        for row in 0..=CLASSES * CLASSES {
            rows.push(u16::try_from(placed.partition_point(|(r, _)| *r < row)).map_err(many)?);
        }
        filter.rows = rows.into_boxed_slice();
        filter.entries = placed.into_iter().map(|(_, entry)| entry).collect();
        Ok(filter)
    }

    /// Tells the numbers of the literals in the input, whose bytes are these, and where each begins; a literal of one byte
    /// once, without its place.
    pub(crate) fn find(&self, input: &[u8], bytes: ByteSet, mut found: impl FnMut(usize, usize)) {
        if self.single.meets(bytes) {
            for (byte, needle) in &self.singles {
                if bytes.has(*byte) || bytes.has(byte.to_ascii_uppercase()) {
                    found(usize::from(*needle), 0);
                }
            }
        }
        let [first, second, rest @ ..] = input else { return };
        let mut row = row(class(*first), class(*second));
        for (at, &third) in rest.iter().enumerate() {
            let third = usize::from(class(third));
            if self.grams[row] >> third & 1 != 0 {
                self.compare(input, at, row, &mut found);
            }
            // The second class becomes the first one.
            row = (row * CLASSES + third) % (CLASSES * CLASSES);
        }
        if self.grams[row] >> END & 1 != 0 {
            self.compare(input, rest.len(), row, &mut found);
        }
    }

    fn compare(&self, input: &[u8], at: usize, row: usize, found: &mut impl FnMut(usize, usize)) {
        let (from, to) = (usize::from(self.rows[row]), usize::from(self.rows[row + 1]));
        let there = four(&input[at..]);
        for entry in &self.entries[from..to] {
            if (entry.four ^ there) & entry.mask != 0 {
                continue;
            }
            let length = usize::from(entry.length);
            let Some(start) = at.checked_sub(usize::from(entry.at)) else { continue };
            let Some(there) = input.get(start..start + length) else { continue };
            let literal = &self.literals[entry.start as usize..][..length];
            if there.eq_ignore_ascii_case(literal) {
                found(usize::from(entry.needle), start);
            }
        }
    }
}

/// Where the three bytes of a literal begin that ordinary text has least; of two, where they begin.
fn rarest(literal: &[u8]) -> usize {
    let frequency = |gram: &[u8]| gram.iter().map(|&b| share(b)).product::<f64>();
    let grams = literal.windows(3).enumerate();
    grams.min_by(|(_, a), (_, b)| frequency(a).total_cmp(&frequency(b))).map_or(0, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn found(literals: &[&[u8]], input: &[u8]) -> BTreeSet<usize> {
        let filter = Filter::build(literals.iter().enumerate().map(|(n, l)| (*l, n))).unwrap();
        let mut found = BTreeSet::new();
        filter.find(input, ByteSet::in_value(input), |needle, _| {
            found.insert(needle);
        });
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_finds_what_is_there_and_nothing_else(
            literals in prop::collection::vec("[ab<0-2\u{0}-\u{3} ]{1,5}", 1..8),
            input in "[abAB<0-2\u{0}-\u{3} ]{0,24}",
        ) {
            let lower = input.to_ascii_lowercase();
            let expected: BTreeSet<usize> =
                literals.iter().enumerate().filter(|(_, l)| lower.contains(l.as_str())).map(|(n, _)| n).collect();
            let literals: Vec<&[u8]> = literals.iter().map(|l| l.as_bytes()).collect();
            prop_assert_eq!(found(&literals, input.as_bytes()), expected);
        }
    }

    #[test]
    fn literals_at_the_ends_and_within_each_other() {
        let literals: [&[u8]; 5] = [b"union", b"ni", b"<", b"select", b"on"];
        assert_eq!(found(&literals, b"UNION"), BTreeSet::from([0, 1, 4]));
        assert_eq!(found(&literals, b"ni<"), BTreeSet::from([1, 2]));
        assert_eq!(found(&literals, b"<"), BTreeSet::from([2]));
        assert_eq!(found(&literals, b""), BTreeSet::new());
        assert_eq!(found(&literals, "선택 select".as_bytes()), BTreeSet::from([3]));
    }
}
