//! Claims on seats, bookings, payments.
//!
//! What changes seats in number is read and written a batch at a time, in [`super::batch`].

use std::sync::Arc;

use mysql_async::{Conn, Result, Row, prelude::Queryable};

use super::{
    Store, StoreError,
    sql::{as_ms, moment, quoted},
};
use crate::{
    booking::{Claim, ClaimState},
    ids::{BookingNo, HoldId, IdempotencyKey},
};

/// A booking as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// What the visitor shows at the door.
    pub no: BookingNo,
    /// Whose.
    pub account: u64,
    /// Of which performance.
    pub performance: u32,
    /// Which seats.
    pub seats: Vec<String>,
    /// What was paid.
    pub amount_won: u64,
    /// When.
    pub created_at_ms: u64,
    /// What became of it, if it does not stand any more.
    pub cancelled: Option<Cancelled>,
}

/// A booking that was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// Kept back.
    pub fee_won: u64,
    /// Given back.
    pub refund_won: u64,
}

/// A seat that is sold or held by somebody, as the seat map shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which seat.
    pub seat: String,
    /// Whose; none when blocked.
    pub account: Option<u64>,
}

/// A booking that is about to be made.
#[derive(Clone, Debug)]
pub struct NewBooking {
    /// Row number.
    pub id: u64,
    /// Row number of its payment.
    pub payment_id: u64,
    /// Its number for people.
    pub no: BookingNo,
    /// Whose.
    pub account: u64,
    /// Of which performance.
    pub performance: u32,
    /// The hold that it pays.
    pub hold: HoldId,
    /// The visitor's key.
    pub key: IdempotencyKey,
    /// How many seats the hold has.
    pub seat_count: usize,
    /// What was captured.
    pub amount_won: u64,
    /// Who captured it.
    pub provider: &'static str,
    /// The capture's name there.
    pub provider_ref: String,
}

pub(super) const CLAIM: &str = "performance_id, seat, account_id, slot, state, hold_id";

pub(super) fn claim(row: &Row) -> Claim {
    let state: String = row.get("state").unwrap_or_default();
    Claim {
        performance: row.get("performance_id").unwrap_or_default(),
        seat: row.get("seat").unwrap_or_default(),
        account: row.get::<Option<u64>, _>("account_id").flatten(),
        slot: row.get::<Option<u8>, _>("slot").flatten(),
        state: match state.as_str() {
            "held" => ClaimState::Held,
            "blocked" => ClaimState::Blocked,
            _ => ClaimState::Sold,
        },
        hold: row.get::<Option<String>, _>("hold_id").flatten().and_then(|id| HoldId::parse(&id)),
        held_until_ms: row.get::<Option<u64>, _>("until_ms").flatten(),
        price_won: row.get("price_won").unwrap_or_default(),
    }
}

impl Store {
    /// The claims of an account at a performance.
    pub async fn claims_of(&self, performance: u32, account: u64) -> Answer<Vec<Claim>> {
        self.claims(format!(
            "SELECT {CLAIM}, {} AS until_ms, price_won FROM seat_claims \
             WHERE performance_id = {performance} AND account_id = {account} ORDER BY slot",
            as_ms("held_until")
        ))
        .await
    }

    async fn claims(&self, sql: String) -> Answer<Vec<Claim>> {
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<Row> = conn.query(sql).await?;
                Ok(rows.iter().map(claim).collect())
            })
        })
        .await
    }

    /// The claims that bear the name of a hold, and their performance.
    pub async fn hold(&self, hold: &HoldId) -> Answer<Option<(u32, Vec<Claim>)>> {
        let sql = hold_sql(hold);
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move { Ok(hold_rows(conn.query(sql).await?)) })
        })
        .await
    }

    /// Seats of a performance that are not free at `now_ms`, with whose they are.
    pub async fn taken(&self, performance: u32, now_ms: u64) -> Answer<Vec<Ticket>> {
        let sql = format!(
            "SELECT seat, account_id FROM seat_claims WHERE performance_id = {performance} \
             AND (held_until IS NULL OR held_until > {})",
            moment(now_ms)
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<(String, Option<u64>)> = conn.query(sql).await?;
                Ok(rows.into_iter().map(|(seat, account)| Ticket { seat, account }).collect())
            })
        })
        .await
    }

    /// Gives back the seats of a hold that was not paid. Does nothing if there is none. Seats that waited for money, or
    /// were offered to somebody in line, come back at `release_ms`, as cancelled ones do: the next in line comes first.
    pub async fn release_hold(
        &self,
        account: u64,
        hold: &HoldId,
        release_ms: u64,
        now_ms: u64,
    ) -> Answer<()> {
        let (hold, release, now) = (quoted(hold.as_str()), moment(release_ms), moment(now_ms));
        self.whole(format!(
            "UPDATE transfers SET state = 'left' WHERE hold_id = {hold} AND account_id = {account} AND state = 'waiting'; \
             UPDATE seat_claims SET state = 'blocked', account_id = NULL, slot = NULL, hold_id = NULL, \
             held_until = {release} WHERE hold_id = {hold} AND account_id = {account} AND state = 'held' \
             AND held_until > {now} AND (EXISTS (SELECT 1 FROM transfers t WHERE t.hold_id = {hold}) \
             OR EXISTS (SELECT 1 FROM waitlist w WHERE w.hold_id = {hold})); \
             DELETE FROM seat_claims WHERE hold_id = {hold} AND account_id = {account} AND state = 'held'"
        ))
        .await
    }

    /// The hold that a payment was for, and the booking that its key made.
    pub async fn around_payment(
        &self,
        account: u64,
        hold: &HoldId,
        key: &IdempotencyKey,
    ) -> Answer<(Option<(u32, Vec<Claim>)>, Option<Booked>)> {
        let sql = format!(
            "{}; {}",
            hold_sql(hold),
            booking_sql(&format!(
                "b.account_id = {account} AND b.idempotency_key = {}",
                quoted(key.as_str())
            ))
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let mut answers = conn.query_iter(sql).await?;
                let claims: Vec<Row> = answers.collect().await?;
                let bookings: Vec<Row> = answers.collect().await?;
                answers.drop_result().await?;
                Ok((hold_rows(claims), booked_rows(bookings).pop()))
            })
        })
        .await
    }

    /// The bookings of an account, newest first.
    pub async fn bookings_of(&self, account: u64) -> Answer<Vec<Booked>> {
        self.bookings(booking_sql(&format!("b.account_id = {account}"))).await
    }

    /// One booking of an account.
    pub async fn booking(&self, account: u64, no: &BookingNo) -> Answer<Option<Booked>> {
        let sql =
            booking_sql(&format!("b.account_id = {account} AND b.booking_no = {}", quoted(no.as_str())));
        Ok(self.bookings(sql).await?.pop())
    }

    /// The booking with this row number.
    pub async fn booking_by_id(&self, id: u64) -> Answer<Option<Booked>> {
        Ok(self.bookings(booking_sql(&format!("b.id = {id}"))).await?.pop())
    }

    async fn bookings(&self, sql: String) -> Answer<Vec<Booked>> {
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move { Ok(booked_rows(conn.query(sql).await?)) })
        })
        .await
    }

    /// How many seats of each show were sold, most first; some seconds old.
    pub async fn sold_by_show(&self) -> Answer<Arc<Vec<(u32, u64)>>> {
        let read = self.run(|conn| {
            Box::pin(async move {
                conn.query(
                    "SELECT p.show_id, CAST(SUM(b.seat_count) AS UNSIGNED) FROM bookings b \
                     JOIN performances p ON p.id = b.performance_id WHERE b.state = 'confirmed' \
                     GROUP BY p.show_id ORDER BY 2 DESC, 1",
                )
                .await
            })
        });
        self.ranking_cell().get(self.now_ms(), read).await
    }
}

type Answer<T> = std::result::Result<T, StoreError>;

/// Sends statements as one packet and reads every answer; the first refusal ends it, and nothing behind it ran.
pub(super) async fn packet(conn: &mut Conn, sql: String) -> Result<()> {
    let answers = conn.query_iter(sql).await?;
    answers.drop_result().await
}

fn hold_sql(hold: &HoldId) -> String {
    format!(
        "SELECT {CLAIM}, {} AS until_ms, price_won FROM seat_claims WHERE hold_id = {} ORDER BY seat",
        as_ms("held_until"),
        quoted(hold.as_str())
    )
}

fn hold_rows(rows: Vec<Row>) -> Option<(u32, Vec<Claim>)> {
    let performance = rows.first()?.get("performance_id")?;
    Some((performance, rows.iter().map(claim).collect()))
}

/// Bookings with their seats, one row a seat, newest booking first.
pub(super) fn booking_sql(condition: &str) -> String {
    format!(
        "SELECT b.booking_no, b.idempotency_key, b.account_id, b.performance_id, b.amount_won, {} AS at_ms, c.seat, x.seats, \
         x.fee_won, x.refund_won FROM bookings b LEFT JOIN seat_claims c ON c.booking_id = b.id \
         LEFT JOIN cancellations x ON x.booking_id = b.id WHERE {condition} ORDER BY b.id DESC, c.seat",
        as_ms("b.created_at")
    )
}

pub(super) fn booked_rows(rows: Vec<Row>) -> Vec<Booked> {
    let mut bookings: Vec<Booked> = Vec::new();
    for row in rows {
        let text: String = row.get("booking_no").unwrap_or_default();
        let Some(no) = BookingNo::parse(&text) else { continue };
        let seat = row.get::<Option<String>, _>("seat").flatten();
        match bookings.last_mut().filter(|b| b.no == no) {
            Some(booking) => booking.seats.extend(seat),
            None => bookings.push(Booked {
                cancelled: cancelled(&row),
                no,
                account: row.get("account_id").unwrap_or_default(),
                performance: row.get("performance_id").unwrap_or_default(),
                seats: match row.get::<Option<String>, _>("seats").flatten() {
                    Some(names) => names.split(',').map(str::to_owned).collect(),
                    None => seat.into_iter().collect(),
                },
                amount_won: row.get("amount_won").unwrap_or_default(),
                created_at_ms: row.get("at_ms").unwrap_or_default(),
            }),
        }
    }
    bookings
}

fn cancelled(row: &Row) -> Option<Cancelled> {
    let won = |column: &str| row.get::<Option<u64>, _>(column).flatten();
    Some(Cancelled { fee_won: won("fee_won")?, refund_won: won("refund_won")? })
}
