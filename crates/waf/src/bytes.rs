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
        value.iter().for_each(|&byte| set.insert(byte));
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

    /// Its bytes, ascending.
    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |&b| self.0[usize::from(b >> 6)] >> (b & 63) & 1 == 1)
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
    }
}
