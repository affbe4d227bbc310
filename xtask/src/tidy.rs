//! The rules of form: the arrows between our crates, and what no compiler checks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::workspace::{Package, Workspace};

/// What a crate may be built from. A crate that is not listed, an arrow that is not listed, is an error.
struct Rule {
    name: &'static str,
    /// Our crates that it may use.
    may_use: &'static [&'static str],
    /// Outside crates.
    outside: Outside,
}

enum Outside {
    /// Any but these, not even through others.
    Without(&'static [&'static str]),
    /// These and what they bring, nothing else.
    Only(&'static [&'static str]),
}
use Outside::{Only, Without};

/// The arrows. The same table stands in ARCHITECTURE.md with the reasons; change both or neither.
const RULES: &[Rule] = &[
    // The nouns know nobody.
    Rule { name: "model", may_use: &[], outside: Only(&["serde"]) },
    // The judgement knows no clock, no socket, no provider, no executor.
    Rule { name: "decide", may_use: &["model"], outside: Only(&["serde", "thiserror"]) },
    // The web ACL knows no proxy, no network, no clock.
    Rule {
        name: "waf",
        may_use: &[],
        outside: Only(&[
            "aho-corasick",
            "hmac",
            "libinjectionrs",
            "md-5",
            "memchr",
            "regex",
            "regex-syntax",
            "serde_json",
            "sha2",
            "thiserror",
        ]),
    },
    // What every process needs knows nothing of ours.
    Rule { name: "runtime", may_use: &[], outside: Without(&["mysql_async"]) },
    Rule { name: "cloud", may_use: &["model", "runtime"], outside: Without(&["maud"]) },
    Rule { name: "replicate", may_use: &["model", "runtime"], outside: Without(&["maud"]) },
    Rule {
        name: "gateway",
        may_use: &["model", "runtime", "waf"],
        outside: Without(&["mysql_async", "maud"]),
    },
    Rule { name: "nameserver", may_use: &["model", "runtime"], outside: Without(&["mysql_async", "maud"]) },
    // No HTML, no binary log.
    Rule {
        name: "controller",
        may_use: &["model", "decide", "cloud", "runtime"],
        outside: Without(&["mysql_async", "maud"]),
    },
    // The protected workload has never heard of disaster recovery.
    Rule { name: "ticketing", may_use: &["runtime"], outside: Without(&[]) },
    // The checker has its own SQL: no `ticketing` here.
    Rule {
        name: "lab",
        may_use: &["model", "decide", "runtime", "cloud", "replicate", "gateway", "nameserver", "controller"],
        outside: Without(&[]),
    },
    Rule {
        name: "ghostlight",
        may_use: &[
            "model",
            "decide",
            "runtime",
            "cloud",
            "replicate",
            "gateway",
            "nameserver",
            "controller",
            "lab",
            "waf",
        ],
        outside: Without(&[]),
    },
    // What the others are measured by must not be built from them.
    Rule { name: "protocol", may_use: &[], outside: Only(&["stateright"]) },
    // Time and network are its own; only its tests break the protocol on purpose.
    Rule {
        name: "sim",
        may_use: &["model", "decide", "cloud", "replicate", "gateway", "controller"],
        outside: Only(&[]),
    },
    Rule { name: "xtask", may_use: &[], outside: Only(&["serde", "serde_json"]) },
];

/// Tests may start a real database server.
const TESTS_MAY_USE: &[&str] = &["cloud"];

/// Past this, look for the seam.
const FILE_LINES_MAX: usize = 700;
/// A crate's first page says what it is, what is always true of it and what it must not know.
const PAGE_LINES_MIN: usize = 3;

/// Everything that is not in order, one line each.
pub(crate) fn faults(workspace: &Workspace) -> Vec<String> {
    let mut faults = arrows(workspace, RULES);
    for package in workspace.ours() {
        faults.extend(manifest(package));
        faults.extend(test_targets(package));
        faults.extend(first_page(package));
        faults.extend(long_files(package));
    }
    faults
}

fn arrows(workspace: &Workspace, rules: &[Rule]) -> Vec<String> {
    let mut faults = Vec::new();
    for package in workspace.ours() {
        let Some(rule) = rules.iter().find(|r| r.name == package.name) else {
            faults.push(format!(
                "{}: `{}` is not in the table of crates; add it to ARCHITECTURE.md and to xtask/src/tidy.rs",
                package.manifest_path.display(),
                package.name
            ));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| workspace.is_ours(&d.name)) {
            let for_tests = dependency.kind.as_deref() == Some("dev");
            let name = dependency.name.as_str();
            if rule.may_use.contains(&name) || for_tests && TESTS_MAY_USE.contains(&name) {
                continue;
            }
            faults.push(format!(
                "{}: `{}` must not know `{name}`; it may use: {}",
                package.line_of(name),
                package.name,
                list(rule.may_use)
            ));
        }
        faults.extend(outside(workspace, package, rule));
    }
    faults
}

fn outside(workspace: &Workspace, package: &Package, rule: &Rule) -> Vec<String> {
    match rule.outside {
        Only(names) => package
            .dependencies
            .iter()
            .filter(|d| d.kind.as_deref() != Some("dev") && !workspace.is_ours(&d.name))
            .filter(|d| !names.contains(&d.name.as_str()))
            .map(|d| {
                format!(
                    "{}: `{}` must not use `{}`; of outside crates it may use: {}",
                    package.line_of(&d.name),
                    package.name,
                    d.name,
                    list(names)
                )
            })
            .collect(),
        Without(names) => workspace
            .built_from(package)
            .into_iter()
            .filter(|(p, _)| names.contains(&p.name.as_str()))
            .map(|(p, by)| {
                format!(
                    "{}: `{}` must never reach `{}`, which comes in through `{by}`",
                    package.line_of(by),
                    package.name,
                    p.name
                )
            })
            .collect(),
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn manifest(package: &Package) -> Vec<String> {
    let mut faults = Vec::new();
    let at = package.manifest_path.display();
    if package.publish.as_ref().is_none_or(|to| !to.is_empty()) {
        faults.push(format!("{at}: write publish.workspace = true; nothing of ours is published"));
    }
    let text = fs::read_to_string(&package.manifest_path).unwrap_or_default();
    if !text.contains("[lints]\nworkspace = true") {
        faults.push(format!("{at}: the workspace's lints are missing; write [lints] workspace = true"));
    }
    faults
}

/// One integration-test target a crate: each more is another binary to link.
fn test_targets(package: &Package) -> Vec<String> {
    let tests = package.targets.iter().filter(|t| t.kind.iter().any(|k| k == "test"));
    tests
        .filter(|t| t.name != "it")
        .map(|t| format!("{}: the one integration-test target is tests/it/main.rs", t.src_path.display()))
        .collect()
}

fn first_page(package: &Package) -> Vec<String> {
    let of_kind = |kind: &str| package.targets.iter().find(|t| t.kind.iter().any(|k| k == kind));
    of_kind("lib")
        .or_else(|| of_kind("bin"))
        .into_iter()
        .filter(|t| {
            let text = fs::read_to_string(&t.src_path).unwrap_or_default();
            text.lines().take_while(|l| l.starts_with("//!")).count() < PAGE_LINES_MIN
        })
        .map(|t| {
            format!(
                "{}:1: begin with `//!`: what this is, what is always true, what it must not know",
                t.src_path.display()
            )
        })
        .collect()
}

fn long_files(package: &Package) -> Vec<String> {
    let mut sources = Vec::new();
    if let Some(folder) = package.manifest_path.parent() {
        collect_sources(folder, &mut sources);
    }
    sources
        .into_iter()
        .filter_map(|path| {
            let lines = fs::read_to_string(&path).ok()?.lines().count();
            (lines > FILE_LINES_MAX).then(|| {
                format!(
                    "{}:{FILE_LINES_MAX}: {lines} lines; past {FILE_LINES_MAX}, look for the seam",
                    path.display()
                )
            })
        })
        .collect()
}

fn collect_sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace of `name: [dependency…]`; what is not a key is an outside crate. `dev:x` is a test's.
    fn workspace(crates: &[(&str, &[&str])]) -> Workspace {
        let ours: Vec<&str> = crates.iter().map(|(name, _)| *name).collect();
        let mut packages = Vec::new();
        let mut nodes = Vec::new();
        let mut outside = std::collections::BTreeSet::new();
        for (name, dependencies) in crates {
            let kind = |d: &str| if d.starts_with("dev:") { Some("dev") } else { None };
            let bare = |d: &str| d.trim_start_matches("dev:").to_owned();
            packages.push(serde_json::json!({
                "id": name, "name": name, "version": "0.1.0", "license": "MIT", "publish": [], "targets": [],
                "manifest_path": format!("/nowhere/{name}/Cargo.toml"),
                "dependencies": dependencies.iter()
                    .map(|d| serde_json::json!({"name": bare(d), "kind": kind(d)})).collect::<Vec<_>>(),
            }));
            nodes.push(serde_json::json!({
                "id": name,
                "deps": dependencies.iter()
                    .map(|d| serde_json::json!({"pkg": bare(d), "dep_kinds": [{"kind": kind(d)}]}))
                    .collect::<Vec<_>>(),
            }));
            outside.extend(dependencies.iter().map(|d| bare(d)).filter(|d| !ours.contains(&d.as_str())));
        }
        for name in outside {
            packages.push(serde_json::json!({
                "id": name, "name": name, "version": "1.0.0", "license": "MIT", "publish": null, "targets": [],
                "manifest_path": "/nowhere/outside/Cargo.toml", "dependencies": [],
            }));
        }
        serde_json::from_value(serde_json::json!({
            "packages": packages, "workspace_members": ours, "resolve": {"nodes": nodes},
        }))
        .unwrap()
    }

    #[track_caller]
    fn check(crates: &[(&str, &[&str])], expected: &[&str]) {
        let found = arrows(&workspace(crates), RULES);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn the_arrows_of_the_table_pass() {
        check(&[("model", &["serde"]), ("runtime", &["tokio"]), ("cloud", &["model", "runtime"])], &[]);
    }

    #[test]
    fn an_arrow_that_is_not_in_the_table_is_named() {
        check(
            &[("model", &["serde"]), ("gateway", &["model", "replicate"]), ("replicate", &["model"])],
            &["/nowhere/gateway/Cargo.toml: `gateway` must not know `replicate`; it may use: model, runtime"],
        );
    }

    #[test]
    fn tests_may_start_a_database_and_know_nothing_else() {
        check(&[("replicate", &["dev:cloud"]), ("cloud", &[])], &[]);
        check(&[("replicate", &["dev:gateway"]), ("gateway", &[])], &["`replicate` must not know `gateway`"]);
    }

    #[test]
    fn an_outside_crate_is_forbidden_even_through_another() {
        check(
            &[("controller", &["cloud"]), ("cloud", &["mysql_async"])],
            &["`controller` must never reach `mysql_async`, which comes in through `cloud`"],
        );
        check(&[("decide", &["model", "tokio"]), ("model", &[])], &["`decide` must not use `tokio`"]);
    }

    #[test]
    fn a_crate_without_a_rule_is_refused() {
        check(&[("utils", &[])], &["`utils` is not in the table of crates"]);
    }

    #[test]
    fn this_workspace_is_in_order() {
        let faults = faults(&Workspace::read().unwrap());
        assert!(faults.is_empty(), "{faults:#?}");
    }
}
