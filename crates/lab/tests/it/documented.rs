//! `docs/json-output.md` names every key that is printed, and no other.

use std::collections::BTreeSet;

use lab::drill::{
    site_loss::{Round, Summary},
    watch::Phases,
};
use serde::Serialize;

const DOCUMENT: &str = include_str!("../../../../docs/json-output.md");

/// Holds the table under the headings `command` and `part` against the keys of `value`.
#[track_caller]
fn check(command: &str, part: &str, value: &impl Serialize) {
    let section = DOCUMENT.split("\n## ").find(|s| s.starts_with(command)).expect("the command's heading");
    let table = section.split("\n### ").find(|s| s.starts_with(part)).expect("the part's heading");
    let documented: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(key, _)| key)
        .collect();
    let printed = serde_json::to_value(value).unwrap();
    let printed: BTreeSet<&str> = printed.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(documented, printed, "left: documented under `{command}`, `{part}`; right: printed");
}

#[test]
fn the_site_loss_drill() {
    const COMMAND: &str = "`ghostlight drill site-loss --json`";
    check(COMMAND, "A line a round", &Round::default());
    check(COMMAND, "`phases_ms`", &Phases::default());
    check(COMMAND, "The summary", &Summary::default());
}
