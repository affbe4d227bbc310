//! The tickets of a booking: one a seat, signed, for a door without a network.

use super::Desk;
use crate::{admission::Admission, ids::BookingNo, refusal::Refusal};

impl Desk {
    /// Each seat of a booking with its ticket; none of a booking that was cancelled. The same at every instance, and
    /// however often they are asked for.
    pub async fn tickets(&self, account: u64, no: &BookingNo) -> Result<Vec<(String, String)>, Refusal> {
        let booking = self.store.cancellable(account, no).await?.ok_or(Refusal::NoSuch)?;
        if !booking.confirmed {
            return Ok(Vec::new());
        }
        let tickets = booking.seats.into_iter().map(|(seat, _)| {
            let admission = Admission {
                performance: booking.performance,
                booking: booking.id,
                seat: seat.clone(),
                issued_s: booking.created_ms / 1_000,
            };
            (seat, self.issuer.issue(&admission))
        });
        Ok(tickets.collect())
    }

    /// What doors check tickets with.
    pub fn ticket_key(&self) -> Vec<u8> {
        self.issuer.public_key()
    }
}
