//! Sending a visitor elsewhere: the parts of the address, each from what was asked or from the rule.

use hyper::{StatusCode, header::HeaderValue};
use model::topology::edge;

use super::without_port;

/// What was asked, in parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    /// `http` or `https`.
    pub(crate) protocol: &'a str,
    /// With its port, if the visitor wrote one.
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
}

/// A redirect rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Redirect {
    pub(crate) status: StatusCode,
    parts: edge::Redirect,
}

impl Redirect {
    pub(crate) fn new(redirect: &edge::Redirect) -> Option<Redirect> {
        Some(Redirect { status: StatusCode::from_u16(redirect.status).ok()?, parts: redirect.clone() })
    }

    /// The `Location`. `None`: what the visitor asked cannot stand in a header.
    pub(crate) fn location(&self, asked: &Asking<'_>) -> Option<HeaderValue> {
        let host = without_port(asked.host);
        let port = asked.host.get(host.len() + 1..).filter(|p| !p.is_empty());
        let port = port.unwrap_or_else(|| usual_port(asked.protocol).unwrap_or_default());
        let path = asked.path.strip_prefix('/').unwrap_or(asked.path);
        let fill = |text: &str| {
            let words = [
                ("#{protocol}", asked.protocol),
                ("#{host}", host),
                ("#{port}", port),
                ("#{path}", path),
                ("#{query}", asked.query.unwrap_or_default()),
            ];
            fill(text, &words)
        };
        let edge::Redirect { protocol, host, port, path, query, .. } = &self.parts;
        let (protocol, host, port, query) = (fill(protocol), fill(host), fill(port), fill(query));
        let mut to = format!("{protocol}://{host}");
        // A port that goes without saying, of this protocol or of the one that is left, is not said.
        let left_behind = protocol != asked.protocol && usual_port(asked.protocol) == Some(port.as_str());
        if !port.is_empty() && usual_port(&protocol) != Some(port.as_str()) && !left_behind {
            to.push(':');
            to.push_str(&port);
        }
        to.push_str(&fill(path));
        if !query.is_empty() {
            to.push('?');
            to.push_str(&query);
        }
        HeaderValue::try_from(to).ok()
    }
}

fn usual_port(protocol: &str) -> Option<&'static str> {
    match protocol {
        "http" => Some("80"),
        "https" => Some("443"),
        _ => None,
    }
}

/// Puts each word's value in its place, once: what a visitor wrote is never read as a word.
fn fill(text: &str, words: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("#{") {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let word = words.iter().find(|(word, _)| from.starts_with(word));
        let (value, used) = word.map_or(("#{", 2), |(word, value)| (*value, word.len()));
        filled.push_str(value);
        rest = from.get(used..).unwrap_or_default();
    }
    filled.push_str(rest);
    filled
}
