//! The sockets around [`answer`]: one UDP socket, and TCP connections with a limit to their number and patience.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use runtime::process::Shutdown;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    answer::{Transport, answer},
    metrics::Metrics,
    steering::Steerer,
};

/// So many TCP connections are served at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 256;
/// A connection that brings no whole query, or takes no reply, for so long is closed (RFC 7766).
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to leave a socket alone that just failed: long enough not to spin, short enough not to be noticed.
const AFTER_ERROR: Duration = Duration::from_millis(20);

/// Answers on both sockets until `shutdown`. Connections under way are closed then: a resolver asks again.
pub async fn serve(
    udp: UdpSocket,
    tcp: TcpListener,
    steerer: Arc<Steerer>,
    metrics: Metrics,
    shutdown: Shutdown,
) {
    tokio::select! {
        () = datagrams(&udp, &steerer, &metrics) => {}
        () = connections(&tcp, &steerer, &metrics) => {}
        () = shutdown.cancelled() => {}
    }
}

async fn datagrams(socket: &UdpSocket, steerer: &Steerer, metrics: &Metrics) {
    let mut query = vec![0; usize::from(u16::MAX)];
    loop {
        let (length, asker) = match socket.recv_from(&mut query).await {
            Ok(received) => received,
            Err(e) => {
                tracing::warn!("receiving a query by UDP failed: {e}");
                sleep(AFTER_ERROR).await;
                continue;
            }
        };
        let reply = answer(&steerer.zone(), query.get(..length).unwrap_or_default(), Transport::Udp);
        metrics.answered(Transport::Udp, reply.as_deref());
        if let Some(reply) = reply
            && let Err(e) = socket.send_to(&reply, asker).await
        {
            tracing::debug!(%asker, "a reply by UDP was not sent: {e}");
        }
    }
}

async fn connections(listener: &TcpListener, steerer: &Arc<Steerer>, metrics: &Metrics) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((connection, asker)) => {
                let (steerer, metrics) = (steerer.clone(), metrics.clone());
                open.spawn(async move {
                    if let Err(e) = converse(connection, &steerer, &metrics).await {
                        tracing::debug!(%asker, "a connection ended early: {e}");
                    }
                    drop(place);
                });
            }
            Err(e) => {
                tracing::warn!("accepting a connection failed: {e}");
                sleep(AFTER_ERROR).await;
            }
        }
    }
}

/// One connection: messages with their length in front, answered in the order in which they come.
async fn converse(connection: TcpStream, steerer: &Steerer, metrics: &Metrics) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut connection = BufReader::new(connection);
    let mut query = Vec::new();
    loop {
        match timeout(PATIENCE, read_message(&mut connection, &mut query)).await?? {
            Some(()) => {}
            None => return Ok(()),
        }
        let reply = answer(&steerer.zone(), &query, Transport::Tcp);
        metrics.answered(Transport::Tcp, reply.as_deref());
        // Who sends no query by TCP has lost his way: hang up.
        let Some(reply) = reply else { return Ok(()) };
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes(), reply.as_slice()].concat();
        timeout(PATIENCE, connection.write_all(&framed)).await??;
    }
}

/// Reads one message; `None` where the stream ends between two.
async fn read_message(
    connection: &mut BufReader<TcpStream>,
    message: &mut Vec<u8>,
) -> io::Result<Option<()>> {
    let length = match connection.read_u16().await {
        Ok(length) => length,
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    };
    message.resize(length.into(), 0);
    connection.read_exact(message).await?;
    Ok(Some(()))
}

/// UDP and TCP on one address; with port 0, on the same free port.
pub async fn listen(
    what: &str,
    address: SocketAddr,
) -> Result<(UdpSocket, TcpListener), runtime::listen::ListenError> {
    const ATTEMPTS: usize = 16; // only for port 0: the UDP port drawn may be taken on TCP
    let mut attempt = 1;
    loop {
        let udp = runtime::listen::udp(what, address).await?;
        let same = udp.local_addr().unwrap_or(address);
        match runtime::listen::tcp(what, same).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(_) if address.port() == 0 && attempt < ATTEMPTS => attempt += 1,
            Err(e) => return Err(e),
        }
    }
}
