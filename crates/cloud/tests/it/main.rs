//! The drivers against the real things.

#[cfg(all(test, feature = "etcd"))]
mod etcd;
#[cfg(test)]
mod mariadb;
