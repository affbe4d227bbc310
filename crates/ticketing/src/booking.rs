//! What may be held, for how long, and what a booking costs: the rules, as pure functions.
//!
//! Give a request, the claims that the database showed and the time; get back what to write, or why not. What was
//! read may be out of date when it is written; then a unique key refuses, and the caller reads and asks again. So
//! these rules make refusals kind and exact, and the keys make them certain.
//!
//! Always true here: a plan never gives an account two claims of one slot, never a slot beyond the limit, never
//! touches a claim that still lives. This module reads no clock and knows no SQL.

use crate::ids::HoldId;

/// How long a chosen seat waits for its payment.
pub const HOLD_MS: u64 = 7 * 60 * 1000;

/// What a claim says about its seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// Chosen, not paid; until its deadline.
    Held,
    /// Paid.
    Sold,
    /// Kept back by the house.
    Blocked,
}

/// One row of `seat_claims`. A seat without a claim is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Of which performance.
    pub performance: u32,
    /// Which seat.
    pub seat: String,
    /// Whose; none when blocked.
    pub account: Option<u64>,
    /// Which of the account's places at this performance, from 1.
    pub slot: Option<u8>,
    /// Held, sold or blocked.
    pub state: ClaimState,
    /// The hold that it came from.
    pub hold: Option<HoldId>,
    /// Until when it is held, or kept back.
    pub held_until_ms: Option<u64>,
    /// What it costs.
    pub price_won: u32,
}

impl Claim {
    /// Whether the seat is kept from others. A hold is over at its deadline, whether or not its row is still there.
    pub fn lives(&self, now_ms: u64) -> bool {
        match self.state {
            ClaimState::Sold => true,
            // A cancelled seat is kept back until the moment of its release.
            ClaimState::Blocked => self.held_until_ms.is_none_or(|until| until > now_ms),
            ClaimState::Held => self.held_until_ms.is_some_and(|until| until > now_ms),
        }
    }
}

/// Seats that a visitor asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Who asks.
    pub account: u64,
    /// For which performance.
    pub performance: u32,
    /// The name that the hold will have.
    pub hold: HoldId,
    /// Seats with their prices, each once.
    pub seats: Vec<(String, u32)>,
    /// How many seats an account may have at this performance.
    pub limit: u8,
}

/// A claim to be inserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClaim {
    /// Which seat.
    pub seat: String,
    /// Which of the account's places.
    pub slot: u8,
    /// What it costs.
    pub price_won: u32,
}

/// What to write so that a wish comes true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldPlan {
    /// Seats whose expired claims must go first.
    pub expired: Vec<String>,
    /// The claims to insert.
    pub claims: Vec<NewClaim>,
    /// Their common deadline.
    pub held_until_ms: u64,
}

/// Seats held together, as told to the visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its name.
    pub id: HoldId,
    /// Which seats.
    pub seats: Vec<String>,
    /// What they cost together.
    pub amount_won: u64,
    /// Until when.
    pub held_until_ms: u64,
}

/// Why seats cannot be held: the visitor's to know, not an error of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldRefusal {
    /// Others (or an earlier hold of the same visitor) have these.
    SeatTaken(Vec<String>),
    /// The account would have more than it may.
    LimitReached {
        /// How many it may have.
        limit: u8,
        /// How many it has already.
        have: u8,
    },
    /// This very hold was paid already.
    AlreadyBooked,
}

/// What becomes of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldDecision {
    /// Write this.
    Write(HoldPlan),
    /// It came true when it was asked for the first time.
    Done(Hold),
    /// No.
    Refuse(HoldRefusal),
}

/// Decides a wish, given every claim on the wished seats and every claim of this account at this performance.
pub fn plan_hold(wish: &Wish, seen: &[Claim], now_ms: u64) -> HoldDecision {
    let same: Vec<&Claim> =
        seen.iter().filter(|c| c.hold.as_ref() == Some(&wish.hold) && c.lives(now_ms)).collect();
    if !same.is_empty() {
        if same.iter().any(|c| c.state == ClaimState::Sold) {
            return HoldDecision::Refuse(HoldRefusal::AlreadyBooked);
        }
        if wish.seats.len() == same.len() && wish.seats.iter().all(|(s, _)| same.iter().any(|c| c.seat == *s))
        {
            return HoldDecision::Done(Hold {
                id: wish.hold.clone(),
                seats: wish.seats.iter().map(|(s, _)| s.clone()).collect(),
                amount_won: same.iter().map(|c| u64::from(c.price_won)).sum(),
                held_until_ms: same.iter().filter_map(|c| c.held_until_ms).min().unwrap_or(now_ms),
            });
        }
    }

    let taken: Vec<String> = wish
        .seats
        .iter()
        .filter(|(seat, _)| seen.iter().any(|c| c.seat == *seat && c.lives(now_ms)))
        .map(|(seat, _)| seat.clone())
        .collect();
    if !taken.is_empty() {
        return HoldDecision::Refuse(HoldRefusal::SeatTaken(taken));
    }

    let mine = |c: &&Claim| c.account == Some(wish.account) && c.lives(now_ms);
    let used: Vec<u8> = seen.iter().filter(mine).filter_map(|c| c.slot).collect();
    let mut free = (1..=wish.limit).filter(|slot| !used.contains(slot));
    let mut claims = Vec::with_capacity(wish.seats.len());
    for (seat, price_won) in &wish.seats {
        let Some(slot) = free.next() else {
            let have = u8::try_from(used.len()).unwrap_or(u8::MAX);
            return HoldDecision::Refuse(HoldRefusal::LimitReached { limit: wish.limit, have });
        };
        claims.push(NewClaim { seat: seat.clone(), slot, price_won: *price_won });
    }

    let mut expired: Vec<String> = seen.iter().filter(|c| !c.lives(now_ms)).map(|c| c.seat.clone()).collect();
    expired.sort();
    expired.dedup();
    // Everybody takes locks in one order, so that two wishes for the same seats wait instead of deadlocking.
    claims.sort_by(|a, b| a.seat.cmp(&b.seat));
    HoldDecision::Write(HoldPlan { expired, claims, held_until_ms: now_ms + HOLD_MS })
}

/// What a hold costs when it is paid now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Of which performance.
    pub performance: u32,
    /// Which seats.
    pub seats: Vec<String>,
    /// What they cost together.
    pub amount_won: u64,
}

/// Why a hold cannot be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayRefusal {
    /// Its time ran out, or it never was.
    HoldExpired,
    /// It was paid, with another key.
    AlreadyBooked,
}

/// Decides whether `account` may pay a hold now, given the claims that bear its name.
pub fn plan_pay(account: u64, claims: &[Claim], now_ms: u64) -> Result<Due, PayRefusal> {
    let first = claims.first().ok_or(PayRefusal::HoldExpired)?;
    if claims.iter().any(|c| c.account != Some(account)) {
        return Err(PayRefusal::HoldExpired);
    }
    if claims.iter().any(|c| c.state == ClaimState::Sold) {
        return Err(PayRefusal::AlreadyBooked);
    }
    if !claims.iter().all(|c| c.lives(now_ms)) {
        return Err(PayRefusal::HoldExpired);
    }
    Ok(Due {
        performance: first.performance,
        seats: claims.iter().map(|c| c.seat.clone()).collect(),
        amount_won: claims.iter().map(|c| u64::from(c.price_won)).sum(),
    })
}

/// Where a performance stands in its sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaleState {
    /// Opens later.
    NotYet,
    /// Tickets can be bought.
    Open,
    /// It has begun.
    Over,
}

impl SaleState {
    /// Its word in the API.
    pub fn word(self) -> &'static str {
        match self {
            SaleState::NotYet => "not_yet",
            SaleState::Open => "open",
            SaleState::Over => "over",
        }
    }
}

/// Where a performance stands at `now_ms`.
pub fn sale_state(sale_opens_at_ms: u64, starts_at_ms: u64, now_ms: u64) -> SaleState {
    if now_ms >= starts_at_ms {
        SaleState::Over
    } else if now_ms >= sale_opens_at_ms {
        SaleState::Open
    } else {
        SaleState::NotYet
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn claim(seat: &str, account: u64, slot: u8, state: ClaimState, until: Option<u64>) -> Claim {
        let hold = Some(HoldId::of_request(b"test", account, 1, "earlier"));
        Claim {
            performance: 7,
            seat: seat.into(),
            account: Some(account),
            slot: Some(slot),
            state,
            hold,
            held_until_ms: until,
            price_won: 10_000,
        }
    }

    fn wish(seats: &[&str], limit: u8) -> Wish {
        let seats = seats.iter().map(|s| ((*s).to_owned(), 10_000)).collect();
        Wish { account: 1, performance: 7, hold: HoldId::of_request(b"test", 1, 1, "now"), seats, limit }
    }

    fn refusal(wish: &Wish, seen: &[Claim]) -> HoldRefusal {
        match plan_hold(wish, seen, NOW) {
            HoldDecision::Refuse(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sold_seat_is_named() {
        let seen = [claim("A-1-2", 2, 1, ClaimState::Sold, None)];
        assert_eq!(
            refusal(&wish(&["A-1-1", "A-1-2"], 4), &seen),
            HoldRefusal::SeatTaken(vec!["A-1-2".into()])
        );
    }

    #[test]
    fn a_hold_is_over_at_its_deadline_to_the_millisecond() {
        let at = |until| [claim("A-1-1", 2, 1, ClaimState::Held, Some(until))];
        assert!(matches!(refusal(&wish(&["A-1-1"], 4), &at(NOW + 1)), HoldRefusal::SeatTaken(_)));
        let HoldDecision::Write(plan) = plan_hold(&wish(&["A-1-1"], 4), &at(NOW), NOW) else { panic!() };
        assert_eq!(plan.expired, ["A-1-1"]);
        assert_eq!(plan.held_until_ms, NOW + HOLD_MS);
    }

    #[test]
    fn the_limit_counts_what_is_held_and_what_is_sold() {
        let seen = [
            claim("A-1-1", 1, 1, ClaimState::Sold, None),
            claim("A-1-2", 1, 2, ClaimState::Held, Some(NOW + 5)),
        ];
        assert_eq!(refusal(&wish(&["A-1-3"], 2), &seen), HoldRefusal::LimitReached { limit: 2, have: 2 });
    }

    #[test]
    fn asking_again_gives_the_same_hold_and_never_a_second() {
        let w = wish(&["A-1-1"], 4);
        let mut mine = claim("A-1-1", 1, 1, ClaimState::Held, Some(NOW + 5));
        mine.hold = Some(w.hold.clone());
        assert!(
            matches!(plan_hold(&w, &[mine.clone()], NOW), HoldDecision::Done(h) if h.held_until_ms == NOW + 5)
        );
        mine.state = ClaimState::Sold;
        assert_eq!(refusal(&w, &[mine]), HoldRefusal::AlreadyBooked);
    }

    #[test]
    fn only_the_holder_pays_and_only_in_time() {
        let held = [claim("A-1-1", 1, 1, ClaimState::Held, Some(NOW + 1))];
        assert_eq!(plan_pay(1, &held, NOW).unwrap().amount_won, 10_000);
        assert_eq!(plan_pay(2, &held, NOW), Err(PayRefusal::HoldExpired));
        assert_eq!(plan_pay(1, &held, NOW + 1), Err(PayRefusal::HoldExpired));
        assert_eq!(plan_pay(1, &[], NOW), Err(PayRefusal::HoldExpired));
        let sold = [claim("A-1-1", 1, 1, ClaimState::Sold, None)];
        assert_eq!(plan_pay(1, &sold, NOW), Err(PayRefusal::AlreadyBooked));
    }

    fn any_claims() -> impl Strategy<Value = Vec<Claim>> {
        // At most one claim a seat, as the primary key has it; slots of one account differ, as its key has it.
        proptest::collection::btree_map(0u8..12, (0u64..3, 0u8..3, 0u64..3), 0..12).prop_map(|rows| {
            let mut next = [0u8; 3];
            rows.into_iter()
                .map(|(seat, (account, state, until))| {
                    let n = usize::try_from(account).unwrap();
                    next[n] += 1;
                    let state = [ClaimState::Held, ClaimState::Sold, ClaimState::Held][usize::from(state)];
                    let until = (state == ClaimState::Held).then_some(NOW + until - 1);
                    claim(&format!("A-1-{seat}"), account, next[n], state, until)
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn whatever_was_there_a_plan_breaks_no_key(
            seen in any_claims(),
            seats in proptest::collection::btree_set(0u8..12, 1..5),
            limit in 1u8..5,
        ) {
            let names: Vec<String> = seats.iter().map(|s| format!("A-1-{s}")).collect();
            let w = wish(&names.iter().map(String::as_str).collect::<Vec<_>>(), limit);
            if let HoldDecision::Write(plan) = plan_hold(&w, &seen, NOW) {
                let left: Vec<&Claim> = seen.iter().filter(|c| !plan.expired.contains(&c.seat)).collect();
                prop_assert!(left.iter().all(|c| c.lives(NOW)), "a living claim was deleted or a dead one left");
                prop_assert_eq!(plan.claims.len(), w.seats.len());
                for new in &plan.claims {
                    prop_assert!((1..=limit).contains(&new.slot));
                    prop_assert!(left.iter().all(|c| c.seat != new.seat));
                    prop_assert!(left.iter().all(|c| c.account != Some(1) || c.slot != Some(new.slot)));
                }
                let slots: std::collections::BTreeSet<u8> = plan.claims.iter().map(|c| c.slot).collect();
                prop_assert_eq!(slots.len(), plan.claims.len());
            }
        }
    }
}
