//! A quarantine as SQL: what the old primary had done, for whoever decides that some of it should be done after all.
//!
//! Nothing runs this by itself. Each statement says what happened then, and would happen again: an INSERT of the row, an
//! UPDATE to the after image where the key and everything else is still as before, a DELETE likewise. So a row that
//! has been sold to somebody else meanwhile is left alone.

use super::{Op, QuarantineError, QuarantinedTable, RowLine, image::from_json};
use crate::{
    apply::{portable_literal, quoted},
    transaction::Row,
};

/// The statement of `line`, a row of `table`, with a comment in front where a transaction begins.
pub fn statement(
    line: &RowLine,
    table: Option<&QuarantinedTable>,
    previous_transaction: Option<u64>,
) -> Result<String, QuarantineError> {
    let mut text = String::new();
    if previous_transaction != Some(line.transaction) {
        let gtid = line.gtid.as_deref().unwrap_or("none");
        text.push_str(&format!(
            "-- transaction {} at {}, committed {} s after 1970 UTC, gtid {gtid}\n",
            line.transaction, line.at, line.committed_at_s
        ));
    }
    let Some(table) = table else {
        let sql = line.statement.as_deref().unwrap_or_default().replace('\n', "\n-- ");
        text.push_str(&format!("-- in {}: {sql}\n", line.table));
        return Ok(text);
    };
    let image = |image: &Option<_>| match image {
        Some(image) => from_json(&table.table, image),
        None => Err(QuarantineError::Value(format!("line {} lacks an image", line.line))),
    };
    let name = format!("{}.{}", quoted(&table.table.schema), quoted(&table.table.name));
    let sql = match line.op {
        Op::Insert => {
            let row = image(&line.after)?;
            let columns: Vec<String> = written(table).map(|(_, c)| quoted(&c.name)).collect();
            let values: Vec<String> = written(table).map(|(i, _)| value(table, &row, i)).collect();
            format!("INSERT INTO {name} ({}) VALUES ({})", columns.join(", "), values.join(", "))
        }
        Op::Delete => format!("DELETE FROM {name} WHERE {}", as_it_was(table, &image(&line.before)?)),
        Op::Update => {
            let (before, after) = (image(&line.before)?, image(&line.after)?);
            let set: Vec<String> = written(table)
                .filter(|(i, _)| before.get(*i) != after.get(*i))
                .map(|(i, c)| format!("{} = {}", quoted(&c.name), value(table, &after, i)))
                .collect();
            if set.is_empty() {
                return Ok(text);
            }
            format!("UPDATE {name} SET {} WHERE {}", set.join(", "), as_it_was(table, &before))
        }
        Op::Definition => return Ok(text),
    };
    text.push_str(&sql);
    text.push_str(";\n");
    Ok(text)
}

/// The columns that the server does not compute by itself, with their places.
fn written(table: &QuarantinedTable) -> impl Iterator<Item = (usize, &crate::transaction::Column)> {
    table.table.columns.iter().enumerate().filter(|(_, c)| !table.computed.contains(&c.name))
}

fn value(table: &QuarantinedTable, row: &Row, column: usize) -> String {
    match (row.get(column), table.table.columns.get(column)) {
        (Some(value), Some(column)) => portable_literal(value, &column.kind),
        _ => String::new(),
    }
}

fn as_it_was(table: &QuarantinedTable, row: &Row) -> String {
    let conditions: Vec<String> =
        written(table).map(|(i, c)| format!("{} <=> {}", quoted(&c.name), value(table, row, i))).collect();
    conditions.join(" AND ")
}

#[cfg(test)]
mod tests {
    use super::{super::image::to_json, *};
    use crate::transaction::{Column, Kind, Table, Value};

    fn check(op: Op, before: Option<Row>, after: Option<Row>, expected: &str) {
        let kinds = [Kind::Number, Kind::Text { charset: "utf8mb4".into() }, Kind::Number];
        let columns = ["id", "na`me", "twice"].iter().zip(kinds);
        let table = QuarantinedTable {
            number: 0,
            table: Table {
                schema: "shop".into(),
                name: "t".into(),
                columns: columns.map(|(name, kind)| Column { name: (*name).into(), kind }).collect(),
                key: vec![0],
            },
            computed: vec!["twice".into()],
        };
        let line = RowLine {
            line: 1,
            transaction: 4,
            at: "1:99".into(),
            gtid: None,
            committed_at_s: 7,
            table: "shop.t".into(),
            number: Some(0),
            op,
            before: before.map(|r| to_json(&table.table, &r)),
            after: after.map(|r| to_json(&table.table, &r)),
            statement: None,
        };
        assert_eq!(statement(&line, Some(&table), Some(4)).unwrap(), expected);
        assert!(statement(&line, Some(&table), None).unwrap().starts_with("-- transaction 4 at 1:99"));
    }

    #[test]
    fn each_line_says_what_would_happen_again_and_only_to_a_row_that_is_as_it_was() {
        let row = |id: i64, text: &str| {
            Some(vec![Value::Signed(id), Value::Bytes(text.into()), Value::Signed(2 * id)])
        };
        let insert = "INSERT INTO `shop`.`t` (`id`, `na``me`) VALUES (1, _utf8mb4 x'27')";
        check(Op::Insert, None, row(1, "'"), &format!("{insert};\n"));
        let was = "`id` <=> 1 AND `na``me` <=> _utf8mb4 x'61'";
        check(Op::Delete, row(1, "a"), None, &format!("DELETE FROM `shop`.`t` WHERE {was};\n"));
        let update = format!("UPDATE `shop`.`t` SET `na``me` = _utf8mb4 x'62' WHERE {was};\n");
        check(Op::Update, row(1, "a"), row(1, "b"), &update);
    }
}
