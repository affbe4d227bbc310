//! Which kind of ticket was chosen for which seat.

use std::collections::BTreeMap;

use mysql_async::{Row, prelude::Queryable};

use super::{
    Store, StoreError,
    sql::{moment, quoted},
};
use crate::{
    catalogue::Text,
    discount::{Discount, Less, Priced},
    ids::{BookingNo, HoldId},
};

type Answer<T> = Result<T, StoreError>;

/// The discounts of a season, by show.
pub(super) const DISCOUNTS: &str = "SELECT show_id, id, name_ko, name_en, percent, won, grades, seats_max, proof_ko, proof_en, \
     CAST(UNIX_TIMESTAMP(from_at) * 1000 AS UNSIGNED) AS from_ms, CAST(UNIX_TIMESTAMP(until_at) * 1000 AS UNSIGNED) AS until_ms \
     FROM discounts ORDER BY show_id, rank, id";

/// A row of [`DISCOUNTS`].
pub(super) fn discount(row: &Row) -> Option<(u32, Discount)> {
    let text = |column: &str| Text {
        ko: row.get(&*format!("{column}_ko")).unwrap_or_default(),
        en: row.get(&*format!("{column}_en")).unwrap_or_default(),
    };
    let percent = row.get::<Option<u8>, _>("percent").flatten();
    let won = row.get::<Option<u32>, _>("won").flatten();
    let grades: String = row.get("grades")?;
    let proof = text("proof");
    let discount = Discount {
        id: row.get("id")?,
        name: text("name"),
        less: percent.map(Less::Percent).or(won.map(Less::Won))?,
        grades: grades.split(',').filter(|g| !g.is_empty()).map(str::to_owned).collect(),
        seats_max: row.get::<Option<u8>, _>("seats_max").flatten(),
        proof: (!proof.ko.is_empty()).then_some(proof),
        from_ms: row.get("from_ms")?,
        until_ms: row.get("until_ms")?,
    };
    Some((row.get("show_id")?, discount))
}

/// The statement that writes discounts of a show.
pub(super) fn insert_discounts(show: u32, first_rank: u8, discounts: &[Discount]) -> String {
    let rows: Vec<String> = (first_rank..)
        .zip(discounts)
        .map(|(rank, d)| {
            let (percent, won) = match d.less {
                Less::Percent(percent) => (percent.to_string(), "NULL".to_owned()),
                Less::Won(won) => ("NULL".to_owned(), won.to_string()),
            };
            let empty = Text::new("", "");
            let proof = d.proof.as_ref().unwrap_or(&empty);
            format!(
                "({show}, {}, {rank}, {}, {}, {percent}, {won}, {}, {}, {}, {}, {}, {})",
                quoted(&d.id),
                quoted(&d.name.ko),
                quoted(&d.name.en),
                quoted(&d.grades.join(",")),
                d.seats_max.map_or("NULL".to_owned(), |n| n.to_string()),
                quoted(&proof.ko),
                quoted(&proof.en),
                moment(d.from_ms),
                moment(d.until_ms)
            )
        })
        .collect();
    format!(
        "INSERT INTO discounts (show_id, id, rank, name_ko, name_en, percent, won, grades, seats_max, proof_ko, \
         proof_en, from_at, until_at) VALUES {}",
        rows.join(", ")
    )
}

impl Store {
    /// The kinds that were chosen for the seats of a hold; a seat at its full price is not named.
    pub async fn kinds_of_hold(&self, hold: &HoldId) -> Answer<BTreeMap<String, String>> {
        self.kinds(format!(
            "SELECT seat, discount FROM hold_discounts WHERE hold_id = {} AND discount <> ''",
            quoted(hold.as_str())
        ))
        .await
    }

    /// The kinds of the tickets that were sold for a performance, by seat.
    pub async fn kinds_sold(&self, performance: u32) -> Answer<BTreeMap<String, String>> {
        self.kinds(format!(
            "SELECT c.seat, d.discount FROM seat_claims c JOIN hold_discounts d ON d.hold_id = c.hold_id \
             AND d.seat = c.seat WHERE c.performance_id = {performance} AND c.state = 'sold' AND d.discount <> ''"
        ))
        .await
    }

    /// The kinds of the tickets of a booking, by seat.
    pub async fn kinds_of_booking(&self, account: u64, no: &BookingNo) -> Answer<BTreeMap<String, String>> {
        self.kinds(format!(
            "SELECT c.seat, d.discount FROM bookings b JOIN seat_claims c ON c.booking_id = b.id \
             JOIN hold_discounts d ON d.hold_id = c.hold_id AND d.seat = c.seat \
             WHERE b.account_id = {account} AND b.booking_no = {} AND d.discount <> ''",
            quoted(no.as_str())
        ))
        .await
    }

    async fn kinds(&self, sql: String) -> Answer<BTreeMap<String, String>> {
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<(String, String)> = conn.query(sql).await?;
                Ok(rows.into_iter().collect())
            })
        })
        .await
    }

    /// Gives a hold other prices, and with them another name. [`StoreError::Condition`] if it is not held any more.
    pub async fn price_hold(
        &self,
        account: u64,
        from: &HoldId,
        to: &HoldId,
        priced: &[Priced],
        now_ms: u64,
    ) -> Answer<()> {
        let (from, to, now) = (quoted(from.as_str()), quoted(to.as_str()), moment(now_ms));
        let whens: Vec<String> =
            priced.iter().map(|p| format!("WHEN {} THEN {}", quoted(&p.seat), p.price_won)).collect();
        let row = |name: &str, p: &Priced| {
            let kind = quoted(p.discount.as_deref().unwrap_or(""));
            format!(
                "INSERT INTO hold_discounts (hold_id, seat, discount, full_won) VALUES ({name}, {}, {kind}, {}); ",
                quoted(&p.seat),
                p.full_won
            )
        };
        let mut rows = String::new();
        for (i, p) in priced.iter().enumerate() {
            // The condition stands in the first, an INSERT of one row: there a NULL is an error in every SQL mode.
            let name =
                if i == 0 { format!("IF(ROW_COUNT() = {}, {to}, NULL)", priced.len()) } else { to.clone() };
            rows.push_str(&row(&name, p));
        }
        self.whole(format!(
            "UPDATE seat_claims SET price_won = CASE seat {} END, hold_id = {to} WHERE hold_id = {from} \
             AND account_id = {account} AND state = 'held' AND held_until > {now} \
             AND NOT EXISTS (SELECT 1 FROM transfers t WHERE t.hold_id = {from}); {rows}\
             DELETE FROM hold_discounts WHERE hold_id = {from}; \
             UPDATE waitlist SET hold_id = {to} WHERE hold_id = {from}",
            whens.join(" ")
        ))
        .await
    }
}
