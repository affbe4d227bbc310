//! The register, as its drivers offer it: read, compare-and-set, the leader's lease, and the operators' orders.
//!
//! Always true of every driver:
//! - a record that was read, or told as `Swapped`, is durable: no later restart takes it back;
//! - of two compare-and-sets that name the same version, at most one becomes the record;
//! - an error of [`Register::cas`] says nothing about the outcome. Repeating the identical request is safe: it
//!   is answered `Swapped` if it had succeeded and nothing newer came after it;
//! - the orders are a key of their own with a version of their own: changing them changes no record, and the other way
//!   round. What was said of the record's durability and of racers is true of them, too;
//! - a request that makes no sense (a version that is skipped, an epoch that goes back) changes nothing;
//! - a lease lasts at least as long as was asked for, unless the register itself was away. It only avoids double work:
//!   no driver promises that two never believe they hold it;
//! - a question ends in bounded time, with an answer or an error.
//!
//! One suite of tests holds every driver to this: `controller/tests/it/register.rs`.

use std::{sync::Arc, time::Duration};

use model::{
    Register as Record,
    register::{CasReply, CasRequest, LeaseReply, LeaseRequest, Orders, OrdersReply, OrdersRequest},
    sabotage::{self, Sabotage},
};
use runtime::secret::Secret;

#[cfg(feature = "etcd")]
use crate::etcd::EtcdRegister;
use crate::local::{register_file::RegisterFile, register_remote::RemoteRegister};

/// What a register does for us.
pub trait Register: Send + Sync {
    /// The record as it stands.
    fn read(&self) -> impl Future<Output = Result<Record, RegisterError>> + Send;

    /// Replaces the record if it is still at the expected version.
    fn cas(&self, request: CasRequest) -> impl Future<Output = Result<CasReply, RegisterError>> + Send;

    /// Takes, renews, gives up (`ttl_ms` 0 by the holder) or looks at (`ttl_ms` 0 by another) the leader's lease.
    fn lease(&self, request: LeaseRequest) -> impl Future<Output = Result<LeaseReply, RegisterError>> + Send;

    /// The operators' orders as they stand; the default ones, version 0, where nobody has ever ordered anything.
    fn orders(&self) -> impl Future<Output = Result<Orders, RegisterError>> + Send;

    /// Replaces the orders if they are still at the expected version ([`Orders::changed_by`] says what it comes to).
    fn set_orders(
        &self,
        request: OrdersRequest,
    ) -> impl Future<Output = Result<OrdersReply, RegisterError>> + Send;
}

/// Why the register gave no answer, by what may be done about it.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The network's or the witness's fault. Ask again; a compare-and-set may have taken effect.
    #[error("the register did not answer: {0}")]
    Unreachable(String),
    /// The caller's fault: asking the same again changes nothing.
    #[error("the register refused the request: {0}")]
    Refused(String),
    /// The disk's fault: the change may or may not survive a restart. Ask again once the disk takes writes.
    #[error("the register could not store the change: {what}: {source}; free space or mend the disk there")]
    Storage {
        /// The act that failed, with its file.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The operator's to mend: the stored record cannot be trusted, or somebody else holds it. Asking again
    /// changes nothing.
    #[error("the register in {place} cannot be used: {what}; {fix}")]
    Unusable {
        /// Where it is kept: a file, or a key.
        place: String,
        /// What is wrong with it.
        what: String,
        /// What to do.
        fix: String,
    },
}

impl RegisterError {
    /// Whether asking the same again may help.
    pub fn is_worth_retrying(&self) -> bool {
        matches!(self, RegisterError::Unreachable(_) | RegisterError::Storage { .. })
    }
}

/// One of the drivers, chosen at the start. Cheap to clone.
#[derive(Clone, Debug)]
pub enum AnyRegister {
    /// The file itself: in the witness's process alone.
    File(Arc<RegisterFile>),
    /// The witness's admin API: everywhere else.
    Remote(Box<RemoteRegister>),
    /// A cluster of etcd: everywhere alike.
    #[cfg(feature = "etcd")]
    Etcd(EtcdRegister),
}

/// How a cluster of etcd is reached.
#[derive(Clone, Debug)]
pub struct EtcdConfig {
    /// Its members, `http://…` or `https://…`.
    pub endpoints: Vec<String>,
    /// What our keys begin with, e.g. `/ghostlight`.
    pub prefix: String,
    /// Name and password, where the cluster asks for them.
    pub user: Option<(String, Secret)>,
    /// How members and we prove who we are; needed with `https://`.
    pub tls: Option<EtcdTls>,
    /// How long one question may take, over all members and attempts.
    pub limit: Duration,
    /// The record of a new installation. Only who may begin one has it: the witness.
    pub first: Option<Record>,
}

/// Certificates, as PEM.
#[derive(Clone, Debug)]
pub struct EtcdTls {
    /// Of the authority that signed the members' certificates.
    pub authority: Vec<u8>,
    /// Our own certificate and its key, where the cluster asks for one.
    pub identity: Option<(Vec<u8>, Secret)>,
}

impl AnyRegister {
    /// The register in a cluster of etcd. Nothing is sent before the first question.
    #[cfg(feature = "etcd")]
    pub fn etcd(config: EtcdConfig) -> Result<AnyRegister, RegisterError> {
        Ok(AnyRegister::Etcd(EtcdRegister::new(config)))
    }

    /// This program was built without the driver.
    #[cfg(not(feature = "etcd"))]
    pub fn etcd(_: EtcdConfig) -> Result<AnyRegister, RegisterError> {
        Err(RegisterError::Refused(
            "this program was built without etcd; build it with cloud's feature `etcd`, which is on by default".into(),
        ))
    }

    /// Whether the register itself is here, so that this process may answer for it. Not so the witness's, seen from a
    /// site: that would be one more that has to be there.
    pub fn is_at_hand(&self) -> bool {
        !matches!(self, AnyRegister::Remote(_))
    }

    /// Everything that can be told of the register's health, for people.
    pub async fn examine(&self) -> Vec<Examined> {
        match self {
            #[cfg(feature = "etcd")]
            AnyRegister::Etcd(driver) => driver.examine().await,
            _ => vec![Examined::of_read(self.read().await, "start the witness's controller")],
        }
    }
}

/// What one look at the register found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// What was looked at, in one word as scripts want it: `register`, `register_member`, …
    pub check: &'static str,
    /// What was found.
    pub finding: Found,
}

/// A finding, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// As it should be.
    Ok(String),
    /// To be mended.
    Wrong {
        /// What is wrong.
        what: String,
        /// What to do.
        fix: String,
    },
    /// No answer; why, and what to do.
    Silent(String),
}

impl Examined {
    /// What reading the record came to; `wake` is what to do where nobody answers.
    pub(crate) fn of_read(read: Result<Record, RegisterError>, wake: &str) -> Examined {
        let finding = match read {
            Ok(r) => Found::Ok(format!("epoch {} of {}, {}", r.epoch, r.primary, r.mode)),
            Err(RegisterError::Unusable { place, what, fix }) => {
                Found::Wrong { what: format!("{place}: {what}"), fix }
            }
            Err(e) => Found::Silent(format!("{e}; {wake}")),
        };
        Examined { check: "register", finding }
    }
}

/// What a compare-and-set comes to on this record. Every driver that keeps the record itself asks here.
pub fn judge(standing: &Record, request: CasRequest) -> Result<CasReply, RegisterError> {
    let CasRequest { expected_version, record } = request;
    if Some(record.version) != expected_version.checked_add(1) {
        return Err(RegisterError::Refused(format!(
            "the new record has version {}, it must be the expected version {expected_version} plus one",
            record.version
        )));
    }
    if *standing == record {
        return Ok(CasReply::Swapped(record));
    }
    if standing.version != expected_version && !sabotage::is(Sabotage::SetWithoutCompare) {
        return Ok(CasReply::Stale(standing.clone()));
    }
    if record.epoch < standing.epoch {
        return Err(RegisterError::Refused(format!(
            "the epoch would go back from {} to {}",
            standing.epoch, record.epoch
        )));
    }
    Ok(CasReply::Swapped(record))
}

impl Register for AnyRegister {
    async fn read(&self) -> Result<Record, RegisterError> {
        match self {
            AnyRegister::File(driver) => driver.read().await,
            AnyRegister::Remote(driver) => driver.read().await,
            #[cfg(feature = "etcd")]
            AnyRegister::Etcd(driver) => driver.read().await,
        }
    }

    async fn cas(&self, request: CasRequest) -> Result<CasReply, RegisterError> {
        match self {
            AnyRegister::File(driver) => driver.cas(request).await,
            AnyRegister::Remote(driver) => driver.cas(request).await,
            #[cfg(feature = "etcd")]
            AnyRegister::Etcd(driver) => driver.cas(request).await,
        }
    }

    async fn lease(&self, request: LeaseRequest) -> Result<LeaseReply, RegisterError> {
        match self {
            AnyRegister::File(driver) => driver.lease(request).await,
            AnyRegister::Remote(driver) => driver.lease(request).await,
            #[cfg(feature = "etcd")]
            AnyRegister::Etcd(driver) => driver.lease(request).await,
        }
    }

    async fn orders(&self) -> Result<Orders, RegisterError> {
        match self {
            AnyRegister::File(driver) => driver.orders().await,
            AnyRegister::Remote(driver) => driver.orders().await,
            #[cfg(feature = "etcd")]
            AnyRegister::Etcd(driver) => driver.orders().await,
        }
    }

    async fn set_orders(&self, request: OrdersRequest) -> Result<OrdersReply, RegisterError> {
        match self {
            AnyRegister::File(driver) => driver.set_orders(request).await,
            AnyRegister::Remote(driver) => driver.set_orders(request).await,
            #[cfg(feature = "etcd")]
            AnyRegister::Etcd(driver) => driver.set_orders(request).await,
        }
    }
}
