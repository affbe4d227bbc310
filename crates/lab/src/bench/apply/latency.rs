//! `bench apply --latency`: how soon a commit is on the standby, at half of what the source can take.
//!
//! First the source's saturation, with the standby attached: eight connections, each committing its next transaction
//! as soon as the last is committed. Then half of that rate is offered in open loop: transactions begin when they are
//! due, whether or not earlier ones are done. Measured is, for each transaction, the time from the OK of its COMMIT to
//! the arrival, at the primary's shipper, of a watermark at or behind the transaction's own end in the log. Both
//! moments are taken by this process; the transaction's end is looked up in the log afterwards, by its GTID.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use model::Watermark;
use mysql_async::{Conn, Error, prelude::Queryable};
use replicate::{apply::StandbyConfig, transaction::At};
use runtime::{clock::Boot, process::Shutdown};
use serde::Serialize;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use super::{
    Settings, Workload, because, commits, last_number, load,
    ours::{self, Shipping},
    place::{self, Mark, Node, Place},
    settings, writer,
};
use crate::{
    drill::Aborted,
    layout::Cloud,
    ledger::to_f64,
    link::{self, LinkControl, LinkState, Way},
    stats::{Samples, rounded},
};

/// Connections of the open loop: many enough that hardly a transaction waits for one.
const CONNECTIONS: u32 = 32;
/// How long the standby may take to have everything.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is asked of the bench.
#[derive(Clone, Debug)]
pub struct Latency {
    /// The load.
    pub workload: Workload,
    /// How long the source is saturated.
    pub saturate: Duration,
    /// How long half of that is offered, on each link.
    pub measure: Duration,
    /// Round trips of the link between shipper and follower; at 0 they are joined directly.
    pub link_rtt_ms: Vec<u64>,
    /// Every row of the load follows from it.
    pub seed: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Latency {
            workload: Workload::OltpWriteOnly,
            saturate: Duration::from_secs(10),
            measure: Duration::from_secs(20),
            link_rtt_ms: vec![0, 30],
            seed: 7,
        }
    }
}

/// One link's figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Line {
    /// The load.
    pub workload: &'static str,
    /// The added round trip of the link.
    pub link_rtt_ms: u64,
    /// What the source committed a second when it was saturated, with the standby attached.
    pub saturation_tps: f64,
    /// What was offered: half of it.
    pub offered_tps: f64,
    /// What was committed.
    pub committed_tps: f64,
    /// From the OK of a COMMIT to the watermark at the primary's side: median.
    pub commit_to_watermark_ms_p50: Option<f64>,
    /// The same, 99th percentile.
    pub commit_to_watermark_ms_p99: Option<f64>,
    /// From the sending of a transaction to the source until the OK of its COMMIT: median, for comparison.
    pub source_transaction_ms_p50: Option<f64>,
    /// Transactions that the standby committed together, on average.
    pub transactions_a_batch: Option<f64>,
    /// Transactions that were measured.
    pub samples: usize,
}

/// The last line's object.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// `apply --latency`.
    pub bench: &'static str,
    /// Links that were measured.
    pub links: usize,
    /// Transactions measured in all.
    pub samples: usize,
}

/// A transaction of the open loop.
#[derive(Clone, Copy, Debug)]
struct Committed {
    sent: Boot,
    ok: Boot,
    /// Its number in the source's log.
    gtid: u64,
}

/// Measures on every link, one after the other, with one source and one standby.
pub async fn run(
    config: Latency,
    mut tell: impl FnMut(&Line),
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<Summary, Aborted> {
    let place = Place::prepare().await?;
    let base = place.base(config.workload, config.seed).await?;
    let (source, from) = place.source(&base).await?;
    let standby = place.replica(&base, super::Contender::Ours).await?;
    let mut settings = Settings::default();
    for (node, whose) in [(&source, None), (&standby, Some(super::Contender::Ours))] {
        let read = settings::read(&mut node.admin().await?).await;
        settings.take(whose, &read.map_err(because("a server's settings"))?)?;
    }
    ours::attach(&standby, &from).await?;
    let shipping = ours::ship(&place, &source, &from).await?;
    let bench = Bench { config, source, standby, shipping };

    talk("the source is saturated, with the standby attached");
    let saturation_tps = Box::pin(bench.saturate()).await?;
    let mut summary = Summary { bench: "apply --latency", ..Summary::default() };
    for rtt_ms in &bench.config.link_rtt_ms {
        talk(&format!("{:.0} transactions/s are offered, round trip {rtt_ms} ms", saturation_tps / 2.0));
        let line = Box::pin(bench.measure(*rtt_ms, saturation_tps)).await?;
        summary.links += 1;
        summary.samples += line.samples;
        tell(&line);
    }
    Ok(summary)
}

struct Bench {
    config: Latency,
    source: Node,
    standby: Node,
    shipping: Shipping,
}

impl Bench {
    async fn goal(&self) -> Result<Mark, Aborted> {
        place::mark(&mut self.source.admin().await?).await
    }

    fn standby_at(&self, peer_link: SocketAddr) -> Result<StandbyConfig, Aborted> {
        ours::standby(&self.standby.agent, &self.shipping.certificates, peer_link)
    }

    /// What the source commits a second while the standby follows.
    async fn saturate(&self) -> Result<f64, Aborted> {
        let mut following = ours::follow(self.standby_at(self.shipping.address)?);
        let until = Boot::now() + self.config.saturate;
        let mut writers = JoinSet::new();
        for number in 0..load::CONNECTIONS {
            let mut conn = self.source.admin().await?;
            let mut next = writer(self.config.workload, self.config.seed, number);
            writers.spawn(async move {
                let mut committed = 0_u64;
                while Boot::now() < until {
                    load::commit(&mut conn, &next()).await?;
                    committed += 1;
                }
                Ok::<_, Error>(committed)
            });
        }
        let (began, mut committed) = (Boot::now(), 0);
        while let Some(ended) = writers.join_next().await {
            committed += ended.map_err(because("a writer"))?.map_err(because("saturating the source"))?;
        }
        let tps = to_f64(committed) / began.elapsed().as_secs_f64();
        following.until(&self.shipping.watermarks, &self.goal().await?.position, PATIENCE).await?;
        following.end().await?;
        Ok(tps)
    }

    async fn measure(&self, rtt_ms: u64, saturation_tps: f64) -> Result<Line, Aborted> {
        let link = Link::open(self.shipping.address, rtt_ms).await?;
        let mut following = ours::follow(self.standby_at(link.near)?);
        // Attached and at rest, before anything is measured.
        let from = self.goal().await?;
        following.attached(PATIENCE).await?;
        following.until(&self.shipping.watermarks, &from.position, PATIENCE).await?;
        let mut on_standby = self.standby.admin().await?;
        let commits_before = commits(&mut on_standby).await?;

        let arrivals = Arrivals::watch(self.shipping.watermarks.clone());
        let offered_tps = saturation_tps / 2.0;
        let (committed, took) = self.offer(offered_tps).await?;
        let to = self.goal().await?;
        following.until(&self.shipping.watermarks, &to.position, PATIENCE).await?;
        let arrivals = arrivals.end().await?;
        let batches = commits(&mut on_standby).await?.saturating_sub(commits_before);
        following.end().await?;

        let ends = ends(&mut self.source.admin().await?, &from, &to).await?;
        let mut waits = Samples::default();
        for transaction in &committed {
            let end = ends
                .get(&transaction.gtid)
                .ok_or_else(|| format!("the transaction {} is not in the log", transaction.gtid))?;
            let arrived = arrival(&arrivals, *end).ok_or_else(|| {
                let last = arrivals.last().map(|(at, _)| at.to_string()).unwrap_or_default();
                format!(
                    "no watermark came for the transaction {}, which ends at {end}; the last was {last}, the log's end {}",
                    transaction.gtid, to.position
                )
            })?;
            waits.push(ms(arrived.since(transaction.ok)));
        }
        let sent: Samples = committed.iter().map(|c| ms(c.ok.since(c.sent))).collect();
        let count = to_f64(committed.len() as u64);
        Ok(Line {
            workload: self.config.workload.name(),
            link_rtt_ms: rtt_ms,
            saturation_tps: rounded(saturation_tps, 0),
            offered_tps: rounded(offered_tps, 0),
            committed_tps: rounded(count / took.as_secs_f64(), 0),
            commit_to_watermark_ms_p50: waits.p50().map(|ms| rounded(ms, 2)),
            commit_to_watermark_ms_p99: waits.p99().map(|ms| rounded(ms, 2)),
            source_transaction_ms_p50: sent.p50().map(|ms| rounded(ms, 2)),
            transactions_a_batch: (batches > 0).then(|| rounded(count / to_f64(batches), 1)),
            samples: committed.len(),
        })
    }

    /// Commits at a rate, each transaction when it is due.
    async fn offer(&self, tps: f64) -> Result<(Vec<Committed>, Duration), Aborted> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(self.source.admin().await?);
        }
        let turn = Arc::new(AtomicU64::new(0));
        let (began, measure) = (Boot::now(), self.config.measure);
        let mut writers = JoinSet::new();
        for (number, mut conn) in (load::CONNECTIONS..).zip(connections) {
            let turn = turn.clone();
            let mut next = writer(self.config.workload, self.config.seed, number);
            writers.spawn(async move {
                let mut committed = Vec::new();
                loop {
                    let due = Duration::from_secs_f64(to_f64(turn.fetch_add(1, Ordering::Relaxed)) / tps);
                    if due >= measure {
                        return Ok::<_, Error>(committed);
                    }
                    // Not a race: the moment at which it is due.
                    tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
                    let sent = Boot::now();
                    load::commit(&mut conn, &next()).await?;
                    let ok = Boot::now();
                    let gtid: Option<String> = conn.query_first("SELECT @@last_gtid").await?;
                    committed.push(Committed { sent, ok, gtid: last_number(&gtid.unwrap_or_default()) });
                }
            });
        }
        let mut all = Vec::new();
        while let Some(ended) = writers.join_next().await {
            all.extend(ended.map_err(because("a writer"))?.map_err(because("offering the load"))?);
        }
        Ok((all, began.elapsed()))
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The way from the follower to the shipper: the lab's link, or none.
struct Link {
    near: SocketAddr,
    stop: Shutdown,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Link {
    async fn open(shipper: SocketAddr, rtt_ms: u64) -> Result<Link, Aborted> {
        let stop = Shutdown::new();
        if rtt_ms == 0 {
            return Ok(Link { near: shipper, stop });
        }
        let way = Way {
            what: "the bench's link".into(),
            near: Cloud::Aws,
            listen: ([127, 0, 0, 1], 0).into(),
            to: shipper,
        };
        let open = link::listen(&[way]).await.map_err(because("the link"))?;
        let near = open.first().map(link::OpenWay::local_addr).transpose().map_err(because("the link"))?;
        let near = near.ok_or_else(|| "the link has no end".to_owned())?;
        let control = LinkControl::new();
        control.set(LinkState { rtt_ms, ..LinkState::default() });
        tokio::spawn(link::run(open, control, stop.clone()));
        Ok(Link { near, stop })
    }
}

/// Watermarks as they arrive at the shipper.
struct Arrivals {
    task: JoinHandle<Vec<(At, Boot)>>,
    stop: Shutdown,
}

impl Arrivals {
    fn watch(mut watermarks: watch::Receiver<Option<Watermark>>) -> Arrivals {
        let stop = Shutdown::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut arrived = Vec::new();
            loop {
                // At the end as well: a watermark that came with it may not have been told yet.
                let more = tokio::select! {
                    changed = watermarks.changed() => changed.is_ok(),
                    () = stopped.cancelled() => false,
                };
                let now = Boot::now();
                if let Some(watermark) = &*watermarks.borrow_and_update() {
                    arrived.push((At::from(&watermark.position), now));
                }
                if !more {
                    return arrived;
                }
            }
        });
        Arrivals { task, stop }
    }

    async fn end(self) -> Result<Vec<(At, Boot)>, Aborted> {
        self.stop.cancel();
        self.task.await.map_err(because("the watermarks"))
    }
}

/// When the first watermark at or behind `end` arrived.
fn arrival(arrivals: &[(At, Boot)], end: At) -> Option<Boot> {
    arrivals.get(arrivals.partition_point(|(at, _)| *at < end)).map(|(_, when)| *when)
}

/// Where the transactions between two places of the log end, by the number in their GTID.
async fn ends(conn: &mut Conn, from: &Mark, to: &Mark) -> Result<HashMap<u64, At>, Aborted> {
    const WHAT: &str = "reading the source's log";
    let file = to.position.file;
    if from.position.file != file {
        return Err(format!("{WHAT}: it went on in another file; offer less").into());
    }
    let sql = format!("SHOW BINLOG EVENTS IN 'binlog.{file:06}' FROM {}", from.position.offset);
    let mut events = conn.query_iter(sql).await.map_err(because(WHAT))?;
    let (mut ends, mut current) = (HashMap::new(), None);
    while let Some(mut row) = events.next().await.map_err(because(WHAT))? {
        let kind: Option<String> = row.take("Event_type");
        match kind.as_deref() {
            Some("Gtid") => current = row.take("Info").and_then(|info: String| number_of(&info)),
            Some("Xid") => {
                if let (Some(number), Some(offset)) = (current.take(), row.take("End_log_pos")) {
                    ends.insert(number, At { file, offset });
                }
            }
            _ => {}
        }
    }
    Ok(ends)
}

/// `BEGIN GTID 0-2-345 cid=77` → 345.
fn number_of(info: &str) -> Option<u64> {
    let gtid = info.split_whitespace().skip_while(|word| *word != "GTID").nth(1)?;
    gtid.rsplit('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_has_arrived_with_the_first_watermark_at_or_behind_its_end() {
        let at = |offset| At { file: 2, offset };
        let begin = Boot::now();
        let when = |ms| begin + Duration::from_millis(ms);
        let arrivals = [(at(10), when(1)), (at(20), when(2)), (at(30), when(3))];
        assert_eq!(arrival(&arrivals, at(5)), Some(when(1)));
        assert_eq!(arrival(&arrivals, at(20)), Some(when(2)));
        assert_eq!(arrival(&arrivals, at(21)), Some(when(3)));
        assert_eq!(arrival(&arrivals, at(31)), None);
        assert_eq!(arrival(&arrivals, At { file: 1, offset: 99 }), Some(when(1)), "an earlier file");
    }

    #[test]
    fn the_number_of_a_transaction_as_the_log_tells_it() {
        assert_eq!(number_of("BEGIN GTID 0-2-345"), Some(345));
        assert_eq!(number_of("BEGIN GTID 0-2-346 cid=77"), Some(346));
        assert_eq!(number_of("GTID 0-1-7"), Some(7));
        assert_eq!(number_of("BEGIN"), None);
    }
}
