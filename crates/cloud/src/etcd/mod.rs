//! The register in a cluster of etcd, for those who want no machine of which the register cannot do without.
//!
//! Three keys below one prefix: `register` holds the record as JSON, `orders` the operators' orders, `leader` the name of
//! who leads, tied to a lease of etcd's. Nothing else of the cluster is touched.
//!
//! **Compare-and-set.** The record is read, judged, and replaced in a transaction that compares the key's *mod revision*
//! with the one that was read. Not the record's own version: that number stands inside the value, where a transaction
//! cannot look, and somebody who restores an older value by hand uses a number twice. Not etcd's own count of the
//! key's changes either: it begins anew when a key is deleted and written again. A mod revision is never used twice in
//! a cluster's life, so what was judged is exactly what is replaced, or nothing is.
//!
//! So a transaction may be sent again, to another member, while the first is still under way: at most one of them finds
//! the revision that it names. The one that comes late finds our own record and is told as success; or a newer one, if somebody
//! was fast: then what took effect is told as stale, with the record that stands now, as if the answer had been lost.
//!
//! **Reads** are linearizable: the member that answers has asked the majority first. A member that is cut off from the
//! others says so or stays silent; it never tells of yesterday.
//!
//! **The lease** ends by the clock of etcd's leader, in whole seconds: never sooner than was asked for. A leader of etcd
//! that is lost lengthens leases by up to one election.
//!
//! **Time.** Every question has one limit for everything: all members, all attempts ([`members`]).

mod examine;
mod members;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use etcd_client::{Client, Compare, CompareOp, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};
use model::{
    Register as Record,
    register::{
        CasReply, CasRequest, Halt, Lease, LeaseReply, LeaseRequest, Orders, OrdersReply, OrdersRequest,
    },
};
use runtime::clock::Wall;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::register::{EtcdConfig, Examined, Register, RegisterError, judge};
use members::{Members, gone};

/// A register in etcd. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct EtcdRegister(Arc<Inner>);

struct Inner {
    members: Members,
    /// Where the record is.
    record: String,
    /// Where the leader's name is.
    leader: String,
    /// Where the orders are.
    orders: String,
    /// What a new installation begins with, where it may be begun from here.
    first: Option<Record>,
    /// The record was there once: a cluster without it is no new installation.
    seen: AtomicBool,
}

impl fmt::Debug for EtcdRegister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdRegister")
            .field("members", &self.0.members)
            .field("record", &self.0.record)
            .finish()
    }
}

/// A value with the revision of the change that wrote it.
struct Standing<T> {
    value: T,
    revision: i64,
}

/// Who leads, as the key says.
struct Held {
    holder: String,
    lease: i64,
    revision: i64,
}

impl EtcdRegister {
    /// The register of this cluster. Nothing is sent before the first question.
    pub fn new(config: EtcdConfig) -> EtcdRegister {
        EtcdRegister(Arc::new(Inner {
            record: format!("{}/register", config.prefix),
            leader: format!("{}/leader", config.prefix),
            orders: format!("{}/orders", config.prefix),
            first: config.first.clone(),
            seen: AtomicBool::new(false),
            members: Members::new(config),
        }))
    }

    /// Everything that can be told of the cluster's health.
    pub(crate) async fn examine(&self) -> Vec<Examined> {
        let (read, mut found) = tokio::join!(self.read(), examine::members(&self.0.members));
        found.push(Examined::of_read(read, "without a majority of its members etcd answers nothing"));
        found
    }

    /// The record as it stands; that of a new installation is written first.
    async fn standing(&self, by: Instant) -> Result<Standing<Record>, RegisterError> {
        let key = &self.0.record;
        if let Some(found) = self.get(by, key).await? {
            self.0.seen.store(true, Ordering::Relaxed);
            return parsed(key, &found);
        }
        let Some(first) = self.0.first.as_ref().filter(|_| !self.0.seen.load(Ordering::Relaxed)) else {
            return Err(self.absent());
        };
        // Of several who begin at once one is first; the others read what that one wrote.
        match self.put_if(by, key, 0, first).await? {
            Put::Done { revision } => Ok(Standing { value: first.clone(), revision }),
            Put::Instead(standing) => Ok(standing),
            Put::Gone => Err(RegisterError::Unreachable("its first record came and went; ask again".into())),
        }
    }

    /// Writes `value` if the key still is at `revision` (0: it is not there).
    async fn put_if<T: Serialize + DeserializeOwned>(
        &self,
        by: Instant,
        key: &str,
        revision: i64,
        value: &T,
    ) -> Result<Put<T>, RegisterError> {
        let value = serde_json::to_vec(value)
            .map_err(|e| RegisterError::Refused(format!("it cannot be written as JSON: {e}")))?;
        let swap = Txn::new()
            .when([Compare::mod_revision(key, CompareOp::Equal, revision)])
            .and_then([TxnOp::put(key, value, None)])
            .or_else([TxnOp::get(key, None)]);
        let swap = |mut client: Client| {
            let swap = swap.clone();
            async move { client.txn(swap).await }
        };
        let reply = self.0.members.ask(by, "changing the register", swap).await?;
        if reply.succeeded() {
            return Ok(Put::Done { revision: reply.header().map_or(0, |header| header.revision()) });
        }
        match found_instead(&reply) {
            Some(found) => parsed(key, &found).map(Put::Instead),
            None => Ok(Put::Gone),
        }
    }

    fn absent(&self) -> RegisterError {
        let (what, fix) = match self.0.seen.load(Ordering::Relaxed) {
            true => (
                "the record was there and is gone",
                "stop all controllers; put the last record back, not behind the epoch in any database's \
                 ghostlight.site row",
            ),
            false => (
                "there is no record yet",
                "start the witness's controller, which writes the first one; if there was one, check \
                 register.endpoints and register.prefix",
            ),
        };
        unusable(&self.0.record, what.into(), fix.into())
    }

    /// The orders as they stand; at revision 0 where nobody has ever ordered anything.
    async fn standing_orders(&self, by: Instant) -> Result<Standing<Orders>, RegisterError> {
        let key = &self.0.orders;
        let Some(found) = self.get(by, key).await? else {
            return Ok(Standing { value: Orders::default(), revision: 0 });
        };
        parsed(key, &found).or_else(|e| {
            // As with the file: nobody knows what was ordered, so everything stands still until it is ordered anew.
            let why = format!("{e}. Order anew what is to stand, then lift the stop");
            let stopped = Some(Halt { by: "the register".into(), why, at_ms: Wall::now().as_ms() });
            Ok(Standing { value: Orders { stopped, ..Orders::default() }, revision: found.mod_revision() })
        })
    }

    // === The lease ===

    /// Who holds the lease, by the key.
    async fn held(&self, by: Instant) -> Result<Option<Held>, RegisterError> {
        let found = self.get(by, &self.0.leader).await?;
        found.map(|found| self.holder(&found)).transpose()
    }

    fn holder(&self, found: &KeyValue) -> Result<Held, RegisterError> {
        if found.lease() == 0 {
            return Err(unusable(
                &self.0.leader,
                "it belongs to no lease, so it would never end: it was not written by a controller".into(),
                format!("delete it: `etcdctl del {}`", self.0.leader),
            ));
        }
        Ok(Held {
            holder: String::from_utf8_lossy(found.value()).into_owned(),
            lease: found.lease(),
            revision: found.mod_revision(),
        })
    }

    /// Prolongs a lease; the seconds that it lasts now, or `None` if it has ended.
    async fn renew(&self, by: Instant, lease: i64) -> Result<Option<i64>, RegisterError> {
        let renew = |mut client: Client| async move {
            let told = async {
                let (mut keeper, mut answers) = client.lease_keep_alive(lease).await?;
                // Opening the stream has renewed it already; the second answer is the first that tells for how long.
                keeper.keep_alive().await?;
                answers.message().await
            };
            Ok(gone(told.await)?.flatten().map(|answer| answer.ttl()).filter(|ttl_s| *ttl_s > 0))
        };
        self.0.members.ask(by, "renewing the leader's lease", renew).await
    }

    /// Takes the lease for `holder` where the key is at `revision` (0: absent). The seconds that it lasts, or `None` if
    /// somebody was faster.
    async fn take(
        &self,
        by: Instant,
        revision: i64,
        holder: &str,
        ttl_s: i64,
    ) -> Result<Option<i64>, RegisterError> {
        // One that is not used in the end is nobody's, and ends by itself.
        let grant = |mut client: Client| async move { client.lease_grant(ttl_s, None).await };
        let granted = self.0.members.ask(by, "granting a lease", grant).await?;
        let key = self.0.leader.as_str();
        let options = PutOptions::new().with_lease(granted.id());
        let take = Txn::new()
            .when([Compare::mod_revision(key, CompareOp::Equal, revision)])
            .and_then([TxnOp::put(key, holder, Some(options))])
            .or_else([TxnOp::get(key, None)]);
        let take = |mut client: Client| {
            let take = take.clone();
            async move { gone(client.txn(take).await) }
        };
        let Some(reply) = self.0.members.ask(by, "taking the leader's lease", take).await? else {
            return Ok(None); // it ended while we were still at it
        };
        // Asked twice, the second finds what the first has done.
        let mine = || found_instead(&reply).is_some_and(|found| found.lease() == granted.id());
        Ok((reply.succeeded() || mine()).then(|| granted.ttl()))
    }

    async fn give_up(&self, by: Instant, lease: i64) -> Result<(), RegisterError> {
        let revoke = |mut client: Client| async move { gone(client.lease_revoke(lease).await) };
        self.0.members.ask(by, "giving the leader's lease up", revoke).await.map(drop)
    }

    /// The seconds that a lease lasts if nobody renews it; nothing if it has ended.
    async fn left(&self, by: Instant, lease: i64) -> Result<Option<i64>, RegisterError> {
        let look = |mut client: Client| async move { gone(client.lease_time_to_live(lease, None).await) };
        let told = self.0.members.ask(by, "looking at the leader's lease", look).await?;
        // etcd rounds down, and tells of one that has ended by a negative number.
        Ok(told.map(|told| told.ttl()).filter(|ttl_s| *ttl_s >= 0).map(|ttl_s| ttl_s + 1))
    }

    // === Questions ===

    async fn get(&self, by: Instant, key: &str) -> Result<Option<KeyValue>, RegisterError> {
        let get = |mut client: Client| {
            let key = key.to_owned();
            async move { client.get(key, None).await }
        };
        Ok(self.0.members.ask(by, "reading", get).await?.take_kvs().into_iter().next())
    }
}

impl Register for EtcdRegister {
    async fn read(&self) -> Result<Record, RegisterError> {
        Ok(self.standing(self.0.members.deadline()).await?.value)
    }

    async fn cas(&self, request: CasRequest) -> Result<CasReply, RegisterError> {
        let by = self.0.members.deadline();
        let mut standing = self.standing(by).await?;
        loop {
            let record = match judge(&standing.value, request.clone())? {
                CasReply::Swapped(record) if record != standing.value => record,
                decided => return Ok(decided),
            };
            standing = match self.put_if(by, &self.0.record, standing.revision, &record).await? {
                Put::Done { .. } => return Ok(CasReply::Swapped(record)),
                // Each turn means that somebody changed the key; a change of ours has another version.
                Put::Instead(other) => other,
                Put::Gone => return Err(self.absent()),
            };
        }
    }

    async fn orders(&self) -> Result<Orders, RegisterError> {
        Ok(self.standing_orders(self.0.members.deadline()).await?.value)
    }

    async fn set_orders(&self, request: OrdersRequest) -> Result<OrdersReply, RegisterError> {
        let by = self.0.members.deadline();
        loop {
            let standing = self.standing_orders(by).await?;
            let decided = standing.value.changed_by(request.clone()).map_err(RegisterError::Refused)?;
            let orders = match &decided {
                OrdersReply::Set(orders) if *orders != standing.value => orders,
                _ => return Ok(decided),
            };
            if let Put::Done { .. } = self.put_if(by, &self.0.orders, standing.revision, orders).await? {
                return Ok(decided);
            }
            // Somebody changed them: look what stands now.
        }
    }

    async fn lease(&self, request: LeaseRequest) -> Result<LeaseReply, RegisterError> {
        let by = self.0.members.deadline();
        let LeaseRequest { holder, ttl_ms } = request;
        let ttl_s = i64::try_from(ttl_ms.div_ceil(1_000)).unwrap_or(i64::MAX);
        let mine = |ttl_s: i64| LeaseReply {
            granted: true,
            lease: Lease { holder: holder.clone(), remaining_ms: ms(ttl_s) },
        };
        let free = LeaseReply { granted: false, lease: Lease { holder: String::new(), remaining_ms: 0 } };
        loop {
            let held = self.held(by).await?;
            let revision = match held {
                Some(held) if held.holder != holder => match self.left(by, held.lease).await? {
                    Some(ttl_s) => {
                        let lease = Lease { holder: held.holder, remaining_ms: ms(ttl_s) };
                        return Ok(LeaseReply { granted: false, lease });
                    }
                    // It has ended; etcd deletes the key within half a second. Until then it is nobody's.
                    None => return Ok(free),
                },
                Some(held) if ttl_ms == 0 => {
                    self.give_up(by, held.lease).await?;
                    return Ok(free);
                }
                Some(held) => match self.renew(by, held.lease).await? {
                    Some(lasts_s) if lasts_s >= ttl_s => return Ok(mine(lasts_s)),
                    // It ended a moment ago, or is shorter than what is asked for now: a new one in its place.
                    _ => held.revision,
                },
                None if ttl_ms == 0 => return Ok(free),
                None => 0,
            };
            if let Some(lasts_s) = self.take(by, revision, &holder, ttl_s).await? {
                return Ok(mine(lasts_s));
            }
            // Somebody was faster: look who.
        }
    }
}

/// What a conditional write came to.
enum Put<T> {
    /// It is written.
    Done { revision: i64 },
    /// Somebody was faster: this stands there.
    Instead(Standing<T>),
    /// There is no such key any more.
    Gone,
}

fn parsed<T: DeserializeOwned>(key: &str, found: &KeyValue) -> Result<Standing<T>, RegisterError> {
    match serde_json::from_slice(found.value()) {
        Ok(value) => Ok(Standing { value, revision: found.mod_revision() }),
        Err(e) => Err(unusable(
            key,
            format!("its {} bytes are nothing that we wrote ({e})", found.value().len()),
            format!(
                "stop all controllers; `etcdctl get --rev={} {key}` shows what was there before, if etcd still has it; \
                 put the value back that is not behind the epoch in any database's ghostlight.site row",
                found.mod_revision() - 1
            ),
        )),
    }
}

fn unusable(key: &str, what: String, fix: String) -> RegisterError {
    RegisterError::Unusable { place: format!("etcd's key {key}"), what, fix }
}

/// What the branch for "it was changed" has read.
fn found_instead(reply: &TxnResponse) -> Option<KeyValue> {
    reply.op_responses().into_iter().find_map(|op| match op {
        TxnOpResponse::Get(mut found) => found.take_kvs().into_iter().next(),
        _ => None,
    })
}

fn ms(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000)
}
