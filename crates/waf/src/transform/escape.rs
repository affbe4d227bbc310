//! Escapes: URL, HTML, JavaScript, CSS, C.

use super::{hex_byte, narrow, nibble};

/// `%41` and `+`; with `uni`, Microsoft's `%u0041`, too. An escape that is none stays.
///
/// Forms in Korean are little else than escapes, so an escape costs two looks into a table.
pub(super) fn url(input: &[u8], uni: bool) -> Option<Vec<u8>> {
    let first = memchr::memchr2(b'%', b'+', input)?;
    // Nothing grows: what is written never overtakes what is read.
    let mut out = input.to_vec();
    let (mut from, mut to) = (first, first);
    while let Some(&b) = input.get(from) {
        let (byte, used) = match b {
            b'+' => (b' ', 0),
            b'%' => escaped(&input[from + 1..], uni).unwrap_or((b'%', 0)),
            _ => (b, 0),
        };
        out[to] = byte;
        from += 1 + used;
        to += 1;
    }
    out.truncate(to);
    (out.len() != input.len() || out != input).then_some(out)
}

/// What stands behind `%`: the byte, and how many bytes it takes.
fn escaped(after: &[u8], uni: bool) -> Option<(u8, usize)> {
    match *after {
        [high, low, ..] if HEX[usize::from(high)] < 16 && HEX[usize::from(low)] < 16 => {
            Some((HEX[usize::from(high)] << 4 | HEX[usize::from(low)], 2))
        }
        [b'u' | b'U', a, b, c, d, ..] if uni => code16(a, b, c, d).map(|code| (narrow(code), 5)),
        _ => None,
    }
}

/// The values of hexadecimal digits; 0xff: it is none.
static HEX: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value as usize] as usize] = value;
        table[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    table
};

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

fn code16(a: u8, b: u8, c: u8, d: u8) -> Option<u16> {
    Some(u16::from_be_bytes([hex_byte(a, b)?, hex_byte(c, d)?]))
}

/// `&lt;`, `&#60;`, `&#x3c;`, with or without the semicolon.
///
/// Beyond AWS's list stand the names that browsers know and evasions use: `&Tab;`, `&NewLine;`, `&colon;`, brackets.
pub(super) fn html_entity(input: &[u8]) -> Option<Vec<u8>> {
    let mut at = memchr::memchr(b'&', input)?;
    let mut out = Vec::with_capacity(input.len());
    let mut rest = input;
    loop {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let used = entity(rest, &mut out);
        if used == 0 {
            out.push(b'&');
        }
        rest = &rest[used.max(1)..];
        match memchr::memchr(b'&', rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.extend_from_slice(rest);
    (out != input).then_some(out)
}

/// Named entities; the longer ones first where one begins another.
const NAMED: &[(&[u8], &[u8])] = &[
    (b"quot", b"\""),
    (b"apos", b"'"),
    (b"amp", b"&"),
    (b"lt", b"<"),
    (b"gt", b">"),
    (b"nbsp", b"\xa0"),
    (b"tab", b"\t"),
    (b"newline", b"\n"),
    (b"colon", b":"),
    (b"semi", b";"),
    (b"lpar", b"("),
    (b"rpar", b")"),
    (b"lcub", b"{"),
    (b"lbrace", b"{"),
    (b"rcub", b"}"),
    (b"rbrace", b"}"),
    (b"lsqb", b"["),
    (b"rsqb", b"]"),
    (b"dollar", b"$"),
    (b"percnt", b"%"),
    (b"num", b"#"),
    (b"equals", b"="),
    (b"sol", b"/"),
    (b"bsol", b"\\"),
    (b"period", b"."),
    (b"comma", b","),
    (b"grave", b"`"),
    (b"lowbar", b"_"),
    (b"commat", b"@"),
    (b"excl", b"!"),
    (b"quest", b"?"),
];

/// Writes what the entity at the beginning of `input` stands for; how many bytes it takes, 0: it is none.
fn entity(input: &[u8], out: &mut Vec<u8>) -> usize {
    let semicolon = |at: usize| at + usize::from(input.get(at) == Some(&b';'));
    if input.get(1) == Some(&b'#') {
        let (start, radix) = if matches!(input.get(2), Some(b'x' | b'X')) { (3, 16) } else { (2, 10) };
        let is_digit = |b: &u8| if radix == 16 { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
        let digits = input[start.min(input.len())..].iter().take_while(|b| is_digit(b)).count();
        if digits == 0 {
            return 0;
        }
        let mut code: u32 = 0;
        for &b in &input[start..start + digits] {
            code = code.saturating_mul(radix).saturating_add(u32::from(nibble(b).unwrap_or(0)));
        }
        match u8::try_from(code) {
            Ok(byte) => out.push(byte),
            Err(_) => {
                let mut utf8 = [0; 4];
                let text = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut utf8);
                out.extend_from_slice(text.as_bytes());
            }
        }
        return semicolon(start + digits);
    }
    let name = input[1..].iter().take(8).take_while(|b| b.is_ascii_alphabetic()).count();
    let name = &input[1..=name];
    for (known, stands_for) in NAMED {
        // The four that HTML has always had are taken without their semicolon, too.
        let whole = name.eq_ignore_ascii_case(known)
            && (input.get(1 + known.len()) == Some(&b';') || known.len() <= 4);
        if whole {
            out.extend_from_slice(stands_for);
            return semicolon(1 + known.len());
        }
    }
    0
}

/// Each backslash with what follows it becomes what `escape` writes for it; it says how many bytes behind the backslash it took.
fn unescaped(input: &[u8], escape: impl Fn(&[u8], &mut Vec<u8>) -> usize) -> Option<Vec<u8>> {
    let mut at = memchr::memchr(b'\\', input)?;
    let mut out = Vec::with_capacity(input.len());
    let mut rest = input;
    loop {
        out.extend_from_slice(&rest[..at]);
        let after = &rest[at + 1..];
        rest = &after[escape(after, &mut out)..];
        match memchr::memchr(b'\\', rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.extend_from_slice(rest);
    (out != input).then_some(out)
}

/// JavaScript: `\x3c`, `\u003c`, octal, single letters; with `extended` also `\u{3c}`.
pub(super) fn js(input: &[u8], extended: bool) -> Option<Vec<u8>> {
    unescaped(input, |after, out| match after {
        [b'u', a, b, c, d, ..] if code16(*a, *b, *c, *d).is_some() => {
            out.extend(code16(*a, *b, *c, *d).map(narrow));
            5
        }
        [b'u', b'{', tail @ ..] if extended && braced(tail).is_some() => {
            let (code, used) = braced(tail).unwrap_or_default();
            out.push(narrow(code));
            2 + used
        }
        [b'x', high, low, ..] if hex_byte(*high, *low).is_some() => {
            out.extend(hex_byte(*high, *low));
            3
        }
        [b'0'..=b'7', ..] => {
            let (byte, used) = octal(after);
            out.push(byte);
            used
        }
        [letter, ..] => {
            out.push(control(*letter).unwrap_or(*letter));
            1
        }
        [] => {
            out.push(b'\\');
            0
        }
    })
}

/// `3c}` after `\u{`: the code and how many bytes it takes.
fn braced(input: &[u8]) -> Option<(u16, usize)> {
    let digits = input.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if digits == 0 || input.get(digits) != Some(&b'}') {
        return None;
    }
    let code =
        input[..digits].iter().fold(0u32, |code, &b| code << 4 & 0xffff | u32::from(nibble(b).unwrap_or(0)));
    Some((u16::try_from(code).ok()?, digits + 1))
}

/// Up to three octal digits that make one byte.
fn octal(input: &[u8]) -> (u8, usize) {
    let mut value: u16 = 0;
    let mut used = 0;
    while used < 3
        && let Some(digit @ b'0'..=b'7') = input.get(used)
    {
        let next = value << 3 | u16::from(digit - b'0');
        if next > 0xff {
            break;
        }
        value = next;
        used += 1;
    }
    (value.to_le_bytes()[0], used)
}

fn control(letter: u8) -> Option<u8> {
    Some(match letter {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        _ => return None,
    })
}

/// CSS: up to six hexadecimal digits and one space after them; a backslash before anything else goes.
pub(super) fn css(input: &[u8]) -> Option<Vec<u8>> {
    unescaped(input, |after, out| {
        let digits = after.iter().take(6).take_while(|b| b.is_ascii_hexdigit()).count();
        if digits > 0 {
            let code =
                after[..digits].iter().fold(0u32, |code, &b| code << 4 | u32::from(nibble(b).unwrap_or(0)));
            let [.., high, low] = code.to_be_bytes();
            out.push(narrow(u16::from_be_bytes([high, low])));
            return digits
                + usize::from(matches!(after.get(digits), Some(b' ' | b'\t' | b'\n' | b'\r' | 12)));
        }
        match after.first() {
            None => out.push(b'\\'),
            Some(b'\n') => {}
            Some(next) => out.push(*next),
        }
        after.len().min(1)
    })
}

/// ANSI C: what is no escape stays, its backslash included.
pub(super) fn ansi_c(input: &[u8]) -> Option<Vec<u8>> {
    unescaped(input, |after, out| match after {
        [b'x' | b'X', high, low, ..] if hex_byte(*high, *low).is_some() => {
            out.extend(hex_byte(*high, *low));
            3
        }
        [b'0'..=b'7', ..] => {
            let (byte, used) = octal(after);
            out.push(byte);
            used
        }
        [mark @ (b'\\' | b'?' | b'\'' | b'"'), ..] => {
            out.push(*mark);
            1
        }
        [letter, ..] if control(*letter).is_some() => {
            out.extend(control(*letter));
            1
        }
        _ => {
            out.push(b'\\');
            0
        }
    })
}

/// Every character beyond ASCII as `%uhhhh`; bytes that are no UTF-8 stay.
pub(super) fn utf8_to_unicode(input: &[u8]) -> Option<Vec<u8>> {
    if input.is_ascii() {
        return None;
    }
    let mut out = Vec::with_capacity(input.len() * 2);
    for chunk in input.utf8_chunks() {
        for c in chunk.valid().chars() {
            match u8::try_from(c) {
                Ok(byte) if byte.is_ascii() => out.push(byte),
                _ => {
                    out.extend_from_slice(b"%u");
                    let code = u32::from(c);
                    // Four digits, or as many as it takes.
                    let digits = if code > 0xffff { 8 - code.leading_zeros() / 4 } else { 4 };
                    out.extend((0..digits).rev().map(|at| HEX_DIGITS[(code >> (4 * at) & 0xf) as usize]));
                }
            }
        }
        out.extend_from_slice(chunk.invalid());
    }
    (out != input).then_some(out)
}
