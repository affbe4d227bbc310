//! The whole protocol in one thread: two sites, the witness, visitors; a clock and a network of its own, faults drawn
//! from a seed, and the invariants after every step. The same seed gives the same history.
//!
//! ```text
//! world.rs        the queue of what happens; processes that die, stand still and come back
//! network.rs      when a message arrives, if it does          faults.rs      what goes wrong, and when
//! database.rs     a server, in memory                         invariants.rs  what must hold (I1–I3, I12)
//! register.rs     the witness's register                      visitors.rs    who wants seats; the name server
//! gateway.rs      the commit gate        agent/  the agent    controllers.rs the judgement and who leads
//! ```
//!
//! **Shipped code, driven as it is**: `controller::drive::Core` with `decide` and the election (three of them),
//! `gateway::{hold::Gate, park::Park}`, `replicate::{mode::Machine, barrier::Core, checkpoint::Checkpoint, duty::derive}`,
//! `replicate::promote::judge`, `replicate::reinstate::{history_end, follow_from}`, the conditions `row::RowIs`,
//! `checkpoint::{SlotIs, may_apply}` from which the SQL is made, and the register's `judge`, `newest` and `Leases`.
//!
//! **Not shipped code, but written here after it**: the agent's loop around its cores (`replicate::agent` is tied to
//! tasks), the order of its acts, what the link tells whom, a gateway's way of a request, a controller's limbs. The
//! server is a model; a copy is one message and not chunks; definitions, spooled transactions and the bytes of the
//! log are left out. Drills and the tests with real servers cover those.
//!
//! Always true here: nothing reads a real clock or opens a socket; a process learns of the world by messages alone.
#![allow(
    clippy::large_enum_variant,
    reason = "messages are moved a few times in one thread; a box each would only hide what they are"
)]

pub mod agent;
pub mod context;
pub mod controllers;
pub mod database;
pub mod faults;
pub mod gateway;
pub mod ids;
pub mod invariants;
pub mod message;
pub mod network;
pub mod register;
pub mod rng;
pub mod visitors;
pub mod world;

pub use invariants::Counts;
pub use world::{Report, run, trace};
