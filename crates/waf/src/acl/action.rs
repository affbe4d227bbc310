//! What a rule does to a request that it matches.

use std::collections::BTreeMap;

use super::{
    Body,
    node::{Node, Result},
};

/// An action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ends: the request goes on, with these headers inserted.
    Allow(Vec<InsertedHeader>),
    /// Ends: the request is refused.
    Block(Option<CustomResponse>),
    /// Goes on, with these headers inserted.
    Count(Vec<InsertedHeader>),
    /// Goes on with a valid token, else ends.
    Captcha(Vec<InsertedHeader>),
    /// Goes on with a valid token, else ends.
    Challenge(Vec<InsertedHeader>),
}

impl Action {
    /// As logs and metrics have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Allow(_) => "ALLOW",
            Self::Block(_) => "BLOCK",
            Self::Count(_) => "COUNT",
            Self::Captcha(_) => "CAPTCHA",
            Self::Challenge(_) => "CHALLENGE",
        }
    }
}

/// `OverrideAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupOverride {
    /// As the group's rules say.
    None,
    /// Whatever they say, it is only counted.
    Count,
}

/// A header for the origin. AWS puts `x-amzn-waf-` before the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsertedHeader {
    /// With the prefix.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What is answered instead of a bare 403.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomResponse {
    /// The status.
    pub status: u16,
    /// Which body of the ACL's.
    pub body: Option<String>,
    /// Headers, up to ten.
    pub headers: Vec<(String, String)>,
}

/// The statuses that AWS lets a custom response have.
const STATUSES: &[u16] = &[
    200, 201, 202, 204, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 411, 412,
    413, 414, 415, 416, 421, 429, 500, 501, 502, 503, 504,
];

impl Action {
    /// Reads `{"Block": {…}}`; `bodies` are those that a custom response may name.
    pub(crate) fn read(
        node: &Node<'_>,
        allowed: &'static [&'static str],
        bodies: &BTreeMap<String, Body>,
    ) -> Result<Self> {
        let (kind, inner) = node.the_one(allowed)?;
        if kind == "Block" {
            let fields = inner.fields(&["CustomResponse"])?;
            return Ok(Self::Block(
                fields.maybe("CustomResponse").map(|r| custom_response(&r, bodies)).transpose()?,
            ));
        }
        let fields = inner.fields(&["CustomRequestHandling"])?;
        let headers = match fields.maybe("CustomRequestHandling") {
            None => Vec::new(),
            Some(handling) => handling
                .fields(&["InsertHeaders"])?
                .need("InsertHeaders")?
                .items(1..=10)?
                .iter()
                .map(|h| {
                    header(h)
                        .map(|(name, value)| InsertedHeader { name: format!("x-amzn-waf-{name}"), value })
                })
                .collect::<Result<_>>()?,
        };
        Ok(match kind {
            "Allow" => Self::Allow(headers),
            "Captcha" => Self::Captcha(headers),
            "Challenge" => Self::Challenge(headers),
            _ => Self::Count(headers),
        })
    }
}

fn header(node: &Node<'_>) -> Result<(String, String)> {
    let fields = node.fields(&["Name", "Value"])?;
    let name = fields.need("Name")?;
    let text = name.text(1..=64)?;
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._$-".contains(&b)) {
        return name.error(format!("`{text}` is no header's name"), "A-Z a-z 0-9 . _ $ -");
    }
    let value = fields.need("Value")?;
    let content = value.text(1..=255)?;
    if content.bytes().any(|b| b < b' ' || b == 0x7f) {
        return value.error("a control character", "printable characters");
    }
    Ok((text.to_owned(), content.to_owned()))
}

fn custom_response(node: &Node<'_>, bodies: &BTreeMap<String, Body>) -> Result<CustomResponse> {
    let fields = node.fields(&["ResponseCode", "CustomResponseBodyKey", "ResponseHeaders"])?;
    let code = fields.need("ResponseCode")?;
    let status = u16::try_from(code.integer(200..=599)?).unwrap_or(403);
    if !STATUSES.contains(&status) {
        let list: Vec<String> = STATUSES.iter().map(u16::to_string).collect();
        return code.error(format!("{status} cannot be answered"), list.join(", "));
    }
    let body = match fields.maybe("CustomResponseBodyKey") {
        None => None,
        Some(key) => {
            let name = key.name()?;
            if !bodies.contains_key(name) {
                let list: Vec<&str> = bodies.keys().map(String::as_str).collect();
                return key.error(format!("`{name}` is not in CustomResponseBodies"), list.join(", "));
            }
            Some(name.to_owned())
        }
    };
    let headers = match fields.maybe("ResponseHeaders") {
        None => Vec::new(),
        Some(list) => list.items(1..=10)?.iter().map(header).collect::<Result<Vec<_>>>()?,
    };
    Ok(CustomResponse { status, body, headers })
}
