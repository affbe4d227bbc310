//! The judgement, by the stories in `scenarios/`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it needs by failing")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use decide::{check, judge, problem, rules, scenario};
use model::{Problem, Site, topology::Policy};

fn stories() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut stories: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .map(|path| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect();
    stories.sort();
    stories
}

/// Plays one story. Returns what went wrong, moment by moment.
fn check(file: &str, text: &str) -> Vec<String> {
    let policy = Policy::default();
    let moments = match scenario::read(text, &policy) {
        Ok(moments) => moments,
        Err(e) => return vec![format!("scenarios/{file}:{}: {}", e.line, e.what)],
    };
    assert!(!moments.is_empty(), "{file} concludes nothing");
    let mut wrong = Vec::new();
    for moment in moments {
        let policy = &moment.policy;
        let verdict = judge(&moment.world, policy);
        let told = scenario::describe(&verdict);
        let at = format!("scenarios/{file}:{}: {}", moment.line, moment.title);
        if told != moment.expected {
            wrong.push(format!("{at}\n--- expected\n{}--- judged\n{told}", moment.expected));
        }
        assert_eq!(verdict, judge(&moment.world, policy), "{at}: judged twice, differently");
        assert!(!verdict.plan.steps.is_empty() || !verdict.reasons.is_empty(), "{at}: held without a reason");
        if let Some(register) = &moment.world.register {
            assert_eq!(check::lint(&verdict.plan, &register.value), [], "{at}: the plan has faults");
        }
    }
    wrong
}

#[test]
fn every_story_ends_as_told() {
    let wrong: Vec<String> = stories().iter().flat_map(|(file, text)| check(file, text)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(stories().len() >= 12);
}

/// A failure mode without a story is a failure mode that nobody has thought through.
#[test]
fn every_problem_is_in_the_table_once_and_in_some_story() {
    let policy = Policy::default();
    let told: BTreeSet<Problem> = stories()
        .iter()
        .flat_map(|(_, text)| scenario::read(text, &policy).unwrap())
        .flat_map(|moment| judge(&moment.world, &moment.policy).problems)
        .collect();
    let mut listed = BTreeSet::new();
    for entry in problem::TABLE {
        assert!(listed.insert(entry.problem), "{:?} stands in the table twice", entry.problem);
        assert!(told.contains(&entry.problem), "no story tells of {}", scenario::name(entry.problem));
        let (nhn, aws) = (Site::new("nhn"), Site::new("aws"));
        for language in [problem::Language::Ko, problem::Language::En] {
            let sentence = entry.sentence(language, &nhn, &aws);
            assert!(!sentence.is_empty() && !sentence.contains('{'), "{sentence}");
        }
    }
    assert_eq!(told, listed, "a problem is judged that the table does not list");
}

/// A rule without a story is a rule that nobody has seen stand.
#[test]
fn every_rule_stands_in_some_story_under_its_name() {
    let policy = Policy::default();
    let reasons: Vec<String> = stories()
        .iter()
        .flat_map(|(_, text)| scenario::read(text, &policy).unwrap())
        .flat_map(|moment| judge(&moment.world, &moment.policy).reasons)
        .collect();
    for entry in rules::TABLE {
        let name = format!("{}: ", entry.name);
        assert!(reasons.iter().any(|reason| reason.starts_with(&name)), "no story tells of the rule {name}");
        assert!(rules::entry(entry.rule).is_some_and(|found| found.name == entry.name));
        assert!(![problem::Language::Ko, problem::Language::En].map(|l| entry.sentence(l)).contains(&""));
    }
}

#[test]
fn drills_look_up_every_story_by_its_name() {
    let policy = Policy::default();
    let listed: Vec<String> = scenario::STORIES.iter().map(|(name, _)| format!("{name}.txt")).collect();
    let files: Vec<String> = stories().into_iter().map(|(file, _)| file).collect();
    assert_eq!(listed, files, "decide/src/scenario/stories.rs does not list what is in scenarios/");
    for (name, text) in scenario::STORIES {
        let moments = scenario::read(text, &policy).unwrap();
        let told = scenario::expectations(name).unwrap();
        assert_eq!(moments.len(), told.len(), "{name}");
        for (moment, told) in moments.iter().zip(&told) {
            let verdict = judge(&moment.world, &moment.policy);
            let problems: Vec<&str> = verdict.problems.iter().map(|p| scenario::name(*p)).collect();
            assert_eq!(
                (&moment.title, problems),
                (&told.title, told.problems.iter().map(String::as_str).collect())
            );
            let steps: Vec<String> = verdict.plan.steps.iter().map(ToString::to_string).collect();
            assert_eq!(
                (steps, &verdict.reasons),
                (told.plan.clone(), &told.reasons),
                "{name}: {}",
                told.title
            );
        }
        assert_eq!(scenario::expectation(name).as_ref(), told.last());
    }
    assert_eq!(scenario::expectation("the-moon-falls"), None);
}

#[test]
fn a_line_that_is_not_understood_is_named() {
    let policy = Policy::default();
    for (text, line) in [
        ("register: epoch 3\nthe moon: full", 2),
        ("nhn says: primary, hungry", 1),
        ("witness sees nhn: silent", 1),
        ("problems: none\nregister: epoch 1", 2),
        ("mars says: primary", 1),
    ] {
        assert_eq!(scenario::read(text, &policy).unwrap_err().line, line, "{text}");
    }
}
