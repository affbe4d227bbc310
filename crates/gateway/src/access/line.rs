//! How a line looks. Nothing that a visitor sends ends a line or a field early.

use std::{
    cell::RefCell,
    io::Write,
    net::{IpAddr, SocketAddr},
};

use hyper::{Version, header::HeaderValue};
use runtime::clock::{Wall, date};

use super::Entry;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// An object a line; its keys are in `docs/json-output.md`.
    #[default]
    Json,
    /// Apache's and nginx's `combined`.
    Combined,
}

/// The second that was written last, in words: most lines share it.
#[derive(Default)]
pub(super) struct Clock(RefCell<(u64, String, String)>);

impl Clock {
    /// Calls `with` with this second as `2026-11-23T04:05:06` and as `23/Nov/2026:04:05:06 +0000`.
    fn at(&self, wall: Wall, with: impl FnOnce(&str, &str)) {
        let second = wall.as_s();
        let mut last = self.0.borrow_mut();
        if last.0 != second || last.1.is_empty() {
            let (year, month, day) = date(second / 86_400);
            let (hour, minute, s) = (second / 3_600 % 24, second / 60 % 60, second % 60);
            let name = MONTHS.get(usize::try_from(month - 1).unwrap_or(0)).copied().unwrap_or("Jan");
            *last = (
                second,
                format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{s:02}"),
                format!("{day:02}/{name}/{year:04}:{hour:02}:{minute:02}:{s:02} +0000"),
            );
        }
        with(&last.1, &last.2);
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Appends an entry's line.
pub(super) fn append(out: &mut Vec<u8>, format: Format, entry: &Entry, clock: &Clock) {
    let written = match format {
        Format::Json => json(out, entry, clock),
        Format::Combined => combined(out, entry, clock),
    };
    // Writing into memory does not fail; if it did, there is a line less.
    if written.is_err() {
        tracing::debug!("a line of the access log could not be made");
    }
}

fn json(out: &mut Vec<u8>, entry: &Entry, clock: &Clock) -> std::io::Result<()> {
    let asked = &entry.asked;
    let traced = entry.trace.0.as_deref();
    clock.at(entry.began_at, |iso, _| {
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(iso.as_bytes());
    });
    out.push(b'.');
    decimal(out, entry.began_at.as_ms() % 1_000, 3);
    out.extend_from_slice(b"Z\",\"client\":\"");
    address(out, traced.and_then(|t| t.source.get()).unwrap_or(asked.from))?;
    out.extend_from_slice(b"\",\"method\":\"");
    escaped(out, asked.method.as_str().as_bytes());
    out.push(b'"');
    text(out, ",\"host\":", asked.host.as_ref());
    out.extend_from_slice(b",\"path\":\"");
    escaped(out, asked.uri.path().as_bytes());
    out.extend_from_slice(b"\",\"query\":\"");
    escaped(out, asked.uri.query().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\",\"protocol\":\"");
    out.extend_from_slice(protocol(asked.version).as_bytes());
    out.extend_from_slice(b"\",\"status\":");
    decimal(out, entry.status.as_u16().into(), 1);
    out.extend_from_slice(b",\"bytes\":");
    decimal(out, entry.bytes, 1);
    let took_us = u64::try_from(entry.began.elapsed().as_micros()).unwrap_or(u64::MAX);
    out.extend_from_slice(b",\"duration_ms\":");
    decimal(out, took_us / 1_000, 1);
    out.push(b'.');
    decimal(out, took_us % 1_000, 3);
    text(out, ",\"request_id\":", Some(&asked.id));
    text(out, ",\"referer\":", asked.referer.as_ref());
    text(out, ",\"user_agent\":", asked.agent.as_ref());
    if let Some(traced) = traced {
        if let Some(shares) = &*traced.shares.borrow() {
            let rule = traced.rule.get().and_then(|place| shares.snapshot.table.priorities().nth(place));
            out.extend_from_slice(b",\"rule\":");
            match rule {
                Some(rule) => decimal(out, rule.into(), 1),
                None => out.extend_from_slice(b"\"default\""),
            }
            if let Some((group, _)) = traced.group.get().and_then(|place| shares.at(place)) {
                out.extend_from_slice(b",\"group\":\"");
                out.extend_from_slice(group.config.name.as_bytes());
                out.push(b'"');
            }
        }
        if let Some(target) = traced.target.get() {
            out.extend_from_slice(b",\"target\":\"");
            socket(out, target)?;
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

fn combined(out: &mut Vec<u8>, entry: &Entry, clock: &Clock) -> std::io::Result<()> {
    let asked = &entry.asked;
    let source = entry.trace.0.as_deref().and_then(|t| t.source.get()).unwrap_or(asked.from);
    address(out, source)?;
    out.extend_from_slice(b" - - [");
    clock.at(entry.began_at, |_, words| out.extend_from_slice(words.as_bytes()));
    out.extend_from_slice(b"] \"");
    quoted(out, asked.method.as_str().as_bytes());
    out.push(b' ');
    quoted(out, asked.uri.path().as_bytes());
    if let Some(query) = asked.uri.query() {
        out.push(b'?');
        quoted(out, query.as_bytes());
    }
    write!(out, " {}\" {} {} \"", protocol(asked.version), entry.status.as_u16(), entry.bytes)?;
    quoted(out, asked.referer.as_ref().map_or(b"-", |v| v.as_bytes()));
    out.extend_from_slice(b"\" \"");
    quoted(out, asked.agent.as_ref().map_or(b"-", |v| v.as_bytes()));
    out.extend_from_slice(b"\"\n");
    Ok(())
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// A key and its value, empty if there is none.
fn text(out: &mut Vec<u8>, key: &str, value: Option<&HeaderValue>) {
    out.extend_from_slice(key.as_bytes());
    out.push(b'"');
    escaped(out, value.map_or(b"", |v| v.as_bytes()));
    out.push(b'"');
}

/// As JSON wants it inside quotes. Bytes beyond ASCII, of which we do not know the meaning, become the characters of
/// Latin-1 with the same number: nothing is lost, and the line stays UTF-8.
fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    plain_and_odd(out, bytes, |out, odd| match odd {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', odd]),
        _ => hex(out, b"\\u00", odd),
    });
}

/// As nginx writes it inside quotes.
fn quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    plain_and_odd(out, bytes, |out, odd| hex(out, b"\\x", odd));
}

/// Writes what needs no care as it is, in one go where it is many bytes, and the odd ones with `odd`.
fn plain_and_odd(out: &mut Vec<u8>, mut bytes: &[u8], odd: impl Fn(&mut Vec<u8>, u8)) {
    let is_odd = |b: &u8| !matches!(b, b' '..=b'~') || matches!(b, b'"' | b'\\');
    while let Some(at) = bytes.iter().position(is_odd) {
        let (plain, rest) = bytes.split_at(at);
        out.extend_from_slice(plain);
        if let Some((first, rest)) = rest.split_first() {
            odd(out, *first);
            bytes = rest;
        }
    }
    out.extend_from_slice(bytes);
}

/// A number as people read it. What `write!` does too, which takes several times as long; a line has many.
fn decimal(out: &mut Vec<u8>, number: u64, digits_min: usize) {
    let mut text = [b'0'; 20];
    let (mut left, mut digits) = (number, 0);
    for digit in text.iter_mut().rev() {
        if left == 0 && digits >= digits_min.max(1) {
            break;
        }
        *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
        (left, digits) = (left / 10, digits + 1);
    }
    out.extend_from_slice(text.get(text.len() - digits..).unwrap_or_default());
}

fn address(out: &mut Vec<u8>, address: IpAddr) -> std::io::Result<()> {
    let IpAddr::V4(address) = address else { return write!(out, "{address}") };
    for (n, part) in address.octets().into_iter().enumerate() {
        if n > 0 {
            out.push(b'.');
        }
        decimal(out, part.into(), 1);
    }
    Ok(())
}

fn socket(out: &mut Vec<u8>, at: SocketAddr) -> std::io::Result<()> {
    if at.is_ipv6() {
        return write!(out, "{at}");
    }
    address(out, at.ip())?;
    out.push(b':');
    decimal(out, at.port().into(), 1);
    Ok(())
}

fn hex(out: &mut Vec<u8>, before: &[u8], byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(before);
    out.extend([byte >> 4, byte & 15].map(|d| DIGITS.get(usize::from(d)).copied().unwrap_or(b'0')));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_field_early() {
        let mut json = Vec::new();
        escaped(&mut json, b"a\"b\\c\nd\xff\x7f");
        let text = String::from_utf8(json).unwrap();
        let value: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
        assert_eq!(value, "a\"b\\c\nd\u{ff}\u{7f}");
        let mut combined = Vec::new();
        quoted(&mut combined, b"a\"b\\c\nd\xff");
        assert_eq!(combined, br"a\x22b\x5Cc\x0Ad\xFF");
        let mut odd_only = Vec::new();
        quoted(&mut odd_only, b"\"\"");
        quoted(&mut odd_only, b"");
        assert_eq!(odd_only, br"\x22\x22");
    }

    #[test]
    fn numbers_and_addresses_look_as_everywhere() {
        let check = |number, digits_min, want: &str| {
            let mut out = Vec::new();
            decimal(&mut out, number, digits_min);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        };
        check(0, 1, "0");
        check(7, 3, "007");
        check(1_234, 3, "1234");
        check(u64::MAX, 1, "18446744073709551615");
        for at in ["203.0.113.7:80", "0.0.0.0:0", "255.255.255.255:65535", "[2001:db8::1]:443"] {
            let at: SocketAddr = at.parse().unwrap();
            let mut out = Vec::new();
            socket(&mut out, at).unwrap();
            out.push(b' ');
            address(&mut out, at.ip()).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), format!("{at} {}", at.ip()));
        }
    }
}
