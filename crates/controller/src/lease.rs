//! Who leads. Sans-IO: the register's answers come in, questions go out.
//!
//! The controller in the primary's own site volunteers last, and steps down when it finds itself there: if that site
//! goes dark, the leader should not go with it, because its lease would have to run out first.

use model::register::{LeaseReply, LeaseRequest};

/// This controller's part in the election.
#[derive(Debug)]
pub struct Leadership {
    me: String,
    ttl_ms: u64,
    /// Until when this controller leads, counted from the *sending* of the question that was granted.
    until_ms: u64,
    /// Since when nobody has held the lease, as far as was heard.
    free_since_ms: Option<u64>,
    holder: Option<String>,
}

impl Leadership {
    /// Of the controller `me`, with leases of `ttl_ms`.
    pub fn new(me: String, ttl_ms: u64) -> Leadership {
        Leadership { me, ttl_ms, until_ms: 0, free_since_ms: None, holder: None }
    }

    /// Whether this controller leads now.
    pub fn leads(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms
    }

    /// Who leads, as last heard.
    pub fn holder(&self) -> Option<&str> {
        self.holder.as_deref()
    }

    /// How often to ask: three times within a lease.
    pub fn interval_ms(&self) -> u64 {
        (self.ttl_ms / 3).max(1)
    }

    /// The next question to the register. `last`: others are to be preferred, and one of them is there.
    pub fn question(&mut self, now_ms: u64, last: bool) -> LeaseRequest {
        let waited = self.free_since_ms.is_some_and(|since| now_ms.saturating_sub(since) >= self.ttl_ms);
        let ttl_ms = if last && !waited { 0 } else { self.ttl_ms };
        if ttl_ms == 0 {
            // Given up, or never held: either way not to be relied on from the moment of asking.
            self.until_ms = 0;
        }
        LeaseRequest { holder: self.me.clone(), ttl_ms }
    }

    /// The register's answer to the question that was sent at `sent_ms`.
    pub fn answered(&mut self, sent_ms: u64, request: &LeaseRequest, reply: &LeaseReply) {
        self.holder = Some(reply.lease.holder.clone()).filter(|h| !h.is_empty());
        self.free_since_ms = match self.holder {
            None => self.free_since_ms.or(Some(sent_ms)),
            Some(_) => None,
        };
        if request.ttl_ms > 0 {
            self.until_ms = if reply.granted { sent_ms + request.ttl_ms } else { 0 };
        }
    }

    /// The register did not answer: who leads now is not known.
    pub fn unanswered(&mut self, now_ms: u64) {
        if !self.leads(now_ms) {
            self.holder = None;
        }
        self.free_since_ms = None;
    }
}

#[cfg(test)]
mod tests {
    use model::register::Lease;

    use super::*;

    fn told(leadership: &mut Leadership, now_ms: u64, last: bool, holder: &str) -> u64 {
        let request = leadership.question(now_ms, last);
        let lease = Lease { holder: holder.into(), remaining_ms: 1 };
        let reply = LeaseReply { granted: holder == leadership.me && request.ttl_ms > 0, lease };
        leadership.answered(now_ms, &request, &reply);
        request.ttl_ms
    }

    #[test]
    fn a_lease_counts_from_the_sending_of_the_question() {
        let mut aws = Leadership::new("aws".into(), 1500);
        assert_eq!(told(&mut aws, 100, false, "aws"), 1500);
        assert!(aws.leads(1599) && !aws.leads(1600));
        assert_eq!(told(&mut aws, 1700, false, "witness"), 1500);
        assert!(!aws.leads(1700));
        assert_eq!(aws.holder(), Some("witness"));
    }

    #[test]
    fn the_primarys_controller_waits_a_lease_for_the_others_and_then_leads() {
        let mut nhn = Leadership::new("nhn".into(), 1500);
        assert_eq!(told(&mut nhn, 0, true, ""), 0, "only looks");
        assert_eq!(told(&mut nhn, 500, true, ""), 0);
        assert_eq!(told(&mut nhn, 1000, true, "witness"), 0, "somebody took it");
        assert_eq!(told(&mut nhn, 2000, true, ""), 0, "and lost it: the wait begins anew");
        assert_eq!(told(&mut nhn, 3500, true, "nhn"), 1500, "nobody else came");
        assert!(nhn.leads(3600));
        assert_eq!(told(&mut nhn, 4000, true, ""), 0, "gives it up for the others");
        assert!(!nhn.leads(4000));
    }
}
