use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{Error, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

use super::MariadbError;

/// Where databases for `folder` are kept: `folder` itself if the database's user can reach it, else
/// `/var/tmp/ghostlight-<hash of folder>`.
///
/// As root the server runs as user `mysql`, who cannot enter `/root` or another folder closed to others.
pub fn folder_for_databases(folder: &Path) -> Result<PathBuf, MariadbError> {
    fs::create_dir_all(folder).map_err(MariadbError::io(folder.display().to_string()))?;
    let folder = folder.canonicalize().map_err(MariadbError::io(folder.display().to_string()))?;
    if !geteuid().is_root() || others_may_enter(&folder) {
        return Ok(folder);
    }
    let mut hasher = DefaultHasher::new();
    folder.hash(&mut hasher);
    let place = PathBuf::from(format!("/var/tmp/ghostlight-{:016x}", hasher.finish()));
    own(&place).map_err(MariadbError::io(place.display().to_string()))?;
    Ok(place)
}

fn others_may_enter(folder: &Path) -> bool {
    folder.ancestors().all(|a| fs::metadata(a).is_ok_and(|m| m.permissions().mode() & 0o001 != 0))
}

/// Makes `place` ours. `/var/tmp` is everybody's: a folder that somebody else put there is refused.
pub(super) fn own(place: &Path) -> std::io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(place) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    let found = fs::symlink_metadata(place)?;
    if found.is_dir() && found.uid() == geteuid().as_raw() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::PermissionDenied, "is there already and belongs to another user; remove it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_is_replaced_for_root_only() {
        let closed = std::env::temp_dir().join(format!("ghostlight-closed-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&closed).unwrap();
        let inside = closed.join("lab");
        let place = folder_for_databases(&inside).unwrap();
        if geteuid().is_root() {
            assert!(place.starts_with("/var/tmp"), "{}", place.display());
            assert_eq!(place, folder_for_databases(&inside).unwrap(), "the same folder, the same place");
            fs::remove_dir(&place).unwrap();
        } else {
            assert_eq!(place, inside.canonicalize().unwrap());
        }
        fs::remove_dir_all(&closed).unwrap();
    }
}
