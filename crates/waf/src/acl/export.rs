//! The ACL for AWS's API, or the reason why AWS would not take it.

use serde_json::Value;

use super::{
    AclError, Bundle,
    node::{Node, Result},
};

/// Windows that AWS knows.
const WINDOWS_S: &[u64] = &[60, 120, 300, 600];

impl Bundle {
    /// What `aws wafv2 create-web-acl --cli-input-json` takes.
    ///
    /// Search strings are in Base64, as the CLI wants blobs. Whatever is ours alone is refused by its path: rate windows that
    /// AWS does not know, `GhostlightCore`, exclusions, sets by bare name.
    pub fn export(&self) -> Result<Value> {
        if let Some(exclusion) = self.exclusions.first() {
            return Err(AclError {
                path: "$.Exclusions".into(),
                problem: format!("AWS cannot exclude a path or parameter from `{}`", exclusion.rule),
                allowed: "for a whole path: a Count override of the rule, and a rule behind the group that blocks by its label".into(),
            });
        }
        let mut out = self.source.clone();
        ours(&Node::root(&self.source))?;
        search_strings(&mut out);
        Ok(out)
    }
}

/// The first thing that only we know.
fn ours(node: &Node<'_>) -> Result<()> {
    let inside = |key: &str, value| Node { value, path: format!("{}{key}", node.path) };
    match node.value {
        Value::Object(map) => {
            for (key, value) in map {
                let inner = inside(&format!(".{key}"), value);
                match key.as_str() {
                    "EvaluationWindowSec" if !value.as_u64().is_some_and(|w| WINDOWS_S.contains(&w)) => {
                        inner
                            .error(format!("a window of {value} s is our extension"), "60, 120, 300, 600")?;
                    }
                    "VendorName" if value == "Ghostlight" => {
                        inner
                            .error("AWS has no such rule group", "leave the rule out of what is exported")?;
                    }
                    "ARN" if value.as_str().is_some_and(|a| !a.starts_with("arn:")) => {
                        inner.error(
                            format!("{value} is a name of ours"),
                            "the ARN that AWS gave the set or group",
                        )?;
                    }
                    _ => ours(&inner)?,
                }
            }
        }
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                ours(&inside(&format!("[{at}]"), value))?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn search_strings(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                match inner {
                    Value::String(text) if key == "SearchString" => {
                        *text = base64(&super::statement::search_string(text));
                    }
                    _ => search_strings(inner),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(search_strings),
        _ => {}
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let [a, b, c] = three;
        let sixes = [a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63];
        for (at, six) in sixes.iter().enumerate() {
            out.push(if at <= chunk.len() { char::from(LETTERS[usize::from(*six)]) } else { '=' });
        }
    }
    out
}
