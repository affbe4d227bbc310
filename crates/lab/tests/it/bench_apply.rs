//! `bench apply` with very little to apply: that figures come out, and that a difference does not pass.

use lab::bench::apply::{self, Apply, Contender, Details, Line, Settings, Told, Workload};

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
