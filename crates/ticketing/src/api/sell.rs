//! Holding, booking and cancelling for a partner's customers.
//!
//! A customer is whoever the partner says: the same reference is the same person, with the limit of one. What belongs
//! to another partner's customer does not exist here.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer,
    answer::{fresh, page},
    ask::{Asked, At, By, Paging, Sent, idempotency_key, text},
    key::Caller,
    problem::Problem,
};
use crate::{
    booking::Hold,
    calendar::iso,
    catalogue::split_seat,
    desk::{Customer, Desk},
    ids::{BookingNo, HoldId},
    refusal::Refusal,
    store::Booked,
};

/// Seats of one hold.
const SEATS_MAX: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    performance_id: u32,
    customer: Person,
    seats: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    reference: String,
    name: String,
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._:-".contains(c)
}

impl Wish {
    fn check(&self) -> Result<(), Problem> {
        if self.performance_id == 0 {
            return Err(Problem::invalid("performance_id: from 1"));
        }
        text("customer.reference", &self.customer.reference, 64, is_word)?;
        text("customer.name", &self.customer.name, 30, |c| !c.is_control())?;
        if self.customer.name.trim() != self.customer.name {
            return Err(Problem::invalid("customer.name: no space at either end"));
        }
        if !(1..=SEATS_MAX).contains(&self.seats.len()) {
            return Err(Problem::invalid(format!("seats: 1 to {SEATS_MAX} of them")));
        }
        let mut seen = std::collections::BTreeSet::new();
        for seat in &self.seats {
            let named = split_seat(seat).is_some_and(|(section, row, number)| {
                let word = (1..=8).contains(&section.len());
                word && section.chars().all(|c| c.is_ascii_alphanumeric()) && row < 1_000 && number < 1_000
            });
            if !named || !seen.insert(seat) {
                return Err(Problem::invalid("seats: each once, like F3-12-7"));
            }
        }
        Ok(())
    }
}

pub(super) async fn hold(
    State(desk): State<Desk>,
    By(caller): By,
    headers: HeaderMap,
    Sent(wish): Sent<Wish>,
) -> Answer {
    wish.check()?;
    let key = idempotency_key(&headers)?;
    desk.catalogue().await?.event(wish.performance_id).ok_or(Refusal::NoSuch)?;
    let customer = desk.customer(&caller, &wish.customer.reference, &wish.customer.name).await?;
    // A partner's customers wait like everybody: where a waiting room is, its page leads to the seats.
    desk.check_turn(wish.performance_id, customer.account, None).await?;
    let hold = desk.hold(customer.account, wish.performance_id, wish.seats, key.as_ref()).await?;
    let body = hold_json(&hold, wish.performance_id, &customer);
    Ok((StatusCode::CREATED, fresh(body)).into_response())
}

fn hold_json(hold: &Hold, performance: u32, customer: &Customer) -> Value {
    json!({
        "hold_id": hold.id.as_str(),
        "performance_id": performance,
        "customer_reference": customer.reference,
        "seats": hold.seats,
        "amount_won": hold.amount_won,
        "held_until": iso(hold.held_until_ms),
    })
}

pub(super) async fn held(State(desk): State<Desk>, By(caller): By, At(hold): At<String>) -> Answer {
    let id = HoldId::parse(&hold).ok_or(Refusal::NoSuch)?;
    let customer = desk.holder(&caller, &id).await?.ok_or(Refusal::NoSuch)?;
    let open = desk.open_hold(customer.account, &id).await?;
    Ok(fresh(hold_json(&open.hold, open.performance, &customer)))
}

/// Gives seats back. Doing it again, or too late, changes nothing.
pub(super) async fn release(State(desk): State<Desk>, By(caller): By, At(hold): At<String>) -> Answer {
    let id = HoldId::parse(&hold).ok_or(Refusal::NoSuch)?;
    let customer = desk.holder(&caller, &id).await?.ok_or(Refusal::NoSuch)?;
    desk.release(customer.account, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payment {
    hold_id: String,
    payment_method: String,
    /// What the provider gave the customer for this payment, if it works that way.
    payment_token: Option<String>,
}

/// Books a hold. The same key again answers with the same booking and takes no money.
pub(super) async fn book(
    State(desk): State<Desk>,
    By(caller): By,
    headers: HeaderMap,
    Sent(payment): Sent<Payment>,
) -> Answer {
    text("hold_id", &payment.hold_id, 26, |c| c.is_ascii_alphanumeric())?;
    text("payment_method", &payment.payment_method, 32, |c| c.is_ascii_lowercase() || c == '-')?;
    if let Some(token) = &payment.payment_token {
        text("payment_token", token, 300, |c| c.is_ascii_graphic())?;
    }
    let key = idempotency_key(&headers)?.ok_or(Refusal::NoIdempotencyKey)?;
    let id = HoldId::parse(&payment.hold_id).ok_or(Problem::invalid("hold_id: 26 digits and letters"))?;
    let customer = desk.holder(&caller, &id).await?.ok_or(Refusal::NoSuch)?;
    let paid = desk.pay(customer.account, &id, &key, &payment.payment_method, payment.payment_token).await?;
    let status = if paid.repeated { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, fresh(booking_json(&paid.booking, &customer.reference))).into_response())
}

fn booking_json(booking: &Booked, reference: &str) -> Value {
    let cancelled = booking.cancelled.map(|c| json!({ "fee_won": c.fee_won, "refund_won": c.refund_won }));
    json!({
        "booking_no": booking.no.as_str(),
        "performance_id": booking.performance,
        "customer_reference": reference,
        "seats": booking.seats,
        "amount_won": booking.amount_won,
        "state": if cancelled.is_some() { "cancelled" } else { "confirmed" },
        "created_at": iso(booking.created_at_ms),
        "cancellation": cancelled,
    })
}

/// The partner's bookings, newest first.
pub(super) async fn bookings(
    State(desk): State<Desk>,
    By(caller): By,
    Asked(paging): Asked<Paging>,
) -> Answer {
    let (limit, before) = paging.read()?;
    let (list, next) = desk.store.partner_bookings(&caller.partner, before, limit).await?;
    let items = list.iter().map(|(booking, reference)| booking_json(booking, reference)).collect();
    Ok(fresh(page(items, next)))
}

/// A booking's number and whose it is.
async fn of(desk: &Desk, caller: &Caller, no: &str) -> Result<(BookingNo, Customer), Problem> {
    let no = BookingNo::parse(no).ok_or(Refusal::NoSuch)?;
    let customer = desk.store.partner_customer_of(&caller.partner, &no).await?.ok_or(Refusal::NoSuch)?;
    Ok((no, customer))
}

pub(super) async fn booking(State(desk): State<Desk>, By(caller): By, At(no): At<String>) -> Answer {
    let (no, customer) = of(&desk, &caller, &no).await?;
    let booking = desk.store.booking(customer.account, &no).await?.ok_or(Refusal::NoSuch)?;
    Ok(fresh(booking_json(&booking, &customer.reference)))
}

pub(super) async fn tickets(State(desk): State<Desk>, By(caller): By, At(no): At<String>) -> Answer {
    let (no, customer) = of(&desk, &caller, &no).await?;
    let tickets = desk.tickets(customer.account, &no).await?;
    let list: Vec<Value> =
        tickets.into_iter().map(|(seat, ticket)| json!({ "seat": seat, "ticket": ticket })).collect();
    Ok(fresh(json!({ "tickets": list })))
}

pub(super) async fn cancel_terms(State(desk): State<Desk>, By(caller): By, At(no): At<String>) -> Answer {
    let (no, customer) = of(&desk, &caller, &no).await?;
    let terms = desk.cancel_terms(customer.account, &no).await?.ok_or(Refusal::TooLateToCancel)?;
    Ok(fresh(json!({
        "fee_won": terms.fee.fee_won,
        "refund_won": terms.fee.refund_won,
        "changes_at": terms.then.map(|(at_ms, _)| iso(at_ms)),
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agreed {
    fee_won: u64,
}

/// Cancels for at most the fee that was agreed to. Cancelling again answers the same.
pub(super) async fn cancel(
    State(desk): State<Desk>,
    By(caller): By,
    At(no): At<String>,
    Sent(agreed): Sent<Agreed>,
) -> Answer {
    if agreed.fee_won > 100_000_000 {
        return Err(Problem::invalid("fee_won: what GET said"));
    }
    let (no, customer) = of(&desk, &caller, &no).await?;
    desk.cancel(customer.account, &no, agreed.fee_won).await?;
    desk.audit_key(&caller, "booking_cancelled", &format!("booking {no}")).await?;
    let booking = desk.store.booking(customer.account, &no).await?.ok_or(Refusal::NoSuch)?;
    Ok(fresh(booking_json(&booking, &customer.reference)))
}
