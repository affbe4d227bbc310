//! Endpoints that are told what happens, and what they have yet to be told.

use mysql_async::{Row, prelude::Queryable};

use super::{
    Store, StoreError,
    booking::packet,
    organiser::audit_sql,
    sql::{as_ms, moment, quoted},
};
use crate::webhook::Kind;

type Answer<T> = Result<T, StoreError>;

/// How long a delivery is left to whoever claimed it.
const CLAIM_MS: u64 = 60_000;
/// What was told is known for so long, so that it is not told again.
const KEPT_MS: u64 = 3 * 86_400_000;

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its number.
    pub id: u64,
    /// Its address.
    pub url: String,
    /// When it was registered.
    pub created_ms: u64,
    /// When we gave it up, and why.
    pub disabled: Option<(u64, String)>,
    /// Events that it has yet to be told.
    pub waiting: u64,
}

/// An event that an endpoint has yet to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To which endpoint.
    pub webhook: u64,
    /// What happened.
    pub kind: Kind,
    /// To what.
    pub subject: String,
    /// When.
    pub created_ms: u64,
    /// When it is to be tried next.
    pub due_ms: u64,
    /// How often it failed.
    pub tries: u32,
}

impl Delivery {
    fn key(&self) -> String {
        format!(
            "webhook_id = {} AND kind = '{}' AND subject = {}",
            self.webhook,
            self.kind.word(),
            quoted(&self.subject)
        )
    }
}

/// Where events come from: a table, the subject in its rows, and which rows.
pub(super) enum Source<'s> {
    /// Bookings by row number.
    Bookings(&'s [u64]),
    /// Scans at the doors of a performance: device and number.
    Scans(u32, &'s [(String, u32)]),
}

/// The statement that puts events before every endpoint that is asked. It belongs into the transaction of what it tells
/// of; an event that is there already stays as it is.
pub(super) fn tell_sql(kind: Kind, source: &Source<'_>, now_ms: u64) -> String {
    let (subject, rows) = match source {
        Source::Bookings(ids) => {
            let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
            ("e.id".to_owned(), format!("bookings e JOIN webhooks w WHERE e.id IN ({})", ids.join(",")))
        }
        Source::Scans(performance, scans) => {
            let scans: Vec<String> =
                scans.iter().map(|(device, number)| format!("({}, {number})", quoted(device))).collect();
            (
                "CONCAT(e.booking_id, '/', e.seat)".to_owned(),
                format!(
                    "door_scans e JOIN webhooks w WHERE e.performance_id = {performance} AND (e.device, e.number) IN ({})",
                    scans.join(",")
                ),
            )
        }
    };
    format!(
        "INSERT IGNORE INTO webhook_deliveries (webhook_id, kind, subject, created_at, due_at, tries) \
         SELECT w.id, '{}', {subject}, {now}, {now}, 0 FROM {rows} AND w.disabled_at IS NULL",
        kind.word(),
        now = moment(now_ms)
    )
}

impl Store {
    /// Registers an endpoint, and writes down who did it.
    pub async fn add_webhook(&self, by: u64, id: u64, url: &str, now_ms: u64) -> Answer<()> {
        let audit = audit_sql(by, "webhook_made", &format!("webhook {id:016x}: {url}"), now_ms);
        self.hook_packet(format!(
            "START TRANSACTION; INSERT INTO webhooks (id, url, created_by, created_at) VALUES ({id}, {}, {by}, {}); {audit}; COMMIT",
            quoted(url),
            moment(now_ms)
        ))
        .await
    }

    /// Removes an endpoint with what it had yet to be told.
    pub async fn remove_webhook(&self, by: u64, id: u64, now_ms: u64) -> Answer<()> {
        let audit = audit_sql(by, "webhook_removed", &format!("webhook {id:016x}"), now_ms);
        self.hook_packet(format!(
            "START TRANSACTION; DELETE FROM webhooks WHERE id = {id}; \
             DELETE FROM webhook_deliveries WHERE webhook_id = {id}; {audit}; COMMIT"
        ))
        .await
    }

    /// Asks an endpoint again that was given up. What it missed meanwhile it is not told.
    pub async fn enable_webhook(&self, by: u64, id: u64, now_ms: u64) -> Answer<()> {
        let audit = audit_sql(by, "webhook_enabled", &format!("webhook {id:016x}"), now_ms);
        self.hook_packet(format!(
            "START TRANSACTION; UPDATE webhooks SET disabled_at = NULL, why = NULL WHERE id = {id}; \
             DELETE FROM webhook_deliveries WHERE webhook_id = {id} AND done_at IS NULL; {audit}; COMMIT"
        ))
        .await
    }

    /// Gives an endpoint up.
    pub async fn disable_webhook(&self, id: u64, why: &str, now_ms: u64) -> Answer<()> {
        let why: String = why.chars().take(200).collect();
        self.hook_packet(format!(
            "UPDATE webhooks SET disabled_at = {}, why = {} WHERE id = {id} AND disabled_at IS NULL",
            moment(now_ms),
            quoted(&why)
        ))
        .await
    }

    /// Every endpoint.
    pub async fn webhooks(&self) -> Answer<Vec<Webhook>> {
        let sql = format!(
            "SELECT w.id, w.url, {} AS created_ms, {} AS disabled_ms, w.why, \
             (SELECT COUNT(*) FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.done_at IS NULL) AS waiting \
             FROM webhooks w ORDER BY w.id",
            as_ms("w.created_at"),
            as_ms("w.disabled_at")
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<Row> = conn.query(sql).await?;
                Ok(rows.iter().filter_map(webhook).collect())
            })
        })
        .await
    }

    /// What an endpoint is to be told now, at most `most`, the longest due first.
    pub async fn due_deliveries(&self, webhook: u64, most: u32, now_ms: u64) -> Answer<Vec<Delivery>> {
        let sql = format!(
            "SELECT webhook_id, kind, subject, {} AS created_ms, {} AS due_ms, tries FROM webhook_deliveries \
             WHERE webhook_id = {webhook} AND done_at IS NULL AND due_at <= {} ORDER BY due_at LIMIT {most}",
            as_ms("created_at"),
            as_ms("due_at"),
            moment(now_ms)
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<Row> = conn.query(sql).await?;
                Ok(rows.iter().filter_map(delivery).collect())
            })
        })
        .await
    }

    /// Takes a delivery; false if somebody else was faster.
    pub async fn claim_delivery(&self, delivery: &Delivery, now_ms: u64) -> Answer<bool> {
        let sql = format!(
            "UPDATE webhook_deliveries SET due_at = {} WHERE {} AND done_at IS NULL AND due_at = {}",
            moment(now_ms + CLAIM_MS),
            delivery.key(),
            moment(delivery.due_ms)
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

    /// Writes down that it was told.
    pub async fn delivered(&self, delivery: &Delivery, now_ms: u64) -> Answer<()> {
        self.hook_packet(format!(
            "UPDATE webhook_deliveries SET done_at = {} WHERE {}",
            moment(now_ms),
            delivery.key()
        ))
        .await
    }

    /// Writes down that it failed, and when it is tried next.
    pub async fn delivery_failed(&self, delivery: &Delivery, next_ms: u64) -> Answer<()> {
        self.hook_packet(format!(
            "UPDATE webhook_deliveries SET tries = tries + 1, due_at = {} WHERE {} AND done_at IS NULL",
            moment(next_ms),
            delivery.key()
        ))
        .await
    }

    /// Forgets what was told long ago, some of it at a time.
    pub async fn forget_deliveries(&self, now_ms: u64) -> Answer<()> {
        self.hook_packet(format!(
            "DELETE FROM webhook_deliveries WHERE done_at < {} ORDER BY webhook_id, kind, subject LIMIT 1000",
            moment(now_ms.saturating_sub(KEPT_MS))
        ))
        .await
    }

    /// When a ticket first came in, of all doors that have said so.
    pub async fn first_entry(&self, booking: u64, seat: &str) -> Answer<Option<u64>> {
        let sql = format!(
            "SELECT {} FROM door_scans s JOIN bookings b ON b.id = s.booking_id AND b.performance_id = s.performance_id \
             WHERE s.booking_id = {booking} AND s.seat = {} AND b.id = {booking}",
            as_ms("MIN(s.scanned_at)"),
            quoted(seat)
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move { Ok(conn.query_first::<Option<u64>, _>(sql).await?.flatten()) })
        })
        .await
    }

    async fn hook_packet(&self, sql: String) -> Answer<()> {
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move { packet(conn, sql).await })
        })
        .await
    }
}

fn webhook(row: &Row) -> Option<Webhook> {
    let disabled_ms = row.get::<Option<u64>, _>("disabled_ms")?;
    let why = row.get::<Option<String>, _>("why")?.unwrap_or_default();
    Some(Webhook {
        id: row.get("id")?,
        url: row.get("url")?,
        created_ms: row.get("created_ms")?,
        disabled: disabled_ms.map(|at_ms| (at_ms, why)),
        waiting: row.get("waiting")?,
    })
}

fn delivery(row: &Row) -> Option<Delivery> {
    let kind: String = row.get("kind")?;
    Some(Delivery {
        webhook: row.get("webhook_id")?,
        kind: Kind::from_word(&kind)?,
        subject: row.get("subject")?,
        created_ms: row.get("created_ms")?,
        due_ms: row.get("due_ms")?,
        tries: row.get("tries")?,
    })
}
