//! The crowd of a drill: accounts signed up beforehand, arrivals at a rate, and the few who measure when the
//! service is back.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use runtime::process::Shutdown;
use serde_json::Value;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::task::TaskTracker;

use super::{
    http::Http,
    route::{Names, Route},
    supply::{OnSale, Supply},
    visitor::{Patience, Visitors, Wish},
};
use crate::ledger::{Acknowledged, Ledger, Outcome};

/// The loader books in halls of at least so many seats: smaller ones sell out within a drill.
const HALL_SEATS_MIN: u64 = 10_000;
/// So many performances are enough: each costs one large page to read.
const PERFORMANCES_MAX: usize = 20;
/// Sign-ups at a time: each costs the service a password hash.
const SIGN_UPS_AT_ONCE: usize = 4;
/// The password of every drill account.
const PASSWORD: &str = "a ghost light stays on";
/// Visitors in flight at which arrivals are refused: the loader's own memory, not the service, is at its end.
const IN_FLIGHT_MAX: usize = 20_000;

/// What a crowd needs to know.
#[derive(Clone, Debug)]
pub struct CrowdConfig {
    /// The service's public name.
    pub host: String,
    /// DNS caches of random age, each the one of many visitors.
    pub caches: Vec<Arc<dyn Names>>,
    /// Every choice follows from it.
    pub seed: u64,
    /// Makes accounts and keys unique among all drills on the same database.
    pub run: String,
}

/// The visitors of a drill, before the doors open.
#[derive(Debug)]
pub struct Crowd {
    config: CrowdConfig,
    visitors: Visitors,
    supply: Arc<Mutex<Supply>>,
    accounts: u32,
}

impl Crowd {
    /// Reads what is on sale. Nobody has an account yet: see [`Crowd::admit`].
    pub async fn gather(config: CrowdConfig, ledger: Arc<Ledger>) -> Result<Crowd, String> {
        let host = config.host.as_str().into();
        let visitors = Visitors { http: Arc::new(Http::default()), ledger, host, round: 0 };
        let mut route = public(&config.caches, 0)?;
        let mut on_sale = Vec::new();
        let list = visitors.read("/api/performances", &mut route).await?;
        for (performance, account_limit) in large_performances(&list).into_iter().take(PERFORMANCES_MAX) {
            let seats = visitors.read(&format!("/api/performances/{performance}/seats"), &mut route).await?;
            on_sale.push(OnSale { performance, account_limit, free: free_seats(&seats)? });
        }
        if on_sale.is_empty() {
            return Err(format!("no performance with {HALL_SEATS_MIN} seats or more is on sale: {list}"));
        }
        let supply = Supply::new(config.seed, &config.run, on_sale);
        // What was read on the way here is no part of any round.
        visitors.ledger.close_round();
        Ok(Crowd { config, visitors, supply: Arc::new(Mutex::new(supply)), accounts: 0 })
    }

    /// Signs up visitors until `seats` more seats can be wished for.
    pub async fn admit(&mut self, seats: u64) -> Result<u32, String> {
        let missing = {
            let supply = self.supply();
            seats.saturating_sub(supply.left()).div_ceil(supply.seats_per_account().max(1))
        };
        let from = self.accounts;
        let to = from + u32::try_from(missing).map_err(|e| e.to_string())?;
        let sign_ups = (from..to).map(|n| {
            let (visitors, run) = (self.visitors.clone(), self.config.run.clone());
            let route = public(&self.config.caches, n as usize);
            async move {
                let email = format!("{run}-{n}@visitors.ghostlight.test");
                visitors.enter(&email, PASSWORD, &mut route?).await
            }
        });
        let accounts: Vec<_> = stream::iter(sign_ups).buffered(SIGN_UPS_AT_ONCE).collect().await;
        let accounts = accounts.into_iter().collect::<Result<Vec<_>, String>>()?;
        self.supply().admit(accounts);
        self.accounts = to;
        if self.supply().left() < seats {
            return Err(format!("only {} of {seats} seats are left to wish for", self.supply().left()));
        }
        // Sign-ups belong to no round.
        self.visitors.ledger.close_round();
        Ok(to - from)
    }

    /// Opens the doors: visitors arrive at `rate_per_s` on average, at random moments, until closed.
    pub fn open(&mut self, rate_per_s: f64, round: u32) -> Arriving {
        self.visitors.round = round;
        let (stop, tracker) = (Shutdown::new(), TaskTracker::new());
        let arrivals = Arrivals {
            rng: SmallRng::seed_from_u64(self.config.seed ^ (u64::from(round) << 32)),
            visitors: self.visitors.clone(),
            supply: self.supply.clone(),
            caches: self.config.caches.clone(),
            rate_per_s,
            tracker: tracker.clone(),
        };
        let task = tokio::spawn(arrivals.run(stop.clone()));
        Arriving { stop, tracker, task }
    }

    /// The next wish, for those who do not arrive by themselves.
    pub fn wish(&self) -> Option<Wish> {
        self.supply().next()
    }

    /// The visitors, as they are in the round that was opened last.
    pub fn visitors(&self) -> &Visitors {
        &self.visitors
    }

    /// Sends `members` visitors who know both `addresses`, a few milliseconds apart, each until it has booked; when
    /// the first of them is acknowledged, its entry is returned. `None`: none was within the patience.
    pub async fn first_return(&self, addresses: Arc<[SocketAddr]>, members: usize) -> Option<Acknowledged> {
        let routes = (0..members).map(|n| Route::addresses(addresses.clone(), n)).collect();
        let mut returns = self.returns(routes);
        while let Some(ended) = returns.join_next().await {
            if let Ok(Some(entry)) = ended {
                // The others book to their end too: whoever is told yes stands in the ledger.
                returns.detach_all();
                return Some(entry);
            }
        }
        None
    }

    /// Sends one visitor through each of `members` DNS caches, each until it has booked; returns the entry of the
    /// one who waited longest. `None`: some had to give up.
    pub async fn last_return_by_name(&self, members: usize) -> Option<Acknowledged> {
        let step = (self.config.caches.len() / members.max(1)).max(1);
        let caches = self.config.caches.iter().step_by(step).take(members);
        let mut returns = self.returns(caches.cloned().map(Route::Name).collect());
        let mut last: Option<Acknowledged> = None;
        while let Some(ended) = returns.join_next().await {
            let entry = ended.ok().flatten()?;
            if last.as_ref().is_none_or(|l| l.acknowledged_at_ms < entry.acknowledged_at_ms) {
                last = Some(entry);
            }
        }
        last
    }

    fn returns(&self, routes: Vec<Route>) -> JoinSet<Option<Acknowledged>> {
        let mut returns = JoinSet::new();
        for (n, mut route) in (0u32..).zip(routes) {
            let (visitors, supply) = (self.visitors.clone(), self.supply.clone());
            returns.spawn(async move {
                let deadline = Instant::now() + Patience::MEASURING.all;
                tokio::time::sleep(Patience::MEASURING.pause * n / 8).await;
                while Instant::now() < deadline {
                    let wish = lock(&supply).next()?;
                    // Another visitor may have been faster at the seat; that says nothing about the service.
                    if let Outcome::Acknowledged(entry) =
                        visitors.book(&wish, &mut route, Patience::MEASURING).await
                    {
                        return Some(*entry);
                    }
                }
                None
            });
        }
        returns
    }

    fn supply(&self) -> MutexGuard<'_, Supply> {
        lock(&self.supply)
    }
}

/// Doors that are open.
#[derive(Debug)]
pub struct Arriving {
    stop: Shutdown,
    tracker: TaskTracker,
    task: tokio::task::JoinHandle<Result<(), String>>,
}

impl Arriving {
    /// Closes the doors and waits until everybody inside is served or has given up. An error is the loader's own.
    pub async fn close(self) -> Result<(), String> {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        self.task.await.map_err(|e| e.to_string())?
    }

    /// Visitors inside at this moment.
    pub fn inside(&self) -> usize {
        self.tracker.len()
    }
}

struct Arrivals {
    rng: SmallRng,
    visitors: Visitors,
    supply: Arc<Mutex<Supply>>,
    caches: Vec<Arc<dyn Names>>,
    rate_per_s: f64,
    tracker: TaskTracker,
}

impl Arrivals {
    async fn run(mut self, stop: Shutdown) -> Result<(), String> {
        let mut next = Instant::now();
        while !stop.is_cancelled() {
            // Independent visitors: exponential gaps.
            let gap_s = -f64::ln(1.0 - self.rng.random_range(0.0..1.0)) / self.rate_per_s;
            next += Duration::from_secs_f64(gap_s);
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = stop.cancelled() => break,
            }
            if self.tracker.len() > IN_FLIGHT_MAX {
                return Err(format!("{IN_FLIGHT_MAX} visitors are waiting; the loader lets nobody else in"));
            }
            let Some(wish) = lock(&self.supply).next() else {
                return Err("no seat is left to wish for; sign up more visitors".into());
            };
            let cache = self.rng.random_range(0..self.caches.len());
            let mut route = public(&self.caches, cache)?;
            let visitors = self.visitors.clone();
            self.tracker.spawn(async move { visitors.book(&wish, &mut route, Patience::PUBLIC).await });
        }
        Ok(())
    }
}

fn public(caches: &[Arc<dyn Names>], n: usize) -> Result<Route, String> {
    let cache = caches.get(n % caches.len().max(1)).ok_or("there is no DNS cache")?;
    Ok(Route::Name(cache.clone()))
}

fn lock(supply: &Mutex<Supply>) -> MutexGuard<'_, Supply> {
    supply.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ids and account limits of the performances on sale in large halls, in the order of their ids.
fn large_performances(list: &Value) -> Vec<(u32, u8)> {
    let items = list.as_array().or_else(|| list.get("performances").and_then(Value::as_array));
    let mut large: Vec<(u32, u8)> = items
        .into_iter()
        .flatten()
        .filter(|p| p.get("capacity").and_then(Value::as_u64).is_some_and(|c| c >= HALL_SEATS_MIN))
        .filter(|p| p.get("sale").and_then(Value::as_str).is_none_or(|sale| sale == "open"))
        .filter_map(|p| {
            let id = p.get("id").and_then(Value::as_u64)?;
            let limit = p.get("account_limit").and_then(Value::as_u64)?;
            Some((id.try_into().ok()?, limit.try_into().ok()?))
        })
        .collect();
    large.sort_unstable();
    large
}

/// The free seats of a performance: `<section>-<row>-<number>` of every section, without those taken.
fn free_seats(page: &Value) -> Result<Vec<String>, String> {
    let sections = page.get("sections").and_then(Value::as_array).ok_or("a seat map without sections")?;
    let taken: std::collections::HashSet<&str> =
        page.get("taken").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut free = Vec::new();
    for section in sections {
        let id = section.get("id").and_then(Value::as_str).ok_or("a section without id")?;
        let rows = section.get("rows").and_then(Value::as_array).ok_or("a section without rows")?;
        for (row, seats) in (1..).zip(rows) {
            let seats = seats.as_u64().ok_or("a row that is not a number of seats")?;
            free.extend((1..=seats).map(|seat| format!("{id}-{row}-{seat}")));
        }
    }
    free.retain(|seat| !taken.contains(seat.as_str()));
    Ok(free)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_loader_books_where_there_is_room() {
        let list = json!([
            { "id": 9, "capacity": 15_000, "account_limit": 4, "sale": "open" },
            { "id": 3, "capacity": 300, "account_limit": 2, "sale": "open" },
            { "id": 4, "capacity": 15_000, "account_limit": 4, "sale": "not_yet" },
            { "id": 2, "capacity": 15_000, "account_limit": 2, "sale": "open" },
        ]);
        assert_eq!(large_performances(&list), [(2, 2), (9, 4)]);
    }

    #[test]
    fn free_seats_are_all_but_those_taken() {
        let page = json!({ "sections": [{ "id": "F1", "rows": [2, 1] }], "taken": ["F1-1-2"] });
        assert_eq!(free_seats(&page).unwrap(), ["F1-1-1", "F1-2-1"]);
    }
}
