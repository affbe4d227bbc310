//! White space, letter case, and bytes that are dropped or replaced.

/// C's `isspace`.
pub(super) fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Runs of white space, the non-breaking space included, become one space.
///
/// A byte of 160 inside of a UTF-8 sequence is not a space: Korean text is full of them.
pub(super) fn compress(input: &[u8]) -> Option<Vec<u8>> {
    let utf8 = input.is_ascii() || std::str::from_utf8(input).is_ok();
    let space = |b: u8| is_space(b) || (b == 0xa0 && !utf8);
    let mut previous = false;
    let same = input.iter().all(|&b| {
        let now = space(b);
        let fine = !now || (b == b' ' && !previous);
        previous = now;
        fine
    });
    if same {
        return None;
    }
    let mut out = Vec::with_capacity(input.len());
    let mut previous = false;
    for &b in input {
        let now = space(b);
        if !now {
            out.push(b);
        } else if !previous {
            out.push(b' ');
        }
        previous = now;
    }
    Some(out)
}

pub(super) fn lowercase(input: &[u8]) -> Option<Vec<u8>> {
    input.iter().any(u8::is_ascii_uppercase).then(|| input.to_ascii_lowercase())
}

pub(super) fn uppercase(input: &[u8]) -> Option<Vec<u8>> {
    input.iter().any(u8::is_ascii_lowercase).then(|| input.to_ascii_uppercase())
}

pub(super) fn without(input: &[u8], gone: fn(u8) -> bool) -> Option<Vec<u8>> {
    input.iter().any(|&b| gone(b)).then(|| input.iter().copied().filter(|&b| !gone(b)).collect())
}

pub(super) fn replaced(input: &[u8], gone: fn(u8) -> bool) -> Option<Vec<u8>> {
    input.iter().any(|&b| gone(b)).then(|| input.iter().map(|&b| if gone(b) { b' ' } else { b }).collect())
}

pub(super) fn trim(input: &[u8], left: bool, right: bool) -> Option<Vec<u8>> {
    let mut kept = input;
    while let [first, rest @ ..] = kept
        && left
        && is_space(*first)
    {
        kept = rest;
    }
    while let [rest @ .., last] = kept
        && right
        && is_space(*last)
    {
        kept = rest;
    }
    (kept.len() != input.len()).then(|| kept.to_vec())
}
