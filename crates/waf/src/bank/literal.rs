//! Literals of which every match of a pattern contains at least one, and classes of bytes of which it contains one each.

use regex_syntax::{
    ParserBuilder,
    hir::{Class, ClassBytes, Hir, HirKind},
};

use crate::bytes::ByteSet;

/// More strings than this prefilter nothing.
const STRINGS_MAX: usize = 1_000;
/// Products of alternatives that are spelt out.
const PRODUCT_MAX: usize = 64;
/// A class of more bytes than this is "anything".
const CLASS_MAX: usize = 10;
/// Longer literals find no less.
const LENGTH_MAX: usize = 24;

/// A class whose bytes make up more than this share of ordinary text tells nothing.
const SHARE_MAX: f64 = 0.5;
/// More classes than this, the rarest ones, are not asked for.
const NEEDS_MAX: usize = 4;

type Set = Vec<Vec<u8>>;

fn parse(pattern: &str, ours: bool) -> Option<Hir> {
    let mut parser = ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .case_insensitive(ours)
        .dot_matches_new_line(ours)
        .build();
    parser.parse(pattern).ok()
}

/// How many bytes a match has at least.
pub(super) fn shortest(pattern: &str, ours: bool) -> usize {
    parse(pattern, ours).and_then(|hir| hir.properties().minimum_len()).unwrap_or(0)
}

/// Classes of bytes, the rarest first: every match contains a byte of each.
pub(super) fn needs(pattern: &str, ours: bool) -> Vec<ByteSet> {
    let mut all = parse(pattern, ours).map(|hir| needs_of(&hir)).unwrap_or_default();
    all.sort_by(|a, b| weight(*a).total_cmp(&weight(*b)));
    all.dedup();
    all.retain(|set| weight(*set) <= SHARE_MAX);
    all.truncate(NEEDS_MAX);
    all
}

fn needs_of(hir: &Hir) -> Vec<ByteSet> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Vec::new(),
        HirKind::Literal(literal) => literal.0.iter().map(|&b| ByteSet::of(&[b])).collect(),
        HirKind::Class(class) => {
            let Some(class) = of_bytes(class) else { return Vec::new() };
            let ranges = class.ranges().iter();
            vec![ranges.fold(ByteSet::default(), |set, range| set.with(range.start(), range.end()))]
        }
        HirKind::Repetition(r) if r.min > 0 => needs_of(&r.sub),
        HirKind::Repetition(_) => Vec::new(),
        HirKind::Capture(c) => needs_of(&c.sub),
        HirKind::Concat(list) => list.iter().flat_map(needs_of).collect(),
        // A byte of the rarest class of whichever alternative it is.
        HirKind::Alternation(list) => {
            let mut any = ByteSet::default();
            for alternative in list {
                let rarest =
                    needs_of(alternative).into_iter().min_by(|a, b| weight(*a).total_cmp(&weight(*b)));
                let Some(rarest) = rarest else { return Vec::new() };
                any.add(rarest);
            }
            vec![any]
        }
    }
}

/// The class as bytes. Alternatives of one ASCII character each are a class of characters to the parser.
fn of_bytes(class: &Class) -> Option<ClassBytes> {
    match class {
        Class::Bytes(class) => Some(class.clone()),
        Class::Unicode(class) => class.to_byte_class(),
    }
}

/// The share of ordinary text that its bytes make up.
fn weight(set: ByteSet) -> f64 {
    set.iter().map(|b| share(b.to_ascii_lowercase())).sum()
}

/// The literals in lower case; `None`: there are none worth looking for.
pub(super) fn required(pattern: &str, ours: bool) -> Option<Set> {
    let mut set = required_of(&parse(pattern, ours)?)?;
    set.sort();
    set.dedup();
    // A literal that contains another one adds nothing.
    let short = set.clone();
    set.retain(|long| !short.iter().any(|s| s != long && memchr::memmem::find(long, s).is_some()));
    Some(set)
}

/// All strings that it matches, if they are few.
fn exact(hir: &Hir) -> Option<Set> {
    let set = match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![Vec::new()],
        HirKind::Literal(literal) => vec![literal.0.to_ascii_lowercase()],
        HirKind::Class(class) => {
            let mut bytes: Set = Vec::new();
            for range in of_bytes(class)?.ranges() {
                for b in range.start()..=range.end() {
                    let lower = vec![b.to_ascii_lowercase()];
                    if !bytes.contains(&lower) {
                        bytes.push(lower);
                    }
                    if bytes.len() > CLASS_MAX {
                        return None;
                    }
                }
            }
            bytes
        }
        HirKind::Repetition(r) if r.max == Some(r.min) && r.min <= 4 => {
            let one = exact(&r.sub)?;
            (0..r.min).try_fold(vec![Vec::new()], |all, _| product(&all, &one))?
        }
        HirKind::Repetition(r) if r.min == 0 && r.max == Some(1) => {
            let mut set = exact(&r.sub)?;
            set.push(Vec::new());
            set
        }
        HirKind::Repetition(_) => return None,
        HirKind::Capture(c) => exact(&c.sub)?,
        HirKind::Concat(list) => {
            list.iter().try_fold(vec![Vec::new()], |all, h| product(&all, &exact(h)?))?
        }
        HirKind::Alternation(list) => {
            let mut set = Vec::new();
            for h in list {
                set.extend(exact(h)?);
            }
            set
        }
    };
    (set.len() <= PRODUCT_MAX && set.iter().all(|s| s.len() <= LENGTH_MAX)).then_some(set)
}

fn product(left: &Set, right: &Set) -> Option<Set> {
    if left.len() * right.len() > PRODUCT_MAX {
        return None;
    }
    Some(left.iter().flat_map(|l| right.iter().map(move |r| [l.as_slice(), r].concat())).collect())
}

fn required_of(hir: &Hir) -> Option<Set> {
    if let Some(set) = exact(hir)
        && worth(&set)
    {
        return Some(set);
    }
    match hir.kind() {
        HirKind::Capture(c) => required_of(&c.sub),
        HirKind::Repetition(r) if r.min > 0 => required_of(&r.sub),
        HirKind::Alternation(list) => {
            let mut set = Vec::new();
            for h in list {
                set.extend(required_of(h)?);
            }
            (set.len() <= STRINGS_MAX).then_some(set)
        }
        HirKind::Concat(list) => {
            let mut choices: Vec<Set> = Vec::new();
            let mut run: Set = vec![Vec::new()];
            for h in list {
                let longer = exact(h)
                    .and_then(|set| product(&run, &set))
                    .filter(|p| p.iter().all(|s| s.len() <= LENGTH_MAX));
                match longer {
                    Some(longer) => run = longer,
                    // What stands there at least once ends what came before it, and begins what follows.
                    None if repeated(h).is_some() => {
                        let once = repeated(h).unwrap_or_default();
                        let whole = product(&run, &once);
                        let whole = whole.filter(|p| p.iter().all(|s| s.len() <= LENGTH_MAX));
                        choices.push(whole.unwrap_or(run));
                        choices.push(once.clone());
                        run = once;
                    }
                    None => {
                        choices.push(std::mem::replace(&mut run, vec![Vec::new()]));
                        choices.extend(required_of(h));
                        // The part that was too much for the run may begin a new one.
                        if let Some(set) = exact(h) {
                            run = set;
                        }
                    }
                }
            }
            choices.push(run);
            choices.into_iter().filter(worth).min_by(|a, b| frequency(a).total_cmp(&frequency(b)))
        }
        _ => None,
    }
}

/// All strings of which it is one or more, if they are few.
fn repeated(hir: &Hir) -> Option<Set> {
    match hir.kind() {
        HirKind::Repetition(r) if r.min > 0 => exact(&r.sub),
        _ => None,
    }
}

fn worth(set: &Set) -> bool {
    !set.is_empty() && set.iter().all(|s| !s.is_empty()) && set.len() <= STRINGS_MAX
}

/// How often any of them occurs in ordinary text, roughly; the set that occurs least is looked for.
fn frequency(set: &Set) -> f64 {
    set.iter().map(|s| s.iter().map(|&b| share(b)).product::<f64>()).sum()
}

/// A byte's share of the values that visitors send.
pub(super) fn share(b: u8) -> f64 {
    match b {
        b' ' => 0.12,
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | b'h' => 0.07,
        b'a'..=b'z' => 0.02,
        b'0'..=b'9' => 0.03,
        b'.' | b'/' | b'-' | b'_' => 0.02,
        b',' | b'"' | b':' => 0.01,
        // Between names and values it is not left in them.
        b'=' => 0.002,
        b'(' | b')' | b'\'' | b'+' | b'%' => 0.005,
        // Korean and other text in UTF-8.
        0x80..=0xbf | 0xe3..=0xed => 0.03,
        _ => 0.001,
    }
}
