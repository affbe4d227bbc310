//! The visitor's front door: what a browser's machine does for it, on `localhost`.
//!
//! A browser on this machine cannot be told to ask the lab's name server. So it talks to a TCP relay that does: it
//! resolves the service's name, honours the TTL, and carries the bytes unchanged to the site that the name leads to.
//! When the name leads elsewhere it closes the connections to the old site at once, so that the browser comes again
//! and follows the failover; a browser that resolved by itself would do so at its next connection.
//!
//! Always true here: no byte is added, changed, or sent to two sites. A connection is made again elsewhere only while
//! nothing of it has been carried yet.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use runtime::{listen::ListenError, process::Shutdown};
use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

use crate::resolver::Resolver;

/// How long one attempt to reach a site may take.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How long a visitor who has just arrived is kept waiting for a site that takes him in.
const ARRIVAL_MAX: Duration = Duration::from_secs(20);
/// The pause between two attempts, and between two questions to a silent name server.
const PAUSE: Duration = Duration::from_millis(100);
/// So many connections are carried at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1_024;
/// Bytes held for each direction of a connection; beyond that the sender waits.
const BUFFER_BYTES: usize = 32 << 10;

/// Listens on `port` of IPv4's loopback, and of IPv6's where there is one: browsers try both for `localhost`.
pub async fn listen(port: u16) -> Result<Vec<TcpListener>, ListenError> {
    let v4 = runtime::listen::tcp("the front door", (Ipv4Addr::LOCALHOST, port).into()).await?;
    let port = v4.local_addr().map_or(port, |address| address.port());
    match runtime::listen::tcp("the front door", (Ipv6Addr::LOCALHOST, port).into()).await {
        Ok(v6) => Ok(vec![v4, v6]),
        Err(ListenError::Refused { source, .. }) => {
            tracing::debug!("no front door on [::1]: {source}");
            Ok(vec![v4])
        }
        Err(taken) => Err(taken),
    }
}

/// Carries visitors to port `port` of whatever address `name` has, until `shutdown`; connections are dropped then.
pub async fn run(
    listeners: Vec<TcpListener>,
    resolver: Arc<Resolver>,
    name: String,
    port: u16,
    shutdown: Shutdown,
) {
    let (tell, site) = watch::channel(None);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut all = JoinSet::new();
    all.spawn(follow(resolver, name, tell));
    for listener in listeners {
        all.spawn(welcome(listener, site.clone(), port, room.clone()));
    }
    tokio::select! {
        () = shutdown.cancelled() => {}
        Some(_) = all.join_next() => tracing::error!("a part of the front door ended by itself"),
    }
}

/// Keeps `site` at what the name leads to: `None` while nothing that is known may still be used.
async fn follow(resolver: Arc<Resolver>, name: String, site: watch::Sender<Option<IpAddr>>) {
    loop {
        let known = resolver.lookup_until(&name).await;
        let now = known.as_ref().ok().map(|(ip, _)| *ip);
        site.send_if_modified(|before| {
            let changed = *before != now;
            if changed {
                match &known {
                    Ok((ip, _)) => tracing::info!(%ip, "the front door leads to this address"),
                    Err(e) => tracing::warn!("the front door has lost its way: {e}"),
                }
            }
            *before = now;
            changed
        });
        match known {
            // A TTL of zero must not spin.
            Ok((_, until)) => sleep_until(until.max(Instant::now() + PAUSE / 10)).await,
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn welcome(
    listener: TcpListener,
    site: watch::Receiver<Option<IpAddr>>,
    port: u16,
    room: Arc<Semaphore>,
) {
    let mut visits = JoinSet::new();
    loop {
        while visits.try_join_next().is_some() {}
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((visitor, _)) => {
                let site = site.clone();
                visits.spawn(async move {
                    if let Err(e) = visit(visitor, site, port).await {
                        tracing::debug!("a visit ended early: {e}");
                    }
                    drop(place);
                });
            }
            Err(e) => {
                tracing::warn!("accepting a visitor failed: {e}");
                sleep(PAUSE).await;
            }
        }
    }
}

/// One connection: find a site that takes it, then carry bytes until both ends are done or the name moves.
async fn visit(
    mut visitor: TcpStream,
    mut site: watch::Receiver<Option<IpAddr>>,
    port: u16,
) -> io::Result<()> {
    visitor.set_nodelay(true)?;
    let deadline = Instant::now() + ARRIVAL_MAX;
    let (ip, mut upstream) = tokio::select! {
        arrived = timeout_at(deadline, arrive(&mut site, port)) => arrived?,
        () = gone(&visitor) => return Ok(()),
    };
    upstream.set_nodelay(true)?;
    tokio::select! {
        carried = copy_bidirectional_with_sizes(&mut visitor, &mut upstream, BUFFER_BYTES, BUFFER_BYTES) => {
            carried.map(|_| ())
        }
        () = moved(&mut site, ip) => Ok(()),
    }
}

/// Connects to the site of the moment, again and again until one takes the connection.
async fn arrive(site: &mut watch::Receiver<Option<IpAddr>>, port: u16) -> (IpAddr, TcpStream) {
    loop {
        let Ok(Some(ip)) = site.wait_for(Option::is_some).await.map(|ip| *ip) else {
            return std::future::pending().await; // the door is closing
        };
        tokio::select! {
            connected = timeout(CONNECT_MAX, TcpStream::connect(SocketAddr::new(ip, port))) => {
                if let Ok(Ok(upstream)) = connected {
                    return (ip, upstream);
                }
                sleep(PAUSE).await; // refused at once: the site is starting
            }
            () = moved(site, ip) => {}
        }
    }
}

/// Ends when the name leads anywhere but to `ip`. A name server that is silent has not said so.
async fn moved(site: &mut watch::Receiver<Option<IpAddr>>, ip: IpAddr) {
    if site.wait_for(|now| now.is_some_and(|now| now != ip)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Ends when the visitor has hung up without a word. One who has spoken, or says nothing, is still there.
async fn gone(visitor: &TcpStream) {
    match visitor.peek(&mut [0]).await {
        Ok(0) | Err(_) => {}
        Ok(_) => std::future::pending().await,
    }
}
