//! Everybody who acts, one module each. A module lists what its actor may try now (`offer`) and what becomes of it
//! (`step`).
//!
//! An actor that is slow, paused, dead, cut off or late is one whose step has not come yet: no step must ever be
//! taken, and any number of others may come first. What an actor read before is kept in its part of the state, so a
//! step upon old knowledge is a step like any other.

pub mod applier;
pub mod controller;
pub mod edge;
pub mod faults;
pub mod mode;
pub mod promotion;
pub mod way_back;

/// What a step returns: `None` when it cannot be taken in this state, which then stays as it is.
pub(crate) type Taken = Option<()>;

/// `?` on a condition: a step that needs it.
pub(crate) fn only_if(condition: bool) -> Taken {
    condition.then_some(())
}
