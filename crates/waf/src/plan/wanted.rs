//! Which values can matter to a look: what their bytes rule out is neither transformed nor scanned.

use crate::{
    bank::{Bank, PROSE},
    bytes::ByteSet,
    transform::Transformation,
};

/// Which of a plan's classes of marks a value has: two ANDs tell whether it has all that a pattern needs.
pub(crate) type Marks = u128;

/// The classes of bytes that patterns need and prose does not have.
pub(crate) struct Classes {
    classes: Vec<ByteSet>,
    /// Of each byte, the classes that have it.
    of_byte: Box<[Marks; 256]>,
}

impl Classes {
    pub(super) fn of(bank: &Bank) -> Self {
        let mut classes: Vec<ByteSet> = Vec::new();
        for need in (0..bank.len()).flat_map(|pattern| bank.needs(pattern)) {
            // What does not fit in is not asked for.
            if !need.meets(PROSE) && !classes.contains(need) && classes.len() < Marks::BITS as usize {
                classes.push(*need);
            }
        }
        let mut of_byte = Box::new([0; 256]);
        for (at, class) in classes.iter().enumerate() {
            class.iter().for_each(|byte| of_byte[usize::from(byte)] |= 1 << at);
        }
        Self { classes, of_byte }
    }

    /// The marks of a value that has these bytes.
    pub(crate) fn in_bytes(&self, bytes: ByteSet) -> Marks {
        bytes.without(PROSE).iter().fold(0, |marks, byte| marks | self.of_byte[usize::from(byte)])
    }

    /// The marks that all of these classes stand for.
    fn needed(&self, needs: &[ByteSet]) -> Marks {
        let known = needs.iter().filter_map(|need| self.classes.iter().position(|class| class == need));
        known.fold(0, |marks, at| marks | 1 << at)
    }

    /// The marks that there may be behind the transformation.
    pub(super) fn behind(
        &self,
        transformation: Transformation,
        bytes: ByteSet,
        marks: Marks,
    ) -> (ByteSet, Marks) {
        let after = transformation.reaches(bytes);
        let marks = match transformation {
            _ if after == bytes || marks == Marks::MAX => marks,
            _ if after == ByteSet::ALL => Marks::MAX,
            // Letters, spaces and this one are all that the others bring.
            Transformation::NormalizePathWin => marks | self.of_byte[usize::from(b'/')],
            _ => marks,
        };
        (after, marks)
    }
}

/// Which values matter to a look, and to those that go on from it.
#[derive(Default)]
pub(crate) struct Wanted {
    /// More is asked than patterns: every value matters.
    pub(super) all: bool,
    /// One of the patterns may match where there is no mark.
    in_prose: bool,
    /// The marks that each other pattern needs; none of them is part of another.
    needs: Vec<Marks>,
    /// The shortest of all matches is so long.
    pub(super) shortest: usize,
    /// The looks with one transformation more.
    pub(super) children: Vec<(Transformation, usize)>,
}

impl Wanted {
    pub(super) fn of(asked: &[usize], more: bool, bank: &Bank, classes: &Classes) -> Self {
        let mut wanted = Self { all: more, shortest: usize::MAX, ..Self::default() };
        for &pattern in asked {
            wanted.shortest = wanted.shortest.min(bank.shortest(pattern));
            wanted.all |= bank.is_always(pattern);
            match classes.needed(bank.needs(pattern)) {
                0 => wanted.in_prose = true,
                marks => wanted.needs.push(marks),
            }
        }
        let all = wanted.needs.clone();
        wanted.needs.retain(|needs| !all.iter().any(|less| less != needs && less & !needs == 0));
        wanted.needs.sort_unstable();
        wanted.needs.dedup();
        wanted
    }

    /// Whether one of the patterns may match where these marks are.
    pub(crate) fn meets(&self, marks: Marks) -> bool {
        self.in_prose || marks != 0 && self.needs.iter().any(|needs| needs & !marks == 0)
    }
}
