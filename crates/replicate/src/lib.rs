//! From one database's binary log to the other database: in order, exactly once, never across epochs.
//!
//! Follow a committed row. On the primary's side [`binlog`] reads the server's log and decodes it to the words
//! of [`transaction`], each row against the schema that stands in front of it in the log; [`filter`] drops what
//! must not travel; [`ship`] sends the rest down the [`link`]. On the standby's side [`apply`] takes the frames,
//! lets [`checkpoint`] decide what is executed when, and sends a watermark back after each COMMIT. A standby that
//! holds nothing yet is filled by [`copy`], which also proves that two databases hold the same.
//!
//! ```text
//!   primary's database ──binlog──▶ ship ══════ link ══════▶ apply ──SQL──▶ standby's database
//!                                    ▲                        │ COMMIT's OK
//!                                    └──────── watermark ◀────┘
//! ```
//!
//! Beside the stream stands what each database knows of itself and who may write to it: [`agent`] is the one loop,
//! [`duty`] its table (row × register → what to do), [`mode`] moves between `sync` and `solo`, [`barrier`] tells when an
//! answer may go out, [`promote`] and [`fence`] begin and end a primary's term, [`check`] says what a database lacks.
//!
//! Two tables of the schema `ghostlight`, which is never replicated, carry the protocol on the standby:
//!
//! - `site`, one row (`id` = 1): the epoch. Every applying transaction locks this row and checks it, so that
//!   after a promotion nothing of an older epoch can be applied any more.
//! - `applied (stream PK, file, offset, origin, epoch, pending)`: one slot a stream. Every applying transaction
//!   moves it by compare-and-set as its first row change. So it is the exactly-once checkpoint, and at the same
//!   time the mark by which a reader of this database's own log knows that the transaction came from the peer
//!   and must not travel back. What may stand in `pending` (VARCHAR(255), NULL while there is nothing) is
//!   described at [`checkpoint::Pending`].
//!
//! Always true here: a transaction is the unit and its inner order is kept; a position stands behind a complete
//! transaction; a watermark follows a COMMIT's OK; a conflict stops the stream and overwrites nothing; no byte
//! from the link or the log can end the process. This crate does not know which site *should* be primary: it
//! reads the epoch that others wrote.

pub mod agent;
pub mod api;
pub mod apply;
pub mod barrier;
pub mod binlog;
pub mod canary;
pub mod check;
pub mod checkpoint;
pub mod copy;
pub mod database;
pub mod dialect;
pub mod duty;
pub mod fence;
pub mod filter;
pub mod heartbeat;
pub mod link;
pub mod metrics;
pub mod mode;
pub mod mode_driver;
pub mod promote;
pub mod quarantine;
pub mod register;
pub mod reinstate;
pub mod retention;
pub mod row;
pub mod schema;
pub mod ship;
pub mod statement;
pub mod status;
pub mod stream;
pub mod transaction;
pub mod vitals;
pub mod work;
