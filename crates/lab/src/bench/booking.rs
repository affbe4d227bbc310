//! `bench booking`: how many acknowledged bookings a second, with and without the commit gate, beside one database
//! that is written to without any of it.
//!
//! A booking is a hold and a payment, through the public name, by visitors who are logged in; each books the next
//! as soon as the last is acknowledged (closed loop), so the figure is the capacity, and the latency is the one at
//! capacity. All of it, the visitors too, shares this machine's cores.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::Request;
use model::topology::RegisterKind;
use runtime::clock::Boot;
use serde::Serialize;

use crate::{
    bench::{baseline, cost::Cost},
    drill::{Aborted, access::Access, caches, stage::Stage},
    ledger::{Ledger, Outcome, to_f64},
    load::{
        Crowd, CrowdConfig,
        route::{Names, Route},
        visitor::Patience,
    },
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
const ACKNOWLEDGED_PER_S_MAX: u64 = 3_000;
const SYNC_DEADLINE: Duration = Duration::from_secs(120);

/// One workload's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// `booking`, `booking_half_load`, `seat_map`, or `database` for the baseline.
    pub workload: &'static str,
    /// Whether answers waited for the standby; the baseline has no gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<bool>,
    /// Visitors, or connections, at a time; at half load: those inside when the doors closed.
    pub concurrency: u32,
    /// Bookings acknowledged per second; seat maps answered.
    pub acknowledged_per_s: f64,
    /// From the first byte of the hold to the last of the payment's answer; of a seat map's request and answer.
    pub p50_ms: Option<f64>,
    /// The same, 99th percentile.
    pub p99_ms: Option<f64>,
    /// CPU milliseconds of an acknowledged booking, by process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<BTreeMap<String, f64>>,
    /// How much of all cores was used, by whomever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy_percent: Option<f64>,
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
    /// With the gate, at half of that rate.
    pub half_load_p99_ms: Option<f64>,
    /// Seat maps answered per second.
    pub seat_maps_per_s: f64,
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
    with.iter().for_each(&mut tell);
    let without = lab(config, false, talk).await?;
    without.iter().for_each(&mut tell);
    talk("one database, 32 connections, one transaction a booking");
    let alone = baseline::run(config.warm_up, config.measure).await.map_err(Aborted::from)?;
    tell(&alone);
    Summary::of(&with, &without, &alone).ok_or_else(|| Aborted::from("a workload has no line".to_owned()))
}

impl Summary {
    /// Of the three workloads.
    pub fn of(with: &[Line], without: &[Line], alone: &Line) -> Option<Summary> {
        let of = |workload| with.iter().find(|line| line.workload == workload);
        let (full, half, maps) = (of("booking")?, of("booking_half_load")?, of("seat_map")?);
        let bare = alone.acknowledged_per_s;
        let ratio = if bare > 0.0 { full.acknowledged_per_s / bare } else { 0.0 };
        Some(Summary {
            bench: "booking",
            acknowledged_per_s: full.acknowledged_per_s,
            ratio_to_database: rounded(ratio, 3),
            p50_ms: full.p50_ms,
            p99_ms: full.p99_ms,
            half_load_p99_ms: half.p99_ms,
            seat_maps_per_s: maps.acknowledged_per_s,
            errors: with.iter().chain(without).chain([alone]).map(|line| line.errors).sum(),
        })
    }
}

async fn lab(config: Booking, gate: bool, talk: &(dyn Fn(&str) + Send + Sync)) -> Result<Vec<Line>, Aborted> {
    talk(&format!("a lab with the gate {}", if gate { "on" } else { "off" }));
    let stage = Stage::own(gate, RegisterKind::File, talk).await?;
    let measured = async {
        let mut sale = Box::pin(Sale::open(config, gate, stage.access()?, talk)).await?;
        let saturated = Box::pin(sale.saturated()).await?;
        if !gate {
            return Ok(vec![saturated]);
        }
        let maps = Box::pin(sale.seat_maps()).await?;
        let half = Box::pin(sale.at_a_rate(saturated.acknowledged_per_s / 2.0)).await?;
        Ok(vec![saturated, half, maps])
    };
    let measured = Box::pin(measured).await;
    if let Some(folder) = stage.end(measured.is_ok()).await {
        talk(&format!("what the lab left is in {}", folder.display()));
    }
    measured
}

/// A lab with visitors who are logged in.
struct Sale {
    config: Booking,
    gate: bool,
    access: Access,
    ledger: Arc<Ledger>,
    crowd: Crowd,
    caches: Vec<Arc<dyn Names>>,
}

impl Sale {
    async fn open(
        config: Booking,
        gate: bool,
        access: Access,
        talk: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Sale, Aborted> {
        access.wait_for_sync(SYNC_DEADLINE).await?;
        let ledger = Arc::new(Ledger::default());
        let caches = caches(&access, config.seed);
        let crowd_config = CrowdConfig {
            host: access.topology.service.name.clone(),
            caches: caches.clone(),
            seed: config.seed,
            run: format!("b{:x}", Boot::now().as_ms()),
        };
        let mut crowd = Crowd::gather(crowd_config, ledger.clone()).await?;
        let seconds = (config.warm_up + config.measure).as_secs() + 1;
        let signed_up = crowd.admit(seconds * ACKNOWLEDGED_PER_S_MAX).await?;
        access.wait_for_sync(SYNC_DEADLINE).await?;
        talk(&format!("{signed_up} visitors signed up; {} at a time book for {seconds} s", config.visitors));
        Ok(Sale { config, gate, access, ledger, crowd, caches })
    }

    /// Each visitor books the next as soon as the last is acknowledged.
    async fn saturated(&self) -> Result<Line, Aborted> {
        let from = Boot::now() + self.config.warm_up;
        let to = from + self.config.measure;
        let crowd = &self.crowd;
        let visitors = (0..self.config.visitors as usize).map(|n| async move {
            let mut route = self.route(n)?;
            let mut ended = Vec::new();
            while Boot::now() < to {
                let Some(wish) = crowd.wish() else { return Err("no seat is left to wish for".to_owned()) };
                ended.push(crowd.visitors().book(&wish, &mut route, Patience::PUBLIC).await);
            }
            Ok(ended)
        });
        let used = Cost::between(&self.access, self.config.warm_up, self.config.measure);
        let (ended, used) = tokio::join!(futures_util::future::try_join_all(visitors), used);
        let (ended, (mut cpu_ms, busy_percent)) = (ended?, used?);
        let (mut latency, mut errors) = (Samples::default(), 0);
        for outcome in ended.into_iter().flatten() {
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
        let bookings = to_f64(latency.len().max(1) as u64);
        cpu_ms.values_mut().for_each(|ms| *ms = rounded(*ms / bookings, 3));
        Ok(Line {
            concurrency: self.config.visitors,
            cpu_ms: Some(cpu_ms),
            busy_percent: Some(busy_percent),
            errors,
            ..self.line("booking", self.config.measure, &latency)
        })
    }

    /// Visitors come at random moments, so many a second, whether or not those before are served.
    async fn at_a_rate(&mut self, per_s: f64) -> Result<Line, Aborted> {
        self.ledger.close_round();
        let arriving = self.crowd.open(per_s, 2);
        // The load itself is what is waited for.
        tokio::time::sleep(self.config.measure).await;
        let inside = arriving.inside();
        arriving.close().await?;
        let tally = self.ledger.close_round();
        let line = self.line("booking_half_load", self.config.measure, &tally.latency_ms);
        let errors = tally.unknown + tally.failed;
        Ok(Line { concurrency: u32::try_from(inside).unwrap_or(u32::MAX), errors, ..line })
    }

    /// Everybody looks at the seat map, over and over: the bitmap of the largest hall.
    async fn seat_maps(&self) -> Result<Line, Aborted> {
        let wish = self.crowd.wish().ok_or_else(|| "no seat is left to wish for".to_owned())?;
        let visitors = self.crowd.visitors();
        let measure = self.config.measure / 2;
        let to = Boot::now() + measure;
        let readers = (0..self.config.visitors as usize).map(|n| {
            let uri = format!("/api/performances/{}/availability", wish.performance);
            async move {
                let mut route = self.route(n)?;
                let (mut latencies, mut errors) = (Vec::new(), 0);
                while Boot::now() < to {
                    let request =
                        Request::get(&uri).header("host", visitors.host.as_ref()).body(Full::default());
                    let request = request.map_err(|e| e.to_string())?;
                    let (began, whom) = (Boot::now(), route.whom().await?);
                    match visitors.http.send(whom, request, Patience::PUBLIC.answer).await {
                        Ok(answer) if answer.status.is_success() => {
                            latencies.push(began.elapsed().as_secs_f64() * 1_000.0);
                        }
                        _ => errors += 1,
                    }
                }
                Ok::<_, String>((latencies, errors))
            }
        });
        let (mut latency, mut errors) = (Samples::default(), 0);
        for (latencies, failed) in futures_util::future::try_join_all(readers).await? {
            latencies.into_iter().for_each(|ms| latency.push(ms));
            errors += failed;
        }
        Ok(Line { concurrency: self.config.visitors, errors, ..self.line("seat_map", measure, &latency) })
    }

    fn route(&self, n: usize) -> Result<Route, String> {
        let cache = self.caches.get(n % self.caches.len().max(1));
        Ok(Route::Name(cache.cloned().ok_or("no DNS cache")?))
    }

    fn line(&self, workload: &'static str, measured: Duration, latency: &Samples) -> Line {
        Line {
            workload,
            gate: Some(self.gate),
            concurrency: 0,
            acknowledged_per_s: rounded(to_f64(latency.len() as u64) / measured.as_secs_f64(), 1),
            p50_ms: latency.p50().map(|ms| rounded(ms, 1)),
            p99_ms: latency.p99().map(|ms| rounded(ms, 1)),
            cpu_ms: None,
            busy_percent: None,
            errors: 0,
        }
    }
}
