//! Reading a quarantine's lines: in pages for people, and from the end for the undo.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{FileSum, QuarantineError, RowLine, damaged, io_error};
use crate::apply::hex;

/// What is read at a time.
const BLOCK: usize = 64 * 1024;
/// No line is longer than a row can be as text: a row of 64 MiB in hex.
const LINE_BYTES_MAX: usize = 192 << 20;

/// `GET /v1/quarantine/{id}/rows`: some lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// In order.
    pub rows: Vec<RowLine>,
    /// Where the next page begins; `None` behind the last line.
    pub next: Option<String>,
}

/// The size and the sum of a file.
pub(super) fn sum(path: &Path) -> Result<(u64, String), QuarantineError> {
    let mut file = File::open(path).map_err(io_error(path))?;
    let (mut hasher, mut bytes, mut block) = (Sha256::new(), 0, vec![0; BLOCK]);
    loop {
        let read = file.read(&mut block).map_err(io_error(path))?;
        let Some(got) = block.get(..read).filter(|got| !got.is_empty()) else { break };
        hasher.update(got);
        bytes += got.len() as u64;
    }
    Ok((bytes, hex(&hasher.finalize())))
}

/// See [`super::Quarantine::page`]. A cursor is `<file's place>:<offset>`.
pub(super) fn page(
    folder: &Path,
    files: &[FileSum],
    cursor: Option<&str>,
    lines_max: usize,
    bytes_max: usize,
) -> Result<Page, QuarantineError> {
    let number = |text: &str| text.parse::<u64>().ok();
    let read = |cursor: &str| {
        let (place, offset) = cursor.split_once(':')?;
        Some((usize::try_from(number(place)?).ok()?, number(offset)?))
    };
    let (mut place, mut offset) = match cursor {
        None => (0, 0),
        Some(cursor) => read(cursor).ok_or_else(|| damaged(folder, format!("no cursor: {cursor}")))?,
    };
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(sum) = files.get(place) {
        let path = folder.join(&sum.name);
        let mut file = BufReader::new(File::open(&path).map_err(io_error(&path))?);
        file.seek(SeekFrom::Start(offset)).map_err(io_error(&path))?;
        let mut text = Vec::new();
        while rows.len() < lines_max.max(1) && bytes < bytes_max {
            text.clear();
            let got = file.read_until(b'\n', &mut text).map_err(io_error(&path))?;
            if got == 0 {
                if offset < sum.bytes {
                    return Err(damaged(&path, format!("it ends at {offset} and should at {}", sum.bytes)));
                }
                break;
            }
            rows.push(serde_json::from_slice(&text).map_err(|e| damaged(&path, e))?);
            (offset, bytes) = (offset + got as u64, bytes + got);
        }
        if offset < sum.bytes {
            return Ok(Page { rows, next: Some(format!("{place}:{offset}")) });
        }
        (place, offset) = (place + 1, 0);
        if rows.len() >= lines_max.max(1) || bytes >= bytes_max {
            break;
        }
    }
    let next = files.get(place).map(|_| format!("{place}:0"));
    Ok(Page { rows, next })
}

/// Lines from the last one on, backwards, one at a time.
#[derive(Debug)]
pub struct Backwards {
    /// Files that were not begun yet; the last is the next.
    files: Vec<PathBuf>,
    /// The present file, the place before which it was not read yet, and what was read behind that place.
    present: Option<(PathBuf, File, u64, Vec<u8>)>,
    below: u64,
}

impl Backwards {
    pub(super) fn open(folder: &Path, files: &[FileSum], below: u64) -> Result<Backwards, QuarantineError> {
        let files = files.iter().map(|f| folder.join(&f.name)).collect();
        Ok(Backwards { files, present: None, below })
    }

    /// The line before the last one that was returned.
    pub fn next_line(&mut self) -> Result<Option<RowLine>, QuarantineError> {
        loop {
            let Some((path, text)) = self.next_text()? else { return Ok(None) };
            let line: RowLine = serde_json::from_slice(&text).map_err(|e| damaged(&path, e))?;
            if line.line < self.below {
                if line.line + 1 != self.below {
                    let why = format!("line {} comes before line {}", line.line, self.below);
                    return Err(damaged(&path, why));
                }
                self.below = line.line;
                return Ok(Some(line));
            }
        }
    }

    fn next_text(&mut self) -> Result<Option<(PathBuf, Vec<u8>)>, QuarantineError> {
        loop {
            let Some((path, file, at, tail)) = &mut self.present else {
                let Some(path) = self.files.pop() else { return Ok(None) };
                let mut file = File::open(&path).map_err(io_error(&path))?;
                let end = file.seek(SeekFrom::End(0)).map_err(io_error(&path))?;
                self.present = Some((path, file, end, Vec::new()));
                continue;
            };
            // A line ends with its newline: the one before it ends the line before.
            let inner = tail.len().saturating_sub(1);
            if let Some(newline) = tail.get(..inner).and_then(|t| t.iter().rposition(|b| *b == b'\n')) {
                let text = tail.split_off(newline + 1);
                return Ok(Some((path.clone(), text)));
            }
            if *at == 0 {
                let (path, text) = (path.clone(), std::mem::take(tail));
                self.present = None;
                if text.is_empty() {
                    continue;
                }
                return Ok(Some((path, text)));
            }
            if tail.len() > LINE_BYTES_MAX {
                return Err(damaged(path, "a line has no end"));
            }
            // A long line is read in ever larger steps, so that it is not moved again for each small one.
            let step = u64::try_from(tail.len().max(BLOCK)).unwrap_or(u64::MAX).min(*at);
            let length = usize::try_from(step).map_err(|e| damaged(path, e))?;
            *at -= step;
            let mut block = vec![0; length];
            file.seek(SeekFrom::Start(*at)).map_err(io_error(path))?;
            file.read_exact(&mut block).map_err(io_error(path))?;
            block.append(tail);
            *tail = block;
        }
    }
}
