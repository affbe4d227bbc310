//! Endpoints that are told what happens: registering them, and telling them.
//!
//! Several instances tell at once: an event is claimed in its row by one of them, and its id is the same whoever sends
//! it, so one that was sent by somebody who then died is at worst sent twice.

use std::{collections::HashMap, sync::Arc, time::Duration};

use runtime::process::Shutdown;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::Desk;
use crate::{
    calendar::iso,
    ids::row_id,
    refusal::{Field, Refusal},
    role::Role,
    store::{Delivery, StoreError, Webhook},
    webhook::{
        GIVE_UP_MS, Kind, event_id, secret,
        send::{Message, Sender},
        signature, wait_ms,
    },
};

/// How often events are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Events that an endpoint is told in one look.
const BATCH: u32 = 20;
/// Endpoints at most: each event is a row for each of them.
const WEBHOOKS_MAX: usize = 20;
/// How often old rows are looked for.
const TIDY_MS: u64 = 60_000;

impl Desk {
    /// The same, telling endpoints through this sender.
    pub fn with_webhooks(mut self, sender: Sender) -> Desk {
        self.sender = Some(Arc::new(sender));
        self
    }

    /// Tells endpoints from now on, until `shutdown`.
    pub fn tell_webhooks(&self, shutdown: Shutdown) {
        if let Some(sender) = self.sender.clone() {
            tokio::spawn(keep_telling(self.clone(), sender, shutdown));
        }
    }

    /// Registers an endpoint; its secret is shown once.
    pub async fn add_webhook(&self, by: u64, url: &str) -> Result<String, Refusal> {
        self.require(by, Role::Organiser).await?;
        let url = url.trim();
        let sender = self.sender.as_ref().ok_or(Refusal::NotNow)?;
        if let Err(why) = sender.judge(url).await {
            tracing::info!("an endpoint was refused: {why}");
            return Err(Refusal::Odd(Field::Endpoint));
        }
        if self.store.webhooks().await?.len() >= WEBHOOKS_MAX {
            return Err(Refusal::Odd(Field::Endpoint));
        }
        let now_ms = self.clock.now_ms();
        let id = row_id(now_ms);
        self.store.add_webhook(by, id, url, now_ms).await?;
        self.store.tell(true);
        Ok(secret(self.signer.key(), id))
    }

    /// Every endpoint.
    pub async fn webhooks(&self, by: u64) -> Result<Vec<Webhook>, Refusal> {
        self.require(by, Role::Organiser).await?;
        Ok(self.store.webhooks().await?)
    }

    /// Removes an endpoint.
    pub async fn remove_webhook(&self, by: u64, id: u64) -> Result<(), Refusal> {
        self.require(by, Role::Organiser).await?;
        Ok(self.store.remove_webhook(by, id, self.clock.now_ms()).await?)
    }

    /// Asks an endpoint again that was given up.
    pub async fn enable_webhook(&self, by: u64, id: u64) -> Result<(), Refusal> {
        self.require(by, Role::Organiser).await?;
        self.store.enable_webhook(by, id, self.clock.now_ms()).await?;
        self.store.tell(true);
        Ok(())
    }
}

async fn keep_telling(desk: Desk, sender: Arc<Sender>, shutdown: Shutdown) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // One that is slow to answer delays no other.
    let mut under_way: HashMap<u64, JoinHandle<()>> = HashMap::new();
    let mut tidied_ms = 0;
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = shutdown.cancelled() => break,
        }
        let webhooks = match desk.store.webhooks().await {
            Ok(webhooks) => webhooks,
            Err(e) => {
                tracing::debug!("endpoints cannot be read: {e}");
                continue;
            }
        };
        desk.store.tell(webhooks.iter().any(|w| w.disabled.is_none()));
        under_way.retain(|_, telling| !telling.is_finished());
        for webhook in webhooks.into_iter().filter(|w| w.disabled.is_none() && w.waiting > 0) {
            let (desk, sender) = (desk.clone(), sender.clone());
            under_way.entry(webhook.id).or_insert_with(|| {
                tokio::spawn(async move {
                    if let Err(e) = tell(&desk, &sender, &webhook).await {
                        tracing::debug!("events cannot be read: {e}");
                    }
                })
            });
        }
        let now_ms = desk.clock.now_ms();
        if now_ms.saturating_sub(tidied_ms) >= TIDY_MS {
            tidied_ms = now_ms;
            if let Err(e) = desk.store.forget_deliveries(now_ms).await {
                tracing::debug!("old events cannot be forgotten: {e}");
            }
        }
    }
    under_way.values().for_each(JoinHandle::abort);
}

/// Tells an endpoint what is due, until it fails: what fails for one event fails for the next.
async fn tell(desk: &Desk, sender: &Sender, webhook: &Webhook) -> Result<(), StoreError> {
    for delivery in desk.store.due_deliveries(webhook.id, BATCH, desk.clock.now_ms()).await? {
        if !desk.store.claim_delivery(&delivery, desk.clock.now_ms()).await? {
            continue;
        }
        let Some(message) = message(desk, webhook.id, &delivery).await? else {
            // What it is about is gone: nothing is left to be told.
            desk.store.delivered(&delivery, desk.clock.now_ms()).await?;
            continue;
        };
        let told = sender.send(&webhook.url, &message).await;
        let now_ms = desk.clock.now_ms();
        let Err(why) = told else {
            desk.store.delivered(&delivery, now_ms).await?;
            continue;
        };
        let tries = delivery.tries + 1;
        tracing::info!(webhook = webhook.id, tries, "an endpoint was not told: {why}");
        desk.store.delivery_failed(&delivery, now_ms + wait_ms(tries, rand::random())).await?;
        if now_ms.saturating_sub(delivery.created_ms) >= GIVE_UP_MS {
            tracing::warn!(webhook = webhook.id, "an endpoint is given up after a day: {why}");
            desk.store.disable_webhook(webhook.id, &why, now_ms).await?;
        }
        return Ok(());
    }
    Ok(())
}

async fn message(desk: &Desk, webhook: u64, delivery: &Delivery) -> Result<Option<Message>, StoreError> {
    let Some(data) = data(desk, delivery).await? else { return Ok(None) };
    let id = event_id(desk.signer.key(), delivery.kind, &delivery.subject);
    let body = json!({
        "id": id,
        "type": delivery.kind.word(),
        "created_at": iso(delivery.created_ms),
        "data": data,
    })
    .to_string();
    let signature = signature(&secret(desk.signer.key(), webhook), desk.clock.now_ms() / 1_000, &body);
    Ok(Some(Message { id, signature, body }))
}

/// What happened, without names and addresses of people.
async fn data(desk: &Desk, delivery: &Delivery) -> Result<Option<Value>, StoreError> {
    let (booking, seat) = match delivery.subject.split_once('/') {
        Some((booking, seat)) => (booking, Some(seat)),
        None => (delivery.subject.as_str(), None),
    };
    let Ok(id) = booking.parse::<u64>() else { return Ok(None) };
    let Some(booking) = desk.store.booking_by_id(id).await? else { return Ok(None) };
    let mut data = json!({ "booking_no": booking.no.as_str(), "performance_id": booking.performance });
    match (delivery.kind, seat) {
        (Kind::CheckIn, Some(seat)) => {
            let Some(at_ms) = desk.store.first_entry(id, seat).await? else { return Ok(None) };
            data["seat"] = json!(seat);
            data["entered_at"] = json!(iso(at_ms));
        }
        _ => {
            data["seats"] = json!(booking.seats);
            data["amount_won"] = json!(booking.amount_won);
            data["booked_at"] = json!(iso(booking.created_at_ms));
        }
    }
    if let (Kind::Cancelled, Some(cancelled)) = (delivery.kind, booking.cancelled) {
        data["fee_won"] = json!(cancelled.fee_won);
        data["refund_won"] = json!(cancelled.refund_won);
    }
    Ok(Some(data))
}
