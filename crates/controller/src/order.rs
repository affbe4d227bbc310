//! An operator's order for a failover: checked against what is known here, then put into the register's orders.
//!
//! Nothing is carried out here. Whoever leads finds the approval with the orders that it reads, and judges it like
//! everything else.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use cloud::register::{AnyRegister, Register as _};
use model::{
    Site,
    orders::{Approval, FailoverReply, FailoverRequest, Orders, OrdersReply, OrdersRequest},
};
use runtime::{admin::ApiError, clock::Wall};
use tokio::sync::watch;

use crate::api::{Snapshot, refusal};

/// An approval that nobody could carry out for so long is void: the world is another one by then.
const APPROVAL_LASTS: Duration = Duration::from_secs(60);

/// Others may change the orders at the same time; they do not for long.
const ATTEMPTS: usize = 8;

/// What the order needs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Desk {
    /// The register.
    pub register: AnyRegister,
    /// What is known here.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// The two sites.
    pub sites: [Site; 2],
}

/// `POST /v1/failover`.
pub async fn failover(
    State(desk): State<Desk>,
    Json(request): Json<FailoverRequest>,
) -> Result<Json<FailoverReply>, ApiError> {
    let record = desk.register.read().await.map_err(refusal)?;
    if record.epoch != request.epoch {
        return Err(ApiError::conflict(format!(
            "the register is at epoch {} of {}, the order names epoch {}: look again, then type the epoch that is to end",
            record.epoch, record.primary, request.epoch
        )));
    }
    let to = desk.sites.iter().find(|site| **site != record.primary).cloned();
    let to = to.ok_or_else(|| ApiError::unavailable("the register names no site of the topology"))?;
    let loss_s_max = desk.snapshot.borrow().view.as_ref().and_then(|view| view.loss_s_max);
    if let Some(why) = beyond(request.accept_loss_s, loss_s_max, &to) {
        return Err(ApiError::conflict(why));
    }
    let FailoverRequest { epoch, accept_loss_s, by, why } = request;
    let lasts_ms = u64::try_from(APPROVAL_LASTS.as_millis()).unwrap_or(u64::MAX);
    let until_ms = Wall::now().as_ms().saturating_add(lasts_ms);
    let approval = Approval { epoch, to, accept_loss_s, by, why, until_ms };
    for _ in 0..ATTEMPTS {
        let known = desk.register.orders().await.map_err(refusal)?;
        if let Some(halt) = &known.stopped {
            return Err(ApiError::conflict(format!(
                "everything is stopped by {} ({}); `ghostlight stop --lift` first",
                halt.by, halt.why
            )));
        }
        let orders = Orders { version: known.version + 1, approval: Some(approval.clone()), ..known.clone() };
        let wanted = OrdersRequest { expected_version: known.version, orders };
        if let OrdersReply::Set(_) = desk.register.set_orders(wanted).await.map_err(refusal)? {
            tracing::warn!(?approval, "an operator has ordered a failover");
            return Ok(Json(FailoverReply { approval, loss_s_max }));
        }
    }
    Err(ApiError::unavailable("others change the orders all the time; ask again"))
}

/// Why the accepted loss does not cover what could be lost, if so.
fn beyond(accepted_s: u64, loss_s_max: Option<u64>, to: &Site) -> Option<String> {
    match loss_s_max {
        _ if accepted_s == Approval::ANY_LOSS => None,
        Some(loss_s) => (loss_s > accepted_s).then(|| {
            format!("{to} may lack up to {loss_s} s of acknowledged writes, {accepted_s} s were accepted")
        }),
        None => {
            Some(format!("how much {to} lacks is not known here; only `--accept-data-loss any` covers that"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accepted_loss_must_cover_what_is_known_and_only_any_covers_what_is_not() {
        let check = |accepted, loss, refused| {
            assert_eq!(beyond(accepted, loss, &Site::new("aws")).is_some(), refused, "{accepted} {loss:?}");
        };
        check(0, Some(0), false);
        check(0, Some(1), true);
        check(30, Some(30), false);
        check(30, None, true);
        check(Approval::ANY_LOSS, None, false);
        check(Approval::ANY_LOSS, Some(900), false);
    }
}
