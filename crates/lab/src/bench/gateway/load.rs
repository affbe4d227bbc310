//! One round: wrk (HTTP/1.1) or h2load (TLS and HTTP/2) loads one proxy, and the kernel tells what that cost it.

use std::{ffi::OsStr, net::SocketAddr, path::Path, process::Stdio, time::Duration};

use tokio::process::Command;

use super::{Edge, Workload, place::Running};
use crate::stats::Samples;

/// What one round came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::bench) struct Measured {
    pub(in crate::bench) rps: f64,
    pub(in crate::bench) cpu_ms: f64,
    pub(in crate::bench) p99_ms: f64,
    pub(in crate::bench) errors: u64,
}

/// What wrk sends.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Load<'a> {
    pub(in crate::bench) path: &'a str,
    /// A script in wrk's Lua that says the rest; without one it is a plain GET.
    pub(in crate::bench) script: Option<&'a Path>,
}

impl<'a> Load<'a> {
    /// A plain GET.
    pub(in crate::bench) fn get(path: &'a str) -> Load<'a> {
        Load { path, script: None }
    }
}

/// Streams at once on one connection of HTTP/2: a browser's handful.
const STREAMS: u32 = 8;

/// Loads `proxy` for as long as `config` says.
pub(super) async fn run(
    config: &Edge,
    proxy: &Running,
    workload: Workload,
    folder: &Path,
) -> Result<Measured, String> {
    let before_ms = proxy.cpu_ms()?;
    let told = if workload.is_http2() {
        h2load(config, proxy, workload.path(), folder).await?
    } else {
        wrk(config.connections, config.measure, proxy.address(), Load::get(workload.path())).await?
    };
    measured(proxy, before_ms, &told)
}

/// Loads `proxy` with this over HTTP/1.1 for as long as `config` says.
pub(in crate::bench) async fn run_load(
    config: &Edge,
    proxy: &Running,
    load: Load<'_>,
) -> Result<Measured, String> {
    let before_ms = proxy.cpu_ms()?;
    let told = wrk(config.connections, config.measure, proxy.address(), load).await?;
    measured(proxy, before_ms, &told)
}

/// What the load came to, with what the proxy has spent since.
fn measured(proxy: &Running, before_ms: u64, told: &Told) -> Result<Measured, String> {
    let spent_ms = proxy.cpu_ms()?.saturating_sub(before_ms);
    #[allow(clippy::cast_precision_loss, reason = "a round's counts are far below 2^53")]
    let cpu_ms = spent_ms as f64 / (told.requests.max(1)) as f64;
    Ok(Measured { rps: told.rps, cpu_ms, p99_ms: told.p99_ms, errors: told.errors })
}

/// Loads the proxy at this address with HTTP/1.1.
pub(super) async fn wrk(
    connections: u32,
    measure: Duration,
    at: SocketAddr,
    load: Load<'_>,
) -> Result<Told, String> {
    let script = load.script.into_iter().flat_map(|script| [OsStr::new("-s"), script.as_os_str()]);
    let mut command = Command::new("wrk");
    command
        .args(["--latency", "-t2", &format!("-c{connections}")])
        .arg(format!("-d{}s", measure.as_secs().max(1)))
        .args(["-H", "Accept: text/html", "-H", "User-Agent: Mozilla/5.0 (bench)"])
        .args(script)
        .arg(format!("http://{at}{}", load.path));
    let text = said("wrk", command).await?;
    Told::read(&text).ok_or_else(|| format!("wrk's words are not understood:\n{text}"))
}

/// Loads `proxy` with TLS and HTTP/2. The times stand in a file, a line a request: h2load itself tells no percentile.
async fn h2load(config: &Edge, proxy: &Running, path: &str, folder: &Path) -> Result<Told, String> {
    let times = folder.join("h2load.times");
    let mut command = Command::new("h2load");
    command
        .args(["-t2", &format!("-c{}", config.connections), &format!("-m{STREAMS}")])
        .arg(format!("-D{}s", config.measure.as_secs().max(1)))
        .arg(format!("--log-file={}", times.display()))
        .args(["-H", "Accept: text/html", "-H", "User-Agent: Mozilla/5.0 (bench)"])
        .arg(format!("https://{}{path}", proxy.secure()));
    // It appends.
    if let Err(e) = std::fs::remove_file(&times)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        return Err(format!("{}: {e}", times.display()));
    }
    let text = said("h2load", command).await?;
    let log = std::fs::read_to_string(&times).map_err(|e| format!("{}: {e}", times.display()))?;
    Told::read_http2(&text, &log).ok_or_else(|| format!("h2load's words are not understood:\n{text}"))
}

/// What a command says until it ends.
async fn said(name: &str, mut command: Command) -> Result<String, String> {
    let out = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let out = out.map_err(|e| format!("{name} cannot be run: {e}; install it: scripts/setup --bench"))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        return Ok(text);
    }
    Err(format!("{name} failed: {}{text}", String::from_utf8_lossy(&out.stderr)))
}

/// What the load says.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    pub(super) requests: u64,
    pub(super) rps: f64,
    pub(super) p99_ms: f64,
    pub(super) errors: u64,
}

impl Told {
    fn read(text: &str) -> Option<Told> {
        let after = |word: &str| text.lines().find_map(|l| l.trim().strip_prefix(word)).map(str::trim);
        let requests =
            text.lines().find_map(|l| l.trim().split_once(" requests in "))?.0.trim().parse().ok()?;
        let rps = after("Requests/sec:")?.parse().ok()?;
        let p99_ms = ms(after("99%")?)?;
        let refused = after("Non-2xx or 3xx responses:").and_then(|n| n.parse().ok()).unwrap_or(0);
        // `Socket errors: connect 0, read 0, write 0, timeout 0`
        let broken = after("Socket errors:").map_or(0, |words| {
            words.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u64>().ok()).sum()
        });
        Some(Told { requests, rps, p99_ms, errors: refused + broken })
    }

    /// `requests: 40 total, 40 started, 39 done, 38 succeeded, 1 failed, 1 errored, 0 timeout`, and a line a request:
    /// when it began, its status, microseconds to its end.
    fn read_http2(text: &str, log: &str) -> Option<Told> {
        let rps = text.lines().find_map(|l| l.strip_prefix("finished in "))?;
        let rps = rps.split(", ").find_map(|part| part.strip_suffix(" req/s"))?.trim().parse().ok()?;
        let counts = text.lines().find_map(|l| l.strip_prefix("requests: "))?;
        let count = |word: &str| -> Option<u64> {
            let part = counts.split(", ").find_map(|part| part.strip_suffix(word))?;
            part.trim().parse().ok()
        };
        let statuses = text.lines().find_map(|l| l.strip_prefix("status codes: "))?;
        let well: u64 =
            statuses.split(", ").find_map(|part| part.strip_suffix(" 2xx"))?.trim().parse().ok()?;
        let done = count(" done")?;
        let times = log.lines().filter_map(|line| {
            let mut columns = line.split('\t');
            let (status, us) = (columns.nth(1)?, columns.next()?);
            let us: f64 = us.parse().ok()?;
            (status != "-1").then_some(us / 1_000.0)
        });
        let p99_ms = times.collect::<Samples>().p99()?;
        // What was under way when the time was over is none.
        Some(Told { requests: done, rps, p99_ms, errors: done.saturating_sub(well) })
    }
}

/// `250.00us`, `1.20ms`, `1.00s`.
fn ms(text: &str) -> Option<f64> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let scale = match unit {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" => 60_000.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_understood() {
        let text = "Running 5s test @ http://127.0.0.1:8080/\n  2 threads and 16 connections\n  \
                    Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency   275.64us  217.07us   5.79ms   90.96%\n  \
                    Latency Distribution\n     50%  219.00us\n     75%  312.00us\n     90%  487.00us\n     99%    1.11ms\n  \
                    163942 requests in 3.00s, 22.83MB read\n  Socket errors: connect 0, read 2, write 0, timeout 1\n  \
                    Non-2xx or 3xx responses: 7\nRequests/sec:  54626.45\nTransfer/sec:      7.61MB\n";
        assert_eq!(
            Told::read(text),
            Some(Told { requests: 163_942, rps: 54_626.45, p99_ms: 1.11, errors: 10 })
        );
        assert_eq!(ms("250.00us"), Some(0.25));
        assert_eq!(ms("1.5s"), Some(1_500.0));
        assert_eq!(Told::read("unable to connect"), None);
    }

    #[test]
    fn what_h2load_says_is_understood() {
        let text = "starting benchmark...\nspawning thread #0: 1 total client(s). Timing-based test with 5s\n\
                    finished in 5.01s, 1234.56 req/s, 2.50MB/s\n\
                    requests: 102 total, 110 started, 102 done, 101 succeeded, 1 failed, 0 errored, 0 timeout\n\
                    status codes: 100 2xx, 0 3xx, 0 4xx, 2 5xx\ntraffic: 1.00MB\n";
        let log: String = (1..=100).map(|n| format!("1600000000000000\t200\t{}\n", n * 1_000)).collect();
        let told = Told::read_http2(text, &format!("{log}1600000000000000\t-1\t900000000\n")).unwrap();
        assert_eq!((told.requests, told.rps, told.errors), (102, 1_234.56, 2));
        assert!((98.0..=100.0).contains(&told.p99_ms), "{told:?}");
        assert_eq!(Told::read_http2("could not connect", ""), None);
    }
}
