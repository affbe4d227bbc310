//! Reading and writing what is on sale.

use std::sync::Arc;

use mysql_async::{Conn, Result, Row, from_row, prelude::Queryable};

use super::{
    Store, StoreError,
    kinds::{DISCOUNTS, discount},
    sql::{as_ms, moment, quoted},
};
use crate::{
    catalogue::{Catalogue, Category, Grade, Hall, Performance, Show, Text},
    discount::Discount,
    fixture::BLOCKED_PER_PERFORMANCE,
};

impl Store {
    /// What is on sale, at most a few seconds old.
    pub async fn catalogue(&self) -> std::result::Result<Arc<Catalogue>, StoreError> {
        self.catalogue_cell().get(self.now_ms(), self.run(|conn| Box::pin(read(conn)))).await
    }
}

async fn read(conn: &mut Conn) -> Result<Catalogue> {
    let grades: Vec<(u32, String, u8, String, String, u32)> = conn
        .query("SELECT show_id, grade, rank, name_ko, name_en, price_won FROM price_grades ORDER BY show_id, rank")
        .await?;
    let rows: Vec<Row> = conn.query(DISCOUNTS).await?;
    let discounts: Vec<(u32, Discount)> = rows.iter().filter_map(discount).collect();
    let shows: Vec<Row> = conn
        .query(
            "SELECT id, slug, category, title_ko, title_en, tagline_ko, tagline_en, about_ko, about_en, cast_ko, \
             cast_en, runtime_min, age_min FROM shows ORDER BY id",
        )
        .await?;
    let shows = shows
        .into_iter()
        .map(|row| {
            let text = |column: &str| Text {
                ko: row.get(&*format!("{column}_ko")).unwrap_or_default(),
                en: row.get(&*format!("{column}_en")).unwrap_or_default(),
            };
            let id: u32 = row.get("id").unwrap_or_default();
            let category: String = row.get("category").unwrap_or_default();
            Show {
                id,
                slug: row.get("slug").unwrap_or_default(),
                category: Category::from_word(&category).unwrap_or(Category::Concert),
                title: text("title"),
                tagline: text("tagline"),
                about: text("about"),
                cast: text("cast"),
                runtime_min: row.get("runtime_min").unwrap_or_default(),
                age_min: row.get("age_min").unwrap_or_default(),
                discounts: discounts.iter().filter(|d| d.0 == id).map(|d| d.1.clone()).collect(),
                grades: grades
                    .iter()
                    .filter(|g| g.0 == id)
                    .map(|(_, word, rank, ko, en, price_won)| Grade {
                        word: word.clone(),
                        name: Text::new(ko, en),
                        rank: *rank,
                        price_won: *price_won,
                    })
                    .collect(),
            }
        })
        .collect();
    let rows: Vec<(u32, String, String, u32, String)> =
        conn.query("SELECT id, name_ko, name_en, capacity, layout FROM halls ORDER BY id").await?;
    let mut halls = Vec::new();
    for (id, ko, en, capacity, layout) in rows {
        let layout = serde_json::from_str(&layout)
            .map_err(|e| mysql_async::Error::Other(format!("layout of hall {id}: {e}").into()))?;
        halls.push(Hall::new(id, Text { ko, en }, capacity, layout));
    }
    let performances: Vec<Row> = conn
        .query(format!(
            "SELECT id, show_id, hall_id, {}, {}, capacity, account_limit, EXISTS (SELECT 1 FROM queue_sales q \
             WHERE q.performance_id = performances.id) FROM performances ORDER BY starts_at, id",
            as_ms("starts_at"),
            as_ms("sale_opens_at")
        ))
        .await?;
    let performances = performances
        .into_iter()
        .map(|row| {
            let (id, show, hall, starts_at_ms, sale_opens_at_ms, capacity, account_limit, waiting_room) =
                from_row(row);
            Performance {
                id,
                show,
                hall,
                starts_at_ms,
                sale_opens_at_ms,
                capacity,
                account_limit,
                waiting_room,
            }
        })
        .collect();
    Ok(Catalogue { shows, halls, performances })
}

/// Writes a season; rows that are there already stay as they are.
pub(super) async fn write_season(conn: &mut Conn, season: &Catalogue) -> Result<()> {
    for hall in &season.halls {
        let layout = serde_json::to_string(&hall.layout)
            .map_err(|e| mysql_async::Error::Other(format!("layout of hall {}: {e}", hall.id).into()))?;
        conn.exec_drop(
            "INSERT IGNORE INTO halls (id, name_ko, name_en, capacity, layout) VALUES (?, ?, ?, ?, ?)",
            (hall.id, &hall.name.ko, &hall.name.en, hall.capacity, layout),
        )
        .await?;
    }
    for show in &season.shows {
        let texts = [
            &show.title.ko,
            &show.title.en,
            &show.tagline.ko,
            &show.tagline.en,
            &show.about.ko,
            &show.about.en,
            &show.cast.ko,
            &show.cast.en,
        ]
        .map(|t| quoted(t))
        .join(",");
        conn.query_drop(format!(
            "INSERT IGNORE INTO shows (id, slug, category, title_ko, title_en, tagline_ko, tagline_en, about_ko, \
             about_en, cast_ko, cast_en, runtime_min, age_min) VALUES ({}, {}, {}, {texts}, {}, {})",
            show.id,
            quoted(&show.slug),
            quoted(show.category.word()),
            show.runtime_min,
            show.age_min
        ))
        .await?;
        for grade in &show.grades {
            conn.exec_drop(
                "INSERT IGNORE INTO price_grades (show_id, grade, rank, name_ko, name_en, price_won) \
                 VALUES (?, ?, ?, ?, ?, ?)",
                (show.id, &grade.word, grade.rank, &grade.name.ko, &grade.name.en, grade.price_won),
            )
            .await?;
        }
    }
    for performance in &season.performances {
        conn.query_drop(format!(
            "INSERT IGNORE INTO performances (id, show_id, hall_id, starts_at, sale_opens_at, capacity, \
             account_limit) VALUES ({}, {}, {}, {}, {}, {}, {})",
            performance.id,
            performance.show,
            performance.hall,
            moment(performance.starts_at_ms),
            moment(performance.sale_opens_at_ms),
            performance.capacity,
            performance.account_limit
        ))
        .await?;
        let Some(section) = season.event(performance.id).and_then(|e| e.hall.layout.sections.first()) else {
            continue;
        };
        for number in 1..=BLOCKED_PER_PERFORMANCE {
            conn.query_drop(format!(
                "INSERT IGNORE INTO seat_claims (performance_id, seat, state, price_won) \
                 VALUES ({}, '{}-1-{number}', 'blocked', 0)",
                performance.id, section.id
            ))
            .await?;
        }
    }
    Ok(())
}
