//! The waiting list: who waits, which seats came back, and offering them.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::{Row, prelude::Queryable};

use super::{
    Store, StoreError,
    booking::packet,
    sql::{as_ms, list, moment, quoted},
};
use crate::{
    ids::{HoldId, row_id},
    mail::Kind,
    waitlist::{Offer, Waiter},
};

type Answer<T> = Result<T, StoreError>;

/// Somebody's place in a line, as they see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Row number.
    pub id: u64,
    /// Of which performance.
    pub performance: u32,
    /// For seats of this grade.
    pub grade: String,
    /// How many.
    pub count: u8,
    /// How many wait in front.
    pub ahead: u32,
    /// What they were offered.
    pub offer: Option<Offered>,
}

/// Seats that somebody was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The hold that keeps them.
    pub hold: HoldId,
    /// Until when they are theirs.
    pub until_ms: u64,
    /// Which; none if they are gone.
    pub seats: Vec<String>,
    /// Whether they were bought.
    pub bought: bool,
}

/// Everything that decides who is offered what.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Everybody who waits, or was offered something.
    pub waiters: Vec<Waiter>,
    /// Seats that came back and are kept from the public still.
    pub freed: Vec<String>,
    /// The places of each waiter that are taken by tickets or holds.
    pub slots: BTreeMap<u64, BTreeSet<u8>>,
}

/// An offer that is to be made.
#[derive(Clone, Debug)]
pub struct MadeOffer {
    /// To which row.
    pub waiter: u64,
    /// Whose.
    pub account: u64,
    /// Of which performance.
    pub performance: u32,
    /// Its name.
    pub hold: HoldId,
    /// Seats, each with its place of the account and its price.
    pub seats: Vec<(String, u8, u32)>,
    /// Until when it stands.
    pub until_ms: u64,
    /// Until when the seats are kept from the public, so that the next in line can have them.
    pub kept_until_ms: u64,
}

impl Store {
    /// Takes somebody into a line that has fewer than `most`; false if it is full. [`StoreError::Duplicate`] if they are
    /// in it.
    pub async fn join_waitlist(
        &self,
        (performance, account): (u32, u64),
        grade: &str,
        count: u8,
        most: u32,
        now_ms: u64,
    ) -> Answer<bool> {
        let (now, grade) = (moment(now_ms), quoted(grade));
        // What was offered before and is over makes room for waiting again.
        let sql = format!(
            "DELETE FROM waitlist WHERE performance_id = {performance} AND account_id = {account} AND grade = {grade} \
             AND state = 'offered' AND NOT EXISTS (SELECT 1 FROM seat_claims c WHERE c.hold_id = waitlist.hold_id \
             AND c.state = 'held' AND c.held_until > {now})"
        );
        let join = format!(
            "INSERT INTO waitlist (id, performance_id, account_id, grade, seats, state, created_at) \
             SELECT {}, {performance}, {account}, {grade}, {count}, 'waiting', {now} FROM DUAL WHERE \
             (SELECT COUNT(*) FROM waitlist w WHERE w.performance_id = {performance} AND w.grade = {grade} \
             AND w.state = 'waiting') < {most}",
            row_id(now_ms)
        );
        self.run(move |conn| {
            let (sql, join) = (sql.clone(), join.clone());
            Box::pin(async move {
                conn.query_drop(sql).await?;
                conn.query_drop(join).await?;
                Ok(conn.affected_rows() == 1)
            })
        })
        .await
    }

    /// Takes somebody out of the line. Seats that they were offered go to the next, or back at `release_ms`.
    pub async fn leave_waitlist(&self, account: u64, id: u64, release_ms: u64, now_ms: u64) -> Answer<()> {
        let (now, release) = (moment(now_ms), moment(release_ms));
        self.whole(format!(
            "UPDATE seat_claims c JOIN waitlist w ON w.hold_id = c.hold_id SET c.state = 'blocked', \
             c.account_id = NULL, c.slot = NULL, c.hold_id = NULL, c.held_until = {release} \
             WHERE w.id = {id} AND w.account_id = {account} AND c.state = 'held' AND c.held_until > {now}; \
             DELETE FROM waitlist WHERE id = {id} AND account_id = {account}"
        ))
        .await
    }

    /// Where an account waits, or was offered something, the newest first.
    pub async fn waits_of(&self, account: u64) -> Answer<Vec<Wait>> {
        self.waits(format!("w.account_id = {account}")).await
    }

    /// One row of the list.
    pub async fn wait_by_id(&self, id: u64) -> Answer<Option<Wait>> {
        Ok(self.waits(format!("w.id = {id}")).await?.pop())
    }

    async fn waits(&self, condition: String) -> Answer<Vec<Wait>> {
        let sql = format!(
            "SELECT w.id, w.performance_id, w.grade, w.seats, w.hold_id, {} AS until_ms, \
             (SELECT COUNT(*) FROM waitlist o WHERE o.performance_id = w.performance_id AND o.grade = w.grade \
             AND o.state = 'waiting' AND o.id < w.id) AS ahead, \
             (SELECT GROUP_CONCAT(c.seat ORDER BY c.seat) FROM seat_claims c WHERE c.hold_id = w.hold_id) AS names, \
             EXISTS (SELECT 1 FROM seat_claims c WHERE c.hold_id = w.hold_id AND c.state = 'sold') AS bought \
             FROM waitlist w WHERE {condition} ORDER BY w.id DESC",
            as_ms("w.offer_until")
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<Row> = conn.query(sql).await?;
                Ok(rows.iter().filter_map(wait).collect())
            })
        })
        .await
    }

    /// Performances that somebody waits for.
    pub async fn performances_waited_for(&self) -> Answer<Vec<u32>> {
        self.run(|conn| {
            Box::pin(conn.query("SELECT DISTINCT performance_id FROM waitlist WHERE state = 'waiting'"))
        })
        .await
    }

    /// The line of a performance.
    pub async fn waiting_line(&self, performance: u32, now_ms: u64) -> Answer<Line> {
        let now = moment(now_ms);
        let waiters = format!(
            "SELECT id, account_id, grade, seats, {} AS until_ms FROM waitlist WHERE performance_id = {performance}",
            as_ms("offer_until")
        );
        let freed = format!(
            "SELECT c.seat FROM seat_claims c WHERE c.performance_id = {performance} AND c.held_until > {now} \
             AND {} ORDER BY c.seat",
            came_back(&now)
        );
        let slots = format!(
            "SELECT c.account_id, c.slot FROM seat_claims c JOIN (SELECT DISTINCT account_id FROM waitlist \
             WHERE performance_id = {performance} AND state = 'waiting') w ON w.account_id = c.account_id \
             WHERE c.performance_id = {performance} AND c.slot IS NOT NULL \
             AND (c.held_until IS NULL OR c.held_until > {now})"
        );
        self.run(move |conn| {
            let (waiters, freed, slots) = (waiters.clone(), freed.clone(), slots.clone());
            Box::pin(async move {
                let rows: Vec<Row> = conn.query(waiters).await?;
                let mut line = Line { freed: conn.query(freed).await?, ..Line::default() };
                line.waiters = rows.iter().filter_map(waiter).collect();
                for (account, slot) in conn.query::<(u64, u8), _>(slots).await? {
                    line.slots.entry(account).or_default().insert(slot);
                }
                Ok(line)
            })
        })
        .await
    }

    /// Offers seats: they become a hold of the waiter, and a letter says so. [`StoreError::Condition`] if one of them
    /// went elsewhere meanwhile, or somebody else offered something; then nothing is written.
    pub async fn offer(&self, offer: &MadeOffer, now_ms: u64) -> Answer<()> {
        let (now, performance, account) = (moment(now_ms), offer.performance, offer.account);
        let case = |what: &dyn Fn(&(String, u8, u32)) -> String| {
            let whens: Vec<String> =
                offer.seats.iter().map(|s| format!("WHEN {} THEN {}", quoted(&s.0), what(s))).collect();
            format!("CASE c.seat {} END", whens.join(" "))
        };
        let (hold, count) = (quoted(offer.hold.as_str()), offer.seats.len());
        self.whole(format!(
            "DELETE FROM seat_claims WHERE performance_id = {performance} AND account_id = {account} AND state = 'held' \
             AND held_until <= {now}; \
             UPDATE seat_claims c SET c.state = 'held', c.account_id = {account}, c.slot = {slot}, c.price_won = {price}, \
             c.booking_id = NULL, c.held_until = {kept}, c.hold_id = {hold} WHERE c.performance_id = {performance} \
             AND c.seat IN ({names}) AND c.held_until > {now} AND {came_back}; \
             UPDATE waitlist SET state = 'offered', hold_id = {hold}, offer_until = {until} WHERE id = {id} \
             AND state = 'waiting' AND ROW_COUNT() = {count}; \
             INSERT INTO outbox (kind, ref, account_id, created_at) VALUES ('{kind}', IF(ROW_COUNT() = 1, {id}, NULL), \
             {account}, {now})",
            slot = case(&|s| s.1.to_string()),
            price = case(&|s| s.2.to_string()),
            kept = moment(offer.kept_until_ms),
            names = list(offer.seats.iter().map(|s| s.0.as_str())),
            came_back = came_back(&now),
            until = moment(offer.until_ms),
            id = offer.waiter,
            kind = Kind::Offered.word(),
        ))
        .await
    }

    /// Statements that are one transaction.
    pub(super) async fn whole(&self, statements: String) -> Answer<()> {
        let sql = format!("START TRANSACTION; {statements}; COMMIT");
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move { packet(conn, sql).await })
        })
        .await
    }
}

/// The condition that a claim `c` keeps a seat for those who wait: it was cancelled and is not released yet, or whoever
/// was offered it, or was to pay it by bank, let the time pass.
fn came_back(now: &str) -> String {
    format!(
        "(c.state = 'blocked' OR (c.state = 'held' AND c.hold_id IN (SELECT w.hold_id FROM waitlist w \
         WHERE w.state = 'offered' AND w.offer_until <= {now} UNION ALL SELECT t.hold_id FROM transfers t \
         WHERE t.state = 'waiting' AND t.due_at <= {now})))"
    )
}

fn wait(row: &Row) -> Option<Wait> {
    let hold = row.get::<Option<String>, _>("hold_id").flatten().and_then(|id| HoldId::parse(&id));
    let until_ms = row.get::<Option<u64>, _>("until_ms").flatten();
    let names = row.get::<Option<String>, _>("names").flatten().unwrap_or_default();
    let offer = hold.zip(until_ms).map(|(hold, until_ms)| Offered {
        hold,
        until_ms,
        seats: names.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
        bought: row.get::<u8, _>("bought") == Some(1),
    });
    Some(Wait {
        id: row.get("id")?,
        performance: row.get("performance_id")?,
        grade: row.get("grade")?,
        count: row.get("seats")?,
        ahead: row.get("ahead")?,
        offer,
    })
}

fn waiter(row: &Row) -> Option<Waiter> {
    Some(Waiter {
        id: row.get("id")?,
        account: row.get("account_id")?,
        grade: row.get("grade")?,
        count: row.get("seats")?,
        offer: row
            .get::<Option<u64>, _>("until_ms")
            .flatten()
            .map(|until_ms| Offer { seats: Vec::new(), until_ms }),
    })
}
