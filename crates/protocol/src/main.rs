//! `cargo run -p protocol -- [big | NAME…]`: explores the runs of the catalogue and says what was found.
//!
//! Without an argument: what `cargo test` explores. `big`: what takes minutes. Anything else: the runs and the broken
//! rules whose name contains it, with the shortest history to each violation.

use std::{num::NonZeroUsize, process::ExitCode, time::Duration, time::Instant};

use protocol::{
    catalogue::{BIG, EARLIER_WORDING, MORE_MUTANTS, MUTANTS, RUNS},
    check::{Means, check, hunt},
};

const LIMIT: Duration = Duration::from_secs(1_800);

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let means = Means { threads, limit: LIMIT };
    let named = |name: &str| wanted.iter().any(|w| name.contains(w.as_str()));
    let mut as_expected = true;

    let ordinary = RUNS.iter().filter(|run| wanted.is_empty() || named(run.name));
    for run in ordinary.chain(BIG.iter().filter(|run| named(run.name))) {
        let began = Instant::now();
        let report = check(&run.scope, means);
        println!("{:<44} {report}, {:.1} s", run.name, began.elapsed().as_secs_f32());
        for (property, history) in &report.violated {
            println!("  {property}:");
            history.iter().for_each(|action| println!("    {action:?}"));
        }
        as_expected &= report.complete && report.not_reached.is_empty();
    }
    for mutant in EARLIER_WORDING.iter().chain(MUTANTS).chain(MORE_MUTANTS).filter(|m| named(m.name)) {
        let began = Instant::now();
        let report = hunt(&mutant.scope, means, mutant.caught_by);
        println!("{:<44} {report}, {:.1} s", mutant.name, began.elapsed().as_secs_f32());
        let caught = report.violated.iter().find(|(property, _)| *property == mutant.caught_by);
        for action in caught.iter().flat_map(|(_, history)| history) {
            println!("  {action:?}");
        }
        as_expected &= caught.is_some();
    }
    if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
