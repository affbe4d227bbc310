//! Asking a name server for addresses: a stub without a cache, by UDP, and by TCP where the answer was cut off.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// How long one query may take before it is sent again.
const PATIENCE: Duration = Duration::from_millis(500);
/// So often a query is sent before the name server counts as silent.
const ATTEMPTS: u32 = 4;
/// The largest answer by UDP: we announce no more (no EDNS), and leave room for servers that count badly.
const DATAGRAM_BYTES_MAX: usize = 4_096;
/// A server that denies without saying for how long is asked again after this many seconds.
const DENIAL_S: u32 = 1;

/// Where this machine's administrator has written whom to ask.
const RESOLV_CONF: &str = "/etc/resolv.conf";

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

/// The first name server that this machine asks; `None` if it knows none.
pub fn system_server() -> Option<SocketAddr> {
    first_server(&std::fs::read_to_string(Path::new(RESOLV_CONF)).ok()?)
}

/// The first `nameserver` line that names an address.
fn first_server(text: &str) -> Option<SocketAddr> {
    let servers = text.lines().filter_map(|l| l.trim().strip_prefix("nameserver")?.trim().parse().ok());
    servers.map(|ip: IpAddr| SocketAddr::new(ip, 53)).next()
}

/// What `server` says of `name` now: IPv4 addresses, or where there are none IPv6 ones. Nothing is cached.
pub async fn ask(server: SocketAddr, name: &str) -> Result<Answer, LookupError> {
    let v4 = ask_for(server, name, RecordType::A).await?;
    if v4.addresses.is_empty() {
        let v6 = ask_for(server, name, RecordType::AAAA).await?;
        return Ok(Answer { ttl_s: v6.ttl_s.min(v4.ttl_s), ..v6 });
    }
    Ok(v4)
}

async fn ask_for(server: SocketAddr, name: &str, kind: RecordType) -> Result<Answer, LookupError> {
    let bad = || LookupError::BadName(name.to_owned());
    let mut asked = Name::from_ascii(name).map_err(|_| bad())?;
    asked.set_fqdn(true);
    let mut query = Message::query();
    query.add_query(Query::query(asked, kind));
    let bytes = query.to_vec().map_err(|_| bad())?;
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        match timeout(PATIENCE, exchange(server, &query, &bytes)).await {
            Ok(Ok(reply)) => return read(server, name, kind, &reply),
            Ok(Err(e)) => {
                why = e.to_string();
                // An ICMP "port unreachable" comes back at once: the server is starting.
                tokio::time::sleep(PATIENCE / 10).await;
            }
            Err(_) => why = format!("silent for {PATIENCE:?}, {ATTEMPTS} times"),
        }
    }
    Err(LookupError::Silent { server, name: name.to_owned(), why })
}

async fn exchange(server: SocketAddr, query: &Message, bytes: &[u8]) -> io::Result<Message> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A socket for each query: its port is a part of what an impostor would have to guess.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    let reply = loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(reply) = reply_to(query, buffer.get(..length).unwrap_or_default()) {
            break reply;
        }
    };
    if reply.metadata.truncation { exchange_by_tcp(server, query, bytes).await } else { Ok(reply) }
}

async fn exchange_by_tcp(server: SocketAddr, query: &Message, bytes: &[u8]) -> io::Result<Message> {
    let mut connection = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    connection.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let mut reply = vec![0; connection.read_u16().await?.into()];
    connection.read_exact(&mut reply).await?;
    reply_to(query, &reply).ok_or_else(|| io::Error::other("the answer by TCP is none to our question"))
}

fn read(server: SocketAddr, name: &str, kind: RecordType, reply: &Message) -> Result<Answer, LookupError> {
    match reply.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        code => {
            return Err(LookupError::Refused { server, name: name.to_owned(), code: code.to_string() });
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

    #[test]
    fn the_first_name_server_of_the_system_is_asked() {
        let check = |text: &str, want: Option<&str>| {
            assert_eq!(first_server(text), want.map(|w| w.parse().unwrap()), "{text:?}");
        };
        check("# a\nsearch b\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n", Some("10.0.0.2:53"));
        check("nameserver fe80::1%eth0\nnameserver\t::1\n", Some("[::1]:53"));
        check("search a\n", None);
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
