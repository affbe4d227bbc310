use std::{collections::BTreeMap, sync::Arc};

use model::{
    Site,
    topology::edge::{self, Routing, Stickiness, TargetGroup},
};
use tokio::sync::mpsc;

use super::*;
use crate::{
    balance::{InFlight, Shares, Snapshot, health},
    metrics::GatewayMetrics,
};

/// A group of targets named `t1`, `t2`… with these weights, all healthy since 0.
struct Stage {
    shares: Shares,
    report: mpsc::Receiver<health::Event>,
    headers: HeaderMap,
    now_ms: u64,
}

impl Stage {
    fn new(weights: &[u32], adjust: impl FnOnce(&mut TargetGroup)) -> Stage {
        let snapshot = snapshot(weights, adjust);
        let (tell, report) = mpsc::channel(8);
        let shares = Shares::new(snapshot, None, 1, &tell, &GatewayMetrics::default());
        Stage { shares, report, headers: HeaderMap::new(), now_ms: 1_000_000 }
    }

    fn choose(&self, source: [u8; 4], tried: &[usize]) -> Option<usize> {
        let (group, share) = self.shares.at(0).unwrap();
        let asking = Asking { headers: &self.headers, path: "/", source: source.into(), now_ms: self.now_ms };
        share.choose(group, &asking, tried)
    }

    /// How often each place is chosen for visitors of different addresses.
    fn counts(&self, times: u16) -> BTreeMap<usize, u32> {
        let mut counts = BTreeMap::new();
        for n in 0..times {
            let [a, b] = n.to_be_bytes();
            *counts.entry(self.choose([10, 0, a, b], &[]).unwrap()).or_default() += 1;
        }
        counts
    }

    fn begin(&self, place: usize) -> InFlight {
        self.shares.at(0).unwrap().1.slots[place].begin()
    }
}

fn snapshot(weights: &[u32], adjust: impl FnOnce(&mut TargetGroup)) -> Arc<Snapshot> {
    let mut group = TargetGroup::named("default");
    group.targets = (1..)
        .zip(weights)
        .map(|(n, weight)| edge::Target {
            site: Site::new("nhn"),
            address: ([127, 0, 0, 1], n).into(),
            name: Some(format!("t{n}")),
            zone: None,
            weight: *weight,
        })
        .collect();
    adjust(&mut group);
    let mut core = health::Core::new(None);
    core.step(0, health::Event::Configured(Routing { groups: vec![group], rules: vec![] }), &mut Vec::new());
    Arc::new(core.snapshot())
}

#[test]
fn every_target_has_its_turn_and_is_tried_once() {
    let stage = Stage::new(&[1, 1, 1], |_| {});
    let turns: Vec<_> = (0..6).map(|_| stage.choose([1; 4], &[]).unwrap()).collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
    let mut tried = Vec::new();
    while let Some(place) = stage.choose([1; 4], &tried) {
        tried.push(place);
    }
    tried.sort_unstable();
    assert_eq!(tried, [0, 1, 2]);
}

#[test]
fn heavy_targets_have_more_turns_and_not_in_a_row() {
    let stage = Stage::new(&[5, 1, 1], |_| {});
    let turns: String = (0..7).map(|_| stage.choose([1; 4], &[]).unwrap().to_string()).collect();
    assert_eq!(turns, "0010200", "as nginx does it");
}

#[test]
fn a_weight_of_nothing_is_never_chosen_unless_all_have_it() {
    for algorithm in [
        Algorithm::RoundRobin,
        Algorithm::LeastOutstandingRequests,
        Algorithm::WeightedRandom,
        Algorithm::ConsistentHash,
    ] {
        let some = Stage::new(&[0, 1], |g| g.algorithm = algorithm).counts(50);
        assert_eq!(some, [(1, 50)].into(), "{algorithm:?}");
        let none = Stage::new(&[0, 0], |g| g.algorithm = algorithm).counts(200);
        assert_eq!(none.len(), 2, "{algorithm:?}: {none:?}");
        assert_eq!(Stage::new(&[], |g| g.algorithm = algorithm).choose([1; 4], &[]), None, "{algorithm:?}");
    }
}

#[test]
fn the_least_busy_target_for_its_weight_is_chosen() {
    let stage = Stage::new(&[1, 2], |g| g.algorithm = Algorithm::LeastOutstandingRequests);
    assert_eq!(stage.choose([1; 4], &[]), Some(1), "1/2 is less than 1/1");
    let first = stage.begin(1);
    let second = stage.begin(1);
    assert_eq!(stage.choose([1; 4], &[]), Some(0), "1/1 is less than 3/2");
    drop((first, second));
    assert_eq!(stage.choose([1; 4], &[]), Some(1));
    // Equals take turns.
    let equal = Stage::new(&[1, 1, 1], |g| g.algorithm = Algorithm::LeastOutstandingRequests);
    assert_eq!(equal.counts(30), [(0, 10), (1, 10), (2, 10)].into());
}

#[test]
fn lots_fall_as_weights_say() {
    let stage = Stage::new(&[1, 3], |g| g.algorithm = Algorithm::WeightedRandom);
    let counts = stage.counts(4_000);
    assert!((900..1_100).contains(&counts[&0]), "{counts:?}");
}

#[test]
fn a_key_keeps_its_target_and_only_the_keys_of_one_that_goes_move() {
    let hash = |g: &mut TargetGroup| g.algorithm = Algorithm::ConsistentHash;
    let all = Stage::new(&[1, 1, 1, 1], hash);
    let counts = all.counts(4_000);
    assert!(counts.values().all(|n| (800..1_200).contains(n)), "{counts:?}");
    let heavy = Stage::new(&[1, 3], hash).counts(4_000);
    assert!((850..1_150).contains(&heavy[&0]), "{heavy:?}");
    for n in 0..1_000u16 {
        let [a, b] = n.to_be_bytes();
        let place = all.choose([10, 9, a, b], &[]).unwrap();
        assert_eq!(all.choose([10, 9, a, b], &[]), Some(place));
        let without_last = all.choose([10, 9, a, b], &[3]).unwrap();
        assert!(place == 3 || without_last == place, "a key moved without need");
    }
}

#[test]
fn the_key_may_be_a_header_or_a_cookie() {
    for on in [HashOn::Header("x-user".into()), HashOn::Cookie("user".into()), HashOn::Path] {
        let mut stage = Stage::new(&[1; 8], |g| {
            (g.algorithm, g.hash_on) = (Algorithm::ConsistentHash, on.clone());
        });
        stage.headers.insert("x-user", "kim".parse().unwrap());
        stage.headers.insert(header::COOKIE, "a=1; user=kim".parse().unwrap());
        assert_eq!(stage.counts(50).len(), 1, "{on:?}: the address does not matter");
    }
    let absent = Stage::new(&[1; 8], |g| {
        (g.algorithm, g.hash_on) = (Algorithm::ConsistentHash, HashOn::Header("x-user".into()));
    });
    assert!(absent.counts(50).len() > 1, "without the header the address counts");
}

#[test]
fn a_target_with_as_many_requests_as_it_may_have_gets_no_more() {
    let stage = Stage::new(&[1, 1], |g| g.requests_max = 2);
    let at_first = (stage.begin(0), stage.begin(0));
    assert_eq!(stage.counts(10), [(1, 10)].into());
    let at_second = (stage.begin(1), stage.begin(1));
    assert_eq!(stage.choose([1; 4], &[]), None);
    drop(at_first);
    assert_eq!(stage.choose([1; 4], &[]), Some(0));
    drop(at_second);
}

#[test]
fn a_slow_start_begins_small_and_ends_whole() {
    let mut stage = Stage::new(&[1, 1], |g| g.slow_start_ms = 100_000);
    let mut young =
        Arc::into_inner(std::mem::replace(&mut stage.shares.snapshot, snapshot(&[1], |_| {}))).unwrap();
    young.groups[0].fit[1].since_ms = 1_000_000;
    stage.shares.snapshot = Arc::new(young);
    assert_eq!(stage.counts(110), [(0, 100), (1, 10)].into());
    stage.now_ms += 50_000;
    assert_eq!(stage.counts(150), [(0, 100), (1, 50)].into());
    stage.now_ms += 50_000;
    assert_eq!(stage.counts(100), [(0, 50), (1, 50)].into());
}

#[test]
fn a_cookie_binds_a_visitor_and_leads_to_the_counterpart_at_the_other_site() {
    let sticky = |g: &mut TargetGroup| g.stickiness = Some(Stickiness::default());
    let mut stage = Stage::new(&[1, 1, 1], sticky);
    let line = stage.shares.snapshot.groups[0].fit[1].identity.set_cookie.clone().unwrap();
    let line = line.to_str().unwrap();
    assert!(line.starts_with("ghostlight_target_default=") && !line.contains("t2"), "{line}");
    let pair = line.split(';').next().unwrap();
    stage.headers.insert(header::COOKIE, format!("a=b; {pair}").parse().unwrap());
    assert_eq!(stage.counts(20), [(1, 20)].into());
    assert_eq!(stage.choose([1; 4], &[1]), Some(0), "one that was tried binds no more");
    // The other site: other addresses, the same names.
    let mut there = Stage::new(&[1, 1, 1], |g| {
        sticky(g);
        for target in &mut g.targets {
            (target.site, target.address) =
                (Site::new("aws"), ([127, 0, 0, 2], target.address.port()).into());
        }
    });
    there.headers.clone_from(&stage.headers);
    assert_eq!(there.counts(20), [(1, 20)].into());
    stage.headers.insert(header::COOKIE, "ghostlight_target_default=forged".parse().unwrap());
    assert!(stage.counts(20).len() > 1);
}

#[test]
fn failures_in_a_row_are_told_and_an_answer_breaks_the_row() {
    let mut stage = Stage::new(&[1, 1], |g| g.circuit_breaker.failures = 3);
    let fail = |times| (0..times).for_each(|_| stage.begin(0).failed());
    fail(2);
    stage.begin(0).answered(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    fail(2);
    assert!(stage.report.try_recv().is_err());
    stage.begin(0).failed();
    let told = stage.report.try_recv().unwrap();
    assert!(matches!(told, health::Event::Failing(key) if key.address.port() == 1));
    let mut on_5xx =
        Stage::new(&[1, 1], |g| (g.circuit_breaker.failures, g.circuit_breaker.on_5xx) = (1, true));
    on_5xx.begin(1).answered(hyper::StatusCode::SERVICE_UNAVAILABLE);
    assert!(on_5xx.report.try_recv().is_ok());
}

#[test]
fn requests_under_way_are_still_counted_after_a_new_snapshot() {
    let least = |g: &mut TargetGroup| g.algorithm = Algorithm::LeastOutstandingRequests;
    let mut stage = Stage::new(&[1, 1], least);
    let busy = stage.begin(0);
    let (tell, _keep) = mpsc::channel(1);
    stage.shares =
        Shares::new(snapshot(&[1, 1], least), Some(&stage.shares), 1, &tell, &GatewayMetrics::default());
    assert_eq!(stage.counts(5), [(1, 5)].into());
    drop(busy);
    assert_eq!(stage.counts(4), [(0, 2), (1, 2)].into());
}
