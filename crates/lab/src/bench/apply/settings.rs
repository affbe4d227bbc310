//! What the servers are set to: written down in `settings/*.cnf`, given to the servers, and read back from them.
//!
//! Always true here: a figure of one replica is compared with a figure of another only when every setting in
//! [`COMPARED`] was read from both, is the same on both, and is what the file says where the file says something.

use std::collections::BTreeMap;

use mysql_async::{Conn, prelude::Queryable};
use serde::Serialize;

use super::Contender;

/// Of every server.
const EVERY_SERVER: &str = include_str!("settings/every_server.cnf");

/// What is read from every server and must be the same: all of `every_server.cnf`, and what else could favour one.
const COMPARED: [&str; 24] = [
    "version",
    "innodb_flush_log_at_trx_commit",
    "sync_binlog",
    "innodb_doublewrite",
    "innodb_buffer_pool_size",
    "innodb_log_file_size",
    "innodb_log_buffer_size",
    "innodb_flush_method",
    "innodb_io_capacity",
    "innodb_purge_threads",
    "innodb_read_io_threads",
    "innodb_write_io_threads",
    "max_binlog_size",
    "log_bin",
    "log_slave_updates",
    "log_bin_compress",
    "binlog_format",
    "binlog_row_image",
    "binlog_row_metadata",
    "binlog_checksum",
    "binlog_cache_size",
    "binlog_commit_wait_count",
    "performance_schema",
    "table_open_cache",
];

/// What is read from every replica to be shown: how its own replication is set.
const SHOWN: [&str; 5] = [
    "slave_parallel_mode",
    "slave_parallel_threads",
    "slave_parallel_max_queued",
    "sync_relay_log",
    "gtid_pos_auto_engines",
];

/// Settings by name, as the server tells them.
pub type Values = BTreeMap<String, String>;

/// The first line that the bench prints: what was read from the servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Settings {
    /// The same on the source and on every replica.
    pub every_server: Values,
    /// How each replica's own replication is set, by contender; ours does not use it.
    pub replicas: BTreeMap<&'static str, Values>,
}

/// The options of a file: names and values in its order.
fn options(cnf: &str) -> impl Iterator<Item = (&str, &str)> {
    cnf.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with(['#', '[']))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
}

fn file_of(contender: Contender) -> &'static str {
    match contender {
        Contender::Ours => "",
        Contender::NativeSerial => include_str!("settings/native_serial.cnf"),
        Contender::Native8 => include_str!("settings/native_8.cnf"),
        Contender::Native16 => include_str!("settings/native_16.cnf"),
    }
}

/// The arguments of a server: the source's, or a replica's for a contender.
pub(super) fn arguments(contender: Option<Contender>) -> Vec<String> {
    let own = contender.map_or("", file_of);
    options(EVERY_SERVER).chain(options(own)).map(|(name, value)| argument(name, value)).collect()
}

fn argument(name: &str, value: &str) -> String {
    let name = name.replace('_', "-");
    match (name.as_str(), value) {
        // The log's switch takes a name as its value.
        ("log-bin", "ON") => "--log-bin=binlog".into(),
        _ => format!("--{name}={value}"),
    }
}

/// What a running server is set to.
pub(super) async fn read(conn: &mut Conn) -> Result<Values, mysql_async::Error> {
    let all: Vec<(String, String)> = conn.query("SHOW GLOBAL VARIABLES").await?;
    let known = |name: &str| COMPARED.contains(&name) || SHOWN.contains(&name);
    Ok(all.into_iter().filter(|(name, _)| known(name)).collect())
}

impl Settings {
    /// Takes what was read from a replica (or, without contender, the source). The words say what differs, if
    /// anything does: then there is nothing to compare.
    pub(super) fn take(&mut self, contender: Option<Contender>, read: &Values) -> Result<(), String> {
        let whose = contender.map_or("source", Contender::name);
        for (name, value) in options(EVERY_SERVER).chain(options(contender.map_or("", file_of))) {
            if read.get(name).map(String::as_str) != Some(value) {
                return Err(format!(
                    "the server of `{whose}` runs with {name}={}, and its file says {value}: nothing is compared",
                    shown(read.get(name))
                ));
            }
        }
        for name in COMPARED {
            let found = read.get(name);
            match self.every_server.get(name) {
                None => drop(self.every_server.insert(name.to_owned(), shown(found))),
                Some(first) if *first == shown(found) => {}
                Some(first) => {
                    return Err(format!(
                        "the server of `{whose}` runs with {name}={}, another one with {first}: nothing is compared",
                        shown(found)
                    ));
                }
            }
        }
        if let Some(contender) = contender {
            let own = SHOWN.iter().map(|name| ((*name).to_owned(), shown(read.get(*name)))).collect();
            self.replicas.insert(contender.name(), own);
        }
        Ok(())
    }
}

/// A value, or that the server has no such setting.
fn shown(value: Option<&String>) -> String {
    value.map_or_else(|| "(none)".to_owned(), Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_written(contender: Option<Contender>) -> Values {
        let own = contender.map_or("", file_of);
        options(EVERY_SERVER).chain(options(own)).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn every_setting_of_the_file_is_compared() {
        for (name, _) in options(EVERY_SERVER) {
            assert!(COMPARED.contains(&name), "{name}");
        }
    }

    #[test]
    fn a_server_that_is_less_durable_or_larger_is_found() {
        for (name, value) in
            [("sync_binlog", "0"), ("innodb_flush_log_at_trx_commit", "2"), ("innodb_buffer_pool_size", "1")]
        {
            let mut settings = Settings::default();
            settings.take(None, &as_written(None)).unwrap();
            let mut read = as_written(Some(Contender::Native8));
            settings.take(Some(Contender::Native8), &read).unwrap();
            read.insert(name.into(), value.into());
            let e = settings.take(Some(Contender::Native8), &read).unwrap_err();
            assert!(e.contains(name) && e.contains("native_8"), "{e}");
        }
    }

    #[test]
    fn what_no_file_says_must_be_the_same_all_the_same() {
        let mut settings = Settings::default();
        settings.take(None, &as_written(None)).unwrap();
        let mut read = as_written(Some(Contender::Ours));
        read.insert("innodb_flush_method".into(), "nosync".into());
        assert!(settings.take(Some(Contender::Ours), &read).unwrap_err().contains("innodb_flush_method"));
    }

    #[test]
    fn options_become_arguments() {
        let arguments = arguments(Some(Contender::Native16));
        for needed in ["--sync-binlog=1", "--log-bin=binlog", "--slave-parallel-threads=16"] {
            assert!(arguments.iter().any(|a| a == needed), "{needed} in {arguments:?}");
        }
    }
}
