//! The session that applies: does one piece of [`Work`] after the other in this database, and checks each outcome.
//!
//! Always true here: a COMMIT is sent only on its own, after every statement before it was checked; the first
//! thing that a transaction of ours does is to lock the epoch's row and to move its slot. A merged batch that does
//! not come out as it must is rolled back and done the exact way, row by row, which alone decides that there is a
//! conflict.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use model::{Position, StreamId, agent::Slot, topology::WithoutPrimaryKey};
use mysql_async::{Conn, prelude::Queryable};

use super::{
    StandbyConfig, StandbyError, ddl,
    prepare::{Prepared, Targets, Way, prepare},
    relations::Relations,
    spool::{Spool, SpoolError},
    sql::{self, About, Expect, Packet, Want},
    target::{Form, NoTarget, Target},
    told::{shortened, told},
};
use crate::{
    binlog::excerpt,
    checkpoint::{Batch, Content, Pending, SlotIs, Work, may_apply},
    database::DatabaseError,
    transaction::{At, Change, Row, Rows, Statement, Table},
};

/// Settings of this session beyond those of all our sessions: constraints were checked where the rows were
/// written, and cannot be checked by themselves here. Long lists of keys stay lists of keys.
const SETTINGS: &str = "SET foreign_key_checks=1 /*M!100201 , check_constraint_checks=0 */ /*M!100318 , in_predicate_conversion_threshold=0 */";

/// A packet is filled up to this size, if the server takes as much.
const PACKET_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Batches of fewer changes are prepared at once and not on another thread.
const SMALL_BATCH: usize = 64;

/// Up to this size the first packet of a batch goes together with the statements that open its transaction.
const JOINED_BYTES_MAX: usize = 256 * 1024;

/// What is known of this database's tables, shared with whoever prepares ahead.
#[derive(Debug)]
pub(super) struct Known {
    targets: Mutex<Targets>,
    packet_bytes_max: usize,
}

impl Known {
    fn all(&self) -> std::sync::MutexGuard<'_, Targets> {
        // Nobody panics while holding it, and if so: a map of tables is whole between any two of its calls.
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a batch down if all its tables are known.
    pub(super) fn prepare(&self, batch: &Batch, way: Way) -> Option<Prepared> {
        let numbers: std::collections::HashSet<u32> = tables_of(batch).collect();
        let targets: Targets = {
            let all = self.all();
            numbers
                .into_iter()
                .map(|number| all.get(&number).map(|target| (number, target.clone())))
                .collect::<Option<_>>()?
        };
        prepare(batch, &targets, way, self.packet_bytes_max)
    }
}

fn tables_of(batch: &Batch) -> impl Iterator<Item = u32> {
    batch.changes.iter().filter_map(|change| match change {
        Change::Rows { table, .. } => Some(*table),
        Change::Savepoint(_) | Change::Statement(_) => None,
    })
}

/// See the module.
pub(crate) struct Session {
    config: StandbyConfig,
    stream: StreamId,
    conn: Conn,
    /// The largest packet that the server takes.
    server_takes: usize,
    tables: HashMap<u32, Arc<Table>>,
    known: Arc<Known>,
    /// Foreign keys, as they stand since the last definition.
    relations: Option<Relations>,
}

/// Why statements did not come out as they must.
enum Failed {
    /// That is the end of this attempt.
    Stop(StandbyError),
    /// Folded changes did not: the exact way decides.
    Doubt(String, About),
}

impl From<StandbyError> for Failed {
    fn from(e: StandbyError) -> Self {
        Failed::Stop(e)
    }
}

impl From<SpoolError> for StandbyError {
    fn from(e: SpoolError) -> Self {
        StandbyError::Unsupported(e.to_string())
    }
}

impl Session {
    /// Opens a session that works on the slot of `stream`.
    pub(crate) async fn open(config: StandbyConfig, stream: StreamId) -> Result<Session, DatabaseError> {
        let mut conn = config.database.open_with(vec![SETTINGS.into()]).await?;
        let server_takes: Option<usize> = conn.query_first("SELECT @@max_allowed_packet").await?;
        let server_takes = server_takes.unwrap_or(PACKET_BYTES_MAX);
        let packet_bytes_max = PACKET_BYTES_MAX.min(server_takes / 4 * 3);
        Ok(Session {
            config,
            stream,
            conn,
            server_takes,
            tables: HashMap::new(),
            known: Arc::new(Known { targets: Mutex::new(Targets::new()), packet_bytes_max }),
            relations: None,
        })
    }

    /// What is known of the tables, for preparing ahead.
    pub(super) fn known(&self) -> Arc<Known> {
        self.known.clone()
    }

    /// Opens a session on the slot that this standby continues from, as a transaction of its own finds it: the
    /// row at our epoch, and one slot of our origin in it.
    pub(super) async fn attach(config: StandbyConfig) -> Result<(Session, Slot), StandbyError> {
        let mut session = Session::open(config, StreamId(String::new())).await?;
        let mut packet = Packet::default();
        packet.push("START TRANSACTION", 0);
        packet.push(sql::LOCK_EPOCH, 0);
        session.execute(packet, true, &[]).await?;
        let (epoch, origin) = (session.config.epoch, session.config.origin.clone());
        let found: Vec<(String, u64, u64, Option<String>)> = session
            .conn
            .query(format!(
                "SELECT `stream`, `file`, `offset`, pending FROM ghostlight.applied WHERE `origin`={} AND `epoch`={epoch}",
                sql::text(origin.as_str())
            ))
            .await
            .map_err(DatabaseError::from)?;
        session.commit().await?;
        let [(stream, file, offset, pending)] = found.as_slice() else {
            return Err(StandbyError::NoSlot(format!(
                "this database has {} slots of {origin} in epoch {epoch}, and one is needed: it must be seeded",
                found.len()
            )));
        };
        if let Some(text) = pending {
            let pending: Pending = text.parse().map_err(|e| StandbyError::NoSlot(format!("{e}")))?;
            if !pending.is_attached() {
                return Err(StandbyError::NoSlot(format!(
                    "this database is not a standby's yet: what was begun in it was not finished ({pending})"
                )));
            }
        }
        session.stream = StreamId(stream.clone());
        let position = Position { stream: session.stream.clone(), file: *file, offset: *offset };
        Ok((session, Slot { position, epoch, origin }))
    }

    /// The connection, for what is not a piece of work.
    pub(crate) fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// Takes the description of a table that later work names by this number.
    pub(crate) fn describe(&mut self, number: u32, table: Table) {
        self.known.all().remove(&number);
        self.tables.insert(number, Arc::new(table));
    }

    /// Does one piece of work. `ready`: its batch, prepared ahead. After an error the session is of no use any more;
    /// dropping it rolls back.
    pub(super) async fn work(
        &mut self,
        work: Work,
        ready: Option<Prepared>,
        spool: &Spool,
    ) -> Result<(), StandbyError> {
        match work {
            Work::Apply { from, opens: true, content: Content::Batch(batch), to } => {
                self.apply(from, batch, to, ready).await
            }
            Work::Apply { from, opens: true, content: Content::Spooled(number), to } => {
                self.apply_spooled(from, number, to, spool).await
            }
            Work::Apply { from, opens: false, content, to } => {
                self.apply_behind_definition(from, content, to, spool).await
            }
            Work::Define { from, statement } => self.define(from, &statement).await,
            Work::Commit => self.commit().await,
        }
    }

    fn move_slot(&self, from: At, set: &str, idle: bool) -> String {
        sql::move_slot(&SlotIs { stream: &self.stream, epoch: self.config.epoch, at: from, idle }, set)
    }

    fn opening(&self, from: At, to: At) -> Packet {
        let mut packet = Packet::default();
        let set = format!("`file`={}, `offset`={}", to.file, to.offset);
        Self::begin(&mut packet, &self.move_slot(from, &set, true), 1);
        packet
    }

    async fn apply(
        &mut self,
        from: At,
        batch: Arc<Batch>,
        to: At,
        ready: Option<Prepared>,
    ) -> Result<(), StandbyError> {
        let prepared = match ready {
            Some(prepared) => prepared,
            None => self.prepare(&batch, Way::Merged).await?,
        };
        self.count(&batch, &prepared);
        let (folded, opening) = (prepared.folded.clone(), self.opening(from, to));
        match self.run(Some(opening), prepared, &batch.changes).await {
            Ok(()) => Ok(()),
            Err(Failed::Stop(e)) => Err(e),
            Err(Failed::Doubt(why, about)) => {
                self.take_back(&why, doubted_table(&folded, about)).await?;
                let prepared = self.prepare(&batch, Way::Exact).await?;
                let opening = self.opening(from, to);
                self.run(Some(opening), prepared, &batch.changes).await.map_err(certain)?;
                clear(&folded, about);
                Ok(())
            }
        }
    }

    /// A transaction from disk, in pieces, in one transaction of this database.
    async fn apply_spooled(
        &mut self,
        from: At,
        number: u64,
        to: At,
        spool: &Spool,
    ) -> Result<(), StandbyError> {
        let mut folded = Vec::new();
        let merged = self.pieces(Some((from, to)), number, spool, Way::Merged, &mut folded).await;
        match merged {
            Ok(()) => Ok(()),
            Err(Failed::Stop(e)) => Err(e),
            Err(Failed::Doubt(why, about)) => {
                self.take_back(&why, doubted_table(&folded, about)).await?;
                let exact = self.pieces(Some((from, to)), number, spool, Way::Exact, &mut Vec::new()).await;
                exact.map_err(certain)?;
                clear(&folded, about);
                Ok(())
            }
        }
    }

    async fn pieces(
        &mut self,
        moves: Option<(At, At)>,
        number: u64,
        spool: &Spool,
        way: Way,
        folded: &mut Vec<Arc<Target>>,
    ) -> Result<(), Failed> {
        let mut spooled = spool.read(number).map_err(StandbyError::from)?;
        let mut opening = moves.map(|(from, to)| self.opening(from, to));
        while let Some(changes) = spooled.next().map_err(StandbyError::from)? {
            let batch = Arc::new(Batch { changes, transactions: usize::from(opening.is_some()) });
            let prepared = self.prepare(&batch, way).await?;
            self.count(&batch, &prepared);
            folded.clone_from(&prepared.folded);
            self.run(opening.take(), prepared, &batch.changes).await?;
        }
        Ok(())
    }

    /// Rows of a statement that also defined their table: the definition has committed what was before, its
    /// transaction is open, and it cannot be begun again. So they go the exact way, and the slot is moved last.
    async fn apply_behind_definition(
        &mut self,
        from: At,
        content: Content,
        to: At,
        spool: &Spool,
    ) -> Result<(), StandbyError> {
        match content {
            Content::Batch(batch) => {
                let prepared = self.prepare(&batch, Way::Exact).await?;
                self.count(&batch, &prepared);
                self.run(None, prepared, &batch.changes).await.map_err(certain)?;
            }
            Content::Spooled(number) => {
                self.pieces(None, number, spool, Way::Exact, &mut Vec::new()).await.map_err(certain)?;
            }
        }
        let mut packet = Packet::default();
        let set = format!("`file`={}, `offset`={}, pending=NULL", to.file, to.offset);
        packet.push(&self.move_slot(from, &set, false), 1);
        self.execute(packet, false, &[]).await
    }

    fn count(&self, batch: &Batch, prepared: &Prepared) {
        let metrics = &self.config.metrics;
        metrics.batch_transactions.observe(batch.transactions as f64);
        metrics.applied_transactions_total.inc_by(batch.transactions as u64);
        metrics.applied_rows_total.inc_by(prepared.rows);
        metrics.folded_rows_total.inc_by(prepared.rows_saved);
    }

    async fn prepare(&mut self, batch: &Arc<Batch>, way: Way) -> Result<Prepared, StandbyError> {
        for number in tables_of(batch) {
            self.target(number).await?;
        }
        let prepared = if batch.changes.len() <= SMALL_BATCH {
            self.known.prepare(batch, way)
        } else {
            let (known, batch) = (self.known.clone(), batch.clone());
            let prepared = tokio::task::spawn_blocking(move || known.prepare(&batch, way)).await;
            prepared.map_err(|e| DatabaseError::Lost(format!("a batch could not be prepared: {e}")))?
        };
        prepared.ok_or_else(|| DatabaseError::Lost("a table was described anew meanwhile".into()).into())
    }

    /// Executes what was prepared; if it did not come out, says whether another way is left.
    async fn run(
        &mut self,
        opening: Option<Packet>,
        prepared: Prepared,
        changes: &[Change],
    ) -> Result<(), Failed> {
        let merged = !prepared.folded.is_empty();
        let mut packets = prepared.packets.into_iter();
        if let Some(mut opening) = opening {
            let first = packets.next().unwrap_or_default();
            if first.sql.len() <= JOINED_BYTES_MAX {
                opening.append(first);
                self.send(opening, true, merged, changes).await?;
            } else {
                self.send(opening, true, merged, changes).await?;
                self.send(first, false, merged, changes).await?;
            }
        }
        for packet in packets {
            self.send(packet, false, merged, changes).await?;
        }
        Ok(())
    }

    /// Takes a merged batch back, and puts the session's settings where they must be: they may have been changed in
    /// the middle of it.
    async fn take_back(&mut self, why: &str, target: Option<&Arc<Target>>) -> Result<(), StandbyError> {
        let table = target.map_or("", |target| target.name.as_str());
        tracing::warn!(
            "a merged batch did not come out as it must ({table}: {why}); it is done again row by row"
        );
        self.config.metrics.batches_again_total.inc();
        let settings = format!("SET foreign_key_checks=1, sql_mode='{}'", crate::database::SQL_MODE);
        for sql in ["ROLLBACK", &settings] {
            self.conn.query_drop(sql).await.map_err(DatabaseError::from)?;
        }
        Ok(())
    }

    /// The first statements of a transaction of ours.
    pub(crate) fn begin(packet: &mut Packet, move_slot: &str, affected: u64) {
        packet.push("START TRANSACTION", 0);
        packet.push(sql::LOCK_EPOCH, 0);
        packet.push(move_slot, affected);
    }

    /// See [`ddl`] for why a definition is done in these steps.
    async fn define(&mut self, from: At, statement: &Statement) -> Result<(), StandbyError> {
        let mut definer = self.config.database.open().await?;
        let found = self.pending(from).await?;
        if let Some(Pending::Ddl { connection, .. }) = &found {
            ddl::end(&mut self.conn, *connection).await?;
        }
        let now = ddl::fingerprint(&mut self.conn).await?;
        let (repeated, done) = match &found {
            None => (false, false),
            Some(Pending::Ddl { fingerprint, .. }) => (true, *fingerprint != now && !ddl::drops(statement)),
            Some(other) => return Err(StandbyError::NoSlot(format!("the slot is marked `{other}`"))),
        };
        if !done {
            // A repeated statement keeps the first fingerprint: what it is compared with is the time before it.
            let fingerprint = match found {
                Some(Pending::Ddl { fingerprint, .. }) => fingerprint,
                _ => now,
            };
            let pending = Pending::Ddl { connection: definer.id(), fingerprint };
            let mut packet = Packet::default();
            Self::begin(&mut packet, &self.move_slot(from, &format!("pending='{pending}'"), false), 1);
            self.execute(packet, true, &[]).await?;
            self.commit().await?;
        }
        let mut packet = Packet::default();
        packet.push("START TRANSACTION", 0);
        packet.push(sql::LOCK_EPOCH, 0);
        self.execute(packet, true, &[]).await?;
        if !done {
            // This session holds the epoch's lock meanwhile: no promotion can come between.
            ddl::run(&mut definer, statement, repeated)
                .await
                .map_err(|e| self.definition_failed(statement, e))?;
        }
        self.known.all().clear();
        self.relations = None;
        let mut packet = Packet::default();
        packet.push(&self.move_slot(from, "pending='part'", false), 1);
        self.execute(packet, false, &[]).await
    }

    /// Sends a COMMIT and waits for its OK.
    pub(crate) async fn commit(&mut self) -> Result<(), StandbyError> {
        Ok(self.conn.query_drop("COMMIT").await.map_err(DatabaseError::from)?)
    }

    fn definition_failed(&self, statement: &Statement, e: DatabaseError) -> StandbyError {
        match e {
            e if e.is_transient() => e.into(),
            DatabaseError::Sql { code, message } => StandbyError::Conflict(format!(
                "conflict: {} cannot be run here: {message} (error {code}); expected: that it succeeds as it did on {}. Nothing was changed by it",
                excerpt(statement),
                self.config.origin
            )),
            e => e.into(),
        }
    }

    /// What is marked in the slot.
    async fn pending(&mut self, from: At) -> Result<Option<Pending>, StandbyError> {
        let sql = format!(
            "SELECT pending FROM ghostlight.applied WHERE `stream`={} AND `file`={} AND `offset`={}",
            sql::text(&self.stream.0),
            from.file,
            from.offset
        );
        let found: Option<Option<String>> = self.conn.query_first(sql).await.map_err(DatabaseError::from)?;
        match found {
            None => Err(StandbyError::NoSlot(format!(
                "the slot of stream {} is not at {from} any more",
                self.stream
            ))),
            Some(None) => Ok(None),
            Some(Some(text)) => text.parse().map(Some).map_err(|e| StandbyError::NoSlot(format!("{e}"))),
        }
    }

    /// Where the rows of a described table go.
    pub(crate) async fn target(&mut self, number: u32) -> Result<Arc<Target>, StandbyError> {
        if let Some(target) = self.known.all().get(&number) {
            return Ok(target.clone());
        }
        let table = self.tables.get(&number).ok_or_else(|| {
            StandbyError::Refused("the primary's agent sent rows of a table that it did not describe".into())
        })?;
        if table.key.is_empty() && self.config.tables_without_primary_key == WithoutPrimaryKey::Refuse {
            return Err(without_key(table));
        }
        if self.relations.is_none() {
            self.relations = Some(Relations::read(&mut self.conn).await?);
        }
        let mut target = find_target(&mut self.conn, table).await?;
        if let Some(relations) = &self.relations {
            target.learn(&mut self.conn, table, relations).await?;
        }
        let target = Arc::new(target);
        self.known.all().insert(number, target.clone());
        Ok(target)
    }

    /// Executes a packet and checks every outcome. `begins`: its second statement reads the epoch.
    pub(crate) async fn execute(
        &mut self,
        packet: Packet,
        begins: bool,
        changes: &[Change],
    ) -> Result<(), StandbyError> {
        self.send(packet, begins, false, changes).await.map_err(certain)
    }

    /// The same. `merged`: what does not come out is a doubt, not yet a conflict.
    async fn send(
        &mut self,
        packet: Packet,
        begins: bool,
        merged: bool,
        changes: &[Change],
    ) -> Result<(), Failed> {
        let Packet { sql, expects } = packet;
        if expects.is_empty() {
            return Ok(());
        }
        if sql.len() >= self.server_takes {
            return Err(self.too_large(sql.len(), &expects, changes).into());
        }
        let mut result = match self.conn.query_iter(sql).await {
            Ok(result) => result,
            Err(e) => return Err(self.failed(e.into(), expects.first(), merged, changes).await),
        };
        for (i, expect) in expects.iter().enumerate() {
            // The count must be read before the driver moves on to the next statement's outcome. An error of this
            // statement is kept by the driver until its rows are asked for.
            let affected = result.affected_rows();
            let mut row: Option<mysql_async::Row> = None;
            loop {
                match result.next().await {
                    Ok(Some(next)) => row = Some(next),
                    Ok(None) => break,
                    Err(e) => {
                        drop(result);
                        return Err(self.failed(e.into(), Some(expect), merged, changes).await);
                    }
                }
            }
            let number = |row: &mut Option<mysql_async::Row>, column: usize| {
                let value = row.as_mut()?.take_opt::<Option<u64>, _>(column)?;
                value.ok().flatten()
            };
            if begins && i == 1 {
                let epoch = number(&mut row, 0);
                if !may_apply(epoch, self.config.epoch) {
                    let now = epoch.map_or("gone".into(), |e| format!("at epoch {e}"));
                    return Err(StandbyError::EpochMoved(format!(
                        "the row of this database is {now}, and this stream is of epoch {}",
                        self.config.epoch
                    ))
                    .into());
                }
                continue;
            }
            let wrong = match expect.want {
                Want::Affected(wanted) => {
                    (affected != wanted).then(|| format!("{affected} rows matched instead of {wanted}"))
                }
                Want::Rows { count, sum } => {
                    let found = (number(&mut row, 0).unwrap_or(0), number(&mut row, 1).unwrap_or(0));
                    (found != (count, sum)).then(|| {
                        format!(
                            "{} rows stand where {count} must, with the checksum {} instead of {sum}",
                            found.0, found.1
                        )
                    })
                }
            };
            if let Some(why) = wrong {
                drop(result);
                return Err(self.mismatch(why, expect, merged, changes).await);
            }
        }
        Ok(())
    }

    /// A statement was refused.
    async fn failed(
        &mut self,
        e: DatabaseError,
        expect: Option<&Expect>,
        merged: bool,
        changes: &[Change],
    ) -> Failed {
        let DatabaseError::Sql { code, message } = &e else { return Failed::Stop(e.into()) };
        if e.is_transient() {
            return Failed::Stop(e.into());
        }
        let why = format!("the database says: {message} (error {code})");
        match expect.map(|x| x.about) {
            Some(about) if merged && about != About::Ours => Failed::Doubt(why, about),
            Some(About::Row(change, row)) => Failed::Stop(self.conflict(&why, change, row, changes).await),
            _ => Failed::Stop(e.into()),
        }
    }

    /// A statement met something else than it must.
    async fn mismatch(&mut self, why: String, expect: &Expect, merged: bool, changes: &[Change]) -> Failed {
        match expect.about {
            about if merged && about != About::Ours => Failed::Doubt(why, about),
            About::Row(change, row) => Failed::Stop(self.conflict(&why, change, row, changes).await),
            About::Folded(_) | About::Absent(_) => Failed::Doubt(why, expect.about),
            About::Ours => Failed::Stop(StandbyError::EpochMoved(format!(
                "the slot of stream {} in epoch {} is not where this agent left it: another one moved it",
                self.stream, self.config.epoch
            ))),
        }
    }

    /// A packet is larger than the server takes. Packets are made smaller than that unless one row does not fit.
    fn too_large(&self, bytes: usize, expects: &[Expect], changes: &[Change]) -> StandbyError {
        let table = expects.iter().find_map(|expect| match expect.about {
            About::Row(change, _) => match changes.get(change)? {
                Change::Rows { table, .. } => self.tables.get(table),
                Change::Savepoint(_) | Change::Statement(_) => None,
            },
            About::Ours | About::Folded(_) | About::Absent(_) => None,
        });
        let table = table.map_or("a table".into(), |table| table.to_string());
        StandbyError::Unsupported(format!(
            "a row of {table} needs a packet of {bytes} bytes, and this database takes {}: raise max_allowed_packet here (at most 1 GiB) to what the primary has, and somewhat more",
            self.server_takes
        ))
    }

    /// Tells what was expected and what is there. Looks in a session of its own, where nothing of ours is seen.
    async fn conflict(&mut self, why: &str, change: usize, row: usize, changes: &[Change]) -> StandbyError {
        let Some(Change::Rows { table: number, rows, .. }) = changes.get(change) else {
            return StandbyError::Conflict(format!("conflict: {why}"));
        };
        let target = self.known.all().get(number).cloned();
        let (Some(table), Some(target)) = (self.tables.get(number).cloned(), target) else {
            return StandbyError::Conflict(format!("conflict: {why}"));
        };
        let (verb, expected) = match rows {
            Rows::Insert(rows) => ("INSERT", rows.get(row)),
            Rows::Update(rows) => ("UPDATE", rows.get(row).map(|(before, _)| before)),
            Rows::Delete(rows) => ("DELETE", rows.get(row)),
        };
        let Some(expected) = expected else { return StandbyError::Conflict(format!("conflict: {why}")) };
        let found = match self.look(&table, &target, expected).await {
            Ok(found) => found,
            Err(e) => format!("(could not be looked up: {e})"),
        };
        let before = if verb == "INSERT" { "no row with this key" } else { "exactly this row" };
        StandbyError::Conflict(format!(
            "conflict in {table}: {verb} of the row with the key ({}): {why}; expected: {before}, for ({}); found: {found}. Nothing was changed: somebody else wrote to this database",
            told(&table, expected, true),
            told(&table, expected, false),
        ))
    }

    async fn look(&self, table: &Table, target: &Target, row: &Row) -> Result<String, DatabaseError> {
        let Some(condition) = sql::by_key(row, target) else {
            return Ok("(the table has no key to look by)".into());
        };
        let mut conn = self.config.database.open().await?;
        // What this session itself changed is not committed, and so not seen.
        let mut sql = format!("SELECT * FROM {}", target.name).into_bytes();
        sql.extend_from_slice(&condition);
        let found: Option<mysql_async::Row> = conn.query_first(sql).await?;
        Ok(match found {
            None => "no row with this key".into(),
            Some(found) => {
                let values = found.unwrap_raw().into_iter().zip(&table.columns);
                let told: Vec<String> = values
                    .map(|(v, c)| {
                        format!("{}={}", c.name, v.map_or("?".into(), |v| shortened(&v.as_sql(false))))
                    })
                    .collect();
                format!("({})", told.join(", "))
            }
        })
    }
}

/// What is left of a failure where nothing was folded.
fn certain(failed: Failed) -> StandbyError {
    match failed {
        Failed::Stop(e) => e,
        Failed::Doubt(why, _) => StandbyError::Conflict(format!("conflict: {why}")),
    }
}

/// The exact way came out: the doubt was none.
fn clear(folded: &[Arc<Target>], about: About) {
    if let (About::Folded(_), Some(target)) = (about, doubted_table(folded, about)) {
        target.doubted();
    }
}

/// The table whose folded changes a doubt is about.
fn doubted_table(folded: &[Arc<Target>], about: About) -> Option<&Arc<Target>> {
    match about {
        About::Folded(number) | About::Absent(number) => folded.get(number),
        About::Ours | About::Row(..) => None,
    }
}

/// The place of a described table in this database.
async fn find_target(conn: &mut Conn, table: &Table) -> Result<Target, StandbyError> {
    Target::find(conn, table, Form::Logged).await.map_err(|e| match e {
        NoTarget::Database(e) => e.into(),
        NoTarget::Differs(how) => StandbyError::Conflict(format!("conflict: {how}. Nothing was changed")),
    })
}

/// Why a table's rows are refused.
pub(crate) fn without_key(table: &Table) -> StandbyError {
    StandbyError::Unsupported(format!(
        "the table {table} has no primary key, so its rows cannot be told apart: give it one, or set policy.tables_without_primary_key = \"row_by_row\""
    ))
}
