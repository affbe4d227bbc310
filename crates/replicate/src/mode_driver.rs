//! Does what the mode machine says, with one connection and the register's channel.

use std::time::Duration;

use model::{Mode, Site, Watermark, agent::Row};
use mysql_async::Conn;
use runtime::{clock::Boot, process::Shutdown};
use tokio::sync::watch;

use crate::{
    database::{DatabaseConfig, DatabaseError},
    heartbeat::Beat,
    mode::{Effect, Event, Machine, Rules},
    register::{RegisterHandle, Seen},
    row,
};

/// Longer than this the database is taken not to answer.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);
/// A register that does not answer within this time is heard at the next poll.
const NEWS_TIMEOUT: Duration = Duration::from_millis(300);
/// How often the machine is told the time.
const TICK: Duration = Duration::from_millis(50);

/// What the driver sees and where it tells of its work.
#[derive(Debug)]
pub struct Inputs {
    /// The machine's rules.
    pub rules: Rules,
    /// The application's own endpoint.
    pub database: DatabaseConfig,
    /// The register.
    pub register: RegisterHandle,
    /// The register as it was last polled.
    pub register_seen: watch::Receiver<Option<Seen>>,
    /// The row as it was last looked at.
    pub row_seen: watch::Receiver<Option<Row>>,
    /// Our own commits.
    pub beats: watch::Receiver<Option<Beat>>,
    /// The standby's progress.
    pub watermarks: watch::Receiver<Option<Watermark>>,
    /// Counted up after every change of the row.
    pub row_changes: watch::Sender<u64>,
    /// Where the lag is told, in milliseconds.
    pub lag_ms: watch::Sender<Option<u64>>,
}

/// Drives one machine until `stop`: one primary in one epoch.
///
/// An effect is never cancelled half way by an event; when `stop` comes it is abandoned, which the machine's order
/// of steps allows at any point.
pub async fn run(mut inputs: Inputs, stop: Shutdown) {
    let mut machine = Machine::new(inputs.rules.clone(), Boot::now().as_ms());
    let mut conn: Option<Conn> = None;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            _ = tick.tick() => Event::Tick,
            Ok(()) = inputs.register_seen.changed() => {
                match inputs.register_seen.borrow_and_update().clone() {
                    Some(seen) => Event::RegisterSeen(seen.register),
                    None => continue,
                }
            }
            Ok(()) = inputs.row_seen.changed() => match inputs.row_seen.borrow_and_update().clone() {
                Some(row) => Event::RowSeen(row),
                None => continue,
            },
            Ok(()) = inputs.beats.changed() => match inputs.beats.borrow_and_update().clone() {
                Some(beat) => Event::Committed(beat.position),
                None => continue,
            },
            Ok(()) = inputs.watermarks.changed() => match inputs.watermarks.borrow_and_update().clone() {
                Some(mark) => Event::Watermark(mark),
                None => continue,
            },
            () = stop.cancelled() => return,
        };
        // A standby that has begun a life of which the poll has not told yet: what it holds counts from now on.
        let news = match &event {
            Event::Watermark(mark) if life_is_news(&inputs, mark) => {
                let asked = tokio::time::timeout(NEWS_TIMEOUT, inputs.register.read());
                tokio::select! {
                    answer = asked => answer.ok().and_then(Result::ok),
                    () = stop.cancelled() => return,
                }
            }
            _ => None,
        };
        let news = news.map(|seen| Event::RegisterSeen(seen.register));
        for event in news.into_iter().chain([event]) {
            let now_ms = Boot::now().as_ms();
            let mut effect = machine.step(now_ms, event);
            let lag_ms = machine.lag_ms(now_ms);
            inputs.lag_ms.send_if_modified(|known| std::mem::replace(known, lag_ms) != lag_ms);
            while let Some(wanted) = effect {
                let result = tokio::select! {
                    result = act(&inputs, &mut conn, wanted) => result,
                    () = stop.cancelled() => return,
                };
                effect = machine.step(Boot::now().as_ms(), result);
            }
        }
    }
}

/// Whether a watermark is of this epoch and of a life of the standby's data that the last poll did not name.
fn life_is_news(inputs: &Inputs, mark: &Watermark) -> bool {
    let seen = inputs.register_seen.borrow();
    let named = seen.as_ref().map(|seen| seen.register.standby_incarnation);
    mark.epoch == inputs.rules.epoch && named.is_some_and(|named| named < mark.incarnation)
}

/// Carries out one effect and returns its result as an event.
async fn act(inputs: &Inputs, conn: &mut Option<Conn>, effect: Effect) -> Event {
    let (epoch, site) = (inputs.rules.epoch, &inputs.rules.site);
    match effect {
        Effect::Read => {
            let register = match inputs.register.read().await {
                Ok(seen) => seen.register,
                Err(e) => {
                    tracing::debug!("a change of mode waits: {e}");
                    return Event::Failed;
                }
            };
            match on_database(inputs, conn, async |conn| row::snapshot(conn).await).await {
                Some(seen) => Event::Read { register, row: seen.row, here: seen.end_of_log.stream },
                None => Event::Failed,
            }
        }
        Effect::Cas(request) => {
            let (mode, why) = (request.record.mode, request.record.why.clone());
            match inputs.register.cas(request).await {
                Ok(reply) => {
                    if matches!(reply, model::register::CasReply::Swapped(_)) {
                        tracing::info!(%epoch, %mode, why, "the register's mode was set");
                    }
                    Event::CasAnswered(reply)
                }
                Err(e) => {
                    tracing::debug!("a change of mode is begun again: {e}");
                    Event::Failed
                }
            }
        }
        Effect::RowToSolo { epoch, stream, token } => {
            let done = on_database(inputs, conn, async |conn| {
                let matched = row::to_solo(conn, epoch, site, &stream, token).await?;
                Ok((matched, row::snapshot(conn).await?))
            })
            .await;
            row_event(inputs, done, Mode::Solo, site)
        }
        Effect::RowToSync { epoch, stream } => {
            let done = on_database(inputs, conn, async |conn| {
                let matched = row::to_sync(conn, epoch, site, &stream).await?;
                Ok((matched, row::snapshot(conn).await?))
            })
            .await;
            row_event(inputs, done, Mode::Sync, site)
        }
    }
}

fn row_event(inputs: &Inputs, done: Option<(bool, row::Snapshot)>, mode: Mode, site: &Site) -> Event {
    // Told even when the outcome is not known: whoever waits looks for himself.
    inputs.row_changes.send_modify(|n| *n += 1);
    match done {
        Some((true, after)) => {
            tracing::info!(%site, epoch = %after.row.epoch, %mode, "the row's mode was set");
            Event::RowChanged(after.end_of_log)
        }
        Some((false, _)) => Event::RowNotMatched,
        None => Event::Failed,
    }
}

async fn on_database<T>(
    inputs: &Inputs,
    conn: &mut Option<Conn>,
    act: impl AsyncFnOnce(&mut Conn) -> Result<T, DatabaseError>,
) -> Option<T> {
    let attempt = async {
        let mut session = match conn.take() {
            Some(session) => session,
            None => inputs.database.open().await?,
        };
        let result = act(&mut session).await?;
        Ok::<_, DatabaseError>((session, result))
    };
    match tokio::time::timeout(DATABASE_TIMEOUT, attempt).await {
        Ok(Ok((session, result))) => {
            *conn = Some(session);
            Some(result)
        }
        Ok(Err(e)) => {
            tracing::debug!("a change of mode is begun again: {e}");
            None
        }
        Err(_) => None,
    }
}
