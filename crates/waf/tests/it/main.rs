//! The engine over whole requests: what it catches, what it lets through, and how it judges.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it needs by failing"
)]

mod attacks;
mod cases;
mod harness;
mod legitimate;
mod log;
mod robust;
mod semantics;
mod speed;
