//! The nouns of Ghostlight.
//!
//! Every other crate speaks in these values: inside a process over channels, between machines as the JSON
//! bodies of the admin API. They hold no behaviour beyond comparing, printing and checking themselves.
//!
//! Always true here: nothing reads a clock, opens a socket or knows an executor. What a word means stands in
//! the type's doc; the protocol that keeps them honest is described in `ARCHITECTURE.md`.

pub mod agent;
pub mod barrier;
pub mod gateway;
pub mod observation;
pub mod orders;
pub mod plan;
pub mod position;
pub mod problem;
pub mod register;
pub mod sabotage;
pub mod site;
pub mod switchover;
pub mod topology;
pub mod weekly;

pub use barrier::{BarrierOutcome, BarrierReply, BarrierRequest, Serving};
pub use plan::{Plan, Step, Verdict};
pub use position::{Position, StreamId, Watermark};
pub use problem::Problem;
pub use register::{Incarnation, Mode, Register};
pub use site::{Epoch, Place, Site};
