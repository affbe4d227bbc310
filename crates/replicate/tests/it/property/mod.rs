//! Random schemas and random transactions through two real servers, cut off and killed at random; afterwards both
//! databases hold the same, row for row, and at no time did the standby show what the primary never had.
//!
//! A run is told by its seed. What one writer writes follows from it exactly; when things are cut off follows the
//! clock. A run that fails names its seed and leaves the statements in a file.
//!
//! - `GHOSTLIGHT_PROPERTY_SEED=7`: only this seed;
//! - `GHOSTLIGHT_PROPERTY_RUNS=200`: so many random seeds;
//! - `GHOSTLIGHT_PROPERTY_ROUNDS=30`: rounds in a run (more: longer).

mod load;
mod schema;
mod values;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cloud::local::{mariadb::APPLICATION_USER, scratch::Scratch};
use mysql_async::prelude::Queryable;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use replicate::database::DatabaseConfig;
use runtime::{process::Shutdown, secret::Secret};
use tokio::{task::JoinHandle, time::sleep};

use self::{load::Writer, values::chance};
use crate::pair::{Follower, Pair, Shipping};

/// How long a standby may take to apply what a round wrote.
const PATIENCE: Duration = Duration::from_secs(60);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_written_arrives_through_every_interruption() {
    let rounds = number("GHOSTLIGHT_PROPERTY_ROUNDS").unwrap_or(6);
    let seeds: Vec<u64> = match (number("GHOSTLIGHT_PROPERTY_SEED"), number("GHOSTLIGHT_PROPERTY_RUNS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(runs)) => (0..runs).map(|_| u64::from(rand::random::<u32>())).collect(),
        (None, None) => vec![1, 2, u64::from(rand::random::<u32>())],
    };
    for seed in seeds {
        println!("seed {seed}, {rounds} rounds");
        run(seed, rounds).await;
    }
}

/// One run; names its seed if it fails.
async fn run(seed: u64, rounds: u64) {
    let mut run = Run::begin(seed).await;
    let ended = tokio::spawn(async move {
        let outcome = run.rounds(rounds).await;
        let journal = run.journal();
        (outcome, journal)
    });
    let (outcome, journal) = ended.await.unwrap_or_else(|e| (Err(format!("{e}")), Vec::new()));
    if let Err(why) = outcome {
        let path = std::env::temp_dir().join(format!("ghostlight-property-{seed}.sql"));
        std::fs::write(&path, journal.join("\n")).unwrap();
        panic!(
            "seed {seed} failed: {why}\nits statements are in {}; run it again with GHOSTLIGHT_PROPERTY_SEED={seed} cargo test -p replicate --test it property::",
            path.display()
        );
    }
}

struct Run {
    random: StdRng,
    pair: Pair,
    shipping: Option<Shipping>,
    follower: Option<Follower>,
    writers: Vec<Writer>,
}

impl Run {
    async fn begin(seed: u64) -> Run {
        let mut random = StdRng::seed_from_u64(seed);
        let pair = Pair::start().await;
        let mut conn = pair.a.conn().await;
        for sql in load::beginning() {
            conn.query_drop(&sql).await.unwrap();
        }
        let mut journal = Vec::new();
        for sql in load::tables(&mut random) {
            // Not every random table can be.
            if conn.query_drop(&sql).await.is_ok() {
                journal.push(sql + ";");
            }
        }
        let application = DatabaseConfig {
            user: APPLICATION_USER.into(),
            password: Secret::new(Scratch::APPLICATION_PASSWORD),
            ..pair.a.database.clone()
        };
        let mut writers: Vec<Writer> =
            (0..2).map(|n| Writer::new(seed * 2 + n, application.clone(), n == 0)).collect();
        writers[0].journal = journal;
        Run { random, pair, shipping: None, follower: None, writers }
    }

    fn journal(&self) -> Vec<String> {
        self.writers
            .iter()
            .flat_map(|w| w.journal.iter().cloned().chain(["-- the next writer".into()]))
            .collect()
    }

    async fn rounds(&mut self, rounds: u64) -> Result<(), String> {
        // What is there at first comes by the seed.
        self.writers[0].write(20).await;
        let shipping = self.pair.ship(&self.pair.a, 1).await;
        self.pair.seed(&shipping).await.map_err(|e| format!("the seed: {e}"))?;
        self.shipping = Some(shipping);
        self.resume();
        let stop = Shutdown::new();
        let looks = Arc::new(AtomicU64::new(0));
        let reader = read(self.pair.b.database.clone(), stop.clone(), looks.clone());
        for round in 0..rounds {
            let outcome = match round % 4 {
                0 => self.trickle().await,
                1 | 2 => self.backlog().await,
                _ => self.interrupted().await,
            };
            outcome.map_err(|e| format!("round {round}: {e}"))?;
            self.equal().await.map_err(|e| format!("after round {round}: {e}"))?;
        }
        stop.cancel();
        reader.await.map_err(|e| format!("the reader: {e}"))??;
        let told = |of: fn(&Writer) -> usize| self.writers.iter().map(of).sum::<usize>();
        println!(
            "{} statements taken, {} refused, {} looks at the standby",
            told(|w| w.taken),
            told(|w| w.refused),
            looks.load(Ordering::Relaxed)
        );
        if let Some(follower) = self.follower.take() {
            follower.stop().await;
        }
        Ok(())
    }

    fn resume(&mut self) {
        if let Some(shipping) = &self.shipping {
            self.follower = Some(self.pair.follow(shipping));
        }
    }

    /// Ends the follower between any two of its steps.
    async fn cut(&mut self) -> Result<(), String> {
        if let Some(follower) = self.follower.take() {
            follower.task.abort();
            if let Ok(Err(e)) = follower.task.await {
                return Err(format!("the follower stopped: {e}"));
            }
        }
        Ok(())
    }

    /// A few transactions after each other, while the follower follows.
    async fn trickle(&mut self) -> Result<(), String> {
        for _ in 0..5 {
            let count = self.random.random_range(1..12);
            self.writers[0].write(count).await;
            if chance(&mut self.random, 30) {
                self.cut().await?;
                self.resume();
            }
        }
        Ok(())
    }

    /// Much is written while nobody follows.
    async fn backlog(&mut self) -> Result<(), String> {
        self.cut().await?;
        let count = self.random.random_range(20..120);
        self.writers[0].write(count).await;
        self.resume();
        Ok(())
    }

    /// Two writers, and everything else is cut off or killed meanwhile.
    async fn interrupted(&mut self) -> Result<(), String> {
        let count = self.random.random_range(40..90);
        let mut writers = std::mem::take(&mut self.writers);
        let writing = tokio::spawn(async move {
            let [one, other] = writers.as_mut_slice() else { return writers };
            tokio::join!(one.write(count), other.write(count));
            writers
        });
        let mut outcome = Ok(());
        let mut kills = 0;
        while !writing.is_finished() && outcome.is_ok() {
            sleep(Duration::from_millis(self.random.random_range(1..150))).await;
            outcome = match self.random.random_range(0..12) {
                0 if kills < 2 => {
                    kills += 1;
                    let half = if chance(&mut self.random, 60) { &mut self.pair.b } else { &mut self.pair.a };
                    half.server.kill().await.unwrap();
                    half.server.start().await.unwrap();
                    Ok(())
                }
                1..=3 => {
                    // The shipper goes, and another one listens elsewhere.
                    self.shipping = None;
                    let shipping = self.pair.ship(&self.pair.a, 1).await;
                    self.shipping = Some(shipping);
                    let outcome = self.cut().await;
                    self.resume();
                    outcome
                }
                _ => {
                    let outcome = self.cut().await;
                    self.resume();
                    outcome
                }
            };
        }
        self.writers = writing.await.map_err(|e| format!("a writer: {e}"))?;
        outcome
    }

    /// Waits until everything is applied, and compares.
    async fn equal(&mut self) -> Result<(), String> {
        let (Some(shipping), Some(follower)) = (&self.shipping, &mut self.follower) else {
            return Err("nobody follows".into());
        };
        let goal = self.pair.a.end_of_log().await;
        let mut watermarks = shipping.watermarks.clone();
        let reached = watermarks.wait_for(|w| w.as_ref().is_some_and(|w| w.position.has_reached(&goal)));
        tokio::select! {
            reached = tokio::time::timeout(PATIENCE, reached) => match reached {
                Ok(Ok(_)) => {}
                Ok(Err(e)) => return Err(format!("the shipper is gone: {e}")),
                Err(_) => return Err(format!("{goal} is not applied within {PATIENCE:?}: {:?}", follower.progress.borrow())),
            },
            ended = &mut follower.task => {
                let why = format!("the follower stopped: {ended:?}");
                self.follower = None;
                return Err(why);
            }
        }
        let (a, b) = tokio::join!(self.pair.a.content(), self.pair.b.content());
        differences(&a, &b)
    }
}

fn differences(a: &[String], b: &[String]) -> Result<(), String> {
    if a == b {
        return Ok(());
    }
    let only = |these: &[String], those: &[String]| -> String {
        let those: std::collections::HashSet<&String> = those.iter().collect();
        let found: Vec<&String> = these.iter().filter(|x| !those.contains(x)).collect();
        let shown: Vec<String> = found.iter().take(5).map(|x| x.chars().take(600).collect()).collect();
        format!("{} lines, the first: {}", found.len(), shown.join("\n    "))
    };
    Err(format!(
        "the databases differ.\n  only at the primary: {}\n  only at the standby: {}",
        only(a, b),
        only(b, a)
    ))
}

const LOOK: &str = "SELECT (SELECT n FROM ticketing.tick), (SELECT COUNT(*) FROM ticketing.ticks), (SELECT IFNULL(MAX(n), 0) FROM ticketing.ticks)";

/// Looks at the standby all the time: what it shows, the primary had at a commit.
fn read(database: DatabaseConfig, stop: Shutdown, looks: Arc<AtomicU64>) -> JoinHandle<Result<(), String>> {
    tokio::spawn(async move {
        let (mut conn, mut last) = (None, 0);
        while !stop.is_cancelled() {
            sleep(Duration::from_millis(2)).await;
            let Some(open) = conn.as_mut() else {
                conn = database.open().await.ok();
                continue;
            };
            // One statement sees one state.
            let seen: Result<Option<(i64, i64, i64)>, _> = open.query_first(LOOK).await;
            match seen {
                Ok(Some((n, count, newest))) => {
                    looks.fetch_add(1, Ordering::Relaxed);
                    if n != count || n != newest {
                        return Err(format!(
                            "the standby showed half a transaction: tick {n}, {count} ticks, the newest {newest}"
                        ));
                    }
                    if n < last {
                        return Err(format!("the standby went back from tick {last} to {n}"));
                    }
                    last = n;
                }
                Ok(None) => {}
                Err(_) => conn = None, // it was killed
            }
        }
        Ok(())
    })
}
