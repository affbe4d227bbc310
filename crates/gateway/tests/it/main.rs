//! The gateway with real sockets: a small application behind it, an agent that says what the test wants.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of tests end a test as the tests themselves do"
)]

mod access;
mod agent;
mod balance;
mod desync;
mod discovery;
mod gate;
mod grpc;
mod guard;
mod handover;
mod load;
mod origin;
mod page;
mod parking;
mod proxy;
mod retries;
mod rules;
mod slow;
mod stage;
mod standby;
mod tls;
mod websocket;
