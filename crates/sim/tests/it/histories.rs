//! The seeds: no violation, and enough happened in them that this means something.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use sim::Report;

use crate::{alone, say, seeds};

/// So many histories in which a fault struck. `SIM_SEEDS` asks for more, for a night, and `SIM_FIRST` for others.
const SEEDS: u64 = 20_000;

/// In how many histories what happened, and how often altogether.
#[derive(Default)]
struct Sum {
    histories: u64,
    failovers: u64,
    twice: u64,
    announced: u64,
    switchovers: u64,
    withdrawn: u64,
    forced: u64,
    reinstatements: u64,
    quarantines: u64,
    solos: u64,
    served_at_the_end: u64,
    acknowledged: u64,
    given_up: u64,
    switchover_tails: u64,
    messages_hurt: u64,
    violations: Vec<String>,
}

impl Sum {
    fn live(&mut self, report: Report) {
        let Report { seed, violation, counts, .. } = report;
        self.histories += 1;
        for (sum, count) in [
            (&mut self.failovers, counts.failovers),
            (&mut self.twice, counts.promotions.saturating_sub(1)),
            (&mut self.announced, counts.announced),
            (&mut self.switchovers, counts.switchovers),
            (&mut self.withdrawn, counts.withdrawn),
            (&mut self.forced, counts.forced),
            (&mut self.reinstatements, counts.reinstatements),
            (&mut self.quarantines, counts.quarantined),
            (&mut self.solos, counts.solos),
            (&mut self.served_at_the_end, counts.acknowledged_at_the_end),
        ] {
            *sum += u64::from(count > 0);
        }
        self.acknowledged += counts.acknowledged;
        self.given_up += counts.given_up;
        self.switchover_tails += counts.switchover_tails;
        self.messages_hurt += counts.messages_hurt;
        self.violations.extend(violation.map(|what| format!("seed {seed}: {what}")));
    }

    fn add(&mut self, other: Sum) {
        for (sum, more) in [
            (&mut self.histories, other.histories),
            (&mut self.failovers, other.failovers),
            (&mut self.twice, other.twice),
            (&mut self.announced, other.announced),
            (&mut self.switchovers, other.switchovers),
            (&mut self.withdrawn, other.withdrawn),
            (&mut self.forced, other.forced),
            (&mut self.reinstatements, other.reinstatements),
            (&mut self.quarantines, other.quarantines),
            (&mut self.solos, other.solos),
            (&mut self.served_at_the_end, other.served_at_the_end),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.given_up, other.given_up),
            (&mut self.switchover_tails, other.switchover_tails),
            (&mut self.messages_hurt, other.messages_hurt),
        ] {
            *sum += more;
        }
        self.violations.extend(other.violations);
    }
}

#[test]
fn no_history_takes_an_answer_back() {
    alone(|| {
        let number = |name| std::env::var(name).ok().and_then(|n| n.parse().ok());
        let wanted = number("SIM_SEEDS").unwrap_or(SEEDS);
        let began = Instant::now();
        let counted = AtomicU64::new(0);
        let sums = seeds(number("SIM_FIRST").unwrap_or(0), |seed, sum: &mut Sum| {
            let report = sim::run(seed);
            // A history in which nothing went wrong shows nothing.
            if report.counts.faults > 0 {
                sum.live(report);
                counted.fetch_add(1, Ordering::Relaxed);
            }
            counted.load(Ordering::Relaxed) < wanted
        });
        let mut all = Sum::default();
        for sum in sums {
            all.add(sum);
        }
        say(&format!(
            "simulation: seeds with faults {}; histories with failovers {}, with switchovers {} (announced in {}, \
             withdrawn in {}), with forced failovers {}, with two or more of these {}, with reinstatements {} (with a \
             quarantine: {}), with solo periods {}, serving at the end {}; answers {}, given up by force {}, tails \
             behind switchovers {}, messages hurt {}; violations {}; {:.1} s",
            all.histories,
            all.failovers,
            all.switchovers,
            all.announced,
            all.withdrawn,
            all.forced,
            all.twice,
            all.reinstatements,
            all.quarantines,
            all.solos,
            all.served_at_the_end,
            all.acknowledged,
            all.given_up,
            all.switchover_tails,
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
        assert!(share(all.switchovers) >= 5, "too few switchovers");
        assert!(all.withdrawn * 1_000 / all.histories >= 5, "too few switchovers that are withdrawn");
        assert!(share(all.forced) >= 2 && all.given_up > all.histories / 100, "too few forced failovers");
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
