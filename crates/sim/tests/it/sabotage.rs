//! Mutation proof: each sabotage breaks one line of a shipped module, and the simulation notices.

use std::sync::atomic::{AtomicU64, Ordering};

use model::sabotage::{Sabotage, with};

use crate::{alone, say, seeds};

/// So many seeds are enough for each of them.
const SEEDS_MAX: u64 = 2_000;

#[test]
fn every_sabotage_is_noticed_and_the_same_seed_is_clean_without_it() {
    alone(|| {
        let mut missed = Vec::new();
        for sabotage in Sabotage::ALL {
            let first = AtomicU64::new(u64::MAX);
            let found = seeds(0, |seed, found: &mut Vec<(u64, String)>| {
                if seed >= SEEDS_MAX || seed > first.load(Ordering::Relaxed) {
                    return false;
                }
                let report = with(Some(sabotage), || sim::run(seed));
                if let Some(what) = report.violation {
                    first.fetch_min(seed, Ordering::Relaxed);
                    found.push((seed, what));
                }
                true
            });
            match found.into_iter().flatten().min() {
                None => missed.push(sabotage),
                Some((seed, what)) => {
                    say(&format!("sabotage {sabotage:?}: noticed after {} seeds: {what}", seed + 1));
                    let clean = with(None, || sim::run(seed));
                    assert_eq!(clean.violation, None, "seed {seed} is not clean without {sabotage:?}");
                }
            }
        }
        say(&format!("sabotages noticed: {} of {}", Sabotage::ALL.len() - missed.len(), Sabotage::ALL.len()));
        assert!(missed.is_empty(), "not noticed within {SEEDS_MAX} seeds: {missed:?}");
    });
}
