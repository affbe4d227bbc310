//! Checks of the house itself: `cargo run -p xtask -- tidy` and `cargo run -p xtask -- licences`.
//!
//! `tidy` proves what the design says about the workspace: which crate may know which, what outside code a crate
//! must never reach, and the few rules of form that no compiler checks. `licences` proves that everything we are
//! built from may be given on under Apache-2.0. Both print every fault, with its file and line where it has one.

mod licences;
mod tidy;
mod workspace;

use std::process::ExitCode;

use workspace::Workspace;

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let check = match task.as_deref() {
        Some("tidy") => tidy::faults,
        Some("licences") => licences::faults,
        _ => {
            eprintln!("usage: cargo run -p xtask -- tidy|licences");
            return ExitCode::from(64);
        }
    };
    let faults = match Workspace::read() {
        Ok(workspace) => check(&workspace),
        Err(e) => vec![e],
    };
    for fault in &faults {
        eprintln!("{fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
