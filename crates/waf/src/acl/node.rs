//! A place in a JSON document that knows its path, so that every error can say where it stands and what is allowed there.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// What is wrong with an ACL, where, and what would be right.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path}: {problem}; allowed: {allowed}")]
pub struct AclError {
    /// The JSON path: `$.Rules[2].Statement.GeoMatchStatement.CountryCodes[0]`.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub allowed: String,
}

pub(crate) type Result<T> = std::result::Result<T, AclError>;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node<'v> {
    pub(crate) value: &'v Value,
    pub(crate) path: String,
}

/// An object of whose keys all are known.
pub(crate) struct Fields<'v> {
    map: &'v Map<String, Value>,
    path: String,
    allowed: String,
}

impl<'v> Node<'v> {
    pub(crate) fn root(value: &'v Value) -> Self {
        Self { value, path: "$".into() }
    }

    pub(crate) fn error<T>(&self, problem: impl Into<String>, allowed: impl Into<String>) -> Result<T> {
        Err(AclError { path: self.path.clone(), problem: problem.into(), allowed: allowed.into() })
    }

    fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    /// An object that holds none but these keys.
    pub(crate) fn fields(&self, allowed: &[&str]) -> Result<Fields<'v>> {
        let Value::Object(map) = self.value else {
            return self.error(
                format!("{} stands here", self.kind()),
                format!("an object with {}", allowed.join(", ")),
            );
        };
        if let Some(unknown) = map.keys().find(|k| !allowed.contains(&k.as_str())) {
            let list = if allowed.is_empty() { "{}".to_owned() } else { allowed.join(", ") };
            return Err(AclError {
                path: format!("{}.{unknown}", self.path),
                problem: format!("`{unknown}` is unknown"),
                allowed: list,
            });
        }
        Ok(Fields { map, path: self.path.clone(), allowed: allowed.join(", ") })
    }

    /// An object with exactly one of these keys: that key and its value.
    pub(crate) fn the_one(&self, allowed: &'static [&'static str]) -> Result<(&'static str, Node<'v>)> {
        let fields = self.fields(allowed)?;
        let mut keys = allowed.iter().filter(|k| fields.map.contains_key(**k));
        match (keys.next(), keys.next()) {
            (Some(key), None) => Ok((key, fields.need(key)?)),
            (None, _) => self.error("nothing is chosen", format!("exactly one of {}", allowed.join(", "))),
            (Some(one), Some(two)) => self.error(
                format!("both `{one}` and `{two}` are given"),
                format!("exactly one of {}", allowed.join(", ")),
            ),
        }
    }

    pub(crate) fn string(&self) -> Result<&'v str> {
        match self.value {
            Value::String(text) => Ok(text),
            _ => self.error(format!("{} stands here", self.kind()), "a string"),
        }
    }

    /// A string of so many characters.
    pub(crate) fn text(&self, length: RangeInclusive<usize>) -> Result<&'v str> {
        let text = self.string()?;
        if length.contains(&text.chars().count()) {
            return Ok(text);
        }
        self.error(
            format!("a string of {} characters", text.chars().count()),
            format!("{} to {} characters", length.start(), length.end()),
        )
    }

    /// A name as AWS has them: letters, digits, `-` and `_`, up to 128.
    pub(crate) fn name(&self) -> Result<&'v str> {
        let text = self.string()?;
        if !text.is_empty()
            && text.len() <= 128
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        {
            return Ok(text);
        }
        self.error(format!("`{text}` is no name"), "1 to 128 of A-Z a-z 0-9 - _")
    }

    pub(crate) fn integer(&self, range: RangeInclusive<u64>) -> Result<u64> {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        match self.value.as_u64() {
            Some(n) if range.contains(&n) => Ok(n),
            Some(n) => self.error(format!("{n} is out of range"), allowed),
            None => self.error(format!("{} stands here", self.value), allowed),
        }
    }

    pub(crate) fn boolean(&self) -> Result<bool> {
        match self.value {
            Value::Bool(b) => Ok(*b),
            _ => self.error(format!("{} stands here", self.kind()), "true, false"),
        }
    }

    /// A list of so many items.
    pub(crate) fn items(&self, count: RangeInclusive<usize>) -> Result<Vec<Node<'v>>> {
        let Value::Array(list) = self.value else {
            return self.error(format!("{} stands here", self.kind()), "a list");
        };
        if !count.contains(&list.len()) {
            return self.error(
                format!("a list of {} items", list.len()),
                format!("{} to {} items", count.start(), count.end()),
            );
        }
        Ok(list
            .iter()
            .enumerate()
            .map(|(i, value)| Node { value, path: format!("{}[{i}]", self.path) })
            .collect())
    }

    /// One of these words.
    pub(crate) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T> {
        let list = || words.iter().map(|(w, _)| *w).collect::<Vec<_>>().join(", ");
        match self.value {
            Value::String(text) => match words.iter().find(|(w, _)| w == text) {
                Some((_, meaning)) => Ok(*meaning),
                None => self.error(format!("`{text}` is unknown"), list()),
            },
            _ => self.error(format!("{} stands here", self.kind()), list()),
        }
    }
}

impl<'v> Fields<'v> {
    pub(crate) fn maybe(&self, key: &str) -> Option<Node<'v>> {
        let value = self.map.get(key)?;
        Some(Node { value, path: format!("{}.{key}", self.path) })
    }

    pub(crate) fn need(&self, key: &str) -> Result<Node<'v>> {
        self.maybe(key).ok_or_else(|| AclError {
            path: self.path.clone(),
            problem: format!("`{key}` is missing"),
            allowed: self.allowed.clone(),
        })
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &'v String> {
        self.map.keys()
    }
}
