//! Random definitions, and what the server says that came of them.

use cloud::local::mariadb::APPLICATION_DATABASE;
use mysql_async::{Conn, prelude::Queryable};
use rand::{RngExt, rngs::StdRng};

use super::values::{Column, chance, one_of, quoted};

/// The schema in which everything happens: the application's own.
pub(super) const SCHEMA: &str = APPLICATION_DATABASE;

/// Names of tables; small, so that they are dropped and made again.
pub(super) const TABLES: [&str; 6] = ["t0", "t1", "t2", "odd ``name", "parent", "child"];

/// Types that may stand in a key.
const KEY_TYPES: &[&str] = &[
    "TINYINT",
    "SMALLINT UNSIGNED",
    "MEDIUMINT",
    "INT",
    "INT UNSIGNED",
    "BIGINT",
    "BIGINT UNSIGNED",
    "DECIMAL(10,3)",
    "DECIMAL(30,0)",
    "VARCHAR(20) COLLATE utf8mb4_unicode_ci",
    "VARCHAR(20) COLLATE utf8mb4_general_ci",
    "VARCHAR(20) COLLATE utf8mb4_bin",
    "VARCHAR(20) COLLATE utf8mb4_uca1400_ai_ci",
    "VARCHAR(20) COLLATE utf8mb4_nopad_bin",
    "VARCHAR(20) COLLATE utf8mb4_unicode_520_nopad_ci",
    "CHAR(8) COLLATE utf8mb4_general_ci",
    "VARCHAR(20) CHARACTER SET latin1",
    "VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german2_ci",
    "VARCHAR(20) CHARACTER SET euckr",
    "CHAR(5) CHARACTER SET latin1 COLLATE latin1_bin",
    "BINARY(4)",
    "VARBINARY(12)",
    "DATE",
    "DATETIME",
    "DATETIME(6)",
    "TIMESTAMP(6) NULL",
    "TIME(6)",
    "TIME",
    "YEAR",
    "BIT(5)",
    "ENUM('a','B','c','d','e')",
    "SET('x','y','z')",
    "UUID",
    "INET6",
    "INET4",
    "DOUBLE",
    "FLOAT",
];

/// Types that may stand anywhere else.
const OTHER_TYPES: &[&str] = &[
    "TINYINT UNSIGNED",
    "SMALLINT",
    "MEDIUMINT UNSIGNED",
    "INT ZEROFILL",
    "BIGINT UNSIGNED",
    "BOOL",
    "DECIMAL(65,30)",
    "DECIMAL(5,0)",
    "DECIMAL(9,9) UNSIGNED",
    "FLOAT",
    "DOUBLE",
    "FLOAT(7,2)",
    "DOUBLE(10,3)",
    "BIT(1)",
    "BIT(13)",
    "BIT(64)",
    "YEAR",
    "DATE",
    "TIME(1)",
    "TIME(3)",
    "TIME(6)",
    "DATETIME(2)",
    "DATETIME(6)",
    "TIMESTAMP NULL",
    "TIMESTAMP(4) NULL",
    "TIMESTAMP(6) NULL",
    "CHAR(10)",
    "CHAR(255)",
    "VARCHAR(300)",
    "TINYTEXT",
    "TEXT",
    "MEDIUMTEXT",
    "LONGTEXT",
    "TEXT CHARACTER SET latin1",
    "VARCHAR(40) CHARACTER SET euckr",
    "CHAR(20) CHARACTER SET euckr",
    "TEXT CHARACTER SET utf16",
    "VARCHAR(30) CHARACTER SET sjis",
    "VARCHAR(30) CHARACTER SET ucs2",
    "CHAR(3) CHARACTER SET ascii",
    "VARCHAR(10) CHARACTER SET utf8mb3",
    "VARCHAR(10) CHARACTER SET utf32",
    "BINARY(8)",
    "VARBINARY(300)",
    "TINYBLOB",
    "BLOB",
    "MEDIUMBLOB",
    "LONGBLOB",
    "ENUM('one','two','three')",
    "ENUM('','x')",
    "SET('a','b','c','d','e','f','g','h','i')",
    "UUID",
    "INET4",
    "INET6",
    "POINT",
    "GEOMETRY",
];

/// A table as it is now.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    pub(super) indexes: Vec<String>,
}

impl Shape {
    /// With its schema, quoted.
    pub(super) fn full_name(&self) -> String {
        format!("{SCHEMA}.{}", quoted(&self.name))
    }

    /// The columns that may be written.
    pub(super) fn written(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|c| !c.computed)
    }

    /// The columns of the primary key.
    pub(super) fn key(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|c| c.primary)
    }
}

/// Every table of the schema.
pub(super) async fn shapes(conn: &mut Conn) -> Result<Vec<Shape>, mysql_async::Error> {
    type Described = (String, String, String, String, String, String, String, Option<String>);
    let columns: Vec<Described> = conn
        .query(format!(
            "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, EXTRA, IFNULL(GENERATION_EXPRESSION, ''), COLLATION_NAME
             FROM information_schema.COLUMNS WHERE TABLE_SCHEMA='{SCHEMA}' AND TABLE_NAME NOT IN ('tick','ticks')
             ORDER BY TABLE_NAME, ORDINAL_POSITION"
        ))
        .await?;
    type Key = (String, String, String, u64);
    let keys: Vec<Key> = conn
        .query(format!(
            "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, NON_UNIQUE FROM information_schema.STATISTICS
             WHERE TABLE_SCHEMA='{SCHEMA}' ORDER BY 1, 2, SEQ_IN_INDEX"
        ))
        .await?;
    let referring: Vec<(String, String)> = conn
        .query(format!(
            "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE
             WHERE TABLE_SCHEMA='{SCHEMA}' AND REFERENCED_TABLE_NAME IS NOT NULL ORDER BY 1, 2"
        ))
        .await?;
    let mut all: Vec<Shape> = Vec::new();
    for (table, name, data_type, column_type, nullable, extra, expression, collation) in columns {
        if all.last().is_none_or(|s| s.name != table) {
            let mut indexes: Vec<String> =
                keys.iter().filter(|k| k.0 == table && k.1 != "PRIMARY").map(|k| k.1.clone()).collect();
            indexes.dedup();
            all.push(Shape { name: table.clone(), columns: Vec::new(), indexes });
        }
        let in_key = |of: fn(&Key) -> bool| keys.iter().any(|k| k.0 == table && k.2 == name && of(k));
        let primary = in_key(|k| k.1 == "PRIMARY");
        let unique = in_key(|k| k.1 != "PRIMARY" && k.3 == 0);
        let refers = referring.iter().any(|r| r.0 == table && r.1 == name);
        let shape = all.last_mut().unwrap();
        shape.columns.push(Column {
            data_type,
            column_type,
            collation,
            nullable: nullable == "YES",
            computed: !expression.is_empty() || extra.contains("GENERATED"),
            tight: primary || unique || refers,
            primary,
            unique,
            name,
        });
    }
    Ok(all)
}

/// Statements that make a table `name` (quoted inside); not every one is accepted by the server.
pub(super) fn create(random: &mut StdRng, name: &str, parents: &[Shape]) -> String {
    let (mut parts, mut key, mut numeric) = (Vec::new(), Vec::new(), None);
    let key_columns = [1, 1, 1, 2, 2, 3][random.random_range(0..6)];
    for i in 0..key_columns {
        let column = format!("k{i}");
        if i == 0 && chance(random, 30) {
            let int = one_of(random, &["INT", "BIGINT UNSIGNED", "SMALLINT UNSIGNED", "TINYINT"]);
            parts.push(format!("{column} {int} NOT NULL AUTO_INCREMENT"));
            key.push(column);
        } else if chance(random, 6) {
            let text = one_of(random, &["TEXT", "BLOB", "VARCHAR(200) COLLATE utf8mb4_unicode_ci"]);
            parts.push(format!("{column} {text} NOT NULL"));
            key.push(format!("{column}({})", random.random_range(2..30)));
        } else {
            let of = one_of(random, KEY_TYPES).replace(" NULL", "");
            let default = if of.starts_with("TIMESTAMP") { " DEFAULT '2026-01-01 00:00:00'" } else { "" };
            parts.push(format!("{column} {of} NOT NULL{default}"));
            key.push(column);
        }
    }
    for i in 0..random.random_range(0..3) {
        parts.push(format!("u{i} {}", one_of(random, KEY_TYPES)));
        if chance(random, 75) {
            parts.push(format!("UNIQUE KEY uk{i} (u{i})"));
        }
    }
    for i in 0..random.random_range(1..7) {
        let of = one_of(random, OTHER_TYPES);
        if numeric.is_none() && of.contains("INT") {
            numeric = Some(format!("c{i}"));
        }
        parts.push(format!("c{i} {of}{}", column_extras(random, of)));
    }
    if chance(random, 20) {
        parts.push("`a json` JSON".into());
    }
    if let Some(numeric) = numeric
        && chance(random, 60)
    {
        parts.push(format!("g0 BIGINT AS ({numeric} % 1000) {}", one_of(random, &["VIRTUAL", "STORED"])));
        if chance(random, 30) {
            parts.push("INDEX gi (g0)".into());
        }
    }
    if chance(random, 20) {
        parts.push("i0 INT INVISIBLE DEFAULT 5".into());
    }
    if chance(random, 10) {
        parts.push(
            "ts TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)".into(),
        );
    }
    parts.push(format!("PRIMARY KEY ({})", key.join(",")));
    if let Some(parent) = parents.get(random.random_range(0..parents.len() + 1)) {
        refer(random, &mut parts, parent);
    }
    format!("CREATE TABLE {SCHEMA}.`{name}` ({})", parts.join(", "))
}

/// Adds a column that refers to the key of `parent`.
fn refer(random: &mut StdRng, parts: &mut Vec<String>, parent: &Shape) {
    let columns: Vec<&Column> = parent.key().collect();
    let action =
        |random: &mut StdRng| one_of(random, &["CASCADE", "CASCADE", "SET NULL", "RESTRICT", "NO ACTION"]);
    let (on_delete, on_update) = (action(random), action(random));
    let mut names = Vec::new();
    for (i, column) in columns.iter().enumerate() {
        let collate = column.collation.as_ref().map(|c| format!(" COLLATE {c}")).unwrap_or_default();
        parts.push(format!("p{i} {}{collate} NULL", column.column_type));
        names.push(format!("p{i}"));
    }
    let theirs: Vec<String> = columns.iter().map(|c| c.quoted()).collect();
    parts.push(format!(
        "FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE {on_delete} ON UPDATE {on_update}",
        names.join(","),
        parent.full_name(),
        theirs.join(",")
    ));
}

fn column_extras(random: &mut StdRng, of: &str) -> &'static str {
    let blob = ["TEXT", "BLOB", "GEOMETRY", "POINT"].iter().any(|b| of.contains(b));
    match random.random_range(0..6) {
        0 if !of.ends_with("NULL") && !blob => " NOT NULL",
        1 => " COMMENT 'it''s \\\\ ; -- /* '",
        _ => "",
    }
}

/// A definition that changes what is there.
pub(super) fn change(random: &mut StdRng, shapes: &[Shape], n: usize) -> String {
    let table = one_of(random, &TABLES);
    if shapes.is_empty() || chance(random, 15) {
        return create(random, table, shapes);
    }
    let shape = &shapes[random.random_range(0..shapes.len())];
    let name = shape.full_name();
    let column = &shape.columns[random.random_range(0..shape.columns.len())];
    let quoted_column = column.quoted();
    match random.random_range(0..20) {
        0..=2 => {
            let of = one_of(random, OTHER_TYPES);
            let place = match random.random_range(0..4) {
                0 => " FIRST".to_owned(),
                1 => format!(" AFTER {quoted_column}"),
                _ => String::new(),
            };
            format!("ALTER TABLE {name} ADD COLUMN n{n} {of}{}{place}", column_extras(random, of))
        }
        3 => format!("ALTER TABLE {name} ADD COLUMN n{n} INT NOT NULL DEFAULT {n}, ADD INDEX (n{n})"),
        4..=5 if !column.primary => format!("ALTER TABLE {name} DROP COLUMN {quoted_column}"),
        6 => format!("ALTER TABLE {name} MODIFY COLUMN {quoted_column} {}", one_of(random, OTHER_TYPES)),
        7 => format!("ALTER TABLE {name} RENAME COLUMN {quoted_column} TO `r {n}`"),
        8 => format!("CREATE INDEX in{n} ON {name} ({quoted_column})"),
        9 => format!("ALTER TABLE {name} ADD UNIQUE KEY uq{n} ({quoted_column})"),
        10 => match shape.indexes.first() {
            Some(index) => format!("ALTER TABLE {name} DROP INDEX {}", quoted(index)),
            None => format!("TRUNCATE TABLE {name}"),
        },
        11 => format!("DROP TABLE {name}"),
        12 => format!("DROP TABLE IF EXISTS {name}, {SCHEMA}.`{table}`"),
        13 => format!("RENAME TABLE {name} TO {SCHEMA}.`{table}`"),
        14 => format!("TRUNCATE TABLE {name}"),
        15 => format!("CREATE TABLE {SCHEMA}.`{table}` LIKE {name}"),
        16 => {
            let key: Vec<String> = shape.key().map(Column::quoted).collect();
            let replace = if chance(random, 40) { "OR REPLACE " } else { "" };
            format!(
                "CREATE {replace}TABLE {SCHEMA}.`{table}` (PRIMARY KEY ({})) SELECT * FROM {name}",
                key.join(",")
            )
        }
        17 => format!(
            "ALTER TABLE {name} CONVERT TO CHARACTER SET {}",
            one_of(random, &["utf8mb4", "latin1", "euckr"])
        ),
        18 => {
            format!("ALTER TABLE {name} ADD COLUMN at{n} DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)")
        }
        _ => format!(
            "ALTER TABLE {name} {}",
            one_of(
                random,
                &["FORCE", "ENGINE=InnoDB", "AUTO_INCREMENT=500", "ROW_FORMAT=COMPRESSED", "COMMENT='c'"]
            )
        ),
    }
}
