//! A visitor's connection from its first byte to its last: PROXY header, TLS, then HTTP/1.1 or HTTP/2.

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use hyper::{
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::spawn_local,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    framing::{HeadWatch, Watched},
    listen::Edge,
    metrics::Open,
    pressure::{self, Admission},
    proxied,
    rarely::Rarely,
    request::{self, Visitor},
    tls::{Certificates, TlsError},
};

/// PROXY header and TLS handshake together take no longer; who is slower is hung up on.
const GREET_WITHIN: Duration = Duration::from_secs(10);
/// Headers that hyper takes if it is told nothing.
const HEADERS_MAX_OF_HYPER: usize = 100;
/// HTTP/2: requests of one connection at once, and how often an idle one is asked whether it lives.
const STREAMS_MAX: u32 = 128;
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_WITHIN: Duration = Duration::from_secs(20);

/// How the connections of one listener begin.
#[derive(Clone)]
pub(crate) struct Door {
    tls: Option<TlsAcceptor>,
    proxied: bool,
}

impl Door {
    /// Without TLS.
    pub(crate) fn plain() -> Door {
        Door { tls: None, proxied: false }
    }

    pub(crate) fn new(certificates: Option<&Arc<Certificates>>, proxied: bool) -> Result<Door, TlsError> {
        let tls = certificates.map(Certificates::server).transpose()?;
        Ok(Door { tls: tls.map(TlsAcceptor::from), proxied })
    }

    async fn greet(&self, mut stream: TcpStream, address: SocketAddr) -> io::Result<(Spoken, SocketAddr)> {
        let from = if self.proxied { proxied::read(&mut stream).await? } else { None };
        let address = from.unwrap_or(address);
        let Some(tls) = &self.tls else { return Ok((Spoken::Plain(stream), address)) };
        let stream = tls.accept(stream).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let stream = Box::new(stream);
        Ok((if is_http2 { Spoken::Http2(stream) } else { Spoken::Tls(stream) }, address))
    }
}

/// What a connection speaks.
enum Spoken {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Http2(Box<TlsStream<TcpStream>>),
}

/// Serves a connection until it ends; after the end was asked for only the requests under way.
pub(crate) async fn connection(edge: Rc<Edge>, door: Rc<Door>, stream: TcpStream, address: SocketAddr) {
    let _open = Open::count(&edge.metrics.connections);
    let turned_away = match edge.pressure.admit(pressure::open(&edge.metrics)) {
        Admission::Serve => false,
        Admission::TurnAway => true,
        Admission::HangUp => {
            edge.metrics.hung_up.inc();
            return;
        }
    };
    if let Err(e) = stream.set_nodelay(true) {
        tracing::debug!("TCP_NODELAY on a visitor's connection: {e}");
    }
    // What a connection needs only for a while, or only if it is of one kind, is on its own: there may be ten thousand that
    // are idle, and each would keep room for all of it.
    let greeted = Box::pin(async {
        tokio::select! {
            greeted = timeout(GREET_WITHIN, door.greet(stream, address)) => Some(greeted),
            () = edge.ending.may_close() => None,
        }
    });
    let Some(greeted) = greeted.await else { return };
    let (spoken, address) = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(e)) => return tracing::debug!(%address, "a connection did not begin well: {e}"),
        Err(_) => return tracing::debug!(%address, "a connection did not begin in time"),
    };
    let visitor = |secure| Visitor { address, heads: HeadWatch::framed(), secure, turned_away };
    let result = match spoken {
        Spoken::Plain(stream) => Box::pin(serve_http1(edge, stream, visitor(false))).await,
        Spoken::Tls(stream) => Box::pin(serve_http1(edge, stream, visitor(true))).await,
        Spoken::Http2(stream) => Box::pin(serve_http2(edge, stream, visitor(true))).await,
    };
    if let Err(e) = result {
        tracing::debug!(%address, "visitor's connection ended: {e}");
    }
}

async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    edge: Rc<Edge>,
    stream: S,
    visitor: Visitor,
) -> hyper::Result<()> {
    let limits = edge.settings().limits.clone();
    let ending = edge.ending.clone();
    let (stream, heads) = Watched::new(stream, &limits, edge.metrics.clone());
    let visitor = Visitor { heads, ..visitor };
    // Boxed: hyper keeps room for this future on every connection, the idle ones too.
    let service =
        service_fn(move |request| Box::pin(request::handle(edge.clone(), visitor.clone(), request)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.head_idle_ms))
        .max_header_size(limits.head_bytes_max)
        .max_buf_size(limits.head_bytes_max.max(64 << 10))
        .pipeline_flush(false);
    // What is set, hyper makes room for anew with every request; its own number costs nothing.
    if limits.headers_max != HEADERS_MAX_OF_HYPER {
        http.max_headers(limits.headers_max);
    }
    let served = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(served);
    let may_close = Rarely::new(async move { ending.may_close().await });
    tokio::select! {
        // First: an answer that is ready after the order says that it is the last one.
        biased;
        () = may_close => {
            served.as_mut().graceful_shutdown();
            served.await
        }
        result = served.as_mut() => result,
    }
}

async fn serve_http2(
    edge: Rc<Edge>,
    stream: Box<TlsStream<TcpStream>>,
    visitor: Visitor,
) -> hyper::Result<()> {
    let limits = edge.settings().limits.clone();
    let ending = edge.ending.clone();
    let service =
        service_fn(move |request| Box::pin(request::handle(edge.clone(), visitor.clone(), request)));
    let served = http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let asked = Rarely::new(ending.asked().clone().cancelled_owned());
    tokio::select! {
        biased;
        // GOAWAY names the last request that is answered; the visitor sends the next one elsewhere.
        () = asked => {
            served.as_mut().graceful_shutdown();
            served.await
        }
        result = served.as_mut() => result,
    }
}

/// Runs the streams of a connection on the thread that has it.
#[derive(Clone, Copy)]
pub(crate) struct Local;

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, stream: F) {
        spawn_local(async move {
            stream.await;
        });
    }
}
