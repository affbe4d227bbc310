//! Writing a quarantine: under a name that nobody takes for a complete one, and renamed when all of it is on the disk.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    Counts, FileSum, MANIFEST, Manifest, Op, Quarantine, QuarantineError, QuarantinedTable, RowLine, folder,
    io_error, sync_folder,
};
use crate::{apply::hex, transaction::Table};

/// A file is closed at this size.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A quarantine being written.
#[derive(Debug)]
pub struct Writer {
    /// `<epoch>.part`.
    part: PathBuf,
    whole: PathBuf,
    open: Option<Open>,
    files: Vec<FileSum>,
    tables: Vec<QuarantinedTable>,
    numbers: HashMap<Table, u32>,
    counts: Counts,
    file_bytes_max: u64,
}

#[derive(Debug)]
struct Open {
    file: BufWriter<File>,
    path: PathBuf,
    name: String,
    bytes: u64,
    sha256: Sha256,
}

impl Writer {
    /// Begins the quarantine `name` below `data`. What an interrupted attempt left of it is removed: nothing was
    /// undone from it.
    pub fn begin(data: &Path, name: &str) -> Result<Writer, QuarantineError> {
        let whole = folder(data).join(name);
        let part = folder(data).join(format!("{name}.part"));
        if part.exists() {
            fs::remove_dir_all(&part).map_err(io_error(&part))?;
        }
        fs::create_dir_all(&part).map_err(io_error(&part))?;
        Ok(Writer {
            part,
            whole,
            open: None,
            files: Vec::new(),
            tables: Vec::new(),
            numbers: HashMap::new(),
            counts: Counts::default(),
            file_bytes_max: FILE_BYTES_MAX,
        })
    }

    /// The number under which lines name `table`.
    pub fn number_of(&mut self, table: &Arc<Table>) -> u32 {
        if let Some(number) = self.numbers.get(table.as_ref()) {
            return *number;
        }
        let number = u32::try_from(self.tables.len()).unwrap_or(u32::MAX);
        self.numbers.insert(table.as_ref().clone(), number);
        let table = table.as_ref().clone();
        self.tables.push(QuarantinedTable { number, table, computed: Vec::new() });
        number
    }

    /// The number of the next line.
    pub fn next_line(&self) -> u64 {
        self.counts.lines + 1
    }

    /// How much was written.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The tables so far.
    pub fn tables(&mut self) -> &mut [QuarantinedTable] {
        &mut self.tables
    }

    /// Counts a transaction that is complete.
    pub fn transaction_ends(&mut self) {
        self.counts.transactions += 1;
    }

    /// Writes a line.
    pub fn line(&mut self, line: &RowLine) -> Result<(), QuarantineError> {
        if self.open.as_ref().is_some_and(|open| open.bytes >= self.file_bytes_max) {
            self.close()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let name = format!("{:04}.jsonl", self.files.len() + 1);
                let path = self.part.join(&name);
                let file = File::create_new(&path).map_err(io_error(&path))?;
                let file = BufWriter::new(file);
                self.open.insert(Open { file, path, name, bytes: 0, sha256: Sha256::new() })
            }
        };
        let mut text = serde_json::to_vec(line).map_err(|e| QuarantineError::Value(e.to_string()))?;
        text.push(b'\n');
        open.file.write_all(&text).map_err(io_error(&open.path))?;
        open.sha256.update(&text);
        open.bytes += text.len() as u64;
        let of_op = match line.op {
            Op::Insert => &mut self.counts.inserts,
            Op::Update => &mut self.counts.updates,
            Op::Delete => &mut self.counts.deletes,
            Op::Definition => &mut self.counts.definitions,
        };
        *of_op += 1;
        self.counts.lines += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<(), QuarantineError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let path = open.path;
        let file = open.file.into_inner().map_err(|e| io_error(&path)(e.into_error()))?;
        file.sync_all().map_err(io_error(&path))?;
        let sha256 = hex(&open.sha256.finalize());
        self.files.push(FileSum { name: open.name, bytes: open.bytes, sha256 });
        Ok(())
    }

    /// Lets all of it reach the disk, with `manifest` (whose counts, tables and files are filled in here), and gives
    /// it its name.
    pub fn finish(mut self, manifest: Manifest) -> Result<Quarantine, QuarantineError> {
        self.close()?;
        let manifest = Manifest { counts: self.counts, tables: self.tables, files: self.files, ..manifest };
        whole_file(&self.part, MANIFEST, &manifest)?;
        sync_folder(&self.part)?;
        fs::rename(&self.part, &self.whole).map_err(io_error(&self.whole))?;
        if let Some(above) = self.whole.parent() {
            sync_folder(above)?;
            // The folder `quarantine` itself may be new, too.
            above.parent().map_or(Ok(()), sync_folder)?;
        }
        Ok(Quarantine { folder: self.whole, manifest })
    }
}

/// Writes a small file so that it is there whole or not at all.
pub(super) fn whole_file(folder: &Path, name: &str, value: &impl Serialize) -> Result<(), QuarantineError> {
    let (path, part) = (folder.join(name), folder.join(format!("{name}.part")));
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| QuarantineError::Value(e.to_string()))?;
    text.push(b'\n');
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&part, &path)
    };
    write().map_err(io_error(&path))?;
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use model::{Epoch, Position, Site, StreamId};

    use super::{
        super::{Acknowledged, FORMAT, Proof, find, list},
        *,
    };
    use crate::transaction::{Column, Kind, Value};

    fn manifest() -> Manifest {
        let position = Position { stream: StreamId("s".into()), file: 1, offset: 4 };
        Manifest {
            format: FORMAT,
            site: Site::new("nhn"),
            epoch: Epoch(2),
            primary: Site::new("aws"),
            exported_at_ms: 7,
            from: position.clone(),
            to: position,
            complete: true,
            cannot_be_undone: Vec::new(),
            proof: Proof {
                acknowledged: Acknowledged::None,
                because: "a test says so".into(),
                failover_record: None,
                last_acknowledged: None,
                row_history: Vec::new(),
                register: None,
            },
            counts: Counts::default(),
            tables: Vec::new(),
            files: Vec::new(),
        }
    }

    fn table() -> Arc<Table> {
        let columns = vec![
            Column { name: "id".into(), kind: Kind::Number },
            Column { name: "text".into(), kind: Kind::Text { charset: "utf8mb4".into() } },
        ];
        Arc::new(Table { schema: "shop".into(), name: "t".into(), columns, key: vec![0] })
    }

    /// `count` lines in files of about `file_bytes_max`.
    fn written(data: &Path, count: u64, file_bytes_max: u64) -> Quarantine {
        let mut writer = Writer::begin(data, "2").unwrap();
        writer.file_bytes_max = file_bytes_max;
        let table = table();
        for line in 1..=count {
            let row = vec![Value::Unsigned(line), Value::Bytes(format!("줄\n{line}").into_bytes())];
            let number = writer.number_of(&table);
            let line = RowLine {
                line,
                transaction: line,
                at: format!("1:{line}"),
                gtid: None,
                committed_at_s: 0,
                table: table.to_string(),
                number: Some(number),
                op: Op::Insert,
                before: None,
                after: Some(super::super::image::to_json(&table, &row)),
                statement: None,
            };
            writer.line(&line).unwrap();
            writer.transaction_ends();
        }
        writer.finish(manifest()).unwrap()
    }

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("ghostlight-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn what_is_written_is_read_forwards_in_pages_and_backwards_from_anywhere() {
        let data = scratch("pages");
        let quarantine = written(&data, 250, 2_000);
        assert!(quarantine.manifest().files.len() > 10);
        assert_eq!((quarantine.manifest().counts.lines, quarantine.manifest().tables.len()), (250, 1));
        quarantine.verify().unwrap();

        let (mut cursor, mut seen) = (None, 0);
        loop {
            let page = quarantine.page(cursor.as_deref(), 7, 1_000).unwrap();
            for line in &page.rows {
                seen += 1;
                assert_eq!(line.line, seen);
            }
            assert!(page.rows.len() <= 7);
            let Some(next) = page.next else { break };
            cursor = Some(next);
        }
        assert_eq!(seen, 250);

        for below in [251, 250, 100, 2, 1] {
            let mut backwards = quarantine.backwards(below).unwrap();
            let mut expected = below;
            while let Some(line) = backwards.next_line().unwrap() {
                expected -= 1;
                assert_eq!(line.line, expected);
            }
            assert_eq!(expected, 1);
        }
        fs::remove_dir_all(&data).unwrap();
    }

    #[test]
    fn a_dropped_line_and_a_changed_byte_are_noticed() {
        let data = scratch("damage");
        let quarantine = written(&data, 3, 1 << 20);
        let path = folder(&data).join("2/0001.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        let without: String = text.lines().take(2).map(|l| format!("{l}\n")).collect();
        fs::write(&path, without).unwrap();
        assert!(matches!(quarantine.verify(), Err(QuarantineError::Damaged { .. })));
        fs::write(&path, text.replace("\"text\":\"줄", "\"text\":\"출")).unwrap();
        assert!(matches!(quarantine.verify(), Err(QuarantineError::Damaged { .. })));
        fs::write(&path, &text).unwrap();
        quarantine.verify().unwrap();
        fs::remove_dir_all(&data).unwrap();
    }

    #[test]
    fn only_a_whole_quarantine_is_one_and_no_id_leads_elsewhere() {
        let data = scratch("whole");
        drop(Writer::begin(&data, "3").unwrap());
        assert_eq!(list(&data).unwrap(), []);
        written(&data, 1, 1 << 20);
        let ids: Vec<String> = list(&data).unwrap().into_iter().map(|s| s.id).collect();
        assert_eq!(ids, ["2"]);
        assert!(find(&data, "2").unwrap().is_some());
        for id in ["3", "", "..", "2/../2", "3.part", "/etc"] {
            assert!(find(&data, id).unwrap().is_none(), "{id}");
        }
        fs::remove_dir_all(&data).unwrap();
    }
}
