//! A disk that is small enough to be filled: a tmpfs of limited size under a site's database.
//!
//! Mounting needs root. So that no mount outlives the lab, however the lab ends, the process first enters a mount
//! namespace of its own ([`enter_namespace`]): the kernel drops it with the last process in it.
//!
//! Always true here: only a folder of the lab is ever mounted upon, and only within the namespace.

use std::{
    env,
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use tokio::process::Command;

/// Says that this process is in a mount namespace of its own, to itself after it was executed anew.
const INSIDE: &str = "GHOSTLIGHT_MOUNT_NAMESPACE";
/// The size of the disk. A lab's database takes about a third of it; the rest is filled by a file.
const SIZE_MIB: u32 = 768;
/// The file that fills it.
const BALLAST: &str = "ballast";
/// The ballast grows by so much at a time, until not even a page is left.
const PAGE: [u8; 4096] = [0; 4096];

/// Whether this process can mount a small disk; if not, why.
pub fn possible_here() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("mounting a small disk needs root".to_owned());
    }
    let tried = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .args(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", "/mnt"])
        .stdin(Stdio::null())
        .output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!(
                "a small disk cannot be mounted here: {}",
                said.lines().next().unwrap_or("mount failed")
            ))
        }
        Err(e) => Err(format!("`unshare` (util-linux) cannot be run: {e}")),
    }
}

/// Executes this very program anew, with the same arguments, in a mount namespace of its own; does nothing when it is
/// in one already. Call it before any thread is started.
///
/// # Errors
/// When the program cannot be executed anew. On success it does not return: another image runs.
pub fn enter_namespace() -> Result<(), String> {
    if env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let program = env::current_exe().map_err(|e| format!("this program's own file: {e}"))?;
    let failed = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(program)
        .args(env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(format!("`unshare` (util-linux) cannot be run: {failed}"))
}

/// A mounted small disk.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts it on `folder`, which is made if it is not there.
    pub(crate) async fn mount(folder: &Path) -> Result<SmallDisk, String> {
        if env::var_os(INSIDE).is_none() {
            return Err("a small disk is mounted only in a mount namespace of the lab's own".to_owned());
        }
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let options = format!("size={SIZE_MIB}m,mode=755");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).stdin(Stdio::null());
        let output = command.output().await.map_err(|e| format!("mount cannot be run: {e}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{} cannot become a small disk: {}", folder.display(), said.trim()));
        }
        Ok(SmallDisk { folder: folder.to_owned() })
    }

    /// Takes every byte that is free, until not even a page is.
    pub(crate) async fn fill(&self) -> Result<(), String> {
        let path = self.folder.join(BALLAST);
        let filled = tokio::task::spawn_blocking(move || {
            let mut file = File::options().create(true).append(true).open(&path)?;
            let free = fstatvfs(&file)?;
            // Nearly all at once; what the database takes meanwhile is nobody's loss.
            let rest = (free.f_bavail * free.f_frsize).saturating_sub(1 << 20);
            if rest > 0 {
                fallocate(&file, FallocateFlags::empty(), 0, rest)?;
            }
            loop {
                match file.write_all(&PAGE) {
                    Ok(()) => {}
                    Err(e) if e.kind() == ErrorKind::StorageFull => return Ok(()),
                    Err(e) => return Err(e),
                }
            }
        });
        let filled: std::io::Result<()> = filled.await.map_err(|e| e.to_string())?;
        filled.map_err(|e| format!("filling the disk {}: {e}", self.folder.display()))
    }

    /// Gives them back.
    pub(crate) fn free(&self) -> Result<(), String> {
        let path = self.folder.join(BALLAST);
        fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Ends the mount. Whatever is left of it ends with the namespace.
    pub(crate) async fn unmount(&self) {
        let ended = Command::new("umount").arg("-l").arg(&self.folder).stdin(Stdio::null()).status().await;
        if !ended.as_ref().is_ok_and(std::process::ExitStatus::success) {
            tracing::warn!("{} is unmounted when this process ends: {ended:?}", self.folder.display());
        }
    }
}
