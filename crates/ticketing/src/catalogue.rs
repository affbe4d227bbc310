//! What is on sale and where its seats are: shows, halls, performances, prices.
//!
//! Read whole from the database, kept for a few seconds, never changed in place. Who holds which seat is not here.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{
    booking::{SaleState, sale_state},
    discount::Discount,
    lang::Lang,
};

/// The three kinds of shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// 뮤지컬.
    Musical,
    /// 콘서트.
    Concert,
    /// 스포츠.
    Sports,
}

impl Category {
    /// All, in the order in which menus show them.
    pub const ALL: [Category; 3] = [Category::Musical, Category::Concert, Category::Sports];

    /// Its word in addresses and in the database.
    pub fn word(self) -> &'static str {
        match self {
            Category::Musical => "musical",
            Category::Concert => "concert",
            Category::Sports => "sports",
        }
    }

    /// The category with this word.
    pub fn from_word(word: &str) -> Option<Category> {
        Category::ALL.into_iter().find(|c| c.word() == word)
    }

    /// Its name on the page.
    pub fn name(self, lang: Lang) -> &'static str {
        match self {
            Category::Musical => lang.pick("뮤지컬", "Musicals"),
            Category::Concert => lang.pick("콘서트", "Concerts"),
            Category::Sports => lang.pick("스포츠", "Sports"),
        }
    }

    /// How many seats of one performance an account may have.
    pub fn account_limit(self) -> u8 {
        match self {
            Category::Musical => 2,
            Category::Concert | Category::Sports => 4,
        }
    }
}

/// A text in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// Korean.
    pub ko: String,
    /// English.
    pub en: String,
}

impl Text {
    /// Both at once.
    pub fn new(ko: &str, en: &str) -> Text {
        Text { ko: ko.into(), en: en.into() }
    }

    /// In one language.
    pub fn in_lang(&self, lang: Lang) -> &str {
        lang.pick(&self.ko, &self.en)
    }
}

/// A show: what people come for.
#[derive(Clone, Debug)]
pub struct Show {
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
    /// How long, with the interval.
    pub runtime_min: u16,
    /// From which age; 0 is everybody.
    pub age_min: u8,
    /// Seat grades, dearest first.
    pub grades: Vec<Grade>,
    /// Who pays less.
    pub discounts: Vec<Discount>,
}

impl Show {
    /// A grade by its word.
    pub fn grade(&self, word: &str) -> Option<&Grade> {
        self.grades.iter().find(|g| g.word == word)
    }

    /// A discount by its word.
    pub fn discount(&self, word: &str) -> Option<&Discount> {
        self.discounts.iter().find(|d| d.id == word)
    }
}

/// A seat grade with its price.
#[derive(Clone, Debug)]
pub struct Grade {
    /// The hall's word for it.
    pub word: String,
    /// Its name.
    pub name: Text,
    /// Its place among the grades of the show, 0 = dearest; it chooses the colour.
    pub rank: u8,
    /// What a seat costs.
    pub price_won: u32,
}

/// The grades that there are, dearest first: word, name in Korean, name in English. A show prices some of them.
pub const GRADES: [(&str, &str, &str); 4] =
    [("VIP", "VIP석", "VIP"), ("R", "R석", "R"), ("S", "S석", "S"), ("A", "A석", "A")];

/// A hall.
#[derive(Clone, Debug)]
pub struct Hall {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: Text,
    /// How many seats.
    pub capacity: u32,
    /// Where they are.
    pub layout: Layout,
    by_section: HashMap<String, usize>,
}

impl Hall {
    /// A hall from its row.
    pub fn new(id: u32, name: Text, capacity: u32, layout: Layout) -> Hall {
        let by_section = layout.sections.iter().enumerate().map(|(i, s)| (s.id.clone(), i)).collect();
        Hall { id, name, capacity, layout, by_section }
    }

    /// A section by its word.
    pub fn section(&self, id: &str) -> Option<&Section> {
        self.by_section.get(id).and_then(|i| self.layout.sections.get(*i))
    }

    /// The section that a seat is in, if there is such a seat: `<section>-<row>-<number>`, both from 1.
    pub fn section_of(&self, seat: &str) -> Option<&Section> {
        let (section, row, number) = split_seat(seat)?;
        let section = self.section(section)?;
        let seats_in_row = *section.rows.get(usize::from(row).checked_sub(1)?)?;
        (1..=seats_in_row).contains(&number).then_some(section)
    }
}

/// Takes a seat's name apart: section, row, number. Only the one way of writing each is a name.
pub fn split_seat(seat: &str) -> Option<(&str, u16, u16)> {
    let (rest, number) = seat.rsplit_once('-')?;
    let (section, row) = rest.rsplit_once('-')?;
    let plain = |s: &str| -> Option<u16> {
        let n: u16 = s.parse().ok()?;
        (n > 0 && n.to_string() == s).then_some(n)
    };
    Some((section, plain(row)?, plain(number)?))
}

/// Where a hall's seats are: sections that are slices of rings around the stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// Width of the drawing.
    pub width: f64,
    /// Height of the drawing.
    pub height: f64,
    /// The point that the rings go around.
    pub centre: (f64, f64),
    /// The stage: half width, depth, and whether it is a field in the middle.
    pub stage: Stage,
    /// All sections.
    pub sections: Vec<Section>,
}

/// The stage in the drawing, a rectangle around the centre.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its left edge.
    pub x: f64,
    /// Its upper edge.
    pub y: f64,
    /// Its width.
    pub width: f64,
    /// Its height.
    pub height: f64,
}

/// A section: a slice of a ring, rows from the inside out, seats along the arc.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// Its word, e.g. `F3`.
    pub id: String,
    /// Its name.
    pub name: Text,
    /// The grade of its seats.
    pub grade: String,
    /// Where the slice begins, in degrees, 0 = right, 90 = down.
    pub from_deg: f64,
    /// Where it ends.
    pub to_deg: f64,
    /// Radius of the first row.
    pub first_row: f64,
    /// Distance between rows.
    pub row_pitch: f64,
    /// Seats in each row.
    pub rows: Vec<u16>,
    /// What one should know about the sight from some seats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sight: Vec<Sight>,
    /// Places for wheelchairs and for who comes along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wheelchair: Vec<Block>,
}

/// Seats next to each other in some rows behind each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// First and last row, from 1.
    pub rows: (u16, u16),
    /// First and last seat, from 1.
    pub seats: (u16, u16),
}

impl Block {
    /// Whether a seat is one of them.
    pub fn has(&self, row: u16, number: u16) -> bool {
        (self.rows.0..=self.rows.1).contains(&row) && (self.seats.0..=self.seats.1).contains(&number)
    }
}

/// A note about the sight from some seats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// From where.
    pub from: Block,
    /// What one sees.
    pub note: Text,
}

impl Section {
    /// Whether a seat is a place for a wheelchair, or for who comes along.
    pub fn is_wheelchair(&self, row: u16, number: u16) -> bool {
        self.wheelchair.iter().any(|block| block.has(row, number))
    }

    /// What one should know about the sight from a seat.
    pub fn sight_from(&self, row: u16, number: u16) -> Option<&Text> {
        self.sight.iter().find(|sight| sight.from.has(row, number)).map(|sight| &sight.note)
    }

    /// How many seats it has.
    pub fn capacity(&self) -> u32 {
        self.rows.iter().map(|n| u32::from(*n)).sum()
    }

    /// Every seat: its name, row, number.
    pub fn seats(&self) -> impl Iterator<Item = (String, u16, u16)> + '_ {
        (1u16..).zip(&self.rows).flat_map(move |(row, n)| {
            (1..=*n).map(move |number| (format!("{}-{row}-{number}", self.id), row, number))
        })
    }
}

/// One performance of a show.
#[derive(Clone, Debug)]
pub struct Performance {
    /// Its number.
    pub id: u32,
    /// Which show.
    pub show: u32,
    /// In which hall.
    pub hall: u32,
    /// When it begins.
    pub starts_at_ms: u64,
    /// When its sale opens.
    pub sale_opens_at_ms: u64,
    /// How many seats it has.
    pub capacity: u32,
    /// How many an account may have.
    pub account_limit: u8,
    /// Whether seats are held only by those who have a turn from its waiting room.
    pub waiting_room: bool,
}

impl Performance {
    /// Where its sale stands.
    pub fn sale(&self, now_ms: u64) -> SaleState {
        sale_state(self.sale_opens_at_ms, self.starts_at_ms, now_ms)
    }
}

/// Everything on sale.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// By number.
    pub shows: Vec<Show>,
    /// By number.
    pub halls: Vec<Hall>,
    /// By time.
    pub performances: Vec<Performance>,
}

/// A performance together with its show and its hall.
#[derive(Clone, Copy, Debug)]
pub struct Event<'c> {
    /// What.
    pub show: &'c Show,
    /// Where.
    pub hall: &'c Hall,
    /// When.
    pub performance: &'c Performance,
}

impl Event<'_> {
    /// What a seat costs, if there is such a seat.
    pub fn price_won(&self, seat: &str) -> Option<u32> {
        let section = self.hall.section_of(seat)?;
        self.show.grade(&section.grade).map(|g| g.price_won)
    }

    /// A seat for people: `1층 A구역 3열 12번`.
    pub fn seat_name(&self, lang: Lang, seat: &str) -> String {
        match (split_seat(seat), self.hall.section_of(seat)) {
            (Some((_, row, number)), Some(section)) => {
                let section = section.name.in_lang(lang);
                match lang {
                    Lang::Ko => format!("{section} {row}열 {number}번"),
                    Lang::En => format!("{section}, row {row}, seat {number}"),
                }
            }
            _ => seat.to_owned(),
        }
    }
}

impl Catalogue {
    /// A show by its word.
    pub fn show(&self, slug: &str) -> Option<&Show> {
        self.shows.iter().find(|s| s.slug == slug)
    }

    /// A performance with its show and hall.
    pub fn event(&self, performance: u32) -> Option<Event<'_>> {
        let performance = self.performances.iter().find(|p| p.id == performance)?;
        Some(Event {
            show: self.shows.iter().find(|s| s.id == performance.show)?,
            hall: self.halls.iter().find(|h| h.id == performance.hall)?,
            performance,
        })
    }

    /// The performances of a show, by time.
    pub fn performances_of(&self, show: u32) -> impl Iterator<Item = Event<'_>> {
        self.performances.iter().filter(move |p| p.show == show).filter_map(|p| self.event(p.id))
    }

    /// The next sale to open.
    pub fn next_sale(&self, now_ms: u64) -> Option<Event<'_>> {
        self.performances
            .iter()
            .filter(|p| p.sale(now_ms) == SaleState::NotYet)
            .min_by_key(|p| (p.sale_opens_at_ms, p.starts_at_ms, p.id))
            .and_then(|p| self.event(p.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_has_one_name() {
        assert_eq!(split_seat("F3-12-7"), Some(("F3", 12, 7)));
        for odd in ["F3-012-7", "F3-12-0", "F3-12", "F3-12-+7", "F3--7", "", "F3-12-99999"] {
            assert_eq!(split_seat(odd), None, "{odd}");
        }
    }
}
