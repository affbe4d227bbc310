//! The network between the places: when a message arrives, if it does, and how often.
//!
//! Inside a place messages take a millisecond or two, and now and then much longer. Between places they can be cut
//! off in each direction, lost, doubled, and held up so that they overtake one another. What TCP keeps in order (a
//! connection of the link, a log that is being read) stays in order, and a cut breaks it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    message::{Message, OUTSIDE, Who},
    rng::Rng,
};

const PLACES: usize = OUTSIDE + 1;

/// How messages fare from one place to another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Nothing passes.
    pub cut: bool,
    /// What was on its way when the cut came is lost, too.
    pub swallows: bool,
    /// So many of a thousand are lost.
    pub loss: u64,
    /// So many of a thousand come twice.
    pub doubled: u64,
    /// Each is held up by so many milliseconds at most.
    pub delay_ms: u64,
}

/// The network.
#[derive(Debug, Default)]
pub struct Network {
    weather: [[Weather; PLACES]; PLACES],
    /// When the last message of a connection arrives, by its number and direction.
    last: BTreeMap<(u64, Who), u64>,
    broken: BTreeSet<u64>,
    /// Connections, by number and sender, of which something was swallowed: nothing that was sent after it arrives.
    torn: BTreeSet<(u64, Who)>,
    /// Messages lost, doubled or held up.
    pub hurt: u64,
}

impl Network {
    /// The weather from one place to another.
    pub fn weather(&mut self, from: usize, to: usize) -> &mut Weather {
        &mut self.weather[from.min(OUTSIDE)][to.min(OUTSIDE)]
    }

    /// Everything is as it should be.
    pub fn heal(&mut self) {
        self.weather = Default::default();
    }

    /// When copies of this message arrive.
    pub fn send(
        &mut self,
        now: u64,
        rng: &mut Rng,
        from: Who,
        to: Who,
        message: &Message,
    ) -> [Option<u64>; 2] {
        let weather = *self.weather(from.place(), to.place());
        let far = from.place() != to.place();
        let usual = if far { 6 + rng.below(6) } else { 1 };
        let now_and_then = if rng.chance(25) { rng.below(if far { 150 } else { 40 }) } else { 0 };
        let held_up = if weather.delay_ms > 0 { rng.below(weather.delay_ms) } else { 0 };
        let at = now + usual + now_and_then + held_up;
        let in_order = match message {
            Message::Link { connection, .. } => Some(*connection),
            Message::Log { connection, .. } => Some(!*connection),
            Message::Serving(_) => Some(to.place() as u64),
            Message::Ask { .. } | Message::Answer { .. } => None,
        };
        if let Some(connection) = in_order {
            if weather.cut {
                self.hurt += 1;
                self.broken.insert(connection);
            }
            if self.broken.contains(&connection) {
                return [None, None];
            }
            let last = self.last.entry((connection, from)).or_insert(0);
            *last = at.max(*last);
            return [Some(*last), None];
        }
        if weather.cut || (far && rng.chance(weather.loss)) {
            self.hurt += 1;
            return [None, None];
        }
        self.hurt += u64::from(held_up > 0);
        let twice = far && rng.chance(weather.doubled);
        self.hurt += u64::from(twice);
        [Some(at), twice.then(|| at + rng.below(400))]
    }

    /// Whether a message that is to arrive now is swallowed by a cut that came after it was sent, or stands behind one that was.
    pub fn swallows(&mut self, from: Who, to: Who, message: &Message) -> bool {
        let weather = *self.weather(from.place(), to.place());
        let connection = match message {
            Message::Link { connection, .. } => Some(*connection),
            _ => None,
        };
        let lost =
            (weather.cut && weather.swallows) || connection.is_some_and(|c| self.torn.contains(&(c, from)));
        if lost {
            self.hurt += 1;
            if let Some(connection) = connection {
                self.broken.insert(connection);
                self.torn.insert((connection, from));
            }
        }
        lost
    }
}
