//! The database: one short transaction an operation, and no connection held across anything else.
//!
//! Each operation is a closure that runs on a connection of its own task, so that a visitor who hangs up never
//! leaves a transaction half done. Every refusal of the server is sorted into one of a few kinds, here and nowhere
//! else.
//!
//! Must not know: HTTP, pages, languages.

mod account;
mod batch;
mod booking;
mod cancel;
mod catalogue;
mod fresh;
mod hook;
mod intent;
mod kinds;
pub(crate) mod migrate;
mod organiser;
mod outbox;
mod partner;
mod pool;
mod programme;
mod queue;
mod sql;
mod transfer;
mod waitlist;

pub use account::Account;
pub use booking::{Booked, Cancelled, NewBooking, Ticket};
pub use cancel::Cancellable;
pub use hook::{Delivery, Webhook};
pub use intent::Intent;
pub use organiser::{Audited, Line, Sales};
pub use outbox::Due;
pub use pool::Store;
pub use programme::{Kept, NewPerformance, NewShow};
pub use queue::{Inside, Joined, Joining};
pub use transfer::{OwedByBank, Transfer, TransferState};
pub use waitlist::{Line as WaitLine, MadeOffer, Offered, Wait};

/// How many steps bring an empty database to what this program expects.
pub fn migrations() -> usize {
    migrate::count()
}

/// Why an operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or refuses this account. Nobody's fault; ask again in a moment. A write that
    /// was under way may or may not have happened: repeat it with the same key.
    #[error("the database does not answer for now: {0}")]
    NotNow(String),
    /// A unique key refused, so what was read before is out of date: read again.
    #[error("the key {0} refused")]
    Duplicate(String),
    /// A condition written into the statement was not met, so what was read before is out of date: read again.
    #[error("a condition was not met: {0}")]
    Condition(String),
    /// A statement of ours is wrong. Retrying changes nothing.
    #[error("the database refused a statement: {0}")]
    Broken(String),
}

/// What to do about an answer of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Deadlock or lock wait: the same again.
    Again,
    /// A unique key, by its name.
    Duplicate(String),
    /// A condition of ours.
    Condition,
    /// The connection is gone, or the server refuses this account for now.
    Gone,
    /// The connection stands, but the server refuses to write for now.
    Refused,
    /// Ours.
    Broken,
}

/// Sorts an error of the driver.
pub(crate) fn classify(error: &mysql_async::Error) -> Fault {
    use mysql_async::{DriverError, Error};
    match error {
        Error::Server(e) => classify_code(e.code, &e.message),
        Error::Io(_) => Fault::Gone,
        Error::Driver(
            DriverError::ConnectionClosed
            | DriverError::PoolDisconnected
            | DriverError::PacketOutOfOrder
            | DriverError::UnexpectedPacket { .. },
        ) => Fault::Gone,
        Error::Driver(_) | Error::Other(_) | Error::Url(_) => Fault::Broken,
    }
}

fn classify_code(code: u16, message: &str) -> Fault {
    match code {
        // Deadlock, lock wait timeout, record changed since last read.
        1213 | 1205 | 1020 => Fault::Again,
        1062 => Fault::Duplicate(key_name(message).to_owned()),
        // Column cannot be null: how a multi-statement packet says "the UPDATE before me missed".
        1048 => Fault::Condition,
        // Too many connections, host blocked, shutdown, killed, access denied, locked, unknown database, gone away.
        1040
        | 1041
        | 1045
        | 1049
        | 1053
        | 1077
        | 1079
        | 1080
        | 1129
        | 1130
        | 1158..=1161
        | 1184
        | 1203
        | 1226
        | 1317
        | 1698
        | 1927
        | 1969
        | 2006
        | 2013
        | 3032
        | 3118
        | 3159
        | 4031
        | 4151 => Fault::Gone,
        // Database or table denied, read only.
        1044 | 1142 | 1290 | 1792 | 1836 => Fault::Refused,
        _ => Fault::Broken,
    }
}

/// `Duplicate entry '1-A-1-1' for key 'PRIMARY'` → `PRIMARY`. MySQL 8 writes `table.key`.
fn key_name(message: &str) -> &str {
    let name = message.rsplit('\'').nth(1).unwrap_or("");
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_kind() {
        assert_eq!(classify_code(1213, "Deadlock found"), Fault::Again);
        assert_eq!(classify_code(4151, "Access denied, this account is locked"), Fault::Gone);
        assert_eq!(classify_code(3118, "Access denied for user. Account is locked."), Fault::Gone);
        assert_eq!(classify_code(1927, "Connection was killed"), Fault::Gone);
        assert_eq!(classify_code(1290, "running with the --read-only option"), Fault::Refused);
        assert_eq!(classify_code(1064, "You have an error in your SQL syntax"), Fault::Broken);
        let duplicate = |m: &str| classify_code(1062, m);
        assert_eq!(
            duplicate("Duplicate entry '1-A-1' for key 'PRIMARY'"),
            Fault::Duplicate("PRIMARY".into())
        );
        assert_eq!(
            duplicate("Duplicate entry 'x' for key 'bookings.bookings_no'"),
            Fault::Duplicate("bookings_no".into())
        );
    }
}
