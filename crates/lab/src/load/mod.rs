//! Visitors: who they are, what they want, how they find the service and how they insist.

pub mod http;
pub mod route;
pub mod supply;
pub mod visitor;
