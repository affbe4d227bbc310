//! Literals of which every match of a pattern contains at least one.

use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind},
};

/// More strings than this prefilter nothing.
const STRINGS_MAX: usize = 1_000;
/// Products of alternatives that are spelt out.
const PRODUCT_MAX: usize = 64;
/// A class of more bytes than this is "anything".
const CLASS_MAX: usize = 6;
/// Longer literals find no less.
const LENGTH_MAX: usize = 24;

type Set = Vec<Vec<u8>>;

/// The literals in lower case; `None`: there are none worth looking for.
pub(super) fn required(pattern: &str, ours: bool) -> Option<Set> {
    let mut parser = ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .case_insensitive(ours)
        .dot_matches_new_line(ours)
        .build();
    let mut set = required_of(&parser.parse(pattern).ok()?)?;
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
            match class {
                Class::Bytes(class) => {
                    for range in class.ranges() {
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
                }
                Class::Unicode(_) => return None,
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

fn worth(set: &Set) -> bool {
    !set.is_empty() && set.iter().all(|s| !s.is_empty()) && set.len() <= STRINGS_MAX
}

/// How often any of them occurs in ordinary text, roughly; the set that occurs least is looked for.
fn frequency(set: &Set) -> f64 {
    set.iter().map(|s| s.iter().map(|&b| share(b)).product::<f64>()).sum()
}

/// A byte's share of the values that visitors send.
fn share(b: u8) -> f64 {
    match b {
        b' ' => 0.12,
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | b'h' => 0.07,
        b'a'..=b'z' => 0.02,
        b'0'..=b'9' => 0.03,
        b'.' | b'/' | b'-' | b'_' => 0.02,
        b'=' | b',' | b'"' | b':' => 0.01,
        b'(' | b')' | b'\'' | b'+' | b'%' => 0.005,
        // Korean and other text in UTF-8.
        0x80.. => 0.03,
        _ => 0.001,
    }
}
