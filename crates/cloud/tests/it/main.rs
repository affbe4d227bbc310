//! The drivers against the real things.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it needs by failing")]

#[cfg(all(test, feature = "etcd"))]
mod etcd;
#[cfg(test)]
mod mariadb;
