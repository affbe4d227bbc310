//! The judgement: what we saw → what we believe → what is wrong → what to do about it, or why nothing.
//!
//! ```text
//! World ──▶ Beliefs ──▶ problems (named, one table)         problem.rs
//!  facts     per          │
//!  and ages  viewpoint    └──▶ Verdict: plan, and reasons    failover.rs, rules.rs ──▶ lint   check.rs
//!                                                            switchover.rs
//! ```
//!
//! Two mistakes are possible and they are not equal. Staying too long costs seconds of sales. Moving while the old
//! primary still answers costs nothing in `sync`, because nothing that it commits from then on can be acknowledged
//! (the standby is the fence); moving in `solo` loses bookings that people hold in their hands. So:
//!
//! - **in `solo` nothing moves by itself**, whatever is lost;
//! - **two viewpoints must have lost the primary**: the witness, and the standby. One alone holds, and says so;
//! - **silence is not loss**: a viewpoint counts only if its probes failed, several in a row, *and* nothing came
//!   through for that long;
//! - **a crash is not a catastrophe**: what still has a living neighbour is given time to be restarted.
//!
//! A verdict is a plan of the steps that are *still missing*, computed afresh from each view of the world. That is
//! all there is to resumption: whoever leads next sees the same world and finds the remaining steps.
//!
//! Always true here: the same world and policy give the same verdict; a verdict that does nothing more says why; a
//! plan passes [`check::lint`]. This crate reads no clock, opens no socket and knows no executor.

pub mod check;
pub mod failover;
pub mod problem;
pub mod readiness;
pub mod rules;
pub mod scenario;
pub mod switchover;
pub mod world;

pub use failover::judge;
pub use world::World;
