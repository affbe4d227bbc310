//! What an old primary committed and nobody was ever told of: kept as text before it is undone.
//!
//! A quarantine is a folder, `<data folder>/quarantine/<epoch>/`, named after the epoch that began without its rows:
//!
//! - `0001.jsonl`, `0002.jsonl` …: one JSON object ([`RowLine`]) a changed row, in the order of the log. The
//!   before and after images carry the columns' names. What is not text is written as `{"hex":"…"}`.
//! - `manifest.json` ([`Manifest`]): what is there, with sums; the tables' columns; and the proof that none of it was
//!   acknowledged, or honestly that it may have been.
//! - `outcome.json` ([`Outcome`]): what became of it. The only file that is written after the quarantine is complete.
//!
//! Always true here: a folder of this name is complete and on the disk, manifest and all, because it gets its name
//! last; nothing in it is ever changed, and nothing deletes it. Reading it needs memory for one row, forwards and
//! backwards.

pub mod image;
mod read;
pub mod sql;
mod write;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use model::{Epoch, Mode, Position, Register, Site, StreamId, agent::FailoverRecord};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

pub use self::{
    read::{Backwards, Page},
    write::Writer,
};
use crate::transaction::Table;

/// The form of the files. Grows with every change of it that an older reader would misread.
pub const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";
const OUTCOME: &str = "outcome.json";

/// Why a quarantine cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// The file system. The operator's to mend; nothing is undone before it is.
    #[error("the quarantine in {path}: {source}")]
    Io {
        /// Which file or folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what its manifest says, or none that we wrote: somebody changed it.
    #[error("the quarantine in {path} is damaged: {why}; it is left alone, and nothing is undone from it")]
    Damaged {
        /// Which file or folder.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A value that cannot be written down exactly.
    #[error("{0}")]
    Value(String),
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> QuarantineError {
    move |source| QuarantineError::Io { path: path.display().to_string(), source }
}

pub(crate) fn damaged(path: &Path, why: impl ToString) -> QuarantineError {
    QuarantineError::Damaged { path: path.display().to_string(), why: why.to_string() }
}

/// A row of a quarantine's file: one change of one row, or one statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowLine {
    /// Counts the lines of the whole quarantine, from 1.
    pub line: u64,
    /// Counts the transactions, from 1.
    pub transaction: u64,
    /// The place in front of the transaction in the log, `file:offset`.
    pub at: String,
    /// The transaction's GTID, where the server has them.
    pub gtid: Option<String>,
    /// When its first event was written, by the server's clock: seconds since 1970 UTC.
    pub committed_at_s: u32,
    /// `schema.table`; of a statement, its schema.
    pub table: String,
    /// The table's number in the manifest; of a statement `null`.
    pub number: Option<u32>,
    /// What was done.
    pub op: Op,
    /// The row as it was before, by column; `null` for an INSERT.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<Map<String, Json>>,
    /// The row as it was afterwards; `null` for a DELETE.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<Map<String, Json>>,
    /// Of a definition: its text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub statement: Option<String>,
}

/// What was done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// It came.
    Insert,
    /// It changed.
    Update,
    /// It went.
    Delete,
    /// A statement that defines something, or goes back to a savepoint. It cannot be undone row by row.
    Definition,
}

/// What a quarantine holds, and why it may be undone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Whose database this was.
    pub site: Site,
    /// The epoch that began without these rows.
    pub epoch: Epoch,
    /// Its primary.
    pub primary: Site,
    /// When it was written, milliseconds since 1970 UTC.
    pub exported_at_ms: u64,
    /// The first place in this database's log that the new primary had not applied.
    pub from: Position,
    /// The end of the log when it was read: the application had been locked out before.
    pub to: Position,
    /// Whether everything between them was read.
    pub complete: bool,
    /// Everything that stands against undoing it row by row. Empty: it can be undone.
    pub cannot_be_undone: Vec<String>,
    /// That none of it was acknowledged.
    pub proof: Proof,
    /// How much there is.
    pub counts: Counts,
    /// The tables, by the numbers that the lines name.
    pub tables: Vec<QuarantinedTable>,
    /// The files, in order.
    pub files: Vec<FileSum>,
}

/// How much a quarantine holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Transactions of the application.
    pub transactions: u64,
    /// Lines: changed rows and statements.
    pub lines: u64,
    /// Rows that came.
    pub inserts: u64,
    /// Rows that changed.
    pub updates: u64,
    /// Rows that went.
    pub deletes: u64,
    /// Statements.
    pub definitions: u64,
}

/// A table of which rows are in quarantine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuarantinedTable {
    /// The number that lines name.
    pub number: u32,
    /// What it looked like.
    #[serde(flatten)]
    pub table: Table,
    /// Its columns that the server computes by itself.
    pub computed: Vec<String>,
}

/// A file with its sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSum {
    /// `0001.jsonl`.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 in hex.
    pub sha256: String,
}

/// Whether an answer may have gone out that promised some of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledged {
    /// None can have.
    None,
    /// It cannot be excluded: the failover was a forced one, or the database went on alone.
    Possibly,
}

/// The proof, from what both databases' logs say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// What follows.
    pub acknowledged: Acknowledged,
    /// Why it follows, in words.
    pub because: String,
    /// What the new primary wrote at its promotion; `None` if it knows of no failover that ended this log.
    pub failover_record: Option<FailoverRecord>,
    /// Behind this, nothing was acknowledged in `sync`: the standby had applied so much and no more.
    pub last_acknowledged: Option<Position>,
    /// What this database's row said from there to the end, as its own log shows it.
    pub row_history: Vec<RowState>,
    /// The register as it stood when this database was compared.
    pub register: Option<Register>,
}

/// The row of `ghostlight.site` from one place of the log on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowState {
    /// From where on, `file:offset`; the first entry begins where the quarantine does.
    pub from: String,
    /// The row's epoch.
    pub epoch: Epoch,
    /// The row's primary.
    pub primary: Site,
    /// The row's mode.
    pub mode: Mode,
}

/// What became of a quarantined tail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was done.
    pub done: Done,
    /// Why, in words.
    pub why: String,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// Rows of the tail that were looked at once more after the undo, and were as before the tail.
    pub rows_verified: u64,
}

/// What was done with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// It was undone, and the database follows the new primary.
    Undone,
    /// It cannot be undone row by row; the database is compared with the new primary's and repaired.
    Resynchronised,
}

/// A line of `ghostlight quarantine list`, and the head of `show`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Its folder's name; what `show` and `export` are given.
    pub id: String,
    /// Whose database this was.
    pub site: Site,
    /// The epoch that began without these rows.
    pub epoch: Epoch,
    /// When it was written.
    pub exported_at_ms: u64,
    /// Whether answers may have promised some of it.
    pub acknowledged: Acknowledged,
    /// How much there is.
    pub counts: Counts,
    /// What became of it; `None`: nothing yet.
    pub outcome: Option<Outcome>,
}

/// `GET /v1/quarantine/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// Its folder's name.
    pub id: String,
    /// The manifest, as it was written.
    pub manifest: Manifest,
    /// What became of it; `None`: nothing yet.
    pub outcome: Option<Outcome>,
}

/// One complete quarantine.
#[derive(Clone, Debug)]
pub struct Quarantine {
    folder: PathBuf,
    manifest: Manifest,
}

/// The folder below the data folder of an agent.
pub fn folder(data: &Path) -> PathBuf {
    data.join("quarantine")
}

/// What a quarantine of `stream`'s tail for `epoch` is called. A second log that ends in the same epoch (a database
/// that was put back by hand) gets a name of its own.
pub fn name(data: &Path, epoch: Epoch, stream: &StreamId) -> String {
    let plain = epoch.to_string();
    match Quarantine::open(&folder(data).join(&plain)) {
        Ok(Some(other)) if other.manifest.from.stream != *stream => {
            let short: String = stream.0.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
            format!("{plain}-{short}")
        }
        _ => plain,
    }
}

/// Every quarantine below `data`, the newest epoch first. What cannot be read is left out and logged.
pub fn list(data: &Path) -> Result<Vec<Summary>, QuarantineError> {
    let folder = folder(data);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error(&folder)(e)),
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(io_error(&folder))?.path();
        match Quarantine::open(&path) {
            Ok(Some(quarantine)) => all.push(quarantine.summary()?),
            Ok(None) => {}
            Err(e) => tracing::warn!("{e}"),
        }
    }
    all.sort_by(|a, b| (b.epoch, &b.id).cmp(&(a.epoch, &a.id)));
    Ok(all)
}

/// The quarantine called `id`, which may come from anywhere; `None` if there is none.
pub fn find(data: &Path, id: &str) -> Result<Option<Quarantine>, QuarantineError> {
    let is_a_name = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !is_a_name {
        return Ok(None);
    }
    Quarantine::open(&folder(data).join(id))
}

impl Quarantine {
    /// The quarantine in `folder`; `None` if there is no complete one.
    pub fn open(folder: &Path) -> Result<Option<Quarantine>, QuarantineError> {
        let path = folder.join(MANIFEST);
        if folder.extension().is_some() {
            return Ok(None); // being written
        }
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(e) => return Err(io_error(&path)(e)),
        };
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|e| damaged(&path, e))?;
        if manifest.format != FORMAT {
            return Err(damaged(&path, format!("its format is {}, this is for {FORMAT}", manifest.format)));
        }
        Ok(Some(Quarantine { folder: folder.to_owned(), manifest }))
    }

    /// Its folder's name.
    pub fn id(&self) -> String {
        self.folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether every file is what its sum says.
    pub fn verify(&self) -> Result<(), QuarantineError> {
        for file in &self.manifest.files {
            let path = self.folder.join(&file.name);
            let (bytes, sha256) = read::sum(&path)?;
            if (bytes, &sha256) != (file.bytes, &file.sha256) {
                let why = format!(
                    "it has {bytes} bytes with the sum {sha256}, the manifest says {} and {}",
                    file.bytes, file.sha256
                );
                return Err(damaged(&path, why));
            }
        }
        Ok(())
    }

    /// Its lines, the last one first, from the one before `below` (a line's number) on.
    pub fn backwards(&self, below: u64) -> Result<Backwards, QuarantineError> {
        Backwards::open(&self.folder, &self.manifest.files, below)
    }

    /// Lines from `cursor` on (`None`: from the first one), at most `lines_max` and about `bytes_max`.
    pub fn page(
        &self,
        cursor: Option<&str>,
        lines_max: usize,
        bytes_max: usize,
    ) -> Result<Page, QuarantineError> {
        read::page(&self.folder, &self.manifest.files, cursor, lines_max, bytes_max)
    }

    /// What became of it.
    pub fn outcome(&self) -> Result<Option<Outcome>, QuarantineError> {
        let path = self.folder.join(OUTCOME);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| damaged(&path, e)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error(&path)(e)),
        }
    }

    /// Notes what became of it, durably.
    pub fn conclude(&self, outcome: &Outcome) -> Result<(), QuarantineError> {
        write::whole_file(&self.folder, OUTCOME, outcome)
    }

    /// A summary.
    pub fn summary(&self) -> Result<Summary, QuarantineError> {
        let m = &self.manifest;
        Ok(Summary {
            id: self.id(),
            site: m.site.clone(),
            epoch: m.epoch,
            exported_at_ms: m.exported_at_ms,
            acknowledged: m.proof.acknowledged,
            counts: m.counts,
            outcome: self.outcome()?,
        })
    }

    /// The table that a line names.
    pub fn table(&self, number: u32) -> Option<&Table> {
        self.manifest.tables.iter().find(|t| t.number == number).map(|t| &t.table)
    }
}

/// Lets what a folder lists reach the disk.
fn sync_folder(folder: &Path) -> Result<(), QuarantineError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(io_error(folder))
}
