//! Opening connections to one's own database, and telling its errors apart.
//!
//! Every session of the agent begins with the same settings, whatever the server's own defaults are: UTC, utf8mb4,
//! a strict and known `sql_mode`, and affected rows that count *matched* rows. Nothing here knows what the
//! connection is for.

use std::{net::SocketAddr, time::Duration};

use mysql_async::{Conn, DriverError, Error, OptsBuilder};
use runtime::secret::Secret;

/// How long the TCP connection and the login may take together.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// The protocol's own limit. What the server takes is its `max_allowed_packet`, but what it sends may be larger: an event
/// of its log holds a row before and after.
const PACKET_BYTES_MAX: usize = 1 << 30;

/// The `sql_mode` of every session of ours.
///
/// Strict: a value that does not fit is an error and never silently another value. Zero dates and days like
/// 30 February may stand in the application's tables, so they must be writable. 0 in an AUTO_INCREMENT column
/// means 0.
pub const SQL_MODE: &str =
    "STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION";

/// Where a database is and who we are there.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// The application's own endpoint, never a read-splitting proxy.
    pub address: SocketAddr,
    /// The agent's account.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// What went wrong between us and our database, by what there is to do about it.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Nothing answers at the address. Retry: the server may be starting, stopped or gone.
    #[error("the database at {address} does not answer: {why}; it will be tried again")]
    Unreachable {
        /// Where it should be.
        address: SocketAddr,
        /// What the system said.
        why: String,
    },
    /// The server answers but does not let us in, or not do this. The operator's to mend.
    #[error(
        "the database at {address} refuses the agent: {message} (error {code}); check the agent's account, its password and its privileges"
    )]
    Denied {
        /// Which server.
        address: SocketAddr,
        /// The server's error number.
        code: u16,
        /// What it said.
        message: String,
    },
    /// The connection broke, or we ended it: a statement under way may or may not have taken effect. Retry.
    #[error("the connection to the database was lost: {0}")]
    Lost(String),
    /// The server refused a statement. Who is to blame depends on the statement.
    #[error("the database refused a statement: {message} (error {code})")]
    Sql {
        /// The server's error number.
        code: u16,
        /// What it said.
        message: String,
    },
    /// The server answered something that cannot be (a missing row, a value of another type). Our fault, or a
    /// server that we do not know.
    #[error("the database answered something unexpected: {0}")]
    Unexpected(String),
}

impl DatabaseError {
    /// The server's error number, if the server refused a statement.
    pub fn code(&self) -> Option<u16> {
        match self {
            DatabaseError::Sql { code, .. } | DatabaseError::Denied { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same attempt on a new connection can succeed without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            DatabaseError::Unreachable { .. } | DatabaseError::Lost(_) => true,
            DatabaseError::Sql { code, .. } => TRANSIENT_CODES.contains(code),
            DatabaseError::Denied { .. } | DatabaseError::Unexpected(_) => false,
        }
    }
}

/// Errors of a server that is busy, starting or stopping, and not of what it was asked: lock wait timeout,
/// deadlock, shutdown in progress, session killed, query interrupted, too many connections, aborted connection.
const TRANSIENT_CODES: [u16; 8] = [1205, 1213, 1053, 1927, 1317, 1040, 1152, 1184];

impl From<Error> for DatabaseError {
    fn from(e: Error) -> Self {
        match e {
            Error::Server(e) => DatabaseError::Sql { code: e.code, message: e.message },
            Error::Driver(
                e @ (DriverError::FromValue { .. }
                | DriverError::FromRow { .. }
                | DriverError::PacketTooLarge),
            ) => DatabaseError::Unexpected(e.to_string()),
            e => DatabaseError::Lost(e.to_string()),
        }
    }
}

impl DatabaseConfig {
    /// Opens a connection with the settings that every session of ours has.
    ///
    /// Dropping it closes it, and the server rolls back what was open. `Unreachable` and `Denied` are told apart,
    /// so that a caller may wait for the one and report the other.
    pub async fn open(&self) -> Result<Conn, DatabaseError> {
        self.open_with(Vec::new()).await
    }

    /// As [`open`](Self::open), with further statements run before the connection is handed out.
    pub async fn open_with(&self, then: Vec<String>) -> Result<Conn, DatabaseError> {
        let mut setup = vec![format!("SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = '{SQL_MODE}'")];
        setup.extend(then);
        let options = OptsBuilder::default()
            .ip_or_hostname(self.address.ip().to_string())
            .tcp_port(self.address.port())
            .user(Some(&self.user))
            .pass(Some(self.password.expose()))
            .prefer_socket(false)
            .tcp_nodelay(true)
            .client_found_rows(true)
            .max_allowed_packet(Some(PACKET_BYTES_MAX))
            .init(setup);
        let unreachable = |why: String| DatabaseError::Unreachable { address: self.address, why };
        match tokio::time::timeout(OPEN_TIMEOUT, Conn::new(options)).await {
            Err(_) => Err(unreachable(format!("no answer within {} s", OPEN_TIMEOUT.as_secs()))),
            Ok(Ok(conn)) => Ok(conn),
            Ok(Err(Error::Server(e))) => {
                let (address, code, message) = (self.address, e.code, e.message);
                Err(match TRANSIENT_CODES.contains(&code) {
                    true => unreachable(message),
                    false => DatabaseError::Denied { address, code, message },
                })
            }
            Ok(Err(e)) => Err(unreachable(e.to_string())),
        }
    }
}
