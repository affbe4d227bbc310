//! Two clouds on one machine, faults made on purpose, and the proof of what they cost.
//!
//! Always true here: nothing of the ticketing service's code is used; the checker trusts its own SQL and the
//! visitors' ledger.

pub mod checker;
pub mod drill;
pub mod frontdoor;
pub mod ledger;
pub mod link;
pub mod load;
pub mod report;
pub mod resolver;
pub mod stats;
