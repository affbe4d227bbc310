//! Finding good seats: the best that are free, together, without leaving single seats behind.
//!
//! Give it a hall, which seats are free, the wish and a random number; get back seats. A seat is good by its distance
//! from the best place of the hall: on the stage's axis, a few rows from the front. Neighbours are judged as a group.
//! Of almost equally good groups the random number chooses one: when a thousand people ask for the best seats in one
//! second, they must not all be shown the same two.
//!
//! Must not know: the database, who asks, prices.

use crate::catalogue::{Hall, Section};

/// The axis of the stage in the drawing: straight down.
const AXIS_DEG: f64 = 90.0;
/// The best row is so many rows behind the first.
const BEST_ROW: f64 = 4.0;
/// A step sideways counts so much of a step backwards.
const SIDEWAYS: f64 = 0.7;
/// Leaving a single free seat behind counts as so many rows.
const STRANDED_ROWS: f64 = 6.0;
/// Being in two rows instead of one counts as so many rows.
const APART_ROWS: f64 = 8.0;
/// The random number chooses among so many groups, none of which overlaps another.
const CHOICES: usize = 12;

/// What somebody wishes for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How many seats.
    pub count: u16,
    /// Of which grade; any if none.
    pub grade: Option<String>,
    /// Places for wheelchairs, which are otherwise left for those who need them.
    pub wheelchair: bool,
}

/// Seats that were found, as their names; those of one row are next to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// One group if they are all in one row, two if they are in two rows behind each other.
    pub groups: Vec<Vec<String>>,
}

/// Neighbours in one row that are free.
#[derive(Clone, Copy, Debug)]
struct Group<'h> {
    section: &'h Section,
    row: u16,
    /// First seat, from 1.
    from: u16,
    count: u16,
    /// Smaller is better, in rows.
    score: f64,
}

/// The seats of one row.
struct Row<'h> {
    section: &'h Section,
    row: u16,
    /// Whether each is free and of the wished kind; from seat 1.
    open: Vec<bool>,
    /// Whether each is free at all.
    free: Vec<bool>,
    /// How far each is from the best place, in rows.
    distance: Vec<f64>,
}

/// Finds seats. `is_free` is asked by the seat's place in the availability bits: sections in the layout's order,
/// rows from the inside, numbers up.
pub fn best(hall: &Hall, is_free: impl Fn(u32) -> bool, wanted: &Wanted, luck: u64) -> Option<Found> {
    if wanted.count == 0 {
        return None;
    }
    let rows = rows(hall, is_free, wanted);
    let mut groups: Vec<Group<'_>> = rows.iter().flat_map(|row| row.groups(wanted.count)).collect();
    if !groups.is_empty() {
        groups.sort_by(|a, b| a.score.total_cmp(&b.score));
        let group = chosen(&groups, luck)?;
        return Some(Found { groups: vec![group.names()] });
    }
    in_two_rows(&rows, wanted.count)
}

/// The seats that a choice would leave alone: free, with no free neighbour, which had one before. `row_free` says of
/// each seat of the row, from 1, whether it is free now.
pub fn stranded(row_free: &[bool], chosen: &[u16]) -> Vec<u16> {
    let after: Vec<bool> =
        (1u16..).zip(row_free).map(|(number, free)| *free && !chosen.contains(&number)).collect();
    let single = |seats: &[bool], at: usize| {
        let near = |at: Option<usize>| at.and_then(|at| seats.get(at)).copied().unwrap_or(false);
        near(Some(at)) && !near(at.checked_sub(1)) && !near(Some(at + 1))
    };
    (1u16..)
        .zip(0..after.len())
        .filter(|(_, at)| single(&after, *at) && !single(row_free, *at))
        .map(|(number, _)| number)
        .collect()
}

fn rows<'h>(hall: &'h Hall, is_free: impl Fn(u32) -> bool, wanted: &Wanted) -> Vec<Row<'h>> {
    let nearest = hall.layout.sections.iter().map(|s| s.first_row).fold(f64::MAX, f64::min);
    let mut rows = Vec::new();
    let mut first = 0u32;
    for section in &hall.layout.sections {
        let of_grade = wanted.grade.as_ref().is_none_or(|grade| *grade == section.grade);
        for (row, count) in (1u16..).zip(&section.rows) {
            let start = first;
            first += u32::from(*count);
            if !of_grade || *count < 1 {
                continue;
            }
            let free: Vec<bool> = (0..*count).map(|n| is_free(start + u32::from(n))).collect();
            let open = (1u16..)
                .zip(&free)
                .map(|(number, free)| *free && section.is_wheelchair(row, number) == wanted.wheelchair)
                .collect();
            let distance = (1..=*count).map(|number| distance(section, nearest, row, number)).collect();
            rows.push(Row { section, row, open, free, distance });
        }
    }
    rows
}

/// How far a seat is from the best place of the hall, in rows of its section.
fn distance(section: &Section, nearest: f64, row: u16, number: u16) -> f64 {
    let count = section.rows.get(usize::from(row - 1)).copied().unwrap_or(1);
    let pitch = section.row_pitch.max(1.0);
    let radius = section.first_row + f64::from(row - 1) * pitch;
    let across = (f64::from(number) - 0.5) / f64::from(count.max(1));
    // Seats are numbered from the audience's left, which is the larger angle.
    let degrees = section.to_deg - (section.to_deg - section.from_deg) * across;
    let sideways = (degrees - AXIS_DEG).abs().to_radians() * radius;
    let back = radius - (nearest + BEST_ROW * pitch);
    // Too close is as bad as twice too far.
    let back = if back < 0.0 { -0.5 * back } else { back };
    (back + SIDEWAYS * sideways) / pitch
}

impl<'h> Row<'h> {
    /// Every group of `count` open neighbours.
    fn groups(&self, count: u16) -> Vec<Group<'h>> {
        let width = usize::from(count);
        let free_at = |at: Option<usize>| at.and_then(|at| self.free.get(at)).copied().unwrap_or(false);
        let mut groups = Vec::new();
        for (from, window) in (1u16..).zip(self.open.windows(width)) {
            if !window.iter().all(|open| *open) {
                continue;
            }
            let at = usize::from(from - 1);
            let sum: f64 = self.distance.iter().skip(at).take(width).sum();
            let mut score = sum / f64::from(count);
            // A single free seat to the left or to the right.
            if free_at(at.checked_sub(1)) && !free_at(at.checked_sub(2)) {
                score += STRANDED_ROWS;
            }
            if free_at(Some(at + width)) && !free_at(Some(at + width + 1)) {
                score += STRANDED_ROWS;
            }
            groups.push(Group { section: self.section, row: self.row, from, count, score });
        }
        groups
    }
}

impl Group<'_> {
    fn names(&self) -> Vec<String> {
        (self.from..self.from + self.count)
            .map(|number| format!("{}-{}-{number}", self.section.id, self.row))
            .collect()
    }

    fn overlaps(&self, other: &Group<'_>) -> bool {
        self.section.id == other.section.id
            && self.row == other.row
            && self.from < other.from + other.count
            && other.from < self.from + self.count
    }
}

/// One of the best groups that share no seat, by luck; the better, the likelier.
fn chosen<'g, 'h>(sorted: &'g [Group<'h>], luck: u64) -> Option<&'g Group<'h>> {
    let mut choices: Vec<&Group<'_>> = Vec::with_capacity(CHOICES);
    let limit = sorted.first()?.score + STRANDED_ROWS / 2.0;
    for group in sorted.iter().take_while(|g| g.score <= limit) {
        if choices.iter().all(|other| !group.overlaps(other)) {
            choices.push(group);
        }
        if choices.len() == CHOICES {
            break;
        }
    }
    // The smaller of two draws: the first of n has a chance of about 2/n.
    let n = u64::try_from(choices.len()).ok().filter(|n| *n > 0)?;
    let drawn = (luck % n).min(luck / n % n);
    choices.get(usize::try_from(drawn).ok()?).copied()
}

/// When no row has room for all: halves in two rows behind each other, as close as can be.
fn in_two_rows(rows: &[Row<'_>], count: u16) -> Option<Found> {
    let (larger, smaller) = (count.div_ceil(2), count / 2);
    if smaller == 0 {
        return None;
    }
    let mut best: Option<(f64, Group<'_>, Group<'_>)> = None;
    for front in rows {
        let behind = |r: &&Row<'_>| r.section.id == front.section.id && r.row == front.row + 1;
        let Some(back) = rows.iter().find(behind) else { continue };
        for (a, b) in [(larger, smaller), (smaller, larger)] {
            for first in front.groups(a) {
                for second in back.groups(b) {
                    let aside = f64::from(first.from.abs_diff(second.from));
                    let score = first.score + second.score + APART_ROWS + aside;
                    if best.as_ref().is_none_or(|(least, ..)| score < *least) {
                        best = Some((score, first, second));
                    }
                }
            }
        }
    }
    best.map(|(_, first, second)| Found { groups: vec![first.names(), second.names()] })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        catalogue::{Layout, Stage, Text},
        fixture::season,
        inventory::board::SeatIndex,
    };

    fn hall(rows: &[u16]) -> Hall {
        let section = Section {
            id: "A".into(),
            name: Text::new("A", "A"),
            grade: "R".into(),
            from_deg: 60.0,
            to_deg: 120.0,
            first_row: 200.0,
            row_pitch: 20.0,
            rows: rows.to_vec(),
            sight: vec![],
            wheelchair: vec![],
        };
        let stage = Stage { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };
        let layout = Layout { width: 1.0, height: 1.0, centre: (0.0, 0.0), stage, sections: vec![section] };
        Hall::new(1, Text::new("h", "h"), rows.iter().map(|n| u32::from(*n)).sum(), layout)
    }

    fn wanted(count: u16) -> Wanted {
        Wanted { count, grade: None, wheelchair: false }
    }

    /// `#` is taken, `.` free; one line a row.
    fn check(plan: &[&str], count: u16, expected: Option<&[&[&str]]>) {
        let rows: Vec<u16> = plan.iter().map(|row| u16::try_from(row.len()).unwrap()).collect();
        let bits: Vec<bool> = plan.iter().flat_map(|row| row.chars()).map(|c| c == '.').collect();
        let found = best(&hall(&rows), |seat| bits[usize::try_from(seat).unwrap()], &wanted(count), 0);
        let groups = found.map(|f| f.groups);
        let expected = expected.map(|groups| {
            groups.iter().map(|g| g.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).collect::<Vec<_>>()
        });
        assert_eq!(groups, expected, "{plan:?}");
    }

    #[test]
    fn neighbours_are_found_and_no_single_seat_is_left() {
        check(&["##..##"], 2, Some(&[&["A-1-3", "A-1-4"]]));
        // The middle pair is the nearest to the axis, and would leave a single seat on each side.
        check(&["#....#"], 2, Some(&[&["A-1-2", "A-1-3"]]));
        check(&[".#.#.#"], 2, None);
        check(&["######"], 1, None);
        // No row has room for three.
        check(&["##", "..", ".#"], 3, Some(&[&["A-2-1", "A-2-2"], &["A-3-1"]]));
    }

    #[test]
    fn an_empty_hall_gives_the_middle_a_few_rows_back() {
        let found = best(&hall(&[21; 20]), |_| true, &wanted(2), 0).unwrap();
        let mut place = found.groups[0][0].split('-').skip(1).map(|n| n.parse::<u16>().unwrap());
        let (row, number) = (place.next().unwrap(), place.next().unwrap());
        assert!((4..=6).contains(&row) && (9..=12).contains(&number), "{found:?}");
    }

    #[test]
    fn a_thousand_who_ask_at_once_are_not_all_shown_the_same_seats() {
        let hall = hall(&[30; 20]);
        let shown: HashSet<Vec<String>> = (0..1_000u64)
            .map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15))
            .map(|luck| best(&hall, |_| true, &wanted(2), luck).unwrap().groups.remove(0))
            .collect();
        assert!(shown.len() >= CHOICES - 2, "{}", shown.len());
        let seats: HashSet<&String> = shown.iter().flatten().collect();
        assert_eq!(seats.len(), shown.len() * 2, "no two share a seat");
    }

    #[test]
    fn a_single_seat_left_behind_is_noticed() {
        let row = |text: &str| text.chars().map(|c| c == '.').collect::<Vec<_>>();
        assert_eq!(stranded(&row("......"), &[2, 3]), [1]);
        assert_eq!(stranded(&row("......"), &[1, 2]), [] as [u16; 0]);
        assert_eq!(stranded(&row("......"), &[2, 4]), [1, 3]);
        // It was alone before: not this visitor's doing.
        assert_eq!(stranded(&row(".#...."), &[3, 4]), [] as [u16; 0]);
        assert_eq!(stranded(&row("...."), &[1, 2, 3]), [4]);
    }

    #[test]
    fn wheelchair_places_are_left_for_those_who_need_them() {
        let halls = season(1_800_000_000_000).halls;
        for hall in &halls {
            let index = SeatIndex::of(&hall.layout);
            let places: HashSet<String> = hall
                .layout
                .sections
                .iter()
                .flat_map(|s| {
                    s.seats().filter(|(_, row, n)| s.is_wheelchair(*row, *n)).map(|(name, ..)| name)
                })
                .collect();
            assert!(places.len() >= 4, "{}", hall.name.en);
            let found = best(hall, |_| true, &Wanted { wheelchair: true, ..wanted(2) }, 5).unwrap();
            assert!(found.groups.iter().flatten().all(|seat| places.contains(seat)));
            // Only those places are left: nobody else is shown them.
            let only = |seat| places.iter().any(|p| index.index(p) == Some(seat));
            assert_eq!(best(hall, only, &wanted(1), 5), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_free_together_and_as_many_as_wished(
            bits in proptest::collection::vec(any::<bool>(), 60),
            count in 1u16..6,
            luck in any::<u64>(),
        ) {
            let hall = hall(&[10; 6]);
            let index = SeatIndex::of(&hall.layout);
            let is_free = |seat: u32| bits[usize::try_from(seat).unwrap()];
            let runs = bits.chunks(10).any(|row| row.windows(usize::from(count)).any(|w| w.iter().all(|f| *f)));
            match best(&hall, is_free, &wanted(count), luck) {
                None => prop_assert!(!runs),
                Some(found) => {
                    prop_assert_eq!(found.groups.len() == 1, runs);
                    prop_assert_eq!(found.groups.iter().flatten().count(), usize::from(count));
                    for group in &found.groups {
                        let places: Vec<u32> = group.iter().map(|s| index.index(s).unwrap()).collect();
                        prop_assert!(places.iter().all(|p| is_free(*p)));
                        prop_assert!(places.windows(2).all(|w| w[1] == w[0] + 1));
                    }
                }
            }
        }
    }
}
