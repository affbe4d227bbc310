//! Whether a server keeps what it acknowledged when its machine loses power.

use mysql_async::{Conn, prelude::Queryable};

use super::{Unread, Violation};

/// The settings that DESIGN §4.11 demands, as `SELECT @@global.…` returns them.
const WANTED: [(&str, &str); 4] = [
    ("sync_binlog", "1"),
    ("innodb_flush_log_at_trx_commit", "1"),
    ("binlog_format", "ROW"),
    ("binlog_row_image", "FULL"),
];

/// Every setting of the server behind `conn` that is weaker than what is wanted. `whose` names it in the words.
pub async fn weak_settings(conn: &mut Conn, whose: &str) -> Result<Vec<Violation>, Unread> {
    let mut found = Vec::new();
    for (name, _) in WANTED {
        let value: Option<String> = conn
            .query_first(format!("SELECT CAST(@@global.{name} AS CHAR)"))
            .await
            .map_err(Unread::of(format!("{name} of {whose}")))?;
        found.push((name, value.unwrap_or_default()));
    }
    Ok(judge(whose, &found))
}

fn judge(whose: &str, found: &[(&str, String)]) -> Vec<Violation> {
    let weak = WANTED.iter().filter_map(|(name, wanted)| {
        let value = found.iter().find(|(n, _)| n == name).map_or("not told", |(_, v)| v.as_str());
        let words = || format!("{whose}: {name} = {value}, not {wanted}");
        (value != *wanted).then(|| Violation::new("durability", words()))
    });
    weak.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_setting_is_named_and_a_missing_one_is_weak() {
        let found = [
            ("sync_binlog", "1000".to_owned()),
            ("innodb_flush_log_at_trx_commit", "2".to_owned()),
            ("binlog_format", "ROW".to_owned()),
        ];
        let words: Vec<_> = judge("nhn", &found).iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "durability: nhn: sync_binlog = 1000, not 1",
                "durability: nhn: innodb_flush_log_at_trx_commit = 2, not 1",
                "durability: nhn: binlog_row_image = not told, not FULL",
            ]
        );
    }
}
