//! Rows in words, for the sentences that operators read.

use super::hex;
use crate::transaction::{Row, Table, Value};

/// A row's values with their columns' names; of its key only, or all.
pub(crate) fn told(table: &Table, row: &Row, key_only: bool) -> String {
    let shown = |i: usize| !key_only || table.key.iter().any(|k| usize::from(*k) == i);
    let values = table.columns.iter().zip(row).enumerate().filter(|(i, _)| shown(*i));
    values.map(|(_, (c, v))| format!("{}={}", c.name, told_value(v))).collect::<Vec<_>>().join(", ")
}

fn told_value(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Signed(n) => n.to_string(),
        Value::Unsigned(n) => n.to_string(),
        Value::Float(n) => n.to_string(),
        Value::Double(n) => n.to_string(),
        Value::Decimal(text) => text.clone(),
        Value::Temporal(text) => format!("'{text}'"),
        Value::Bytes(bytes) => shortened(&match std::str::from_utf8(bytes) {
            Ok(text) => format!("'{text}'"),
            Err(_) => format!("x'{}'", hex(bytes)),
        }),
    }
}

/// Long values are cut: they stand in an operator's sentence.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
