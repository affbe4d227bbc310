//! Whether a replica holds what the source holds: the server's own checksum over every row of every table.

use std::collections::BTreeMap;

use mysql_async::{Conn, prelude::Queryable};

use super::workload::SCHEMA;

/// By table: the checksum of all its rows. `None` where the server gave none.
pub(super) type Checksums = BTreeMap<String, Option<u64>>;

/// Reads all rows of all tables of the workload.
pub(super) async fn checksums(conn: &mut Conn) -> Result<Checksums, mysql_async::Error> {
    let tables: Vec<String> = conn
        .exec("SELECT table_name FROM information_schema.tables WHERE table_schema = ? ORDER BY 1", (SCHEMA,))
        .await?;
    let names: Vec<String> = tables.iter().map(|t| format!("{SCHEMA}.`{t}`")).collect();
    Ok(conn
        .query::<(String, Option<u64>), _>(format!("CHECKSUM TABLE {} EXTENDED", names.join(", ")))
        .await?
        .into_iter()
        .collect())
}

/// What differs, in words; nothing if both hold the same tables with the same rows.
pub(super) fn difference(source: &Checksums, replica: &Checksums) -> Option<String> {
    let tables = source.keys().chain(replica.keys());
    let differs = tables.into_iter().find(|t| {
        let (a, b) = (source.get(*t).copied().flatten(), replica.get(*t).copied().flatten());
        a.is_none() || a != b
    })?;
    let told = |of: &Checksums| match of.get(differs) {
        None => "no such table".to_owned(),
        Some(None) => "no checksum".to_owned(),
        Some(Some(sum)) => sum.to_string(),
    };
    Some(format!("{differs} differs: the source has {}, the replica {}", told(source), told(replica)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(of: &[(&str, Option<u64>)]) -> Checksums {
        of.iter().map(|(t, s)| ((*t).to_owned(), *s)).collect()
    }

    #[test]
    fn a_row_a_table_or_a_checksum_too_few_is_a_difference() {
        let source = sums(&[("bench.a", Some(1)), ("bench.b", Some(2))]);
        assert_eq!(difference(&source, &source.clone()), None);
        for other in [
            sums(&[("bench.a", Some(1)), ("bench.b", Some(3))]),
            sums(&[("bench.a", Some(1))]),
            sums(&[("bench.a", Some(1)), ("bench.b", None)]),
        ] {
            assert!(difference(&source, &other).is_some_and(|d| d.contains("bench.b")), "{other:?}");
            assert!(difference(&other, &source).is_some(), "{other:?}");
        }
        let unread = sums(&[("bench.a", None)]);
        assert!(difference(&unread, &unread.clone()).is_some(), "what was not read is not equal");
    }
}
