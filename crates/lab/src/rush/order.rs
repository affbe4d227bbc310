//! I9: the queue's order can be recomputed, and nobody is overtaken.
//!
//! The lottery is drawn here again from the published seed, by what the waiting room's page promises: the lot of an
//! entry is the first 63 bits of HMAC-SHA256(seed; performance, entry) behind its class, and the smallest lot has number 1.

use std::collections::{HashMap, HashSet};

use ring::{digest, hmac};

use super::{
    notes::{Noted, Told},
    scene::{Entry, Room},
};
use crate::checker::Violation;

/// A page may be so old: an instance reads the numbers once a second, and another one may have read them just before.
const STALE_MS: u64 = 6_000;

/// Judges the room by itself and by what visitors were told.
pub(super) fn judge(room: &Room, noted: &Noted) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut wrong = |what: String| found.push(Violation::new("I9", what));
    if digest::digest(&digest::SHA256, &room.seed).as_ref() != room.seed_sha256 {
        wrong("the seed is not the one whose hash was published".to_owned());
    }
    let numbers = numbers(room);
    let early = room.entries.iter().filter(|entry| entry.early).count() as u64;
    if early != u64::from(room.early) {
        wrong(format!("{early} entries are early, the lottery was drawn among {}", room.early));
    }
    let mut given = HashSet::new();
    for entry in &room.entries {
        let number = numbers.get(&entry.entry).copied().flatten();
        match number {
            Some(number) if !given.insert(number) => wrong(format!("number {number} was given twice")),
            Some(number) if number > room.given => {
                wrong(format!("number {number} was given, the last one is {}", room.given));
            }
            Some(number) if entry.turn && number > room.serving => {
                wrong(format!("number {number} had its turn, and only {} is called", room.serving));
            }
            Some(number) if !entry.early && number <= room.early => {
                wrong(format!("number {number} came late, and is among the {} of the lottery", room.early));
            }
            Some(_) => {}
            None => wrong(format!("entry {:016x} has no number", entry.entry)),
        }
    }
    for Told { entry, number, .. } in &noted.told {
        match numbers.get(entry) {
            Some(Some(right)) if right == number => {}
            other => wrong(format!("entry {entry:016x} was told number {number}, it has {other:?}")),
        }
    }
    overtaken(noted, &mut wrong);
    found
}

/// Every entry's number: the lottery's for early ones, the written one for all others.
fn numbers(room: &Room) -> HashMap<u64, Option<u32>> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &room.seed);
    let lot = |entry: &Entry| {
        let mut mac = hmac::Context::with_key(&key);
        mac.update(&room.performance.to_be_bytes());
        mac.update(&entry.entry.to_be_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&mac.sign().as_ref()[..8]);
        (entry.class, u64::from_be_bytes(first) >> 1)
    };
    let mut lots: Vec<((u8, u64), u64)> =
        room.entries.iter().filter(|entry| entry.early).map(|entry| (lot(entry), entry.entry)).collect();
    lots.sort_unstable();
    let mut numbers: HashMap<u64, Option<u32>> =
        (1..).zip(&lots).map(|(n, (_, entry))| (*entry, Some(n))).collect();
    for entry in &room.entries {
        // Who came early and came again after a turn has a written number, too.
        if let Some(number) = entry.number {
            numbers.insert(entry.entry, Some(number));
        } else {
            numbers.entry(entry.entry).or_insert(None);
        }
    }
    numbers
}

/// Once a number was called, no page says any more (a stale one apart) that it is not.
fn overtaken(noted: &Noted, wrong: &mut impl FnMut(String)) {
    let mut called = noted.called.clone();
    called.sort_unstable();
    let mut seen = noted.seen.clone();
    seen.sort_unstable();
    let (mut calls, mut highest) = (called.into_iter().peekable(), 0);
    for (at_ms, serving) in seen {
        while let Some((_, number)) = calls.next_if(|(called_ms, _)| called_ms + STALE_MS <= at_ms) {
            highest = highest.max(number);
        }
        if serving < highest {
            wrong(format!(
                "number {highest} was called, and later the last one called was said to be {serving}"
            ));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(entries: Vec<Entry>) -> Room {
        let seed = [7; 32];
        let mut seed_sha256 = [0; 32];
        seed_sha256.copy_from_slice(digest::digest(&digest::SHA256, &seed).as_ref());
        let early = u32::try_from(entries.iter().filter(|e| e.early).count()).unwrap();
        let given = u32::try_from(entries.len()).unwrap();
        Room { seed, seed_sha256, performance: 502, early, given, serving: 2, entries }
    }

    fn entry(entry: u64, class: u8, number: Option<u32>) -> Entry {
        Entry { entry, class, early: number.is_none(), number, turn: false }
    }

    #[test]
    fn a_room_that_keeps_its_promise_has_no_fault_and_crowds_are_drawn_last() {
        let room = room(vec![entry(1, 1, None), entry(2, 0, None), entry(3, 0, None), entry(4, 0, Some(4))]);
        let numbers = numbers(&room);
        assert_eq!((numbers[&1], numbers[&4]), (Some(3), Some(4)));
        let told = numbers.iter().map(|(e, n)| Told { entry: *e, class: 0, number: n.unwrap() }).collect();
        let noted =
            Noted { told, called: vec![(0, 2)], seen: vec![(1, 0), (STALE_MS, 2)], ..Noted::default() };
        assert_eq!(judge(&room, &noted), []);
    }

    #[test]
    fn every_kind_of_queue_jumping_is_found() {
        let good = || room(vec![entry(1, 0, None), entry(2, 0, None), entry(4, 0, Some(3))]);
        let faults = |room: &Room, noted: &Noted| judge(room, noted).len();
        let none = Noted::default();
        assert_eq!(faults(&good(), &none), 0);
        assert_eq!(faults(&Room { seed: [8; 32], ..good() }, &none), 1, "another seed than was promised");
        let mut jumped = good();
        jumped.entries[2].turn = true;
        assert_eq!(faults(&jumped, &none), 1, "a turn that was not called");
        let mut twice = good();
        twice.entries.push(entry(9, 0, Some(3)));
        assert!(faults(&twice, &none) >= 1, "a number given twice");
        let other = Noted { told: vec![Told { entry: 4, class: 0, number: 1 }], ..Noted::default() };
        assert_eq!(faults(&good(), &other), 1, "told another number");
        let back = Noted { called: vec![(0, 2)], seen: vec![(STALE_MS, 1)], ..Noted::default() };
        assert_eq!(faults(&good(), &back), 1, "the number served went back");
        let mut late = good();
        late.entries[2].number = Some(1);
        assert!(faults(&late, &none) >= 1, "a late one before the early ones");
    }
}
