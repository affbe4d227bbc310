//! Holds a database against what the visitors were told, and against itself.
//!
//! The checker has its own SQL and the visitors' ledger, and not a line of the ticketing service's code: a mistake
//! there must not hide itself here. [`facts`] reads one consistent snapshot, [`rules`] judges it without a socket
//! or a clock, [`equal`] holds two databases against each other row for row, [`durable`] looks at how a server is
//! set, [`decoded`] holds a quarantine against the log that it was taken from. Each violation names the invariant and the rows.

pub mod decoded;
pub mod durable;
pub mod equal;
pub mod facts;
pub mod rules;

use std::fmt;

use serde::Serialize;

/// A broken promise, found.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Violation {
    /// The invariant's name in the design (`I1` … `I12`), or `durability`.
    pub invariant: &'static str,
    /// What is wrong, with the rows that show it.
    pub what: String,
}

impl Violation {
    /// Of `invariant`, in words.
    pub fn new(invariant: &'static str, what: impl Into<String>) -> Violation {
        Violation { invariant, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// Why a database could not be read. Nothing is proven then, neither good nor bad; try again when it answers.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be read: {source}; nothing is proven about it")]
pub struct Unread {
    /// Which server and which of its tables or settings.
    pub what: String,
    /// What the driver said.
    pub source: mysql_async::Error,
}

impl Unread {
    fn of(what: impl Into<String>) -> impl FnOnce(mysql_async::Error) -> Unread {
        let what = what.into();
        move |source| Unread { what, source }
    }
}
