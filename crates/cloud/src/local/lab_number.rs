//! Numbers of the labs on this machine. A lab with number K owns the loopback networks `127.10.K.0/24`,
//! `127.20.K.0/24` and `127.30.K.0/24`.
//!
//! A number is held by a lock on a file in `/var/tmp/ghostlight-labs`; the kernel frees it when the process
//! ends, however it ends. So labs of parallel tests and drills never meet.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

const FOLDER: &str = "/var/tmp/ghostlight-labs";

/// The number of `ghostlight up`'s lab; never handed out by [`claim`].
pub const UP: u8 = 0;
/// The highest number that [`claim`] hands out.
const LAST: u8 = 250;

/// A lab's number, ours until this is dropped.
#[derive(Debug)]
pub struct LabNumber {
    number: u8,
    _lock: File,
}

/// No number can be had.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// All of them are taken.
    #[error("all {LAST} lab numbers of this machine are taken; end a lab or a test run first")]
    AllTaken,
    /// This one is taken.
    #[error("lab {number} is already running, as process {pid}; end it first")]
    Taken {
        /// Which.
        number: u8,
        /// Whose process has it, as far as the lock file tells.
        pid: String,
    },
    /// The folder of the locks cannot be used.
    #[error("{FOLDER} cannot be used for the locks of labs: {0}")]
    Folder(#[from] std::io::Error),
}

impl LabNumber {
    /// The number.
    pub fn get(&self) -> u8 {
        self.number
    }
}

/// Claims any free number from 1 to 250.
pub fn claim() -> Result<LabNumber, ClaimError> {
    make_folder()?;
    // Starting at different places keeps parallel test processes from trying the same locks.
    let first = std::process::id() % u32::from(LAST);
    for i in 0..u32::from(LAST) {
        let Ok(number) = u8::try_from((first + i) % u32::from(LAST) + 1) else { continue };
        match lock(number) {
            Ok(lock) => return Ok(LabNumber { number, _lock: lock }),
            Err(_) => continue,
        }
    }
    Err(ClaimError::AllTaken)
}

/// Claims exactly `number`.
pub fn claim_exactly(number: u8) -> Result<LabNumber, ClaimError> {
    make_folder()?;
    match lock(number) {
        Ok(lock) => Ok(LabNumber { number, _lock: lock }),
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
            let mut pid = String::new();
            let read = File::open(path(number)).and_then(|mut f| f.read_to_string(&mut pid));
            let known = read.is_ok() && !pid.trim().is_empty();
            Err(ClaimError::Taken { number, pid: if known { pid.trim().into() } else { "(unknown)".into() } })
        }
        Err(e) => Err(e.into()),
    }
}

fn make_folder() -> std::io::Result<()> {
    if !Path::new(FOLDER).is_dir() {
        fs::create_dir_all(FOLDER)?;
        // Like /tmp: labs of several users share it.
        fs::set_permissions(FOLDER, fs::Permissions::from_mode(0o1777))?;
    }
    Ok(())
}

fn path(number: u8) -> PathBuf {
    Path::new(FOLDER).join(format!("{number}.lock"))
}

fn lock(number: u8) -> std::io::Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path(number))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_ours_until_it_is_dropped_and_the_holder_is_named() {
        let first = claim().unwrap();
        let second = claim().unwrap();
        assert_ne!(first.get(), second.get());
        let e = claim_exactly(first.get()).unwrap_err().to_string();
        assert!(e.contains(&format!("process {}", std::process::id())), "{e}");
        let number = first.get();
        drop(first);
        assert_eq!(claim_exactly(number).unwrap().get(), number);
    }
}
