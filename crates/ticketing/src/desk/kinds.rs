//! Kinds of tickets: choosing who pays less for which seat of a hold.
//!
//! A hold never changes under its name: with other prices it gets another. So whoever is just paying the old one either
//! pays what they saw, or is told that it is gone and gets the money back; nobody pays one price for another.

use std::collections::BTreeMap;

use super::Desk;
use crate::{
    booking::{PayRefusal, plan_pay},
    discount::price,
    ids::{BookingNo, HoldId},
    refusal::Refusal,
    store::StoreError,
};

/// The kinds chosen for some seats: seat → discount.
pub type Kinds = BTreeMap<String, String>;

impl Desk {
    /// The kinds that were chosen for a hold.
    pub async fn kinds_of(&self, hold: &HoldId) -> Result<Kinds, Refusal> {
        Ok(self.store.kinds_of_hold(hold).await?)
    }

    /// The kinds of the tickets of one's own booking.
    pub async fn kinds_of_booking(&self, account: u64, no: &BookingNo) -> Result<Kinds, Refusal> {
        Ok(self.store.kinds_of_booking(account, no).await?)
    }

    /// Prices a hold by these kinds; its name from now on. Asking again says the same.
    pub async fn choose_kinds(
        &self,
        account: u64,
        hold: &HoldId,
        mut kinds: Kinds,
    ) -> Result<HoldId, Refusal> {
        kinds.retain(|_, kind| !kind.is_empty());
        let renamed = self.priced_name(account, hold, &kinds);
        let Some((performance, claims)) = self.store.hold(hold).await? else {
            return self.renamed_before(renamed).await;
        };
        let now_ms = self.clock.now_ms();
        plan_pay(account, &claims, now_ms).map_err(Refusal::Pay)?;
        if self.store.kinds_of_hold(hold).await? == kinds {
            return Ok(hold.clone());
        }
        let catalogue = self.catalogue().await?;
        let event = catalogue.event(performance).ok_or(Refusal::NoSuch)?;
        if kinds.keys().any(|seat| claims.iter().all(|c| c.seat != *seat)) {
            return Err(Refusal::OddSeats);
        }
        let mut seats = Vec::with_capacity(claims.len());
        for claim in &claims {
            let section = event.hall.section_of(&claim.seat).ok_or(Refusal::OddSeats)?;
            let full_won = event.price_won(&claim.seat).ok_or(Refusal::OddSeats)?;
            let kind = kinds.get(&claim.seat).cloned();
            seats.push((claim.seat.clone(), section.grade.clone(), full_won, kind));
        }
        let priced = price(&seats, &event.show.discounts, now_ms).map_err(Refusal::Discount)?;
        match self.store.price_hold(account, hold, &renamed, &priced, now_ms).await {
            Ok(()) => Ok(renamed),
            // Its time ran out, or the same was asked twice at once.
            Err(StoreError::Condition(_) | StoreError::Duplicate(_)) => self.renamed_before(renamed).await,
            Err(e) => Err(e.into()),
        }
    }

    async fn renamed_before(&self, renamed: HoldId) -> Result<HoldId, Refusal> {
        let known = self.store.hold(&renamed).await?;
        if known.is_some() { Ok(renamed) } else { Err(Refusal::Pay(PayRefusal::HoldExpired)) }
    }

    /// The name that a hold has with these kinds.
    fn priced_name(&self, account: u64, hold: &HoldId, kinds: &Kinds) -> HoldId {
        let chosen: Vec<String> = kinds.iter().map(|(seat, kind)| format!("{seat}={kind}")).collect();
        let asked = format!("kinds:{hold}:{}", chosen.join(","));
        HoldId::of_request(self.signer.key(), account, 0, &asked)
    }
}
