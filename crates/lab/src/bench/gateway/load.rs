//! One round: wrk loads one proxy, and the kernel tells what that cost it.

use std::process::Stdio;

use tokio::process::Command;

use super::{Edge, place::Running};

/// What one round came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) rps: f64,
    pub(super) cpu_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) errors: u64,
}

/// Loads `proxy` for as long as `config` says.
pub(super) async fn run(config: &Edge, proxy: &Running, path: &str) -> Result<Measured, String> {
    let before_ms = proxy.cpu_ms()?;
    let out = Command::new("wrk")
        .args(["--latency", "-t2", &format!("-c{}", config.connections)])
        .arg(format!("-d{}s", config.measure.as_secs().max(1)))
        .args(["-H", "Accept: text/html", "-H", "User-Agent: Mozilla/5.0 (bench)"])
        .arg(format!("http://{}{path}", proxy.address()))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|e| format!("wrk cannot be run: {e}; install it: scripts/setup --bench"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    if !out.status.success() {
        return Err(format!("wrk failed: {}{text}", String::from_utf8_lossy(&out.stderr)));
    }
    let told = Told::read(&text).ok_or_else(|| format!("wrk's words are not understood:\n{text}"))?;
    let spent_ms = proxy.cpu_ms()?.saturating_sub(before_ms);
    #[allow(clippy::cast_precision_loss, reason = "a round's counts are far below 2^53")]
    let cpu_ms = spent_ms as f64 / (told.requests.max(1)) as f64;
    Ok(Measured { rps: told.rps, cpu_ms, p99_ms: told.p99_ms, errors: told.errors })
}

/// What wrk says.
#[derive(Debug, PartialEq)]
struct Told {
    requests: u64,
    rps: f64,
    p99_ms: f64,
    errors: u64,
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
}
