//! What visitors notice of a reload, an upgrade of the binary and a rolling restart of the application: nothing, if all is
//! well. Each event happens in the middle of a load of wrk, by real processes and real signals.

use std::{path::PathBuf, time::Duration};

use rustix::process::Signal;
use serde::Serialize;
use tokio::{process::Command, time::sleep};

use super::{
    Edge, crowd,
    load::{self, Told},
    place::Place,
};
use crate::stats::rounded;

/// The old gateway finishes what it has begun within this time; its last connections end two seconds after the handover.
const OLD_ENDS_WITHIN: Duration = Duration::from_secs(30);
/// Between two signals.
const BETWEEN: Duration = Duration::from_millis(600);

/// One event's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Disturbed {
    /// `nothing`, `reload`, `upgrade` or `rolling_restart`.
    pub event: &'static str,
    /// How often it happened during the load.
    pub times: u32,
    /// Requests that were answered.
    pub requests: u64,
    /// Requests that were not answered with 200.
    pub failed: u64,
    /// 99th percentile of the time to an answer.
    pub p99_ms: f64,
}

pub(super) async fn run(
    config: &Edge,
    place: &Place,
    ours: PathBuf,
    tell: impl Fn(&Disturbed),
    talk: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), String> {
    let (_agent, mut origins, mut proxy) = crowd::start(place, ours.clone()).await?;
    let line = |event, times, told: Told| Disturbed {
        event,
        times,
        requests: told.requests,
        failed: told.errors,
        p99_ms: rounded(told.p99_ms, 2),
    };
    // Long enough for every event, whatever was asked for.
    let config = Edge { measure: config.measure.max(Duration::from_secs(6)), ..config.clone() };
    let at = proxy.address();

    talk("nothing happens");
    tell(&line(
        "nothing",
        0,
        load::wrk(config.connections, config.measure, at, load::Load::get("/small")).await?,
    ));

    talk("the configuration is read again, five times");
    let reloads = async {
        for _ in 0..5 {
            sleep(BETWEEN).await; // the load is under way
            proxy.tell(Signal::HUP)?;
        }
        Ok::<_, String>(())
    };
    let (told, done) =
        tokio::join!(load::wrk(config.connections, config.measure, at, load::Load::get("/small")), reloads);
    done?;
    tell(&line("reload", 5, told?));

    talk("the binary is upgraded");
    let upgrade = async {
        sleep(BETWEEN).await; // the load is under way
        place.successor(Command::new(&ours)).await
    };
    let (told, new) =
        tokio::join!(load::wrk(config.connections, config.measure, at, load::Load::get("/small")), upgrade);
    let old = std::mem::replace(&mut proxy, new?);
    old.ended(OLD_ENDS_WITHIN).await?;
    tell(&line("upgrade", 1, told?));

    talk("the application's instances are restarted, one after the other");
    let restarts = async {
        sleep(BETWEEN).await; // the load is under way
        for (n, origin) in (0_u8..).zip(&mut origins) {
            // As every orchestrator does it: it fails its check first, and ends when nobody asks it any more.
            place.leaves(n, true)?;
            place.is_asked(n, false).await?;
            origin.tell(Signal::QUIT)?;
            origin.gone().await?;
            place.leaves(n, false)?;
            *origin = place.origin(n).await?;
            place.is_asked(n, true).await?;
        }
        Ok::<_, String>(())
    };
    let (told, done) =
        tokio::join!(load::wrk(config.connections, config.measure, at, load::Load::get("/small")), restarts);
    done?;
    tell(&line("rolling_restart", 2, told?));
    crowd::end(proxy, origins).await
}
