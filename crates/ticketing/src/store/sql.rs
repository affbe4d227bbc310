//! Writing values into SQL text.
//!
//! The hot paths send several statements as one packet, which the text protocol allows and prepared statements do
//! not. Every text that goes into one passes through [`quoted`].

use mysql_async::Value;

/// A text as an SQL literal.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).as_sql(false)
}

/// A moment as an SQL literal.
pub(super) fn moment(at_ms: u64) -> String {
    format!("'{}'", crate::calendar::sql(at_ms))
}

/// Texts as a list: `'a','b'`.
pub(super) fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(quoted).collect::<Vec<_>>().join(",")
}

/// A DATETIME column as milliseconds; sessions run in UTC, so the server's view of it is the stored one.
pub(super) fn as_ms(column: &str) -> String {
    format!("CAST(UNIX_TIMESTAMP({column}) * 1000 AS UNSIGNED)")
}
