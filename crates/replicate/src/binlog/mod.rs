//! Reading this database's own binary log, from a position on and without end.
//!
//! [`Log`] is the thin driver: it asks the server for the log, checks each event's checksum and feeds the sans-IO
//! [`Assembler`], which makes transactions of events. Used by the shipper, and by whoever wants to know what this
//! database has written (with [`crate::filter`], which knows what came from the peer).

mod assemble;
mod bytes;
mod query;
mod table_map;
mod unpack;
mod value;

use futures_util::StreamExt;
use model::StreamId;
use mysql_async::{BinlogStream, BinlogStreamRequest, Conn, binlog::BinlogChecksumAlg, prelude::Queryable};
use tokio::{sync::mpsc, task::JoinHandle};

pub(crate) use self::assemble::{excerpt, file_number};
pub use self::{
    assemble::{Assembler, Item, RawEvent},
    table_map::Charsets,
};
use crate::{
    database::{DatabaseConfig, DatabaseError},
    dialect, stream,
    transaction::At,
};

/// The log holds something that we cannot pass on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not what a server writes. The server's fault, or the disk's; trying again does not help.
    #[error("the binary log is damaged: {0}; the standby must be seeded again once the server is sound")]
    Malformed(&'static str),
    /// A setting of the server. The operator's to mend.
    #[error("{found}: set {variable}={needed} on the primary's server, then seed the standby again")]
    Setting {
        /// Which variable.
        variable: &'static str,
        /// What it must be.
        needed: &'static str,
        /// What was found instead.
        found: String,
    },
    /// Something that cannot be replicated. The operator's to avoid.
    #[error("{0}")]
    Unsupported(String),
}

/// Why the log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The database; retry if it is transient.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The log no longer has the place asked for.
    #[error("{0}")]
    Gone(String),
    /// The log cannot be the one that the place is of: it ends before it.
    #[error("{0}")]
    Another(String),
    /// What stands in the log.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl From<mysql_async::Error> for LogError {
    fn from(e: mysql_async::Error) -> Self {
        LogError::Database(e.into())
    }
}

/// Events that may wait between the server's connection and us.
const EVENTS_WAITING_MAX: usize = 128;

/// The server's error for "no such log, or no such place in it".
const ER_MASTER_FATAL_ERROR_READING_BINLOG: u16 = 1236;

/// A log being read.
#[derive(Debug)]
pub struct Log {
    assembler: Assembler,
    events: mpsc::Receiver<Result<mysql_async::binlog::events::Event, mysql_async::Error>>,
    reader: JoinHandle<()>,
    stamp: Stamp,
}

/// What the log notes beside the changes. For people; nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// When the last event was written, by the server's clock: seconds since 1970 UTC.
    pub at_s: u32,
    /// The GTID of the transaction under way, where the server writes them.
    pub gtid: Option<String>,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Whether a read of the log waits at its end for what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// Wait for more.
    Wait,
    /// Stop: [`Log::next`] returns `false`.
    Stop,
}

impl Log {
    /// Asks `database` for its log behind `from`, a place between transactions.
    ///
    /// Refuses by name a server whose settings would make the log unusable, and a place that the log does not
    /// have (any more).
    pub async fn open(database: &DatabaseConfig, from: At, at_end: AtEnd) -> Result<Log, LogError> {
        Log::begin(database.open().await?, from, at_end).await
    }

    /// As [`open`](Self::open), if the log is that of `stream`: the place of another server's log, or the log of a server
    /// whose row was written by another one, is not what was asked for, whatever stands there.
    pub async fn open_in(
        database: &DatabaseConfig,
        stream: &StreamId,
        from: At,
        at_end: AtEnd,
    ) -> Result<Log, LogError> {
        let mut conn = database.open().await?;
        if !stream::is_here(&mut conn, stream).await? {
            return Err(LogError::Another(format!(
                "the server that answers is not the one that wrote {stream}: another one has taken its place, or the log \
                 has a new name"
            )));
        }
        Log::begin(conn, from, at_end).await
    }

    async fn begin(mut conn: Conn, from: At, at_end: AtEnd) -> Result<Log, LogError> {
        check_settings(&mut conn).await?;
        let charsets = charsets(&mut conn).await?;
        let file = find(&mut conn, from).await?;
        conn.query_drop(dialect::of(&conn).before_stream).await?;
        // The request's offset is 32 bits wide: a place behind 4 GiB is reached from the file's beginning.
        let near = from.offset <= u64::from(u32::MAX);
        let mut assembler = Assembler::new(charsets, from);
        if near {
            assembler.begin_at_start();
        }
        // The server keeps one reader for each of these numbers, so each of ours draws its own.
        let server_id = rand::random_range(0x4000_0000..=u32::MAX);
        let request = BinlogStreamRequest::new(server_id).with_filename(file.as_bytes()).with_pos(if near {
            from.offset
        } else {
            4
        });
        let request = if at_end == AtEnd::Stop { request.with_non_blocking() } else { request };
        let events_of = conn.get_binlog_stream(request).await?;
        let (to, events) = mpsc::channel(EVENTS_WAITING_MAX);
        // In a task of its own, because the library may panic on bytes that no server writes: then only this
        // task ends, and the reading with an error.
        let reader = tokio::spawn(hand_over(events_of, to));
        Ok(Log { assembler, events, reader, stamp: Stamp::default() })
    }

    /// Waits for the next event and adds what it says to `items`. `false` at the log's end.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self, items: &mut Vec<Item>) -> Result<bool, LogError> {
        match self.events.recv().await {
            Some(event) => self.take(event, items).map(|()| true),
            None => Ok(false),
        }
    }

    /// As [`next`](Self::next), for an event that is already there. `false` if there is none.
    pub fn next_ready(&mut self, items: &mut Vec<Item>) -> Result<bool, LogError> {
        match self.events.try_recv() {
            Ok(event) => self.take(event, items).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// What the log notes of the event that was taken last.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// The place behind the last event that was taken.
    pub fn at(&self) -> At {
        self.assembler.at()
    }

    /// Whether no transaction is under way behind the last event that was taken.
    pub fn is_between(&self) -> bool {
        self.assembler.is_between()
    }

    fn take(
        &mut self,
        event: Result<mysql_async::binlog::events::Event, mysql_async::Error>,
        items: &mut Vec<Item>,
    ) -> Result<(), LogError> {
        let event = event.map_err(|e| match DatabaseError::from(e) {
            DatabaseError::Sql { code: ER_MASTER_FATAL_ERROR_READING_BINLOG, message } => {
                LogError::Gone(format!("the server cannot read its log on: {message}"))
            }
            e => LogError::Database(e),
        })?;
        if let (Some(sum), Ok(Some(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32))) =
            (event.checksum(), event.footer().get_checksum_alg())
            && u32::from_le_bytes(sum) != event.calc_checksum(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32)
        {
            return Err(DecodeError::Malformed("an event's checksum is wrong").into());
        }
        let header = event.header();
        self.stamp.at_s = header.timestamp();
        if let Some(gtid) = gtid(header.event_type_raw(), header.server_id(), event.data()) {
            self.stamp.gtid = Some(gtid);
        }
        let raw = RawEvent {
            kind: header.event_type_raw(),
            at_s: header.timestamp(),
            end: header.log_pos(),
            flags: header.flags_raw(),
            body: event.data(),
        };
        Ok(self.assembler.event(&raw, items)?)
    }
}

/// The GTID in an event that announces one.
fn gtid(kind: u8, server: u32, body: &[u8]) -> Option<String> {
    const MARIADB: u8 = 162;
    const MYSQL: u8 = 33;
    let number = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
    match kind {
        MARIADB => {
            let domain = u32::from_le_bytes(body.get(8..12)?.try_into().ok()?);
            Some(format!("{domain}-{server}-{}", number(0)?))
        }
        MYSQL => {
            let hex: String = body.get(1..17)?.iter().map(|b| format!("{b:02x}")).collect();
            let part = |range| hex.get(range).unwrap_or_default();
            let uuid = [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-");
            Some(format!("{uuid}:{}", number(17)?))
        }
        _ => None,
    }
}

async fn hand_over(
    mut stream: BinlogStream,
    to: mpsc::Sender<Result<mysql_async::binlog::events::Event, mysql_async::Error>>,
) {
    while let Some(event) = stream.next().await {
        let failed = event.is_err();
        if to.send(event).await.is_err() || failed {
            return;
        }
    }
}

/// Refuses by name what would make the log unusable.
async fn check_settings(conn: &mut Conn) -> Result<(), LogError> {
    const NEEDED: [(&str, &str); 4] = [
        ("log_bin", "ON"),
        ("binlog_format", "ROW"),
        ("binlog_row_image", "FULL"),
        ("binlog_row_metadata", "FULL"),
    ];
    for (variable, needed) in NEEDED {
        let found: Option<(String, String)> =
            conn.query_first(format!("SHOW GLOBAL VARIABLES LIKE '{variable}'")).await?;
        let found = found.map_or("absent".to_owned(), |(_, value)| value);
        if found != needed {
            let found = format!("the server's {variable} is {found}");
            return Err(DecodeError::Setting { variable, needed, found }.into());
        }
    }
    Ok(())
}

/// The server's collation numbers.
pub(crate) async fn charsets(conn: &mut Conn) -> Result<Charsets, DatabaseError> {
    let mut refused = DatabaseError::Unexpected("no question for the server's collations is known".into());
    for question in dialect::of(conn).collations {
        match conn.query(*question).await.map_err(DatabaseError::from) {
            Ok(pairs) => {
                let pairs: Vec<(u16, String)> = pairs;
                return Ok(pairs.into_iter().collect());
            }
            Err(e @ DatabaseError::Sql { .. }) => refused = e,
            Err(e) => return Err(e),
        }
    }
    Err(refused)
}

/// The name of the file that `at` is in, if the log has that place.
async fn find(conn: &mut Conn, at: At) -> Result<String, LogError> {
    let files: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await?;
    let (mut oldest, mut newest) = (None, None);
    for mut row in files {
        let (Some(name), Some(size)) = (row.take::<String, _>(0), row.take::<u64, _>(1)) else { continue };
        let number = file_number(name.as_bytes());
        if number == Some(at.file) {
            return match at.offset <= size {
                true => Ok(name),
                false => Err(LogError::Another(format!(
                    "the log's file {name} has {size} bytes, so it cannot be continued at {}: it is not the log that it was",
                    at.offset
                ))),
            };
        }
        oldest = oldest.or(number);
        newest = number.or(newest);
    }
    if let Some(newest) = newest
        && newest < at.file
    {
        return Err(LogError::Another(format!(
            "the log's newest file is number {newest}, so it cannot be continued in number {}: it is not the log that it was",
            at.file
        )));
    }
    Err(LogError::Gone(match oldest {
        Some(oldest) => format!(
            "the log's file number {} is gone (the oldest is {oldest}); the server deletes them after expire_logs_days",
            at.file
        ),
        None => "the server has no binary log".into(),
    }))
}

/// The end of this database's log now.
pub async fn end_of_log(conn: &mut Conn) -> Result<At, DatabaseError> {
    let row: Option<mysql_async::Row> = conn.query_first(dialect::end_of_log(conn)).await?;
    let read = |mut row: mysql_async::Row| {
        let name: String = row.take(0)?;
        Some(At { file: file_number(name.as_bytes())?, offset: row.take(1)? })
    };
    row.and_then(read)
        .ok_or_else(|| DatabaseError::Unexpected("the server names no binary log as its last".into()))
}
