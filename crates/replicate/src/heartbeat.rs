//! The heartbeat: a durable commit on the transaction path, again and again while this site is primary.
//!
//! It travels in the stream like any other transaction (the peer applies nothing of it, but moves its slot), so it
//! moves the watermark of an idle service, measures the lag, and tells the standby that the primary commits. A
//! controller's probe is the same act on demand; probes that wait are served by one commit that began after they
//! came.
//!
//! Each heartbeat also remembers, in its own row, where the log stood just before. [`has_begun_anew`] compares at
//! the next start: a log that does not hold that place any more is another log.

use std::{sync::Arc, time::Duration};

use model::{Epoch, Position, Site, StreamId, agent::ProbeReply};
use mysql_async::{Conn, prelude::Queryable};
use runtime::{
    clock::{Boot, Wall},
    process::Shutdown,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    database::{DatabaseConfig, DatabaseError},
    dialect, fence,
    metrics::ReplicateMetrics,
    row,
    vitals::Vitals,
};

/// A database that does not commit in this time is taken not to answer.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between attempts while the database does not answer.
const RETRY: Duration = Duration::from_millis(50);

/// One durable commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The row's epoch, read in the same transaction.
    pub epoch: Epoch,
    /// The end of the log just behind it.
    pub position: Position,
    /// When the commit was asked for.
    pub began: Boot,
    /// When it was acknowledged.
    pub committed: Boot,
}

/// Where a log stood when it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The log's name.
    pub stream: String,
    /// The file's number; 0: nothing is remembered.
    pub file: u64,
    /// Bytes from its beginning.
    pub offset: u64,
    /// The GTID of the last heartbeat before that place, where the server has them.
    pub gtid: String,
}

impl Remembered {
    /// Whether the log that was at `earlier` cannot be here now.
    fn is_before(&self, earlier: &Remembered) -> bool {
        if self.stream != earlier.stream {
            return false; // It is known to be another one.
        }
        (self.file, self.offset) < (earlier.file, earlier.offset)
            || (!self.gtid.is_empty() && !earlier.gtid.is_empty() && !holds_gtid(&self.gtid, &earlier.gtid))
    }
}

/// Why a probe was not answered with a commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// This database is not the primary's: the question was put to the wrong site.
    #[error("this database is not the primary's")]
    NotPrimary,
    /// The database did not commit.
    #[error("the database does not commit: {0}")]
    DoesNotCommit(String),
}

/// Where probes are handed in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Heart(mpsc::Sender<Asked>);

type Asked = oneshot::Sender<Result<ProbeReply, ProbeError>>;

/// The end of a [`Heart`] from which [`run`] takes its probes.
#[derive(Debug)]
pub struct Probes(mpsc::Receiver<Asked>);

impl Heart {
    /// A heart and its probes' other end.
    pub fn new() -> (Heart, Probes) {
        let (heart, probes) = mpsc::channel(64);
        (Heart(heart), Probes(probes))
    }

    /// Commits a heartbeat now.
    pub async fn probe(&self) -> Result<ProbeReply, ProbeError> {
        let ended = || ProbeError::DoesNotCommit("the agent is ending".into());
        let (reply, answer) = oneshot::channel();
        self.0.send(reply).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

/// What the task needs.
#[derive(Debug)]
pub struct Inputs {
    /// This site.
    pub site: Site,
    /// The application's own endpoint.
    pub database: DatabaseConfig,
    /// How often, in milliseconds.
    pub every_ms: u64,
    /// Whether this site is primary, and in which epoch. Nothing beats without it.
    pub primary_in: watch::Receiver<Option<Epoch>>,
    /// Where the last beat is told.
    pub beats: watch::Sender<Option<Beat>>,
    /// Counted up when the log is found to have begun anew.
    pub log_begun_anew: watch::Sender<u64>,
    /// How the server is. A `read_only` one takes no write of the application's, though perhaps ours: it does not beat.
    pub vitals: watch::Receiver<Vitals>,
    /// Where they are counted.
    pub metrics: Arc<ReplicateMetrics>,
}

/// Beats until `shutdown`, while this site is primary; connects by itself, again and again.
pub async fn run(mut probes: Probes, mut inputs: Inputs, shutdown: Shutdown) {
    let mut timer = tokio::time::interval(Duration::from_millis(inputs.every_ms));
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut session: Option<Conn> = None;
    // Kept over lost connections: the server that comes back may have another log.
    let mut remembered = Remembered::default();
    let mut asked: Vec<Asked> = Vec::new();
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            count = probes.0.recv_many(&mut asked, 64) => if count == 0 { return },
            Ok(()) = inputs.primary_in.changed() => {}
            () = shutdown.cancelled() => return,
        }
        let Some(epoch) = *inputs.primary_in.borrow_and_update() else {
            session = None;
            remembered = Remembered::default();
            answer(&mut asked, &Err(ProbeError::NotPrimary));
            continue;
        };
        // Whoever asked up to now is served by the commit that begins now.
        while let Ok(more) = probes.0.try_recv() {
            asked.push(more);
        }
        let perhaps_read_only = inputs.vitals.borrow().read_only == Some(true);
        let attempt = async {
            let mut conn = match session.take() {
                Some(conn) => conn,
                None => {
                    let mut conn = inputs.database.open().await?;
                    if !row::snapshot(&mut conn).await?.row_speaks() {
                        // Not a beat on it: what it holds of the last one tells how much it lost.
                        inputs.log_begun_anew.send_modify(|n| *n += 1);
                        let why = "another server has taken the place of the one that wrote the row";
                        return Err(DatabaseError::Unexpected(why.into()));
                    }
                    if let Some(why) = went_back(&mut conn).await? {
                        return Err(DatabaseError::Unexpected(why));
                    }
                    if remembered == Remembered::default() {
                        remembered = here(&mut conn).await?;
                    }
                    conn
                }
            };
            // What was seen last may be of the time before a promotion.
            if perhaps_read_only && fence::is_read_only(&mut conn).await? {
                return Ok((conn, None));
            }
            let (beat, primary, next) = beat(&mut conn, &remembered).await?;
            if next.is_before(&remembered) {
                // The row still remembers the old place: it is not written over until the log has a new name.
                inputs.log_begun_anew.send_modify(|n| *n += 1);
                return Err(DatabaseError::Unexpected("the log has begun anew".into()));
            }
            remembered = next;
            Ok::<_, DatabaseError>((conn, Some((beat, primary))))
        };
        let result = tokio::select! {
            result = tokio::time::timeout(COMMIT_TIMEOUT, attempt) => result,
            () = shutdown.cancelled() => return,
        };
        let result = result.unwrap_or_else(|_| {
            Err(DatabaseError::Lost(format!("no commit within {} s", COMMIT_TIMEOUT.as_secs())))
        });
        match result {
            Ok((conn, None)) => {
                session = Some(conn);
                let why = "the server is read_only: the application cannot write".to_owned();
                answer(&mut asked, &Err(ProbeError::DoesNotCommit(why)));
            }
            Ok((conn, Some((beat, primary)))) => {
                session = Some(conn);
                if primary == inputs.site && beat.epoch == epoch {
                    inputs.metrics.heartbeats_total.inc();
                    answer(
                        &mut asked,
                        &Ok(ProbeReply {
                            epoch: beat.epoch,
                            commit_ms: ms(beat.committed.since(beat.began)),
                        }),
                    );
                    inputs.beats.send_replace(Some(beat));
                } else {
                    answer(&mut asked, &Err(ProbeError::NotPrimary));
                }
            }
            Err(e) => {
                inputs.metrics.heartbeats_failed_total.inc();
                tracing::debug!("a heartbeat failed: {e}");
                answer(&mut asked, &Err(ProbeError::DoesNotCommit(e.to_string())));
                timer.reset_after(RETRY);
            }
        }
    }
}

fn answer(asked: &mut Vec<Asked>, reply: &Result<ProbeReply, ProbeError>) {
    for prober in asked.drain(..) {
        // A controller that has hung up is not waiting for the answer.
        drop(prober.send(reply.clone()));
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Where the log stands now.
async fn here(conn: &mut Conn) -> Result<Remembered, DatabaseError> {
    let end = row::snapshot(conn).await?.end_of_log;
    Ok(Remembered { stream: end.stream.0, file: end.file, offset: end.offset, gtid: String::new() })
}

/// One heartbeat, in one packet: the commit, the row as it stood in it, and the end of the log behind it.
async fn beat(conn: &mut Conn, remembered: &Remembered) -> Result<(Beat, Site, Remembered), DatabaseError> {
    let began = Boot::now();
    let gtid = dialect::of(conn).last_gtid;
    let Remembered { stream, file, offset, gtid: last } = remembered;
    // Both come from the server itself; all the same, nothing but the characters of such names may pass.
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_ascii_alphanumeric() || "-,:".contains(*c)).collect()
    };
    let (stream, last) = (plain(stream), plain(last));
    let statements = format!(
        "START TRANSACTION; \
         UPDATE ghostlight.heartbeat SET n = n + 1, at_ms = {}, stream = '{stream}', file = {file}, `offset` = {offset}, gtid = '{last}' \
         WHERE id = 1; \
         SELECT epoch, `primary`, stream FROM ghostlight.site WHERE id = 1; \
         COMMIT; SELECT {gtid}; {}",
        Wall::now().as_ms(),
        dialect::end_of_log(conn),
    );
    let mut answer = conn.query_iter(statements).await?;
    row::one_row(&mut answer).await?;
    row::one_row(&mut answer).await?;
    let site = row::one_row(&mut answer).await?;
    row::one_row(&mut answer).await?;
    let gtid = row::one_row(&mut answer).await?;
    let committed = Boot::now();
    let log = row::one_row(&mut answer).await?;
    answer.drop_result().await?;
    let Some(site) = site else {
        return Err(DatabaseError::Unexpected("the row of ghostlight.site is gone".into()));
    };
    let (epoch, primary, stream): (u64, String, String) =
        mysql_async::from_row_opt(site).map_err(|e| DatabaseError::Unexpected(e.to_string()))?;
    let position = row::end_of_log(log, StreamId(stream))?;
    let gtid = gtid.and_then(|row| row.get_opt::<String, _>(0)).and_then(Result::ok).unwrap_or_default();
    let next =
        Remembered { stream: position.stream.0.clone(), file: position.file, offset: position.offset, gtid };
    Ok((Beat { epoch: Epoch(epoch), position, began, committed }, Site::new(primary), next))
}

/// Whether this server's log ends before a place where its last heartbeat had already stood, and where.
///
/// Cheap, and enough unless the log has grown past that place again; [`has_begun_anew`] looks closer.
async fn went_back(conn: &mut Conn) -> Result<Option<String>, DatabaseError> {
    let Some(remembered) = memory(conn).await? else { return Ok(None) };
    let end = here(conn).await?;
    Ok(((end.file, end.offset) < (remembered.file, remembered.offset)).then(|| {
        format!(
            "the log ends at file {} offset {}, but had already been at file {} offset {}",
            end.file, end.offset, remembered.file, remembered.offset
        )
    }))
}

/// The last heartbeat's memory, if it is of the log that this database's row names.
async fn memory(conn: &mut Conn) -> Result<Option<Remembered>, DatabaseError> {
    let row: Option<(String, u64, u64, String)> = conn
        .query_first(
            "SELECT h.stream, h.file, h.`offset`, h.gtid FROM ghostlight.heartbeat h \
             JOIN ghostlight.site s ON s.stream = h.stream WHERE h.id = 1 AND s.id = 1",
        )
        .await?;
    Ok(row.map(|(stream, file, offset, gtid)| Remembered { stream, file, offset, gtid }))
}

/// Whether this server's log is not the one that its last heartbeat stood in, and why one must think so.
///
/// A log that merely grew, or was purged from the front, is the same log. The server may have to read a whole file
/// of its log to answer.
pub async fn has_begun_anew(conn: &mut Conn) -> Result<Option<String>, DatabaseError> {
    if let Some(why) = went_back(conn).await? {
        return Ok(Some(why));
    }
    let Some(Remembered { file, offset, gtid, .. }) = memory(conn).await? else { return Ok(None) };
    if !dialect::of(conn).tells_gtids_of_places {
        return Ok(None);
    }
    let files: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await?;
    let name = files
        .iter()
        .filter_map(|row| row.get::<String, _>(0))
        .find(|name| name.rsplit_once('.').and_then(|(_, n)| n.parse().ok()) == Some(file));
    let Some(name) = name else { return Ok(None) };
    let there: Option<Option<String>> =
        conn.exec_first("SELECT BINLOG_GTID_POS(?, ?)", (&name, offset)).await?;
    match there.flatten() {
        None => Ok(Some(format!("{name} has no transaction that ends at {offset}, where one had ended"))),
        Some(there) if !gtid.is_empty() && !holds_gtid(&there, &gtid) => {
            Ok(Some(format!("{name} holds {there} up to {offset}, where {gtid} had been written")))
        }
        Some(_) => Ok(None),
    }
}

/// Whether a GTID state (`0-1-7,2-1-3`) is at or behind `gtid` in its domain.
fn holds_gtid(state: &str, gtid: &str) -> bool {
    let parse = |text: &str| -> Option<(u32, u64)> {
        let mut parts = text.trim().split('-');
        let domain = parts.next()?.parse().ok()?;
        let sequence = parts.nth(1)?.parse().ok()?;
        Some((domain, sequence))
    };
    let Some((domain, sequence)) = parse(gtid) else { return true };
    state.split(',').filter_map(parse).any(|(d, s)| d == domain && s >= sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gtid_is_looked_for_in_its_own_domain() {
        assert!(holds_gtid("0-1-7", "0-1-7"));
        assert!(holds_gtid("1-1-2,0-3-9", "0-1-7"), "the server that wrote it does not matter");
        assert!(!holds_gtid("0-1-6", "0-1-7"));
        assert!(!holds_gtid("1-1-9", "0-1-7"));
        assert!(holds_gtid("", "unreadable"), "what we cannot read proves nothing");
    }

    #[test]
    fn a_log_that_begins_anew_is_before_itself_even_if_it_has_grown_past_the_place() {
        let at =
            |file, offset, gtid: &str| Remembered { stream: "s".into(), file, offset, gtid: gtid.into() };
        assert!(!at(3, 90, "0-1-8").is_before(&at(3, 40, "0-1-7")));
        assert!(!at(4, 4, "0-1-8").is_before(&at(3, 40, "0-1-7")), "the next file");
        assert!(at(1, 300, "0-1-1").is_before(&at(3, 40, "0-1-7")));
        assert!(at(3, 90, "0-1-2").is_before(&at(3, 40, "0-1-7")), "the numbers began again");
        assert!(
            !at(3, 90, "0-1-8").is_before(&at(3, 40, "")),
            "the first beat of a session remembers no number"
        );
    }
}
