//! The rush: many people at few performances. One writer's part of it, as a small model that knows which seats are
//! free and which of an account's places are taken, so that no transaction is refused by a key.
//!
//! A hold is one INSERT of one to four claims. Four of five holds are paid: the claims are sold, a booking and its
//! payment are written, in one transaction. The fifth is given back, and its seats, and its account's places, are the
//! first that the next visitor takes: the same unique keys go and come again within a moment.

use std::collections::{HashMap, VecDeque};

use rand::{RngExt, rngs::SmallRng};

use super::SCHEMA;

/// Performances on sale.
const PERFORMANCES: u32 = 20;
/// Seats that an account may have at one performance: the values of `slot` are 1 to this.
const ACCOUNT_LIMIT: u8 = 4;
/// Holds that wait for their payment, of one writer.
const HOLDS_OPEN: usize = 8;
/// Accounts that may come again.
const KNOWN_ACCOUNTS: usize = 40;
const PAID_PERCENT: u32 = 80;
const KNOWN_PERCENT: u32 = 30;
const PRICE_WON: u32 = 99_000;

/// The tables of the service that a booking writes, with all their keys.
pub(super) fn tables() -> [String; 3] {
    const END: &str = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci";
    const ASCII: &str = "CHARACTER SET ascii COLLATE ascii_bin";
    [
        format!(
            "CREATE TABLE {SCHEMA}.seat_claims (performance_id INT UNSIGNED NOT NULL, seat VARCHAR(16) {ASCII} NOT NULL, \
             account_id BIGINT UNSIGNED NULL, slot TINYINT UNSIGNED NULL, state ENUM('held','sold','blocked') NOT NULL, \
             hold_id CHAR(26) {ASCII} NULL, held_until DATETIME(3) NULL, booking_id BIGINT UNSIGNED NULL, \
             price_won INT UNSIGNED NOT NULL, PRIMARY KEY (performance_id, seat), \
             UNIQUE KEY seat_claims_limit (performance_id, account_id, slot), KEY seat_claims_hold (hold_id), \
             KEY seat_claims_booking (booking_id)) {END}"
        ),
        format!(
            "CREATE TABLE {SCHEMA}.bookings (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, booking_no CHAR(14) {ASCII} NOT NULL, \
             account_id BIGINT UNSIGNED NOT NULL, performance_id INT UNSIGNED NOT NULL, \
             idempotency_key VARCHAR(64) {ASCII} NOT NULL, seat_count TINYINT UNSIGNED NOT NULL, \
             amount_won INT UNSIGNED NOT NULL, state ENUM('confirmed','cancelled') NOT NULL, \
             created_at DATETIME(3) NOT NULL, UNIQUE KEY bookings_no (booking_no), \
             UNIQUE KEY bookings_idempotency (account_id, idempotency_key)) {END}"
        ),
        format!(
            "CREATE TABLE {SCHEMA}.payments (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, booking_id BIGINT UNSIGNED NOT NULL, \
             provider VARCHAR(16) NOT NULL, provider_ref VARCHAR(64) {ASCII} NOT NULL, amount_won INT UNSIGNED NOT NULL, \
             state ENUM('captured','refunded') NOT NULL, created_at DATETIME(3) NOT NULL, \
             UNIQUE KEY payments_booking (booking_id), UNIQUE KEY payments_ref (provider_ref)) {END}"
        ),
    ]
}

#[derive(Debug)]
struct Hold {
    id: String,
    performance: u32,
    account: u64,
    seats: Vec<(String, u8)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Rush {
    writer: u32,
    steps: u64,
    open: Vec<Hold>,
    accounts: VecDeque<u64>,
    /// By performance: seats that were given back, and how many were ever taken new.
    seats: HashMap<u32, (Vec<String>, u32)>,
    /// By performance and account: the slots that are taken, as bits.
    slots: HashMap<(u32, u64), u8>,
}

impl Rush {
    pub(super) fn new(writer: u32) -> Rush {
        Rush {
            writer,
            steps: 0,
            open: Vec::new(),
            accounts: VecDeque::new(),
            seats: HashMap::new(),
            slots: HashMap::new(),
        }
    }

    /// The next transaction.
    pub(super) fn next(&mut self, rng: &mut SmallRng) -> String {
        self.steps += 1;
        if self.open.len() >= HOLDS_OPEN || !self.open.is_empty() && rng.random_bool(0.5) {
            let hold = self.open.swap_remove(rng.random_range(0..self.open.len()));
            return if rng.random_range(0..100) < PAID_PERCENT {
                self.pay(&hold, rng)
            } else {
                self.give_back(hold)
            };
        }
        self.hold(rng)
    }

    /// Never given twice: the writer is part of it, and time's order is kept as in the service's ids.
    fn id(&self, rng: &mut SmallRng) -> u64 {
        ((self.steps << 10) | u64::from(self.writer)) << 16 | u64::from(rng.random::<u16>())
    }

    fn hold(&mut self, rng: &mut SmallRng) -> String {
        let performance = rng.random_range(1..=PERFORMANCES);
        let known = self.accounts.get(rng.random_range(0..KNOWN_ACCOUNTS)).copied();
        let known = known.filter(|a| {
            let taken = self.slots.get(&(performance, *a)).copied().unwrap_or(0);
            taken.count_ones() < u32::from(ACCOUNT_LIMIT) && rng.random_range(0..100) < KNOWN_PERCENT
        });
        let account = known.unwrap_or_else(|| self.id(rng));
        if known.is_none() {
            self.accounts.push_back(account);
            if self.accounts.len() > KNOWN_ACCOUNTS {
                self.accounts.pop_front();
            }
        }
        let wanted = rng.random_range(1..=usize::from(ACCOUNT_LIMIT));
        let taken = self.slots.entry((performance, account)).or_default();
        let free: Vec<u8> = (1..=ACCOUNT_LIMIT).filter(|slot| *taken & 1 << slot == 0).take(wanted).collect();
        let mut seats = Vec::new();
        for slot in free {
            *taken |= 1 << slot;
            let (given_back, new) = self.seats.entry(performance).or_default();
            let seat = given_back.pop().unwrap_or_else(|| {
                *new += 1;
                format!("W{}-{}-{}", self.writer, *new / 50, *new % 50)
            });
            seats.push((seat, slot));
        }
        let id = format!("{:06}{:020}", self.writer, self.steps);
        let rows: Vec<String> = seats
            .iter()
            .map(|(seat, slot)| {
                format!(
                    "({performance},'{seat}',{account},{slot},'held','{id}',NOW(3) + INTERVAL 5 MINUTE,{PRICE_WON})"
                )
            })
            .collect();
        self.open.push(Hold { id, performance, account, seats });
        format!(
            "INSERT INTO {SCHEMA}.seat_claims (performance_id, seat, account_id, slot, state, hold_id, held_until, price_won) \
             VALUES {}",
            rows.join(",")
        )
    }

    fn pay(&mut self, hold: &Hold, rng: &mut SmallRng) -> String {
        let (id, payment, key) = (self.id(rng), self.id(rng), rng.random::<u128>());
        let Hold { id: hold_id, performance, account, seats } = hold;
        let (count, writer, steps) = (seats.len(), self.writer, self.steps);
        let amount = u64::from(PRICE_WON) * count as u64;
        format!(
            "BEGIN; UPDATE {SCHEMA}.seat_claims SET state='sold', booking_id={id}, held_until=NULL \
             WHERE hold_id='{hold_id}' AND account_id={account} AND state='held'; \
             INSERT INTO {SCHEMA}.bookings VALUES ({id},'{writer:03}{steps:011}',{account},{performance},'{key:032x}',{count},\
             {amount},'confirmed',NOW(3)); \
             INSERT INTO {SCHEMA}.payments VALUES ({payment},{id},'test','ref-{key:032x}',{amount},'captured',NOW(3)); COMMIT"
        )
    }

    fn give_back(&mut self, hold: Hold) -> String {
        let Hold { id, performance, account, seats } = hold;
        for (seat, slot) in seats {
            if let Some(taken) = self.slots.get_mut(&(performance, account)) {
                *taken &= !(1 << slot);
            }
            self.seats.entry(performance).or_default().0.push(seat);
        }
        format!(
            "DELETE FROM {SCHEMA}.seat_claims WHERE hold_id='{id}' AND account_id={account} AND state='held'"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn no_seat_and_no_place_of_an_account_is_claimed_twice_and_some_are_claimed_again() {
        let (mut rush, mut rng) = (Rush::new(3), SmallRng::seed_from_u64(5));
        let (mut again, mut paid, mut given_back) = (0, 0, 0);
        let mut ever = HashSet::new();
        for _ in 0..5_000 {
            let transaction = rush.next(&mut rng);
            paid += u32::from(transaction.starts_with("BEGIN"));
            given_back += u32::from(transaction.starts_with("DELETE"));
            if let Some(hold) = rush.open.last().filter(|_| transaction.starts_with("INSERT")) {
                for (seat, slot) in &hold.seats {
                    assert!((1..=ACCOUNT_LIMIT).contains(slot));
                    again += u32::from(!ever.insert((hold.performance, seat.clone())));
                }
            }
            let open: Vec<_> = rush
                .open
                .iter()
                .flat_map(|h| h.seats.iter().map(|(seat, _)| (h.performance, seat)))
                .collect();
            assert_eq!(open.iter().collect::<HashSet<_>>().len(), open.len(), "a seat is held twice");
            let places: Vec<_> = rush
                .open
                .iter()
                .flat_map(|h| h.seats.iter().map(|(_, slot)| (h.performance, h.account, *slot)))
                .collect();
            assert_eq!(places.iter().collect::<HashSet<_>>().len(), places.len(), "a place is taken twice");
        }
        assert!(
            again > 100 && paid > 1_500 && given_back > 300,
            "{again} again, {paid} paid, {given_back} back"
        );
    }
}
