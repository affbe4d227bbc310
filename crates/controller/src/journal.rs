//! The journal: what was seen, judged and done, one JSON object a line, appended and chained by hashes.
//!
//! Written whenever the meaning of the verdict changes (with what each viewpoint saw at that moment), when operators'
//! orders change, and for every step that begins or ends. It is a record for people; no decision reads it, and a
//! journal that cannot be written stops nothing. How a line's place in it is proven stands in [`chain`].

pub mod chain;

use std::path::{Path, PathBuf};

use decide::World;
use model::{
    Epoch, Place, Register, Site, Step, Verdict,
    agent::{FenceReport, Role},
    observation::{Observation, Probe, ProbeResult},
    orders::Orders,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::execute::Outcome;
use chain::{Chain, Verified};

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// Which controller wrote it.
    pub place: String,
    /// Whether it led at that moment.
    pub leads: bool,
    /// The register's epoch, as known there.
    pub epoch: Option<Epoch>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What is worth a line.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum What {
    /// The judgement changed.
    Judged {
        /// To this.
        verdict: Verdict,
        /// What each viewpoint saw then.
        seen: Vec<Sighting>,
        /// The register, as it was known then.
        register: Option<Box<Register>>,
    },
    /// Operators' orders changed, or are heard of for the first time.
    Ordered {
        /// To these.
        orders: Box<Orders>,
    },
    /// A plan with faults was not executed: a mistake in the judgement.
    PlanRefused {
        /// What is wrong with it.
        faults: Vec<String>,
    },
    /// What became of each means of fencing a site.
    Fencing {
        /// One by one.
        report: FenceReport,
    },
    /// A step was begun.
    Began {
        /// Which.
        step: Step,
    },
    /// A step ended.
    Ended {
        /// Which.
        step: Step,
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
        /// Milliseconds that it took.
        took_ms: u64,
    },
}

/// What one viewpoint saw of one site, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sighting {
    /// From where.
    pub by: Place,
    /// What.
    pub of: Site,
    /// How old it was.
    pub age_ms: u64,
    /// The transaction path, if it was asked.
    pub commit: Option<String>,
    /// The agent.
    pub agent: String,
    /// The gateway.
    pub gateway: String,
    /// What the agent said that it is.
    pub role: Option<Role>,
}

impl Sighting {
    /// All that the world holds.
    pub fn all(world: &World) -> Vec<Sighting> {
        world.observations.iter().map(Sighting::of).collect()
    }

    fn of(o: &Observation) -> Sighting {
        Sighting {
            by: o.by.clone(),
            of: o.of.clone(),
            age_ms: o.age_ms,
            commit: o.commit.as_ref().map(in_words),
            agent: in_words(&o.agent),
            gateway: in_words(&o.gateway),
            role: o.status.as_ref().map(|status| status.role.clone()),
        }
    }
}

fn in_words(probe: &Probe) -> String {
    let times = |word: &str| format!("{word} {} times in a row", probe.failed_in_a_row);
    match &probe.last {
        ProbeResult::Ok => "answers".into(),
        ProbeResult::Never => "was not asked".into(),
        ProbeResult::Refused => times("refused"),
        ProbeResult::Silent => times("silent"),
        ProbeResult::Failed { why } => format!("{} ({why})", times("said no")),
    }
}

/// `GET /v1/journal`: what this controller has written.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// Whose journal it is.
    pub place: Place,
    /// The chain, from its first line.
    pub verified: Verified,
    /// The lines that were asked for, the oldest first, as they stand in the file.
    pub lines: Vec<serde_json::Value>,
}

/// What of a journal is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// Only lines from this moment on, milliseconds since 1970 UTC.
    pub since_ms: u64,
    /// At most so many, the newest; 0: all.
    pub limit: usize,
}

/// Reads the journal at `path` for whoever asks. A file that is not there has no lines.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read(place: Place, path: &Path, asked: &Asked) -> std::io::Result<Told> {
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(e),
    };
    let at_ms = |line: &serde_json::Value| line.get("at_ms").and_then(serde_json::Value::as_u64);
    let mut lines: Vec<serde_json::Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line| at_ms(line).is_none_or(|at| at >= asked.since_ms))
        .collect();
    if asked.limit > 0 {
        lines.drain(..lines.len().saturating_sub(asked.limit));
    }
    Ok(Told { place, verified: chain::verify(&text), lines })
}

/// Appends what it is sent to `path`, until the senders are gone.
pub(crate) async fn write(path: PathBuf, mut entries: mpsc::UnboundedReceiver<Entry>) {
    let opened = tokio::task::spawn_blocking({
        let path = path.clone();
        move || Chain::open(&path)
    });
    let told = |e: &dyn std::fmt::Display| {
        tracing::error!("the journal {} cannot be written: {e}; going on without", path.display());
    };
    let mut chain = match opened.await {
        Ok(Ok(chain)) => Some(chain),
        Ok(Err(e)) => {
            told(&e);
            None
        }
        Err(e) => {
            told(&e);
            None
        }
    };
    let mut waiting = Vec::new();
    while entries.recv_many(&mut waiting, 64).await > 0 {
        for entry in &waiting {
            tracing::info!(target: "controller::journal", "{}", sentence(entry));
        }
        let batch = std::mem::take(&mut waiting);
        let Some(mut open) = chain.take() else { continue };
        let written = tokio::task::spawn_blocking(move || {
            let result = batch.iter().try_for_each(|entry| open.append(entry)).and_then(|()| open.sync());
            (open, result)
        });
        match written.await {
            Ok((open, result)) => {
                if let Err(e) = result {
                    told(&e);
                }
                chain = Some(open);
            }
            Err(e) => told(&e),
        }
    }
}

fn sentence(entry: &Entry) -> String {
    match &entry.what {
        What::Judged { verdict, .. } => decide::scenario::describe(verdict).trim_end().replace('\n', "; "),
        What::Ordered { orders } => format!("operators' orders: {orders:?}"),
        What::Fencing { report } => format!("fencing: {report:?}"),
        What::PlanRefused { faults } => format!("a faulty plan was not executed: {}", faults.join("; ")),
        What::Began { step } => format!("begins to {step}"),
        What::Ended { step, outcome, took_ms } if outcome.is_done() => format!("did {step} in {took_ms} ms"),
        What::Ended { step, outcome, took_ms } => format!("could not {step} ({took_ms} ms): {outcome:?}"),
    }
}
