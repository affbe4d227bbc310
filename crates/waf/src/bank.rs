//! All regular expressions of an ACL in one place, behind one automaton.
//!
//! Almost no value of an honest request matches anything, so what counts is how fast that is known. For each pattern we
//! work out literals of which every match contains one ([`literal`]), and classes of bytes of which it contains one each.
//! One [`Filter`] looks for all literals in one pass over a value, and only patterns whose literal occurred, in a value that
//! has the bytes that they need, are run. Nothing here backtracks: the filter and the `regex` crate are linear in the
//! input, so no pattern can be made to run for long.

mod filter;
mod literal;

use std::collections::HashMap;

use regex::bytes::{Regex, RegexBuilder};

pub(crate) use self::filter::Filter;
use crate::{bytes::ByteSet, transform::Transformation};

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

/// Which values a pattern is looked for in. What came as it came is long, and few patterns want to see it: they have a
/// filter of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lane {
    /// Values as they came.
    Raw,
    /// Values behind transformations.
    Decoded,
}

impl Lane {
    /// How many there are.
    pub(crate) const COUNT: usize = 2;

    /// Where what is asked of values behind these transformations is looked for.
    pub(crate) fn of(transformations: &[Transformation]) -> Self {
        if transformations.iter().all(|t| *t == Transformation::None) { Self::Raw } else { Self::Decoded }
    }
}

/// Patterns on their way into a [`Bank`].
#[derive(Default)]
pub(crate) struct Builder {
    known: HashMap<(String, bool), usize>,
    patterns: Vec<Pattern>,
    literals: Vec<Option<Vec<Vec<u8>>>>,
    asked: Vec<[bool; Lane::COUNT]>,
}

impl Builder {
    /// The pattern's number.
    pub(crate) fn add(&mut self, pattern: &str, ours: bool) -> Result<usize, String> {
        let key = (pattern.to_owned(), ours);
        if let Some(&id) = self.known.get(&key) {
            return Ok(id);
        }
        let id = self.patterns.len();
        let regex = compile(pattern, ours)?;
        let (needs, shortest) = (literal::needs(pattern, ours), literal::shortest(pattern, ours));
        self.patterns.push(Pattern { regex, needs, shortest });
        self.literals.push(literal::required(pattern, ours));
        self.asked.push([false; Lane::COUNT]);
        self.known.insert(key, id);
        Ok(id)
    }

    /// The pattern is looked for there.
    pub(crate) fn ask(&mut self, pattern: usize, lane: Lane) {
        self.asked[pattern][lane as usize] = true;
    }

    /// Builds the filters.
    pub(crate) fn build(self) -> Result<Bank, String> {
        let always = (0..self.literals.len()).filter(|&id| self.literals[id].is_none()).collect();
        let lane = |lane: Lane| {
            let asked = self.literals.iter().zip(&self.asked).enumerate();
            let asked = asked.filter(|(_, (_, asked))| asked[lane as usize]).map(|(id, (l, _))| (id, l));
            Literals::build(asked, &self.patterns)
        };
        Ok(Bank { lanes: [lane(Lane::Raw)?, lane(Lane::Decoded)?], patterns: self.patterns, always })
    }
}

/// One pattern.
struct Pattern {
    regex: Regex,
    /// Classes of bytes of each of which every match contains one.
    needs: Vec<ByteSet>,
    /// No match has fewer bytes.
    shortest: usize,
}

impl Pattern {
    /// Whether it may match in a value of these bytes.
    fn may_match(&self, bytes: ByteSet) -> bool {
        self.needs.iter().all(|need| need.meets(bytes))
    }
}

/// What words and numbers are made of, in Korean and English. Most values have no other bytes, and few patterns match such a one.
pub(crate) const PROSE: ByteSet = ByteSet::of(b" ,.-_")
    .with(b'0', b'9')
    .with(b'A', b'Z')
    .with(b'a', b'z')
    .with(0x80, 0xbf)
    .with(0xe3, 0xed);

/// All literals of a lane.
struct Literals {
    /// Those of the patterns that may match in prose.
    of_prose: Filter,
    all: Filter,
    /// Whose literal it is.
    owners: Vec<Vec<usize>>,
}

impl Literals {
    fn build<'l>(
        asked: impl Iterator<Item = (usize, &'l Option<Vec<Vec<u8>>>)>,
        patterns: &[Pattern],
    ) -> Result<Self, String> {
        let mut needles: Vec<&[u8]> = Vec::new();
        let mut owners: Vec<Vec<usize>> = Vec::new();
        let mut index: HashMap<&[u8], usize> = HashMap::new();
        for (id, literals) in asked {
            for needle in literals.iter().flatten() {
                let at = *index.entry(needle).or_insert_with(|| {
                    needles.push(needle);
                    owners.push(Vec::new());
                    owners.len() - 1
                });
                if owners[at].last() != Some(&id) {
                    owners[at].push(id);
                }
            }
        }
        let numbered = || needles.iter().enumerate().map(|(at, needle)| (*needle, at));
        let in_prose = |at: usize| owners[at].iter().any(|&owner| patterns[owner].may_match(PROSE));
        Ok(Self {
            of_prose: Filter::build(numbered().filter(|(_, at)| in_prose(*at)))?,
            all: Filter::build(numbered())?,
            owners,
        })
    }
}

/// Which patterns a pass has met already.
#[derive(Default)]
pub(crate) struct Met {
    pass: u32,
    last: Vec<u32>,
}

/// The patterns and their literals.
pub(crate) struct Bank {
    patterns: Vec<Pattern>,
    lanes: [Literals; Lane::COUNT],
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

    /// Classes of bytes of each of which every match contains one, the rarest first.
    pub(crate) fn needs(&self, pattern: usize) -> &[ByteSet] {
        &self.patterns[pattern].needs
    }

    /// No match of the pattern has fewer bytes.
    pub(crate) fn shortest(&self, pattern: usize) -> usize {
        self.patterns[pattern].shortest
    }

    /// Adds the patterns of the lane that may match in the input, which has these bytes, ascending, each once.
    pub(crate) fn candidates(
        &self,
        lane: Lane,
        input: &[u8],
        bytes: ByteSet,
        met: &mut Met,
        found: &mut Vec<usize>,
    ) {
        let start = found.len();
        met.last.resize(self.patterns.len(), 0);
        met.pass += 1;
        let Literals { of_prose, all, owners } = &self.lanes[lane as usize];
        let filter = if bytes.is_within(PROSE) { of_prose } else { all };
        filter.find(input, bytes, |needle, _| {
            for &owner in &owners[needle] {
                if std::mem::replace(&mut met.last[owner], met.pass) != met.pass
                    && self.patterns[owner].may_match(bytes)
                {
                    found.push(owner);
                }
            }
        });
        found[start..].sort_unstable();
    }

    /// Where the pattern matches.
    pub(crate) fn find(&self, pattern: usize, input: &[u8]) -> Option<std::ops::Range<usize>> {
        self.patterns[pattern].regex.find(input).map(|m| m.range())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str], input: &str, expected: &[usize]) {
        let mut builder = Builder::default();
        for p in patterns {
            let id = builder.add(p, true).unwrap();
            builder.ask(id, Lane::Decoded);
        }
        let bank = builder.build().unwrap();
        assert_eq!(candidates(&bank, Lane::Decoded, input), expected, "{patterns:?} in {input:?}");
        assert_eq!(candidates(&bank, Lane::Raw, input), [0usize; 0], "nobody looks for them there");
    }

    fn candidates(bank: &Bank, lane: Lane, input: &str) -> Vec<usize> {
        let mut found = Vec::new();
        let bytes = ByteSet::in_value(input.as_bytes());
        bank.candidates(lane, input.as_bytes(), bytes, &mut Met::default(), &mut found);
        found
    }

    #[test]
    fn only_patterns_whose_literal_occurs_are_candidates() {
        check(&[r"union\s+select", r"<script\b", r"\$\{jndi:"], "1 UNION x", &[]);
        check(&[r"union\s+select", r"<script\b", r"\$\{jndi:"], "1 UNION SELECT <SCRIPT", &[0, 1]);
        check(&[r"(?:cat|tac)\s", r"[a-z]+"], "a tac b", &[0]);
    }

    #[test]
    fn a_pattern_whose_bytes_are_missing_is_no_candidate() {
        check(&[r"[;|&]\s*(?:cat|tac)\b", r"(?:cat|tac)\s+/"], "the cat sat", &[]);
        check(&[r"[;|&]\s*(?:cat|tac)\b", r"(?:cat|tac)\s+/"], "x; cat /etc", &[0, 1]);
        check(&[r"(?:^|[;|&])\s*cat\b", r"cat(?:\(|<)"], "the cat sat", &[0]);
    }

    #[test]
    fn a_match_always_contains_one_of_the_literals() {
        let patterns = [
            r"(?:a|bc)d?e{2}",
            r"x(?:foo|bar)?y",
            r"\.\.+[/\\]",
            r"a(?:bc)+d",
            r"x+(?:ab|c)+y",
            r"[ab][cd]",
            r"(?:ab){1,3}z",
            "한글+",
            r"\bon\w+\s*=",
        ];
        let inputs = [
            "ADEE",
            "bcee",
            "xy",
            "xfooy",
            "bD",
            "ababz",
            "한글글",
            "  onLoad =",
            "....//",
            "..\\",
            "abcbcd",
            "xxababcy",
        ];
        for p in patterns {
            let mut builder = Builder::default();
            let id = builder.add(p, true).unwrap();
            builder.ask(id, Lane::Decoded);
            let bank = builder.build().unwrap();
            for input in inputs {
                let may = bank.is_always(id) || candidates(&bank, Lane::Decoded, input).contains(&id);
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
