//! Which bytes occur in a value: one look at it that answers many questions.
//!
//! A value without a backslash has no JavaScript escape; a value without a bracket calls no function. So what a transformation
//! touches and what a pattern cannot do without are sets of bytes, too, and whether either is worth trying is four ANDs.

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ByteSet([u64; 4]);

impl ByteSet {
    /// These bytes.
    pub(crate) const fn of(bytes: &[u8]) -> Self {
        let mut set = Self([0; 4]);
        let mut at = 0;
        while at < bytes.len() {
            set = set.with(bytes[at], bytes[at]);
            at += 1;
        }
        set
    }

    /// And all from one to another.
    pub(crate) const fn with(mut self, from: u8, to: u8) -> Self {
        let mut byte = from;
        loop {
            self.0[(byte >> 6) as usize] |= 1 << (byte & 63);
            if byte >= to {
                return self;
            }
            byte += 1;
        }
    }

    /// The bytes of a value.
    pub(crate) fn in_value(value: &[u8]) -> Self {
        let mut set = Self::default();
        if value.len() < 64 {
            value.iter().for_each(|&byte| set.insert(byte));
            return set;
        }
        // A mark for each byte takes no reading of what was marked before.
        let mut seen = [0u8; 256];
        value.iter().for_each(|&byte| seen[usize::from(byte)] = 1);
        for (at, marks) in seen.chunks_exact(8).enumerate() {
            let marks = marks.iter().enumerate().fold(0u64, |all, (bit, mark)| all | u64::from(*mark) << bit);
            set.0[at / 8] |= marks << (at % 8 * 8);
        }
        set
    }

    /// Adds a byte.
    pub(crate) fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    /// Adds another set.
    pub(crate) fn add(&mut self, other: Self) {
        for (mine, others) in self.0.iter_mut().zip(other.0) {
            *mine |= others;
        }
    }

    /// All bytes.
    pub(crate) const ALL: Self = Self([u64::MAX; 4]);

    /// The letters in either case, where one of them is there.
    pub(crate) fn in_either_case(mut self) -> Self {
        // 'A' and 'a' are bits 1 and 33 of the same word.
        const UPPER: u64 = 0x07ff_fffe;
        let letters = self.0[1] & UPPER | self.0[1] >> 32 & UPPER;
        self.0[1] |= letters | letters << 32;
        self
    }

    /// Whether the two have a byte in common.
    pub(crate) fn meets(self, other: Self) -> bool {
        self.0.iter().zip(other.0).any(|(mine, others)| mine & others != 0)
    }

    /// Whether the other set has all of its bytes.
    pub(crate) fn is_within(self, other: Self) -> bool {
        self.0.iter().zip(other.0).all(|(mine, others)| mine & !others == 0)
    }

    /// Whether it has the byte.
    pub(crate) fn has(self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    /// What the other set does not have.
    pub(crate) fn without(mut self, other: Self) -> Self {
        for (mine, others) in self.0.iter_mut().zip(other.0) {
            *mine &= !others;
        }
        self
    }

    /// Its bytes, ascending.
    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        let words = self.0.into_iter().zip([0u8, 64, 128, 192]);
        words.flat_map(|(mut word, first)| {
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros();
                word &= word.wrapping_sub(1);
                // A word that is empty has 64 zeros.
                u8::try_from(bit).ok().filter(|bit| *bit < 64).map(|bit| first + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let letters = ByteSet::default().with(b'a', b'c').with(0xff, 0xff);
        assert_eq!(letters.iter().collect::<Vec<_>>(), [b'a', b'b', b'c', 0xff]);
        assert!(letters.meets(ByteSet::in_value(b"xyzb")));
        assert!(!letters.meets(ByteSet::in_value(b"xyz")));
        assert!(!letters.meets(ByteSet::default()));
        assert_eq!(ByteSet::of(b"aZ@[`{5").in_either_case(), ByteSet::of(b"aAzZ@[`{5"));
        assert_eq!(ByteSet::ALL.iter().count(), 256);
        let mut both = ByteSet::of(b"q");
        both.add(letters);
        assert_eq!(both.iter().count(), 5);
        assert!(both.has(b'q') && both.has(0xff) && !both.has(b'd'));
        assert_eq!(both.without(letters), ByteSet::of(b"q"));
        assert!(letters.is_within(both) && !both.is_within(letters));
        let long: Vec<u8> = (0u8..100).map(|n| n.wrapping_mul(7)).collect();
        let (head, tail) = long.split_at(50);
        let mut parts = ByteSet::in_value(head);
        parts.add(ByteSet::in_value(tail));
        assert_eq!(ByteSet::in_value(&long), parts);
    }
}
