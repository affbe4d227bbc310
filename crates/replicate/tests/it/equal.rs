//! Whatever the primary writes, the standby holds the same.

use model::Epoch;
use mysql_async::prelude::Queryable;
use replicate::{
    binlog::{AtEnd, Item, Log},
    filter::{Filter, Origin},
    transaction::At,
};

use crate::pair::{Half, Pair, follow, reached};

/// A table with a column of every type, and rows with the limits of each.
pub(crate) const EVERY_TYPE: &[&str] = &[
    "CREATE DATABASE types CHARACTER SET utf8mb4",
    "CREATE TABLE types.numbers (
        id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT,
        a TINYINT, b TINYINT UNSIGNED, c SMALLINT, d SMALLINT UNSIGNED, e MEDIUMINT, f MEDIUMINT UNSIGNED,
        y YEAR, g INT, h INT UNSIGNED, i BIGINT, j BIGINT UNSIGNED,
        k DECIMAL(65,30), l DECIMAL(5,0), m DECIMAL(10,10) UNSIGNED, n FLOAT, o DOUBLE, p FLOAT(7,2), q DOUBLE(10,3),
        r BIT(1), s BIT(13), t BIT(64), u BOOL, z INT ZEROFILL)",
    "INSERT INTO types.numbers VALUES
        (0,-128,255,-32768,65535,-8388608,16777215,1901,-2147483648,4294967295,-9223372036854775808,18446744073709551615,
         -99999999999999999999999999999999999.999999999999999999999999999999,-99999,0.9999999999,
         -3.402823466e38,-1.7976931348623157e308,-12345.67,-1234567.891,b'1',b'1010101010101',0xffffffffffffffff,1,7),
        (1,127,0,32767,0,8388607,0,2155,2147483647,0,9223372036854775807,0,
         0.000000000000000000000000000001,0,0,1.17549435e-38,2.2250738585072014e-308,0.1,0.001,b'0',0,0,0,0),
        (2,0,1,0,1,0,1,0,0,1,0,1,-0.5,1,0.0000000001,0.1,0.1,3.14,3.142,1,1,0x8000000000000000,1,4294967295),
        (3,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),
        (18446744073709551614,1,200,1,60000,1,16000000,2000,1,4000000000,1,18446744073709551615,123456789.987654321,42,0.5,
         16777217,0.30000000000000004,99999.99,1e6,1,8191,1,0,1)",
    "CREATE TABLE types.times (
        id INT PRIMARY KEY, a DATE, b TIME, c TIME(1), d TIME(3), e TIME(6), f DATETIME, g DATETIME(2), h DATETIME(6),
        i TIMESTAMP NULL, j TIMESTAMP(4) NULL, k TIMESTAMP(6) NULL,
        l TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)",
    "SET sql_mode='ALLOW_INVALID_DATES'",
    "INSERT INTO types.times VALUES
        (1,'0000-00-00','-838:59:59','-838:59:59.9','-00:00:00.001','-00:00:00.000001','0000-00-00 00:00:00',
         '0000-00-00 00:00:00.00','1000-01-01 00:00:00.000001','1970-01-01 00:00:01','1970-01-01 00:00:01.0001',
         '2038-01-19 03:14:07.999999','2001-02-03 04:05:06'),
        (2,'9999-12-31','838:59:59','838:59:59.9','12:34:56.789','23:59:59.999999','9999-12-31 23:59:59',
         '9999-12-31 23:59:59.99','9999-12-31 23:59:59.999999','2038-01-19 03:14:07','2000-02-29 23:59:59.9999',
         '2026-03-29 01:30:00.5','0000-00-00 00:00:00'),
        (3,'2026-02-31','00:00:00','-12:00:00.5','-12:00:00.123','-00:00:01.5','2026-02-31 12:00:00','2026-00-00 00:00:00',
         '2026-10-25 01:30:00',0,NULL,NULL,'2026-10-25 01:30:00'),
        (4,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-01-01')",
    "CREATE TABLE types.strings (
        id VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci PRIMARY KEY,
        a CHAR(10), b VARCHAR(300), c TINYTEXT, d TEXT, e MEDIUMTEXT, f LONGTEXT,
        g CHAR(5) CHARACTER SET latin1, h VARCHAR(20) CHARACTER SET euckr, i TEXT CHARACTER SET utf16,
        j VARCHAR(10) CHARACTER SET ucs2, k VARCHAR(10) CHARACTER SET utf32, l VARCHAR(10) CHARACTER SET sjis,
        m CHAR(3) CHARACTER SET ascii, n VARCHAR(10) CHARACTER SET utf8mb3,
        o BINARY(8), p VARBINARY(300), q TINYBLOB, r BLOB, s MEDIUMBLOB, t LONGBLOB,
        u ENUM('one','two','셋') CHARACTER SET utf8mb4, v SET('a','b','c','d','e','f','g','h','i'),
        w JSON, x CHAR(200), y ENUM('x') CHARACTER SET latin1, z VARCHAR(20) COLLATE utf8mb4_uca1400_ai_ci)",
    "INSERT INTO types.strings VALUES
        ('한국어 `quote''s \\\\ 🎭', 'pad  ', REPEAT('ü',300), '', 'text''\\0\\Z', 'm', 'l', 'é', _utf8mb4'한국', _utf8mb4'😀', _utf8mb4'가',
         _utf8mb4'🎫', _utf8mb4'日本', 'abc', 'ㄱ', 0x0100000000000000, 0x00ff00, 0x00, 0xff, 0x27, 0x5c, 'two', 'a,c,i', '{\"k\": [1, 2.5, \"한\"]}', REPEAT('가', 200), 'x', 'Straße'),
        ('', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', 'one', '', '[]', '', 'x', ''),
        ('no member', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'four', 'z', NULL, NULL, 'y', NULL),
        ('null', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    "INSERT INTO types.strings (id, f, t) VALUES ('large', REPEAT('한국어', 100000), REPEAT(0x00ff27, 300000))",
    "CREATE TABLE types.others (
        a INT, b BINARY(4), g POINT, h GEOMETRY, u UUID, s INET6, v4 INET4,
        twice INT AS (a * 2) VIRTUAL, thrice INT AS (a * 3) STORED, hidden INT INVISIBLE DEFAULT 5,
        PRIMARY KEY (b, a), CHECK (a < 1000000))",
    "INSERT INTO types.others (a, b, g, h, u, s, v4) VALUES
        (1, 0x01, POINT(1.5, -2), ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 4326), '123e4567-e89b-12d3-a456-426655440000', '2001:db8::1', '10.0.0.1'),
        (2, 0x00000000, NULL, ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))'), '01890a5d-ac96-774b-bcce-b302099a8057', '::', '0.0.0.0'),
        (3, 0x01, NULL, NULL, '00000000-0000-0000-0000-000000000000', '::ffff:1.2.3.4', '255.255.255.255'),
        (4, 0x01, NULL, NULL, 'ffffffff-ffff-ffff-ffff-ffffffffffff', NULL, NULL),
        (5, 0x01, NULL, NULL, '6fa459ea-ee8a-3ca4-894e-db77e160355e', NULL, NULL)",
];

/// Changes of every row of those tables.
pub(crate) const CHANGE_ALL: &[&str] = &[
    "UPDATE types.numbers SET o = COALESCE(o, 1) / 3, n = COALESCE(n, 1) / 3, a = -1, t = t ^ 1 WHERE id < 100",
    "UPDATE types.numbers SET id = id + 50 WHERE id = 1",
    "UPDATE types.times SET b = '-01:02:03', h = '2026-11-22 18:25:16.123456' WHERE id > 1",
    "UPDATE types.strings SET b = 'changed', w = '{}' WHERE id <> 'large'",
    "UPDATE types.strings SET t = REPEAT(0xab, 500000) WHERE id = 'large'",
    "UPDATE types.strings SET y = 'x' WHERE id = 'no member'",
    "UPDATE types.others SET h = POINT(9, 9), hidden = 6, s = '::1' WHERE a < 5",
    "UPDATE types.others SET u = '6fa459ea-ee8a-4ca4-894e-db77e160355e' WHERE a = 5",
    "DELETE FROM types.others WHERE a IN (3, 4)",
    "DELETE FROM types.strings WHERE id = 'null'",
    "DELETE FROM types.times WHERE id = 1",
    "DELETE FROM types.numbers WHERE id = 3",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_column_type_arrives_as_it_was() {
    let pair = Pair::start().await;
    let (shipping, follower) = pair.attached().await;
    pair.a.run(EVERY_TYPE).await;
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    pair.a.run(CHANGE_ALL).await;
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_holds_every_column_type_as_it_was() {
    let pair = Pair::start().await;
    pair.a.run(EVERY_TYPE).await;
    let (shipping, follower) = pair.attached().await;
    pair.check_equal().await;
    pair.a.run(CHANGE_ALL).await;
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_pass_in_order_between_rows() {
    let pair = Pair::start().await;
    let (shipping, follower) = pair.attached().await;
    pair.a
        .run(&[
            "CREATE DATABASE shop",
            "USE shop",
            "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, a INT)",
            "INSERT INTO t (a) VALUES (1),(2),(3)",
            "ALTER TABLE t ADD COLUMN b VARCHAR(10) NOT NULL DEFAULT 'x' FIRST, ADD INDEX (a)",
            "UPDATE t SET b = a",
            "ALTER TABLE t DROP COLUMN a",
            "INSERT INTO t (b) VALUES ('new')",
            "CREATE TABLE copied (PRIMARY KEY (id)) SELECT * FROM t",
            "RENAME TABLE t TO u, copied TO t",
            "INSERT INTO u (b) VALUES ('u')",
            "CREATE UNIQUE INDEX ub ON u (b)",
            "TRUNCATE TABLE t",
            "INSERT INTO t (id, b) VALUES (9, 'after')",
            "CREATE VIEW v AS SELECT id FROM u",
            "CREATE PROCEDURE p() INSERT INTO u (b) VALUES ('called')",
            "CALL p()",
            "CREATE TABLE `odd ``name` (`a ``b` INT PRIMARY KEY, `select` TEXT)",
            "INSERT INTO `odd ``name` VALUES (1, 'one')",
            "UPDATE `odd ``name` SET `select` = 'two'",
            "CREATE USER somebody",
            "ALTER USER somebody ACCOUNT LOCK",
            "DROP VIEW v",
            "CREATE DATABASE gone",
            "CREATE TABLE gone.t (id INT PRIMARY KEY)",
            "DROP DATABASE gone",
            "SET sql_mode='ANSI_QUOTES'",
            "CREATE TABLE \"quoted\" (\"id\" INT PRIMARY KEY)",
        ])
        .await;
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    let there: u64 = pair.b.scalar("SELECT COUNT(*) FROM mysql.user WHERE user='somebody'").await;
    assert_eq!(there, 0, "accounts do not travel");
    let pending: u64 =
        pair.b.scalar("SELECT COUNT(*) FROM ghostlight.applied WHERE pending IS NOT NULL").await;
    assert_eq!(pending, 0);
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cascades_savepoints_and_large_transactions_come_out_equal() {
    let pair = Pair::start().await;
    let (shipping, follower) = pair.attached().await;
    pair.a
        .run(&[
            "CREATE DATABASE shop",
            "USE shop",
            "CREATE TABLE parent (id INT PRIMARY KEY)",
            "CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE)",
            "INSERT INTO parent VALUES (1),(2),(3)",
            "INSERT INTO child VALUES (1,1),(2,1),(3,2),(4,3)",
            "DELETE FROM parent WHERE id = 1",
            "UPDATE parent SET id = 20 WHERE id = 2",
            "SET foreign_key_checks = 0",
            "INSERT INTO child VALUES (9, 999)",
            "SET foreign_key_checks = 1",
            "INSERT INTO child VALUES (10, 3)",
            "BEGIN",
            "INSERT INTO parent VALUES (30)",
            "SAVEPOINT a",
            "INSERT INTO parent VALUES (31)",
            "ROLLBACK TO a",
            "INSERT INTO parent VALUES (32)",
            "COMMIT",
            // Larger than a part, than a batch and than a packet.
            "CREATE TABLE large (id INT PRIMARY KEY, text VARCHAR(200))",
            "INSERT INTO large SELECT seq, REPEAT(CHAR(65 + seq % 26), 190) FROM seq_1_to_60000",
            "UPDATE large SET text = REVERSE(CONCAT(text, id))",
            "DELETE FROM large WHERE id % 3 = 0",
        ])
        .await;
    pair.caught_up(&shipping).await;
    pair.check_equal().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_is_closed_in_both_directions() {
    let pair = Pair::start().await;
    pair.a.run(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, a INT)"]).await;
    pair.a.run(&["INSERT INTO shop.t VALUES (1, 1)"]).await;
    let (shipping, follower) = pair.attached().await;
    pair.a
        .run(&[
            "INSERT INTO shop.t VALUES (2, 2)",
            "CREATE TABLE shop.u (id INT PRIMARY KEY)",
            "INSERT INTO shop.u VALUES (1)",
        ])
        .await;
    pair.caught_up(&shipping).await;
    follower.stop().await;
    drop(shipping);
    // Everything in b's log came from a: by seed, by rows, by definition.
    assert_eq!(local_changes(&pair.b).await, 0);

    // Roles reversed, from the very beginning of b's log: nothing of it may come back to a.
    let new_primary = pair.b.site.clone();
    pair.a.raise(2, &new_primary).await;
    pair.b.raise(2, &new_primary).await;
    pair.a
        .run(&[&format!(
            "INSERT INTO ghostlight.applied VALUES ('{}', 1, 4, '{new_primary}', 2, NULL)",
            pair.b.stream
        )])
        .await;
    let shipping = pair.ship(&pair.b, 2).await;
    let follower = follow(pair.config(&pair.a, &shipping, &new_primary, 2));
    pair.b
        .run(&[
            "INSERT INTO shop.t VALUES (3, 3)",
            "ALTER TABLE shop.u ADD COLUMN b INT",
            "UPDATE shop.t SET a = 9",
        ])
        .await;
    let goal = pair.b.end_of_log().await;
    reached(&mut shipping.watermarks.clone(), &goal).await;
    pair.check_equal().await;
    let watermark = shipping.watermarks.borrow().clone().unwrap();
    assert_eq!(watermark.epoch, Epoch(2));
    assert!(local_changes(&pair.b).await > 0);
    follower.stop().await;
}

/// Steps of transactions in a half's whole log that would travel.
async fn local_changes(half: &Half) -> usize {
    let mut log = Log::open(&half.database, At { file: 1, offset: 4 }, AtEnd::Stop).await.unwrap();
    let (mut filter, mut items, mut changes, mut from_peer) = (Filter::default(), Vec::new(), 0, 0);
    while log.next(&mut items).await.unwrap() {
        for item in items.drain(..) {
            if let Some(Item::Change(change)) = filter.pass(item).unwrap() {
                tracing::info!("local: {change:?}");
                changes += 1;
            }
            from_peer += usize::from(filter.origin() == Some(Origin::Peer));
        }
    }
    assert!(from_peer > 0, "the mark was found");
    changes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_travels_as_time_only() {
    let pair = Pair::start().await;
    let (shipping, follower) = pair.attached().await;
    pair.a.conn().await.query_drop("UPDATE ghostlight.heartbeat SET n = n + 1, at_ms = 1").await.unwrap();
    pair.caught_up(&shipping).await;
    let mut progress = follower.progress.clone();
    let seen = progress.wait_for(|p| p.heartbeat_at.is_some()).await.unwrap().clone();
    assert!(seen.lag_ms.unwrap() > 1_000_000, "an old heartbeat shows as lag");
    let n: u64 = pair.b.scalar("SELECT n FROM ghostlight.heartbeat").await;
    assert_eq!(n, 0);
    follower.stop().await;
}
