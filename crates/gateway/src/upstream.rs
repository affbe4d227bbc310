//! Connections to the application and to the other site's gateway: one small pool a thread.
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
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1::{self, SendRequest},
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::spawn_local,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    balance::InFlight,
    body::{BoxError, Upload, VisitorBody},
    metrics::{GatewayMetrics, Open},
    parking::Passage,
};

/// Unused connections are closed after this time: shorter than the five seconds after which the most impatient
/// of common application servers (Node) hangs up.
const IDLE_MAX: Duration = Duration::from_millis(4_000);
/// Unused connections kept for one address, per thread.
const IDLE_COUNT_MAX: usize = 256;
/// A connection that was given back is ready at once, or is not used again.
const READY_WITHIN: Duration = Duration::from_millis(10);

/// Open connections by address.
pub(crate) struct Pool {
    metrics: Arc<GatewayMetrics>,
    idle: RefCell<HashMap<SocketAddr, Vec<Idle>>>,
    term: RefCell<CancellationToken>,
}

struct Idle {
    sender: SendRequest<VisitorBody>,
    term: CancellationToken,
    since: Instant,
}

/// A connection that is ready for one request.
pub(crate) struct Connection {
    pool: Rc<Pool>,
    address: SocketAddr,
    sender: SendRequest<VisitorBody>,
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
        Rc::new(Pool { metrics, idle: RefCell::default(), term: RefCell::new(CancellationToken::new()) })
    }

    /// Ends all connections.
    pub(crate) fn close_all(&self) {
        self.idle.borrow_mut().clear();
        self.term.replace(CancellationToken::new()).cancel();
    }

    /// A ready connection to `address`: one that is open already, or a new one.
    pub(crate) async fn connection(
        self: &Rc<Self>,
        address: SocketAddr,
        within: Duration,
    ) -> io::Result<Connection> {
        while let Some(mut idle) = self.take_idle(address) {
            if let Ok(Ok(())) = timeout(READY_WITHIN, idle.sender.ready()).await {
                let Idle { sender, term, .. } = idle;
                return Ok(Connection { pool: self.clone(), address, sender, term, in_flight: None });
            }
        }
        self.connect(address, within).await
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
        let until = term.clone();
        let open = Open::count(&self.metrics.upstream_connections);
        spawn_local(async move {
            let _open = open;
            // Its error reaches whoever waits for the answer; here only the end matters.
            if let Some(Err(e)) = until.run_until_cancelled(connection.with_upgrades()).await {
                tracing::debug!(%address, "upstream connection ended: {e}");
            }
        });
        Ok(Connection { pool: self.clone(), address, sender, term, in_flight: None })
    }

    fn give_back(&self, address: SocketAddr, sender: SendRequest<VisitorBody>, term: CancellationToken) {
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

    /// Ends when this connection must not be used any more.
    pub(crate) fn term(&self) -> &CancellationToken {
        &self.term
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
        // A body of unknown length: with GET and HEAD hyper would take it for none, and drop it.
        if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
            request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let upload = request.body().progress();
        let answer = timeout(patience.head, self.sender.try_send_request(request)).await;
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
            connection.pool.give_back(connection.address, connection.sender, connection.term);
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
        if let Some(timer) = &mut self.timer {
            let until = Instant::now() + self.idle;
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
