//! The beginning of a copy: the slot, and every definition as it stands at the primary.
//!
//! From the first change to the last the slot says `seed`, and the row says `seeding`; after a crash in between it is
//! simply done again. What is already here is kept where its definition is the primary's (its rows are compared later,
//! never trusted), and dropped where it is not.

use std::collections::HashMap;

use model::Position;
use mysql_async::{Conn, prelude::Queryable};
use tokio::time::timeout;

use super::{Definition, Outline, What, read};
use crate::{
    apply::{Ended, Packet, Session, StandbyConfig, StandbyError, ask, quoted, run_definition, text},
    checkpoint::Pending,
    database::DatabaseError,
    filter::APPLICATIONS_SQL,
    link::{
        Link, LinkError, SILENCE_MAX,
        frame::{Down, Want},
    },
    transaction::Statement,
};

/// No such table, column, function; a view that refers to what is not there yet.
const NEEDS_ANOTHER_FIRST: [u16; 4] = [1146, 1054, 1305, 1356];

/// Where the copy stands: the slot that is being filled, if it was begun, and whether it is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing, or nothing of use.
    Nothing,
    /// The definitions are there, and the stream is applied up to here.
    UnderWay(Position),
    /// It is complete up to here.
    Complete(Position),
}

/// Looks where the copy stands. Refuses to touch what is no copy of ours.
pub(crate) async fn stage(config: &StandbyConfig) -> Result<Stage, StandbyError> {
    let mut conn = config.database.open().await?;
    let lost = |e: mysql_async::Error| StandbyError::from(DatabaseError::from(e));
    let site: Option<(u64, u8)> =
        conn.query_first("SELECT epoch, seeding FROM ghostlight.site WHERE id=1").await.map_err(lost)?;
    let Some((epoch, seeding)) = site else {
        return Err(StandbyError::NoSlot("the row of ghostlight.site is gone".into()));
    };
    if epoch != config.epoch.0 {
        return Err(StandbyError::EpochMoved(format!(
            "the row of this database is at epoch {epoch}, and this copy is of epoch {}",
            config.epoch
        )));
    }
    let slots: Vec<(String, u64, u64, String, u64, Option<String>)> = conn
        .query("SELECT `stream`, `file`, `offset`, origin, epoch, pending FROM ghostlight.applied")
        .await
        .map_err(lost)?;
    let ours = slots.iter().find(|s| s.3 == config.origin.as_str() && s.4 == config.epoch.0);
    let position = ours.filter(|s| s.5.is_none()).map(|(stream, file, offset, ..)| Position {
        stream: model::StreamId(stream.clone()),
        file: *file,
        offset: *offset,
    });
    match (seeding, position) {
        (0, Some(position)) => Ok(Stage::Complete(position)),
        (0, None) => {
            let why = match slots.first() {
                Some((stream, ..)) => format!("it already has a slot (of stream {stream})"),
                None => "its row does not say that it is to be filled".to_owned(),
            };
            Err(StandbyError::Conflict(format!(
                "this database is no copy under way: {why}. Nothing was overwritten"
            )))
        }
        (_, Some(position)) => Ok(Stage::UnderWay(position)),
        (_, None) => Ok(Stage::Nothing),
    }
}

/// Asks for the outline and makes it so.
pub(crate) async fn begin(config: &StandbyConfig) -> Result<Position, Ended> {
    let Link { mut receiver, sender } = ask(config, Want::Outline).await?;
    let outline = loop {
        match timeout(SILENCE_MAX, receiver.receive()).await.map_err(|_| LinkError::Silent)?? {
            Down::Outline(outline) => break *outline,
            Down::Alive => {}
            Down::Refused(why) => return Err(why.into()),
            _ => return Err(LinkError::Senseless.into()),
        }
    };
    drop(sender); // held until here: its end would end the primary's side
    Ok(define(config, outline).await?)
}

async fn define(config: &StandbyConfig, outline: Outline) -> Result<Position, StandbyError> {
    let stream = &outline.at.stream;
    let mut session = Session::open(config.clone(), stream.clone()).await?;
    let lost = |e: mysql_async::Error| StandbyError::from(DatabaseError::from(e));
    let slots: Option<u64> =
        session.conn().query_first("SELECT COUNT(*) FROM ghostlight.applied").await.map_err(lost)?;
    let pending = Pending::Seed { connection: session.conn().id(), step: 0 };
    let mut packet = Packet::default();
    Session::begin(&mut packet, "DO 0", 0);
    packet.push("DELETE FROM ghostlight.applied", slots.unwrap_or(0));
    packet.push(
        &format!(
            "INSERT INTO ghostlight.applied (`stream`, `file`, `offset`, `origin`, `epoch`, pending) VALUES ({}, 0, 0, {}, {}, '{pending}')",
            text(&stream.0),
            text(config.origin.as_str()),
            config.epoch
        ),
        1,
    );
    session.execute(packet, true, &[]).await?;
    session.conn().query_drop("DELETE FROM ghostlight.copying").await.map_err(lost)?;
    session.commit().await?;

    make(session.conn(), outline.definitions).await?;

    let tables = read::tables(session.conn()).await?;
    let mut packet = Packet::default();
    let at = &outline.at;
    let mark = format!(
        "UPDATE ghostlight.applied SET `file`={}, `offset`={}, pending=NULL WHERE `stream`={} AND `epoch`={} AND pending='{pending}'",
        at.file,
        at.offset,
        text(&stream.0),
        config.epoch
    );
    Session::begin(&mut packet, &mark, 1);
    session.execute(packet, true, &[]).await?;
    for (schema, name) in &tables {
        let insert = format!(
            "INSERT INTO ghostlight.copying (table_schema, table_name) VALUES ({}, {})",
            text(schema),
            text(name)
        );
        session.conn().query_drop(insert).await.map_err(lost)?;
    }
    session.commit().await?;
    tracing::info!(tables = tables.len(), "a copy begins at {at}");
    Ok(outline.at)
}

/// Drops what the primary has not or has otherwise, and makes what is missing.
async fn make(conn: &mut Conn, definitions: Vec<Definition>) -> Result<(), StandbyError> {
    conn.query_drop("SET foreign_key_checks=0, character_set_results=NULL")
        .await
        .map_err(DatabaseError::from)?;
    let mut kept = drop_what_differs(conn, &definitions).await?;
    let mut waiting = Vec::new();
    for definition in definitions {
        let key = (definition.what == What::Table, definition.schema.clone(), definition.name.clone());
        match kept.remove(&key) {
            Some(here) => {
                if let Some(raise) = counter_to_raise(&definition, &here) {
                    conn.query_drop(raise).await.map_err(DatabaseError::from)?;
                }
            }
            None => waiting.push(definition),
        }
    }
    // Some name others that come later: views of views, routines of views.
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut later = Vec::new();
        for definition in waiting {
            let statement = Statement {
                schema: if definition.what == What::Schema {
                    String::new()
                } else {
                    definition.schema.clone()
                },
                sql: definition.sql.clone(),
                ..Statement::default()
            };
            match run_definition(conn, &statement, false).await {
                Ok(()) => {}
                Err(DatabaseError::Sql { code, .. }) if NEEDS_ANOTHER_FIRST.contains(&code) => {
                    later.push(definition);
                }
                Err(e) => return Err(e.into()),
            }
        }
        if later.len() == before {
            let names: Vec<String> = later.iter().map(|d| format!("{}.{}", d.schema, d.name)).collect();
            return Err(StandbyError::Unsupported(format!(
                "these definitions name something that does not exist: {}. Mend or drop them at the primary",
                names.join("; ")
            )));
        }
        waiting = later;
    }
    Ok(())
}

/// What stays: whether it is a table (or a schema), its schema and name, and how it is defined here.
type Kept = HashMap<(bool, String, String), Vec<u8>>;

async fn drop_what_differs(conn: &mut Conn, theirs: &[Definition]) -> Result<Kept, StandbyError> {
    let mut kept = Kept::new();
    let wanted: HashMap<(What, &str, &str), &Definition> =
        theirs.iter().map(|d| ((d.what, d.schema.as_str(), d.name.as_str()), d)).collect();
    let lost = |e: mysql_async::Error| StandbyError::from(DatabaseError::from(e));
    for (kind, list) in [
        ("VIEW", "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA"),
        (
            "PROCEDURE",
            "SELECT ROUTINE_SCHEMA, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE='PROCEDURE' AND ROUTINE_SCHEMA",
        ),
        (
            "FUNCTION",
            "SELECT ROUTINE_SCHEMA, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE='FUNCTION' AND ROUTINE_SCHEMA",
        ),
    ] {
        let found: Vec<(String, String)> =
            conn.query(format!("{list} {APPLICATIONS_SQL}")).await.map_err(lost)?;
        for (schema, name) in found {
            conn.query_drop(format!("DROP {kind} {}.{}", quoted(&schema), quoted(&name)))
                .await
                .map_err(lost)?;
        }
    }
    let schemas: Vec<String> = conn
        .query(format!(
            "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME {APPLICATIONS_SQL}"
        ))
        .await
        .map_err(lost)?;
    for schema in schemas {
        let here = shown(conn, &format!("SHOW CREATE DATABASE {}", quoted(&schema))).await?;
        if wanted.get(&(What::Schema, schema.as_str(), schema.as_str())).is_some_and(|d| d.sql == here) {
            kept.insert((false, schema.clone(), schema), here);
        } else {
            conn.query_drop(format!("DROP DATABASE {}", quoted(&schema))).await.map_err(lost)?;
        }
    }
    for (schema, name) in read::tables(conn).await? {
        let table = format!("{}.{}", quoted(&schema), quoted(&name));
        let here = shown(conn, &format!("SHOW CREATE TABLE {table}")).await?;
        let same = wanted
            .get(&(What::Table, schema.as_str(), name.as_str()))
            .is_some_and(|d| without_counter(&d.sql).0 == without_counter(&here).0);
        if same {
            kept.insert((true, schema, name), here);
        } else {
            conn.query_drop(format!("DROP TABLE {table}")).await.map_err(lost)?;
        }
    }
    Ok(kept)
}

async fn shown(conn: &mut Conn, show: &str) -> Result<Vec<u8>, StandbyError> {
    let row: Option<mysql_async::Row> = conn.query_first(show).await.map_err(DatabaseError::from)?;
    Ok(row.and_then(|mut row| row.take::<Vec<u8>, _>(1)).unwrap_or_default())
}

/// A table's definition without the counter of AUTO_INCREMENT, and that counter.
pub(crate) fn without_counter(sql: &[u8]) -> (Vec<u8>, Option<u64>) {
    const WORD: &[u8] = b" AUTO_INCREMENT=";
    // Behind the columns, where no quoted name or comment of a column can look like it.
    let options = sql.iter().rposition(|b| *b == b')').unwrap_or(0);
    let found = sql.get(options..).and_then(|tail| tail.windows(WORD.len()).position(|w| w == WORD));
    let Some(at) = found.map(|at| at + options) else { return (sql.to_vec(), None) };
    let (head, tail) = sql.split_at(at);
    let tail = tail.get(WORD.len()..).unwrap_or_default();
    let digits = tail.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, rest) = tail.split_at(digits);
    ([head, rest].concat(), std::str::from_utf8(number).ok().and_then(|n| n.parse().ok()))
}

/// Numbers that the primary has given out must not be given out again here.
fn counter_to_raise(definition: &Definition, here: &[u8]) -> Option<String> {
    let theirs = without_counter(&definition.sql).1?;
    let ours = without_counter(here).1.unwrap_or(0);
    (definition.what == What::Table && theirs > ours).then(|| {
        format!(
            "ALTER TABLE {}.{} AUTO_INCREMENT={theirs}",
            quoted(&definition.schema),
            quoted(&definition.name)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_no_part_of_a_definition() {
        let sql = b"CREATE TABLE `t` (\n `a` int AUTO_INCREMENT COMMENT ' AUTO_INCREMENT=3'\n) ENGINE=InnoDB AUTO_INCREMENT=12 DEFAULT CHARSET=utf8mb4";
        let (rest, counter) = without_counter(sql);
        assert_eq!(counter, Some(12));
        assert!(rest.ends_with(b"ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"));
        assert_eq!(without_counter(&rest), (rest.clone(), None));
    }
}
