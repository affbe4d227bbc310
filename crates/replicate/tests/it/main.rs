//! Against real servers: each test starts its own, and needs MariaDB installed (`scripts/setup`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of tests end a test as the tests themselves do"
)]

mod agent;
mod another_server;
mod barrier;
mod canary;
mod check;
mod conflicts;
mod copying;
mod crash;
mod decoder;
mod equal;
mod fence;
mod heartbeat;
mod large;
mod limits;
mod lives;
mod merged;
mod mode;
mod pair;
mod promote;
mod property;
mod reinstate;
mod seeding;
mod shipping;
mod support;
mod verifying;
