//! Cancelling a booking, and the money that is owed for it.

use mysql_async::{Row, prelude::Queryable};

use super::{
    Store, StoreError,
    booking::packet,
    hook::{Source, tell_sql},
    organiser::audit_sql,
    sql::{as_ms, moment, quoted},
};
use crate::{
    ids::BookingNo,
    payment::Refund,
    policy::Fee,
    refund::{Because, Reason},
    webhook::Kind,
};

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
        self.cancellable_row(format!("b.account_id = {account} AND b.booking_no = {}", quoted(no.as_str())))
            .await
    }

    /// The same of anybody's booking, for an organiser.
    pub async fn cancellable_of_anybody(&self, no: &BookingNo) -> Answer<Option<Cancellable>> {
        self.cancellable_row(format!("b.booking_no = {}", quoted(no.as_str()))).await
    }

    async fn cancellable_row(&self, condition: String) -> Answer<Option<Cancellable>> {
        let sql = format!(
            "SELECT b.id, b.performance_id, CAST(b.state AS CHAR) AS state, {} AS at_ms, c.seat, c.price_won \
             FROM bookings b LEFT JOIN seat_claims c ON c.booking_id = b.id WHERE {condition} ORDER BY c.seat",
            as_ms("b.created_at")
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
    /// not stand any more. `because` is why, if an organiser does it; of a show that does not take place the seats stay
    /// with the house.
    pub async fn cancel(
        &self,
        booking: &Cancellable,
        fee: Fee,
        release_ms: u64,
        now_ms: u64,
        because: Option<&Because>,
    ) -> Answer<()> {
        let id = booking.id;
        let (now, release) = (moment(now_ms), moment(release_ms));
        let house = because.is_some_and(|b| b.reason == Reason::ShowCancelled);
        let blocked_until = if house { "NULL".to_owned() } else { release.clone() };
        let because = because.map(|b| because_sql(b, booking, now_ms)).unwrap_or_default();
        let seats: Vec<&str> = booking.seats.iter().map(|(seat, _)| seat.as_str()).collect();
        // A missed UPDATE makes `booking_id` NULL, which the column refuses: an error ahead of the COMMIT.
        let sql = format!(
            "START TRANSACTION; \
             UPDATE bookings SET state = 'cancelled' WHERE id = {id} AND state = 'confirmed'; \
             INSERT INTO cancellations (booking_id, seats, fee_won, refund_won, state, released_at, created_at) \
             VALUES (IF(ROW_COUNT() = 1, {id}, NULL), {seats}, {fee}, {refund}, 'owed', {release}, {now}); \
             UPDATE payments SET state = 'refunded' WHERE booking_id = {id}; \
             UPDATE seat_claims SET state = 'blocked', account_id = NULL, slot = NULL, hold_id = NULL, \
             booking_id = NULL, held_until = {blocked_until} WHERE booking_id = {id}; \
             {because}{tell}; COMMIT",
            tell = tell_sql(Kind::Cancelled, &Source::Bookings(&[id]), now_ms),
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

    /// Why an organiser gave a booking back, if one did.
    pub async fn refund_reason(&self, booking: u64) -> Answer<Option<Because>> {
        let sql = format!(
            "SELECT CAST(reason AS CHAR), note, refunded_by FROM refund_reasons WHERE booking_id = {booking}"
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let row: Option<(String, String, u64)> = conn.query_first(sql).await?;
                Ok(row.and_then(|(word, note, by)| {
                    Some(Because { reason: Reason::from_word(&word)?, note, by })
                }))
            })
        })
        .await
    }

    /// Money that is owed through a provider since before `before_ms`, the oldest first: which booking, and what to give
    /// back.
    pub async fn owed(&self, provider: &'static str, before_ms: u64) -> Answer<Vec<(u64, Refund)>> {
        let sql = format!(
            "SELECT x.booking_id, x.refund_won, p.provider_ref, COALESCE(CAST(r.reason AS CHAR), '') \
             FROM cancellations x JOIN payments p ON p.booking_id = x.booking_id \
             LEFT JOIN refund_reasons r ON r.booking_id = x.booking_id WHERE x.state = 'owed' AND x.created_at <= {} \
             AND p.provider = {} ORDER BY x.created_at LIMIT 100",
            moment(before_ms),
            quoted(provider)
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<(u64, u64, String, String)> = conn.query(sql).await?;
                Ok(rows
                    .into_iter()
                    .map(|(booking, amount_won, reference, reason)| {
                        (booking, refund(booking, amount_won, reference, Reason::from_word(&reason)))
                    })
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
fn refund(booking: u64, amount_won: u64, reference: String, reason: Option<Reason>) -> Refund {
    Refund {
        reference,
        amount_won,
        idempotency_key: format!("booking-{booking}"),
        reason: reason.map_or("예매 취소".to_owned(), |r| format!("예매 취소: {}", r.name().ko)),
    }
}

/// The statements that say why, and who did it.
fn because_sql(because: &Because, booking: &Cancellable, now_ms: u64) -> String {
    let (id, word) = (booking.id, because.reason.word());
    let detail = format!("booking {id} of performance {}: {word} {}", booking.performance, because.note);
    format!(
        "INSERT INTO refund_reasons (booking_id, reason, note, refunded_by, created_at) \
         VALUES ({id}, '{word}', {}, {}, {}); {}; ",
        quoted(&because.note),
        because.by,
        moment(now_ms),
        audit_sql(because.by, "booking_refunded", &detail, now_ms)
    )
}
