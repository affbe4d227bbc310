//! What judging a request took, in steps that no machine's load changes.

/// Steps of one evaluation. What a test can hold a limit to, where microseconds depend on who else is on the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Values as they came.
    pub values: usize,
    /// Values that transformations made of them: what came out as it went in is not counted.
    pub transformed: usize,
    /// Passes of a literal automaton over a value, and the bytes that they went over.
    pub passes: usize,
    /// See [`Effort::passes`].
    pub bytes: usize,
    /// Patterns that were run over a value because a literal of theirs stands in it.
    pub patterns: usize,
    /// Values that libinjection was asked about.
    pub injections: usize,
}
