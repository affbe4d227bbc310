//! Letters that are to be sent, and how often something was tried.

use mysql_async::{Row, prelude::Queryable};

use super::{
    Store, StoreError,
    sql::{as_ms, moment, quoted},
};
use crate::{ids::row_id, mail::Kind};

type Answer<T> = Result<T, StoreError>;

/// A letter that nobody has sent yet, with what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// What it is about.
    pub kind: Kind,
    /// The row that it is about; for letters that are about an account alone, a number of its own.
    pub subject: u64,
    /// To whom.
    pub account: u64,
    /// When it was written.
    pub created_ms: u64,
    /// Address.
    pub email: String,
    /// How to address them.
    pub name: String,
    /// What a link in it is bound to.
    pub password_hash: String,
}

/// How long a claimed letter is left to whoever claimed it.
const CLAIM_MS: u64 = 60_000;
/// Letters that are looked at together.
const BATCH: u32 = 20;

impl Store {
    /// Asks for a letter to an account.
    pub async fn write_letter(&self, kind: Kind, account: u64, now_ms: u64) -> Answer<()> {
        let sql = letter_sql(kind, account, now_ms);
        self.run(move |conn| Box::pin(conn.query_drop(sql.clone()))).await
    }

    /// Asks for the letters about bookings made between two row numbers and about what was cancelled since `since_ms`,
    /// unless they were asked for before.
    pub async fn adopt_bookings(&self, ids: (u64, u64), since_ms: u64, now_ms: u64) -> Answer<()> {
        let (since, now) = (moment(since_ms), moment(now_ms));
        let (from, to) = ids;
        let sql = format!(
            "INSERT IGNORE INTO outbox (kind, ref, account_id, created_at) \
             SELECT '{booked}', b.id, b.account_id, {now} FROM bookings b \
             LEFT JOIN outbox o ON o.kind = '{booked}' AND o.ref = b.id \
             WHERE b.id > {from} AND b.id <= {to} AND o.ref IS NULL; \
             INSERT IGNORE INTO outbox (kind, ref, account_id, created_at) \
             SELECT '{cancelled}', b.id, b.account_id, {now} FROM cancellations x JOIN bookings b ON b.id = x.booking_id \
             LEFT JOIN outbox o ON o.kind = '{cancelled}' AND o.ref = b.id \
             WHERE x.state IN ('owed', 'refunded') AND x.created_at > {since} AND o.ref IS NULL",
            booked = Kind::Booked.word(),
            cancelled = Kind::Cancelled.word(),
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move { super::booking::packet(conn, sql).await })
        })
        .await
    }

    /// Letters that nobody has sent or is sending, the oldest first.
    pub async fn due_letters(&self, now_ms: u64) -> Answer<Vec<Due>> {
        let sql = format!(
            "SELECT o.kind, o.ref, o.account_id, {created} AS created_ms, a.email, a.name, a.password_hash \
             FROM outbox o JOIN accounts a ON a.id = o.account_id \
             WHERE o.sent_at IS NULL AND (o.claimed_at IS NULL OR o.claimed_at <= {stale}) \
             ORDER BY o.created_at LIMIT {BATCH}",
            created = as_ms("o.created_at"),
            stale = moment(now_ms.saturating_sub(CLAIM_MS)),
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<Row> = conn.query(sql).await?;
                Ok(rows.iter().filter_map(due).collect())
            })
        })
        .await
    }

    /// Takes a letter for sending; false if somebody else was faster.
    pub async fn claim_letter(&self, kind: Kind, subject: u64, now_ms: u64) -> Answer<bool> {
        let (now, stale) = (moment(now_ms), moment(now_ms.saturating_sub(CLAIM_MS)));
        let sql = format!(
            "UPDATE outbox SET claimed_at = {now} WHERE kind = '{}' AND ref = {subject} AND sent_at IS NULL \
             AND (claimed_at IS NULL OR claimed_at <= {stale})",
            kind.word()
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

    /// Writes down that a letter was sent.
    pub async fn letter_sent(&self, kind: Kind, subject: u64, now_ms: u64) -> Answer<()> {
        let sql = format!(
            "UPDATE outbox SET sent_at = {} WHERE kind = '{}' AND ref = {subject}",
            moment(now_ms),
            kind.word()
        );
        self.run(move |conn| Box::pin(conn.query_drop(sql.clone()))).await
    }

    /// Counts one more try of `kind` by `subject`, and says how many that makes within `window_ms` of the first.
    pub async fn attempt(&self, kind: &str, subject: &str, window_ms: u64, now_ms: u64) -> Answer<u32> {
        let (now, until) = (moment(now_ms), moment(now_ms + window_ms));
        let key = format!("kind = {} AND subject = {}", quoted(kind), quoted(subject));
        let write = format!(
            "INSERT INTO attempts (kind, subject, tries, until) VALUES ({}, {}, 1, {until}) ON DUPLICATE KEY UPDATE \
             tries = IF(until <= {now}, 1, tries + 1), until = IF(until <= {now}, {until}, until)",
            quoted(kind),
            quoted(subject)
        );
        let read = format!("SELECT tries FROM attempts WHERE {key}");
        self.run(move |conn| {
            let (write, read) = (write.clone(), read.clone());
            Box::pin(async move {
                conn.query_drop(write).await?;
                Ok(conn.query_first::<u32, _>(read).await?.unwrap_or(0))
            })
        })
        .await
    }

    /// How many tries of `kind` by `subject` count now.
    pub async fn attempts(&self, kind: &str, subject: &str, now_ms: u64) -> Answer<u32> {
        let sql = format!(
            "SELECT tries FROM attempts WHERE kind = {} AND subject = {} AND until > {}",
            quoted(kind),
            quoted(subject),
            moment(now_ms)
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move { Ok(conn.query_first::<u32, _>(sql).await?.unwrap_or(0)) })
        })
        .await
    }

    /// Lets somebody try again: they proved who they are.
    pub async fn forget_attempts(&self, kind: &str, subject: &str) -> Answer<()> {
        let sql =
            format!("DELETE FROM attempts WHERE kind = {} AND subject = {}", quoted(kind), quoted(subject));
        self.run(move |conn| Box::pin(conn.query_drop(sql.clone()))).await
    }
}

/// The statement that asks for a letter about an account.
pub(super) fn letter_sql(kind: Kind, account: u64, now_ms: u64) -> String {
    format!(
        "INSERT INTO outbox (kind, ref, account_id, created_at) VALUES ('{}', {}, {account}, {})",
        kind.word(),
        row_id(now_ms),
        moment(now_ms)
    )
}

fn due(row: &Row) -> Option<Due> {
    let kind: String = row.get("kind")?;
    Some(Due {
        kind: Kind::from_word(&kind)?,
        subject: row.get("ref")?,
        account: row.get("account_id")?,
        created_ms: row.get("created_ms")?,
        email: row.get("email")?,
        name: row.get("name")?,
        password_hash: row.get("password_hash")?,
    })
}
