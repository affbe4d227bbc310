//! The waiting room's rows.
//!
//! Every change of a sale's numbers happens under the lock of its row in `queue_sales`: entering (many entries in one
//! transaction, so the lock is taken tens of times a second, not thousands), drawing the lottery, entering again.
//! Moving the serving number needs no lock: it is one compare-and-set.

use std::collections::HashMap;

use mysql_async::{Conn, Result, Row, prelude::Queryable};

use super::{
    Store, StoreError,
    sql::{as_ms, moment, quoted},
};
use crate::queue::{
    Phase, Sale, TURN_MS,
    admit::{CLAIM_MS, TICK_MS},
    draw::{Class, Commitment, Entry, Seed},
};

/// A clock that is further ahead than this is not waited for.
const AHEAD_MS: u64 = 5_000;

/// A row of `queue_entries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Who is drawn before whom.
    pub class: Class,
    /// The number, unless the lottery says it.
    pub number: Option<u32>,
    /// When its turn ends, once it has one.
    pub turn_until_ms: Option<u64>,
}

/// What became of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joining {
    /// The sale has no waiting room.
    NoRoom,
    /// The lobby is not open, or the lottery is being drawn.
    NotNow(Phase),
    /// These are in.
    In(HashMap<Entry, Joined>),
}

/// What one instance sees of the visitors inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inside {
    /// Turns that have not ended.
    pub turns: u32,
    /// Of them, begun a moment ago.
    pub came: u32,
    /// Seats without a living claim.
    pub seats_free: u32,
}

const SALE: &str = "performance_id, seed, seed_hash, early, given, serving, pace_milli";

fn sale_columns() -> String {
    format!(
        "{SALE}, {} AS lobby_ms, {} AS opens_ms, {} AS served_ms",
        as_ms("lobby_opens_at"),
        as_ms("opens_at"),
        as_ms("served_at")
    )
}

fn sale(row: &Row) -> Option<(Sale, Seed)> {
    let text = |column: &str| row.get::<String, _>(column).unwrap_or_default();
    let sale = Sale {
        id: row.get("performance_id")?,
        lobby_opens_ms: row.get("lobby_ms")?,
        opens_ms: row.get("opens_ms")?,
        commitment: Commitment::from_hex(&text("seed_hash"))?,
        early: row.get::<Option<u32>, _>("early").flatten(),
        given: row.get("given")?,
        serving: row.get("serving")?,
        pace_milli: row.get("pace_milli")?,
        served_ms: row.get("served_ms")?,
    };
    Some((sale, Seed::from_hex(&text("seed"))?))
}

impl Store {
    /// Gives a performance a waiting room; does nothing if it has one.
    pub async fn open_room(&self, sale: &Sale, seed: &Seed) -> Answer<()> {
        let sql = insert_room(sale, seed);
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move { conn.query_drop(sql).await })
        })
        .await
    }

    /// Every waiting room of a performance that has not begun, with its seed.
    pub async fn rooms(&self, now_ms: u64) -> Answer<Vec<(Sale, Seed)>> {
        let sql = format!(
            "SELECT {} FROM queue_sales WHERE performance_id IN (SELECT id FROM performances WHERE starts_at > {})",
            sale_columns(),
            moment(now_ms)
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<Row> = conn.query(sql).await?;
                Ok(rows.iter().filter_map(sale).collect())
            })
        })
        .await
    }

    /// Enters all of these in one transaction. Whoever is in already is found, not entered again; whoever's turn is
    /// over gets a new number at the end.
    pub async fn join(&self, room: u32, entries: Vec<(Entry, Class)>, now_ms: u64) -> Answer<Joining> {
        self.run(move |conn| {
            let entries = entries.clone();
            Box::pin(async move {
                conn.query_drop("START TRANSACTION").await?;
                let done = join(conn, room, entries, now_ms).await?;
                conn.query_drop("COMMIT").await?;
                Ok(done)
            })
        })
        .await
    }

    /// Closes the lobby: counts the early entries, whose numbers are given thereby. Says whether this call did it.
    pub async fn draw_lottery(&self, room: u32) -> Answer<bool> {
        self.run(move |conn| {
            Box::pin(async move {
                // The row's lock comes first, so that nobody enters the lobby between the count and the update.
                conn.query_drop(format!(
                    "START TRANSACTION; SELECT performance_id FROM queue_sales WHERE performance_id = {room} FOR UPDATE"
                ))
                .await?;
                let early: Option<u32> = conn
                    .query_first(format!(
                        "SELECT CAST(COUNT(*) AS UNSIGNED) FROM queue_entries WHERE performance_id = {room} AND early = 1"
                    ))
                    .await?;
                let early = early.unwrap_or(0);
                conn.query_drop(format!(
                    "UPDATE queue_sales SET early = {early}, given = {early} \
                     WHERE performance_id = {room} AND early IS NULL"
                ))
                .await?;
                let drawn = conn.affected_rows() == 1;
                conn.query_drop("COMMIT").await?;
                Ok(drawn)
            })
        })
        .await
    }

    /// Every early entry of a sale.
    pub async fn early_entries(&self, room: u32) -> Answer<Vec<(Entry, Class)>> {
        self.run(move |conn| {
            Box::pin(async move {
                conn.query_map(
                    format!(
                        "SELECT entry, class FROM queue_entries WHERE performance_id = {room} AND early = 1"
                    ),
                    |(entry, class): (u64, u8)| (Entry(entry), Class::from_code(class)),
                )
                .await
            })
        })
        .await
    }

    /// Moves the serving number on, if it is still `from` and nobody moved it within the last tick.
    pub async fn call(&self, room: u32, from: u32, to: u32, pace_milli: u32, now_ms: u64) -> Answer<bool> {
        let sql = format!(
            "UPDATE queue_sales SET serving = {to}, pace_milli = {pace_milli}, served_at = {now} \
             WHERE performance_id = {room} AND serving = {from} AND {to} <= given \
             AND (served_at <= {due} OR served_at > {ahead})",
            now = moment(now_ms),
            due = moment(now_ms.saturating_sub(TICK_MS / 10 * 9)),
            ahead = moment(now_ms + AHEAD_MS),
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                conn.query_drop(sql).await?;
                Ok(conn.affected_rows() == 1)
            })
        })
        .await
    }

    /// Begins the turn of an entry, once: asking again finds the same deadline. None if the entry is not in.
    pub async fn begin_turn(&self, room: u32, entry: Entry, now_ms: u64) -> Answer<Option<u64>> {
        let condition = format!("performance_id = {room} AND entry = {}", entry.0);
        let until = moment(now_ms + TURN_MS);
        self.run(move |conn| {
            let update = format!(
                "UPDATE queue_entries SET turn_until = {until} WHERE {condition} AND turn_until IS NULL"
            );
            let select = format!(
                "SELECT {} FROM queue_entries WHERE {condition} AND turn_until IS NOT NULL",
                as_ms("turn_until")
            );
            Box::pin(async move {
                conn.query_drop(update).await?;
                conn.query_first(select).await
            })
        })
        .await
    }

    /// Who is inside, and what is left for them.
    pub async fn inside(&self, room: u32, now_ms: u64) -> Answer<Inside> {
        let sql = format!(
            "SELECT (SELECT CAST(COUNT(*) AS UNSIGNED) FROM queue_entries WHERE performance_id = {room} \
             AND turn_until > {now}), (SELECT CAST(COUNT(*) AS UNSIGNED) FROM queue_entries \
             WHERE performance_id = {room} AND turn_until > {came}), (SELECT capacity FROM performances \
             WHERE id = {room}), (SELECT CAST(COUNT(*) AS UNSIGNED) FROM seat_claims WHERE performance_id = {room} \
             AND (held_until IS NULL OR held_until > {now}))",
            now = moment(now_ms),
            came = moment((now_ms + TURN_MS).saturating_sub(CLAIM_MS)),
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let row: Option<(u32, u32, Option<u32>, u32)> = conn.query_first(sql).await?;
                Ok(row.map_or(Inside::default(), |(turns, came, capacity, claims)| Inside {
                    turns,
                    came,
                    seats_free: capacity.unwrap_or(0).saturating_sub(claims),
                }))
            })
        })
        .await
    }
}

type Answer<T> = std::result::Result<T, StoreError>;

/// The statement that gives a performance a waiting room.
pub(super) fn insert_room(sale: &Sale, seed: &Seed) -> String {
    format!(
        "INSERT IGNORE INTO queue_sales (performance_id, lobby_opens_at, opens_at, seed, seed_hash, early, given, \
         serving, pace_milli, served_at) VALUES ({}, {}, {}, {}, {}, NULL, 0, 0, {}, {})",
        sale.id,
        moment(sale.lobby_opens_ms),
        moment(sale.opens_ms),
        quoted(&seed.hex()),
        quoted(&seed.commitment().hex()),
        sale.pace_milli,
        moment(sale.lobby_opens_ms),
    )
}

async fn join(conn: &mut Conn, room: u32, entries: Vec<(Entry, Class)>, now_ms: u64) -> Result<Joining> {
    let row: Option<Row> = conn
        .query_first(format!(
            "SELECT {} FROM queue_sales WHERE performance_id = {room} FOR UPDATE",
            sale_columns()
        ))
        .await?;
    let Some((sale, _)) = row.as_ref().and_then(sale) else { return Ok(Joining::NoRoom) };
    let phase = sale.phase(now_ms);
    if matches!(phase, Phase::Closed | Phase::Drawing) {
        return Ok(Joining::NotNow(phase));
    }
    let names = entries.iter().map(|(e, _)| e.0.to_string()).collect::<Vec<_>>().join(",");
    let known: Vec<(u64, u8, Option<u32>, Option<u64>)> = conn
        .query(format!(
            "SELECT entry, class, number, {} FROM queue_entries WHERE performance_id = {room} AND entry IN ({names})",
            as_ms("turn_until")
        ))
        .await?;
    let mut joined: HashMap<Entry, Joined> = known
        .into_iter()
        .map(|(entry, class, number, turn_until_ms)| {
            (Entry(entry), Joined { class: Class::from_code(class), number, turn_until_ms })
        })
        .collect();

    let late = phase == Phase::Open;
    let mut given = sale.given;
    let mut next = || {
        late.then(|| {
            given += 1;
            given
        })
    };
    let (mut new, mut again) = (Vec::new(), Vec::new());
    for (entry, class) in entries {
        match joined.get_mut(&entry) {
            // A turn that is over: the next number, in the order of asking.
            Some(known) if late && known.turn_until_ms.is_some_and(|until| until <= now_ms) => {
                *known = Joined { class: known.class, number: next(), turn_until_ms: None };
                again.push((entry, known.number));
            }
            Some(_) => {}
            None => {
                let number = next();
                joined.insert(entry, Joined { class, number, turn_until_ms: None });
                let shown = number.map_or("NULL".to_owned(), |n| n.to_string());
                new.push(format!(
                    "({room}, {}, {}, {}, {shown}, NULL)",
                    entry.0,
                    class.code(),
                    u8::from(!late)
                ));
            }
        }
    }
    for (entry, number) in &again {
        let Some(number) = number else { continue };
        conn.query_drop(format!(
            "UPDATE queue_entries SET number = {number}, turn_until = NULL \
             WHERE performance_id = {room} AND entry = {}",
            entry.0
        ))
        .await?;
    }
    if !new.is_empty() {
        conn.query_drop(format!(
            "INSERT INTO queue_entries (performance_id, entry, class, early, number, turn_until) VALUES {}",
            new.join(",")
        ))
        .await?;
    }
    if given != sale.given {
        conn.query_drop(format!("UPDATE queue_sales SET given = {given} WHERE performance_id = {room}"))
            .await?;
    }
    Ok(Joining::In(joined))
}
