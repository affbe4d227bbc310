//! The waiting list (예매대기): who is offered a seat that came back.
//!
//! Whoever waits longest is offered first. An offer stands for six hours, then the next in line has it; nobody is
//! passed over except for seats that are too few for them. Everything follows from the rows and the time, so it may
//! be computed by whoever looks, here or elsewhere, as often as they like: an offer that stands is never made twice.

use std::collections::BTreeMap;

/// How long an offer stands.
pub const OFFER_MS: u64 = 6 * 3_600_000;
/// The list ends so long before the performance: what comes back later is sold to whoever comes.
pub const ENDS_BEFORE_MS: u64 = 2 * 86_400_000;
/// How many may wait for one grade of a performance, for each of its seats.
pub const WAITERS_PER_SEAT: u32 = 5;

/// Somebody who waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Row number: grows with time, so it is the place in the line.
    pub id: u64,
    /// Whose.
    pub account: u64,
    /// For seats of this grade.
    pub grade: String,
    /// How many.
    pub count: u8,
    /// What they were offered last, if it was not taken.
    pub offer: Option<Offer>,
}

/// Seats that somebody may have until a deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Which.
    pub seats: Vec<String>,
    /// Until when.
    pub until_ms: u64,
}

/// What to write: this waiter is offered this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOffer {
    /// Whom.
    pub waiter: u64,
    /// What.
    pub offer: Offer,
}

/// Decides who is offered what. `freed` are free seats by grade, in the order in which they should go; those of a
/// standing offer are not among them. Waiters whose offer lapsed are out of the line: they had their turn.
pub fn offers(
    waiters: &[Waiter],
    freed: &BTreeMap<String, Vec<String>>,
    starts_ms: u64,
    now_ms: u64,
) -> Vec<NewOffer> {
    let ends_ms = starts_ms.saturating_sub(ENDS_BEFORE_MS);
    if now_ms >= ends_ms {
        return Vec::new();
    }
    let mut left = freed.clone();
    let mut line: Vec<&Waiter> = waiters.iter().filter(|w| w.offer.is_none()).collect();
    line.sort_by_key(|w| w.id);
    let mut made = Vec::new();
    for waiter in line {
        let Some(seats) = left.get_mut(&waiter.grade) else { continue };
        let count = usize::from(waiter.count);
        if count == 0 || seats.len() < count {
            continue;
        }
        let offer =
            Offer { seats: seats.drain(..count).collect(), until_ms: (now_ms + OFFER_MS).min(ends_ms) };
        made.push(NewOffer { waiter: waiter.id, offer });
    }
    made
}

/// How many are in the line before this waiter, of the same grade; none if it is not in the line.
pub fn ahead(waiters: &[Waiter], id: u64) -> Option<usize> {
    let me = waiters.iter().find(|w| w.id == id && w.offer.is_none())?;
    Some(waiters.iter().filter(|w| w.grade == me.grade && w.offer.is_none() && w.id < id).count())
}

/// Whether one more may join the line of a grade that has so many seats.
pub fn has_room(waiting: u32, seats: u32) -> bool {
    waiting < seats.saturating_mul(WAITERS_PER_SEAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTS: u64 = 1_800_000_000_000;
    const NOW: u64 = STARTS - 10 * 86_400_000;

    fn waiter(id: u64, grade: &str, count: u8) -> Waiter {
        Waiter { id, account: id, grade: grade.into(), count, offer: None }
    }

    fn freed(grade: &str, seats: &[&str]) -> BTreeMap<String, Vec<String>> {
        BTreeMap::from([(grade.to_owned(), seats.iter().map(|s| (*s).to_owned()).collect())])
    }

    /// `waiter: seats`, one an offer.
    fn made(waiters: &[Waiter], freed: &BTreeMap<String, Vec<String>>, now_ms: u64) -> String {
        let made = offers(waiters, freed, STARTS, now_ms);
        let lines: Vec<String> =
            made.iter().map(|o| format!("{}: {}", o.waiter, o.offer.seats.join(" "))).collect();
        lines.join(", ")
    }

    #[test]
    fn whoever_waits_longest_is_offered_first_and_nobody_is_passed_over_for_nothing() {
        let line = [waiter(3, "R", 1), waiter(1, "R", 2), waiter(2, "R", 1), waiter(0, "VIP", 1)];
        let two = freed("R", &["A-1-1", "A-1-2"]);
        assert_eq!(made(&line, &two, NOW), "1: A-1-1 A-1-2");
        // One seat is too few for the first: the second has it.
        assert_eq!(made(&line, &freed("R", &["A-1-1"]), NOW), "2: A-1-1");
        assert_eq!(ahead(&line, 3), Some(2));
        assert_eq!(ahead(&line, 0), Some(0));
        assert_eq!(ahead(&line, 9), None);
    }

    #[test]
    fn an_offer_is_made_once_and_a_lapsed_one_goes_to_the_next() {
        let mut line = [waiter(1, "R", 1), waiter(2, "R", 1)];
        let one = freed("R", &["A-1-1"]);
        let first = offers(&line, &one, STARTS, NOW).remove(0);
        assert_eq!((first.waiter, first.offer.until_ms), (1, NOW + OFFER_MS));
        line[0].offer = Some(first.offer);
        // The seat is kept for the first, so it is not free; then it lapses and is.
        assert_eq!(made(&line, &freed("R", &[]), NOW), "");
        assert_eq!(made(&line, &one, NOW + OFFER_MS), "2: A-1-1");
    }

    #[test]
    fn the_list_ends_before_the_performance_and_so_do_its_offers() {
        let line = [waiter(1, "R", 1)];
        let one = freed("R", &["A-1-1"]);
        let ends = STARTS - ENDS_BEFORE_MS;
        assert_eq!(offers(&line, &one, STARTS, ends - 1).remove(0).offer.until_ms, ends);
        assert_eq!(made(&line, &one, ends), "");
        assert!(has_room(9, 2) && !has_room(10, 2));
    }
}
