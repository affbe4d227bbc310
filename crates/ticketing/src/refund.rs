//! Why an organiser gives a booking back, and what that may cost the visitor.
//!
//! Always true here: what the house caused costs the visitor nothing; what somebody is accused of is told to them in
//! words, so that they can object.

use crate::catalogue::Text;

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The performance does not take place.
    ShowCancelled,
    /// Somebody else plays than was announced.
    CastChanged,
    /// The seat cannot be used, or is not what was sold.
    Seat,
    /// The visitor asked for it.
    Asked,
    /// It was bought against the terms: by a program, to be sold on.
    Unfair,
}

impl Reason {
    /// All, in the order in which the form shows them.
    pub const ALL: [Reason; 5] =
        [Reason::ShowCancelled, Reason::CastChanged, Reason::Seat, Reason::Asked, Reason::Unfair];

    /// Its word in the database and in forms.
    pub fn word(self) -> &'static str {
        match self {
            Reason::ShowCancelled => "show_cancelled",
            Reason::CastChanged => "cast_changed",
            Reason::Seat => "seat",
            Reason::Asked => "asked",
            Reason::Unfair => "unfair",
        }
    }

    /// The reason with this word.
    pub fn from_word(word: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.word() == word)
    }

    /// As the visitor reads it.
    pub fn name(self) -> Text {
        match self {
            Reason::ShowCancelled => Text::new("공연이 취소되었어요", "The performance is cancelled"),
            Reason::CastChanged => Text::new("출연진이 바뀌었어요", "The cast has changed"),
            Reason::Seat => Text::new("좌석에 문제가 있어요", "There is a problem with the seat"),
            Reason::Asked => Text::new("고객님이 요청하셨어요", "You asked for it"),
            Reason::Unfair => {
                Text::new("이용약관에 어긋난 예매예요", "The booking was made against the terms")
            }
        }
    }

    /// Whether the house caused it: then everything goes back, whatever the day.
    pub fn is_ours(self) -> bool {
        matches!(self, Reason::ShowCancelled | Reason::CastChanged | Reason::Seat)
    }

    /// Whether it must be explained to whom it happens.
    pub fn needs_note(self) -> bool {
        self == Reason::Unfair
    }
}

/// A booking that an organiser gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Because {
    /// Why.
    pub reason: Reason,
    /// In the organiser's words, to the visitor.
    pub note: String,
    /// Which organiser.
    pub by: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_names_one_reason() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_word(reason.word()), Some(reason));
        }
        assert_eq!(Reason::from_word("because"), None);
        assert!(Reason::ALL.iter().all(|r| !(r.is_ours() && r.needs_note())));
    }
}
