//! Where the time goes under load. By hand, with `wrk` installed:
//! `cargo test -p gateway --test it -- --ignored --nocapture load`

use std::{fs, process::Command};

use axum::{
    Json, Router,
    routing::{get, post},
};
use model::{BarrierOutcome, BarrierReply, BarrierRequest, Epoch, Mode};
use runtime::{metrics::Metrics, process::Shutdown, secret::Secret};
use tokio::net::TcpListener;

use crate::{
    agent::{TOKEN, serving},
    stage::{App, config},
};

/// CPU milliseconds that this process's serving threads have used.
fn serving_threads_cpu_ms() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let stat = tasks.filter_map(|t| fs::read_to_string(t.path().join("stat")).ok());
    let ticks = stat.filter(|s| s.contains("(visitors-")).map(|s| {
        let fields: Vec<&str> = s.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    });
    ticks.sum::<u64>() * 10
}

async fn agent(delay_ms: u64) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let barrier = async move |Json(_): Json<BarrierRequest>| {
        if delay_ms > 0 {
            // Stands for the way to the standby and back.
            tokio::time::sleep(std::time::Duration::from_millis(delay_ms)).await;
        }
        let (epoch, mode) = (Some(Epoch(1)), Some(Mode::Sync));
        Json(BarrierReply { outcome: BarrierOutcome::Replicated, epoch, mode, position: None })
    };
    let routes = Router::new()
        .route("/v1/serving", get(async || Json(serving("nhn", 1))))
        .route("/v1/barrier", post(barrier));
    let api =
        runtime::admin::serve(listener, Secret::new(TOKEN), Metrics::default(), routes, Shutdown::new());
    tokio::spawn(api);
    at
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures for half a minute, and needs wrk"]
async fn load() {
    let script = std::env::temp_dir().join("ghostlight-load-post.lua");
    fs::write(&script, "wrk.method = \"POST\"\nwrk.body = \"seat=A1\"\n").unwrap();
    for (name, gate, writes, delay_ms, connections) in [
        ("read", true, false, 0, 16),
        ("write, gate off", false, true, 0, 16),
        ("write, gate on", true, true, 0, 16),
        ("write, standby 5 ms away", true, true, 5, 16),
        ("write, standby 5 ms away", true, true, 5, 256),
    ] {
        let app = App::start().await;
        let config = gateway::Config { gate, threads: 2, ..config(agent(delay_ms).await, vec![app.address]) };
        let gateway = gateway::Gateway::bind(config).await.unwrap();
        let (url, shutdown) = (format!("http://{}/", gateway.address()), Shutdown::new());
        let metrics = Metrics::default();
        let running = tokio::spawn(gateway.run(metrics.clone(), shutdown.clone()));
        while app_is_unreachable(&url).await {}
        let before = (serving_threads_cpu_ms(), app.asked());
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", "-d4s", "--latency", &format!("-c{connections}")]);
        if writes {
            wrk.arg("-s").arg(&script);
        }
        let out = tokio::task::spawn_blocking(move || wrk.arg(url).output().unwrap()).await.unwrap();
        let requests = app.asked() - before.1;
        let cpu = serving_threads_cpu_ms() - before.0;
        println!(
            "== {name}, {connections} connections: {requests} requests, {:.4} ms CPU each",
            f64::from(u32::try_from(cpu).unwrap()) / f64::from(u32::try_from(requests).unwrap())
        );
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let shown = ["50%", "99%", "Requests/sec", "Non-2xx"];
        text.lines()
            .filter(|l| shown.iter().any(|s| l.contains(s)))
            .for_each(|l| println!("   {}", l.trim()));
        let barriers = metrics.text();
        let told = ["barriers_total", "not_sent_total", "unknown_outcomes_total", "failures_total"];
        let told = |l: &&str| told.iter().any(|t| l.contains(t)) && !l.ends_with(" 0");
        barriers.lines().filter(told).for_each(|l| println!("   {l}"));
        shutdown.cancel();
        running.await.unwrap().unwrap();
    }
}

async fn app_is_unreachable(url: &str) -> bool {
    let url = url.to_owned();
    let status = Command::new("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}"]).arg(url).output();
    status.unwrap().stdout != b"200"
}
