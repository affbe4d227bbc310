//! Keys, partners' customers, and what was booked for them.

use mysql_async::{Row, prelude::Queryable};

use super::{
    Account, Booked, Store, StoreError,
    booking::{booked_rows, booking_sql, packet},
    organiser::audit_sql,
    sql::{as_ms, moment, quoted},
};
use crate::{
    api::key::{ApiKey, Scopes},
    desk::Customer,
    ids::BookingNo,
};

type Answer<T> = Result<T, StoreError>;

/// Keys that a page shows.
const KEYS: u32 = 200;

impl Store {
    /// Writes a new key, and who made it.
    pub async fn add_key(&self, key: &ApiKey) -> Answer<()> {
        let audit = audit_sql(
            key.created_by,
            "key_made",
            &format!("key {:016x} of {}: {}", key.id, key.partner, key.scopes),
            key.created_ms,
        );
        self.partner_packet(format!(
            "START TRANSACTION; INSERT INTO api_keys (id, partner, scopes, secret_hash, per_second, created_by, created_at) \
             VALUES ({}, {}, {}, {}, {}, {}, {}); {audit}; COMMIT",
            key.id,
            quoted(&key.partner),
            quoted(&key.scopes.to_string()),
            quoted(&key.secret_hash),
            key.per_second,
            key.created_by,
            moment(key.created_ms),
        ))
        .await
    }

    /// Revokes a key, and writes down who did it. Doing it again changes nothing.
    pub async fn revoke_key(&self, by: u64, id: u64, now_ms: u64) -> Answer<()> {
        let audit = audit_sql(by, "key_revoked", &format!("key {id:016x}"), now_ms);
        self.partner_packet(format!(
            "START TRANSACTION; UPDATE api_keys SET revoked_at = {} WHERE id = {id} AND revoked_at IS NULL; {audit}; COMMIT",
            moment(now_ms)
        ))
        .await
    }

    /// One key.
    pub async fn key(&self, id: u64) -> Answer<Option<ApiKey>> {
        Ok(self.keys_where(format!("id = {id}")).await?.pop())
    }

    /// All keys, newest first.
    pub async fn keys(&self) -> Answer<Vec<ApiKey>> {
        self.keys_where(format!("TRUE ORDER BY id DESC LIMIT {KEYS}")).await
    }

    async fn keys_where(&self, condition: String) -> Answer<Vec<ApiKey>> {
        let sql = format!(
            "SELECT id, partner, scopes, secret_hash, per_second, created_by, {} AS created_ms, {} AS revoked_ms \
             FROM api_keys WHERE {condition}",
            as_ms("created_at"),
            as_ms("revoked_at")
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<Row> = conn.query(sql).await?;
                Ok(rows.iter().filter_map(key).collect())
            })
        })
        .await
    }

    /// A partner's customer: account and name.
    pub async fn customer(&self, partner: &str, reference: &str) -> Answer<Option<(u64, String)>> {
        let sql = format!(
            "SELECT a.id, a.name FROM api_customers c JOIN accounts a ON a.id = c.account_id \
             WHERE c.partner = {} AND c.reference = {}",
            quoted(partner),
            quoted(reference)
        );
        self.run(move |conn| Box::pin(conn.query_first(sql.clone()))).await
    }

    /// Writes a new customer. [`StoreError::Duplicate`] when there is one.
    pub async fn add_customer(
        &self,
        account: &Account,
        partner: &str,
        reference: &str,
        now_ms: u64,
    ) -> Answer<()> {
        self.partner_packet(format!(
            "START TRANSACTION; \
             INSERT INTO accounts (id, email, name, password_hash, created_at) VALUES ({id}, {}, {}, {}, {}); \
             INSERT INTO api_customers (account_id, partner, reference) VALUES ({id}, {}, {}); COMMIT",
            quoted(&account.email),
            quoted(&account.name),
            quoted(&account.password_hash),
            moment(now_ms),
            quoted(partner),
            quoted(reference),
            id = account.id,
        ))
        .await
    }

    /// What a partner calls the owner of an account; nothing if it is not their customer.
    pub async fn reference(&self, partner: &str, account: u64) -> Answer<Option<String>> {
        let sql = format!(
            "SELECT reference FROM api_customers WHERE account_id = {account} AND partner = {}",
            quoted(partner)
        );
        self.run(move |conn| Box::pin(conn.query_first(sql.clone()))).await
    }

    /// The customer of a partner who made this booking.
    pub async fn partner_customer_of(&self, partner: &str, no: &BookingNo) -> Answer<Option<Customer>> {
        let sql = format!(
            "SELECT c.account_id, c.reference FROM bookings b JOIN api_customers c ON c.account_id = b.account_id \
             WHERE b.booking_no = {} AND c.partner = {}",
            quoted(no.as_str()),
            quoted(partner)
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let row: Option<(u64, String)> = conn.query_first(sql).await?;
                Ok(row.map(|(account, reference)| Customer { account, reference }))
            })
        })
        .await
    }

    /// The bookings of a partner's customers with their references, newest first, from `before` on; and where the next
    /// page begins, if there is one.
    pub async fn partner_bookings(
        &self,
        partner: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Answer<(Vec<(Booked, String)>, Option<u64>)> {
        let ids = format!(
            "SELECT b.id, b.booking_no, c.reference FROM bookings b JOIN api_customers c ON c.account_id = b.account_id \
             WHERE c.partner = {} AND b.id < {} ORDER BY b.id DESC LIMIT {}",
            quoted(partner),
            before.unwrap_or(u64::MAX),
            limit.saturating_add(1)
        );
        self.run(move |conn| {
            let ids = ids.clone();
            Box::pin(async move {
                let mut page: Vec<(u64, String, String)> = conn.query(ids).await?;
                let more = page.len() > limit;
                page.truncate(limit);
                let Some((last, ..)) = page.last() else { return Ok((Vec::new(), None)) };
                let next = more.then_some(*last);
                let wanted: Vec<String> = page.iter().map(|(id, ..)| id.to_string()).collect();
                let rows: Vec<Row> =
                    conn.query(booking_sql(&format!("b.id IN ({})", wanted.join(",")))).await?;
                let bookings = booked_rows(rows).into_iter().filter_map(|booking| {
                    let reference = page.iter().find(|(_, no, _)| no == booking.no.as_str())?.2.clone();
                    Some((booking, reference))
                });
                Ok((bookings.collect(), next))
            })
        })
        .await
    }

    async fn partner_packet(&self, sql: String) -> Answer<()> {
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move { packet(conn, sql).await })
        })
        .await
    }
}

fn key(row: &Row) -> Option<ApiKey> {
    let scopes: String = row.get("scopes")?;
    Some(ApiKey {
        id: row.get("id")?,
        partner: row.get("partner")?,
        scopes: Scopes::from_words(scopes.split(',')),
        secret_hash: row.get("secret_hash")?,
        per_second: row.get("per_second")?,
        created_by: row.get("created_by")?,
        created_ms: row.get("created_ms")?,
        revoked_ms: row.get::<Option<u64>, _>("revoked_ms")?,
    })
}
