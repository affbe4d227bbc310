//! Reading for a batch, and writing it: one packet each.
//!
//! The write is one transaction, and it commits only if what was decided still holds, because the keys refuse or a
//! condition in the packet turns into an error ahead of its COMMIT.

use std::collections::BTreeSet;

use mysql_async::{Row, prelude::Queryable};

use super::{
    Store, StoreError,
    booking::{Booked, CLAIM, NewBooking, booked_rows, booking_sql, claim, packet},
    hook::{Source, tell_sql},
    sql::{as_ms, list, moment, quoted},
};
use crate::{
    booking::Claim,
    inventory::batch::{NewHold, Request, Write},
    webhook::Kind,
};

type Answer<T> = Result<T, StoreError>;

impl Store {
    /// Everything that matters to any of `requests`: claims, and bookings with their keys.
    pub async fn look(&self, requests: &[Request]) -> Answer<(Vec<Claim>, Vec<(String, Booked)>)> {
        let (mut sql, keys) = (claims_sql(requests), keys(requests));
        if !keys.is_empty() {
            let any: Vec<String> = keys
                .iter()
                .map(|(account, key)| {
                    format!("(b.account_id = {account} AND b.idempotency_key = {})", quoted(key))
                })
                .collect();
            sql.push_str("; ");
            sql.push_str(&booking_sql(&any.join(" OR ")));
        }
        let with_bookings = !keys.is_empty();
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let mut answers = conn.query_iter(sql).await?;
                let claims: Vec<Row> = answers.collect().await?;
                let bookings: Vec<Row> = if with_bookings { answers.collect().await? } else { Vec::new() };
                answers.drop_result().await?;
                let mut by_no = std::collections::HashMap::new();
                for row in &bookings {
                    let no: String = row.get("booking_no").unwrap_or_default();
                    let key: String = row.get("idempotency_key").unwrap_or_default();
                    by_no.insert(no, key);
                }
                let bookings = booked_rows(bookings)
                    .into_iter()
                    .map(|b| (by_no.get(b.no.as_str()).cloned().unwrap_or_default(), b))
                    .collect();
                Ok((claims.iter().map(claim).collect(), bookings))
            })
        })
        .await
    }

    /// Writes a batch: all of it or nothing.
    ///
    /// [`StoreError::Duplicate`] and [`StoreError::Condition`] when another instance changed what was read: read and
    /// decide again.
    pub async fn write_batch(&self, write: &Write, now_ms: u64) -> Answer<()> {
        let sql = write_sql(write, self.telling(), now_ms);
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move { packet(conn, sql).await })
        })
        .await
    }
}

fn keys(requests: &[Request]) -> Vec<(u64, String)> {
    let payments = requests.iter().filter_map(|r| match r {
        Request::Price { account, key, .. } => Some((*account, key.as_str().to_owned())),
        Request::Sell(new) => Some((new.account, new.key.as_str().to_owned())),
        Request::Hold(_) => None,
    });
    payments.collect()
}

fn claims_sql(requests: &[Request]) -> String {
    let (mut seats, mut accounts, mut holds) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for request in requests {
        match request {
            Request::Hold(wish) => {
                seats.extend(wish.seats.iter().map(|(seat, _)| (wish.performance, seat.as_str())));
                accounts.insert((wish.performance, wish.account));
            }
            Request::Price { hold, .. } => drop(holds.insert(hold.as_str())),
            Request::Sell(new) => drop(holds.insert(new.hold.as_str())),
        }
    }
    let until = as_ms("held_until");
    let select = format!("SELECT {CLAIM}, {until} AS until_ms, price_won FROM seat_claims WHERE");
    let mut parts = Vec::with_capacity(3);
    if !seats.is_empty() {
        parts.push(format!("{select} {}", of_places(seats)));
        let accounts = accounts.iter().map(|(performance, account)| (*performance, account.to_string()));
        parts.push(format!("{select} {}", by_performance("account_id", accounts)));
    }
    if !holds.is_empty() {
        parts.push(format!("{select} hold_id IN ({})", list(holds)));
    }
    // A claim that two of them meet comes twice; to sort that out here costs less than a temporary table there.
    parts.join(" UNION ALL ")
}

/// The condition that a claim is on one of these seats.
fn of_places<'s>(places: impl IntoIterator<Item = (u32, &'s str)>) -> String {
    by_performance("seat", places.into_iter().map(|(performance, seat)| (performance, quoted(seat))))
}

/// `(performance_id = 1 AND seat IN ('a','b')) OR (…)`, from pairs in order: MariaDB makes ranges of an index of
/// this, and not of a list of pairs.
fn by_performance(column: &str, pairs: impl IntoIterator<Item = (u32, String)>) -> String {
    let mut lists: Vec<(u32, String)> = Vec::new();
    for (performance, literal) in pairs {
        match lists.last_mut().filter(|(of, _)| *of == performance) {
            Some((_, list)) => {
                list.push(',');
                list.push_str(&literal);
            }
            None => lists.push((performance, literal)),
        }
    }
    let any: Vec<String> = lists
        .iter()
        .map(|(performance, list)| format!("(performance_id = {performance} AND {column} IN ({list}))"))
        .collect();
    any.join(" OR ")
}

/// The transaction. Sales come first, because `ROW_COUNT()` is that of the statement before: one UPDATE sells every
/// seat of every hold, and if it met fewer rows than these holds have, the first booking's seat count is NULL, which
/// its column refuses, ahead of the COMMIT. A hold never gains a seat after it was made, so the sum says it of each.
fn write_sql(write: &Write, telling: bool, now_ms: u64) -> String {
    let now = moment(now_ms);
    let mut statements = Vec::with_capacity(6);
    if !write.sales.is_empty() {
        statements.extend(sales_sql(&write.sales, &now));
        if telling {
            let ids: Vec<u64> = write.sales.iter().map(|s| s.id).collect();
            statements.push(tell_sql(Kind::Confirmed, &Source::Bookings(&ids), now_ms));
        }
    }
    if !write.expired.is_empty() {
        statements.push(format!(
            "DELETE FROM seat_claims WHERE ({}) AND state <> 'sold' AND held_until <= {now}",
            of_places(write.expired.iter().map(|(performance, seat)| (*performance, seat.as_str())))
        ));
    }
    if !write.holds.is_empty() {
        statements.push(holds_sql(&write.holds));
    }
    match statements.as_slice() {
        // One statement is its own transaction: no more packets than needed.
        [only] => only.clone(),
        _ => format!("START TRANSACTION; {}; COMMIT", statements.join("; ")),
    }
}

const BOOKINGS: &str = "INSERT INTO bookings (id, booking_no, account_id, performance_id, idempotency_key, \
     seat_count, amount_won, state, created_at) VALUES";

fn sales_sql(sales: &[NewBooking], now: &str) -> Vec<String> {
    let whens: Vec<String> =
        sales.iter().map(|s| format!("WHEN {} THEN {}", quoted(s.hold.as_str()), s.id)).collect();
    let seats: usize = sales.iter().map(|s| s.seat_count).sum();
    let sell = format!(
        "UPDATE seat_claims SET state = 'sold', booking_id = CASE hold_id {} END, held_until = NULL \
         WHERE hold_id IN ({}) AND state = 'held' AND held_until > {now}",
        whens.join(" "),
        list(sales.iter().map(|s| s.hold.as_str()))
    );
    let row = |s: &NewBooking, count: String| {
        format!(
            "({}, {}, {}, {}, {}, {count}, {}, 'confirmed', {now})",
            s.id,
            quoted(s.no.as_str()),
            s.account,
            s.performance,
            quoted(s.key.as_str()),
            s.amount_won
        )
    };
    let mut bookings = Vec::with_capacity(2);
    // The condition stands in an INSERT of one row: there a NULL is an error in every SQL mode.
    if let Some((first, others)) = sales.split_first() {
        let count = format!("IF(ROW_COUNT() = {seats}, {}, NULL)", first.seat_count);
        bookings.push(format!("{BOOKINGS} {}", row(first, count)));
        if !others.is_empty() {
            let rows: Vec<String> = others.iter().map(|s| row(s, s.seat_count.to_string())).collect();
            bookings.push(format!("{BOOKINGS} {}", rows.join(",")));
        }
    }
    let rows: Vec<String> = sales
        .iter()
        .map(|s| {
            format!(
                "({}, {}, {}, {}, {}, 'captured', {now})",
                s.payment_id,
                s.id,
                quoted(s.provider),
                quoted(&s.provider_ref),
                s.amount_won
            )
        })
        .collect();
    let payments = format!(
        "INSERT INTO payments (id, booking_id, provider, provider_ref, amount_won, state, created_at) VALUES {}",
        rows.join(",")
    );
    let mut statements = vec![sell];
    statements.extend(bookings);
    statements.push(payments);
    statements
}

fn holds_sql(holds: &[NewHold]) -> String {
    let mut rows: Vec<((u32, &str), String)> = holds
        .iter()
        .flat_map(|hold| {
            let until = moment(hold.held_until_ms);
            hold.claims.iter().map(move |claim| {
                let row = format!(
                    "({}, {}, {}, {}, 'held', {}, {until}, {})",
                    hold.performance,
                    quoted(&claim.seat),
                    hold.account,
                    claim.slot,
                    quoted(hold.hold.as_str()),
                    claim.price_won
                );
                ((hold.performance, claim.seat.as_str()), row)
            })
        })
        .collect();
    // Everybody takes locks in one order.
    rows.sort_unstable();
    let rows: Vec<String> = rows.into_iter().map(|(_, row)| row).collect();
    format!(
        "INSERT INTO seat_claims (performance_id, seat, account_id, slot, state, hold_id, held_until, price_won) \
         VALUES {}",
        rows.join(",")
    )
}
