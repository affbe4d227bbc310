//! Failures made on purpose, measured and checked.
//!
//! A drill has visitors who keep a ledger, a fault, and a checker who trusts nobody. What all drills share stands
//! here: the waiting for `sync`, the steady load before the fault, the check behind it. [`table`] has the drills that are
//! one fault each, as a row; the others are modules.
//!
//! Always true here: a drill never mends what it finds. A round that could not be measured says so and counts as a
//! violation, because "we do not know" is not "nothing was lost".

pub mod access;
pub mod binlog_purged;
pub mod fault;
pub mod heard;
pub mod round;
pub mod site_loss;
pub mod stage;
pub mod story;
pub mod switchover;
pub mod table;
pub mod watch;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use access::Access;
use futures_util::future::BoxFuture;
use model::{Epoch, Site};
use mysql_async::prelude::Queryable;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use runtime::clock::Boot;

use crate::{
    checker::{self, Violation, decoded, durable, equal, facts, rules},
    ledger::Ledger,
    load::{Arriving, Crowd, CrowdConfig, route::Names},
    resolver::Resolver,
};

/// DNS caches among the visitors, each found at a random age.
const CACHES: u16 = 48;
/// Acknowledged bookings per second that must be reached in the second before a fault.
pub const ACKNOWLEDGED_PER_S_MIN: u64 = 200;
/// Of a smaller load, such a part must be.
const ACKNOWLEDGED_PART: (u64, u64) = (3, 4);
/// How long the load may take to get there.
const STEADY_DEADLINE: Duration = Duration::from_secs(20);
/// How long a difference between the two databases may last after the last write.
const EQUAL_DEADLINE: Duration = Duration::from_secs(15);

/// Why a drill ended early: the drill itself could not go on. What was measured before stands.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Aborted(String);

impl From<String> for Aborted {
    fn from(what: String) -> Aborted {
        Aborted(what)
    }
}

impl From<access::AccessError> for Aborted {
    fn from(e: access::AccessError) -> Aborted {
        Aborted(e.to_string())
    }
}

/// Acknowledged bookings per second that must be reached before a fault, under a load of `rate_per_s`.
pub fn wanted_per_s(rate_per_s: u32) -> u64 {
    let (part, of) = ACKNOWLEDGED_PART;
    ACKNOWLEDGED_PER_S_MIN.min(u64::from(rate_per_s) * part / of)
}

/// What the load fell short of, in words.
pub fn shortfall(got_per_s: u64, wanted_per_s: u64) -> Option<String> {
    (got_per_s < wanted_per_s)
        .then(|| format!("{got_per_s} acknowledged/s before the fault, {wanted_per_s} wanted"))
}

/// The public name through one resolver's cache.
#[derive(Debug)]
struct PublicName {
    resolver: Resolver,
    name: Arc<str>,
    port: u16,
}

impl Names for PublicName {
    fn look_up(&self) -> BoxFuture<'_, Result<std::net::SocketAddr, String>> {
        Box::pin(async {
            let ip = self.resolver.lookup(&self.name).await.map_err(|e| e.to_string())?;
            Ok((ip, self.port).into())
        })
    }
}

/// DNS caches of random age, as visitors have them.
pub fn caches(access: &Access, seed: u64) -> Vec<Arc<dyn Names>> {
    let mut rng = SmallRng::seed_from_u64(seed ^ 0xd45);
    let topology = &access.topology;
    let name: Arc<str> = topology.service.name.as_str().into();
    let port = access.gateways().first().map_or(80, |gateway| gateway.port());
    (0..CACHES)
        .map(|_| {
            let age_permille = rng.random_range(0..1_000);
            let resolver = Resolver::aged(topology.witness.nameserver.listen, age_permille);
            Arc::new(PublicName { resolver, name: name.clone(), port }) as Arc<dyn Names>
        })
        .collect()
}

/// What every drill has.
#[derive(Debug)]
pub struct Drill {
    /// The lab.
    pub access: Access,
    /// The visitors.
    pub crowd: Crowd,
    /// What they were told.
    pub ledger: Arc<Ledger>,
    known_lost: BTreeSet<String>,
    known_double: BTreeSet<(u32, String)>,
    known: BTreeSet<Violation>,
}

/// What a check of the surviving database added to what was known.
#[derive(Debug, Default)]
pub struct Checked {
    /// Acknowledged bookings that are lost, and were not known to be.
    pub lost: usize,
    /// Seats sold twice that were not known to be.
    pub double_sold: usize,
    /// Violations that were not known.
    pub violations: Vec<Violation>,
}

/// What an old primary's quarantine was found to be.
#[derive(Debug, Default)]
pub struct Kept {
    /// Transactions of the application behind the failover's place, as MariaDB's decoder tells.
    pub divergent_transactions: u64,
    /// Transactions in quarantine.
    pub quarantined_transactions: u64,
    /// What the quarantine says of their acknowledgement: `none` or `possibly`.
    pub acknowledged: Option<String>,
    /// Whether they were undone.
    pub undone: bool,
    /// Whether the site came back with another database than the one that was lost.
    pub rebuilt: bool,
    /// Where quarantine and log differ.
    pub violations: Vec<Violation>,
}

impl Kept {
    /// How the old primary is a standby again, in one word.
    pub fn came_back(&self) -> &'static str {
        match (self.rebuilt, self.undone) {
            (true, _) => "rebuilt",
            (false, true) => "reinstated",
            (false, false) => "resynchronised",
        }
    }
}

impl Drill {
    /// Gathers a crowd for the running lab behind `access`.
    pub async fn prepare(access: Access, seed: u64) -> Result<Drill, Aborted> {
        let ledger = Arc::new(Ledger::default());
        let config = CrowdConfig {
            host: access.topology.service.name.clone(),
            caches: caches(&access, seed),
            seed,
            run: format!("d{seed:x}-{:x}", Boot::now().as_ms()),
        };
        let crowd = Crowd::gather(config, ledger.clone()).await?;
        Ok(Drill {
            access,
            crowd,
            ledger,
            known_lost: BTreeSet::new(),
            known_double: BTreeSet::new(),
            known: BTreeSet::new(),
        })
    }

    /// Durability settings of both servers that are weaker than they must be.
    pub async fn weak_settings(&self) -> Result<Vec<Violation>, Aborted> {
        let mut weak = Vec::new();
        for site in self.access.topology.sites.keys() {
            let mut conn = self.access.database(site).await?;
            let found = durable::weak_settings(&mut conn, site.as_str()).await;
            weak.extend(found.map_err(|e| e.to_string())?);
        }
        Ok(weak)
    }

    /// Waits until the load is steady: at least `seconds`, and until one second brought `wanted_per_s` acknowledged
    /// bookings, at most [`STEADY_DEADLINE`].
    pub async fn steady(&self, arriving: &Arriving, seconds: u64, wanted_per_s: u64) {
        let started = Boot::now();
        loop {
            // A second of load is what is waited for.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let elapsed = started.elapsed();
            let enough = self.acknowledged_last_second() >= wanted_per_s;
            if elapsed >= Duration::from_secs(seconds) && enough {
                return;
            }
            if elapsed >= STEADY_DEADLINE {
                tracing::warn!(
                    "the load is not steady: {} acknowledged in the last second, {} visitors inside",
                    self.acknowledged_last_second(),
                    arriving.inside()
                );
                return;
            }
        }
    }

    /// Bookings acknowledged in the last second.
    pub fn acknowledged_last_second(&self) -> u64 {
        let now_ms = Boot::now().as_ms();
        self.ledger.acknowledged_between(now_ms.saturating_sub(1_000), now_ms)
    }

    /// Holds the database of `site` against all that visitors were told so far.
    pub async fn check(&mut self, site: &Site) -> Result<Checked, Aborted> {
        let mut conn = self.access.database(site).await?;
        let facts = facts::read(&mut conn, site.as_str()).await.map_err(|e| e.to_string())?;
        let entries = self.ledger.entries();
        // Tens of thousands of rows against as many entries: not on a thread that visitors run on.
        let judged = tokio::task::spawn_blocking(move || rules::judge(&facts, &entries)).await;
        let found = judged.map_err(|e| e.to_string())?;
        let lost = found.lost.difference(&self.known_lost).count();
        let double_sold = found.double_sold.difference(&self.known_double).count();
        self.known_lost.extend(found.lost);
        self.known_double.extend(found.double_sold);
        let violations = self.new_ones(found.violations);
        Ok(Checked { lost, double_sold, violations })
    }

    /// Holds the quarantine that `site` keeps of its lost epoch against its own log, as MariaDB's decoder tells it
    /// from the place in the new primary's failover record on.
    pub async fn check_quarantine(&self, site: &Site, primary: &Site, epoch: Epoch) -> Result<Kept, Aborted> {
        let words = |e: checker::Unread| e.to_string();
        let mut conn = self.access.database(primary).await?;
        let record: Option<(String, u64, u64)> = conn
            .exec_first("SELECT stream, file, `offset` FROM ghostlight.failover WHERE epoch = ?", (epoch.0,))
            .await
            .map_err(|e| format!("the failover record of {primary}: {e}"))?;
        let Some((stream, file, offset)) = record else {
            return Err(Aborted(format!("{primary} has no failover record of epoch {epoch}")));
        };
        let mut conn = self.access.database(site).await?;
        let mine: Option<String> = conn
            .query_first("SELECT stream FROM ghostlight.site")
            .await
            .map_err(|e| format!("the row of {site}: {e}"))?;
        let rebuilt = mine.as_ref() != Some(&stream);
        let mut kept = Kept { rebuilt, ..Kept::default() };
        if rebuilt {
            let what = format!(
                "{site} has another database than the one that was lost: its log is {mine:?}, not {stream}"
            );
            kept.violations.push(Violation::new("I12", what));
            return Ok(kept);
        }
        let columns = decoded::columns(&mut conn, site.as_str()).await.map_err(words)?;
        let (server, user, password) = self.access.server(site)?;
        let file = format!("binlog.{file:06}");
        let log = decoded::tail(server, (user, password), (&file, offset), &columns).await?;
        kept.divergent_transactions = log.transactions;

        let (shown, lines) = self.access.quarantine(site, &epoch.to_string()).await?;
        kept.quarantined_transactions = shown["manifest"]["counts"]["transactions"].as_u64().unwrap_or(0);
        kept.acknowledged = shown["manifest"]["proof"]["acknowledged"].as_str().map(str::to_owned);
        kept.undone = shown["outcome"]["done"].as_str() == Some("undone");
        let mut held = decoded::Changes::new();
        for line in &lines {
            let table = line["number"].as_u64().and_then(|number| {
                let tables = shown["manifest"]["tables"].as_array()?;
                tables.iter().find(|t| t["number"].as_u64() == Some(number))
            });
            let names = table.and_then(|t| t["columns"].as_array()).into_iter().flatten();
            let names: Vec<String> = names.filter_map(|c| c["name"].as_str().map(str::to_owned)).collect();
            *held.entry(decoded::quarantined(line, &names, &columns)?).or_default() += 1;
        }
        kept.violations.extend(decoded::differences(&log.changes, &held));
        if kept.divergent_transactions != kept.quarantined_transactions {
            let (log, kept_) = (kept.divergent_transactions, kept.quarantined_transactions);
            let what = format!(
                "{site} committed {log} transactions that {primary} never had, {kept_} are in quarantine"
            );
            kept.violations.push(Violation::new("I12", what));
        }
        // A log that cannot be read to its end is not undone from: the data are compared and repaired in place.
        if !kept.undone && !log.torn {
            let what = format!("{site} was not reinstated: its quarantine says {}", shown["outcome"]);
            kept.violations.push(Violation::new("I12", what));
        }
        Ok(kept)
    }

    /// How many times each site keeps anything in quarantine: after switchovers alone, nothing may be there.
    pub async fn quarantined(&self) -> Result<Vec<Violation>, Aborted> {
        let mut found = Vec::new();
        for site in self.access.topology.sites.keys() {
            for (id, transactions) in self.access.quarantines(site).await? {
                if transactions > 0 {
                    let what = format!("{site} keeps {transactions} transactions in quarantine {id}");
                    found.push(Violation::new("I12", what));
                }
            }
        }
        Ok(found)
    }

    /// Holds both databases against each other, row for row. They get a few seconds to become equal.
    pub async fn compare(&mut self) -> Result<Vec<Violation>, Aborted> {
        let names: Vec<Site> = self.access.topology.sites.keys().cloned().collect();
        let [a, b] = names.as_slice() else { return Err(Aborted("there are not two sites".into())) };
        let started = Boot::now();
        loop {
            let (mut conn_a, mut conn_b) = (self.access.database(a).await?, self.access.database(b).await?);
            let sides = ((&mut conn_a, a.as_str()), (&mut conn_b, b.as_str()));
            let found = equal::differences("ticketing", sides.0, sides.1).await;
            let found = found.map_err(|e: checker::Unread| e.to_string())?;
            if found.is_empty() || started.elapsed() > EQUAL_DEADLINE {
                return Ok(self.new_ones(found));
            }
            // Expired holds are still being tidied away, and their deletions are on their way.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Those of `found` that were not known; they are from now on.
    pub fn new_ones(&mut self, found: Vec<Violation>) -> Vec<Violation> {
        found.into_iter().filter(|v| self.known.insert(v.clone())).collect()
    }
}
