//! Payments with real money, written down before the provider is asked.

use mysql_async::{Row, prelude::Queryable};

use super::{
    Store, StoreError,
    sql::{as_ms, moment, quoted},
};
use crate::{
    ids::{HoldId, IdempotencyKey},
    payment::{Charge, settle::IntentState},
};

type Answer<T> = Result<T, StoreError>;

/// Intents that are looked at together.
const BATCH: u32 = 50;

/// A payment that was begun.
#[derive(Clone, Debug)]
pub struct Intent {
    /// What the provider is asked for.
    pub charge: Charge,
    /// The visitor's key.
    pub key: IdempotencyKey,
    /// Of which performance.
    pub performance: u32,
    /// The hold that it pays.
    pub hold: HoldId,
    /// What became of it.
    pub state: IntentState,
    /// When somebody last began to carry it out.
    pub asked_ms: u64,
}

const COLUMNS: &str = "account_id, idempotency_key, performance_id, hold_id, amount_won, method, token, \
     CAST(state AS CHAR) AS state";

impl Store {
    /// Writes an intent down before money moves, and returns it as it stands: the one that this key began before, if it
    /// did. While it is open nobody else settles it for a while from now.
    pub async fn begin_intent(
        &self,
        new: &Intent,
        provider: &'static str,
        now_ms: u64,
    ) -> Answer<Option<Intent>> {
        let (account, now) = (new.charge.account, moment(now_ms));
        let key = quoted(new.key.as_str());
        let sql = format!(
            "INSERT INTO payment_intents (account_id, idempotency_key, performance_id, hold_id, amount_won, provider, \
             method, token, state, asked_at) VALUES ({account}, {key}, {}, {}, {}, {}, {}, {}, 'open', {now}) \
             ON DUPLICATE KEY UPDATE asked_at = IF(state = 'open', {now}, asked_at); \
             SELECT {COLUMNS}, {} AS asked_ms FROM payment_intents WHERE account_id = {account} AND idempotency_key = {key}",
            new.performance,
            quoted(new.hold.as_str()),
            new.charge.amount_won,
            quoted(provider),
            quoted(&new.charge.method),
            quoted(new.charge.token.as_deref().unwrap_or("")),
            as_ms("asked_at"),
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let mut answers = conn.query_iter(sql).await?;
                let _: Vec<Row> = answers.collect().await?;
                let rows: Vec<Row> = answers.collect().await?;
                answers.drop_result().await?;
                Ok(rows.first().and_then(intent))
            })
        })
        .await
    }

    /// Moves an intent on, if it still is as it was seen: in this state, and begun then. Whether it was.
    pub async fn move_intent(&self, seen: &Intent, to: IntentState) -> Answer<bool> {
        let sql = format!(
            "UPDATE payment_intents SET state = '{}' WHERE account_id = {} AND idempotency_key = {} AND state = '{}' \
             AND asked_at = {}",
            to.word(),
            seen.charge.account,
            quoted(seen.key.as_str()),
            seen.state.word(),
            moment(seen.asked_ms),
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

    /// Intents of a provider that were begun before `before_ms` and not brought to an end, the oldest first.
    pub async fn unsettled(&self, provider: &'static str, before_ms: u64) -> Answer<Vec<Intent>> {
        let sql = format!(
            "SELECT {COLUMNS}, {} AS asked_ms FROM payment_intents WHERE state IN ('open', 'refunding') \
             AND asked_at <= {} AND provider = {} ORDER BY asked_at LIMIT {BATCH}",
            as_ms("asked_at"),
            moment(before_ms),
            quoted(provider),
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<Row> = conn.query(sql).await?;
                Ok(rows.iter().filter_map(intent).collect())
            })
        })
        .await
    }
}

fn intent(row: &Row) -> Option<Intent> {
    let text = |column: &str| row.get::<String, _>(column).unwrap_or_default();
    let key = IdempotencyKey::parse(&text("idempotency_key"))?;
    let token = text("token");
    Some(Intent {
        charge: Charge {
            account: row.get("account_id")?,
            idempotency_key: key.as_str().to_owned(),
            amount_won: row.get("amount_won")?,
            method: text("method"),
            token: (!token.is_empty()).then_some(token),
        },
        key,
        performance: row.get("performance_id")?,
        hold: HoldId::parse(&text("hold_id"))?,
        state: IntentState::from_word(&text("state"))?,
        asked_ms: row.get("asked_ms")?,
    })
}
