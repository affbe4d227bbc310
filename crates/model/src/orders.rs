//! What operators have ordered: the register's third key.
//!
//! Controllers read it together with the register and obey it; nothing but an operator's command changes it, and every
//! change is a compare-and-set on its own version. It never says who is primary.

use serde::{Deserialize, Serialize};

use crate::{Epoch, Site};

/// All standing orders. Whoever changes them names the version that was read; one of two racers loses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// Grows by one with every change; 0: nobody has ever ordered anything.
    pub version: u64,
    /// The global stop: while it stands, no controller takes any step.
    pub stopped: Option<Halt>,
    /// Controllers judge and write into their journals what they would do, and do nothing.
    pub observe: bool,
    /// Maintenance: within one of these, nothing is moved automatically. What was begun is finished.
    pub windows: Vec<Window>,
    /// A failover that an operator wants, with the loss that it may cost. One at a time.
    pub approval: Option<Approval>,
}

/// Who stopped everything, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halt {
    /// Who.
    pub by: String,
    /// Why, in words.
    pub why: String,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: u64,
}

/// A maintenance window, by the wall clock of whoever leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// When it begins, milliseconds since 1970 UTC.
    pub from_ms: u64,
    /// When it is over.
    pub until_ms: u64,
    /// Who ordered it.
    pub by: String,
    /// Why, in words.
    pub why: String,
}

impl Window {
    /// Whether it is open at `wall_ms`.
    pub fn is_open(&self, wall_ms: u64) -> bool {
        self.from_ms <= wall_ms && wall_ms < self.until_ms
    }
}

/// An operator's approval of one failover, out of one epoch, for a short time.
///
/// It is void once the epoch has passed or the time is over, so that it cannot surprise anybody later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The epoch that is to end; typed by the operator, so that an old command cannot end a new one.
    pub epoch: Epoch,
    /// Who is to be primary in the next.
    pub to: Site,
    /// Acknowledged writes of up to so many seconds may be lost; [`Approval::ANY_LOSS`]: whatever it costs.
    pub accept_loss_s: u64,
    /// Who approved it.
    pub by: String,
    /// Why, in words.
    pub why: String,
    /// Milliseconds since 1970 UTC from which on it is void.
    pub until_ms: u64,
}

impl Approval {
    /// The loss may be of any size, or of one that nobody knows.
    pub const ANY_LOSS: u64 = u64::MAX;
}

/// `POST /v1/orders`: replace the orders if they are still at `expected_version`. `orders.version` must be that plus
/// one. An attempt whose answer got lost may be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrdersRequest {
    /// The version that was read.
    pub expected_version: u64,
    /// What they are to become.
    pub orders: Orders,
}

/// What a change of the orders came to. The current orders are returned in both cases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "orders")]
pub enum OrdersReply {
    /// They are as asked for now.
    Set(Orders),
    /// Somebody was faster; read, think again.
    Stale(Orders),
}

/// `POST /v1/failover` on any controller: end the present epoch, whatever is lost by it.
///
/// It becomes an [`Approval`] in the orders; whoever leads carries it out, and every controller writes it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailoverRequest {
    /// The epoch that is to end; refused if the register is at another one.
    pub epoch: Epoch,
    /// Acknowledged writes of up to so many seconds may be lost; [`Approval::ANY_LOSS`]: whatever it costs.
    pub accept_loss_s: u64,
    /// Who orders it.
    pub by: String,
    /// Why, in words.
    pub why: String,
}

/// The order as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverReply {
    /// What was approved.
    pub approval: Approval,
    /// What could be lost at most, in seconds, as the controller that was asked knows it; `None`: nobody knows.
    pub loss_s_max: Option<u64>,
}

impl Orders {
    /// What a change comes to on these orders; `Err` is the caller's fault, in words. For the register's drivers.
    pub fn changed_by(&self, request: OrdersRequest) -> Result<OrdersReply, String> {
        let OrdersRequest { expected_version, orders } = request;
        if Some(orders.version) != expected_version.checked_add(1) {
            return Err(format!(
                "the new orders have version {}, it must be the expected version {expected_version} plus one",
                orders.version
            ));
        }
        if *self == orders {
            return Ok(OrdersReply::Set(orders));
        }
        if self.version != expected_version {
            return Ok(OrdersReply::Stale(self.clone()));
        }
        Ok(OrdersReply::Set(orders))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_change_only_from_the_version_that_was_read_and_a_repetition_is_set_again() {
        let at = |version| Orders { version, observe: version == 1, ..Orders::default() };
        let ask = |expected_version, orders| OrdersRequest { expected_version, orders };
        assert_eq!(at(0).changed_by(ask(0, at(1))), Ok(OrdersReply::Set(at(1))));
        assert_eq!(at(1).changed_by(ask(0, at(1))), Ok(OrdersReply::Set(at(1))), "the answer had been lost");
        let other = Orders { observe: false, ..at(1) };
        assert_eq!(at(1).changed_by(ask(0, other)), Ok(OrdersReply::Stale(at(1))));
        assert!(at(1).changed_by(ask(1, at(3))).unwrap_err().contains("plus one"));
    }
}
