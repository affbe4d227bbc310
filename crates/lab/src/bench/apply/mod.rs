//! `bench apply`: one binary log, applied by us and by MariaDB's own replication, at equal durability.
//!
//! A source is written to at full speed, once. The same log is then applied by every contender, one after the other,
//! each to a fresh copy of the data as they were before the load. Each run is timed from the order to begin until
//! everything is durable, and believed only if afterwards both databases hold the same: a difference ends the bench.
//!
//! Always true here: a ratio compares figures of one run of this program, from servers whose settings were read back
//! and are the same ([`settings`]). Both servers, the load and our own agents share this machine.

pub mod backlog;
mod compare;
pub mod latency;
mod load;
mod native;
mod ours;
mod place;
pub mod settings;
mod workload;

use std::{collections::BTreeMap, fmt::Display, time::Duration};

use mysql_async::prelude::Queryable;
use serde::Serialize;

use self::{
    compare::{Checksums, checksums, difference},
    place::{Base, Mark, Node, Place},
    workload::Writer,
};
pub use self::{settings::Settings, workload::Workload};
use crate::{drill::Aborted, ledger::to_f64, stats::rounded};

/// A slower replica than this is given up.
const SLOWEST_TPS: u64 = 50;
/// Whatever the number of transactions, nobody is given up earlier.
const PATIENCE_MIN: Duration = Duration::from_secs(60);

/// What is asked of the bench.
#[derive(Clone, Debug)]
pub struct Apply {
    /// Which loads, in this order.
    pub workloads: Vec<Workload>,
    /// Transactions of each.
    pub transactions: u64,
    /// Every row of the load follows from it.
    pub seed: u64,
    /// A statement that is run on every replica before it is compared, so that a test sees the difference found.
    pub planted: Option<String>,
}

impl Default for Apply {
    fn default() -> Self {
        Apply { workloads: Workload::ALL.to_vec(), transactions: 30_000, seed: 7, planted: None }
    }
}

/// Who applies the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    /// Ghostlight's shipper and follower.
    Ours,
    /// MariaDB, one applying thread.
    NativeSerial,
    /// MariaDB, optimistic, 8 threads.
    Native8,
    /// MariaDB, optimistic, 16 threads.
    Native16,
}

impl Contender {
    /// All of them, in the order in which they run.
    pub const ALL: [Contender; 4] =
        [Contender::Ours, Contender::NativeSerial, Contender::Native8, Contender::Native16];

    /// Its name in what is printed.
    pub fn name(self) -> &'static str {
        match self {
            Contender::Ours => "ours",
            Contender::NativeSerial => "native_serial",
            Contender::Native8 => "native_8",
            Contender::Native16 => "native_16",
        }
    }
}

/// One workload's figures: transactions of the source applied a second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Which.
    pub workload: &'static str,
    /// By us.
    pub ours_tps: f64,
    /// By MariaDB with one applying thread.
    pub native_serial_tps: f64,
    /// By MariaDB with 8, optimistic.
    pub native_8_tps: f64,
    /// By MariaDB with 16, optimistic.
    pub native_16_tps: f64,
    /// Ours to the best of the others.
    pub ratio_to_best_native: f64,
}

/// What stands behind a line.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Details {
    /// Which workload.
    pub workload: &'static str,
    /// Transactions in the log.
    pub transactions: u64,
    /// The log's size.
    pub log_mib: f64,
    /// Transactions that the source itself committed a second.
    pub source_tps: f64,
    /// By contender: from the order to begin until everything was durable.
    pub seconds: BTreeMap<&'static str, f64>,
    /// By contender: transactions in which the replica committed it, as its own log counts them.
    pub commits: BTreeMap<&'static str, u64>,
    /// By contender: tables whose rows were compared with the source's, and equal.
    pub tables_equal: BTreeMap<&'static str, usize>,
}

/// The last line's object.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// `apply`.
    pub bench: &'static str,
    /// Workloads that were run to their end.
    pub workloads: usize,
    /// The smallest of all lines; `None` without lines.
    pub ratio_to_best_native_min: Option<f64>,
    /// The line of `oltp_write_only`, if it was run.
    pub ratio_oltp_write_only: Option<f64>,
}

/// What the bench has to tell on its way.
#[derive(Clone, Debug)]
pub enum Told<'a> {
    /// What the servers are set to; once, before the first line.
    Settings(&'a Settings),
    /// A workload's figures.
    Line(&'a Line),
    /// And what stands behind them.
    Details(&'a Details),
}

/// An error with what was being done in front of it.
fn because<E: Display>(what: impl Display) -> impl FnOnce(E) -> Aborted {
    move |e| Aborted::from(format!("{what}: {e}"))
}

/// Runs every workload, each with servers of its own.
pub async fn run(
    config: Apply,
    mut tell: impl FnMut(Told<'_>),
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<Summary, Aborted> {
    let place = Place::prepare().await?;
    let (mut settings, mut lines) = (Settings::default(), Vec::new());
    for workload in &config.workloads {
        let (line, details) = Box::pin(one(&place, &config, *workload, &mut settings, talk)).await?;
        if lines.is_empty() {
            tell(Told::Settings(&settings));
        }
        tell(Told::Line(&line));
        tell(Told::Details(&details));
        lines.push(line);
    }
    Ok(Summary::of(&lines))
}

async fn one(
    place: &Place,
    config: &Apply,
    workload: Workload,
    settings: &mut Settings,
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<(Line, Details), Aborted> {
    let Apply { transactions, seed, .. } = *config;
    talk(&format!("{}: {transactions} transactions are written", workload.name()));
    let base = place.base(workload, seed).await?;
    let (source, from) = place.source(&base).await?;
    let mut conn = source.admin().await?;
    settings.take(None, &settings::read(&mut conn).await.map_err(because("the source's settings"))?)?;
    let source_tps = load::write(&source, transactions, |number| writer(workload, seed, number)).await?;
    let goal = place::mark(&mut conn).await?;
    let logged = last_number(&goal.gtid).saturating_sub(last_number(&from.gtid));
    if logged != transactions || goal.position.file != from.position.file {
        let what = format!(
            "{transactions} transactions were written, and {logged} are in the log, from {} to {}",
            from.position, goal.position
        );
        return Err(what.into());
    }
    let bytes = goal.position.offset.saturating_sub(from.position.offset);
    let mut details = Details {
        workload: workload.name(),
        transactions,
        log_mib: rounded(to_f64(bytes) / f64::from(1 << 20), 1),
        source_tps: rounded(source_tps, 0),
        ..Details::default()
    };
    let expected = checksums(&mut conn).await.map_err(because("the source's checksums"))?;
    let log = Log { place, base: &base, source: &source, from, goal, transactions, expected };
    for contender in Contender::ALL {
        let took = Box::pin(log.apply(contender, config.planted.as_deref(), settings, &mut details)).await?;
        let seconds = took.as_secs_f64();
        details.seconds.insert(contender.name(), rounded(seconds, 3));
        talk(&format!("{}: {} took {seconds:.1} s", workload.name(), contender.name()));
    }
    let tps = |contender: Contender| {
        let seconds = details.seconds.get(contender.name()).copied().unwrap_or_default();
        if seconds > 0.0 { to_f64(transactions) / seconds } else { 0.0 }
    };
    let line = Line::of(workload, Contender::ALL.map(tps));
    drop(log);
    source.end().await?;
    Ok((line, details))
}

/// One connection's transactions, one after the other.
fn writer(workload: Workload, seed: u64, number: u32) -> impl FnMut() -> String + Send + 'static {
    let mut writer = Writer::new(workload, seed, number);
    move || writer.next()
}

/// A log that is to be applied, and everything it takes.
struct Log<'a> {
    place: &'a Place,
    base: &'a Base,
    source: &'a Node,
    from: Mark,
    goal: Mark,
    transactions: u64,
    expected: Checksums,
}

impl Log<'_> {
    /// Applies it to a fresh replica and compares.
    async fn apply(
        &self,
        contender: Contender,
        planted: Option<&str>,
        settings: &mut Settings,
        details: &mut Details,
    ) -> Result<Duration, Aborted> {
        let Log { place, source, from, goal, .. } = self;
        let replica = place.replica(self.base, contender).await?;
        let mut conn = replica.admin().await?;
        settings.take(
            Some(contender),
            &settings::read(&mut conn).await.map_err(because("a replica's settings"))?,
        )?;
        let patience = PATIENCE_MIN.max(Duration::from_secs(self.transactions / SLOWEST_TPS));
        let before = commits(&mut conn).await?;
        let took = match contender {
            Contender::Ours => ours::run(place, source, &replica, from, goal, patience).await?,
            Contender::NativeSerial | Contender::Native8 | Contender::Native16 => {
                native::run(place, source, &replica, from, goal, patience).await?
            }
        };
        details.commits.insert(contender.name(), commits(&mut conn).await?.saturating_sub(before));
        if let Some(sql) = planted {
            conn.query_drop(sql).await.map_err(because("the planted difference"))?;
        }
        let found = checksums(&mut conn).await.map_err(because("a replica's checksums"))?;
        if let Some(what) = difference(&self.expected, &found) {
            let who = contender.name();
            return Err(format!("the replica of `{who}` is not equal to the source: {what}").into());
        }
        details.tables_equal.insert(contender.name(), found.len());
        replica.end().await?;
        Ok(took)
    }
}

/// Transactions that a server has written to its log so far.
async fn commits(conn: &mut mysql_async::Conn) -> Result<u64, Aborted> {
    let row: Option<(String, u64)> = conn
        .query_first("SHOW GLOBAL STATUS LIKE 'Binlog_commits'")
        .await
        .map_err(because("a replica's counters"))?;
    row.map(|(_, n)| n).ok_or_else(|| "the server does not count its commits".to_owned().into())
}

/// The sequence number of a GTID, `0-2-345` → 345; of several domains' the last one's.
fn last_number(gtid: &str) -> u64 {
    gtid.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

impl Line {
    /// From the transactions a second of all contenders, in the order of [`Contender::ALL`].
    fn of(workload: Workload, tps: [f64; 4]) -> Line {
        let [ours, serial, eight, sixteen] = tps;
        let best = serial.max(eight).max(sixteen);
        Line {
            workload: workload.name(),
            ours_tps: rounded(ours, 0),
            native_serial_tps: rounded(serial, 0),
            native_8_tps: rounded(eight, 0),
            native_16_tps: rounded(sixteen, 0),
            ratio_to_best_native: if best > 0.0 { rounded(ours / best, 2) } else { 0.0 },
        }
    }
}

impl Summary {
    /// Of all lines.
    pub fn of(lines: &[Line]) -> Summary {
        Summary {
            bench: "apply",
            workloads: lines.len(),
            ratio_to_best_native_min: lines.iter().map(|l| l.ratio_to_best_native).min_by(f64::total_cmp),
            ratio_oltp_write_only: lines
                .iter()
                .find(|l| l.workload == Workload::OltpWriteOnly.name())
                .map(|l| l.ratio_to_best_native),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_to_the_best_of_the_others() {
        let line = Line::of(Workload::OltpInsert, [12_000.0, 2_000.0, 4_000.0, 3_000.0]);
        assert_eq!(line.ratio_to_best_native, 3.0);
        let other = Line::of(Workload::OltpWriteOnly, [10_000.0, 2_000.0, 1_000.0, 500.0]);
        let summary = Summary::of(&[line, other]);
        assert_eq!((summary.ratio_to_best_native_min, summary.ratio_oltp_write_only), (Some(3.0), Some(5.0)));
        assert_eq!(Summary::of(&[]).ratio_to_best_native_min, None);
    }

    #[test]
    fn the_number_of_a_gtid() {
        assert_eq!((last_number("0-2-345"), last_number("0-1-3,1-2-9"), last_number("")), (345, 9, 0));
    }
}
