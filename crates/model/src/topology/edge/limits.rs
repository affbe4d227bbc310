//! `[sites.<name>.gateway.limits]`: what one visitor may ask of a gateway, and how long it waits for whom.

use serde::{Deserialize, Serialize};

use crate::{Site, topology::Fault};

/// Every time is in milliseconds. The defaults suit a shop window; ALB's idle time, Kestrel's body rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest head of a request, in bytes.
    pub head_bytes_max: usize,
    /// The most headers in it.
    pub headers_max: usize,
    /// A head that has begun must be complete within this time; the connection is closed otherwise.
    pub head_ms: u64,
    /// A connection on which nothing is asked for so long is closed.
    pub head_idle_ms: u64,
    /// The largest body, in bytes: `gateway.body_bytes_max`.
    #[serde(skip)]
    pub body_bytes_max: u64,
    /// A body that stands still for so long ends its request with 408.
    pub body_idle_ms: u64,
    /// A body that comes slower than so many bytes a second ends its request with 408; 0: as slow as it likes. Only time
    /// in which we wait for the visitor counts, and the first five seconds of it are free.
    pub body_bytes_per_s_min: u64,
    /// A visitor who takes nothing of his answer for so long is hung up on.
    pub reader_idle_ms: u64,
    /// How long a connection to a target may take.
    pub connect_ms: u64,
    /// For how long targets that accept no connection are tried again.
    pub accept_ms: u64,
    /// How long the application may take: to its answer's head, and, if it is held, on to its end.
    pub answer_ms: u64,
    /// An answer that stands still on the application's side for so long is broken off. Streams of events need a word
    /// (a comment line) more often than that.
    pub answer_idle_ms: u64,
    /// Answers held at once on one thread; more are turned away before anything is sent.
    pub held_max: usize,
    /// Connections at once, visitors' and those to targets; who comes then is told `503`, `Retry-After`. 0: as many as the
    /// process may have files open, less a reserve.
    pub connections_max: usize,
    /// Memory of the process; while it uses more, requests are told `503`, `Retry-After`. 0: three quarters of the
    /// machine's, or of its container's.
    pub memory_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_bytes_max: 32 << 10,
            headers_max: 100,
            head_ms: 10_000,
            head_idle_ms: 60_000,
            body_bytes_max: 8 << 20,
            body_idle_ms: 30_000,
            body_bytes_per_s_min: 240,
            reader_idle_ms: 60_000,
            connect_ms: 300,
            accept_ms: 1_500,
            answer_ms: 30_000,
            answer_idle_ms: 60_000,
            held_max: 10_000,
            connections_max: 0,
            memory_bytes_max: 0,
        }
    }
}

impl Limits {
    /// Times in which nothing can be done.
    pub(in crate::topology) fn faults(&self, site: &Site) -> impl Iterator<Item = Fault> {
        [
            ("head_ms", self.head_ms),
            ("head_idle_ms", self.head_idle_ms),
            ("body_idle_ms", self.body_idle_ms),
            ("reader_idle_ms", self.reader_idle_ms),
            ("connect_ms", self.connect_ms),
            ("answer_ms", self.answer_ms),
            ("answer_idle_ms", self.answer_idle_ms),
        ]
        .into_iter()
        .filter(|(_, ms)| *ms == 0)
        .map(move |(name, _)| Fault {
            key: format!("sites.{site}.gateway.limits.{name}"),
            what: "nothing is done in no time".into(),
            fix: format!("leave {name} out, or write a number of milliseconds"),
        })
    }
}
