//! Visitors: who they are, what they want, how they find the service and how they insist.
//!
//! They arrive open loop: the next one comes when it comes, whether or not the ones before were served. An outage
//! therefore piles up visitors, as in life, instead of politely stopping the clock.

pub mod crowd;
pub mod http;
pub mod route;
pub mod supply;
pub mod visitor;

pub use crowd::{Arriving, Crowd, CrowdConfig};
