//! Proves that an attached standby holds what the primary holds, range by range, while both go on; repairs if asked.
//!
//! Each range is first compared by what its rows hash to. Where that differs the rows themselves are asked for, and
//! each one that differs is named. Ours are read in a snapshot that is opened where the chunk stands in the stream, so
//! applying goes on at once; only a repair holds it until its commit.
//!
//! What is to be compared outlives connections: a [`Verifier`] keeps it, and each connection goes on where the last one
//! stopped ([`drive`]). A comparison that was asked for goes before the one that runs in the background, round after
//! round, at the policy's rate. Always true here: a difference is told, and repaired only if somebody asked for it.

use std::{convert::Infallible, time::Duration};

use model::agent::{Differing, Wrong};
use mysql_async::prelude::Queryable;
use runtime::clock::Boot;
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    Bound, Chunk, Content, Form, Walk,
    begin::without_counter,
    digest,
    equal::{self, Difference},
    read::{self, Reader},
};
use crate::{
    apply::{
        Ended, Form as ReadFrom, NoTarget, Packet, Session, StandbyConfig, StandbyError, Target, quoted, text,
    },
    database::DatabaseError,
    filter::APPLICATIONS_SQL,
    link::frame::Up,
};

mod rounds;

pub use rounds::Verifier;
use rounds::{Next, Outcome, Piece, Todo};

/// A chunk that was asked for comes within this time, or the connection is of no use.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);

/// How far it is is written down so often: what was compared since then is compared again after a restart.
const KEPT_EVERY: Duration = Duration::from_secs(1);

/// Between two rounds of the background, and before a round over nothing.
const ROUND_PAUSE: Duration = Duration::from_secs(1);

/// A chunk at its place: nothing is applied until `go_on` is dropped.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) chunk: Chunk,
    pub(crate) go_on: oneshot::Sender<()>,
}

/// Compares, as long as this connection lasts. `asks` leads to the primary; chunks come back through `placed`.
pub(crate) async fn drive(
    config: &StandbyConfig,
    asks: mpsc::Sender<Up>,
    mut placed: mpsc::Receiver<Placed>,
) -> Result<Infallible, Ended> {
    let verifier = &config.verifier;
    verifier.begin_life(config.epoch, config.incarnation);
    let mut kept = Boot::now();
    let mut driver = Driver { config, asks, reader: None, walks: 0 };
    loop {
        match verifier.piece() {
            Next::Nothing => {
                keep(verifier).await;
                verifier.changed().await;
            }
            Next::Pause => {
                keep(verifier).await;
                drop(timeout(ROUND_PAUSE, verifier.changed()).await);
            }
            Next::List(name, asked) => match driver.list(name.as_deref()).await? {
                tables if tables.is_empty() && name.is_some() => {
                    verifier.fail(format!("there is no table {}", name.unwrap_or_default()));
                }
                tables => verifier.listed(asked, tables),
            },
            Next::Piece(piece) => {
                let outcome = driver.compare(&piece, &mut placed).await?;
                let rows = outcome.rows;
                verifier.learn(&piece, outcome);
                if kept.elapsed() >= KEPT_EVERY {
                    kept = Boot::now();
                    keep(verifier).await;
                }
                if let Some(rate) = piece.rows_per_s {
                    let pause = Duration::from_millis(1_000 * rows / rate.max(1));
                    // Somebody who asks need not wait for the background.
                    if piece.asked {
                        sleep(pause).await;
                    } else {
                        drop(timeout(pause, verifier.changed()).await);
                    }
                }
            }
        }
    }
}

async fn keep(verifier: &Verifier) {
    let verifier = verifier.clone();
    if let Err(e) = spawn_blocking(move || verifier.keep()).await {
        tracing::warn!("how far the comparison is was not kept: {e}");
    }
}

struct Driver<'a> {
    config: &'a StandbyConfig,
    asks: mpsc::Sender<Up>,
    reader: Option<Reader>,
    walks: u32,
}

impl Driver<'_> {
    async fn reader(&mut self) -> Result<Reader, DatabaseError> {
        match self.reader.take() {
            Some(reader) => Ok(reader),
            None => read::open(&self.config.database).await,
        }
    }

    /// A reader that sees this database as it is now, whatever is applied meanwhile. The loop may go on after this.
    async fn reader_here(&mut self) -> Result<Reader, DatabaseError> {
        let mut reader = self.reader().await?;
        reader.conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
        Ok(reader)
    }

    async fn list(&mut self, name: Option<&str>) -> Result<Vec<(String, String, u64)>, DatabaseError> {
        let mut reader = self.reader().await?;
        let all: Vec<(String, String, Option<u64>)> = reader
            .conn
            .query(format!("SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_TYPE='BASE TABLE' AND TABLE_SCHEMA {APPLICATIONS_SQL} ORDER BY 1,2"))
            .await?;
        self.reader = Some(reader);
        Ok(all
            .into_iter()
            .filter(|(schema, table, _)| name.is_none_or(|name| name == format!("{schema}.{table}")))
            .map(|(schema, table, rows)| (schema, table, rows.unwrap_or(0)))
            .collect())
    }

    /// Asks for one chunk and waits until it stands at its place.
    async fn ask(
        &mut self,
        todo: &Todo,
        to: Option<Bound>,
        form: Form,
        placed: &mut mpsc::Receiver<Placed>,
    ) -> Result<Placed, Ended> {
        self.walks += 1;
        let walk = Walk {
            number: self.walks,
            schema: todo.schema.clone(),
            table: todo.table.clone(),
            from: todo.from.clone(),
            to,
            form,
            chunks: 1,
        };
        let gone = || Ended::Passing("the loop has ended".into());
        self.asks.send(Up::Walk(Box::new(walk))).await.map_err(|_| gone())?;
        loop {
            let late = |_| Ended::Passing("a range that was asked for did not come".into());
            let placed = timeout(CHUNK_TIMEOUT, placed.recv()).await.map_err(late)?.ok_or_else(gone)?;
            if placed.chunk.walk == self.walks {
                return Ok(placed);
            }
            drop(placed.go_on);
        }
    }

    async fn compare(
        &mut self,
        piece: &Piece,
        placed: &mut mpsc::Receiver<Placed>,
    ) -> Result<Outcome, Ended> {
        let Placed { chunk, go_on } = self.ask(&piece.todo, None, Form::Digest, placed).await?;
        let Content::Digest(theirs) = chunk.content else {
            drop(go_on);
            return Ok(Outcome::default()); // the table is gone
        };
        let mut reader = self.reader_here().await?;
        // The loop may have ended; then this connection ends with it.
        drop(go_on);
        let ours = self.ours(&mut reader, &piece.todo, &chunk).await;
        reader.conn.query_drop("COMMIT").await.map_err(DatabaseError::from)?;
        self.reader = Some(reader);
        let mut outcome = Outcome { rows: chunk.rows, found: Vec::new(), next: None };
        let (same, mut found) = ours?;
        outcome.found.append(&mut found);
        if outcome.found.iter().any(|d| d.wrong == Wrong::Definition) {
            return Ok(outcome); // its rows cannot be held against each other
        }
        outcome.next = chunk.to.clone().filter(|_| !chunk.last);
        if same == Some(theirs) {
            return Ok(outcome);
        }
        let Placed { chunk: rows, go_on } =
            self.ask(&piece.todo, chunk.to.clone(), Form::Rows, placed).await?;
        if !rows.last {
            // It has grown meanwhile: the rest is another piece.
            outcome.next.clone_from(&rows.to);
        }
        let differences = if piece.repair {
            let differences = self.repair(&piece.todo, &rows).await?;
            drop(go_on);
            differences
        } else {
            self.name(&piece.todo, &rows, go_on).await?
        };
        let table = format!("{}.{}", piece.todo.schema, piece.todo.table);
        outcome.found.extend(differences.into_iter().map(|d| Differing {
            table: table.clone(),
            key: d.key,
            wrong: d.wrong,
            repaired: piece.repair,
        }));
        Ok(outcome)
    }

    /// What our rows of the chunk's range hash to, if they are as many, and how the definition differs.
    async fn ours(
        &self,
        reader: &mut Reader,
        todo: &Todo,
        chunk: &Chunk,
    ) -> Result<(Option<[u8; 32]>, Vec<Differing>), Ended> {
        let table = format!("{}.{}", todo.schema, todo.table);
        let differs = |key: String, wrong| Differing { table: table.clone(), key, wrong, repaired: false };
        let Some(shape) = read::shape(&mut reader.conn, &todo.schema, &todo.table).await? else {
            return Ok((None, vec![differs("the table is not here".into(), Wrong::Definition)]));
        };
        let mut found = Vec::new();
        if let Some(definition) = &chunk.definition {
            let show = format!("SHOW CREATE TABLE {}.{}", quoted(&todo.schema), quoted(&todo.table));
            let row: Option<mysql_async::Row> =
                reader.conn.query_first(show).await.map_err(DatabaseError::from)?;
            let here = row.and_then(|mut row| row.take::<Vec<u8>, _>(1)).unwrap_or_default();
            let ((theirs, given), (ours, given_here)) = (without_counter(definition), without_counter(&here));
            if theirs != ours {
                let words = |sql: &[u8]| String::from_utf8_lossy(sql).into_owned();
                let key = format!("here: {}; at the primary: {}", words(&ours), words(&theirs));
                found.push(differs(key, Wrong::Definition));
                return Ok((None, found));
            }
            if let Some(given) = given.filter(|given| *given > given_here.unwrap_or(0)) {
                let key = format!("AUTO_INCREMENT: {} here, {given} at the primary", given_here.unwrap_or(0));
                found.push(differs(key, Wrong::Counter));
            }
        }
        let bounds = (chunk.from.as_ref(), chunk.to.as_ref());
        let limit = shape.has_key().then_some(chunk.rows + 1);
        let (_, rows) = read::range(&mut reader.conn, &reader.charsets, &shape, bounds, limit).await?;
        Ok((Some(digest(&rows)), found))
    }

    async fn name(
        &mut self,
        todo: &Todo,
        chunk: &Chunk,
        go_on: oneshot::Sender<()>,
    ) -> Result<Vec<Difference>, Ended> {
        let mut reader = self.reader_here().await?;
        drop(go_on);
        let Content::Rows(rows) = &chunk.content else { return Ok(Vec::new()) };
        let Some(shape) = read::shape(&mut reader.conn, &todo.schema, &todo.table).await? else {
            return Ok(Vec::new());
        };
        let bounds = (chunk.from.as_ref(), chunk.to.as_ref());
        let comparison = equal::compare(&mut reader.conn, &reader.charsets, &shape, bounds, rows).await?;
        reader.conn.query_drop("COMMIT").await.map_err(DatabaseError::from)?;
        self.reader = Some(reader);
        Ok(comparison.differences(&chunk.table, rows))
    }

    /// Makes the range equal, in a transaction of ours, while nothing else is applied.
    async fn repair(&mut self, todo: &Todo, chunk: &Chunk) -> Result<Vec<Difference>, Ended> {
        let Content::Rows(rows) = &chunk.content else { return Ok(Vec::new()) };
        let reader = self.reader().await?;
        let mut session = Session::open(self.config.clone(), model::StreamId(String::new())).await?;
        let lost = |e: mysql_async::Error| StandbyError::from(DatabaseError::from(e));
        session.conn().query_drop(super::fill::SETTINGS).await.map_err(lost)?;
        let conn = session.conn();
        let Some(shape) = read::shape(conn, &todo.schema, &todo.table).await? else { return Ok(Vec::new()) };
        let target = match Target::find(conn, &chunk.table, ReadFrom::Selected).await {
            Ok(target) => target,
            Err(NoTarget::Database(e)) => return Err(e.into()),
            Err(NoTarget::Differs(_)) => return Ok(Vec::new()),
        };
        let slot =
            format!("`origin`={} AND `epoch`={}", text(self.config.origin.as_str()), self.config.epoch);
        let mut packet = Packet::default();
        let mark = format!("UPDATE ghostlight.applied SET pending='part' WHERE {slot} AND pending IS NULL");
        Session::begin(&mut packet, &mark, 1);
        session.execute(packet, true, &[]).await?;
        let conn = session.conn();
        let bounds = (chunk.from.as_ref(), chunk.to.as_ref());
        let comparison = equal::compare(conn, &reader.charsets, &shape, bounds, rows).await?;
        equal::make(conn, &target, &comparison, rows).await?;
        let mut packet = Packet::default();
        packet.push(&format!("UPDATE ghostlight.applied SET pending=NULL WHERE {slot}"), 1);
        session.execute(packet, false, &[]).await?;
        session.commit().await?;
        self.reader = Some(reader);
        Ok(comparison.differences(&chunk.table, rows))
    }
}
