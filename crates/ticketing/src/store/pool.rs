//! Connections: a few, opened by one keeper, lent for one operation at a time.
//!
//! While the database refuses (a locked account, a dead server) the keeper knocks every [`KNOCK_MS`], with one
//! connection at a time, so that it is back within a tenth of a second of being able to and a standby's log is not
//! flooded by sixteen voices. An operation waits a moment for a connection ([`PATIENCE_MS`]) and then says
//! [`StoreError::NotNow`].
//!
//! Always true here: a connection that comes back to the pool has no transaction open and no answer unread.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use mysql_async::{Conn, Opts, OptsBuilder, prelude::Queryable};
use runtime::{process::Shutdown, secret::Secret};
use tokio::sync::{Semaphore, mpsc};

use super::{Fault, StoreError, classify, fresh::Fresh, migrate};
use crate::{catalogue::Catalogue, clock::Clock};

/// Connections of one instance.
const CONNECTIONS: u32 = 16;
/// How often the keeper knocks at a database that refuses.
const KNOCK_MS: u64 = 60;
/// How long an operation waits for a connection before it says "not now".
const PATIENCE_MS: u64 = 400;
/// A server that takes longer than this for one operation is taken for lost.
const SILENCE_MS: u64 = 5_000;
/// A greeting comes at once or not at all; then it is time to knock again.
const GREETING_MS: u64 = 1_000;
/// How long a catalogue that was read is used.
const CATALOGUE_MS: u64 = 3_000;
/// How long a ranking is used: it reads every booking.
const RANKING_MS: u64 = 10_000;
/// How often a deadlocked transaction is tried again.
const DEADLOCK_TRIES: u32 = 8;

/// The database, as the rest of the crate sees it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    idle: Mutex<Vec<Conn>>,
    ready: Semaphore,
    missing: mpsc::UnboundedSender<()>,
    open: AtomicBool,
    /// Whether any endpoint is told what happens; unknown counts as yes.
    telling: AtomicBool,
    clock: Clock,
    catalogue: Fresh<Catalogue>,
    ranking: Fresh<Vec<(u32, u64)>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("ready", &self.inner.ready.available_permits()).finish()
    }
}

/// An operation: what to do with a connection. It may be run again when its connection broke or deadlocked.
pub(super) type Operation<T> =
    dyn for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, mysql_async::Result<T>> + Send + Sync;

impl Store {
    /// Starts the keeper. Returns at once, whether or not the database is there.
    pub fn open(
        url: &str,
        password: Option<&Secret>,
        clock: Clock,
        shutdown: Shutdown,
    ) -> Result<Store, mysql_async::UrlError> {
        let opts = Opts::from_url(url)?;
        let database = opts.db_name().unwrap_or("ticketing").to_owned();
        let opts = OptsBuilder::from_opts(opts)
            .pass(password.map(|p| p.expose().to_owned()))
            // Chosen after connecting, because it may have to be made first.
            .db_name(None::<String>)
            .prefer_socket(false)
            .tcp_nodelay(true)
            .stmt_cache_size(64)
            .setup(vec![
                "SET NAMES utf8mb4".to_owned(),
                // READ COMMITTED locks rows, not the gaps between them: two visitors side by side never wait.
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
                "SET SESSION time_zone='+00:00', sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
                 innodb_lock_wait_timeout=3"
                    .to_owned(),
            ]);
        let (missing, wanted) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            idle: Mutex::new(Vec::new()),
            ready: Semaphore::new(0),
            missing,
            open: AtomicBool::new(false),
            telling: AtomicBool::new(true),
            clock: clock.clone(),
            catalogue: Fresh::new(CATALOGUE_MS),
            ranking: Fresh::new(RANKING_MS),
        });
        let store = Store { inner };
        for _ in 0..CONNECTIONS {
            store.inner.missed();
        }
        let keeper = Keeper { opts: opts.into(), database, clock, migrated: false };
        tokio::spawn(keeper.run(store.clone(), wanted, shutdown));
        Ok(store)
    }

    /// Whether the last word of the database was not a refusal.
    pub fn is_open(&self) -> bool {
        self.inner.open.load(Ordering::Relaxed)
    }

    /// Whether the database answers now.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.run(|conn| Box::pin(conn.query_drop("DO 1"))).await
    }

    /// Runs one operation on a connection of its own. It is finished even if the caller goes away.
    pub(super) async fn run<T, F>(&self, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, mysql_async::Result<T>> + Send + Sync + 'static,
    {
        let store = self.clone();
        match tokio::spawn(async move { store.drive(&operation).await }).await {
            Ok(result) => result,
            Err(e) => Err(StoreError::Broken(e.to_string())),
        }
    }

    async fn drive<T>(&self, operation: &Operation<T>) -> Result<T, StoreError> {
        let mut broken = 0;
        let mut deadlocks = 0;
        loop {
            let mut conn = self.inner.borrow().await?;
            let done = tokio::time::timeout(Duration::from_millis(SILENCE_MS), operation(&mut conn)).await;
            let error = match done {
                Ok(Ok(value)) => {
                    self.inner.give_back(conn);
                    return Ok(value);
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    self.inner.lose(conn);
                    return Err(StoreError::NotNow(format!("no answer within {SILENCE_MS} ms")));
                }
            };
            let fault = classify(&error);
            // The statement may have stood inside a transaction.
            if fault != Fault::Gone && conn.query_drop("ROLLBACK").await.is_ok() {
                self.inner.give_back(conn);
            } else {
                self.inner.lose(conn);
            }
            match fault {
                Fault::Again if deadlocks < DEADLOCK_TRIES => deadlocks += 1,
                // An idle connection may have died unnoticed. Once is enough: operations bear being repeated.
                Fault::Gone if broken < 2 => broken += 1,
                Fault::Again | Fault::Gone | Fault::Refused => {
                    return Err(StoreError::NotNow(error.to_string()));
                }
                Fault::Duplicate(key) => return Err(StoreError::Duplicate(key)),
                Fault::Condition => return Err(StoreError::Condition(error.to_string())),
                Fault::Broken => return Err(StoreError::Broken(error.to_string())),
            }
        }
    }

    /// Says whether there is any endpoint to be told what happens: without one, sales carry no event.
    pub fn tell(&self, any: bool) {
        self.inner.telling.store(any, Ordering::Relaxed);
    }

    pub(super) fn telling(&self) -> bool {
        self.inner.telling.load(Ordering::Relaxed)
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.inner.clock.now_ms()
    }

    pub(super) fn catalogue_cell(&self) -> &Fresh<Catalogue> {
        &self.inner.catalogue
    }

    pub(super) fn ranking_cell(&self) -> &Fresh<Vec<(u32, u64)>> {
        &self.inner.ranking
    }
}

impl Inner {
    async fn borrow(&self) -> Result<Conn, StoreError> {
        // A connection that is being opened is worth a moment; a database that refuses is worth one, too, because
        // it is most often the one that is just being handed the service.
        let patience = Duration::from_millis(PATIENCE_MS);
        loop {
            let not_now = || StoreError::NotNow("no connection".into());
            let permit = tokio::time::timeout(patience, self.ready.acquire()).await.map_err(|_| not_now())?;
            permit.map_err(|_| not_now())?.forget();
            if let Some(conn) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
                return Ok(conn);
            }
        }
    }

    fn give_back(&self, conn: Conn) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        self.ready.add_permits(1);
    }

    /// A connection broke: drop it and the idle ones, which most likely broke with it, and have others opened.
    /// So a visitor after an outage never meets one dead connection after another.
    fn lose(&self, conn: Conn) {
        drop(conn);
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        // A borrower that has a permit already and finds nothing waits for the next one, so the count stays right.
        self.ready.forget_permits(idle.len());
        for _ in 0..=idle.len() {
            self.missed();
        }
    }

    fn missed(&self) {
        if self.missing.send(()).is_err() {
            tracing::debug!("the keeper of connections has ended");
        }
    }
}

/// Opens what is missing. The only one who connects.
struct Keeper {
    opts: Opts,
    database: String,
    clock: Clock,
    migrated: bool,
}

impl Keeper {
    async fn run(mut self, store: Store, mut wanted: mpsc::UnboundedReceiver<()>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                one = wanted.recv() => if one.is_none() { return },
            }
            loop {
                match self.connect().await {
                    Ok(conn) => {
                        if !store.inner.open.swap(true, Ordering::Relaxed) {
                            tracing::info!("the database answers");
                        }
                        store.inner.give_back(conn);
                        break;
                    }
                    Err(e) => store.inner.closed(&e.to_string()),
                }
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    // Nothing tells us when the database will have us; so we knock.
                    () = tokio::time::sleep(Duration::from_millis(KNOCK_MS)) => {}
                }
            }
        }
    }

    async fn connect(&mut self) -> mysql_async::Result<Conn> {
        let greeting = Duration::from_millis(GREETING_MS);
        let mut conn =
            tokio::time::timeout(greeting, Conn::new(self.opts.clone())).await.map_err(silent)??;
        // Making a schema takes its time.
        let prepared = Duration::from_millis(4 * SILENCE_MS);
        tokio::time::timeout(prepared, self.prepare(&mut conn)).await.map_err(silent)??;
        Ok(conn)
    }

    async fn prepare(&mut self, conn: &mut Conn) -> mysql_async::Result<()> {
        let using = format!("USE `{}`", self.database);
        if let Err(e) = conn.query_drop(&using).await {
            let unknown = matches!(&e, mysql_async::Error::Server(e) if e.code == 1049);
            if !unknown {
                return Err(e);
            }
            let create = format!("CREATE DATABASE IF NOT EXISTS `{}` CHARACTER SET utf8mb4", self.database);
            conn.query_drop(create).await?;
            conn.query_drop(&using).await?;
        }
        if !self.migrated {
            Box::pin(migrate::run(conn, self.clock.now_ms())).await?;
            self.migrated = true;
        }
        Ok(())
    }
}

fn silent(_: tokio::time::error::Elapsed) -> mysql_async::Error {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

impl Inner {
    fn closed(&self, why: &str) {
        if self.open.swap(false, Ordering::Relaxed) {
            tracing::warn!("the database refuses: {why}; knocking every {KNOCK_MS} ms");
        } else {
            tracing::debug!("the database refuses: {why}");
        }
    }
}
