//! Many visitors who do nothing, or nothing but harm: what they cost our gateway, and what others notice.

use std::{path::PathBuf, time::Duration};

use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    task::JoinSet,
    time::timeout,
};

use super::{
    Edge,
    load::{self, Told},
    place::{Place, Proxy, Running},
};
use crate::stats::rounded;

/// Connections that are opened at once.
const AT_ONCE: usize = 200;
/// How long opening one may take.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// A slow visitor sends a byte this often: often enough never to be called idle.
const DRIP_EVERY: Duration = Duration::from_millis(500);

/// What idle connections cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Idle {
    /// `gateway_idle`.
    pub bench: &'static str,
    /// Connections that were asked one thing each, and are open.
    pub connections: u32,
    /// Memory of our gateway before there were any.
    pub rss_mib_before: f64,
    /// Its memory with all of them.
    pub rss_mib: f64,
    /// How many of them are answered once more after that.
    pub answered_again: u32,
}

/// What others notice of slow visitors.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlowLoris {
    /// `gateway_slow_loris`.
    pub bench: &'static str,
    /// Visitors who send a head byte by byte and begin anew when they are hung up on.
    pub connections: u32,
    /// Requests a second of the others, without and with them.
    pub rps_before: f64,
    /// With them.
    pub rps: f64,
    /// 99th percentile of the others' time to an answer, without them.
    pub p99_ms_before: f64,
    /// With them.
    pub p99_ms: f64,
    /// Requests of the others that were not answered with 200, with them.
    pub errors: u64,
    /// How often a slow visitor was hung up on.
    pub hung_up: u64,
}

pub(super) async fn idle(
    connections: u32,
    place: &Place,
    ours: PathBuf,
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<Idle, String> {
    runtime::process::raise_file_limit().map_err(|e| format!("open files: {e}"))?;
    let (_agent, origins, proxy) = start(place, ours).await?;
    let rss_mib_before = proxy.rss_mib()?;
    talk(&format!("opening {connections} connections"));
    let mut open = Vec::new();
    let wanted = usize::try_from(connections).map_err(|e| e.to_string())?;
    while open.len() < wanted {
        let mut opening = JoinSet::new();
        for _ in 0..AT_ONCE.min(wanted - open.len()) {
            let at = proxy.address();
            opening.spawn(async move {
                let mut stream = TcpStream::connect(at).await.map_err(|e| e.to_string())?;
                answered(&mut stream).await?;
                Ok::<_, String>(stream)
            });
        }
        while let Some(opened) = opening.join_next().await {
            open.push(opened.map_err(|e| e.to_string())??);
        }
    }
    let rss_mib = proxy.rss_mib()?;
    let mut answered_again = 0;
    for stream in &mut open {
        answered_again += u32::from(answered(stream).await.is_ok());
    }
    drop(open);
    end(proxy, origins).await?;
    let (rss_mib_before, rss_mib) = (rounded(rss_mib_before, 1), rounded(rss_mib, 1));
    Ok(Idle { bench: "gateway_idle", connections, rss_mib_before, rss_mib, answered_again })
}

/// One request over an open connection.
async fn answered(stream: &mut TcpStream) -> Result<(), String> {
    let ask = async {
        stream.write_all(b"GET /small HTTP/1.1\r\nHost: bench\r\n\r\n").await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"</p>\n\n\n\n") {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok::<_, std::io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    };
    match timeout(OPEN_WITHIN, ask).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err("a visitor was turned away".into()),
        Ok(Err(e)) => Err(format!("a visitor's connection: {e}")),
        Err(_) => Err(format!("no answer within {} s", OPEN_WITHIN.as_secs())),
    }
}

pub(super) async fn slow_loris(
    connections: u32,
    config: &Edge,
    place: &Place,
    ours: PathBuf,
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<SlowLoris, String> {
    runtime::process::raise_file_limit().map_err(|e| format!("open files: {e}"))?;
    let (_agent, origins, proxy) = start(place, ours).await?;
    let load = async |name: &str| -> Result<Told, String> {
        talk(name);
        load::wrk(config.connections, config.measure, proxy.address(), load::Load::get("/small")).await
    };
    let before = load("the others alone").await?;
    let hung_up = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut slow = JoinSet::new();
    for _ in 0..connections {
        let (at, hung_up) = (proxy.address(), hung_up.clone());
        slow.spawn(async move {
            loop {
                if drip(at).await.is_ok() {
                    hung_up.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            }
        });
    }
    let with = load("the others, and the slow ones").await?;
    slow.shutdown().await;
    end(proxy, origins).await?;
    Ok(SlowLoris {
        bench: "gateway_slow_loris",
        connections,
        rps_before: rounded(before.rps, 0),
        rps: rounded(with.rps, 0),
        p99_ms_before: rounded(before.p99_ms, 2),
        p99_ms: rounded(with.p99_ms, 2),
        errors: with.errors,
        hung_up: hung_up.load(std::sync::atomic::Ordering::Relaxed),
    })
}

/// Sends a head that never ends, until it is hung up on. An error: there is no connection; a moment later there may be.
async fn drip(at: std::net::SocketAddr) -> std::io::Result<()> {
    let connected = timeout(OPEN_WITHIN, TcpStream::connect(at)).await;
    let Ok(Ok(mut stream)) = connected else {
        tokio::time::sleep(DRIP_EVERY).await; // not to storm a gateway that has no room
        return Err(std::io::ErrorKind::NotConnected.into());
    };
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\nX-Slow: ").await?;
    loop {
        tokio::time::sleep(DRIP_EVERY).await; // that is the attack
        if stream.write_all(b"x").await.is_err() {
            return Ok(());
        }
    }
}

type Started = (super::place::Agent, Vec<Running>, Running);

/// Our gateway, alone, with its application.
pub(super) async fn start(place: &Place, ours: PathBuf) -> Result<Started, String> {
    let origins = place.application().await?;
    let agent = place.agent().await?;
    let proxy = place.proxy(Proxy::Ours, Some(Command::new(ours))).await?;
    Ok((agent, origins, proxy))
}

pub(super) async fn end(proxy: Running, origins: Vec<Running>) -> Result<(), String> {
    proxy.end().await?;
    for origin in origins {
        origin.end().await?;
    }
    Ok(())
}
