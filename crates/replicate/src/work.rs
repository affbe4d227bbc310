//! The agent's acts on its database that have an end: a look, making the schema, opening, closing, promoting.
//!
//! Each takes a connection and gives it back, looks again at what it left behind, and never lasts longer than
//! [`ACT_TIMEOUT`]. An act that failed says only that nobody knows how far it came: the loop looks, and begins what
//! is still missing.

use std::{path::PathBuf, time::Duration};

use model::{
    Epoch, Incarnation, Mode, Register, Site,
    agent::{CloseReply, CloseRequest, FenceReply, FenceRequest, PromoteReply, PromoteRequest},
    register::{CasReply, CasRequest},
};
use mysql_async::Conn;
use runtime::{clock::Boot, process::Shutdown};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    apply::{self, FollowProgress, StandbyConfig, StandbyError},
    canary, copy,
    database::{DatabaseConfig, DatabaseError},
    duty::{Look, UNTOUCHED},
    fence, heartbeat,
    promote::{self, Promotion},
    register::{RegisterHandle, Seen, Silent},
    reinstate::{self, ReinstateConfig},
    row,
    schema::{self, Birth},
};

/// Longer than this no act lasts.
const ACT_TIMEOUT: Duration = Duration::from_secs(15);
/// Longer than this no look lasts.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// A server that must read a whole file of its log (a gigabyte, by default) to find a place in it is given this long.
const LOG_TIMEOUT: Duration = Duration::from_secs(60);

/// What all acts need to know once.
#[derive(Clone, Debug)]
pub struct Means {
    /// This site.
    pub site: Site,
    /// The application's own endpoint.
    pub database: DatabaseConfig,
    /// The application's account.
    pub application_user: String,
    /// The register.
    pub register: RegisterHandle,
}

/// Why an act did not come to its end. The loop looks and tries again.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The register.
    #[error(transparent)]
    Register(#[from] Silent),
    /// Somebody changed the register first: read it and think again.
    #[error("the register was changed by somebody else meanwhile")]
    Stale,
}

/// One act.
#[derive(Debug)]
pub enum Act {
    /// Make this database the first primary.
    Found,
    /// Change the register for the first time, so that everybody sees that there is a primary.
    Announce(Register),
    /// Announce a new life of the standby's data, then make the schema for it.
    BeginStandby(Register),
    /// Announce a new life of the standby's data, then mark those that are here as a copy under way.
    Resync(Register),
    /// Announce a new life of a standby's data and note it in the row: from there they go on. With the reason.
    BeginLife(Register, String),
    /// Take the data of a server that took another one's place for this primary's: an operator said so.
    Adopt(Register),
    /// Announce a new life of an old primary's data, then note it in the row.
    BeginReinstatement(Register),
    /// Let the application in.
    Open,
    /// Keep the application out.
    Close,
    /// Raise the row to a newer epoch, then keep the application out.
    FenceSelf(FenceRequest),
    /// The same, because somebody asked.
    Fence(FenceRequest, oneshot::Sender<FenceReply>),
    /// Keep the application out of a primary, because a switchover asks for it. Its row stays as it is.
    CloseFor(CloseRequest, oneshot::Sender<CloseReply>),
    /// Become primary. Takes the follower along, to end it once the register agrees.
    Promote(PromoteRequest, Option<Standby>, oneshot::Sender<PromoteReply>),
    /// Name this database's log anew.
    NewStream,
}

/// What an act left behind.
#[derive(Debug)]
pub struct Done {
    /// The connection, if it is still good.
    pub conn: Option<Conn>,
    /// The database as it is now, and when that was asked. Whether its log has begun anew was not looked at.
    pub look: Option<(Boot, Look)>,
    /// Whether the log was given a new name.
    pub renamed: bool,
    /// The register, if it was read or changed.
    pub seen: Option<Seen>,
    /// The follower, if a promotion let it go on.
    pub standby: Option<Standby>,
    /// Why it did not come to its end.
    pub error: Option<ActError>,
}

/// A running follower.
#[derive(Debug)]
pub struct Standby {
    /// The epoch and the life of the data for which it runs.
    pub key: (Epoch, Incarnation),
    /// Asks it to end.
    pub stop: Shutdown,
    /// Its end.
    pub task: JoinHandle<Result<(), StandbyError>>,
}

/// Carries out `act`.
pub async fn run(act: Act, means: Means, conn: Option<Conn>) -> Done {
    let mut done = Done { conn: None, look: None, renamed: false, seen: None, standby: None, error: None };
    let work = async {
        let mut conn = match conn {
            Some(conn) => conn,
            None => means.database.open().await?,
        };
        perform(act, &means, &mut conn, &mut done).await?;
        let asked = Boot::now();
        let look = look(&mut conn, &means.application_user).await?;
        Ok::<_, ActError>((conn, asked, look))
    };
    match tokio::time::timeout(ACT_TIMEOUT, work).await {
        Ok(Ok((conn, asked, look))) => {
            done.conn = Some(conn);
            done.look = Some((asked, look));
        }
        Ok(Err(e)) => done.error = Some(e),
        Err(_) => {
            let why = format!("no end within {} s", ACT_TIMEOUT.as_secs());
            done.error = Some(DatabaseError::Lost(why).into());
        }
    }
    done
}

async fn perform(act: Act, means: &Means, conn: &mut Conn, done: &mut Done) -> Result<(), ActError> {
    match act {
        Act::Found => found(means, conn, done).await,
        Act::Announce(register) => announce(register, means, done).await,
        Act::BeginStandby(register) => begin_standby(&register, false, means, conn, done).await,
        Act::Resync(register) => begin_standby(&register, true, means, conn, done).await,
        Act::BeginReinstatement(register) => begin_reinstatement(&register, means, conn, done).await,
        Act::BeginLife(register, why) => begin_life(&register, why, means, conn, done).await,
        Act::Adopt(register) => adopt(&register, means, conn, done).await,
        Act::Open => open_again(means, conn, done).await,
        Act::Close => {
            fence::close(conn, &means.application_user).await?;
            Ok(())
        }
        Act::FenceSelf(request) => {
            let reply = fence::fence(conn, &means.site, &means.application_user, &request).await?;
            tracing::warn!(
                epoch = %request.epoch, primary = %request.primary, sessions = reply.sessions_killed,
                "a newer epoch has begun elsewhere: this database is closed"
            );
            Ok(())
        }
        Act::Fence(request, reply_to) => {
            let reply = match fence::fence(conn, &means.site, &means.application_user, &request).await {
                Ok(reply) => reply,
                Err(e) => FenceReply {
                    why: Some(format!("{e}; it is not known how far the fence came, ask again")),
                    ..fence::NOTHING_DONE
                },
            };
            tracing::info!(epoch = %request.epoch, ?reply, "fenced on request");
            drop(reply_to.send(reply));
            // Whoever asks has moved the register; what follows from that need not wait for the next poll.
            match means.register.read().await {
                Ok(seen) => done.seen = Some(seen),
                Err(e) => tracing::debug!("after the fence: {e}"),
            }
            Ok(())
        }
        Act::CloseFor(request, reply_to) => {
            let reply = match close_for(&request, means, conn, done).await {
                Ok(reply) => reply,
                Err(e) => CloseReply::NotClosed { why: e.to_string() },
            };
            tracing::info!(epoch = %request.epoch, intent = request.intent, ?reply, "closed for a switchover");
            drop(reply_to.send(reply));
            Ok(())
        }
        Act::Promote(request, standby, reply_to) => {
            let reply = promote(&request, standby, means, conn, done).await;
            match &reply {
                PromoteReply::Promoted { .. } => tracing::info!(epoch = %request.epoch, ?reply, "promoted"),
                PromoteReply::AlreadyPromoted => tracing::info!(epoch = %request.epoch, "already promoted"),
                PromoteReply::Refused { why } => {
                    tracing::error!(epoch = %request.epoch, why, "the promotion is refused for ever");
                }
                PromoteReply::NotNow { why } => {
                    tracing::warn!(epoch = %request.epoch, why, "no promotion now");
                }
            }
            // The asker may have given up; what was done stays done, and the next request finds it.
            drop(reply_to.send(reply));
            Ok(())
        }
        Act::NewStream => {
            if let Some(here) = row::read(conn).await? {
                row::new_stream(conn, &here.end_of_log.stream).await?;
                done.renamed = true;
                tracing::error!(
                    old = %here.end_of_log.stream,
                    "this database's log has begun anew and was given a new name; a standby of the old one must be \
                     filled again"
                );
            }
            Ok(())
        }
    }
}

/// The first primary of all: allowed while the register has never been changed. Read afresh, because between the
/// look and this act a standby may have begun and changed it, and then this database is not new any more.
async fn found(means: &Means, conn: &mut Conn, done: &mut Done) -> Result<(), ActError> {
    let seen = means.register.read().await?;
    let register = seen.register.clone();
    done.seen = Some(seen);
    if register.version != UNTOUCHED || register.primary != means.site || register.epoch != Epoch::FIRST {
        return Err(ActError::Stale);
    }
    let birth = Birth {
        epoch: register.epoch,
        primary: register.primary,
        incarnation: register.standby_incarnation,
        seeding: false,
    };
    schema::create(conn, &birth).await?;
    tracing::info!(epoch = %birth.epoch, "this database is the first primary");
    Ok(())
}

/// The first change of the register, made by the first primary before it opens. It says that this database is not new
/// any more, should it ever be found empty; and it lets the standby begin.
async fn announce(register: Register, means: &Means, done: &mut Done) -> Result<(), ActError> {
    let record = Register {
        version: register.version + 1,
        why: format!("{} is the first primary", means.site),
        ..register.clone()
    };
    let asked = Boot::now();
    let request = CasRequest { expected_version: register.version, record };
    match means.register.cas(request).await? {
        CasReply::Swapped(register) | CasReply::Stale(register) => {
            done.seen = Some(Seen { register, asked });
        }
    }
    Ok(())
}

/// Names the next life of the standby's data in the register, before a row of them is touched: from then on no
/// failover to this site is possible until the new life has caught up. Returns the register as it is then.
async fn announce_life(
    register: &Register,
    why: String,
    means: &Means,
    done: &mut Done,
) -> Result<Register, ActError> {
    let record = Register {
        version: register.version + 1,
        mode: Mode::Solo,
        standby_incarnation: Incarnation(register.standby_incarnation.0 + 1),
        why,
        ..register.clone()
    };
    let asked = Boot::now();
    let reply = means.register.cas(CasRequest { expected_version: register.version, record }).await?;
    let (register, swapped) = match reply {
        CasReply::Swapped(register) => (register, true),
        CasReply::Stale(register) => (register, false),
    };
    done.seen = Some(Seen { register: register.clone(), asked });
    if swapped { Ok(register) } else { Err(ActError::Stale) }
}

/// A new life of the standby's data, then the schema for it.
async fn begin_standby(
    register: &Register,
    in_place: bool,
    means: &Means,
    conn: &mut Conn,
    done: &mut Done,
) -> Result<(), ActError> {
    let why = format!("the standby {} is filled anew", means.site);
    let register = announce_life(register, why, means, done).await?;
    let incarnation = register.standby_incarnation;
    let birth =
        Birth { epoch: register.epoch, primary: register.primary.clone(), incarnation, seeding: true };
    if in_place && !row::fill_anew(conn, &means.site, &birth).await? {
        return Err(ActError::Stale);
    }
    schema::create(conn, &birth).await?;
    fence::close(conn, &means.application_user).await?;
    tracing::info!(epoch = %birth.epoch, %incarnation, primary = %birth.primary, "a new life as standby begins");
    Ok(())
}

/// A new life of the data of an old primary: the register first, before a row of them is touched. Whoever dies
/// between the two begins again with the next life.
async fn begin_reinstatement(
    register: &Register,
    means: &Means,
    conn: &mut Conn,
    done: &mut Done,
) -> Result<(), ActError> {
    let why = format!("the old primary {} is taken back", means.site);
    begin_life(register, why, means, conn, done).await
}

/// A new life of the data that are here, as they are.
async fn begin_life(
    register: &Register,
    why: String,
    means: &Means,
    conn: &mut Conn,
    done: &mut Done,
) -> Result<(), ActError> {
    let register = announce_life(register, why.clone(), means, done).await?;
    let incarnation = register.standby_incarnation;
    let noted = row::begin_life(conn, register.epoch, &register.primary, incarnation).await?;
    tracing::warn!(epoch = %register.epoch, %incarnation, primary = %register.primary, "a new life begins: {why}");
    if noted { Ok(()) } else { Err(ActError::Stale) }
}

/// An operator takes the data of another server for the primary's. The register first, as with every move to `solo`: an
/// attempt at `sync` that was begun on the server before can then not come to its end.
async fn adopt(register: &Register, means: &Means, conn: &mut Conn, done: &mut Done) -> Result<(), ActError> {
    let Some(seen) = row::read(conn).await? else { return Err(ActError::Stale) };
    let ours = seen.row.epoch == register.epoch && seen.row.primary == means.site;
    if !ours || register.primary != means.site || register.mode != Mode::Solo || seen.row_speaks() {
        return Err(ActError::Stale);
    }
    let why = format!("an operator took another server's data for those of the primary {}", means.site);
    let record = Register { version: register.version + 1, why, ..register.clone() };
    let asked = Boot::now();
    let reply = means.register.cas(CasRequest { expected_version: register.version, record }).await?;
    let (register, swapped) = match reply {
        CasReply::Swapped(register) => (register, true),
        CasReply::Stale(register) => (register, false),
    };
    done.seen = Some(Seen { register, asked });
    if !swapped || !row::adopt(conn, &seen).await? {
        return Err(ActError::Stale);
    }
    done.renamed = true;
    tracing::warn!(
        old = %seen.row.stream,
        "an operator took this server's data for the primary's; a standby of the old log must be filled again"
    );
    Ok(())
}

/// Closes a primary for the switchover that the register holds. The register is read afresh: what was learnt of it
/// here counts until it is read again, so a record from before the intent can never open what is closed now.
async fn close_for(
    request: &CloseRequest,
    means: &Means,
    conn: &mut Conn,
    done: &mut Done,
) -> Result<CloseReply, ActError> {
    let seen = means.register.read().await?;
    let register = seen.register.clone();
    done.seen = Some(seen);
    let intended = register.intent.as_ref().is_some_and(|i| i.id == request.intent);
    if register.epoch != request.epoch || register.primary != means.site || !intended {
        let why = format!(
            "the register is at epoch {} of {} and does not hold intent {}",
            register.epoch, register.primary, request.intent
        );
        return Ok(CloseReply::NotClosed { why });
    }
    match row::read(conn).await? {
        Some(here) if here.row.epoch == request.epoch && here.row.primary == means.site => {}
        Some(here) => {
            let why = format!("this database stands at epoch {} of {}", here.row.epoch, here.row.primary);
            return Ok(CloseReply::NotClosed { why });
        }
        None => return Ok(CloseReply::NotClosed { why: "this database is empty".into() }),
    }
    let closed = fence::close_for(conn, &means.application_user, request.intent).await?;
    match closed.why {
        None => Ok(CloseReply::Closed { sessions_killed: closed.sessions_killed }),
        Some(why) => Ok(CloseReply::NotClosed { why }),
    }
}

/// Lets the application in, in the name of the intent for which it is kept out, if for any: that one must be of a version
/// that the register has left behind, and may not have been followed by another.
async fn open_again(means: &Means, conn: &mut Conn, done: &mut Done) -> Result<(), ActError> {
    let closed_for = fence::closed_for(conn).await?;
    let seen = means.register.read().await?;
    let register = seen.register.clone();
    done.seen = Some(seen);
    let here = row::read(conn).await?;
    let ours = here.is_some_and(|here| {
        here.row_speaks() && here.row.epoch == register.epoch && here.row.primary == means.site
    });
    let given_up = register.intent.is_none() && closed_for.is_none_or(|intent| intent < register.version);
    if !ours || register.primary != means.site || !given_up {
        return Err(ActError::Stale);
    }
    match fence::open(conn, (&means.site, register.epoch), &means.application_user, closed_for).await? {
        true => Ok(()),
        false => Err(ActError::Stale),
    }
}

async fn promote(
    request: &PromoteRequest,
    standby: Option<Standby>,
    means: &Means,
    conn: &mut Conn,
    done: &mut Done,
) -> PromoteReply {
    // The register itself, not what the asker or our own poll believe.
    let seen = match means.register.read().await {
        Ok(seen) => seen,
        Err(e) => {
            done.standby = standby;
            return PromoteReply::NotNow { why: e.to_string() };
        }
    };
    let register = seen.register.clone();
    done.seen = Some(seen);
    if register.intent.is_some() {
        done.standby = standby;
        return PromoteReply::NotNow {
            why: "the register holds a switchover that has not moved it yet".into(),
        };
    }
    if register.epoch == request.epoch
        && register.primary == means.site
        && let Some(standby) = standby
    {
        // Nothing of this process may be applying when the row is locked.
        standby.stop.cancel();
        if let Err(e) = standby.task.await {
            tracing::error!("the follower ended badly: {e}");
        }
    } else {
        done.standby = standby;
    }
    let promotion = Promotion {
        epoch: request.epoch,
        site: &means.site,
        register: &register,
        agent_user: &means.database.user,
        application_user: &means.application_user,
    };
    match promote::promote(conn, &promotion).await {
        Ok(reply) => reply,
        Err(e) => PromoteReply::NotNow { why: e.to_string() },
    }
}

/// Reads everything on which the loop's next decision rests, except whether the log is still the one that it was.
pub async fn look(conn: &mut Conn, application_user: &str) -> Result<Look, DatabaseError> {
    let reading = async {
        let site = row::read(conn).await?;
        let fence = fence::state(conn, application_user).await?;
        let mut look = Look {
            site,
            slots: Vec::new(),
            fence,
            application_schemas: Vec::new(),
            begun_anew: None,
            promoted: None,
        };
        match look.site {
            Some(_) => {
                (look.slots, look.promoted) = (row::slots(conn).await?, row::last_promotion(conn).await?)
            }
            None => look.application_schemas = schema::application_schemas(conn).await?,
        }
        Ok(look)
    };
    match tokio::time::timeout(LOOK_TIMEOUT, reading).await {
        Ok(result) => result,
        Err(_) => Err(DatabaseError::Lost(format!("no answer within {} s", LOOK_TIMEOUT.as_secs()))),
    }
}

/// As [`look`], and with `check_log` also whether the log has begun anew, which may take the server a while.
async fn look_closely(
    conn: &mut Conn,
    application_user: &str,
    check_log: bool,
) -> Result<Look, DatabaseError> {
    let mut look = look(conn, application_user).await?;
    if check_log && look.site.is_some() {
        look.begun_anew = match tokio::time::timeout(LOG_TIMEOUT, heartbeat::has_begun_anew(conn)).await {
            Ok(result) => result?,
            Err(_) => return Err(DatabaseError::Lost("the log could not be read in time".into())),
        };
    }
    Ok(look)
}

/// Looks every `every` and whenever `row_changes` or `log_begun_anew` count, until `shutdown`.
///
/// The log is checked at the first look of every connection (the server may have been away), when somebody suspects
/// it, and from then on until it has a new name.
pub async fn keep_looking(
    means: Means,
    every: Duration,
    looks: mpsc::Sender<(Boot, Result<Look, DatabaseError>)>,
    mut row_changes: watch::Receiver<u64>,
    mut log_begun_anew: watch::Receiver<u64>,
    shutdown: Shutdown,
) {
    let mut timer = tokio::time::interval(every);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut conn: Option<Conn> = None;
    let mut check_log = true;
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            Ok(()) = row_changes.changed() => {}
            Ok(()) = log_begun_anew.changed() => check_log = true,
            () = shutdown.cancelled() => return,
        }
        let asked = Boot::now();
        let attempt = async {
            if let Some(mut kept) = conn.take() {
                match look_closely(&mut kept, &means.application_user, check_log).await {
                    Ok(look) => return Ok((kept, look)),
                    // A kept connection may have been ended for reasons of its own, e.g. by a promotion.
                    Err(e) if e.is_transient() => tracing::debug!("looking on a new connection: {e}"),
                    Err(e) => return Err(e),
                }
            }
            let mut fresh = means.database.open().await?;
            let look = look_closely(&mut fresh, &means.application_user, true).await?;
            Ok::<_, DatabaseError>((fresh, look))
        };
        let result = tokio::select! {
            result = attempt => result,
            () = shutdown.cancelled() => return,
        };
        let told = match result {
            Ok((session, look)) => {
                conn = Some(session);
                check_log = look.begun_anew.is_some();
                looks.send((asked, Ok(look))).await
            }
            Err(e) => looks.send((asked, Err(e))).await,
        };
        if told.is_err() {
            return;
        }
    }
}

/// What a follower has to do before it can follow.
#[derive(Clone, Debug)]
pub enum First {
    /// Nothing: the slot is attached.
    Follow,
    /// Fill the database, which holds nothing yet.
    Seed,
    /// Take back the data of an old primary.
    Reinstate {
        /// Where the quarantine is kept.
        data: PathBuf,
        /// The register, as last seen.
        register: Option<Register>,
    },
}

/// Starts a follower.
pub fn start_standby(
    config: StandbyConfig,
    first: First,
    progress: watch::Sender<FollowProgress>,
) -> Standby {
    let stop = Shutdown::new();
    let key = (config.epoch, config.incarnation);
    let task = tokio::spawn(standby(config, first, progress, stop.clone()));
    Standby { key, stop, task }
}

async fn standby(
    config: StandbyConfig,
    first: First,
    progress: watch::Sender<FollowProgress>,
    stop: Shutdown,
) -> Result<(), StandbyError> {
    match first {
        First::Follow => {}
        First::Seed => {
            let Some(slot) = copy::fill::run(config.clone(), progress.clone(), stop.clone()).await? else {
                return Ok(());
            };
            tracing::info!(at = %slot.position, "the copy of the primary's data is complete");
        }
        First::Reinstate { data, register } => {
            let reinstate = ReinstateConfig { standby: config.clone(), data, register };
            if reinstate::run(reinstate, progress.clone(), stop.clone()).await?.is_none() {
                return Ok(());
            }
        }
    }
    let follower_stop = stop.child_token();
    let follow = apply::follow(config.clone(), progress.clone(), follower_stop.clone());
    tokio::pin!(follow);
    let heard = tokio::select! {
        ended = &mut follow => return ended,
        heard = canary::sing(&config, progress.subscribe()) => heard,
    };
    if let Err(alarm) = heard {
        follower_stop.cancel();
        if let Err(e) = follow.await {
            tracing::warn!("the follower ended on its own: {e}");
        }
        return Err(alarm);
    }
    follow.await
}
