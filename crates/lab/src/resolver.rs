//! How the lab's visitors find the service: a stub resolver with a cache that honours the TTL to the millisecond.
//!
//! [`Cache`] is the middle and knows neither clock nor socket; [`Resolver`] asks the lab's name server by UDP, and by
//! TCP where the answer was cut off. One `Resolver` is one resolver out there with all its users: many callers who
//! miss at once cause one query.
//!
//! Always true here: no answer is used past its TTL, not even when the name server is silent. A resolver that serves
//! stale answers would hide what a drill is to measure.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout},
};

/// How long one query may take before it is sent again.
const PATIENCE: Duration = Duration::from_millis(500);
/// So often a query is sent before the name server counts as silent.
const ATTEMPTS: u32 = 4;
/// The largest answer by UDP: we announce no more (no EDNS), and leave room for servers that count badly.
const DATAGRAM_BYTES_MAX: usize = 4_096;
/// A server that denies without saying for how long is asked again after this many seconds.
const DENIAL_S: u32 = 1;

/// Why a name leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The server says that there is no such name, or no address for it. Asking again before the TTL is over is vain.
    #[error("{server} knows no address of `{name}`")]
    NoAddress {
        /// Whom we asked.
        server: SocketAddr,
        /// For what.
        name: String,
    },
    /// The server said no in another way.
    #[error("{server} answers {code} for `{name}`")]
    Refused {
        /// Whom we asked.
        server: SocketAddr,
        /// For what.
        name: String,
        /// Its response code, in words.
        code: String,
    },
    /// No usable answer came. Ask again.
    #[error("{server} gave no answer for `{name}`: {why}")]
    Silent {
        /// Whom we asked.
        server: SocketAddr,
        /// For what.
        name: String,
        /// What happened instead.
        why: String,
    },
    /// The caller's mistake.
    #[error("`{0}` is no DNS name")]
    BadName(String),
}

/// What a server answered: addresses (none: a denial) and for how many seconds that may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// In the server's order.
    pub addresses: Vec<IpAddr>,
    /// Seconds from its arrival on.
    pub ttl_s: u32,
}

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
        let answer = self.ask(name).await?;
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

    /// The server's word, past the cache: IPv4 addresses, or where there are none IPv6 ones.
    async fn ask(&self, name: &str) -> Result<Answer, LookupError> {
        let v4 = self.ask_for(name, RecordType::A).await?;
        if v4.addresses.is_empty() {
            let v6 = self.ask_for(name, RecordType::AAAA).await?;
            return Ok(Answer { ttl_s: v6.ttl_s.min(v4.ttl_s), ..v6 });
        }
        Ok(v4)
    }

    async fn ask_for(&self, name: &str, kind: RecordType) -> Result<Answer, LookupError> {
        let bad = || LookupError::BadName(name.to_owned());
        let mut asked = Name::from_ascii(name).map_err(|_| bad())?;
        asked.set_fqdn(true);
        let mut query = Message::query();
        query.add_query(Query::query(asked, kind));
        let bytes = query.to_vec().map_err(|_| bad())?;
        let mut why = String::new();
        for _ in 0..ATTEMPTS {
            match timeout(PATIENCE, self.exchange(&query, &bytes)).await {
                Ok(Ok(reply)) => return self.read(name, kind, &reply),
                Ok(Err(e)) => {
                    why = e.to_string();
                    // An ICMP "port unreachable" comes back at once: the server is starting.
                    tokio::time::sleep(PATIENCE / 10).await;
                }
                Err(_) => why = format!("silent for {PATIENCE:?}, {ATTEMPTS} times"),
            }
        }
        Err(LookupError::Silent { server: self.server, name: name.to_owned(), why })
    }

    async fn exchange(&self, query: &Message, bytes: &[u8]) -> io::Result<Message> {
        let any: IpAddr = match self.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        // A socket for each query: its port is a part of what an impostor would have to guess.
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(self.server).await?;
        socket.send(bytes).await?;
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let reply = loop {
            let length = socket.recv(&mut buffer).await?;
            if let Some(reply) = reply_to(query, buffer.get(..length).unwrap_or_default()) {
                break reply;
            }
        };
        if reply.metadata.truncation { self.exchange_by_tcp(query, bytes).await } else { Ok(reply) }
    }

    async fn exchange_by_tcp(&self, query: &Message, bytes: &[u8]) -> io::Result<Message> {
        let mut connection = TcpStream::connect(self.server).await?;
        let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
        connection.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
        let mut reply = vec![0; connection.read_u16().await?.into()];
        connection.read_exact(&mut reply).await?;
        reply_to(query, &reply).ok_or_else(|| io::Error::other("the answer by TCP is none to our question"))
    }

    fn read(&self, name: &str, kind: RecordType, reply: &Message) -> Result<Answer, LookupError> {
        match reply.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => {}
            code => {
                return Err(LookupError::Refused {
                    server: self.server,
                    name: name.to_owned(),
                    code: code.to_string(),
                });
            }
        }
        let found: Vec<_> = reply
            .answers
            .iter()
            .filter(|record| record.record_type() == kind)
            .filter_map(|record| match &record.data {
                RData::A(ip) => Some((IpAddr::V4(ip.0), record.ttl)),
                RData::AAAA(ip) => Some((IpAddr::V6(ip.0), record.ttl)),
                _ => None,
            })
            .collect();
        let denial_s = reply.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        });
        let ttl_s = found.iter().map(|(_, ttl)| *ttl).min().or(denial_s).unwrap_or(DENIAL_S);
        Ok(Answer { addresses: found.into_iter().map(|(ip, _)| ip).collect(), ttl_s })
    }
}

/// `bytes` as the answer to `query`; `None` if it is anybody else's.
fn reply_to(query: &Message, bytes: &[u8]) -> Option<Message> {
    let reply = Message::from_vec(bytes).ok()?;
    let ours = reply.metadata.message_type == MessageType::Response
        && reply.metadata.id == query.metadata.id
        && reply.queries == query.queries;
    ours.then_some(reply)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn only_the_answer_to_our_question_counts() {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii("a.test.").unwrap(), RecordType::A));
        let mut reply = query.clone().into_response();
        assert!(reply_to(&query, &reply.to_vec().unwrap()).is_some());
        assert!(reply_to(&query, &query.to_vec().unwrap()).is_none(), "a query is no answer");
        reply.metadata.id ^= 1;
        assert!(reply_to(&query, &reply.to_vec().unwrap()).is_none());
        reply.metadata.id ^= 1;
        reply.queries.clear();
        assert!(reply_to(&query, &reply.to_vec().unwrap()).is_none());
    }
}
