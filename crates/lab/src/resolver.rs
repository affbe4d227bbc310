//! How the lab's visitors find the service: a stub resolver with a cache that honours the TTL to the millisecond.
//!
//! [`Cache`] is the middle and knows neither clock nor socket; [`Resolver`] asks the lab's name server. One `Resolver` is one resolver out there with all its users: many callers who
//! miss at once cause one query.
//!
//! Always true here: no answer is used past its TTL, not even when the name server is silent. A resolver that serves
//! stale answers would hide what a drill is to measure.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use runtime::dns;
pub use runtime::dns::{Answer, LookupError};
use tokio::time::Instant;

/// Answers, each until its TTL is over. Times are milliseconds on any one clock.
#[derive(Clone, Debug)]
pub struct Cache {
    entries: HashMap<String, Entry>,
    /// What part of its TTL the first answer for each name has already spent, in thousandths.
    first_age_permille: u16,
}

#[derive(Clone, Debug)]
struct Entry {
    addresses: Vec<IpAddr>,
    until_ms: u64,
}

impl Cache {
    /// An empty cache. The first answer for each name is taken to have been fetched by somebody else so long ago
    /// that `first_age_permille` thousandths of its TTL are over: 0 is fresh, 1000 ends at once. Real caches are
    /// found at a random age, later ones are fetched when the one before ends.
    pub fn new(first_age_permille: u16) -> Cache {
        Cache { entries: HashMap::new(), first_age_permille: first_age_permille.min(1_000) }
    }

    /// The addresses of `name` that may be believed at `now_ms`, and until when. An empty list is a denial.
    pub fn get(&self, now_ms: u64, name: &str) -> Option<(&[IpAddr], u64)> {
        let entry = self.entries.get(&key(name))?;
        (now_ms < entry.until_ms).then_some((entry.addresses.as_slice(), entry.until_ms))
    }

    /// Keeps an answer that arrived at `now_ms`, and says until when.
    pub fn put(&mut self, now_ms: u64, name: &str, answer: Answer) -> u64 {
        let key = key(name);
        let ttl_ms = u64::from(answer.ttl_s) * 1_000;
        let spent_ms = match self.entries.contains_key(&key) {
            true => 0,
            false => ttl_ms * u64::from(self.first_age_permille) / 1_000,
        };
        let until_ms = now_ms + ttl_ms - spent_ms;
        self.entries.insert(key, Entry { addresses: answer.addresses, until_ms });
        until_ms
    }
}

/// Names compare without regard to case and to the final dot.
fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// A resolver with its cache. Share it by `Arc` among those who use the same one.
#[derive(Debug)]
pub struct Resolver {
    server: SocketAddr,
    started: Instant,
    cache: Mutex<Cache>,
    /// Held by the caller whose query is under way; the others wait for its answer.
    asking: tokio::sync::Mutex<()>,
}

impl Resolver {
    /// With an empty cache, asking `server`.
    pub fn new(server: SocketAddr) -> Resolver {
        Resolver::aged(server, 0)
    }

    /// As [`Resolver::new`], with its first answer found at an age: see [`Cache::new`].
    pub fn aged(server: SocketAddr, first_age_permille: u16) -> Resolver {
        Resolver {
            server,
            started: Instant::now(),
            cache: Mutex::new(Cache::new(first_age_permille)),
            asking: tokio::sync::Mutex::new(()),
        }
    }

    /// The first address of `name`.
    pub async fn lookup(&self, name: &str) -> Result<IpAddr, LookupError> {
        Ok(self.lookup_until(name).await?.0)
    }

    /// The first address of `name`, and until when it may be used.
    pub async fn lookup_until(&self, name: &str) -> Result<(IpAddr, Instant), LookupError> {
        if let Some(known) = self.cached(name) {
            return known;
        }
        let _turn = self.asking.lock().await;
        if let Some(known) = self.cached(name) {
            return known;
        }
        let answer = dns::ask(self.server, name).await?;
        let first = answer.addresses.first().copied();
        let until_ms =
            self.cache.lock().unwrap_or_else(PoisonError::into_inner).put(self.now_ms(), name, answer);
        // An answer with a TTL of zero is good for the one who asked.
        let first = first.ok_or_else(|| self.no_address(name))?;
        Ok((first, self.moment(until_ms)))
    }

    fn cached(&self, name: &str) -> Option<Result<(IpAddr, Instant), LookupError>> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (addresses, until_ms) = cache.get(self.now_ms(), name)?;
        let first = addresses.first().map(|ip| (*ip, self.moment(until_ms)));
        Some(first.ok_or_else(|| self.no_address(name)))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn moment(&self, ms: u64) -> Instant {
        self.started + Duration::from_millis(ms)
    }

    fn no_address(&self, name: &str) -> LookupError {
        LookupError::NoAddress { server: self.server, name: name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 10, 0, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 20, 0, 1));

    fn answer(ip: IpAddr, ttl_s: u32) -> Answer {
        Answer { addresses: vec![ip], ttl_s }
    }

    #[track_caller]
    fn check(cache: &Cache, now_ms: u64, expected: Option<IpAddr>) {
        let got = cache.get(now_ms, "tickets.ghostlight.test").map(|(ips, _)| ips[0]);
        assert_eq!(got, expected, "at {now_ms} ms");
    }

    #[test]
    fn an_answer_lives_as_long_as_its_ttl_and_no_longer() {
        let mut cache = Cache::new(0);
        check(&cache, 0, None);
        cache.put(1_000, "Tickets.Ghostlight.Test.", answer(A, 5));
        check(&cache, 5_999, Some(A));
        check(&cache, 6_000, None);
        cache.put(6_000, "tickets.ghostlight.test", answer(B, 0));
        check(&cache, 6_000, None);
    }

    #[test]
    fn only_the_first_answer_is_found_at_an_age() {
        let mut cache = Cache::new(700);
        assert_eq!(cache.put(0, "tickets.ghostlight.test", answer(A, 5)), 1_500);
        check(&cache, 1_499, Some(A));
        check(&cache, 1_500, None);
        assert_eq!(cache.put(1_500, "tickets.ghostlight.test", answer(B, 5)), 6_500);
    }

    #[test]
    fn the_oldest_age_ends_at_once_and_nothing_is_older() {
        for age in [1_000, 1_001, u16::MAX] {
            assert_eq!(Cache::new(age).put(9, "x", answer(A, 5)), 9);
        }
    }

    #[test]
    fn a_denial_is_kept_too() {
        let mut cache = Cache::new(0);
        cache.put(0, "x", Answer { addresses: vec![], ttl_s: 5 });
        assert_eq!(cache.get(4_999, "x").map(|(ips, _)| ips.len()), Some(0));
    }
}
