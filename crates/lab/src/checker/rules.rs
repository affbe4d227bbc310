//! The invariants, each a function of the snapshot and the ledger.
//!
//! Always true here: the same facts and ledger give the same findings; no socket, no clock. A rule that finds
//! nothing has looked at every row.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Violation,
    facts::{Booking, Claim, Facts, Payment},
};
use crate::ledger::Acknowledged;

/// What a check came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Numbers of acknowledged bookings that are missing or differ from what was answered.
    pub lost: BTreeSet<String>,
    /// Seats (performance, seat) that were sold more than once, by the database or by what visitors were told.
    pub double_sold: BTreeSet<(u32, String)>,
    /// Everything that was found, in the order of the invariants.
    pub violations: Vec<Violation>,
}

impl Findings {
    fn found(&mut self, invariant: &'static str, what: String) {
        self.violations.push(Violation::new(invariant, what));
    }
}

/// Judges `facts` by themselves and by the `ledger`.
pub fn judge(facts: &Facts, ledger: &[Acknowledged]) -> Findings {
    let index = Index::of(facts);
    let mut findings = Findings::default();
    seats_are_sold_once(facts, ledger, &mut findings);
    acknowledged_bookings_exist(facts, &index, ledger, &mut findings);
    limits_hold(facts, ledger, &mut findings);
    charges_match_bookings(facts, &index, &mut findings);
    booking_numbers_are_unique(facts, ledger, &mut findings);
    seats_add_up(facts, &index, &mut findings);
    money_adds_up(facts, &index, &mut findings);
    findings
}

/// The rows by what refers to them.
struct Index<'a> {
    by_number: HashMap<&'a str, &'a Booking>,
    by_id: HashMap<u64, &'a Booking>,
    claims: HashMap<u64, Vec<&'a Claim>>,
    payments: HashMap<u64, Vec<&'a Payment>>,
}

impl<'a> Index<'a> {
    fn of(facts: &'a Facts) -> Index<'a> {
        let mut claims: HashMap<u64, Vec<&Claim>> = HashMap::new();
        for claim in &facts.claims {
            if let Some(booking) = claim.booking {
                claims.entry(booking).or_default().push(claim);
            }
        }
        let mut payments: HashMap<u64, Vec<&Payment>> = HashMap::new();
        for payment in &facts.payments {
            payments.entry(payment.booking).or_default().push(payment);
        }
        Index {
            by_number: facts.bookings.iter().map(|b| (b.booking_no.as_str(), b)).collect(),
            by_id: facts.bookings.iter().map(|b| (b.id, b)).collect(),
            claims,
            payments,
        }
    }

    fn claims(&self, booking: u64) -> &[&'a Claim] {
        self.claims.get(&booking).map(Vec::as_slice).unwrap_or_default()
    }

    fn payments(&self, booking: u64) -> &[&'a Payment] {
        self.payments.get(&booking).map(Vec::as_slice).unwrap_or_default()
    }
}

/// I1: a seat of a performance is sold at most once: in the database, and among what visitors were told.
fn seats_are_sold_once(facts: &Facts, ledger: &[Acknowledged], findings: &mut Findings) {
    let mut claims: BTreeMap<(u32, &str), Vec<&Claim>> = BTreeMap::new();
    for claim in &facts.claims {
        claims.entry((claim.performance, &claim.seat)).or_default().push(claim);
    }
    for ((performance, seat), claims) in claims.into_iter().filter(|(_, c)| c.len() > 1) {
        findings.double_sold.insert((performance, seat.to_owned()));
        let rows: Vec<_> = claims
            .iter()
            .map(|c| format!("{} account {:?} booking {:?}", c.state, c.account, c.booking))
            .collect();
        findings.found(
            "I1",
            format!("performance {performance} seat {seat} has {} claims: {}", rows.len(), rows.join("; ")),
        );
    }
    let mut told: BTreeMap<(u32, &str), BTreeSet<&str>> = BTreeMap::new();
    for entry in ledger {
        for seat in &entry.seats {
            told.entry((entry.performance, seat)).or_default().insert(&entry.booking_no);
        }
    }
    for ((performance, seat), numbers) in told.into_iter().filter(|(_, n)| n.len() > 1) {
        findings.double_sold.insert((performance, seat.to_owned()));
        let numbers: Vec<_> = numbers.into_iter().collect();
        findings.found(
            "I1",
            format!(
                "performance {performance} seat {seat} was acknowledged as bookings {}",
                numbers.join(" and ")
            ),
        );
    }
}

/// I2: every acknowledged booking exists, equal to what was answered.
fn acknowledged_bookings_exist(
    facts: &Facts,
    index: &Index<'_>,
    ledger: &[Acknowledged],
    findings: &mut Findings,
) {
    for entry in ledger {
        let different = match index.by_number.get(entry.booking_no.as_str()) {
            None => vec!["it is not in the database".to_owned()],
            Some(booking) => differences(facts, index, entry, booking),
        };
        if !different.is_empty() {
            findings.lost.insert(entry.booking_no.clone());
            findings.found(
                "I2",
                format!(
                    "booking {} of {} (performance {}, seats {}, {} won, acknowledged at {} ms by {}): {}",
                    entry.booking_no,
                    entry.account,
                    entry.performance,
                    entry.seats.join(" "),
                    entry.amount_won,
                    entry.acknowledged_at_ms,
                    entry.answered_by,
                    different.join("; ")
                ),
            );
        }
    }
}

fn differences(facts: &Facts, index: &Index<'_>, entry: &Acknowledged, booking: &Booking) -> Vec<String> {
    let mut different = Vec::new();
    let mut hold_equal = |what: &str, told: String, found: String| {
        if told != found {
            different.push(format!("{what} is {found}"));
        }
    };
    let account = facts.accounts.get(&booking.account).map_or("missing", String::as_str);
    hold_equal("its account", entry.account.clone(), account.to_owned());
    hold_equal("its performance", entry.performance.to_string(), booking.performance.to_string());
    hold_equal("its amount", entry.amount_won.to_string(), booking.amount_won.to_string());
    hold_equal("its key", entry.idempotency_key.clone(), booking.idempotency_key.clone());
    hold_equal("its state", "confirmed".into(), booking.state.clone());
    let sold =
        index.claims(booking.id).iter().filter(|c| c.state == "sold" && c.performance == entry.performance);
    let found: BTreeSet<&str> = sold.map(|c| c.seat.as_str()).collect();
    let told: BTreeSet<&str> = entry.seats.iter().map(String::as_str).collect();
    let list = |seats: BTreeSet<&str>| seats.into_iter().collect::<Vec<_>>().join(" ");
    hold_equal("the list of its sold seats", list(told), list(found));
    different
}

/// I4: no account has more seats of a performance than allowed, by the database or by what it was told.
fn limits_hold(facts: &Facts, ledger: &[Acknowledged], findings: &mut Findings) {
    let limit = |performance: u32| facts.performances.get(&performance).map_or(0, |p| p.account_limit);
    let mut claims: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    for claim in &facts.claims {
        if let Some(account) = claim.account {
            *claims.entry((claim.performance, account)).or_default() += 1;
        }
    }
    for ((performance, account), seats) in claims.into_iter().filter(|((p, _), n)| *n > limit(*p)) {
        let allowed = limit(performance);
        let what = format!(
            "account {account} has {seats} seats of performance {performance}, {allowed} are allowed"
        );
        findings.found("I4", what);
    }
    let mut told: BTreeMap<(u32, &str), u64> = BTreeMap::new();
    for entry in ledger {
        *told.entry((entry.performance, &entry.account)).or_default() += entry.seats.len() as u64;
    }
    for ((performance, account), seats) in told.into_iter().filter(|((p, _), n)| *n > limit(*p)) {
        let allowed = limit(performance);
        let what = format!(
            "{account} was acknowledged {seats} seats of performance {performance}, {allowed} are allowed"
        );
        findings.found("I4", what);
    }
}

/// I5: charged ⇔ confirmed or refunded, and once.
fn charges_match_bookings(facts: &Facts, index: &Index<'_>, findings: &mut Findings) {
    for booking in &facts.bookings {
        let payments = index.payments(booking.id);
        let captured = payments.iter().filter(|p| p.state == "captured").count();
        let fits = match booking.state.as_str() {
            "confirmed" => payments.len() == 1 && captured == 1,
            _ => payments.len() == 1 && captured == 0,
        };
        if !fits {
            let states: Vec<_> = payments.iter().map(|p| format!("{} {}", p.id, p.state)).collect();
            let (no, state) = (&booking.booking_no, &booking.state);
            findings
                .found("I5", format!("booking {no} is {state} and its payments are [{}]", states.join(", ")));
        }
    }
    for payment in facts.payments.iter().filter(|p| !index.by_id.contains_key(&p.booking)) {
        let (id, booking) = (payment.id, payment.booking);
        findings.found("I5", format!("payment {id} is for booking id {booking}, which does not exist"));
    }
}

/// I8: a booking number names one booking, in the database and in the ledger.
fn booking_numbers_are_unique(facts: &Facts, ledger: &[Acknowledged], findings: &mut Findings) {
    let mut rows: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for booking in &facts.bookings {
        rows.entry(&booking.booking_no).or_default().push(booking.id);
    }
    for (no, ids) in rows.into_iter().filter(|(_, ids)| ids.len() > 1) {
        findings.found("I8", format!("booking number {no} is on the bookings with ids {ids:?}"));
    }
    let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in ledger {
        told.entry(&entry.booking_no).or_default().push(&entry.idempotency_key);
    }
    for (no, keys) in told.into_iter().filter(|(_, keys)| keys.len() > 1) {
        findings
            .found("I8", format!("booking number {no} was acknowledged to the keys {}", keys.join(" and ")));
    }
}

/// I10 and I7, seats: claims fit into the hall, and sold claims and confirmed bookings are each other's.
fn seats_add_up(facts: &Facts, index: &Index<'_>, findings: &mut Findings) {
    let mut taken: BTreeMap<u32, u64> = BTreeMap::new();
    for claim in &facts.claims {
        *taken.entry(claim.performance).or_default() += 1;
        let booking = claim.booking.and_then(|id| index.by_id.get(&id));
        let wrong = match (claim.state.as_str(), booking) {
            ("sold", Some(b)) if b.state != "confirmed" => {
                Some(format!("sold, and its booking {} is {}", b.booking_no, b.state))
            }
            ("sold", Some(b)) if Some(b.account) != claim.account || b.performance != claim.performance => {
                let (no, account, performance) = (&b.booking_no, b.account, b.performance);
                let owner = claim.account;
                Some(format!(
                    "sold to {owner:?} by booking {no} of account {account}, performance {performance}"
                ))
            }
            ("sold", None) => Some(format!("sold, and its booking {:?} does not exist", claim.booking)),
            ("held", _) if claim.booking.is_some() => {
                Some(format!("held, and booked by {:?}", claim.booking))
            }
            ("held", _) if claim.account.is_none() => Some("held by nobody".to_owned()),
            _ => None,
        };
        if let Some(wrong) = wrong {
            let (performance, seat) = (claim.performance, &claim.seat);
            findings.found("I10", format!("performance {performance} seat {seat} is {wrong}"));
        }
    }
    for (performance, seats) in taken {
        let capacity = facts.performances.get(&performance).map_or(0, |p| p.capacity);
        if seats > capacity {
            let what =
                format!("performance {performance}: held + sold + blocked = {seats} of {capacity} seats");
            findings.found("I10", what);
        }
    }
    for booking in facts.bookings.iter().filter(|b| b.state == "confirmed") {
        let seats = index.claims(booking.id).len() as u64;
        if seats != booking.seat_count {
            let (no, count) = (&booking.booking_no, booking.seat_count);
            findings.found("I7", format!("booking {no} is confirmed for {count} seats and holds {seats}"));
        }
    }
}

/// I10, money: a booking's amount = the sum of its seats' prices = what was paid.
fn money_adds_up(facts: &Facts, index: &Index<'_>, findings: &mut Findings) {
    for booking in facts.bookings.iter().filter(|b| b.state == "confirmed") {
        let seats: u64 = index.claims(booking.id).iter().map(|c| c.price_won).sum();
        let paid: u64 = index.payments(booking.id).iter().map(|p| p.amount_won).sum();
        if seats != booking.amount_won || paid != booking.amount_won {
            let (no, amount) = (&booking.booking_no, booking.amount_won);
            findings.found(
                "I10",
                format!("booking {no} cost {amount} won, its seats {seats}, its payments {paid}"),
            );
        }
    }
}
