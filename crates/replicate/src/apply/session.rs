//! The session that applies: does one piece of [`Work`] after the other in this database, and checks each outcome.
//!
//! Always true here: a COMMIT is sent only on its own, after every statement before it was checked; the first
//! thing that a transaction of ours does is to lock the epoch's row and to move its slot.

use std::{collections::HashMap, sync::Arc};

use model::{Position, StreamId, agent::Slot, topology::WithoutPrimaryKey};
use mysql_async::{Conn, prelude::Queryable};

use super::{
    StandbyConfig, StandbyError, ddl, sql,
    sql::{Expect, Packet, Packets},
    target::{Form, NoTarget, Target},
};
use crate::{
    binlog::excerpt,
    checkpoint::{Pending, Work},
    database::DatabaseError,
    transaction::{At, Change, Row, Rows, Statement, Table, Value},
};

/// Settings of this session beyond those of all our sessions: constraints were checked where the rows were
/// written, and cannot be checked by themselves here.
const SETTINGS: &str = "SET foreign_key_checks=1 /*M!100201 , check_constraint_checks=0 */";

/// Packets are kept well below what the server takes.
const PACKET_BYTES_MAX: usize = 4 * 1024 * 1024;

/// See the module.
pub(crate) struct Session {
    config: StandbyConfig,
    stream: StreamId,
    conn: Conn,
    tables: HashMap<u32, Arc<Table>>,
    targets: HashMap<u32, Arc<Target>>,
    foreign_key_checks: bool,
}

impl Session {
    /// Opens a session that works on the slot of `stream`.
    pub(crate) async fn open(config: StandbyConfig, stream: StreamId) -> Result<Session, DatabaseError> {
        let conn = config.database.open_with(vec![SETTINGS.into()]).await?;
        Ok(Session {
            config,
            stream,
            conn,
            tables: HashMap::new(),
            targets: HashMap::new(),
            foreign_key_checks: true,
        })
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
        self.targets.remove(&number);
        self.tables.insert(number, Arc::new(table));
    }

    /// Does one piece of work. After an error the session is of no use any more; dropping it rolls back.
    pub(super) async fn work(&mut self, work: Work) -> Result<(), StandbyError> {
        match work {
            Work::Apply { from, opens, changes, to } => self.apply(from, opens, &changes, to).await,
            Work::Define { from, statement } => self.define(from, &statement).await,
            Work::Commit => self.commit().await,
            Work::Rollback => Ok(self.conn.query_drop("ROLLBACK").await.map_err(DatabaseError::from)?),
        }
    }

    fn move_slot(&self, from: At, set: &str, only_if: &str) -> String {
        sql::move_slot(&self.stream.0, self.config.epoch.0, from, set, only_if)
    }

    async fn apply(
        &mut self,
        from: At,
        opens: bool,
        changes: &[Change],
        to: Option<At>,
    ) -> Result<(), StandbyError> {
        let mut packets = Packets::new(PACKET_BYTES_MAX);
        if opens {
            let (set, only_if) = match to {
                Some(to) => (format!("`file`={}, `offset`={}", to.file, to.offset), " AND pending IS NULL"),
                None => ("pending='part'".to_owned(), " AND pending IS NULL"),
            };
            Self::begin(&mut packets.last, &self.move_slot(from, &set, only_if), 1);
        }
        for (i, change) in changes.iter().enumerate() {
            match change {
                Change::Rows { table, foreign_key_checks, rows } => {
                    let target = self.target(*table).await?;
                    if self.foreign_key_checks != *foreign_key_checks {
                        self.foreign_key_checks = *foreign_key_checks;
                        let set = format!("SET foreign_key_checks={}", u8::from(*foreign_key_checks));
                        packets.room_for(set.len()).push(&set, 0);
                    }
                    packets.rows(i, rows, &target);
                }
                Change::Savepoint(sql) => packets.room_for(sql.len()).push(sql, 0),
                Change::Statement(statement) => {
                    return Err(StandbyError::Unsupported(format!("{} is out of place", excerpt(statement))));
                }
            }
        }
        if !opens && let Some(to) = to {
            let set = format!("`file`={}, `offset`={}, pending=NULL", to.file, to.offset);
            let sql = self.move_slot(from, &set, "");
            packets.room_for(sql.len()).push(&sql, 1);
        }
        for (n, packet) in packets.into_all().into_iter().enumerate() {
            self.execute(packet, opens && n == 0, changes).await?;
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
            Self::begin(&mut packet, &self.move_slot(from, &format!("pending='{pending}'"), ""), 1);
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
        self.targets.clear();
        let mut packet = Packet::default();
        packet.push(&self.move_slot(from, "pending='part'", ""), 1);
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
        if let Some(target) = self.targets.get(&number) {
            return Ok(target.clone());
        }
        let table = self.tables.get(&number).ok_or_else(|| {
            StandbyError::Refused("the primary's agent sent rows of a table that it did not describe".into())
        })?;
        if table.key.is_empty() && self.config.tables_without_primary_key == WithoutPrimaryKey::Refuse {
            return Err(without_key(table));
        }
        let target = Arc::new(find_target(&mut self.conn, table).await?);
        self.targets.insert(number, target.clone());
        Ok(target)
    }

    /// Executes a packet and checks every outcome. `begins`: its second statement reads the epoch.
    pub(crate) async fn execute(
        &mut self,
        packet: Packet,
        begins: bool,
        changes: &[Change],
    ) -> Result<(), StandbyError> {
        let Packet { sql, expects } = packet;
        if expects.is_empty() {
            return Ok(());
        }
        let mut result = match self.conn.query_iter(sql).await {
            Ok(result) => result,
            Err(e) => return Err(self.failed(e.into(), expects.first(), changes).await),
        };
        for (i, expect) in expects.iter().enumerate() {
            // The count must be read before the driver moves on to the next statement's outcome. An error of this
            // statement is kept by the driver until its rows are asked for.
            let affected = result.affected_rows();
            let mut epoch: Option<u64> = None;
            loop {
                match result.next().await {
                    Ok(Some(mut row)) => epoch = row.take(0),
                    Ok(None) => break,
                    Err(e) => {
                        drop(result);
                        return Err(self.failed(e.into(), Some(expect), changes).await);
                    }
                }
            }
            if begins && i == 1 {
                if epoch != Some(self.config.epoch.0) {
                    let now = epoch.map_or("gone".into(), |e| format!("at epoch {e}"));
                    return Err(StandbyError::EpochMoved(format!(
                        "the row of this database is {now}, and this stream is of epoch {}",
                        self.config.epoch
                    )));
                }
            } else if affected != expect.affected {
                drop(result);
                return Err(self.mismatch(affected, expect, changes).await);
            }
        }
        Ok(())
    }

    /// A statement was refused.
    async fn failed(
        &mut self,
        e: DatabaseError,
        expect: Option<&Expect>,
        changes: &[Change],
    ) -> StandbyError {
        let DatabaseError::Sql { code, message } = &e else { return e.into() };
        if e.is_transient() {
            return e.into();
        }
        let why = format!("the database says: {message} (error {code})");
        match expect.and_then(|x| x.about) {
            Some((change, row)) => self.conflict(&why, change, row, changes).await,
            None => e.into(),
        }
    }

    /// A statement met another number of rows than it must.
    async fn mismatch(&mut self, affected: u64, expect: &Expect, changes: &[Change]) -> StandbyError {
        match expect.about {
            Some((change, row)) => {
                let why = format!("{affected} rows matched instead of {}", expect.affected);
                self.conflict(&why, change, row, changes).await
            }
            None => StandbyError::EpochMoved(format!(
                "the slot of stream {} in epoch {} is not where this agent left it: another one moved it",
                self.stream, self.config.epoch
            )),
        }
    }

    /// Tells what was expected and what is there. Looks in a session of its own, where nothing of ours is seen.
    async fn conflict(&mut self, why: &str, change: usize, row: usize, changes: &[Change]) -> StandbyError {
        let Some(Change::Rows { table: number, rows, .. }) = changes.get(change) else {
            return StandbyError::Conflict(format!("conflict: {why}"));
        };
        let (Some(table), Some(target)) =
            (self.tables.get(number).cloned(), self.targets.get(number).cloned())
        else {
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
        let sql = format!("SELECT * FROM {}{condition}", target.name);
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

/// A row's values with their columns' names; of its key only, or all.
fn told(table: &Table, row: &Row, key_only: bool) -> String {
    let shown = |i: usize| !key_only || table.key.iter().any(|k| usize::from(*k) == i);
    let values = table.columns.iter().zip(row).enumerate().filter(|(i, _)| shown(*i));
    values.map(|(_, (c, v))| format!("{}={}", c.name, told_value(v))).collect::<Vec<_>>().join(", ")
}

fn told_value(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Signed(n) => n.to_string(),
        Value::Unsigned(n) => n.to_string(),
        Value::Float(n) => n.to_string(),
        Value::Double(n) => n.to_string(),
        Value::Decimal(text) => text.clone(),
        Value::Temporal(text) => format!("'{text}'"),
        Value::Bytes(bytes) => shortened(&format!("'{}'", String::from_utf8_lossy(bytes))),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
