//! The inventory: who gets which seat, decided for many requests at once.
//!
//! There is no counter and no hot row: a seat's identity is the key. What costs time is the commit, so requests that
//! arrive while one commit is under way share the next: one writer reads what all of them need, decides
//! them in the order of their arrival ([`batch`]), writes all winners in one transaction and tells each its own
//! outcome ([`writer`]). Other instances write, too: the unique keys are the last word, and whoever loses to one
//! reads again and decides again.
//!
//! Readers never reach the database one by one: [`board`] keeps a bit a seat with versions, [`live`] reads it at most
//! four times a second however many look.

pub mod batch;
pub mod board;
pub mod live;
pub mod writer;
