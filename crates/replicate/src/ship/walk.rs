//! Answers the standby's walks: chunks of tables, each put into the stream at the place where it is true.
//!
//! The server tells the log's place P of a consistent snapshot without locking anything. The pump opens the snapshot
//! between two transactions ([`Walker::open`]), goes on while another task reads, and sends the chunk when it has
//! come to P ([`Walker::due`]); only if it is there first does it wait for the reading.
//!
//! Always true here: a chunk is sent behind everything that its snapshot shows and before everything that it does not.

use model::StreamId;
use mysql_async::prelude::Queryable;
use tokio::task::JoinHandle;

use super::ShipError;
use crate::{
    apply::quoted,
    binlog::file_number,
    copy::{
        CHUNK_BYTES, CHUNK_ROWS, Chunk, Content, Form, Walk, bound, digest,
        read::{self, Reader, Shape},
    },
    database::{DatabaseConfig, DatabaseError},
    link::frame::Up,
    stream::is_here,
    transaction::{At, Table, Value},
};

/// Errors by which a server says that a table is not what it was when the snapshot was taken: its definition
/// changed, no such table, no such column.
const DEFINITION_CHANGED: [u16; 3] = [1412, 1146, 1054];

/// A table without a primary key travels in one chunk, so in one frame.
const WITHOUT_KEY_BYTES_MAX: usize = 48 * 1024 * 1024;

/// After so many snapshots in a row that do not show what was sent, a commit is made.
const EARLY_MAX: u32 = 50;

const MAKE_A_COMMIT: &str =
    "INSERT INTO ghostlight.watermark (id, n) VALUES (1, 1) ON DUPLICATE KEY UPDATE n = n + 1";

/// The walk of this peer, if it has one.
#[derive(Debug)]
pub(super) struct Walker {
    database: DatabaseConfig,
    stream: StreamId,
    reader: Option<Reader>,
    walk: Option<Walking>,
    due: Option<Due>,
    /// So many snapshots in a row did not show what was sent.
    early: u32,
}

#[derive(Debug)]
struct Walking {
    walk: Walk,
    shape: Option<Shape>,
    /// Rows of the next chunk.
    limit: u64,
}

/// A chunk that is being read, and its place.
#[derive(Debug)]
struct Due {
    at: At,
    reading: JoinHandle<Result<Read, DatabaseError>>,
}

impl Drop for Due {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

#[derive(Debug)]
struct Read {
    reader: Reader,
    /// `None`: a definition was changed under it.
    chunk: Option<Chunk>,
    shape: Option<Shape>,
    /// Bytes of all rows.
    bytes: u64,
}

impl Walker {
    pub(super) fn new(database: DatabaseConfig, stream: StreamId) -> Walker {
        Walker { database, stream, reader: None, walk: None, due: None, early: 0 }
    }

    /// Takes what the peer asks.
    pub(super) fn take(&mut self, asked: Up) {
        match asked {
            Up::Walk(walk) => self.walk = Some(Walking { walk: *walk, shape: None, limit: 0 }),
            Up::More { walk, chunks } => {
                if let Some(walking) = &mut self.walk
                    && walking.walk.number == walk
                {
                    walking.walk.chunks = walking.walk.chunks.saturating_add(chunks);
                }
            }
            Up::Alive | Up::Watermark(_) => {}
        }
    }

    /// Whether a snapshot should be opened.
    pub(super) fn wants(&self) -> bool {
        self.due.is_none() && self.walk.as_ref().is_some_and(|w| w.walk.chunks > 0)
    }

    /// Whether a chunk must be sent before anything behind `at` is.
    pub(super) fn due(&self, at: At) -> bool {
        self.due.as_ref().is_some_and(|due| at >= due.at)
    }

    /// Opens a snapshot. `sent`: the last transaction that has been sent ends here. `false`: the server has not yet
    /// made that one visible; it will in a moment.
    pub(super) async fn open(&mut self, sent: At) -> Result<bool, ShipError> {
        let Some(walking) = &self.walk else { return Ok(true) };
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => {
                let mut fresh = read::open(&self.database).await?;
                if !is_here(&mut fresh.conn, &self.stream).await? {
                    let why = format!("the server that answers is not the one of {}", self.stream);
                    return Err(DatabaseError::Lost(why).into());
                }
                fresh
            }
        };
        reader.conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
        let at = snapshot_place(&mut reader).await?;
        if at < sent {
            reader.conn.query_drop("ROLLBACK").await?;
            self.early += 1;
            if self.early.is_multiple_of(EARLY_MAX) {
                // Nothing commits, and what was sent last was none of the transactions that the server counts: the
                // place of the next commit is behind it.
                reader.conn.query_drop(MAKE_A_COMMIT).await?;
            }
            self.reader = Some(reader);
            return Ok(false);
        }
        self.early = 0;
        let (walk, shape, limit) = (walking.walk.clone(), walking.shape.clone(), walking.limit);
        self.due = Some(Due { at, reading: tokio::spawn(read_chunk(reader, walk, shape, limit)) });
        Ok(true)
    }

    /// Waits for the chunk that is due. `None`: it must be read again, or nobody wants it any more.
    pub(super) async fn chunk(&mut self) -> Result<Option<Chunk>, ShipError> {
        let Some(due) = &mut self.due else { return Ok(None) };
        let read = (&mut due.reading).await;
        self.due = None;
        let Read { reader, chunk, shape, bytes } =
            read.map_err(|e| DatabaseError::Lost(format!("a chunk could not be read: {e}")))??;
        self.reader = Some(reader);
        let Some(walking) = &mut self.walk else { return Ok(None) };
        walking.shape = shape;
        let Some(chunk) = chunk else { return Ok(None) };
        if chunk.walk != walking.walk.number {
            walking.shape = None;
            return Ok(None);
        }
        if chunk.last {
            self.walk = None;
        } else {
            walking.walk.from.clone_from(&chunk.to);
            walking.walk.chunks -= 1;
            walking.limit = (CHUNK_BYTES * chunk.rows / bytes.max(1)).clamp(16, CHUNK_ROWS);
        }
        Ok(Some(chunk))
    }
}

async fn snapshot_place(reader: &mut Reader) -> Result<At, ShipError> {
    let status: Vec<(String, String)> = reader.conn.query("SHOW STATUS LIKE 'binlog_snapshot_%'").await?;
    let value =
        |name: &str| status.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
    let place = || {
        let file = file_number(value("binlog_snapshot_file")?.as_bytes())?;
        Some(At { file, offset: value("binlog_snapshot_position")?.parse().ok()? })
    };
    place().ok_or_else(|| {
        ShipError::Unsupported(
            "this server does not tell the log's place of a snapshot (binlog_snapshot_file): copying and verifying need MariaDB".into(),
        )
    })
}

/// Reads the walk's next chunk in the snapshot that is open.
async fn read_chunk(
    mut reader: Reader,
    walk: Walk,
    shape: Option<Shape>,
    limit: u64,
) -> Result<Read, DatabaseError> {
    let mut read = Read { chunk: None, shape: None, bytes: 0, reader };
    let outcome = within_snapshot(&mut read, &walk, shape, limit).await;
    reader = read.reader;
    reader.conn.query_drop("COMMIT").await?;
    read.reader = reader;
    match outcome {
        Ok(()) => {}
        Err(DatabaseError::Sql { code, .. }) if DEFINITION_CHANGED.contains(&code) => {
            (read.chunk, read.shape) = (None, None);
        }
        Err(e) => return Err(e),
    }
    Ok(read)
}

async fn within_snapshot(
    read: &mut Read,
    walk: &Walk,
    shape: Option<Shape>,
    limit: u64,
) -> Result<(), DatabaseError> {
    let shape = match shape {
        Some(shape) => Some(shape),
        None => read::shape(&mut read.reader.conn, &walk.schema, &walk.table).await?,
    };
    let Some(shape) = shape else {
        let table = Table {
            schema: walk.schema.clone(),
            name: walk.table.clone(),
            columns: Vec::new(),
            key: Vec::new(),
        };
        read.chunk = Some(Chunk {
            walk: walk.number,
            table,
            from: walk.from.clone(),
            to: None,
            last: true,
            rows: 0,
            definition: None,
            content: Content::Gone,
        });
        return Ok(());
    };
    let limit = match (shape.has_key(), limit) {
        (false, _) => None,
        (true, 0) => Some((CHUNK_BYTES / shape.average_row.max(1)).clamp(16, CHUNK_ROWS)),
        (true, limit) => Some(limit),
    };
    // Before the rows: if it is changed now, the snapshot refuses to show them.
    let definition = match &walk.from {
        None => {
            let show = format!("SHOW CREATE TABLE {}.{}", quoted(&walk.schema), quoted(&walk.table));
            let row: Option<mysql_async::Row> = read.reader.conn.query_first(show).await?;
            row.and_then(|mut row| row.take::<Vec<u8>, _>(1))
        }
        Some(_) => None,
    };
    let bounds = (walk.from.as_ref(), walk.to.as_ref());
    let (table, rows) =
        read::range(&mut read.reader.conn, &read.reader.charsets, &shape, bounds, limit).await?;
    let cost = rows.iter().flatten().map(Value::cost).sum::<usize>();
    if !shape.has_key() && cost > WITHOUT_KEY_BYTES_MAX {
        return Err(DatabaseError::Unexpected(format!(
            "the table {table} has no primary key and {cost} bytes of rows, so it cannot be copied in ranges: give it a primary key"
        )));
    }
    let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let full = limit.is_some_and(|limit| count >= limit);
    let to = match rows.last() {
        Some(row) if full => Some(bound(&table, row)),
        _ => walk.to.clone(),
    };
    let content = match walk.form {
        Form::Digest => Content::Digest(digest(&rows)),
        Form::Rows => Content::Rows(rows),
    };
    read.bytes = u64::try_from(cost).unwrap_or(u64::MAX);
    read.shape = Some(shape);
    read.chunk = Some(Chunk {
        walk: walk.number,
        table,
        from: walk.from.clone(),
        to,
        last: !full,
        rows: count,
        definition,
        content,
    });
    Ok(())
}
