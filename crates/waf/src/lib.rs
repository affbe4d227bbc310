//! The web ACL: a view of a request in; verdict, labels and matched rules out.
//!
//! It evaluates the very JSON that `aws wafv2 create-web-acl` takes, so that the cloud without a WAF of its own has the
//! same rules as the other one. [`Bundle`] is the ACL as read, strictly; [`Engine`] is the ACL as run; [`Verdict`] is what
//! it says of a [`RequestView`].
//!
//! Always true here: no IO, no clock, no task; time and places are arguments. No pattern can backtrack, no parser can fail
//! or panic on what a client sends, and memory is bounded however many clients there are. It knows nothing of the gateway.
//!
//! The way of a request: [`engine`](Engine::evaluate) → `evaluate` (rules by priority) → `evaluate/probe` → `inspect`
//! (parts, transformed once, and only where that changes something) → `bank` (one automaton for all patterns) and
//! `injection` (libinjection).

pub mod acl;
pub mod body;
pub mod log;
pub mod managed;
pub mod transform;

mod bank;
mod bytes;
mod effort;
mod engine;
mod evaluate;
mod injection;
mod inspect;
mod memo;
mod plan;
mod rate;
mod request;
mod token;
mod verdict;

pub use acl::{AclError, Bundle};
pub use effort::Effort;
pub use engine::Engine;
pub use rate::KEYS_MAX;
pub use request::{Header, Nowhere, Places, RequestView};
pub use token::{COOKIE, WORK_BITS};
pub use verdict::{
    Detail, Explained, GroupVerdict, Matched, Outcome, RateMatch, Response, RuleKind, Terminating,
    TokenState, Verdict,
};
