//! What the controllers said and did during a round: their views, asked again and again, and their journals.
//!
//! The views tell which verdict stood when; the journals tell every verdict, however short, and every step. A controller
//! that is dead or dark says nothing, and its journal ends where it ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::Verdict;
use runtime::process::Shutdown;
use serde::Serialize;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::{access::Access, story::Expectation};
use crate::checker::Violation;

/// How often each controller is asked.
const EVERY: Duration = Duration::from_millis(50);
/// So many lines of the journals a round's line repeats; the others are counted.
const JOURNAL_LINES_MAX: usize = 200;

/// What a round's line says of the judgement. Every drill has it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Judged {
    /// Every problem that a controller named during the round, by its name.
    pub problems: Vec<String>,
    /// `failover`: another site is primary than before the fault; `hold`: none is.
    pub verdict: &'static str,
    /// For a failover, why the register was moved and what stood against a step; for a hold, the reasons that the
    /// leader gave last while the fault was there.
    pub reasons: Vec<String>,
    /// The lines of the three controllers' journals from the fault to the round's end, by time.
    pub journal: Vec<Value>,
    /// How many lines there were.
    pub journal_lines: usize,
}

/// One controller's verdict as it was found.
#[derive(Clone, Debug)]
struct Heard {
    leads: bool,
    verdict: Verdict,
}

/// Listens from just before the fault on.
#[derive(Debug)]
pub struct Listening {
    /// The latest verdict of each place, and everything that was ever named or given as a reason.
    heard: Arc<Mutex<Ears>>,
    journals: Vec<(PathBuf, u64)>,
    stop: Shutdown,
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct Ears {
    latest: BTreeMap<String, Heard>,
    problems: BTreeSet<String>,
    reasons: BTreeSet<String>,
}

/// What was heard, after the listening.
#[derive(Debug, Default)]
pub struct Told {
    problems: BTreeSet<String>,
    reasons: BTreeSet<String>,
    journal: Vec<Value>,
}

impl Listening {
    /// Begins to listen to every controller of the lab.
    pub fn begin(access: &Access) -> Listening {
        let listening = Listening {
            heard: Arc::default(),
            journals: access.places().map(|place| at_end(access.journal(place))).collect(),
            stop: Shutdown::new(),
            tasks: TaskTracker::new(),
        };
        for place in access.places() {
            let (access, place) = (access.clone(), place.to_owned());
            let (heard, stop) = (listening.heard.clone(), listening.stop.clone());
            listening.tasks.spawn(async move {
                loop {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        view = access.view_of(&place) => lock(&heard).take_in(&place, view.ok()),
                    }
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(EVERY) => {}
                    }
                }
            });
        }
        listening
    }

    /// The reasons that stand at this moment: the leader's; if nobody is heard to lead, those of all that are heard.
    pub fn reasons_now(&self) -> Vec<String> {
        let ears = lock(&self.heard);
        let leader = ears.latest.values().find(|heard| heard.leads);
        let all = ears.latest.values().filter(|heard| leader.is_none() || heard.leads);
        let mut reasons: Vec<String> = Vec::new();
        for reason in all.flat_map(|heard| &heard.verdict.reasons) {
            if !reasons.contains(reason) {
                reasons.push(reason.clone());
            }
        }
        reasons
    }

    /// Ends the listening and reads what the journals have more than at its beginning.
    pub async fn end(self) -> Told {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let mut told = {
            let ears = lock(&self.heard);
            Told { problems: ears.problems.clone(), reasons: ears.reasons.clone(), journal: Vec::new() }
        };
        for (path, from) in &self.journals {
            match lines_behind(path, *from) {
                Ok(lines) => lines.into_iter().for_each(|line| told.take_in(line)),
                Err(e) => tracing::warn!("the journal {} cannot be read: {e}", path.display()),
            }
        }
        told.journal.sort_by_key(|line| line["at_ms"].as_u64());
        told
    }
}

impl Ears {
    fn take_in(&mut self, place: &str, view: Option<model::observation::View>) {
        let Some(view) = view else {
            self.latest.remove(place);
            return;
        };
        self.problems.extend(view.verdict.problems.iter().map(|p| decide::scenario::name(*p).to_owned()));
        self.reasons.extend(view.verdict.reasons.iter().cloned());
        let leads = view.leader.as_deref() == Some(place);
        self.latest.insert(place.to_owned(), Heard { leads, verdict: view.verdict });
    }
}

impl Told {
    /// A line of a journal.
    fn take_in(&mut self, line: Value) {
        let words = |key: &str| {
            let list = line["verdict"][key].as_array().into_iter().flatten();
            list.filter_map(|word| word.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        self.problems.extend(words("problems"));
        self.reasons.extend(words("reasons"));
        self.journal.push(line);
    }

    /// What of `expected` was never said. `failed_over`: whether another site is primary now.
    pub fn misjudged(&self, expected: &Expectation, failed_over: bool) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut wrong = |what: String| found.push(Violation::new("verdict", what));
        match (expected.failover, failed_over) {
            (true, false) => wrong("a failover was expected, and none happened".into()),
            (false, true) => wrong("a failover happened, and the standby was to hold still".into()),
            _ => {}
        }
        for problem in expected.problems.iter().filter(|p| !self.problems.contains(*p)) {
            wrong(format!("the problem {problem} was never named, but {:?}", self.problems));
        }
        for reason in expected.reasons.iter().filter(|r| !self.reasons.contains(*r)) {
            wrong(format!("this was never given as a reason: {reason}"));
        }
        found
    }

    /// For the round's line.
    pub fn judged(mut self, failed_over: bool, reasons: Vec<String>) -> Judged {
        let journal_lines = self.journal.len();
        self.journal.truncate(JOURNAL_LINES_MAX);
        Judged {
            problems: self.problems.into_iter().collect(),
            verdict: if failed_over { "failover" } else { "hold" },
            reasons,
            journal: self.journal,
            journal_lines,
        }
    }

    /// The reasons with which the register was moved, as the journals tell.
    pub fn reasons_of_the_move(&self) -> Vec<String> {
        let moves = |line: &&Value| line["what"] == "began" && line["step"]["step"] == "move_register";
        let Some(moved) = self.journal.iter().find(moves) else { return Vec::new() };
        let mut reasons: Vec<String> =
            moved["step"]["record"]["why"].as_str().map(str::to_owned).into_iter().collect();
        // The verdict that the step belongs to is the last one that the same controller wrote before it.
        let judged = self.journal.iter().take_while(|line| !std::ptr::eq(*line, moved));
        let judged = judged.filter(|line| line["what"] == "judged" && line["place"] == moved["place"]).last();
        let more = judged.and_then(|line| line["verdict"]["reasons"].as_array()).into_iter().flatten();
        reasons.extend(more.filter_map(|reason| reason.as_str().map(str::to_owned)));
        reasons
    }
}

/// A journal with its present length.
fn at_end(path: PathBuf) -> (PathBuf, u64) {
    let length = std::fs::metadata(&path).map_or(0, |file| file.len());
    (path, length)
}

/// The whole lines of a journal behind the place `from`. A last line without end is still being written.
fn lines_behind(path: &Path, from: u64) -> std::io::Result<Vec<Value>> {
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
    Ok(whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn lock(ears: &Mutex<Ears>) -> MutexGuard<'_, Ears> {
    ears.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told() -> Told {
        let mut told = Told::default();
        let judged = |place: &str, problem: &str, reason: &str| {
            json!({ "at_ms": 1, "place": place, "what": "judged",
                    "verdict": { "problems": [problem], "plan": { "steps": [] }, "reasons": [reason] } })
        };
        told.take_in(judged("aws", "primary_suspected", "one alone"));
        told.take_in(judged("witness", "primary_site_lost", "nhn cannot be reached"));
        told.take_in(json!({ "at_ms": 2, "place": "witness", "what": "began",
            "step": { "step": "move_register", "record": { "why": "failover: both have lost nhn" } } }));
        told
    }

    #[test]
    fn what_was_never_said_and_what_should_not_have_happened_are_violations() {
        let expected = |problem: &str, failover, reason: &str| Expectation {
            problems: vec![problem.to_owned()],
            failover,
            reasons: vec![reason.to_owned()],
        };
        let good = expected("primary_site_lost", true, "one alone");
        assert_eq!(told().misjudged(&good, true), []);
        let count = |expected: &Expectation, failed_over| told().misjudged(expected, failed_over).len();
        assert_eq!(count(&good, false), 1, "an expected failover did not happen");
        assert_eq!(count(&Expectation { failover: false, ..good.clone() }, true), 1, "an unexpected one did");
        assert_eq!(
            count(&expected("link_cut", true, "two"), true),
            2,
            "a problem and a reason were never heard"
        );
    }

    #[test]
    fn a_failover_has_the_reasons_with_which_its_leader_moved_the_register() {
        let told = told();
        assert_eq!(told.reasons_of_the_move(), ["failover: both have lost nhn", "nhn cannot be reached"]);
        let judged = told.judged(true, Vec::new());
        assert_eq!((judged.verdict, judged.journal_lines), ("failover", 3));
        assert_eq!(judged.problems, ["primary_site_lost", "primary_suspected"]);
    }

    #[test]
    fn a_line_that_is_still_being_written_is_not_read() {
        let path = std::env::temp_dir().join(format!("ghostlight-journal-{}", std::process::id()));
        std::fs::write(&path, "{\"n\":1}\n{\"n\":2}\n{\"n\":").unwrap();
        assert_eq!(lines_behind(&path, 8).unwrap(), [json!({ "n": 2 })]);
        std::fs::remove_file(&path).unwrap();
    }
}
