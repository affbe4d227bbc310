//! The protocol of the design's §4 as a model that a machine explores to the end: every interleaving of everything
//! that gateways, agents, controllers, databases and operators do, within bounds.
//!
//! Read [`state`] for the nouns, then [`actors`], one module for each who acts; [`properties`] says what must never be
//! otherwise. [`rules`] lists the protocol's rules one by one: [`catalogue`] breaks each of them on purpose and names
//! the property that catches it. A rule that could be broken unnoticed would be one that the model does not cover.
//!
//! Always true here: no clock, no network, no thread of its own. Any step may be delayed for ever, which covers crashes,
//! pauses, cut links and messages that are late, doubled or out of order. What is counted (writes, promotions, moves of
//! the mode, faults of databases) is bounded by [`rules::Scope`]; nothing else is.
//!
//! Left out: HTTP, the undo in several steps, cascading keys, copying by chunks (it is one step at its end), a
//! primary's loss of its own promotion, quarantine's files. Those have tests of their own against real servers.
//!
//! It must know none of our other crates: it is what they are measured by, and `sim` drives the shipped types
//! themselves.

pub mod actors;
pub mod catalogue;
pub mod check;
pub mod properties;
pub mod protocol;
pub mod rules;
pub mod state;
