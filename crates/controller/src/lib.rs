//! A controller: watches both sites from its own place, and acts if it leads.
//!
//! ```text
//! probes ─┐                                   ┌─▶ probes, questions
//! others ─┤  mailbox   ┌──────────────────┐   ├─▶ lease
//! register┼──────────▶ │ Core::apply(now, │ ──┼─▶ steps   execute.rs
//! steering┤            │   event)         │   ├─▶ journal
//! outcomes┘            └────decide::judge─┘   └─▶ snapshot for the admin API
//! ```
//!
//! One task owns all state ([`drive::Core`], which does no I/O and is told the time); everything that waits is a task
//! of its own with a deadline, and comes back as an event. So nothing ever waits for a dead host but the one task
//! that asked it.
//!
//! One runs in each of three places. The one that holds the lease leads; the others watch, judge and tell. Leading
//! only avoids double work: every step is stamped with an epoch and every change of the register is a
//! compare-and-set, so two that both believe to lead do no harm.
//!
//! This crate knows no binlog, no HTML and no request header of the service that it keeps alive.

pub mod api;
pub mod drive;
pub mod execute;
pub mod fencing;
pub mod journal;
pub mod lease;
pub mod metrics;
pub mod order;
pub mod probe;
mod run;

pub use run::{Setup, run};
