//! `bench waf`: what inspecting a request costs in CPU, ours and nginx with libmodsecurity and CRS (both as Debian has them).
//!
//! Four proxies stand in front of the same application: ours and nginx, each with its WAF and without. What a WAF adds is
//! the difference between the two of a kind, each the median of its rounds; they are loaded in turn, round after round, so
//! that a noisy moment of the machine hits all of them. Both requests are honest: the way that nearly every request takes.

mod load;

use std::path::PathBuf;

use serde::Serialize;
use tokio::process::Command;

use super::gateway::{
    Edge,
    load::{Load, Measured, run_load},
    place::{Place, Proxy, Running},
    settled,
};
use crate::{
    drill::Aborted,
    stats::{Samples, rounded},
};

/// The proxies, each WAF beside its own proxy without one.
const PROXIES: [Proxy; 4] = [Proxy::Ours, Proxy::OursGuarded, Proxy::Nginx, Proxy::NginxModsecurity];

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A GET as a browser sends it: query, cookies, a dozen headers.
    Get,
    /// A form of 8 KB.
    Form,
}

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 2] = [Workload::Get, Workload::Form];

    /// As it stands in the output.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Get => "benign_get",
            Workload::Form => "form_8k",
        }
    }
}

/// One workload's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// `benign_get` or `form_8k`.
    pub workload: &'static str,
    /// CPU time that our web ACL adds to a request.
    pub cpu_ms_added: f64,
    /// CPU time that ModSecurity adds to a request.
    pub modsecurity_cpu_ms_added: f64,
    /// How many times less CPU ours adds. None: too little to be told from nothing.
    pub ratio_to_modsecurity: Option<f64>,
    /// CPU time of a request through ours, without and with the web ACL.
    pub ours_cpu_ms: [f64; 2],
    /// CPU time of a request through nginx, without and with ModSecurity.
    pub nginx_cpu_ms: [f64; 2],
    /// Requests that were not answered with 200: by ours, by ModSecurity. These requests are honest.
    pub refused: [u64; 2],
}

/// The last line's object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// `waf`.
    pub bench: &'static str,
    /// The most that ours adds, of all workloads.
    pub cpu_ms_added_max: Option<f64>,
    /// The smallest ratio of all workloads.
    pub ratio_to_modsecurity_min: Option<f64>,
}

/// Runs the bench. `ours` is the command of our binary, without arguments. Of `config`, workloads are not looked at.
pub async fn run(
    config: Edge,
    ours: PathBuf,
    tell: impl Fn(&Line),
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<Summary, Aborted> {
    // Nothing is held: what the gate waits for is no work of a WAF's.
    let place = Place::take(false, 1).map_err(Aborted::from)?;
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
    let mut proxies: Vec<Running> = Vec::new();
    for proxy in PROXIES {
        talk(&format!("starting {}", proxy.name()));
        let is_ours = matches!(proxy, Proxy::Ours | Proxy::OursGuarded);
        proxies.push(place.proxy(proxy, is_ours.then(|| Command::new(&ours))).await?);
    }
    let mut lines = Vec::new();
    for workload in Workload::ALL {
        let script = place.script(&format!("{}.lua", workload.name()), &load::script(workload))?;
        let load = Load { path: load::path(workload), script: Some(&script) };
        let mut rounds: [Vec<Measured>; 4] = Default::default();
        for round in 1..=config.rounds {
            for (running, measured) in proxies.iter().zip(&mut rounds) {
                talk(&format!("{}, round {round}: {}", workload.name(), running.name()));
                measured.push(run_load(config, running, load).await?);
            }
        }
        let line = Line::of(workload, &rounds);
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
    fn of(workload: Workload, rounds: &[Vec<Measured>; 4]) -> Line {
        let [ours, guarded, nginx, modsecurity] = rounds.each_ref().map(Vec::as_slice);
        let cpu = |of: &[Measured]| of.iter().map(|m| m.cpu_ms).collect::<Samples>().p50().unwrap_or(0.0);
        let refused = |of: &[Measured]| of.iter().map(|m| m.errors).sum();
        let (added, theirs) = (cpu(guarded) - cpu(ours), cpu(modsecurity) - cpu(nginx));
        Line {
            workload: workload.name(),
            cpu_ms_added: rounded(added, 4),
            modsecurity_cpu_ms_added: rounded(theirs, 4),
            ratio_to_modsecurity: (added > 0.0).then(|| rounded(theirs / added, 1)),
            ours_cpu_ms: [rounded(cpu(ours), 4), rounded(cpu(guarded), 4)],
            nginx_cpu_ms: [rounded(cpu(nginx), 4), rounded(cpu(modsecurity), 4)],
            refused: [refused(guarded), refused(modsecurity)],
        }
    }
}

impl Summary {
    /// Of all workloads.
    pub fn of(lines: &[Line]) -> Summary {
        Summary {
            bench: "waf",
            cpu_ms_added_max: lines.iter().map(|l| l.cpu_ms_added).max_by(f64::total_cmp),
            ratio_to_modsecurity_min: lines
                .iter()
                .filter_map(|l| l.ratio_to_modsecurity)
                .min_by(f64::total_cmp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_waf_adds_is_the_difference_of_medians() {
        let round = |cpu_ms| Measured { rps: 1.0, cpu_ms, p99_ms: 1.0, errors: 1 };
        let of = |all: [f64; 3]| all.map(round).to_vec();
        let rounds = [of([0.02, 0.01, 9.0]), of([0.04, 0.05, 0.06]), of([0.01; 3]), of([1.51; 3])];
        let line = Line::of(Workload::Get, &rounds);
        assert_eq!((line.cpu_ms_added, line.modsecurity_cpu_ms_added), (0.03, 1.5));
        assert_eq!((line.ratio_to_modsecurity, line.refused), (Some(50.0), [3, 3]));
        let same = [of([0.02; 3]), of([0.02; 3]), of([0.01; 3]), of([1.0; 3])];
        assert_eq!(Line::of(Workload::Get, &same).ratio_to_modsecurity, None);
        let summary = Summary::of(&[line.clone(), Line { ratio_to_modsecurity: Some(40.0), ..line }]);
        assert_eq!((summary.cpu_ms_added_max, summary.ratio_to_modsecurity_min), (Some(0.03), Some(40.0)));
    }
}
