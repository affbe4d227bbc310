//! What a drill expects stands in `scenarios/`: the same file that `decide`'s tests are run by.
//!
//! A story tells of nhn and aws in epochs of its own; a drill translates what is concluded there to who is who and which
//! epoch it is in the lab. The figures of the story (how many probes, which age) are the story's own.

use decide::scenario;
use model::{Epoch, topology::Policy};

use super::fault::Cast;

/// One moment of a scenario file.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// The file's name in `scenarios/`.
    pub file: &'static str,
    /// Its text.
    pub text: &'static str,
    /// The heading of the moment.
    pub moment: &'static str,
}

/// What must be concluded during a round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    /// Each of these must be named at some time.
    pub problems: Vec<String>,
    /// Whether the standby is to take over; if not, nobody may.
    pub failover: bool,
    /// Each of these must be given as a reason at some time.
    pub reasons: Vec<String>,
}

impl Story {
    /// The moment's conclusion, for this cast and epoch.
    ///
    /// # Errors
    /// When the file is not understood, or has no such moment.
    pub fn expectation(&self, cast: &Cast, epoch: Epoch) -> Result<Expectation, String> {
        let file = self.file;
        let moments = scenario::read(self.text, &Policy::default())
            .map_err(|misread| format!("scenarios/{file}:{}: {}", misread.line, misread.what))?;
        let moment = moments.into_iter().find(|m| m.title == self.moment);
        let moment = moment.ok_or_else(|| format!("scenarios/{file} has no moment `{}`", self.moment))?;
        let world = &moment.world;
        let register = world.register.as_ref().ok_or_else(|| format!("scenarios/{file} has no register"))?;
        let primary = &register.value.primary;
        let other = world.sites.iter().find(|s| *s != primary).unwrap_or(primary);
        let translated = |text: &str| {
            translate(
                text,
                &[(primary.as_str(), cast.primary.as_str()), (other.as_str(), cast.standby.as_str())],
                (register.value.epoch, epoch),
            )
        };
        let mut expected = Expectation::default();
        for line in moment.expected.lines() {
            match line.split_once(": ") {
                Some(("problems", names)) => {
                    let names = names.split(", ").filter(|name| *name != "none");
                    expected.problems.extend(names.map(str::to_owned));
                }
                Some(("plan", steps)) => expected.failover |= steps.contains("move the register"),
                Some(("because", reason)) => expected.reasons.push(translated(reason)),
                _ => {}
            }
        }
        Ok(expected)
    }
}

/// `text` with other names, word for word, and the epochs behind the word `epoch` moved from the one to the other.
fn translate(text: &str, names: &[(&str, &str)], (from, to): (Epoch, Epoch)) -> String {
    let mut out = String::new();
    let mut last_word = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let in_word = first.is_alphanumeric();
        let end = rest.find(|c: char| c.is_alphanumeric() != in_word).unwrap_or(rest.len());
        let (piece, behind) = rest.split_at(end);
        rest = behind;
        if !in_word {
            out.push_str(piece);
            continue;
        }
        let name = names.iter().find(|(old, _)| *old == piece).map(|(_, new)| *new);
        match (name, piece.parse::<u64>()) {
            (Some(name), _) => out.push_str(name),
            (None, Ok(epoch)) if last_word == "epoch" => {
                out.push_str(&(to.0 + epoch.saturating_sub(from.0)).to_string());
            }
            _ => out.push_str(piece),
        }
        piece.clone_into(&mut last_word);
    }
    out
}

#[cfg(test)]
mod tests {
    use model::Site;

    use super::*;
    use crate::drill::table::TABLE;

    fn cast(primary: &str, standby: &str) -> Cast {
        Cast { primary: Site::new(primary), standby: Site::new(standby) }
    }

    #[test]
    fn a_story_is_retold_with_the_names_and_epochs_of_the_lab() {
        let names = [("nhn", "aws"), ("aws", "nhn")];
        let told =
            translate("nhn commits in epoch 3: aws-nhn is ready, 4 nhns", &names, (Epoch(3), Epoch(10)));
        assert_eq!(told, "aws commits in epoch 10: nhn-aws is ready, 4 nhns");
        assert_eq!(
            translate("promote nhn to epoch 4", &names, (Epoch(3), Epoch(1))),
            "promote aws to epoch 2"
        );
    }

    #[test]
    fn every_drill_finds_its_moment_and_expects_what_it_says_of_itself() {
        for row in TABLE {
            for case in row.cases {
                let expected = case.story.expectation(&cast("aws", "nhn"), Epoch(7)).unwrap();
                assert_eq!(expected.failover, case.failover, "{}: {}", row.name, case.what);
                let has_something = !expected.problems.is_empty() || !expected.reasons.is_empty();
                assert!(has_something, "{}: {}: nothing is expected", row.name, case.what);
                assert!(!expected.reasons.iter().any(|r| r.contains("epoch 3")), "{:?}", expected.reasons);
            }
        }
    }

    #[test]
    fn a_moment_that_is_not_there_is_an_error() {
        let story = Story { moment: "Never", ..TABLE[0].cases[0].story };
        assert!(story.expectation(&cast("nhn", "aws"), Epoch(1)).unwrap_err().contains("no moment `Never`"));
    }
}
