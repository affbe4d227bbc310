//! Drivers for what stands outside: the register, and what a provider (or this machine) offers.
//!
//! One folder a provider. A driver does what it is asked, says how it went and whose fault it was, and never
//! knows why it is being asked.

#[cfg(feature = "etcd")]
pub mod etcd;
pub mod local;
pub mod provider;
pub mod register;
