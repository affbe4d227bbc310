//! Base64, hexadecimal, digests.

use super::{hex_byte, nibble};
use md5::Digest as _;

/// Strict: decoding stops at the first character that is none of Base64's. Forgiving: such characters are skipped.
///
/// What decodes to nothing is left as it is.
pub(super) fn base64(input: &[u8], forgiving: bool) -> Option<Vec<u8>> {
    // Most values end it at once, and need no memory for it.
    let begins = matches!(input, [a, b, ..] if six_bits(*a).is_some() && six_bits(*b).is_some());
    if !forgiving && !begins {
        return None;
    }
    let mut out = Vec::with_capacity(input.len() / 4 * 3 + 3);
    let mut bits: u32 = 0;
    let mut count = 0;
    for &b in input {
        let Some(six) = six_bits(b) else {
            if forgiving && b != b'=' {
                continue;
            }
            break;
        };
        bits = bits << 6 | u32::from(six);
        count += 1;
        if count == 4 {
            let [_, a, b, c] = bits.to_be_bytes();
            out.extend_from_slice(&[a, b, c]);
            (bits, count) = (0, 0);
        }
    }
    match count {
        2 => out.push((bits >> 4).to_le_bytes()[0]),
        3 => {
            let [low, high, ..] = (bits >> 2).to_le_bytes();
            out.extend_from_slice(&[high, low]);
        }
        _ => {}
    }
    (!out.is_empty()).then_some(out)
}

/// How many bytes strict decoding makes of it.
pub(crate) fn base64_length(input: &[u8]) -> usize {
    input.iter().take_while(|b| six_bits(**b).is_some()).count() * 3 / 4
}

fn six_bits(b: u8) -> Option<u8> {
    match b {
        b'A'..=b'Z' => Some(b - b'A'),
        b'a'..=b'z' => Some(b - b'a' + 26),
        b'0'..=b'9' => Some(b - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// Pairs of hexadecimal digits, if the whole input is made of them.
pub(super) fn hex(input: &[u8]) -> Option<Vec<u8>> {
    if input.is_empty() || !input.len().is_multiple_of(2) {
        return None;
    }
    input.chunks_exact(2).map(|pair| hex_byte(pair[0], pair[1])).collect()
}

/// `0x414243` becomes `ABC`, wherever it stands.
pub(super) fn sql_hex(input: &[u8]) -> Option<Vec<u8>> {
    memchr::memmem::find(input, b"0x").or_else(|| memchr::memmem::find(input, b"0X"))?;
    let mut out = Vec::with_capacity(input.len());
    let mut rest = input;
    while let Some((&first, after)) = rest.split_first() {
        if first == b'0' && matches!(after.first(), Some(b'x' | b'X')) {
            let digits = after[1..].iter().take_while(|b| nibble(**b).is_some()).count() & !1;
            if digits > 0 {
                out.extend(after[1..=digits].chunks_exact(2).filter_map(|pair| hex_byte(pair[0], pair[1])));
                rest = &after[1 + digits..];
                continue;
            }
        }
        out.push(first);
        rest = after;
    }
    (out != input).then_some(out)
}

pub(super) fn md5(input: &[u8]) -> Option<Vec<u8>> {
    Some(md5::Md5::digest(input).to_vec())
}

pub(super) fn sha256(input: &[u8]) -> Option<Vec<u8>> {
    Some(sha2::Sha256::digest(input).to_vec())
}
