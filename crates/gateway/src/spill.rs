//! Held answers: small ones stay in memory, large ones go to a file that has no name.
//!
//! The file is created with `O_TMPFILE` where the folder's file system has it, else unlinked at once, so that no
//! end of this process leaves it behind.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use tokio::task::{JoinHandle, spawn_blocking};

/// Read back so many bytes at a time.
const CHUNK_BYTES: u64 = 64 << 10;

/// When an answer is large, and how large one may be.
#[derive(Clone, Debug)]
pub struct SpillLimits {
    /// Larger answers go to a file.
    pub memory_bytes_max: usize,
    /// Larger answers are given up: their visitor is told `unknown`.
    pub file_bytes_max: u64,
    /// Where the files are made.
    pub folder: PathBuf,
}

impl Default for SpillLimits {
    fn default() -> Self {
        SpillLimits { memory_bytes_max: 256 << 10, file_bytes_max: 1 << 30, folder: std::env::temp_dir() }
    }
}

/// A held answer while it comes in.
pub(crate) struct Buffer {
    limits: SpillLimits,
    memory: BytesMut,
    file: Option<File>,
    bytes: u64,
}

/// A held answer that is complete.
pub(crate) enum Held {
    /// In memory.
    Whole(Bytes),
    /// In a file.
    Spilled(Reader),
}

impl Buffer {
    pub(crate) fn new(limits: SpillLimits) -> Buffer {
        Buffer { limits, memory: BytesMut::new(), file: None, bytes: 0 }
    }

    /// Adds a piece. Fails if the answer is too large or the disk does not take it.
    pub(crate) async fn push(&mut self, piece: Bytes) -> io::Result<()> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.limits.file_bytes_max {
            return Err(io::Error::other("the answer is larger than can be held"));
        }
        self.memory.extend_from_slice(&piece);
        if self.memory.len() > self.limits.memory_bytes_max {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes what is in memory behind what is in the file. Without blocking this thread's other requests.
    async fn flush(&mut self) -> io::Result<()> {
        let (memory, file, folder) =
            (self.memory.split().freeze(), self.file.take(), self.limits.folder.clone());
        let written = spawn_blocking(move || {
            let mut file = file.map_or_else(|| nameless(&folder), Ok)?;
            file.write_all(&memory).map(|()| file)
        });
        self.file = Some(written.await.map_err(io::Error::other)??);
        Ok(())
    }

    /// The whole answer.
    pub(crate) async fn finish(mut self) -> io::Result<Held> {
        if self.file.is_none() {
            return Ok(Held::Whole(self.memory.freeze()));
        }
        self.flush().await?;
        let Some(mut file) = self.file else { return Ok(Held::Whole(Bytes::new())) };
        file.seek(SeekFrom::Start(0))?;
        Ok(Held::Spilled(Reader { state: State::Idle(Some(file)), left: self.bytes }))
    }
}

fn nameless(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let tmpfile = rustix::fs::OFlags::TMPFILE.bits();
    if let Ok(flags) = i32::try_from(tmpfile)
        && let Ok(file) = options.clone().custom_flags(flags).open(folder)
    {
        return Ok(file);
    }
    let path = folder.join(format!("ghostlight-held-{:016x}", rand::random::<u64>()));
    let file = options.create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// Reads a spilled answer back, piece by piece, on the blocking pool.
pub(crate) struct Reader {
    state: State,
    left: u64,
}

enum State {
    Idle(Option<File>),
    Reading(JoinHandle<io::Result<(File, Bytes)>>),
}

impl Reader {
    pub(crate) fn left_bytes(&self) -> u64 {
        self.left
    }

    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match &mut self.state {
                State::Idle(_) if self.left == 0 => return Poll::Ready(None),
                State::Idle(file) => {
                    let Some(mut file) = file.take() else {
                        return Poll::Ready(Some(Err(io::Error::other("the held answer is gone"))));
                    };
                    let want = usize::try_from(self.left.min(CHUNK_BYTES)).unwrap_or(1);
                    self.state = State::Reading(spawn_blocking(move || {
                        let mut piece = vec![0; want];
                        file.read_exact(&mut piece).map(|()| (file, piece.into()))
                    }));
                }
                State::Reading(task) => {
                    let done = ready!(Pin::new(task).poll(cx));
                    let (file, piece) = match done.map_err(io::Error::other).and_then(|r| r) {
                        Ok(read) => read,
                        Err(e) => {
                            (self.state, self.left) = (State::Idle(None), 0);
                            return Poll::Ready(Some(Err(e)));
                        }
                    };
                    self.left -= piece.len() as u64;
                    self.state = State::Idle(Some(file));
                    return Poll::Ready(Some(Ok(piece)));
                }
            }
        }
    }
}
