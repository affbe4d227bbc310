//! Two clouds on one machine, faults made on purpose, and the proof of what they cost.
//!
//! Always true here: nothing of the ticketing service's code is used; the checker trusts its own SQL and the
//! visitors' ledger.

pub mod api;
pub mod bench;
pub mod blackout;
pub mod checker;
pub mod disk;
pub mod divergence;
pub mod drill;
pub mod dvwa;
pub mod etcd;
pub mod frontdoor;
pub mod lab;
pub mod layout;
pub mod ledger;
pub mod link;
pub mod load;
pub mod processes;
pub mod ready;
pub mod report;
pub mod resolver;
pub mod rush;
pub mod secrets;
pub mod stats;
pub mod status;
pub mod supervisor;
pub mod topology;
pub mod up;
