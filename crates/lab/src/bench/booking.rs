//! `bench booking`: how many acknowledged bookings a second, with and without the commit gate, beside one database
//! that is written to without any of it.
//!
//! A booking is a hold and a payment, through the public name, by visitors who are logged in; each books the next
//! as soon as the last is acknowledged (closed loop), so the figure is the capacity, and the latency is the one at
//! capacity. All of it, the visitors too, shares this machine's cores.

use std::{sync::Arc, time::Duration};

use model::topology::RegisterKind;
use runtime::clock::Boot;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    bench::baseline,
    drill::{Aborted, access::Access, caches, stage::Stage},
    ledger::{Ledger, Outcome, to_f64},
    load::{Crowd, CrowdConfig, route::Route, visitor::Patience},
    stats::{Samples, rounded},
};

/// What is asked of the bench.
#[derive(Clone, Copy, Debug)]
pub struct Booking {
    /// Visitors at a time.
    pub visitors: u32,
    /// Before the measurement.
    pub warm_up: Duration,
    /// The measurement.
    pub measure: Duration,
    /// Every choice of the visitors follows from it.
    pub seed: u64,
}

impl Default for Booking {
    fn default() -> Self {
        Booking { visitors: 64, warm_up: Duration::from_secs(3), measure: Duration::from_secs(10), seed: 7 }
    }
}

/// More than any two cores book in a second; the accounts signed up beforehand suffice for it.
const ACKNOWLEDGED_PER_S_MAX: u64 = 1_500;
const SYNC_DEADLINE: Duration = Duration::from_secs(120);

/// One workload's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// `booking`, or `database` for the baseline.
    pub workload: &'static str,
    /// Whether answers waited for the standby; the baseline has no gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<bool>,
    /// Visitors, or connections, at a time.
    pub concurrency: u32,
    /// Bookings acknowledged per second.
    pub acknowledged_per_s: f64,
    /// From the first byte of the hold to the last of the payment's answer.
    pub p50_ms: Option<f64>,
    /// The same, 99th percentile.
    pub p99_ms: Option<f64>,
    /// Bookings that did not come about, for whatever reason.
    pub errors: u64,
}

/// The last line's object: the gate-on row against the baseline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// `booking`.
    pub bench: &'static str,
    /// With the gate.
    pub acknowledged_per_s: f64,
    /// To the baseline's bookings per second.
    pub ratio_to_database: f64,
    /// With the gate.
    pub p50_ms: Option<f64>,
    /// With the gate.
    pub p99_ms: Option<f64>,
    /// Errors in all workloads.
    pub errors: u64,
}

/// Runs all workloads one after the other, each in a lab or server of its own.
pub async fn run(
    config: Booking,
    mut tell: impl FnMut(&Line),
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<Summary, Aborted> {
    let with = lab(config, true, talk).await?;
    tell(&with);
    let without = lab(config, false, talk).await?;
    tell(&without);
    talk("one database, 32 connections, one transaction a booking");
    let alone = baseline::run(config.warm_up, config.measure).await.map_err(Aborted::from)?;
    tell(&alone);
    Ok(Summary::of(&with, &without, &alone))
}

impl Summary {
    /// Of the three workloads.
    pub fn of(with: &Line, without: &Line, alone: &Line) -> Summary {
        let bare = alone.acknowledged_per_s;
        let ratio = if bare > 0.0 { with.acknowledged_per_s / bare } else { 0.0 };
        Summary {
            bench: "booking",
            acknowledged_per_s: with.acknowledged_per_s,
            ratio_to_database: rounded(ratio, 3),
            p50_ms: with.p50_ms,
            p99_ms: with.p99_ms,
            errors: with.errors + without.errors + alone.errors,
        }
    }
}

async fn lab(config: Booking, gate: bool, talk: &(dyn Fn(&str) + Send + Sync)) -> Result<Line, Aborted> {
    talk(&format!("a lab with the gate {}", if gate { "on" } else { "off" }));
    let stage = Stage::own(gate, RegisterKind::File, talk).await?;
    let measured = match stage.access() {
        Ok(access) => Box::pin(measure(config, gate, access, talk)).await,
        Err(e) => Err(e),
    };
    if let Some(folder) = stage.end(measured.is_ok()).await {
        talk(&format!("what the lab left is in {}", folder.display()));
    }
    measured
}

async fn measure(
    config: Booking,
    gate: bool,
    access: Access,
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<Line, Aborted> {
    access.wait_for_sync(SYNC_DEADLINE).await?;
    let ledger = Arc::new(Ledger::default());
    let crowd_config = CrowdConfig {
        host: access.topology.service.name.clone(),
        caches: caches(&access, config.seed),
        seed: config.seed,
        run: format!("b{:x}", Boot::now().as_ms()),
    };
    let caches = crowd_config.caches.clone();
    let mut crowd = Crowd::gather(crowd_config, ledger.clone()).await?;
    let seconds = (config.warm_up + config.measure).as_secs() + 1;
    let signed_up = crowd.admit(seconds * ACKNOWLEDGED_PER_S_MAX).await?;
    access.wait_for_sync(SYNC_DEADLINE).await?;
    talk(&format!("{signed_up} visitors signed up; {} at a time book for {seconds} s", config.visitors));

    let crowd = Arc::new(crowd);
    let from = Boot::now() + config.warm_up;
    let to = from + config.measure;
    let mut visitors = JoinSet::new();
    for n in 0..config.visitors as usize {
        let crowd = crowd.clone();
        let cache = caches.get(n % caches.len().max(1)).cloned().ok_or_else(|| "no DNS cache".to_owned())?;
        visitors.spawn(async move {
            let mut route = Route::Name(cache);
            let mut ended = Vec::new();
            while Boot::now() < to {
                let Some(wish) = crowd.wish() else { return Err("no seat is left to wish for".to_owned()) };
                ended.push(crowd.visitors().book(&wish, &mut route, Patience::PUBLIC).await);
            }
            Ok(ended)
        });
    }
    let (mut latency, mut errors) = (Samples::default(), 0);
    while let Some(ended) = visitors.join_next().await {
        for outcome in ended.map_err(|e| e.to_string())?? {
            match outcome {
                Outcome::Acknowledged(entry) => {
                    if (from.as_ms()..to.as_ms()).contains(&entry.acknowledged_at_ms) {
                        latency.push(to_f64(entry.acknowledged_at_ms.saturating_sub(entry.sent_at_ms)));
                    }
                }
                // A seat that another visitor has: the crowd asks for a few of those on purpose.
                Outcome::Refused { .. } => {}
                Outcome::Unknown | Outcome::Failed { .. } => errors += 1,
            }
        }
    }
    Ok(Line {
        workload: "booking",
        gate: Some(gate),
        concurrency: config.visitors,
        acknowledged_per_s: rounded(to_f64(latency.len() as u64) / config.measure.as_secs_f64(), 1),
        p50_ms: latency.p50(),
        p99_ms: latency.p99(),
        errors,
    })
}
