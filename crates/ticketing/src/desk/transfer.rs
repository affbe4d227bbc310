//! Paying by bank transfer: seats that wait for money, until it comes or until it is too late.
//!
//! The seats are a hold that lasts longer. When an organiser sees the money, the hold is sold like any other, under a key
//! that is the hold's, so whoever presses twice sells once. What did not come by its hour cannot be paid from the page
//! any more and is offered to those who wait; the rest comes back together at a published moment. No job runs for that:
//! the claims end then, whoever looks.

use super::Desk;
use crate::{
    catalogue::Event,
    ids::{BookingNo, HoldId, IdempotencyKey, row_id},
    inventory::batch::{Outcome, Request},
    policy::{release_ms, transfer_due_ms, unpaid_release_ms},
    refusal::Refusal,
    role::Role,
    store::{Booked, NewBooking, OwedByBank, StoreError, Transfer, TransferState},
};

/// Its word among providers: nobody but the bank moves this money.
pub const BY_BANK: &str = "transfer";
/// Late transfers that an organiser still sees: money may be under way.
const LATE_MS: u64 = 7 * 86_400_000;
/// What the row has room for.
const DEPOSITOR_MAX: usize = 30;

impl Desk {
    /// The same, with a bank account to which visitors may transfer.
    pub fn with_bank(mut self, account: Option<String>) -> Desk {
        self.bank = account.map(Into::into);
        self
    }

    /// The bank account, if there is one.
    pub fn bank(&self) -> Option<&str> {
        self.bank.as_deref()
    }

    /// Until when a transfer that is begun now must be there; none if it cannot be paid that way.
    pub fn transfer_due(&self, event: &Event<'_>) -> Option<u64> {
        self.bank.as_ref()?;
        transfer_due_ms(event.performance.starts_at_ms, self.clock.now_ms())
    }

    /// Begins to wait for a transfer. Asking again waits once.
    pub async fn begin_transfer(&self, account: u64, hold: &HoldId, depositor: &str) -> Result<(), Refusal> {
        if self.store.transfer_of(account, hold).await?.is_some() {
            return Ok(());
        }
        let depositor = depositor.trim();
        let odd = depositor.is_empty() || depositor.chars().count() > DEPOSITOR_MAX;
        if odd || depositor.chars().any(char::is_control) {
            return Err(Refusal::Odd(crate::refusal::Field::Name));
        }
        let open = self.open_hold(account, hold).await?;
        let catalogue = self.catalogue().await?;
        let event = catalogue.event(open.performance).ok_or(Refusal::NoSuch)?;
        let method = || crate::payment::PaymentError::UnknownMethod(BY_BANK.into());
        let due_ms = self.transfer_due(&event).ok_or_else(|| Refusal::Payment(method()))?;
        let now_ms = self.clock.now_ms();
        let new = Transfer {
            id: row_id(now_ms),
            hold: hold.clone(),
            performance: open.performance,
            account,
            seat_count: u8::try_from(open.hold.seats.len()).map_err(|_| Refusal::OddSeats)?,
            seats: open.hold.seats,
            amount_won: open.hold.amount_won,
            depositor: depositor.to_owned(),
            state: TransferState::Waiting,
            due_ms,
            released_ms: unpaid_release_ms(due_ms),
            email: String::new(),
        };
        match self.store.begin_transfer(&new, now_ms).await {
            Ok(()) => Ok(()),
            // Asked twice at once, or the hold ran out between.
            Err(StoreError::Condition(_) | StoreError::Duplicate(_)) => {
                let known = self.store.transfer_of(account, hold).await?;
                known.map(drop).ok_or(Refusal::Pay(crate::booking::PayRefusal::HoldExpired))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// A transfer of one's own, and the booking that it became.
    pub async fn transfer(
        &self,
        account: u64,
        hold: &HoldId,
    ) -> Result<Option<(Transfer, Option<Booked>)>, Refusal> {
        let Some(transfer) = self.store.transfer_of(account, hold).await? else { return Ok(None) };
        let key = IdempotencyKey::of_transfer(hold);
        let (_, booked) = self.store.around_payment(account, hold, &key).await?;
        Ok(Some((transfer, booked)))
    }

    /// What an account waits for.
    pub async fn transfers_of(&self, account: u64) -> Result<Vec<Transfer>, Refusal> {
        Ok(self.store.transfers_of(account).await?)
    }

    /// Gives up paying; the seats come back with the next that were cancelled.
    pub async fn leave_transfer(&self, account: u64, hold: &HoldId) -> Result<(), Refusal> {
        let now_ms = self.clock.now_ms();
        Ok(self.store.leave_transfer(account, hold, release_ms(now_ms), now_ms).await?)
    }

    /// What an organiser looks for in the bank's statement, and what must go back through it.
    pub async fn at_the_bank(&self, by: u64) -> Result<(Vec<Transfer>, Vec<OwedByBank>), Refusal> {
        self.require(by, Role::Organiser).await?;
        let now_ms = self.clock.now_ms();
        self.store.audit(by, "transfers_read", "", now_ms).await?;
        let waiting = self.store.transfers_waiting(now_ms.saturating_sub(LATE_MS)).await?;
        Ok((waiting, self.store.owed_by_bank(BY_BANK).await?))
    }

    /// An organiser says that the money is there: the hold is sold.
    pub async fn transfer_arrived(&self, by: u64, id: u64) -> Result<Booked, Refusal> {
        self.require(by, Role::Organiser).await?;
        let transfer = self.store.transfer_by_id(id).await?.ok_or(Refusal::NoSuch)?;
        let now_ms = self.clock.now_ms();
        let new = NewBooking {
            id: row_id(now_ms),
            payment_id: row_id(now_ms),
            no: BookingNo::draw(),
            account: transfer.account,
            performance: transfer.performance,
            hold: transfer.hold.clone(),
            key: IdempotencyKey::of_transfer(&transfer.hold),
            seat_count: usize::from(transfer.seat_count),
            amount_won: transfer.amount_won,
            provider: BY_BANK,
            provider_ref: format!("{BY_BANK}_{}", transfer.hold),
        };
        match self.inventory.ask(Request::Sell(new)).await {
            Ok(Outcome::Sold(booked)) => {
                self.store.transfer_paid(by, &transfer, now_ms).await?;
                Ok(booked)
            }
            Ok(Outcome::SoldBefore(booked)) => {
                if transfer.state == TransferState::Waiting {
                    self.store.transfer_paid(by, &transfer, now_ms).await?;
                }
                Ok(booked)
            }
            Ok(Outcome::SaleRefused(_)) => Err(super::programme::mend(
                "좌석이 이미 풀렸거나 다른 방법으로 결제되었어요. 들어온 돈은 보내신 분께 돌려드려야 해요.",
                "The seats are free again, or were paid another way. Money that came must go back to whoever sent it.",
            )),
            told => Err(super::odd_outcome(&told)),
        }
    }

    /// An organiser says that money went back through the bank.
    pub async fn sent_back(&self, by: u64, booking: u64) -> Result<(), Refusal> {
        self.require(by, Role::Organiser).await?;
        let owed = self.store.owed_by_bank(BY_BANK).await?;
        match owed.iter().find(|o| o.booking == booking) {
            Some(owed) => Ok(self.store.sent_back(by, owed, self.clock.now_ms()).await?),
            // Somebody was faster.
            None => Ok(()),
        }
    }
}
