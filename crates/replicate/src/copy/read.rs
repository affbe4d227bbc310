//! Reading a range of a table, on both sides in the same way.
//!
//! Prepared, because only the binary protocol carries a FLOAT without rounding it; in the columns' own character
//! sets, because a conversion may lose what it cannot say. The session must be one of [`open`].

use futures_util::StreamExt;
use mysql_async::{Conn, consts::ColumnType, prelude::Queryable};

use super::Bound;
use crate::{
    apply::{hex, quoted, text},
    binlog::{Charsets, charsets},
    database::{DatabaseConfig, DatabaseError},
    filter::APPLICATIONS_SQL,
    transaction::{Column, Kind, Row, Table, Value},
};

/// A session for reading, and the server's collations.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) conn: Conn,
    pub(crate) charsets: Charsets,
}

/// Opens a session for reading.
pub(crate) async fn open(database: &DatabaseConfig) -> Result<Reader, DatabaseError> {
    let settings = vec![
        "SET character_set_results = NULL, net_write_timeout = 3600".to_owned(),
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ".to_owned(),
    ];
    let mut conn = database.open_with(settings).await?;
    let charsets = charsets(&mut conn).await?;
    Ok(Reader { conn, charsets })
}

/// What must be known of a table to read its ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Names and types.
    columns: Vec<(String, String)>,
    key: Vec<u16>,
    /// Bytes, as the server estimates.
    pub(crate) average_row: u64,
}

/// The tables of the application, in an order of their own.
pub(crate) async fn tables(conn: &mut Conn) -> Result<Vec<(String, String)>, DatabaseError> {
    Ok(conn
        .query(format!("SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE='BASE TABLE' AND TABLE_SCHEMA {APPLICATIONS_SQL} ORDER BY 1,2"))
        .await?)
}

/// Looks a table up. `None`: there is none.
pub(crate) async fn shape(conn: &mut Conn, schema: &str, name: &str) -> Result<Option<Shape>, DatabaseError> {
    let of_table = format!("TABLE_SCHEMA={} AND TABLE_NAME={}", text(schema), text(name));
    let columns: Vec<(String, String)> = conn
        .query(format!("SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE {of_table} ORDER BY ORDINAL_POSITION"))
        .await?;
    if columns.is_empty() {
        return Ok(None);
    }
    let key: Vec<String> = conn
        .query(format!("SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE {of_table} AND INDEX_NAME='PRIMARY' ORDER BY SEQ_IN_INDEX"))
        .await?;
    let place = |key: &String| columns.iter().position(|(c, _)| c == key).and_then(|i| u16::try_from(i).ok());
    let key = key.iter().filter_map(place).collect();
    let average: Option<Option<u64>> = conn
        .query_first(format!("SELECT AVG_ROW_LENGTH FROM information_schema.TABLES WHERE {of_table}"))
        .await?;
    let average_row = average.flatten().unwrap_or(0);
    Ok(Some(Shape { schema: schema.to_owned(), name: name.to_owned(), columns, key, average_row }))
}

impl Shape {
    /// Whether there is a primary key to walk along.
    pub(crate) fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    fn key_columns(&self) -> Vec<String> {
        self.key.iter().filter_map(|k| self.columns.get(usize::from(*k))).map(|(n, _)| quoted(n)).collect()
    }

    /// ` WHERE …` that holds for the keys behind `from` up to `to`.
    pub(crate) fn within(&self, from: Option<&Bound>, to: Option<&Bound>) -> String {
        let columns = self.key_columns();
        let conditions: Vec<String> =
            [from.map(|b| beyond(&columns, b, ">", ">")), to.map(|b| beyond(&columns, b, "<", "<="))]
                .into_iter()
                .flatten()
                .collect();
        if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
    }

    fn select(&self, from: Option<&Bound>, to: Option<&Bound>, limit: Option<u64>) -> String {
        // Members by number, as in the log: an ENUM may hold what is no member, and two members may look alike.
        let selected = |(name, data_type): &(String, String)| match data_type.as_str() {
            "enum" | "set" => format!("CAST({} AS UNSIGNED)", quoted(name)),
            _ => quoted(name),
        };
        let list: Vec<String> = self.columns.iter().map(selected).collect();
        let mut sql =
            format!("SELECT {} FROM {}.{}", list.join(","), quoted(&self.schema), quoted(&self.name));
        sql.push_str(&self.within(from, to));
        if self.has_key() {
            sql.push_str(" ORDER BY ");
            sql.push_str(&self.key_columns().join(","));
        }
        if let Some(limit) = limit {
            sql.push_str(&format!(" LIMIT {limit}"));
        }
        sql
    }
}

/// `(a > 1 OR (a = 1 AND b > 2))`, which the server's own order of `(a, b)` decides; `last` compares the last column.
fn beyond(columns: &[String], bound: &Bound, each: &str, last: &str) -> String {
    let mut sql = String::new();
    let mut open = 0;
    let count = columns.len().min(bound.0.len());
    for (i, (column, (value, kind))) in columns.iter().zip(&bound.0).enumerate() {
        let value = literal(value, kind);
        if i + 1 == count {
            sql.push_str(&format!("{column}{last}{value}"));
        } else {
            // What the first column must be at least lets the server begin in the index.
            sql.push_str(&format!(
                "({column}{each}={value} AND ({column}{each}{value} OR ({column}={value} AND "
            ));
            open += 3;
        }
    }
    sql.extend(std::iter::repeat_n(')', open));
    sql
}

/// A selected value as a literal that means exactly it.
pub(crate) fn literal(value: &Value, kind: &Kind) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Signed(n) => n.to_string(),
        Value::Unsigned(n) => n.to_string(),
        Value::Float(n) => format!("{:e}", f64::from(*n)),
        Value::Double(n) => format!("{n:e}"),
        Value::Decimal(digits) => digits.clone(),
        Value::Temporal(text) => format!("'{text}'"),
        Value::Bytes(bytes) => {
            let hex = hex(bytes);
            match kind {
                Kind::Text { charset } => format!("_{charset} x'{hex}'"),
                _ => format!("x'{hex}'"),
            }
        }
    }
}

/// Reads the rows behind `from` up to `to`, at most `limit`, in the key's order.
pub(crate) async fn range(
    conn: &mut Conn,
    charsets: &Charsets,
    shape: &Shape,
    (from, to): (Option<&Bound>, Option<&Bound>),
    limit: Option<u64>,
) -> Result<(Table, Vec<Row>), DatabaseError> {
    let mut result = conn.exec_iter(shape.select(from, to, limit), ()).await?;
    let described = result.columns().unwrap_or_else(|| Vec::new().into());
    let mut columns = Vec::new();
    for (d, (name, _)) in described.iter().zip(&shape.columns) {
        let kind = kind(d, charsets).ok_or_else(|| {
            DatabaseError::Unexpected(format!(
                "column {}.{}.{name} has an unknown collation",
                shape.schema, shape.name
            ))
        })?;
        columns.push(Column { name: name.clone(), kind });
    }
    let types: Vec<ColumnType> = described.iter().map(mysql_async::Column::column_type).collect();
    let table =
        Table { schema: shape.schema.clone(), name: shape.name.clone(), columns, key: shape.key.clone() };
    let mut rows = Vec::new();
    if let Some(mut stream) = result.stream::<mysql_async::Row>().await? {
        while let Some(row) = stream.next().await {
            let row: Row = row?.unwrap_raw().into_iter().zip(&types).map(|(v, t)| value(v, *t)).collect();
            rows.push(row);
        }
    }
    Ok((table, rows))
}

/// What a selected column's values are.
fn kind(column: &mysql_async::Column, charsets: &Charsets) -> Option<Kind> {
    const BINARY: u16 = 63;
    use ColumnType::*;
    Some(match column.column_type() {
        MYSQL_TYPE_DATE | MYSQL_TYPE_NEWDATE | MYSQL_TYPE_TIME | MYSQL_TYPE_DATETIME
        | MYSQL_TYPE_TIMESTAMP => Kind::Temporal,
        MYSQL_TYPE_GEOMETRY => Kind::Geometry,
        MYSQL_TYPE_VARCHAR
        | MYSQL_TYPE_VAR_STRING
        | MYSQL_TYPE_STRING
        | MYSQL_TYPE_ENUM
        | MYSQL_TYPE_SET
        | MYSQL_TYPE_TINY_BLOB
        | MYSQL_TYPE_MEDIUM_BLOB
        | MYSQL_TYPE_LONG_BLOB
        | MYSQL_TYPE_BLOB
        | MYSQL_TYPE_JSON => match column.character_set() {
            BINARY => Kind::Binary { fixed: None },
            id => Kind::Text { charset: charsets.get(&id)?.clone() },
        },
        _ => Kind::Number,
    })
}

fn value(value: Option<mysql_async::Value>, column: ColumnType) -> Value {
    use mysql_async::Value as Theirs;
    match value {
        None | Some(Theirs::NULL) => Value::Null,
        Some(Theirs::Int(n)) => Value::Signed(n),
        Some(Theirs::UInt(n)) => Value::Unsigned(n),
        Some(Theirs::Float(n)) => Value::Float(n),
        Some(Theirs::Double(n)) => Value::Double(n),
        Some(Theirs::Date(year, month, day, h, m, s, us)) => Value::Temporal(match column {
            ColumnType::MYSQL_TYPE_DATE | ColumnType::MYSQL_TYPE_NEWDATE => {
                format!("{year:04}-{month:02}-{day:02}")
            }
            _ => format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}.{us:06}"),
        }),
        Some(Theirs::Time(negative, days, h, m, s, us)) => {
            let sign = if negative { "-" } else { "" };
            Value::Temporal(format!("{sign}{:02}:{m:02}:{s:02}.{us:06}", days * 24 + u32::from(h)))
        }
        Some(Theirs::Bytes(bytes)) => match column {
            ColumnType::MYSQL_TYPE_NEWDECIMAL | ColumnType::MYSQL_TYPE_DECIMAL => {
                Value::Decimal(String::from_utf8_lossy(&bytes).into_owned())
            }
            ColumnType::MYSQL_TYPE_BIT => {
                Value::Unsigned(bytes.iter().fold(0, |bits, b| (bits << 8) | u64::from(*b)))
            }
            _ => Value::Bytes(bytes),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_by_the_servers_own_order() {
        let column = |name: &str| (name.to_owned(), "int".to_owned());
        let shape = Shape {
            schema: "s".into(),
            name: "t".into(),
            columns: vec![column("a"), column("b"), column("c")],
            key: vec![1, 0],
            average_row: 0,
        };
        let bound = |b, a| Bound(vec![(Value::Signed(b), Kind::Number), (Value::Signed(a), Kind::Number)]);
        let sql = shape.select(Some(&bound(1, 2)), Some(&bound(3, 4)), Some(5));
        assert_eq!(
            sql,
            "SELECT `a`,`b`,`c` FROM `s`.`t` WHERE (`b`>=1 AND (`b`>1 OR (`b`=1 AND `a`>2))) AND \
             (`b`<=3 AND (`b`<3 OR (`b`=3 AND `a`<=4))) ORDER BY `b`,`a` LIMIT 5"
        );
        assert_eq!(shape.within(None, None), "");
    }
}
