//! JSON, read as far as it goes: a body is often cut off by the limit, and what was read until then counts.

use std::borrow::Cow;

/// Deeper than this nothing is read: `MAX_DEPTH` nested arrays are an attack, not a document.
const MAX_DEPTH: usize = 128;

/// Whether a piece is a key or a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// A key.
    Key,
    /// A string, number, boolean or null.
    Value,
}

/// Takes what it is, its JSON pointer, its bytes.
pub(crate) type Found<'f, 'a> = &'f mut dyn FnMut(Scope, &str, Cow<'a, [u8]>);

/// Gives every key and value with its JSON pointer; whether it was one whole, valid document.
pub fn walk<'a>(body: &'a [u8], found: Found<'_, 'a>) -> bool {
    let mut reader = Reader { body, at: 0, path: String::new(), found };
    let whole = reader.value(0).is_some();
    reader.space();
    whole && reader.at == body.len()
}

struct Reader<'a, 'f> {
    body: &'a [u8],
    at: usize,
    path: String,
    found: Found<'f, 'a>,
}

impl<'a> Reader<'a, '_> {
    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, wanted: u8) -> Option<()> {
        self.space();
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        self.space();
        match self.peek()? {
            b'{' if depth < MAX_DEPTH => self.object(depth),
            b'[' if depth < MAX_DEPTH => self.array(depth),
            b'"' => {
                let (text, whole) = self.string();
                (self.found)(Scope::Value, &self.path, text);
                whole.then_some(())
            }
            b'{' | b'[' => None,
            _ => {
                let start = self.at;
                while self
                    .peek()
                    .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.'))
                {
                    self.at += 1;
                }
                let text = &self.body[start..self.at];
                if text.is_empty() {
                    return None;
                }
                (self.found)(Scope::Value, &self.path, Cow::Borrowed(text));
                let number =
                    || std::str::from_utf8(text).is_ok_and(|t| t.parse::<f64>().is_ok_and(f64::is_finite));
                (matches!(text, b"true" | b"false" | b"null") || number()).then_some(())
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.eat(b'{')?;
        if self.eat(b'}').is_some() {
            return Some(());
        }
        loop {
            self.space();
            if self.peek()? != b'"' {
                return None;
            }
            let (key, whole) = self.string();
            let back = self.path.len();
            self.path.push('/');
            // `~` and `/` are escaped as JSON pointers want it.
            self.path.push_str(&String::from_utf8_lossy(&key).replace('~', "~0").replace('/', "~1"));
            (self.found)(Scope::Key, &self.path, key);
            let value = if whole { self.eat(b':').and_then(|()| self.value(depth + 1)) } else { None };
            self.path.truncate(back);
            value?;
            if self.eat(b',').is_none() {
                return self.eat(b'}');
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.eat(b'[')?;
        if self.eat(b']').is_some() {
            return Some(());
        }
        for index in 0usize.. {
            let back = self.path.len();
            self.path.push_str(&format!("/{index}"));
            let value = self.value(depth + 1);
            self.path.truncate(back);
            value?;
            if self.eat(b',').is_none() {
                return self.eat(b']');
            }
        }
        None
    }

    /// The string that begins here, its escapes undone; whether it was closed.
    fn string(&mut self) -> (Cow<'a, [u8]>, bool) {
        self.at += 1;
        let start = self.at;
        let stop = memchr::memchr2(b'"', b'\\', &self.body[start..]).map_or(self.body.len(), |n| start + n);
        if self.body.get(stop) == Some(&b'"') {
            self.at = stop + 1;
            return (Cow::Borrowed(&self.body[start..stop]), true);
        }
        let mut out = self.body[start..stop].to_vec();
        self.at = stop;
        while let Some(b) = self.peek() {
            self.at += 1;
            match b {
                b'"' => return (Cow::Owned(out), true),
                b'\\' => self.escape(&mut out),
                _ => out.push(b),
            }
        }
        (Cow::Owned(out), false)
    }

    fn escape(&mut self, out: &mut Vec<u8>) {
        let Some(letter) = self.peek() else { return };
        self.at += 1;
        match letter {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let Some(first) = self.four() else {
                    out.extend_from_slice(b"\\u");
                    return;
                };
                let mut code = u32::from(first);
                if (0xd800..0xdc00).contains(&first) && self.body[self.at..].starts_with(b"\\u") {
                    let back = self.at;
                    self.at += 2;
                    match self.four() {
                        Some(second @ 0xdc00..0xe000) => {
                            code =
                                0x10000 + ((u32::from(first) - 0xd800) << 10) + (u32::from(second) - 0xdc00);
                        }
                        _ => self.at = back,
                    }
                }
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => out.push(other),
        }
    }

    fn four(&mut self) -> Option<u16> {
        let digits = self.body.get(self.at..self.at + 4)?;
        let code = u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        self.at += 4;
        Some(code)
    }
}
