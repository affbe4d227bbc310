//! What is let through although a rule names it: by rule, path and parameter.
//!
//! AWS can only set a rule to Count and decide anew by its label; that reaches a path at best. An exclusion reaches one
//! parameter on one path, and everything else of the rule stays in force. It stands beside the ACL, never in it.

use super::node::{Node, Result};

/// One exclusion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exclusion {
    /// The rule's name, in whichever group it stands.
    pub rule: String,
    /// The path; with a `*` at the end, all that begin so. `None`: everywhere.
    pub path: Option<String>,
    /// The argument's, field's, cookie's or header's name, a JSON body's pointer. `None`: the whole rule.
    pub parameter: Option<String>,
}

impl Exclusion {
    pub(crate) fn read(node: &Node<'_>) -> Result<Self> {
        let fields = node.fields(&["Rule", "Path", "Parameter"])?;
        let text = |key: &str| -> Result<Option<String>> {
            fields.maybe(key).map(|n| n.text(1..=1024).map(str::to_owned)).transpose()
        };
        let exclusion = Self {
            rule: fields.need("Rule")?.name()?.to_owned(),
            path: text("Path")?,
            parameter: text("Parameter")?,
        };
        if exclusion.path.is_none() && exclusion.parameter.is_none() {
            return node.error(
                format!("this would switch `{}` off altogether", exclusion.rule),
                "Path or Parameter or both; to switch a rule off, override its action with Count",
            );
        }
        Ok(exclusion)
    }

    /// Whether it holds on this path.
    pub fn on_path(&self, path: &[u8]) -> bool {
        match self.path.as_deref() {
            None => true,
            Some(wanted) => match wanted.strip_suffix('*') {
                Some(start) => path.starts_with(start.as_bytes()),
                None => path == wanted.as_bytes(),
            },
        }
    }

    /// Whether it lets this parameter through.
    pub fn lets(&self, parameter: &[u8]) -> bool {
        self.parameter.as_deref().is_none_or(|wanted| wanted.as_bytes() == parameter)
    }

    /// As it stands in a bundle.
    pub fn to_json(&self) -> serde_json::Value {
        let mut out = serde_json::Map::new();
        out.insert("Rule".into(), self.rule.clone().into());
        if let Some(path) = &self.path {
            out.insert("Path".into(), path.clone().into());
        }
        if let Some(parameter) = &self.parameter {
            out.insert("Parameter".into(), parameter.clone().into());
        }
        out.into()
    }
}
