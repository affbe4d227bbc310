//! How fast numbers are called: as fast as the box office can bear, found by trying.
//!
//! Additive increase, multiplicative decrease: while answers are quick and the line is not empty the pace grows by a
//! step a second; when they are slow or refused it falls by three tenths, then rests, so that one bad second is paid
//! for once. The pace is further bounded by the visitors inside: those with a turn, and those called a moment ago who
//! may still come. Who was called and never came frees that bound after [`CLAIM_MS`] and keeps the number: coming
//! late is no fault, and nobody's absence jams the door.
//!
//! Every instance steps a [`Pace`]; one of them moves the sale's row, by a compare-and-set on the serving number that
//! it read, and the others see that it moved. Whole numbers only, so that every site computes alike.

use std::collections::VecDeque;

/// How long somebody who was called is expected to come.
pub const CLAIM_MS: u64 = 20_000;
/// How often the serving number is moved.
pub const TICK_MS: u64 = 1_000;
/// After a longer pause the time between counts as this much: a pause is not made up for by a flood.
const GAP_MAX_MS: u64 = 2_000;
/// How long the pace rests after it was lowered.
const REST_MS: u64 = 3_000;

/// What the operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Never slower than this, in thousandths of a number a second.
    pub pace_min_milli: u32,
    /// Never faster.
    pub pace_max_milli: u32,
    /// What a healthy second adds.
    pub step_milli: u32,
    /// Answers that take longer than this are slow.
    pub p95_ms_max: u32,
    /// How many may be inside.
    pub inside_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            pace_min_milli: 1_000,
            pace_max_milli: 500_000,
            step_milli: 2_000,
            p95_ms_max: 250,
            inside_max: 5_000,
        }
    }
}

/// What was measured since the last step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Holds and payments that were asked for.
    pub attempts: u32,
    /// Of them, refused because the database did not answer. A taken seat is an answer.
    pub refused: u32,
    /// How long 95 of 100 took at most.
    pub p95_ms: u32,
    /// Turns that have not ended.
    pub inside: u32,
    /// Turns that began within the last [`CLAIM_MS`].
    pub came: u32,
    /// Seats that can still be had.
    pub seats_free: u32,
}

/// Why the pace is what it is: for the organiser's page and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Healthy; the pace grew, or is at its maximum.
    Healthy,
    /// Answers were slow or refused; the pace fell.
    Overloaded,
    /// It fell a moment ago and rests.
    Resting,
    /// Enough visitors are inside.
    Full,
    /// Nobody waits.
    Empty,
    /// There is nothing left to sell.
    SoldOut,
    /// The first look: nothing to compare with.
    First,
}

/// A step's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Numbers up to this one are called.
    pub serving: u32,
    /// The pace to be kept in the row.
    pub pace_milli: u32,
    /// Why.
    pub why: Why,
}

/// The state of the search.
#[derive(Clone, Debug)]
pub struct Pace {
    limits: Limits,
    pace_milli: u32,
    /// Millionths of a number that were due and not called.
    carry_micro: u64,
    stepped_ms: Option<u64>,
    rest_until_ms: u64,
    /// Serving numbers as they were seen, oldest first.
    seen: VecDeque<(u64, u32)>,
}

impl Pace {
    /// Goes on from the pace in the sale's row. An instance that just began, or whose site just took over, knows
    /// nothing of what its database can bear: it begins at half.
    pub fn resumed(limits: Limits, pace_milli: u32) -> Pace {
        let pace_milli = (pace_milli / 2).clamp(limits.pace_min_milli, limits.pace_max_milli);
        Pace { limits, pace_milli, carry_micro: 0, stepped_ms: None, rest_until_ms: 0, seen: VecDeque::new() }
    }

    /// Thousandths of a number a second.
    pub fn pace_milli(&self) -> u32 {
        self.pace_milli
    }

    /// One step: given the row's serving number and the last number given.
    pub fn step(&mut self, now_ms: u64, serving: u32, given: u32, sample: &Sample) -> Call {
        let gap_ms = self.stepped_ms.map(|before| now_ms.saturating_sub(before).min(GAP_MAX_MS));
        self.stepped_ms = Some(now_ms);
        self.remember(now_ms, serving);
        let waiting = given.saturating_sub(serving);
        let Some(gap_ms) = gap_ms else { return self.hold(serving, Why::First) };

        let overloaded = sample.p95_ms > self.limits.p95_ms_max
            || u64::from(sample.refused) * 20 > u64::from(sample.attempts);
        let why = if overloaded && now_ms >= self.rest_until_ms {
            self.pace_milli = (self.pace_milli / 10 * 7).max(self.limits.pace_min_milli);
            self.rest_until_ms = now_ms + REST_MS;
            self.carry_micro = 0;
            Why::Overloaded
        } else if now_ms < self.rest_until_ms {
            Why::Resting
        } else if waiting == 0 {
            // An empty line proves nothing about what the office can bear.
            return self.hold(serving, Why::Empty);
        } else {
            Why::Healthy
        };
        if sample.seats_free == 0 {
            return self.hold(serving, Why::SoldOut);
        }

        let room = self.limits.inside_max.saturating_sub(sample.inside).saturating_sub(self.expected(sample));
        let due_micro = self.carry_micro + u64::from(self.pace_milli) * gap_ms;
        let due = u32::try_from(due_micro / 1_000_000).unwrap_or(u32::MAX);
        let called = due.min(room).min(waiting);
        if room == 0 || room < due.min(waiting) {
            self.carry_micro = 0;
            return Call { serving: serving + called, pace_milli: self.pace_milli, why: Why::Full };
        }
        // What the line was too short for is not owed to those who come next.
        self.carry_micro = if called == due { due_micro % 1_000_000 } else { 0 };
        if why == Why::Healthy {
            let faster = self.pace_milli.saturating_add(self.limits.step_milli);
            self.pace_milli = faster.min(self.limits.pace_max_milli);
        }
        Call { serving: serving + called, pace_milli: self.pace_milli, why }
    }

    /// Those called within the last [`CLAIM_MS`] who did not come yet.
    fn expected(&self, sample: &Sample) -> u32 {
        let (Some((_, first)), Some((_, last))) = (self.seen.front(), self.seen.back()) else { return 0 };
        (last - first).saturating_sub(sample.came)
    }

    fn remember(&mut self, now_ms: u64, serving: u32) {
        // The serving number never goes back; a row that says so is of another life, and so is what was seen.
        if self.seen.back().is_some_and(|(_, last)| *last > serving) {
            self.seen.clear();
        }
        self.seen.push_back((now_ms, serving));
        while self.seen.len() > 1 && self.seen.front().is_some_and(|(at, _)| at + CLAIM_MS < now_ms) {
            self.seen.pop_front();
        }
    }

    fn hold(&mut self, serving: u32, why: Why) -> Call {
        self.carry_micro = 0;
        Call { serving, pace_milli: self.pace_milli, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        pace_min_milli: 1_000,
        pace_max_milli: 400_000,
        step_milli: 2_000,
        p95_ms_max: 250,
        inside_max: 5_000,
    };

    fn healthy() -> Sample {
        Sample { attempts: 100, refused: 0, p95_ms: 40, inside: 0, came: u32::MAX, seats_free: 15_000 }
    }

    /// A box office that bears `capacity` numbers a second: beyond, it gets slow.
    fn run(pace: &mut Pace, capacity: u32, seconds: u64) -> (u32, u32) {
        let (mut serving, mut last) = (0, 0);
        for s in 0..seconds {
            let slow = last > capacity;
            let sample = Sample { p95_ms: if slow { 900 } else { 40 }, ..healthy() };
            let call = pace.step(s * 1_000, serving, u32::MAX, &sample);
            last = call.serving - serving;
            serving = call.serving;
        }
        (serving, last)
    }

    #[test]
    fn the_pace_finds_what_the_office_bears() {
        let mut pace = Pace::resumed(LIMITS, 20_000);
        let (served, _) = run(&mut pace, 100, 300);
        // Between the floor of a sawtooth (70) and its tip (102), after half a minute of finding it.
        assert!((75 * 260..102 * 300).contains(&served), "{served} in 300 s");
        assert!((65_000..=104_000).contains(&pace.pace_milli()), "{}", pace.pace_milli());
    }

    #[test]
    fn one_bad_second_is_paid_for_once() {
        let mut pace = Pace::resumed(LIMITS, 200_000);
        pace.step(0, 0, 10_000, &healthy());
        let bad = Sample { refused: 50, ..healthy() };
        assert_eq!(pace.step(1_000, 0, 10_000, &bad).why, Why::Overloaded);
        assert_eq!(pace.pace_milli(), 70_000);
        assert_eq!(pace.step(2_000, 0, 10_000, &bad).why, Why::Resting);
        assert_eq!(pace.pace_milli(), 70_000);
        assert_eq!(pace.step(4_000, 0, 10_000, &bad).why, Why::Overloaded);
        assert_eq!(pace.pace_milli(), 49_000);
        for s in 5..200 {
            pace.step(s * 1_000, 0, 10_000, &bad);
        }
        assert_eq!(pace.pace_milli(), LIMITS.pace_min_milli, "it never stops altogether");
    }

    #[test]
    fn a_pause_is_not_made_up_for_by_a_flood() {
        let mut pace = Pace::resumed(LIMITS, 200_000);
        pace.step(0, 0, 1_000_000, &healthy());
        // A failover took a minute.
        let call = pace.step(60_000, 0, 1_000_000, &healthy());
        assert_eq!(call.serving, 200, "two seconds' worth at 100 a second");
        // And whoever takes over begins at half of what the row says.
        assert_eq!(Pace::resumed(LIMITS, call.pace_milli).pace_milli(), call.pace_milli / 2);
    }

    #[test]
    fn no_more_are_let_in_than_there_is_room_for_and_absence_jams_nothing() {
        let limits = Limits { inside_max: 300, ..LIMITS };
        let mut pace = Pace::resumed(limits, 200_000);
        let nobody_comes = Sample { came: 0, ..healthy() };
        let mut serving = 0;
        let mut at = 0;
        for s in 0..=10 {
            at = s * 1_000;
            serving = pace.step(at, serving, 1_000_000, &nobody_comes).serving;
        }
        assert_eq!(serving, 300, "those who were called may still come");
        assert_eq!(pace.step(at, serving, 1_000_000, &nobody_comes).why, Why::Full);
        // After a while the door goes on without them.
        for s in 11..=25 {
            serving = pace.step(s * 1_000, serving, 1_000_000, &nobody_comes).serving;
        }
        assert!(serving > 300, "{serving}");
        let crowded = Sample { inside: 300, ..healthy() };
        assert_eq!(
            pace.step(26_000, serving, 1_000_000, &crowded),
            Call { serving, pace_milli: pace.pace_milli(), why: Why::Full }
        );
    }

    #[test]
    fn nobody_is_called_when_there_is_nothing_to_sell_or_nobody_waits() {
        let mut pace = Pace::resumed(LIMITS, 200_000);
        pace.step(0, 5, 5, &healthy());
        assert_eq!(pace.step(1_000, 5, 5, &healthy()).why, Why::Empty);
        let sold_out = Sample { seats_free: 0, ..healthy() };
        assert_eq!(
            pace.step(2_000, 5, 50, &sold_out),
            Call { serving: 5, pace_milli: 100_000, why: Why::SoldOut }
        );
    }

    #[test]
    fn numbers_are_called_in_order_and_fractions_are_kept() {
        let limits = Limits { pace_max_milli: 1_500, ..LIMITS };
        let mut pace = Pace::resumed(limits, 3_000);
        let mut serving = 0;
        for s in 0..=20 {
            let call = pace.step(s * 1_000, serving, 1_000, &healthy());
            assert!(call.serving >= serving);
            serving = call.serving;
        }
        assert_eq!(serving, 30, "1.5 a second for 20 s");
    }
}
