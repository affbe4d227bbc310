//! `multipart/form-data`, as lenient about line ends as the servers behind us are.

use std::borrow::Cow;

use memchr::memmem;

use super::Part;

/// More parts than this are not a form.
const MAX_PARTS: usize = 1_000;

/// Gives the name and value of each field, and the name and content of each file.
pub fn walk<'a>(content_type: &[u8], body: &'a [u8], found: &mut dyn FnMut(Part, &'a [u8], Cow<'a, [u8]>)) {
    let boundary = parameter(content_type, b"boundary").filter(|b| !b.is_empty());
    let Some(boundary) = boundary.or_else(|| first_line(body)) else {
        found(Part::Value, b"", Cow::Borrowed(body));
        return;
    };
    let mut delimiter = Vec::with_capacity(boundary.len() + 2);
    delimiter.extend_from_slice(b"--");
    delimiter.extend_from_slice(&boundary);
    let finder = memmem::Finder::new(&delimiter);
    let Some(start) = finder.find(body) else {
        // A body that does not keep to its own boundary is looked at as a whole.
        found(Part::Value, b"", Cow::Borrowed(body));
        return;
    };
    let mut rest = &body[start + delimiter.len()..];
    for _ in 0..MAX_PARTS {
        if rest.starts_with(b"--") || rest.is_empty() {
            return;
        }
        let end = finder.find(rest).unwrap_or(rest.len());
        part(line_end(rest).map_or(&rest[..end], |after| &rest[after.min(end)..end]), found);
        rest = rest.get(end + delimiter.len()..).unwrap_or_default();
    }
}

/// The boundary that a body without a declared one begins with.
fn first_line(body: &[u8]) -> Option<Cow<'_, [u8]>> {
    let line = body.strip_prefix(b"--")?.split(|&b| b == b'\n').next()?.trim_ascii_end();
    (!line.is_empty()).then_some(Cow::Borrowed(line))
}

/// Where the next line begins.
fn line_end(text: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', text).map(|n| n + 1)
}

fn part<'a>(part: &'a [u8], found: &mut dyn FnMut(Part, &'a [u8], Cow<'a, [u8]>)) {
    let mut rest = part;
    let mut name: &[u8] = b"";
    let mut file = None;
    while let Some(after) = line_end(rest) {
        let line = rest[..after].trim_ascii_end();
        rest = &rest[after..];
        if line.is_empty() {
            break;
        }
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        if line[..colon].eq_ignore_ascii_case(b"content-disposition") {
            let value = &line[colon + 1..];
            name = borrowed_parameter(value, b"name").unwrap_or_default();
            file = parameter(value, b"filename").or_else(|| parameter(value, b"filename*"));
        }
    }
    let content = rest.strip_suffix(b"\r\n").or_else(|| rest.strip_suffix(b"\n")).unwrap_or(rest);
    found(Part::Name, name, Cow::Borrowed(name));
    match file {
        Some(file) => {
            found(Part::FileName, name, Cow::Owned(file.into_owned()));
            found(Part::File, name, Cow::Borrowed(content));
        }
        None => found(Part::Value, name, Cow::Borrowed(content)),
    }
}

fn borrowed_parameter<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = value;
    while let Some(at) = memchr::memchr(b';', rest) {
        rest = &rest[at + 1..];
        let trimmed = rest.trim_ascii_start();
        if trimmed.len() > name.len() && trimmed[..name.len()].eq_ignore_ascii_case(name) {
            let after = trimmed[name.len()..].trim_ascii_start();
            if let Some(value) = after.strip_prefix(b"=") {
                let value = value.trim_ascii_start();
                return Some(match value.strip_prefix(b"\"") {
                    Some(quoted) => &quoted[..closing(quoted)],
                    None => value.split(|&b| b == b';').next().unwrap_or_default().trim_ascii_end(),
                });
            }
        }
    }
    None
}

/// A parameter with the backslashes of a quoted string undone, where they quote a quote.
fn parameter<'a>(value: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    let raw = borrowed_parameter(value, name)?;
    if memmem::find(raw, b"\\\"").is_none() {
        return Some(Cow::Borrowed(raw));
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&b, after)) = rest.split_first() {
        if b != b'\\' || after.first() != Some(&b'"') {
            out.push(b);
        }
        rest = after;
    }
    Some(Cow::Owned(out))
}

/// Where a quoted string ends.
fn closing(quoted: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&b) = quoted.get(at) {
        match b {
            b'"' => return at,
            b'\\' if quoted.get(at + 1) == Some(&b'"') => at += 2,
            _ => at += 1,
        }
    }
    quoted.len()
}
