//! `ghostlight journal`: what controllers saw, judged and did, from all three places, in order.

use std::{path::Path, process::ExitCode, time::Duration};

use controller::journal::{self, Asked};
use model::{Place, topology::Topology};
use runtime::{admin::Client, clock::Wall, config::Loaded};
use serde_json::{Value, json};

use super::{drill::print, orders::duration, status::or_the_labs};
use crate::topology;

/// How long one question may take.
const ASK: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only what was written so long ago or later, e.g. `10m` or `2h`.
    #[arg(long, value_parser = duration)]
    since: Option<Duration>,
    /// Check the chain of every journal: a line that was changed, taken out or torn is named, exit code 65.
    #[arg(long)]
    verify: bool,
    /// The lines as they stand in the files, each a JSON object; with `--verify`, an object for each journal.
    #[arg(long)]
    json: bool,
}

/// One place's journal, and where it was read.
struct Found {
    place: String,
    from: String,
    verified: Value,
    lines: Vec<Value>,
}

pub(crate) fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let loaded = topology::load(&or_the_labs(config))?;
    let token = topology::secret(&loaded, &loaded.value.secrets.admin_token)?;
    let since_ms = arguments.since.map_or(0, |since| {
        Wall::now().as_ms().saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    });
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut found = Vec::new();
    for (place, address) in places(&loaded.value) {
        let client = Client::new(address, token.clone());
        let path = format!("/v1/journal?since_ms={since_ms}");
        match executor.block_on(client.get::<Value>(&path, ASK)) {
            Ok(told) => found.push(read(&place, "its controller".into(), &told)),
            Err(e) => match from_file(&loaded, &place, since_ms)? {
                Some(one) => found.push(one),
                None => eprintln!("{place}: {e}"),
            },
        }
    }
    if found.is_empty() {
        eprintln!("ghostlight: no controller answers, and no journal lies beside the topology file");
        return Ok(ExitCode::from(runtime::EXIT_UNAVAILABLE));
    }
    if arguments.verify {
        return Ok(verify(&found, arguments.json));
    }
    let at_ms = |line: &Value| line.get("at_ms").and_then(Value::as_u64).unwrap_or(0);
    let mut lines: Vec<Value> = found.into_iter().flat_map(|f| f.lines).collect();
    lines.sort_by_key(at_ms);
    for line in &lines {
        print(&if arguments.json { line.to_string() } else { in_words(line) });
    }
    Ok(ExitCode::SUCCESS)
}

fn places(topology: &Topology) -> Vec<(Place, std::net::SocketAddr)> {
    let sites = topology.sites.iter().map(|(site, c)| (Place::Site(site.clone()), c.controller));
    [(Place::Witness, topology.witness.controller)].into_iter().chain(sites).collect()
}

fn read(place: &Place, from: String, told: &Value) -> Found {
    let part = |key: &str| told.get(key).cloned().unwrap_or_default();
    let lines = match part("lines") {
        Value::Array(lines) => lines,
        _ => Vec::new(),
    };
    Found { place: place.to_string(), from, verified: part("verified"), lines }
}

/// The journal of a controller that does not answer, if its file is on this machine.
fn from_file(loaded: &Loaded<Topology>, place: &Place, since_ms: u64) -> anyhow::Result<Option<Found>> {
    let path = loaded.folder().join("journal").join(format!("{place}.jsonl"));
    if !path.exists() {
        return Ok(None);
    }
    let told = journal::read(place.clone(), &path, &Asked { since_ms, limit: 0 })?;
    Ok(Some(read(place, path.display().to_string(), &serde_json::to_value(told)?)))
}

fn verify(found: &[Found], as_json: bool) -> ExitCode {
    let mut whole = true;
    for Found { place, from, verified, .. } in found {
        let broken = verified.get("broken").and_then(Value::as_array).cloned().unwrap_or_default();
        whole &= broken.is_empty();
        let lines = verified.get("lines").and_then(Value::as_u64).unwrap_or(0);
        let last_hash = verified.get("last_hash").cloned().unwrap_or_default();
        if as_json {
            print(&verdict(place, lines, &last_hash, &broken).to_string());
            continue;
        }
        print(&format!("{place}: {lines} lines, {} that do not fit (read from {from})", broken.len()));
        for one in &broken {
            let number = one.get("line").and_then(Value::as_u64).unwrap_or(0);
            print(&format!("  line {number}: {}", text(one, "what")));
        }
    }
    ExitCode::from(if whole { 0 } else { runtime::EXIT_WRONG })
}

fn verdict(place: &str, lines: u64, last_hash: &Value, broken: &[Value]) -> Value {
    json!({ "place": place, "lines": lines, "last_hash": last_hash, "broken": broken })
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A line for people: when, who, what.
fn in_words(line: &Value) -> String {
    let at_ms = line.get("at_ms").and_then(Value::as_u64).unwrap_or(0);
    let role = if line.get("leads").and_then(Value::as_bool) == Some(true) { "leads" } else { "watches" };
    let list = |value: Option<&Value>| -> Vec<String> {
        let all = value.and_then(Value::as_array).cloned().unwrap_or_default();
        all.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect()
    };
    let what = match text(line, "what") {
        "judged" => {
            let verdict = line.get("verdict").cloned().unwrap_or_default();
            let steps: Vec<String> = list(verdict.pointer("/plan/steps")).iter().map(|s| step(s)).collect();
            let or_none = |l: Vec<String>| if l.is_empty() { "none".to_owned() } else { l.join(", ") };
            let mut words =
                format!("problems: {}; plan: {}", or_none(list(verdict.get("problems"))), or_none(steps));
            for reason in list(verdict.get("reasons")) {
                words.push_str(&format!("\n      because {reason}"));
            }
            for seen in line.get("seen").and_then(Value::as_array).into_iter().flatten() {
                words.push_str(&format!("\n      {}", sighting(seen)));
            }
            words
        }
        "ordered" => format!("operators' orders: {}", line.get("orders").cloned().unwrap_or_default()),
        "plan_refused" => format!("a faulty plan was not executed: {}", list(line.get("faults")).join("; ")),
        "fencing" => {
            let report = line.get("report").cloned().unwrap_or_default();
            let mut words = format!("what became of fencing {}", text(&report, "site"));
            for driver in report.get("drivers").and_then(Value::as_array).into_iter().flatten() {
                let why = text(driver, "why");
                let because = if why.is_empty() { String::new() } else { format!(" ({why})") };
                words.push_str(&format!(
                    "\n      {}: {}{because}",
                    text(driver, "driver"),
                    text(driver, "result")
                ));
            }
            words
        }
        "began" => format!("begins: {}", step(&line.get("step").cloned().unwrap_or_default().to_string())),
        "ended" => {
            let took_ms = line.get("took_ms").and_then(Value::as_u64).unwrap_or(0);
            let act = step(&line.get("step").cloned().unwrap_or_default().to_string());
            let mut words = format!("{} after {took_ms} ms: {act}", text(line, "outcome"));
            if !text(line, "why").is_empty() {
                words.push_str(&format!(" ({})", text(line, "why")));
            }
            words
        }
        other => other.to_owned(),
    };
    format!("{} {:<8} {role:<8} {what}", clock(at_ms), text(line, "place"))
}

/// A step as it is written everywhere else, from its JSON.
fn step(json: &str) -> String {
    serde_json::from_str::<model::Step>(json).map_or_else(|_| json.to_owned(), |step| step.to_string())
}

fn sighting(seen: &Value) -> String {
    let by = seen.get("by").map_or_else(String::new, |by| match by {
        Value::String(place) => place.clone(),
        other => text(other, "site").to_owned(),
    });
    let commit =
        seen.get("commit").and_then(Value::as_str).map_or(String::new(), |c| format!("commit {c}, "));
    let (of, agent, gateway) = (text(seen, "of"), text(seen, "agent"), text(seen, "gateway"));
    format!("{by} saw {of}: {commit}agent {agent}, gateway {gateway}")
}

/// UTC, to the millisecond: `2026-05-03 01:02:03.456`.
fn clock(at_ms: u64) -> String {
    let (days, ms) = (at_ms / 86_400_000, at_ms % 86_400_000);
    let (year, month, day) = runtime::clock::date(days);
    let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}.{:03}", ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_people_write_it() {
        assert_eq!(clock(0), "1970-01-01 00:00:00.000");
        assert_eq!(clock(951_782_400_123), "2000-02-29 00:00:00.123");
        assert_eq!(clock(1_798_675_199_999), "2026-12-30 23:59:59.999");
    }

    #[test]
    fn what_is_printed_is_documented() {
        crate::documented("`ghostlight journal --verify --json`", &verdict("witness", 1, &Value::Null, &[]));
    }
}
