//! Connections to the application and to the other site's gateway: one small pool a thread. Of HTTP/1.1 as many as there
//! are requests under way; of HTTP/2 few, each with many.
//!
//! Always true here:
//! * A request is either handed back untouched ([`Failed::Returned`]) or counts as sent. Nothing here is sent again; what
//!   may be is [`crate::forward`]'s to say.
//! * [`Pool::close_all`] ends every connection, also those in use: after an epoch change nothing is asked over, or
//!   heard from, a connection of before.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Request, Response, Uri, Version,
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::{http1, http2},
    header::{self, HeaderValue},
    http::uri::{Authority, Scheme},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use model::topology::edge::Protocol;
use tokio::{
    net::TcpStream,
    task::spawn_local,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    balance::InFlight,
    body::{BoxError, Upload, VisitorBody},
    door::Local,
    metrics::{GatewayMetrics, Open},
    parking::Passage,
    rarely::Rarely,
};

/// Unused connections are closed after this time: shorter than the five seconds after which the most impatient
/// of common application servers (Node) hangs up.
const IDLE_MAX: Duration = Duration::from_millis(4_000);
/// Unused connections kept for one address, per thread.
const IDLE_COUNT_MAX: usize = 256;
/// A connection that was given back is ready at once, or is not used again.
const READY_WITHIN: Duration = Duration::from_millis(10);
/// Requests at once on one connection of HTTP/2; as many as most servers take.
const STREAMS_MAX: usize = 100;
/// How often such a connection is asked whether it lives while something is under way on it.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_WITHIN: Duration = Duration::from_secs(5);

/// Open connections by address.
pub(crate) struct Pool {
    metrics: Arc<GatewayMetrics>,
    idle: RefCell<HashMap<SocketAddr, Vec<Idle>>>,
    shared: RefCell<HashMap<SocketAddr, Vec<Shared>>>,
    term: RefCell<CancellationToken>,
}

struct Idle {
    sender: http1::SendRequest<VisitorBody>,
    term: CancellationToken,
    since: Instant,
}

/// A connection of HTTP/2, and how many requests are under way on it.
#[derive(Clone)]
struct Shared {
    sender: http2::SendRequest<VisitorBody>,
    term: CancellationToken,
    used: Rc<Cell<Used>>,
}

#[derive(Clone, Copy)]
struct Used {
    streams: usize,
    since: Instant,
}

/// What is spoken on a connection of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http1,
    Http2,
}

impl From<Protocol> for Spoken {
    fn from(protocol: Protocol) -> Spoken {
        match protocol {
            Protocol::Http1 => Spoken::Http1,
            Protocol::Http2 | Protocol::Grpc => Spoken::Http2,
        }
    }
}

impl Spoken {
    /// Gives a request the form that is spoken: HTTP/1.1 has a path and `Host`, HTTP/2 the whole address.
    pub(crate) fn suit(self, request: &mut Request<VisitorBody>, takes_trailers: bool) {
        if self == Spoken::Http1 {
            if let Some(path) = request.uri().authority().and(request.uri().path_and_query()).cloned() {
                *request.uri_mut() = Uri::from(path);
            }
            *request.version_mut() = Version::HTTP_11;
            return;
        }
        let mut parts = request.uri().clone().into_parts();
        // `Host` stays as well: two that are equal are one, and `doubt` has seen to it that it is a name.
        let host = request.headers().get(header::HOST);
        parts.authority = host.and_then(|h| Authority::try_from(h.as_bytes()).ok());
        parts.scheme = Some(Scheme::HTTP);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        *request.version_mut() = Version::HTTP_2;
        if takes_trailers {
            request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
}

enum Sender {
    Http1(http1::SendRequest<VisitorBody>),
    Http2 {
        sender: http2::SendRequest<VisitorBody>,
        /// Counted until this is dropped.
        _stream: Stream,
    },
}

/// One request's place on a connection of HTTP/2.
struct Stream(Rc<Cell<Used>>);

impl Stream {
    fn begin(used: &Rc<Cell<Used>>) -> Stream {
        let Used { streams, .. } = used.get();
        used.set(Used { streams: streams + 1, since: Instant::now() });
        Stream(used.clone())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Used { streams, .. } = self.0.get();
        self.0.set(Used { streams: streams.saturating_sub(1), since: Instant::now() });
    }
}

/// A connection that is ready for one request.
pub(crate) struct Connection {
    pool: Rc<Pool>,
    address: SocketAddr,
    sender: Sender,
    term: CancellationToken,
    /// Counted at the target until the answer has ended.
    in_flight: Option<InFlight>,
}

/// An exchange that brought no answer.
pub(crate) enum Failed {
    /// Not a byte of it was sent; here it is again.
    Returned(Box<Request<VisitorBody>>),
    /// Sent, at least in part, and the connection broke before the head of an answer. What became of it is not known.
    Broke(String),
    /// Sent, and no answer came in time, or none that can be read.
    Late(String),
}

/// How long an answer is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For its head.
    pub(crate) head: Duration,
    /// For its next bytes.
    pub(crate) idle: Duration,
}

impl Pool {
    pub(crate) fn new(metrics: Arc<GatewayMetrics>) -> Rc<Pool> {
        let term = RefCell::new(CancellationToken::new());
        Rc::new(Pool { metrics, idle: RefCell::default(), shared: RefCell::default(), term })
    }

    /// Ends all connections.
    pub(crate) fn close_all(&self) {
        self.idle.borrow_mut().clear();
        self.shared.borrow_mut().clear();
        self.term.replace(CancellationToken::new()).cancel();
    }

    /// A ready connection to `address`: one that is open already, or a new one.
    pub(crate) async fn connection(
        self: &Rc<Self>,
        address: SocketAddr,
        spoken: Spoken,
        within: Duration,
    ) -> io::Result<Connection> {
        if spoken == Spoken::Http2 {
            return match self.take_shared(address) {
                Some(connection) => Ok(connection),
                None => Box::pin(self.connect_shared(address, within)).await,
            };
        }
        while let Some(mut idle) = self.take_idle(address) {
            if idle.sender.is_ready()
                || matches!(timeout(READY_WITHIN, idle.sender.ready()).await, Ok(Ok(())))
            {
                let Idle { sender, term, .. } = idle;
                return Ok(self.ready(address, Sender::Http1(sender), term));
            }
        }
        // Boxed, as it is rare: every request under way would keep room for it.
        Box::pin(self.connect(address, within)).await
    }

    fn ready(self: &Rc<Self>, address: SocketAddr, sender: Sender, term: CancellationToken) -> Connection {
        Connection { pool: self.clone(), address, sender, term, in_flight: None }
    }

    /// The busiest connection that still has room; the others fall idle and end.
    fn take_shared(self: &Rc<Self>, address: SocketAddr) -> Option<Connection> {
        let mut all = self.shared.borrow_mut();
        let list = all.get_mut(&address)?;
        list.retain(|shared| {
            let Used { streams, since } = shared.used.get();
            !shared.sender.is_closed() && (streams > 0 || since.elapsed() <= IDLE_MAX)
        });
        let has_room = |shared: &&Shared| shared.used.get().streams < STREAMS_MAX;
        let shared = list.iter().filter(has_room).max_by_key(|shared| shared.used.get().streams)?;
        Some(self.on_shared(address, shared))
    }

    /// One request more on this connection.
    fn on_shared(self: &Rc<Self>, address: SocketAddr, shared: &Shared) -> Connection {
        let sender = Sender::Http2 { sender: shared.sender.clone(), _stream: Stream::begin(&shared.used) };
        self.ready(address, sender, shared.term.clone())
    }

    async fn connect_shared(
        self: &Rc<Self>,
        address: SocketAddr,
        within: Duration,
    ) -> io::Result<Connection> {
        let term = self.term.borrow().clone();
        let stream = timeout(within, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let handshake = http2::Builder::new(Local)
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_WITHIN)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = timeout(within, handshake).await?.map_err(io::Error::other)?;
        self.run(address, term.clone(), connection);
        let used = Rc::new(Cell::new(Used { streams: 0, since: Instant::now() }));
        let shared = Shared { sender, term, used };
        let ready = self.on_shared(address, &shared);
        if !shared.term.is_cancelled() {
            self.shared.borrow_mut().entry(address).or_default().push(shared);
        }
        Ok(ready)
    }

    /// Drives a connection to its end, or to the epoch's.
    fn run(
        &self,
        address: SocketAddr,
        term: CancellationToken,
        connection: impl Future<Output = hyper::Result<()>> + 'static,
    ) {
        let open = Open::count(&self.metrics.upstream_connections);
        spawn_local(async move {
            let _open = open;
            let ended = tokio::select! {
                // First: of a term that is over nothing is heard any more.
                biased;
                () = Rarely::new(term.cancelled_owned()) => return,
                ended = connection => ended,
            };
            // Its error reaches whoever waits for the answer; here only the end matters.
            if let Err(e) = ended {
                tracing::debug!(%address, "upstream connection ended: {e}");
            }
        });
    }

    fn take_idle(&self, address: SocketAddr) -> Option<Idle> {
        let mut all = self.idle.borrow_mut();
        let list = all.get_mut(&address)?;
        while let Some(idle) = list.pop() {
            if idle.since.elapsed() > IDLE_MAX {
                // The others are older still.
                list.clear();
                return None;
            }
            if !idle.sender.is_closed() {
                return Some(idle);
            }
        }
        None
    }

    async fn connect(self: &Rc<Self>, address: SocketAddr, within: Duration) -> io::Result<Connection> {
        let term = self.term.borrow().clone();
        let stream = timeout(within, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        self.run(address, term.clone(), connection.with_upgrades());
        Ok(self.ready(address, Sender::Http1(sender), term))
    }

    fn give_back(
        &self,
        address: SocketAddr,
        sender: http1::SendRequest<VisitorBody>,
        term: CancellationToken,
    ) {
        if term.is_cancelled() || sender.is_closed() {
            return;
        }
        let mut all = self.idle.borrow_mut();
        let list = all.entry(address).or_default();
        if list.len() < IDLE_COUNT_MAX {
            list.push(Idle { sender, term, since: Instant::now() });
        }
    }
}

impl Connection {
    /// Where it leads.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is spoken on it.
    pub(crate) fn protocol(&self) -> Spoken {
        match self.sender {
            Sender::Http1(_) => Spoken::Http1,
            Sender::Http2 { .. } => Spoken::Http2,
        }
    }

    /// Ends when this connection must not be used any more.
    pub(crate) fn term(&self) -> &CancellationToken {
        &self.term
    }

    /// It may carry the next request. One of HTTP/2 carries others already.
    fn give_back(self) {
        let Connection { pool, address, sender, term, .. } = self;
        if let Sender::Http1(sender) = sender {
            pool.give_back(address, sender, term);
        }
    }

    /// The exchange counts at its target until its answer has ended.
    pub(crate) fn counted(mut self, in_flight: InFlight) -> Connection {
        in_flight.sent();
        self.in_flight = Some(in_flight);
        self
    }

    /// Sends `request` and waits for the head of its answer.
    pub(crate) async fn exchange(
        mut self,
        mut request: Request<VisitorBody>,
        patience: Patience,
    ) -> Result<Response<Answer>, Failed> {
        let upload = request.body().progress();
        let answer = match &mut self.sender {
            Sender::Http1(sender) => {
                // A body of unknown length: with GET and HEAD hyper would take it for none, and drop it.
                if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
                    let chunked = HeaderValue::from_static("chunked");
                    request.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
                }
                timeout(patience.head, sender.try_send_request(request)).await
            }
            Sender::Http2 { sender, .. } => {
                request.headers_mut().remove(header::TRANSFER_ENCODING);
                timeout(patience.head, sender.try_send_request(request)).await
            }
        };
        if let Some(in_flight) = &self.in_flight {
            match &answer {
                Ok(Ok(answer)) => in_flight.answered(answer.status()),
                // Nothing was sent, we hung up, or the visitor's own body ended it: that says nothing of the target.
                Ok(Err(e)) if e.message().is_some() => {}
                _ if self.term.is_cancelled() => {}
                _ if !matches!(upload.get(), Upload::UnderWay | Upload::Complete) => {}
                _ => in_flight.failed(),
            }
        }
        match answer {
            Ok(Ok(answer)) => Ok(answer.map(|inner| Answer {
                ended: Cell::new(inner.is_end_stream()),
                inner,
                lease: Some((self, upload)),
                passage: None,
                idle: patience.idle,
                timer: None,
            })),
            Ok(Err(mut e)) => match e.take_message() {
                Some(request) => Err(Failed::Returned(Box::new(request))),
                None => {
                    let e = e.into_error();
                    Err(if e.is_parse() { Failed::Late(e.to_string()) } else { Failed::Broke(e.to_string()) })
                }
            },
            Err(_) => Err(Failed::Late(format!("no answer within {} ms", patience.head.as_millis()))),
        }
    }
}

/// An answer's body. Gives its connection back when it was read to its end, closes it otherwise.
pub(crate) struct Answer {
    inner: Incoming,
    ended: Cell<bool>,
    lease: Option<(Connection, Rc<Cell<Upload>>)>,
    passage: Option<Passage>,
    /// How long its next bytes may take, and the clock that runs while they are waited for.
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Answer {
    /// The connection speaks another protocol from now on: it is never given back.
    pub(crate) fn keep_open(mut self) -> Option<Connection> {
        self.lease.take().map(|(connection, _)| connection)
    }

    /// The request counts as under way until this body has ended.
    pub(crate) fn keep(&mut self, passage: Passage) {
        self.passage = Some(passage).filter(|_| !self.ended.get());
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some((connection, upload)) = self.lease.take()
            && self.ended.get()
            && upload.get() == Upload::Complete
        {
            connection.give_back();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if frame.is_pending() {
            let idle = self.idle;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(idle)));
            ready!(timer.as_mut().poll(cx));
            let why = format!("the application said nothing for {} ms", idle.as_millis());
            return Poll::Ready(Some(Err(why.into())));
        }
        let idle = self.idle;
        if let Some(timer) = &mut self.timer {
            let until = Instant::now() + idle;
            timer.as_mut().reset(until);
        }
        match &frame {
            Poll::Ready(None) => self.ended.set(true),
            Poll::Ready(Some(Ok(_))) if self.inner.is_end_stream() => self.ended.set(true),
            _ => {}
        }
        if self.ended.get() {
            self.passage = None;
        }
        frame.map(|f| f.map(|r| r.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
