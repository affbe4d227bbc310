//! The drivers against the real things.

#[cfg(test)]
mod mariadb;
