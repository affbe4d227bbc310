//! Bank transfers that are waited for, and money that must go back by bank.

use mysql_async::{Row, prelude::Queryable};

use super::{
    Store, StoreError,
    organiser::audit_sql,
    sql::{as_ms, moment, quoted},
};
use crate::{
    ids::{BookingNo, HoldId},
    mail::Kind,
};

type Answer<T> = Result<T, StoreError>;

/// Transfers that a page shows.
const ROWS: u32 = 200;

/// What became of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferState {
    /// The money is not there yet.
    Waiting,
    /// It is, and there is a booking.
    Paid,
    /// The visitor gave the seats back.
    Left,
}

impl TransferState {
    fn from_word(word: &str) -> Option<TransferState> {
        match word {
            "waiting" => Some(TransferState::Waiting),
            "paid" => Some(TransferState::Paid),
            "left" => Some(TransferState::Left),
            _ => None,
        }
    }
}

/// A bank transfer that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Row number.
    pub id: u64,
    /// The hold that it pays.
    pub hold: HoldId,
    /// Of which performance.
    pub performance: u32,
    /// Whose.
    pub account: u64,
    /// How many seats.
    pub seat_count: u8,
    /// Which; none if they are gone.
    pub seats: Vec<String>,
    /// How much.
    pub amount_won: u64,
    /// Under which name the money comes.
    pub depositor: String,
    /// What became of it.
    pub state: TransferState,
    /// Until when the money must be there.
    pub due_ms: u64,
    /// When the seats come back if it is not.
    pub released_ms: u64,
    /// The visitor's address.
    pub email: String,
}

/// Money that must go back by bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwedByBank {
    /// Row number of the booking.
    pub booking: u64,
    /// Its number for people.
    pub no: BookingNo,
    /// How much.
    pub amount_won: u64,
    /// To whom.
    pub name: String,
    /// Their address.
    pub email: String,
}

impl Store {
    /// Begins to wait for a transfer: the hold lasts until its release, and a letter says how to pay.
    /// [`StoreError::Condition`] or [`StoreError::Duplicate`] if the hold is gone, or is being waited for already.
    pub async fn begin_transfer(&self, new: &Transfer, now_ms: u64) -> Answer<()> {
        let (now, hold, release) = (moment(now_ms), quoted(new.hold.as_str()), moment(new.released_ms));
        let (id, account, count) = (new.id, new.account, new.seat_count);
        self.whole(format!(
            "UPDATE seat_claims SET held_until = {release} WHERE hold_id = {hold} AND account_id = {account} \
             AND state = 'held' AND held_until > {now}; \
             INSERT INTO transfers (id, hold_id, performance_id, account_id, seat_count, amount_won, depositor, state, \
             due_at, released_at, created_at) VALUES ({id}, {hold}, {}, {account}, IF(ROW_COUNT() = {count}, {count}, NULL), \
             {}, {}, 'waiting', {}, {release}, {now}); \
             INSERT INTO outbox (kind, ref, account_id, created_at) VALUES ('{}', {id}, {account}, {now})",
            new.performance,
            new.amount_won,
            quoted(&new.depositor),
            moment(new.due_ms),
            Kind::Transfer.word(),
        ))
        .await
    }

    /// The transfer that a hold waits for.
    pub async fn transfer_of(&self, account: u64, hold: &HoldId) -> Answer<Option<Transfer>> {
        let condition = format!("t.hold_id = {} AND t.account_id = {account}", quoted(hold.as_str()));
        Ok(self.transfers(condition).await?.pop())
    }

    /// One transfer.
    pub async fn transfer_by_id(&self, id: u64) -> Answer<Option<Transfer>> {
        Ok(self.transfers(format!("t.id = {id}")).await?.pop())
    }

    /// What an account waits for.
    pub async fn transfers_of(&self, account: u64) -> Answer<Vec<Transfer>> {
        self.transfers(format!("t.account_id = {account} AND t.state = 'waiting'")).await
    }

    /// Everything that is waited for, what is due first; with what was due since `since_ms` and did not come.
    pub async fn transfers_waiting(&self, since_ms: u64) -> Answer<Vec<Transfer>> {
        self.transfers(format!("t.state = 'waiting' AND t.due_at > {}", moment(since_ms))).await
    }

    async fn transfers(&self, condition: String) -> Answer<Vec<Transfer>> {
        let sql = format!(
            "SELECT t.id, t.hold_id, t.performance_id, t.account_id, t.seat_count, t.amount_won, t.depositor, \
             CAST(t.state AS CHAR) AS state, {} AS due_ms, {} AS released_ms, a.email, \
             (SELECT GROUP_CONCAT(c.seat ORDER BY c.seat) FROM seat_claims c WHERE c.hold_id = t.hold_id) AS names \
             FROM transfers t JOIN accounts a ON a.id = t.account_id WHERE {condition} ORDER BY t.due_at, t.id LIMIT {ROWS}",
            as_ms("t.due_at"),
            as_ms("t.released_at"),
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<Row> = conn.query(sql).await?;
                Ok(rows.iter().filter_map(transfer).collect())
            })
        })
        .await
    }

    /// Writes down that the money came, and who says so.
    pub async fn transfer_paid(&self, by: u64, transfer: &Transfer, now_ms: u64) -> Answer<()> {
        let detail = format!(
            "transfer {} of performance {}: {}",
            transfer.id, transfer.performance, transfer.amount_won
        );
        self.whole(format!(
            "UPDATE transfers SET state = 'paid' WHERE id = {} AND state = 'waiting'; {}",
            transfer.id,
            audit_sql(by, "transfer_arrived", &detail, now_ms)
        ))
        .await
    }

    /// Ends the waiting; the seats come back at `release_ms`, as cancelled ones do.
    pub async fn leave_transfer(
        &self,
        account: u64,
        hold: &HoldId,
        release_ms: u64,
        now_ms: u64,
    ) -> Answer<()> {
        let (now, hold) = (moment(now_ms), quoted(hold.as_str()));
        self.whole(format!(
            "UPDATE transfers SET state = 'left' WHERE hold_id = {hold} AND account_id = {account} AND state = 'waiting'; \
             UPDATE seat_claims SET state = 'blocked', account_id = NULL, slot = NULL, hold_id = NULL, held_until = {} \
             WHERE hold_id = {hold} AND account_id = {account} AND state = 'held' AND held_until > {now}",
            moment(release_ms)
        ))
        .await
    }

    /// Money of cancelled bookings that came by bank and must go back by bank.
    pub async fn owed_by_bank(&self, provider: &'static str) -> Answer<Vec<OwedByBank>> {
        let sql = format!(
            "SELECT b.id, b.booking_no, x.refund_won, a.name, a.email FROM cancellations x \
             JOIN payments p ON p.booking_id = x.booking_id JOIN bookings b ON b.id = x.booking_id \
             JOIN accounts a ON a.id = b.account_id WHERE x.state = 'owed' AND p.provider = {} \
             ORDER BY x.created_at LIMIT {ROWS}",
            quoted(provider)
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<(u64, String, u64, String, String)> = conn.query(sql).await?;
                let owed = rows.into_iter().filter_map(|(booking, no, amount_won, name, email)| {
                    Some(OwedByBank { booking, no: BookingNo::parse(&no)?, amount_won, name, email })
                });
                Ok(owed.collect())
            })
        })
        .await
    }

    /// Writes down that somebody sent it back.
    pub async fn sent_back(&self, by: u64, owed: &OwedByBank, now_ms: u64) -> Answer<()> {
        let detail = format!("booking {}: {} won", owed.no, owed.amount_won);
        self.whole(format!(
            "UPDATE cancellations SET state = 'refunded' WHERE booking_id = {} AND state = 'owed'; {}",
            owed.booking,
            audit_sql(by, "refund_sent", &detail, now_ms)
        ))
        .await
    }
}

fn transfer(row: &Row) -> Option<Transfer> {
    let (hold, state): (String, String) = (row.get("hold_id")?, row.get("state")?);
    let names = row.get::<Option<String>, _>("names").flatten().unwrap_or_default();
    Some(Transfer {
        id: row.get("id")?,
        hold: HoldId::parse(&hold)?,
        performance: row.get("performance_id")?,
        account: row.get("account_id")?,
        seat_count: row.get("seat_count")?,
        seats: names.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
        amount_won: row.get("amount_won")?,
        depositor: row.get("depositor")?,
        state: TransferState::from_word(&state)?,
        due_ms: row.get("due_ms")?,
        released_ms: row.get("released_ms")?,
        email: row.get("email")?,
    })
}
