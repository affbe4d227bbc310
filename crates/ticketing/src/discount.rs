//! Kinds of tickets (권종): who pays less, for which seats, and what a choice comes to.
//!
//! One seat has at most one discount. What the visitor chose is checked again when the payment is made; the price is
//! computed here and nowhere else.

use crate::catalogue::Text;

/// How much less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Less {
    /// A share of the price.
    Percent(u8),
    /// A sum.
    Won(u32),
}

/// A kind of ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discount {
    /// Its word.
    pub id: String,
    /// Its name.
    pub name: Text,
    /// How much less.
    pub less: Less,
    /// For seats of these grades; all if none is named.
    pub grades: Vec<String>,
    /// At most so many in a booking.
    pub seats_max: Option<u8>,
    /// What must be shown at the door, if anything.
    pub proof: Option<Text>,
    /// From when.
    pub from_ms: u64,
    /// Until when.
    pub until_ms: u64,
}

impl Discount {
    /// Whether it can be had for a seat of this grade now.
    pub fn is_for(&self, grade: &str, now_ms: u64) -> bool {
        (self.from_ms..self.until_ms).contains(&now_ms)
            && (self.grades.is_empty() || self.grades.iter().any(|g| g == grade))
    }
}

/// A seat that is being paid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    /// Which.
    pub seat: String,
    /// Its grade.
    pub grade: String,
    /// What it costs without a discount.
    pub full_won: u32,
    /// The discount that was chosen for it.
    pub discount: Option<String>,
    /// What it costs.
    pub price_won: u32,
}

/// Why a choice cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiscountRefusal {
    /// There is none of this name now.
    NoSuch(String),
    /// It is not for seats of this grade.
    NotForGrade(String),
    /// It is for fewer seats.
    TooMany {
        /// Which.
        id: String,
        /// How many it is for.
        seats_max: u8,
    },
}

impl Less {
    /// A price with it: never below nothing, whole tens of won, rounded down as is customary.
    pub fn of(self, full_won: u32) -> u32 {
        let less = match self {
            Less::Percent(percent) => {
                let share = u64::from(full_won) * u64::from(percent.min(100)) / 100;
                u32::try_from(share).unwrap_or(full_won)
            }
            Less::Won(won) => won,
        };
        if less == 0 { full_won } else { full_won.saturating_sub(less) / 10 * 10 }
    }
}

/// Prices seats: `(seat, grade, full price, chosen discount)` each.
pub fn price(
    seats: &[(String, String, u32, Option<String>)],
    discounts: &[Discount],
    now_ms: u64,
) -> Result<Vec<Priced>, DiscountRefusal> {
    let mut priced = Vec::with_capacity(seats.len());
    for (seat, grade, full_won, chosen) in seats {
        let price_won = match chosen {
            None => *full_won,
            Some(id) => {
                let discount = discounts
                    .iter()
                    .find(|d| d.id == *id && (d.from_ms..d.until_ms).contains(&now_ms))
                    .ok_or_else(|| DiscountRefusal::NoSuch(id.clone()))?;
                if !discount.grades.is_empty() && !discount.grades.contains(grade) {
                    return Err(DiscountRefusal::NotForGrade(id.clone()));
                }
                let used = seats.iter().filter(|s| s.3.as_ref() == Some(id)).count();
                if let Some(seats_max) = discount.seats_max
                    && used > usize::from(seats_max)
                {
                    return Err(DiscountRefusal::TooMany { id: id.clone(), seats_max });
                }
                discount.less.of(*full_won)
            }
        };
        priced.push(Priced {
            seat: seat.clone(),
            grade: grade.clone(),
            full_won: *full_won,
            discount: chosen.clone(),
            price_won,
        });
    }
    Ok(priced)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discount(id: &str, less: Less, grades: &[&str], seats_max: Option<u8>) -> Discount {
        Discount {
            id: id.into(),
            name: Text::new(id, id),
            less,
            grades: grades.iter().map(|g| (*g).to_owned()).collect(),
            seats_max,
            proof: None,
            from_ms: 100,
            until_ms: 200,
        }
    }

    fn seats(chosen: &[Option<&str>]) -> Vec<(String, String, u32, Option<String>)> {
        (1..)
            .zip(chosen)
            .map(|(n, id)| (format!("A-1-{n}"), "R".into(), 77_000, id.map(str::to_owned)))
            .collect()
    }

    #[test]
    fn each_seat_has_its_own_kind() {
        let kinds = [
            discount("youth", Less::Percent(30), &[], None),
            discount("veteran", Less::Percent(50), &["R"], Some(1)),
            discount("early", Less::Won(5_555), &[], None),
        ];
        let total = |chosen: &[Option<&str>]| {
            price(&seats(chosen), &kinds, 150).map(|p| p.iter().map(|s| s.price_won).collect::<Vec<_>>())
        };
        assert_eq!(total(&[None, Some("youth"), Some("veteran")]), Ok(vec![77_000, 53_900, 38_500]));
        assert_eq!(total(&[Some("early")]), Ok(vec![71_440]));
        assert_eq!(
            total(&[Some("veteran"), Some("veteran")]),
            Err(DiscountRefusal::TooMany { id: "veteran".into(), seats_max: 1 })
        );
        assert_eq!(total(&[Some("nothing")]), Err(DiscountRefusal::NoSuch("nothing".into())));
        for late in [99, 200] {
            assert!(price(&seats(&[Some("youth")]), &kinds, late).is_err());
        }
        let vip = [discount("vip", Less::Percent(10), &["VIP"], None)];
        assert_eq!(price(&seats(&[Some("vip")]), &vip, 150), Err(DiscountRefusal::NotForGrade("vip".into())));
    }

    #[test]
    fn a_price_is_never_below_nothing() {
        assert_eq!(Less::Won(100_000).of(77_000), 0);
        assert_eq!(Less::Percent(255).of(77_000), 0);
        assert_eq!(Less::Percent(0).of(77_777), 77_777);
        assert_eq!(Less::Percent(33).of(10_000), 6_700);
    }
}
