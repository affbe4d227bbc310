//! MySQL 8.0 and 8.4, as documented: no MySQL server ran against this.
//!
//! The login (`caching_sha2_password`) is the driver's. Positions are file and offset, as everywhere here, so GTIDs may
//! be on or off.

use super::Dialect;

pub(super) const DIALECT: Dialect = Dialect {
    name: "MySQL",
    least_version: (8, 0),
    required: &[
        ("binlog_order_commits", &["ON", "1"], "a position must stand for everything before it"),
        (
            "binlog_row_value_options",
            &[""],
            "with PARTIAL_JSON a row's image holds only the changed part of a JSON document",
        ),
        (
            "binlog_transaction_compression",
            &["OFF", "0", ""],
            "a transaction would come as one packed event, however large it is",
        ),
    ],
    collations: &["SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL"],
    before_stream: "SET @master_heartbeat_period = 1000000000, @source_heartbeat_period = 1000000000",
    last_gtid: "''",
    may_set_read_only: &["SYSTEM_VARIABLES_ADMIN", "CONNECTION_ADMIN"],
    server: "LEFT(SHA1(@@global.server_uuid), 16)",
    tells_gtids_of_places: false,
    account_locks: "SELECT Host, account_locked = 'Y' FROM mysql.user WHERE User = ?",
    not_replicable: "SELECT CONCAT('JSON column ', table_schema, '.', table_name, '.', column_name) \
                     FROM information_schema.columns WHERE data_type IN ('json', 'vector') AND table_schema {} ORDER BY 1",
    // 8.2 renamed it, 8.4 dropped the old name.
    end_of_log: |(major, minor, _)| {
        if (major, minor) >= (8, 2) { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" }
    },
};
