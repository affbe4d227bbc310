//! Gives a site an empty database when its data cannot be continued.
//!
//! The agent says so ([`Role::NeedsNewDatabase`]) once it has fenced its database for good. The lab owns the server:
//! it stops it, moves the data aside, puts a copy of the template in their place and starts it again. The agent then
//! finds an empty database and fills it from the primary.
//!
//! Always true here: data are moved, never deleted; the register's primary is never touched, whatever its agent says.

use std::{fs, sync::Arc, time::Duration};

use model::{
    Register,
    agent::{AgentStatus, Role},
};
use runtime::{clock::Boot, clock::Wall, process::Shutdown};

use crate::{
    lab::Inner,
    layout::Cloud,
    processes::{Member, Part},
};

/// How often the agents are asked.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long an answer may take.
const ASK: Duration = Duration::from_millis(1_000);
/// After a renewal the agent is given so long to see its new database before it is believed again.
const SETTLE: Duration = Duration::from_secs(15);

/// Watches both sites until `shutdown`.
pub(crate) async fn watch(lab: Arc<Inner>, shutdown: Shutdown) {
    let watch_one = |cloud| watch_site(&lab, cloud);
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = watch_one(Cloud::Nhn) => {}
        () = watch_one(Cloud::Aws) => {}
    }
}

async fn watch_site(lab: &Inner, cloud: Cloud) {
    let agent = lab.client(lab.at.agent_admin(cloud));
    let witness = lab.client(lab.at.witness_controller());
    let mut renewed: Option<Boot> = None;
    loop {
        tokio::time::sleep(INTERVAL).await; // the agent tells its state when asked
        if lab.is_dark(cloud) {
            continue;
        }
        let Ok(status) = agent.get::<AgentStatus>("/v1/status", ASK).await else { continue };
        let Role::NeedsNewDatabase { why } = &status.role else {
            renewed = None;
            continue;
        };
        if renewed.is_some_and(|at| at.elapsed() < SETTLE) {
            continue;
        }
        match witness.get::<Register>("/v1/register", ASK).await {
            Ok(register) if register.primary != cloud.site() => {}
            // The primary's data are the service's. Whatever its agent thinks of them, they stay.
            Ok(_) | Err(_) => continue,
        }
        tracing::info!(site = cloud.name(), why, "gets an empty database; the old data are kept");
        let epoch = status.row.as_ref().map_or(0, |row| row.epoch.0);
        match renew(lab, cloud, epoch).await {
            Ok(kept) => tracing::info!(site = cloud.name(), kept, "has an empty database"),
            Err(e) => tracing::error!(site = cloud.name(), "cannot be given an empty database: {e}"),
        }
        renewed = Some(Boot::now());
    }
}

/// Replaces the site's data by a copy of the template; returns where the old ones are kept.
async fn renew(lab: &Inner, cloud: Cloud, epoch: u64) -> Result<String, String> {
    let database: &Member =
        lab.of(cloud).find(|m| m.part == Part::Database).ok_or("the site has no database")?;
    database.keeper.stop();
    database.keeper.at_rest().await;
    let data = lab.files.data(cloud);
    let kept = lab.files.divergent(cloud).join(format!("{}-epoch{epoch}", utc(Wall::now().as_s())));
    let moved = fs::create_dir_all(lab.files.divergent(cloud)).and_then(|()| fs::rename(&data, &kept));
    moved.map_err(|e| format!("{} cannot be moved to {}: {e}", data.display(), kept.display()))?;
    lab.template.copy_to(&data).await.map_err(|e| e.to_string())?;
    lab.run_unless_dark(database);
    Ok(kept.display().to_string())
}

/// `20261122T184500Z`.
fn utc(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, in eras of 400 years: leap days are then the last days of a year.
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_people_read_it() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_795_373_100, "20261122T184500Z"),
            (4_107_542_399, "21000228T235959Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }
}
