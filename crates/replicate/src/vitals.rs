//! How the server and this process themselves are: whether the server refuses writes, whether its disk is full, and whether
//! this process stood still for a time.
//!
//! A server whose disk is full does not say so: its commits hang or fail. Its disk is looked at from here if the server
//! runs on this machine; of another one (a managed server) nothing is known, and that is told.

use std::{path::Path, time::Duration};

use model::agent::Paused;
use mysql_async::{Conn, prelude::Queryable};
use runtime::{clock::Boot, process::Shutdown};
use tokio::sync::watch;

use crate::database::{DatabaseConfig, DatabaseError};

/// How often the server is asked.
const EVERY: Duration = Duration::from_secs(1);
/// A server that does not answer such a question in this time does not answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often the process makes sure that it runs.
const PULSE: Duration = Duration::from_millis(100);
/// A gap in the pulse that is no mere load of the machine.
const PAUSE_MIN: Duration = Duration::from_millis(1_000);

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Whether the server is `read_only`; `None`: it does not answer.
    pub read_only: Option<bool>,
    /// Bytes that are free where the server keeps its data; `None`: that cannot be seen from here.
    pub disk_free_bytes: Option<u64>,
}

/// A pause of this process, and when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// How long it lasted.
    pub lasted: Duration,
    /// When the process went on.
    pub ended: Boot,
}

impl Pause {
    /// As it is told now.
    pub fn told(self) -> Paused {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Paused { lasted_ms: ms(self.lasted), ended_ms_ago: ms(self.ended.elapsed()) }
    }
}

/// Whether a process that woke last at `before`, and wanted to again after [`PULSE`], stood still until `now`.
fn stood_still(before: Boot, now: Boot) -> Option<Pause> {
    let lasted = now.since(before).saturating_sub(PULSE);
    (lasted >= PAUSE_MIN).then_some(Pause { lasted, ended: now })
}

/// Tells of pauses of this process until `shutdown`.
pub async fn feel(told: watch::Sender<Option<Pause>>, shutdown: Shutdown) {
    let mut before = Boot::now();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PULSE) => {} // the pulse itself
        }
        let now = Boot::now();
        if let Some(pause) = stood_still(before, now) {
            tracing::warn!(lasted = ?pause.lasted, "this process stood still");
            told.send_replace(Some(pause));
        }
        before = now;
    }
}

/// Asks the server until `shutdown`, and whenever this agent has changed something there.
pub async fn watch(
    database: DatabaseConfig,
    told: watch::Sender<Vitals>,
    mut changes: watch::Receiver<u64>,
    shutdown: Shutdown,
) {
    let mut timer = tokio::time::interval(EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut kept: Option<Conn> = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = timer.tick() => {}
            Ok(()) = changes.changed() => {}
        }
        let asked = async {
            let mut conn = match kept.take() {
                Some(conn) => conn,
                None => database.open().await?,
            };
            let answer = ask(&mut conn).await?;
            Ok::<_, DatabaseError>((conn, answer))
        };
        let vitals = match tokio::time::timeout(TIMEOUT, asked).await {
            Ok(Ok((conn, vitals))) => {
                kept = Some(conn);
                vitals
            }
            Ok(Err(e)) => {
                tracing::debug!("the server does not say how it is: {e}");
                Vitals::default()
            }
            Err(_) => Vitals::default(),
        };
        told.send_if_modified(|known| std::mem::replace(known, vitals) != vitals);
    }
}

async fn ask(conn: &mut Conn) -> Result<Vitals, DatabaseError> {
    let found: Option<(String, String, String)> = conn
        .query_first(
            "SELECT CAST(@@hostname AS CHAR), CAST(@@datadir AS CHAR), CAST(@@global.read_only AS CHAR)",
        )
        .await?;
    let Some((host, folder, read_only)) = found else {
        return Err(DatabaseError::Unexpected("the server does not tell its variables".into()));
    };
    Ok(Vitals { read_only: Some(is_on(&read_only)), disk_free_bytes: free_bytes(&host, Path::new(&folder)) })
}

/// Some servers know more values than two (`NO_LOCK`, …); every one of them but off refuses writes.
fn is_on(value: &str) -> bool {
    !matches!(value.to_ascii_uppercase().as_str(), "0" | "OFF" | "FALSE" | "")
}

/// What is free in `folder`, if `host` is this machine.
fn free_bytes(host: &str, folder: &Path) -> Option<u64> {
    let here = rustix::system::uname();
    if here.nodename().to_str() != Ok(host) || !folder.is_dir() {
        return None;
    }
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_pulse_is_a_pause_only_if_no_load_explains_it() {
        let before = Boot::now();
        assert_eq!(stood_still(before, before + Duration::from_millis(900)), None);
        let now = before + Duration::from_millis(3_100);
        assert_eq!(stood_still(before, now), Some(Pause { lasted: Duration::from_secs(3), ended: now }));
    }

    #[test]
    fn only_the_disk_of_this_machine_is_looked_at() {
        let here = rustix::system::uname().nodename().to_str().unwrap().to_owned();
        assert!(free_bytes(&here, &std::env::temp_dir()).is_some());
        assert_eq!(free_bytes("db.example.kr", &std::env::temp_dir()), None);
        assert_eq!(free_bytes(&here, Path::new("/var/lib/no-such-mysql")), None);
        assert!(is_on("1") && is_on("ON") && is_on("NO_LOCK") && !is_on("0") && !is_on("OFF"));
    }
}
