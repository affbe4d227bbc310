//! libinjection behind a look at the bytes: most values hold nothing that it could be about.

use std::{borrow::Cow, sync::LazyLock};

use crate::inspect::Sqli;

/// SQL injection.
pub(crate) fn sqli(input: &[u8]) -> Sqli {
    if !may_be_sql(input) {
        return Sqli { low: false, high: false };
    }
    let high = libinjectionrs::detect_sqli(input).is_injection();
    Sqli { low: high && has_evidence(input), high }
}

/// What LOW sensitivity asks for besides: a quote or a comment, or a word that SQL needs together with a mark that it needs.
///
/// A formula or a line of code has operators and brackets as well, and libinjection knows them by nothing else; and
/// whoever looks for a "LIKE" button quotes one word, which is no quote of SQL's.
fn has_evidence(input: &[u8]) -> bool {
    let unquoted = without_quoted_words(input);
    let input = unquoted.as_ref();
    input.iter().any(|b| matches!(b, b'\'' | b'"' | b'`' | b'#'))
        || memchr::memmem::find(input, b"--").is_some()
        || memchr::memmem::find(input, b"/*").is_some()
        || (input.iter().any(|b| b"=<>(|;@*!{+-".contains(b)) && KEYWORDS.is_match(input))
        || STRONG.is_match(input)
}

/// The text with each `"word"` that stands alone taken out of its quotes.
fn without_quoted_words(input: &[u8]) -> Cow<'_, [u8]> {
    if !input.contains(&b'"') {
        return Cow::Borrowed(input);
    }
    let alone =
        |b: Option<&u8>| b.is_none_or(|b| matches!(b, b' ' | b',' | b'.' | b'(' | b')' | b'!' | b'?'));
    let mut out = Vec::with_capacity(input.len());
    let mut at = 0;
    while let Some(&b) = input.get(at) {
        let word = input[at + 1..]
            .iter()
            .take_while(|b| b.is_ascii_alphabetic() || matches!(b, b'&' | b'*'))
            .count();
        let end = at + 1 + word;
        let before = at.checked_sub(1).and_then(|p| input.get(p));
        if b == b'"'
            && word > 0
            && input.get(end) == Some(&b'"')
            && alone(before)
            && alone(input.get(end + 1))
        {
            out.push(b'w');
            at = end + 1;
        } else {
            out.push(b);
            at += 1;
        }
    }
    Cow::Owned(out)
}

/// Cross-site scripting.
pub(crate) fn xss(input: &[u8]) -> bool {
    // The declaration that XML begins with is no script; libinjection takes it for one.
    let input = match input.trim_ascii_start().strip_prefix(b"<?xml") {
        Some(rest) if rest.trim_ascii_start().starts_with(b"version=") => {
            memchr::memmem::find(rest, b"?>").map_or(rest, |at| &rest[at + 2..])
        }
        _ => input,
    };
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

static KEYWORDS: LazyLock<Keywords> = LazyLock::new(|| Keywords::new(WORDS));
/// Words that are evidence by themselves.
static STRONG: LazyLock<Keywords> =
    LazyLock::new(|| Keywords::new(&["union", "select", "having", "rlike", "xor", "waitfor", "procedure"]));

/// Words without one of which, or a mark, a text is no SQL.
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

struct Keywords(Option<aho_corasick::AhoCorasick>);

impl Keywords {
    fn new(words: &[&str]) -> Self {
        Self(aho_corasick::AhoCorasick::builder().ascii_case_insensitive(true).build(words).ok())
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
