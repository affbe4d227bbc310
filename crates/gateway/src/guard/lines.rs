//! The web ACL's log: lines of all threads, appended to the file once a second or when many have come together.

use std::{
    fs::OpenOptions,
    io::Write,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// So many bytes of lines are written at once.
const WRITE_BYTES: usize = 64 << 10;
/// More than this is not kept while the disk is slow: an attack must not fill the memory.
const KEPT_BYTES: usize = 16 << 20;
/// Lines wait no longer than this.
const WRITE_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Lines {
    file: PathBuf,
    waiting: Mutex<Vec<u8>>,
    many: Notify,
    /// The last write failed, or lines were dropped: said once, not once a second.
    failing: AtomicBool,
}

impl Lines {
    pub(super) fn new(file: PathBuf) -> Lines {
        Lines { file, waiting: Mutex::default(), many: Notify::new(), failing: AtomicBool::new(false) }
    }

    pub(super) fn add(&self, line: &serde_json::Value) {
        let line = line.to_string();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() + line.len() > KEPT_BYTES {
            drop(waiting);
            self.fails("lines come faster than they are written");
            return;
        }
        waiting.extend_from_slice(line.as_bytes());
        waiting.push(b'\n');
        if waiting.len() >= WRITE_BYTES {
            self.many.notify_one();
        }
    }

    /// Writes what has come together, for as long as it is polled.
    pub(super) async fn keep_writing(&self) {
        loop {
            // Either is a reason to write.
            timeout(WRITE_EVERY, self.many.notified()).await.ok();
            self.write();
        }
    }

    /// Appends what has come together. The file is opened anew, so it may be moved away at any time.
    pub(super) fn write(&self) {
        let lines = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if lines.is_empty() {
            return;
        }
        let append = || OpenOptions::new().append(true).create(true).open(&self.file)?.write_all(&lines);
        match append() {
            Ok(()) => self.failing.store(false, Relaxed),
            Err(e) => self.fails(&e.to_string()),
        }
    }

    fn fails(&self, why: &str) {
        if !self.failing.swap(true, Relaxed) {
            tracing::warn!(file = %self.file.display(), "the web ACL's log loses lines: {why}");
        }
    }
}
