//! Decides a batch of requests, for whichever performances.
//!
//! Give it the requests in the order of their arrival, every claim and booking that matters to any of them, and the
//! time. Each is decided as if it were alone, over what the database showed and what those before it in the batch
//! will have written. So two requests for one seat in a batch have a winner and a loser, and the loser costs nothing.
//!
//! Always true here: the plan as a whole breaks no key that a single request's plan would not break; a request that
//! is refused leaves no trace in it.

use std::collections::{HashMap, HashSet};

use crate::{
    booking::{
        Claim, ClaimState, Due, Hold, HoldDecision, HoldRefusal, NewClaim, PayRefusal, Wish, plan_hold,
        plan_pay,
    },
    ids::{HoldId, IdempotencyKey},
    store::{Booked, NewBooking},
};

/// Something that a visitor asks of the inventory.
#[derive(Clone, Debug)]
pub enum Request {
    /// Hold these seats.
    Hold(Wish),
    /// Say what is due for a hold, or which booking this key made before. Writes nothing.
    Price {
        /// Who wants to pay.
        account: u64,
        /// What.
        hold: HoldId,
        /// The key that the payment will have.
        key: IdempotencyKey,
    },
    /// Sell a hold whose money is taken.
    Sell(NewBooking),
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The seats are held, now or since the same request came first.
    Held(Hold),
    /// They are not.
    HoldRefused(HoldRefusal),
    /// This is to be paid.
    Due(Due),
    /// Sold.
    Sold(Booked),
    /// The same key sold it before.
    SoldBefore(Booked),
    /// Not sold, nor to be: money that was taken for it must go back.
    SaleRefused(PayRefusal),
}

/// Claims to be inserted for one hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHold {
    /// Of which performance.
    pub performance: u32,
    /// Whose.
    pub account: u64,
    /// Its name.
    pub hold: HoldId,
    /// Its seats.
    pub claims: Vec<NewClaim>,
    /// Until when.
    pub held_until_ms: u64,
}

/// Everything that one transaction writes.
#[derive(Clone, Debug, Default)]
pub struct Write {
    /// Seats of performances whose expired claims go first.
    pub expired: Vec<Place>,
    /// Holds to insert.
    pub holds: Vec<NewHold>,
    /// Holds to sell.
    pub sales: Vec<NewBooking>,
}

impl Write {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.holds.is_empty() && self.sales.is_empty()
    }
}

/// A decided batch: what to write, and what each request is told once it is written.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// To be written together or not at all.
    pub write: Write,
    /// One an entry of the batch, in its order.
    pub outcomes: Vec<Outcome>,
}

/// A seat of a performance: the key of its claim.
pub type Place = (u32, String);

/// What the database showed, kept up to date while the batch is decided.
#[derive(Default)]
struct Shelf {
    claims: HashMap<Place, Claim>,
    of_account: HashMap<(u32, u64), HashSet<String>>,
    of_hold: HashMap<HoldId, HashSet<Place>>,
    bookings: HashMap<(u64, String), Booked>,
}

impl Shelf {
    fn new(claims: Vec<Claim>, bookings: Vec<(String, Booked)>) -> Shelf {
        let bookings = bookings.into_iter().map(|(key, b)| ((b.account, key), b)).collect();
        let mut shelf = Shelf { bookings, ..Shelf::default() };
        for claim in claims {
            shelf.put(claim);
        }
        shelf
    }

    fn put(&mut self, claim: Claim) {
        let place = (claim.performance, claim.seat.clone());
        if let Some(account) = claim.account {
            self.of_account.entry((claim.performance, account)).or_default().insert(claim.seat.clone());
        }
        if let Some(hold) = &claim.hold {
            self.of_hold.entry(hold.clone()).or_default().insert(place.clone());
        }
        self.claims.insert(place, claim);
    }

    fn take(&mut self, place: &Place) {
        let Some(claim) = self.claims.remove(place) else { return };
        let of_account = claim.account.and_then(|account| self.of_account.get_mut(&(place.0, account)));
        if let Some(seats) = of_account {
            seats.remove(&place.1);
        }
        if let Some(places) = claim.hold.and_then(|hold| self.of_hold.get_mut(&hold)) {
            places.remove(place);
        }
    }

    /// What matters to a wish: claims on its seats, and of its account.
    fn for_wish(&self, wish: &Wish) -> Vec<Claim> {
        let own = self.of_account.get(&(wish.performance, wish.account)).into_iter().flatten();
        let wished = wish.seats.iter().map(|(seat, _)| seat);
        let seats: HashSet<&String> = own.chain(wished).collect();
        let places = seats.into_iter().map(|seat| (wish.performance, seat.clone()));
        places.filter_map(|place| self.claims.get(&place)).cloned().collect()
    }

    /// The claims of a hold, by seat.
    fn of_hold(&self, hold: &HoldId) -> Vec<Claim> {
        let places = self.of_hold.get(hold).into_iter().flatten();
        let mut claims: Vec<Claim> = places.filter_map(|place| self.claims.get(place)).cloned().collect();
        claims.sort_by(|a, b| a.seat.cmp(&b.seat));
        claims
    }

    fn booking(&self, account: u64, key: &IdempotencyKey) -> Option<&Booked> {
        self.bookings.get(&(account, key.as_str().to_owned()))
    }
}

/// Decides `requests`, given every claim on a wished seat, of a wishing account and of a hold to be priced or sold, and
/// every booking, with its key, that one of the payments may be a repetition of.
pub fn decide(
    requests: &[Request],
    claims: Vec<Claim>,
    bookings: Vec<(String, Booked)>,
    now_ms: u64,
) -> Plan {
    let mut shelf = Shelf::new(claims, bookings);
    let mut plan = Plan::default();
    for request in requests {
        let outcome = match request {
            Request::Hold(wish) => hold(wish, &mut shelf, &mut plan.write, now_ms),
            Request::Price { account, hold, key } => match shelf.booking(*account, key) {
                Some(booked) => Outcome::SoldBefore(booked.clone()),
                None => plan_pay(*account, &shelf.of_hold(hold), now_ms)
                    .map_or_else(Outcome::SaleRefused, Outcome::Due),
            },
            Request::Sell(new) => sell(new, &mut shelf, &mut plan.write, now_ms),
        };
        plan.outcomes.push(outcome);
    }
    // Everybody takes locks in one order.
    plan.write.expired.sort_unstable();
    plan.write.expired.dedup();
    plan
}

fn hold(wish: &Wish, shelf: &mut Shelf, write: &mut Write, now_ms: u64) -> Outcome {
    let planned = match plan_hold(wish, &shelf.for_wish(wish), now_ms) {
        HoldDecision::Write(planned) => planned,
        HoldDecision::Done(hold) => return Outcome::Held(hold),
        HoldDecision::Refuse(why) => return Outcome::HoldRefused(why),
    };
    for seat in planned.expired {
        let place = (wish.performance, seat);
        shelf.take(&place);
        write.expired.push(place);
    }
    for claim in &planned.claims {
        shelf.put(Claim {
            performance: wish.performance,
            seat: claim.seat.clone(),
            account: Some(wish.account),
            slot: Some(claim.slot),
            state: ClaimState::Held,
            hold: Some(wish.hold.clone()),
            held_until_ms: Some(planned.held_until_ms),
            price_won: claim.price_won,
        });
    }
    write.holds.push(NewHold {
        performance: wish.performance,
        account: wish.account,
        hold: wish.hold.clone(),
        claims: planned.claims,
        held_until_ms: planned.held_until_ms,
    });
    Outcome::Held(Hold {
        id: wish.hold.clone(),
        seats: wish.seats.iter().map(|(seat, _)| seat.clone()).collect(),
        amount_won: wish.seats.iter().map(|(_, price)| u64::from(*price)).sum(),
        held_until_ms: planned.held_until_ms,
    })
}

fn sell(new: &NewBooking, shelf: &mut Shelf, write: &mut Write, now_ms: u64) -> Outcome {
    if let Some(booked) = shelf.booking(new.account, &new.key) {
        return Outcome::SoldBefore(booked.clone());
    }
    let claims = shelf.of_hold(&new.hold);
    let due = match plan_pay(new.account, &claims, now_ms) {
        Ok(due) => due,
        Err(why) => return Outcome::SaleRefused(why),
    };
    // What was charged is what these seats cost: a hold never changes, so this says that it was another one.
    if due.amount_won != new.amount_won || due.seats.len() != new.seat_count {
        return Outcome::SaleRefused(PayRefusal::HoldExpired);
    }
    for claim in claims {
        shelf.put(Claim { state: ClaimState::Sold, held_until_ms: None, ..claim });
    }
    let booked = Booked {
        no: new.no.clone(),
        account: new.account,
        performance: new.performance,
        seats: due.seats,
        amount_won: new.amount_won,
        created_at_ms: now_ms,
        cancelled: None,
    };
    shelf.bookings.insert((new.account, new.key.as_str().to_owned()), booked.clone());
    write.sales.push(new.clone());
    Outcome::Sold(booked)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        booking::HOLD_MS,
        ids::{BookingNo, IdempotencyKey},
    };

    const NOW: u64 = 1_800_000_000_000;

    fn hold_id(account: u64, key: &str) -> HoldId {
        HoldId::of_request(b"test", account, 7, key)
    }

    fn wish(account: u64, key: &str, seats: &[&str]) -> Request {
        let seats = seats.iter().map(|s| ((*s).to_owned(), 10_000)).collect();
        Request::Hold(Wish { account, performance: 7, hold: hold_id(account, key), seats, limit: 4 })
    }

    fn held(account: u64, key: &str, seats: &[&str], until: u64) -> Vec<Claim> {
        (1u8..)
            .zip(seats)
            .map(|(slot, seat)| Claim {
                performance: 7,
                seat: (*seat).to_owned(),
                account: Some(account),
                slot: Some(slot),
                state: ClaimState::Held,
                hold: Some(hold_id(account, key)),
                held_until_ms: Some(until),
                price_won: 10_000,
            })
            .collect()
    }

    fn sale(account: u64, hold: &str, key: &str, seats: usize) -> Request {
        Request::Sell(NewBooking {
            id: 1,
            payment_id: 2,
            no: BookingNo::draw(),
            account,
            performance: 7,
            hold: hold_id(account, hold),
            key: IdempotencyKey::parse(key).unwrap(),
            seat_count: seats,
            amount_won: 10_000 * u64::try_from(seats).unwrap(),
            provider: "test",
            provider_ref: key.into(),
        })
    }

    #[test]
    fn of_two_who_want_one_seat_in_a_batch_the_first_gets_it() {
        let plan = decide(
            &[wish(1, "a", &["F-1-1", "F-1-2"]), wish(2, "a", &["F-1-2"]), wish(3, "a", &["F-1-3"])],
            vec![],
            vec![],
            NOW,
        );
        assert!(matches!(&plan.outcomes[0], Outcome::Held(h) if h.seats == ["F-1-1", "F-1-2"]));
        assert_eq!(plan.outcomes[1], Outcome::HoldRefused(HoldRefusal::SeatTaken(vec!["F-1-2".into()])));
        assert!(matches!(&plan.outcomes[2], Outcome::Held(_)));
        assert_eq!(plan.write.holds.len(), 2);
    }

    #[test]
    fn one_account_in_many_windows_stays_within_its_limit() {
        let asks: Vec<Request> = (1..=6).map(|n| wish(1, &format!("k{n}"), &[&format!("F-1-{n}")])).collect();
        let plan = decide(&asks, vec![], vec![], NOW);
        let slots: Vec<u8> = plan.write.holds.iter().flat_map(|h| &h.claims).map(|c| c.slot).collect();
        assert_eq!(slots, [1, 2, 3, 4]);
        for refused in &plan.outcomes[4..] {
            assert_eq!(*refused, Outcome::HoldRefused(HoldRefusal::LimitReached { limit: 4, have: 4 }));
        }
    }

    #[test]
    fn the_same_request_twice_in_a_batch_is_one_hold() {
        let plan = decide(&[wish(1, "a", &["F-1-1"]), wish(1, "a", &["F-1-1"])], vec![], vec![], NOW);
        assert_eq!(plan.outcomes[0], plan.outcomes[1]);
        assert_eq!(plan.write.holds.len(), 1);
    }

    #[test]
    fn an_expired_claim_goes_and_the_seat_is_held_anew() {
        let claims = held(9, "old", &["F-1-1", "F-1-2"], NOW);
        let plan = decide(&[wish(1, "a", &["F-1-1"]), wish(2, "a", &["F-1-1"])], claims, vec![], NOW);
        assert_eq!(plan.write.expired, [(7, "F-1-1".to_owned())]);
        assert!(matches!(&plan.outcomes[0], Outcome::Held(h) if h.held_until_ms == NOW + HOLD_MS));
        assert!(matches!(&plan.outcomes[1], Outcome::HoldRefused(HoldRefusal::SeatTaken(_))));
    }

    #[test]
    fn a_hold_is_sold_once_whatever_keys_ask_for_it() {
        let claims = held(1, "h", &["F-1-1", "F-1-2"], NOW + 5);
        let asks = [sale(1, "h", "k", 2), sale(1, "h", "k", 2), sale(1, "h", "other", 2)];
        let plan = decide(&asks, claims.clone(), vec![], NOW);
        let Outcome::Sold(booked) = &plan.outcomes[0] else { panic!("{:?}", plan.outcomes) };
        assert_eq!(booked.seats, ["F-1-1", "F-1-2"]);
        assert_eq!(plan.outcomes[1], Outcome::SoldBefore(booked.clone()));
        assert_eq!(plan.outcomes[2], Outcome::SaleRefused(PayRefusal::AlreadyBooked));
        assert_eq!(plan.write.sales.len(), 1);

        // Asked again after an answer was lost: the booking is found by its key.
        let again = decide(&asks[..1], vec![], vec![("k".into(), booked.clone())], NOW + 60_000);
        assert_eq!(again.outcomes, [Outcome::SoldBefore(booked.clone())]);
        assert!(again.write.is_empty());

        let late = decide(&asks[..1], claims.clone(), vec![], NOW + 5);
        assert_eq!(late.outcomes, [Outcome::SaleRefused(PayRefusal::HoldExpired)]);
        // A part of a hold, or another amount than was charged, is not sold.
        let part = decide(&asks[..1], claims[..1].to_vec(), vec![], NOW);
        assert_eq!(part.outcomes, [Outcome::SaleRefused(PayRefusal::HoldExpired)]);
    }

    #[test]
    fn a_seat_sold_in_a_batch_is_taken_for_those_behind() {
        let claims = held(1, "h", &["F-1-1"], NOW + 5);
        let plan = decide(&[sale(1, "h", "k", 1), wish(2, "a", &["F-1-1"])], claims, vec![], NOW);
        assert!(matches!(plan.outcomes[0], Outcome::Sold(_)));
        assert!(matches!(&plan.outcomes[1], Outcome::HoldRefused(HoldRefusal::SeatTaken(_))));
    }

    #[test]
    fn performances_in_one_batch_share_nothing() {
        let of = |performance, request| match request {
            Request::Hold(wish) => Request::Hold(Wish { performance, ..wish }),
            other => other,
        };
        let asks = [7, 8].map(|p| of(p, wish(1, &p.to_string(), &["F-1-1"])));
        let expired = held(9, "old", &["F-1-1"], NOW);
        let plan = decide(&asks, expired, vec![], NOW);
        assert!(plan.outcomes.iter().all(|o| matches!(o, Outcome::Held(_))), "{:?}", plan.outcomes);
        assert_eq!(plan.write.expired, [(7, "F-1-1".to_owned())]);
        let slots: Vec<(u32, u8)> =
            plan.write.holds.iter().map(|h| (h.performance, h.claims[0].slot)).collect();
        assert_eq!(slots, [(7, 1), (8, 1)]);
    }

    #[test]
    fn what_is_due_is_said_without_writing() {
        let claims = held(1, "h", &["F-1-1", "F-1-2"], NOW + 5);
        let price = |account| Request::Price {
            account,
            hold: hold_id(1, "h"),
            key: IdempotencyKey::parse("k").unwrap(),
        };
        let plan = decide(&[price(1), price(2), sale(1, "h", "k", 2), price(1)], claims, vec![], NOW);
        let seats = vec!["F-1-1".to_owned(), "F-1-2".to_owned()];
        assert_eq!(plan.outcomes[0], Outcome::Due(Due { performance: 7, seats, amount_won: 20_000 }));
        assert_eq!(plan.outcomes[1], Outcome::SaleRefused(PayRefusal::HoldExpired));
        // Sold by one before it in the same batch, with the same key: that booking is the answer.
        assert!(matches!(plan.outcomes[3], Outcome::SoldBefore(_)));
        assert_eq!(plan.write.sales.len(), 1);
        assert!(decide(&[price(1)], vec![], vec![], NOW).write.is_empty());
    }

    proptest! {
        #[test]
        fn whatever_is_asked_together_breaks_no_key(
            asks in proptest::collection::vec((1u64..5, proptest::collection::btree_set(1u8..12, 1..4)), 1..40),
            old in proptest::collection::btree_map(1u8..12, (1u64..5, 0u64..3), 0..12),
        ) {
            let mut slots = HashMap::new();
            let claims: Vec<Claim> = old
                .into_iter()
                .filter_map(|(seat, (account, until))| {
                    let slot = slots.entry(account).or_insert(0u8);
                    *slot += 1;
                    (*slot <= 4).then(|| Claim {
                        slot: Some(*slot),
                        ..held(account, "old", &[&format!("F-1-{seat}")], NOW + until - 1).remove(0)
                    })
                })
                .collect();
            let requests: Vec<Request> = asks
                .iter()
                .enumerate()
                .map(|(i, (account, seats))| {
                    let names: Vec<String> = seats.iter().map(|s| format!("F-1-{s}")).collect();
                    wish(*account, &i.to_string(), &names.iter().map(String::as_str).collect::<Vec<_>>())
                })
                .collect();
            let plan = decide(&requests, claims.clone(), vec![], NOW);
            prop_assert_eq!(plan.outcomes.len(), requests.len());
            // Apply it as the database would: its keys must bear it.
            let left = claims.into_iter().filter(|c| !plan.write.expired.contains(&(7, c.seat.clone())));
            let (mut seats, mut places) = (HashSet::new(), HashSet::new());
            for claim in left {
                prop_assert!(seats.insert(claim.seat.clone()) && places.insert((claim.account.unwrap(), claim.slot.unwrap())));
            }
            for hold in &plan.write.holds {
                for claim in &hold.claims {
                    prop_assert!(seats.insert(claim.seat.clone()), "a seat twice");
                    prop_assert!(places.insert((hold.account, claim.slot)), "a slot twice");
                    prop_assert!((1..=4).contains(&claim.slot));
                }
            }
            let winners = plan.outcomes.iter().filter(|o| matches!(o, Outcome::Held(_))).count();
            prop_assert_eq!(winners, plan.write.holds.len());
        }
    }
}
