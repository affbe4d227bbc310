//! Promotion: this standby becomes the primary of one epoch, or for ever not.
//!
//! One conditional transaction on the standby decides. It locks the row, so that nothing can be applied meanwhile;
//! it requires that the row stands one epoch lower, that the slot is attached to that epoch, and that these data
//! are the life which the register names. It copies the slot into the failover record, because that is where the old
//! primary's history ends for the new one, and the row's change is the new epoch's first event in this log.
//!
//! After it, nothing of an older epoch can be applied here; so nothing that the old primary writes can ever be
//! acknowledged in `sync`, whatever its clock or its network says. A refusal is written into the row before it is
//! told, so that a delayed second request cannot succeed where the first did not.
//!
//! The applier's sessions are ended twice: before the transaction, so that it finds the row free, and within it. A
//! definition that another agent of this site began between would otherwise be held back by its lock on the row
//! alone; if the session with the lock died, it would take effect behind the promotion (the protocol's model:
//! `promotion ends sessions before the lock only`). Behind the row's lock no other one can begin.

use model::{
    Epoch, Register, Site,
    agent::{FailoverRecord, PromoteReply},
    sabotage::{self, Sabotage},
};
use mysql_async::{Conn, prelude::Queryable};

use crate::{
    database::DatabaseError,
    fence,
    row::{self, AppliedSlot, SiteRow},
    schema,
};

/// What a promotion is asked to do, and on whose authority.
#[derive(Clone, Debug)]
pub struct Promotion<'a> {
    /// The epoch to begin.
    pub epoch: Epoch,
    /// This site.
    pub site: &'a Site,
    /// The register, read after the request came.
    pub register: &'a Register,
    /// The agent's own account: its other sessions may still be applying and are ended first.
    pub agent_user: &'a str,
    /// The application's account, to be let in.
    pub application_user: &'a str,
}

/// What the row, the slots and the register say of a promotion. Pure, so that every case is a line in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Promote, and write this slot into the record.
    Promote(AppliedSlot),
    /// This database is already primary in that epoch.
    Already,
    /// It must not be, now or later.
    Refuse(String),
    /// The request does not fit the register as it stands: the asker's knowledge is old. Nothing is decided.
    NotNow(String),
}

/// Judges a promotion to `epoch`.
pub fn judge(
    epoch: Epoch,
    site: &Site,
    register: &Register,
    row: &SiteRow,
    slots: &[AppliedSlot],
) -> Judgement {
    if row.row.epoch == epoch && row.row.primary == *site {
        return match row.row_speaks() {
            true => Judgement::Already,
            // Whoever is let in here now writes to data that may have lost the end of this very epoch.
            false => Judgement::NotNow(
                "another server has taken the place of the one that was promoted, and may lack its last commits".into(),
            ),
        };
    }
    if register.epoch != epoch || register.primary != *site {
        return Judgement::NotNow(format!(
            "the register names {} for epoch {}, not {site} for epoch {epoch}",
            register.primary, register.epoch
        ));
    }
    if row.row.primary == *site {
        // Not a standby's data at all. Nothing is written: the row may only ever name this site primary again by
        // a promotion, and raising it under another site's name would close the only database that has the data.
        return Judgement::NotNow(format!(
            "this database was itself the primary of epoch {}; whether an epoch since then was ever used cannot be \
             seen from here, an operator must decide",
            row.row.epoch
        ));
    }
    if row.row.epoch >= epoch {
        return Judgement::Refuse(format!(
            "this database has already seen epoch {} with {} as primary",
            row.row.epoch, row.row.primary
        ));
    }
    if row.row.epoch.next() != epoch {
        return Judgement::Refuse(format!(
            "this database stands at epoch {} and has missed what came before epoch {epoch}",
            row.row.epoch
        ));
    }
    if row.incarnation != register.standby_incarnation && !sabotage::is(Sabotage::IgnoreIncarnation) {
        return Judgement::Refuse(format!(
            "these data are life {} of the standby, the register names life {}",
            row.incarnation, register.standby_incarnation
        ));
    }
    if !row.row_speaks() {
        return Judgement::Refuse(format!(
            "another server has taken the place of the one that applied the stream (the row was written in the log {}, the \
             log here is {}): what was told of these data was told of that one's",
            row.row.stream, row.stream
        ));
    }
    if row.seeding {
        return Judgement::Refuse("these data are a copy that is not complete".into());
    }
    let mut attached =
        slots.iter().filter(|s| s.slot.epoch == row.row.epoch && s.slot.origin == row.row.primary);
    match (attached.next(), attached.next()) {
        (Some(slot), None) if slot.is_attached() => Judgement::Promote(slot.clone()),
        (Some(slot), None) => Judgement::Refuse(format!(
            "these data are not a standby's yet: they are still being copied or undone ({})",
            slot.pending.as_deref().unwrap_or_default()
        )),
        (None, _) => Judgement::Refuse(format!("no slot is attached to epoch {}", row.row.epoch)),
        (Some(_), Some(_)) => {
            Judgement::Refuse(format!("more than one slot is attached to epoch {}", row.row.epoch))
        }
    }
}

/// Promotes this database, or refuses for ever. The follower of this process has already been stopped.
///
/// An error says only that it is not known how far it came: ask again, every step is found done or is done then.
pub async fn promote(conn: &mut Conn, wanted: &Promotion<'_>) -> Result<PromoteReply, DatabaseError> {
    let Promotion { epoch, site, register, .. } = wanted;
    // A look without locks first, so that a request that changes nothing ends nobody's session.
    let Some(seen) = read(conn).await? else {
        return Ok(PromoteReply::NotNow { why: "this database is empty".into() });
    };
    match judge(*epoch, site, register, &seen.0, &seen.1) {
        Judgement::Already => {
            // Closed for a switchover since then, it stays so: this request may be an old one.
            fence::open(conn, (site, *epoch), wanted.application_user, None).await?;
            return Ok(PromoteReply::AlreadyPromoted);
        }
        Judgement::NotNow(why) => return Ok(PromoteReply::NotNow { why }),
        Judgement::Promote(_) | Judgement::Refuse(_) => {}
    }
    let (_, left) = fence::end_sessions(conn, wanted.agent_user, &[]).await?;
    if left > 0 {
        return Ok(PromoteReply::NotNow { why: format!("{left} applying sessions have not ended yet") });
    }
    conn.query_drop("START TRANSACTION").await?;
    match decide(conn, wanted).await {
        Ok(reply) => {
            conn.query_drop("COMMIT").await?;
            if matches!(reply, PromoteReply::Promoted { .. } | PromoteReply::AlreadyPromoted) {
                fence::open(conn, (site, *epoch), wanted.application_user, None).await?;
            }
            Ok(reply)
        }
        Err(e) => {
            if let Err(rollback) = conn.query_drop("ROLLBACK").await {
                tracing::debug!("rolling back a promotion: {rollback}");
            }
            Err(e)
        }
    }
}

async fn read(conn: &mut Conn) -> Result<Option<(SiteRow, Vec<AppliedSlot>)>, DatabaseError> {
    let Some(seen) = row::read(conn).await? else { return Ok(None) };
    let slots = row::slots(conn).await?;
    let row = SiteRow {
        row: seen.row,
        stream: seen.end_of_log.stream,
        incarnation: seen.incarnation,
        seeding: seen.seeding,
    };
    Ok(Some((row, slots)))
}

/// The transaction: the row is locked, judged again, and changed on the condition of what was judged.
async fn decide(conn: &mut Conn, wanted: &Promotion<'_>) -> Result<PromoteReply, DatabaseError> {
    let Promotion { epoch, site, register, .. } = wanted;
    let Some(row) = row::lock(conn).await? else {
        return Ok(PromoteReply::NotNow { why: "this database is empty".into() });
    };
    let (_, left) = fence::end_sessions(conn, wanted.agent_user, &[]).await?;
    if left > 0 {
        return Ok(PromoteReply::NotNow { why: format!("{left} applying sessions have not ended yet") });
    }
    let slots = row::slots(conn).await?;
    let held = match judge(*epoch, site, register, &row, &slots) {
        Judgement::Already => return Ok(PromoteReply::AlreadyPromoted),
        Judgement::NotNow(why) => return Ok(PromoteReply::NotNow { why }),
        Judgement::Refuse(why) => {
            // The row moves to the refused epoch under its old primary: no later request can match it.
            row::raise(conn, *epoch, &row.row.primary).await?;
            return Ok(PromoteReply::Refused { why });
        }
        Judgement::Promote(held) => held,
    };
    let promoted_after = row::end(conn, row.stream.clone()).await?;
    let slot = &held.slot;
    conn.exec_drop(
        "INSERT INTO ghostlight.failover (epoch, stream, file, `offset`, origin, slot_epoch, pending, \
         promoted_stream, promoted_file, promoted_offset) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            epoch.0,
            slot.position.stream.0.as_str(),
            slot.position.file,
            slot.position.offset,
            slot.origin.as_str(),
            slot.epoch.0,
            held.pending.as_deref(),
            promoted_after.stream.0.as_str(),
            promoted_after.file,
            promoted_after.offset,
        ),
    )
    .await?;
    conn.exec_drop(
        "UPDATE ghostlight.site SET epoch = ?, `primary` = ?, mode = 'solo', token = ?, seeding = 0
         WHERE id = 1 AND epoch = ? AND token = ?",
        (epoch.0, site.as_str(), schema::new_token(), row.row.epoch.0, row.row.token),
    )
    .await?;
    if conn.affected_rows() != 1 {
        return Err(DatabaseError::Unexpected("the locked row of ghostlight.site changed".into()));
    }
    fence::forget_closed(conn).await?;
    Ok(PromoteReply::Promoted {
        record: FailoverRecord { epoch: *epoch, slot: slot.clone(), promoted_after },
    })
}

/// The record of the promotion to `epoch`, if this database was promoted to it.
pub async fn record(conn: &mut Conn, epoch: Epoch) -> Result<Option<FailoverRecord>, DatabaseError> {
    Ok(records(conn).await?.into_iter().find(|record| record.epoch == epoch))
}

/// The records of all promotions of this database, the oldest first.
pub async fn records(conn: &mut Conn) -> Result<Vec<FailoverRecord>, DatabaseError> {
    let rows: Vec<mysql_async::Row> = conn
        .query(
            "SELECT epoch, stream, file, `offset`, origin, slot_epoch, promoted_stream, promoted_file, \
             promoted_offset FROM ghostlight.failover ORDER BY epoch",
        )
        .await?;
    rows.into_iter().map(read_record).collect()
}

fn read_record(row: mysql_async::Row) -> Result<FailoverRecord, DatabaseError> {
    type Columns = (u64, String, u64, u64, String, u64, String, u64, u64);
    let (epoch, stream, file, offset, origin, slot_epoch, log, log_file, log_offset): Columns =
        mysql_async::from_row_opt(row).map_err(|e| DatabaseError::Unexpected(e.to_string()))?;
    let at = |stream: String, file, offset| model::Position { stream: model::StreamId(stream), file, offset };
    Ok(FailoverRecord {
        epoch: Epoch(epoch),
        slot: model::agent::Slot {
            position: at(stream, file, offset),
            epoch: Epoch(slot_epoch),
            origin: Site::new(origin),
        },
        promoted_after: at(log, log_file, log_offset),
    })
}
