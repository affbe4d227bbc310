//! The seeds: no violation, and enough happened in them that this means something.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use crate::{alone, say, seeds};

/// So many histories in which a fault struck. `SIM_SEEDS` asks for more, for a night.
const SEEDS: u64 = 20_000;

#[derive(Default)]
struct Sum {
    histories: u64,
    failovers: u64,
    twice: u64,
    reinstatements: u64,
    quarantines: u64,
    solos: u64,
    served_at_the_end: u64,
    acknowledged: u64,
    messages_hurt: u64,
    violations: Vec<String>,
}

impl Sum {
    fn add(&mut self, other: Sum) {
        self.histories += other.histories;
        self.failovers += other.failovers;
        self.twice += other.twice;
        self.reinstatements += other.reinstatements;
        self.quarantines += other.quarantines;
        self.solos += other.solos;
        self.served_at_the_end += other.served_at_the_end;
        self.acknowledged += other.acknowledged;
        self.messages_hurt += other.messages_hurt;
        self.violations.extend(other.violations);
    }
}

#[test]
fn no_history_takes_an_answer_back() {
    alone(|| {
        let wanted = std::env::var("SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(SEEDS);
        let began = Instant::now();
        let counted = AtomicU64::new(0);
        let sums = seeds(|seed, sum: &mut Sum| {
            let report = sim::run(seed);
            // A history in which nothing went wrong shows nothing.
            if report.counts.faults > 0 {
                let counts = report.counts;
                sum.histories += 1;
                sum.failovers += u64::from(counts.failovers > 0);
                sum.twice += u64::from(counts.failovers > 1);
                sum.reinstatements += u64::from(counts.reinstatements > 0);
                sum.quarantines += u64::from(counts.quarantined > 0);
                sum.solos += u64::from(counts.solos > 0);
                sum.served_at_the_end += u64::from(counts.acknowledged_at_the_end > 0);
                sum.acknowledged += counts.acknowledged;
                sum.messages_hurt += counts.messages_hurt;
                sum.violations.extend(report.violation.map(|what| format!("seed {seed}: {what}")));
                counted.fetch_add(1, Ordering::Relaxed);
            }
            counted.load(Ordering::Relaxed) < wanted
        });
        let mut all = Sum::default();
        for sum in sums {
            all.add(sum);
        }
        say(&format!(
            "simulation: seeds with faults {}, histories with failovers {} (two or more: {}), with reinstatements {} \
             (with a quarantine: {}), with solo periods {}, serving at the end {}; answers {}, messages hurt {}; \
             violations {}; {:.1} s",
            all.histories,
            all.failovers,
            all.twice,
            all.reinstatements,
            all.quarantines,
            all.solos,
            all.served_at_the_end,
            all.acknowledged,
            all.messages_hurt,
            all.violations.len(),
            began.elapsed().as_secs_f64()
        ));
        for violation in all.violations.iter().take(10) {
            say(&format!("{violation}; `cargo run -p sim -- --seed N` tells the story"));
        }
        assert!(all.violations.is_empty(), "{} violations", all.violations.len());
        // A simulation that does nothing violates nothing.
        let share = |part: u64| part * 100 / all.histories;
        assert!(share(all.failovers) >= 25, "too few failovers");
        assert!(share(all.reinstatements) >= 15, "too few reinstatements");
        assert!(share(all.solos) >= 20, "too few solo periods");
        assert!(share(all.served_at_the_end) >= 80, "too few histories end well");
        assert!(all.acknowledged > 20 * all.histories, "too few answers");
    });
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    let (one, other) = (sim::trace(7), sim::trace(7));
    assert!(one.lines.len() > 100, "{} lines", one.lines.len());
    assert_eq!(one.lines, other.lines);
}
