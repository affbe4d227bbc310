//! Accounts.

use mysql_async::prelude::Queryable;

use super::{Store, StoreError, sql::moment};

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
    pub async fn add_account(&self, account: Account, now_ms: u64) -> Result<(), StoreError> {
        let sql = format!(
            "INSERT INTO accounts (id, email, name, password_hash, created_at) VALUES (?, ?, ?, ?, {})",
            moment(now_ms)
        );
        let Account { id, email, name, password_hash } = account;
        self.run(move |conn| {
            let values = (id, email.clone(), name.clone(), password_hash.clone());
            let sql = sql.clone();
            Box::pin(async move { conn.exec_drop(sql, values).await })
        })
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
