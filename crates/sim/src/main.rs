//! Replays one history as a trace: `cargo run -p sim -- --seed N`. Who did what at which time, one line each; the last
//! line says how it ended. Exit code 1: something happened that must not.

use std::{io::Write, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let seed = match args.as_slice() {
        [flag, seed] if flag == "--seed" => seed.parse().ok(),
        _ => None,
    };
    let mut out = std::io::stdout().lock();
    let Some(seed) = seed else {
        // Nobody to tell if even this cannot be written.
        drop(writeln!(std::io::stderr(), "usage: cargo run -p sim -- --seed NUMBER"));
        return ExitCode::from(64);
    };
    let report = sim::trace(seed);
    let mut told = Ok(());
    for line in &report.lines {
        told = told.and_then(|()| writeln!(out, "{line}"));
    }
    let ending = report.violation.as_deref().unwrap_or("nothing that must not happen has happened");
    told = told.and_then(|()| writeln!(out, "seed {seed}: {ending}; {:?}", report.counts));
    match (told, report.violation) {
        (Ok(()), None) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
