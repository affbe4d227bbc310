//! How much the service takes, on this machine, beside what its database alone would take.

pub mod apply;
pub mod baseline;
pub mod booking;
mod cost;
pub mod gateway;
pub mod waf;
