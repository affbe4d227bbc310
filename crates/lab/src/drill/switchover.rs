//! A planned change of primary under load, back and forth. Does any visitor notice, and how long is the pause?

use std::time::Duration;

use model::{
    observation::View,
    switchover::{Phase, State, Told},
};
use runtime::{admin::Client, clock::Boot};
use serde::Serialize;

use super::{ACKNOWLEDGED_PER_S_MIN, Aborted, Drill, access::Access};
use crate::{
    checker::Violation,
    ledger::{Request, to_f64},
    stats::{Samples, rounded},
};

/// Load before and after each switchover, in seconds.
const STEADY_S: u64 = 2;
const AFTERWARDS: Duration = Duration::from_secs(2);
/// How long both sites may take to be in `sync` again.
const SYNC_DEADLINE: Duration = Duration::from_secs(60);
/// How long a switchover may take to tell its end.
const END_DEADLINE: Duration = Duration::from_secs(20);
const ASK: Duration = Duration::from_secs(2);
/// A round needs so many seconds' worth of seats.
const ROUND_S: f64 = 45.0;
/// Violations that one line lists; the others are counted.
const LISTED_MAX: usize = 50;

/// What is asked of the drill.
#[derive(Clone, Debug)]
pub struct Switchover {
    /// How often; each round goes to the site that is standby then.
    pub rounds: u32,
    /// Every choice of the visitors follows from it.
    pub seed: u64,
    /// Visitors per second.
    pub rate_per_s: f64,
    /// A delay of the link between the sites, there and back.
    pub link_rtt_ms: Option<u64>,
}

/// One round's line.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Round {
    /// `switchover`.
    pub drill: &'static str,
    /// From 1.
    pub round: u32,
    /// The drill's seed.
    pub seed: u64,
    /// Who was primary.
    pub from: String,
    /// Who was to be.
    pub to: String,
    /// `done`, `refused`, `rolled_back`, or `unknown`.
    pub outcome: String,
    /// Why it was refused or rolled back.
    pub reasons: Vec<String>,
    /// What the load fell short of, if it did.
    pub shortfall: Option<String>,
    /// The longest latency of a request that overlapped the switchover.
    pub pause_ms: Option<f64>,
    /// How many requests did.
    pub overlapping: u64,
    /// Requests that ended in a reset, a time-out, or an answer that is neither 2xx nor 409.
    pub visitor_errors: u64,
    /// The first of them: what was asked, what came of it, and when, in milliseconds since the order.
    pub errors: Vec<String>,
    /// All requests of the round.
    pub requests: u64,
    /// From the order until the register said `sync` in the new epoch.
    pub sync_ms: Option<u64>,
    /// Bookings acknowledged in this round.
    pub acknowledged: u64,
    /// Acknowledged bookings that are missing or differ.
    pub lost: usize,
    /// Seats sold twice.
    pub double_sold: usize,
    /// What was done, in the order in which it ended.
    pub phases: Vec<Phase>,
    /// How many violations were found.
    pub violations: usize,
    /// The first of them.
    pub violation_list: Vec<Violation>,
}

/// The last line's object.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// `switchover`.
    pub drill: &'static str,
    /// Rounds that were run to their end.
    pub rounds: usize,
    /// Rounds whose switchover was done.
    pub done: usize,
    /// Median of the rounds' pauses.
    pub pause_ms_p50: Option<f64>,
    /// 99th percentile; the maximum under 100 rounds.
    pub pause_ms_p99: Option<f64>,
    /// All requests that a visitor sees as an error.
    pub visitor_errors: u64,
    /// All requests.
    pub requests: u64,
    /// All acknowledged bookings.
    pub acknowledged: u64,
    /// All lost ones.
    pub lost: usize,
    /// All seats sold twice.
    pub double_sold: usize,
    /// All violations.
    pub violations: usize,
}

impl Summary {
    /// Of these rounds.
    pub fn of(rounds: &[Round]) -> Summary {
        let pauses = rounds.iter().filter_map(|r| r.pause_ms).collect::<Samples>();
        Summary {
            drill: "switchover",
            rounds: rounds.len(),
            done: rounds.iter().filter(|r| r.outcome == "done").count(),
            pause_ms_p50: pauses.p50(),
            pause_ms_p99: pauses.p99(),
            visitor_errors: rounds.iter().map(|r| r.visitor_errors).sum(),
            requests: rounds.iter().map(|r| r.requests).sum(),
            acknowledged: rounds.iter().map(|r| r.acknowledged).sum(),
            lost: rounds.iter().map(|r| r.lost).sum(),
            double_sold: rounds.iter().map(|r| r.double_sold).sum(),
            violations: rounds.iter().map(|r| r.violations).sum(),
        }
    }

    /// Whether nobody noticed anything and nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.done == self.rounds && self.visitor_errors == 0 && self.lost == 0 && self.violations == 0
    }
}

/// Runs the drill on the lab behind `access`. `tell` is called with every finished round, `talk` with what is going on.
pub async fn run(
    access: Access,
    config: &Switchover,
    mut tell: impl FnMut(&Round),
    talk: &dyn Fn(String),
) -> Result<(), Aborted> {
    access.wait_for_sync(SYNC_DEADLINE).await?;
    if let Some(rtt_ms) = config.link_rtt_ms {
        access.link(false, rtt_ms).await?;
    }
    let mut drill = Drill::prepare(access, config.seed).await?;
    for n in 1..=config.rounds {
        let round = round(&mut drill, config, n, talk).await?;
        tell(&round);
    }
    Ok(())
}

async fn round(
    drill: &mut Drill,
    config: &Switchover,
    n: u32,
    talk: &dyn Fn(String),
) -> Result<Round, Aborted> {
    let mut round = Round { drill: "switchover", round: n, seed: config.seed, ..Round::default() };
    let mut violations = drill.weak_settings().await?;
    drill.crowd.admit(seats(config.rate_per_s)).await?;
    let register = drill.access.wait_for_sync(SYNC_DEADLINE).await?;
    let to = drill.access.topology.peer_of(&register.primary).cloned();
    let to = to.ok_or_else(|| Aborted(format!("{} has no peer", register.primary)))?;
    (round.from, round.to) = (register.primary.to_string(), to.to_string());
    let arriving = drill.crowd.open(config.rate_per_s, n);
    // A lighter load than that is what was asked for.
    let wanted = if config.rate_per_s > to_f64(ACKNOWLEDGED_PER_S_MIN) { ACKNOWLEDGED_PER_S_MIN } else { 0 };
    drill.steady(&arriving, STEADY_S, wanted).await;
    let before = drill.acknowledged_last_second();
    if before < ACKNOWLEDGED_PER_S_MIN {
        round.shortfall = Some(format!("{before} acknowledged/s before, {ACKNOWLEDGED_PER_S_MIN} wanted"));
    }

    talk(format!("round {n}: from {} to {to} at {before} acknowledged/s", register.primary));
    let began = Boot::now();
    let (told, leader) = drill.access.switchover(&to).await?;
    let told = end_of(told, &leader).await;
    let over_ms = Boot::now().as_ms();
    round.outcome = word(told.state).to_owned();
    round.reasons.clone_from(&told.reasons);
    let synced = drill.access.wait_for_sync(SYNC_DEADLINE).await;
    // Load goes on behind it: what was broken would be noticed now.
    tokio::time::sleep(AFTERWARDS).await;
    arriving.close().await?;
    round.phases = told_last(&told, &leader).await.phases;
    round.sync_ms = round.phases.iter().find(|p| p.phase == "sync").map(|p| p.ended_ms);

    let requests = drill.ledger.take_requests();
    // Its end for visitors: what was parked is let go on when it is done, a moment later at most by the policy.
    let wait_ms = drill.access.topology.policy.switchover_sync_wait_ms;
    let (pause_ms, overlapping) = pause(&requests, began.as_ms(), over_ms + wait_ms);
    (round.pause_ms, round.overlapping) = (pause_ms.map(to_f64), overlapping);
    round.requests = requests.len() as u64;
    let errors = requests.iter().filter_map(|r| Some((r, r.error.as_ref()?)));
    round.visitor_errors = errors.clone().count() as u64;
    let tell = |(r, what): (&Request, &String)| {
        let since = |ms: u64| ms.cast_signed() - began.as_ms().cast_signed();
        format!("{what} (sent at {} ms, ended at {} ms)", since(r.sent_at_ms), since(r.ended_at_ms))
    };
    round.errors = errors.take(LISTED_MAX).map(tell).collect();
    let tally = drill.ledger.close_round();
    round.acknowledged = tally.acknowledged;
    violations.extend(tally.broken_promises);
    for failure in &tally.failures {
        tracing::warn!("a visitor gave up: {failure}");
    }

    let primary = match synced {
        Ok(register) => register.primary,
        Err(missing) => {
            violations.push(Violation::new("I12", missing));
            drill.access.register().await?.primary
        }
    };
    if told.state == State::Done && primary != to {
        violations.push(Violation::new("I3", format!("done, and {primary} is primary, not {to}")));
    }
    let checked = drill.check(&primary).await?;
    (round.lost, round.double_sold) = (checked.lost, checked.double_sold);
    violations.extend(checked.violations);
    violations.extend(drill.compare().await?);
    let quarantined = drill.quarantined().await?;
    violations.extend(drill.new_ones(quarantined));
    talk(format!(
        "round {n}: {}, pause {:?} ms over {overlapping} requests, {} errors, sync after {:?} ms",
        round.outcome,
        round.pause_ms.map(|ms| rounded(ms, 0)),
        round.visitor_errors,
        round.sync_ms
    ));
    round.violations = violations.len();
    violations.truncate(LISTED_MAX);
    round.violation_list = violations;
    Ok(round)
}

/// The longest latency of the requests that overlapped `[from_ms, to_ms]`, and how many did.
fn pause(requests: &[Request], from_ms: u64, to_ms: u64) -> (Option<u64>, u64) {
    let overlaps = |r: &&Request| r.sent_at_ms <= to_ms && r.ended_at_ms >= from_ms;
    let latencies = requests.iter().filter(overlaps).map(|r| r.ended_at_ms.saturating_sub(r.sent_at_ms));
    (latencies.clone().max(), latencies.count() as u64)
}

/// Asks until the switchover has ended, one way or the other.
async fn end_of(first: Told, leader: &Client) -> Told {
    let began = Boot::now();
    let mut told = first;
    while matches!(told.state, State::Asked | State::UnderWay) && began.elapsed() < END_DEADLINE {
        // The controller tells how far it is when it is asked.
        tokio::time::sleep(Duration::from_millis(5)).await;
        told = told_last(&told, leader).await;
    }
    told
}

async fn told_last(known: &Told, leader: &Client) -> Told {
    match leader.get::<View>("/v1/view", ASK).await {
        Ok(view) => view.switchover.filter(|t| t.number == known.number).unwrap_or_else(|| known.clone()),
        Err(e) => {
            tracing::warn!("the controller that leads: {e}");
            known.clone()
        }
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Refused => "refused",
        State::Asked | State::UnderWay => "unknown",
        State::Done => "done",
        State::RolledBack => "rolled_back",
    }
}

fn seats(rate_per_s: f64) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of seats: small and positive"
    )]
    let whole = (rate_per_s * ROUND_S).max(0.0).ceil() as u64;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_is_the_longest_request_that_overlaps() {
        let request = |sent_at_ms, ended_at_ms| Request { sent_at_ms, ended_at_ms, error: None };
        let requests = [request(0, 900), request(950, 1_010), request(1_100, 1_400), request(1_600, 3_000)];
        assert_eq!(pause(&requests, 1_000, 1_500), (Some(300), 2));
        assert_eq!(pause(&requests, 4_000, 5_000), (None, 0));
    }

    #[test]
    fn a_summary_is_clean_only_if_every_round_was_done_unnoticed() {
        let done = Round { outcome: "done".into(), pause_ms: Some(200.0), requests: 9, ..Round::default() };
        assert!(Summary::of(std::slice::from_ref(&done)).is_clean());
        let noticed = Round { visitor_errors: 1, ..done.clone() };
        assert!(!Summary::of(&[done.clone(), noticed]).is_clean());
        let refused = Round { outcome: "refused".into(), ..done.clone() };
        assert!(!Summary::of(&[done, refused]).is_clean());
    }
}
