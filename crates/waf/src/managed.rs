//! The managed rule groups: five under AWS's names, and `GhostlightCore` for what those lack.
//!
//! AWS publishes a line of description for each of its rules and no pattern, so the patterns are ours. They are data:
//! `rules/*.rules`, one pattern a line under the name of an attack class, beside the cases that show what each rule
//! catches and what it must let through (`rules/cases.txt`). A rule is written for a class of attacks, never for a payload.

mod file;

use std::sync::LazyLock;

use crate::{acl::Field, bytes::ByteSet, transform::Transformation};

/// A group.
#[derive(Clone, Debug)]
pub struct Group {
    /// `AWSManagedRulesCommonRuleSet`.
    pub name: String,
    /// `AWS` or `Ghostlight`.
    pub vendor: String,
    /// What its labels begin with: `awswaf:managed:aws:core-rule-set:`.
    pub namespace: String,
    /// WCU.
    pub capacity: u64,
    /// In order.
    pub rules: Vec<ManagedRule>,
}

/// A rule of a group. All block unless overridden.
#[derive(Clone, Debug)]
pub struct ManagedRule {
    /// `GenericLFI_BODY`.
    pub name: String,
    /// Behind the namespace: `GenericLFI_Body`.
    pub label: String,
    /// It matches when one of these does; each wants all of its tests.
    pub(crate) clauses: Vec<Vec<Test>>,
}

/// One look at some parts of a request.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) fields: Vec<Field>,
    pub(crate) look: Look,
}

/// What is looked for.
#[derive(Clone, Debug)]
pub(crate) enum Look {
    /// Any of these patterns, behind any of these chains of transformations.
    Patterns { chains: Vec<Chain>, patterns: Vec<String> },
    /// libinjection's SQL injection.
    Sqli { high: bool, chain: Chain },
    /// libinjection's cross-site scripting.
    Xss { chain: Chain },
    /// More bytes than this.
    Longer(u64),
    /// Nothing there at all.
    Missing,
    /// A URL of another host than the request's own.
    Offsite,
}

/// Transformations behind which something is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) transformations: Vec<Transformation>,
    /// The last one is tried only where one of these bytes stands.
    pub(crate) only_with: Option<ByteSet>,
}

static GROUPS: LazyLock<Result<Vec<Group>, String>> = LazyLock::new(|| {
    let mut reader = file::Reader::default();
    for (name, text) in FILES {
        reader.read(name, text)?;
    }
    Ok(reader.groups)
});

/// Later files may use the pattern sets of earlier ones.
const FILES: &[(&str, &str)] = &[
    ("common.rules", include_str!("../rules/common.rules")),
    ("admin.rules", include_str!("../rules/admin.rules")),
    ("linux.rules", include_str!("../rules/linux.rules")),
    ("php.rules", include_str!("../rules/php.rules")),
    ("sqli.rules", include_str!("../rules/sqli.rules")),
    ("core.rules", include_str!("../rules/core.rules")),
];

/// All groups. They are part of this program: that they can be read is proven by a test, not looked for at run time.
pub fn all() -> &'static [Group] {
    GROUPS.as_deref().unwrap_or(&[])
}

/// By name.
pub fn find(name: &str) -> Option<&'static Group> {
    all().iter().find(|g| g.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_five_groups_of_aws_have_their_thirty_five_rules() {
        if let Err(e) = &*GROUPS {
            panic!("{e}");
        }
        let count = |name: &str| find(name).map_or(0, |g| g.rules.len());
        assert_eq!(count("AWSManagedRulesAdminProtectionRuleSet"), 1);
        assert_eq!(count("AWSManagedRulesCommonRuleSet"), 22);
        assert_eq!(count("AWSManagedRulesLinuxRuleSet"), 3);
        assert_eq!(count("AWSManagedRulesPHPRuleSet"), 3);
        assert_eq!(count("AWSManagedRulesSQLiRuleSet"), 6);
        let capacity: u64 = all().iter().filter(|g| g.vendor == "AWS").map(|g| g.capacity).sum();
        assert_eq!(capacity, 1_300);
    }

    #[test]
    fn every_pattern_compiles_and_can_be_told_by_a_literal() {
        let mut bad = Vec::new();
        for group in all() {
            for rule in &group.rules {
                for test in rule.clauses.iter().flatten() {
                    let Look::Patterns { patterns, .. } = &test.look else { continue };
                    for p in patterns {
                        let mut builder = crate::bank::Builder::default();
                        match builder.add(p, true) {
                            Err(e) => bad.push(format!("{}: {p}: {e}", rule.name)),
                            Ok(id) => {
                                let bank = builder.build().unwrap();
                                if bank.is_always(id) {
                                    bad.push(format!(
                                        "{}: {p}: no literal, it would be run on everything",
                                        rule.name
                                    ));
                                }
                            }
                        }
                    }
                }
            }
        }
        bad.sort();
        bad.dedup();
        assert!(bad.is_empty(), "{bad:#?}");
    }
}
