//! Looks once a second at what is left, kills the primary where that is asked for, and ends the rush: when nothing is left
//! for a while, or when the time is over.

use std::time::Duration;

use model::Site;
use tokio::time::Instant;

use super::{
    Rush,
    visitor::{PATIENCE, Shared},
};
use crate::{
    drill::{Aborted, access::Access},
    load::{
        route::Route,
        visitor::{Patience, Visitors},
    },
};

/// How often is looked.
const LOOK: Duration = Duration::from_secs(1);
/// A look that takes longer is none.
const GLANCE: Patience = Patience { all: Duration::from_secs(2), ..PATIENCE };
/// Nothing was free for so many looks: sold out.
const SOLD_OUT_LOOKS: u32 = 5;
/// The primary is killed when one seat in so many is taken.
const KILL_AT_ONE_IN: usize = 4;

/// A site that was killed.
#[derive(Clone, Debug)]
pub(super) struct Killed {
    /// Which.
    pub(super) site: Site,
    /// When, by the boot clock.
    pub(super) at_ms: u64,
}

/// Who looks.
pub(super) struct Watch<'a> {
    pub(super) access: &'a Access,
    pub(super) shared: &'a Shared,
    pub(super) client: &'a Visitors,
    pub(super) route: Route,
    pub(super) config: &'a Rush,
    pub(super) talk: &'a dyn Fn(String),
    pub(super) killed: Option<Killed>,
}

impl Watch<'_> {
    /// Until everybody is gone or sent home.
    pub(super) async fn until_over(&mut self, primary: &Site) -> Result<(), Aborted> {
        let result = self.look_on(primary).await;
        // However it ends: nobody waits any longer.
        self.shared.over.cancel();
        result
    }

    async fn look_on(&mut self, primary: &Site) -> Result<(), Aborted> {
        let ends = self.shared.opens + Duration::from_secs(self.config.seconds);
        let mut tick = tokio::time::interval(LOOK);
        let (mut nothing_left, mut said) = (0, 0);
        while Instant::now() < ends {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.shared.over.cancelled() => return Ok(()),
            }
            // While the service is away, what was seen last stands.
            let Ok(free) = self.shared.free(self.client, &mut self.route, GLANCE).await else { continue };
            let (all, left) = (free.len(), free.iter().filter(|free| **free).count());
            let taken = all - left;
            if self.config.kill_primary && self.killed.is_none() && taken * KILL_AT_ONE_IN >= all {
                (self.talk)(format!("{taken} of {all} seats are taken: killing {primary}"));
                let killed = self.access.kill(primary, None).await?;
                self.killed = Some(Killed { site: primary.clone(), at_ms: killed.at_ms });
            }
            if taken * 10 / all.max(1) > said {
                said = taken * 10 / all.max(1);
                (self.talk)(format!("{taken} of {all} seats are taken"));
            }
            nothing_left = if left == 0 { nothing_left + 1 } else { 0 };
            if nothing_left >= SOLD_OUT_LOOKS {
                (self.talk)("nothing is left; whoever still waits goes home".to_owned());
                self.shared.notes.write().sold_out = true;
                return Ok(());
            }
        }
        (self.talk)("the time is over; whoever still waits goes home".to_owned());
        Ok(())
    }
}
