//! The gateway's metrics: name, unit and sentence of each.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// Counters that every thread adds to. The labelled ones are looked up once, not per request.
#[derive(Clone, Debug)]
pub struct GatewayMetrics {
    requests: Family<Class, Counter>,
    rule_requests: Family<ByRule, Counter>,
    target_requests: Family<ByTarget, Counter>,
    by_class: [Counter; 6],
    pub(crate) connections: Gauge,
    pub(crate) held: Gauge,
    pub(crate) held_s: Histogram,
    pub(crate) released: Counter,
    pub(crate) unknown: Counter,
    pub(crate) not_sent: Counter,
    pub(crate) forwarded: Counter,
    pub(crate) barriers: Counter,
    pub(crate) barrier_failures: Counter,
    pub(crate) barrier_s: Histogram,
    pub(crate) spilled: Counter<u64, AtomicU64>,
    pub(crate) connect_failures: Counter,
    pub(crate) upstream_connections: Gauge,
    pub(crate) retried: Counter,
    pub(crate) shed: Counter,
    pub(crate) hung_up: Counter,
    pub(crate) too_slow: Counter,
    pub(crate) parked: Gauge,
    pub(crate) parked_total: Counter,
    pub(crate) parked_s: Histogram,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

/// A counter that was looked up once.
pub(crate) type Counted = Counter;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByRule {
    rule: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByTarget {
    group: String,
    target: String,
}

/// Something that is open, counted until this is dropped.
pub(crate) struct Open(Gauge);

impl Open {
    pub(crate) fn count(gauge: &Gauge) -> Open {
        gauge.inc();
        Open(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl Default for GatewayMetrics {
    fn default() -> Self {
        let requests = Family::<Class, Counter>::default();
        let by_class = CLASSES.map(|class| requests.get_or_create(&Class { class }).clone());
        // 0.5 ms up to 16 s.
        let seconds = || Histogram::new(exponential_buckets(0.000_5, 2.0, 16));
        GatewayMetrics {
            requests,
            rule_requests: Family::default(),
            target_requests: Family::default(),
            by_class,
            connections: Gauge::default(),
            held: Gauge::default(),
            held_s: seconds(),
            released: Counter::default(),
            unknown: Counter::default(),
            not_sent: Counter::default(),
            forwarded: Counter::default(),
            barriers: Counter::default(),
            barrier_failures: Counter::default(),
            barrier_s: seconds(),
            spilled: Counter::default(),
            connect_failures: Counter::default(),
            upstream_connections: Gauge::default(),
            retried: Counter::default(),
            shed: Counter::default(),
            hung_up: Counter::default(),
            too_slow: Counter::default(),
            parked: Gauge::default(),
            parked_total: Counter::default(),
            parked_s: seconds(),
        }
    }
}

impl GatewayMetrics {
    /// Counts what a rule takes, by its priority.
    pub(crate) fn rule(&self, rule: &str) -> Counted {
        self.rule_requests.get_or_create(&ByRule { rule: rule.to_owned() }).clone()
    }

    /// Counts what is sent to a target.
    pub(crate) fn target(&self, group: &str, target: &str) -> Counted {
        let labels = ByTarget { group: group.to_owned(), target: target.to_owned() };
        self.target_requests.get_or_create(&labels).clone()
    }

    /// Counts an answer to a visitor.
    pub(crate) fn answered(&self, status: u16) {
        if let Some(counter) = self.by_class.get(usize::from(status / 100)).or(self.by_class.first()) {
            counter.inc();
        }
    }

    /// Makes them visible at `/metrics`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("gateway");
        registry.register("requests", "Answers to visitors, by class of status", self.requests.clone());
        registry.register("connections", "Visitors' open connections", self.connections.clone());
        registry.register(
            "rule_requests",
            "Requests by the priority of the rule that took them, `default` for those that none took",
            self.rule_requests.clone(),
        );
        registry.register("target_requests", "Requests sent to each target", self.target_requests.clone());
        registry.register("held_responses", "Answers that wait for a barrier now", self.held.clone());
        registry.register_with_unit(
            "held",
            "How long released answers had waited",
            Unit::Seconds,
            self.held_s.clone(),
        );
        registry.register("released", "Answers released after a barrier", self.released.clone());
        registry.register("unknown_outcomes", "Visitors that were told `unknown`", self.unknown.clone());
        registry.register("not_sent", "Visitors that were told `not-sent`", self.not_sent.clone());
        registry.register("forwarded", "Requests passed to the other site's gateway", self.forwarded.clone());
        registry.register("barriers", "Barrier requests sent to the agent", self.barriers.clone());
        registry.register(
            "barrier_failures",
            "Barrier requests that the agent did not answer",
            self.barrier_failures.clone(),
        );
        registry.register_with_unit(
            "barrier",
            "From sending a barrier request to its reply",
            Unit::Seconds,
            self.barrier_s.clone(),
        );
        registry.register("spilled", "Held answers that went to a file", self.spilled.clone());
        registry.register(
            "connect_failures",
            "Connections to targets or the peer that failed",
            self.connect_failures.clone(),
        );
        registry.register(
            "upstream_connections",
            "Open connections to targets and the peer",
            self.upstream_connections.clone(),
        );
        registry.register(
            "retried",
            "Reads that were sent once more because their target broke off",
            self.retried.clone(),
        );
        registry.register(
            "shed",
            "Requests that were told to come again because there were too many connections, or too little memory",
            self.shed.clone(),
        );
        registry.register(
            "hung_up",
            "Connections that were closed unheard because there were far too many",
            self.hung_up.clone(),
        );
        registry.register(
            "too_slow",
            "Visitors who sent a head or a body, or took an answer, slower than they may",
            self.too_slow.clone(),
        );
        registry.register(
            "parked_requests",
            "Requests that wait now, because of a switchover",
            self.parked.clone(),
        );
        registry.register("parked", "Requests that waited for a switchover", self.parked_total.clone());
        registry.register_with_unit(
            "parked",
            "How long requests waited for a switchover",
            Unit::Seconds,
            self.parked_s.clone(),
        );
    }
}
