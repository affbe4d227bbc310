//! A visitor's HTTP/1.1 client: kept-alive connections per address, and failures told apart by what they prove.
//!
//! Always true here: a request is never sent twice on its own account. [`Failure::NotSent`] is returned only when
//! no byte of the request can have reached the other side; everything else that is not an answer is
//! [`Failure::Unanswered`], and whether the write took effect is then open.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{HeaderMap, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpSocket,
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

/// No page or answer of the service is larger.
const BODY_BYTES_MAX: usize = 16 << 20;

/// A connection that was idle for so long is not used again. Servers end theirs after a minute (nginx, and our gateway's
/// `head_idle_ms`), and a request that is sent in that very moment gets a reset; a browser sends it again by itself,
/// this client never sends anything twice.
const KEPT_MAX: Duration = Duration::from_secs(30);

type Sender = http1::SendRequest<Full<Bytes>>;

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, to the last byte.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing was sent: no connection came about. The same request may be sent anywhere.
    #[error("no connection to {0}: {1}")]
    NotSent(SocketAddr, String),
    /// The request went out, in part at least, and no complete answer came back. Only the same `Idempotency-Key`
    /// makes a repetition safe.
    #[error("no answer from {0}: {1}")]
    Unanswered(SocketAddr, String),
}

impl Failure {
    /// Whether the write may have taken effect.
    pub fn leaves_open(&self) -> bool {
        matches!(self, Failure::Unanswered(..))
    }
}

/// The connections of a crowd of visitors. One request at a time is on each.
#[derive(Debug)]
pub struct Http {
    idle: Mutex<HashMap<SocketAddr, Vec<Kept>>>,
    kept_max: Duration,
    /// The address that connections come from; the system's choice if there is none.
    source: Option<IpAddr>,
    /// One for each connection that may be open.
    turns: Semaphore,
}

/// A connection with nothing under way, and since when.
#[derive(Debug)]
struct Kept {
    sender: Sender,
    since: Instant,
}

impl Default for Http {
    fn default() -> Self {
        Http {
            idle: Mutex::default(),
            kept_max: KEPT_MAX,
            source: None,
            turns: Semaphore::new(Semaphore::MAX_PERMITS),
        }
    }
}

impl Http {
    /// Visitors behind one address, who share at most so many connections: who finds all of them busy waits.
    pub fn behind(source: IpAddr, connections: usize) -> Http {
        Http { source: Some(source), turns: Semaphore::new(connections), ..Http::default() }
    }

    /// Sends `request` to `to` and reads the whole answer, all within `timeout`.
    pub async fn send(
        &self,
        to: SocketAddr,
        request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        let deadline = Instant::now() + timeout;
        let _turn = self.turn(to, deadline).await?;
        let mut request = request;
        loop {
            let Some(mut sender) = self.take(to) else { break };
            match tokio::time::timeout_at(deadline, sender.try_send_request(request)).await {
                Ok(Ok(response)) => return self.finish(to, response, Some(sender), deadline).await,
                Ok(Err(mut refused)) => match refused.take_message() {
                    // The kept connection was closed meanwhile and took nothing of the request: the next one.
                    Some(message) => request = message,
                    None => return Err(Failure::Unanswered(to, refused.into_error().to_string())),
                },
                Err(_) => {
                    // A host that is silent on one connection is silent on all that were kept.
                    self.forget(to);
                    return Err(Failure::Unanswered(to, silent(timeout)));
                }
            }
        }
        let mut sender = match tokio::time::timeout_at(deadline, connect(to, self.source)).await {
            Ok(Ok(sender)) => sender,
            Ok(Err(e)) => return Err(Failure::NotSent(to, e)),
            Err(_) => return Err(Failure::NotSent(to, silent(timeout))),
        };
        match tokio::time::timeout_at(deadline, sender.send_request(request)).await {
            Ok(Ok(response)) => self.finish(to, response, Some(sender), deadline).await,
            Ok(Err(e)) => Err(Failure::Unanswered(to, e.to_string())),
            Err(_) => Err(Failure::Unanswered(to, silent(timeout))),
        }
    }

    async fn turn(&self, to: SocketAddr, deadline: Instant) -> Result<SemaphorePermit<'_>, Failure> {
        match tokio::time::timeout_at(deadline, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(e)) => Err(Failure::NotSent(to, e.to_string())),
            Err(_) => Err(Failure::NotSent(to, "every connection of the neighbours was busy".into())),
        }
    }

    /// Drops the connections kept to `to`.
    pub fn forget(&self, to: SocketAddr) {
        self.idle().remove(&to);
    }

    async fn finish(
        &self,
        to: SocketAddr,
        response: hyper::Response<hyper::body::Incoming>,
        sender: Option<Sender>,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let (head, body) = response.into_parts();
        let read = Limited::new(body, BODY_BYTES_MAX).collect();
        let body = match tokio::time::timeout_at(deadline, read).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(e)) => return Err(Failure::Unanswered(to, e.to_string())),
            Err(_) => return Err(Failure::Unanswered(to, "the answer did not end in time".into())),
        };
        if let Some(sender) = sender
            && !sender.is_closed()
        {
            self.idle().entry(to).or_default().push(Kept { sender, since: Instant::now() });
        }
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    fn take(&self, to: SocketAddr) -> Option<Sender> {
        let mut idle = self.idle();
        let kept = idle.get_mut(&to)?;
        // The most recently used first, so that a crowd's surplus of connections falls out of use.
        let usable = |kept: &Kept| kept.since.elapsed() < self.kept_max && !kept.sender.is_closed();
        std::iter::from_fn(|| kept.pop()).find(usable).map(|kept| kept.sender)
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<SocketAddr, Vec<Kept>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn silent(timeout: Duration) -> String {
    format!("silent for {} ms", timeout.as_millis())
}

async fn connect(to: SocketAddr, source: Option<IpAddr>) -> Result<Sender, String> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|e| e.to_string())?;
    if let Some(source) = source {
        socket
            .bind((source, 0).into())
            .map_err(|e| format!("{source} is no address of this machine: {e}"))?;
    }
    let stream = socket.connect(to).await.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(async move {
        // The request on the connection is told of its end; nobody else needs to know.
        if let Err(e) = connection.await {
            tracing::trace!("a visitor's connection to {to} ended: {e}");
        }
    });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn get() -> Request<Full<Bytes>> {
        Request::get("/").header("host", "x").body(Full::default()).unwrap()
    }

    /// A server that treats its connections one after the other, each by one line of the script.
    async fn scripted(script: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for act in script {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut seen = [0; 1024];
                match *act {
                    "hang" => {
                        tokio::spawn(async move { while stream.read(&mut seen).await.unwrap_or(0) > 0 {} });
                    }
                    "break" => drop(stream.read(&mut seen).await),
                    answers => {
                        for body in answers.split(',') {
                            if stream.read(&mut seen).await.unwrap() == 0 {
                                break;
                            }
                            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                            stream.write_all((head + body).as_bytes()).await.unwrap();
                        }
                    }
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn a_kept_connection_is_used_again_and_a_closed_one_is_replaced() {
        let server = scripted(&["one,two", "three"]).await;
        let http = Http::default();
        for expected in ["one", "two", "three"] {
            let answer = http.send(server, get(), Duration::from_secs(5)).await.unwrap();
            assert_eq!(answer.body, expected);
            if expected == "two" {
                // The server closes behind it; a visitor comes back later than that is noticed.
                let deadline = Instant::now() + Duration::from_secs(5);
                while http.idle().values().flatten().any(|kept| !kept.sender.is_closed()) {
                    assert!(Instant::now() < deadline, "the end was never noticed");
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    #[tokio::test]
    async fn neighbours_come_from_one_address_and_wait_for_each_other() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let source: IpAddr = "127.0.0.9".parse().unwrap();
        let http = Http::behind(source, 1);
        let serve = async {
            let (mut stream, from) = listener.accept().await.unwrap();
            assert_eq!(from.ip(), source);
            for _ in 0..2 {
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        };
        let ask = || http.send(server, get(), Duration::from_secs(5));
        let ((), one, two) = tokio::join!(serve, ask(), ask());
        assert!(one.is_ok() && two.is_ok(), "both on the one connection");
        let busy = http.turns.acquire().await.unwrap();
        let waited = http.send(server, get(), Duration::from_millis(20)).await.unwrap_err();
        assert!(!waited.leaves_open(), "{waited}");
        drop(busy);
    }

    #[tokio::test]
    async fn a_connection_that_was_idle_too_long_is_left_alone() {
        let server = scripted(&["one,never asked for", "two"]).await;
        let http = Http { kept_max: Duration::ZERO, ..Http::default() };
        for expected in ["one", "two"] {
            let answer = http.send(server, get(), Duration::from_secs(5)).await.unwrap();
            assert_eq!(answer.body, expected);
        }
    }

    #[tokio::test]
    async fn silence_and_a_broken_connection_leave_open_what_happened_and_a_refusal_does_not() {
        let server = scripted(&["hang", "break"]).await;
        let http = Http::default();
        let silence = http.send(server, get(), Duration::from_millis(50)).await.unwrap_err();
        assert!(silence.leaves_open(), "{silence}");
        let broken = http.send(server, get(), Duration::from_secs(5)).await.unwrap_err();
        assert!(broken.leaves_open(), "{broken}");
        let nobody = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let refused = http.send(nobody, get(), Duration::from_secs(5)).await.unwrap_err();
        assert!(!refused.leaves_open(), "{refused}");
    }
}
