//! The lab's parts over real sockets and against real database servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests end a test as tests do"
)]

mod bench_apply;
mod checker;
mod documented;
mod frontdoor;
mod link;
mod names;
mod resolver;
mod security_test;
mod switchover;
mod up;
mod visitors;
