//! MySQL's stream, as its documentation describes the events. No MySQL server wrote these: they are generated here,
//! byte by byte, and so they prove that we read what is documented, not what a server does.

use replicate::{
    binlog::{DecodeError, Item},
    transaction::{Change, Kind, Rows, Value},
};

use super::file::{Event, read};

const AT_S: u32 = 1_790_000_000;

/// Builds a log: each event ends where the next begins.
struct Log {
    events: Vec<Event>,
    at: u32,
}

impl Log {
    fn new(version: &str) -> Log {
        let mut log = Log { events: Vec::new(), at: 4 };
        let mut format = 4_u16.to_le_bytes().to_vec();
        let mut name = version.as_bytes().to_vec();
        name.resize(50, 0);
        format.extend(name);
        format.extend([0; 4]); // when it was made
        format.push(19);
        format.extend([0; 42]); // lengths of headers, which we know
        format.push(1); // checksums: CRC32
        log.add(15, format);
        log.add(35, vec![0; 8]); // PREVIOUS_GTIDS
        log
    }

    fn add(&mut self, kind: u8, body: Vec<u8>) {
        self.at += 19 + 4 + u32::try_from(body.len()).unwrap();
        self.events.push(Event { kind, at_s: AT_S, end: self.at, flags: 0, body });
    }

    /// GTID_LOG_EVENT: flags, the source's UUID, its number, and the clocks of commit order.
    fn gtid(&mut self) {
        let mut body = vec![1];
        body.extend([7; 16]);
        body.extend(9_i64.to_le_bytes());
        body.push(2);
        body.extend([0; 16]);
        self.add(33, body);
    }

    fn query(&mut self, sql: &str) {
        let mut body = 77_u32.to_le_bytes().to_vec();
        body.extend([0; 4]);
        body.push(4);
        body.extend([0, 0]);
        let mut settings = vec![0, 0, 0, 0, 0, 1];
        settings.extend(0x40_0000_u64.to_le_bytes());
        settings.extend(*b"\x06\x03std\x04\xff\x00\xff\x00\xff\x00\x05\x06+09:00");
        settings.extend([12, 1, b's', b'h', b'o', b'p', 0]); // the databases that it touches
        settings.extend([13, 0x40, 0xe2, 0x01]); // 123,456 µs
        settings.extend([16, 1, 18, 255, 0, 20, 0]); // what we do not use
        body.extend(u16::try_from(settings.len()).unwrap().to_le_bytes());
        body.extend(settings);
        body.extend(*b"shop\0");
        body.extend(sql.as_bytes());
        self.add(2, body);
    }

    /// A table of these types; `metadata` is a column's own, `optional` the fields behind.
    fn table(&mut self, types: &[u8], metadata: &[u8], optional: &[(u8, Vec<u8>)]) {
        let mut body = vec![42, 0, 0, 0, 0, 0, 1, 0];
        body.extend(*b"\x04shop\0\x01t\0");
        body.push(u8::try_from(types.len()).unwrap());
        body.extend(types);
        body.push(u8::try_from(metadata.len()).unwrap());
        body.extend(metadata);
        body.extend(vec![0xff; types.len().div_ceil(8)]);
        for (field, value) in optional {
            body.push(*field);
            body.push(u8::try_from(value.len()).unwrap());
            body.extend(value);
        }
        self.add(19, body);
    }

    /// Rows of version 2: with two bytes of extra information, that is none.
    fn rows(&mut self, kind: u8, columns: u8, rows: &[&[u8]]) {
        let mut body = vec![42, 0, 0, 0, 0, 0, 1, 0, 2, 0, columns];
        body.extend(vec![0xff; usize::from(columns).div_ceil(8)]);
        if kind == 31 {
            body.extend(vec![0xff; usize::from(columns).div_ceil(8)]);
        }
        rows.iter().for_each(|row| body.extend(*row));
        self.add(kind, body);
    }

    fn xid(&mut self) {
        self.add(16, vec![1; 8]);
    }
}

fn names(all: &[&str]) -> (u8, Vec<u8>) {
    let mut value = Vec::new();
    for name in all {
        value.push(u8::try_from(name.len()).unwrap());
        value.extend(name.as_bytes());
    }
    (4, value)
}

/// id INT UNSIGNED, y YEAR, n INT, g GEOMETRY, a VARCHAR(20) latin1, b VARBINARY(9), e ENUM, at DATETIME(6).
fn wide_table(log: &mut Log) {
    let metadata = [4, 20, 0, 9, 0, 247, 1, 6];
    let optional = [
        (1, vec![0b1000_0000]), // signedness of id, y, n
        (2, vec![8, 1, 63]),    // text: latin1, but the second one is binary. No entry for the geometry.
        (7, vec![0]),           // geometry types
        names(&["id", "y", "n", "g", "a", "b", "e", "at"]),
        (6, vec![2, 1, b'x', 1, b'y']), // members
        (10, vec![255]),                // and their character set
        (8, vec![0]),                   // primary key
        (12, vec![0xff]),               // visibility
    ];
    log.table(&[3, 13, 3, 255, 15, 15, 254, 18], &metadata, &optional);
}

const WIDE_ROW: &[u8] = &[
    0, 0xff, 0xff, 0xff, 0xff, 126, 0xfe, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0xaa, 0xbb, 2, 0xe9, b'x', 1, 0x00,
    2, 0x99, 0xb2, 0xee, 0x00, 0x00, 0x01, 0xe2, 0x40,
];

/// A log with everything that we read, and at its end nothing that we refuse.
pub(super) fn everything() -> Vec<Event> {
    let mut log = Log::new("8.4.3");
    log.gtid();
    log.query("CREATE TABLE t (id INT UNSIGNED PRIMARY KEY)");
    log.gtid();
    log.query("BEGIN");
    wide_table(&mut log);
    log.rows(30, 8, &[WIDE_ROW, WIDE_ROW]);
    log.rows(31, 8, &[WIDE_ROW, WIDE_ROW]);
    log.query("SAVEPOINT `a`");
    log.rows(32, 8, &[WIDE_ROW]);
    log.xid();
    log.add(42, vec![2; 40]); // GTID_TAGGED_LOG_EVENT
    log.query("BEGIN");
    log.query("CREATE TABLE `u` (\n  `id` int\n) START TRANSACTION");
    wide_table(&mut log);
    log.rows(30, 8, &[WIDE_ROW]);
    log.xid();
    log.add(34, vec![0; 42]); // ANONYMOUS_GTID
    log.query("DROP TABLE `u`");
    log.events
}

#[test]
fn a_log_of_mysql_is_read_to_its_end() {
    let items = read(&everything()).unwrap();
    let changes: Vec<&Change> =
        items.iter().filter_map(|i| if let Item::Change(c) = i { Some(c) } else { None }).collect();
    let ends = items.iter().filter(|i| matches!(i, Item::End(_))).count();
    assert_eq!(ends, 6, "the format, the earlier GTIDs, and four transactions: {items:?}");
    let Change::Statement(created) = changes[0] else { panic!("{changes:?}") };
    assert_eq!((created.connection, created.schema.as_str()), (77, "shop"));
    assert_eq!(created.time_zone.as_deref(), Some("+09:00"));
    assert_eq!(created.at_us, u64::from(AT_S) * 1_000_000 + 123_456);
    let Change::Rows { rows: Rows::Insert(rows), .. } = changes[1] else { panic!("{changes:?}") };
    let expected = [
        Value::Unsigned(u64::from(u32::MAX)),
        Value::Unsigned(2026),
        Value::Signed(-2),
        Value::Bytes(vec![0xaa, 0xbb]),
        Value::Bytes(vec![0xe9, b'x']),
        Value::Bytes(vec![0]),
        Value::Unsigned(2),
        Value::Temporal("2024-01-25 14:56:00.123456".into()),
    ];
    assert_eq!(rows[0].len(), expected.len());
    assert_eq!(rows[0][..7], expected[..7]);
    assert!(matches!(&rows[0][7], Value::Temporal(t) if t.ends_with(".123456")), "{:?}", rows[0][7]);
    assert!(matches!(changes[2], Change::Rows { rows: Rows::Update(rows), .. } if rows.len() == 1));
    assert_eq!(*changes[3], Change::Savepoint("SAVEPOINT `a`".into()));
    assert!(matches!(changes[4], Change::Rows { rows: Rows::Delete(rows), .. } if rows.len() == 1));
    let Change::Statement(created) = changes[5] else { panic!("{changes:?}") };
    assert!(!String::from_utf8_lossy(&created.sql).contains("START TRANSACTION"), "it would be left open");
    let Some(Item::Table { table, .. }) = items.iter().find(|i| matches!(i, Item::Table { .. })) else {
        panic!("{items:?}")
    };
    assert_eq!(table.key, [0]);
    assert_eq!(table.columns[4].kind, Kind::Text { charset: "latin1".into() }, "a geometry stands before it");
    assert_eq!(table.columns[5].kind, Kind::Binary { fixed: None });
}

/// What `add` adds is refused, and the message holds `word`.
fn check(word: &str, add: impl FnOnce(&mut Log)) {
    let mut log = Log::new("8.0.36");
    log.gtid();
    add(&mut log);
    let e: DecodeError = read(&log.events).unwrap_err();
    assert!(e.to_string().contains(word), "`{word}` is not in: {e}");
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    check("binlog_row_value_options", |log| log.add(39, vec![0; 20]));
    check("binlog_transaction_compression", |log| log.add(40, vec![0; 20]));
    check("XA", |log| log.query("XA START X'61',X'',1"));
    check("XA", |log| log.add(38, vec![0; 20]));
    check("INCIDENT", |log| log.add(26, vec![1, 0, 0]));
    check("binlog_format", |log| log.query("UPDATE t SET a = 1"));
    check("unknown type", |log| log.add(99, vec![]));
    check("binlog_row_metadata", |log| log.table(&[3], &[], &[(1, vec![0])]));
    check("JSON", |log| {
        log.query("BEGIN");
        log.table(&[3, 245], &[4], &[(1, vec![0]), names(&["id", "j"]), (8, vec![0])]);
    });
    check("binlog_row_image", |log| {
        log.query("BEGIN");
        log.table(&[3, 3], &[], &[(1, vec![0]), names(&["id", "n"]), (8, vec![0])]);
        log.add(30, vec![42, 0, 0, 0, 0, 0, 1, 0, 2, 0, 2, 0b01, 0, 1, 0, 0, 0]);
    });
}
