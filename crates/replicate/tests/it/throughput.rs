//! How fast a standby catches up, and how soon it has a single transaction. A measurement, not a check: run it with
//! `cargo test -p replicate --test it throughput -- --ignored --nocapture` on a quiet machine.

use mysql_async::prelude::Queryable;
use replicate::binlog;
use tokio::time::Instant;

use crate::pair::{Pair, reached};

const CONNECTIONS: u32 = 16;
const BOOKINGS_EACH: u32 = 1_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures for a minute and checks nothing that other tests do not"]
async fn throughput_of_bookings_that_wait() {
    let pair = Pair::start().await;
    pair.a
        .run(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.seat_claims (performance_id INT UNSIGNED, seat VARCHAR(16), account_id BIGINT UNSIGNED, slot TINYINT,
                state ENUM('held','sold','blocked'), hold_id CHAR(26), held_until DATETIME(3) NULL, booking_id BIGINT UNSIGNED NULL, price_won INT,
                PRIMARY KEY (performance_id, seat), UNIQUE KEY (performance_id, account_id, slot), KEY (hold_id))",
            "CREATE TABLE shop.bookings (id BIGINT UNSIGNED PRIMARY KEY, booking_no CHAR(14) UNIQUE, account_id BIGINT UNSIGNED,
                performance_id INT UNSIGNED, idempotency_key VARCHAR(64), amount_won INT, created_at DATETIME(3), UNIQUE (account_id, idempotency_key))",
        ])
        .await;
    let (shipping, follower) = pair.attached().await;
    follower.stop().await;
    let began = Instant::now();
    let writers: Vec<_> = (0..CONNECTIONS)
        .map(|c| {
            let database = pair.a.database.clone();
            tokio::spawn(async move {
                let mut conn = database.open().await.unwrap();
                for n in 0..BOOKINGS_EACH {
                    let id = c * BOOKINGS_EACH + n;
                    conn.query_drop(format!("INSERT INTO shop.seat_claims VALUES (1,'S-{id}',{id},1,'held','hold-{id}',NOW(3),NULL,99000)"))
                        .await
                        .unwrap();
                    conn.query_drop("BEGIN").await.unwrap();
                    conn.query_drop(format!("UPDATE shop.seat_claims SET state='sold', booking_id={id} WHERE performance_id=1 AND seat='S-{id}'")).await.unwrap();
                    conn.query_drop(format!("INSERT INTO shop.bookings VALUES ({id},'B{id}',{id},1,'key-{id}',99000,NOW(3))")).await.unwrap();
                    conn.query_drop("COMMIT").await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let transactions = f64::from(2 * CONNECTIONS * BOOKINGS_EACH);
    println!("written: {:.0} transactions/s", transactions / began.elapsed().as_secs_f64());
    let began = Instant::now();
    let follower = pair.follow(&shipping);
    pair.caught_up(&shipping).await;
    println!("applied: {:.0} transactions/s", transactions / began.elapsed().as_secs_f64());
    let mut conn = pair.a.conn().await;
    let mut waits_ms = Vec::new();
    for id in 0..300 {
        conn.query_drop(format!("UPDATE shop.bookings SET amount_won=1 WHERE id={id}")).await.unwrap();
        let committed = Instant::now();
        let goal = binlog::end_of_log(&mut conn).await.unwrap().in_stream(&pair.a.stream);
        reached(&mut shipping.watermarks.clone(), &goal).await;
        waits_ms.push(committed.elapsed().as_secs_f64() * 1_000.0);
    }
    waits_ms.sort_by(f64::total_cmp);
    println!("applied after the commit's OK: p50 {:.1} ms, p99 {:.1} ms", waits_ms[150], waits_ms[297]);
    pair.check_equal().await;
    follower.stop().await;
}
