//! Reads a file of rules. Its language, a line at a time (`#` begins a comment):
//!
//! ```text
//! group NAME vendor VENDOR namespace NAMESPACE capacity WCU
//! patterns NAME              what follows belongs to this set, until the next `patterns` or `rule`
//!   via TRANSFORMATION… [only with BYTES]
//!                            a chain behind which the patterns are looked for; several: each of them. Its last
//!                            transformation may be meant only for values that have one of these bytes
//!   words A B C              words for {words} in the patterns that follow
//!   rx PATTERN
//! fields NAME FIELD…         a short name for several parts
//! rule NAME label LABEL
//!   in FIELD… : TEST && in FIELD… : TEST
//! ```
//!
//! A test is `match SET…`, `sqli low|high via T…`, `xss via T…`, `longer BYTES`, `missing`, `offsite`.

use std::collections::BTreeMap;

use super::{Chain, Group, Look, ManagedRule, Test};
use crate::{
    acl::{Field, Ours, Oversize, Pick, Scope},
    bytes::ByteSet,
    transform::Transformation,
};

#[derive(Default)]
pub(super) struct Reader {
    pub(super) groups: Vec<Group>,
    sets: BTreeMap<String, Set>,
    fields: BTreeMap<String, Vec<Field>>,
}

#[derive(Default, Clone)]
struct Set {
    chains: Vec<Chain>,
    patterns: Vec<String>,
}

impl Reader {
    pub(super) fn read(&mut self, file: &str, text: &str) -> Result<(), String> {
        let mut set: Option<String> = None;
        let mut words = String::new();
        for (number, line) in text.lines().enumerate() {
            let at = |problem: String| format!("{file}:{}: {problem}", number + 1);
            let line = line.trim();
            let (keyword, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.trim();
            match keyword {
                "" => {}
                _ if keyword.starts_with('#') => {}
                "group" => self.groups.push(group(rest).map_err(at)?),
                "patterns" => {
                    words.clear();
                    if self.sets.insert(rest.to_owned(), Set::default()).is_some() {
                        return Err(at(format!("the set `{rest}` is there already")));
                    }
                    set = Some(rest.to_owned());
                }
                "via" | "rx" | "words" => {
                    let Some(set) = set.as_ref().and_then(|name| self.sets.get_mut(name)) else {
                        return Err(at(format!("`{keyword}` outside of `patterns`")));
                    };
                    match keyword {
                        "via" => set.chains.push(chain(rest).map_err(at)?),
                        "rx" => set.patterns.push(rest.replace("{words}", &words)),
                        _ => words = format!("(?:{})", rest.split_whitespace().collect::<Vec<_>>().join("|")),
                    }
                }
                "fields" => {
                    let (name, list) =
                        rest.split_once(' ').ok_or_else(|| at("write `fields NAME FIELD…`".into()))?;
                    let list = self.fields(list).map_err(at)?;
                    self.fields.insert(name.to_owned(), list);
                }
                "rule" => {
                    set = None;
                    let parts: Vec<&str> = rest.split_whitespace().collect();
                    let [name, "label", label] = parts[..] else {
                        return Err(at("write `rule NAME label LABEL`".into()));
                    };
                    let group = self.groups.last_mut().ok_or_else(|| at("a rule before its group".into()))?;
                    group.rules.push(ManagedRule {
                        name: name.into(),
                        label: label.into(),
                        clauses: Vec::new(),
                    });
                }
                "in" => {
                    let clause = line
                        .split(" && ")
                        .map(|t| self.test(t))
                        .collect::<Result<Vec<_>, _>>()
                        .map_err(at)?;
                    let rule = self.groups.last_mut().and_then(|g| g.rules.last_mut());
                    rule.ok_or_else(|| at("`in` outside of a rule".into()))?.clauses.push(clause);
                }
                other => return Err(at(format!("`{other}` is unknown"))),
            }
        }
        Ok(())
    }

    fn fields(&self, names: &str) -> Result<Vec<Field>, String> {
        let mut out = Vec::new();
        for name in names.split_whitespace() {
            match self.fields.get(name) {
                Some(several) => out.extend(several.iter().cloned()),
                None => out.push(field(name)?),
            }
        }
        Ok(out)
    }

    fn test(&self, text: &str) -> Result<Test, String> {
        let text = text.trim().strip_prefix("in ").ok_or("a test begins with `in`")?;
        let (fields, look) = text.split_once(" : ").ok_or("write `in FIELD… : TEST`")?;
        let fields = self.fields(fields)?;
        let mut words = look.split_whitespace();
        let look = match words.next() {
            Some("match") => {
                let mut all = Set::default();
                for name in words {
                    let set = self.sets.get(name).ok_or_else(|| format!("no set is called `{name}`"))?;
                    if !all.chains.is_empty() && all.chains != set.chains {
                        return Err(format!("`{name}` has other chains; give it an `in` of its own"));
                    }
                    all.chains.clone_from(&set.chains);
                    all.patterns.extend(set.patterns.iter().cloned());
                }
                if all.chains.is_empty() {
                    all.chains.push(Chain::default());
                }
                Look::Patterns { chains: all.chains, patterns: all.patterns }
            }
            Some("sqli") => {
                let high = match words.next() {
                    Some("high") => true,
                    Some("low") => false,
                    _ => return Err("write `sqli low` or `sqli high`".into()),
                };
                Look::Sqli { high, chain: chain(&words.skip(1).collect::<Vec<_>>().join(" "))? }
            }
            Some("xss") => Look::Xss { chain: chain(&words.skip(1).collect::<Vec<_>>().join(" "))? },
            Some("longer") => {
                Look::Longer(words.next().and_then(|n| n.parse().ok()).ok_or("write `longer BYTES`")?)
            }
            Some("missing") => Look::Missing,
            Some("offsite") => Look::Offsite,
            other => return Err(format!("{other:?} is no test")),
        };
        Ok(Test { fields, look })
    }
}

fn group(text: &str) -> Result<Group, String> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [name, "vendor", vendor, "namespace", namespace, "capacity", capacity] = parts[..] else {
        return Err("write `group NAME vendor VENDOR namespace NAMESPACE capacity WCU`".into());
    };
    Ok(Group {
        name: name.into(),
        vendor: vendor.into(),
        namespace: format!("awswaf:managed:{}:{namespace}:", vendor.to_ascii_lowercase()),
        capacity: capacity.parse().map_err(|_| "the capacity is a number".to_owned())?,
        rules: Vec::new(),
    })
}

fn chain(text: &str) -> Result<Chain, String> {
    let (text, only_with) = match text.split_once(" only with ") {
        Some((text, bytes)) => (text, Some(ByteSet::of(bytes.as_bytes()))),
        None => (text, None),
    };
    let by_name =
        |name| Transformation::by_name(name).ok_or_else(|| format!("`{name}` is no transformation"));
    let transformations = text.split_whitespace().map(by_name).collect::<Result<Vec<_>, _>>()?;
    if transformations.is_empty() && only_with.is_some() {
        return Err("`only with` follows a transformation".into());
    }
    Ok(Chain { transformations, only_with })
}

fn field(name: &str) -> Result<Field, String> {
    Ok(match name {
        "query" => Field::Ours(Ours::QueryValues),
        "query-names" => Field::Ours(Ours::QueryNames),
        "body" => Field::Ours(Ours::BodyValues),
        "body-names" => Field::Ours(Ours::BodyNames),
        "cookies" => Field::Ours(Ours::CookieValues),
        "cookie-names" => Field::Ours(Ours::CookieNames),
        "headers" => Field::Ours(Ours::HeaderValues),
        "all-headers" => {
            Field::Headers { pick: Pick::All, scope: Scope::Value, oversize: Oversize::Continue }
        }
        "file-names" => Field::Ours(Ours::FileNames),
        "files" => Field::Ours(Ours::Files),
        "referer" => Field::Ours(Ours::Referer),
        "path" => Field::UriPath,
        "query-string" => Field::QueryString,
        "raw-body" => Field::Body(Oversize::Continue),
        other => match other.strip_prefix("header:") {
            Some(name) => Field::SingleHeader(name.to_ascii_lowercase()),
            None => return Err(format!("`{other}` is no field")),
        },
    })
}
