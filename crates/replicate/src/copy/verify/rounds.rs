//! What is to be compared, how far that is, and what came of it: the part of the verifier that outlives connections and,
//! kept in a file, the agent.
//!
//! Nothing here reads a row. [`Verifier::piece`] says what comes next, [`Verifier::learn`] is told what it came to.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::{
    Epoch, Incarnation,
    agent::{Coverage, Differing, VerifyRequest, VerifyRun, Wrong},
};
use runtime::clock::Wall;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::super::Bound;

/// A list of differences is no longer than this; more are counted.
const LISTED_MAX: usize = 1_000;

/// What is compared, and what came of it. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Verifier(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
    /// Where it is kept; `None`: in memory alone.
    file: Option<PathBuf>,
}

/// Written to the file as it is, so that a comparison goes on where it was when the agent begins again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    /// In the background: 0 is off. The policy's, never the file's.
    #[serde(skip)]
    rows_per_s: u64,
    /// Which life of these data was compared. What another one held proves nothing of this one.
    life: Option<(Epoch, Incarnation)>,
    background: Round,
    /// When the last round of the background ended, milliseconds since 1970 UTC: the machine may have been started
    /// anew since then.
    last_round_ms: Option<u64>,
    asked: Option<(VerifyRequest, Round)>,
    run: Option<VerifyRun>,
    runs: u64,
}

/// A way over some tables.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Round {
    begun: bool,
    todo: VecDeque<Todo>,
    rows: u64,
    rows_estimated: u64,
    /// Found in this round and, until it has come to its end, in the one before.
    found: Vec<Differing>,
    found_before: Vec<Differing>,
}

/// A table, or what is left of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Todo {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) from: Option<Bound>,
}

/// The next piece.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) todo: Todo,
    pub(super) asked: bool,
    pub(super) repair: bool,
    pub(super) rows_per_s: Option<u64>,
}

/// What came of a piece.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) rows: u64,
    pub(super) found: Vec<Differing>,
    /// Where the next piece begins; `None`: the table is done.
    pub(super) next: Option<Bound>,
}

impl Verifier {
    /// Compares `rows_per_s` in the background.
    pub fn new(rows_per_s: u64) -> Verifier {
        let verifier = Verifier::default();
        verifier.state().rows_per_s = rows_per_s;
        verifier
    }

    /// The same, and goes on where the file says. A file that cannot be read costs no more than a round begun anew.
    pub fn kept_in(file: PathBuf, rows_per_s: u64) -> Verifier {
        let state = match read(&file) {
            Ok(kept) => State { rows_per_s, ..kept.unwrap_or_default() },
            Err(why) => {
                tracing::warn!("comparing begins anew: {} cannot be used: {why}", file.display());
                State { rows_per_s, ..State::default() }
            }
        };
        Verifier(Arc::new(Inner { state: Mutex::new(state), changed: Notify::new(), file: Some(file) }))
    }

    /// Writes down how far it is. Blocks on the disk.
    pub(super) fn keep(&self) {
        let Some(file) = &self.0.file else { return };
        let state = self.state().clone();
        if let Err(e) = write(file, &state) {
            tracing::warn!("how far the comparison is cannot be kept in {}: {e}", file.display());
        }
    }

    /// Says which life of the data the next pieces are of. In another one everything is compared anew.
    pub(super) fn begin_life(&self, epoch: Epoch, incarnation: Incarnation) {
        let mut state = self.state();
        let life = Some((epoch, incarnation));
        if state.life == life {
            return;
        }
        state.life = life;
        state.background = Round::default();
        state.last_round_ms = None;
        if let Some((_, round)) = &mut state.asked {
            *round = Round::default();
            if let Some(run) = &mut state.run {
                *run = VerifyRun { number: run.number, ..VerifyRun::default() };
            }
        }
    }

    /// Waits until something else is asked for.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it; and if so, figures are whole between any two statements.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a comparison. One that was asked for earlier and has not come to its end is given up.
    pub fn ask(&self, request: VerifyRequest) -> VerifyRun {
        let run = {
            let mut state = self.state();
            state.runs += 1;
            let run = VerifyRun {
                number: state.runs,
                waits_for: Some("the connection to the primary".into()),
                ..VerifyRun::default()
            };
            state.asked = Some((request, Round::default()));
            state.run = Some(run.clone());
            run
        };
        self.0.changed.notify_one();
        run
    }

    /// The comparison that was asked for last.
    pub fn run(&self) -> Option<VerifyRun> {
        self.state().run.clone()
    }

    /// What the background has compared; `None` if it is off and nothing was found.
    pub fn coverage(&self) -> Option<Coverage> {
        let state = self.state();
        let round = &state.background;
        let before = round.found_before.iter().filter(|d| !round.found.contains(d));
        let mut all =
            round.found.iter().chain(before).filter(|d| !matches!(d.wrong, Wrong::Counter)).peekable();
        let first_difference = all.peek().map(|d| format!("{}: {} ({:?})", d.table, d.key, d.wrong));
        let differences = u64::try_from(all.count()).unwrap_or(u64::MAX);
        let permille = match round.begun {
            true => (1_000 * round.rows / round.rows_estimated.max(1)).min(1_000),
            false => 0,
        };
        (state.rows_per_s > 0 || differences > 0).then(|| Coverage {
            permille,
            last_round_age_s: state
                .last_round_ms
                .map(|at_ms| Wall::now().as_ms().saturating_sub(at_ms) / 1_000),
            differences,
            first_difference,
        })
    }

    /// What to do next, if the tables are known for it.
    pub(super) fn piece(&self) -> Next {
        let mut state = self.state();
        if let Some((request, round)) = &state.asked {
            if !round.begun {
                return Next::List(request.table.clone(), true);
            }
            if let Some(todo) = round.todo.front() {
                let (todo, repair, rows_per_s) = (todo.clone(), request.repair, request.rows_per_s);
                return Next::Piece(Piece { todo, asked: true, repair, rows_per_s });
            }
            state.asked = None;
            if let Some(run) = &mut state.run {
                (run.done, run.waits_for) = (true, None);
            }
        }
        if state.rows_per_s == 0 {
            return Next::Nothing;
        }
        if !state.background.begun {
            return Next::List(None, false);
        }
        match state.background.todo.front() {
            Some(todo) => Next::Piece(Piece {
                todo: todo.clone(),
                asked: false,
                repair: false,
                rows_per_s: Some(state.rows_per_s),
            }),
            None => {
                let found = std::mem::take(&mut state.background.found);
                state.background = Round { found_before: found, ..Round::default() };
                state.last_round_ms = Some(Wall::now().as_ms());
                Next::Pause
            }
        }
    }

    pub(super) fn listed(&self, asked: bool, tables: Vec<(String, String, u64)>) {
        let mut state = self.state();
        let State { asked: wanted, background, run, .. } = &mut *state;
        let round = match (asked, wanted) {
            (true, Some((_, round))) => round,
            (true, None) => return,
            (false, _) => background,
        };
        round.begun = true;
        round.rows_estimated = tables.iter().map(|(_, _, rows)| rows).sum();
        if asked && let Some(run) = run {
            run.waits_for = None;
            run.tables = u64::try_from(tables.len()).unwrap_or(u64::MAX);
            run.rows_estimated = round.rows_estimated;
        }
        round.todo =
            tables.into_iter().map(|(schema, table, _)| Todo { schema, table, from: None }).collect();
    }

    pub(super) fn learn(&self, piece: &Piece, outcome: Outcome) {
        let mut state = self.state();
        let State { asked, background, run, .. } = &mut *state;
        let round = match (piece.asked, asked) {
            (true, Some((_, round))) => round,
            (true, None) => return,
            (false, _) => background,
        };
        if round.todo.front() != Some(&piece.todo) {
            return; // another comparison was asked for meanwhile
        }
        let done = outcome.next.is_none();
        match outcome.next {
            Some(next) => {
                if let Some(todo) = round.todo.front_mut() {
                    todo.from = Some(next);
                }
            }
            None => {
                round.todo.pop_front();
            }
        }
        round.rows += outcome.rows;
        for found in &outcome.found {
            let (table, key, wrong) = (&found.table, &found.key, found.wrong);
            tracing::error!(table, key, ?wrong, repaired = found.repaired, "differs from the primary");
        }
        if piece.asked
            && let Some(run) = run
        {
            run.waits_for = None;
            run.rows += outcome.rows;
            run.tables_done += u64::from(done);
            let rows = outcome.found.iter().filter(|d| d.wrong != Wrong::Counter);
            run.differences += u64::try_from(rows.clone().count()).unwrap_or(u64::MAX);
            run.repaired += u64::try_from(rows.filter(|d| d.repaired).count()).unwrap_or(u64::MAX);
            run.list.extend(outcome.found.iter().cloned());
            run.list.truncate(LISTED_MAX);
        }
        if piece.repair {
            // What was repaired differs no more.
            let repaired = |d: &Differing| {
                outcome.found.iter().any(|f| f.repaired && f.table == d.table && f.key == d.key)
            };
            background.found.retain(|d| !repaired(d));
            background.found_before.retain(|d| !repaired(d));
        } else if !piece.asked {
            background.found.extend(outcome.found);
            background.found.truncate(LISTED_MAX);
        }
    }

    pub(super) fn fail(&self, why: String) {
        let mut state = self.state();
        if state.asked.take().is_some()
            && let Some(run) = &mut state.run
        {
            run.failed = Some(why);
        }
    }

    /// Tells those who wait that the connection is gone.
    pub(crate) fn disconnected(&self, why: &str) {
        let mut state = self.state();
        if let Some(run) = &mut state.run
            && !run.done
            && run.failed.is_none()
        {
            run.waits_for = Some(why.to_owned());
        }
    }
}

/// What is to be done.
pub(super) enum Next {
    Nothing,
    Pause,
    /// The tables are not listed yet: of this name, for what was asked.
    List(Option<String>, bool),
    Piece(Piece),
}

/// `None`: nothing was kept yet.
fn read(file: &Path) -> io::Result<Option<State>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whole or not at all. Not synced: what a power cut takes away is only compared again.
fn write(file: &Path, state: &State) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = file.with_extension("new");
    fs::write(&beside, serde_json::to_vec(state)?)?;
    fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(verifier: &Verifier) -> Piece {
        match verifier.piece() {
            Next::Piece(piece) => piece,
            _ => panic!("nothing is to be compared"),
        }
    }

    #[test]
    fn another_life_of_the_data_is_compared_from_the_beginning() {
        let verifier = Verifier::default();
        verifier.begin_life(Epoch(1), Incarnation(1));
        verifier.ask(VerifyRequest::default());
        verifier.listed(true, vec![("shop".into(), "a".into(), 10), ("shop".into(), "b".into(), 10)]);
        let first = piece(&verifier);
        verifier.learn(&first, Outcome { rows: 10, ..Outcome::default() });
        assert_eq!(piece(&verifier).todo.table, "b");

        verifier.begin_life(Epoch(1), Incarnation(1));
        assert_eq!(piece(&verifier).todo.table, "b", "the same life goes on");
        verifier.begin_life(Epoch(1), Incarnation(2));
        assert!(matches!(verifier.piece(), Next::List(None, true)));
        assert_eq!(verifier.run().map(|run| (run.number, run.rows)), Some((1, 0)));
    }

    #[test]
    fn a_damaged_file_costs_a_round_and_nothing_else() {
        let file = std::env::temp_dir().join(format!("ghostlight-rounds-{}.json", std::process::id()));
        fs::write(&file, b"{\"life\":[1,").unwrap();
        let verifier = Verifier::kept_in(file.clone(), 5);
        assert!(matches!(verifier.piece(), Next::List(None, false)));
        verifier.keep();
        assert!(read(&file).unwrap().is_some());
        fs::remove_file(&file).unwrap();
    }
}
