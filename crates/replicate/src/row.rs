//! Typed reads and conditional changes of `ghostlight.site`, `applied`, `heartbeat` and the end of the log.
//!
//! Every change is one conditional statement and tells whether it matched: what was believed before is never
//! assumed. What the changes mean is said where they are decided: [`crate::mode`], [`crate::promote`],
//! [`crate::fence`].

use std::str::FromStr;

use model::{
    Epoch, Incarnation, Mode, Position, Site, StreamId,
    agent::{Row, Slot},
    sabotage::{self, Sabotage},
};
use mysql_async::{Conn, QueryResult, TextProtocol, prelude::Queryable};

use crate::{
    checkpoint::Pending,
    database::DatabaseError,
    dialect,
    schema::{self, Birth},
    stream,
};

/// The server's answers when the schema or its tables are not there.
const NO_SUCH: [u16; 3] = [1049, 1146, 1109];

/// The whole row of `ghostlight.site`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteRow {
    /// What other processes are told of it.
    pub row: Row,
    /// This database's own stream, as it is now.
    pub stream: StreamId,
    /// The life of these data, while they are a standby's.
    pub incarnation: Incarnation,
    /// Whether they are still being copied from the primary.
    pub seeding: bool,
}

/// The row and, read after it, the end of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The row.
    pub row: Row,
    /// The position behind everything that was committed when the row was read.
    pub end_of_log: Position,
    /// The life of these data, while they are a standby's.
    pub incarnation: Incarnation,
    /// Whether they are still being copied from the primary.
    pub seeding: bool,
}

/// A slot of `ghostlight.applied` with what is unfinished in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedSlot {
    /// The slot.
    pub slot: Slot,
    /// The text in `pending`, if any.
    pub pending: Option<String>,
}

impl AppliedSlot {
    /// Whether the position means something: it does not while a seeding or an undo is unfinished, or if nobody knows
    /// what is unfinished.
    pub fn is_attached(&self) -> bool {
        match self.pending.as_deref().map(Pending::from_str) {
            None => true,
            Some(Ok(pending)) => pending.is_attached(),
            Some(Err(_)) => false,
        }
    }
}

impl AppliedSlot {
    /// Whether the tail of an old primary is still being undone in front of it.
    pub fn is_being_undone(&self) -> bool {
        matches!(self.pending.as_deref().map(Pending::from_str), Some(Ok(Pending::Undo { .. })))
    }
}

impl SiteRow {
    /// As [`Snapshot::row_speaks`].
    pub fn row_speaks(&self) -> bool {
        self.row.stream == self.stream
    }
}

impl Snapshot {
    /// Whether the row was written in the log that is here. If not, another server has taken the place of the one that
    /// wrote it: the row may have lost its last change, and these data their last commits.
    pub fn row_speaks(&self) -> bool {
        self.row.stream == self.end_of_log.stream
    }
}

fn site(conn: &Conn) -> String {
    let here = stream::here(conn);
    format!(
        "SELECT epoch, `primary`, mode, token, stream, incarnation, seeding, {here} FROM ghostlight.site WHERE id = 1"
    )
}

/// The row, and then the end of the log, in one round trip.
///
/// The order matters to a barrier: the mode is not newer than the position.
pub async fn snapshot(conn: &mut Conn) -> Result<Snapshot, DatabaseError> {
    read(conn).await?.ok_or_else(|| DatabaseError::Unexpected("the row of ghostlight.site is gone".into()))
}

/// As [`snapshot`]; `None` if this database has no row, that is: it is empty to us.
pub async fn read(conn: &mut Conn) -> Result<Option<Snapshot>, DatabaseError> {
    let statements = format!("{}; {}", site(conn), dialect::end_of_log(conn));
    let mut answer = match conn.query_iter(statements).await {
        Ok(answer) => answer,
        Err(mysql_async::Error::Server(e)) if NO_SUCH.contains(&e.code) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let site = match one_row(&mut answer).await? {
        Some(row) => Some(site_row(row)?),
        None => None,
    };
    let log = one_row(&mut answer).await?;
    answer.drop_result().await?;
    let Some(site) = site else { return Ok(None) };
    let end_of_log = end_of_log(log, site.stream)?;
    Ok(Some(Snapshot { row: site.row, end_of_log, incarnation: site.incarnation, seeding: site.seeding }))
}

/// The row, locked until the transaction ends.
pub async fn lock(conn: &mut Conn) -> Result<Option<SiteRow>, DatabaseError> {
    let row: Option<mysql_async::Row> = conn.query_first(format!("{} FOR UPDATE", site(conn))).await?;
    row.map(site_row).transpose()
}

/// The position behind everything that is committed now; `stream` is this database's own.
pub async fn end(conn: &mut Conn, stream: StreamId) -> Result<Position, DatabaseError> {
    let statement = dialect::end_of_log(conn);
    let row: Option<mysql_async::Row> = conn.query_first(statement).await?;
    end_of_log(row, stream)
}

/// Every slot.
pub async fn slots(conn: &mut Conn) -> Result<Vec<AppliedSlot>, DatabaseError> {
    let rows: Vec<(String, u64, u64, String, u64, Option<String>)> =
        conn.query("SELECT stream, file, `offset`, origin, epoch, pending FROM ghostlight.applied").await?;
    Ok(rows
        .into_iter()
        .map(|(stream, file, offset, origin, epoch, pending)| AppliedSlot {
            slot: Slot {
                position: Position { stream: StreamId(stream), file, offset },
                epoch: Epoch(epoch),
                origin: Site::new(origin),
            },
            pending,
        })
        .collect())
}

/// What the row must say for a change of mode. The database is asked in SQL, the simulation asks [`RowIs::holds`].
#[derive(Clone, Debug)]
pub struct RowIs<'a> {
    epoch: Epoch,
    primary: &'a Site,
    stream: &'a StreamId,
    token: Option<u64>,
}

impl<'a> RowIs<'a> {
    /// For `solo`: nobody has changed the row since its token was read in `stream`. The token alone would not do: a server
    /// that lost the last change has the one before it.
    pub fn for_solo(epoch: Epoch, site: &'a Site, stream: &'a StreamId, token: u64) -> RowIs<'a> {
        let token = (!sabotage::is(Sabotage::IgnoreRowToken)).then_some(token);
        RowIs { epoch, primary: site, stream, token }
    }

    /// For `sync`: this site is primary in that epoch, in the stream in which the attempt began.
    pub fn for_sync(epoch: Epoch, site: &'a Site, stream: &'a StreamId) -> RowIs<'a> {
        RowIs { epoch, primary: site, stream, token: None }
    }

    /// Whether the row says so, and was said of the log that is `here`.
    pub fn holds(&self, row: &Row, here: &StreamId) -> bool {
        row.epoch == self.epoch
            && row.primary == *self.primary
            && row.stream == *self.stream
            && here == self.stream
            && self.token.is_none_or(|token| row.token == token)
    }

    /// Sets the mode and draws a new token, if the row says so. Whether it did.
    async fn set(&self, conn: &mut Conn, mode: Mode) -> Result<bool, DatabaseError> {
        let token = self.token.map_or(String::new(), |token| format!(" AND token = {token}"));
        let here = stream::here(conn);
        let stream = self.stream.0.as_str();
        conn.exec_drop(
            format!(
                "UPDATE ghostlight.site SET mode = ?, token = ? WHERE id = 1 AND epoch = ? AND `primary` = ? \
                 AND stream = ? AND {here} = ?{token}"
            ),
            (mode.as_str(), schema::new_token(), self.epoch.0, self.primary.as_str(), stream, stream),
        )
        .await?;
        Ok(conn.affected_rows() == 1)
    }
}

/// Sets the mode to `solo` and draws a new token, where epoch, primary, stream and token are these. Whether it matched.
pub async fn to_solo(
    conn: &mut Conn,
    epoch: Epoch,
    site: &Site,
    stream: &StreamId,
    token: u64,
) -> Result<bool, DatabaseError> {
    RowIs::for_solo(epoch, site, stream, token).set(conn, Mode::Solo).await
}

/// Sets the mode to `sync` and draws a new token, where epoch, primary and stream are these. Whether it matched.
pub async fn to_sync(
    conn: &mut Conn,
    epoch: Epoch,
    site: &Site,
    stream: &StreamId,
) -> Result<bool, DatabaseError> {
    RowIs::for_sync(epoch, site, stream).set(conn, Mode::Sync).await
}

/// Raises the row to `epoch` with `primary`, if it is lower. Whether it was.
pub async fn raise(conn: &mut Conn, epoch: Epoch, primary: &Site) -> Result<bool, DatabaseError> {
    let written_here = stream::written_here(conn);
    conn.exec_drop(
        format!(
            "UPDATE ghostlight.site SET epoch = ?, `primary` = ?, mode = 'solo', token = ?, {written_here}
             WHERE id = 1 AND epoch < ?"
        ),
        (epoch.0, primary.as_str(), schema::new_token(), epoch.0),
    )
    .await?;
    Ok(conn.affected_rows() == 1)
}

/// Turns a standby's data into a copy under way, in a new life: from this commit on nobody can promote or continue
/// them. `false` if they are not a standby's, of a later epoch than `birth`, or of this life or a later one already: an
/// agent that stood still since it announced this life may not void what another has filled meanwhile (found by the
/// simulation). Then nothing was changed.
pub async fn fill_anew(conn: &mut Conn, site: &Site, birth: &Birth) -> Result<bool, DatabaseError> {
    conn.query_drop("START TRANSACTION").await?;
    let may_begin = lock(conn).await?.is_some_and(|row| {
        row.row.primary != *site && row.row.epoch <= birth.epoch && row.incarnation < birth.incarnation
    });
    if may_begin {
        // The slots' change also marks this transaction as none of this site's own.
        conn.query_drop("DELETE FROM ghostlight.applied").await?;
        let written_here = stream::written_here(conn);
        conn.exec_drop(
            format!(
                "UPDATE ghostlight.site SET epoch = ?, `primary` = ?, mode = 'solo', token = ?, incarnation = ?, \
                 seeding = 1, {written_here} WHERE id = 1"
            ),
            (birth.epoch.0, birth.primary.as_str(), schema::new_token(), birth.incarnation.0),
        )
        .await?;
    }
    conn.query_drop("COMMIT").await?;
    Ok(may_begin)
}

/// The last epoch to which this database was promoted.
pub async fn last_promotion(conn: &mut Conn) -> Result<Option<Epoch>, DatabaseError> {
    let epoch: Option<Option<u64>> = conn.query_first("SELECT MAX(epoch) FROM ghostlight.failover").await?;
    Ok(epoch.flatten().map(Epoch))
}

/// Notes that a new life of these data was announced, if the row is at this epoch and primary and in an earlier life.
/// Whether it was.
pub async fn begin_life(
    conn: &mut Conn,
    epoch: Epoch,
    primary: &Site,
    incarnation: Incarnation,
) -> Result<bool, DatabaseError> {
    let written_here = stream::written_here(conn);
    conn.exec_drop(
        format!(
            "UPDATE ghostlight.site SET incarnation = ?, token = ?, {written_here} \
             WHERE id = 1 AND epoch = ? AND `primary` = ? AND incarnation < ?"
        ),
        (incarnation.0, schema::new_token(), epoch.0, primary.as_str(), incarnation.0),
    )
    .await?;
    Ok(conn.affected_rows() == 1)
}

/// Names this database's log anew, if it is still called `old` and its row speaks for it. Whether it was. The data of a
/// server that took another one's place are not called by a new name here: that would call them the primary's.
pub async fn new_stream(conn: &mut Conn, old: &StreamId) -> Result<bool, DatabaseError> {
    let (here, fresh) = (stream::here(conn), stream::fresh(conn));
    conn.exec_drop(
        format!(
            "UPDATE ghostlight.site SET token = ?, stream = {fresh} WHERE id = 1 AND stream = ? AND {here} = ?"
        ),
        (schema::new_token(), old.0.as_str(), old.0.as_str()),
    )
    .await?;
    Ok(conn.affected_rows() == 1)
}

/// Takes the data of a server that took another one's place for this primary's, in `solo`: an operator said so. Only if
/// the row is still the one that was `seen`, on this server. Whether it was.
pub async fn adopt(conn: &mut Conn, seen: &Snapshot) -> Result<bool, DatabaseError> {
    let (here, fresh) = (stream::here(conn), stream::fresh(conn));
    let Row { epoch, primary, token, stream, .. } = &seen.row;
    conn.exec_drop(
        format!(
            "UPDATE ghostlight.site SET mode = 'solo', token = ?, stream = {fresh} \
             WHERE id = 1 AND epoch = ? AND `primary` = ? AND token = ? AND stream = ? AND {here} = ?"
        ),
        (
            schema::new_token(),
            epoch.0,
            primary.as_str(),
            *token,
            stream.0.as_str(),
            seen.end_of_log.stream.0.as_str(),
        ),
    )
    .await?;
    Ok(conn.affected_rows() == 1)
}

/// The next row of the present result set; the rest of the set is read and dropped.
pub(crate) async fn one_row(
    answer: &mut QueryResult<'_, '_, TextProtocol>,
) -> Result<Option<mysql_async::Row>, DatabaseError> {
    Ok(answer.collect::<mysql_async::Row>().await?.into_iter().next())
}

fn site_row(row: mysql_async::Row) -> Result<SiteRow, DatabaseError> {
    type Columns = (u64, String, String, u64, String, u64, u8, String);
    let (epoch, primary, mode, token, written_in, incarnation, seeding, here): Columns =
        mysql_async::from_row_opt(row).map_err(|e| DatabaseError::Unexpected(e.to_string()))?;
    let mode = match mode.as_str() {
        "sync" => Mode::Sync,
        "solo" => Mode::Solo,
        other => return Err(DatabaseError::Unexpected(format!("mode `{other}` in ghostlight.site"))),
    };
    Ok(SiteRow {
        row: Row {
            epoch: Epoch(epoch),
            primary: Site::new(primary),
            mode,
            token,
            stream: StreamId(written_in),
        },
        stream: StreamId(here),
        incarnation: Incarnation(incarnation),
        seeding: seeding != 0,
    })
}

pub(crate) fn end_of_log(row: Option<mysql_async::Row>, stream: StreamId) -> Result<Position, DatabaseError> {
    let Some(row) = row else {
        return Err(DatabaseError::Unexpected(
            "the server keeps no binary log; start it with log_bin".into(),
        ));
    };
    let (file, offset) = match (row.get_opt::<String, _>(0), row.get_opt::<u64, _>(1)) {
        (Some(Ok(file)), Some(Ok(offset))) => (file, offset),
        _ => return Err(DatabaseError::Unexpected("the end of the log is not a file and an offset".into())),
    };
    let number = file.rsplit_once('.').and_then(|(_, digits)| digits.parse().ok());
    match number {
        Some(file) => Ok(Position { stream, file, offset }),
        None => Err(DatabaseError::Unexpected(format!("the log file `{file}` has no number"))),
    }
}
