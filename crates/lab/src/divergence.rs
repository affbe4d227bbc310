//! A tail of a known size: transactions that a dying primary commits when nobody hears it any more.
//!
//! They change a table of the lab's own in the application's database, through the application's account, so that they
//! are the application's as far as anybody can tell, and break none of its rules. The rows that they change and
//! delete are written before, while both sites are in step.

use std::net::SocketAddr;

use futures_util::future::try_join_all;
use mysql_async::{Conn, OptsBuilder, Params, prelude::Queryable};
use runtime::secret::Secret;
use serde::{Deserialize, Serialize};

/// Sessions that write side by side: the server syncs their commits together.
const SESSIONS: u32 = 16;
/// The rows of one round are numbered from a multiple of this.
const ROUND: u64 = 1_000_000;
/// New rows of a round are numbered from here on.
const NEW: u64 = 500_000;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS ticketing.lab_entries (
        id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
        word VARCHAR(80) NOT NULL,
        amount DECIMAL(12,2) NOT NULL,
        kind ENUM('one','two') NOT NULL,
        bytes VARBINARY(16) NULL,
        at DATETIME(3) NOT NULL,
        UNIQUE KEY (word)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

/// How long the tail of which round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// The drill's round.
    pub round: u32,
    /// Transactions.
    pub transactions: u32,
}

impl Divergence {
    fn id(self, n: u64) -> u64 {
        u64::from(self.round) * ROUND + n
    }

    /// Writes the rows that the tail will change, in one transaction on the healthy primary.
    pub async fn prepare(self, conn: &mut Conn) -> Result<(), mysql_async::Error> {
        conn.query_drop(TABLE).await?;
        conn.query_drop("START TRANSACTION").await?;
        let (from, to) = (self.id(0), self.id(ROUND));
        conn.exec_drop("DELETE FROM ticketing.lab_entries WHERE id >= ? AND id < ?", (from, to)).await?;
        let rows = (0..u64::from(self.transactions))
            .map(|n| Params::from((self.id(n), format!("{} before · 앞 '{n}'", self.round))));
        let insert =
            "INSERT INTO ticketing.lab_entries VALUES (?, ?, 10.25, 'one', 0x0001, UTC_TIMESTAMP(3))";
        conn.exec_batch(insert, rows).await?;
        conn.query_drop("COMMIT").await
    }

    /// Commits the tail on the server at `address`, through its socket: its network may be dark. Returns how many
    /// transactions were committed, which is all of them.
    pub async fn write(self, address: SocketAddr, password: &Secret) -> Result<u32, mysql_async::Error> {
        let sessions = (0..SESSIONS).map(|session| async move {
            let options = OptsBuilder::default()
                .socket(Some(format!("\0ghostlight-{address}")))
                .user(Some("ticketing"))
                .pass(Some(password.expose()))
                .prefer_socket(true);
            let mut conn = Conn::new(options).await?;
            let mut written = 0;
            for n in (session..self.transactions).step_by(SESSIONS as usize) {
                self.transaction(&mut conn, n).await?;
                written += 1;
            }
            Ok::<u32, mysql_async::Error>(written)
        });
        Ok(try_join_all(sessions).await?.into_iter().sum())
    }

    /// An insert, another one, an update, a delete; every tenth does two things.
    async fn transaction(self, conn: &mut Conn, n: u32) -> Result<(), mysql_async::Error> {
        let (id, new) = (self.id(u64::from(n)), self.id(NEW + u64::from(n)));
        let word = format!("{} never acknowledged · 뒤 \\ '{n}'", self.round);
        let insert = "INSERT INTO ticketing.lab_entries VALUES (?, ?, -0.5, 'two', NULL, UTC_TIMESTAMP(3))";
        let both = n % 10 == 9;
        if both {
            conn.query_drop("START TRANSACTION").await?;
        }
        match n % 4 {
            0 | 1 => conn.exec_drop(insert, (new, &word)).await?,
            2 => {
                let update = "UPDATE ticketing.lab_entries SET word = ?, amount = amount + 1, bytes = 0x00ff27 WHERE id = ?";
                conn.exec_drop(update, (&word, id)).await?;
            }
            _ => conn.exec_drop("DELETE FROM ticketing.lab_entries WHERE id = ?", (id,)).await?,
        }
        if both {
            let again = format!("{word} again");
            conn.exec_drop(insert, (self.id(NEW + ROUND / 4 + u64::from(n)), again)).await?;
            conn.query_drop("COMMIT").await?;
        }
        Ok(())
    }
}
