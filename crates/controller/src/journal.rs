//! The journal: what was judged and what was done about it, one JSON object a line, appended.
//!
//! Written whenever the meaning of the verdict changes, and for every step that ends. It is a record for people; no
//! decision reads it, and a journal that cannot be written stops nothing.

use std::path::PathBuf;

use model::{Epoch, Step, Verdict};
use serde::Serialize;
use tokio::{fs, io::AsyncWriteExt as _, sync::mpsc};

use crate::execute::Outcome;

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
    },
    /// A plan with faults was not executed: a mistake in the judgement.
    PlanRefused {
        /// What is wrong with it.
        faults: Vec<String>,
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

/// Appends what it is sent to `path`, until the senders are gone.
pub(crate) async fn write(path: PathBuf, mut entries: mpsc::UnboundedReceiver<Entry>) {
    let mut file = match open(&path).await {
        Ok(file) => Some(file),
        Err(e) => {
            tracing::error!("the journal {} cannot be written: {e}; going on without", path.display());
            None
        }
    };
    while let Some(entry) = entries.recv().await {
        tracing::info!(target: "controller::journal", "{}", sentence(&entry));
        let Some(open) = &mut file else { continue };
        let written = async {
            let mut line = serde_json::to_vec(&entry)?;
            line.push(b'\n');
            open.write_all(&line).await?;
            open.flush().await
        };
        if let Err(e) = written.await {
            tracing::error!("the journal {} cannot be written: {e}", path.display());
        }
    }
}

async fn open(path: &std::path::Path) -> std::io::Result<fs::File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).await?;
    }
    fs::OpenOptions::new().create(true).append(true).open(path).await
}

fn sentence(entry: &Entry) -> String {
    match &entry.what {
        What::Judged { verdict } => decide::scenario::describe(verdict).trim_end().replace('\n', "; "),
        What::PlanRefused { faults } => format!("a faulty plan was not executed: {}", faults.join("; ")),
        What::Began { step } => format!("begins to {step}"),
        What::Ended { step, outcome, took_ms } if outcome.is_done() => format!("did {step} in {took_ms} ms"),
        What::Ended { step, outcome, took_ms } => format!("could not {step} ({took_ms} ms): {outcome:?}"),
    }
}
