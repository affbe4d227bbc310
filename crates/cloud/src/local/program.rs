//! Where the servers' programs are.

use std::{env, path::PathBuf};

/// Where a program is. Debian keeps servers in `/usr/sbin`, which is not in every user's `PATH`.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|p| p.is_file())
}
