//! The box office: what a visitor can ask for, each as one call. Reads, lets the rules decide, writes.
//!
//! Must not know: HTTP, pages.

use std::{collections::BTreeSet, sync::Arc};

use runtime::secret::Secret;

use crate::{
    admission::{Issuer, KeyError},
    api::key::Gates,
    booking::{Claim, Hold, PayRefusal, SaleState, Wish, plan_pay},
    catalogue::Catalogue,
    clock::Clock,
    ids::{BookingNo, HoldId, IdempotencyKey, row_id},
    inventory::{
        batch::{Outcome, Request},
        live::Live,
        writer::{Inventory, NoOutcome},
    },
    password::{HashError, Passwords},
    payment::{Assurance, Capture, Charge, Fate, PaymentError, PaymentProvider, TestProvider},
    policy::release_ms,
    refusal::{Field, Refusal},
    seating::{Found, Wanted, best},
    session::Signer,
    store::{Account, Booked, NewBooking, Store, StoreError},
    waiting::Waiting,
    webhook::send::Sender,
};

mod account;
mod cancel;
mod hooks;
mod kinds;
mod organiser;
mod partner;
mod post;
mod programme;
mod queue;
mod refund;
mod sessions;
mod settle;
mod tickets;
mod transfer;
mod waitlist;

pub use cancel::Terms;
pub use kinds::Kinds;
pub use organiser::{Report, Shown, Verdict};
pub use partner::{Customer, KeyRefusal};
pub use post::Post;
pub use programme::HallRefusal;
pub use refund::{NOTE_MAX as REFUND_NOTE_MAX, RefundWish, Refundable};
pub use sessions::Sessions;
pub use transfer::BY_BANK;
pub use waitlist::Scarce;

/// How often a lost race is run again before we say that there is no time for it now.
const RACES: usize = 6;
/// Seats that one request may name.
const SEATS_PER_REQUEST: usize = 8;

/// The box office. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    /// The database.
    pub store: Store,
    /// Sessions and form tokens.
    pub signer: Signer,
    /// What time it is.
    pub clock: Clock,
    /// Who comes first.
    pub waiting: Waiting,
    /// Which seats are taken, for those who look.
    pub live: Live,
    /// Sessions that were ended early.
    pub sessions: Sessions,
    inventory: Inventory,
    passwords: Passwords,
    payments: Arc<dyn PaymentProvider>,
    assurance: Option<Arc<Assurance>>,
    issuer: Arc<Issuer>,
    organisers: Arc<BTreeSet<String>>,
    gates: Arc<Gates>,
    bank: Option<Arc<str>>,
    sender: Option<Arc<Sender>>,
}

/// Why there can be no box office: a mistake of ours, or of the machine.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// Passwords cannot be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// Tickets cannot be signed.
    #[error(transparent)]
    TicketKey(#[from] KeyError),
}

/// Somebody who wants an account.
#[derive(Clone, Debug)]
pub struct Signup {
    /// Address.
    pub email: String,
    /// How to address them.
    pub name: String,
    /// Password.
    pub password: String,
    /// Whether they agreed to the terms.
    pub terms: bool,
}

/// A paid hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    /// The booking.
    pub booking: Booked,
    /// Whether this very key had made it before.
    pub repeated: bool,
}

/// A hold that is waiting for its payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenHold {
    /// The hold.
    pub hold: Hold,
    /// Which performance.
    pub performance: u32,
}

impl Desk {
    /// A box office over a database.
    pub fn new(store: Store, key: Secret, clock: Clock) -> Result<Desk, DeskError> {
        let payments: Arc<dyn PaymentProvider> = Arc::new(TestProvider);
        tokio::spawn(cancel::keep_repaying(store.clone(), Arc::downgrade(&payments), clock.clone()));
        let issuer = Arc::new(Issuer::new(key.expose().as_bytes())?);
        tokio::spawn(waitlist::keep_offering(store.clone(), clock.clone(), Arc::downgrade(&issuer)));
        Ok(Desk {
            waiting: Waiting::start(store.clone(), clock.clone()),
            live: Live::new(store.clone(), clock.clone()),
            sessions: Sessions::start(store.clone(), clock.clone()),
            inventory: Inventory::start(store.clone(), clock.clone()),
            store,
            signer: Signer::new(key),
            clock,
            passwords: Passwords::new()?,
            payments,
            assurance: None,
            issuer,
            organisers: Arc::default(),
            gates: Arc::default(),
            bank: None,
            sender: None,
        })
    }

    /// The same, with organisers: whoever confirmed one of these addresses may see sales and give roles.
    pub fn with_organisers(mut self, addresses: impl IntoIterator<Item = String>) -> Desk {
        self.organisers = Arc::new(addresses.into_iter().map(|a| a.trim().to_lowercase()).collect());
        self
    }

    /// What is on sale.
    pub async fn catalogue(&self) -> Result<Arc<Catalogue>, Refusal> {
        Ok(self.store.catalogue().await?)
    }

    /// Shows by seats sold, most first.
    pub async fn ranking(&self) -> Result<Arc<Vec<(u32, u64)>>, Refusal> {
        Ok(self.store.sold_by_show().await?)
    }

    /// Makes an account. Asking again with the same address and password finds the same account.
    pub async fn sign_up(&self, signup: Signup) -> Result<Account, Refusal> {
        let email = signup.email.trim().to_lowercase();
        if !plausible_email(&email) {
            return Err(Refusal::Odd(Field::Email));
        }
        let name = account::checked_name(&signup.name)?;
        account::check_password(&signup.password)?;
        if !signup.terms {
            return Err(Refusal::Odd(Field::Terms));
        }
        let password_hash = self.passwords.hash(&signup.password).await.map_err(unhashed)?;
        for _ in 0..RACES {
            let now_ms = self.clock.now_ms();
            let account = Account {
                id: row_id(now_ms),
                email: email.clone(),
                name: name.clone(),
                password_hash: password_hash.clone(),
            };
            match self.store.add_account(&account, now_ms).await {
                Ok(()) => return Ok(account),
                // Two rows drew one number: draw again.
                Err(StoreError::Duplicate(key)) if key == "PRIMARY" => {}
                Err(StoreError::Duplicate(_)) => {
                    return match self.sign_in(&email, &signup.password).await {
                        Err(Refusal::WrongPassword) => Err(Refusal::SignupRefused),
                        found => found,
                    };
                }
                Err(e) => return Err(e.into()),
            }
        }
        Err(Refusal::NotNow)
    }

    /// Holds seats for an account. The same key again returns the same hold.
    pub async fn hold(
        &self,
        account: u64,
        performance: u32,
        mut seats: Vec<String>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Hold, Refusal> {
        let catalogue = self.catalogue().await?;
        let event = catalogue.event(performance).ok_or(Refusal::NoSuch)?;
        match event.performance.sale(self.clock.now_ms()) {
            SaleState::NotYet => return Err(Refusal::SaleNotOpen),
            SaleState::Over => return Err(Refusal::SaleOver),
            SaleState::Open => {}
        }
        let asked = seats.len();
        seats.sort();
        seats.dedup();
        if seats.is_empty() || seats.len() != asked || asked > SEATS_PER_REQUEST {
            return Err(Refusal::OddSeats);
        }
        let seats = seats
            .into_iter()
            .map(|seat| event.price_won(&seat).map(|price| (seat, price)).ok_or(Refusal::OddSeats))
            .collect::<Result<Vec<_>, _>>()?;
        let hold = match key {
            Some(key) => HoldId::of_request(self.signer.key(), account, performance, key.as_str()),
            None => HoldId::draw(),
        };
        let limit = event.performance.account_limit;
        self.write_wish(Wish { account, performance, hold, seats, limit }).await
    }

    /// The best free seats together.
    pub async fn best_seats(&self, performance: u32, wanted: &Wanted, luck: u64) -> Result<Found, Refusal> {
        let catalogue = self.catalogue().await?;
        let event = catalogue.event(performance).ok_or(Refusal::NoSuch)?;
        if wanted.count == 0 || wanted.count > u16::from(event.performance.account_limit) {
            return Err(Refusal::OddSeats);
        }
        let (_, board) = self.live.board(&event).await?;
        best(event.hall, |seat| !board.is_taken(seat), wanted, luck).ok_or(Refusal::NoneTogether)
    }

    async fn write_wish(&self, wish: Wish) -> Result<Hold, Refusal> {
        let asked_ms = self.clock.now_ms();
        let told = self.inventory.ask(Request::Hold(wish)).await;
        self.measured(asked_ms, &told);
        match told {
            Ok(Outcome::Held(hold)) => Ok(hold),
            Ok(Outcome::HoldRefused(why)) => Err(Refusal::Hold(why)),
            told => Err(odd_outcome(&told)),
        }
    }

    /// How long the inventory took, for the waiting room's pace.
    fn measured(&self, asked_ms: u64, told: &Result<Outcome, NoOutcome>) {
        let took_ms = self.clock.now_ms().saturating_sub(asked_ms);
        self.waiting.measured(took_ms, *told == Err(NoOutcome::NotNow));
    }

    /// A hold of this account that can still be paid.
    pub async fn open_hold(&self, account: u64, hold: &HoldId) -> Result<OpenHold, Refusal> {
        let (performance, claims) =
            self.store.hold(hold).await?.ok_or(Refusal::Pay(PayRefusal::HoldExpired))?;
        let due = plan_pay(account, &claims, self.clock.now_ms()).map_err(Refusal::Pay)?;
        let held_until_ms = claims.iter().filter_map(|c| c.held_until_ms).min().unwrap_or(0);
        let hold = Hold { id: hold.clone(), seats: due.seats, amount_won: due.amount_won, held_until_ms };
        Ok(OpenHold { hold, performance })
    }

    /// Gives the seats of a hold back.
    pub async fn release(&self, account: u64, hold: &HoldId) -> Result<(), Refusal> {
        let now_ms = self.clock.now_ms();
        Ok(self.store.release_hold(account, hold, release_ms(now_ms), now_ms).await?)
    }

    /// The living claims of an account at a performance.
    pub async fn claims_of(&self, performance: u32, account: u64) -> Result<Vec<Claim>, Refusal> {
        let now_ms = self.clock.now_ms();
        let mut claims = self.store.claims_of(performance, account).await?;
        claims.retain(|c| c.lives(now_ms));
        Ok(claims)
    }

    /// Takes the money. What got no answer is asked about before anything is said.
    async fn captured(&self, charge: &Charge) -> Result<Capture, PaymentError> {
        match self.payments.capture(charge).await {
            Err(PaymentError::Unknown(why)) => match self.payments.find(charge).await? {
                Fate::Captured(capture) => Ok(capture),
                Fate::Never => Err(PaymentError::Declined),
                Fate::Pending => Err(PaymentError::Unknown(why)),
            },
            decided => decided,
        }
    }

    /// Pays a hold. The same key again returns the same booking and charges nothing. `token` is what the provider gave
    /// the visitor's browser, if it works that way.
    pub async fn pay(
        &self,
        account: u64,
        hold: &HoldId,
        key: &IdempotencyKey,
        method: &str,
        token: Option<String>,
    ) -> Result<Paid, Refusal> {
        let price = Request::Price { account, hold: hold.clone(), key: key.clone() };
        let due = match self.inventory.ask(price).await {
            Ok(Outcome::Due(due)) => due,
            Ok(Outcome::SoldBefore(booking)) => return Ok(Paid { booking, repeated: true }),
            Ok(Outcome::SaleRefused(why)) => return Err(Refusal::Pay(why)),
            told => return Err(odd_outcome(&told)),
        };
        let charge = Charge {
            account,
            idempotency_key: key.as_str().to_owned(),
            amount_won: due.amount_won,
            method: method.to_owned(),
            token,
        };
        // No connection is held here: a provider may take seconds.
        let (capture, intent) = self.take_money(charge.clone(), due.performance, hold, key).await?;
        let now_ms = self.clock.now_ms();
        let new = NewBooking {
            id: row_id(now_ms),
            payment_id: row_id(now_ms),
            no: BookingNo::draw(),
            account,
            performance: due.performance,
            hold: hold.clone(),
            key: key.clone(),
            seat_count: due.seats.len(),
            amount_won: due.amount_won,
            provider: self.payments.name(),
            provider_ref: capture.reference.clone(),
        };
        let asked_ms = self.clock.now_ms();
        let told = self.inventory.ask(Request::Sell(new)).await;
        self.measured(asked_ms, &told);
        match told {
            Ok(Outcome::Sold(booking)) => {
                self.booked(intent.as_ref()).await;
                Ok(Paid { booking, repeated: false })
            }
            Ok(Outcome::SoldBefore(booking)) => {
                self.booked(intent.as_ref()).await;
                Ok(Paid { booking, repeated: true })
            }
            // The hold ran out while the money moved, or another key was faster.
            Ok(Outcome::SaleRefused(why)) => {
                self.give_back(&charge, capture, intent.as_ref()).await?;
                Err(Refusal::Pay(why))
            }
            told => Err(odd_outcome(&told)),
        }
    }
}

/// What an outcome that says nothing about seats, or is not the one that was asked for, is told as.
fn odd_outcome(told: &Result<Outcome, NoOutcome>) -> Refusal {
    match told {
        Err(NoOutcome::NotNow) => Refusal::NotNow,
        Err(NoOutcome::Broken) => Refusal::Broken,
        Ok(outcome) => {
            tracing::error!("an outcome of another request: {outcome:?}");
            Refusal::Broken
        }
    }
}

fn unhashed(error: HashError) -> Refusal {
    tracing::error!("{error}");
    Refusal::Broken
}

/// Something before an @, a dotted name behind it, nothing odd inside. Whether it exists, only a letter would tell.
fn plausible_email(email: &str) -> bool {
    let Some((local, host)) = email.rsplit_once('@') else { return false };
    email.len() <= 254
        && !local.is_empty()
        && host.split('.').count() >= 2
        && host.split('.').all(|label| !label.is_empty())
        && email.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"<>\"',;()".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_looks_like_one() {
        for good in ["a@b.kr", "first.last+tag@mail.example.com"] {
            assert!(plausible_email(good), "{good}");
        }
        for odd in ["", "a", "a@b", "@b.kr", "a@b.", "a b@c.kr", "a@b..kr", "<a@b.kr>"] {
            assert!(!plausible_email(odd), "{odd}");
        }
    }
}
