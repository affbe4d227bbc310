//! The whole lab, on real processes. Slow (a minute): it starts two clouds, kills their parts and the whole of them.
//!
//! The lab is started once and shared by the steps of each test, in the order in which an operator would meet them.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use lab::{
    api::LabView,
    drill::access::Access,
    lab::{Lab, LabOptions},
    layout::Cloud,
    ready::answers_200,
};
use runtime::{admin::Client, secret::Secret};

const ASK: Duration = Duration::from_secs(2);
/// Two busy cores run this beside other tests.
const PATIENCE: Duration = Duration::from_secs(90);

/// The folder with freshly built programs.
pub(crate) fn programs() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--workspace", "--bins"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .status()
        .unwrap();
    assert!(built.success());
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

/// A new folder for a lab; it is removed when the test has passed, and kept to be looked at when it has not.
fn new_folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(format!("/var/tmp/ghostlight-test-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What an operator can ask of a running lab.
struct Window {
    access: Access,
    control: Client,
}

impl Window {
    fn to(folder: &Path) -> Window {
        let text = std::fs::read_to_string(folder.join("ghostlight.toml")).unwrap();
        let topology: model::topology::Topology =
            runtime::config::parse(&folder.join("ghostlight.toml"), text).unwrap().value;
        let token = Secret::from_file(&folder.join("secrets/admin.token")).unwrap();
        let number = match topology.witness.controller.ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[2],
            std::net::IpAddr::V6(_) => unreachable!(),
        };
        let control = Client::new(lab::layout::Addresses::of(number).control(), token);
        Window { access: Access::new(topology, folder).unwrap(), control }
    }

    async fn view(&self) -> LabView {
        self.control.get("/v1/lab", ASK).await.unwrap()
    }

    /// Every process by name: its number and its restarts.
    async fn processes(&self) -> BTreeMap<String, (Option<u32>, u64)> {
        let view = self.view().await;
        let all = view.sites.iter().flat_map(|s| &s.processes).chain(&view.witness);
        all.map(|p| (p.name.clone(), (p.pid, p.restarts))).collect()
    }

    async fn pids(&self) -> Vec<u32> {
        self.processes().await.into_values().filter_map(|(pid, _)| pid).collect()
    }

    async fn in_sync(&self) {
        self.access.wait_for_sync(PATIENCE).await.unwrap();
    }
}

fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands behind the name, which is in brackets; a zombie runs no more.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

async fn all_gone(pids: &[u32]) {
    eventually("every process has ended", async || (!pids.iter().any(|p| is_running(*p))).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_comes_back_and_a_dark_site_returns_as_standby() {
    let folder = new_folder("dies");
    let mut options = LabOptions::new(folder.join("lab"));
    options.programs = Some(programs());
    options.database.redo_log_mib = 16;
    let lab = Box::pin(Lab::start(options, &|line| eprintln!("{line}"))).await.unwrap();
    let window = Window::to(lab.folder());
    window.in_sync().await;

    for name in [
        "nhn-ticketing-1",
        "nhn-gateway",
        "nhn-agent",
        "aws-agent",
        "aws-database",
        "nhn-controller",
        "witness-controller",
        "witness-dns",
    ] {
        a_killed_process_comes_back(&window, name).await;
    }
    window.in_sync().await;
    a_dark_site_is_silent_and_returns(&lab, &window).await;

    let pids = window.pids().await;
    assert_eq!(pids.len(), 14, "six a site, the register and the name server: {pids:?}");
    lab.stop().await;
    assert!(!pids.iter().any(|p| is_running(*p)), "something is left running");
    std::fs::remove_dir_all(&folder).unwrap();
}

async fn a_killed_process_comes_back(window: &Window, name: &str) {
    let (pid, restarts) = window.processes().await[name];
    let killed: serde_json::Value =
        window.control.post(&format!("/v1/lab/processes/{name}/kill"), &(), ASK).await.unwrap();
    assert_eq!(killed["pid"].as_u64(), pid.map(u64::from), "{name}");
    let back = async || {
        let (now, counted) = window.processes().await[name];
        (now.is_some() && now != pid && counted > restarts).then_some(())
    };
    eventually(&format!("{name} comes back"), back).await;
    // The next one is killed only when the system is whole again: two faults at a time are another test's.
    window.in_sync().await;
}

async fn a_dark_site_is_silent_and_returns(lab: &Lab, window: &Window) {
    let before = window.access.register().await.unwrap();
    let (lost, survivor) = (Cloud::of(&before.primary).unwrap(), Cloud::of(&before.primary).unwrap().peer());
    let pids = window.pids().await;
    let darkened = lab.kill_site(lost).await.unwrap();
    assert_eq!(darkened.how, lab.how_dark());
    assert!(lab.kill_site(lost).await.is_err(), "it is dark already");
    assert!(!answers_200(lab.addresses().gateway(lost), "/ghostlight/serving").await);
    let view = window.view().await;
    let dark = view.sites.iter().find(|s| s.site == lost.site()).unwrap();
    assert!(!dark.up && dark.processes.iter().all(|p| p.pid.is_none()), "{dark:?}");
    assert!(pids.iter().filter(|p| is_running(**p)).count() <= pids.len() - dark.processes.len());

    eventually("the other site takes over", async || {
        let serves = answers_200(lab.addresses().gateway(survivor), "/ghostlight/serving").await;
        serves.then_some(())
    })
    .await;
    let after = window.access.register().await.unwrap();
    assert_eq!(after.primary, survivor.site());
    assert!(after.epoch > before.epoch);

    lab.restore_site(lost).await.unwrap();
    window.in_sync().await;
    let kept = lab.folder().join("agent").join(lost.name()).join("quarantine").join(after.epoch.to_string());
    assert!(kept.join("manifest.json").is_file(), "what nobody was told of is kept in {}", kept.display());
}

/// `ghostlight up` as a child process.
struct Up {
    child: Child,
    folder: PathBuf,
}

impl Up {
    fn command(programs: &Path, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs.join("ghostlight"));
        command.arg("up").arg("--folder").arg(folder).args(arguments);
        command
    }

    /// Starts it and waits for the table.
    fn start(programs: &Path, folder: &Path, port: u16) -> (Up, String) {
        let mut child = Up::command(programs, folder, &["--lab-number", "any", "--port", &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut table = String::new();
        // The table ends with the sentence that says how to end it; end of file means that `up` failed.
        while !table.contains("Ctrl-C ends it.") && lines.read_line(&mut table).unwrap() > 0 {}
        (Up { child, folder: folder.to_owned() }, table)
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|s| s.is_none()) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

fn refused(output: &Output, expected: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains(expected), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_is_refused_where_one_runs_and_leaves_nothing_behind_however_it_ends() {
    let (programs, folder) = (programs(), new_folder("up"));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (mut up, table) = Up::start(&programs, &folder.join("lab"), port);
    assert!(table.contains(&format!("http://localhost:{port}")), "{table}");
    assert!(
        answers_200(([127, 0, 0, 1], port).into(), "/healthz").await,
        "the front door leads to the service"
    );

    let second = Up::command(&programs, &up.folder, &[]).output().unwrap();
    refused(
        &second,
        &format!("a lab is already running in {}, as process {}", up.folder.display(), up.child.id()),
    );
    let taken =
        Up::command(&programs, &folder.join("other"), &["--lab-number", "any", "--port", &port.to_string()]);
    let taken = { taken }.output().unwrap();
    refused(&taken, &format!("in use by process {} (ghostlight)", up.child.id()));

    let status = Command::new(programs.join("ghostlight"))
        .arg("--config")
        .arg(up.folder.join("ghostlight.toml"))
        .arg("status")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&status.stdout);
    assert!(said.starts_with("primary nhn · epoch 1 · mode sync"), "{said}");
    assert!(status.status.success(), "{said}");

    let window = Window::to(&up.folder);
    let pids = window.pids().await;
    up.signal(rustix::process::Signal::INT);
    let ended = up.child.wait().unwrap();
    assert!(ended.success(), "{ended}");
    assert!(!pids.iter().any(|p| is_running(*p)), "something is left running after Ctrl-C");

    // Again in the same folder: what is there is continued. And now the lab is killed, not asked.
    let (mut up, table) = Up::start(&programs, &up.folder.clone(), port);
    assert!(table.contains("nhn is primary"), "{table}");
    let pids = Window::to(&up.folder).pids().await;
    up.child.kill().unwrap();
    up.child.wait().unwrap();
    all_gone(&pids).await;
    let mut rest = String::new();
    if let Some(mut stdout) = up.child.stdout.take() {
        stdout.read_to_string(&mut rest).unwrap();
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
