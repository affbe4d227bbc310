//! An organiser gives a booking back, with a reason that its visitor reads.
//!
//! It is the visitor's own cancelling with other terms: the same rows, the same debt that is paid until it is paid.

use super::{Desk, cancel::repay};
use crate::{
    ids::BookingNo,
    policy::{Fee, Policy, release_ms},
    refund::{Because, Reason},
    refusal::Refusal,
    role::Role,
    store::{Booked, Cancellable, StoreError},
};

/// A note to a visitor is no longer than this.
pub const NOTE_MAX: usize = 200;

/// A booking as the refund page shows it.
#[derive(Clone, Debug)]
pub struct Refundable {
    /// The booking.
    pub booking: Booked,
    /// Everything, which can always be given back; none if it does not stand any more.
    pub whole_won: Option<u64>,
    /// What the policy keeps today; none if it was too late for a visitor.
    pub by_policy: Option<Fee>,
    /// Why it was given back, if an organiser did that.
    pub because: Option<Because>,
}

/// What an organiser wrote.
#[derive(Clone, Debug)]
pub struct RefundWish {
    /// Why.
    pub reason: Reason,
    /// To the visitor.
    pub note: String,
    /// Whether the policy's fee is kept. Never of what the house caused.
    pub keeps_fee: bool,
}

impl Desk {
    /// A booking, for somebody who may give it back. That they looked is written down.
    pub async fn refundable(&self, by: u64, no: &BookingNo) -> Result<Refundable, Refusal> {
        self.require(by, Role::Organiser).await?;
        let now_ms = self.clock.now_ms();
        let row = self.store.cancellable_of_anybody(no).await?.ok_or(Refusal::NoSuch)?;
        let booking = self.store.booking_by_id(row.id).await?.ok_or(Refusal::NoSuch)?;
        self.store.audit(by, "booking_read", &format!("booking {no}"), now_ms).await?;
        let by_policy = self.policy_fee(&row, now_ms).await?;
        Ok(Refundable {
            whole_won: row.confirmed.then_some(booking.amount_won),
            by_policy: by_policy.filter(|_| row.confirmed),
            because: self.store.refund_reason(row.id).await?,
            booking,
        })
    }

    async fn policy_fee(&self, row: &Cancellable, now_ms: u64) -> Result<Option<Fee>, Refusal> {
        let catalogue = self.catalogue().await?;
        let event = catalogue.event(row.performance).ok_or(Refusal::NoSuch)?;
        let prices: Vec<u32> = row.seats.iter().map(|(_, price)| *price).collect();
        Ok(Policy::default().fee(&prices, row.created_ms, event.performance.starts_at_ms, now_ms))
    }

    /// Gives a booking back. Doing it again does nothing more.
    pub async fn refund(&self, by: u64, no: &BookingNo, wish: RefundWish) -> Result<(), Refusal> {
        self.require(by, Role::Organiser).await?;
        let note = wish.note.trim();
        if note.chars().count() > NOTE_MAX || note.chars().any(char::is_control) {
            return Err(super::programme::mend(
                &format!("안내를 한 줄로, {NOTE_MAX}자까지 적어 주세요."),
                &format!("Please write the note in one line of up to {NOTE_MAX} characters."),
            ));
        }
        if wish.reason.needs_note() && note.is_empty() {
            return Err(super::programme::mend(
                "어떤 점이 약관에 어긋났는지 예매하신 분께 설명해 주세요.",
                "Please tell the visitor what was against the terms.",
            ));
        }
        let row = self.store.cancellable_of_anybody(no).await?.ok_or(Refusal::NoSuch)?;
        if !row.confirmed {
            return Ok(());
        }
        let now_ms = self.clock.now_ms();
        let paid_won: u64 = row.seats.iter().map(|(_, price)| u64::from(*price)).sum();
        let fee = if wish.keeps_fee && !wish.reason.is_ours() {
            self.policy_fee(&row, now_ms).await?.ok_or(Refusal::TooLateToCancel)?
        } else {
            Fee { fee_won: 0, refund_won: paid_won }
        };
        let because = Because { reason: wish.reason, note: note.to_owned(), by };
        // Nobody is sold a seat of what does not take place.
        let free_ms = match wish.reason {
            Reason::ShowCancelled => self.starts_ms(row.performance).await?.max(release_ms(now_ms)),
            _ => release_ms(now_ms),
        };
        match self.store.cancel(&row, fee, free_ms, now_ms, Some(&because)).await {
            Ok(()) => {}
            // The visitor, or another organiser, was faster, and it is cancelled.
            Err(StoreError::Condition(_) | StoreError::Duplicate(_)) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        if let Err(e) = repay(&self.store, self.payments.as_ref(), now_ms).await {
            tracing::warn!("money of a refunded booking is still owed: {e}");
        }
        Ok(())
    }

    /// Why an organiser gave one's own booking back, if one did.
    pub async fn refund_reason(&self, account: u64, no: &BookingNo) -> Result<Option<Because>, Refusal> {
        let row = self.store.cancellable(account, no).await?.ok_or(Refusal::NoSuch)?;
        Ok(self.store.refund_reason(row.id).await?)
    }

    async fn starts_ms(&self, performance: u32) -> Result<u64, Refusal> {
        let catalogue = self.catalogue().await?;
        Ok(catalogue.event(performance).ok_or(Refusal::NoSuch)?.performance.starts_at_ms)
    }
}
