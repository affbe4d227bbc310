//! Taking real money so that no charge is ever forgotten: written down first, safe second, taken third.
//!
//! The order is the promise. The intent is a row before the provider is asked, and if an [`Assurance`] is set up the row
//! is safe wherever it must be. So after a crash, a lost answer or a move to other machines whoever serves then finds
//! it, asks the provider what became of it, and makes the booking or gives the money back ([`next`] decides).
//!
//! A provider that moves no money needs none of this, and its path has no step of it.

use std::sync::{Arc, Weak};

use super::Desk;
use crate::{
    booking::{Claim, ClaimState, PayRefusal},
    clock::Clock,
    ids::{BookingNo, HoldId, IdempotencyKey, row_id},
    inventory::{
        batch::{Outcome, Request},
        writer::Inventory,
    },
    payment::{
        Capture, Charge, PaymentError, PaymentProvider, Refund, Till,
        settle::{HoldFate, IntentState, Next, PATIENCE_MS, next},
    },
    refusal::Refusal,
    store::{Booked, Intent, NewBooking, Store, StoreError},
};

/// How often unfinished payments are looked for.
const LOOK: std::time::Duration = std::time::Duration::from_secs(5);
/// Whoever could not ask the provider so long after writing the intent down does not ask at all: by the time that the
/// others look at it ([`PATIENCE_MS`]) no question of ours may be under way any more.
const ASK_WITHIN_MS: u64 = 10_000;
/// What the row has room for.
const METHOD_MAX: usize = 16;
const TOKEN_MAX: usize = 200;

impl Desk {
    /// The same, paid through this till.
    pub fn with_till(mut self, till: Till) -> Desk {
        self.payments = till.provider;
        self.assurance = till.assurance.map(Arc::new);
        let weak = || Arc::downgrade(&self.payments);
        tokio::spawn(super::cancel::keep_repaying(self.store.clone(), weak(), self.clock.clone()));
        if self.payments.moves_money() {
            let settler = Settler {
                store: self.store.clone(),
                inventory: self.inventory.clone(),
                clock: self.clock.clone(),
            };
            tokio::spawn(settler.keep(weak()));
        }
        self
    }

    /// Takes the money for a hold, by way of an intent if it is real. The intent is what the rest of the payment ends
    /// with [`Desk::booked`] or [`Desk::give_back`].
    pub(super) async fn take_money(
        &self,
        charge: Charge,
        performance: u32,
        hold: &HoldId,
        key: &IdempotencyKey,
    ) -> Result<(Capture, Option<Intent>), Refusal> {
        if !self.payments.moves_money() {
            let capture = self.captured(&charge).await.map_err(Refusal::Payment)?;
            return Ok((capture, None));
        }
        if charge.method.len() > METHOD_MAX || charge.token.as_ref().is_some_and(|t| t.len() > TOKEN_MAX) {
            return Err(Refusal::Payment(PaymentError::UnknownMethod(charge.method)));
        }
        let note = match &self.assurance {
            None => None,
            Some(assurance) => Some((assurance, assurance.note().await.map_err(not_now)?)),
        };
        let now_ms = self.clock.now_ms();
        let new = Intent {
            charge,
            key: key.clone(),
            performance,
            hold: hold.clone(),
            state: IntentState::Open,
            asked_ms: now_ms,
        };
        let known = self.store.begin_intent(&new, self.payments.name(), now_ms).await?;
        let intent = known.ok_or(Refusal::Broken)?;
        if intent.hold != new.hold || intent.charge.amount_won != new.charge.amount_won {
            // This key is another payment's.
            return Err(Refusal::NoIdempotencyKey);
        }
        match intent.state {
            IntentState::Open | IntentState::Booked => {}
            IntentState::Closed => return Err(Refusal::Payment(PaymentError::Declined)),
            IntentState::Refunding => return Err(Refusal::Pay(PayRefusal::HoldExpired)),
        }
        if let Some((assurance, note)) = note {
            assurance.is_safe_since(note).await.map_err(not_now)?;
        }
        if self.clock.now_ms().saturating_sub(now_ms) > ASK_WITHIN_MS {
            return Err(Refusal::NotNow);
        }
        match self.captured(&intent.charge).await {
            Ok(capture) => Ok((capture, Some(intent))),
            Err(no) => {
                // What the provider refused will not be taken; what it did not answer is left to be asked about.
                if !matches!(no, PaymentError::Unknown(_)) {
                    ended(&self.store, &intent, IntentState::Closed).await;
                }
                Err(Refusal::Payment(no))
            }
        }
    }

    /// The booking stands.
    pub(super) async fn booked(&self, intent: Option<&Intent>) {
        if let Some(intent) = intent {
            ended(&self.store, intent, IntentState::Booked).await;
        }
    }

    /// There is no booking: the money goes back.
    pub(super) async fn give_back(
        &self,
        charge: &Charge,
        capture: Capture,
        intent: Option<&Intent>,
    ) -> Result<(), Refusal> {
        let refund = unsold(charge, capture);
        match intent {
            None => self.payments.refund(&refund).await.map_err(Refusal::Payment),
            Some(intent) => {
                let done = refunded(&self.store, self.payments.as_ref(), intent, refund).await;
                done.map_err(Refusal::from)
            }
        }
    }
}

fn not_now(why: crate::payment::assurance::NotSafe) -> Refusal {
    tracing::warn!("a payment waits: {why}");
    Refusal::NotNow
}

/// Writes down how an intent ended. If that fails, or somebody was faster, the next look finds out.
async fn ended(store: &Store, intent: &Intent, state: IntentState) {
    if let Err(e) = store.move_intent(intent, state).await {
        tracing::warn!("a payment's end is not written down: {e}");
    }
}

fn unsold(charge: &Charge, capture: Capture) -> Refund {
    Refund {
        reference: capture.reference,
        amount_won: charge.amount_won,
        idempotency_key: format!("unsold:{}", charge.order_id()),
        reason: "좌석을 확정하지 못해 결제를 취소합니다.".into(),
    }
}

/// First the row says that the money goes back, then it goes. From then on nobody books with it.
async fn refunded(
    store: &Store,
    payments: &dyn PaymentProvider,
    intent: &Intent,
    refund: Refund,
) -> Result<(), StoreError> {
    let mut going_back = intent.clone();
    if intent.state == IntentState::Open {
        if !store.move_intent(intent, IntentState::Refunding).await? {
            return Ok(()); // Somebody else is at it.
        }
        going_back.state = IntentState::Refunding;
    }
    match payments.refund(&refund).await {
        Ok(()) => {
            store.move_intent(&going_back, IntentState::Closed).await?;
        }
        Err(e) => {
            tracing::warn!(amount_won = refund.amount_won, "money of an unsold hold is still owed: {e}")
        }
    }
    Ok(())
}

/// Looks after payments that somebody left unfinished.
struct Settler {
    store: Store,
    inventory: Inventory,
    clock: Clock,
}

impl Settler {
    /// For as long as there is a desk.
    async fn keep(self, payments: Weak<dyn PaymentProvider>) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let Some(payments) = payments.upgrade() else { return };
            if let Err(e) = self.look(payments.as_ref()).await {
                tracing::debug!("unfinished payments cannot be settled: {e}");
            }
        }
    }

    async fn look(&self, payments: &dyn PaymentProvider) -> Result<(), StoreError> {
        let before_ms = self.clock.now_ms().saturating_sub(PATIENCE_MS);
        for intent in self.store.unsettled(payments.name(), before_ms).await? {
            self.settle(payments, &intent).await?;
        }
        Ok(())
    }

    async fn settle(&self, payments: &dyn PaymentProvider, intent: &Intent) -> Result<(), StoreError> {
        // The provider first: what the seats say must not be older than what it says.
        let fate = match payments.find(&intent.charge).await {
            Ok(fate) => Some(fate),
            Err(e) => {
                tracing::warn!("what became of a payment is not known yet: {e}");
                None
            }
        };
        let (held, booked) =
            self.store.around_payment(intent.charge.account, &intent.hold, &intent.key).await?;
        let claims = held.map(|(_, claims)| claims).unwrap_or_default();
        let age_ms = self.clock.now_ms().saturating_sub(intent.asked_ms);
        let hold = fate_of_hold(intent.charge.account, &claims, booked.as_ref());
        match next(intent.state, age_ms, hold, fate.as_ref()) {
            Next::Wait => {}
            Next::MarkBooked => ended(&self.store, intent, IntentState::Booked).await,
            Next::Close => ended(&self.store, intent, IntentState::Closed).await,
            Next::Refund(capture) => {
                refunded(&self.store, payments, intent, unsold(&intent.charge, capture)).await?;
            }
            Next::Book(capture) => self.book(payments, intent, claims.len(), capture).await?,
        }
        Ok(())
    }

    async fn book(
        &self,
        payments: &dyn PaymentProvider,
        intent: &Intent,
        seat_count: usize,
        capture: Capture,
    ) -> Result<(), StoreError> {
        let new = new_booking(intent, seat_count, payments.name(), &capture, self.clock.now_ms());
        match self.inventory.ask(Request::Sell(new)).await {
            Ok(Outcome::Sold(booking) | Outcome::SoldBefore(booking)) => {
                tracing::info!(
                    booking = booking.no.as_str(),
                    "a payment that was left unfinished is a booking"
                );
                ended(&self.store, intent, IntentState::Booked).await;
            }
            Ok(Outcome::SaleRefused(_)) => {
                refunded(&self.store, payments, intent, unsold(&intent.charge, capture)).await?;
            }
            // Asked again at the next look.
            told => tracing::warn!("a payment that was left unfinished: {told:?}"),
        }
        Ok(())
    }
}

fn new_booking(
    intent: &Intent,
    seat_count: usize,
    provider: &'static str,
    capture: &Capture,
    now_ms: u64,
) -> NewBooking {
    NewBooking {
        id: row_id(now_ms),
        payment_id: row_id(now_ms),
        no: BookingNo::draw(),
        account: intent.charge.account,
        performance: intent.performance,
        hold: intent.hold.clone(),
        key: intent.key.clone(),
        seat_count,
        amount_won: intent.charge.amount_won,
        provider,
        provider_ref: capture.reference.clone(),
    }
}

fn fate_of_hold(account: u64, claims: &[Claim], booked: Option<&Booked>) -> HoldFate {
    let held = |c: &Claim| c.account == Some(account) && c.state == ClaimState::Held;
    if booked.is_some() {
        HoldFate::Booked
    } else if !claims.is_empty() && claims.iter().all(held) {
        HoldFate::Held
    } else {
        HoldFate::Gone
    }
}
