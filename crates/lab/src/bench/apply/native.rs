//! MariaDB's own replication, as a contender.

use std::time::Duration;

use mysql_async::{Conn, Row, prelude::Queryable};
use runtime::clock::Boot;

use super::{
    because,
    place::{Mark, Node, Place},
};
use crate::drill::Aborted;

/// How long one question "are you there yet" waits in the server. It answers at once when it is there.
const ASK_S: u64 = 2;

/// Applies everything from `from` to `goal`; returns the time from START SLAVE until the server says that it is there.
pub(super) async fn run(
    place: &Place,
    source: &Node,
    replica: &Node,
    from: &Mark,
    goal: &Mark,
    patience: Duration,
) -> Result<Duration, Aborted> {
    const WHAT: &str = "native replication";
    let mut conn = replica.admin().await?;
    let address = source.server.address();
    let (user, password) = place.account();
    conn.query_drop(format!("SET GLOBAL gtid_slave_pos='{}'", from.gtid)).await.map_err(because(WHAT))?;
    conn.query_drop(format!(
        "CHANGE MASTER TO MASTER_HOST='{}', MASTER_PORT={}, MASTER_USER='{user}', MASTER_PASSWORD='{password}', \
         MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1",
        address.ip(),
        address.port()
    ))
    .await
    .map_err(because(WHAT))?;
    let began = Boot::now();
    conn.query_drop("START SLAVE").await.map_err(because(WHAT))?;
    loop {
        let sql = format!("SELECT MASTER_GTID_WAIT('{}', {ASK_S})", goal.gtid);
        let reached: Option<i64> = conn.query_first(sql).await.map_err(because(WHAT))?;
        let took = began.elapsed();
        if reached == Some(0) {
            conn.query_drop("STOP SLAVE").await.map_err(because(WHAT))?;
            return Ok(took);
        }
        if let Some(why) = trouble(&mut conn).await.map_err(because(WHAT))? {
            return Err(format!("native replication stopped: {why}").into());
        }
        if took > patience {
            return Err(format!("the native replica is not there after {patience:?}").into());
        }
    }
}

/// Why it does not go on, if it does not.
async fn trouble(conn: &mut Conn) -> Result<Option<String>, mysql_async::Error> {
    let status: Option<Row> = conn.query_first("SHOW SLAVE STATUS").await?;
    let Some(mut status) = status else { return Ok(Some("the server knows of no source".into())) };
    let mut text = |name: &str| status.take::<Option<String>, _>(name).flatten().unwrap_or_default();
    let (io, sql) = (text("Last_IO_Error"), text("Last_SQL_Error"));
    Ok([io, sql].into_iter().find(|e| !e.is_empty()))
}
