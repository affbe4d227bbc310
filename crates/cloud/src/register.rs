//! The register, as its drivers offer it: read, compare-and-set, the leader's lease, and the operators' orders.
//!
//! Always true of every driver:
//! - a record that was read, or told as `Swapped`, is durable: no later restart takes it back;
//! - of two compare-and-sets that name the same version, at most one becomes the record;
//! - an error of [`Register::cas`] says nothing about the outcome. Repeating the identical request is safe: it
//!   is answered `Swapped` if it had succeeded and nothing newer came after it;
//! - the orders are a key of their own with a version of their own: changing them changes no record, and the other way
//!   round. What was said of the record's durability and of racers is true of them, too;
//! - the lease only avoids double work; no driver promises that two never believe they hold it.

use std::sync::Arc;

use model::{
    Register as Record,
    register::{CasReply, CasRequest, LeaseReply, LeaseRequest, Orders, OrdersReply, OrdersRequest},
};

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
    #[error(
        "the register could not store the change: {what}: {source}; free space or mend the disk of that folder"
    )]
    Storage {
        /// The act that failed, with its file.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The operator's to mend: the stored record cannot be trusted, or somebody else holds it. Asking again
    /// changes nothing.
    #[error("the register file {file} cannot be used: {what}; {fix}")]
    Unusable {
        /// Which file.
        file: String,
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
    Remote(RemoteRegister),
}

impl Register for AnyRegister {
    async fn read(&self) -> Result<Record, RegisterError> {
        match self {
            AnyRegister::File(driver) => driver.read().await,
            AnyRegister::Remote(driver) => driver.read().await,
        }
    }

    async fn cas(&self, request: CasRequest) -> Result<CasReply, RegisterError> {
        match self {
            AnyRegister::File(driver) => driver.cas(request).await,
            AnyRegister::Remote(driver) => driver.cas(request).await,
        }
    }

    async fn lease(&self, request: LeaseRequest) -> Result<LeaseReply, RegisterError> {
        match self {
            AnyRegister::File(driver) => driver.lease(request).await,
            AnyRegister::Remote(driver) => driver.lease(request).await,
        }
    }

    async fn orders(&self) -> Result<Orders, RegisterError> {
        match self {
            AnyRegister::File(driver) => driver.orders().await,
            AnyRegister::Remote(driver) => driver.orders().await,
        }
    }

    async fn set_orders(&self, request: OrdersRequest) -> Result<OrdersReply, RegisterError> {
        match self {
            AnyRegister::File(driver) => driver.set_orders(request).await,
            AnyRegister::Remote(driver) => driver.set_orders(request).await,
        }
    }
}
