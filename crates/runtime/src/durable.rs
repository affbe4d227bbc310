//! Replacing a small file so that a crash at any moment leaves either the old content or the new one, whole.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Replaces `path` by `content`. When this returns, the new content survives a loss of power.
///
/// The order is the whole point: write beside it, sync, rename over it, sync the folder. Missing folders are made.
/// One writer at a time: the neighbour's name is fixed, so that a crashed attempt is overwritten by the next.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let beside = folder.join(name);
    let mut file = File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crashed_attempt_left_beside_it_changes_nothing() {
        let folder = std::env::temp_dir().join(format!("ghostlight-durable-{}", std::process::id()));
        let path = folder.join("deep/register.json");
        replace(&path, b"one").unwrap();
        fs::write(folder.join("deep/register.json.new"), b"tw").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        fs::remove_dir_all(folder).unwrap();
    }
}
