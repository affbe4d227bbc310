//! How many entries came from one place, without remembering the places.
//!
//! Bots come by the hundred from one network. A count-min sketch (two rows of counters, chosen by two hashes) counts
//! them in 128 KiB however many places there are; it may count too many, never too few. Entries beyond the limit are
//! drawn after everybody else ([`Class::Crowded`]), which is kept with the entry: what one instance counted, every
//! other one draws by. Nobody is refused: a whole university may sit behind one address.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::draw::Class;

const COUNTERS: usize = 1 << 15;

/// Counts entries by the network that they came from.
#[derive(Clone, Debug)]
pub struct Origins {
    counters: Vec<u16>,
    limit: u16,
}

impl Origins {
    /// Nobody came yet; more than `limit` entries of one network are a crowd.
    pub fn new(limit: u16) -> Origins {
        Origins { counters: vec![0; 2 * COUNTERS], limit }
    }

    /// Counts one entry and says how it will be drawn.
    pub fn count(&mut self, from: IpAddr) -> Class {
        let digest = Sha256::digest(network(from));
        let at = |i: usize| usize::from(u16::from_be_bytes([digest[2 * i], digest[2 * i + 1]])) % COUNTERS;
        let mut seen = u16::MAX;
        for (row, slot) in [at(0), COUNTERS + at(1)].into_iter().enumerate() {
            if let Some(counter) = self.counters.get_mut(slot) {
                *counter = counter.saturating_add(1);
                seen = seen.min(*counter);
            } else {
                tracing::debug!(row, "a counter out of range");
            }
        }
        if seen > self.limit { Class::Crowded } else { Class::Ordinary }
    }

    /// What it costs in memory.
    pub fn bytes(&self) -> usize {
        self.counters.capacity() * size_of::<u16>()
    }
}

/// The network of an address: an IPv4 address itself, the /64 that one IPv6 customer has.
fn network(from: IpAddr) -> [u8; 8] {
    let mut out = [0; 8];
    match from.to_canonical() {
        IpAddr::V4(v4) => out[..4].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => out.copy_from_slice(&v6.octets()[..8]),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_noticed_and_many_homes_are_not() {
        let mut origins = Origins::new(20);
        let bot: IpAddr = "203.0.113.9".parse().unwrap();
        let crowded = (0..118).filter(|_| origins.count(bot) == Class::Crowded).count();
        assert_eq!(crowded, 98);
        let homes = (0..20_000u32).map(|n| IpAddr::from((0x0A00_0000 + n).to_be_bytes()));
        let wronged = homes.map(|home| origins.count(home)).filter(|c| *c == Class::Crowded).count();
        assert!(wronged <= 20, "{wronged} of 20,000 homes were taken for a crowd");
        assert!(origins.bytes() <= 128 * 1024);
    }

    #[test]
    fn one_customer_with_many_v6_addresses_is_one_place() {
        let mut origins = Origins::new(3);
        let class =
            |origins: &mut Origins, n: u16| origins.count(IpAddr::from([0x2001, 0xdb8, 1, 2, 0, 0, 0, n]));
        let all: Vec<Class> = (0..5).map(|n| class(&mut origins, n)).collect();
        assert_eq!(all[2..], [Class::Ordinary, Class::Crowded, Class::Crowded]);
        assert_eq!(origins.count("::ffff:192.0.2.1".parse().unwrap()), Class::Ordinary);
    }
}
