//! A round of a drill of [`super::table`]: load, a fault, what is expected of it, its healing, the checker.
//!
//! The doors stay open from before the fault until both sites are in `sync` again, so that what comes back comes back
//! among visitors. Then both databases must be equal, and everything that a visitor was told must be there.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use runtime::{clock::Boot, process::Shutdown};
use serde::Serialize;

use super::{
    Aborted, Drill,
    access::Access,
    fault::{Cast, Fault},
    heard::{Judged, Listening},
    table::{Case, Row},
};
use crate::{
    checker::Violation,
    ledger::{Acknowledged, to_f64},
    stats::{Samples, rounded},
};

/// Visitors who measure when they are answered again.
const MEASURING: usize = 8;
/// How long load goes on after the service is back, and after both sites are in step again.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// How long both sites may take to be in `sync`. A server whose disk was full looks for room once a minute.
const SYNC_DEADLINE: Duration = Duration::from_secs(180);
/// Load before the fault, in seconds, at least.
const STEADY_S: u64 = 3;
/// Visitors are signed up for so many seconds; the crowd fetches more while the doors are open.
const AHEAD_S: u64 = 30;
/// Violations that one line lists; the others are counted.
const LISTED_MAX: usize = 50;

/// What is asked of a drill.
#[derive(Clone, Debug)]
pub struct Config {
    /// How often; each round takes the drill's next case. `None`: each case once.
    pub rounds: Option<u32>,
    /// Every choice of the visitors follows from it.
    pub seed: u64,
    /// Visitors per second.
    pub rate_per_s: u32,
}

/// One round's line.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Round {
    /// The drill's name.
    pub drill: &'static str,
    /// From 1.
    pub round: u32,
    /// The drill's seed.
    pub seed: u64,
    /// What was broken, in words.
    pub fault: &'static str,
    /// The site that was primary then.
    pub primary: String,
    /// The scenario that tells what is expected, and its moment.
    pub scenario: String,
    /// `failover` or `hold`, as that scenario says.
    pub expected: &'static str,
    /// The problems that it names; all of them must have been named.
    pub problems_expected: Vec<String>,
    /// What was judged.
    #[serde(flatten)]
    pub judged: Judged,
    /// The register's mode at the fault.
    pub mode_at_fault: String,
    /// Bookings acknowledged in the second before.
    pub acknowledged_per_s_before_fault: u64,
    /// What the load fell short of, if it did.
    pub shortfall: Option<String>,
    /// From the fault (a flapping one: from its last healing) to the acknowledgement of the first booking sent after it,
    /// by a visitor who knows both addresses. `None`: none within a minute.
    pub answered_s: Option<f64>,
    /// The same where the standby took over, else `None`.
    pub rto_s: Option<f64>,
    /// Bookings acknowledged in the last second of the fault.
    pub acknowledged_per_s_at_healing: u64,
    /// From the healing until `sync`, under load. `None`: never.
    pub resync_s: Option<f64>,
    /// How the site that was away is a standby again: `attached`, `reinstated`, `resynchronised` or `rebuilt`.
    pub came_back: Option<&'static str>,
    /// Transactions of an old primary that nobody was told of, in its quarantine.
    pub quarantined_transactions: u64,
    /// Bookings acknowledged in this round.
    pub acknowledged: u64,
    /// Acknowledged bookings that are missing or differ.
    pub lost: usize,
    /// Seats sold twice.
    pub double_sold: usize,
    /// Error answers and silences that visitors met.
    pub visitor_errors: u64,
    /// Of these: those that left open whether the booking exists.
    pub unknown_outcomes: u64,
    /// Visitors who arrived.
    pub visitors: u64,
    /// Visitors told no (the seat was gone).
    pub refused: u64,
    /// Visitors who gave up without a booking that they know of.
    pub gave_up: u64,
    /// How many violations were found.
    pub violations: usize,
    /// The first of them.
    pub violation_list: Vec<Violation>,
}

/// The last line's object.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The drill's name.
    pub drill: &'static str,
    /// Rounds that were run to their end.
    pub rounds: usize,
    /// Of these: those in which the standby took over.
    pub failovers: usize,
    /// Of these: those in which nobody did.
    pub holds: usize,
    /// Median of `rto_s`.
    pub rto_s_p50: Option<f64>,
    /// 99th percentile of `rto_s`; the maximum under 100 rounds.
    pub rto_s_p99: Option<f64>,
    /// Longest way back to `sync`.
    pub resync_s_max: Option<f64>,
    /// All acknowledged bookings.
    pub acknowledged: u64,
    /// All lost ones.
    pub lost: usize,
    /// All seats sold twice.
    pub double_sold: usize,
    /// All errors that visitors met.
    pub visitor_errors: u64,
    /// All violations.
    pub violations: usize,
}

impl Summary {
    /// Of these rounds of the drill `name`.
    pub fn of(name: &'static str, rounds: &[Round]) -> Summary {
        let samples = |value: fn(&Round) -> Option<f64>| rounds.iter().filter_map(value).collect::<Samples>();
        let rto = samples(|r| r.rto_s);
        let count = |verdict| rounds.iter().filter(|r| r.judged.verdict == verdict).count();
        Summary {
            drill: name,
            rounds: rounds.len(),
            failovers: count("failover"),
            holds: count("hold"),
            rto_s_p50: rto.p50(),
            rto_s_p99: rto.p99(),
            resync_s_max: samples(|r| r.resync_s).max(),
            acknowledged: rounds.iter().map(|r| r.acknowledged).sum(),
            lost: rounds.iter().map(|r| r.lost).sum(),
            double_sold: rounds.iter().map(|r| r.double_sold).sum(),
            visitor_errors: rounds.iter().map(|r| r.visitor_errors).sum(),
            violations: rounds.iter().map(|r| r.violations).sum(),
        }
    }

    /// Whether nothing speaks against what was seen.
    pub fn is_clean(&self) -> bool {
        self.rounds > 0 && self.lost == 0 && self.violations == 0
    }
}

/// A fault that is there at this moment, so that it is healed however the drill ends.
type Standing = Mutex<Option<(Fault, Cast)>>;

/// Runs the drill `row` on the lab behind `access`. `tell` is called with every finished round, `talk` with what is going
/// on. However it ends, no fault is left behind.
pub async fn run(
    access: Access,
    row: &'static Row,
    config: &Config,
    mut tell: impl FnMut(&Round),
    talk: &dyn Fn(String),
    shutdown: &Shutdown,
) -> Result<(), Aborted> {
    let standing = Standing::default();
    let rounds = async {
        access.wait_for_sync(SYNC_DEADLINE).await?;
        let mut drill = Drill::prepare(access.clone(), config.seed).await?;
        let all = u32::try_from(row.cases.len()).unwrap_or(u32::MAX);
        for n in 1..=config.rounds.unwrap_or(all) {
            let case = row.case(n).ok_or_else(|| Aborted(format!("{} has no case", row.name)))?;
            tell(&round(&mut drill, row, case, config, n, &standing, talk).await?);
        }
        Ok(())
    };
    let outcome = tokio::select! {
        outcome = rounds => outcome,
        () = shutdown.cancelled() => Err(Aborted::from("interrupted".to_owned())),
    };
    let left = standing.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((fault, cast)) = left
        && let Err(e) = fault.heal(&access, &cast).await
    {
        talk(format!("the fault is still there: {e}"));
    }
    outcome
}

async fn round(
    drill: &mut Drill,
    row: &'static Row,
    case: &'static Case,
    config: &Config,
    n: u32,
    standing: &Standing,
    talk: &dyn Fn(String),
) -> Result<Round, Aborted> {
    let mut violations = drill.weak_settings().await?;
    let signed_up = drill.crowd.admit(u64::from(config.rate_per_s) * AHEAD_S).await?;
    talk(format!("round {n}: {signed_up} visitors signed up, waiting for sync"));
    let register = drill.access.wait_for_sync(SYNC_DEADLINE).await?;
    let peer = drill.access.topology.peer_of(&register.primary).cloned();
    let standby = peer.ok_or_else(|| Aborted(format!("{} has no peer", register.primary)))?;
    let cast = Cast { primary: register.primary, standby };
    let expected = case.story.expectation(&cast, register.epoch)?;

    talk(format!("round {n}: the doors open, {} visitors a second", config.rate_per_s));
    let arriving = drill.crowd.open(config.rate_per_s.into(), n);
    let wanted_per_s = super::wanted_per_s(config.rate_per_s);
    drill.steady(&arriving, STEADY_S, wanted_per_s).await;
    let before = drill.access.register().await?;
    if (before.epoch, &before.primary) != (register.epoch, &cast.primary) {
        return Err(Aborted(format!("{} became primary before anything was broken", before.primary)));
    }
    let mut round = Round {
        drill: row.name,
        round: n,
        seed: config.seed,
        fault: case.what,
        primary: cast.primary.to_string(),
        scenario: format!("{}: {}", case.story.file, case.story.moment),
        expected: if expected.failover { "failover" } else { "hold" },
        problems_expected: expected.problems.clone(),
        mode_at_fault: before.mode.as_str().to_owned(),
        acknowledged_per_s_before_fault: drill.acknowledged_last_second(),
        ..Round::default()
    };
    round.shortfall = super::shortfall(round.acknowledged_per_s_before_fault, wanted_per_s);

    talk(format!("round {n}: {} ({} is primary)", case.what, cast.primary));
    let listening = Listening::begin(&drill.access);
    *standing.lock().unwrap_or_else(PoisonError::into_inner) = Some((case.fault, cast.clone()));
    let made_ms = case.fault.make(&drill.access, &cast).await?;
    let from_ms = if matches!(case.fault, Fault::Flapping { .. }) { Boot::now().as_ms() } else { made_ms };
    let broken = Broken { drill, case, cast: &cast, listening: &listening };
    let (answered, healing) = broken.until_healed().await?;
    standing.lock().unwrap_or_else(PoisonError::into_inner).take();
    round.answered_s =
        answered.map(|e| rounded(to_f64(e.acknowledged_at_ms.saturating_sub(from_ms)) / 1_000.0, 3));
    round.acknowledged_per_s_at_healing = healing.acknowledged_per_s;
    if round.answered_s.is_none() {
        violations
            .push(Violation::new("RTO", "no visitor who knows both addresses could book within a minute"));
    }
    if case.served && healing.acknowledged_per_s == 0 {
        violations.push(Violation::new("service", "nobody was told yes in the last second of the fault"));
    }

    talk(format!("round {n}: answered again after {:?} s; healed, waiting for sync", round.answered_s));
    let after = match drill.access.wait_for_sync(SYNC_DEADLINE).await {
        Ok(after) => {
            round.resync_s = Some(rounded(healing.at.elapsed().as_secs_f64(), 3));
            after
        }
        Err(missing) => {
            violations.push(Violation::new("I12", missing));
            drill.access.register().await?
        }
    };
    let failed_over = after.epoch > before.epoch;
    round.rto_s = round.answered_s.filter(|_| failed_over);
    if after.epoch > before.epoch.next() {
        let what =
            format!("the epoch went from {} to {}: one fault, one failover", before.epoch, after.epoch);
        violations.push(Violation::new("verdict", what));
    }
    tokio::time::sleep(AFTERWARDS).await; // load on the standby that is back
    arriving.close().await?;

    let tally = drill.ledger.close_round();
    round.acknowledged = tally.acknowledged;
    round.visitor_errors = tally.errors_seen;
    round.unknown_outcomes = tally.unknown_seen;
    round.visitors = tally.arrived;
    round.refused = tally.refused;
    round.gave_up = tally.unknown + tally.failed;
    violations.extend(tally.broken_promises);
    for failure in &tally.failures {
        tracing::warn!("a visitor gave up: {failure}");
    }
    let checked = drill.check(&after.primary).await?;
    (round.lost, round.double_sold) = (checked.lost, checked.double_sold);
    violations.extend(checked.violations);
    if round.resync_s.is_some() {
        violations.extend(drill.compare().await?);
        if failed_over {
            let kept = drill.check_quarantine(&cast.primary, &after.primary, after.epoch).await?;
            round.quarantined_transactions = kept.quarantined_transactions;
            round.came_back = Some(kept.came_back());
            violations.extend(kept.violations);
        } else {
            let same = after.standby_incarnation == before.standby_incarnation;
            round.came_back = Some(if same { "attached" } else { "resynchronised" });
        }
    }

    let told = listening.end().await;
    violations.extend(told.misjudged(&expected, failed_over));
    let reasons = if failed_over { told.reasons_of_the_move() } else { healing.reasons };
    round.judged = told.judged(failed_over, reasons);
    round.violations = violations.len();
    violations.truncate(LISTED_MAX);
    round.violation_list = violations;
    Ok(round)
}

/// A fault that is there.
struct Broken<'a> {
    drill: &'a Drill,
    case: &'a Case,
    cast: &'a Cast,
    listening: &'a Listening,
}

/// The moment of the healing.
struct Healing {
    at: Boot,
    /// Bookings acknowledged in the second before.
    acknowledged_per_s: u64,
    /// The reasons that stood then.
    reasons: Vec<String>,
}

impl Broken<'_> {
    /// Lets it last, and heals it: where the standby is to take over, when visitors book again. Returns the first
    /// booking that was sent after the fault.
    async fn until_healed(&self) -> Result<(Option<Acknowledged>, Healing), Aborted> {
        let addresses: Arc<[_]> = self.drill.access.gateways().into();
        let answered = self.drill.crowd.first_return(addresses, MEASURING);
        if self.case.failover {
            let answered = answered.await;
            tokio::time::sleep(AFTERWARDS).await;
            Ok((answered, self.heal().await?))
        } else {
            let lasting = async {
                tokio::time::sleep(self.case.lasts).await;
                self.heal().await
            };
            let (answered, healing) = tokio::join!(answered, lasting);
            Ok((answered, healing?))
        }
    }

    async fn heal(&self) -> Result<Healing, Aborted> {
        let acknowledged_per_s = self.drill.acknowledged_last_second();
        let reasons = self.listening.reasons_now();
        let at = Boot::now();
        self.case.fault.heal(&self.drill.access, self.cast).await?;
        Ok(Healing { at, acknowledged_per_s, reasons })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_verdicts_and_a_hold_has_no_rto() {
        let round = |verdict, rto_s, violations| Round {
            judged: Judged { verdict, ..Judged::default() },
            rto_s,
            violations,
            ..Round::default()
        };
        let rounds =
            [round("failover", Some(2.5), 0), round("hold", None, 0), round("failover", Some(3.0), 1)];
        let summary = Summary::of("db-loss", &rounds);
        assert_eq!((summary.failovers, summary.holds, summary.rto_s_p99), (2, 1, Some(3.0)));
        assert!(!summary.is_clean());
        assert!(Summary::of("db-loss", &rounds[..2]).is_clean());
        assert!(!Summary::of("db-loss", &[]).is_clean(), "nothing was measured");
    }
}
