//! One writing session: random transactions, and now and then a definition.
//!
//! What the server refuses is part of the game (a duplicate key in the middle of a statement, a value that does
//! not fit, a foreign key): the statement is undone, the transaction goes on or is rolled back.

use cloud::local::mariadb::APPLICATION_USER;
use mysql_async::{Conn, Error, prelude::Queryable};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use replicate::database::DatabaseConfig;

use super::{
    schema::{self, SCHEMA, Shape, TABLES},
    values::{Column, chance, one_of, series, value},
};

/// Errors after which nothing of the transaction is left.
const ROLLED_BACK: [u16; 2] = [1213, 1205];

const SQL_MODES: &[&str] = &[
    "",
    "",
    "STRICT_ALL_TABLES",
    "STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO",
    "ALLOW_INVALID_DATES",
    "ALLOW_INVALID_DATES",
    "ANSI",
    "NO_AUTO_VALUE_ON_ZERO",
    "PAD_CHAR_TO_FULL_LENGTH",
    "NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT",
    "TRADITIONAL",
    "TIME_ROUND_FRACTIONAL",
    "HIGH_NOT_PRECEDENCE,IGNORE_SPACE,REAL_AS_FLOAT",
];

const TIME_ZONES: &[&str] = &["+00:00", "+09:00", "-05:30", "SYSTEM", "+13:45"];

/// A writing session.
pub(super) struct Writer {
    random: StdRng,
    database: DatabaseConfig,
    conn: Option<Conn>,
    shapes: Vec<Shape>,
    definitions: bool,
    n: usize,
    /// Everything that was sent, with what came of it.
    pub(super) journal: Vec<String>,
    /// Statements that the server took, and that it refused.
    pub(super) taken: usize,
    pub(super) refused: usize,
}

/// The connection broke: the server was killed.
struct Gone;

impl Writer {
    /// Whether it makes definitions: only one of several writers may, or they could wait for one another for long.
    pub(super) fn new(seed: u64, database: DatabaseConfig, definitions: bool) -> Writer {
        Writer {
            random: StdRng::seed_from_u64(seed),
            database,
            conn: None,
            shapes: Vec::new(),
            definitions,
            n: 0,
            journal: Vec::new(),
            taken: 0,
            refused: 0,
        }
    }

    /// Writes so many transactions; begins again where its server was killed meanwhile.
    pub(super) async fn write(&mut self, transactions: usize) {
        for _ in 0..transactions {
            self.n += 1;
            if self.one().await.is_err() {
                self.journal.push("-- the connection is gone".into());
                self.conn = None;
            }
        }
    }

    async fn one(&mut self) -> Result<(), Gone> {
        if self.conn.is_none() {
            self.connect().await;
        }
        if self.shapes.is_empty() || !self.definitions && chance(&mut self.random, 10) {
            self.look().await?;
        }
        if chance(&mut self.random, 10) {
            let (mode, zone) = (one_of(&mut self.random, SQL_MODES), one_of(&mut self.random, TIME_ZONES));
            self.send(format!("SET sql_mode='{mode}', time_zone='{zone}'")).await?;
        }
        if self.definitions && (self.shapes.len() < 3 || chance(&mut self.random, 6)) {
            let sql = schema::change(&mut self.random, &self.shapes, self.n);
            self.send(sql).await?;
            return self.look().await;
        }
        self.transaction().await
    }

    async fn connect(&mut self) {
        loop {
            match self
                .database
                .open_with(vec!["SET innodb_lock_wait_timeout=2, lock_wait_timeout=3".into()])
                .await
            {
                Ok(conn) => {
                    self.conn = Some(conn);
                    return;
                }
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    }

    async fn look(&mut self) -> Result<(), Gone> {
        let Some(conn) = &mut self.conn else { return Err(Gone) };
        match schema::shapes(conn).await {
            Ok(shapes) => {
                self.shapes = shapes;
                Ok(())
            }
            Err(_) => Err(Gone),
        }
    }

    /// Sends a statement. Whether the server took it.
    async fn send(&mut self, sql: String) -> Result<bool, Gone> {
        let Some(conn) = &mut self.conn else { return Err(Gone) };
        match conn.query_drop(&sql).await {
            Ok(()) => {
                self.taken += 1;
                self.journal.push(format!("{sql}; -- {}", conn.affected_rows()));
                Ok(true)
            }
            Err(Error::Server(e)) => {
                self.refused += 1;
                self.journal.push(format!("{sql}; -- refused: {} ({})", e.message, e.code));
                if ROLLED_BACK.contains(&e.code) {
                    return Err(Gone);
                }
                Ok(false)
            }
            Err(e) => {
                self.journal.push(format!("{sql}; -- {e}"));
                Err(Gone)
            }
        }
    }

    async fn transaction(&mut self) -> Result<(), Gone> {
        let unchecked = chance(&mut self.random, 3);
        if unchecked {
            self.send("SET foreign_key_checks=0".into()).await?;
        }
        self.send("BEGIN".into()).await?;
        let (first, split) = (chance(&mut self.random, 50), chance(&mut self.random, 50));
        if first {
            self.count(true, !split).await?;
        }
        let mut savepoints = 0;
        for _ in 0..self.random.random_range(0..6) {
            match self.random.random_range(0..14) {
                0 => {
                    savepoints += 1;
                    self.send(format!("SAVEPOINT `s {savepoints}`")).await?;
                }
                1 if savepoints > 0 => {
                    let to = self.random.random_range(1..=savepoints);
                    self.send(format!("ROLLBACK TO `s {to}`")).await?;
                    savepoints = to;
                }
                _ => {
                    for sql in self.statements() {
                        self.send(sql).await?;
                    }
                }
            }
        }
        self.count(!first, !first || split).await?;
        let end = if chance(&mut self.random, 8) { "ROLLBACK" } else { "COMMIT" };
        self.send(end.into()).await?;
        if unchecked {
            self.send("SET foreign_key_checks=1".into()).await?;
        }
        Ok(())
    }

    /// What a reader of the standby checks: `tick` and `ticks` agree at every commit.
    async fn count(&mut self, tick: bool, ticks: bool) -> Result<(), Gone> {
        if tick {
            self.send(format!("UPDATE {SCHEMA}.tick SET n = n + 1")).await?;
        }
        if ticks {
            self.send(format!("INSERT INTO {SCHEMA}.ticks SELECT n, {} FROM {SCHEMA}.tick", self.n)).await?;
        }
        Ok(())
    }

    /// One to a few statements on one table.
    fn statements(&mut self) -> Vec<String> {
        if self.shapes.is_empty() {
            return Vec::new();
        }
        let random = &mut self.random;
        let shape = &self.shapes[random.random_range(0..self.shapes.len())];
        let name = shape.full_name();
        match random.random_range(0..26) {
            0..=6 => vec![insert(random, shape, "INSERT")],
            7 => vec![insert(random, shape, "INSERT IGNORE")],
            8..=9 => vec![insert(random, shape, "REPLACE")],
            10..=11 => {
                let set = assignments(random, shape, |_| true);
                vec![format!("{} ON DUPLICATE KEY UPDATE {set}", insert(random, shape, "INSERT"))]
            }
            12..=14 => {
                let set = assignments(random, shape, |c| !c.primary);
                vec![format!("UPDATE {name} SET {set}{}", some_rows(random))]
            }
            15 => vec![format!(
                "UPDATE IGNORE {name} SET {}{}",
                assignments(random, shape, |_| true),
                some_rows(random)
            )],
            16..=17 => vec![update_key(random, shape)],
            18..=19 => swap(random, shape),
            20..=21 => vec![format!("DELETE FROM {name}{}", some_rows(random))],
            22 if chance(random, 20) => vec![format!("DELETE FROM {name}")],
            22..=23 => in_and_out(random, shape),
            24 if chance(random, 30) => vec![bulk(random, shape)],
            24 => {
                let columns: Vec<String> = shape.written().map(Column::quoted).collect();
                let tmp = format!("{SCHEMA}.tmp{}", self.n);
                vec![
                    format!("CREATE TEMPORARY TABLE {tmp} SELECT {} FROM {name} LIMIT 3", columns.join(",")),
                    format!("DELETE FROM {name} LIMIT 2"),
                    format!("INSERT IGNORE INTO {name} ({}) SELECT * FROM {tmp}", columns.join(",")),
                    format!("DROP TEMPORARY TABLE IF EXISTS {tmp}"),
                ]
            }
            _ => vec![insert(random, shape, "INSERT"), format!("DELETE FROM {name} LIMIT 1")],
        }
    }
}

/// `WHERE …` or `ORDER BY … LIMIT …`: the same rows for the same seed.
fn some_rows(random: &mut StdRng) -> String {
    match random.random_range(0..10) {
        0 => String::new(),
        1 => format!(" LIMIT {}", random.random_range(1..20)),
        _ => format!(" ORDER BY RAND({}) LIMIT {}", random.random_range(0..1_000), random.random_range(1..4)),
    }
}

fn insert(random: &mut StdRng, shape: &Shape, verb: &str) -> String {
    let columns: Vec<&Column> = shape
        .written()
        .filter(|c| !(c.name.starts_with("ts") || c.name == "i0") || chance(random, 50))
        .collect();
    let names: Vec<String> = columns.iter().map(|c| c.quoted()).collect();
    let count = if chance(random, 30) { random.random_range(2..12) } else { 1 };
    let rows: Vec<String> = (0..count).map(|_| row(random, &columns)).collect();
    format!("{verb} INTO {} ({}) VALUES {}", shape.full_name(), names.join(","), rows.join(","))
}

fn row(random: &mut StdRng, columns: &[&Column]) -> String {
    let values: Vec<String> = columns
        .iter()
        .map(|c| match c.name.as_str() {
            "k0" if chance(random, 30) => "DEFAULT".into(),
            _ => value(random, c),
        })
        .collect();
    format!("({})", values.join(","))
}

fn assignments(random: &mut StdRng, shape: &Shape, of: impl Fn(&Column) -> bool) -> String {
    let columns: Vec<&Column> = shape.written().filter(|c| of(c)).collect();
    if columns.is_empty() {
        return shape.key().map(|c| format!("{0}={0}", c.quoted())).collect::<Vec<_>>().join(",");
    }
    let set: Vec<String> = (0..random.random_range(1..4))
        .map(|_| {
            let column = columns[random.random_range(0..columns.len())];
            format!("{}={}", column.quoted(), value(random, column))
        })
        .collect();
    set.join(",")
}

fn update_key(random: &mut StdRng, shape: &Shape) -> String {
    let key: Vec<&Column> = shape.key().collect();
    let Some(column) = key.get(random.random_range(0..key.len().max(1))) else { return "DO 0".into() };
    let (name, quoted) = (shape.full_name(), column.quoted());
    match column.data_type.as_str() {
        // All rows at once, each to the key of its neighbour.
        "int" | "bigint" | "smallint" | "mediumint" | "tinyint" | "decimal" if chance(random, 50) => {
            let (sign, order) = if chance(random, 50) { ("+", "DESC") } else { ("-", "ASC") };
            format!("UPDATE {name} SET {quoted}={quoted}{sign}1 ORDER BY {quoted} {order}")
        }
        "varchar" | "char" if chance(random, 50) => {
            let by = one_of(random, &["UPPER", "LOWER", "TRIM", "REVERSE"]);
            format!("UPDATE {name} SET {quoted}={by}({quoted}){}", some_rows(random))
        }
        _ => format!("UPDATE {name} SET {quoted}={}{}", value(random, column), some_rows(random)),
    }
}

/// Two rows exchange a unique value or their keys, by way of a third value, or by being written anew.
fn swap(random: &mut StdRng, shape: &Shape) -> Vec<String> {
    let name = shape.full_name();
    let unique: Vec<&Column> = shape.written().filter(|c| c.unique || c.primary).collect();
    let Some(column) = unique.get(random.random_range(0..unique.len().max(1))) else { return Vec::new() };
    let quoted = column.quoted();
    let (one, other, third) = (value(random, column), value(random, column), value(random, column));
    if chance(random, 50) {
        return vec![
            format!("UPDATE {name} SET {quoted}={third} WHERE {quoted}={one}"),
            format!("UPDATE {name} SET {quoted}={one} WHERE {quoted}={other}"),
            format!("UPDATE {name} SET {quoted}={other} WHERE {quoted}={third}"),
        ];
    }
    let columns: Vec<String> = shape.written().map(Column::quoted).collect();
    let swapped: Vec<String> = shape
        .written()
        .map(|c| match c.name == column.name {
            true => format!("CASE WHEN {quoted}={one} THEN {other} ELSE {one} END"),
            false => c.quoted(),
        })
        .collect();
    let tmp = format!("{SCHEMA}.swapped");
    vec![
        format!("DROP TEMPORARY TABLE IF EXISTS {tmp}"),
        format!(
            "CREATE TEMPORARY TABLE {tmp} SELECT {} FROM {name} WHERE {quoted} IN ({one},{other})",
            columns.iter().zip(&swapped).map(|(c, s)| format!("{s} AS {c}")).collect::<Vec<_>>().join(",")
        ),
        format!("DELETE FROM {name} WHERE {quoted} IN ({one},{other})"),
        format!("INSERT IGNORE INTO {name} ({}) SELECT * FROM {tmp}", columns.join(",")),
    ]
}

/// The same key comes, goes and comes again.
fn in_and_out(random: &mut StdRng, shape: &Shape) -> Vec<String> {
    let name = shape.full_name();
    let columns: Vec<&Column> = shape.written().collect();
    let names: Vec<String> = columns.iter().map(|c| c.quoted()).collect();
    let key: Vec<(String, String)> =
        columns.iter().filter(|c| c.primary).map(|c| (c.name.clone(), value(random, c))).collect();
    let condition: Vec<String> = key.iter().map(|(c, v)| format!("`{}`={v}", c.replace('`', "``"))).collect();
    let mut insert = || {
        let values: Vec<String> = columns
            .iter()
            .map(|c| match key.iter().find(|(k, _)| *k == c.name) {
                Some((_, v)) => v.clone(),
                None => value(random, c),
            })
            .collect();
        format!("INSERT INTO {name} ({}) VALUES ({})", names.join(","), values.join(","))
    };
    let (first, second, third) = (insert(), insert(), insert());
    let delete = format!("DELETE FROM {name} WHERE {}", condition.join(" AND "));
    vec![first, delete.clone(), second, delete, third]
}

fn bulk(random: &mut StdRng, shape: &Shape) -> String {
    let columns: Vec<&Column> = shape.written().collect();
    let names: Vec<String> = columns.iter().map(|c| c.quoted()).collect();
    let values: Vec<String> = columns.iter().map(|c| series(random, c)).collect();
    let count = one_of(random, &["10", "60", "300", "2000"]);
    format!(
        "INSERT IGNORE INTO {} ({}) SELECT {} FROM {SCHEMA}.seq_1_to_{count}",
        shape.full_name(),
        names.join(","),
        values.join(",")
    )
}

/// What every run begins with.
pub(super) fn beginning() -> Vec<String> {
    vec![
        format!("CREATE DATABASE IF NOT EXISTS {SCHEMA}"),
        format!("ALTER DATABASE {SCHEMA} CHARACTER SET utf8mb4"),
        format!("ALTER USER '{APPLICATION_USER}'@'%' ACCOUNT UNLOCK"),
        format!("CREATE TABLE {SCHEMA}.tick (id INT PRIMARY KEY, n BIGINT)"),
        format!("INSERT INTO {SCHEMA}.tick VALUES (1, 0)"),
        format!("CREATE TABLE {SCHEMA}.ticks (n BIGINT PRIMARY KEY, step BIGINT)"),
    ]
}

/// The tables that every run begins with; not all of them are accepted by the server.
pub(super) fn tables(random: &mut StdRng) -> Vec<String> {
    TABLES
        .iter()
        .flat_map(|name| (0..3).map(|_| schema::create(random, name, &[])).collect::<Vec<_>>())
        .collect()
}
