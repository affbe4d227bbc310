//! The register in a file, for an installation whose witness is one process.
//!
//! Two copies stand side by side, `register.json` and `register.copy.json`, each with a checksum. A change is
//! written to the copy first, then to the file itself, each time as a whole new file that is synced and renamed
//! into place; only then is it acknowledged. So at every moment
//!
//! - each of the two holds a complete record, whatever was interrupted;
//! - **each of the two is at least as new as the last acknowledged change**, so either one alone may be garbled
//!   by a bad disk and nothing that anybody was told is lost;
//! - the copy is at most one version ahead: a change that was interrupted before anybody was told. At the start
//!   the newer one wins and the other is written again, so such a change takes effect late, or never.
//!
//! Where this does not hold (both garbled, more than one version apart, two records of one version), the driver
//! does not guess: it refuses to start and says what to compare. The folder is locked: a second process is
//! refused with the first one's name.
//!
//! What it costs: two synced writes a change. Changes are rare (a mode change, a failover).
//!
//! The operators' orders stand in a third file, `register.orders.json`, replaced as a whole with its checksum. If it
//! cannot be read at the start, nobody knows what was ordered: the register begins with everything stopped, and says so.
//!
//! Leases live in memory only. After a start nobody is granted one until the longest that may have been promised
//! before has passed.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::{
    Register as Record,
    register::{
        CasReply, CasRequest, Halt, Lease, LeaseReply, LeaseRequest, Orders, OrdersReply, OrdersRequest,
    },
};
use runtime::{
    clock::{Boot, Wall},
    durable,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::register::{Register, RegisterError, judge};

/// The register's file, opened by this process alone.
#[derive(Debug)]
pub struct RegisterFile {
    /// One change at a time; held while the disk works.
    store: Arc<Mutex<Store>>,
    /// The last durable record: read without waiting for the disk.
    current: Arc<Mutex<Record>>,
    leases: Mutex<Leases>,
    orders: Arc<Mutex<OrdersFile>>,
}

impl RegisterFile {
    /// Opens the register at `path`; where there is none yet, it begins with `first`.
    ///
    /// No lease is granted for `lease_pause` from now.
    ///
    /// # Errors
    /// [`RegisterError::Unusable`] when another process holds it or its content cannot be trusted,
    /// [`RegisterError::Storage`] when the folder cannot be written.
    pub fn open(path: &Path, first: Record, lease_pause: Duration) -> Result<RegisterFile, RegisterError> {
        let (store, record) = Store::open(path, first)?;
        let orders = OrdersFile::open(path.with_extension("orders.json"))?;
        Ok(RegisterFile {
            orders: Arc::new(Mutex::new(orders)),
            store: Arc::new(Mutex::new(store)),
            current: Arc::new(Mutex::new(record)),
            leases: Mutex::new(Leases::new(Boot::now().as_ms(), lease_pause)),
        })
    }
}

impl Register for RegisterFile {
    async fn read(&self) -> Result<Record, RegisterError> {
        Ok(hold(&self.current).clone())
    }

    async fn cas(&self, request: CasRequest) -> Result<CasReply, RegisterError> {
        let (store, current) = (self.store.clone(), self.current.clone());
        let change = move || {
            // The store's lock orders the changes; the record's own lock is never held over the disk.
            let store = hold(&store);
            let standing = hold(&current).clone();
            let reply = judge(&standing, request)?;
            if let CasReply::Swapped(record) = &reply
                && *record != standing
            {
                store.write(record)?;
                *hold(&current) = record.clone();
            }
            Ok(reply)
        };
        match tokio::task::spawn_blocking(change).await {
            Ok(reply) => reply,
            Err(e) => Err(RegisterError::Unreachable(format!("its worker ended early: {e}"))),
        }
    }

    async fn lease(&self, request: LeaseRequest) -> Result<LeaseReply, RegisterError> {
        Ok(hold(&self.leases).ask(Boot::now().as_ms(), request))
    }

    async fn orders(&self) -> Result<Orders, RegisterError> {
        Ok(hold(&self.orders).current.clone())
    }

    async fn set_orders(&self, request: OrdersRequest) -> Result<OrdersReply, RegisterError> {
        let orders = self.orders.clone();
        let change = move || hold(&orders).change(request);
        match tokio::task::spawn_blocking(change).await {
            Ok(reply) => reply,
            Err(e) => Err(RegisterError::Unreachable(format!("its worker ended early: {e}"))),
        }
    }
}

/// A poisoned lock only means that a thread ended while it held it; every value behind ours is whole at all times.
fn hold<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

// === The file ===

#[derive(Debug)]
struct Store {
    file: PathBuf,
    copy: PathBuf,
    /// Dropped with the process: the lock is the kernel's, nothing has to be cleaned up after a crash.
    _lock: File,
}

/// What stands in each of the two files.
#[derive(Serialize, Deserialize)]
struct Stored {
    record: Record,
    /// SHA-256 of the record's JSON, in hex.
    sha256: String,
}

/// One of the two files, as found at the start.
enum Found {
    Absent,
    Whole(Record),
    Garbled(String),
}

impl Store {
    fn open(path: &Path, first: Record) -> Result<(Store, Record), RegisterError> {
        let parent = match path.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(parent).map_err(|e| storage("create the folder", parent, e))?;
        let store =
            Store { file: path.to_owned(), copy: path.with_extension("copy.json"), _lock: lock(path)? };
        let record = store.recover()?;
        let record = match record {
            Some((record, both_agree)) => {
                if !both_agree {
                    tracing::warn!(
                        file = %store.file.display(), version = record.version,
                        "the register's two copies differed; the newer one stands, the other is written again"
                    );
                    store.write(&record)?;
                }
                record
            }
            None => {
                store.write(&first)?;
                first
            }
        };
        Ok((store, record))
    }

    /// The newest record that is there, and whether both copies hold it. `None`: a new installation.
    fn recover(&self) -> Result<Option<(Record, bool)>, RegisterError> {
        let unusable = |what: String| RegisterError::Unusable {
            place: self.file.display().to_string(),
            what,
            fix: format!(
                "stop all controllers, compare both files ({} and {}) with the epoch in each database's \
                 ghostlight.site row, and put the record that is not behind any of them in both places",
                self.file.display(),
                self.copy.display()
            ),
        };
        match (look(&self.file)?, look(&self.copy)?) {
            (Found::Absent, Found::Absent) => Ok(None),
            (Found::Whole(a), Found::Whole(b)) => match newest(&a, &b) {
                Some(newest) => Ok(Some((newest.clone(), a == b))),
                None => Err(unusable(format!(
                    "it holds version {} and its copy version {}, which no interruption explains",
                    a.version, b.version
                ))),
            },
            (Found::Whole(one), Found::Absent | Found::Garbled(_))
            | (Found::Absent | Found::Garbled(_), Found::Whole(one)) => Ok(Some((one, false))),
            (Found::Garbled(why), _) | (_, Found::Garbled(why)) => {
                Err(unusable(format!("neither it nor its copy holds a whole record ({why})")))
            }
        }
    }

    fn write(&self, record: &Record) -> Result<(), RegisterError> {
        for target in [&self.copy, &self.file] {
            encode(record)
                .and_then(|content| durable::replace(target, &content))
                .map_err(|e| storage("write", target, e))?;
        }
        Ok(())
    }
}

/// Which of the two whole copies counts after a start. The copy is written first, so it may be one version ahead: the
/// change was interrupted between the two writes, nobody was told of it, and nobody was promised that it would not come.
pub fn newest<'r>(file: &'r Record, copy: &'r Record) -> Option<&'r Record> {
    (file == copy || copy.version == file.version + 1).then_some(copy)
}

fn storage(act: &str, path: &Path, source: std::io::Error) -> RegisterError {
    RegisterError::Storage { what: format!("{act} {}", path.display()), source }
}

fn encode(record: &Record) -> std::io::Result<Vec<u8>> {
    let stored = Stored { record: record.clone(), sha256: checksum(record)? };
    let mut bytes = serde_json::to_vec_pretty(&stored)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn checksum(record: &impl Serialize) -> std::io::Result<String> {
    Ok(Sha256::digest(serde_json::to_vec(record)?).iter().map(|b| format!("{b:02x}")).collect())
}

fn look(path: &Path) -> Result<Found, RegisterError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Found::Absent),
        Err(e) => return Err(storage("read", path, e)),
    };
    Ok(match serde_json::from_slice::<Stored>(&bytes) {
        Ok(stored) => match checksum(&stored.record) {
            Ok(sum) if sum == stored.sha256 => Found::Whole(stored.record),
            _ => Found::Garbled(format!("{}: the checksum does not fit", path.display())),
        },
        Err(e) => Found::Garbled(format!("{}: {e}", path.display())),
    })
}

/// Takes the folder's lock, or names who has it.
fn lock(path: &Path) -> Result<File, RegisterError> {
    use rustix::fs::{FlockOperation, flock};
    let lock_path = path.with_extension("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(|e| storage("open", &lock_path, e))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        let holder = match file.read_to_string(&mut holder) {
            Ok(_) if !holder.trim().is_empty() => format!("process {}", holder.trim()),
            _ => "another process".to_owned(),
        };
        return Err(RegisterError::Unusable {
            place: path.display().to_string(),
            what: format!("{holder} has it open"),
            fix: "only one witness may run; stop that process, or point register_file elsewhere".into(),
        });
    }
    let name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    // For people only: the kernel's lock is what counts, so a failure here is no reason to refuse.
    let noted = file.set_len(0).and_then(|()| writeln!(file, "{} {}", std::process::id(), name.trim()));
    if let Err(e) = noted {
        tracing::debug!("the register's lock file could not be signed: {e}");
    }
    Ok(file)
}

// === The orders ===

#[derive(Debug)]
struct OrdersFile {
    file: PathBuf,
    current: Orders,
}

#[derive(Serialize, Deserialize)]
struct StoredOrders {
    orders: Orders,
    /// SHA-256 of the orders' JSON, in hex.
    sha256: String,
}

impl OrdersFile {
    fn open(file: PathBuf) -> Result<OrdersFile, RegisterError> {
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(OrdersFile { file, current: Orders::default() });
            }
            Err(e) => return Err(storage("read", &file, e)),
        };
        let read = serde_json::from_slice::<StoredOrders>(&bytes)
            .ok()
            .filter(|stored| checksum(&stored.orders).is_ok_and(|sum| sum == stored.sha256));
        let current = match read {
            Some(stored) => stored.orders,
            None => {
                let why = format!(
                    "{} cannot be read, so nobody knows what was ordered; order anew what is to stand, then lift the stop",
                    file.display()
                );
                tracing::error!("everything is stopped: {why}");
                let stopped = Some(Halt { by: "the register".into(), why, at_ms: Wall::now().as_ms() });
                Orders { stopped, ..Orders::default() }
            }
        };
        Ok(OrdersFile { file, current })
    }

    fn change(&mut self, request: OrdersRequest) -> Result<OrdersReply, RegisterError> {
        let reply = self.current.changed_by(request).map_err(RegisterError::Refused)?;
        if let OrdersReply::Set(orders) = &reply
            && *orders != self.current
        {
            let write = || {
                let stored = StoredOrders { orders: orders.clone(), sha256: checksum(orders)? };
                durable::replace(&self.file, &serde_json::to_vec_pretty(&stored)?)
            };
            write().map_err(|e| storage("write", &self.file, e))?;
            self.current = orders.clone();
        }
        Ok(reply)
    }
}

// === The lease ===

/// Who leads, by the register's own clock. Sans-IO.
#[derive(Debug)]
pub struct Leases {
    holder: String,
    ends_ms: u64,
    /// Before this moment somebody may still hold a lease of which we know nothing.
    pause_ends_ms: u64,
}

impl Leases {
    /// After a start at `now_ms`: nobody is granted one within `pause`.
    pub fn new(now_ms: u64, pause: Duration) -> Leases {
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        Leases { holder: String::new(), ends_ms: 0, pause_ends_ms: now_ms.saturating_add(pause_ms) }
    }

    /// Answers one question.
    pub fn ask(&mut self, now_ms: u64, request: LeaseRequest) -> LeaseReply {
        let LeaseRequest { holder, ttl_ms } = request;
        let held = self.ends_ms > now_ms;
        if ttl_ms == 0 {
            if held && self.holder == holder {
                self.ends_ms = now_ms;
            }
        } else if now_ms >= self.pause_ends_ms && (!held || self.holder == holder) {
            self.holder.clone_from(&holder);
            self.ends_ms = now_ms.saturating_add(ttl_ms);
        }
        let remaining_ms = self.ends_ms.saturating_sub(now_ms);
        let lease = Lease {
            holder: if remaining_ms > 0 { self.holder.clone() } else { String::new() },
            remaining_ms,
        };
        LeaseReply { granted: remaining_ms > 0 && lease.holder == holder, lease }
    }
}

#[cfg(test)]
mod tests;
