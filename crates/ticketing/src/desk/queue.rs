//! The desk's calls for the waiting room.

use std::net::IpAddr;

use super::Desk;
use crate::{
    queue::{
        draw::Entry,
        place::Place,
        ticket::{Ticket, Turn},
    },
    refusal::{QueueRefusal, Refusal},
};

impl Desk {
    /// The name of an account in a performance's waiting room.
    pub fn queue_entry(&self, performance: u32, account: u64) -> Entry {
        Entry::of(self.signer.key(), performance, account)
    }

    /// Reads a ticket cookie; nothing if it is not of this account and performance.
    pub fn queue_ticket(&self, performance: u32, account: u64, cookie: Option<&str>) -> Option<Ticket> {
        let ticket = Ticket::open(self.signer.key(), cookie?)?;
        let own = ticket.sale == performance && ticket.entry == self.queue_entry(performance, account);
        own.then_some(ticket)
    }

    /// Takes a number, or finds the one that this account has.
    pub async fn take_number(
        &self,
        performance: u32,
        account: u64,
        from: Option<IpAddr>,
    ) -> Result<Ticket, Refusal> {
        if self.waiting.room(performance).is_none() {
            let catalogue = self.catalogue().await?;
            let event = catalogue.event(performance).ok_or(Refusal::NoSuch)?;
            // This instance has not read its rooms yet.
            return Err(if event.performance.waiting_room { Refusal::NotNow } else { Refusal::NoSuch });
        }
        self.waiting.join(performance, self.queue_entry(performance, account), from).await
    }

    /// Where a ticket stands, by the last reading of the room.
    pub fn queue_place(&self, ticket: &Ticket) -> Option<Place> {
        self.waiting.room(ticket.sale).map(|room| room.place(ticket, self.clock.now_ms()))
    }

    /// Begins the turn of somebody who was called. Asking again finds the same turn.
    pub async fn begin_turn(&self, ticket: &Ticket) -> Result<Turn, Refusal> {
        match self.queue_place(ticket) {
            Some(Place::Called { .. }) => {}
            Some(Place::Lobby { .. } | Place::Drawing) => {
                return Err(Refusal::Queue(QueueRefusal::Drawing));
            }
            Some(Place::Waiting(_)) => return Err(Refusal::Queue(QueueRefusal::NotCalled)),
            Some(Place::Unknown) => return Err(Refusal::Queue(QueueRefusal::NoTurn)),
            None => return Err(Refusal::NotNow),
        }
        let now_ms = self.clock.now_ms();
        let until_ms = self.store.begin_turn(ticket.sale, ticket.entry, now_ms).await?;
        let turn = until_ms.map(|until_ms| Turn { sale: ticket.sale, entry: ticket.entry, until_ms });
        // A turn that is over: the next one needs a new number.
        turn.filter(|turn| turn.until_ms > now_ms).ok_or(Refusal::Queue(QueueRefusal::NoTurn))
    }

    /// Refuses whoever must wait first. Where no waiting room is, nobody must.
    pub async fn check_turn(
        &self,
        performance: u32,
        account: u64,
        cookie: Option<&str>,
    ) -> Result<(), Refusal> {
        let catalogue = self.catalogue().await?;
        let event = catalogue.event(performance).ok_or(Refusal::NoSuch)?;
        if !event.performance.waiting_room {
            return Ok(());
        }
        let entry = self.queue_entry(performance, account);
        let admitted = cookie
            .and_then(|cookie| Turn::open(self.signer.key(), cookie))
            .is_some_and(|turn| turn.admits(performance, entry, self.clock.now_ms()));
        if admitted { Ok(()) } else { Err(Refusal::Queue(QueueRefusal::NoTurn)) }
    }
}
