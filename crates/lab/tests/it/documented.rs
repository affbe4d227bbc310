//! `docs/json-output.md` names every key that is printed, and no other.

use std::collections::{BTreeMap, BTreeSet};

use lab::{
    bench::{
        apply,
        booking::{self, Line},
        gateway, waf,
    },
    drill::{
        binlog_purged, round,
        site_loss::{self, Round},
        switchover,
        watch::Phases,
    },
    rush,
    status::Report,
};
use model::{
    Epoch, Register, Site,
    agent::{AgentStatus, Differing, ReinstatePhase, Role, StandbyPhase, VerifyRun, Wrong},
    gateway::GatewayStatus,
};
use replicate::quarantine::{Acknowledged, Counts, Op, RowLine, Summary};
use serde::Serialize;

const DOCUMENT: &str = include_str!("../../../../docs/json-output.md");

/// Holds the table under the headings `command` and `part` against the keys of `values`, all together.
#[track_caller]
fn check<T: Serialize>(command: &str, part: &str, values: &[T]) {
    let section = DOCUMENT.split("\n## ").find(|s| s.starts_with(command)).expect("the command's heading");
    let table = section.split("\n### ").find(|s| s.starts_with(part)).expect("the part's heading");
    let documented: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(key, _)| key)
        .collect();
    let objects: Vec<_> = values.iter().map(|value| serde_json::to_value(value).unwrap()).collect();
    let printed = objects.iter().flat_map(|object| object.as_object().unwrap().keys());
    assert_eq!(
        documented,
        printed.map(String::as_str).collect(),
        "left: documented under `{command}`, `{part}`; right: printed"
    );
}

#[test]
fn the_site_loss_drill() {
    const COMMAND: &str = "`ghostlight drill site-loss --json`";
    check(COMMAND, "A line a round", &[Round::default()]);
    check(COMMAND, "`phases_ms`", &[Phases::default()]);
    check(COMMAND, "The summary", &[site_loss::Summary::default()]);
}

#[test]
fn the_drills_of_one_fault() {
    const COMMAND: &str = "`ghostlight drill db-loss|";
    check(COMMAND, "A line a round", &[round::Round::default()]);
    check(COMMAND, "The summary", &[round::Summary::default()]);
    let heading = DOCUMENT.lines().find(|line| line.contains(COMMAND)).expect("the heading");
    for row in lab::drill::table::TABLE {
        assert!(heading.split(['|', ' ']).any(|word| word == row.name), "{} is not documented", row.name);
    }
}

#[test]
fn the_switchover_drill() {
    const COMMAND: &str = "`ghostlight drill switchover --json`";
    check(COMMAND, "A line a round", &[switchover::Round::default()]);
    check(COMMAND, "The summary", &[switchover::Summary::default()]);
}

#[test]
fn the_rush() {
    const COMMAND: &str = "`ghostlight rush --json`";
    check(COMMAND, "The result", &[rush::Report::default()]);
    check(COMMAND, "The summary", &[rush::Report::default().summary()]);
}

#[test]
fn the_bench_of_the_web_acl() {
    const COMMAND: &str = "`ghostlight bench waf --json`";
    let line = waf::Line {
        workload: "form_8k",
        cpu_ms_added: 0.0,
        modsecurity_cpu_ms_added: 0.0,
        ratio_to_modsecurity: None,
        ours_cpu_ms: [0.0; 2],
        nginx_cpu_ms: [0.0; 2],
        refused: [0; 2],
    };
    check(COMMAND, "A line a workload", &[line]);
    check(COMMAND, "The summary", &[waf::Summary::of(&[])]);
}

#[test]
fn quarantines() {
    const COMMAND: &str = "`ghostlight quarantine list|show|export --json`";
    let summary = Summary {
        id: "2".into(),
        site: Site::new("nhn"),
        epoch: Epoch(2),
        exported_at_ms: 0,
        acknowledged: Acknowledged::None,
        counts: Counts::default(),
        outcome: None,
    };
    check(COMMAND, "A quarantine", &[summary]);
    let line = RowLine {
        line: 1,
        transaction: 1,
        at: "1:4".into(),
        gtid: None,
        committed_at_s: 0,
        table: "shop.t".into(),
        number: None,
        op: Op::Definition,
        before: Some(serde_json::Map::new()),
        after: Some(serde_json::Map::new()),
        statement: Some(String::new()),
    };
    check(COMMAND, "A line of a quarantine", &[line]);
}

#[test]
fn status() {
    const COMMAND: &str = "`ghostlight status --json`";
    let site = || Site::new("nhn");
    let silent = || Err(String::new());
    check(
        COMMAND,
        "The object",
        &[Report {
            register: Err(String::new()),
            steering: silent(),
            sites: [].into(),
            fencing: Vec::new(),
            lab: None,
        }],
    );
    let forced = model::register::Forced {
        epoch: model::Epoch::FIRST,
        out_of: model::Mode::Solo,
        accept_loss_s: 1,
        by: "kim".into(),
    };
    check(COMMAND, "`register`", &[Register { forced: Some(forced), ..Register::first(site(), 0) }]);
    let reinstating = Role::Reinstating {
        phase: ReinstatePhase::Undoing,
        transactions: 1,
        rows: 2,
        undone: 1,
        waits_for: Some("".into()),
    };
    let standby = Role::Standby { phase: StandbyPhase::Attached };
    let roles = [Role::Primary, standby, reinstating, Role::Stopped { why: "".into() }];
    let agents = roles.map(|role| AgentStatus { role, ..AgentStatus::starting(site()) });
    check(COMMAND, "`agent`", &agents);
    let gateway = GatewayStatus {
        site: site(),
        serving: None,
        serving_age_ms: None,
        gate: true,
        held: 0,
        released_total: 0,
        unknown_total: 0,
        parked: 0,
        parked_total: 0,
        targets: vec![],
    };
    check(COMMAND, "`gateway`", &[gateway]);
}

#[test]
fn the_booking_bench() {
    const COMMAND: &str = "`ghostlight bench booking --json`";
    let line = Line {
        workload: "booking",
        gate: Some(true),
        concurrency: 64,
        acknowledged_per_s: 1.0,
        p50_ms: None,
        p99_ms: None,
        cpu_ms: Some(BTreeMap::new()),
        busy_percent: Some(0.0),
        errors: 0,
    };
    let of = |workload| Line { workload, ..line.clone() };
    let with = [of("booking"), of("booking_half_load"), of("seat_map")];
    let summary = booking::Summary::of(&with, &[], &of("database")).expect("a summary");
    check(COMMAND, "A line a workload", &[line]);
    check(COMMAND, "The summary", &[summary]);
}

#[test]
fn the_gateway_bench() {
    const COMMAND: &str = "`ghostlight bench gateway --json`";
    let line = gateway::Line {
        workload: "http1_small",
        connections: 16,
        ours_rps: 1.0,
        nginx_rps: 1.0,
        haproxy_rps: 1.0,
        ours_cpu_ms: 1.0,
        nginx_cpu_ms: 1.0,
        haproxy_cpu_ms: 1.0,
        ours_p99_ms: 1.0,
        nginx_p99_ms: 1.0,
        haproxy_p99_ms: 1.0,
        ours_errors: 0,
        ratio_to_best_peer: 1.0,
    };
    let summary = gateway::Summary::of(std::slice::from_ref(&line));
    check(COMMAND, "A line a workload", &[line]);
    check(COMMAND, "The summary", &[summary]);
}

#[test]
fn the_gateway_bench_of_crowds_and_events() {
    let idle =
        gateway::Idle { bench: "", connections: 1, rss_mib_before: 1.0, rss_mib: 1.0, answered_again: 1 };
    check("`ghostlight bench gateway --idle N --json`", "The line", &[idle]);
    let slow = gateway::SlowLoris {
        bench: "",
        connections: 1,
        rps_before: 1.0,
        rps: 1.0,
        p99_ms_before: 1.0,
        p99_ms: 1.0,
        errors: 0,
        hung_up: 0,
    };
    check("`ghostlight bench gateway --slow-loris N --json`", "The line", &[slow]);
    let event = gateway::Disturbed { event: "reload", times: 1, requests: 1, failed: 0, p99_ms: 1.0 };
    check("`ghostlight bench gateway --disturb --json`", "A line an event", &[event]);
}

#[test]
fn the_apply_bench() {
    const COMMAND: &str = "`ghostlight bench apply --json`";
    let line = apply::Line {
        workload: "hot_rows",
        ours_tps: 3.0,
        native_serial_tps: 1.0,
        native_8_tps: 1.0,
        native_16_tps: 1.0,
        ratio_to_best_native: 3.0,
    };
    check(COMMAND, "`settings`", &[apply::Settings::default()]);
    check(COMMAND, "A line a workload", &[line]);
    check(COMMAND, "`details`", &[apply::Details::default()]);
    check(COMMAND, "The summary", &[apply::Summary::default()]);
    const LATENCY: &str = "`ghostlight bench apply --latency --json`";
    check(LATENCY, "A line a link", &[apply::latency::Line::default()]);
    check(LATENCY, "The summary", &[apply::latency::Summary::default()]);
    const BACKLOG: &str = "`ghostlight bench apply --backlog-rows N --json`";
    check(BACKLOG, "The line", &[apply::backlog::Line::default()]);
}

#[test]
fn verify() {
    const COMMAND: &str = "`ghostlight verify --json`";
    check(COMMAND, "The object", &[VerifyRun::default()]);
    let differing =
        Differing { table: "t".into(), key: "id=1".into(), wrong: Wrong::Different, repaired: false };
    check(COMMAND, "`list`", &[differing]);
}

#[test]
fn the_binlog_purged_drill() {
    const COMMAND: &str = "`ghostlight drill binlog-purged --json`";
    check(COMMAND, "The line", &[binlog_purged::Round::default()]);
    check(COMMAND, "The summary", &[binlog_purged::Summary::default()]);
}
