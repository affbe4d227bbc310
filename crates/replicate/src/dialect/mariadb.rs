//! MariaDB from 10.6 on.

use super::Dialect;

pub(super) const DIALECT: Dialect = Dialect {
    name: "MariaDB",
    least_version: (10, 6),
    required: &[(
        "binlog_alter_two_phase",
        &["OFF", "0", ""],
        "an ALTER TABLE that begins long before it ends cannot stand in an ordered stream",
    )],
    // From 10.10 on a collation has a number for each character set that it serves.
    collations: &[
        "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE ID IS NOT NULL",
        "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL",
    ],
    // A capability of 4 asks for MariaDB's own GTIDs. The server's heartbeats are not used; ours stand in the log.
    before_stream: "SET @mariadb_slave_capability = 4, @master_heartbeat_period = 1000000000",
    last_gtid: "@@last_gtid",
    may_set_read_only: &["READ_ONLY ADMIN"],
    // Servers that replicate from each other, as those of a provider's own HA do, cannot share it.
    server: "HEX(@@global.server_id)",
    tells_gtids_of_places: true,
    account_locks: "SELECT Host, IFNULL(JSON_VALUE(Priv, '$.account_locked'), 0) IN ('1', 'true') \
                    FROM mysql.global_priv WHERE User = ?",
    not_replicable: "SELECT CONCAT('system-versioned table ', table_schema, '.', table_name) \
                     FROM information_schema.tables WHERE table_type = 'SYSTEM VERSIONED' AND table_schema {} UNION ALL \
                     SELECT CONCAT('COMPRESSED column ', table_schema, '.', table_name, '.', column_name) \
                     FROM information_schema.columns WHERE column_type LIKE '%COMPRESSED%' AND table_schema {} UNION ALL \
                     SELECT CONCAT('sequence ', table_schema, '.', table_name) FROM information_schema.tables \
                     WHERE table_type = 'SEQUENCE' AND table_schema {} ORDER BY 1",
    end_of_log: |_| "SHOW MASTER STATUS",
};
