//! The box office over a real MariaDB server: what the keys promise, and what happens when the database refuses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests end a test as tests do"
)]

mod accounts;
mod api;
mod kinds;
mod money;
mod organiser;
mod pages;
mod programme;
mod promises;
mod refunds;
mod refusing;
mod schemathesis;
mod seats;
mod site;
mod toss;
mod transfers;
mod waiting;
mod waits;
mod webhooks;
