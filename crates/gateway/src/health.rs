//! Which instances of the application are fit to be asked.
//!
//! [`Health`] counts; it knows no socket and no clock. [`watch_targets`] asks every target in turn and publishes a
//! whole new list of usable targets whenever that list changes.
//!
//! When no target is healthy, all are usable: a wrong health path must not turn a working site off, and a dead
//! target costs a refused connection.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use model::gateway::{TargetState, TargetStatus};
use runtime::process::Shutdown;
use tokio::{net::TcpStream, sync::watch, time::MissedTickBehavior};

/// How often and how patiently targets are checked.
#[derive(Clone, Debug)]
pub struct Checks {
    /// The path that is asked with GET.
    pub path: String,
    /// Between two checks of one target, in milliseconds.
    pub interval_ms: u64,
    /// How long one check may take, in milliseconds.
    pub timeout_ms: u64,
    /// So many successes in a row make a target healthy.
    pub healthy_after: u32,
    /// So many failures in a row make it unhealthy.
    pub unhealthy_after: u32,
}

impl Default for Checks {
    fn default() -> Self {
        Checks {
            path: "/healthz".into(),
            interval_ms: 250,
            timeout_ms: 1_000,
            healthy_after: 1,
            unhealthy_after: 2,
        }
    }
}

/// The targets that may be asked now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usable(pub(crate) Vec<SocketAddr>);

/// What is known of all targets.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    targets: Vec<Target>,
    healthy_after: u32,
    unhealthy_after: u32,
}

#[derive(Clone, Debug)]
struct Target {
    address: SocketAddr,
    state: TargetState,
    successes: u32,
    failures: u32,
    why: Option<String>,
}

impl Health {
    pub(crate) fn new(addresses: &[SocketAddr], checks: &Checks) -> Health {
        let initial = |address: &SocketAddr| Target {
            address: *address,
            state: TargetState::Initial,
            successes: 0,
            failures: 0,
            why: None,
        };
        Health {
            targets: addresses.iter().map(initial).collect(),
            healthy_after: checks.healthy_after,
            unhealthy_after: checks.unhealthy_after,
        }
    }

    /// Counts one check's result; returns the target's new state if it changed.
    pub(crate) fn record(&mut self, address: SocketAddr, result: Result<(), String>) -> Option<TargetState> {
        let target = self.targets.iter_mut().find(|t| t.address == address)?;
        let before = target.state;
        match result {
            Ok(()) => {
                (target.successes, target.failures) = (target.successes.saturating_add(1), 0);
                if target.successes >= self.healthy_after {
                    target.state = TargetState::Healthy;
                    target.why = None;
                }
            }
            Err(why) => {
                (target.successes, target.failures) = (0, target.failures.saturating_add(1));
                target.why = Some(why);
                if target.failures >= self.unhealthy_after {
                    target.state = TargetState::Unhealthy;
                }
            }
        }
        (target.state != before).then_some(target.state)
    }

    pub(crate) fn usable(&self) -> Usable {
        let healthy: Vec<_> =
            self.targets.iter().filter(|t| t.state == TargetState::Healthy).map(|t| t.address).collect();
        if healthy.is_empty() {
            return Usable(self.targets.iter().map(|t| t.address).collect());
        }
        Usable(healthy)
    }

    pub(crate) fn status(&self) -> Vec<TargetStatus> {
        let status = |t: &Target| TargetStatus { address: t.address, state: t.state, why: t.why.clone() };
        self.targets.iter().map(status).collect()
    }
}

/// Checks all targets until `shutdown`.
pub(crate) async fn watch_targets(checks: Checks, health: watch::Sender<Health>, shutdown: Shutdown) {
    let addresses: Vec<_> = health.borrow().targets.iter().map(|t| t.address).collect();
    let one = async |address: SocketAddr| {
        let mut interval = tokio::time::interval(Duration::from_millis(checks.interval_ms));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let result = check(address, &checks).await;
            health.send_if_modified(|all| {
                let Some(state) = all.record(address, result) else { return false };
                match state {
                    TargetState::Unhealthy => tracing::warn!(%address, "target is unhealthy"),
                    _ => tracing::info!(%address, "target is healthy"),
                }
                true
            });
        }
    };
    let all = addresses.into_iter().map(one).collect::<Vec<_>>();
    let mut all = all.into_iter().map(Box::pin).collect::<Vec<_>>();
    let everything = std::future::poll_fn(|cx| {
        for one in &mut all {
            if one.as_mut().poll(cx).is_ready() {
                return std::task::Poll::Ready(());
            }
        }
        std::task::Poll::Pending
    });
    tokio::select! {
        () = everything => {}
        () = shutdown.cancelled() => {}
    }
}

/// One check on a connection of its own, so that it also tells whether the target still accepts any.
async fn check(address: SocketAddr, checks: &Checks) -> Result<(), String> {
    let exchange = async {
        let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        let request = Request::get(&checks.path)
            .header(header::HOST, address.to_string())
            .header(header::USER_AGENT, "ghostlight-health")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|e| e.to_string())?;
        let answer = sender.send_request(request);
        tokio::pin!(answer, connection);
        let answer = tokio::select! {
            answer = &mut answer => answer,
            // The connection may end just after delivering the answer.
            _ = &mut connection => answer.await,
        }
        .map_err(|e| e.to_string())?;
        match answer.status().as_u16() {
            200..=399 => Ok(()),
            status => Err(format!("{} answered {status}", checks.path)),
        }
    };
    match tokio::time::timeout(Duration::from_millis(checks.timeout_ms), exchange).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} ms", checks.timeout_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Feeds `results` (`+` success, `-` failure) of target 1 and checks which targets are usable at the end.
    #[track_caller]
    fn check(results: &str, want: &[u16]) {
        let checks = Checks { healthy_after: 2, unhealthy_after: 3, ..Checks::default() };
        let mut health = Health::new(&[at(1), at(2)], &checks);
        health.record(at(2), Ok(()));
        health.record(at(2), Ok(()));
        for result in results.chars() {
            health.record(at(1), if result == '+' { Ok(()) } else { Err("down".into()) });
        }
        assert_eq!(health.usable(), Usable(want.iter().map(|p| at(*p)).collect()), "{results}");
    }

    #[test]
    fn states_change_only_after_enough_results_in_a_row() {
        check("", &[2]);
        check("+", &[2]);
        check("++", &[1, 2]);
        check("++--", &[1, 2]);
        check("++--+--", &[1, 2]);
        check("++---", &[2]);
        check("++---+", &[2]);
        check("++---++", &[1, 2]);
    }

    #[test]
    fn when_nothing_is_healthy_everything_is_tried() {
        let checks = Checks::default();
        let mut health = Health::new(&[at(1), at(2)], &checks);
        assert_eq!(health.usable().0.len(), 2, "nothing is known yet");
        for port in [1, 1, 2, 2] {
            health.record(at(port), Err("down".into()));
        }
        assert_eq!(health.usable().0.len(), 2, "fail open");
        health.record(at(2), Ok(()));
        assert_eq!(health.usable().0, [at(2)]);
    }
}
