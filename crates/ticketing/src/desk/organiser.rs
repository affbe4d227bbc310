//! What organisers and doors ask for: who they are, how it sells, who came in.
//!
//! Who may is decided here, for every call, from the account's row: a role that was taken is gone at the next press.

use std::collections::BTreeMap;

use super::Desk;
use crate::{
    admission::{Admission, Scan, merge},
    ids::BookingNo,
    refusal::Refusal,
    role::Role,
    store::{Audited, Line, Sales},
};

/// Scans that a door may send at once.
const SCANS_MAX: usize = 500;

/// A ticket that was shown at a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// As the code has it.
    pub ticket: String,
    /// The device's own count.
    pub number: u32,
    /// When, by the device's clock.
    pub at_ms: u64,
}

/// What a door is told about a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let them in: this seat.
    Enter(String),
    /// Somebody came in with this ticket before: which seat, when.
    Again(String, u64),
    /// For another performance.
    Elsewhere(u32),
    /// The booking was cancelled.
    Cancelled(String),
    /// We never wrote this.
    Forged,
}

/// A performance's report.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its totals.
    pub sales: Sales,
    /// Its bookings.
    pub lines: Vec<Line>,
    /// When each ticket came in, by booking and seat.
    pub entered: BTreeMap<(u64, String), u64>,
    /// The kinds of reduced tickets, by seat.
    pub kinds: BTreeMap<String, String>,
}

impl Desk {
    /// The highest role of an account.
    pub async fn role(&self, account: u64) -> Result<Option<Role>, Refusal> {
        let known = self.store.account(account).await?.ok_or(Refusal::NotSignedIn)?;
        // An address that somebody only claims to have opens nothing.
        if self.organisers.contains(&known.email) && self.store.is_confirmed(account).await? {
            return Ok(Some(Role::Organiser));
        }
        Ok(self.store.roles(account).await?.into_iter().max())
    }

    /// Refuses whoever has not at least this role.
    pub async fn require(&self, account: u64, role: Role) -> Result<(), Refusal> {
        if self.role(account).await? >= Some(role) { Ok(()) } else { Err(Refusal::NotAllowed) }
    }

    /// How every performance sells.
    pub async fn sales(&self, by: u64) -> Result<BTreeMap<u32, Sales>, Refusal> {
        self.require(by, Role::Organiser).await?;
        Ok(self.store.sales(self.clock.now_ms()).await?.into_iter().collect())
    }

    /// A performance's report. That somebody looked at names is written down.
    pub async fn report(&self, by: u64, performance: u32, why: &'static str) -> Result<Report, Refusal> {
        let sales = self.sales(by).await?.remove(&performance).ok_or(Refusal::NoSuch)?;
        self.store.audit(by, why, &format!("performance {performance}"), self.clock.now_ms()).await?;
        Ok(Report {
            sales,
            lines: self.store.lines(performance).await?,
            entered: self.entered(performance).await?,
            kinds: self.store.kinds_sold(performance).await?,
        })
    }

    async fn entered(&self, performance: u32) -> Result<BTreeMap<(u64, String), u64>, Refusal> {
        let merged = merge(self.store.scans(performance).await?);
        Ok(merged.into_iter().map(|(ticket, entered)| (ticket, entered.first.at_ms)).collect())
    }

    /// Everybody with a role, and what was done with roles lately.
    pub async fn staff(&self, by: u64) -> Result<(Vec<(String, Role)>, Vec<Audited>), Refusal> {
        self.require(by, Role::Organiser).await?;
        Ok((self.store.staff().await?, self.store.audited(100).await?))
    }

    /// Gives or takes a role.
    pub async fn set_role(&self, by: u64, email: &str, role: Role, has: bool) -> Result<(), Refusal> {
        self.require(by, Role::Organiser).await?;
        let email = email.trim().to_lowercase();
        let account = self.store.account_by_email(&email).await?.ok_or(Refusal::NoMember)?;
        Ok(self.store.set_role(by, account.id, role, has, self.clock.now_ms()).await?)
    }

    /// What a door needs to go on without a network: who came in, and which bookings do not stand.
    pub async fn door(&self, by: u64, performance: u32) -> Result<Report, Refusal> {
        self.require(by, Role::Door).await?;
        let sales = self.store.sales(self.clock.now_ms()).await?;
        let sales = sales.into_iter().find(|(id, _)| *id == performance).ok_or(Refusal::NoSuch)?.1;
        Ok(Report {
            sales,
            lines: self.store.lines(performance).await?,
            entered: self.entered(performance).await?,
            kinds: self.store.kinds_sold(performance).await?,
        })
    }

    /// Writes down what a door has seen, and says what to do about each. Sending it again says the same.
    pub async fn scanned(
        &self,
        by: u64,
        performance: u32,
        device: &str,
        shown: &[Shown],
    ) -> Result<Vec<Verdict>, Refusal> {
        self.require(by, Role::Door).await?;
        let odd_device =
            device.is_empty() || device.len() > 32 || !device.bytes().all(|b| b.is_ascii_alphanumeric());
        if odd_device || shown.len() > SCANS_MAX {
            return Err(Refusal::NotJson);
        }
        let standing: BTreeMap<u64, bool> =
            self.store.lines(performance).await?.into_iter().map(|line| (line.id, line.confirmed)).collect();
        let key = self.ticket_key();
        let mut scans: Vec<Result<Scan, Verdict>> = Vec::with_capacity(shown.len());
        for one in shown {
            scans.push(match Admission::check(&key, &one.ticket) {
                None => Err(Verdict::Forged),
                Some(a) if a.performance != performance => Err(Verdict::Elsewhere(a.performance)),
                Some(a) => match standing.get(&a.booking) {
                    Some(true) => Ok(Scan {
                        booking: a.booking,
                        seat: a.seat,
                        device: device.to_owned(),
                        number: one.number,
                        at_ms: one.at_ms,
                    }),
                    Some(false) => Err(Verdict::Cancelled(a.seat)),
                    // Signed by us, but its booking is not in the database: nobody was told that it stands.
                    None => Err(Verdict::Cancelled(a.seat)),
                },
            });
        }
        let new: Vec<Scan> = scans.iter().filter_map(|s| s.as_ref().ok().cloned()).collect();
        self.store.add_scans(performance, by, &new, self.clock.now_ms()).await?;
        let merged = merge(self.store.scans(performance).await?);
        Ok(scans
            .into_iter()
            .map(|scan| match scan {
                Err(verdict) => verdict,
                Ok(scan) => match merged.get(&(scan.booking, scan.seat.clone())) {
                    Some(e) if (&e.first.device, e.first.number) != (&scan.device, scan.number) => {
                        Verdict::Again(scan.seat, e.first.at_ms)
                    }
                    _ => Verdict::Enter(scan.seat),
                },
            })
            .collect())
    }

    /// The tickets of a booking, for somebody whose phone is dead: a door finds it by its number.
    pub async fn door_tickets(
        &self,
        by: u64,
        performance: u32,
        no: &BookingNo,
    ) -> Result<(Line, Vec<(String, String)>), Refusal> {
        self.require(by, Role::Door).await?;
        let lines = self.store.lines(performance).await?;
        let line = lines.into_iter().find(|line| line.no == *no).ok_or(Refusal::NoSuch)?;
        let tickets = if line.confirmed {
            line.seats
                .iter()
                .map(|seat| {
                    let admission = Admission {
                        performance,
                        booking: line.id,
                        seat: seat.clone(),
                        issued_s: line.created_ms / 1_000,
                    };
                    (seat.clone(), self.issuer.issue(&admission))
                })
                .collect()
        } else {
            Vec::new()
        };
        self.store.audit(by, "found_at_door", &format!("booking {no}"), self.clock.now_ms()).await?;
        Ok((line, tickets))
    }
}
