//! Fills an empty standby with the primary's data, as it stood at one position of the primary's log.
//!
//! From the first change to the last, the slot says `seed`: nobody can take this database for a standby that could
//! be promoted, and an interrupted seed is known as such and begun again. The slot becomes a true position in the
//! last transaction. Every transaction bears the slot's mark, as all of ours do.

use std::collections::HashMap;

use futures_util::FutureExt;
use model::{
    Position,
    agent::{Slot, StandbyPhase},
};
use mysql_async::prelude::Queryable;
use runtime::process::Shutdown;
use tokio::{sync::watch, time::timeout};

use crate::{
    apply::{
        Ended, FollowProgress, Form, NoTarget, Packet, Packets, Session, StandbyConfig, StandbyError, Target,
        ask, quoted, retry, run_definition, text, without_key,
    },
    checkpoint::Pending,
    database::DatabaseError,
    filter::APPLICATIONS_SQL,
    link::{
        Link, LinkError, SILENCE_MAX,
        frame::{Down, Want},
    },
    transaction::{Change, Rows, Statement},
};

/// Loading needs no checks of what was checked where it comes from.
const SETTINGS: &str = "SET foreign_key_checks=0, unique_checks=0";

/// Packets are kept well below what the server takes.
const PACKET_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Copies every application schema from the primary into this database and leaves an attached slot behind.
///
/// The schema `ghostlight` must exist here with the row at `config.epoch`; the application's schemas must be empty
/// or absent, except those of an earlier attempt of ours, which are dropped. Retries by itself what passes by
/// itself. Returns `None` if `stop` came first; then the slot says `seed`, and a later call begins again.
pub async fn run(
    config: StandbyConfig,
    progress: watch::Sender<FollowProgress>,
    stop: Shutdown,
) -> Result<Option<Slot>, StandbyError> {
    retry(&progress, &stop, || attempt(&config, &progress).boxed()).await
}

async fn attempt(config: &StandbyConfig, progress: &watch::Sender<FollowProgress>) -> Result<Slot, Ended> {
    let Link { mut receiver, sender } = ask(config, Want::Seed).await?;
    let mut seeder: Option<Seeder> = None;
    loop {
        let frame = timeout(SILENCE_MAX, receiver.receive()).await.map_err(|_| LinkError::Silent)??;
        match (frame, seeder.as_mut()) {
            (Down::Seeding(position), None) => {
                seeder = Some(Seeder::begin(config.clone(), position).await?);
                progress.send_modify(|p| {
                    (p.phase, p.rows_seeded, p.trouble) = (StandbyPhase::Seeding, 0, None);
                });
            }
            (Down::Table { number, table }, Some(seeder)) => {
                if table.key.is_empty()
                    && config.tables_without_primary_key == model::topology::WithoutPrimaryKey::Refuse
                {
                    return Err(without_key(&table).into());
                }
                let target = Target::find(seeder.session.conn(), &table, Form::Selected).await;
                let target = target.map_err(changed_meanwhile)?;
                seeder.targets.insert(number, target);
                seeder.session.describe(number, table);
            }
            (Down::Part { changes, end: None }, Some(seeder)) => {
                for change in changes {
                    let rows = seeder.take(change).await?;
                    progress.send_modify(|p| p.rows_seeded += rows);
                }
            }
            (Down::Seeded, Some(seeder)) => {
                let slot = seeder.finish().await?;
                drop(sender); // held until here: its end would end the primary's side
                progress.send_modify(|p| p.slot = Some(slot.clone()));
                return Ok(slot);
            }
            (Down::Alive, _) => {}
            (Down::Refused(why), _) => return Err(why.into()),
            _ => return Err(LinkError::Senseless.into()),
        }
    }
}

/// Both descriptions of a table, the one that made it here and the one before its rows, are of one copy: if they
/// differ, its definition was changed between them, and the copy is void.
fn changed_meanwhile(e: NoTarget) -> Ended {
    match e {
        NoTarget::Database(e) => e.into(),
        NoTarget::Differs(why) => Ended::Passing(format!(
            "a definition changed while the data were copied ({why}); the copy begins again"
        )),
    }
}

/// A seed under way.
struct Seeder {
    config: StandbyConfig,
    position: Position,
    session: Session,
    targets: HashMap<u32, Target>,
    step: u64,
    /// Definitions that could not be run yet: views of views, routines of views.
    later: Vec<Statement>,
}

impl Seeder {
    /// Marks the slot, then empties this database of what an earlier attempt left.
    async fn begin(config: StandbyConfig, position: Position) -> Result<Seeder, StandbyError> {
        let mut session = Session::open(config.clone(), position.stream.clone()).await?;
        let lost = |e: mysql_async::Error| StandbyError::from(DatabaseError::from(e));
        session.conn().query_drop(SETTINGS).await.map_err(lost)?;
        let slots: Vec<(String, Option<String>)> =
            session.conn().query("SELECT `stream`, pending FROM ghostlight.applied").await.map_err(lost)?;
        let seeding = |pending: &Option<String>| {
            pending.as_ref().and_then(|p| p.parse().ok()).is_some_and(|p: Pending| p.is_seed())
        };
        // The row says so from the making of this database on: what is in it is a copy that nobody has written to.
        let born_to_be_seeded: Option<u8> = session
            .conn()
            .query_first("SELECT seeding FROM ghostlight.site WHERE id=1")
            .await
            .map_err(lost)?;
        let interrupted = born_to_be_seeded == Some(1) || slots.iter().any(|(_, pending)| seeding(pending));
        if !interrupted && let Some((stream, _)) = slots.first() {
            return Err(StandbyError::Conflict(format!(
                "this database already has a slot (of stream {stream}): only an empty one is seeded"
            )));
        }
        let schemas = application_schemas(&mut session).await?;
        if !interrupted && let Some((schema, _)) = schemas.iter().find(|(_, objects)| *objects > 0) {
            return Err(StandbyError::Conflict(format!(
                "this database is not empty: it holds the schema {schema}. A seed overwrites nothing: put an empty database in its place, or drop the schema"
            )));
        }
        let pending = Pending::Seed { connection: session.conn().id(), step: 0 };
        let mut packet = Packet::default();
        Session::begin(&mut packet, "DO 0", 0);
        packet.push("DELETE FROM ghostlight.applied", u64::try_from(slots.len()).unwrap_or(u64::MAX));
        packet.push(
            &format!(
                "INSERT INTO ghostlight.applied (`stream`, `file`, `offset`, `origin`, `epoch`, pending) VALUES ({}, 0, 0, {}, {}, '{pending}')",
                text(&position.stream.0),
                text(config.origin.as_str()),
                config.epoch
            ),
            1,
        );
        session.execute(packet, true, &[]).await?;
        session.commit().await?;
        for (schema, _) in schemas {
            session.conn().query_drop(format!("DROP DATABASE {}", quoted(&schema))).await.map_err(lost)?;
        }
        Ok(Seeder { config, position, session, targets: HashMap::new(), step: 0, later: Vec::new() })
    }

    /// Takes a definition, or rows in one transaction; returns how many rows came.
    async fn take(&mut self, change: Change) -> Result<u64, StandbyError> {
        match change {
            Change::Statement(statement) => {
                self.define(statement).await?;
                Ok(0)
            }
            Change::Rows { table, rows, .. } => self.insert(table, rows).await,
            Change::Savepoint(_) => Err(StandbyError::Refused("a savepoint has no place in a seed".into())),
        }
    }

    async fn define(&mut self, statement: Statement) -> Result<(), StandbyError> {
        let outcome = run_definition(self.session.conn(), &statement, false).await;
        self.session.conn().query_drop(SETTINGS).await.map_err(DatabaseError::from)?;
        match outcome {
            Ok(()) => Ok(()),
            Err(DatabaseError::Sql { code, .. }) if NEEDS_ANOTHER_FIRST.contains(&code) => {
                self.later.push(statement);
                Ok(())
            }
            Err(e) => Err(e.into()),
        }
    }

    async fn insert(&mut self, table: u32, rows: Rows) -> Result<u64, StandbyError> {
        let Some(target) = self.targets.get(&table) else {
            return Err(StandbyError::Refused("rows came of a table that was not described".into()));
        };
        let Rows::Insert(inserted) = &rows else {
            return Err(StandbyError::Refused("a seed holds only rows that come".into()));
        };
        let count = u64::try_from(inserted.len()).unwrap_or(u64::MAX);
        self.step += 1;
        let mut packets = Packets::new(PACKET_BYTES_MAX);
        let pending = Pending::Seed { connection: self.session.conn().id(), step: self.step };
        let mark = self.mark(&format!("pending='{pending}'"));
        Session::begin(&mut packets.last, &mark, 1);
        packets.rows(0, &rows, target);
        let changes = [Change::Rows { table, foreign_key_checks: false, rows }];
        for (n, packet) in packets.into_all().into_iter().enumerate() {
            self.session.execute(packet, n == 0, &changes).await?;
        }
        self.session.commit().await?;
        Ok(count)
    }

    fn mark(&self, set: &str) -> String {
        format!(
            "UPDATE ghostlight.applied SET {set} WHERE `stream`={} AND `epoch`={} AND pending LIKE 'seed:%'",
            text(&self.position.stream.0),
            self.config.epoch
        )
    }

    /// Runs what had to wait, then makes the slot true.
    async fn finish(&mut self) -> Result<Slot, StandbyError> {
        while !self.later.is_empty() {
            let waiting = std::mem::take(&mut self.later);
            let before = waiting.len();
            for statement in waiting {
                self.define(statement).await?;
            }
            if self.later.len() == before {
                let names: Vec<String> = self.later.iter().map(crate::binlog::excerpt).collect();
                return Err(StandbyError::Unsupported(format!(
                    "these definitions name something that does not exist: {}. Mend or drop them at the primary",
                    names.join("; ")
                )));
            }
        }
        let (file, offset) = (self.position.file, self.position.offset);
        let mut packet = Packet::default();
        let mark = self.mark(&format!("`file`={file}, `offset`={offset}, pending=NULL"));
        Session::begin(&mut packet, &mark, 1);
        self.session.execute(packet, true, &[]).await?;
        self.session.commit().await?;
        Ok(Slot {
            position: self.position.clone(),
            epoch: self.config.epoch,
            origin: self.config.origin.clone(),
        })
    }
}

/// No such table, column, function; a view that refers to what is not there yet.
const NEEDS_ANOTHER_FIRST: [u16; 4] = [1146, 1054, 1305, 1356];

/// The application's schemas, and how many objects are in each.
async fn application_schemas(session: &mut Session) -> Result<Vec<(String, u64)>, StandbyError> {
    let sql = format!(
        "SELECT s.SCHEMA_NAME,
            (SELECT COUNT(*) FROM information_schema.TABLES t WHERE t.TABLE_SCHEMA=s.SCHEMA_NAME)
          + (SELECT COUNT(*) FROM information_schema.ROUTINES r WHERE r.ROUTINE_SCHEMA=s.SCHEMA_NAME)
        FROM information_schema.SCHEMATA s WHERE s.SCHEMA_NAME {APPLICATIONS_SQL}"
    );
    Ok(session.conn().query(sql).await.map_err(DatabaseError::from)?)
}
