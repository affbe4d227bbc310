//! Reads the tail of this database's own log into a quarantine.
//!
//! The reader that feeds the standby feeds this one: [`Log`] and [`Filter`] say what the application wrote here. The
//! row's own changes are looked at before the filter drops them: they tell in which mode this database was.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use model::{Epoch, Mode, Position, Site, StreamId};
use mysql_async::{Conn, prelude::Queryable};

use super::written;
use crate::{
    apply::{Ended, Form, NoTarget, Relations, StandbyConfig, StandbyError, Target, without_key},
    binlog::{AtEnd, Item, Log, LogError, excerpt},
    database::DatabaseError,
    filter::{Filter, OURS},
    quarantine::{Counts, Op, QuarantinedTable, RowLine, RowState, Writer, image::to_json},
    transaction::{At, Change, Row, Rows, Table, Value},
};

/// So many changes of the row are told.
const ROW_STATES_MAX: usize = 1_000;

/// What was read.
pub(super) struct Read {
    pub(super) writer: Writer,
    /// Up to where.
    pub(super) to: Position,
    /// Whether that is the log's end.
    pub(super) complete: bool,
    /// What stands against undoing it.
    pub(super) against: Vec<String>,
    pub(super) row_history: Vec<RowState>,
}

impl Read {
    /// Of a log of which it is not known where its tail begins.
    pub(super) fn nothing(writer: Writer, stream: &StreamId) -> Read {
        let to = Position { stream: stream.clone(), file: 0, offset: 0 };
        Read { writer, to, complete: false, against: Vec::new(), row_history: Vec::new() }
    }
}

/// Writes everything that the application committed here behind `from` into the quarantine `name`, which the caller
/// finishes.
pub(super) async fn export(
    standby: &StandbyConfig,
    data: &Path,
    name: &str,
    from: &Position,
    counted: impl Fn(Counts),
) -> Result<Read, Ended> {
    let mut without = HashSet::new();
    loop {
        let mut exporter = Exporter::begin(Writer::begin(data, name)?, from);
        let ended = exporter.read(standby, from, &without, &counted).await;
        let (complete, to) = match ended {
            Ok(End::Whole(to)) => (true, to),
            Ok(End::NeverFinished(at)) => {
                // Steps of it are in the file already. It is known now: once more without it.
                without.insert(at);
                continue;
            }
            Err(LogError::Database(e)) => return Err(e.into()),
            Err(LogError::Gone(why) | LogError::Another(why)) => {
                exporter.against.push(format!("the log does not hold the whole tail any more: {why}"));
                (false, exporter.at)
            }
            Err(LogError::Decode(e)) => {
                exporter.against.push(format!("the tail cannot be read to its end: {e}"));
                (false, exporter.at)
            }
        };
        if let Some(why) = exporter.failed.take() {
            return Err(why.into());
        }
        let mut conn = standby.database.open().await?;
        let against = obstacles(&mut conn, standby, exporter.writer.tables(), &exporter.changed).await?;
        exporter.against.extend(against);
        return Ok(Read {
            writer: exporter.writer,
            to: to.in_stream(&from.stream),
            complete,
            against: exporter.against,
            row_history: exporter.history,
        });
    }
}

/// How a reading came to its end.
enum End {
    /// At the log's end.
    Whole(At),
    /// The transaction that begins there has no end.
    NeverFinished(At),
}

struct Exporter {
    writer: Writer,
    /// Where the tail begins.
    from: At,
    /// Behind the last transaction.
    at: At,
    /// Tables by the log's numbers.
    tables: HashMap<u32, Arc<Table>>,
    /// Of these tables by the quarantine's numbers, rows were changed or went.
    changed: HashSet<u32>,
    /// `ghostlight.site` under the log's number, and its columns.
    site: Option<(u32, SiteColumns)>,
    history: Vec<RowState>,
    against: Vec<String>,
    /// The transaction under way has lines.
    has_lines: bool,
    failed: Option<crate::quarantine::QuarantineError>,
}

#[derive(Clone, Copy)]
struct SiteColumns {
    epoch: usize,
    primary: usize,
    mode: usize,
}

impl Exporter {
    fn begin(writer: Writer, from: &Position) -> Exporter {
        Exporter {
            writer,
            from: At::from(from),
            at: At::from(from),
            tables: HashMap::new(),
            changed: HashSet::new(),
            site: None,
            history: Vec::new(),
            against: Vec::new(),
            has_lines: false,
            failed: None,
        }
    }

    async fn read(
        &mut self,
        standby: &StandbyConfig,
        from: &Position,
        without: &HashSet<At>,
        counted: &impl Fn(Counts),
    ) -> Result<End, LogError> {
        let mut log = Log::open(&standby.database, At::from(from), AtEnd::Stop).await?;
        let mut filter = Filter::default();
        let mut items = Vec::new();
        while log.next(&mut items).await? {
            for item in items.drain(..) {
                self.note_row(&item);
                match filter.pass(item)? {
                    Some(Item::Table { number, table }) => {
                        self.tables.insert(number, table);
                    }
                    Some(Item::Change(_)) if without.contains(&self.at) => {}
                    Some(Item::Change(change)) => {
                        if let Err(e) = self.change(change, &log) {
                            self.failed = Some(e);
                            return Ok(End::Whole(self.at));
                        }
                    }
                    Some(Item::End(end)) => {
                        self.at = end.at;
                        if std::mem::take(&mut self.has_lines) {
                            self.writer.transaction_ends();
                            counted(self.writer.counts());
                        }
                    }
                    Some(Item::Abandoned) if self.has_lines => return Ok(End::NeverFinished(self.at)),
                    Some(Item::Abandoned) | None => {}
                }
            }
        }
        // The log's end stands behind its last transaction; what is behind that is its own housekeeping.
        match self.has_lines {
            true => Ok(End::NeverFinished(self.at)),
            false => Ok(End::Whole(log.at().max(self.at))),
        }
    }

    fn change(&mut self, change: Change, log: &Log) -> Result<(), crate::quarantine::QuarantineError> {
        match change {
            Change::Rows { table, rows, .. } => {
                let Some(table) = self.tables.get(&table).cloned() else {
                    return Err(crate::quarantine::QuarantineError::Value(
                        "rows of a table that was not described stand in the log".into(),
                    ));
                };
                let number = self.writer.number_of(&table);
                if !matches!(rows, Rows::Insert(_)) {
                    self.changed.insert(number);
                }
                let image = |row: &Row| Some(to_json(&table, row));
                let told =
                    |op, before, after| (op, table.to_string(), Some(number), before, after, None::<String>);
                match &rows {
                    Rows::Insert(rows) => {
                        for row in rows {
                            self.line(log, told(Op::Insert, None, image(row)))?;
                        }
                    }
                    Rows::Update(rows) => {
                        for (before, after) in rows {
                            self.line(log, told(Op::Update, image(before), image(after)))?;
                        }
                    }
                    Rows::Delete(rows) => {
                        for row in rows {
                            self.line(log, told(Op::Delete, image(row), None))?;
                        }
                    }
                }
                Ok(())
            }
            // A savepoint alone changes nothing; going back to one takes back rows that stand in the log.
            Change::Savepoint(sql) if sql.trim_start().to_uppercase().starts_with("SAVEPOINT") => Ok(()),
            Change::Savepoint(sql) => {
                self.against(format!("a transaction at {} goes back to a savepoint", self.at));
                self.line(log, (Op::Definition, String::new(), None, None, None, Some(sql)))
            }
            Change::Statement(statement) => {
                self.against(format!(
                    "a definition at {} cannot be undone row by row: {}",
                    self.at,
                    excerpt(&statement)
                ));
                let sql = String::from_utf8_lossy(&statement.sql).into_owned();
                self.line(log, (Op::Definition, statement.schema, None, None, None, Some(sql)))
            }
        }
    }

    fn against(&mut self, why: String) {
        const TOLD_MAX: usize = 20;
        if self.against.len() < TOLD_MAX {
            self.against.push(why);
        }
    }

    #[allow(clippy::type_complexity, reason = "the parts of one line, named where it is made")]
    fn line(
        &mut self,
        log: &Log,
        (op, table, number, before, after, statement): (
            Op,
            String,
            Option<u32>,
            Option<serde_json::Map<String, serde_json::Value>>,
            Option<serde_json::Map<String, serde_json::Value>>,
            Option<String>,
        ),
    ) -> Result<(), crate::quarantine::QuarantineError> {
        self.has_lines = true;
        let line = RowLine {
            line: self.writer.next_line(),
            transaction: self.writer.counts().transactions + 1,
            at: self.at.to_string(),
            gtid: log.stamp().gtid.clone(),
            committed_at_s: log.stamp().at_s,
            table,
            number,
            op,
            before,
            after,
            statement,
        };
        self.writer.line(&line)
    }

    /// Remembers what the row of `ghostlight.site` said.
    fn note_row(&mut self, item: &Item) {
        match item {
            Item::Table { number, table } if table.schema == OURS && table.name == "site" => {
                let column = |name: &str| table.columns.iter().position(|c| c.name == name);
                self.site = match (column("epoch"), column("primary"), column("mode")) {
                    (Some(epoch), Some(primary), Some(mode)) => {
                        Some((*number, SiteColumns { epoch, primary, mode }))
                    }
                    _ => None,
                };
            }
            Item::Table { number, .. } if self.site.is_some_and(|(site, _)| site == *number) => {
                self.site = None;
            }
            Item::Change(Change::Rows { table, rows: Rows::Update(rows), .. }) => {
                let Some((number, columns)) = self.site else { return };
                if *table != number {
                    return;
                }
                for (before, after) in rows {
                    if self.history.is_empty() {
                        self.history.extend(row_state(self.from, before, columns));
                    }
                    let state = row_state(self.at, after, columns);
                    if self.history.len() < ROW_STATES_MAX {
                        self.history.extend(state);
                    }
                }
            }
            _ => {}
        }
    }
}

fn row_state(at: At, row: &Row, columns: SiteColumns) -> Option<RowState> {
    let number = |value: &Value| match value {
        Value::Unsigned(n) => Some(*n),
        Value::Signed(n) => u64::try_from(*n).ok(),
        _ => None,
    };
    let epoch = Epoch(number(row.get(columns.epoch)?)?);
    let Value::Bytes(primary) = row.get(columns.primary)? else { return None };
    // ENUM('sync','solo'): members count from 1.
    let mode = match number(row.get(columns.mode)?)? {
        1 => Mode::Sync,
        _ => Mode::Solo,
    };
    let primary = Site::new(String::from_utf8_lossy(primary));
    Some(RowState { from: at.to_string(), epoch, primary, mode })
}

/// What stands against undoing changes of these tables by SQL, seen from this database: of what the server did by
/// itself, the log tells nothing, and it would do more by itself while undoing.
async fn obstacles(
    conn: &mut Conn,
    standby: &StandbyConfig,
    tables: &mut [QuarantinedTable],
    changed: &HashSet<u32>,
) -> Result<Vec<String>, Ended> {
    let mut found = Vec::new();
    if tables.is_empty() {
        return Ok(found);
    }
    let lost = |e: mysql_async::Error| Ended::from(DatabaseError::from(e));
    let triggers: Vec<(String, String, String)> = conn
        .query(
            "SELECT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, TRIGGER_NAME FROM information_schema.TRIGGERS",
        )
        .await
        .map_err(lost)?;
    let relations = Relations::read(conn).await?;
    let mut fired: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for (schema, table, name) in triggers {
        fired.entry((schema.to_lowercase(), table.to_lowercase())).or_default().push(name);
    }
    for QuarantinedTable { number, table, computed } in tables {
        let key = (table.schema.to_lowercase(), table.name.to_lowercase());
        if let Some(names) = fired.get(&key) {
            found.push(format!(
                "the table {table} has triggers that the undo would fire ({})",
                names.join(", ")
            ));
        }
        let children = relations.of(table).map(|relation| &relation.children[..]).unwrap_or_default();
        if !children.is_empty() && changed.contains(number) {
            let children: Vec<&str> = children.iter().map(|(_, name)| name.as_str()).collect();
            found.push(format!(
                "rows of {table} changed, and its foreign keys cascade into {}: InnoDB does not log those rows",
                children.join(", ")
            ));
        }
        if table.key.is_empty()
            && standby.tables_without_primary_key == model::topology::WithoutPrimaryKey::Refuse
        {
            found.push(without_key(table).to_string());
        }
        match Target::find(conn, table, Form::Logged).await {
            Ok(target) => *computed = target.computed(),
            Err(NoTarget::Database(e)) => return Err(e.into()),
            Err(NoTarget::Differs(why)) => found.push(why),
        }
    }
    Ok(found)
}

/// Whether anybody but us wrote into the application's tables behind `to`: this database is fenced, so nobody may have.
pub(super) async fn nobody_wrote_since(standby: &StandbyConfig, to: &Position) -> Result<(), Ended> {
    let read = async {
        let mut log = Log::open(&standby.database, At::from(to), AtEnd::Stop).await?;
        let (mut filter, mut items, mut at) = (Filter::default(), Vec::new(), At::from(to));
        while log.next(&mut items).await? {
            for item in items.drain(..) {
                match filter.pass(item)? {
                    Some(Item::Change(_)) => return Ok(Some(at)),
                    Some(Item::End(end)) => at = end.at,
                    _ => {}
                }
            }
        }
        Ok::<_, LogError>(None)
    };
    match read.await {
        Ok(None) => Ok(()),
        Ok(Some(at)) => Err(StandbyError::Conflict(format!(
            "conflict: somebody wrote into this fenced database after its tail was exported (the transaction behind \
             {} of its log); these data cannot be taken for a prefix of {}'s",
            written(&at.in_stream(&to.stream)),
            standby.origin
        ))
        .into()),
        Err(LogError::Database(e)) => Err(e.into()),
        Err(e) => Err(StandbyError::CannotBeUndone(format!("the log cannot be read again: {e}")).into()),
    }
}
