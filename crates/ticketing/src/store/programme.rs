//! Writing what is on sale, and seats that the house keeps back.

use mysql_async::prelude::Queryable;

use super::{
    Store, StoreError,
    booking::packet,
    kinds::insert_discounts,
    organiser::audit_sql,
    queue::insert_room,
    sql::{list, moment, quoted},
};
use crate::{
    catalogue::{Category, GRADES, Hall, Text},
    discount::Discount,
    queue::{Sale, draw::Seed},
};

type Answer<T> = Result<T, StoreError>;

/// A show that is to be sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewShow {
    /// Its number.
    pub id: u32,
    /// Its word in addresses.
    pub slug: String,
    /// Which kind.
    pub category: Category,
    /// Its name.
    pub title: Text,
    /// One line under the name.
    pub tagline: Text,
    /// A paragraph.
    pub about: Text,
    /// Who plays.
    pub cast: Text,
    /// How long.
    pub runtime_min: u16,
    /// From which age.
    pub age_min: u8,
    /// What a seat of a grade costs.
    pub prices: Vec<(String, u32)>,
}

/// A performance that is to be sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPerformance {
    /// Its number.
    pub id: u32,
    /// Which show.
    pub show: u32,
    /// In which hall.
    pub hall: u32,
    /// When it begins.
    pub starts_ms: u64,
    /// When its sale opens.
    pub sale_opens_ms: u64,
    /// How many seats it has.
    pub capacity: u32,
    /// How many an account may have.
    pub limit: u8,
}

/// A seat that the house keeps back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub seat: String,
    /// For whom; empty if it was kept back from the beginning.
    pub note: String,
}

impl Store {
    /// Writes a hall.
    pub async fn add_hall(&self, by: u64, hall: &Hall, now_ms: u64) -> Answer<()> {
        let layout = serde_json::to_string(&hall.layout).map_err(|e| StoreError::Broken(e.to_string()))?;
        self.programme(format!(
            "INSERT INTO halls (id, name_ko, name_en, capacity, layout) VALUES ({}, {}, {}, {}, {}); {}",
            hall.id,
            quoted(&hall.name.ko),
            quoted(&hall.name.en),
            hall.capacity,
            quoted(&layout),
            audit_sql(by, "hall_added", &format!("hall {} ({})", hall.id, hall.name.ko), now_ms),
        ))
        .await
    }

    /// Writes a show with its prices. [`StoreError::Duplicate`] when its address is another one's.
    pub async fn add_show(&self, by: u64, show: &NewShow, now_ms: u64) -> Answer<()> {
        let texts = [&show.title, &show.tagline, &show.about, &show.cast];
        let texts: Vec<String> = texts.iter().flat_map(|t| [quoted(&t.ko), quoted(&t.en)]).collect();
        let grades = (0u8..).zip(GRADES).filter_map(|(rank, (word, ko, en))| {
            let (_, won) = show.prices.iter().find(|(of, _)| of == word)?;
            Some(format!("({}, {}, {rank}, {}, {}, {won})", show.id, quoted(word), quoted(ko), quoted(en)))
        });
        let grades: Vec<String> = grades.collect();
        self.programme(format!(
            "INSERT INTO shows (id, slug, category, title_ko, title_en, tagline_ko, tagline_en, about_ko, about_en, \
             cast_ko, cast_en, runtime_min, age_min) VALUES ({}, {}, {}, {}, {}, {}); \
             INSERT INTO price_grades (show_id, grade, rank, name_ko, name_en, price_won) VALUES {}; {}",
            show.id,
            quoted(&show.slug),
            quoted(show.category.word()),
            texts.join(", "),
            show.runtime_min,
            show.age_min,
            grades.join(", "),
            audit_sql(by, "show_added", &format!("show {} ({})", show.id, show.slug), now_ms),
        ))
        .await
    }

    /// Writes a performance, with its waiting room if it has one.
    pub async fn add_performance(
        &self,
        by: u64,
        new: &NewPerformance,
        room: Option<&(Sale, Seed)>,
        now_ms: u64,
    ) -> Answer<()> {
        let room = room.map(|(sale, seed)| format!("{}; ", insert_room(sale, seed))).unwrap_or_default();
        let detail = format!("performance {} of show {} in hall {}", new.id, new.show, new.hall);
        self.programme(format!(
            "INSERT INTO performances (id, show_id, hall_id, starts_at, sale_opens_at, capacity, account_limit) \
             VALUES ({}, {}, {}, {}, {}, {}, {}); {room}{}",
            new.id,
            new.show,
            new.hall,
            moment(new.starts_ms),
            moment(new.sale_opens_ms),
            new.capacity,
            new.limit,
            audit_sql(by, "performance_added", &detail, now_ms),
        ))
        .await
    }

    /// Writes a discount of a show. [`StoreError::Duplicate`] when the show has one of this word.
    pub async fn add_discount(
        &self,
        by: u64,
        show: u32,
        rank: u8,
        discount: &Discount,
        now_ms: u64,
    ) -> Answer<()> {
        self.programme(format!(
            "{}; {}",
            insert_discounts(show, rank, std::slice::from_ref(discount)),
            audit_sql(by, "discount_added", &format!("{} of show {show}", discount.id), now_ms)
        ))
        .await
    }

    /// One transaction that changes the programme; this instance shows it at once, others within seconds.
    async fn programme(&self, statements: String) -> Answer<()> {
        let sql = format!("START TRANSACTION; {statements}; COMMIT");
        let done = self
            .run(move |conn| {
                let sql = sql.clone();
                Box::pin(async move { packet(conn, sql).await })
            })
            .await;
        self.catalogue_cell().forget().await;
        done
    }

    /// Seats that the house keeps back, by name.
    pub async fn kept_back(&self, performance: u32) -> Answer<Vec<Kept>> {
        let sql = format!(
            "SELECT c.seat, COALESCE(g.note, '') FROM seat_claims c LEFT JOIN guest_seats g \
             ON g.performance_id = c.performance_id AND g.seat = c.seat WHERE c.performance_id = {performance} \
             AND c.state = 'blocked' AND c.held_until IS NULL ORDER BY c.seat"
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<(String, String)> = conn.query(sql).await?;
                Ok(rows.into_iter().map(|(seat, note)| Kept { seat, note }).collect())
            })
        })
        .await
    }

    /// Keeps seats back. [`StoreError::Duplicate`] when one of them is not free; then none is.
    pub async fn keep_back(
        &self,
        by: u64,
        performance: u32,
        seats: &[String],
        note: &str,
        now_ms: u64,
    ) -> Answer<()> {
        let (now, note_sql) = (moment(now_ms), quoted(note));
        let names = list(seats.iter().map(String::as_str));
        let rows = |row: &dyn Fn(&str) -> String| {
            seats.iter().map(|seat| row(&quoted(seat))).collect::<Vec<_>>().join(", ")
        };
        let claims = rows(&|seat| format!("({performance}, {seat}, 'blocked', 0)"));
        let notes = rows(&|seat| format!("({performance}, {seat}, {note_sql}, {by}, {now})"));
        self.seats(format!(
            "DELETE FROM seat_claims WHERE performance_id = {performance} AND seat IN ({names}) AND state <> 'sold' \
             AND held_until <= {now}; \
             INSERT INTO seat_claims (performance_id, seat, state, price_won) VALUES {claims}; \
             REPLACE INTO guest_seats (performance_id, seat, note, kept_by, kept_at) VALUES {notes}; {}",
            audit_sql(by, "seats_kept_back", &told(performance, seats, note), now_ms)
        ))
        .await
    }

    /// Gives seats free that the house kept back; those that it does not keep stay as they are.
    pub async fn give_free(&self, by: u64, performance: u32, seats: &[String], now_ms: u64) -> Answer<()> {
        let names = list(seats.iter().map(String::as_str));
        self.seats(format!(
            "DELETE FROM seat_claims WHERE performance_id = {performance} AND seat IN ({names}) AND state = 'blocked' \
             AND held_until IS NULL; \
             DELETE FROM guest_seats WHERE performance_id = {performance} AND seat IN ({names}); {}",
            audit_sql(by, "seats_given_free", &told(performance, seats, ""), now_ms)
        ))
        .await
    }

    async fn seats(&self, statements: String) -> Answer<()> {
        let sql = format!("START TRANSACTION; {statements}; COMMIT");
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move { packet(conn, sql).await })
        })
        .await
    }
}

/// For the log, within the room that it has.
fn told(performance: u32, seats: &[String], note: &str) -> String {
    let text = format!("performance {performance}, {} seats, {note}: {}", seats.len(), seats.join(" "));
    text.chars().take(400).collect()
}
