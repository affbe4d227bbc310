//! Takes an old primary back without a rebuild: what it committed and nobody was told of goes into [`quarantine`],
//! is undone, and this database follows the new primary.
//!
//! ```text
//!   fenced, row raised, register told ──▶ ask ──▶ export ──▶ undo ──▶ verify ──▶ attach ──▶ follow
//!       (the agent, before)                 │        │        │
//!                                           └────────┴────────┴─▶ cannot be undone: compare and repair instead
//! ```
//!
//! The application is locked out, the row stands at the new epoch and the register names a new life of these data
//! before any of this begins. The new primary's failover record says how far it had applied this database's log;
//! what the application committed behind that place is the tail. The whole tail is on the disk, in text, before the
//! first row of it is undone. The undo goes backwards, row by row, and each row must be exactly what the tail left:
//! else somebody wrote to a fenced database, and it stops. Then the slot becomes true, at the promotion in the new
//! primary's log and never at a place that was remembered from before.
//!
//! Every undoing transaction moves the mark `undo:<lines left>` first, so the process may die anywhere: what the mark
//! says is what is left to do. The mark also keeps tail and undo from ever travelling: a reader of this log takes
//! the undo for the peer's, and nobody is ever attached in front of the tail.

mod tail;
mod undo;

use std::path::PathBuf;

use futures_util::FutureExt;
use model::{
    Epoch, Position, Register, Site, StreamId,
    agent::{FailoverRecord, ReinstatePhase, Reinstatement},
    sabotage::{self, Sabotage},
};
use runtime::{clock::Wall, process::Shutdown};
use tokio::{sync::watch, time::timeout};

use crate::{
    apply::{Ended, FollowProgress, StandbyConfig, StandbyError, ask, retry},
    checkpoint::Pending,
    link::{
        Link, LinkError, SILENCE_MAX,
        frame::{Down, Want},
    },
    quarantine::{self, Acknowledged, Done, Manifest, Outcome, Proof, Quarantine, QuarantineError, Writer},
    row::{self, AppliedSlot},
};

/// What a reinstatement needs to know.
#[derive(Clone, Debug)]
pub struct ReinstateConfig {
    /// As whose standby, in which epoch and life, this database is to follow.
    pub standby: StandbyConfig,
    /// The agent's data folder: the quarantine is kept below it.
    pub data: PathBuf,
    /// The register as it was last seen; only noted.
    pub register: Option<Register>,
}

impl From<QuarantineError> for Ended {
    fn from(e: QuarantineError) -> Self {
        match e {
            // A full disk may be mended; until then nothing is undone.
            QuarantineError::Io { .. } => Ended::Passing(e.to_string()),
            QuarantineError::Damaged { .. } => Ended::Final(StandbyError::Conflict(e.to_string())),
            QuarantineError::Value(why) => Ended::Final(StandbyError::CannotBeUndone(why)),
        }
    }
}

/// Where this database's history ended, as the new primary tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryEnd {
    /// There, and the present epoch began with it: behind the tail's beginning this database may follow.
    Here(FailoverRecord),
    /// There, but epochs have passed since: the new primary's log alone no longer holds all that is missing here.
    Earlier(FailoverRecord),
    /// The new primary knows of no failover that ended this log.
    Unknown,
}

/// Finds the record that ended the history of `stream`, the log of `site`, among all that the primary of `epoch` wrote.
pub fn history_end(site: &Site, stream: &StreamId, epoch: Epoch, records: &[FailoverRecord]) -> HistoryEnd {
    let of_this_log = records.iter().filter(|r| r.slot.position.stream == *stream && r.slot.origin == *site);
    match of_this_log.max_by_key(|r| r.epoch) {
        None => HistoryEnd::Unknown,
        Some(record) if record.epoch == epoch && record.slot.epoch.next() == epoch => {
            HistoryEnd::Here(record.clone())
        }
        Some(record) => HistoryEnd::Earlier(record.clone()),
    }
}

/// Where a reinstated database follows the new primary: at the promotion in its log. A slot of that log which is still
/// here from an earlier time stands in front of what became a tail since, and would replay it.
pub fn follow_from(record: &FailoverRecord, remembered: &[AppliedSlot]) -> Position {
    let at_promotion = &record.promoted_after;
    let old = remembered.iter().find(|s| s.slot.position.stream == at_promotion.stream);
    match old {
        Some(old) if sabotage::is(Sabotage::RememberedSlot) => old.slot.position.clone(),
        _ => at_promotion.clone(),
    }
}

/// Reinstates this database, from wherever an earlier attempt left it, until its slot is attached.
///
/// The row stands at the epoch and life of `config` and the application is locked out. Retries by itself what passes by
/// itself; `None` if `stop` came first. [`StandbyError::CannotBeUndone`] tells that the tail is in quarantine (as
/// far as it could be read) and these data need another way.
pub async fn run(
    config: ReinstateConfig,
    progress: watch::Sender<FollowProgress>,
    stop: Shutdown,
) -> Result<Option<()>, StandbyError> {
    let done = retry(&progress, &stop, || attempt(&config, &progress).boxed()).await;
    progress.send_modify(|p| p.reinstating = None);
    done
}

async fn attempt(config: &ReinstateConfig, progress: &watch::Sender<FollowProgress>) -> Result<(), Ended> {
    let standby = &config.standby;
    tell(progress, ReinstatePhase::Asking, |_| {});
    let mut conn = standby.database.open().await?;
    let here = row::snapshot(&mut conn).await?;
    if here.row.epoch != standby.epoch || here.incarnation != standby.incarnation {
        let why = format!("the row of this database is at epoch {} by now", here.row.epoch);
        return Err(StandbyError::EpochMoved(why).into());
    }
    let slots = row::slots(&mut conn).await?;
    let ours = slots.iter().find(|s| s.slot.epoch == standby.epoch && s.slot.origin == standby.origin);
    if ours.is_some_and(|slot| slot.is_attached()) {
        return Ok(()); // An earlier attempt came to its end.
    }
    let left = ours.and_then(|slot| match slot.pending.as_deref()?.parse() {
        Ok(Pending::Undo { left }) => Some(left),
        _ => None,
    });
    drop(conn);

    let stream = here.end_of_log.stream;
    let records = failovers(standby).await?;
    let end = history_end(&standby.site, &stream, standby.epoch, &records);
    tell(progress, ReinstatePhase::Exporting, |_| {});
    let quarantine = match existing(config, &stream)? {
        Some(quarantine) => quarantine,
        None if left.is_some() => {
            return Err(StandbyError::CannotBeUndone(format!(
                "the undo had begun, and the quarantine that it worked from is not in {} any more",
                quarantine::folder(&config.data).display()
            ))
            .into());
        }
        None => export(config, &stream, &end, progress).await?,
    };
    let manifest = quarantine.manifest();
    tell(progress, ReinstatePhase::Exporting, |told| {
        told.transactions = manifest.counts.transactions;
        told.rows = manifest.counts.lines;
    });
    tracing::warn!(
        quarantine = quarantine.id(),
        transactions = manifest.counts.transactions,
        rows = manifest.counts.lines,
        acknowledged = ?manifest.proof.acknowledged,
        "what the new primary never had is in quarantine"
    );
    let record = match (end, manifest.cannot_be_undone.as_slice()) {
        (HistoryEnd::Here(record), []) => record,
        (_, against) => {
            let why = format!("quarantine {}: {}", quarantine.id(), against.join("; "));
            conclude(&quarantine, Done::Resynchronised, &why, 0)?;
            return Err(StandbyError::CannotBeUndone(why).into());
        }
    };
    if manifest.from != record.slot.position {
        let why = format!("it begins at {}, the failover record at {}", manifest.from, record.slot.position);
        return Err(StandbyError::CannotBeUndone(format!("quarantine {}: {why}", quarantine.id())).into());
    }

    let mut undo = undo::Undo::open(standby, &quarantine, follow_from(&record, &slots)).await?;
    let left = match left {
        Some(left) => left,
        None => {
            let older = slots.iter().filter(|s| s.slot.epoch != standby.epoch).count();
            undo.begin(u64::try_from(older).unwrap_or(u64::MAX)).await?
        }
    };
    undo.run(left, |left| {
        tell(progress, ReinstatePhase::Undoing, |told| told.undone = told.rows.saturating_sub(left));
    })
    .await?;
    tell(progress, ReinstatePhase::Verifying, |told| told.undone = told.rows);
    let verified = undo.verify().await?;
    tail::nobody_wrote_since(standby, &manifest.to).await?;
    let why = format!(
        "undone up to {}; {verified} rows were looked at again; follows {} from {}",
        record.slot.position, standby.origin, record.promoted_after
    );
    conclude(&quarantine, Done::Undone, &why, verified)?;
    undo.attach().await?;
    tracing::warn!(quarantine = quarantine.id(), verified, "the old primary is a standby: {why}");
    Ok(())
}

fn conclude(
    quarantine: &Quarantine,
    done: Done,
    why: &str,
    rows_verified: u64,
) -> Result<(), QuarantineError> {
    quarantine.conclude(&Outcome { done, why: why.to_owned(), at_ms: Wall::now().as_ms(), rows_verified })
}

/// The quarantine of this tail, if an earlier attempt completed it, with its sums looked at.
fn existing(config: &ReinstateConfig, stream: &StreamId) -> Result<Option<Quarantine>, QuarantineError> {
    let name = quarantine::name(&config.data, config.standby.epoch, stream);
    let found = quarantine::find(&config.data, &name)?;
    found.as_ref().map_or(Ok(()), Quarantine::verify)?;
    Ok(found)
}

/// Asks the new primary where the histories of other logs ended.
async fn failovers(standby: &StandbyConfig) -> Result<Vec<FailoverRecord>, Ended> {
    let Link { mut receiver, sender } = ask(standby, Want::Failovers).await?;
    loop {
        let frame = timeout(SILENCE_MAX, receiver.receive()).await.map_err(|_| LinkError::Silent)??;
        match frame {
            Down::Failovers(records) => {
                drop(sender); // held until here: its end would end the primary's side
                return Ok(records);
            }
            Down::Alive => {}
            Down::Refused(why) => return Err(why.into()),
            _ => return Err(LinkError::Senseless.into()),
        }
    }
}

/// Writes the quarantine. What cannot be read of the tail, or not be undone, is told in its manifest.
async fn export(
    config: &ReinstateConfig,
    stream: &StreamId,
    end: &HistoryEnd,
    progress: &watch::Sender<FollowProgress>,
) -> Result<Quarantine, Ended> {
    let standby = &config.standby;
    let name = quarantine::name(&config.data, standby.epoch, stream);
    let (record, mut against) = match end {
        HistoryEnd::Here(record) => (Some(record), Vec::new()),
        HistoryEnd::Earlier(record) => {
            let why = format!(
                "this log's history ended with epoch {}, and epoch {} is not the one behind it",
                record.slot.epoch, standby.epoch
            );
            (Some(record), vec![why])
        }
        HistoryEnd::Unknown => {
            let why = format!(
                "{} knows of no failover that ended this database's log ({stream}): it may have begun anew since",
                standby.origin
            );
            (None, vec![why])
        }
    };
    let read = match record {
        Some(record) => {
            let counted = |counts: quarantine::Counts| {
                tell(progress, ReinstatePhase::Exporting, |told| {
                    told.transactions = counts.transactions;
                    told.rows = counts.lines;
                });
            };
            tail::export(standby, &config.data, &name, &record.slot.position, counted).await?
        }
        None => tail::Read::nothing(Writer::begin(&config.data, &name)?, stream),
    };
    against.extend(read.against);
    let (acknowledged, because) =
        judge(&standby.site, &standby.origin, record, &read.row_history, read.writer.counts());
    let manifest = Manifest {
        format: quarantine::FORMAT,
        site: standby.site.clone(),
        epoch: standby.epoch,
        primary: standby.origin.clone(),
        exported_at_ms: Wall::now().as_ms(),
        from: record.map_or_else(|| read.to.clone(), |r| r.slot.position.clone()),
        to: read.to,
        complete: read.complete && record.is_some(),
        cannot_be_undone: against,
        proof: Proof {
            acknowledged,
            because,
            failover_record: record.cloned(),
            last_acknowledged: record.map(|r| r.slot.position.clone()),
            row_history: read.row_history,
            register: config.register.clone(),
        },
        counts: quarantine::Counts::default(),
        tables: Vec::new(),
        files: Vec::new(),
    };
    Ok(read.writer.finish(manifest)?)
}

/// Whether any of the tail may have been acknowledged, and why one knows.
///
/// In `sync` an answer waits for a watermark of its stream and epoch; the new primary had applied this log up to the
/// record's place and, once promoted, nothing more of that epoch. So it is enough that this database's own row said
/// `sync` all along, and its own log tells.
fn judge(
    site: &Site,
    origin: &Site,
    record: Option<&FailoverRecord>,
    history: &[quarantine::RowState],
    counts: quarantine::Counts,
) -> (Acknowledged, String) {
    let Some(record) = record else {
        let why = "no failover record names this log, so it is not known where its acknowledged part ends";
        return (Acknowledged::Possibly, why.into());
    };
    if counts.lines == 0 {
        return (Acknowledged::None, "there is nothing behind the last acknowledged position".into());
    }
    let of_term = |s: &&quarantine::RowState| s.epoch == record.slot.epoch && s.primary == *site;
    let alone = history.iter().filter(of_term).find(|s| s.mode == model::Mode::Solo);
    match (history.iter().find(of_term), alone) {
        (None, _) => {
            let why = "this database's log does not show in which mode it was: it must be taken for `solo`";
            (Acknowledged::Possibly, why.into())
        }
        (_, Some(state)) => (
            Acknowledged::Possibly,
            format!(
                "from {} on this database's row said `solo` in epoch {}: answers went out without waiting for the \
                 standby, and the failover to {} was a forced one",
                state.from, state.epoch, origin
            ),
        ),
        (Some(_), None) => (
            Acknowledged::None,
            format!(
                "this database's row said `sync` in epoch {} up to its end, so the commit gate let an answer out only \
                 when {} had durably applied what it reports; {} had applied this log up to {} when it was promoted \
                 to epoch {}, and could apply nothing more of epoch {} after that. All of this lies behind that \
                 position. (Of routes that are not held, and of a gateway with `gate = false`, this says nothing)",
                record.slot.epoch, origin, origin, record.slot.position, record.epoch, record.slot.epoch
            ),
        ),
    }
}

fn tell(
    progress: &watch::Sender<FollowProgress>,
    phase: ReinstatePhase,
    change: impl FnOnce(&mut Reinstatement),
) {
    progress.send_modify(|p| {
        let told = p.reinstating.get_or_insert_default();
        told.phase = phase;
        change(told);
        p.trouble = None;
    });
}

/// A place in the log as quarantines write it.
fn written(at: &Position) -> String {
    format!("{}:{}", at.file, at.offset)
}

#[cfg(test)]
mod tests {
    use model::{Mode, agent::Slot};

    use super::*;
    use quarantine::{Counts, RowState};

    fn at(stream: &str, offset: u64) -> Position {
        Position { stream: StreamId(stream.into()), file: 1, offset }
    }

    fn record(epoch: u64, stream: &str, origin: &str, slot_epoch: u64) -> FailoverRecord {
        FailoverRecord {
            epoch: Epoch(epoch),
            slot: Slot {
                position: at(stream, 100 * slot_epoch),
                epoch: Epoch(slot_epoch),
                origin: Site::new(origin),
            },
            promoted_after: at("new", 9),
        }
    }

    #[test]
    fn only_the_record_that_ended_this_log_and_began_this_epoch_counts() {
        let find = |epoch, records: &[FailoverRecord]| {
            history_end(&Site::new("nhn"), &StreamId("mine".into()), Epoch(epoch), records)
        };
        let first = record(2, "mine", "nhn", 1);
        let third = record(4, "mine", "nhn", 3);
        let replaced = record(4, "another", "nhn", 3);
        assert_eq!(find(2, &[]), HistoryEnd::Unknown);
        assert_eq!(find(2, std::slice::from_ref(&first)), HistoryEnd::Here(first.clone()));
        assert_eq!(find(4, &[first.clone(), third.clone()]), HistoryEnd::Here(third.clone()));
        // This database was replaced by another one, which was primary in epoch 3.
        assert_eq!(find(4, &[first.clone(), replaced.clone()]), HistoryEnd::Earlier(first.clone()));
        assert_eq!(find(3, std::slice::from_ref(&first)), HistoryEnd::Earlier(first));
        assert_eq!(find(4, &[replaced]), HistoryEnd::Unknown);
        assert_eq!(find(2, &[record(2, "mine", "aws", 1)]), HistoryEnd::Unknown);
        assert_eq!(find(4, &[record(4, "mine", "nhn", 1)]), HistoryEnd::Earlier(record(4, "mine", "nhn", 1)));
    }

    #[test]
    fn nothing_was_acknowledged_only_if_the_log_shows_sync_all_along() {
        let state = |epoch, primary: &str, mode| RowState {
            from: "1:100".into(),
            epoch: Epoch(epoch),
            primary: Site::new(primary),
            mode,
        };
        let (nhn, aws) = (Site::new("nhn"), Site::new("aws"));
        let ended = record(2, "mine", "nhn", 1);
        let some = Counts { transactions: 1, lines: 1, inserts: 1, ..Counts::default() };
        let judged = |record: Option<&FailoverRecord>, history: &[RowState], counts| {
            judge(&nhn, &aws, record, history, counts).0
        };
        let fenced = state(2, "aws", Mode::Solo);
        let sync = [state(1, "nhn", Mode::Sync), fenced.clone()];
        assert_eq!(judged(Some(&ended), &sync, some), Acknowledged::None);
        let alone = [state(1, "nhn", Mode::Sync), state(1, "nhn", Mode::Solo), fenced.clone()];
        assert_eq!(judged(Some(&ended), &alone, some), Acknowledged::Possibly);
        assert_eq!(judged(Some(&ended), &alone, Counts::default()), Acknowledged::None);
        assert_eq!(judged(Some(&ended), &[fenced], some), Acknowledged::Possibly);
        assert_eq!(judged(None, &sync, some), Acknowledged::Possibly);
    }
}
