//! `bench apply` with very little to apply: that figures come out, and that a difference does not pass.

use std::time::Duration;

use lab::bench::apply::{
    self, Apply, Contender, Details, Line, Settings, Told, Workload,
    backlog::{self, Backlog},
    latency::{self, Latency},
};

use crate::up::programs;

/// What the bench told on its way.
#[derive(Default)]
struct Heard {
    settings: Vec<Settings>,
    lines: Vec<Line>,
    details: Vec<Details>,
}

impl Heard {
    fn take(&mut self, told: &Told<'_>) {
        match told {
            Told::Settings(settings) => self.settings.push((*settings).clone()),
            Told::Line(line) => self.lines.push((*line).clone()),
            Told::Details(details) => self.details.push((*details).clone()),
        }
    }
}

async fn bench(workload: Workload, planted: Option<&str>) -> (Heard, Result<apply::Summary, String>) {
    let config = Apply {
        workloads: vec![workload],
        transactions: 60,
        planted: planted.map(str::to_owned),
        ..Apply::default()
    };
    let mut heard = Heard::default();
    let ended = Box::pin(apply::run(config, |told| heard.take(&told), &|_| {})).await;
    (heard, ended.map_err(|e| e.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_applied_by_all_and_every_table_is_compared() {
    let (heard, ended) = bench(Workload::TicketingRush, None).await;
    let summary = ended.unwrap();
    let [line] = heard.lines.as_slice() else { panic!("{:?}", heard.lines) };
    assert_eq!((line.workload, summary.workloads), ("ticketing_rush", 1));
    for tps in [line.ours_tps, line.native_serial_tps, line.native_8_tps, line.native_16_tps] {
        assert!(tps > 0.0, "{line:?}");
    }
    assert_eq!(summary.ratio_to_best_native_min, Some(line.ratio_to_best_native));
    let [details] = heard.details.as_slice() else { panic!("{:?}", heard.details) };
    for contender in Contender::ALL {
        assert_eq!(details.tables_equal.get(contender.name()), Some(&3), "{details:?}");
    }
    let [settings] = heard.settings.as_slice() else { panic!("{:?}", heard.settings) };
    assert_eq!(settings.every_server.get("sync_binlog").map(String::as_str), Some("1"));
    let threads = |who: &str| settings.replicas[who]["slave_parallel_threads"].clone();
    assert_eq!([threads("native_serial"), threads("native_8"), threads("native_16")], ["0", "8", "16"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_difference_ends_the_bench_without_a_ratio() {
    let (heard, ended) =
        bench(Workload::HotRows, Some("UPDATE bench.counters SET n = n + 1 WHERE id = 3")).await;
    let e = ended.unwrap_err();
    assert!(e.contains("bench.counters") && e.contains("ours"), "{e}");
    assert!(heard.lines.is_empty() && heard.settings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transaction_that_was_offered_is_found_on_the_standby() {
    let config = Latency {
        saturate: Duration::from_millis(300),
        measure: Duration::from_millis(500),
        link_rtt_ms: vec![0, 20],
        ..Latency::default()
    };
    let mut lines = Vec::new();
    let summary = Box::pin(latency::run(config, |line| lines.push(line.clone()), &|_| {})).await.unwrap();
    assert_eq!((summary.links, lines.len()), (2, 2));
    assert_eq!(summary.samples, lines.iter().map(|l| l.samples).sum::<usize>());
    for line in lines {
        assert!(line.samples > 0 && line.offered_tps > 0.0, "{line:?}");
        // The log can be read a moment before the COMMIT is answered, so a little less than the round trip is right.
        let p50 = line.commit_to_watermark_ms_p50.unwrap();
        assert!(p50 > f64::from(u32::try_from(line.link_rtt_ms).unwrap()) / 2.0, "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_applied_by_a_process_of_its_own_whose_memory_is_read() {
    let mut follower = tokio::process::Command::new(programs().join("ghostlight"));
    follower.args(["--die-with-parent", "bench", "follow"]);
    let line = Box::pin(backlog::run(Backlog { rows: 950, seed: 7 }, follower, &|_| {})).await.unwrap();
    assert_eq!((line.backlog_rows, line.transactions, line.tables_equal), (1_000, 10, 4));
    assert!(line.follower_rss_mib_max > 1.0 && line.shipper_rss_mib_max > 1.0, "{line:?}");
}
