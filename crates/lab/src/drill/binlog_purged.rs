//! The standby is away while the primary's log moves on and its beginning is deleted: on return its position is lost. Does
//! it fill itself anew in place, without anybody's help, and is it equal then?

use std::time::Duration;

use cloud::local::mariadb::DRILL_USER;
use model::Site;
use mysql_async::prelude::Queryable;
use runtime::clock::Boot;
use serde::Serialize;

use super::{
    Aborted, Drill,
    access::Access,
    heard::{Judged, Listening},
    story::Expectation,
    wanted_per_s,
};
use crate::{checker::Violation, stats::rounded};

/// Load before the link is cut, in seconds, at least.
const STEADY_S: u64 = 2;
/// The load goes on so long while the standby is away, and after it is back.
const AWAY: Duration = Duration::from_secs(3);
/// How long the old log may take to be gone.
const PURGE_DEADLINE: Duration = Duration::from_secs(60);
/// How long both sites may take to be in `sync`.
const SYNC_DEADLINE: Duration = Duration::from_secs(180);
/// The drill needs so many seconds' worth of seats.
const ROUND_S: u32 = 60;
/// Violations that the line lists; the others are counted.
const LISTED_MAX: usize = 50;

/// What is asked of the drill.
#[derive(Clone, Debug)]
pub struct BinlogPurged {
    /// Every choice of the visitors follows from it.
    pub seed: u64,
    /// Visitors per second.
    pub rate_per_s: u32,
}

/// The drill's line.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Round {
    /// `binlog-purged`.
    pub drill: &'static str,
    /// The drill's seed.
    pub seed: u64,
    /// The site whose position was lost.
    pub standby: String,
    /// What was judged.
    #[serde(flatten)]
    pub judged: Judged,
    /// The number of the log's file in which it stood when it went away.
    pub standby_file: Option<u64>,
    /// The oldest file that the primary still had when it came back.
    pub oldest_file: Option<u64>,
    /// The life of the standby's data before.
    pub incarnation_before: u64,
    /// And after.
    pub incarnation_after: u64,
    /// From the link's return until both sites were in `sync` again, under load. `None`: never.
    pub resync_s: Option<f64>,
    /// Bookings acknowledged.
    pub acknowledged: u64,
    /// Acknowledged bookings that are missing or differ.
    pub lost: usize,
    /// Seats sold twice.
    pub double_sold: usize,
    /// Error answers and silences that visitors met.
    pub visitor_errors: u64,
    /// Of these: those that left open whether the booking exists.
    pub unknown_outcomes: u64,
    /// How many violations were found.
    pub violations: usize,
    /// The first of them.
    pub violation_list: Vec<Violation>,
}

/// The last line's object.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// `binlog-purged`.
    pub drill: &'static str,
    /// See [`Round::resync_s`].
    pub resync_s: Option<f64>,
    /// Bookings acknowledged.
    pub acknowledged: u64,
    /// Of these, lost.
    pub lost: usize,
    /// Seats sold twice.
    pub double_sold: usize,
    /// How many violations were found.
    pub violations: usize,
}

impl Round {
    /// In short.
    pub fn summary(&self) -> Summary {
        let &Round { drill, resync_s, acknowledged, lost, double_sold, violations, .. } = self;
        Summary { drill, resync_s, acknowledged, lost, double_sold, violations }
    }
}

/// Runs the drill on the lab behind `access`; `talk` is called with what is going on.
pub async fn run(access: Access, config: &BinlogPurged, talk: &dyn Fn(String)) -> Result<Round, Aborted> {
    let mut round = Round { drill: "binlog-purged", seed: config.seed, ..Round::default() };
    let register = access.wait_for_sync(SYNC_DEADLINE).await?;
    let primary = register.primary.clone();
    let standby = access.topology.peer_of(&primary).cloned();
    let standby = standby.ok_or_else(|| Aborted(format!("{primary} has no peer")))?;
    round.standby = standby.to_string();
    round.incarnation_before = register.standby_incarnation.0;
    let mut drill = Drill::prepare(access, config.seed).await?;
    let mut violations = drill.weak_settings().await?;
    drill.crowd.admit(u64::from(config.rate_per_s * ROUND_S)).await?;
    drill.access.wait_for_sync(SYNC_DEADLINE).await?;
    talk(format!("the doors open, {} visitors a second", config.rate_per_s));
    let arriving = drill.crowd.open(f64::from(config.rate_per_s), 1);
    drill.steady(&arriving, STEADY_S, wanted_per_s(config.rate_per_s)).await;

    talk(format!("cutting the link to {standby}, and deleting the log of {primary} behind it"));
    let listening = Listening::begin(&drill.access);
    drill.access.link(true, 0).await?;
    tokio::time::sleep(AWAY).await; // load that the standby does not see
    let slot = drill.access.status(&standby).await?.slot;
    let file =
        slot.map(|slot| slot.position.file).ok_or_else(|| Aborted(format!("{standby} has no slot")))?;
    round.standby_file = Some(file);
    round.oldest_file = Some(purge(&drill.access, &primary, file).await?);

    talk("the link is back: the standby's position is lost".to_owned());
    let reasons = listening.reasons_now();
    let returned = Boot::now();
    drill.access.link(false, 0).await?;
    match drill.access.wait_for_sync(SYNC_DEADLINE).await {
        Ok(register) => {
            round.resync_s = Some(rounded(returned.elapsed().as_secs_f64(), 3));
            round.incarnation_after = register.standby_incarnation.0;
            if register.primary != primary {
                violations.push(Violation::new("I12", format!("{} became primary", register.primary)));
            }
            if round.incarnation_after <= round.incarnation_before {
                violations.push(Violation::new("I12", "the copy was made in no new life of the data"));
            }
        }
        Err(missing) => violations.push(Violation::new("I12", missing)),
    }
    talk(format!("in sync again after {:?} s", round.resync_s));
    tokio::time::sleep(AWAY).await; // load on the standby that is attached again
    arriving.close().await?;

    let tally = drill.ledger.close_round();
    round.acknowledged = tally.acknowledged;
    round.visitor_errors = tally.errors_seen;
    round.unknown_outcomes = tally.unknown_seen;
    violations.extend(tally.broken_promises);
    let checked = drill.check(&primary).await?;
    (round.lost, round.double_sold) = (checked.lost, checked.double_sold);
    violations.extend(checked.violations);
    violations.extend(drill.compare().await?);
    let failed_over = drill.access.register().await?.epoch > register.epoch;
    let told = listening.end().await;
    // The link's loss has stories of its own; here nobody may be promoted, and that is all.
    violations.extend(told.misjudged(&Expectation::default(), failed_over));
    round.judged = told.judged(failed_over, reasons);
    round.violations = violations.len();
    violations.truncate(LISTED_MAX);
    round.violation_list = violations;
    Ok(round)
}

/// Deletes the log of `site` until the file number `held` is gone; returns the oldest file that is left. A server keeps a
/// file for a reader whose connection is gone until it has noticed that.
async fn purge(access: &Access, site: &Site, held: u64) -> Result<u64, Aborted> {
    let broke = |e: mysql_async::Error| Aborted(format!("deleting the log of {site}: {e}"));
    let mut conn = access.database_as(site, DRILL_USER).await?;
    let started = Boot::now();
    loop {
        conn.query_drop("FLUSH BINARY LOGS").await.map_err(broke)?;
        let files: Vec<(String, u64)> = conn.query("SHOW BINARY LOGS").await.map_err(broke)?;
        if let Some((newest, _)) = files.last() {
            conn.query_drop(format!("PURGE BINARY LOGS TO '{newest}'")).await.map_err(broke)?;
        }
        let files: Vec<(String, u64)> = conn.query("SHOW BINARY LOGS").await.map_err(broke)?;
        let number = |name: &String| name.rsplit_once('.').and_then(|(_, digits)| digits.parse::<u64>().ok());
        let oldest = files.iter().filter_map(|(name, _)| number(name)).min();
        match oldest {
            Some(oldest) if oldest > held => return Ok(oldest),
            _ if started.elapsed() > PURGE_DEADLINE => {
                return Err(Aborted(format!(
                    "{site} still keeps file {oldest:?} of its log; {held} was to go"
                )));
            }
            // The server frees the file at its next write to the reader that is gone.
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
