//! Which seats are taken, as a bit a seat with versions: what a seat map needs, in two kilobytes for 15,000 seats.
//!
//! A reader who has a version gets the seats that changed since, or everything if that is shorter or the board is of
//! another life (another instance, a restart): then the generation differs. What a reader sees is up to a quarter of
//! a second old; a hold is decided by the database, not by this.
//!
//! On the wire, little endian: kind `u8` (0 everything, 1 changes, 2 nothing new), generation `u32`, version `u32`;
//! then for 0: number of seats `u32` and their bits, least significant first; for 1: for each changed seat a `u32`,
//! twice its index plus 1 if it is taken now.

use std::collections::{HashMap, VecDeque};

use crate::catalogue::{Layout, split_seat};

/// Changes that are kept for readers who come back.
const CHANGES_MAX: usize = 8_192;

/// Where each seat of a hall stands in the bits: sections in the layout's order, rows from the inside, numbers up.
#[derive(Clone, Debug)]
pub struct SeatIndex {
    /// First index of each row of each section.
    sections: HashMap<String, Vec<(u32, u16)>>,
    seats: u32,
}

impl SeatIndex {
    /// The order of a hall's seats.
    pub fn of(layout: &Layout) -> SeatIndex {
        let mut seats = 0u32;
        let mut sections = HashMap::with_capacity(layout.sections.len());
        for section in &layout.sections {
            let mut rows = Vec::with_capacity(section.rows.len());
            for count in &section.rows {
                rows.push((seats, *count));
                seats += u32::from(*count);
            }
            sections.insert(section.id.clone(), rows);
        }
        SeatIndex { sections, seats }
    }

    /// How many seats there are.
    pub fn seats(&self) -> u32 {
        self.seats
    }

    /// Where a seat stands, if there is such a seat.
    pub fn index(&self, seat: &str) -> Option<u32> {
        let (section, row, number) = split_seat(seat)?;
        let (first, count) = *self.sections.get(section)?.get(usize::from(row).checked_sub(1)?)?;
        (1..=count).contains(&number).then(|| first + u32::from(number) - 1)
    }
}

/// The bits of one performance.
#[derive(Clone, Debug)]
pub struct Board {
    generation: u32,
    version: u32,
    seats: u32,
    bits: Vec<u64>,
    /// Seats that changed, with the version that they changed in, oldest first.
    changes: VecDeque<(u32, u32)>,
    /// Readers at this version or later can be told the changes.
    since: u32,
}

/// What a reader has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Of which life.
    pub generation: u32,
    /// Up to where.
    pub version: u32,
}

/// What a reader is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Everything.
    Full(Vec<u64>),
    /// Seats that changed since, each once, with whether it is taken now.
    Changes(Vec<(u32, bool)>),
    /// Nothing new.
    Same,
}

impl Board {
    /// An empty hall. `generation` is drawn, so that no two lives of a board have the same.
    pub fn new(generation: u32, seats: u32) -> Board {
        let words = usize::try_from(seats.div_ceil(64)).unwrap_or(0);
        Board { generation, version: 0, seats, bits: vec![0; words], changes: VecDeque::new(), since: 0 }
    }

    /// Replaces what is taken. The version grows if anything changed.
    pub fn set(&mut self, taken: impl IntoIterator<Item = u32>) {
        let mut bits = vec![0u64; self.bits.len()];
        for seat in taken.into_iter().filter(|seat| *seat < self.seats) {
            let (word, bit) = place(seat);
            if let Some(word) = bits.get_mut(word) {
                *word |= bit;
            }
        }
        let next = self.version.wrapping_add(1);
        let before = self.changes.len();
        for (base, (old, new)) in (0u32..).step_by(64).zip(self.bits.iter().zip(&bits)) {
            let mut differ = old ^ new;
            while differ != 0 {
                self.changes.push_back((next, base + differ.trailing_zeros()));
                differ &= differ - 1;
            }
        }
        if self.changes.len() == before {
            return;
        }
        self.bits = bits;
        self.version = next;
        while self.changes.len() > CHANGES_MAX {
            if let Some((version, _)) = self.changes.pop_front() {
                self.since = version;
            }
        }
    }

    /// Whether a seat is taken.
    pub fn is_taken(&self, seat: u32) -> bool {
        let (word, bit) = place(seat);
        self.bits.get(word).is_some_and(|word| word & bit != 0)
    }

    /// How many are not taken.
    pub fn free(&self) -> u32 {
        self.seats - self.bits.iter().map(|word| word.count_ones()).sum::<u32>()
    }

    /// Where it stands.
    pub fn known(&self) -> Known {
        Known { generation: self.generation, version: self.version }
    }

    /// What somebody who knows this much must be told.
    pub fn since(&self, known: Option<Known>) -> Update {
        let full = || Update::Full(self.bits.clone());
        let Some(known) = known.filter(|k| k.generation == self.generation) else { return full() };
        if known.version == self.version {
            return Update::Same;
        }
        if known.version < self.since || known.version > self.version {
            return full();
        }
        let mut seats: Vec<u32> = self
            .changes
            .iter()
            .rev()
            .take_while(|(version, _)| *version > known.version)
            .map(|(_, seat)| *seat)
            .collect();
        seats.sort_unstable();
        seats.dedup();
        // Four bytes a change, one bit a seat.
        if seats.len() * 32 > self.bits.len() * 64 {
            return full();
        }
        Update::Changes(seats.into_iter().map(|seat| (seat, self.is_taken(seat))).collect())
    }

    /// The same, as bytes.
    pub fn encode(&self, known: Option<Known>) -> Vec<u8> {
        let update = self.since(known);
        let mut out = Vec::with_capacity(16 + self.bits.len() * 8);
        out.push(match update {
            Update::Full(_) => 0,
            Update::Changes(_) => 1,
            Update::Same => 2,
        });
        out.extend(self.generation.to_le_bytes());
        out.extend(self.version.to_le_bytes());
        match update {
            Update::Full(bits) => {
                out.extend(self.seats.to_le_bytes());
                out.extend(bits.iter().flat_map(|word| word.to_le_bytes()));
                out.truncate(13 + usize::try_from(self.seats.div_ceil(8)).unwrap_or(0));
            }
            Update::Changes(seats) => {
                for (seat, taken) in seats {
                    out.extend((seat * 2 + u32::from(taken)).to_le_bytes());
                }
            }
            Update::Same => {}
        }
        out
    }
}

fn place(seat: u32) -> (usize, u64) {
    (usize::try_from(seat / 64).unwrap_or(usize::MAX), 1 << (seat % 64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::season;

    #[test]
    fn every_seat_of_every_hall_has_its_own_place() {
        for hall in season(1_800_000_000_000).halls {
            let index = SeatIndex::of(&hall.layout);
            assert_eq!(index.seats(), hall.capacity);
            let names = hall.layout.sections.iter().flat_map(|s| s.seats().map(|(name, ..)| name));
            for (at, name) in (0u32..).zip(names.collect::<Vec<_>>()) {
                assert_eq!(index.index(&name), Some(at), "{name}");
            }
            for odd in ["", "nowhere-1-1", "F1-0-1", "F1-1-0", "F1-99-1", "F1-1-9999"] {
                assert_eq!(index.index(odd), None, "{odd}");
            }
        }
    }

    #[test]
    fn fifteen_thousand_seats_are_two_kilobytes_and_a_change_is_four_bytes() {
        let mut board = Board::new(7, 15_000);
        board.set([3, 14_999]);
        assert_eq!(board.encode(None).len(), 13 + 1_875);
        let known = board.known();
        assert_eq!(board.encode(Some(known)), [2, 7, 0, 0, 0, 1, 0, 0, 0]);
        board.set([3, 14_999, 70]);
        assert_eq!(board.encode(Some(known)), [1, 7, 0, 0, 0, 2, 0, 0, 0, 141, 0, 0, 0]);
        assert_eq!(board.free(), 14_997);
    }

    #[test]
    fn a_reader_of_another_life_gets_everything() {
        let mut board = Board::new(7, 100);
        board.set([1]);
        let Update::Full(bits) = board.since(Some(Known { generation: 8, version: 1 })) else { panic!() };
        assert_eq!(bits, [2, 0]);
        assert!(matches!(board.since(Some(Known { generation: 7, version: 9 })), Update::Full(_)));
    }

    #[test]
    fn a_reader_who_was_away_too_long_gets_everything() {
        let mut board = Board::new(7, 15_000);
        let start = board.known();
        for n in 0..3_000 {
            board.set(n * 3..n * 3 + 3);
        }
        assert!(board.changes.len() <= CHANGES_MAX);
        assert!(matches!(board.since(Some(start)), Update::Full(_)));
    }

    proptest! {
        #[test]
        fn whoever_applies_the_changes_sees_what_is(
            steps in proptest::collection::vec((proptest::collection::btree_set(0u32..300, 0..40), any::<bool>()), 1..30),
        ) {
            let mut board = Board::new(1, 300);
            let (mut seen, mut known) = (vec![0u64; 5], None);
            for (taken, looks) in steps {
                board.set(taken);
                if !looks {
                    continue;
                }
                match board.since(known) {
                    Update::Full(bits) => seen = bits,
                    Update::Changes(changes) => {
                        for (seat, taken) in changes {
                            let (word, bit) = place(seat);
                            if taken { seen[word] |= bit } else { seen[word] &= !bit }
                        }
                    }
                    Update::Same => {}
                }
                known = Some(board.known());
                prop_assert_eq!(&seen, &board.bits);
            }
        }
    }
}
