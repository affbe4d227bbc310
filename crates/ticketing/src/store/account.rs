//! Accounts.

use mysql_async::prelude::Queryable;

use super::{
    Store, StoreError,
    booking::packet,
    outbox::letter_sql,
    sql::{moment, quoted},
};
use crate::mail::Kind;

/// A visitor who signed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub id: u64,
    /// Its address, in lower case.
    pub email: String,
    /// How to address them.
    pub name: String,
    /// The password's argon2id hash.
    pub password_hash: String,
}

impl Store {
    /// Writes a new account. [`StoreError::Duplicate`] when its address has one.
    pub async fn add_account(&self, account: &Account, now_ms: u64) -> Result<(), StoreError> {
        self.packets(format!(
            "START TRANSACTION; \
             INSERT INTO accounts (id, email, name, password_hash, created_at) VALUES ({}, {}, {}, {}, {}); {}; COMMIT",
            account.id,
            quoted(&account.email),
            quoted(&account.name),
            quoted(&account.password_hash),
            moment(now_ms),
            letter_sql(Kind::Confirm, account.id, now_ms),
        ))
        .await
    }

    /// The account with this address.
    pub async fn account_by_email(&self, email: &str) -> Result<Option<Account>, StoreError> {
        let email = email.to_owned();
        self.find("SELECT id, email, name, password_hash FROM accounts WHERE email = ?", email.into()).await
    }

    /// The account with this number.
    pub async fn account(&self, id: u64) -> Result<Option<Account>, StoreError> {
        self.find("SELECT id, email, name, password_hash FROM accounts WHERE id = ?", id.into()).await
    }

    /// Remembers that the address is theirs.
    pub async fn confirm(&self, account: u64, now_ms: u64) -> Result<(), StoreError> {
        let now = moment(now_ms);
        self.packets(format!(
            "INSERT INTO account_states (account_id, confirmed_at, sessions_from, changed_at) \
             VALUES ({account}, {now}, 0, {now}) ON DUPLICATE KEY UPDATE confirmed_at = COALESCE(confirmed_at, {now})"
        ))
        .await
    }

    /// Whether the address was confirmed.
    pub async fn is_confirmed(&self, account: u64) -> Result<bool, StoreError> {
        let sql = format!(
            "SELECT COUNT(*) FROM account_states WHERE account_id = {account} AND confirmed_at IS NOT NULL"
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move { Ok(conn.query_first::<u64, _>(sql).await?.unwrap_or(0) == 1) })
        })
        .await
    }

    /// Changes the name.
    pub async fn rename(&self, account: u64, name: &str) -> Result<(), StoreError> {
        self.packets(format!("UPDATE accounts SET name = {} WHERE id = {account}", quoted(name))).await
    }

    /// Changes the password from the one with hash `from`, ends the sessions that were begun before `sessions_from_s`,
    /// and asks for a letter that says so. [`StoreError::Condition`] if the password is another one by now.
    pub async fn set_password(
        &self,
        account: u64,
        from: &str,
        to: &str,
        sessions_from_s: u64,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        // A missed UPDATE makes `sessions_from` NULL, which the column refuses: an error ahead of the COMMIT.
        self.packets(format!(
            "START TRANSACTION; \
             UPDATE accounts SET password_hash = {} WHERE id = {account} AND password_hash = {}; {}; {}; COMMIT",
            quoted(to),
            quoted(from),
            cut_sql(account, &format!("IF(ROW_COUNT() = 1, {sessions_from_s}, NULL)"), "NULL", now_ms),
            letter_sql(Kind::Password, account, now_ms),
        ))
        .await
    }

    /// Erases a person: name, address, password and unsent letters. Bookings and payments stay, as the law asks, under
    /// a number that leads to nobody.
    pub async fn close(&self, account: u64, now_ms: u64) -> Result<(), StoreError> {
        self.packets(format!(
            "START TRANSACTION; \
             UPDATE accounts SET email = 'closed-{account}', name = '', password_hash = '' WHERE id = {account}; \
             {}; DELETE FROM outbox WHERE account_id = {account}; \
             DELETE FROM waitlist WHERE account_id = {account}; COMMIT",
            cut_sql(account, &i64::MAX.to_string(), &moment(now_ms), now_ms)
        ))
        .await
    }

    /// Accounts whose older sessions do not count any more, changed since `since_ms`.
    pub async fn session_cuts(&self, since_ms: u64) -> Result<Vec<(u64, u64)>, StoreError> {
        let sql = format!(
            "SELECT account_id, sessions_from FROM account_states WHERE changed_at > {} AND sessions_from > 0",
            moment(since_ms)
        );
        self.run(move |conn| Box::pin(conn.query(sql.clone()))).await
    }

    async fn packets(&self, sql: String) -> Result<(), StoreError> {
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move { packet(conn, sql).await })
        })
        .await
    }

    async fn find(&self, sql: &'static str, key: mysql_async::Value) -> Result<Option<Account>, StoreError> {
        self.run(move |conn| {
            let key = key.clone();
            Box::pin(async move {
                let row: Option<(u64, String, String, String)> = conn.exec_first(sql, (key,)).await?;
                Ok(row.map(|(id, email, name, password_hash)| Account { id, email, name, password_hash }))
            })
        })
        .await
    }
}

/// Ends the sessions begun before `from_s`; both are SQL.
fn cut_sql(account: u64, from_s: &str, closed: &str, now_ms: u64) -> String {
    let now = moment(now_ms);
    format!(
        "INSERT INTO account_states (account_id, closed_at, sessions_from, changed_at) \
         VALUES ({account}, {closed}, {from_s}, {now}) ON DUPLICATE KEY UPDATE closed_at = VALUES(closed_at), \
         sessions_from = VALUES(sessions_from), changed_at = {now}"
    )
}
