//! The check can fail: every violation is planted in a real database, and found.

use std::net::SocketAddr;

use cloud::local::{
    lab_number::{self, LabNumber},
    scratch::Scratch,
};
use lab::{
    checker::{durable, equal, facts, rules},
    ledger::Acknowledged,
};
use mysql_async::{Conn, Opts, prelude::Queryable};

/// The service's columns without its keys: the keys are what makes most violations impossible there, and here
/// they must be possible.
const SCHEMA: &str = "
    CREATE DATABASE ticketing;
    USE ticketing;
    CREATE TABLE accounts (id BIGINT UNSIGNED PRIMARY KEY, email VARCHAR(254));
    CREATE TABLE performances (id INT UNSIGNED PRIMARY KEY, capacity INT UNSIGNED, account_limit TINYINT UNSIGNED);
    CREATE TABLE seat_claims (n INT AUTO_INCREMENT PRIMARY KEY, performance_id INT UNSIGNED, seat VARCHAR(16),
        account_id BIGINT UNSIGNED NULL, state ENUM('held','sold','blocked'), booking_id BIGINT UNSIGNED NULL,
        price_won INT UNSIGNED);
    CREATE TABLE bookings (id BIGINT UNSIGNED PRIMARY KEY, booking_no CHAR(14), account_id BIGINT UNSIGNED,
        performance_id INT UNSIGNED, idempotency_key VARCHAR(64), seat_count TINYINT UNSIGNED,
        amount_won INT UNSIGNED, state ENUM('confirmed','cancelled'));
    CREATE TABLE payments (id BIGINT UNSIGNED PRIMARY KEY, booking_id BIGINT UNSIGNED, amount_won INT UNSIGNED,
        state ENUM('captured','refunded'))";

/// A night on which all is well: two bookings, a held seat, a blocked one, a cancelled booking.
const ALL_IS_WELL: &str = "
    DELETE FROM accounts; DELETE FROM performances; DELETE FROM seat_claims; DELETE FROM bookings;
    DELETE FROM payments;
    INSERT INTO accounts VALUES (1, 'a@example.test'), (2, 'b@example.test');
    INSERT INTO performances VALUES (7, 5, 2);
    INSERT INTO bookings VALUES (11, 'NUMBER-A', 1, 7, 'key-a', 2, 300, 'confirmed'),
                                (12, 'NUMBER-B', 2, 7, 'key-b', 1, 150, 'confirmed'),
                                (13, 'NUMBER-C', 2, 7, 'key-c', 1, 150, 'cancelled');
    INSERT INTO payments VALUES (21, 11, 300, 'captured'), (22, 12, 150, 'captured'), (23, 13, 150, 'refunded');
    INSERT INTO seat_claims (performance_id, seat, account_id, state, booking_id, price_won) VALUES
        (7, 'A-1', 1, 'sold', 11, 150), (7, 'A-2', 1, 'sold', 11, 150), (7, 'A-3', 2, 'sold', 12, 150),
        (7, 'A-4', 2, 'held', NULL, 150), (7, 'A-5', NULL, 'blocked', NULL, 150)";

fn told(booking_no: &str, email: &str, seats: &[&str], amount_won: u64, key: &str) -> Acknowledged {
    Acknowledged {
        booking_no: booking_no.into(),
        account: email.into(),
        performance: 7,
        seats: seats.iter().map(|s| (*s).to_owned()).collect(),
        amount_won,
        idempotency_key: key.into(),
        sent_at_ms: 1,
        acknowledged_at_ms: 2,
        answered_by: SocketAddr::from(([127, 0, 0, 1], 8080)),
        round: 1,
    }
}

fn ledger() -> Vec<Acknowledged> {
    vec![
        told("NUMBER-A", "a@example.test", &["A-2", "A-1"], 300, "key-a"),
        told("NUMBER-B", "b@example.test", &["A-3"], 150, "key-b"),
    ]
}

async fn server() -> ((Scratch, LabNumber), Conn) {
    let number = lab_number::claim().unwrap();
    let server = Scratch::start(&number, 10).await.unwrap();
    let conn = Conn::new(Opts::from_url(&server.agent_url()).unwrap()).await.unwrap();
    ((server, number), conn)
}

/// Plants `sql` and what else visitors were `told`; expects violations of exactly these invariants, in order.
async fn check(conn: &mut Conn, sql: &str, also_told: Option<Acknowledged>, expected: &[&str], lost: usize) {
    conn.query_drop(ALL_IS_WELL).await.unwrap();
    if !sql.is_empty() {
        conn.query_drop(sql).await.unwrap();
    }
    let mut ledger = ledger();
    ledger.extend(also_told);
    let findings = rules::judge(&facts::read(conn, "the planted server").await.unwrap(), &ledger);
    let found: Vec<_> = findings.violations.iter().map(|v| v.invariant).collect();
    let words: Vec<_> = findings.violations.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "after `{sql}`: {words:#?}");
    assert_eq!(findings.lost.len(), lost, "after `{sql}`: {words:#?}");
    assert_eq!(!findings.double_sold.is_empty(), expected.contains(&"I1"), "after `{sql}`: {words:#?}");
}

#[tokio::test]
async fn every_planted_violation_is_found_and_a_good_night_passes() {
    let (_server, mut conn) = server().await;
    let conn = &mut conn;
    conn.query_drop(SCHEMA).await.unwrap();
    check(conn, "", None, &[], 0).await;

    // I1: by the key, and by what visitors were told.
    let twice = "INSERT INTO seat_claims (performance_id, seat, account_id, state, price_won)
                 VALUES (7, 'A-3', 1, 'held', 150); UPDATE performances SET capacity = 6, account_limit = 3";
    check(conn, twice, None, &["I1"], 0).await;
    let same_seat = told("NUMBER-B2", "b@example.test", &["A-1"], 150, "key-b2");
    check(conn, "", Some(same_seat), &["I1", "I2"], 1).await;

    // I2: gone, or not what was answered.
    let gone = "DELETE FROM bookings WHERE id = 12; DELETE FROM payments WHERE id = 22;
                DELETE FROM seat_claims WHERE booking_id = 12";
    check(conn, gone, None, &["I2"], 1).await;
    check(conn, "UPDATE seat_claims SET seat = 'A-9' WHERE seat = 'A-3'", None, &["I2"], 1).await;
    let amount = "UPDATE bookings SET amount_won = 100 WHERE id = 12; UPDATE seat_claims SET price_won = 100
                  WHERE seat = 'A-3'; UPDATE payments SET amount_won = 100 WHERE id = 22";
    check(conn, amount, None, &["I2"], 1).await;
    let account =
        "UPDATE bookings SET account_id = 1 WHERE id = 12; UPDATE performances SET account_limit = 3;
                   UPDATE seat_claims SET account_id = 1 WHERE seat = 'A-3'";
    check(conn, account, None, &["I2"], 1).await;
    check(conn, "UPDATE bookings SET idempotency_key = 'other' WHERE id = 12", None, &["I2"], 1).await;
    let cancelled = "UPDATE bookings SET state = 'cancelled' WHERE id = 12;
                     UPDATE payments SET state = 'refunded' WHERE id = 22; DELETE FROM seat_claims WHERE seat = 'A-3'";
    check(conn, cancelled, None, &["I2"], 1).await;

    // I4: by the claims, and by what one account was told.
    let third = "INSERT INTO seat_claims (performance_id, seat, account_id, state, price_won)
                 VALUES (7, 'A-6', 1, 'held', 150); UPDATE performances SET capacity = 6";
    check(conn, third, None, &["I4"], 0).await;
    let told_third = told("NUMBER-A3", "a@example.test", &["A-7"], 150, "key-a3");
    check(conn, "", Some(told_third), &["I2", "I4"], 1).await;

    // I5: charged and not confirmed, confirmed and not charged, charged twice, charged for nothing.
    check(conn, "UPDATE payments SET state = 'captured' WHERE id = 23", None, &["I5"], 0).await;
    check(conn, "DELETE FROM payments WHERE id = 22", None, &["I5", "I10"], 0).await;
    check(conn, "INSERT INTO payments VALUES (29, 12, 0, 'captured')", None, &["I5"], 0).await;
    check(conn, "INSERT INTO payments VALUES (29, 99, 150, 'captured')", None, &["I5"], 0).await;

    // I7: confirmed, and a seat is missing.
    check(conn, "UPDATE bookings SET seat_count = 2 WHERE id = 12", None, &["I7"], 0).await;

    // I8: in the database, and told to two.
    let number_twice = "INSERT INTO bookings VALUES (14, 'NUMBER-C', 2, 7, 'key-d', 0, 0, 'cancelled');
                        INSERT INTO payments VALUES (24, 14, 0, 'refunded')";
    check(conn, number_twice, None, &["I8"], 0).await;
    let told_twice = told("NUMBER-B", "b@example.test", &["A-3"], 150, "key-b");
    check(conn, "UPDATE performances SET account_limit = 9", Some(told_twice), &["I8"], 0).await;

    // I10: seats and money.
    check(conn, "UPDATE performances SET capacity = 4", None, &["I10"], 0).await;
    check(conn, "UPDATE seat_claims SET price_won = 140 WHERE seat = 'A-3'", None, &["I10"], 0).await;
    check(conn, "UPDATE payments SET amount_won = 140 WHERE id = 22", None, &["I10"], 0).await;
    let of_nobody = "INSERT INTO seat_claims (performance_id, seat, account_id, state, booking_id, price_won)
                     VALUES (7, 'A-6', 1, 'sold', 77, 150);
                     UPDATE performances SET capacity = 6, account_limit = 3";
    check(conn, of_nobody, None, &["I10"], 0).await;
    check(conn, "UPDATE seat_claims SET account_id = NULL WHERE seat = 'A-4'", None, &["I10"], 0).await;
}

#[tokio::test]
async fn a_lab_s_server_is_durable() {
    let (_server, mut conn) = server().await;
    assert_eq!(durable::weak_settings(&mut conn, "nhn").await.unwrap(), []);
}

#[tokio::test]
async fn two_databases_differ_by_table_and_row() {
    let (_server, mut a) = server().await;
    let mut b = Conn::new(a.opts().clone()).await.unwrap();
    a.query_drop(SCHEMA).await.unwrap();
    a.query_drop(ALL_IS_WELL).await.unwrap();
    // The same server is both sides: what differs is another schema, filled the same way.
    let same = equal::differences("ticketing", (&mut a, "nhn"), (&mut b, "aws")).await.unwrap();
    assert_eq!(same, []);

    let other = server().await;
    let (_other_server, mut b) = other;
    b.query_drop(SCHEMA).await.unwrap();
    b.query_drop(ALL_IS_WELL).await.unwrap();
    b.query_drop("UPDATE bookings SET amount_won = 1 WHERE id = 12; DELETE FROM payments WHERE id = 23")
        .await
        .unwrap();
    let found = equal::differences("ticketing", (&mut a, "nhn"), (&mut b, "aws")).await.unwrap();
    let words: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "I12: ticketing.bookings: nhn has (12, 'NUMBER-B', 2, 7, 'key-b', 1, 150, 'confirmed'), aws has \
             (12, 'NUMBER-B', 2, 7, 'key-b', 1, 1, 'confirmed')",
            "I12: ticketing.payments: nhn has (23, 13, 150, 'refunded'), aws has no such row"
        ]
    );
    b.query_drop("DROP TABLE payments").await.unwrap();
    let found = equal::differences("ticketing", (&mut a, "nhn"), (&mut b, "aws")).await.unwrap();
    assert!(found.len() == 1 && found[0].what.starts_with("the tables of ticketing differ"), "{found:?}");
}
