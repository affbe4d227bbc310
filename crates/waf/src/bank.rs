//! All regular expressions of an ACL in one place, behind one automaton.
//!
//! Almost no value of an honest request matches anything, so what counts is how fast that is known. For each pattern we
//! work out literals of which every match contains one ([`literal`]); one Aho-Corasick automaton looks for all
//! of them in one pass over a value, and only patterns whose literals occurred are run. Nothing here backtracks: the
//! automaton and the `regex` crate are linear in the input, so no pattern can be made to run for long.

mod literal;

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::bytes::{Regex, RegexBuilder};

/// Compiled pattern and automaton sizes that one pattern may have.
const SIZE_MAX: usize = 4 << 20;

/// Compiles a pattern; `ours` are written without regard to case, and their `.` takes line ends, too.
pub(crate) fn compile(pattern: &str, ours: bool) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(ours)
        .dot_matches_new_line(ours)
        .size_limit(SIZE_MAX)
        .dfa_size_limit(SIZE_MAX)
        .build()
        .map_err(|e| e.to_string())
}

/// Patterns on their way into a [`Bank`].
#[derive(Default)]
pub(crate) struct Builder {
    known: HashMap<(String, bool), usize>,
    patterns: Vec<Regex>,
    literals: Vec<Option<Vec<Vec<u8>>>>,
}

impl Builder {
    /// The pattern's number.
    pub(crate) fn add(&mut self, pattern: &str, ours: bool) -> Result<usize, String> {
        let key = (pattern.to_owned(), ours);
        if let Some(&id) = self.known.get(&key) {
            return Ok(id);
        }
        let id = self.patterns.len();
        self.patterns.push(compile(pattern, ours)?);
        self.literals.push(literal::required(pattern, ours));
        self.known.insert(key, id);
        Ok(id)
    }

    /// Builds the automaton.
    pub(crate) fn build(self) -> Result<Bank, String> {
        let mut needles: Vec<Vec<u8>> = Vec::new();
        let mut owners: Vec<Vec<usize>> = Vec::new();
        let mut index: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut always = Vec::new();
        for (id, literals) in self.literals.into_iter().enumerate() {
            let Some(literals) = literals else {
                always.push(id);
                continue;
            };
            for needle in literals {
                let at = *index.entry(needle.clone()).or_insert_with(|| {
                    needles.push(needle);
                    owners.push(Vec::new());
                    owners.len() - 1
                });
                if owners[at].last() != Some(&id) {
                    owners[at].push(id);
                }
            }
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&needles)
            .map_err(|e| e.to_string())?;
        Ok(Bank { patterns: self.patterns, automaton, owners, always })
    }
}

/// The patterns and the automaton.
pub(crate) struct Bank {
    patterns: Vec<Regex>,
    automaton: AhoCorasick,
    /// Whose literal it is.
    owners: Vec<Vec<usize>>,
    /// Patterns without a literal.
    always: Vec<usize>,
}

impl Bank {
    /// How many patterns there are.
    pub(crate) fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Whether the pattern has no literal and must be run on everything.
    pub(crate) fn is_always(&self, pattern: usize) -> bool {
        self.always.binary_search(&pattern).is_ok()
    }

    /// Adds the patterns that may match, ascending, each once.
    pub(crate) fn candidates(&self, input: &[u8], found: &mut Vec<usize>) {
        let start = found.len();
        for hit in self.automaton.find_overlapping_iter(input) {
            for &owner in &self.owners[hit.pattern().as_usize()] {
                if !found[start..].contains(&owner) {
                    found.push(owner);
                }
            }
        }
        found[start..].sort_unstable();
    }

    /// Where the pattern matches.
    pub(crate) fn find(&self, pattern: usize, input: &[u8]) -> Option<std::ops::Range<usize>> {
        self.patterns[pattern].find(input).map(|m| m.range())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str], input: &str, expected: &[usize]) {
        let mut builder = Builder::default();
        for p in patterns {
            builder.add(p, true).unwrap();
        }
        let bank = builder.build().unwrap();
        let mut found = Vec::new();
        bank.candidates(input.as_bytes(), &mut found);
        assert_eq!(found, expected, "{patterns:?} in {input:?}");
    }

    #[test]
    fn only_patterns_whose_literal_occurs_are_candidates() {
        check(&[r"union\s+select", r"<script\b", r"\$\{jndi:"], "1 UNION x", &[]);
        check(&[r"union\s+select", r"<script\b", r"\$\{jndi:"], "1 UNION SELECT <SCRIPT", &[0, 1]);
        check(&[r"(?:cat|tac)\s", r"[a-z]+"], "a tac b", &[0]);
    }

    #[test]
    fn a_match_always_contains_one_of_the_literals() {
        let patterns =
            [r"(?:a|bc)d?e{2}", r"x(?:foo|bar)?y", r"[ab][cd]", r"(?:ab){1,3}z", "한글+", r"\bon\w+\s*="];
        let inputs = ["ADEE", "bcee", "xy", "xfooy", "bD", "ababz", "한글글", "  onLoad ="];
        for p in patterns {
            let mut builder = Builder::default();
            let id = builder.add(p, true).unwrap();
            let bank = builder.build().unwrap();
            for input in inputs {
                let mut found = Vec::new();
                bank.candidates(input.as_bytes(), &mut found);
                let may = bank.is_always(id) || found.contains(&id);
                assert!(may || bank.find(id, input.as_bytes()).is_none(), "{p} in {input}");
            }
        }
    }

    #[test]
    fn look_around_and_endless_patterns_are_refused() {
        assert!(compile(r"(?=a)b", false).is_err());
        assert!(compile(r"(a)\1", false).is_err());
        assert!(compile(r"(?:(?:a{1000}){1000}){1000}", false).is_err());
    }
}
