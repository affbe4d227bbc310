//! Targets that a name leads to, asked of a real name server (dnsmasq) while it changes its mind.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use model::{Site, gateway::TargetState, topology::edge::DnsTargets};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpListener;

use crate::{
    agent::serving,
    balance::is,
    stage::{App, PATIENCE, Stage, default_group, only},
};

const NAME: &str = "web.tickets.test";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// dnsmasq on an address of its own, with one name in its book. It ends with this value.
struct NameServer {
    at: SocketAddr,
    book: PathBuf,
    child: Child,
}

impl NameServer {
    fn start(last: u8) -> NameServer {
        let [.., high, low] = std::process::id().to_be_bytes();
        // An address that only this process uses; nobody else is on this port there.
        let at = SocketAddr::from(([127, 90 + (high & 31), low, last], 5_335));
        let book = std::env::temp_dir().join(format!("ghostlight-dns-{}-{last}", std::process::id()));
        fs::write(&book, "").unwrap();
        let mut command = Command::new("dnsmasq");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=",
        ]);
        command.args(["--bind-interfaces", "--local=/test/", "--local-ttl=1", "--pid-file="]);
        command.arg(format!("--listen-address={}", at.ip())).arg(format!("--port={}", at.port()));
        command.arg(format!("--addn-hosts={}", book.display())).stdin(Stdio::null());
        let child = command.spawn().expect("dnsmasq cannot be started: scripts/setup --test installs it");
        NameServer { at, book, child }
    }

    fn leads_to(&self, targets: &[SocketAddr]) {
        let lines: String = targets.iter().map(|t| format!("{} {NAME}\n", t.ip())).collect();
        fs::write(&self.book, lines).unwrap();
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    }

    /// Until it answers at all: a signal that came before it is ready would end it.
    async fn ready(&self) {
        let answers = async {
            while runtime::dns::ask(self.at, NAME).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await; // a foreign process: it is asked
            }
        };
        tokio::time::timeout(PATIENCE, answers).await.expect("dnsmasq does not answer");
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        fs::remove_file(&self.book).ok();
    }
}

/// Two instances on two addresses, on one port.
async fn twins() -> (App, App) {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        // Somebody may have this port there.
        if let Ok(second) = TcpListener::bind(("127.0.0.2", port)).await {
            return (App::start_on(first), App::start_on(second));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_come_and_go_as_a_name_server_says() {
    let names = NameServer::start(1);
    names.ready().await;
    let (one, two) = twins().await;
    names.leads_to(&[one.address]);
    let stage = Stage::new(serving("nhn", 7), |c| {
        only(c, &[]);
        let group = default_group(c);
        (group.health_check.interval_ms, group.deregistration_delay_ms) = (50, 100);
        group.dns.push(DnsTargets {
            site: Site::new("nhn"),
            name: NAME.into(),
            port: one.address.port(),
            zone: None,
            weight: 1,
            server: Some(names.at),
        });
    })
    .await;
    is(&stage, one.address, TargetState::Healthy).await;
    assert_eq!(stage.ask(GET).await.status, 200);
    assert_eq!((one.asked(), two.asked()), (1, 0));

    names.leads_to(&[one.address, two.address]);
    is(&stage, two.address, TargetState::Healthy).await;
    for _ in 0..4 {
        assert_eq!(stage.ask(GET).await.status, 200);
    }
    assert!(two.asked() > 0 && one.asked() > 1, "both are asked");

    names.leads_to(&[two.address]);
    let gone = async {
        while stage.status().await.targets.iter().any(|t| t.address == one.address) {
            tokio::time::sleep(Duration::from_millis(10)).await; // the gateway tells when it is asked
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("a target that its name does not lead to stays");
    let before = (one.asked(), two.asked());
    for _ in 0..4 {
        assert_eq!(stage.ask(GET).await.status, 200);
    }
    assert_eq!((one.asked(), two.asked()), (before.0, before.1 + 4));

    // A name server that is gone takes nobody along.
    drop(names);
    tokio::time::sleep(Duration::from_millis(1_500)).await; // its answer's time is over, and it was asked again
    is(&stage, two.address, TargetState::Healthy).await;
    assert_eq!(stage.ask(GET).await.status, 200);
}
