//! The waiting room: who comes first when everybody comes at once.
//!
//! Before a sale opens a lobby collects whoever is there. At the opening a lottery gives each of them a number; who
//! comes later gets the next one. One number, *serving*, says how far the sale has come, and whoever has a number up
//! to it may enter for one turn.
//!
//! What must be in the database, because nothing else can tell it again:
//! - the sale's row: the seed and its hash, how many were early, the last number given, the serving number, the pace;
//! - one row an entry: that it is there, its class, its number if it came late, when its turn ends.
//!
//! What is computed again wherever it is asked for, with the same result: an entry's name (a keyed hash of sale and
//! account, so that ten windows are one entry), an early entry's number ([`draw`]), the signature of tickets
//! ([`ticket`]), position, waiting time and polling interval ([`place`]).
//!
//! So a failover moves nobody: a ticket is as good at the other site, and a ticket whose row is missing there (it
//! was never acknowledged) is entered again under the same name.
//!
//! What a crowd costs: eight bytes for each early entry ([`draw::Order`]), nothing in memory for a late one. The
//! serving number is one small public answer that every cache may keep for a second; positions are computed from it
//! in the browser.
//!
//! Always true here: nobody is overtaken by a larger number; the serving number never goes back; this module and the
//! modules below it read no clock, draw no random number, know no SQL and no HTTP.

pub mod admit;
pub mod draw;
pub mod measure;
pub mod origin;
pub mod place;
pub mod ticket;

/// How long the lobby is open before the sale, unless the sale says otherwise.
pub const LOBBY_MS: u64 = 30 * 60 * 1000;
/// How long a turn lasts: time to choose, and one hold.
pub const TURN_MS: u64 = 10 * 60 * 1000;

/// The pace that a sale begins with, in thousandths of a number a second.
pub const PACE_MILLI: u32 = 40_000;

/// A sale's row, as the database holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// The performance that is sold.
    pub id: u32,
    /// When the lobby opens.
    pub lobby_opens_ms: u64,
    /// When the sale opens and the lottery is drawn.
    pub opens_ms: u64,
    /// SHA-256 of the seed, published with the sale.
    pub commitment: draw::Commitment,
    /// How many entries the lottery gave a number to; none until it was drawn.
    pub early: Option<u32>,
    /// The last number given.
    pub given: u32,
    /// Numbers up to this one may enter.
    pub serving: u32,
    /// Thousandths of a number that are called a second.
    pub pace_milli: u32,
    /// When the serving number was last moved.
    pub served_ms: u64,
}

/// Where a sale's waiting room stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not open yet: come back.
    Closed,
    /// Whoever is here takes part in the lottery.
    Lobby,
    /// The sale is open, the lottery is being drawn; whoever comes now waits a moment for a number.
    Drawing,
    /// Numbers are called.
    Open,
}

impl Phase {
    /// Its word in the API.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Closed => "closed",
            Phase::Lobby => "lobby",
            Phase::Drawing => "drawing",
            Phase::Open => "open",
        }
    }
}

impl Sale {
    /// A sale whose lobby opens [`LOBBY_MS`] before it.
    pub fn announced(id: u32, opens_ms: u64, seed: &draw::Seed) -> Sale {
        Sale {
            id,
            lobby_opens_ms: opens_ms.saturating_sub(LOBBY_MS),
            opens_ms,
            commitment: seed.commitment(),
            early: None,
            given: 0,
            serving: 0,
            pace_milli: PACE_MILLI,
            served_ms: opens_ms.saturating_sub(LOBBY_MS),
        }
    }

    /// Where it stands at `now_ms`. Once the lottery is drawn no clock can reopen the lobby: the other site's may be
    /// behind.
    pub fn phase(&self, now_ms: u64) -> Phase {
        if self.early.is_some() {
            Phase::Open
        } else if now_ms >= self.opens_ms {
            Phase::Drawing
        } else if now_ms >= self.lobby_opens_ms {
            Phase::Lobby
        } else {
            Phase::Closed
        }
    }

    /// How many have a number that is not called yet.
    pub fn waiting(&self) -> u32 {
        self.given.saturating_sub(self.serving)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const OPENS: u64 = 1_800_000_000_000;

    pub(crate) fn sale() -> Sale {
        Sale { pace_milli: 20_000, ..Sale::announced(502, OPENS, &draw::Seed::new([7; 32])) }
    }

    #[test]
    fn the_lobby_closes_at_the_opening_and_a_slow_clock_does_not_reopen_it() {
        let mut sale = sale();
        assert_eq!(sale.phase(OPENS - LOBBY_MS - 1), Phase::Closed);
        assert_eq!(sale.phase(OPENS - LOBBY_MS), Phase::Lobby);
        assert_eq!(sale.phase(OPENS - 1), Phase::Lobby);
        assert_eq!(sale.phase(OPENS), Phase::Drawing);
        sale.early = Some(3);
        assert_eq!(sale.phase(OPENS), Phase::Open);
        assert_eq!(sale.phase(OPENS - 5_000), Phase::Open);
    }
}
