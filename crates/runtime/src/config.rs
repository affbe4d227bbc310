//! Reading a TOML file so that every mistake is told with its file, its line and what to write instead.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

/// A file that was read and understood, with the means to point back into it.
#[derive(Debug)]
pub struct Loaded<T> {
    /// What it says.
    pub value: T,
    source: Source,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    text: String,
}

/// A mistake in a configuration file: the operator's to mend; retrying changes nothing.
#[derive(Debug)]
pub struct ConfigError {
    path: PathBuf,
    line: Option<usize>,
    what: String,
    fix: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path.display(), self.what)?,
            None => write!(f, "{}: {}", self.path.display(), self.what)?,
        }
        match &self.fix {
            Some(fix) => write!(f, "; {fix}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Reads `path` as TOML. Unknown keys are errors when `T` denies them.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<Loaded<T>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|e| ConfigError {
        path: path.to_owned(),
        line: None,
        what: format!("cannot be read: {e}"),
        fix: Some("name the topology file with --config FILE".into()),
    })?;
    parse(path, text)
}

/// Reads `text` as if it stood in `path`.
pub fn parse<T: DeserializeOwned>(path: &Path, text: String) -> Result<Loaded<T>, ConfigError> {
    let source = Source { path: path.to_owned(), text };
    match toml::from_str(&source.text) {
        Ok(value) => Ok(Loaded { value, source }),
        Err(e) => {
            let line = e.span().map(|s| source.line_at(s.start));
            // Serde lists what it expected behind a comma; that list is the fix.
            let (what, fix) = match e.message().split_once(", expected ") {
                Some((what, expected)) => (what.to_owned(), Some(format!("write {expected}"))),
                None => (e.message().to_owned(), None),
            };
            Err(ConfigError { path: source.path, line, what, fix })
        }
    }
}

impl<T> Loaded<T> {
    /// An error that points at `key` (dotted, e.g. `sites.aws.gateway.listen`) or at its nearest parent that
    /// stands in the file.
    pub fn fault(&self, key: &str, what: impl Into<String>, fix: impl Into<String>) -> ConfigError {
        ConfigError {
            path: self.source.path.clone(),
            line: self.source.line_of(key),
            what: format!("`{key}`: {}", what.into()),
            fix: Some(fix.into()),
        }
    }

    /// The folder of the file, to which relative paths in it refer.
    pub fn folder(&self) -> &Path {
        self.source.path.parent().unwrap_or(Path::new("."))
    }
}

impl Source {
    fn line_at(&self, byte: usize) -> usize {
        self.text.bytes().take(byte).filter(|b| *b == b'\n').count() + 1
    }

    /// Entries of an array are named by their number, counted from 0: `rule.2.path`.
    fn line_of(&self, key: &str) -> Option<usize> {
        let root = DeTable::parse(&self.text).ok()?;
        let mut table = root.get_ref();
        let mut line = None;
        let mut parts = key.split('.');
        while let Some(part) = parts.next() {
            let Some((name, value)) = table.iter().find(|(k, _)| k.get_ref() == part) else { break };
            line = Some(self.line_at(name.span().start));
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                DeValue::Array(entries) => {
                    let entry =
                        parts.next().and_then(|n| n.parse::<usize>().ok()).and_then(|n| entries.get(n));
                    let Some(entry) = entry else { break };
                    line = Some(self.line_at(entry.span().start));
                    let DeValue::Table(inner) = entry.get_ref() else { break };
                    table = inner;
                }
                _ => break,
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Door {
        #[allow(dead_code, reason = "only its place in the file is tested")]
        port: u16,
    }
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct House {
        #[allow(dead_code, reason = "only its place in the file is tested")]
        door: Door,
    }

    fn read(text: &str) -> Result<Loaded<House>, ConfigError> {
        parse(Path::new("house.toml"), text.to_owned())
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_the_known_ones() {
        let e = read("[door]\nport = 1\nprot = 2\n").unwrap_err().to_string();
        assert!(e.starts_with("house.toml:3: unknown field `prot`"), "{e}");
        assert!(e.contains("`port`"), "{e}");
    }

    #[test]
    fn a_fault_points_at_its_key_or_its_nearest_parent() {
        let house = read("# c\n[door]\nport = 1\n").unwrap();
        assert!(
            house.fault("door.port", "taken", "choose another").to_string().starts_with("house.toml:3: ")
        );
        assert!(house.fault("door.lock", "absent", "add it").to_string().starts_with("house.toml:2: "));
    }

    #[test]
    fn a_fault_in_an_array_points_at_its_entry() {
        #[derive(Debug, serde::Deserialize)]
        struct Rooms {
            #[allow(dead_code, reason = "only its place in the file is tested")]
            room: Vec<Door>,
        }
        let text = "[[room]]\nport = 1\n\n[[room]]\n# c\nport = 2\n".to_owned();
        let rooms = parse::<Rooms>(Path::new("house.toml"), text).unwrap();
        for (key, line) in [("room.0.port", 2), ("room.1.port", 6), ("room.1.lock", 4), ("room.7.port", 1)] {
            let told = rooms.fault(key, "w", "f").to_string();
            assert!(told.starts_with(&format!("house.toml:{line}: ")), "{key}: {told}");
        }
    }
}
