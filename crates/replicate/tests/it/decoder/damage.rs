//! Recorded and generated logs, damaged at random for a bounded time: whatever the bytes are, the decoder ends in
//! items or in an error, and what it holds is bounded by what it was given.
//!
//! `GHOSTLIGHT_DAMAGE_SECONDS=600` goes on for longer; `GHOSTLIGHT_DAMAGE_SEED=7` begins with another seed.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use replicate::{
    binlog::Item,
    transaction::{Change, Rows},
};

use super::{
    file::{Event, events, read},
    mysql,
};

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn no_bytes_make_the_decoder_panic_or_hold_more_than_it_was_given() {
    let logs = [events(include_bytes!("../../corpus/mariadb.binlog")), mysql::everything()];
    let patience = Duration::from_secs(number("GHOSTLIGHT_DAMAGE_SECONDS", 8));
    let (first, began) = (number("GHOSTLIGHT_DAMAGE_SEED", 1), Instant::now());
    let (mut cases, mut refused) = (0_u64, 0_u64);
    while began.elapsed() < patience {
        let seed = first + cases;
        let mut random = StdRng::seed_from_u64(seed);
        let log = damaged(&logs[random.random_range(0..logs.len())], &mut random);
        let given: usize = log.iter().map(|e| e.body.len() + 19).sum();
        let outcome = std::panic::catch_unwind(|| read(&log));
        let outcome = outcome.unwrap_or_else(|_| panic!("seed {seed} makes the decoder panic"));
        refused += u64::from(outcome.is_err());
        if let Ok(items) = outcome {
            let held: usize = items.iter().map(size).sum();
            // A NULL is one bit in the log; what zlib packs can be a thousand times larger.
            assert!(held <= 1_100 * given, "seed {seed}: {held} bytes of {given}");
        }
        cases += 1;
    }
    println!("{cases} damaged logs from seed {first} on, {refused} refused");
    assert!(cases > 200, "only {cases} cases");
}

/// Roughly the memory behind an item.
fn size(item: &Item) -> usize {
    match item {
        Item::Change(Change::Rows { rows, .. }) => {
            let row = |r: &Vec<_>| r.len() * size_of::<replicate::transaction::Value>();
            rows.cost()
                + match rows {
                    Rows::Insert(rows) | Rows::Delete(rows) => rows.iter().map(row).sum::<usize>(),
                    Rows::Update(rows) => rows.iter().map(|(a, b)| row(a) + row(b)).sum(),
                }
        }
        Item::Change(change) => change.cost(),
        Item::Table { table, .. } => 64 + table.columns.iter().map(|c| c.name.len() + 64).sum::<usize>(),
        Item::End(_) | Item::Abandoned => 32,
    }
}

fn damaged(log: &[Event], random: &mut StdRng) -> Vec<Event> {
    let mut log = log.to_vec();
    for _ in 0..[1, 1, 1, 2, 5, 20][random.random_range(0..6)] {
        let at = random.random_range(0..log.len());
        let other = log[random.random_range(0..log.len())].clone();
        match random.random_range(0..10) {
            0 => log.insert(at, other),
            1 if log.len() > 1 => {
                log.remove(at);
            }
            2 => log[at].kind = other.kind,
            3 => log[at].kind = random.random(),
            4 => log[at].body = other.body,
            5 => (log[at].end, log[at].flags) = (random.random(), random.random()),
            _ => damage(&mut log[at].body, &other.body, random),
        }
    }
    log
}

/// Bytes are changed, cut off, doubled, or come from elsewhere; lengths lie.
fn damage(body: &mut Vec<u8>, other: &[u8], random: &mut StdRng) {
    if body.is_empty() {
        body.extend_from_slice(other);
        return;
    }
    let at = random.random_range(0..body.len());
    match random.random_range(0..8) {
        0 => body.truncate(at),
        1 => body[at] ^= 1 << random.random_range(0..8),
        2 => body[at] = [0, 1, 0x7f, 0x80, 250, 251, 252, 253, 254, 255][random.random_range(0..10)],
        3 => {
            let end = (at + random.random_range(1..9)).min(body.len());
            body[at..end].fill(0xff);
        }
        4 => body[at] = random.random(),
        5 => {
            body.drain(at..(at + random.random_range(1..9)).min(body.len()));
        }
        6 => {
            let bytes: Vec<u8> = (0..random.random_range(1..9)).map(|_| random.random()).collect();
            body.splice(at..at, bytes);
        }
        _ => {
            let from = random.random_range(0..other.len().max(1)).min(other.len());
            body.splice(at..at, other[from..].iter().copied().take(64));
        }
    }
}

#[test]
fn the_recorded_log_is_read_to_its_end() {
    let log = events(include_bytes!("../../corpus/mariadb.binlog"));
    let items = read(&log).unwrap();
    let rows = |table: &str, of: fn(&Rows) -> usize| -> usize {
        let mut number = None;
        let mut count = 0;
        for item in &items {
            match item {
                Item::Table { number: n, table: t } if t.name == table => number = Some(*n),
                Item::Change(Change::Rows { table, rows, .. }) if Some(*table) == number => count += of(rows),
                _ => {}
            }
        }
        count
    };
    let inserted: fn(&Rows) -> usize = |r| if let Rows::Insert(rows) = r { rows.len() } else { 0 };
    let updated: fn(&Rows) -> usize = |r| if let Rows::Update(rows) = r { rows.len() } else { 0 };
    let deleted: fn(&Rows) -> usize = |r| if let Rows::Delete(rows) = r { rows.len() } else { 0 };
    assert_eq!((rows("strings", inserted), rows("strings", updated)), (2, 2));
    // These are compressed in the log.
    let squeezed = |of| rows("squeezed", of);
    assert_eq!((squeezed(inserted), squeezed(updated), squeezed(deleted)), (12, 7, 3));
    assert!(items.contains(&Item::Abandoned), "what was rolled back");
}
