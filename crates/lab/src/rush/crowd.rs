//! Who comes when, and from where.
//!
//! Visitors sit at home, a few behind one address, and share its connection; bots come by the hundred from a few
//! addresses. Three quarters of all are in the lobby when the sale opens.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{task::JoinSet, time::Instant};

use super::{
    Rush,
    scene::Scene,
    visitor::{End, Shared, Visitor},
};
use crate::{
    drill::Aborted,
    load::{
        http::Http,
        route::{Names, Route},
        visitor::Visitors,
    },
};

/// The word for a visitor whose task ended in a panic.
pub(super) const BROKEN: &str = "broken";
/// Of a thousand visitors so many are there before the opening.
const EARLY_PERMILLE: u32 = 750;
/// The others come later, so many seconds on average.
const LATE_S: f64 = 15.0;
/// Bots come from so many addresses.
const DENS: u32 = 8;
/// Of a hundred connections so many are the bots'.
const DENS_CONNECTIONS_PERCENT: u32 = 10;

/// The visitors of a rush.
pub(super) struct Crowd {
    /// How many of them are bots: those with the smallest numbers.
    pub(super) bots: u32,
    visitors: u32,
    seed: u64,
    homes: Vec<Arc<Http>>,
    dens: Vec<Arc<Http>>,
}

impl Crowd {
    /// As asked for.
    pub(super) fn of(config: &Rush) -> Crowd {
        let part = |all: u32, percent: u32| all / 100 * percent + all % 100 * percent / 100;
        let bots = part(config.visitors, config.bots_percent);
        let for_dens = part(config.connections, DENS_CONNECTIONS_PERCENT).max(DENS);
        let homes = (config.connections.saturating_sub(for_dens)).min(config.visitors - bots).max(1);
        let each = (for_dens / DENS) as usize;
        Crowd {
            bots,
            visitors: config.visitors,
            seed: config.seed,
            homes: (0..homes).map(|n| Arc::new(Http::behind(address(100, n), 1))).collect(),
            dens: (0..DENS).map(|n| Arc::new(Http::behind(address(200, n), each))).collect(),
        }
    }

    /// Lets all of them come, each at its moment.
    pub(super) fn come(
        &self,
        shared: &Arc<Shared>,
        all: &Visitors,
        caches: &[Arc<dyn Names>],
        scene: &Scene,
    ) -> Result<JoinSet<End>, Aborted> {
        let lobby_s = shared.opens.saturating_duration_since(Instant::now()).as_secs_f64();
        let mut rng = SmallRng::seed_from_u64(self.seed);
        let mut inside = JoinSet::new();
        for n in 0..self.visitors {
            let bot = n < self.bots;
            let of = if bot { &self.dens } else { &self.homes };
            let pick = |len: usize| n as usize % len.max(1);
            let (Some(http), Some(cache)) = (of.get(pick(of.len())), caches.get(pick(caches.len()))) else {
                return Err(Aborted::from("there is no address or no DNS cache to come from".to_owned()));
            };
            let visitor = Visitor::new(
                shared.clone(),
                Visitors { http: http.clone(), ..all.clone() },
                Route::Name(cache.clone()),
                scene.email(n),
                bot,
                SmallRng::seed_from_u64(self.seed ^ (u64::from(n) << 20)),
            );
            let at = arrival(&mut rng, shared.opens, lobby_s);
            inside.spawn(Box::pin(visitor.come(at)));
        }
        Ok(inside)
    }
}

/// Waits until everybody has gone, and counts how their ways ended.
pub(super) async fn gone(mut inside: JoinSet<End>, shared: &Shared) -> BTreeMap<&'static str, u64> {
    let mut ended = BTreeMap::new();
    while let Some(end) = inside.join_next().await {
        *ended.entry(end.map_or(BROKEN, End::word)).or_default() += 1;
    }
    shared.over.cancel();
    ended
}

/// `lobby_s`: how long it is until the opening.
fn arrival(rng: &mut SmallRng, opens: Instant, lobby_s: f64) -> Instant {
    if rng.random_range(0..1_000) < EARLY_PERMILLE {
        // Nobody cuts it finer than a second and a half.
        let ahead_s = rng.random_range(1.5..lobby_s.max(2.0));
        opens.checked_sub(Duration::from_secs_f64(ahead_s)).unwrap_or(opens)
    } else {
        let gap_s = -f64::ln(1.0 - rng.random_range(0.0..1.0)) * LATE_S;
        opens + Duration::from_secs_f64(gap_s)
    }
}

/// The address number `n` of the loopback network `127.<network>.0.0/16`; labs have the networks 10, 20 and 30.
fn address(network: u8, n: u32) -> IpAddr {
    let [.., high, low] = (n + 1).to_be_bytes();
    Ipv4Addr::new(127, network, high, low).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_as_many_as_asked_for_and_bots_have_few_addresses() {
        let crowd = Crowd::of(&Rush::default());
        assert_eq!((crowd.bots, crowd.homes.len(), crowd.dens.len()), (4_200, 4_500, 8));
        let few = Crowd::of(&Rush { visitors: 10, connections: 100, ..Rush::default() });
        assert_eq!((few.bots, few.homes.len()), (2, 8));
        assert_eq!(address(100, 255), IpAddr::from([127, 100, 1, 0]));
    }
}
