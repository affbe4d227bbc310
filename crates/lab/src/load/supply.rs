//! What the visitors wish for: seats that are mostly nobody else's, and a few that somebody else just took.
//!
//! A visitor who finds the seat gone is an ordinary visitor, and a test of the key on (performance, seat); a crowd
//! of them would only measure how fast the service says no.
//!
//! Always true here: the same seed and the same performances and accounts give the same wishes; nobody is sent
//! past a per-account limit; no socket, no clock.

use std::{collections::HashMap, sync::Arc};

use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};

use super::visitor::{Account, Wish};

/// One visitor in so many wants a seat that was just wished for by another.
const CONFLICTS_ONE_IN: u32 = 50;
/// One visitor in so many takes two seats, where the limit allows it.
const PAIRS_ONE_IN: u32 = 10;
/// A conflict is sought among the last so many wishes: a seat that is perhaps being paid for at this moment.
const RECENT: usize = 64;

/// A performance on sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnSale {
    /// Its id.
    pub performance: u32,
    /// Seats per account.
    pub account_limit: u8,
    /// Its free seats.
    pub free: Vec<String>,
}

/// Hands out wishes.
#[derive(Debug)]
pub struct Supply {
    rng: SmallRng,
    run: String,
    count: u64,
    performances: Vec<OnSale>,
    accounts: Vec<Arc<Account>>,
    /// Seats wished for, by (performance's index, account's index).
    used: HashMap<(usize, usize), u8>,
    recent: Vec<(usize, String)>,
}

impl Supply {
    /// Of these performances. `run` makes the idempotency keys unique among all drills on the same database.
    pub fn new(seed: u64, run: &str, mut performances: Vec<OnSale>) -> Supply {
        let mut rng = SmallRng::seed_from_u64(seed);
        for performance in &mut performances {
            performance.free.shuffle(&mut rng);
        }
        Supply {
            rng,
            run: run.to_owned(),
            count: 0,
            performances,
            accounts: Vec::new(),
            used: HashMap::new(),
            recent: Vec::new(),
        }
    }

    /// One more performance.
    pub fn put_on_sale(&mut self, mut performance: OnSale) {
        performance.free.shuffle(&mut self.rng);
        self.performances.push(performance);
    }

    /// More visitors.
    pub fn admit(&mut self, accounts: impl IntoIterator<Item = Account>) {
        self.accounts.extend(accounts.into_iter().map(Arc::new));
    }

    /// How many visitors there are.
    pub fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// How many more seats can be wished for: by limits and by free seats.
    pub fn left(&self) -> u64 {
        self.left_by_limits().min(self.free())
    }

    /// Seats that nobody has wished for.
    pub fn free(&self) -> u64 {
        self.performances.iter().map(|p| p.free.len() as u64).sum()
    }

    /// Seats that the accounts may still take, however many are free.
    fn left_by_limits(&self) -> u64 {
        let accounts = self.accounts.len() as u64;
        let used: u64 = self.used.values().map(|n| u64::from(*n)).sum();
        (self.seats_per_account() * accounts).saturating_sub(used)
    }

    /// Seats that one more account may take in all.
    pub fn seats_per_account(&self) -> u64 {
        self.performances.iter().map(|p| u64::from(p.account_limit)).sum()
    }

    /// A performance with free seats and an account below its limit: a few guesses, then an orderly search.
    fn pick(&mut self) -> Option<(usize, usize)> {
        if self.performances.is_empty() || self.accounts.is_empty() {
            return None;
        }
        for _ in 0..16 {
            let p = self.rng.random_range(0..self.performances.len());
            let a = self.rng.random_range(0..self.accounts.len());
            if self.may(p, a) {
                return Some((p, a));
            }
        }
        let pairs = (0..self.performances.len()).flat_map(|p| (0..self.accounts.len()).map(move |a| (p, a)));
        pairs.into_iter().find(|(p, a)| self.may(*p, *a))
    }

    fn may(&self, p: usize, a: usize) -> bool {
        self.performances.get(p).is_some_and(|performance| {
            !performance.free.is_empty()
                && self.used.get(&(p, a)).copied().unwrap_or(0) < performance.account_limit
        })
    }

    /// Another account wishes for a seat that was just wished for. Its own limit is left out of account: most
    /// are told no.
    fn conflict(&mut self) -> Option<Wish> {
        if self.recent.is_empty() {
            return None;
        }
        let (p, seat) = self.recent.swap_remove(self.rng.random_range(0..self.recent.len()));
        let a = self.rng.random_range(0..self.accounts.len());
        if !self.may(p, a) {
            return None;
        }
        *self.used.entry((p, a)).or_default() += 1;
        self.wish(p, a, vec![seat])
    }

    fn wish(&mut self, p: usize, a: usize, seats: Vec<String>) -> Option<Wish> {
        self.count += 1;
        Some(Wish {
            account: self.accounts.get(a)?.clone(),
            performance: self.performances.get(p)?.performance,
            seats,
            key: format!("{}-{}", self.run, self.count),
        })
    }
}

impl Iterator for Supply {
    type Item = Wish;

    /// The next visitor's wish; `None` when nothing is left.
    fn next(&mut self) -> Option<Wish> {
        if self.rng.random_range(0..CONFLICTS_ONE_IN) == 0
            && let Some(wish) = self.conflict()
        {
            return Some(wish);
        }
        let (p, a) = self.pick()?;
        let limit = self.performances.get(p)?.account_limit;
        let used = self.used.entry((p, a)).or_default();
        let pair = limit - *used >= 2 && self.rng.random_range(0..PAIRS_ONE_IN) == 0;
        let performance = self.performances.get_mut(p)?;
        let mut seats = vec![performance.free.pop()?];
        if pair {
            seats.extend(performance.free.pop());
        }
        *used += u8::try_from(seats.len()).ok()?;
        if let Some(seat) = seats.first() {
            if self.recent.len() == RECENT {
                self.recent.remove(0);
            }
            self.recent.push((p, seat.clone()));
        }
        self.wish(p, a, seats)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn supply(seed: u64) -> Supply {
        let on_sale = |performance, account_limit| OnSale {
            performance,
            account_limit,
            free: (0..5_000).map(|n| format!("A-{n}")).collect(),
        };
        let mut supply = Supply::new(seed, "t", vec![on_sale(1, 2), on_sale(2, 4)]);
        let account = |n| Account { email: format!("v{n}@example.test"), cookie: format!("sid={n}") };
        supply.admit((0..100).map(account));
        supply
    }

    fn all(supply: Supply) -> Vec<Wish> {
        supply.collect()
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        assert_eq!(all(supply(7)), all(supply(7)));
        assert_ne!(all(supply(7)), all(supply(8)));
    }

    #[test]
    fn another_performance_is_wished_for_by_those_who_are_there_already() {
        let mut supply = supply(7);
        let before = supply.by_ref().count();
        assert!(before > 0 && supply.next().is_none() && supply.left() == 0);
        let free = (0..500).map(|n| format!("B-{n}")).collect();
        supply.put_on_sale(OnSale { performance: 3, account_limit: 4, free });
        assert_eq!(supply.left(), 400, "100 accounts, four seats each");
        assert!(supply.all(|wish| wish.performance == 3));
        assert_eq!(supply.left(), 0);
    }

    #[test]
    fn limits_are_used_up_and_never_passed_and_few_seats_are_wished_for_twice() {
        assert_eq!(supply(7).left(), 600);
        let wishes = all(supply(7));
        let mut by_account: HashMap<(u32, &str), usize> = HashMap::new();
        let (mut seats, mut twice, mut keys) = (HashSet::new(), 0, HashSet::new());
        for wish in &wishes {
            *by_account.entry((wish.performance, &wish.account.email)).or_default() += wish.seats.len();
            assert!(keys.insert(&wish.key), "one key per wish");
            for seat in &wish.seats {
                twice += usize::from(!seats.insert((wish.performance, seat)));
            }
        }
        assert_eq!(by_account.values().sum::<usize>(), 600, "the limits are used up");
        assert!(by_account.iter().all(|((p, _), n)| *n <= if *p == 1 { 2 } else { 4 }));
        assert!((1..60).contains(&twice), "{twice} deliberate conflicts");
    }
}
