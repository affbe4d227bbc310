//! The baseline of `bench booking`: one database server with the lab's settings, and nothing else. Thirty-two
//! connections each write one booking a transaction, unbatched: the statements of a hold and a payment.
//!
//! The tables have the keys of the service's, because keys are what costs.

use std::{
    path::PathBuf,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use cloud::local::{
    lab_number,
    mariadb::{AGENT_USER, Accounts, Options, Server, Template, folder_for_databases},
};
use mysql_async::{Conn, OptsBuilder, prelude::Queryable};
use runtime::{clock::Boot, secret::Secret};
use tokio::task::JoinSet;

use super::booking::Line;
use crate::{
    layout::{Addresses, Cloud},
    ledger::to_f64,
    stats::{Samples, rounded},
};

const CONNECTIONS: u32 = 32;

const SCHEMA: [&str; 4] = [
    "CREATE DATABASE baseline",
    "CREATE TABLE baseline.seat_claims (
        performance_id INT UNSIGNED NOT NULL, seat VARCHAR(16) CHARACTER SET ascii NOT NULL,
        account_id BIGINT UNSIGNED NULL, slot TINYINT UNSIGNED NULL, state ENUM('held','sold','blocked') NOT NULL,
        hold_id CHAR(26) CHARACTER SET ascii NULL, held_until DATETIME(3) NULL, booking_id BIGINT UNSIGNED NULL,
        price_won INT UNSIGNED NOT NULL, PRIMARY KEY (performance_id, seat),
        UNIQUE KEY (performance_id, account_id, slot), KEY (hold_id), KEY (booking_id)) ENGINE=InnoDB",
    "CREATE TABLE baseline.bookings (
        id BIGINT UNSIGNED PRIMARY KEY, booking_no CHAR(14) CHARACTER SET ascii NOT NULL,
        account_id BIGINT UNSIGNED NOT NULL, performance_id INT UNSIGNED NOT NULL,
        idempotency_key VARCHAR(64) CHARACTER SET ascii NOT NULL, seat_count TINYINT UNSIGNED NOT NULL,
        amount_won INT UNSIGNED NOT NULL, state ENUM('confirmed','cancelled') NOT NULL,
        created_at DATETIME(3) NOT NULL, UNIQUE KEY (booking_no), UNIQUE KEY (account_id, idempotency_key))
        ENGINE=InnoDB",
    "CREATE TABLE baseline.payments (
        id BIGINT UNSIGNED PRIMARY KEY, booking_id BIGINT UNSIGNED NOT NULL, provider VARCHAR(16) NOT NULL,
        provider_ref VARCHAR(64) CHARACTER SET ascii NOT NULL, amount_won INT UNSIGNED NOT NULL,
        state ENUM('captured','refunded') NOT NULL, created_at DATETIME(3) NOT NULL, UNIQUE KEY (booking_id),
        UNIQUE KEY (provider_ref)) ENGINE=InnoDB",
];

/// Measures bookings per second.
pub(super) async fn run(warm_up: Duration, measure: Duration) -> Result<Line, String> {
    let number = lab_number::claim().map_err(|e| e.to_string())?;
    let folder = PathBuf::from(format!("/var/tmp/ghostlight-bench-{}", std::process::id()));
    let folder = folder_for_databases(&folder).map_err(|e| e.to_string())?;
    let (agent, application) = (Secret::random(), Secret::random());
    let accounts = Accounts { agent: agent.clone(), application };
    let template = Template::prepare(&folder, &accounts).await.map_err(|e| e.to_string())?;
    let address = Addresses::of(number.get()).database(Cloud::Nhn);
    let server = Server::create(&template, &folder.join("data"), address, 1, Options::default()).await;
    let mut server = server.map_err(|e| e.to_string())?;
    server.start().await.map_err(|e| e.to_string())?;
    let opts = OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        .user(Some(AGENT_USER))
        .pass(Some(agent.expose()))
        .prefer_socket(false);
    let measured = load(opts, warm_up, measure).await.map_err(|e| format!("the baseline's database: {e}"));
    server.stop(Duration::from_secs(20)).await.map_err(|e| e.to_string())?;
    if let Err(e) = std::fs::remove_dir_all(&folder) {
        tracing::warn!("{} is left behind: {e}", folder.display());
    }
    measured
}

async fn load(opts: OptsBuilder, warm_up: Duration, measure: Duration) -> Result<Line, mysql_async::Error> {
    let mut conn = Conn::new(opts.clone()).await?;
    for statement in SCHEMA {
        conn.query_drop(statement).await?;
    }
    let next = Arc::new(AtomicU64::new(1));
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Conn::new(opts.clone()).await?);
    }
    let from = Boot::now() + warm_up;
    let to = from + measure;
    let mut tasks = JoinSet::new();
    for mut conn in connections {
        let next = next.clone();
        tasks.spawn(async move {
            let mut latencies_ms = Vec::new();
            while Boot::now() < to {
                let begun = Boot::now();
                book(&mut conn, next.fetch_add(1, Ordering::Relaxed)).await?;
                let ended = Boot::now();
                if from <= ended && ended < to {
                    latencies_ms.push(ended.since(begun).as_secs_f64() * 1_000.0);
                }
            }
            Ok::<_, mysql_async::Error>(latencies_ms)
        });
    }
    let mut latency = Samples::default();
    while let Some(ended) = tasks.join_next().await {
        let latencies_ms = ended.map_err(|e| mysql_async::Error::Other(e.into()))??;
        latencies_ms.into_iter().for_each(|ms| latency.push(ms));
    }
    Ok(Line {
        workload: "database",
        gate: None,
        concurrency: CONNECTIONS,
        acknowledged_per_s: rounded(to_f64(latency.len() as u64) / measure.as_secs_f64(), 1),
        p50_ms: latency.p50().map(|ms| rounded(ms, 1)),
        p99_ms: latency.p99().map(|ms| rounded(ms, 1)),
        cpu_ms: None,
        busy_percent: None,
        errors: 0,
    })
}

/// One booking: what a hold and a payment write, in one transaction, a statement at a time.
async fn book(conn: &mut Conn, n: u64) -> Result<(), mysql_async::Error> {
    let (performance, account, slot) = (n % 20, n / 80, n / 20 % 4);
    conn.query_drop("BEGIN").await?;
    conn.exec_drop(
        "INSERT INTO baseline.seat_claims VALUES (?, ?, ?, ?, 'sold', ?, NULL, ?, 99000)",
        (performance, format!("F3-{}-{}", n / 50, n % 50), account, slot, format!("{n:026}"), n),
    )
    .await?;
    conn.exec_drop(
        "INSERT INTO baseline.bookings VALUES (?, ?, ?, ?, ?, 1, 99000, 'confirmed', NOW(3))",
        (n, format!("{n:014}"), account, performance, format!("key-{n}")),
    )
    .await?;
    conn.exec_drop(
        "INSERT INTO baseline.payments VALUES (?, ?, 'test', ?, 99000, 'captured', NOW(3))",
        (n, n, format!("ref-{n}")),
    )
    .await?;
    conn.query_drop("COMMIT").await
}
