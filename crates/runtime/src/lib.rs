//! What every process of ours needs, whatever it does: configuration, secrets, logs, clocks, metrics, the admin
//! API, and an orderly end.
//!
//! A process here is a page of prose: read the configuration → fail early with exit 64 → build → announce the
//! addresses → run → drain with a deadline. These modules are the words of that page.
//!
//! Always true here: nothing knows what a site, an epoch or a database is.

pub mod admin;
pub mod clock;
pub mod config;
pub mod dns;
pub mod durable;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod process;
pub mod secret;

/// Exit code for bad usage or configuration (`EX_USAGE` of BSD's sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// Exit code for a resource that is not to be had, e.g. a port in use (`EX_UNAVAILABLE` of BSD's sysexits.h).
pub const EXIT_UNAVAILABLE: u8 = 69;

/// Exit code for something that this machine, or this user, does not allow (`EX_NOPERM` of BSD's sysexits.h).
pub const EXIT_NOT_POSSIBLE: u8 = 77;

/// Exit code for data or systems that were looked at and found wrong (`EX_DATAERR` of BSD's sysexits.h).
pub const EXIT_WRONG: u8 = 65;
