//! What MariaDB and MySQL must be asked in different words, and what each must be set to.
//!
//! One value for each kind of server: [`mariadb`] was tried on real servers, [`mysql`] was written by its documentation
//! (see README). Whoever needs such a word takes it from [`of`] and knows no server by name.

mod mariadb;
mod mysql;

use mysql_async::Conn;

/// A variable that must have exactly one of these values; an empty one stands for a server that does not know it, too.
pub type Required = (&'static str, &'static [&'static str], &'static str);

/// The words of one kind of server.
#[derive(Debug)]
pub struct Dialect {
    /// What it is called.
    pub name: &'static str,
    /// The first version that we know.
    pub least_version: (u32, u32),
    /// Variables that only this kind has: name, values that will do, why.
    pub required: &'static [Required],
    /// Every collation's number and character set; the first that the server understands.
    pub(crate) collations: &'static [&'static str],
    /// Run before the log is asked for, on the same connection.
    pub(crate) before_stream: &'static str,
    /// An expression for the GTID of this session's last transaction; `''` if the server tells none.
    pub(crate) last_gtid: &'static str,
    /// An expression for what tells this server from every other that could take its place: at most 16 characters, none
    /// of them a `-`.
    pub(crate) server: &'static str,
    /// The privileges by which an account may set `read_only` and is exempt from it.
    pub(crate) may_set_read_only: &'static [&'static str],
    /// Whether the server tells which transactions stand before a place of its log (`BINLOG_GTID_POS`).
    pub(crate) tells_gtids_of_places: bool,
    /// The hosts of the account `?`, and whether each is locked.
    pub(crate) account_locks: &'static str,
    /// What of the application's can't be replicated: kind and name in one text. `{}` stands for the condition on the
    /// schema.
    pub(crate) not_replicable: &'static str,
    end_of_log: fn((u16, u16, u16)) -> &'static str,
}

/// The dialect of the server at the other end.
pub fn of(conn: &Conn) -> &'static Dialect {
    of_version(conn.server_version())
}

/// The dialect of a server that calls its version so (`10.11.6-MariaDB-log`).
pub fn of_text(version: &str) -> &'static Dialect {
    let major = version.split('.').next().and_then(|m| m.parse().ok()).unwrap_or(0);
    of_version((major, 0, 0))
}

/// MariaDB's versions begin at 10, and MySQL's do not reach it.
fn of_version((major, ..): (u16, u16, u16)) -> &'static Dialect {
    if major >= 10 { &mariadb::DIALECT } else { &mysql::DIALECT }
}

/// The statement that tells the end of the log.
pub(crate) fn end_of_log(conn: &Conn) -> &'static str {
    (of(conn).end_of_log)(conn.server_version())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: (u16, u16, u16), name: &str, end_of_log: &str) {
        let dialect = of_version(version);
        assert_eq!(of_text(&format!("{}.{}.{}-log", version.0, version.1, version.2)).name, name);
        assert_eq!((dialect.name, (dialect.end_of_log)(version)), (name, end_of_log), "{version:?}");
    }

    #[test]
    fn a_server_is_known_by_its_version() {
        check((10, 6, 12), "MariaDB", "SHOW MASTER STATUS");
        check((11, 4, 2), "MariaDB", "SHOW MASTER STATUS");
        check((8, 0, 36), "MySQL", "SHOW MASTER STATUS");
        check((8, 2, 0), "MySQL", "SHOW BINARY LOG STATUS");
        check((8, 4, 3), "MySQL", "SHOW BINARY LOG STATUS");
        check((9, 1, 0), "MySQL", "SHOW BINARY LOG STATUS");
    }
}
