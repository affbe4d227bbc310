//! A body taken apart: forms, JSON, multipart, XML. Names and values go to a closure; nothing here fails, and nothing
//! takes more than the body's own length in steps.

mod json;
mod multipart;
mod xml;

pub use json::{Scope, walk as json};
pub use multipart::walk as multipart;
pub use xml::walk as xml;

use std::borrow::Cow;

/// What a piece of a body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// A field's, a key's, an attribute's name.
    Name,
    /// What it holds.
    Value,
    /// The name of an uploaded file.
    FileName,
    /// An uploaded file.
    File,
}

/// What the body says it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `application/json`, `…+json`.
    Json,
    /// `multipart/form-data`.
    Multipart,
    /// `application/xml`, `text/xml`, `…+xml`.
    Xml,
    /// Text, or nothing said: looked at as a whole.
    Text,
    /// gRPC and others whose bytes are no text.
    Opaque,
}

impl Kind {
    /// By the header `Content-Type`; a body that says nothing is told by its first byte.
    pub fn of(content_type: Option<&[u8]>, body: &[u8]) -> Self {
        let Some(content_type) = content_type else {
            return match body.iter().find(|b| !b.is_ascii_whitespace()) {
                Some(b'{' | b'[') => Self::Json,
                _ => Self::Form,
            };
        };
        let essence = content_type.split(|&b| b == b';' || b == b',').next().unwrap_or_default();
        let essence = essence.trim_ascii().to_ascii_lowercase();
        let has = |end: &[u8]| essence.ends_with(end);
        if essence == b"application/x-www-form-urlencoded" {
            Self::Form
        } else if has(b"/json") || has(b"+json") || has(b"/x-json") {
            Self::Json
        } else if essence.starts_with(b"multipart/") {
            Self::Multipart
        } else if has(b"/xml") || has(b"+xml") {
            Self::Xml
        } else if [
            "application/grpc",
            "image/",
            "video/",
            "audio/",
            "font/",
            "application/zip",
            "application/pdf",
        ]
        .iter()
        .any(|start| essence.starts_with(start.as_bytes()))
            || essence == b"application/octet-stream"
        {
            Self::Opaque
        } else {
            Self::Text
        }
    }
}

/// `a=1&b=2`, still encoded: transformations decode.
pub fn form<'a>(body: &'a [u8], mut found: impl FnMut(Part, &'a [u8], Cow<'a, [u8]>)) {
    let mut rest = body;
    while !rest.is_empty() {
        let end = memchr::memchr(b'&', rest).unwrap_or(rest.len());
        let pair = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        if pair.is_empty() {
            continue;
        }
        match memchr::memchr(b'=', pair) {
            Some(at) => {
                let (name, value) = (&pair[..at], &pair[at + 1..]);
                found(Part::Name, name, Cow::Borrowed(name));
                found(Part::Value, name, Cow::Borrowed(value));
            }
            None => found(Part::Name, pair, Cow::Borrowed(pair)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(kind: Kind, body: &str) -> Vec<String> {
        let mut out = Vec::new();
        let mut found = |part: Part, name: &[u8], value: Cow<'_, [u8]>| {
            out.push(format!(
                "{part:?} {} {}",
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(&value)
            ));
        };
        match kind {
            Kind::Form => form(body.as_bytes(), found),
            Kind::Json => {
                json(body.as_bytes(), &mut |scope, path: &str, value| {
                    found(if scope == Scope::Key { Part::Name } else { Part::Value }, path.as_bytes(), value);
                });
            }
            Kind::Multipart => {
                multipart(b"multipart/form-data; boundary=\"xyz\"", body.as_bytes(), &mut found)
            }
            Kind::Xml => xml(body.as_bytes(), &mut found),
            Kind::Text | Kind::Opaque => {}
        }
        out
    }

    #[test]
    fn a_form() {
        assert_eq!(
            pieces(Kind::Form, "a=1&b&=x&&c=%20"),
            ["Name a a", "Value a 1", "Name b b", "Name  ", "Value  x", "Name c c", "Value c %20"]
        );
    }

    #[test]
    fn json_as_far_as_it_goes() {
        let text = r#"{"a":{"b":["x\u003c",1.5,null]},"c":true"#;
        assert_eq!(
            pieces(Kind::Json, text),
            [
                "Name /a a",
                "Name /a/b b",
                "Value /a/b/0 x<",
                "Value /a/b/1 1.5",
                "Value /a/b/2 null",
                "Name /c c",
                "Value /c true"
            ]
        );
        let mut none = |_: Scope, _: &str, _: Cow<'_, [u8]>| {};
        assert!(!json(text.as_bytes(), &mut none), "it is cut off");
        assert!(json(br#"{"a":[1,{}]}"#, &mut none));
        assert!(!json(br#"{"a":1,}"#, &mut none));
        assert!(json(b"\"text\"", &mut none));
    }

    #[test]
    fn multipart_with_a_file() {
        let body = "--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n--xyz\nContent-Disposition: form-data; \
                    name=f; filename=\"x.php\"\nContent-Type: image/png\n\n<?\n--xyz--\r\n";
        assert_eq!(
            pieces(Kind::Multipart, body),
            ["Name a a", "Value a 1\r\n2", "Name f f", "FileName f x.php", "File f <?"]
        );
    }

    #[test]
    fn xml_text_and_attributes() {
        let body = "<?xml version=\"1.0\"?><r><a p='1 &lt; 2'>text</a><![CDATA[x<y]]><!-- c --></r>";
        assert_eq!(pieces(Kind::Xml, body), ["Value p 1 &lt; 2", "Value  text", "Value  x<y", "Value   c "]);
    }
}
