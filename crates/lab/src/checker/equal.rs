//! Whether two databases hold the same rows.
//!
//! Rows are read in the order of their primary keys and compared one by one, so a difference is told with its
//! table and key. Both databases must be at rest.

use mysql_async::{Conn, Params, Row, Value, prelude::Queryable};

use super::{Unread, Violation};

/// So many rows are read at a time.
const CHUNK: u64 = 5_000;
/// So many differences of one table are told.
const TOLD_MAX: usize = 5;

/// Differences between the `schema` behind `a` and the one behind `b`; names are for the words.
pub async fn differences(
    schema: &str,
    (a, a_name): (&mut Conn, &str),
    (b, b_name): (&mut Conn, &str),
) -> Result<Vec<Violation>, Unread> {
    let (tables_a, tables_b) = (tables(a, schema, a_name).await?, tables(b, schema, b_name).await?);
    if tables_a != tables_b {
        let what = format!("the tables of {schema} differ: {a_name} has {tables_a:?}, {b_name} {tables_b:?}");
        return Ok(vec![Violation::new("I12", what)]);
    }
    let mut found = Vec::new();
    for (table, key) in tables_a {
        let mut told = 0;
        let order = key.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ");
        let mut offset = 0;
        loop {
            let sql =
                format!("SELECT * FROM `{schema}`.`{table}` ORDER BY {order} LIMIT {CHUNK} OFFSET {offset}");
            let rows_a = rows(a, &sql, a_name).await?;
            let rows_b = rows(b, &sql, b_name).await?;
            for (row_a, row_b) in merge(&rows_a, &rows_b) {
                if row_a != row_b && told < TOLD_MAX {
                    told += 1;
                    let what = format!(
                        "{schema}.{table}: {a_name} has {}, {b_name} has {}",
                        brief(row_a),
                        brief(row_b)
                    );
                    found.push(Violation::new("I12", what));
                }
            }
            // After a difference in number, offsets no longer meet the same rows: what was told is enough.
            if rows_a.len() != rows_b.len() || told == TOLD_MAX || (rows_a.len() as u64) < CHUNK {
                break;
            }
            offset += CHUNK;
        }
    }
    Ok(found)
}

/// Pairs rows by place; a missing one is `None`.
fn merge<'a>(
    a: &'a [Vec<Value>],
    b: &'a [Vec<Value>],
) -> impl Iterator<Item = (Option<&'a Vec<Value>>, Option<&'a Vec<Value>>)> {
    (0..a.len().max(b.len())).map(|i| (a.get(i), b.get(i)))
}

fn brief(row: Option<&Vec<Value>>) -> String {
    match row {
        None => "no such row".into(),
        Some(values) => {
            let text: Vec<_> = values.iter().map(|v| v.as_sql(true)).collect();
            format!("({})", text.join(", ").chars().take(300).collect::<String>())
        }
    }
}

/// Every table with the columns of its primary key; all columns where there is none.
async fn tables(conn: &mut Conn, schema: &str, whose: &str) -> Result<Vec<(String, Vec<String>)>, Unread> {
    let sql = "SELECT t.table_name, COALESCE(GROUP_CONCAT(k.column_name ORDER BY k.ordinal_position), '')
               FROM information_schema.tables t
               LEFT JOIN information_schema.key_column_usage k
                 ON k.table_schema = t.table_schema AND k.table_name = t.table_name
                AND k.constraint_name = 'PRIMARY'
               WHERE t.table_schema = ? AND t.table_type = 'BASE TABLE'
               GROUP BY t.table_name ORDER BY t.table_name";
    let found: Vec<(String, String)> =
        conn.exec(sql, (schema,)).await.map_err(Unread::of(format!("the list of tables of {whose}")))?;
    let mut tables = Vec::new();
    for (table, key) in found {
        let mut key: Vec<String> = key.split(',').filter(|c| !c.is_empty()).map(str::to_owned).collect();
        if key.is_empty() {
            let sql = "SELECT column_name FROM information_schema.columns
                       WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position";
            let columns = conn.exec(sql, (schema, &table)).await;
            key = columns.map_err(Unread::of(format!("the columns of {table} of {whose}")))?;
        }
        tables.push((table, key));
    }
    Ok(tables)
}

async fn rows(conn: &mut Conn, sql: &str, whose: &str) -> Result<Vec<Vec<Value>>, Unread> {
    let rows: Vec<Row> =
        conn.exec(sql, Params::Empty).await.map_err(Unread::of(format!("`{sql}` of {whose}")))?;
    Ok(rows.into_iter().map(Row::unwrap).collect())
}
