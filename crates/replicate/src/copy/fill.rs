//! Fills a standby: walks every table and makes it equal, while the primary's stream is applied around it.
//!
//! Until the last table is done the data here are no prefix of the primary's history, so the row says `seeding`, no
//! watermark is sent and no promotion is possible. The last commit ends that; from it on the stream is applied strictly.
//!
//! Always true here: the slot stands behind everything that was applied, and how far each table is copied stands in
//! `ghostlight.copying`, both moved in the transaction that makes them true. So a cut link or a killed process
//! goes on where it was. A definition breaks that (it commits by itself), so while one runs the slot says `seed`, and
//! after a crash just then the copy begins again, in the same life.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::FutureExt;
use model::{
    Position,
    agent::{Slot, StandbyPhase},
    topology::WithoutPrimaryKey,
};
use mysql_async::prelude::Queryable;
use runtime::process::Shutdown;
use tokio::{sync::watch, time::timeout};

use super::{
    Bound, Chunk, Content, Form, Walk,
    begin::{self, Stage},
    equal, lenient, read,
};
use crate::{
    apply::{
        Ended, FollowProgress, Form as ReadFrom, NoTarget, Packet, Packets, Relations, Session,
        StandbyConfig, StandbyError, Target, ask, retry, run_definition, text, without_key,
    },
    binlog::{Charsets, charsets, excerpt},
    checkpoint::Pending,
    database::DatabaseError,
    link::{
        Link, LinkError, Receiver, SILENCE_MAX, Sender,
        frame::{Down, Up, Want},
    },
    transaction::{At, Change, End, Rows, Statement, Table},
};

/// So many chunks may be under way.
const CHUNKS_AHEAD: u32 = 4;

/// Settings of the session that writes.
pub(super) const SETTINGS: &str =
    "SET foreign_key_checks=0, character_set_results=NULL /*M!100201 , check_constraint_checks=0 */";

/// A transaction's changes go into the database when they cost so much, or when nothing more is there.
const COST_MAX: usize = 4 * 1024 * 1024;

/// Rows of tables without a key go in packets of this size.
const PACKET_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Fills this database from the primary and leaves an attached slot behind.
///
/// The row must be at `config.epoch` and say `seeding`. Goes on where an earlier attempt stopped, and retries by itself
/// what passes by itself. Returns `None` if `stop` came first.
pub async fn run(
    config: StandbyConfig,
    progress: watch::Sender<FollowProgress>,
    stop: Shutdown,
) -> Result<Option<Slot>, StandbyError> {
    retry(&progress, &stop, || attempt(&config, &progress).boxed()).await
}

async fn attempt(config: &StandbyConfig, progress: &watch::Sender<FollowProgress>) -> Result<Slot, Ended> {
    let at = match begin::stage(config).await? {
        Stage::Complete(at) => return Ok(slot(config, at)),
        Stage::UnderWay(at) => at,
        Stage::Nothing => begin::begin(config).await?,
    };
    let Link { sender, receiver } = ask(config, Want::Log(at.clone())).await?;
    let mut filler = Filler::open(config.clone(), at, sender).await?;
    tracing::info!(from = %filler.position(), tables = filler.todo.len(), "copying");
    progress.send_modify(|p| (p.phase, p.trouble) = (StandbyPhase::Seeding, None));
    filler.run(receiver, progress).await
}

fn slot(config: &StandbyConfig, position: Position) -> Slot {
    Slot { position, epoch: config.epoch, origin: config.origin.clone() }
}

/// A table that is not complete.
#[derive(Debug)]
struct Todo {
    schema: String,
    name: String,
    up_to: Option<Bound>,
}

/// A table as the stream describes it, and its place here once it was looked up.
type Described = (Table, Option<Arc<Target>>);

struct Filler {
    config: StandbyConfig,
    session: Session,
    sender: Sender,
    charsets: Charsets,
    stream: model::StreamId,
    /// Where the slot stands.
    at: At,
    step: u64,
    described: HashMap<u32, Described>,
    relations: Relations,
    todo: Vec<Todo>,
    /// The walk under way: its number, and which of `todo` it walks.
    walk: Option<(u32, usize)>,
    walks: u32,
    /// Parts of a transaction that has not ended were applied.
    within: bool,
    /// A definition has run; the slot still says so.
    defined: bool,
    changes: Vec<Change>,
    cost: usize,
    /// The end of the last transaction in `changes`.
    end: Option<End>,
}

impl Filler {
    async fn open(config: StandbyConfig, at: Position, sender: Sender) -> Result<Filler, StandbyError> {
        let mut session = Session::open(config.clone(), at.stream.clone()).await?;
        let conn = session.conn();
        conn.query_drop(SETTINGS).await.map_err(DatabaseError::from)?;
        let charsets = charsets(conn).await?;
        let relations = Relations::read(conn).await?;
        let found: Vec<(String, String, Option<String>)> = conn
            .query("SELECT table_schema, table_name, up_to FROM ghostlight.copying WHERE complete=0 ORDER BY 1,2")
            .await
            .map_err(DatabaseError::from)?;
        let todo = found
            .into_iter()
            .map(|(schema, name, up_to)| Todo {
                schema,
                name,
                up_to: up_to.and_then(|t| Bound::from_text(&t)),
            })
            .collect();
        Ok(Filler {
            stream: at.stream.clone(),
            at: At::from(&at),
            config,
            session,
            sender,
            charsets,
            step: 0,
            described: HashMap::new(),
            relations,
            todo,
            walk: None,
            walks: 0,
            within: false,
            defined: false,
            changes: Vec::new(),
            cost: 0,
            end: None,
        })
    }

    fn position(&self) -> Position {
        self.at.in_stream(&self.stream)
    }

    async fn run(
        &mut self,
        mut receiver: Receiver,
        progress: &watch::Sender<FollowProgress>,
    ) -> Result<Slot, Ended> {
        loop {
            if self.todo.is_empty() && !self.within {
                return self.finish(progress).await.map_err(Ended::from);
            }
            if self.walk.is_none() {
                self.ask().await?;
            }
            let frame = match receiver.receive().now_or_never() {
                Some(frame) => frame?,
                None => {
                    self.write().await?; // nothing stays open while we wait
                    timeout(SILENCE_MAX, receiver.receive()).await.map_err(|_| LinkError::Silent)??
                }
            };
            match frame {
                Down::Table { number, table } => {
                    self.write().await?; // the number may be given again
                    self.described.insert(number, (table, None));
                }
                Down::Part { changes, end } => self.part(changes, end).await?,
                Down::Abandoned => self.abandon().await?,
                Down::Chunk(chunk) => {
                    self.write().await?;
                    let rows = self.chunk(*chunk).await?;
                    let slot = slot(&self.config, self.position());
                    progress.send_modify(|p| {
                        p.rows_seeded += rows;
                        p.slot = Some(slot);
                    });
                }
                Down::Alive => {}
                Down::Refused(why) => return Err(why.into()),
                Down::Outline(_) | Down::Failovers(_) => return Err(LinkError::Senseless.into()),
            }
            if self.cost >= COST_MAX {
                self.write().await?;
            }
        }
    }

    /// Asks for the next table that is not complete.
    async fn ask(&mut self) -> Result<(), Ended> {
        let Some(next) = self.todo.first() else { return Ok(()) };
        self.walks += 1;
        let walk = Walk {
            number: self.walks,
            schema: next.schema.clone(),
            table: next.name.clone(),
            from: next.up_to.clone(),
            to: None,
            form: Form::Rows,
            chunks: CHUNKS_AHEAD,
        };
        self.walk = Some((walk.number, 0));
        Ok(self.sender.send(&Up::Walk(Box::new(walk))).await?)
    }

    async fn part(&mut self, mut changes: Vec<Change>, end: Option<End>) -> Result<(), Ended> {
        if matches!(changes.first(), Some(Change::Statement(_)))
            && let Change::Statement(statement) = changes.remove(0)
        {
            self.write().await?;
            self.define(&statement).await?;
        }
        self.cost += changes.iter().map(Change::cost).sum::<usize>() + 32;
        self.changes.extend(changes);
        match end {
            Some(end) => (self.within, self.end) = (false, Some(end)),
            None => self.within = true,
        }
        Ok(())
    }

    /// What was applied of the transaction without an end never was. If it is still with us, it is dropped with the
    /// connection, which begins at the slot; otherwise rows are here that nobody may have, and all begins again.
    async fn abandon(&mut self) -> Result<(), Ended> {
        if self.within {
            self.mark_void().await?;
        }
        Err(Ended::Passing("the primary's server died within a transaction; the copy begins again".into()))
    }

    fn where_slot(&self) -> String {
        format!(
            "`stream`={} AND `epoch`={} AND `file`={} AND `offset`={}",
            text(&self.stream.0),
            self.config.epoch,
            self.at.file,
            self.at.offset
        )
    }

    /// Opens a transaction of ours: the epoch's lock, then the mark.
    async fn open_transaction(&mut self) -> Result<(), StandbyError> {
        let at_rest = if self.defined { "pending LIKE 'seed:%'" } else { "pending IS NULL" };
        let mark =
            format!("UPDATE ghostlight.applied SET pending='part' WHERE {} AND {at_rest}", self.where_slot());
        let mut packet = Packet::default();
        Session::begin(&mut packet, &mark, 1);
        self.session.execute(packet, true, &[]).await
    }

    /// Moves the slot and commits.
    async fn close_transaction(&mut self, to: At) -> Result<(), StandbyError> {
        let sql = format!(
            "UPDATE ghostlight.applied SET pending=NULL, `file`={}, `offset`={} WHERE {} AND pending='part'",
            to.file,
            to.offset,
            self.where_slot()
        );
        let mut packet = Packet::default();
        packet.push(&sql, 1);
        self.session.execute(packet, false, &[]).await?;
        self.session.commit().await?;
        (self.at, self.defined) = (to, false);
        Ok(())
    }

    /// Writes down what was received, in one transaction. The slot follows whole transactions only; applying one again
    /// from its beginning comes to the same.
    async fn write(&mut self) -> Result<(), StandbyError> {
        let (changes, end) = (std::mem::take(&mut self.changes), self.end.take());
        self.cost = 0;
        if changes.is_empty() && end.is_none() {
            return Ok(());
        }
        self.open_transaction().await?;
        for change in changes {
            match change {
                Change::Rows { table, foreign_key_checks, rows } => {
                    self.rows(table, rows, foreign_key_checks).await?;
                }
                // Rolled back to or not: what is logged behind it is what happened.
                Change::Savepoint(sql) => {
                    self.session.conn().query_drop(sql).await.map_err(DatabaseError::from)?
                }
                Change::Statement(statement) => {
                    return Err(StandbyError::Unsupported(format!(
                        "{} is out of place",
                        excerpt(&statement)
                    )));
                }
            }
        }
        self.close_transaction(end.map_or(self.at, |end| end.at)).await
    }

    async fn rows(&mut self, number: u32, rows: Rows, foreign_key_checks: bool) -> Result<(), StandbyError> {
        let Some((table, target)) = self.described.get_mut(&number) else {
            return Err(StandbyError::Refused("rows came of a table that was not described".into()));
        };
        let target = match target {
            Some(target) => target.clone(),
            None => {
                let found =
                    Target::find(self.session.conn(), table, ReadFrom::Logged).await.map_err(not_here)?;
                target.insert(Arc::new(found)).clone()
            }
        };
        let conn = self.session.conn();
        if target.has_key() {
            let again =
                lenient::apply(conn, table, &target, &self.relations, &rows, foreign_key_checks).await?;
            return self
                .begin_again(|schema, name| again.contains(&(schema.to_owned(), name.to_owned())))
                .await;
        }
        if self.config.tables_without_primary_key == WithoutPrimaryKey::Refuse {
            return Err(without_key(table));
        }
        // Its rows cannot be told apart: until it is copied, its one chunk will hold what this changes; then the
        // change finds what it must.
        if self.todo.iter().any(|t| t.schema == table.schema && t.name == table.name) {
            return Ok(());
        }
        let mut packets = Packets::new(PACKET_BYTES_MAX);
        packets.rows(0, &rows, &target);
        let changes = [Change::Rows { table: number, foreign_key_checks, rows }];
        for packet in packets.into_all() {
            self.session.execute(packet, false, &changes).await?;
        }
        Ok(())
    }

    /// Tables whose copying begins again.
    async fn begin_again(&mut self, is: impl Fn(&str, &str) -> bool) -> Result<(), StandbyError> {
        let conn = self.session.conn();
        let all: Vec<(String, String)> = conn
            .query("SELECT table_schema, table_name FROM ghostlight.copying")
            .await
            .map_err(DatabaseError::from)?;
        for (schema, name) in all.into_iter().filter(|(schema, name)| is(schema, name)) {
            let sql = format!(
                "UPDATE ghostlight.copying SET up_to=NULL, complete=0 WHERE table_schema={} AND table_name={}",
                text(&schema),
                text(&name)
            );
            conn.query_drop(sql).await.map_err(DatabaseError::from)?;
            self.walk = None;
            self.todo.retain(|t| t.schema != schema || t.name != name);
            self.todo.push(Todo { schema, name, up_to: None });
        }
        Ok(())
    }

    /// Runs a definition. From before it until the end of its transaction the slot says `seed`.
    async fn define(&mut self, statement: &Statement) -> Result<(), Ended> {
        let mut definer = self.config.database.open().await?;
        self.mark_seed(definer.id()).await?;
        // Rows that a foreign key or a constraint needs may not be copied yet.
        let lenient = Statement { foreign_key_checks: false, ..statement.clone() };
        match run_definition(&mut definer, &lenient, true).await {
            Ok(()) => {}
            Err(e @ DatabaseError::Sql { .. }) if !e.is_transient() => {
                return Err(Ended::Passing(format!(
                    "{} cannot be run on a copy under way ({e}); the copy begins again behind it",
                    excerpt(statement)
                )));
            }
            Err(e) => return Err(e.into()),
        }
        self.defined = true;
        self.described.values_mut().for_each(|(_, target)| *target = None);
        let conn = self.session.conn();
        self.relations = Relations::read(conn).await?;
        let here: HashSet<(String, String)> = read::tables(conn).await?.into_iter().collect();
        self.open_transaction().await?;
        let conn = self.session.conn();
        let lost = |e: mysql_async::Error| StandbyError::from(DatabaseError::from(e));
        let listed: Vec<(String, String)> =
            conn.query("SELECT table_schema, table_name FROM ghostlight.copying").await.map_err(lost)?;
        for (schema, name) in listed.iter().filter(|t| !here.contains(*t)) {
            let named = format!("table_schema={} AND table_name={}", text(schema), text(name));
            conn.query_drop(format!("DELETE FROM ghostlight.copying WHERE {named}")).await.map_err(lost)?;
        }
        for (schema, name) in here.iter().filter(|t| !listed.contains(t)) {
            let values = format!("{}, {}", text(schema), text(name));
            let sql = format!("INSERT INTO ghostlight.copying (table_schema, table_name) VALUES ({values})");
            conn.query_drop(sql).await.map_err(lost)?;
        }
        self.walk = None;
        self.todo.retain(|t| here.contains(&(t.schema.clone(), t.name.clone())));
        // What the statement names may have been changed, swapped or renamed: it is walked from its beginning.
        let words = String::from_utf8_lossy(&statement.sql).to_lowercase();
        self.begin_again(|schema, name| {
            here.contains(&(schema.to_owned(), name.to_owned()))
                && (words.contains(&name.to_lowercase())
                    || !listed.iter().any(|(s, n)| s == schema && n == name))
        })
        .await?;
        // The transaction's rows and its end are still to come: the slot goes on saying `seed` until then.
        let back = format!(
            "UPDATE ghostlight.applied SET pending='{}' WHERE {} AND pending='part'",
            self.seed_mark(definer.id()),
            self.where_slot()
        );
        let mut packet = Packet::default();
        packet.push(&back, 1);
        self.session.execute(packet, false, &[]).await?;
        Ok(self.session.commit().await?)
    }

    fn seed_mark(&mut self, connection: u32) -> Pending {
        self.step += 1;
        Pending::Seed { connection, step: self.step }
    }

    async fn mark_seed(&mut self, connection: u32) -> Result<(), StandbyError> {
        let pending = self.seed_mark(connection);
        let mark = format!("UPDATE ghostlight.applied SET pending='{pending}' WHERE {}", self.where_slot());
        let mut packet = Packet::default();
        Session::begin(&mut packet, &mark, 1);
        self.session.execute(packet, true, &[]).await?;
        self.session.commit().await
    }

    /// Nothing of the copy can be relied upon.
    async fn mark_void(&mut self) -> Result<(), StandbyError> {
        let connection = self.session.conn().id();
        self.mark_seed(connection).await
    }

    /// Makes a range equal; returns how many rows it has.
    async fn chunk(&mut self, chunk: Chunk) -> Result<u64, Ended> {
        let Some((number, place)) = self.walk else { return Ok(0) };
        if number != chunk.walk || self.within || self.defined {
            return Ok(0);
        }
        let Some(todo) = self.todo.get(place) else { return Ok(0) };
        let (schema, name) = (todo.schema.clone(), todo.name.clone());
        let Content::Rows(rows) = &chunk.content else {
            // The table is gone at the primary, and the stream will say so; until then it is asked for again.
            self.walk = None;
            return Ok(0);
        };
        let conn = self.session.conn();
        let shape = read::shape(conn, &schema, &name).await?;
        let target = match Target::find(conn, &chunk.table, ReadFrom::Selected).await {
            Ok(target) => target,
            Err(NoTarget::Database(e)) => return Err(e.into()),
            Err(NoTarget::Differs(why)) => {
                tracing::info!("a chunk is void: {why}");
                self.walk = None;
                return Ok(0);
            }
        };
        if !target.has_key() && self.config.tables_without_primary_key == WithoutPrimaryKey::Refuse {
            return Err(without_key(&chunk.table).into());
        }
        let Some(shape) = shape else {
            self.walk = None;
            return Ok(0);
        };
        self.open_transaction().await?;
        let conn = self.session.conn();
        if chunk.from.is_none() && chunk.last && rows.is_empty() {
            conn.query_drop(format!("DELETE FROM {}", target.name())).await.map_err(DatabaseError::from)?;
        } else {
            let bounds = (chunk.from.as_ref(), chunk.to.as_ref());
            let comparison = equal::compare(conn, &self.charsets, &shape, bounds, rows).await?;
            if !comparison.is_equal() && tracing::enabled!(tracing::Level::TRACE) {
                tracing::trace!("{schema}.{name}: {:?}", comparison.differences(&chunk.table, rows));
            }
            equal::make(conn, &target, &comparison, rows).await?;
        }
        let up_to = match &chunk.to {
            Some(to) => text(&to.to_text().map_err(|_| LinkError::Senseless)?),
            None => "NULL".into(),
        };
        let note = format!(
            "UPDATE ghostlight.copying SET up_to={up_to}, complete={} WHERE table_schema={} AND table_name={}",
            u8::from(chunk.last),
            text(&schema),
            text(&name)
        );
        conn.query_drop(note).await.map_err(DatabaseError::from)?;
        let at = self.at;
        self.close_transaction(at).await?;
        if chunk.last {
            self.todo.remove(place);
            self.walk = None;
        } else {
            if let Some(todo) = self.todo.get_mut(place) {
                todo.up_to = chunk.to;
            }
            self.sender.send(&Up::More { walk: number, chunks: 1 }).await?;
        }
        Ok(chunk.rows)
    }

    /// The last commit of the copy: from here on these data are the primary's as of the slot.
    async fn finish(&mut self, progress: &watch::Sender<FollowProgress>) -> Result<Slot, StandbyError> {
        self.write().await?;
        self.open_transaction().await?;
        let conn = self.session.conn();
        let lost = |e: mysql_async::Error| StandbyError::from(DatabaseError::from(e));
        conn.query_drop("DELETE FROM ghostlight.copying").await.map_err(lost)?;
        let incarnation = self.config.incarnation;
        conn.query_drop(format!(
            "UPDATE ghostlight.site SET seeding=0 WHERE id=1 AND incarnation={incarnation}"
        ))
        .await
        .map_err(lost)?;
        if conn.affected_rows() != 1 {
            return Err(StandbyError::EpochMoved(format!(
                "the row of this database is no longer at life {incarnation}"
            )));
        }
        let at = self.at;
        self.close_transaction(at).await?;
        let slot = slot(&self.config, self.position());
        progress.send_modify(|p| p.slot = Some(slot.clone()));
        Ok(slot)
    }
}

fn not_here(e: NoTarget) -> StandbyError {
    match e {
        NoTarget::Database(e) => e.into(),
        NoTarget::Differs(how) => StandbyError::Conflict(format!("conflict: {how}. Nothing was changed")),
    }
}
