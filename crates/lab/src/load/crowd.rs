//! The crowd of a drill: accounts signed up beforehand, arrivals at a rate, and the few who measure when the
//! service is back.
//!
//! A drill does not know how long it will take: on a loaded machine it is longer. So while the doors are open the
//! [`Source`] goes on opening performances, and signing visitors up, well before the wishes come to an end.

use std::{
    collections::VecDeque,
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
/// So many performances are enough to begin with: each costs one large page to read.
const PERFORMANCES_AT_FIRST: usize = 20;
/// Sign-ups at a time: each costs the service a password hash.
const SIGN_UPS_AT_ONCE: usize = 4;
/// The password of every drill account.
const PASSWORD: &str = "a ghost light stays on";
/// While the doors are open there are wishes for so many seconds: more are fetched before they come to an end.
const AHEAD_S: f64 = 20.0;
/// How often it is looked whether more are needed.
const LOOK: Duration = Duration::from_millis(250);
/// Visitors who come while there is nothing to wish for wait so long for it, then the loader gives up.
const STARVED_MAX: Duration = Duration::from_secs(60);
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
    source: Arc<tokio::sync::Mutex<Source>>,
}

/// Where more wishes come from: performances that nobody has looked at yet, and visitors who have no account yet.
/// What it asks of the service stands in a ledger of its own, which belongs to no round.
#[derive(Debug)]
struct Source {
    config: CrowdConfig,
    visitors: Visitors,
    supply: Arc<Mutex<Supply>>,
    /// Ids and account limits of the performances that are still to be read.
    unread: VecDeque<(u32, u8)>,
    accounts: u32,
}

impl Source {
    /// Sees to it that `seats` more seats can be wished for. Returns how many visitors were signed up.
    async fn provide(&mut self, seats: u64) -> Result<u32, String> {
        let from = self.accounts;
        loop {
            let (left, free, per_account) = {
                let supply = lock(&self.supply);
                (supply.left(), supply.free(), supply.seats_per_account().max(1))
            };
            if left >= seats {
                return Ok(self.accounts - from);
            }
            if free >= seats || (self.unread.is_empty() && free > left) {
                self.sign_up((seats.min(free) - left).div_ceil(per_account)).await?;
            } else if !self.open_one().await? {
                return Err(format!(
                    "only {left} of {seats} seats are left to wish for, and nothing else is on sale"
                ));
            }
        }
    }

    /// Reads one more performance; `false`: there is none.
    async fn open_one(&mut self) -> Result<bool, String> {
        let Some(&(performance, account_limit)) = self.unread.front() else { return Ok(false) };
        let mut route = public(&self.config.caches, performance as usize)?;
        let path = format!("/api/performances/{performance}/seats");
        let seats = self.visitors.read(&path, &mut route).await?;
        self.unread.pop_front();
        lock(&self.supply).put_on_sale(OnSale { performance, account_limit, free: free_seats(&seats)? });
        Ok(true)
    }

    async fn sign_up(&mut self, missing: u64) -> Result<(), String> {
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
        // Whoever is known may not be asked to sign up again, whatever became of the others.
        self.accounts = to;
        let accounts = accounts.into_iter().collect::<Result<Vec<_>, String>>()?;
        lock(&self.supply).admit(accounts);
        Ok(())
    }
}

/// Goes on providing for `AHEAD_S` seconds, until `stop`. While the service is down it waits: nothing is used then.
async fn keep_providing(source: Arc<tokio::sync::Mutex<Source>>, rate_per_s: f64, stop: Shutdown) {
    let seats = whole(rate_per_s * AHEAD_S);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let provide = async { source.lock().await.provide(seats).await };
        tokio::select! {
            () = stop.cancelled() => return,
            provided = provide => match provided {
                Ok(0) => {}
                Ok(signed_up) => tracing::debug!("{signed_up} more visitors signed up"),
                Err(e) => tracing::debug!("no more wishes for the moment: {e}"),
            },
        }
    }
}

impl Crowd {
    /// Reads what is on sale. Nobody has an account yet: see [`Crowd::admit`].
    pub async fn gather(config: CrowdConfig, ledger: Arc<Ledger>) -> Result<Crowd, String> {
        let host: Arc<str> = config.host.as_str().into();
        let visitors =
            |ledger| Visitors { http: Arc::new(Http::default()), ledger, host: host.clone(), round: 0 };
        let supply = Arc::new(Mutex::new(Supply::new(config.seed, &config.run, Vec::new())));
        let mut source = Source {
            visitors: visitors(Arc::default()),
            supply: supply.clone(),
            unread: VecDeque::new(),
            accounts: 0,
            config: config.clone(),
        };
        let list = source.visitors.read("/api/performances", &mut public(&config.caches, 0)?).await?;
        source.unread = on_sale(&list).into();
        let large = source.unread.len().min(PERFORMANCES_AT_FIRST);
        for _ in 0..large {
            source.open_one().await?;
        }
        if large == 0 {
            return Err(format!("no performance with {HALL_SEATS_MIN} seats or more is on sale: {list}"));
        }
        let source = Arc::new(tokio::sync::Mutex::new(source));
        Ok(Crowd { visitors: visitors(ledger), config, supply, source })
    }

    /// Signs up visitors until `seats` more seats can be wished for.
    pub async fn admit(&mut self, seats: u64) -> Result<u32, String> {
        self.source.lock().await.provide(seats).await
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
        let providing = tokio::spawn(keep_providing(self.source.clone(), rate_per_s, stop.clone()));
        Arriving { stop, tracker, task, providing }
    }

    /// The next wish, for those who do not arrive by themselves.
    pub fn wish(&self) -> Option<Wish> {
        lock(&self.supply).next()
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
}

/// Doors that are open.
#[derive(Debug)]
pub struct Arriving {
    stop: Shutdown,
    tracker: TaskTracker,
    task: tokio::task::JoinHandle<Result<(), String>>,
    providing: tokio::task::JoinHandle<()>,
}

impl Arriving {
    /// Closes the doors and waits until everybody inside is served or has given up. An error is the loader's own.
    pub async fn close(self) -> Result<(), String> {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        self.providing.await.map_err(|e| e.to_string())?;
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
            let Some(wish) = self.wish(&stop).await? else { break };
            let cache = self.rng.random_range(0..self.caches.len());
            let mut route = public(&self.caches, cache)?;
            let visitors = self.visitors.clone();
            self.tracker.spawn(async move { visitors.book(&wish, &mut route, Patience::PUBLIC).await });
        }
        Ok(())
    }

    /// The next wish. Where none is left, more are being provided for: they are waited for, and said to have been.
    /// `None`: the doors closed meanwhile.
    async fn wish(&self, stop: &Shutdown) -> Result<Option<Wish>, String> {
        let began = Instant::now();
        loop {
            let wish = lock(&self.supply).next();
            if wish.is_some() {
                if began.elapsed() > LOOK {
                    tracing::warn!(
                        "the loader had nothing to wish for, for {:?}: visitors came later",
                        began.elapsed()
                    );
                }
                return Ok(wish);
            }
            if began.elapsed() > STARVED_MAX {
                return Err(format!("for {STARVED_MAX:?} no seat was left to wish for"));
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(LOOK / 10) => {}
            }
        }
    }
}

/// A count of seats: small and positive.
fn whole(positive: f64) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of seats: small and positive"
    )]
    let whole = positive.max(0.0).ceil() as u64;
    whole
}

fn public(caches: &[Arc<dyn Names>], n: usize) -> Result<Route, String> {
    let cache = caches.get(n % caches.len().max(1)).ok_or("there is no DNS cache")?;
    Ok(Route::Name(cache.clone()))
}

fn lock(supply: &Mutex<Supply>) -> MutexGuard<'_, Supply> {
    supply.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ids and account limits of the performances on sale: large halls first, in the order of their ids; then, if there
/// is a large one at all, the smaller ones.
fn on_sale(list: &Value) -> Vec<(u32, u8)> {
    let items = list.as_array().or_else(|| list.get("performances").and_then(Value::as_array));
    let mut all: Vec<(bool, u32, u8)> = items
        .into_iter()
        .flatten()
        .filter(|p| p.get("sale").and_then(Value::as_str).is_none_or(|sale| sale == "open"))
        .filter_map(|p| {
            let small = p.get("capacity").and_then(Value::as_u64)? < HALL_SEATS_MIN;
            let id = p.get("id").and_then(Value::as_u64)?;
            let limit = p.get("account_limit").and_then(Value::as_u64)?;
            Some((small, id.try_into().ok()?, limit.try_into().ok()?))
        })
        .collect();
    all.sort_unstable();
    if all.first().is_none_or(|(small, ..)| *small) {
        return Vec::new();
    }
    all.into_iter().map(|(_, id, limit)| (id, limit)).collect()
}

/// The free seats of a performance: all of them without those taken.
fn free_seats(page: &Value) -> Result<Vec<String>, String> {
    let taken: std::collections::HashSet<&str> =
        page.get("taken").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut free = all_seats(page)?;
    free.retain(|seat| !taken.contains(seat.as_str()));
    Ok(free)
}

/// Every seat of a performance: `<section>-<row>-<number>` of every section, in the order of the availability's bits.
pub(crate) fn all_seats(page: &Value) -> Result<Vec<String>, String> {
    let sections = page.get("sections").and_then(Value::as_array).ok_or("a seat map without sections")?;
    let mut all = Vec::new();
    for section in sections {
        let id = section.get("id").and_then(Value::as_str).ok_or("a section without id")?;
        let rows = section.get("rows").and_then(Value::as_array).ok_or("a section without rows")?;
        for (row, seats) in (1..).zip(rows) {
            let seats = seats.as_u64().ok_or("a row that is not a number of seats")?;
            all.extend((1..=seats).map(|seat| format!("{id}-{row}-{seat}")));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_loader_books_where_there_is_room_and_elsewhere_at_last() {
        let list = json!([
            { "id": 9, "capacity": 15_000, "account_limit": 4, "sale": "open" },
            { "id": 3, "capacity": 300, "account_limit": 2, "sale": "open" },
            { "id": 4, "capacity": 15_000, "account_limit": 4, "sale": "not_yet" },
            { "id": 2, "capacity": 15_000, "account_limit": 2, "sale": "open" },
        ]);
        assert_eq!(on_sale(&list), [(2, 2), (9, 4), (3, 2)]);
        assert_eq!(on_sale(&json!([{ "id": 3, "capacity": 300, "account_limit": 2 }])), []);
    }

    #[test]
    fn free_seats_are_all_but_those_taken() {
        let page = json!({ "sections": [{ "id": "F1", "rows": [2, 1] }], "taken": ["F1-1-2"] });
        assert_eq!(free_seats(&page).unwrap(), ["F1-1-1", "F1-2-1"]);
    }
}
