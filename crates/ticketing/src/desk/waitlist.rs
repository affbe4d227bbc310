//! The waiting list: joining, leaving, and offering seats that came back.
//!
//! An offer is a hold of the waiter, only longer than others, so all that is promised of holds is promised of it: the
//! seat is sold once, the limit holds, it is paid like any other. Its claim stays a little longer than the offer, until
//! the next published moment; in between the next in line can have it, and the public cannot.
//!
//! Every instance looks; who is offered what follows from the rows ([`crate::waitlist`]), and a row is moved once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Weak,
    time::Duration,
};

use super::Desk;
use crate::{
    admission::Issuer,
    booking::SaleState,
    catalogue::Event,
    clock::Clock,
    ids::HoldId,
    policy::release_ms,
    refusal::{Refusal, WaitRefusal},
    store::{MadeOffer, Store, StoreError, Wait, WaitLine},
    waitlist::{ENDS_BEFORE_MS, NewOffer, WAITERS_PER_SEAT, Waiter, offers},
};

/// How often seats that came back are looked for.
const LOOK: Duration = Duration::from_secs(2);

/// A grade as the waiting list's page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scarce {
    /// Its word.
    pub grade: String,
    /// How many seats of it can be bought now.
    pub free: u32,
}

impl Desk {
    /// How many seats of each grade can be bought now.
    pub async fn free_by_grade(&self, performance: u32) -> Result<Vec<Scarce>, Refusal> {
        let catalogue = self.catalogue().await?;
        let event = catalogue.event(performance).ok_or(Refusal::NoSuch)?;
        let (_, board) = self.live.board(&event).await?;
        let mut free: BTreeMap<&str, u32> = BTreeMap::new();
        let mut index = 0u32;
        for section in &event.hall.layout.sections {
            let count = free.entry(section.grade.as_str()).or_default();
            for _ in 0..section.capacity() {
                *count += u32::from(!board.is_taken(index));
                index += 1;
            }
        }
        let of = |grade: &str| free.get(grade).copied();
        let known = event.show.grades.iter().filter_map(|g| Some((g.word.clone(), of(&g.word)?)));
        Ok(known.map(|(grade, free)| Scarce { grade, free }).collect())
    }

    /// Takes somebody into the line for seats of a grade.
    pub async fn join_waitlist(
        &self,
        account: u64,
        performance: u32,
        grade: &str,
        count: u8,
    ) -> Result<(), Refusal> {
        let no = |why: WaitRefusal| Err(Refusal::Waitlist(why));
        let catalogue = self.catalogue().await?;
        let event = catalogue.event(performance).ok_or(Refusal::NoSuch)?;
        let now_ms = self.clock.now_ms();
        match event.performance.sale(now_ms) {
            SaleState::NotYet => return Err(Refusal::SaleNotOpen),
            SaleState::Over => return Err(Refusal::SaleOver),
            SaleState::Open => {}
        }
        if now_ms + ENDS_BEFORE_MS >= event.performance.starts_at_ms {
            return no(WaitRefusal::Ended);
        }
        let limit = event.performance.account_limit;
        let used = self.claims_of(performance, account).await?.len();
        if count == 0 || used + usize::from(count) > usize::from(limit) {
            return no(WaitRefusal::Limit { limit, have: u8::try_from(used).unwrap_or(limit) });
        }
        let scarce = self.free_by_grade(performance).await?;
        let found = scarce.into_iter().find(|s| s.grade == grade).ok_or(Refusal::NoSuch)?;
        if found.free >= u32::from(count) {
            return no(WaitRefusal::StillFree);
        }
        let sections = event.hall.layout.sections.iter().filter(|s| s.grade == grade);
        let seats: u32 = sections.map(crate::catalogue::Section::capacity).sum();
        let most = seats.saturating_mul(WAITERS_PER_SEAT);
        match self.store.join_waitlist((performance, account), grade, count, most, now_ms).await {
            Ok(true) => Ok(()),
            Ok(false) => no(WaitRefusal::Full),
            Err(StoreError::Duplicate(key)) if key == "PRIMARY" => Err(Refusal::NotNow),
            Err(StoreError::Duplicate(_)) => no(WaitRefusal::Already),
            Err(e) => Err(e.into()),
        }
    }

    /// Takes somebody out of the line; what they were offered goes to the next.
    pub async fn leave_waitlist(&self, account: u64, id: u64) -> Result<(), Refusal> {
        let now_ms = self.clock.now_ms();
        Ok(self.store.leave_waitlist(account, id, release_ms(now_ms), now_ms).await?)
    }

    /// Where somebody waits.
    pub async fn waits_of(&self, account: u64) -> Result<Vec<Wait>, Refusal> {
        Ok(self.store.waits_of(account).await?)
    }
}

/// Offers what came back, for as long as there is a desk.
pub(super) async fn keep_offering(store: Store, clock: Clock, alive: Weak<Issuer>) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        if alive.strong_count() == 0 {
            return;
        }
        if let Err(e) = offer_all(&store, &clock).await {
            tracing::debug!("seats for those who wait cannot be looked for: {e}");
        }
    }
}

async fn offer_all(store: &Store, clock: &Clock) -> Result<(), StoreError> {
    let waited_for = store.performances_waited_for().await?;
    if waited_for.is_empty() {
        return Ok(());
    }
    let catalogue = store.catalogue().await?;
    for event in waited_for.into_iter().filter_map(|id| catalogue.event(id)) {
        let now_ms = clock.now_ms();
        let line = store.waiting_line(event.performance.id, now_ms).await?;
        for made in planned(&event, &line, now_ms) {
            match store.offer(&made, now_ms).await {
                Ok(()) => tracing::info!(performance = made.performance, seats = made.seats.len(), "offered"),
                // Another instance offered it, or it went back to the public. The next look sees it.
                Err(StoreError::Condition(_) | StoreError::Duplicate(_)) => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}

/// The offers that are to be made now.
fn planned(event: &Event<'_>, line: &WaitLine, now_ms: u64) -> Vec<MadeOffer> {
    let limit = event.performance.account_limit;
    let free_slots = |waiter: &Waiter| -> Vec<u8> {
        let used = line.slots.get(&waiter.account);
        (1..=limit).filter(|slot| !used.is_some_and(|used: &BTreeSet<u8>| used.contains(slot))).collect()
    };
    let mut freed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for seat in &line.freed {
        if let Some(section) = event.hall.section_of(seat) {
            freed.entry(section.grade.clone()).or_default().push(seat.clone());
        }
    }
    // Whoever has bought elsewhere meanwhile keeps the place, and is not offered more than they may have.
    let fits = |w: &&Waiter| free_slots(w).len() >= usize::from(w.count);
    let waiters: Vec<Waiter> = line.waiters.iter().filter(fits).cloned().collect();
    let mut told = BTreeSet::new();
    offers(&waiters, &freed, event.performance.starts_at_ms, now_ms)
        .into_iter()
        .filter_map(|NewOffer { waiter, offer }| {
            let waiter = waiters.iter().find(|w| w.id == waiter)?;
            // One offer to an account at a time: two would share its places.
            if !told.insert(waiter.account) {
                return None;
            }
            let seats = offer.seats.into_iter().zip(free_slots(waiter));
            let seats = seats.filter_map(|(seat, slot)| event.price_won(&seat).map(|won| (seat, slot, won)));
            Some(MadeOffer {
                waiter: waiter.id,
                account: waiter.account,
                performance: event.performance.id,
                hold: HoldId::draw(),
                seats: seats.collect(),
                until_ms: offer.until_ms,
                kept_until_ms: release_ms(offer.until_ms),
            })
        })
        .collect()
}
