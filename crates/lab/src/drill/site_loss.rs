//! The primary site is lost: every process killed, every address dark. How long until visitors book again, and is
//! anything that they were told gone?

use std::{sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use runtime::clock::Boot;
use serde::Serialize;

use super::{
    ACKNOWLEDGED_PER_S_MIN, Aborted, Drill,
    access::Access,
    fault::Cast,
    heard::{Judged, Listening},
    story::Story,
    watch::{Phases, Watch},
};
use crate::{
    checker::Violation,
    divergence::Divergence,
    ledger::to_f64,
    stats::{Samples, rounded},
};

/// Visitors who measure the return, of each kind.
const MEASURING: usize = 8;
/// How long load goes on after the service is back.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// How long both sites may take to be in `sync` again.
const SYNC_DEADLINE: Duration = Duration::from_secs(180);
/// Load before the kill, in seconds, at least.
const STEADY_S: u64 = 4;
/// A round needs so many seconds' worth of seats.
const ROUND_S: f64 = 60.0;
/// Violations that one line lists; the others are counted.
const LISTED_MAX: usize = 50;

/// What must be concluded of it.
const STORY: Story = Story {
    file: "primary-site-lost.txt",
    text: include_str!("../../../../scenarios/primary-site-lost.txt"),
    moment: "Both have lost it",
};

/// What is asked of the drill.
#[derive(Clone, Debug)]
pub struct SiteLoss {
    /// How often.
    pub rounds: u32,
    /// Every choice of the visitors and the moments of the kills follow from it.
    pub seed: u64,
    /// Visitors per second.
    pub rate_per_s: f64,
    /// A delay of the link between the sites, there and back.
    pub link_rtt_ms: Option<u64>,
    /// Whether the lab's gates hold answers; only for the report's words.
    pub gate: bool,
    /// So many transactions the dying primary commits when nobody hears it any more.
    pub divergent: u32,
}

/// One round's line.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Round {
    /// `site-loss`.
    pub drill: &'static str,
    /// From 1.
    pub round: u32,
    /// The drill's seed.
    pub seed: u64,
    /// The site that was killed.
    pub killed: String,
    /// How its addresses went dark.
    pub how: String,
    /// What was judged.
    #[serde(flatten)]
    pub judged: Judged,
    /// The register's mode when it was killed.
    pub mode_at_kill: String,
    /// Bookings acknowledged in the second before.
    pub acknowledged_per_s_before_kill: u64,
    /// What the load fell short of, if it did.
    pub shortfall: Option<String>,
    /// From the kill to the acknowledgement of the first booking sent after it, by a visitor who knows both
    /// addresses. `None`: never.
    pub rto_s: Option<f64>,
    /// The same for visitors who only follow DNS and honour its TTL: the slowest of eight caches of random age.
    pub rto_dns_s: Option<f64>,
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
    /// From arrival to acknowledgement, of visitors who met no error.
    pub booking_ms_p50: Option<f64>,
    /// The same, 99th percentile.
    pub booking_ms_p99: Option<f64>,
    /// From the order to bring the site back until `sync`.
    pub resync_s: Option<f64>,
    /// The same, if it came back without a rebuild: its own database, what was never acknowledged undone.
    pub reinstate_s: Option<f64>,
    /// Transactions that the lost primary had committed and the other site never had, as MariaDB's own decoder finds
    /// them in its log.
    pub divergent_transactions: u64,
    /// Transactions in its quarantine.
    pub quarantined_transactions: u64,
    /// Whether they were undone and the old primary became the standby.
    pub reinstated: bool,
    /// Whether it came back with another database instead.
    pub rebuilt: bool,
    /// When each step was seen, in milliseconds after the kill.
    pub phases_ms: Phases,
    /// How many violations were found.
    pub violations: usize,
    /// The first of them.
    pub violation_list: Vec<Violation>,
    /// Acknowledged bookings per 100 ms, from 5 s before the kill; for the report.
    #[serde(skip)]
    pub acknowledged_per_100_ms: Vec<u64>,
}

/// The last line's object.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// `site-loss`.
    pub drill: &'static str,
    /// Rounds that were run to their end.
    pub rounds: usize,
    /// Median over the rounds.
    pub rto_s_p50: Option<f64>,
    /// 99th percentile; the maximum under 100 rounds.
    pub rto_s_p99: Option<f64>,
    /// Median over the rounds.
    pub rto_dns_s_p50: Option<f64>,
    /// 99th percentile; the maximum under 100 rounds.
    pub rto_dns_s_p99: Option<f64>,
    /// Longest way back to `sync`.
    pub resync_s_max: Option<f64>,
    /// The same over the rounds without a rebuild.
    pub reinstate_s_max: Option<f64>,
    /// Rounds that ended in a reinstatement.
    pub reinstated: usize,
    /// All divergent transactions.
    pub divergent_transactions: u64,
    /// All quarantined ones.
    pub quarantined_transactions: u64,
    /// All acknowledged bookings.
    pub acknowledged: u64,
    /// All lost ones.
    pub lost: usize,
    /// All seats sold twice.
    pub double_sold: usize,
    /// All violations.
    pub violations: usize,
}

/// The plot in the report begins so long before the kill.
pub const PLOT_BEFORE_MS: u64 = 5_000;
/// And ends so long after it.
pub const PLOT_AFTER_MS: u64 = 15_000;

impl Summary {
    /// Of these rounds.
    pub fn of(rounds: &[Round]) -> Summary {
        let samples = |value: fn(&Round) -> Option<f64>| rounds.iter().filter_map(value).collect::<Samples>();
        let (rto, dns) = (samples(|r| r.rto_s), samples(|r| r.rto_dns_s));
        Summary {
            drill: "site-loss",
            rounds: rounds.len(),
            rto_s_p50: rto.p50(),
            rto_s_p99: rto.p99(),
            rto_dns_s_p50: dns.p50(),
            rto_dns_s_p99: dns.p99(),
            resync_s_max: samples(|r| r.resync_s).max(),
            reinstate_s_max: samples(|r| r.reinstate_s).max(),
            reinstated: rounds.iter().filter(|r| r.reinstated).count(),
            divergent_transactions: rounds.iter().map(|r| r.divergent_transactions).sum(),
            quarantined_transactions: rounds.iter().map(|r| r.quarantined_transactions).sum(),
            acknowledged: rounds.iter().map(|r| r.acknowledged).sum(),
            lost: rounds.iter().map(|r| r.lost).sum(),
            double_sold: rounds.iter().map(|r| r.double_sold).sum(),
            violations: rounds.iter().map(|r| r.violations).sum(),
        }
    }
}

/// Runs the drill on the lab behind `access`. `tell` is called with every finished round, `talk` with what is going
/// on. Rounds that were finished before an error are with `tell` already.
pub async fn run(
    access: Access,
    config: &SiteLoss,
    mut tell: impl FnMut(&Round),
    talk: &dyn Fn(String),
) -> Result<(), Aborted> {
    access.wait_for_sync(SYNC_DEADLINE).await?;
    if let Some(rtt_ms) = config.link_rtt_ms {
        access.link(false, rtt_ms).await?;
    }
    let mut drill = Drill::prepare(access, config.seed).await?;
    let mut moments = SmallRng::seed_from_u64(config.seed);
    for n in 1..=config.rounds {
        let delay = Duration::from_millis(moments.random_range(0..1_000));
        let round = round(&mut drill, config, n, delay, talk).await?;
        tell(&round);
    }
    Ok(())
}

async fn round(
    drill: &mut Drill,
    config: &SiteLoss,
    n: u32,
    delay: Duration,
    talk: &dyn Fn(String),
) -> Result<Round, Aborted> {
    let mut round = Round { drill: "site-loss", round: n, seed: config.seed, ..Round::default() };
    let mut violations = drill.weak_settings().await?;
    let signed_up = drill.crowd.admit(whole(config.rate_per_s * ROUND_S)).await?;
    talk(format!("round {n}: {signed_up} visitors signed up, waiting for sync"));
    let register = drill.access.wait_for_sync(SYNC_DEADLINE).await?;
    let peer = drill.access.topology.peer_of(&register.primary).cloned();
    let other = peer.ok_or_else(|| Aborted(format!("{} has no peer", register.primary)))?;

    let divergence =
        (config.divergent > 0).then_some(Divergence { round: n, transactions: config.divergent });
    if let Some(divergence) = divergence {
        let mut conn = drill.access.database(&register.primary).await?;
        divergence.prepare(&mut conn).await.map_err(|e| format!("preparing the tail: {e}"))?;
    }

    talk(format!("round {n}: the doors open, {} visitors a second", config.rate_per_s));
    let arriving = drill.crowd.open(config.rate_per_s, n);
    drill.steady(&arriving, STEADY_S, ACKNOWLEDGED_PER_S_MIN).await;
    tokio::time::sleep(delay).await;

    let before = drill.access.register().await?;
    round.mode_at_kill = before.mode.as_str().to_owned();
    round.acknowledged_per_s_before_kill = drill.acknowledged_last_second();
    round.shortfall = super::shortfall(round.acknowledged_per_s_before_kill, ACKNOWLEDGED_PER_S_MIN);
    talk(format!(
        "round {n}: killing {} in mode {} at {} acknowledged/s",
        before.primary, round.mode_at_kill, round.acknowledged_per_s_before_kill
    ));
    let cast = Cast { primary: before.primary.clone(), standby: other.clone() };
    let expected = STORY.expectation(&cast, before.epoch)?;
    let listening = Listening::begin(&drill.access);
    let killed = drill.access.kill(&before.primary, divergence).await?;
    round.killed = before.primary.to_string();
    round.how = killed.how.clone();
    let watch = Watch::failover(&drill.access, &other, before.epoch, killed.at_ms);

    let addresses: Arc<[_]> = drill.access.gateways().into();
    let (direct, by_name) = tokio::join!(
        drill.crowd.first_return(addresses, MEASURING),
        drill.crowd.last_return_by_name(MEASURING),
    );
    let seconds = |at_ms: u64| rounded(to_f64(at_ms.saturating_sub(killed.at_ms)) / 1_000.0, 3);
    if let Some(entry) = direct {
        round.rto_s = Some(seconds(entry.acknowledged_at_ms));
        watch.set(entry.acknowledged_at_ms, |p| &mut p.first_acknowledged);
    } else {
        violations
            .push(Violation::new("RTO", "no visitor who knows both addresses could book within a minute"));
    }
    if let Some(entry) = by_name {
        round.rto_dns_s = Some(seconds(entry.acknowledged_at_ms));
        watch.set(entry.acknowledged_at_ms, |p| &mut p.dns_acknowledged);
    } else {
        violations.push(Violation::new("RTO", "a visitor who follows DNS could not book within a minute"));
    }
    talk(format!("round {n}: back after {:?} s, by DNS after {:?} s", round.rto_s, round.rto_dns_s));
    tokio::time::sleep(AFTERWARDS).await;
    watch.set(Boot::now().as_ms(), |p| &mut p.load_ended);
    arriving.close().await?;

    let tally = drill.ledger.close_round();
    round.acknowledged = tally.acknowledged;
    round.visitor_errors = tally.errors_seen;
    round.unknown_outcomes = tally.unknown_seen;
    round.visitors = tally.arrived;
    round.refused = tally.refused;
    round.gave_up = tally.unknown + tally.failed;
    round.booking_ms_p50 = tally.latency_ms.p50();
    round.booking_ms_p99 = tally.latency_ms.p99();
    violations.extend(tally.broken_promises);
    for failure in &tally.failures {
        tracing::warn!("a visitor gave up: {failure}");
    }
    let from_ms = killed.at_ms.saturating_sub(PLOT_BEFORE_MS);
    round.acknowledged_per_100_ms = (from_ms..killed.at_ms + PLOT_AFTER_MS)
        .step_by(100)
        .map(|at| drill.ledger.acknowledged_between(at, at + 100))
        .collect();

    let checked = drill.check(&other).await?;
    talk(format!(
        "round {n}: {} acknowledged, {} lost; bringing {} back",
        tally.acknowledged, checked.lost, before.primary
    ));
    round.lost = checked.lost;
    round.double_sold = checked.double_sold;
    violations.extend(checked.violations);

    let restored = Boot::now();
    watch.return_of(&drill.access, &before.primary);
    drill.access.restore(&before.primary).await?;
    match drill.access.wait_for_sync(SYNC_DEADLINE).await {
        Ok(_) => {
            round.resync_s = Some(rounded(restored.elapsed().as_secs_f64(), 3));
            violations.extend(drill.compare().await?);
            let kept = drill.check_quarantine(&before.primary, &other, before.epoch.next()).await?;
            talk(format!(
                "round {n}: {} divergent transactions in the log, {} in quarantine (acknowledged: {}), {}",
                kept.divergent_transactions,
                kept.quarantined_transactions,
                kept.acknowledged.as_deref().unwrap_or("not told"),
                if kept.undone { "undone" } else { "not undone" }
            ));
            round.divergent_transactions = kept.divergent_transactions;
            round.quarantined_transactions = kept.quarantined_transactions;
            (round.reinstated, round.rebuilt) = (kept.undone && !kept.rebuilt, kept.rebuilt);
            round.reinstate_s = round.resync_s.filter(|_| round.reinstated);
            violations.extend(kept.violations);
            if kept.divergent_transactions < u64::from(killed.diverged) {
                let what = format!(
                    "{} transactions were written into the dying primary on purpose, its log has fewer",
                    killed.diverged
                );
                violations.push(Violation::new("I12", what));
            }
        }
        Err(missing) => violations.push(Violation::new("I12", missing)),
    }
    round.phases_ms = watch.end().await;
    let failed_over = drill.access.register().await?.epoch > before.epoch;
    let told = listening.end().await;
    violations.extend(told.misjudged(&expected, failed_over));
    let reasons = told.reasons_of_the_move();
    round.judged = told.judged(failed_over, reasons);
    round.violations = violations.len();
    violations.truncate(LISTED_MAX);
    round.violation_list = violations;
    Ok(round)
}

fn whole(positive: f64) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of seats: small and positive"
    )]
    let whole = positive.max(0.0).ceil() as u64;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_adds_up_and_a_round_without_return_has_no_rto() {
        let round =
            |rto_s, lost| Round { rto_s, lost, violations: lost, acknowledged: 10, ..Round::default() };
        let summary = Summary::of(&[round(Some(2.0), 0), round(None, 3), round(Some(3.5), 0)]);
        assert_eq!((summary.rounds, summary.lost, summary.violations, summary.acknowledged), (3, 3, 3, 30));
        assert_eq!(
            (summary.rto_s_p50, summary.rto_s_p99, summary.rto_dns_s_p99),
            (Some(2.0), Some(3.5), None)
        );
    }
}
