//! libinjection behind a look at the bytes: most values hold nothing that it could be about.

use std::{borrow::Cow, sync::LazyLock};

use crate::{bank::Filter, bytes::ByteSet};

/// What libinjection says of SQL.
pub(crate) fn is_sql(value: &[u8]) -> bool {
    libinjectionrs::detect_sqli(value).is_injection()
}

/// What libinjection says of scripts.
pub(crate) fn is_script(value: &[u8]) -> bool {
    libinjectionrs::detect_xss(value).is_injection()
}

/// A script takes a tag, a quote that only old browsers know, or an attribute: a name behind what ends another value.
pub(crate) fn may_be_script(value: &[u8]) -> bool {
    let mut before = value;
    match memchr::memchr2(b'<', b'`', value) {
        Some(_) => return true,
        None => match memchr::memrchr(b'=', value) {
            Some(last) => before = &before[..last],
            None => return false,
        },
    }
    before.iter().any(|b| matches!(b, b' ' | b'\t'..=b'\r' | b'/' | b'>' | b'"' | b'\'' | 0))
}

/// The declaration that XML begins with is no script; libinjection takes it for one.
pub(crate) fn without_xml_declaration(value: &[u8]) -> &[u8] {
    match value.trim_ascii_start().strip_prefix(b"<?xml") {
        Some(rest) if rest.trim_ascii_start().starts_with(b"version=") => {
            memchr::memmem::find(rest, b"?>").map_or(rest, |at| &rest[at + 2..])
        }
        _ => value,
    }
}

/// Words and numbers alone are no injection: that takes an operator, a quote, a bracket, a comment, or a keyword.
pub(crate) fn may_be_sql(value: &[u8], set: ByteSet) -> bool {
    value.len() >= 3
        && (set.meets(MARKS)
            || set.meets(DASH) && memchr::memmem::find(value, b"--").is_some()
            || KEYWORDS.find(value, set) != Keyword::None)
}

/// What LOW sensitivity asks for besides: a quote or a comment, or a word that SQL needs together with a mark that it needs.
///
/// A formula or a line of code has operators and brackets as well, and libinjection knows them by nothing else. Whoever looks
/// for a "LIKE" button quotes one word, and whoever says that it's late writes an apostrophe: neither is a quote of SQL's.
pub(crate) fn has_evidence(value: &[u8], set: ByteSet) -> bool {
    if !set.meets(LOW) {
        return KEYWORDS.find_strong(value, set);
    }
    let unquoted = if set.meets(DOUBLE) { without_quoted_words(value) } else { Cow::Borrowed(value) };
    let value = unquoted.as_ref();
    if set.meets(TICK_OR_HASH)
        || set.meets(DOUBLE) && value.contains(&b'"')
        || set.meets(SINGLE) && has_quote(value)
        || set.meets(DASH) && memchr::memmem::find(value, b"--").is_some()
        || set.meets(STAR) && memchr::memmem::find(value, b"/*").is_some()
    {
        return true;
    }
    match KEYWORDS.find(value, set) {
        Keyword::Strong => true,
        Keyword::Weak => set.meets(MARKS_OF_LOW) || set.meets(OPENING) && has_call(value),
        Keyword::None => false,
    }
}

/// Bytes that make libinjection see more than words and numbers.
const MARKS: ByteSet = ByteSet::of(b"'\"`();#*\\=<>!|&^~@{}[]\0");
/// Bytes that make a word of SQL's suspicious.
const MARKS_OF_LOW: ByteSet = ByteSet::of(b"=<>|;@*{");
/// Bytes without all of which only words that are evidence by themselves count.
const LOW: ByteSet = ByteSet::of(b"`#\"'-*=<>|;@*{(");
const OPENING: ByteSet = ByteSet::of(b"(");
const TICK_OR_HASH: ByteSet = ByteSet::of(b"`#");
const DOUBLE: ByteSet = ByteSet::of(b"\"");
const SINGLE: ByteSet = ByteSet::of(b"'");
const DASH: ByteSet = ByteSet::of(b"-");
const STAR: ByteSet = ByteSet::of(b"*");

/// Whether a single quote stands there that is no apostrophe: of `it's`, `don't`, `I've`, `we'll`.
fn has_quote(value: &[u8]) -> bool {
    memchr::memchr_iter(b'\'', value).any(|at| {
        let behind = &value[at + 1..];
        let letters = behind.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
        let ending = behind[..letters].to_ascii_lowercase();
        let inside = value[..at].last().is_some_and(u8::is_ascii_alphabetic);
        let ends =
            matches!(behind.get(letters), None | Some(b' ' | b'.' | b',' | b'?' | b'!' | b'\n' | b'\r'));
        !(inside && ends && matches!(ending.as_slice(), b"s" | b"t" | b"d" | b"m" | b"re" | b"ve" | b"ll"))
    })
}

/// Whether a bracket follows a word at once, as in `sleep(5)`; what people put into brackets stands by itself.
fn has_call(value: &[u8]) -> bool {
    memchr::memchr_iter(b'(', value)
        .any(|at| value[..at].last().is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'(')))
}

/// The text with each `"word"` that stands alone taken out of its quotes.
fn without_quoted_words(input: &[u8]) -> Cow<'_, [u8]> {
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

static KEYWORDS: LazyLock<Keywords> = LazyLock::new(|| Keywords::new(WORDS));

/// How many of the words are evidence by themselves.
const STRONG: usize = 7;
/// Words without one of which, or a mark, a text is no SQL. The first ones are evidence by themselves.
const WORDS: &[&str] = &[
    "union",
    "select",
    "having",
    "rlike",
    "xor",
    "waitfor",
    "procedure",
    "or",
    "and",
    "not",
    "like",
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

/// Which words a text has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Keyword {
    None,
    Weak,
    Strong,
}

struct Keywords {
    strong: Option<Filter>,
    all: Option<Filter>,
}

impl Keywords {
    fn new(words: &[&str]) -> Self {
        let filter =
            |words: &[&str]| Filter::build(words.iter().enumerate().map(|(n, w)| (w.as_bytes(), n))).ok();
        Self { strong: filter(&words[..STRONG]), all: filter(words) }
    }

    /// Whether one of those that are evidence by themselves stands there as a word.
    fn find_strong(&self, input: &[u8], set: ByteSet) -> bool {
        self.strong.as_ref().is_none_or(|filter| strongest(filter, input, set) == Keyword::Strong)
    }

    /// The strongest keyword that stands there as a word.
    fn find(&self, input: &[u8], set: ByteSet) -> Keyword {
        self.all.as_ref().map_or(Keyword::Strong, |filter| strongest(filter, input, set))
    }
}

fn strongest(filter: &Filter, input: &[u8], set: ByteSet) -> Keyword {
    let word = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_' || *b >= 0x80);
    let mut found = Keyword::None;
    filter.find(input, set, |needle, start| {
        let before = start.checked_sub(1).and_then(|at| input.get(at));
        if word(before) || word(input.get(start + WORDS[needle].len())) {
            return;
        }
        found = found.max(if needle < STRONG { Keyword::Strong } else { Keyword::Weak });
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, evidence: bool) {
        let set = ByteSet::in_value(value.as_bytes());
        assert_eq!(has_evidence(value.as_bytes(), set), evidence, "{value}");
    }

    #[test]
    fn what_is_evidence_of_sql() {
        check("1' or '1'='1", true);
        check("admin'--", true);
        check("x's or 1=1", true);
        check("1 union select 1", true);
        check("1/**/or/**/1", true);
        check("it's the best show I've ever seen, don't miss it!", false);
        check("price (VAT incl.) = 3 + 4", false);
        check("the \"like\" button", false);
        check("n'1", true);
        check("o'clock", true);
    }
}
