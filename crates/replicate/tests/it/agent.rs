//! Whole agents against real servers and a register in memory.

use std::{net::SocketAddr, path::PathBuf, sync::LazyLock, time::Duration};

use cloud::local::{
    lab_number::{self, LabNumber},
    mariadb::DRILL_USER,
    scratch::Scratch,
};
use model::{
    BarrierOutcome, BarrierReply, BarrierRequest, Epoch, Mode, Register, Serving, Site, StreamId,
    agent::{
        AgentStatus, Fence, FenceReply, FenceRequest, ProbeReply, PromoteReply, PromoteRequest,
        ReinstatePhase, ReinstateReply, Role, SeedReply, StandbyPhase, VerifyRequest, VerifyRun,
    },
    topology::{Policy, Reinstate},
};
use mysql_async::prelude::Queryable;
use replicate::{
    agent::{AgentConfig, Listeners, run},
    database::DatabaseConfig,
    link::authority::Authority,
    quarantine::{Acknowledged, Done, Page, Shown, Summary},
};
use runtime::{
    admin::{Client, ClientError},
    metrics::Metrics,
    process::Shutdown,
    secret::Secret,
};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::support::{APPLICATION, MemoryRegister, application, aws, database, nhn, until};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Every pair trusts the same authority.
static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new().unwrap());

/// One site: its server and its agent.
pub(crate) struct SiteBed {
    pub(crate) server: Scratch,
    /// The agent's data folder.
    data: PathBuf,
    pub(crate) policy: Policy,
    link: SocketAddr,
    admin: SocketAddr,
    pub(crate) client: Client,
    agent: Option<(Shutdown, JoinHandle<()>)>,
}

/// Both sites of a lab of its own, and the register between them. Agents are started by the test.
pub(crate) struct Pair {
    pub(crate) nhn: SiteBed,
    pub(crate) aws: SiteBed,
    pub(crate) register: MemoryRegister,
    _number: LabNumber,
}

impl Pair {
    pub(crate) async fn new() -> Pair {
        let number = lab_number::claim().unwrap();
        let nhn_bed = SiteBed::new(&number, 10).await;
        let aws_bed = SiteBed::new(&number, 20).await;
        let register = MemoryRegister::new(Register::first(nhn(), 0));
        Pair { nhn: nhn_bed, aws: aws_bed, register, _number: number }
    }

    pub(crate) async fn start(&mut self, site: &Site) {
        let (here, peer) =
            if *site == nhn() { (&mut self.nhn, self.aws.link) } else { (&mut self.aws, self.nhn.link) };
        here.start(site.clone(), peer, &self.register).await;
    }
}

impl SiteBed {
    async fn new(number: &LabNumber, network: u8) -> SiteBed {
        let server = Scratch::start(number, network).await.unwrap();
        let at = |port| SocketAddr::from(([127, network, number.get(), 2], port));
        let client = Client::new(at(7100), Secret::new("admin"));
        let data = format!("ghostlight-agent-{}-{network}-{}", number.get(), std::process::id());
        let data = std::env::temp_dir().join(data);
        drop(std::fs::remove_dir_all(&data));
        let policy = Policy { heartbeat_ms: 50, solo_after_ms: 1_000, ..Policy::default() };
        SiteBed { server, data, policy, link: at(7101), admin: at(7100), client, agent: None }
    }

    async fn start(&mut self, site: Site, peer_link: SocketAddr, register: &MemoryRegister) {
        let listeners = Listeners {
            admin: TcpListener::bind(self.admin).await.unwrap(),
            link: TcpListener::bind(self.link).await.unwrap(),
        };
        let config = AgentConfig {
            identity: AUTHORITY.identity(&site).unwrap(),
            site,
            database: database(&self.server),
            application_user: APPLICATION.into(),
            peer_link,
            policy: self.policy.clone(),
            data: self.data.clone(),
        };
        let shutdown = Shutdown::new();
        let questions = register.questions();
        let stopped = shutdown.clone();
        let agent = tokio::spawn(async move {
            run(config, listeners, Secret::new("admin"), Metrics::default(), questions, stopped)
                .await
                .unwrap();
        });
        self.agent = Some((shutdown, agent));
    }

    pub(crate) async fn stop(&mut self) {
        if let Some((shutdown, agent)) = self.agent.take() {
            shutdown.cancel();
            agent.await.unwrap();
        }
    }

    pub(crate) async fn status(&self) -> AgentStatus {
        self.client.get("/v1/status", PATIENCE).await.unwrap()
    }

    pub(crate) async fn serving(&self) -> Serving {
        self.client.get("/v1/serving?wait_ms=30000", PATIENCE).await.unwrap()
    }

    pub(crate) async fn barrier(&self, epoch: u64) -> BarrierReply {
        let stream = self.serving().await.stream;
        self.barrier_in(epoch, stream).await
    }

    /// For a request that began in this stream.
    pub(crate) async fn barrier_in(&self, epoch: u64, stream: StreamId) -> BarrierReply {
        let request = BarrierRequest { epoch: Epoch(epoch), stream, wait_ms: 20_000 };
        self.client.post("/v1/barrier", &request, PATIENCE).await.unwrap()
    }

    pub(crate) async fn promote(&self, epoch: u64) -> PromoteReply {
        let request = PromoteRequest { epoch: Epoch(epoch) };
        self.client.post("/v1/promote", &request, PATIENCE).await.unwrap()
    }

    pub(crate) async fn becomes(&self, what: &str, is: impl Fn(&AgentStatus) -> bool) -> AgentStatus {
        let mut last = None;
        let found = tokio::time::timeout(Duration::from_secs(60), async {
            loop {
                if let Ok(status) = self.client.get::<AgentStatus>("/v1/status", PATIENCE).await {
                    if is(&status) {
                        return status;
                    }
                    last = Some(status);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        found.unwrap_or_else(|_| panic!("never became {what}; last: {last:#?}"))
    }

    pub(crate) async fn is_open_primary(&self, epoch: u64) -> AgentStatus {
        self.becomes("an open primary", |s| {
            s.role == Role::Primary
                && s.fence == Fence::Open
                && s.row.as_ref().is_some_and(|r| r.epoch == Epoch(epoch))
        })
        .await
    }
}

impl Drop for SiteBed {
    fn drop(&mut self) {
        if let Some((shutdown, _)) = &self.agent {
            shutdown.cancel();
        }
        drop(std::fs::remove_dir_all(&self.data));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_primary_opens_answers_in_solo_and_survives_its_database() {
    let mut pair = Pair::new().await;
    pair.start(&nhn()).await;
    let status = pair.nhn.is_open_primary(1).await;
    assert_eq!(status.row.unwrap().mode, Mode::Solo);
    let serving = pair.nhn.serving().await;
    assert_eq!((serving.epoch, serving.primary, serving.open), (Epoch(1), nhn(), true));
    let ticketing = application(&pair.nhn.server).await.unwrap();
    drop(ticketing);
    let outcome = pair.nhn.barrier(1).await.outcome;
    assert!(matches!(outcome, BarrierOutcome::Solo { .. }), "{outcome:?}");
    assert_eq!(pair.nhn.barrier(2).await.outcome, BarrierOutcome::EpochChanged);
    // For a caller who knows none of this: a note before it writes, and one word after.
    let ask = async |note: &serde_json::Value| -> serde_json::Value {
        pair.nhn.client.post("/v1/barrier", note, PATIENCE).await.unwrap()
    };
    let mut note: serde_json::Value = pair.nhn.client.get("/v1/barrier", PATIENCE).await.unwrap();
    assert_eq!(ask(&note).await["safe"], true);
    note["epoch"] = 2.into();
    assert_eq!(ask(&note).await["safe"], false);
    let probe: ProbeReply = pair.nhn.client.post("/v1/probe", &(), PATIENCE).await.unwrap();
    assert_eq!(probe.epoch, Epoch(1));

    // The register falls silent: the lease ends, and with it the answers.
    pair.register.answers(false);
    until("the lease ends", async || {
        (pair.nhn.barrier(1).await.outcome == BarrierOutcome::LeaseExpired).then_some(())
    })
    .await;
    assert_eq!(pair.nhn.status().await.role, Role::Primary, "a silent register is no reason to stop");
    pair.register.answers(true);

    pair.nhn.server.kill().await.unwrap();
    until("a probe fails", async || {
        pair.nhn.client.post::<ProbeReply>("/v1/probe", &(), PATIENCE).await.err()
    })
    .await;
    pair.nhn.server.start().await.unwrap();
    until("it answers again", async || pair.nhn.barrier(1).await.outcome.releases().then_some(())).await;
    pair.nhn.is_open_primary(1).await;

    // The agent itself restarts and finds what it left.
    pair.nhn.stop().await;
    pair.start(&nhn()).await;
    pair.nhn.is_open_primary(1).await;
    assert_eq!(pair.register.now().version, 2, "announced once, and not touched since");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_wakes_when_the_epoch_ends_and_the_old_primary_closes_itself() {
    let mut pair = Pair::new().await;
    pair.start(&nhn()).await;
    pair.nhn.is_open_primary(1).await;
    let client = pair.nhn.client.clone();
    let poll = tokio::spawn(async move {
        let path = "/v1/serving?epoch=1&primary=nhn&mode=solo&open=true&wait_ms=60000";
        client.get::<Serving>(path, Duration::from_secs(60)).await
    });
    pair.register.change(|r| {
        r.epoch = Epoch(2);
        r.primary = aws();
    });
    let serving = poll.await.unwrap().unwrap();
    assert!(!serving.open, "{serving:?}");
    let status = pair
        .nhn
        .becomes("one that waits for the new primary", |s| {
            matches!(s.role, Role::Reinstating { phase: ReinstatePhase::Asking, waits_for: Some(_), .. })
        })
        .await;
    assert_eq!((status.fence, status.row.unwrap().epoch), (Fence::Closed, Epoch(2)));
    assert!(application(&pair.nhn.server).await.is_err());
    let probe = pair.nhn.client.post::<ProbeReply>("/v1/probe", &(), PATIENCE).await;
    assert!(matches!(probe, Err(ClientError::Status(_, status, _)) if status == 503), "{probe:?}");
    assert_eq!(pair.nhn.barrier(1).await.outcome, BarrierOutcome::EpochChanged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_in_sync_whose_log_begins_anew_stops_and_lets_nothing_out() {
    let mut pair = Pair::new().await;
    pair.start(&nhn()).await;
    pair.nhn.is_open_primary(1).await;
    let mut conn = database(&pair.nhn.server).open().await.unwrap();
    conn.query_drop("UPDATE ghostlight.site SET mode = 'sync', token = token + 1").await.unwrap();
    until("a heartbeat remembers the log", async || {
        let file: Option<u64> = conn.query_first("SELECT file FROM ghostlight.heartbeat").await.unwrap();
        file.filter(|file| *file > 0)
    })
    .await;
    conn.query_drop("RESET MASTER").await.unwrap();
    let status = pair.nhn.becomes("stopped", |s| matches!(s.role, Role::Stopped { .. })).await;
    assert_eq!(status.row.unwrap().mode, Mode::Sync, "and it does not leave sync by itself");
    assert!(!pair.nhn.serving().await.open);
    let probe = pair.nhn.client.post::<ProbeReply>("/v1/probe", &(), PATIENCE).await;
    assert!(probe.is_err(), "{probe:?}");

    // A restart does not make it forget.
    pair.nhn.stop().await;
    pair.start(&nhn()).await;
    pair.nhn.becomes("stopped", |s| matches!(s.role, Role::Stopped { .. })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_in_solo_whose_log_begins_anew_goes_on_under_a_new_name() {
    let mut pair = Pair::new().await;
    pair.start(&nhn()).await;
    let before = pair.nhn.is_open_primary(1).await.stream;
    let mut conn = database(&pair.nhn.server).open().await.unwrap();
    until("a heartbeat remembers the log", async || {
        let file: Option<u64> = conn.query_first("SELECT file FROM ghostlight.heartbeat").await.unwrap();
        file.filter(|file| *file > 0)
    })
    .await;
    conn.query_drop("RESET MASTER").await.unwrap();
    pair.nhn.becomes("a new stream", |s| s.role == Role::Primary && s.stream != before).await;
    until("it answers", async || pair.nhn.barrier(1).await.outcome.releases().then_some(())).await;
    let _: ProbeReply =
        until("it commits", async || pair.nhn.client.post("/v1/probe", &(), PATIENCE).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sites_from_the_first_start_over_a_failover_to_the_old_primarys_return() {
    let mut pair = Pair::new().await;
    pair.nhn.policy =
        Policy { reinstate: Reinstate::Manual, solo_after_ms: 60_000, ..pair.nhn.policy.clone() };
    // The standby is there first: it waits for the first primary.
    pair.start(&aws()).await;
    pair.aws.becomes("waiting", |s| matches!(&s.role, Role::Starting { why } if why.contains("nhn"))).await;
    pair.aws.stop().await;
    pair.start(&nhn()).await;
    pair.nhn.is_open_primary(1).await;
    let mut ticketing = application(&pair.nhn.server).await.unwrap();
    ticketing.query_drop("CREATE DATABASE ticketing").await.unwrap();
    ticketing.query_drop("CREATE TABLE ticketing.seat (id INT PRIMARY KEY, who VARCHAR(20))").await.unwrap();
    ticketing.query_drop("INSERT INTO ticketing.seat VALUES (1, 'before the copy')").await.unwrap();

    // The standby announces its life in the register, copies, follows; then the mode moves.
    pair.start(&aws()).await;
    pair.aws.becomes("attached", |s| s.role == Role::Standby { phase: StandbyPhase::Attached }).await;
    until("the register says sync", async || (pair.register.now().mode == Mode::Sync).then_some(())).await;
    assert_eq!(pair.register.now().standby_incarnation.0, 1);
    let status = pair.aws.status().await;
    assert_eq!((status.fence, status.incarnation.unwrap().0), (Fence::Closed, 1));
    ticketing.query_drop("INSERT INTO ticketing.seat VALUES (2, 'after the copy')").await.unwrap();
    let reply = pair.nhn.barrier(1).await;
    assert_eq!((reply.outcome, reply.mode), (BarrierOutcome::Replicated, Some(Mode::Sync)));
    until("both know the lag", async || {
        pair.nhn.status().await.lag_ms.and(pair.aws.status().await.heartbeat_age_ms)
    })
    .await;

    // The standby's agent is gone for a moment, and what is written now reaches nobody. Then the primary's server
    // dies; the leader's compare-and-set and its request to promote.
    pair.aws.stop().await;
    ticketing.query_drop("INSERT INTO ticketing.seat VALUES (3, 'never acknowledged')").await.unwrap();
    ticketing.query_drop("DELETE FROM ticketing.seat WHERE id = 1").await.unwrap();
    pair.nhn.server.kill().await.unwrap();
    assert_eq!(pair.register.now().mode, Mode::Sync);
    pair.start(&aws()).await;
    pair.aws.becomes("up", |s| matches!(s.role, Role::Standby { .. })).await;
    let early = pair.aws.promote(2).await;
    assert!(matches!(early, PromoteReply::NotNow { .. }), "{early:?}");
    pair.register.change(|r| {
        r.epoch = Epoch(2);
        r.primary = aws();
        r.mode = Mode::Solo;
    });
    let client = pair.aws.client.clone();
    let poll = tokio::spawn(async move {
        let path = "/v1/serving?epoch=1&primary=nhn&mode=solo&open=false&wait_ms=60000";
        client.get::<Serving>(path, Duration::from_secs(60)).await
    });
    let reply = pair.aws.promote(2).await;
    assert!(matches!(reply, PromoteReply::Promoted { .. }), "{reply:?}");
    let serving = poll.await.unwrap().unwrap();
    assert_eq!((serving.epoch, serving.primary, serving.open), (Epoch(2), aws(), true));
    assert_eq!(pair.aws.promote(2).await, PromoteReply::AlreadyPromoted);
    let mut ticketing = application(&pair.aws.server).await.unwrap();
    let seats: Vec<(i32, String)> =
        ticketing.query("SELECT id, who FROM ticketing.seat ORDER BY id").await.unwrap();
    assert_eq!(seats, [(1, "before the copy".into()), (2, "after the copy".into())]);
    ticketing.query_drop("INSERT INTO ticketing.seat VALUES (3, 'in epoch 2')").await.unwrap();
    assert!(matches!(pair.aws.barrier(2).await.outcome, BarrierOutcome::Solo { .. }));

    // The old primary comes back with what it committed last and nobody was told of: it closes itself and, by this
    // policy, waits for an order.
    pair.nhn.server.start().await.unwrap();
    let waits =
        |s: &AgentStatus| matches!(s.role, Role::Reinstating { phase: ReinstatePhase::AwaitingOrder, .. });
    let status = pair.nhn.becomes("one that waits for an order", waits).await;
    assert_eq!(status.fence, Fence::Closed);
    let request = FenceRequest { epoch: Epoch(2), primary: aws() };
    let fenced: FenceReply = pair.nhn.client.post("/v1/fence", &request, PATIENCE).await.unwrap();
    assert_eq!((fenced.row_raised, fenced.account_locked, fenced.sessions_left), (true, true, 0));
    assert!(application(&pair.nhn.server).await.is_err());
    let listed: Vec<Summary> = pair.nhn.client.get("/v1/quarantine", PATIENCE).await.unwrap();
    assert_eq!(listed, []);
    assert_eq!(pair.register.now().standby_incarnation.0, 1, "nothing is announced before the order");

    let reply: ReinstateReply = pair.nhn.client.post("/v1/reinstate", &(), PATIENCE).await.unwrap();
    assert_eq!(reply, ReinstateReply::Ordered);
    pair.nhn.becomes("a standby", |s| s.role == Role::Standby { phase: StandbyPhase::Attached }).await;
    until("the register says sync again", async || (pair.register.now().mode == Mode::Sync).then_some(()))
        .await;
    assert_eq!(pair.register.now().standby_incarnation.0, 2, "the register knew before the first row");
    let (mut a, mut b) =
        (database(&pair.nhn.server).open().await.unwrap(), database(&pair.aws.server).open().await.unwrap());
    let all = "SELECT id, who FROM ticketing.seat ORDER BY id";
    let a: Vec<(i32, String)> = a.query(all).await.unwrap();
    let b: Vec<(i32, String)> = b.query(all).await.unwrap();
    assert_eq!(a, b);
    assert_eq!(a.len(), 3);

    // The tail is kept, and the API tells it.
    let listed: Vec<Summary> = pair.nhn.client.get("/v1/quarantine", PATIENCE).await.unwrap();
    assert_eq!((listed.len(), listed[0].counts.transactions, listed[0].counts.lines), (1, 2, 2));
    let shown: Shown = pair.nhn.client.get("/v1/quarantine/2", PATIENCE).await.unwrap();
    assert_eq!(shown.manifest.proof.acknowledged, Acknowledged::None, "{}", shown.manifest.proof.because);
    assert_eq!(shown.outcome.unwrap().done, Done::Undone);
    let first: Page = pair.nhn.client.get("/v1/quarantine/2/rows?limit=1", PATIENCE).await.unwrap();
    assert_eq!(first.rows[0].after.as_ref().unwrap()["who"], "never acknowledged");
    let path = format!("/v1/quarantine/2/rows?cursor={}", first.next.unwrap());
    let second: Page = pair.nhn.client.get(&path, PATIENCE).await.unwrap();
    assert_eq!((second.rows.len(), second.next), (1, None));
    let none = pair.nhn.client.get::<Shown>("/v1/quarantine/3", PATIENCE).await;
    assert!(matches!(none, Err(ClientError::Status(_, status, _)) if status == 404), "{none:?}");
    let reply: ReinstateReply = pair.nhn.client.post("/v1/reinstate", &(), PATIENCE).await.unwrap();
    assert!(matches!(reply, ReinstateReply::NotNeeded { .. }), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_whose_place_in_the_log_is_gone_is_filled_in_place_in_a_new_life() {
    let mut pair = Pair::new().await;
    pair.start(&nhn()).await;
    pair.nhn.is_open_primary(1).await;
    let mut ticketing = application(&pair.nhn.server).await.unwrap();
    ticketing.query_drop("CREATE DATABASE ticketing").await.unwrap();
    ticketing.query_drop("CREATE TABLE ticketing.seat (id INT PRIMARY KEY, who VARCHAR(20))").await.unwrap();
    ticketing.query_drop("INSERT INTO ticketing.seat VALUES (1, 'old'), (2, 'goes')").await.unwrap();
    pair.start(&aws()).await;
    until("the register says sync", async || (pair.register.now().mode == Mode::Sync).then_some(())).await;
    assert_eq!(pair.register.now().standby_incarnation.0, 1);

    // While it is away the log moves on and its beginning is deleted.
    pair.aws.stop().await;
    ticketing.query_drop("DELETE FROM ticketing.seat WHERE id = 2").await.unwrap();
    ticketing.query_drop("INSERT INTO ticketing.seat VALUES (3, 'unseen')").await.unwrap();
    let operator = DatabaseConfig { user: DRILL_USER.into(), ..database(&pair.nhn.server) };
    let mut conn = operator.open().await.unwrap();
    conn.query_drop("FLUSH BINARY LOGS").await.unwrap();
    // The server keeps a file for a reader whose connection is gone until it has noticed that, at its next write.
    until("the log's beginning is gone", async || {
        let newest: (String, u64) = conn.query("SHOW BINARY LOGS").await.unwrap().pop().unwrap();
        conn.query_drop(format!("PURGE BINARY LOGS TO '{}'", newest.0)).await.unwrap();
        let left: Vec<(String, u64)> = conn.query("SHOW BINARY LOGS").await.unwrap();
        (left.len() == 1).then_some(())
    })
    .await;

    pair.start(&aws()).await;
    until("a new life begins", async || (pair.register.now().standby_incarnation.0 == 2).then_some(())).await;
    assert_eq!(pair.register.now().mode, Mode::Solo, "the old life counts no more before the copy begins");
    until("sync again", async || (pair.register.now().mode == Mode::Sync).then_some(())).await;
    let status =
        pair.aws.becomes("attached", |s| s.role == Role::Standby { phase: StandbyPhase::Attached }).await;
    assert_eq!((status.fence, status.incarnation.unwrap().0), (Fence::Closed, 2));
    let mut standby = database(&pair.aws.server).open().await.unwrap();
    let seats: Vec<(i32, String)> =
        standby.query("SELECT id, who FROM ticketing.seat ORDER BY id").await.unwrap();
    assert_eq!(seats, [(1, "old".into()), (3, "unseen".into())]);

    // The background compares, and what somebody writes here is an alarm and not overwritten.
    for sql in [
        // With the mark of what is applied: the canary looks for writes without it.
        "BEGIN",
        "UPDATE ghostlight.applied SET pending = 'part'",
        "UPDATE ticketing.seat SET who = 'changed' WHERE id = 3",
        "UPDATE ghostlight.applied SET pending = NULL",
        "COMMIT",
    ] {
        standby.query_drop(sql).await.unwrap();
    }
    let status =
        pair.aws.becomes("alarmed", |s| s.coverage.as_ref().is_some_and(|c| c.differences == 1)).await;
    assert!(status.coverage.unwrap().first_difference.unwrap().contains("id=3"));
    let client = pair.aws.client.clone();
    let request = VerifyRequest { repair: true, ..VerifyRequest::default() };
    let begun: VerifyRun = client.post("/v1/verify", &request, PATIENCE).await.unwrap();
    let run = until("it is repaired", async || {
        client.get::<VerifyRun>("/v1/verify", PATIENCE).await.ok().filter(|run| run.done)
    })
    .await;
    assert_eq!((run.number, run.differences, run.repaired), (begun.number, 1, 1), "{run:?}");
    assert!(
        pair.nhn.client.post::<VerifyRun>("/v1/verify", &request, PATIENCE).await.is_err(),
        "no primary's"
    );

    // By hand, too.
    let reply: SeedReply = client.post("/v1/seed", &(), PATIENCE).await.unwrap();
    assert_eq!(reply, SeedReply::Begun);
    until("another life", async || (pair.register.now().standby_incarnation.0 == 3).then_some(())).await;
    until("sync again", async || (pair.register.now().mode == Mode::Sync).then_some(())).await;
    let reply: SeedReply = pair.nhn.client.post("/v1/seed", &(), PATIENCE).await.unwrap();
    assert!(matches!(reply, SeedReply::Refused { .. }), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_primary_whose_tail_cannot_be_undone_is_repaired_in_place_and_its_tail_is_kept() {
    let mut pair = Pair::new().await;
    pair.nhn.policy = Policy { solo_after_ms: 60_000, ..pair.nhn.policy.clone() };
    pair.start(&nhn()).await;
    pair.nhn.is_open_primary(1).await;
    let mut ticketing = application(&pair.nhn.server).await.unwrap();
    ticketing.query_drop("CREATE DATABASE ticketing").await.unwrap();
    ticketing.query_drop("CREATE TABLE ticketing.seat (id INT PRIMARY KEY, who VARCHAR(20))").await.unwrap();
    ticketing.query_drop("INSERT INTO ticketing.seat VALUES (1, 'both'), (2, 'both')").await.unwrap();
    pair.start(&aws()).await;
    until("the register says sync", async || (pair.register.now().mode == Mode::Sync).then_some(())).await;

    // Alone for a moment, the primary changes a definition; then it dies, and the standby takes over.
    pair.aws.stop().await;
    ticketing.query_drop("ALTER TABLE ticketing.seat ADD COLUMN note INT").await.unwrap();
    ticketing.query_drop("UPDATE ticketing.seat SET note = 7 WHERE id = 1").await.unwrap();
    ticketing.query_drop("INSERT INTO ticketing.seat VALUES (3, 'nobody', 1)").await.unwrap();
    pair.nhn.server.kill().await.unwrap();
    pair.start(&aws()).await;
    pair.aws.becomes("up", |s| matches!(s.role, Role::Standby { .. })).await;
    pair.register.change(|r| {
        r.epoch = Epoch(2);
        r.primary = aws();
        r.mode = Mode::Solo;
    });
    assert!(matches!(pair.aws.promote(2).await, PromoteReply::Promoted { .. }));
    let mut ticketing = application(&pair.aws.server).await.unwrap();
    ticketing.query_drop("INSERT INTO ticketing.seat VALUES (3, 'of epoch 2')").await.unwrap();

    pair.nhn.server.start().await.unwrap();
    until("sync again", async || (pair.register.now().mode == Mode::Sync).then_some(())).await;
    let shown: Shown = pair.nhn.client.get("/v1/quarantine/2", PATIENCE).await.unwrap();
    assert_eq!((shown.manifest.counts.lines, shown.manifest.counts.definitions), (3, 1));
    assert_eq!(shown.outcome.unwrap().done, Done::Resynchronised);
    assert_eq!(pair.register.now().standby_incarnation.0, 3, "once to take it back, once to fill it anew");
    let mut standby = database(&pair.nhn.server).open().await.unwrap();
    let seats: Vec<(i32, String)> = standby.query("SELECT * FROM ticketing.seat ORDER BY id").await.unwrap();
    assert_eq!(seats, [(1, "both".into()), (2, "both".into()), (3, "of epoch 2".into())]);
}
