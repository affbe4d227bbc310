//! Undoes a quarantined tail, the last row first, and makes the slot true.
//!
//! Each transaction moves the mark `undo:<lines left>` by compare-and-set before it touches a row, so it happens once,
//! whoever tries again. Each row is found by everything that the tail's image says of it: a row that is not exactly
//! so was written by somebody else, and stops the undo.

use std::{collections::HashSet, sync::Arc};

use model::Position;
use mysql_async::prelude::Queryable;
use sha2::{Digest, Sha256};

use crate::{
    apply::{self, Ended, Packet, Packets, Session, StandbyConfig, StandbyError, Target, text},
    checkpoint::Pending,
    database::DatabaseError,
    quarantine::{Backwards, Op, Quarantine, QuarantineError, RowLine, image::from_json},
    transaction::{Change, Rows},
};

/// One transaction undoes at most so many lines,
const BATCH_LINES_MAX: usize = 1_000;
/// of about so many bytes.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Packets are kept well below what the server takes.
const PACKET_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The constraints held before each row was written and will hold again behind the last one; the order between is
/// the reverse of the one in which they held. Nothing may cascade.
const SETTINGS: &str = "SET foreign_key_checks=0";
/// So many different rows are looked at again; a longer tail was checked row by row while it was undone.
const VERIFIED_ROWS_MAX: usize = 200_000;
/// Rows that are looked at in one packet.
const VERIFIED_AT_A_TIME: usize = 200;
/// A page of lines.
const PAGE_BYTES: usize = 1024 * 1024;

/// An undo under way.
pub(super) struct Undo<'a> {
    config: &'a StandbyConfig,
    quarantine: &'a Quarantine,
    session: Session,
    /// Where this database will follow the new primary.
    follow_from: Position,
}

impl<'a> Undo<'a> {
    pub(super) async fn open(
        config: &'a StandbyConfig,
        quarantine: &'a Quarantine,
        follow_from: Position,
    ) -> Result<Undo<'a>, Ended> {
        let mut session = Session::open(config.clone(), follow_from.stream.clone()).await?;
        session.conn().query_drop(SETTINGS).await.map_err(DatabaseError::from)?;
        for table in &quarantine.manifest().tables {
            session.describe(table.number, table.table.clone());
        }
        Ok(Undo { config, quarantine, session, follow_from })
    }

    /// Takes the old slots away and marks what is to be undone; returns how many lines that is.
    ///
    /// Only slots of older epochs: one of this epoch is the work of another agent here, which has begun or even ended
    /// the undo since this one looked. Then the count or the key is in the way, and nothing is changed.
    pub(super) async fn begin(&mut self, old_slots: u64) -> Result<u64, Ended> {
        let left = self.quarantine.manifest().counts.lines;
        let mut packet = Packet::default();
        Session::begin(&mut packet, "DO 0", 0);
        let older = format!("DELETE FROM ghostlight.applied WHERE `epoch`<>{}", self.config.epoch);
        packet.push(&older, old_slots);
        packet.push(
            &format!(
                "INSERT INTO ghostlight.applied (`stream`, `file`, `offset`, `origin`, `epoch`, pending) \
                 VALUES ({}, {}, {}, {}, {}, '{}')",
                text(&self.follow_from.stream.0),
                self.follow_from.file,
                self.follow_from.offset,
                text(self.config.origin.as_str()),
                self.config.epoch,
                Pending::Undo { left }
            ),
            1,
        );
        self.session.execute(packet, true, &[]).await?;
        self.session.commit().await?;
        Ok(left)
    }

    /// Undoes the lines from number `left` down to the first. `told` hears how many are left after each commit.
    pub(super) async fn run(&mut self, mut left: u64, told: impl Fn(u64)) -> Result<(), Ended> {
        let mut lines = self.quarantine.backwards(left + 1)?;
        while left > 0 {
            let undone = self.batch(&mut lines, left).await?;
            left -= undone;
            told(left);
        }
        Ok(())
    }

    async fn batch(&mut self, lines: &mut Backwards, left: u64) -> Result<u64, Ended> {
        let (mut gathered, mut bytes) = (Vec::new(), 0);
        while gathered.len() < BATCH_LINES_MAX && bytes < BATCH_BYTES_MAX {
            let Some(line) = lines.next_line()? else { break };
            let (number, rows) = self.inverse(&line)?;
            bytes += rows.cost();
            gathered.push(Change::Rows { table: number, foreign_key_checks: false, rows });
        }
        let undone = u64::try_from(gathered.len()).unwrap_or(u64::MAX);
        if gathered.is_empty() || undone > left {
            let why = format!("{left} lines are left to undo, and {undone} more were found");
            return Err(QuarantineError::Damaged { path: self.quarantine.id(), why }.into());
        }
        let mut packets = Packets::new(PACKET_BYTES_MAX);
        let mark = self.mark(&format!("'{}'", Pending::Undo { left: left - undone }), left);
        Session::begin(&mut packets.last, &mark, 1);
        for (n, change) in gathered.iter().enumerate() {
            if let Change::Rows { table, rows, .. } = change {
                let target = self.session.target(*table).await?;
                packets.rows(n, rows, &target);
            }
        }
        for (n, packet) in packets.into_all().into_iter().enumerate() {
            self.session.execute(packet, n == 0, &gathered).await.map_err(|e| self.named(e))?;
        }
        self.session.commit().await?;
        Ok(undone)
    }

    fn named(&self, e: StandbyError) -> StandbyError {
        match e {
            StandbyError::Conflict(why) => StandbyError::Conflict(format!(
                "the undo of quarantine {} stopped. {why}",
                self.quarantine.id()
            )),
            e => e,
        }
    }

    /// Moves the slot's mark from `undo:<left>`.
    fn mark(&self, to: &str, left: u64) -> String {
        format!(
            "UPDATE ghostlight.applied SET pending={to} WHERE `stream`={} AND `epoch`={} AND pending='{}'",
            text(&self.follow_from.stream.0),
            self.config.epoch,
            Pending::Undo { left }
        )
    }

    /// What takes a line back.
    fn inverse(&self, line: &RowLine) -> Result<(u32, Rows), QuarantineError> {
        let damaged = |why: &str| QuarantineError::Damaged {
            path: self.quarantine.id(),
            why: format!("line {}: {why}", line.line),
        };
        let number = line.number.ok_or_else(|| damaged("it names no table"))?;
        let table = self.quarantine.table(number).ok_or_else(|| damaged("its table is not described"))?;
        let image = |image: &Option<_>, which: &str| {
            let image = image.as_ref().ok_or_else(|| damaged(&format!("it has no {which} image")))?;
            from_json(table, image)
        };
        let rows = match line.op {
            Op::Insert => Rows::Delete(vec![image(&line.after, "after")?]),
            Op::Delete => Rows::Insert(vec![image(&line.before, "before")?]),
            Op::Update => Rows::Update(vec![(image(&line.after, "after")?, image(&line.before, "before")?)]),
            Op::Definition => return Err(damaged("a definition cannot be undone")),
        };
        Ok((number, rows))
    }

    /// Looks at the rows that the tail touched: each must be what it was before the tail. How many were looked at.
    pub(super) async fn verify(&mut self) -> Result<u64, Ended> {
        let (mut seen, mut cursor) = (HashSet::new(), None::<String>);
        let mut waiting: Vec<(u64, Vec<u8>, u64)> = Vec::new();
        let mut verified = 0;
        'pages: loop {
            let page = self.quarantine.page(cursor.as_deref(), BATCH_LINES_MAX, PAGE_BYTES)?;
            for line in &page.rows {
                if seen.len() >= VERIFIED_ROWS_MAX {
                    break 'pages;
                }
                waiting.extend(self.expectation(line, &mut seen).await?);
                if waiting.len() >= VERIFIED_AT_A_TIME {
                    verified += self.look(&mut waiting).await?;
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        verified += self.look(&mut waiting).await?;
        Ok(verified)
    }

    /// For the first line about a row: a statement that counts it as it was before, and the count that must come.
    async fn expectation(
        &mut self,
        line: &RowLine,
        seen: &mut HashSet<[u8; 32]>,
    ) -> Result<Option<(u64, Vec<u8>, u64)>, Ended> {
        let (number, inverse) = self.inverse(line)?;
        let target: Arc<Target> = self.session.target(number).await?;
        // The inverse's image of before the undo is the tail's after image, and the other way round.
        let (rows, of_key, count) = match &inverse {
            Rows::Delete(rows) => (rows.first(), rows.first(), 0),
            Rows::Insert(rows) => (rows.first(), rows.first(), 1),
            Rows::Update(rows) => (rows.first().map(|(_, b)| b), rows.first().map(|(_, b)| b), 1),
        };
        let (Some(row), Some(key_of)) = (rows, of_key) else { return Ok(None) };
        let Some(key) = apply::by_key(key_of, &target) else { return Ok(None) };
        let name_of = |key: &[u8]| -> [u8; 32] {
            Sha256::new().chain_update(number.to_be_bytes()).chain_update(key).finalize().into()
        };
        if let Rows::Update(rows) = &inverse
            && let Some((after, _)) = rows.first()
            && let Some(other) = apply::by_key(after, &target)
            && other != key
        {
            // The tail gave the row another key. What stood there before the tail, the undo has checked.
            seen.insert(name_of(&other));
        }
        if !seen.insert(name_of(&key)) {
            return Ok(None);
        }
        let mut sql = format!("SELECT COUNT(*) FROM {}", target.name()).into_bytes();
        apply::found(&mut sql, row, &target);
        Ok(Some((line.line, sql, count)))
    }

    async fn look(&mut self, waiting: &mut Vec<(u64, Vec<u8>, u64)>) -> Result<u64, Ended> {
        if waiting.is_empty() {
            return Ok(0);
        }
        let lost = |e: mysql_async::Error| Ended::from(DatabaseError::from(e));
        let sql: Vec<&[u8]> = waiting.iter().map(|(_, sql, _)| sql.as_slice()).collect();
        let mut answer = self.session.conn().query_iter(sql.join(&b';')).await.map_err(lost)?;
        for (line, _, expected) in waiting.iter() {
            let counted: Vec<u64> = answer.collect().await.map_err(lost)?;
            if counted != [*expected] {
                let why = format!(
                    "conflict: after the undo of quarantine {} the row of line {line} is not what it was before; \
                     somebody wrote to this fenced database",
                    self.quarantine.id()
                );
                return Err(StandbyError::Conflict(why).into());
            }
        }
        drop(answer);
        let count = u64::try_from(waiting.len()).unwrap_or(u64::MAX);
        waiting.clear();
        Ok(count)
    }

    /// Makes the slot true: from now on these data are a standby's.
    pub(super) async fn attach(&mut self) -> Result<(), Ended> {
        let mut packet = Packet::default();
        Session::begin(&mut packet, &self.mark("NULL", 0), 1);
        self.session.execute(packet, true, &[]).await?;
        Ok(self.session.commit().await?)
    }
}
