//! A row as JSON and back, exactly.
//!
//! | value | JSON |
//! |---|---|
//! | NULL | `null` |
//! | integers, BIT, SET, ENUM (the member's number), YEAR | a number |
//! | DECIMAL | a string of its digits |
//! | FLOAT, DOUBLE | a string, the shortest text that reads back as the same number (`"1.5e0"`) |
//! | dates and times | a string; TIMESTAMP in UTC |
//! | characters of UTF-8 or ASCII | a string |
//! | characters of another character set | `{"charset":"euckr","hex":"b0a1"}` |
//! | bytes, geometries | `{"hex":"00ff"}` |
//!
//! A column's [`Kind`] tells which string is which, so the way back needs the table's columns.

use serde_json::{Map, Value as Json, json};

use crate::apply::hex;
use crate::transaction::{Kind, Row, Table, Value};

use super::QuarantineError;

/// `row` of `table` by column.
pub fn to_json(table: &Table, row: &Row) -> Map<String, Json> {
    let values = table.columns.iter().zip(row);
    values.map(|(column, value)| (column.name.clone(), value_to_json(value, &column.kind))).collect()
}

fn value_to_json(value: &Value, kind: &Kind) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Signed(n) => json!(n),
        Value::Unsigned(n) => json!(n),
        Value::Float(n) => json!(format!("{:e}", f64::from(*n))),
        Value::Double(n) => json!(format!("{n:e}")),
        Value::Decimal(text) | Value::Temporal(text) => json!(text),
        Value::Bytes(bytes) => match kind {
            Kind::Text { charset } => match std::str::from_utf8(bytes) {
                Ok(text) if is_utf8(charset) => json!(text),
                _ => json!({ "charset": charset, "hex": hex(bytes) }),
            },
            _ => json!({ "hex": hex(bytes) }),
        },
    }
}

/// Whether the bytes of this character set are UTF-8.
fn is_utf8(charset: &str) -> bool {
    matches!(charset, "utf8mb4" | "utf8mb3" | "utf8" | "ascii")
}

/// A row of `table` from what [`to_json`] made.
pub fn from_json(table: &Table, image: &Map<String, Json>) -> Result<Row, QuarantineError> {
    let read = |column: &crate::transaction::Column| {
        let found = image.get(&column.name);
        found.and_then(|json| value_from_json(json, &column.kind)).ok_or_else(|| {
            QuarantineError::Value(format!(
                "the column {} of {table} is not readable: {found:?}",
                column.name
            ))
        })
    };
    table.columns.iter().map(read).collect()
}

fn value_from_json(json: &Json, kind: &Kind) -> Option<Value> {
    Some(match (json, kind) {
        (Json::Null, _) => Value::Null,
        (Json::Number(n), Kind::Number) => match n.as_i64() {
            Some(n) => Value::Signed(n),
            None => Value::Unsigned(n.as_u64()?),
        },
        // Digits stay digits: a FLOAT's text means the same number to the server as the number did.
        (Json::String(text), Kind::Number) => Value::Decimal(text.clone()),
        (Json::String(text), Kind::Temporal) => Value::Temporal(text.clone()),
        (Json::String(text), Kind::Text { .. }) => Value::Bytes(text.clone().into_bytes()),
        (Json::Object(parts), _) => Value::Bytes(unhex(parts.get("hex")?.as_str()?)?),
        _ => return None,
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::Column;

    fn check(value: Value, kind: Kind, json: Json, back: Value) {
        let column = Column { name: "c".into(), kind };
        let table = Table { schema: "s".into(), name: "t".into(), columns: vec![column], key: vec![0] };
        let image = to_json(&table, &vec![value]);
        assert_eq!(image["c"], json);
        let text = serde_json::to_string(&image).unwrap();
        let read: Map<String, Json> = serde_json::from_str(&text).unwrap();
        assert_eq!(from_json(&table, &read).unwrap(), vec![back]);
    }

    #[test]
    fn every_value_is_written_down_exactly() {
        let text = |charset: &str| Kind::Text { charset: charset.into() };
        let same = |value: Value, kind: Kind, json: Json| check(value.clone(), kind, json, value);
        same(Value::Null, Kind::Number, Json::Null);
        same(Value::Signed(i64::MIN), Kind::Number, json!(i64::MIN));
        same(Value::Unsigned(u64::MAX), Kind::Number, json!(u64::MAX));
        check(Value::Unsigned(7), Kind::Number, json!(7), Value::Signed(7));
        same(Value::Decimal("-0.50".into()), Kind::Number, json!("-0.50"));
        check(Value::Double(0.1), Kind::Number, json!("1e-1"), Value::Decimal("1e-1".into()));
        let third = "3.3333334326744080e-1";
        let float = Value::Float(1.0 / 3.0);
        check(float, Kind::Number, json!("3.333333432674408e-1"), Value::Decimal(third.replace("80e", "8e")));
        same(Value::Temporal("-00:00:00.001".into()), Kind::Temporal, json!("-00:00:00.001"));
        same(Value::Bytes("한국 'x'".into()), text("utf8mb4"), json!("한국 'x'"));
        same(Value::Bytes(vec![0xb0, 0xa1]), text("euckr"), json!({"charset": "euckr", "hex": "b0a1"}));
        same(Value::Bytes(vec![0xff]), text("utf8mb4"), json!({"charset": "utf8mb4", "hex": "ff"}));
        same(Value::Bytes(vec![0, 255]), Kind::Binary { fixed: Some(4) }, json!({"hex": "00ff"}));
        same(Value::Bytes(vec![]), Kind::Geometry, json!({"hex": ""}));
    }

    #[test]
    fn what_nobody_wrote_is_an_error() {
        let kind = Kind::Binary { fixed: None };
        for json in [json!("text"), json!({"hex": "0"}), json!({"hex": "zz"}), json!(1), json!([])] {
            assert_eq!(value_from_json(&json, &kind), None, "{json}");
        }
    }
}
