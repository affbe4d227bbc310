//! Two real servers, one of them shipping to the other, and what is needed to look at both.

use std::{sync::Arc, time::Duration};

use cloud::local::{
    lab_number::{self, LabNumber},
    mariadb::{AGENT_USER, MariadbError, Options},
    scratch::Scratch,
};
use model::{Epoch, Incarnation, Position, Site, StreamId, Watermark, topology::WithoutPrimaryKey};
use mysql_async::{Conn, prelude::Queryable};
use replicate::{
    apply::{self, FollowProgress, StandbyConfig, StandbyError},
    binlog, copy,
    database::DatabaseConfig,
    link,
    metrics::ReplicateMetrics,
    schema::{self, Birth},
    ship::{self, Authority, ShipConfig},
};
use runtime::{process::Shutdown, secret::Secret};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, SemaphorePermit, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};

/// Each pair is two servers; the machine is shared.
static PAIRS_AT_A_TIME: Semaphore = Semaphore::const_new(2);

/// How long anything may take before the test says what it waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Triggers may be made, so that a test can make what no stream carries.
fn options() -> Options {
    let trust = "SET GLOBAL log_bin_trust_function_creators=ON";
    Options { at_start: vec![trust.into()], ..Options::default() }
}

/// One site's database.
pub(crate) struct Half {
    pub(crate) server: Scratch,
    pub(crate) database: DatabaseConfig,
    pub(crate) site: Site,
    pub(crate) stream: StreamId,
}

impl Half {
    async fn start(lab: &LabNumber, network: u8, name: &str, options: Options) -> Half {
        let server = match Scratch::start_with(lab, network, options.clone()).await {
            Ok(server) => server,
            // The server of the test before us, of the same number, is not quite gone.
            Err(MariadbError::Listen(_)) => {
                sleep(Duration::from_secs(1)).await;
                Scratch::start_with(lab, network, options).await.unwrap()
            }
            Err(e) => panic!("{e}"),
        };
        let database = DatabaseConfig {
            address: server.address(),
            user: AGENT_USER.into(),
            password: Secret::new(Scratch::AGENT_PASSWORD),
        };
        Half { server, database, site: Site::new(name), stream: StreamId(String::new()) }
    }

    pub(crate) async fn conn(&self) -> Conn {
        self.database.open().await.unwrap()
    }

    /// Runs statements on one connection.
    pub(crate) async fn run(&self, statements: &[&str]) {
        let mut conn = self.conn().await;
        for sql in statements {
            conn.query_drop(*sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
    }

    /// Makes the schema `ghostlight` with the row at `epoch`.
    pub(crate) async fn born(&mut self, epoch: u64, primary: &Site, seeding: bool) {
        let mut conn = self.conn().await;
        let birth =
            Birth { epoch: Epoch(epoch), primary: primary.clone(), incarnation: Incarnation(1), seeding };
        schema::create(&mut conn, &birth).await.unwrap();
        let stream: Option<String> = conn.query_first("SELECT stream FROM ghostlight.site").await.unwrap();
        self.stream = StreamId(stream.unwrap());
    }

    /// Raises the row to `epoch`.
    pub(crate) async fn raise(&self, epoch: u64, primary: &Site) {
        self.run(&[&format!("UPDATE ghostlight.site SET epoch={epoch}, `primary`='{primary}'")]).await;
    }

    pub(crate) async fn end_of_log(&self) -> Position {
        binlog::end_of_log(&mut self.conn().await).await.unwrap().in_stream(&self.stream)
    }

    /// Every application table: its definition and its rows, in an order of its own, byte for byte.
    pub(crate) async fn content(&self) -> Vec<String> {
        let mut conn = self.conn().await;
        let tables: Vec<(String, String)> = conn
            .query("SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN ('ghostlight','mysql','information_schema','performance_schema','sys') ORDER BY 1,2")
            .await
            .unwrap();
        let mut all = Vec::new();
        for (schema, table) in tables {
            let table = table.replace('`', "``");
            let create: Option<mysql_async::Row> =
                conn.query_first(format!("SHOW CREATE TABLE `{schema}`.`{table}`")).await.unwrap();
            let definition: String = create.unwrap().get(1).unwrap();
            // The counter of AUTO_INCREMENT also counts what was rolled back.
            let definition: Vec<&str> = definition.split(" AUTO_INCREMENT=").collect();
            all.push(definition.iter().map(|d| d.trim_start_matches(|c: char| c.is_ascii_digit())).collect());
            let columns: Vec<String> = conn
                .query(format!("SELECT CONCAT('IFNULL(HEX(CAST(`', REPLACE(COLUMN_NAME,'`','``'), CASE DATA_TYPE WHEN 'float' THEN '` * 1e0' WHEN 'enum' THEN '` + 0' ELSE '`' END, ' AS BINARY)),\"-\")') FROM information_schema.COLUMNS WHERE TABLE_SCHEMA='{schema}' AND TABLE_NAME=REPLACE('{table}','``','`') ORDER BY ORDINAL_POSITION"))
                .await
                .unwrap();
            let rows: Vec<String> = conn
                .query(format!(
                    "SELECT CONCAT_WS(',',{}) AS r FROM `{schema}`.`{table}` ORDER BY r",
                    columns.join(",")
                ))
                .await
                .unwrap();
            all.extend(rows.into_iter().map(|row| format!("{schema}.{table}: {row}")));
        }
        all
    }

    pub(crate) async fn scalar<T: mysql_async::prelude::FromValue + Send + 'static>(&self, sql: &str) -> T {
        self.conn().await.query_first::<T, _>(sql).await.unwrap().unwrap_or_else(|| panic!("{sql}: no row"))
    }
}

/// A shipper of one half.
pub(crate) struct Shipping {
    pub(crate) authority: watch::Sender<Option<Authority>>,
    pub(crate) watermarks: watch::Receiver<Option<Watermark>>,
    pub(crate) address: std::net::SocketAddr,
    stop: Shutdown,
}

impl Drop for Shipping {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A follower of one half.
pub(crate) struct Follower {
    pub(crate) progress: watch::Receiver<FollowProgress>,
    pub(crate) stop: Shutdown,
    pub(crate) task: JoinHandle<Result<(), StandbyError>>,
}

impl Follower {
    /// Waits until it stops by itself, and says why.
    pub(crate) async fn stopped(self) -> StandbyError {
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("it stops by itself");
        ended.unwrap().expect_err("it stops with an error")
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Both halves: `a` is primary in epoch 1, `b` its empty standby.
pub(crate) struct Pair {
    pub(crate) a: Half,
    pub(crate) b: Half,
    pub(crate) without_key: WithoutPrimaryKey,
    /// What the followers count.
    pub(crate) metrics: Arc<ReplicateMetrics>,
    authority: link::authority::Authority,
    // After the servers: the number is given back, and the turn ended, when they are gone.
    _lab: LabNumber,
    _turn: SemaphorePermit<'static>,
}

impl Pair {
    pub(crate) async fn start() -> Pair {
        Pair::start_with(&[]).await
    }

    /// The same, with `then` run on both servers by an administrator.
    pub(crate) async fn start_with(then: &[&str]) -> Pair {
        let mut options = options();
        options.at_start.extend(then.iter().map(|sql| (*sql).to_owned()));
        runtime::log::start("test");
        let turn = PAIRS_AT_A_TIME.acquire().await.unwrap();
        let lab = lab_number::claim().unwrap();
        let (mut a, mut b) = tokio::join!(
            Half::start(&lab, 10, "nhn", options.clone()),
            Half::start(&lab, 20, "aws", options.clone())
        );
        let primary = a.site.clone();
        a.born(1, &primary, false).await;
        b.born(1, &primary, true).await;
        let authority = link::authority::Authority::new().unwrap();
        Pair {
            a,
            b,
            without_key: WithoutPrimaryKey::Refuse,
            metrics: Arc::default(),
            authority,
            _lab: lab,
            _turn: turn,
        }
    }

    /// Who the agent of a half is on the link.
    pub(crate) fn identity(&self, of: &Half) -> link::Identity {
        self.authority.identity(&of.site).unwrap()
    }

    /// `from` ships in `epoch`.
    pub(crate) async fn ship(&self, from: &Half, epoch: u64) -> Shipping {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let authority = Authority { epoch: Epoch(epoch), primary: true, stream: from.stream.clone() };
        let (authority, seen) = watch::channel(Some(authority));
        let (to, watermarks) = watch::channel(None);
        let config = ShipConfig {
            database: from.database.clone(),
            identity: self.authority.identity(&from.site).unwrap(),
            site: from.site.clone(),
            heard: watch::Sender::new(None),
        };
        let stop = Shutdown::new();
        tokio::spawn(ship::serve(listener, config, seen, to, stop.clone()));
        Shipping { authority, watermarks, address, stop }
    }

    pub(crate) fn config(&self, at: &Half, shipping: &Shipping, origin: &Site, epoch: u64) -> StandbyConfig {
        StandbyConfig {
            database: at.database.clone(),
            peer_link: shipping.address,
            identity: self.authority.identity(&at.site).unwrap(),
            site: at.site.clone(),
            origin: origin.clone(),
            epoch: Epoch(epoch),
            incarnation: Incarnation(1),
            tables_without_primary_key: self.without_key,
            verifier: replicate::copy::verify::Verifier::default(),
            spool: std::env::temp_dir().join(format!("ghostlight-spool-{}", at.database.address)),
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// Seeds `b` from `a`.
    pub(crate) async fn seed(&self, shipping: &Shipping) -> Result<Position, StandbyError> {
        let (progress, _) = watch::channel(FollowProgress::default());
        let config = self.config(&self.b, shipping, &self.a.site, 1);
        let slot = tokio::time::timeout(PATIENCE, copy::fill::run(config, progress, Shutdown::new())).await;
        Ok(slot.expect("the seed ends")?.expect("nobody stopped it").position)
    }

    /// `b` follows `a` in epoch 1.
    pub(crate) fn follow(&self, shipping: &Shipping) -> Follower {
        follow(self.config(&self.b, shipping, &self.a.site, 1))
    }

    /// Waits until `b` has everything that `a` holds now.
    pub(crate) async fn caught_up(&self, shipping: &Shipping) {
        let goal = self.a.end_of_log().await;
        reached(&mut shipping.watermarks.clone(), &goal).await;
    }

    /// Asserts that both halves hold the same, row for row.
    pub(crate) async fn check_equal(&self) {
        let (a, b) = (self.a.content().await, self.b.content().await);
        for (a, b) in a.iter().zip(&b) {
            assert_eq!(a, b, "primary (left) and standby (right) differ");
        }
        assert_eq!(a.len(), b.len(), "primary and standby hold different numbers of rows");
    }

    /// Seeded, following and caught up.
    pub(crate) async fn attached(&self) -> (Shipping, Follower) {
        let shipping = self.ship(&self.a, 1).await;
        self.seed(&shipping).await.unwrap();
        let follower = self.follow(&shipping);
        self.caught_up(&shipping).await;
        (shipping, follower)
    }
}

pub(crate) fn follow(config: StandbyConfig) -> Follower {
    let (to, progress) = watch::channel(FollowProgress::default());
    let stop = Shutdown::new();
    let following = apply::follow(config, to, stop.clone());
    let task =
        tokio::spawn(
            async move { following.await.inspect_err(|e| tracing::error!("the follower stopped: {e}")) },
        );
    Follower { progress, stop, task }
}

/// Waits for a watermark at or behind `goal`.
pub(crate) async fn reached(watermarks: &mut watch::Receiver<Option<Watermark>>, goal: &Position) {
    let there = |w: &Option<Watermark>| w.as_ref().is_some_and(|w| w.position.has_reached(goal));
    let found =
        tokio::time::timeout(PATIENCE, watermarks.wait_for(there)).await.map(|found| drop(found.unwrap()));
    match found {
        Ok(()) => {}
        Err(_) => panic!("no watermark at {goal} came; the last is {:?}", *watermarks.borrow()),
    }
}

/// Polls until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
