//! A new configuration for a gateway that runs: read whole, compared, and taken whole or not at all.
//!
//! What can change while requests are served: rules, groups and targets, the limits of one visitor, the trusted proxies, the
//! redirect to https. Certificates and the web ACL are read again by themselves. All else belongs to sockets and threads; whoever changes it
//! is told which keys these are, and starts the next process with `--take-over`, which drops no connection either.

use std::{fmt, net::SocketAddr, sync::Arc};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot, watch},
};

use crate::{
    Config,
    balance::Event,
    ending::Ending,
    guard::Guard,
    tls::{CertificateFiles, Certificates},
};

/// Reads the configuration again; its error is a sentence for the operator.
#[derive(Clone)]
pub struct Reload(Arc<dyn Fn() -> Result<Config, String> + Send + Sync>);

impl Reload {
    /// Reads it by `read`, which may block.
    pub fn by(read: impl Fn() -> Result<Config, String> + Send + Sync + 'static) -> Reload {
        Reload(Arc::new(read))
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
}

/// Where the admin API asks for a reload.
pub(crate) type Orders = mpsc::Sender<oneshot::Sender<Result<(), String>>>;

/// Reloads at SIGHUP and when the admin API asks, until the gateway ends.
pub(crate) async fn follow(
    reload: Reload,
    configs: watch::Sender<Arc<Config>>,
    targets: mpsc::Sender<Event>,
    mut orders: mpsc::Receiver<oneshot::Sender<Result<(), String>>>,
    ending: Ending,
) -> std::io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    loop {
        let asked = tokio::select! {
            Some(()) = hangups.recv() => None,
            Some(order) = orders.recv() => Some(order),
            () = ending.asked().cancelled() => return Ok(()),
        };
        let done = once(&reload, &configs, &targets).await;
        match &done {
            Ok(()) => tracing::info!("the configuration was read again and is in force"),
            Err(why) => tracing::error!("the configuration of before stays in force: {why}"),
        }
        if let Some(asked) = asked {
            // Whoever asked may have hung up.
            asked.send(done).ok();
        }
    }
}

async fn once(
    reload: &Reload,
    configs: &watch::Sender<Arc<Config>>,
    targets: &mpsc::Sender<Event>,
) -> Result<(), String> {
    let read = reload.0.clone();
    let new = tokio::task::spawn_blocking(move || read()).await.map_err(|e| e.to_string())??;
    let old = configs.borrow().clone();
    let fixed = fixed(&old, &new);
    if !fixed.is_empty() {
        return Err(format!(
            "{} cannot change while the gateway runs; start the next one with `ghostlight gateway --take-over`",
            fixed.join(", ")
        ));
    }
    if old.routing != new.routing {
        let ended = |_| "the gateway is ending".to_owned();
        targets.send(Event::Configured(new.routing.clone())).await.map_err(ended)?;
    }
    // Of what has files and sockets behind it the old is kept: it is the same.
    let (listeners, guard) = (old.listeners.clone(), old.guard.clone());
    configs.send_replace(Arc::new(Config {
        listeners,
        guard,
        listen: old.listen,
        threads: old.threads,
        ..new
    }));
    Ok(())
}

/// What differs and cannot be changed, by its key in the topology file.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let room = |config: &Config| (config.limits.connections_max, config.limits.memory_bytes_max);
    [
        ("gateway.listen", old.listen != new.listen),
        ("gateway.listener", doors(old) != doors(new)),
        ("gateway.admin", old.admin != new.admin),
        ("gateway.zone", old.zone != new.zone),
        ("gateway.gate", old.gate != new.gate),
        ("gateway.access_log", old.access != new.access),
        ("gateway.waf", !same_guard(old.guard.as_deref(), new.guard.as_deref())),
        ("gateway.limits.connections_max or memory_bytes_max", room(old) != room(new)),
        ("agent.admin", old.agent != new.agent),
        ("peer.gateway", old.peer != new.peer),
        ("policy.hold_max_ms", old.hold_max_ms != new.hold_max_ms),
        ("secrets.admin_token", old.admin_token.expose() != new.admin_token.expose()),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(key, _)| key)
    .collect()
}

fn same_guard(old: Option<&Guard>, new: Option<&Guard>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => old.is_of_the_same_files(new),
        (None, None) => true,
        _ => false,
    }
}

/// What belongs to the sockets of a configuration.
fn doors(config: &Config) -> Vec<(SocketAddr, bool, Option<&[CertificateFiles]>)> {
    let all = config.listeners.iter();
    all.map(|l| (l.listen, l.proxy_protocol, l.certificates.as_deref().map(Certificates::files))).collect()
}
