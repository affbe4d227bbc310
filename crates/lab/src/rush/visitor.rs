//! One visitor's way through a sale: number, waiting, turn, seats, payment. Or a bot's, who tries everything besides.

use std::{sync::Arc, time::Duration};

use hyper::{Method, StatusCode, header};
use rand::{RngExt, rngs::SmallRng, seq::IndexedRandom};
use runtime::{clock::Boot, process::Shutdown};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    notes::{Left, Notes, Told},
    scene::PASSWORD,
};
use crate::{
    ledger::{Acknowledged, Outcome, to_f64},
    load::{
        http::Answer,
        route::Route,
        visitor::{Ask, GaveUp, Patience, Run, Visitors, brief},
    },
};

/// Somebody who really wants a ticket: five seconds for an answer, a minute and a half for every step.
pub(super) const PATIENCE: Patience = Patience {
    answer: Duration::from_secs(5),
    pause: Duration::from_millis(500),
    polite: true,
    all: Duration::from_secs(90),
};
/// How often a bot looks whether it is called, whatever the page asks of it.
const BOT_POLL: Duration = Duration::from_secs(2);
/// How often somebody in the lobby looks at the page.
const LOBBY_POLL_S: f64 = 10.0;
/// So many times seats are chosen anew when others were faster.
const TRIES: u32 = 8;
/// Of a hundred people with a hold so many leave it alone, and so many give it back.
const ABANDON_PERCENT: u32 = 6;
const RELEASE_PERCENT: u32 = 4;
/// Of a hundred bookings so many are cancelled again at once.
const CANCEL_PERCENT: u32 = 2;

/// What all visitors of a rush share.
pub(super) struct Shared {
    pub(super) performance: u32,
    pub(super) account_limit: u8,
    /// Every seat's name, in the order of the availability's bits.
    pub(super) seats: Vec<String>,
    /// When the sale opens.
    pub(super) opens: Instant,
    /// Whoever still waits goes home.
    pub(super) over: Shutdown,
    pub(super) notes: Notes,
}

impl Shared {
    /// Which seats are free, by the public bitmap.
    pub(super) async fn free(
        &self,
        all: &Visitors,
        route: &mut Route,
        patience: Patience,
    ) -> Result<Vec<bool>, String> {
        let path = format!("/api/performances/{}/availability", self.performance);
        let ask = Ask { method: Method::GET, path, body: Value::Null, cookie: None, key: None };
        let answer = Run::new(all, route, patience).insist(&ask).await.map_err(|e| e.what)?;
        free(&answer.body, self.seats.len()).ok_or_else(|| format!("an odd bitmap: {}", brief(&answer)))
    }
}

/// The free seats in a bitmap that has everything: kind 0, generation, version, number of seats, a bit for each that is taken.
fn free(bytes: &[u8], seats: usize) -> Option<Vec<bool>> {
    let (head, bits) = bytes.split_at_checked(13)?;
    let number = u32::from_le_bytes(head.get(9..13)?.try_into().ok()?);
    if head.first() != Some(&0) || usize::try_from(number) != Ok(seats) || bits.len() * 8 < seats {
        return None;
    }
    Some((0..seats).map(|n| bits.get(n / 8).is_some_and(|byte| byte >> (n % 8) & 1 == 0)).collect())
}

/// How a visitor's way ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Booked,
    /// Nothing was left.
    SoldOut,
    /// Others were faster at every seat.
    Refused,
    /// Left with a hold, or without one.
    Abandoned,
    /// Still waiting when the rush was over.
    LeftTheQueue,
    /// The service did not answer in time.
    GaveUp,
    /// Paid, and was never told whether it worked.
    Unknown,
}

impl End {
    pub(super) fn word(self) -> &'static str {
        match self {
            End::Booked => "booked",
            End::SoldOut => "sold_out",
            End::Refused => "refused",
            End::Abandoned => "abandoned",
            End::LeftTheQueue => "left_the_queue",
            End::GaveUp => "gave_up",
            End::Unknown => "unknown",
        }
    }
}

/// A hold that was acknowledged.
struct Held {
    id: String,
    seats: Vec<String>,
    amount_won: u64,
}

/// One of them.
pub(super) struct Visitor {
    shared: Arc<Shared>,
    all: Visitors,
    route: Route,
    email: String,
    bot: bool,
    rng: SmallRng,
    session: String,
    ticket: Option<String>,
    turn: Option<String>,
    number: Option<u32>,
    asked: u32,
}

impl Visitor {
    pub(super) fn new(
        shared: Arc<Shared>,
        all: Visitors,
        route: Route,
        email: String,
        bot: bool,
        rng: SmallRng,
    ) -> Visitor {
        let (session, ticket, turn) = (String::new(), None, None);
        Visitor { shared, all, route, email, bot, rng, session, ticket, turn, number: None, asked: 0 }
    }

    /// Comes at that moment, and says how it ended.
    pub(super) async fn come(mut self, at: Instant) -> End {
        tokio::time::sleep_until(at).await;
        let way = async {
            self.log_in().await?;
            self.take_number().await?;
            if self.bot {
                self.jump_the_queue().await?;
            }
            self.wait(at).await?;
            self.enter().await?;
            let held = self.hold().await?;
            self.pay(held).await
        };
        match Box::pin(way).await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn log_in(&mut self) -> Result<(), End> {
        let body = json!({ "email": self.email, "password": PASSWORD });
        let answer = self.ask(Method::POST, "/api/login".to_owned(), body, None).await?;
        match cookie(&answer, "sid=") {
            Some(session) => self.session = session,
            None => return Err(self.no(&answer)),
        }
        Ok(())
    }

    /// Takes a number; a bot in three windows at once, which must be one.
    async fn take_number(&mut self) -> Result<(), End> {
        let path = self.path("queue");
        let name = format!("qn{}=", self.shared.performance);
        for window in 0..if self.bot { 3 } else { 1 } {
            let answer = self.ask(Method::POST, path.clone(), json!({}), None).await?;
            match cookie(&answer, &name) {
                Some(ticket) if window == 0 => self.ticket = Some(ticket),
                Some(ticket) if self.ticket.as_deref().map(entry_of) != Some(entry_of(&ticket)) => {
                    let what =
                        format!("{} has two places in the queue: {:?} and {ticket}", self.email, self.ticket);
                    self.shared.notes.violation("I9", what);
                }
                Some(_) => {}
                // The lottery is being drawn: a moment later there are numbers.
                None if code(&answer).as_deref() == Some("queue_drawing") => {
                    self.sleep(1.0, 2.0).await;
                    return Box::pin(self.take_number()).await;
                }
                None => return Err(self.no(&answer)),
            }
        }
        Ok(())
    }

    /// What must be refused: seats without a turn, and with one that nobody gave.
    async fn jump_the_queue(&mut self) -> Result<(), End> {
        let entry = self.ticket.as_deref().map(entry_of).unwrap_or_default().to_owned();
        let performance = self.shared.performance;
        let forged = format!("qt{performance}={performance}.{entry}.9999999999999.AAAAAAAAAAAAAAAAAAAAAA");
        for turn in [None, Some(forged)] {
            self.turn = turn;
            let Some(seat) = self.shared.seats.choose(&mut self.rng).cloned() else { return Ok(()) };
            let answer = self.ask_for(&[seat]).await?;
            if answer.status.is_success() {
                let what = format!("{} held a seat with the turn {:?}", self.email, self.turn);
                self.shared.notes.violation("I9", what);
            } else {
                self.shared.notes.write().bots_refused += 1;
            }
        }
        self.turn = None;
        Ok(())
    }

    /// Waits to be called.
    async fn wait(&mut self, came: Instant) -> Result<(), End> {
        let path = self.path("queue");
        loop {
            let answer = self.ask(Method::GET, path.clone(), Value::Null, None).await?;
            let place = answer.json();
            let number = place["number"].as_u64().and_then(|n| u32::try_from(n).ok());
            let now_ms = Boot::now().as_ms();
            let pause = match place["place"].as_str() {
                Some("called") => {
                    let number = self.told(number);
                    let from = came.max(self.shared.opens);
                    let mut notes = self.shared.notes.write();
                    notes.called.push((now_ms, number));
                    notes.queue_s.push(from.elapsed().as_secs_f64());
                    return Ok(());
                }
                Some("waiting") => {
                    let number = self.told(number);
                    let ahead = place["ahead"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
                    self.shared.notes.write().seen.push((now_ms, number.saturating_sub(ahead + 1)));
                    Duration::from_millis(place["poll_ms"].as_u64().unwrap_or(1_000))
                }
                Some("lobby") => {
                    let left = self.shared.opens.saturating_duration_since(Instant::now());
                    left.mul_f64(self.rng.random_range(1.0..1.1)).min(self.about(LOBBY_POLL_S))
                        + self.about(0.5)
                }
                Some("drawing" | "reconnecting") => self.about(1.0),
                _ => {
                    let what = format!("{} has lost its place in the queue: {}", self.email, brief(&answer));
                    self.shared.notes.violation("I9", what);
                    return Err(End::Refused);
                }
            };
            let pause = if self.bot { BOT_POLL } else { pause };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shared.over.cancelled() => return Err(self.went_home()),
            }
        }
    }

    /// Notes the number that it was told; it never changes.
    fn told(&mut self, number: Option<u32>) -> u32 {
        let number = number.unwrap_or(0);
        match self.number {
            None => {
                self.number = Some(number);
                let ticket = self.ticket.as_deref().unwrap_or_default();
                let entry = u64::from_str_radix(entry_of(ticket), 16).unwrap_or(0);
                let class = ticket.split('.').nth(2).and_then(|c| c.parse().ok()).unwrap_or(0);
                self.shared.notes.write().told.push(Told { entry, class, number });
            }
            Some(before) if before != number => {
                let what = format!("{} had number {before} and has {number}", self.email);
                self.shared.notes.violation("I9", what);
            }
            Some(_) => {}
        }
        number
    }

    async fn enter(&mut self) -> Result<(), End> {
        let (path, name) = (self.path("queue/enter"), format!("qt{}=", self.shared.performance));
        for _ in 0..TRIES {
            let answer = self.ask(Method::POST, path.clone(), json!({}), None).await?;
            if let Some(turn) = cookie(&answer, &name) {
                self.turn = Some(turn);
                return Ok(());
            }
            // Another instance reads the numbers a moment later.
            if code(&answer).as_deref() != Some("queue_not_called") {
                return Err(self.no(&answer));
            }
            self.sleep(0.8, 1.6).await;
        }
        Err(End::Refused)
    }

    /// Chooses and holds seats, again when others were faster.
    async fn hold(&mut self) -> Result<Held, End> {
        let limit = usize::from(self.shared.account_limit);
        let mut count = match self.bot {
            true => limit,
            false => [1, 2, 2, 2, 3, 4].choose(&mut self.rng).copied().unwrap_or(1).min(limit),
        };
        for _ in 0..TRIES {
            if !self.bot {
                self.sleep(1.0, 5.0).await;
            }
            let seats = match self.choose(count).await? {
                seats if seats.is_empty() && count == 1 => return Err(End::SoldOut),
                seats if seats.is_empty() => {
                    count = 1;
                    continue;
                }
                seats => seats,
            };
            let began = Instant::now();
            let answer = self.ask_for(&seats).await?;
            self.shared.notes.write().hold_ms.push(began.elapsed().as_secs_f64() * 1_000.0);
            if answer.status.is_success() {
                return self.held(&answer);
            }
            match code(&answer).as_deref() {
                Some("seat_taken" | "sale_not_open") => {}
                Some("turn_required") => {
                    let what =
                        format!("{} had a turn, and it is not one any more: {}", self.email, brief(&answer));
                    self.shared.notes.violation("I9", what);
                    return Err(End::Refused);
                }
                _ => return Err(self.no(&answer)),
            }
            self.no(&answer);
        }
        Err(End::Refused)
    }

    fn held(&self, answer: &Answer) -> Result<Held, End> {
        let told = answer.json();
        let seats: Option<Vec<String>> = told["seats"]
            .as_array()
            .map(|seats| seats.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        match (told["hold_id"].as_str(), seats, told["amount_won"].as_u64()) {
            (Some(id), Some(seats), Some(amount_won)) => Ok(Held { id: id.to_owned(), seats, amount_won }),
            _ => {
                self.shared.notes.violation("I10", format!("a hold that says nothing: {told}"));
                Err(End::Refused)
            }
        }
    }

    /// Seats that look free: most people take the proposal, others point at the map.
    async fn choose(&mut self, count: usize) -> Result<Vec<String>, End> {
        if self.bot || self.rng.random_range(0..100) < 60 {
            let answer = self
                .ask(Method::GET, format!("{}?count={count}", self.path("best")), Value::Null, None)
                .await?;
            let groups = answer.json();
            let seats =
                groups["groups"].as_array().into_iter().flatten().filter_map(Value::as_array).flatten();
            return Ok(seats.filter_map(Value::as_str).map(str::to_owned).collect());
        }
        let free = self.shared.free(&self.all, &mut self.route, PATIENCE).await.map_err(|_| End::GaveUp)?;
        let from = self.rng.random_range(0..free.len().max(1));
        let around = (from..free.len()).chain(0..from).filter(|n| free.get(*n) == Some(&true));
        Ok(around.take(count).filter_map(|n| self.shared.seats.get(n).cloned()).collect())
    }

    async fn pay(&mut self, held: Held) -> Result<End, End> {
        let Held { id, seats, amount_won } = held;
        if self.bot {
            self.exceed_the_limit(seats.len()).await?;
        } else {
            self.sleep(2.0, 8.0).await;
            let chance = self.rng.random_range(0..100);
            if chance < ABANDON_PERCENT {
                // The service holds seats for minutes; a minute of that may be over by now.
                let until_ms = Boot::now().as_ms() + 300_000;
                self.shared.notes.write().abandoned.push(Left { hold: id, seats, until_ms });
                return Ok(End::Abandoned);
            }
            if chance < ABANDON_PERCENT + RELEASE_PERCENT {
                let answer = self.ask(Method::DELETE, format!("/api/holds/{id}"), Value::Null, None).await?;
                if answer.status.is_success() {
                    self.shared.notes.write().released.push(id);
                }
                return Ok(End::Abandoned);
            }
        }
        let key = format!("{}-p", self.email.split('@').next().unwrap_or_default());
        let cookies = self.cookies();
        let ask = Ask {
            method: Method::POST,
            path: format!("/api/holds/{id}/pay"),
            body: json!({ "method": "test" }),
            cookie: Some(&cookies),
            key: Some(key.clone()),
        };
        let sent_at_ms = Boot::now().as_ms();
        let (answer, answered_by) =
            match Run::new(&self.all, &mut self.route, PATIENCE).insist_where(&ask).await {
                Ok(answered) => answered,
                Err(GaveUp { open: true, .. }) => return Ok(End::Unknown),
                Err(GaveUp { open: false, .. }) => return Ok(End::GaveUp),
            };
        let acknowledged_at_ms = Boot::now().as_ms();
        let told = answer.json();
        let (true, Some(booking_no), Some(paid_won)) =
            (answer.status.is_success(), told["booking_no"].as_str(), told["amount_won"].as_u64())
        else {
            // It was acknowledged and is minutes from its deadline: it cannot be gone.
            let what = format!(
                "hold {id} of {} was acknowledged, paying it is refused: {}",
                self.email,
                brief(&answer)
            );
            self.shared.notes.violation("I6", what);
            return Ok(self.no(&answer));
        };
        if paid_won != amount_won {
            let what = format!("booking {booking_no} cost {paid_won} won, its hold {id} said {amount_won}");
            self.shared.notes.violation("I10", what);
        }
        let entry = Acknowledged {
            booking_no: booking_no.to_owned(),
            account: self.email.clone(),
            performance: self.shared.performance,
            seats,
            amount_won: paid_won,
            idempotency_key: key,
            sent_at_ms,
            acknowledged_at_ms,
            answered_by,
            round: 1,
        };
        self.all.ledger.ended(&Outcome::Acknowledged(Box::new(entry)), true);
        {
            let mut notes = self.shared.notes.write();
            notes.acknowledged_ms.push(acknowledged_at_ms);
            notes.accepted_bots += u64::from(self.bot);
            notes.pay_ms.push(to_f64(acknowledged_at_ms.saturating_sub(sent_at_ms)));
        }
        if !self.bot && self.rng.random_range(0..100) < CANCEL_PERCENT {
            self.cancel(booking_no).await?;
        }
        Ok(End::Booked)
    }

    /// One seat more than an account may have.
    async fn exceed_the_limit(&mut self, has: usize) -> Result<(), End> {
        let more = usize::from(self.shared.account_limit) + 1 - has;
        let seats = self.choose(more).await?;
        if seats.len() < more {
            return Ok(());
        }
        let answer = self.ask_for(&seats).await?;
        if answer.status.is_success() {
            let what = format!("{} holds {has} seats and got {more} more", self.email);
            self.shared.notes.violation("I4", what);
        } else {
            self.shared.notes.write().bots_refused += 1;
        }
        Ok(())
    }

    async fn cancel(&mut self, booking_no: &str) -> Result<(), End> {
        let path = format!("/api/bookings/{booking_no}/cancel");
        let terms = self.ask(Method::GET, path.clone(), Value::Null, None).await?.json();
        // From here on nobody knows for certain whether the booking stands, until there is an answer.
        self.all.ledger.withdrawn(booking_no);
        let answer = self.ask(Method::POST, path, json!({ "fee_won": terms["fee_won"] }), None).await?;
        if answer.status.is_success() {
            self.shared.notes.write().cancelled.push(booking_no.to_owned());
        } else {
            self.no(&answer);
        }
        Ok(())
    }

    /// Asks for a hold of these seats.
    async fn ask_for(&mut self, seats: &[String]) -> Result<Answer, End> {
        self.asked += 1;
        let key = format!("{}-h{}", self.email.split('@').next().unwrap_or_default(), self.asked);
        self.ask(Method::POST, self.path("holds"), json!({ "seats": seats }), Some(key)).await
    }

    async fn ask(
        &mut self,
        method: Method,
        path: String,
        body: Value,
        key: Option<String>,
    ) -> Result<Answer, End> {
        let cookies = self.cookies();
        let ask = Ask { method, path, body, cookie: (!cookies.is_empty()).then_some(&cookies), key };
        Run::new(&self.all, &mut self.route, PATIENCE).insist(&ask).await.map_err(|gave_up| {
            tracing::debug!("{} gave up at {}: {}", self.email, ask.path, gave_up.what);
            End::GaveUp
        })
    }

    /// Notes a refusal.
    fn no(&self, answer: &Answer) -> End {
        let code = code(answer).unwrap_or_else(|| answer.status.as_str().to_owned());
        if answer.status == StatusCode::UNAUTHORIZED {
            let what = format!("{} was logged in and is not any more: {}", self.email, brief(answer));
            self.shared.notes.violation("session", what);
        }
        *self.shared.notes.write().refused.entry(code).or_default() += 1;
        End::Refused
    }

    fn went_home(&self) -> End {
        if self.shared.notes.write().sold_out { End::SoldOut } else { End::LeftTheQueue }
    }

    fn cookies(&self) -> String {
        let all = [Some(&self.session), self.ticket.as_ref(), self.turn.as_ref()];
        let all: Vec<&str> =
            all.into_iter().flatten().map(String::as_str).filter(|c| !c.is_empty()).collect();
        all.join("; ")
    }

    fn path(&self, what: &str) -> String {
        format!("/api/performances/{}/{what}", self.shared.performance)
    }

    /// What a person thinks about for so many seconds.
    async fn sleep(&mut self, from_s: f64, to_s: f64) {
        tokio::time::sleep(Duration::from_secs_f64(self.rng.random_range(from_s..to_s))).await;
    }

    fn about(&mut self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.rng.random_range(0.75..1.25))
    }
}

/// The cookie that begins with `name=`, as it is sent back.
fn cookie(answer: &Answer, name: &str) -> Option<String> {
    let all = answer.headers.get_all(header::SET_COOKIE).iter();
    let pairs = all.filter_map(|v| v.to_str().ok()).filter_map(|v| v.split(';').next());
    pairs.into_iter().find(|pair| pair.starts_with(name)).map(str::to_owned)
}

/// The entry's name in a ticket `qn<sale>=<sale>.<entry>.<class>.<number>.<seal>`.
fn entry_of(ticket: &str) -> &str {
    ticket.split('.').nth(1).unwrap_or_default()
}

fn code(answer: &Answer) -> Option<String> {
    answer.json()["error"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bitmap_is_read_and_nonsense_is_not() {
        let mut bytes = vec![0, 1, 0, 0, 0, 2, 0, 0, 0, 10, 0, 0, 0, 0b0000_0101, 0b10];
        assert_eq!(free(&bytes, 10).map(|f| f.iter().filter(|free| **free).count()), Some(7));
        assert_eq!(free(&bytes, 10).unwrap()[..3], [false, true, false]);
        assert_eq!(free(&bytes, 11), None, "another hall");
        bytes.truncate(14);
        assert_eq!(free(&bytes, 10), None, "cut off");
        assert_eq!(free(&[1], 0), None);
    }

    #[test]
    fn a_tickets_entry_is_its_second_part() {
        assert_eq!(entry_of("qn502=502.00ab.1.7.SEAL"), "00ab");
        assert_eq!(entry_of(""), "");
    }
}
