//! Cancelling: what it costs now, doing it, and giving the money back until it is given.
//!
//! First the database says that the booking is cancelled and the money owed, then the money moves. So a crash or a
//! lost answer in between leaves a debt in a row, which [`repay`] pays sooner or later, once: the refund is named by
//! its booking.

use std::{sync::Weak, time::Duration};

use super::Desk;
use crate::{
    clock::Clock,
    ids::BookingNo,
    payment::PaymentProvider,
    policy::{Fee, Policy, release_ms},
    refusal::Refusal,
    store::{Cancellable, Store, StoreError},
};

/// How often debts are looked for.
const LOOK: Duration = Duration::from_secs(10);
/// A debt younger than this is being paid by whoever made it.
const PATIENCE_MS: u64 = 15_000;

/// What cancelling a booking costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Now.
    pub fee: Fee,
    /// When that changes, if it does, and into what: none if it is too late then.
    pub then: Option<(u64, Option<Fee>)>,
}

impl Desk {
    /// What cancelling would cost now; none if it is cancelled already or too late.
    pub async fn cancel_terms(&self, account: u64, no: &BookingNo) -> Result<Option<Terms>, Refusal> {
        let booking = self.store.cancellable(account, no).await?.ok_or(Refusal::NoSuch)?;
        self.terms(&booking).await
    }

    async fn terms(&self, booking: &Cancellable) -> Result<Option<Terms>, Refusal> {
        if !booking.confirmed {
            return Ok(None);
        }
        let catalogue = self.catalogue().await?;
        let event = catalogue.event(booking.performance).ok_or(Refusal::NoSuch)?;
        let prices: Vec<u32> = booking.seats.iter().map(|(_, price)| *price).collect();
        let (policy, starts_ms, now_ms) =
            (Policy::default(), event.performance.starts_at_ms, self.clock.now_ms());
        let fee_at = |at_ms| policy.fee(&prices, booking.created_ms, starts_ms, at_ms);
        let changes_ms = policy.changes_ms(&prices, booking.created_ms, starts_ms, now_ms);
        let then = changes_ms.map(|at_ms| (at_ms, fee_at(at_ms)));
        Ok(fee_at(now_ms).map(|fee| Terms { fee, then }))
    }

    /// Cancels a booking. `agreed_fee_won` is the fee that the visitor saw: if it is dearer by now nothing is
    /// cancelled. Cancelling again does nothing more.
    pub async fn cancel(&self, account: u64, no: &BookingNo, agreed_fee_won: u64) -> Result<(), Refusal> {
        let booking = self.store.cancellable(account, no).await?.ok_or(Refusal::NoSuch)?;
        if !booking.confirmed {
            return Ok(());
        }
        let terms = self.terms(&booking).await?.ok_or(Refusal::TooLateToCancel)?;
        if terms.fee.fee_won > agreed_fee_won {
            return Err(Refusal::FeeChanged(terms.fee.fee_won));
        }
        let now_ms = self.clock.now_ms();
        match self.store.cancel(&booking, terms.fee, release_ms(now_ms), now_ms, None).await {
            Ok(()) => {}
            // Somebody (another window) was faster, and it is cancelled.
            Err(StoreError::Condition(_) | StoreError::Duplicate(_)) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        // It is cancelled whatever becomes of this: the debt is in its row.
        if let Err(e) = repay(&self.store, self.payments.as_ref(), now_ms).await {
            tracing::warn!("money of a cancelled booking is still owed: {e}");
        }
        Ok(())
    }
}

/// Pays what is owed since before `before_ms`.
pub(super) async fn repay(
    store: &Store,
    payments: &dyn PaymentProvider,
    before_ms: u64,
) -> Result<(), StoreError> {
    for (booking, refund) in store.owed(payments.name(), before_ms).await? {
        let given = if refund.amount_won == 0 { Ok(()) } else { payments.refund(&refund).await };
        match given {
            Ok(()) => store.refunded(booking).await?,
            // The next look tries again.
            Err(e) => tracing::warn!(booking, amount_won = refund.amount_won, "a refund: {e}"),
        }
    }
    Ok(())
}

/// Looks for debts that somebody left behind, for as long as there is a desk.
pub(super) async fn keep_repaying(store: Store, payments: Weak<dyn PaymentProvider>, clock: Clock) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let Some(payments) = payments.upgrade() else { return };
        let before_ms = clock.now_ms().saturating_sub(PATIENCE_MS);
        if let Err(e) = repay(&store, payments.as_ref(), before_ms).await {
            tracing::debug!("debts cannot be read: {e}");
        }
    }
}
