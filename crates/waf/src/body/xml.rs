//! XML's text and attribute values, without a document behind them: what is malformed for a parser may be an attack on it.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use super::Part;

/// Gives every attribute's value with its name, and every text, CDATA section and comment. Entities stay encoded.
pub fn walk<'a>(body: &'a [u8], found: &mut dyn FnMut(Part, &'a [u8], Cow<'a, [u8]>)) {
    let mut rest = body;
    while !rest.is_empty() {
        let open = memchr(b'<', rest).unwrap_or(rest.len());
        text(&rest[..open], found);
        rest = &rest[open..];
        if let Some(inner) = rest.strip_prefix(b"<!--") {
            rest = section(inner, b"-->", found);
        } else if let Some(inner) = rest.strip_prefix(b"<![CDATA[") {
            rest = section(inner, b"]]>", found);
        } else if rest.starts_with(b"<?") {
            rest = after(rest, b"?>");
        } else if !rest.is_empty() {
            rest = tag(&rest[1..], found);
        }
    }
}

fn text<'a>(text: &'a [u8], found: &mut dyn FnMut(Part, &'a [u8], Cow<'a, [u8]>)) {
    if text.iter().any(|b| !b.is_ascii_whitespace()) {
        found(Part::Value, b"", Cow::Borrowed(text));
    }
}

fn section<'a>(
    inner: &'a [u8],
    end: &[u8],
    found: &mut dyn FnMut(Part, &'a [u8], Cow<'a, [u8]>),
) -> &'a [u8] {
    let at = memmem::find(inner, end).unwrap_or(inner.len());
    text(&inner[..at], found);
    inner.get(at + end.len()..).unwrap_or_default()
}

fn after<'a>(rest: &'a [u8], end: &[u8]) -> &'a [u8] {
    memmem::find(rest, end).map_or(&[], |at| &rest[at + end.len()..])
}

/// The attributes of a tag; what stands behind it.
fn tag<'a>(inner: &'a [u8], found: &mut dyn FnMut(Part, &'a [u8], Cow<'a, [u8]>)) -> &'a [u8] {
    let mut at = 0;
    let mut name_start = 0;
    let mut name: &[u8] = b"";
    while let Some(&b) = inner.get(at) {
        match b {
            b'>' => return &inner[at + 1..],
            b'=' => {
                name = inner[name_start..at].trim_ascii();
                at += 1;
            }
            b'"' | b'\'' => {
                let value = &inner[at + 1..];
                let end = memchr(b, value).unwrap_or(value.len());
                if end > 0 {
                    found(Part::Value, name, Cow::Borrowed(&value[..end]));
                }
                at += end + 2;
                name_start = at.min(inner.len());
            }
            b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                name_start = at;
            }
            _ => at += 1,
        }
    }
    &[]
}
