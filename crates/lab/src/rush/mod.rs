//! The rush: twenty thousand visitors and their bots come for one hall at the same moment, by the public name, through
//! the waiting room; then the surviving database is held against what each of them was told.
//!
//! [`scene`] announces the sale and reads it back, [`crowd`] lets the visitors come, [`visitor`] is one visitor's way,
//! [`notes`] is what they noted down, [`watch`] ends it (and kills a site in the middle), [`order`] judges the queue. What
//! all drills share (lab, ledger, checker) is theirs.

mod crowd;
mod notes;
mod order;
mod scene;
mod visitor;
mod watch;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use runtime::process::Shutdown;
use serde::Serialize;
use tokio::time::Instant;

use self::{
    crowd::Crowd,
    notes::{Noted, Notes},
    scene::Scene,
    visitor::{End, Shared},
    watch::{Killed, Watch},
};
use crate::{
    checker::Violation,
    drill::{Aborted, Drill, access::Access, caches},
    ledger::to_f64,
    load::{route::Route, visitor::Visitors},
    stats::{Samples, rounded},
};

/// How long both sites may take to be in `sync`.
const SYNC_DEADLINE: Duration = Duration::from_secs(180);
/// The lobby is open so long at least, and longer for many visitors: logging in takes the service a moment.
const LOBBY_S_MIN: u32 = 15;
const LOBBY_VISITORS_PER_S: u32 = 500;
/// And so long before anybody comes: until then every instance knows of the sale.
const KNOWN_S: u32 = 6;
/// Kinds of errors that the line lists.
const KINDS_MAX: usize = 10;
/// Violations that the line lists; the others are counted.
const LISTED_MAX: usize = 50;

/// What is checked afterwards; the rest is other drills' (`I3`: the fence; `I12`: only where a site was killed).
pub const CHECKED: [&str; 10] = ["I1", "I2", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11"];

/// What is asked of a rush.
#[derive(Clone, Debug)]
pub struct Rush {
    /// How many come.
    pub visitors: u32,
    /// Of a hundred of them so many are bots.
    pub bots_percent: u32,
    /// For which performance; without: the largest hall's first that has no waiting room yet.
    pub performance: Option<u32>,
    /// Connections that they share.
    pub connections: u32,
    /// Whether the primary's site is killed in the middle of it.
    pub kill_primary: bool,
    /// After so long whoever still waits goes home.
    pub seconds: u64,
    /// Every choice of the visitors follows from it.
    pub seed: u64,
}

impl Default for Rush {
    fn default() -> Rush {
        Rush {
            visitors: 20_000,
            bots_percent: 21,
            performance: None,
            connections: 5_000,
            kill_primary: false,
            seconds: 600,
            seed: 7,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The rush's seed.
    pub seed: u64,
    /// Who came.
    pub visitors: u32,
    /// Of them: bots.
    pub bots: u32,
    /// Connections that they shared at most.
    pub connections: u32,
    /// For which performance.
    pub performance: u32,
    /// Its seats.
    pub capacity: u64,
    /// Seats of the bookings that were acknowledged and not cancelled again.
    pub seats_sold: u64,
    /// How visitors' ways ended, by word.
    pub ended: BTreeMap<&'static str, u64>,
    /// Bookings acknowledged.
    pub accepted: u64,
    /// Of them: bots'.
    pub accepted_bots: u64,
    /// Refusals on the way, by the service's code.
    pub refused: BTreeMap<String, u64>,
    /// What bots tried against the rules, all of it refused.
    pub bots_refused: u64,
    /// The site that was killed in the middle.
    pub killed: Option<String>,
    /// From the kill to the first acknowledgement of a booking that was sent after it, by visitors who follow DNS.
    pub rto_dns_s: Option<f64>,
    /// From the first acknowledged booking to the last.
    pub sale_s: f64,
    /// From the opening, or a later arrival, until called.
    pub queue_s_p50: Option<f64>,
    /// The same, 99th percentile.
    pub queue_s_p99: Option<f64>,
    /// A hold's answer.
    pub hold_ms_p50: Option<f64>,
    /// The same, 99th percentile.
    pub hold_ms_p99: Option<f64>,
    /// A payment's answer.
    pub pay_ms_p50: Option<f64>,
    /// The same, 99th percentile.
    pub pay_ms_p99: Option<f64>,
    /// Requests in all.
    pub requests: u64,
    /// In the busiest second.
    pub requests_per_s_max: u64,
    /// Bookings acknowledged in the busiest second.
    pub acknowledged_per_s_max: u64,
    /// Error answers and silences that visitors met.
    pub visitor_errors: u64,
    /// The most frequent of them, by what came instead of an answer; digits are `#`.
    pub errors: BTreeMap<String, u64>,
    /// Acknowledged bookings that are missing or differ.
    pub lost: usize,
    /// Seats sold twice.
    pub double_sold: usize,
    /// The invariants that were checked.
    pub checked: Vec<&'static str>,
    /// How many violations were found.
    pub violations: usize,
    /// The first of them.
    pub violation_list: Vec<Violation>,
}

/// The last line's object.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// `rush`.
    pub drill: &'static str,
    /// Who came.
    pub visitors: u32,
    /// Bookings acknowledged.
    pub accepted: u64,
    /// Visitors who were told no, or whom nothing was left for.
    pub refused: u64,
    /// Visitors who gave up.
    pub gave_up: u64,
    /// Acknowledged bookings that are missing or differ.
    pub lost: usize,
    /// Seats sold twice.
    pub double_sold: usize,
    /// All violations.
    pub violations: usize,
}

impl Report {
    /// In short.
    pub fn summary(&self) -> Summary {
        let ended = |words: &[End]| words.iter().filter_map(|end| self.ended.get(end.word())).sum();
        Summary {
            drill: "rush",
            visitors: self.visitors,
            accepted: self.accepted,
            refused: ended(&[End::SoldOut, End::Refused, End::LeftTheQueue]),
            gave_up: ended(&[End::GaveUp, End::Unknown]),
            lost: self.lost,
            double_sold: self.double_sold,
            violations: self.violations,
        }
    }

    /// Whether nothing speaks against what was seen.
    pub fn is_clean(&self) -> bool {
        self.accepted > 0 && self.lost == 0 && self.violations == 0
    }
}

/// Runs it on the lab behind `access`; `talk` is called with what is going on.
pub async fn run(access: Access, config: &Rush, talk: &dyn Fn(String)) -> Result<Report, Aborted> {
    let register = access.wait_for_sync(SYNC_DEADLINE).await?;
    let mut drill = Drill::prepare(access.clone(), config.seed).await?;
    let lobby_s = KNOWN_S + LOBBY_S_MIN.max(config.visitors / LOBBY_VISITORS_PER_S);
    let mut conn = access.database(&register.primary).await?;
    let opens = Instant::now() + Duration::from_secs(lobby_s.into());
    let scene = Scene::announce(&mut conn, config.performance, lobby_s, config.visitors).await?;
    let crowd = Crowd::of(config);
    talk(format!(
        "{} visitors, {} of them bots, come for performance {} ({} seats); the sale opens in {:.0} s",
        config.visitors,
        crowd.bots,
        scene.performance,
        scene.capacity,
        opens.saturating_duration_since(Instant::now()).as_secs_f64(),
    ));

    let caches = caches(&access, config.seed);
    let client = Visitors {
        http: Arc::default(),
        ledger: Arc::default(),
        host: access.topology.service.name.as_str().into(),
        round: 1,
    };
    let mut route = Route::Name(caches.first().cloned().ok_or_else(|| "no DNS cache".to_owned())?);
    scene.known(&client, &mut route).await?;
    let shared = Arc::new(Shared {
        seats: scene.seats(&client, &mut route).await?,
        performance: scene.performance,
        account_limit: scene.account_limit,
        opens,
        over: Shutdown::new(),
        notes: Notes::default(),
    });
    let inside = {
        let theirs = Visitors { ledger: drill.ledger.clone(), ..client.clone() };
        crowd.come(&shared, &theirs, &caches, &scene)?
    };
    let mut watch =
        Watch { access: &access, shared: &shared, client: &client, route, config, talk, killed: None };
    let (watched, ended) = tokio::join!(watch.until_over(&register.primary), crowd::gone(inside, &shared));
    watched?;
    let killed = watch.killed.take();

    talk("everybody has gone; checking".to_owned());
    let mut report = Report {
        seed: config.seed,
        visitors: config.visitors,
        bots: crowd.bots,
        connections: config.connections,
        performance: scene.performance,
        capacity: scene.capacity,
        ended,
        checked: CHECKED.to_vec(),
        ..Report::default()
    };
    let noted = shared.notes.take();
    let mut violations = check(&mut drill, &scene, &noted, &mut report).await?;
    if let Some(killed) = killed {
        violations.extend(bring_back(&mut drill, &killed, &mut report, talk).await?);
    }
    measure(&drill, &noted, &mut report);
    violations.extend(noted.violations);
    violations.extend(drill.ledger.close_round().broken_promises);
    report.violations = violations.len();
    violations.truncate(LISTED_MAX);
    report.violation_list = violations;
    Ok(report)
}

/// Holds the database that serves now against what everybody was told.
async fn check(
    drill: &mut Drill,
    scene: &Scene,
    noted: &Noted,
    report: &mut Report,
) -> Result<Vec<Violation>, Aborted> {
    let serving = drill.access.register().await?.primary;
    let mut conn = drill.access.database(&serving).await?;
    let room = scene.room(&mut conn).await?;
    let mut violations = order::judge(&room, noted);
    violations.extend(scene.holds_and_cancellations(&mut conn, noted).await?);
    let checked = drill.check(&serving).await?;
    (report.lost, report.double_sold) = (checked.lost, checked.double_sold);
    violations.extend(checked.violations);
    if let Some(broken) = report.ended.get(crowd::BROKEN) {
        violations.push(Violation::new("load", format!("{broken} of the loader's own visitors broke down")));
    }
    Ok(violations)
}

/// Brings the killed site back, and holds both databases against each other.
async fn bring_back(
    drill: &mut Drill,
    killed: &Killed,
    report: &mut Report,
    talk: &dyn Fn(String),
) -> Result<Vec<Violation>, Aborted> {
    let entries = drill.ledger.entries();
    let after = entries.iter().filter(|e| e.sent_at_ms >= killed.at_ms).map(|e| e.acknowledged_at_ms).min();
    report.rto_dns_s = after.map(|ms| rounded(to_f64(ms.saturating_sub(killed.at_ms)) / 1_000.0, 3));
    report.killed = Some(killed.site.to_string());
    report.checked.push("I12");
    let mut violations = Vec::new();
    if after.is_none() {
        violations.push(Violation::new("RTO", "nobody could book after the kill"));
    }
    talk(format!("bringing {} back", killed.site));
    drill.access.restore(&killed.site).await?;
    match drill.access.wait_for_sync(SYNC_DEADLINE).await {
        Ok(_) => violations.extend(drill.compare().await?),
        Err(missing) => violations.push(Violation::new("I12", missing)),
    }
    Ok(violations)
}

/// The figures of what was noted.
fn measure(drill: &Drill, noted: &Noted, report: &mut Report) {
    let entries = drill.ledger.entries();
    let acknowledged: Vec<u64> = noted.acknowledged_ms.clone();
    report.accepted = acknowledged.len() as u64;
    report.accepted_bots = noted.accepted_bots;
    report.refused = noted.refused.clone();
    report.bots_refused = noted.bots_refused;
    report.seats_sold = entries.iter().map(|e| e.seats.len() as u64).sum();
    if let (Some(first), Some(last)) = (acknowledged.iter().min(), acknowledged.iter().max()) {
        report.sale_s = rounded(to_f64(last - first) / 1_000.0, 1);
    }
    report.acknowledged_per_s_max = busiest_second(acknowledged);
    let percentiles = |samples: &Samples| (samples.p50(), samples.p99());
    (report.queue_s_p50, report.queue_s_p99) = percentiles(&noted.queue_s);
    (report.hold_ms_p50, report.hold_ms_p99) = percentiles(&noted.hold_ms);
    (report.pay_ms_p50, report.pay_ms_p99) = percentiles(&noted.pay_ms);
    let requests = drill.ledger.take_requests();
    report.requests = requests.len() as u64;
    report.visitor_errors = requests.iter().filter(|r| r.error.is_some()).count() as u64;
    report.errors = kinds(requests.iter().filter_map(|r| r.error.as_deref()));
    report.requests_per_s_max = busiest_second(requests.iter().map(|r| r.sent_at_ms));
}

/// The most frequent kinds of errors: what came of a request, without what was asked and without its numbers.
fn kinds<'a>(errors: impl Iterator<Item = &'a str>) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for error in errors {
        let came = error.split_once(": ").map_or(error, |(_, came)| came);
        let plain = came.chars().take(80).map(|c| if c.is_ascii_digit() { '#' } else { c });
        *counts.entry(plain.collect()).or_default() += 1;
    }
    let mut by_count: Vec<_> = counts.into_iter().collect();
    by_count.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    by_count.truncate(KINDS_MAX);
    by_count.into_iter().collect()
}

/// How many of these moments, in milliseconds, fell into the fullest second.
fn busiest_second(moments_ms: impl IntoIterator<Item = u64>) -> u64 {
    let mut seconds: BTreeMap<u64, u64> = BTreeMap::new();
    for at_ms in moments_ms {
        *seconds.entry(at_ms / 1_000).or_default() += 1;
    }
    seconds.into_values().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_tells_yes_no_and_silence_apart() {
        let ended = [(End::Booked, 5), (End::SoldOut, 3), (End::LeftTheQueue, 2), (End::GaveUp, 1)];
        let report = Report {
            visitors: 11,
            accepted: 5,
            ended: ended.into_iter().map(|(end, n)| (end.word(), n)).collect(),
            ..Report::default()
        };
        let summary = report.summary();
        assert_eq!((summary.accepted, summary.refused, summary.gave_up), (5, 5, 1));
        assert!(report.is_clean());
        assert!(!Report { violations: 1, ..report }.is_clean());
        assert!(!Report::default().is_clean(), "nothing was measured");
    }

    #[test]
    fn errors_are_counted_by_what_came() {
        let errors =
            ["GET /api/a: silent for 5000 ms", "POST /api/b: silent for 2000 ms", "POST /api/b: 503 x"];
        let kinds = kinds(errors.into_iter());
        assert_eq!(kinds, BTreeMap::from([("silent for #### ms".to_owned(), 2), ("### x".to_owned(), 1)]));
    }

    #[test]
    fn the_busiest_second_is_the_fullest() {
        assert_eq!(busiest_second([]), 0);
        assert_eq!(busiest_second([999, 1_000, 1_999, 2_000]), 2);
    }
}
