//! What is left out of a log: parts of a request (`RedactedFields`), and whole lines (`LoggingFilter`).

use serde_json::Value;

use crate::{
    acl::node::{Node, Result},
    verdict::Verdict,
};

const HIDDEN: &str = "REDACTED";

/// Parts of a request that no log line shows.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    headers: Vec<String>,
    path: bool,
    query: bool,
    method: bool,
}

impl Redaction {
    /// Reads AWS's `RedactedFields`: a list of `SingleHeader`, `UriPath`, `QueryString`, `Method`.
    pub fn read(value: &Value) -> Result<Self> {
        let mut out = Self::default();
        for item in Node::root(value).items(0..=100)? {
            match item.the_one(&["SingleHeader", "UriPath", "QueryString", "Method"])? {
                ("SingleHeader", inner) => {
                    out.headers
                        .push(inner.fields(&["Name"])?.need("Name")?.text(1..=64)?.to_ascii_lowercase());
                }
                ("UriPath", _) => out.path = true,
                ("QueryString", _) => out.query = true,
                _ => out.method = true,
            }
        }
        Ok(out)
    }

    pub(super) fn header(&self, name: &str, value: &str) -> String {
        shown(self.headers.iter().any(|h| name.eq_ignore_ascii_case(h)), value)
    }

    pub(super) fn path(&self, value: &str) -> String {
        shown(self.path, value)
    }

    pub(super) fn query(&self, value: &str) -> String {
        shown(self.query, value)
    }

    pub(super) fn method(&self, value: &str) -> String {
        shown(self.method, value)
    }

    /// Whether what matched stood in a part that is hidden.
    pub(super) fn hides(&self, location: &str, name: &str) -> bool {
        match location {
            "HEADER" => self.headers.iter().any(|h| name.eq_ignore_ascii_case(h)),
            "COOKIE" => self.headers.iter().any(|h| h == "cookie"),
            "URI" => self.path,
            "ALL_QUERY_ARGS" | "SINGLE_QUERY_ARG" | "QUERY_STRING" => self.query,
            "METHOD" => self.method,
            _ => false,
        }
    }
}

fn shown(hide: bool, value: &str) -> String {
    if hide { HIDDEN.to_owned() } else { value.to_owned() }
}

/// Which lines are kept: AWS's `LoggingFilter`.
#[derive(Clone, Debug)]
pub struct LogFilter {
    keep_by_default: bool,
    filters: Vec<Filter>,
}

#[derive(Clone, Debug)]
struct Filter {
    keep: bool,
    all: bool,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
enum Condition {
    Action(&'static str),
    Label(String),
}

impl LogFilter {
    /// Reads `{"DefaultBehavior": …, "Filters": […]}`.
    pub fn read(value: &Value) -> Result<Self> {
        const BEHAVIOUR: &[(&str, bool)] = &[("KEEP", true), ("DROP", false)];
        let f = Node::root(value).fields(&["DefaultBehavior", "Filters"])?;
        let mut filters = Vec::new();
        for item in f.need("Filters")?.items(1..=100)? {
            let i = item.fields(&["Behavior", "Requirement", "Conditions"])?;
            let mut conditions = Vec::new();
            for condition in i.need("Conditions")?.items(1..=100)? {
                let actions = [
                    ("ALLOW", "ALLOW"),
                    ("BLOCK", "BLOCK"),
                    ("COUNT", "COUNT"),
                    ("CAPTCHA", "CAPTCHA"),
                    ("CHALLENGE", "CHALLENGE"),
                    ("EXCLUDED_AS_COUNT", "EXCLUDED_AS_COUNT"),
                ];
                conditions.push(match condition.the_one(&["ActionCondition", "LabelNameCondition"])? {
                    ("ActionCondition", inner) => {
                        Condition::Action(inner.fields(&["Action"])?.need("Action")?.one_of(&actions)?)
                    }
                    (_, inner) => Condition::Label(
                        inner.fields(&["LabelName"])?.need("LabelName")?.text(1..=1024)?.to_owned(),
                    ),
                });
            }
            filters.push(Filter {
                keep: i.need("Behavior")?.one_of(BEHAVIOUR)?,
                all: i.need("Requirement")?.one_of(&[("MEETS_ALL", true), ("MEETS_ANY", false)])?,
                conditions,
            });
        }
        Ok(Self { keep_by_default: f.need("DefaultBehavior")?.one_of(BEHAVIOUR)?, filters })
    }

    /// The first filter that fits decides.
    pub fn keeps(&self, verdict: &Verdict) -> bool {
        let holds = |condition: &Condition| match condition {
            Condition::Label(name) => verdict.labels.iter().any(|l| **l == **name),
            Condition::Action("EXCLUDED_AS_COUNT") => {
                verdict.groups.iter().flat_map(|g| &g.others).any(|m| m.excluded)
            }
            Condition::Action(action) => {
                verdict.outcome.name() == *action
                    || verdict
                        .others
                        .iter()
                        .chain(verdict.groups.iter().flat_map(|g| &g.others))
                        .any(|m| m.action == *action)
            }
        };
        let fits =
            |f: &&Filter| if f.all { f.conditions.iter().all(holds) } else { f.conditions.iter().any(holds) };
        self.filters.iter().find(fits).map_or(self.keep_by_default, |f| f.keep)
    }
}
