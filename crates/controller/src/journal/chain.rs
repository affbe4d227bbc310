//! The journal's file: lines that are chained by their hashes.
//!
//! Each line is a JSON object that begins with its number `n` and the hash of the line before (`before`), and ends with
//! its own `hash`: SHA-256, in hex, of everything in the line in front of `,"hash":`. So a line that was changed does
//! not fit its own hash; if that was mended too, the next line does not fit; and a line that was taken out leaves a
//! number that is missing. What a chain cannot show is that its end was cut off; whoever fears that keeps the last
//! hash somewhere else.
//!
//! A process that dies while it writes leaves a torn last line. It is found when the file is opened again, put aside
//! into `….torn`, and the chain goes on behind the last whole line.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// In front of the first line.
pub const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const OWN_HASH: &str = ",\"hash\":\"";
const END: &str = "\"}";

/// What is wrong with a journal's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The line in the file, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub what: String,
}

/// What a check of a journal's file found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Whole lines in the file.
    pub lines: u64,
    /// The last line's hash, to be kept elsewhere by whoever fears that the end may be cut off.
    pub last_hash: Option<String>,
    /// Lines that do not fit, in order.
    pub broken: Vec<Broken>,
}

/// Checks every line of `text` against its own hash and the line before.
pub fn verify(text: &str) -> Verified {
    let mut verified = Verified::default();
    let mut before: Option<Link> = None;
    let torn = !text.is_empty() && !text.ends_with('\n');
    let count = text.lines().count();
    for (at, line) in text.lines().enumerate() {
        let number = at as u64 + 1;
        let mut wrong = |what: String| verified.broken.push(Broken { line: number, what });
        if torn && at + 1 == count {
            wrong("it is torn: its writer ended in the middle of it".into());
            break;
        }
        verified.lines += 1;
        let link = match Link::of(line) {
            Ok(link) => link,
            Err(what) => {
                wrong(what);
                before = None;
                continue;
            }
        };
        let expected = match &before {
            Some(before) => Some((before.n + 1, before.hash.as_str())),
            None if at == 0 => Some((1, BEGINNING)),
            None => None, // behind a line that says nothing there is nothing to compare with
        };
        if let Some((n, hash)) = expected {
            if link.n != n {
                wrong(format!("its number is {}, {n} was to come: lines are missing or doubled", link.n));
            } else if link.before != hash {
                wrong("it does not fit the line before it: one of the two was changed".into());
            }
        }
        verified.last_hash = Some(link.hash.clone());
        before = Some(link);
    }
    verified
}

/// What a line says of its place in the chain.
struct Link {
    n: u64,
    before: String,
    hash: String,
}

impl Link {
    fn of(line: &str) -> Result<Link, String> {
        #[derive(serde::Deserialize)]
        struct Head {
            n: u64,
            before: String,
        }
        let head: Head =
            serde_json::from_str(line).map_err(|e| format!("it is no line of a journal: {e}"))?;
        let (body, hash) = line
            .rsplit_once(OWN_HASH)
            .and_then(|(body, end)| Some((body, end.strip_suffix(END)?)))
            .ok_or("it does not end with its hash")?;
        if digest(body) != hash {
            return Err("it was changed: its hash does not fit".into());
        }
        Ok(Link { n: head.n, before: head.before, hash: hash.to_owned() })
    }
}

fn digest(body: &str) -> String {
    Sha256::digest(body.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

/// A journal's file, open for appending.
#[derive(Debug)]
pub struct Chain {
    file: File,
    path: PathBuf,
    n: u64,
    before: String,
}

impl Chain {
    /// Opens the file, or begins it; a torn last line is put aside.
    ///
    /// # Errors
    /// When the folder or the file cannot be read or written.
    pub fn open(path: &Path) -> io::Result<Chain> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if let Some(torn) = bytes.get(whole..).filter(|torn| !torn.is_empty()) {
            let aside = path.with_extension("torn");
            let mut kept = OpenOptions::new().create(true).append(true).open(&aside)?;
            kept.write_all(torn)?;
            kept.write_all(b"\n")?;
            kept.sync_all()?;
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
            tracing::warn!(aside = %aside.display(), "the journal's last line was torn and is put aside");
        }
        let text = String::from_utf8_lossy(bytes.get(..whole).unwrap_or_default());
        // A last line that says nothing of its place is left as it is, for `--verify` to name; the count goes on.
        let (n, before) = match text.lines().last().map(Link::of) {
            None => (0, BEGINNING.to_owned()),
            Some(Ok(last)) => (last.n, last.hash),
            Some(Err(_)) => (text.lines().count() as u64, BEGINNING.to_owned()),
        };
        Ok(Chain { file, path: path.to_owned(), n, before })
    }

    /// Appends an entry, which must be a JSON object.
    ///
    /// # Errors
    /// When it cannot be written; the chain then goes on as if it had never been tried.
    pub fn append(&mut self, entry: &impl Serialize) -> io::Result<()> {
        let entry = serde_json::to_string(entry)?;
        let inner = entry.strip_prefix('{').ok_or(io::ErrorKind::InvalidInput)?;
        let inner = inner.strip_suffix('}').ok_or(io::ErrorKind::InvalidInput)?;
        let body = format!("{{\"n\":{},\"before\":\"{}\",{inner}", self.n + 1, self.before);
        let hash = digest(&body);
        let length = self.file.seek(SeekFrom::End(0))?;
        if let Err(e) = self.file.write_all(format!("{body}{OWN_HASH}{hash}{END}\n").as_bytes()) {
            // Half a line in the middle would be a broken chain for ever.
            self.file.set_len(length)?;
            return Err(e);
        }
        (self.n, self.before) = (self.n + 1, hash);
        Ok(())
    }

    /// Makes what was appended durable.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let folder =
                std::env::temp_dir().join(format!("ghostlight-journal-{:016x}", rand::random::<u64>()));
            Folder(folder)
        }
        fn file(&self) -> PathBuf {
            self.0.join("witness.jsonl")
        }
        fn write(&self, from: u64, to: u64) {
            let mut chain = Chain::open(&self.file()).unwrap();
            for i in from..=to {
                chain
                    .append(&json!({ "what": "judged", "words": format!("say \"hash\":\"{i}\"}}") }))
                    .unwrap();
            }
            chain.sync().unwrap();
        }
        fn text(&self) -> String {
            fs::read_to_string(self.file()).unwrap()
        }
        /// Changes the file and expects these lines to be named.
        fn check(&self, change: impl Fn(&mut Vec<String>), broken: &[u64]) {
            let mut lines: Vec<String> = self.text().lines().map(str::to_owned).collect();
            change(&mut lines);
            let found = verify(&(lines.join("\n") + "\n"));
            let named: Vec<u64> = found.broken.iter().map(|b| b.line).collect();
            assert_eq!(named, broken, "{found:?}");
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn a_chain_goes_on_over_restarts_and_every_change_of_it_is_named() {
        let folder = Folder::new();
        folder.write(1, 3);
        folder.write(4, 6);
        let whole = verify(&folder.text());
        assert_eq!((whole.lines, whole.broken.len()), (6, 0), "{whole:?}");
        folder.check(|lines| lines[2] = lines[2].replace("judged", "dreamt"), &[3]);
        folder.check(|lines| drop(lines.remove(2)), &[3]);
        folder.check(|lines| lines.swap(1, 2), &[2, 3, 4]);
        folder.check(|lines| lines.insert(2, "{}".into()), &[3]);
        // Whoever mends the hash as well is found by the next line.
        let forge = |lines: &mut Vec<String>| {
            let (body, _) = lines[3].rsplit_once(OWN_HASH).unwrap();
            let body = body.replace("judged", "dreamt");
            lines[3] = format!("{body}{OWN_HASH}{}{END}", digest(&body));
        };
        folder.check(forge, &[5]);
    }

    #[test]
    fn a_torn_last_line_is_found_and_put_aside_wherever_it_was_torn() {
        for length in [1, 20, 120] {
            let folder = Folder::new();
            folder.write(1, 3);
            let text = folder.text();
            let third = text.trim_end().rfind('\n').unwrap() + 1;
            fs::write(folder.file(), &text[..third + length]).unwrap();
            assert_eq!(verify(&folder.text()).broken.iter().map(|b| b.line).collect::<Vec<_>>(), [3]);
            folder.write(3, 4);
            let whole = verify(&folder.text());
            assert_eq!((whole.lines, whole.broken.len()), (4, 0), "torn after {length}: {whole:?}");
            let aside = fs::read_to_string(folder.file().with_extension("torn")).unwrap();
            assert_eq!(aside.trim_end(), text[third..third + length].trim_end());
        }
    }
}
