//! Writes the load into the source: several connections at full speed, once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use mysql_async::{Conn, Error, prelude::Queryable};
use runtime::clock::Boot;
use tokio::task::JoinSet;

use super::{because, place::Node};
use crate::drill::Aborted;

/// Connections that write.
pub(super) const CONNECTIONS: u32 = 8;

/// The server took a transaction back for another one's sake: lock wait timeout, deadlock.
const TAKEN_BACK: [u16; 2] = [1205, 1213];

/// Commits exactly `transactions` transactions, as `writer` makes them for each connection; returns how many a
/// second.
pub(super) async fn write<W: FnMut() -> String + Send + 'static>(
    source: &Node,
    transactions: u64,
    writer: impl Fn(u32) -> W,
) -> Result<f64, Aborted> {
    let left = Arc::new(AtomicU64::new(transactions));
    let mut writers = JoinSet::new();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(source.admin().await?);
    }
    let began = Boot::now();
    for (number, mut conn) in (0..).zip(connections) {
        let left = left.clone();
        let mut next = writer(number);
        writers.spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                commit(&mut conn, &next()).await?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.map_err(because("a writer"))?.map_err(because("writing the load"))?;
    }
    Ok(crate::ledger::to_f64(transactions) / began.elapsed().as_secs_f64())
}

/// Commits one transaction, again and again if the server takes it back.
pub(super) async fn commit(conn: &mut Conn, transaction: &str) -> Result<(), Error> {
    loop {
        let outcome = match conn.query_iter(transaction).await {
            Ok(results) => results.drop_result().await,
            Err(e) => Err(e),
        };
        match outcome {
            Err(Error::Server(e)) if TAKEN_BACK.contains(&e.code) => conn.query_drop("ROLLBACK").await?,
            outcome => return outcome,
        }
    }
}
