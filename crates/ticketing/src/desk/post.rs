//! Takes letters out of the outbox, writes them, and sends them.
//!
//! Several instances do this at once: a letter is claimed by one of them in its row, and its name is the same whoever
//! sends it, so a letter that was sent by somebody who then died is at worst sent twice.
//!
//! Letters about bookings are found in the bookings themselves, [`SETTLED_MS`] after they were made: the path on which
//! seats are sold knows nothing of letters.

use std::time::Duration;

use runtime::process::Shutdown;

use super::{
    Desk,
    account::{CONFIRM_MS, RESET_MS},
};
use crate::{
    ids::first_row_id,
    mail::{
        Kind, Mailer,
        letters::{self, Facts},
    },
    refusal::Refusal,
    store::{Due, StoreError, TransferState},
};

/// How often the outbox is looked into.
const LOOK: Duration = Duration::from_secs(1);
/// A booking this old is there for everybody to see, or never will be.
const SETTLED_MS: u64 = 10_000;
/// How far back bookings without a letter are looked for after a start.
const BACK_MS: u64 = 3_600_000;

/// How letters leave.
#[derive(Clone, Debug)]
pub struct Post {
    /// Where to.
    pub mailer: Mailer,
    /// From whom.
    pub from: String,
    /// Where visitors find us, for links: `https://tickets.example.com`.
    pub site: String,
}

impl Desk {
    /// Sends letters from now on, until `shutdown`.
    pub fn send_letters(&self, post: Post, shutdown: Shutdown) {
        tokio::spawn(keep_sending(self.clone(), post, shutdown));
    }
}

async fn keep_sending(desk: Desk, post: Post, shutdown: Shutdown) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut from = first_row_id(desk.clock.now_ms().saturating_sub(BACK_MS));
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let now_ms = desk.clock.now_ms();
        let to = first_row_id(now_ms.saturating_sub(SETTLED_MS));
        match desk.store.adopt_bookings((from, to), now_ms.saturating_sub(BACK_MS), now_ms).await {
            Ok(()) => from = to,
            Err(e) => tracing::debug!("bookings cannot be looked at for letters: {e}"),
        }
        if let Err(e) = send_due(&desk, &post).await {
            tracing::debug!("letters cannot be read: {e}");
        }
    }
}

async fn send_due(desk: &Desk, post: &Post) -> Result<(), StoreError> {
    let now_ms = desk.clock.now_ms();
    for due in desk.store.due_letters(now_ms).await? {
        if !desk.store.claim_letter(due.kind, due.subject, now_ms).await? {
            continue;
        }
        match send(desk, post, &due).await {
            Ok(true) => desk.store.letter_sent(due.kind, due.subject, desk.clock.now_ms()).await?,
            // Its claim runs out, and then it is tried again.
            Ok(false) => {}
            Err(refusal) => tracing::warn!(kind = due.kind.word(), "a letter waits: {}", refusal.code()),
        }
    }
    Ok(())
}

async fn send(desk: &Desk, post: &Post, due: &Due) -> Result<bool, Refusal> {
    if due.email.ends_with(super::partner::NO_ADDRESS) {
        return Ok(true);
    }
    let token = match due.kind {
        Kind::Confirm => desk.letter_token(due.kind, due.account, &due.email, due.created_ms + CONFIRM_MS),
        Kind::Reset => {
            desk.letter_token(due.kind, due.account, &due.password_hash, due.created_ms + RESET_MS)
        }
        Kind::Password | Kind::Booked | Kind::Cancelled | Kind::Offered | Kind::Transfer => String::new(),
    };
    let catalogue = desk.catalogue().await?;
    let booked = match due.kind {
        Kind::Booked | Kind::Cancelled => desk.store.booking_by_id(due.subject).await?,
        _ => None,
    };
    let booking = booked.as_ref().and_then(|b| catalogue.event(b.performance).map(|event| (b, event)));
    let because = match due.kind {
        Kind::Cancelled => desk.store.refund_reason(due.subject).await?,
        _ => None,
    };
    let wait = match due.kind {
        Kind::Offered => desk.store.wait_by_id(due.subject).await?,
        _ => None,
    };
    let offer = wait.as_ref().and_then(|w| {
        // Seats that are bought or gone by now need no letter.
        let offer = w.offer.as_ref().filter(|o| !o.bought && !o.seats.is_empty())?;
        Some((offer, catalogue.event(w.performance)?))
    });
    let waited = match due.kind {
        Kind::Transfer => desk.store.transfer_by_id(due.subject).await?,
        _ => None,
    };
    let transfer = waited.as_ref().and_then(|t| {
        let waits = t.state == TransferState::Waiting && !t.seats.is_empty();
        let event = catalogue.event(t.performance).filter(|_| waits)?;
        Some((t, desk.bank()?, event))
    });
    let facts = Facts { site: &post.site, token, booking, because, offer, transfer };
    let Some(letter) = letters::write(due, &facts) else {
        // What it is about is gone: nothing is left to be said.
        return Ok(true);
    };
    match post.mailer.send(&post.from, &letter).await {
        Ok(()) => Ok(true),
        Err(e) => {
            tracing::warn!("a letter could not be sent: {e}");
            Ok(false)
        }
    }
}
