//! The sale that is rushed at: announced as an organiser would, and read back when it is over.
//!
//! Everything here is SQL of our own on the database that serves, never the service's code.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use mysql_async::{Conn, prelude::Queryable};
use rand::RngExt;
use runtime::clock::Boot;

use super::notes::Noted;
use crate::{
    checker::Violation,
    drill::Aborted,
    load::{crowd, route::Route, visitor::Visitors},
};

/// The password of every visitor, and its Argon2id hash with the smallest cost there is: logging in is not what is
/// measured, and twenty thousand hashes at the service's own cost would take these cores minutes.
pub(super) const PASSWORD: &str = "a ghost light stays on";
const PASSWORD_HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$Z2hvc3RsaWdodC1jcm93ZA$SMhKKYErZgH99ffIP/TI4Q";
/// Accounts of one INSERT.
const ACCOUNTS_AT_ONCE: u32 = 1_000;
/// Every instance knows of the opening when so many looks in a row tell of it.
const KNOWN_IN_A_ROW: u32 = 20;
const KNOWN_WITHIN: Duration = Duration::from_secs(30);
/// Numbers called a second at first, in thousandths: the service's own choice.
const PACE_MILLI: u32 = 40_000;

/// A sale.
pub(super) struct Scene {
    pub(super) performance: u32,
    pub(super) capacity: u64,
    pub(super) account_limit: u8,
    run: u64,
}

/// The waiting room's rows when all is over.
pub(super) struct Room {
    /// What the lottery was drawn with.
    pub(super) seed: [u8; 32],
    /// What was published of it before.
    pub(super) seed_sha256: [u8; 32],
    /// For which performance.
    pub(super) performance: u32,
    /// How many took part in the lottery.
    pub(super) early: u32,
    /// The last number given.
    pub(super) given: u32,
    /// The last number called.
    pub(super) serving: u32,
    /// Every entry.
    pub(super) entries: Vec<Entry>,
}

/// A row of `queue_entries`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) entry: u64,
    pub(super) class: u8,
    pub(super) early: bool,
    pub(super) number: Option<u32>,
    /// Whether it has or had a turn.
    pub(super) turn: bool,
}

fn sql(e: mysql_async::Error) -> Aborted {
    Aborted::from(format!("announcing or reading the sale: {e}"))
}

impl Scene {
    /// Puts a waiting room before the sale of `performance` (or of the largest hall's first one without a room), which opens
    /// in `lobby_s` seconds, and enters accounts for `visitors`.
    pub(super) async fn announce(
        conn: &mut Conn,
        performance: Option<u32>,
        lobby_s: u32,
        visitors: u32,
    ) -> Result<Scene, Aborted> {
        let which = performance.map_or("1 = 1".to_owned(), |id| format!("id = {id}"));
        let found: Option<(u32, u64, u8)> = conn
            .query_first(format!(
                "SELECT id, CAST(capacity AS UNSIGNED), account_limit FROM ticketing.performances WHERE {which} \
                 AND starts_at > UTC_TIMESTAMP() + INTERVAL 1 DAY \
                 AND id NOT IN (SELECT performance_id FROM ticketing.queue_sales) ORDER BY capacity DESC, id LIMIT 1"
            ))
            .await
            .map_err(sql)?;
        let Some((performance, capacity, account_limit)) = found else {
            let which = performance
                .map_or("no performance".to_owned(), |id| format!("performance {id} is not one that"));
            return Err(Aborted::from(format!(
                "{which} begins more than a day from now and has no waiting room yet; name another one, or use a new lab"
            )));
        };
        let scene = Scene { performance, capacity, account_limit, run: Boot::now().as_ms() };
        scene.enter_accounts(conn, visitors).await.map_err(sql)?;
        scene.open_room(conn, lobby_s).await.map_err(sql)?;
        Ok(scene)
    }

    async fn enter_accounts(&self, conn: &mut Conn, visitors: u32) -> Result<(), mysql_async::Error> {
        // The service draws ids from the clock, too, but from its sixty-odd bits; these are smaller by far.
        let first: u64 = self.run * 1_000_000;
        for from in (0..visitors).step_by(ACCOUNTS_AT_ONCE as usize) {
            let rows: Vec<String> = (from..visitors.min(from + ACCOUNTS_AT_ONCE))
                .map(|n| {
                    let (id, email) = (first + u64::from(n), self.email(n));
                    format!("({id}, '{email}', '관객 {n}', '{PASSWORD_HASH}', UTC_TIMESTAMP(3))")
                })
                .collect();
            let insert =
                "INSERT INTO ticketing.accounts (id, email, name, password_hash, created_at) VALUES ";
            conn.query_drop(format!("{insert}{}", rows.join(","))).await?;
        }
        Ok(())
    }

    async fn open_room(&self, conn: &mut Conn, lobby_s: u32) -> Result<(), mysql_async::Error> {
        let seed: [u8; 32] = rand::rng().random();
        let (id, seed) = (self.performance, hex(&seed));
        conn.query_drop(format!(
            "START TRANSACTION; \
             SET @opens = UTC_TIMESTAMP(3) + INTERVAL {lobby_s} SECOND; \
             UPDATE ticketing.performances SET sale_opens_at = @opens WHERE id = {id}; \
             INSERT INTO ticketing.queue_sales (performance_id, lobby_opens_at, opens_at, seed, seed_hash, early, given, \
             serving, pace_milli, served_at) VALUES ({id}, UTC_TIMESTAMP(3), @opens, '{seed}', \
             SHA2(UNHEX('{seed}'), 256), NULL, 0, 0, {PACE_MILLI}, UTC_TIMESTAMP(3)); \
             COMMIT"
        ))
        .await
    }

    /// The address of visitor `n`.
    pub(super) fn email(&self, n: u32) -> String {
        format!("r{:x}-{n}@visitors.ghostlight.test", self.run)
    }

    /// Waits until every instance of the service knows of the opening: each keeps what it has read for some seconds, and until
    /// then sells as before. An organiser announces a sale days ahead.
    pub(super) async fn known(&self, client: &Visitors, route: &mut Route) -> Result<(), Aborted> {
        let path = format!("/api/performances/{}", self.performance);
        let (mut in_a_row, began) = (0, Boot::now());
        while in_a_row < KNOWN_IN_A_ROW {
            if began.elapsed() > KNOWN_WITHIN {
                return Err(Aborted::from(format!(
                    "the service does not see that performance {} opens later",
                    self.performance
                )));
            }
            let seen = client.read(&path, route).await?;
            in_a_row = if seen["sale"] == "open" { 0 } else { in_a_row + 1 };
            // One look a moment; the instances take turns.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Every seat's name, in the order of the availability's bits.
    pub(super) async fn seats(&self, client: &Visitors, route: &mut Route) -> Result<Vec<String>, Aborted> {
        let page = client.read(&format!("/api/performances/{}/seats", self.performance), route).await?;
        Ok(crowd::all_seats(&page)?)
    }

    /// The waiting room's rows.
    pub(super) async fn room(&self, conn: &mut Conn) -> Result<Room, Aborted> {
        let id = self.performance;
        let row: Option<(String, String, Option<u32>, u32, u32)> = conn
            .query_first(format!(
                "SELECT seed, seed_hash, early, given, serving FROM ticketing.queue_sales WHERE performance_id = {id}"
            ))
            .await
            .map_err(sql)?;
        let (seed, hash, early, given, serving) =
            row.ok_or_else(|| Aborted::from(format!("the waiting room of performance {id} is gone")))?;
        let rows: Vec<(u64, u8, u8, Option<u32>, bool)> = conn
            .query(format!(
                "SELECT entry, class, early, number, turn_until IS NOT NULL FROM ticketing.queue_entries \
                 WHERE performance_id = {id}"
            ))
            .await
            .map_err(sql)?;
        let odd = || Aborted::from(format!("the seed of performance {id} is not 64 hex digits"));
        Ok(Room {
            seed: unhex(&seed).ok_or_else(odd)?,
            seed_sha256: unhex(&hash).ok_or_else(odd)?,
            performance: id,
            early: early.unwrap_or(0),
            given,
            serving,
            entries: rows
                .into_iter()
                .map(|(entry, class, early, number, turn)| Entry {
                    entry,
                    class,
                    early: early == 1,
                    number,
                    turn,
                })
                .collect(),
        })
    }

    /// I6: a hold that was acknowledged and left alone stands until its deadline, one that was given back stands no more.
    /// I11: a cancelled booking has no seat any more, and says that it is cancelled.
    pub(super) async fn holds_and_cancellations(
        &self,
        conn: &mut Conn,
        noted: &Noted,
    ) -> Result<Vec<Violation>, Aborted> {
        let id = self.performance;
        let claims: Vec<(String, Option<String>, bool)> = conn
            .query(format!(
                "SELECT seat, hold_id, state = 'held' AND held_until > UTC_TIMESTAMP(3) FROM ticketing.seat_claims \
                 WHERE performance_id = {id}"
            ))
            .await
            .map_err(sql)?;
        // What was abandoned at the beginning of a long sale may have come to its deadline: then nothing is proven.
        let living: HashSet<(&str, &str)> = claims
            .iter()
            .filter(|(.., held)| *held)
            .filter_map(|(seat, hold, _)| Some((hold.as_deref()?, seat.as_str())))
            .collect();
        let now_ms = Boot::now().as_ms();
        let mut found = Vec::new();
        for left in noted.abandoned.iter().filter(|left| left.until_ms > now_ms) {
            for seat in
                left.seats.iter().filter(|seat| !living.contains(&(left.hold.as_str(), seat.as_str())))
            {
                let what =
                    format!("seat {seat} is held by {} until its deadline, and is not any more", left.hold);
                found.push(Violation::new("I6", what));
            }
        }
        let held: HashSet<&str> = claims.iter().filter_map(|(_, hold, _)| hold.as_deref()).collect();
        for hold in noted.released.iter().filter(|hold| held.contains(hold.as_str())) {
            found.push(Violation::new("I6", format!("hold {hold} was given back, and still has a seat")));
        }
        let bookings: Vec<(String, String, u64)> = conn
            .query(format!(
                "SELECT booking_no, state, (SELECT COUNT(*) FROM ticketing.seat_claims c WHERE c.booking_id = b.id) \
                 FROM ticketing.bookings b WHERE performance_id = {id}"
            ))
            .await
            .map_err(sql)?;
        let bookings: HashMap<&str, (&str, u64)> =
            bookings.iter().map(|(no, state, seats)| (no.as_str(), (state.as_str(), *seats))).collect();
        for no in &noted.cancelled {
            match bookings.get(no.as_str()) {
                Some(("cancelled", 0)) => {}
                other => found.push(Violation::new(
                    "I11",
                    format!("booking {no} was cancelled; its state and number of seats are {other:?}"),
                )),
            }
        }
        Ok(found)
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_written_and_read() {
        let seed = std::array::from_fn(|n| u8::try_from(n * 7).unwrap());
        assert_eq!(unhex(&hex(&seed)), Some(seed));
        assert_eq!(unhex("12"), None);
        assert_eq!(unhex(&"가".repeat(64)), None);
    }
}
