//! Runs one scope to its end.

use std::{
    fmt,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::{protocol::Action, rules::Scope};

/// What a run found.
#[derive(Debug)]
pub struct Report {
    /// States that differ.
    pub states: usize,
    /// States in the longest history.
    pub depth: usize,
    /// Every state that can be reached was looked at.
    pub complete: bool,
    /// The properties that were violated, each with the shortest history that does it.
    pub violated: Vec<(&'static str, Vec<Action>)>,
    /// What should have been reached and was not.
    pub not_reached: Vec<&'static str>,
}

/// How much a run may use.
#[derive(Clone, Copy, Debug)]
pub struct Means {
    /// Processors.
    pub threads: NonZeroUsize,
    /// Time.
    pub limit: Duration,
}

/// Looks at every state that can be reached; stops early only when a property is violated or time is up.
pub fn check(scope: &Scope, means: Means) -> Report {
    run(scope, means, HasDiscoveries::AnyFailures, None)
}

/// The same, for histories of up to so many steps only.
pub fn check_to_depth(scope: &Scope, means: Means, steps: usize) -> Report {
    run(scope, means, HasDiscoveries::AnyFailures, Some(steps + 1))
}

/// Looks for a violation of one property.
pub fn hunt(scope: &Scope, means: Means, property: &'static str) -> Report {
    run(scope, means, HasDiscoveries::AnyOf([property].into()), None)
}

fn run(scope: &Scope, means: Means, until: HasDiscoveries, depth_max: Option<usize>) -> Report {
    let began = Instant::now();
    let mut checker =
        scope.clone().checker().threads(means.threads.get()).finish_when(until).timeout(means.limit);
    if let Some(depth) = depth_max {
        checker = checker.target_max_depth(depth);
    }
    let checker = checker.spawn_bfs().join();
    let mut found = checker.discoveries();
    let must_hold = |p: &Property<Scope>| p.expectation == stateright::Expectation::Always;
    let (always, sometimes): (Vec<_>, Vec<_>) = scope.properties().into_iter().partition(must_hold);
    let violated = |p: &Property<Scope>| Some((p.name, found.remove(p.name)?.into_actions()));
    let violated: Vec<_> = always.iter().filter_map(violated).collect();
    let not_reached = sometimes.iter().map(|p| p.name).filter(|name| !found.contains_key(name)).collect();
    Report {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        complete: violated.is_empty() && began.elapsed() < means.limit,
        violated,
        not_reached,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9} states, depth {:>2}, ", self.states, self.depth)?;
        for (property, history) in &self.violated {
            write!(f, "VIOLATED `{property}` in {} steps, ", history.len())?;
        }
        for name in &self.not_reached {
            write!(f, "not `{name}`, ")?;
        }
        f.write_str(if self.complete { "complete" } else { "stopped" })
    }
}
