//! libinjection behind a look at the bytes: most values hold nothing that it could be about.

use crate::inspect::Sqli;

/// SQL injection.
pub(crate) fn sqli(input: &[u8]) -> Sqli {
    if !may_be_sql(input) {
        return Sqli { low: false, high: false };
    }
    let high = libinjectionrs::detect_sqli(input).is_injection();
    Sqli { low: high && has_evidence(input), high }
}

/// What LOW sensitivity asks for besides: a quote, a comment, or a word that SQL needs. A formula or a line of code has
/// operators and brackets as well, and libinjection knows them by nothing else.
fn has_evidence(input: &[u8]) -> bool {
    input.iter().any(|b| matches!(b, b'\'' | b'"' | b'`' | b'#'))
        || memchr::memmem::find(input, b"--").is_some()
        || memchr::memmem::find(input, b"/*").is_some()
        || KEYWORDS.is_match(input)
}

/// Cross-site scripting.
pub(crate) fn xss(input: &[u8]) -> bool {
    memchr::memchr3(b'<', b'=', b'`', input).is_some() && libinjectionrs::detect_xss(input).is_injection()
}

/// Words and numbers alone are no injection: that takes an operator, a quote, a bracket, a comment, or a keyword.
fn may_be_sql(input: &[u8]) -> bool {
    if input.len() < 3 {
        return false;
    }
    input.iter().any(|&b| MARK[usize::from(b)])
        || memchr::memmem::find(input, b"--").is_some()
        || KEYWORDS.is_match(input)
}

/// Bytes that make libinjection see more than words and numbers.
static MARK: [bool; 256] = {
    let mut table = [false; 256];
    let marks = b"'\"`();#*\\=<>!|&^~@{}[]\0";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

static KEYWORDS: std::sync::LazyLock<Keywords> = std::sync::LazyLock::new(Keywords::new);

struct Keywords(Option<aho_corasick::AhoCorasick>);

impl Keywords {
    fn new() -> Self {
        const WORDS: &[&str] = &[
            "union",
            "select",
            "or",
            "and",
            "xor",
            "not",
            "having",
            "like",
            "rlike",
            "between",
            "where",
            "insert",
            "into",
            "update",
            "delete",
            "drop",
            "create",
            "alter",
            "exec",
            "declare",
            "case",
            "when",
            "order",
            "group",
            "limit",
            "from",
            "procedure",
            "waitfor",
            "shutdown",
            "merge",
            "grant",
            "div",
            "mod",
            "regexp",
            "sounds",
            "collate",
            "handler",
            "load",
            "replace",
            "truncate",
            "rename",
            "sleep",
            "benchmark",
            "char",
            "concat",
            "version",
            "user",
            "database",
        ];
        Self(aho_corasick::AhoCorasick::builder().ascii_case_insensitive(true).build(WORDS).ok())
    }

    /// Whether a keyword stands there as a word.
    fn is_match(&self, input: &[u8]) -> bool {
        let Some(automaton) = &self.0 else { return true };
        let word = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_' || *b >= 0x80);
        automaton.find_overlapping_iter(input).any(|m| {
            let before = m.start().checked_sub(1).and_then(|at| input.get(at));
            !word(before) && !word(input.get(m.end()))
        })
    }
}
