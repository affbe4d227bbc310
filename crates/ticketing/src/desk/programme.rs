//! What organisers put on sale: halls, shows, performances, and seats that are kept back for guests.
//!
//! What is written is looked at before: a seat without a price, or a sale that opens after the curtain, would be found
//! by the first visitor. A performance that was put on sale is not changed here: people have tickets for it.

use std::sync::Arc;

use super::Desk;
use crate::{
    catalogue::{Catalogue, GRADES, Hall, Text},
    discount::{Discount, Less},
    fixture::ROOM_FROM_SEATS,
    hall_csv::{self, Fault},
    queue::{Sale, draw::Seed},
    refusal::Refusal,
    role::Role,
    store::{Kept, NewPerformance, NewShow, StoreError},
};

/// Why a hall was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HallRefusal {
    /// Something else than its seats.
    No(Refusal),
    /// Its file must be mended here.
    Faults(Vec<Fault>),
}

impl From<Refusal> for HallRefusal {
    fn from(no: Refusal) -> HallRefusal {
        HallRefusal::No(no)
    }
}

/// Seats that may be kept back or given free at once.
const SEATS_AT_ONCE: usize = 200;
/// What an account may have of one performance, at most.
const LIMIT_MAX: u8 = 8;

pub(super) fn mend(ko: &str, en: &str) -> Refusal {
    Refusal::Mend(Text::new(ko, en))
}

/// A text in both languages, each of 1 to `max` letters.
fn checked(text: Text, max: usize, what: (&str, &str)) -> Result<Text, Refusal> {
    let fits = |t: &str| (1..=max).contains(&t.chars().count()) && !t.chars().any(char::is_control);
    let text = Text { ko: text.ko.trim().to_owned(), en: text.en.trim().to_owned() };
    if fits(&text.ko) && fits(&text.en) {
        return Ok(text);
    }
    Err(mend(
        &format!("{}을(를) 한국어와 영어로 1자에서 {max}자까지 적어 주세요.", what.0),
        &format!("Please write {} in Korean and in English, 1 to {max} characters each.", what.1),
    ))
}

/// A number for a new row. Those of the season that a new database begins with are smaller. One that was given before
/// is refused by its key: most likely it was ours, and only the answer was lost, so whoever asks is told to look again.
fn drawn() -> u32 {
    1_000_000 + rand::random::<u32>() % 2_000_000_000
}

impl Desk {
    /// What is on sale, for somebody who changes it.
    pub async fn programme(&self, by: u64) -> Result<Arc<Catalogue>, Refusal> {
        self.require(by, Role::Organiser).await?;
        self.catalogue().await
    }

    /// Takes a hall from a spreadsheet. Its number.
    pub async fn add_hall(&self, by: u64, name: Text, csv: &str) -> Result<u32, HallRefusal> {
        self.require(by, Role::Organiser).await?;
        let name = checked(name, 40, ("공연장 이름", "the hall's name"))?;
        let layout = hall_csv::layout(csv).map_err(HallRefusal::Faults)?;
        let capacity = layout.sections.iter().map(crate::catalogue::Section::capacity).sum();
        let hall = Hall::new(drawn(), name, capacity, layout);
        match self.store.add_hall(by, &hall, self.clock.now_ms()).await {
            Ok(()) => Ok(hall.id),
            Err(StoreError::Duplicate(_)) => Err(Refusal::NotNow.into()),
            Err(e) => Err(Refusal::from(e).into()),
        }
    }

    /// Takes a show. Its number.
    pub async fn add_show(&self, by: u64, mut show: NewShow) -> Result<u32, Refusal> {
        self.require(by, Role::Organiser).await?;
        let slug_fits = (3..=60).contains(&show.slug.len())
            && show.slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !show.slug.starts_with('-');
        if !slug_fits {
            return Err(mend(
                "주소를 영어 소문자, 숫자, -로 3자에서 60자까지 적어 주세요. 예: winter-sea",
                "Please write the address in 3 to 60 of a-z, 0-9 and -, like winter-sea.",
            ));
        }
        show.title = checked(show.title, 60, ("제목", "the title"))?;
        show.tagline = checked(show.tagline, 100, ("한 줄 소개", "the line under the title"))?;
        show.about = checked(show.about, 1_000, ("소개", "the description"))?;
        show.cast = checked(show.cast, 100, ("출연", "who plays"))?;
        if !(10..=600).contains(&show.runtime_min) || show.age_min > 19 {
            return Err(mend(
                "관람 시간은 10~600분, 나이는 0~19세로 적어 주세요.",
                "Please write a length of 10 to 600 minutes and an age of 0 to 19.",
            ));
        }
        let known = |word: &String| GRADES.iter().any(|g| g.0 == *word);
        let fits =
            |(word, won): &(String, u32)| known(word) && (100..=10_000_000).contains(won) && won % 10 == 0;
        if show.prices.is_empty() || !show.prices.iter().all(fits) {
            return Err(mend(
                "등급을 하나 이상 고르고, 가격을 100원에서 1,000만 원까지 10원 단위로 적어 주세요.",
                "Please price at least one grade, from 100 to 10,000,000 won in tens.",
            ));
        }
        show.id = drawn();
        match self.store.add_show(by, &show, self.clock.now_ms()).await {
            Ok(()) => Ok(show.id),
            Err(StoreError::Duplicate(key)) if key == "PRIMARY" => Err(Refusal::NotNow),
            Err(StoreError::Duplicate(_)) => Err(mend(
                "이 주소를 쓰는 공연이 이미 있어요. 다른 주소를 적어 주세요.",
                "There is a show with this address. Please write another.",
            )),
            Err(e) => Err(e.into()),
        }
    }

    /// Takes a discount for a show.
    pub async fn add_discount(&self, by: u64, show: u32, mut discount: Discount) -> Result<(), Refusal> {
        self.require(by, Role::Organiser).await?;
        let catalogue = self.catalogue().await?;
        let show = catalogue.shows.iter().find(|s| s.id == show).ok_or(Refusal::NoSuch)?;
        let word_fits = (2..=16).contains(&discount.id.len())
            && discount.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !word_fits {
            return Err(mend(
                "할인의 짧은 이름을 영어 소문자와 숫자 2자에서 16자로 적어 주세요. 예: early",
                "Please write the discount's word in 2 to 16 of a-z and 0-9, like early.",
            ));
        }
        discount.name = checked(discount.name, 60, ("할인 이름", "the discount's name"))?;
        if let Some(proof) = discount.proof.take() {
            discount.proof = Some(checked(proof, 100, ("증빙", "what must be shown"))?);
        }
        let less_fits = match discount.less {
            Less::Percent(percent) => (1..=100).contains(&percent),
            Less::Won(won) => (100..=10_000_000).contains(&won),
        };
        if !less_fits {
            return Err(mend(
                "할인은 1~100% 또는 100원 이상의 금액으로 적어 주세요.",
                "Please write a discount of 1 to 100 percent, or of 100 won or more.",
            ));
        }
        if discount.from_ms >= discount.until_ms {
            return Err(mend(
                "할인이 끝나는 때가 시작보다 늦어야 해요.",
                "The discount must end after it begins.",
            ));
        }
        let rank = u8::try_from(show.discounts.len()).unwrap_or(u8::MAX);
        match self.store.add_discount(by, show.id, rank, &discount, self.clock.now_ms()).await {
            Ok(()) => Ok(()),
            Err(StoreError::Duplicate(_)) => Err(mend(
                "이 공연에 같은 이름의 할인이 이미 있어요.",
                "The show has a discount of this word already.",
            )),
            Err(e) => Err(e.into()),
        }
    }

    /// Puts a performance on sale. Its number. A large sale that is yet to open gets a waiting room.
    pub async fn add_performance(&self, by: u64, mut new: NewPerformance) -> Result<u32, Refusal> {
        self.require(by, Role::Organiser).await?;
        let catalogue = self.catalogue().await?;
        let show = catalogue.shows.iter().find(|s| s.id == new.show).ok_or(Refusal::NoSuch)?;
        let hall = catalogue.halls.iter().find(|h| h.id == new.hall).ok_or(Refusal::NoSuch)?;
        let now_ms = self.clock.now_ms();
        if new.starts_ms <= now_ms {
            return Err(mend("공연 일시가 이미 지났어요.", "The performance would have begun already."));
        }
        if new.sale_opens_ms >= new.starts_ms {
            return Err(mend(
                "예매 시작이 공연 시작보다 앞서야 해요.",
                "The sale must open before the performance begins.",
            ));
        }
        if !(1..=LIMIT_MAX).contains(&new.limit) {
            return Err(mend("한 분이 살 수 있는 매수는 1~8매예요.", "An account may have 1 to 8 tickets."));
        }
        if let Some(section) = hall.layout.sections.iter().find(|s| show.grade(&s.grade).is_none()) {
            let (name, grade) = (&section.name, &section.grade);
            return Err(mend(
                &format!("{} 구역은 {grade}석인데, 이 공연에는 {grade}석 가격이 없어요.", name.ko),
                &format!("{} has seats of grade {grade}, which this show does not price.", name.en),
            ));
        }
        if catalogue.performances.iter().any(|p| p.hall == hall.id && p.starts_at_ms == new.starts_ms) {
            return Err(mend(
                "이 공연장에는 같은 시각에 다른 공연이 있어요.",
                "There is another performance in this hall at that time.",
            ));
        }
        new.capacity = hall.capacity;
        new.id = drawn();
        let room = (hall.capacity >= ROOM_FROM_SEATS && new.sale_opens_ms > now_ms).then(|| {
            let seed = Seed::new(rand::random());
            (Sale::announced(new.id, new.sale_opens_ms, &seed), seed)
        });
        match self.store.add_performance(by, &new, room.as_ref(), now_ms).await {
            Ok(()) => Ok(new.id),
            Err(StoreError::Duplicate(_)) => Err(Refusal::NotNow),
            Err(e) => Err(e.into()),
        }
    }

    /// Seats that the house keeps back.
    pub async fn kept_back(&self, by: u64, performance: u32) -> Result<Vec<Kept>, Refusal> {
        self.require(by, Role::Organiser).await?;
        Ok(self.store.kept_back(performance).await?)
    }

    /// Keeps seats back for guests: all of them, or none.
    pub async fn keep_back(
        &self,
        by: u64,
        performance: u32,
        seats: Vec<String>,
        note: &str,
    ) -> Result<(), Refusal> {
        self.require(by, Role::Organiser).await?;
        let seats = self.named(performance, seats).await?;
        let note = note.trim();
        if note.is_empty() || note.chars().count() > 60 {
            return Err(mend(
                "누구를 위한 자리인지 60자까지 적어 주세요.",
                "Please say for whom, in up to 60 characters.",
            ));
        }
        let now_ms = self.clock.now_ms();
        match self.store.keep_back(by, performance, &seats, note, now_ms).await {
            Ok(()) => Ok(()),
            Err(StoreError::Duplicate(_)) => {
                let taken = self.store.taken(performance, now_ms).await?;
                let names: Vec<&str> =
                    taken.iter().map(|t| t.seat.as_str()).filter(|t| seats.iter().any(|s| s == t)).collect();
                Err(mend(
                    &format!("이미 나간 자리가 있어 아무것도 바꾸지 않았어요: {}", names.join(", ")),
                    &format!("Nothing was changed, because some seats are taken: {}", names.join(", ")),
                ))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Gives seats that were kept back free again.
    pub async fn give_free(&self, by: u64, performance: u32, seats: Vec<String>) -> Result<(), Refusal> {
        self.require(by, Role::Organiser).await?;
        let seats = self.named(performance, seats).await?;
        Ok(self.store.give_free(by, performance, &seats, self.clock.now_ms()).await?)
    }

    /// Seats of a performance's hall, each once.
    async fn named(&self, performance: u32, mut seats: Vec<String>) -> Result<Vec<String>, Refusal> {
        let catalogue = self.catalogue().await?;
        let event = catalogue.event(performance).ok_or(Refusal::NoSuch)?;
        seats.sort();
        seats.dedup();
        if seats.is_empty() || seats.len() > SEATS_AT_ONCE {
            return Err(mend(
                "좌석을 한 번에 1석에서 200석까지 적어 주세요.",
                "Please name 1 to 200 seats at once.",
            ));
        }
        match seats.iter().find(|seat| event.price_won(seat).is_none()) {
            None => Ok(seats),
            Some(odd) => {
                let odd: String = odd.chars().take(20).collect();
                Err(mend(
                    &format!("‘{odd}’ 좌석은 이 공연장에 없어요. 구역-열-번호로 적어 주세요. 예: A1-3-12"),
                    &format!(
                        "There is no seat `{odd}` in this hall. Write section-row-number, like A1-3-12."
                    ),
                ))
            }
        }
    }
}
