//! `bench apply --backlog-rows N`: whether memory grows with what waits.
//!
//! N rows are written while nobody follows, a hundred a transaction. Then a standby follows in a process of its own,
//! as an agent does, and the shipper works in this one. Of both the largest resident memory is read from the kernel
//! (`VmHWM`), of this process from the moment at which the following begins.

use std::{net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use mysql_async::prelude::Queryable;
use replicate::database::DatabaseConfig;
use runtime::{
    clock::Boot,
    process::{self, Shutdown},
    secret::Secret,
};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::{
    fs,
    io::AsyncWriteExt,
    process::{Child, Command},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Contender, Settings, Workload, because, checksums, difference, load,
    ours::{self, Shipping},
    place::{self, Node, Place},
    settings,
    workload::rows_of_insert,
};
use crate::{drill::Aborted, ledger::to_f64, stats::rounded};

/// Rows of one transaction.
const ROWS_A_TRANSACTION: u32 = 100;
/// A slower standby than this is given up.
const SLOWEST_ROWS_PER_S: u64 = 2_000;
/// Whatever the number of rows, nobody is given up earlier.
const PATIENCE_MIN: Duration = Duration::from_secs(120);
/// How long the follower may take to end when it is told to.
const END_DEADLINE: Duration = Duration::from_secs(20);
/// How often the talk says how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What is asked of the bench.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// Rows that wait when the standby begins to follow; rounded up to whole transactions.
    pub rows: u64,
    /// Every row follows from it.
    pub seed: u64,
}

/// The figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Line {
    /// Rows that waited.
    pub backlog_rows: u64,
    /// In so many transactions.
    pub transactions: u64,
    /// The log's size.
    pub log_mib: f64,
    /// How long the source took to write them.
    pub write_s: f64,
    /// How long the standby took to apply them: from connecting to the watermark at the log's end.
    pub apply_s: f64,
    /// Rows applied a second.
    pub rows_per_s: f64,
    /// The largest resident memory of the process that follows.
    pub follower_rss_mib_max: f64,
    /// The same of the process that ships.
    pub shipper_rss_mib_max: f64,
    /// Tables whose rows were compared with the source's, and equal.
    pub tables_equal: usize,
}

/// What the process that follows is told, on one line.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    database: SocketAddr,
    user: String,
    password: String,
    peer_link: SocketAddr,
    certificates: PathBuf,
}

/// Follows as the orders say, which [`run`] writes to the standard input of the process that it starts, until
/// `shutdown`.
pub async fn follow(orders: &str, shutdown: Shutdown) -> Result<(), Aborted> {
    let orders: Orders = serde_json::from_str(orders).map_err(because("the orders"))?;
    let database = DatabaseConfig {
        address: orders.database,
        user: orders.user,
        password: Secret::new(orders.password),
    };
    let config = ours::standby(&database, &orders.certificates, orders.peer_link)?;
    let mut following = ours::follow(config);
    tokio::select! {
        () = shutdown.cancelled() => {}
        failed = following.failed() => return Err(failed),
    }
    following.end().await
}

/// Builds the backlog and lets a standby catch up. `follower` is the command that does [`follow`].
pub async fn run(
    config: Backlog,
    follower: Command,
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<Line, Aborted> {
    let place = Place::prepare().await?;
    let base = place.base(Workload::OltpInsert, config.seed).await?;
    let (source, from) = place.source(&base).await?;
    let mut conn = source.admin().await?;
    let mut settings = Settings::default();
    settings.take(None, &settings::read(&mut conn).await.map_err(because("the source's settings"))?)?;

    let transactions = config.rows.div_ceil(u64::from(ROWS_A_TRANSACTION));
    let rows = transactions * u64::from(ROWS_A_TRANSACTION);
    talk(&format!("{rows} rows are written in {transactions} transactions; nobody follows"));
    let began = Boot::now();
    let writer = |number| rows_of_insert(config.seed, number, ROWS_A_TRANSACTION);
    Box::pin(load::write(&source, transactions, writer)).await?;
    let write_s = began.elapsed().as_secs_f64();
    let goal = place::mark(&mut conn).await?;
    let log_bytes = log_bytes(&mut conn, from.position.file).await?;

    let standby = place.replica(&base, Contender::Ours).await?;
    let read = settings::read(&mut standby.admin().await?).await;
    settings.take(Some(Contender::Ours), &read.map_err(because("the standby's settings"))?)?;
    ours::attach(&standby, &from).await?;
    let shipping = ours::ship(&place, &source, &from).await?;
    talk(&format!("written in {write_s:.0} s; a standby follows, in a process of its own"));
    forget_peak().await?;
    let began = Boot::now();
    let mut process = Follower::start(follower, &standby, &shipping).await?;
    let patience = PATIENCE_MIN.max(Duration::from_secs(rows / SLOWEST_ROWS_PER_S));
    let there = process.until(&shipping, &goal.position, patience, talk).await;
    let apply_s = began.elapsed().as_secs_f64();
    there?;
    let (follower_kib, shipper_kib) = (peak_kib(process.id()?).await?, peak_kib("self".into()).await?);
    process.end().await?;

    talk(&format!("applied in {apply_s:.0} s; both databases are compared"));
    let expected = checksums(&mut conn).await.map_err(because("the source's checksums"))?;
    let found = checksums(&mut standby.admin().await?).await.map_err(because("the standby's checksums"))?;
    if let Some(what) = difference(&expected, &found) {
        return Err(format!("the standby is not equal to the source: {what}").into());
    }
    let mib = |kib: u64| rounded(to_f64(kib) / 1_024.0, 1);
    Ok(Line {
        backlog_rows: rows,
        transactions,
        log_mib: mib(log_bytes / 1_024),
        write_s: rounded(write_s, 1),
        apply_s: rounded(apply_s, 1),
        rows_per_s: rounded(to_f64(rows) / apply_s, 0),
        follower_rss_mib_max: mib(follower_kib),
        shipper_rss_mib_max: mib(shipper_kib),
        tables_equal: found.len(),
    })
}

/// The process that follows. Dropping it kills it.
struct Follower(Child);

impl Follower {
    async fn start(mut command: Command, standby: &Node, shipping: &Shipping) -> Result<Follower, Aborted> {
        const WHAT: &str = "the process that follows";
        command.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
        let mut child = process::spawn(command).await.map_err(because(WHAT))?;
        let mut stdin = child.stdin.take().ok_or_else(|| format!("{WHAT} has no standard input"))?;
        let orders = Orders {
            database: standby.agent.address,
            user: standby.agent.user.clone(),
            password: standby.agent.password.expose().to_owned(),
            peer_link: shipping.address,
            certificates: shipping.certificates.clone(),
        };
        let mut line = serde_json::to_vec(&orders).map_err(because(WHAT))?;
        line.push(b'\n');
        stdin.write_all(&line).await.map_err(because(WHAT))?;
        stdin.shutdown().await.map_err(because(WHAT))?;
        Ok(Follower(child))
    }

    fn id(&self) -> Result<String, Aborted> {
        Ok(self.0.id().ok_or_else(|| "the process that follows has ended".to_owned())?.to_string())
    }

    async fn until(
        &mut self,
        shipping: &Shipping,
        goal: &model::Position,
        patience: Duration,
        talk: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), Aborted> {
        let began = Boot::now();
        let mut told = interval(TOLD_EVERY);
        told.set_missed_tick_behavior(MissedTickBehavior::Skip);
        told.reset();
        let mut watermarks = shipping.watermarks.clone();
        loop {
            let there = watermarks.wait_for(|w| w.as_ref().is_some_and(|w| w.position.has_reached(goal)));
            tokio::select! {
                reached = there => return reached.map(drop).map_err(because("the shipper")),
                ended = self.0.wait() => {
                    return Err(format!("the process that follows ended by itself: {ended:?}").into());
                }
                _ = told.tick() => {}
            }
            let at = shipping.watermarks.borrow().as_ref().map(|w| w.position.to_string());
            talk(&format!("{} s: the standby is at {}", began.elapsed().as_secs(), at.unwrap_or_default()));
            if began.elapsed() > patience {
                return Err(format!("the standby is not there after {patience:?}").into());
            }
        }
    }

    /// Lets it end in order.
    async fn end(mut self) -> Result<(), Aborted> {
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| "the process that follows has ended".to_owned())?;
        kill_process(pid, Signal::TERM).map_err(because("ending the process that follows"))?;
        let status = timeout(END_DEADLINE, self.0.wait())
            .await
            .map_err(because("the process that follows does not end"))?
            .map_err(because("the process that follows"))?;
        if status.success() {
            return Ok(());
        }
        Err(format!("the process that follows ended with {status}").into())
    }
}

/// Bytes of the source's log from the file with this number on.
async fn log_bytes(conn: &mut mysql_async::Conn, from_file: u64) -> Result<u64, Aborted> {
    let files: Vec<mysql_async::Row> =
        conn.query("SHOW BINARY LOGS").await.map_err(because("the source's log"))?;
    let sizes = files.into_iter().filter_map(|mut row| {
        let (name, size): (String, u64) = (row.take(0)?, row.take(1)?);
        let number: u64 = name.rsplit('.').next()?.parse().ok()?;
        (number >= from_file).then_some(size)
    });
    Ok(sizes.sum())
}

/// Lets the kernel begin anew to remember the largest resident memory of this process.
async fn forget_peak() -> Result<(), Aborted> {
    fs::write("/proc/self/clear_refs", "5").await.map_err(because("/proc/self/clear_refs"))
}

/// The largest resident memory of a process.
async fn peak_kib(process: String) -> Result<u64, Aborted> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).await.map_err(because(&path))?;
    peak_in(&status).ok_or_else(|| format!("{path} tells no VmHWM").into())
}

/// The `VmHWM` of `/proc/…/status`, in KiB.
fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_largest_memory_is_read_and_can_be_forgotten() {
        assert_eq!(peak_in("Name:\tx\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n"), Some(12_345));
        assert_eq!(peak_in("Name:\tx\n"), None);
        let large = vec![1_u8; 64 << 20];
        let with = peak_kib("self".into()).await.unwrap();
        assert!(with > 64 << 10, "{with} KiB with {} bytes in use", large.len());
        drop(large);
        forget_peak().await.unwrap();
        assert!(peak_kib("self".into()).await.unwrap() < with);
    }
}
