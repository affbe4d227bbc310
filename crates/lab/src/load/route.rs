//! How a visitor finds the service: by its public name, or knowing both sites' addresses.

use std::{collections::HashMap, fmt, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

/// For how long a visitor who knows both addresses avoids one that was silent.
const AVOID: Duration = Duration::from_secs(1);

/// Somebody's DNS cache, asked for the service's public name.
pub trait Names: fmt::Debug + Send + Sync {
    /// Where the name leads at present, by this cache. An error is a sentence, and worth asking again.
    fn look_up(&self) -> BoxFuture<'_, Result<SocketAddr, String>>;
}

/// One visitor's way to the service.
#[derive(Clone, Debug)]
pub enum Route {
    /// The public name, through a DNS cache that honours the TTL.
    Name(Arc<dyn Names>),
    /// Both sites' addresses, tried in turn; one that was silent is avoided for a second.
    Addresses {
        /// The addresses.
        all: Arc<[SocketAddr]>,
        /// Which one is next.
        next: usize,
        /// Who was silent, and until when to avoid it.
        avoid: HashMap<SocketAddr, Instant>,
    },
}

impl Route {
    /// By known addresses, `first` (modulo their number) being tried first.
    pub fn addresses(all: Arc<[SocketAddr]>, first: usize) -> Route {
        Route::Addresses { all, next: first, avoid: HashMap::new() }
    }

    /// Whom to ask now.
    pub async fn whom(&mut self) -> Result<SocketAddr, String> {
        match self {
            Route::Name(cache) => cache.look_up().await,
            Route::Addresses { all, next, avoid } => {
                let now = Instant::now();
                for _ in 0..all.len() {
                    let candidate = all.get(*next % all.len()).copied();
                    *next = next.wrapping_add(1);
                    if let Some(address) = candidate
                        && avoid.get(&address).is_none_or(|until| *until <= now)
                    {
                        return Ok(address);
                    }
                }
                // All were silent: the one avoided longest.
                let oldest = avoid.iter().min_by_key(|(_, until)| **until).map(|(a, _)| *a);
                oldest.ok_or_else(|| "no address is known".to_owned())
            }
        }
    }

    /// `address` gave no answer at all.
    pub fn was_silent(&mut self, address: SocketAddr) {
        if let Route::Addresses { avoid, .. } = self {
            avoid.insert(address, Instant::now() + AVOID);
        }
    }

    /// `address` answered well: stay with it.
    pub fn served(&mut self, address: SocketAddr) {
        if let Route::Addresses { all, next, avoid } = self {
            avoid.remove(&address);
            if let Some(i) = all.iter().position(|a| *a == address) {
                *next = i;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_address_is_avoided_for_a_second_and_a_good_one_is_kept() {
        let (a, b) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 2], 1)));
        let mut route = Route::addresses([a, b].into(), 0);
        assert_eq!(route.whom().await, Ok(a));
        assert_eq!(route.whom().await, Ok(b), "a refusal leads to the other one");
        route.was_silent(a);
        assert_eq!((route.whom().await, route.whom().await), (Ok(b), Ok(b)));
        if let Route::Addresses { avoid, .. } = &mut route {
            avoid.insert(a, Instant::now());
        }
        assert!([route.whom().await, route.whom().await].contains(&Ok(a)), "tried again when that is over");
        route.served(b);
        assert_eq!(route.whom().await, Ok(b));
    }
}
