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
    let mut weak = Vec::new();
    for (name, wanted) in WANTED {
        let found: Option<String> = conn
            .query_first(format!("SELECT CAST(@@global.{name} AS CHAR)"))
            .await
            .map_err(Unread::of(format!("{name} of {whose}")))?;
        let found = found.unwrap_or_default();
        if found != wanted {
            weak.push(Violation::new("durability", format!("{whose}: {name} = {found}, not {wanted}")));
        }
    }
    Ok(weak)
}
