//! The inter-site link: how each site reaches the other, and how that way is cut or made long.
//!
//! Each site has an address, its end of the link; what connects there arrives at the other site's agent, gateway or
//! controller: [`ways`] is the list of what passes, and of what does not.
//! A real link drops packets and TCP sends them again, so what an endpoint sees of a cut is silence, never a lost or
//! an extra byte. The same holds here: while the link is cut nothing is read, written or connected; senders' buffers
//! fill and they wait. When it heals every connection goes on where it stood, and one that an endpoint gave up in the
//! meantime ends then. Two things differ from a real link: a new connection is accepted at once (by this end, not by
//! the far one) and stays mute, and healing is noticed at once, not at TCP's next attempt.
//!
//! One direction alone may be lost: then bytes that the one site sends do not arrive, those of the other one do, and no
//! new connection comes about. Here, too, the real thing is a little worse: TCP's acknowledgements take the lost
//! direction, so that the other one would come to a stand as well once a window of bytes is under way.
//!
//! The round trip is half on each way: every byte, and every end of a stream, is delivered `rtt_ms / 2` after it was
//! read at the earliest (timers round up to the next millisecond), in order; a new connection waits one round trip
//! first.

mod delay;
mod ways;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use runtime::{listen::ListenError, process::Shutdown};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use delay::{Delivery, Line};
pub use ways::{TALKS, Talk, Way, ways};

use crate::layout::Cloud;

/// Bytes that may be under way on one connection in one direction; the sender waits beyond that.
const UNDER_WAY_BYTES_MAX: usize = 1 << 20;
/// At most so much is read at a time.
const READ_BYTES_MAX: usize = 64 << 10;
/// A far end that takes no connection for so long is given up, as a client would.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// No link is longer.
const RTT_MS_MAX: u64 = 60_000;
/// How long a listener that just failed is left alone.
const AFTER_ERROR: Duration = Duration::from_millis(20);

/// What the link is like: the body of `POST /v1/lab/link`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkState {
    /// Nothing passes.
    pub cut: bool,
    /// Nothing that this site sends passes.
    pub lost_from: Option<Cloud>,
    /// The added round trip, in milliseconds; at most a minute.
    pub rtt_ms: u64,
}

/// The link as it is: what was asked for, and whether one of its ends is dark.
#[derive(Clone, Copy, Debug, Default)]
struct Now {
    asked: LinkState,
    dark: bool,
}

impl Now {
    fn is_whole(self) -> bool {
        !self.asked.cut && !self.dark && self.asked.lost_from.is_none()
    }

    /// Whether what `from` sends arrives.
    fn carries(self, from: Cloud) -> bool {
        !self.asked.cut && !self.dark && self.asked.lost_from != Some(from)
    }
}

impl LinkState {
    fn one_way(self) -> Duration {
        Duration::from_micros(self.rtt_ms.min(RTT_MS_MAX) * 500)
    }
}

/// What has passed since the lab began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkCounters {
    /// Bytes delivered, both ways together.
    pub delivered_bytes: u64,
    /// Connections accepted.
    pub connections: u64,
}

/// The handle by which the link is changed while traffic flows. Cheap to clone; all clones are the same link.
#[derive(Clone, Debug, Default)]
pub struct LinkControl(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: watch::Sender<Now>,
    delivered_bytes: AtomicU64,
    connections: AtomicU64,
}

impl LinkControl {
    /// A link that is whole and adds no delay.
    pub fn new() -> LinkControl {
        LinkControl::default()
    }

    /// Changes the link. What is sent after this returns meets the new state.
    pub fn set(&self, state: LinkState) {
        self.0.state.send_modify(|now| now.asked = state);
    }

    /// Lets the link end with one of its sites, or come back with it: what is under way arrives nowhere. Whether the
    /// link was cut by itself is remembered.
    pub fn set_dark(&self, dark: bool) {
        self.0.state.send_modify(|now| now.dark = dark);
    }

    /// What the link is like now.
    pub fn state(&self) -> LinkState {
        self.0.state.borrow().asked
    }

    /// What has passed.
    pub fn counters(&self) -> LinkCounters {
        LinkCounters {
            delivered_bytes: self.0.delivered_bytes.load(Ordering::Relaxed),
            connections: self.0.connections.load(Ordering::Relaxed),
        }
    }
}

/// A way whose near end listens.
#[derive(Debug)]
pub struct OpenWay {
    listener: TcpListener,
    near: Cloud,
    to: SocketAddr,
}

/// Listens at the near end of every way.
pub async fn listen(ways: &[Way]) -> Result<Vec<OpenWay>, ListenError> {
    let mut open = Vec::new();
    for way in ways {
        let listener = runtime::listen::tcp(&way.what, way.listen).await?;
        open.push(OpenWay { listener, near: way.near, to: way.to });
    }
    Ok(open)
}

impl OpenWay {
    /// Where the near end listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Carries the traffic of all ways until `shutdown`; connections are dropped then.
pub async fn run(ways: Vec<OpenWay>, control: LinkControl, shutdown: Shutdown) {
    let mut all = JoinSet::new();
    for way in ways {
        all.spawn(carry(way, control.clone()));
    }
    tokio::select! {
        () = shutdown.cancelled() => {}
        Some(_) = all.join_next() => tracing::error!("a way through the link ended by itself"),
    }
}

async fn carry(way: OpenWay, control: LinkControl) {
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        match way.listener.accept().await {
            Ok((near, _)) => {
                control.0.connections.fetch_add(1, Ordering::Relaxed);
                let (control, from, to) = (control.clone(), way.near, way.to);
                open.spawn(async move {
                    if let Err(e) = connection(near, from, to, &control).await {
                        tracing::debug!(%to, "a connection over the link broke: {e}");
                    }
                });
            }
            Err(e) => {
                tracing::warn!("accepting a connection at the link's end failed: {e}");
                tokio::time::sleep(AFTER_ERROR).await; // out of descriptors, most likely
            }
        }
    }
}

/// One connection, from its handshake to the end of both directions. An error ends both at once.
async fn connection(near: TcpStream, from: Cloud, to: SocketAddr, control: &LinkControl) -> io::Result<()> {
    let mut state = control.0.state.subscribe();
    let round_trip = control.state().one_way() * 2;
    tokio::time::sleep(round_trip).await; // that of the handshake
    whole(&mut state).await;
    let far = match timeout(CONNECT_PATIENCE, connect(near.local_addr()?, to)).await {
        Ok(Ok(far)) => far,
        Ok(Err(e)) => {
            // The nearest thing to a refusal once the handshake is over.
            near.set_zero_linger()?;
            return Err(e);
        }
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let there = direction(from, near_in, far_out, state.clone(), control);
    let back = direction(from.peer(), far_in, near_out, state, control);
    tokio::try_join!(there, back)?;
    Ok(())
}

/// Connects from the address of the near end, so that the far side, and whoever drops the packets of a whole site,
/// see from where it comes.
async fn connect(near: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if near.is_ipv4() == to.is_ipv4() {
        socket.bind(SocketAddr::new(near.ip(), 0))?;
    }
    socket.connect(to).await
}

/// Waits until the link is whole.
async fn whole(state: &mut watch::Receiver<Now>) {
    until(state, |now| now.is_whole()).await;
}

async fn until(state: &mut watch::Receiver<Now>, holds: impl Fn(&Now) -> bool) {
    if state.wait_for(holds).await.is_err() {
        std::future::pending::<()>().await; // the control is gone, and with it the lab
    }
}

/// Carries one direction, that of what `sender` sends, until its end has been delivered.
async fn direction(
    sender: Cloud,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<Now>,
    control: &LinkControl,
) -> io::Result<()> {
    let mut line = Line::new(UNDER_WAY_BYTES_MAX);
    let mut read = vec![0; READ_BYTES_MAX];
    loop {
        let now = *state.borrow_and_update();
        if !now.carries(sender) {
            until(&mut state, |now| now.carries(sender)).await;
            continue;
        }
        let delay = now.asked.one_way();
        let room = line.room().min(READ_BYTES_MAX);
        let next = line.next(Instant::now());
        tokio::select! {
            biased; // a cut comes before the bytes that were sent after it
            changed = state.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
            written = async {
                match &next {
                    Delivery::Bytes(bytes) => to.write(bytes).await,
                    Delivery::End => to.shutdown().await.map(|()| 0),
                    Delivery::Later(due) => { sleep_until(*due).await; Ok(0) }
                    Delivery::Nothing => std::future::pending().await,
                }
            } => {
                let written = written?;
                match next {
                    Delivery::End => return Ok(()),
                    Delivery::Bytes(_) if written == 0 => return Err(io::ErrorKind::WriteZero.into()),
                    _ => {}
                }
                line.delivered(written);
                control.0.delivered_bytes.fetch_add(u64::try_from(written).unwrap_or(0), Ordering::Relaxed);
            }
            length = from.read(read.get_mut(..room).unwrap_or_default()), if room > 0 && !line.ended() => {
                let due = Instant::now() + delay;
                match read.get(..length?) {
                    None | Some([]) => line.end(due),
                    // Copied, so that a few bytes under way hold no large buffer.
                    Some(bytes) => line.push(Bytes::copy_from_slice(bytes), due),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_api_takes_either_key_and_no_other() {
        let read = |text: &str| serde_json::from_str::<LinkState>(text);
        let whole = LinkState::default();
        assert_eq!(read(r#"{"cut":true}"#).unwrap(), LinkState { cut: true, ..whole });
        assert_eq!(read(r#"{"rtt_ms":40}"#).unwrap(), LinkState { rtt_ms: 40, ..whole });
        assert_eq!(
            read(r#"{"lost_from":"aws"}"#).unwrap(),
            LinkState { lost_from: Some(Cloud::Aws), ..whole }
        );
        read(r#"{"lost_from":"gcp"}"#).unwrap_err();
        read(r#"{"rtt":40}"#).unwrap_err();
    }

    #[test]
    fn an_absurd_round_trip_is_a_minute() {
        let state = LinkState { rtt_ms: u64::MAX, ..LinkState::default() };
        assert_eq!(state.one_way(), Duration::from_secs(30));
    }
}
