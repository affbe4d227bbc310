//! Transactions that are too large for memory wait for their end in files of ours.
//!
//! One file a transaction, of frames: a length, then the steps as they travel on the link. The folder belongs to one
//! follower; what an earlier one left in it is of no use (the stream is asked for again from the slot) and is
//! removed at the start. The agent's account alone may read it.

use std::{
    fs,
    io::{self, BufReader, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::transaction::Change;

/// A frame holds about this many bytes of steps, so that reading one does not take much memory.
const FRAME_COST_MAX: usize = 4 * 1024 * 1024;

/// The folder of a follower's spooled transactions. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Spool {
    /// A folder of this value alone, in the follower's: a write of an earlier one that is still under way cannot
    /// reach it.
    folder: PathBuf,
}

/// The spool's folder cannot be used: the operator's to mend (space, rights).
#[derive(Debug, thiserror::Error)]
#[error(
    "the folder for large transactions, {folder}, cannot be used: {source}; make room or mend its rights"
)]
pub(super) struct SpoolError {
    folder: String,
    #[source]
    source: io::Error,
}

impl Spool {
    /// Empties the follower's folder and makes one of our own in it.
    pub(super) fn open(followers: &Path) -> Result<Spool, SpoolError> {
        let spool = Spool { folder: followers.join(format!("{:016x}", rand::random::<u64>())) };
        clear(followers).map_err(|e| spool.failed(e))?;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&spool.folder);
        made.map_err(|e| spool.failed(e))?;
        Ok(spool)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("transaction-{number}"))
    }

    fn failed(&self, source: io::Error) -> SpoolError {
        SpoolError { folder: self.folder.display().to_string(), source }
    }

    /// Keeps steps behind those that were kept under the same number before.
    pub(super) fn append(&self, number: u64, changes: &[Change]) -> Result<(), SpoolError> {
        let write = || {
            let mut file =
                fs::OpenOptions::new().create(true).append(true).mode(0o600).open(self.path(number))?;
            let mut rest = changes;
            while !rest.is_empty() {
                let mut cost = 0;
                let fits = |c: &&Change| {
                    let first = cost == 0;
                    cost += c.cost();
                    first || cost <= FRAME_COST_MAX
                };
                let (frame, behind) = rest.split_at(rest.iter().take_while(fits).count());
                let bytes = postcard::to_stdvec(frame).map_err(io::Error::other)?;
                file.write_all(&(bytes.len() as u64).to_le_bytes())?;
                file.write_all(&bytes)?;
                rest = behind;
            }
            Ok(())
        };
        write().map_err(|e| self.failed(e))
    }

    /// Reads what was kept under a number, from the beginning.
    pub(super) fn read(&self, number: u64) -> Result<Spooled, SpoolError> {
        let file = fs::File::open(self.path(number)).map_err(|e| self.failed(e))?;
        Ok(Spooled { file: BufReader::new(file), folder: self.folder.display().to_string() })
    }

    /// Removes what was kept under a number.
    pub(super) fn forget(&self, number: u64) -> Result<(), SpoolError> {
        fs::remove_file(self.path(number)).map_err(|e| self.failed(e))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(e) = clear(&self.folder) {
            tracing::warn!("{} is left behind: {e}", self.folder.display());
        }
        // The follower's folder stays if a newer value already uses it.
        if let Some(followers) = self.folder.parent() {
            drop(fs::remove_dir(followers));
        }
    }
}

fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// A transaction being read back.
#[derive(Debug)]
pub(super) struct Spooled {
    file: BufReader<fs::File>,
    folder: String,
}

impl Spooled {
    /// The next steps; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<Vec<Change>>, SpoolError> {
        let mut read = || {
            let mut length = [0; 8];
            match self.file.read_exact(&mut length) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                other => other?,
            }
            let mut bytes = Vec::new();
            let length = u64::from_le_bytes(length);
            if (&mut self.file).take(length).read_to_end(&mut bytes)? as u64 != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            postcard::from_bytes(&bytes).map(Some).map_err(io::Error::other)
        };
        read().map_err(|source| SpoolError { folder: self.folder.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_back_and_nothing_is_left() {
        let folder = std::env::temp_dir().join(format!("ghostlight-spool-test-{}", std::process::id()));
        let change = |n: usize| Change::Savepoint(format!("{n}{}", "x".repeat(FRAME_COST_MAX / 2)));
        let spool = Spool::open(&folder).unwrap();
        spool.append(1, &[change(1), change(2), change(3)]).unwrap();
        spool.append(1, &[change(4)]).unwrap();
        let mut reading = spool.read(1).unwrap();
        let mut all = Vec::new();
        while let Some(changes) = reading.next().unwrap() {
            all.extend(changes);
        }
        assert_eq!(all, [change(1), change(2), change(3), change(4)]);
        spool.forget(1).unwrap();
        assert!(spool.read(1).is_err());
        spool.append(2, &[change(5)]).unwrap();
        drop(spool);
        assert!(!folder.exists());
    }
}
