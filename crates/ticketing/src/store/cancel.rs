//! Cancelling a booking, and the money that is owed for it.

use mysql_async::{Row, prelude::Queryable};

use super::{
    Store, StoreError,
    booking::packet,
    sql::{as_ms, moment, quoted},
};
use crate::{ids::BookingNo, payment::Refund, policy::Fee};

type Answer<T> = Result<T, StoreError>;

/// What must be known to cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancellable {
    /// Row number.
    pub id: u64,
    /// Of which performance.
    pub performance: u32,
    /// Whether it still stands.
    pub confirmed: bool,
    /// When it was made.
    pub created_ms: u64,
    /// Its seats with their prices; none once it is cancelled.
    pub seats: Vec<(String, u32)>,
}

impl Store {
    /// A booking of an account, as far as cancelling needs it.
    pub async fn cancellable(&self, account: u64, no: &BookingNo) -> Answer<Option<Cancellable>> {
        let sql = format!(
            "SELECT b.id, b.performance_id, CAST(b.state AS CHAR) AS state, {} AS at_ms, c.seat, c.price_won \
             FROM bookings b LEFT JOIN seat_claims c ON c.booking_id = b.id \
             WHERE b.account_id = {account} AND b.booking_no = {} ORDER BY c.seat",
            as_ms("b.created_at"),
            quoted(no.as_str())
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<Row> = conn.query(sql).await?;
                let Some(first) = rows.first() else { return Ok(None) };
                let state: String = first.get("state").unwrap_or_default();
                let seat = |row: &Row| {
                    let seat = row.get::<Option<String>, _>("seat").flatten()?;
                    Some((seat, row.get::<Option<u32>, _>("price_won").flatten().unwrap_or(0)))
                };
                Ok(Some(Cancellable {
                    id: first.get("id").unwrap_or_default(),
                    performance: first.get("performance_id").unwrap_or_default(),
                    confirmed: state == "confirmed",
                    created_ms: first.get("at_ms").unwrap_or_default(),
                    seats: rows.iter().filter_map(seat).collect(),
                }))
            })
        })
        .await
    }

    /// Cancels: the booking, its payment, its seats, together or not at all. [`StoreError::Condition`] when it does
    /// not stand any more.
    pub async fn cancel(&self, booking: &Cancellable, fee: Fee, release_ms: u64, now_ms: u64) -> Answer<()> {
        let id = booking.id;
        let (now, release) = (moment(now_ms), moment(release_ms));
        let seats: Vec<&str> = booking.seats.iter().map(|(seat, _)| seat.as_str()).collect();
        // A missed UPDATE makes `booking_id` NULL, which the column refuses: an error ahead of the COMMIT.
        let sql = format!(
            "START TRANSACTION; \
             UPDATE bookings SET state = 'cancelled' WHERE id = {id} AND state = 'confirmed'; \
             INSERT INTO cancellations (booking_id, seats, fee_won, refund_won, state, released_at, created_at) \
             VALUES (IF(ROW_COUNT() = 1, {id}, NULL), {seats}, {fee}, {refund}, 'owed', {release}, {now}); \
             UPDATE payments SET state = 'refunded' WHERE booking_id = {id}; \
             UPDATE seat_claims SET state = 'blocked', account_id = NULL, slot = NULL, hold_id = NULL, \
             booking_id = NULL, held_until = {release} WHERE booking_id = {id}; \
             COMMIT",
            seats = quoted(&seats.join(",")),
            fee = fee.fee_won,
            refund = fee.refund_won,
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move { packet(conn, sql).await })
        })
        .await
    }

    /// Money that is owed through a provider since before `before_ms`, the oldest first: which booking, and what to give
    /// back.
    pub async fn owed(&self, provider: &'static str, before_ms: u64) -> Answer<Vec<(u64, Refund)>> {
        let sql = format!(
            "SELECT x.booking_id, x.refund_won, p.provider_ref FROM cancellations x \
             JOIN payments p ON p.booking_id = x.booking_id WHERE x.state = 'owed' AND x.created_at <= {} \
             AND p.provider = {} ORDER BY x.created_at LIMIT 100",
            moment(before_ms),
            quoted(provider)
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<(u64, u64, String)> = conn.query(sql).await?;
                Ok(rows
                    .into_iter()
                    .map(|(booking, amount_won, reference)| (booking, refund(booking, amount_won, reference)))
                    .collect())
            })
        })
        .await
    }

    /// Writes down that it was given back.
    pub async fn refunded(&self, booking: u64) -> Answer<()> {
        self.run(move |conn| {
            Box::pin(conn.query_drop(format!(
                "UPDATE cancellations SET state = 'refunded' WHERE booking_id = {booking} AND state = 'owed'"
            )))
        })
        .await
    }
}

/// The refund of a cancelled booking: its key is the booking, so that it is given back once.
fn refund(booking: u64, amount_won: u64, reference: String) -> Refund {
    Refund {
        reference,
        amount_won,
        idempotency_key: format!("booking-{booking}"),
        reason: "예매 취소".into(),
    }
}
