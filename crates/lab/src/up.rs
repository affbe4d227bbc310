//! `ghostlight up`: a lab in this folder, from nothing to a bookable seat, until it is asked to end.

use std::{path::Path, time::Duration};

use model::{Mode, Register};
use runtime::{clock::Boot, process::Shutdown};

use crate::{
    drill::access::Access,
    lab::{Lab, LabError, LabOptions, Progress},
    processes::ORGANISER,
    ready::answers_200,
};

/// How long the primary may take to serve visitors, and the standby to be filled.
const SERVE_WITHIN: Duration = Duration::from_secs(90);
/// How often is asked.
const POLL: Duration = Duration::from_millis(50);

/// Why `up` ended.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// There is no lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The processes run, but they do not come together.
    #[error("{what} after {} s; the logs are in {logs}", SERVE_WITHIN.as_secs())]
    NotTogether {
        /// What is missing.
        what: String,
        /// Where the logs are.
        logs: String,
    },
}

impl UpError {
    /// Whether something that is needed cannot be had now: a port, a number, a program.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            UpError::Lab(
                LabError::AlreadyRunning { .. }
                    | LabError::Number(_)
                    | LabError::Listen(_)
                    | LabError::NoProgram(_)
                    | LabError::Database(_)
                    | LabError::Etcd(_)
                    | LabError::RegisterElsewhere(_)
            )
        )
    }
}

/// Runs a lab until `shutdown`, and ends it in order. `ready` is called once with the table for people, when a seat
/// can be booked.
pub async fn run(
    options: LabOptions,
    progress: Progress<'_>,
    ready: impl FnOnce(&str),
    shutdown: Shutdown,
) -> Result<(), UpError> {
    let started = Boot::now();
    let lab = tokio::select! {
        lab = Box::pin(Lab::start(options, progress)) => lab?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let outcome = tokio::select! {
        together = wait_together(&lab, progress, started) => match together {
            Ok(register) => {
                ready(&table(&lab, &register));
                shutdown.cancelled().await;
                Ok(())
            }
            Err(e) => Err(e),
        },
        () = shutdown.cancelled() => Ok(()),
    };
    progress("ending everything in order");
    lab.stop().await;
    progress("ended; nothing is left running");
    outcome
}

/// Waits until the primary serves visitors and the standby is in `sync`.
async fn wait_together(lab: &Lab, progress: Progress<'_>, started: Boot) -> Result<Register, UpError> {
    let missing =
        |what: String| UpError::NotTogether { what, logs: lab.folder().join("logs").display().to_string() };
    let access = Access::new(lab.topology().clone(), lab.folder()).map_err(|e| missing(e.to_string()))?;
    progress("waiting for the primary to serve visitors");
    let primary = loop {
        if let Ok(register) = access.register().await
            && let Some(site) = lab.topology().sites.get(&register.primary)
            && answers_200(site.gateway.listen, "/ghostlight/serving").await
        {
            break register.primary;
        }
        if started.elapsed() > SERVE_WITHIN {
            return Err(missing("no site serves visitors".into()));
        }
        tokio::time::sleep(POLL).await; // the gateways tell when asked
    };
    progress(&format!("{primary} serves visitors ({:.1} s)", started.elapsed().as_secs_f64()));
    progress("waiting for the standby to hold everything");
    let register = access.wait_for_sync(SERVE_WITHIN).await.map_err(missing)?;
    progress(&format!("both sites are in {} ({:.1} s)", Mode::Sync, started.elapsed().as_secs_f64()));
    Ok(register)
}

fn table(lab: &Lab, register: &Register) -> String {
    let peer = lab.topology().peer_of(&register.primary).map(ToString::to_string).unwrap_or_default();
    let mut table = format!(
        "\nGhostlight is up: {} is primary, {peer} is standby, mode {}, epoch {}.\n\n",
        register.primary, register.mode, register.epoch
    );
    for (what, url) in lab.urls() {
        table.push_str(&format!("  {what:<16} {url}\n"));
    }
    table.push_str(&format!("  {:<16} {}\n", "letters", shown(&lab.folder().join("letters"))));
    table.push_str(&format!(
        "  {:<16} sign up as {ORGANISER}, open the link in the letter, see /organiser\n",
        "organiser"
    ));
    table.push_str(&format!("  {:<16} {}\n", "logs", shown(&lab.folder().join("logs"))));
    table.push_str(
        "\nghostlight status shows it, ghostlight drill site-loss --attach breaks it. Ctrl-C ends it.\n",
    );
    table
}

/// A path as short as it can be said from here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}
