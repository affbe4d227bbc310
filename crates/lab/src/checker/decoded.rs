//! What an old primary's log holds beyond the failover, told by MariaDB's own decoder, against what its quarantine holds.
//!
//! Nothing of the replication's code is used: `mariadb-binlog -v` reads the log from the server, this module reads its
//! words, leaves out what came from the peer (a transaction that changes `ghostlight.applied`) and what is not the
//! application's, and compares row for row: table, what was done, every value before and after, as often as it
//! stands there.

use std::collections::{BTreeMap, HashMap};

use mysql_async::{Conn, prelude::Queryable};
use runtime::secret::Secret;
use serde_json::Value as Json;
use tokio::process::Command;

use super::{Unread, Violation};

/// So many differences are told.
const TOLD_MAX: usize = 5;

/// A changed row: its table, what was done, and its values in the decoder's notation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Changed {
    /// `schema.table`.
    pub table: String,
    /// `insert`, `update` or `delete`.
    pub op: &'static str,
    /// Before; empty for an insert.
    pub before: Vec<Vec<u8>>,
    /// After; empty for a delete.
    pub after: Vec<Vec<u8>>,
}

/// How often each change stands somewhere.
pub type Changes = BTreeMap<Changed, i64>;

/// What the decoder told.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// The application's rows that were changed here.
    pub changes: Changes,
    /// In so many transactions.
    pub transactions: u64,
    /// Whether a file of the log ends in the middle of an event (its disk was full, and then its server died): nobody reads
    /// on behind it, and what is told here is what stands before it.
    pub torn: bool,
}

/// What one must know of a column to compare two notations of its values.
#[derive(Clone, Debug)]
pub struct ColumnType {
    unsigned: bool,
    /// Numbers stand bare in the decoder's words, everything else in quotes.
    bare: bool,
    /// Both tell a fraction of a second with as many digits as they like.
    temporal: bool,
}

/// The columns of every application table, by `schema.table`, in their order.
pub type Columns = HashMap<String, Vec<ColumnType>>;

/// Reads the columns' types.
pub async fn columns(conn: &mut Conn, whose: &str) -> Result<Columns, Unread> {
    let rows: Vec<(String, String, String)> = conn
        .query(
            "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), DATA_TYPE, COLUMN_TYPE FROM information_schema.COLUMNS
             WHERE TABLE_SCHEMA NOT IN ('ghostlight','mysql','information_schema','performance_schema','sys')
             ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION",
        )
        .await
        .map_err(Unread::of(format!("the columns of {whose}")))?;
    let mut columns = Columns::new();
    for (table, data_type, column_type) in rows {
        const BARE: [&str; 8] =
            ["tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "enum", "year"];
        let bare = BARE.contains(&data_type.as_str());
        let temporal = ["datetime", "time"].contains(&data_type.as_str());
        let column = ColumnType { unsigned: column_type.contains("unsigned"), bare, temporal };
        columns.entry(table).or_default().push(column);
    }
    Ok(columns)
}

/// Lets `mariadb-binlog` tell the log of the server at `host`:`port` from `file`:`offset` to its end.
pub async fn tail(
    server: std::net::SocketAddr,
    (user, password): (&str, &Secret),
    (file, offset): (&str, u64),
    columns: &Columns,
) -> Result<Tail, String> {
    let mut command = Command::new("mariadb-binlog");
    command
        .args(["--no-defaults", "--read-from-remote-server", "--verbose", "--base64-output=decode-rows"])
        .args([format!("--host={}", server.ip()), format!("--port={}", server.port())])
        .args([format!("--user={user}"), format!("--start-position={offset}")])
        .args(["--protocol=tcp", "--to-last-log", file])
        .env("MYSQL_PWD", password.expose())
        .kill_on_drop(true);
    let output = command.output().await.map_err(|e| format!("mariadb-binlog cannot be run: {e}"))?;
    if output.status.success() {
        return Ok(read(&output.stdout, columns));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains(TORN) {
        return Ok(Tail { torn: true, ..read(whole(&output.stdout), columns) });
    }
    Err(format!("mariadb-binlog: {}", said.lines().last().unwrap_or("it failed silently")))
}

/// What a MariaDB server says of a file that ends within an event.
const TORN: &str = "binlog truncated in the middle of event";

/// The words up to the last transaction that was finished.
fn whole(words: &[u8]) -> &[u8] {
    const FINISHED: &[u8] = b"\nCOMMIT/*!*/;\n";
    let last = words.windows(FINISHED.len()).rposition(|w| w == FINISHED);
    &words[..last.map_or(0, |at| at + FINISHED.len())]
}

/// Where in a row's words one is.
#[derive(Clone, Copy)]
enum Part {
    Before,
    After,
}

/// Reads the decoder's words.
fn read(words: &[u8], columns: &Columns) -> Tail {
    let (mut tail, mut gathered, mut from_peer) = (Tail::default(), Vec::<Changed>::new(), false);
    let mut part = Part::After;
    let mut end = |gathered: &mut Vec<Changed>, from_peer: &mut bool| {
        gathered.retain(|c| columns.contains_key(&c.table));
        if !std::mem::take(from_peer) && !gathered.is_empty() {
            tail.transactions += 1;
            for changed in gathered.drain(..) {
                *tail.changes.entry(changed).or_default() += 1;
            }
        }
        gathered.clear();
    };
    for line in words.split(|b| *b == b'\n') {
        if let Some(rest) = line.strip_prefix(b"### ") {
            if let Some(value) = rest.strip_prefix(b"  @") {
                let (Some(changed), Some(at)) = (gathered.last_mut(), value.iter().position(|b| *b == b'='))
                else {
                    continue;
                };
                let row = match part {
                    Part::Before => &mut changed.before,
                    Part::After => &mut changed.after,
                };
                let column = columns.get(&changed.table).and_then(|c| c.get(row.len()));
                row.push(one_notation(&value[at + 1..], column));
                continue;
            }
            match rest {
                b"WHERE" => part = Part::Before,
                b"SET" => part = Part::After,
                _ => {
                    let Some((op, table)) = begins(rest) else { continue };
                    from_peer |= table == "ghostlight.applied";
                    gathered.push(Changed { table, op, before: Vec::new(), after: Vec::new() });
                }
            }
        } else if line.starts_with(b"#") && !line.starts_with(b"#Q>") && contains(line, b"\tGTID ") {
            end(&mut gathered, &mut from_peer);
        }
    }
    end(&mut gathered, &mut from_peer);
    tail
}

/// ``INSERT INTO `a`.`b` `` and the like.
fn begins(words: &[u8]) -> Option<(&'static str, String)> {
    let words = String::from_utf8_lossy(words);
    let (op, name) = [("INSERT INTO ", "insert"), ("UPDATE ", "update"), ("DELETE FROM ", "delete")]
        .into_iter()
        .find_map(|(verb, op)| Some((op, words.strip_prefix(verb)?)))?;
    Some((op, name.trim_matches('`').replace("`.`", ".")))
}

fn contains(line: &[u8], words: &[u8]) -> bool {
    line.windows(words.len()).any(|w| w == words)
}

/// An unsigned number with its highest bit set is told twice, `-1 (255)`: the column says which one it is.
fn one_notation(value: &[u8], column: Option<&ColumnType>) -> Vec<u8> {
    if column.is_some_and(|c| c.temporal) {
        return without_zeros(&String::from_utf8_lossy(value).replace('\'', ""));
    }
    let Some(ColumnType { unsigned, bare: true, .. }) = column else { return value.to_vec() };
    let text = String::from_utf8_lossy(value);
    match text.split_once(" (") {
        Some((_, of_unsigned)) if *unsigned => of_unsigned.trim_end_matches(')').as_bytes().to_vec(),
        Some((signed, _)) => signed.as_bytes().to_vec(),
        None => value.to_vec(),
    }
}

/// `12:00:00.500` as `12:00:00.5`.
fn without_zeros(text: &str) -> Vec<u8> {
    match text.split_once('.') {
        Some((seconds, fraction)) => {
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            format!("{seconds}{point}{fraction}").into_bytes()
        }
        None => text.as_bytes().to_vec(),
    }
}

/// A line of a quarantine in the decoder's notation. `names` are the columns of its table, in their order.
pub fn quarantined(line: &Json, names: &[String], columns: &Columns) -> Result<Changed, String> {
    let table = line["table"].as_str().unwrap_or_default().to_owned();
    let types = columns.get(&table).ok_or_else(|| format!("there is no table {table}"))?;
    let image = |which: &str| -> Result<Vec<Vec<u8>>, String> {
        let Some(image) = line.get(which).filter(|i| !i.is_null()) else { return Ok(Vec::new()) };
        names.iter().zip(types).map(|(name, column)| notation(&image[name], column)).collect()
    };
    let op = match line["op"].as_str() {
        Some("insert") => "insert",
        Some("update") => "update",
        Some("delete") => "delete",
        other => return Err(format!("a line of {table} is {other:?}")),
    };
    Ok(Changed { table, op, before: image("before")?, after: image("after")? })
}

fn notation(value: &Json, column: &ColumnType) -> Result<Vec<u8>, String> {
    let bytes = match value {
        Json::Null => return Ok(b"NULL".to_vec()),
        Json::Number(n) => return Ok(n.to_string().into_bytes()),
        Json::String(text) if column.bare => return Ok(text.clone().into_bytes()),
        Json::String(text) if column.temporal => return Ok(without_zeros(text)),
        Json::String(text) => text.clone().into_bytes(),
        Json::Object(parts) => {
            let hex = parts.get("hex").and_then(Json::as_str).ok_or("an object without hex")?;
            let digits = hex.as_bytes().chunks_exact(2);
            let byte = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16);
            digits.map(byte).collect::<Result<_, _>>().map_err(|e| format!("{hex}: {e}"))?
        }
        other => return Err(format!("a value is {other}")),
    };
    let mut quoted = vec![b'\''];
    for byte in bytes {
        match byte {
            0..=0x1f => quoted.extend(format!("\\x{byte:02x}").into_bytes()),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    Ok(quoted)
}

/// The differences between what the log holds and what the quarantine holds.
pub fn differences(log: &Changes, quarantine: &Changes) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut tell = |changed: &Changed, log: i64, quarantine: i64| {
        if log != quarantine && found.len() < TOLD_MAX {
            let image = |row: &[Vec<u8>]| {
                let values: Vec<_> = row.iter().map(|v| String::from_utf8_lossy(v)).collect();
                values.join(", ").chars().take(200).collect::<String>()
            };
            let what = format!(
                "{} of {} ({} → {}): {log} times in the old primary's log, {quarantine} times in quarantine",
                changed.op,
                changed.table,
                image(&changed.before),
                image(&changed.after)
            );
            found.push(Violation::new("I12", what));
        }
    };
    for (changed, count) in log {
        tell(changed, *count, quarantine.get(changed).copied().unwrap_or(0));
    }
    for (changed, count) in quarantine.iter().filter(|(changed, _)| !log.contains_key(changed)) {
        tell(changed, 0, *count);
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn columns() -> Columns {
        let column = |unsigned, bare, temporal| ColumnType { unsigned, bare, temporal };
        let of_t = vec![
            column(true, true, false),
            column(false, true, false),
            column(false, false, false),
            column(false, true, false),
            column(false, false, true),
        ];
        [("x.t".to_owned(), of_t)].into()
    }

    /// As `mariadb-binlog -v` 10.11 writes it.
    const WORDS: &str = "# at 325\n#261122 22:10:28 server id 10  end_log_pos 367 CRC32 0xfa \tGTID 0-10-1 trans\n\
        START TRANSACTION\n#Q> INSERT INTO x.t VALUES ('\tGTID ')\n### INSERT INTO `x`.`t`\n### SET\n\
        ###   @1=-1 (18446744073709551615)\n###   @2=-1 (255)\n###   @3='it's \\ 뒤\\x0ax'\n###   @4=-0.50\n\
        ###   @5='2026-11-22 01:02:03.040'\n\
        ### UPDATE `x`.`t`\n### WHERE\n###   @1=1\n###   @2=NULL\n###   @3=NULL\n###   @4=1.00\n###   @5=NULL\n### SET\n\
        ###   @1=1\n###   @2=2\n###   @3='\\x00\\x01'\n###   @4=1.00\n###   @5='2026-11-22 00:00:00.000'\nCOMMIT/*!*/;\n\
        #261122 22:10:28 server id 10  end_log_pos 900 CRC32 0xfa \tGTID 0-10-2 trans\n\
        ### UPDATE `ghostlight`.`applied`\n### WHERE\n###   @1='s'\n### SET\n###   @1='s'\n\
        ### DELETE FROM `x`.`t`\n### WHERE\n###   @1=7\n###   @2=7\n###   @3=NULL\n###   @4=7.00\nCOMMIT/*!*/;\n\
        #261122 22:10:28 server id 10  end_log_pos 990 CRC32 0xfa \tGTID 0-10-3 trans\n\
        ### UPDATE `ghostlight`.`heartbeat`\n### WHERE\n###   @1=1\n### SET\n###   @1=1\nCOMMIT/*!*/;\n";

    fn lines() -> Vec<Json> {
        vec![
            json!({"table": "x.t", "op": "insert", "after":
                {"id": u64::MAX, "n": -1, "text": "it's \\ 뒤\nx", "d": "-0.50",
                "at": "2026-11-22 01:02:03.040000"}}),
            json!({"table": "x.t", "op": "update",
                "before": {"id": 1, "n": null, "text": null, "d": "1.00", "at": null},
                "after": {"id": 1, "n": 2, "text": {"hex": "0001"}, "d": "1.00",
                    "at": "2026-11-22 00:00:00"}}),
        ]
    }

    fn held(lines: &[Json]) -> Changes {
        let names = ["id", "n", "text", "d", "at"].map(str::to_owned);
        let mut held = Changes::new();
        for line in lines {
            *held.entry(quarantined(line, &names, &columns()).unwrap()).or_default() += 1;
        }
        held
    }

    #[test]
    fn of_a_log_that_ends_within_a_transaction_what_was_finished_counts() {
        let torn = format!("{WORDS}### INSERT INTO `x`.`t`\n### SET\n###   @1=8\n");
        assert_eq!(whole(torn.as_bytes()), WORDS.as_bytes());
        assert_eq!(whole(b"### INSERT INTO `x`.`t`\n"), b"");
    }

    #[test]
    fn the_decoders_words_and_the_quarantines_lines_say_the_same() {
        let tail = read(WORDS.as_bytes(), &columns());
        assert_eq!(tail.transactions, 1, "neither the peer's nor our own bookkeeping");
        assert_eq!(differences(&tail.changes, &held(&lines())), []);
    }

    #[test]
    fn a_dropped_doubled_or_changed_line_is_found() {
        let log = read(WORDS.as_bytes(), &columns()).changes;
        let mut lines = lines();
        assert_eq!(differences(&log, &held(&lines[..1])).len(), 1, "one line was dropped");
        lines.push(lines[0].clone());
        assert_eq!(differences(&log, &held(&lines)).len(), 1, "one stands there twice");
        lines.pop();
        lines[1]["after"]["n"] = json!(3);
        assert_eq!(differences(&log, &held(&lines)).len(), 2, "one is another one");
    }
}
