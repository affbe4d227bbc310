//! `bench gateway`: our edge beside nginx and HAProxy, in front of the same application, on the same cores.
//!
//! All three do the same work: keep-alive on both sides, an access log, a request id, `X-Forwarded-For`; their
//! configurations stand beside this file. They are measured in turn, round after round, so that a noisy moment of the
//! machine hits all of them, and each figure is the median of its rounds. The load, the application and the proxy share
//! the machine's cores: requests a second say little, what a request costs the proxy in CPU says much.

mod crowd;
mod disturb;
pub(super) mod load;
pub(super) mod place;

use std::{path::PathBuf, time::Duration};

use serde::Serialize;
use tokio::process::Command;

use self::{
    load::Measured,
    place::{Place, Proxy},
};
use crate::{
    drill::Aborted,
    stats::{Samples, rounded},
};

/// What is asked of the bench.
#[derive(Clone, Debug)]
pub struct Edge {
    /// How long each proxy is loaded in a round.
    pub measure: Duration,
    /// Rounds of each workload.
    pub rounds: u32,
    /// Connections at once.
    pub connections: u32,
    /// Only these workloads; all if empty.
    pub workloads: Vec<Workload>,
}

impl Default for Edge {
    fn default() -> Self {
        Edge { measure: Duration::from_secs(5), rounds: 3, connections: 16, workloads: Vec::new() }
    }
}

/// What is asked of the proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// HTTP/1.1, an answer of 60 bytes.
    Http1Small,
    /// HTTP/1.1, an answer of 64 KB.
    Http1Large,
    /// TLS and HTTP/2, an answer of 60 bytes.
    Http2Small,
    /// TLS and HTTP/2, an answer of 64 KB.
    Http2Large,
}

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 4] =
        [Workload::Http1Small, Workload::Http1Large, Workload::Http2Small, Workload::Http2Large];

    /// As it stands in the output.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Http1Small => "http1_small",
            Workload::Http1Large => "http1_64k",
            Workload::Http2Small => "http2_small",
            Workload::Http2Large => "http2_64k",
        }
    }

    /// The workload of this name.
    pub fn named(name: &str) -> Option<Workload> {
        Workload::ALL.into_iter().find(|w| w.name() == name)
    }

    fn is_http2(self) -> bool {
        matches!(self, Workload::Http2Small | Workload::Http2Large)
    }

    fn path(self) -> &'static str {
        match self {
            Workload::Http1Small | Workload::Http2Small => "/small",
            Workload::Http1Large | Workload::Http2Large => "/64k",
        }
    }
}

/// One workload's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// `http1_small`, `http1_64k`, `http2_small` or `http2_64k`.
    pub workload: &'static str,
    /// Connections at once.
    pub connections: u32,
    /// Requests a second.
    pub ours_rps: f64,
    /// Requests a second.
    pub nginx_rps: f64,
    /// Requests a second.
    pub haproxy_rps: f64,
    /// CPU time of the proxy's processes for a request.
    pub ours_cpu_ms: f64,
    /// CPU time of the proxy's processes for a request.
    pub nginx_cpu_ms: f64,
    /// CPU time of the proxy's processes for a request.
    pub haproxy_cpu_ms: f64,
    /// 99th percentile of the time to an answer.
    pub ours_p99_ms: f64,
    /// 99th percentile of the time to an answer.
    pub nginx_p99_ms: f64,
    /// 99th percentile of the time to an answer.
    pub haproxy_p99_ms: f64,
    /// Requests that ours did not answer with 200.
    pub ours_errors: u64,
    /// Requests a CPU second, ours to the better peer.
    pub ratio_to_best_peer: f64,
}

/// The last line's object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// `gateway`.
    pub bench: &'static str,
    /// The smallest ratio of all workloads.
    pub ratio_to_best_peer_min: Option<f64>,
    /// Requests that ours did not answer with 200, in all workloads.
    pub ours_errors: u64,
}

pub use self::{
    crowd::{Idle, SlowLoris},
    disturb::Disturbed,
};

/// Measures what so many idle connections cost in memory.
pub async fn idle(
    connections: u32,
    ours: PathBuf,
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<Idle, Aborted> {
    let place = Place::take(true, 2).map_err(Aborted::from)?;
    settled(&place, crowd::idle(connections, &place, ours, talk).await, talk)
}

/// Measures what others notice of so many visitors who never finish their requests.
pub async fn slow_loris(
    connections: u32,
    config: Edge,
    ours: PathBuf,
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<SlowLoris, Aborted> {
    let place = Place::take(true, 2).map_err(Aborted::from)?;
    settled(&place, crowd::slow_loris(connections, &config, &place, ours, talk).await, talk)
}

/// Counts the requests that fail while the configuration is read again, the binary is upgraded and the instances of the
/// application are restarted, one event after the other.
pub async fn disturbed(
    config: Edge,
    ours: PathBuf,
    tell: impl Fn(&Disturbed),
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Aborted> {
    let place = Place::take(true, 2).map_err(Aborted::from)?;
    settled(&place, disturb::run(&config, &place, ours, tell, talk).await, talk)
}

/// What was measured; its folder goes if all went well.
pub(super) fn settled<T>(
    place: &Place,
    measured: Result<T, String>,
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<T, Aborted> {
    match &measured {
        Ok(_) => place.clean_up(),
        Err(_) => talk(&format!("logs and configurations are in {}", place.folder().display())),
    }
    Ok(measured?)
}

/// Runs the bench. `ours` is the command of our binary, without arguments.
pub async fn run(
    config: Edge,
    ours: PathBuf,
    tell: impl Fn(&Line),
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<Summary, Aborted> {
    let place = Place::take(true, 1).map_err(Aborted::from)?;
    let lines = settled(&place, measure(&config, &place, ours, tell, talk).await, talk)?;
    Ok(Summary::of(&lines))
}

async fn measure(
    config: &Edge,
    place: &Place,
    ours: PathBuf,
    tell: impl Fn(&Line),
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<Vec<Line>, String> {
    let origins = place.application().await?;
    let _agent = place.agent().await?;
    let mut proxies = Vec::new();
    for proxy in Proxy::ALL {
        talk(&format!("starting {}", proxy.name()));
        let program = if proxy == Proxy::Ours { Some(Command::new(&ours)) } else { None };
        proxies.push(place.proxy(proxy, program).await?);
    }
    let workloads =
        if config.workloads.is_empty() { Workload::ALL.to_vec() } else { config.workloads.clone() };
    let mut lines = Vec::new();
    for workload in workloads {
        let mut rounds: [Vec<Measured>; 3] = Default::default();
        for round in 1..=config.rounds {
            for (running, measured) in proxies.iter().zip(&mut rounds) {
                talk(&format!("{}, round {round}: {}", workload.name(), running.name()));
                measured.push(load::run(config, running, workload, place.folder()).await?);
            }
        }
        let line = Line::of(workload, config.connections, &rounds);
        tell(&line);
        lines.push(line);
    }
    for running in proxies {
        running.end().await?;
    }
    for origin in origins {
        origin.end().await?;
    }
    Ok(lines)
}

impl Line {
    fn of(workload: Workload, connections: u32, rounds: &[Vec<Measured>; 3]) -> Line {
        let median = |of: &[Measured], what: fn(&Measured) -> f64| {
            of.iter().map(what).collect::<Samples>().p50().unwrap_or(0.0)
        };
        let [ours, nginx, haproxy] = rounds.each_ref().map(Vec::as_slice);
        let cpu = |of: &[Measured]| median(of, |m| m.cpu_ms);
        let rps = |of: &[Measured]| rounded(median(of, |m| m.rps), 0);
        let p99 = |of: &[Measured]| rounded(median(of, |m| m.p99_ms), 2);
        // Requests a CPU second are 1,000 / CPU ms a request.
        let best_peer_ms = cpu(nginx).min(cpu(haproxy));
        let ratio = if cpu(ours) > 0.0 { best_peer_ms / cpu(ours) } else { 0.0 };
        Line {
            workload: workload.name(),
            connections,
            ours_rps: rps(ours),
            nginx_rps: rps(nginx),
            haproxy_rps: rps(haproxy),
            ours_cpu_ms: rounded(cpu(ours), 4),
            nginx_cpu_ms: rounded(cpu(nginx), 4),
            haproxy_cpu_ms: rounded(cpu(haproxy), 4),
            ours_p99_ms: p99(ours),
            nginx_p99_ms: p99(nginx),
            haproxy_p99_ms: p99(haproxy),
            ours_errors: ours.iter().map(|m| m.errors).sum(),
            ratio_to_best_peer: rounded(ratio, 2),
        }
    }
}

impl Summary {
    /// Of all workloads.
    pub fn of(lines: &[Line]) -> Summary {
        Summary {
            bench: "gateway",
            ratio_to_best_peer_min: lines.iter().map(|l| l.ratio_to_best_peer).min_by(f64::total_cmp),
            ours_errors: lines.iter().map(|l| l.ours_errors).sum(),
        }
    }
}
