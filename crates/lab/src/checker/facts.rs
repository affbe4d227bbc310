//! One consistent snapshot of the ticketing database, as far as the rules need it.

use std::collections::HashMap;

use mysql_async::{Conn, FromRowError, Row, prelude::Queryable};

use super::Unread;

/// What stands in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// E-mail addresses by account id.
    pub accounts: HashMap<u64, String>,
    /// Performances by id.
    pub performances: HashMap<u32, Performance>,
    /// Every row of `seat_claims`.
    pub claims: Vec<Claim>,
    /// Every row of `bookings`.
    pub bookings: Vec<Booking>,
    /// Every row of `payments`.
    pub payments: Vec<Payment>,
}

/// A row of `performances`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Performance {
    /// Seats in all.
    pub capacity: u64,
    /// Seats per account.
    pub account_limit: u64,
}

/// A row of `seat_claims`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which performance.
    pub performance: u32,
    /// Which seat.
    pub seat: String,
    /// Whose; none for a blocked seat.
    pub account: Option<u64>,
    /// `held`, `sold` or `blocked`.
    pub state: String,
    /// The booking's id, once sold.
    pub booking: Option<u64>,
    /// The price in won.
    pub price_won: u64,
}

/// A row of `bookings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// Its id.
    pub id: u64,
    /// The number that the visitor was given.
    pub booking_no: String,
    /// Whose.
    pub account: u64,
    /// For which performance.
    pub performance: u32,
    /// The key under which it was paid for.
    pub idempotency_key: String,
    /// How many seats.
    pub seat_count: u64,
    /// What it cost, in won.
    pub amount_won: u64,
    /// `confirmed` or `cancelled`.
    pub state: String,
}

/// A row of `payments`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Its id.
    pub id: u64,
    /// The booking that it pays for.
    pub booking: u64,
    /// What was taken, in won.
    pub amount_won: u64,
    /// `captured` or `refunded`.
    pub state: String,
}

/// Reads the `ticketing` database behind `conn`, all tables as of one moment. `whose` names the server in errors.
pub async fn read(conn: &mut Conn, whose: &str) -> Result<Facts, Unread> {
    let at = |table: &str| Unread::of(format!("{table} of {whose}"));
    conn.query_drop("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await.map_err(at("the snapshot"))?;
    conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT").await.map_err(at("the snapshot"))?;
    let accounts = rows(conn, "SELECT id, email FROM ticketing.accounts", |(id, email)| (id, email));
    let accounts = accounts.await.map_err(at("accounts"))?.into_iter().collect();
    let performances =
        rows(conn, "SELECT id, capacity, account_limit FROM ticketing.performances", |(id, c, l)| {
            (id, Performance { capacity: c, account_limit: l })
        });
    let performances = performances.await.map_err(at("performances"))?.into_iter().collect();
    let claims = rows(
        conn,
        "SELECT performance_id, seat, account_id, CAST(state AS CHAR), booking_id, price_won
         FROM ticketing.seat_claims",
        |(performance, seat, account, state, booking, price_won)| Claim {
            performance,
            seat,
            account,
            state,
            booking,
            price_won,
        },
    );
    let claims = claims.await.map_err(at("seat_claims"))?;
    let bookings = rows(
        conn,
        "SELECT id, booking_no, account_id, performance_id, idempotency_key, seat_count, amount_won,
                CAST(state AS CHAR)
         FROM ticketing.bookings",
        |(id, booking_no, account, performance, idempotency_key, seat_count, amount_won, state)| Booking {
            id,
            booking_no,
            account,
            performance,
            idempotency_key,
            seat_count,
            amount_won,
            state,
        },
    );
    let bookings = bookings.await.map_err(at("bookings"))?;
    let payments = rows(
        conn,
        "SELECT id, booking_id, amount_won, CAST(state AS CHAR) FROM ticketing.payments",
        |(id, booking, amount_won, state)| Payment { id, booking, amount_won, state },
    );
    let payments = payments.await.map_err(at("payments"))?;
    conn.query_drop("COMMIT").await.map_err(at("the snapshot"))?;
    Ok(Facts { accounts, performances, claims, bookings, payments })
}

/// Reads rows; one that does not fit its type is an error, not a panic.
async fn rows<T, U>(conn: &mut Conn, sql: &str, make: impl Fn(T) -> U) -> Result<Vec<U>, mysql_async::Error>
where
    T: mysql_async::prelude::FromRow,
{
    let rows: Vec<Row> = conn.query(sql).await?;
    rows.into_iter()
        .map(|row| {
            T::from_row_opt(row).map(&make).map_err(|FromRowError(row)| {
                mysql_async::Error::Other(format!("unexpected row {row:?}").into())
            })
        })
        .collect()
}
