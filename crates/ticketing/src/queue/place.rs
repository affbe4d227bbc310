//! What somebody who waits is told: how many are ahead and behind, how long it takes, when to ask again.
//!
//! The page computes the same from the public serving number; this is for those without scripts, and the reference
//! that the script is tested against.

use super::{
    Phase, Sale,
    draw::{Order, Seed},
    ticket::Ticket,
};

/// Where somebody stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the lobby: the lottery comes.
    Lobby {
        /// When.
        opens_ms: u64,
    },
    /// The lottery is being drawn, or this instance does not have its result yet.
    Drawing,
    /// Waiting to be called.
    Waiting(Wait),
    /// May enter.
    Called {
        /// With this number.
        number: u32,
    },
    /// The ticket is of no use here: an early one that took no part. Enter again.
    Unknown,
}

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The visitor's number.
    pub number: u32,
    /// How many are called first.
    pub ahead: u32,
    /// How many come after.
    pub behind: u32,
    /// How long it takes at the present pace; none while nobody is called.
    pub wait_s: Option<u32>,
    /// When to ask again.
    pub poll_ms: u32,
}

/// The number of a ticket: written on it, or what the lottery gave it.
pub fn number_of(ticket: &Ticket, seed: &Seed, order: &Order) -> Option<u32> {
    ticket.number.or_else(|| order.number(seed.lot(ticket.sale, ticket.entry, ticket.class)))
}

/// Where a ticket stands at `now_ms`. `drawn` is the lottery, once it is drawn and known here.
pub fn place(sale: &Sale, ticket: &Ticket, drawn: Option<(&Seed, &Order)>, now_ms: u64) -> Place {
    let number = match (ticket.number, drawn) {
        (Some(number), _) => number,
        (None, Some((seed, order))) => match number_of(ticket, seed, order) {
            Some(number) => number,
            None => return Place::Unknown,
        },
        (None, None) => {
            return match sale.phase(now_ms) {
                Phase::Closed | Phase::Lobby => Place::Lobby { opens_ms: sale.opens_ms },
                Phase::Drawing | Phase::Open => Place::Drawing,
            };
        }
    };
    if number <= sale.serving {
        return Place::Called { number };
    }
    let ahead = number - sale.serving - 1;
    let wait_s = wait_s(ahead, sale.pace_milli);
    Place::Waiting(Wait {
        number,
        ahead,
        behind: sale.given.saturating_sub(number),
        wait_s,
        poll_ms: poll_ms(ahead, wait_s, ticket.entry.0),
    })
}

/// How long `ahead` people take at this pace.
pub fn wait_s(ahead: u32, pace_milli: u32) -> Option<u32> {
    if pace_milli == 0 {
        return None;
    }
    let s = (u64::from(ahead) + 1) * 1_000;
    Some(u32::try_from(s.div_ceil(u64::from(pace_milli))).unwrap_or(u32::MAX))
}

/// When to ask again: those at the front soon, those far back seldom, and nobody later than a third of what is left.
/// A fifth of it is spread by the entry, so that a crowd that came in one second does not ask in one second.
pub fn poll_ms(ahead: u32, wait_s: Option<u32>, entry: u64) -> u32 {
    let by_place: u32 = match ahead {
        0..=100 => 1_000,
        101..=1_000 => 3_000,
        1_001..=10_000 => 8_000,
        10_001..=100_000 => 15_000,
        _ => 30_000,
    };
    let by_time = wait_s.map_or(u32::MAX, |s| s.saturating_mul(333));
    let base = by_place.min(by_time).max(1_000);
    let spread = u32::try_from(entry % 200).unwrap_or(0);
    base + base / 1_000 * spread
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            draw::{Class, Entry},
            tests::{OPENS, sale},
        },
        *,
    };

    fn ticket(number: Option<u32>) -> Ticket {
        Ticket { sale: 502, entry: Entry(11), class: Class::Ordinary, number }
    }

    #[test]
    fn a_visitor_goes_from_the_lobby_to_the_door() {
        let seed = Seed::new([7; 32]);
        let mut sale = sale();
        let early = ticket(None);
        assert_eq!(place(&sale, &early, None, OPENS - 1), Place::Lobby { opens_ms: OPENS });
        assert_eq!(place(&sale, &early, None, OPENS), Place::Drawing);

        let rows = (0..100).map(|n| (Entry(n), Class::Ordinary));
        let order = Order::draw(&seed, 502, rows);
        (sale.early, sale.given) = (Some(100), 150);
        let drawn = Some((&seed, &order));
        let Place::Waiting(wait) = place(&sale, &early, drawn, OPENS + 1) else { panic!() };
        assert_eq!((wait.ahead + 1, wait.ahead + wait.behind + 1), (wait.number, 150));
        sale.serving = wait.number - 1;
        assert!(matches!(place(&sale, &early, drawn, OPENS), Place::Waiting(w) if w.ahead == 0));
        sale.serving = wait.number;
        assert_eq!(place(&sale, &early, drawn, OPENS), Place::Called { number: wait.number });

        // Whoever came late needs no lottery, and whoever took no part is told so.
        assert!(matches!(place(&sale, &ticket(Some(150)), None, OPENS), Place::Waiting(w) if w.behind == 0));
        let stranger = Ticket { entry: Entry(1_000), ..early };
        assert_eq!(place(&sale, &stranger, drawn, OPENS), Place::Unknown);
    }

    #[test]
    fn whoever_is_close_asks_often_and_a_crowd_seldom() {
        assert_eq!(wait_s(0, 20_000), Some(1));
        assert_eq!(wait_s(1_199, 20_000), Some(60));
        assert_eq!(wait_s(5, 0), None);
        assert_eq!(poll_ms(0, Some(1), 0), 1_000);
        assert_eq!(poll_ms(500, Some(600), 0), 3_000);
        assert_eq!(poll_ms(500_000, Some(20_000), 0), 30_000);
        // Nobody sleeps through being called.
        assert_eq!(poll_ms(500_000, Some(6), 0), 1_998);
        for entry in 0..1_000 {
            assert!((8_000..9_600).contains(&poll_ms(5_000, None, entry)));
        }
    }

    #[test]
    fn half_a_million_who_wait_ask_less_than_twenty_thousand_times_a_second() {
        let pace_milli = 100_000;
        let per_second: u64 = (0..500_000u32)
            .map(|ahead| 1_000_000 / u64::from(poll_ms(ahead, wait_s(ahead, pace_milli), u64::from(ahead))))
            .sum::<u64>()
            / 1_000;
        assert!(per_second < 20_000, "{per_second}");
    }

    #[test]
    fn nobody_is_overtaken() {
        let mut sale = sale();
        (sale.early, sale.given) = (Some(0), 50);
        for serving in 0..=50 {
            sale.serving = serving;
            let called =
                (1..=50).map(|n| matches!(place(&sale, &ticket(Some(n)), None, 0), Place::Called { .. }));
            let called: Vec<bool> = called.collect();
            assert!(called.is_sorted_by(|a, b| a >= b), "a larger number was called before a smaller one");
        }
    }
}
