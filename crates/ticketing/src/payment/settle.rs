//! What to do about a payment intent that was not finished: the rule by which no charge is forgotten.
//!
//! An intent is written down before money moves, and is safe at both sites before the provider is asked. So after a
//! crash, a lost answer or a failover whoever serves then finds it, asks the provider what became of it, and either
//! finishes the booking or gives the money back. This is decided here, from what the provider says and what the seats
//! say; it is carried out by the same steps as a payment, all of which bear being repeated.

use super::{Capture, Fate};

/// An intent's state, as its row says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntentState {
    /// The provider may have been asked.
    Open,
    /// A booking was made with it.
    Booked,
    /// The money is to be given back, or was; giving back bears repetition.
    Refunding,
    /// Nothing was taken, or all was given back.
    Closed,
}

impl IntentState {
    /// Its word in the database.
    pub fn word(self) -> &'static str {
        match self {
            IntentState::Open => "open",
            IntentState::Booked => "booked",
            IntentState::Refunding => "refunding",
            IntentState::Closed => "closed",
        }
    }

    /// The state with this word.
    pub fn from_word(word: &str) -> Option<IntentState> {
        [IntentState::Open, IntentState::Booked, IntentState::Refunding, IntentState::Closed]
            .into_iter()
            .find(|state| state.word() == word)
    }
}

/// What is known of the hold that the money was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldFate {
    /// It waits for its payment, or has lapsed and its seats are still there for it.
    Held,
    /// This very intent's booking exists.
    Booked,
    /// Its seats are gone.
    Gone,
}

/// What comes next for an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Somebody may be at it, or the provider is: look again later.
    Wait,
    /// Make the booking with this capture.
    Book(Capture),
    /// Give this back, then close.
    Refund(Capture),
    /// Write down that it is booked.
    MarkBooked,
    /// Write down that nothing was taken.
    Close,
}

/// A payment under way is left to whoever began it for so long: longer than everything that they may wait for.
pub const PATIENCE_MS: u64 = 90_000;

/// Decides an intent of `age_ms`. `fate` is what the provider says; none if it did not answer.
pub fn next(state: IntentState, age_ms: u64, hold: HoldFate, fate: Option<&Fate>) -> Next {
    match (state, hold) {
        (IntentState::Booked | IntentState::Closed, _) => return Next::Wait,
        // The booking is the proof; the intent's word was lost on the way.
        (IntentState::Open, HoldFate::Booked) => return Next::MarkBooked,
        (IntentState::Open, _) if age_ms < PATIENCE_MS => return Next::Wait,
        _ => {}
    }
    match (state, hold, fate) {
        (_, _, None | Some(Fate::Pending)) => Next::Wait,
        (_, _, Some(Fate::Never)) => Next::Close,
        (IntentState::Refunding, _, Some(Fate::Captured(capture))) => Next::Refund(capture.clone()),
        (_, HoldFate::Held, Some(Fate::Captured(capture))) => Next::Book(capture.clone()),
        (_, _, Some(Fate::Captured(capture))) => Next::Refund(capture.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination: charged ends as booked or refunded, never as both, never as neither.
    #[test]
    fn charged_is_booked_or_given_back_in_every_case() {
        let capture = Capture { reference: "r".into() };
        let fates = [None, Some(Fate::Pending), Some(Fate::Never), Some(Fate::Captured(capture.clone()))];
        for hold in [HoldFate::Held, HoldFate::Booked, HoldFate::Gone] {
            for fate in &fates {
                for state in [IntentState::Open, IntentState::Refunding] {
                    let step = next(state, PATIENCE_MS, hold, fate.as_ref());
                    let captured = matches!(fate, Some(Fate::Captured(_)));
                    match &step {
                        Next::Close => assert_eq!(*fate, Some(Fate::Never)),
                        Next::Book(c) => assert!(
                            captured && *c == capture && hold == HoldFate::Held && state == IntentState::Open
                        ),
                        Next::Refund(_) => {
                            assert!(captured && (hold == HoldFate::Gone || state == IntentState::Refunding));
                        }
                        Next::MarkBooked => assert_eq!((hold, state), (HoldFate::Booked, IntentState::Open)),
                        Next::Wait => assert!(!captured && *fate != Some(Fate::Never)),
                    }
                }
            }
        }
    }

    #[test]
    fn whoever_began_a_payment_is_not_disturbed() {
        let taken = Fate::Captured(Capture { reference: "r".into() });
        assert_eq!(next(IntentState::Open, PATIENCE_MS - 1, HoldFate::Held, Some(&taken)), Next::Wait);
        assert_eq!(next(IntentState::Booked, u64::MAX, HoldFate::Gone, Some(&taken)), Next::Wait);
    }
}
