//! The agent of one site: one loop that knows what its database says and what the register says, and sees to it
//! that what follows from both is being done.
//!
//! `select!` gathers, [`Loop::take`] learns, [`Loop::advance`] starts and stops, [`Loop::publish`] tells. At most one
//! act on the database is under way at a time; what lasts (the follower, the mode machine) runs beside it and is
//! ended before anything that it must not see. Nothing here decides who is primary.
//!
//! ```text
//!   looks ─┐                        ┌─▶ acts: found, begin standby, open, close, fence, promote
//!   register ─┤  take → advance ────┼─▶ follower (seed, then apply)
//!   commands ─┤            │        └─▶ mode machine
//!   ends ─────┘            ▼
//!                       publish: role, serving, lease, authority to ship
//! ```
//!
//! A database that dies and comes back changes nothing but the looks: what runs reconnects by itself.

mod ends;
mod order;
mod parts;
mod publish;

use std::{collections::VecDeque, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use model::{
    Epoch, Mode, Site, StreamId,
    agent::{Fence, FenceRequest, Role},
    topology::Policy,
};
use mysql_async::Conn;
use runtime::{admin, clock::Boot, metrics::Metrics, process::Shutdown, secret::Secret};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};

use self::{
    ends::{StandbyEnd, end_of, end_of_standby},
    parts::{Parts, fresh},
};
use crate::{
    api::{Api, Command},
    apply::{FollowProgress, StandbyConfig, StandbyError},
    barrier::{self, Barrier, Lease},
    copy::verify::Verifier,
    database::{DatabaseConfig, DatabaseError},
    duty::{self, Duty, Look},
    heartbeat::{self, Heart},
    link::Identity,
    metrics::ReplicateMetrics,
    mode, mode_driver,
    register::{self, RegisterHandle, RegisterRequest, Seen},
    retention,
    ship::{self, Authority, ShipConfig},
    status::Board,
    vitals,
    work::{self, Act, Done, First, Means, Standby},
};

/// How often the register is read.
const REGISTER_EVERY: Duration = Duration::from_millis(250);
/// How often the database is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After an act that failed.
const RETRY_ACT: Duration = Duration::from_millis(250);
/// After a follower that ended for a reason which may pass.
const RETRY_STANDBY: Duration = Duration::from_secs(2);

/// What an agent needs to know once.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// This site.
    pub site: Site,
    /// The application's own endpoint, with the agent's account.
    pub database: DatabaseConfig,
    /// The application's account.
    pub application_user: String,
    /// Who this agent is on the link.
    pub identity: Identity,
    /// The peer's agent's link, as reached from here.
    pub peer_link: SocketAddr,
    /// The rules.
    pub policy: Policy,
    /// A folder of this agent's own, which outlives it: the quarantine is kept below it.
    pub data: PathBuf,
}

/// Where an agent listens, already bound.
#[derive(Debug)]
pub struct Listeners {
    /// For the admin API.
    pub admin: TcpListener,
    /// For the peer's agent.
    pub link: TcpListener,
}

/// Runs the agent until `shutdown`.
///
/// `questions` leads to whoever answers for the register. Fails only if the admin API cannot be served; whatever
/// happens to the database, the register or the peer is waited out and told in the status.
pub async fn run(
    config: AgentConfig,
    listeners: Listeners,
    admin_token: Secret,
    metrics: Metrics,
    questions: mpsc::Sender<RegisterRequest>,
    shutdown: Shutdown,
) -> io::Result<()> {
    let counted = Arc::new(ReplicateMetrics::default());
    metrics.register(|registry| counted.register(registry));
    let register = RegisterHandle::new(questions);
    let means = Means {
        site: config.site.clone(),
        database: config.database.clone(),
        application_user: config.application_user.clone(),
        register: register.clone(),
    };
    let verifier = Verifier::kept_in(config.data.join("verify.json"), config.policy.verify_rows_per_s);
    let (parts, board, inputs) = Parts::new(&config.site, verifier, Arc::clone(&counted));
    let (barrier, inbox) = Barrier::new();
    let (heart, probes) = Heart::new();
    let (commands, asked) = mpsc::channel(64);
    let (look_sender, looks) = mpsc::channel(4);

    let mut tasks = JoinSet::new();
    tasks.spawn(register::poll(register.clone(), REGISTER_EVERY, parts.register.clone(), shutdown.clone()));
    tasks.spawn(work::keep_looking(
        means.clone(),
        LOOK_EVERY,
        look_sender,
        parts.row_changes.subscribe(),
        parts.log_begun_anew.subscribe(),
        shutdown.clone(),
    ));
    tasks.spawn(barrier::run(
        inbox,
        barrier::Inputs {
            site: config.site.clone(),
            database: config.database.clone(),
            lease_ms: config.policy.lease_ms,
            watermarks: board.watermarks.clone(),
            leases: parts.leases.subscribe(),
            row_changes: parts.row_changes.subscribe(),
            log_begun_anew: parts.log_begun_anew.clone(),
            metrics: Arc::clone(&counted),
        },
        shutdown.clone(),
    ));
    tasks.spawn(heartbeat::run(
        probes,
        heartbeat::Inputs {
            site: config.site.clone(),
            database: config.database.clone(),
            every_ms: config.policy.heartbeat_ms,
            primary_in: parts.primary_in.subscribe(),
            beats: inputs.beats,
            log_begun_anew: parts.log_begun_anew.clone(),
            vitals: board.vitals.clone(),
            metrics: Arc::clone(&counted),
        },
        shutdown.clone(),
    ));
    tasks.spawn(vitals::watch(
        config.database.clone(),
        inputs.vitals,
        parts.row_changes.subscribe(),
        shutdown.clone(),
    ));
    tasks.spawn(vitals::feel(inputs.paused, shutdown.clone()));
    tasks.spawn(retention::watch(
        config.database.clone(),
        board.watermarks.clone(),
        parts.primary_in.subscribe(),
        inputs.retention,
        shutdown.clone(),
    ));
    tasks.spawn(ship::serve(
        listeners.link,
        ShipConfig {
            database: config.database.clone(),
            identity: config.identity.clone(),
            site: config.site.clone(),
            heard: inputs.standby_heard,
        },
        parts.authority.subscribe(),
        inputs.watermarks,
        shutdown.clone(),
    ));
    let api = Api { board: board.clone(), barrier, heart, commands, data: config.data.clone() };
    let the_loop = Loop {
        config,
        means,
        parts,
        board,
        metrics: counted,
        look: None,
        look_error: None,
        seen: None,
        duty: Duty::Wait("the database has not answered yet".into()),
        act: None,
        conn: None,
        act_not_before: Boot::now(),
        act_error: None,
        commands: VecDeque::new(),
        ordered: false,
        adopts: None,
        promoting: false,
        standby: None,
        standby_end: None,
        mode: None,
    };
    tasks.spawn(the_loop.run(looks, asked, shutdown.clone()));

    let served = admin::serve(listeners.admin, admin_token, metrics, api.routes(), shutdown.clone()).await;
    // Whatever ended the API ends the rest.
    shutdown.cancel();
    while let Some(ended) = tasks.join_next().await {
        if let Err(e) = ended {
            tracing::error!("a part of the agent ended badly: {e}");
        }
    }
    served
}

/// Everything that the loop can be told.
enum Event {
    /// The database was looked at.
    Looked(Boot, Result<Look, DatabaseError>),
    /// The register was read.
    RegisterSeen(Seen),
    /// The admin API asks.
    Asked(Command),
    /// The act under way has ended.
    Acted(Box<Done>),
    /// The follower has ended.
    StandbyEnded(Result<(), StandbyError>),
}

/// The loop's own state.
struct Loop {
    config: AgentConfig,
    means: Means,
    parts: Parts,
    board: Board,
    metrics: Arc<ReplicateMetrics>,
    /// The newest look, and when it was asked for.
    look: Option<(Boot, Look)>,
    /// Why the database cannot be looked at, if so.
    look_error: Option<String>,
    seen: Option<Seen>,
    duty: Duty,
    act: Option<JoinHandle<Done>>,
    conn: Option<Conn>,
    act_not_before: Boot,
    /// Why the last act did not come to its end, if so.
    act_error: Option<String>,
    commands: VecDeque<Command>,
    /// An operator has asked for the reinstatement.
    ordered: bool,
    /// The stream of another server whose data an operator has taken for this primary's.
    adopts: Option<StreamId>,
    /// Whether the act under way is a promotion.
    promoting: bool,
    standby: Option<Standby>,
    standby_end: Option<StandbyEnd>,
    /// The running mode machine's epoch and its end.
    mode: Option<(Epoch, Shutdown)>,
}

impl Loop {
    async fn run(
        mut self,
        mut looks: mpsc::Receiver<(Boot, Result<Look, DatabaseError>)>,
        mut commands: mpsc::Receiver<Command>,
        shutdown: Shutdown,
    ) {
        let mut register = self.parts.register.subscribe();
        loop {
            let event = tokio::select! {
                Some((asked, look)) = looks.recv() => Event::Looked(asked, look),
                Ok(()) = register.changed() => match register.borrow_and_update().clone() {
                    Some(seen) => Event::RegisterSeen(seen),
                    None => continue,
                },
                Some(command) = commands.recv() => Event::Asked(command),
                done = end_of(&mut self.act) => Event::Acted(Box::new(done)),
                ended = end_of_standby(&mut self.standby) => Event::StandbyEnded(ended),
                () = shutdown.cancelled() => break,
            };
            self.take(event);
            self.advance();
            self.publish();
        }
        self.stop_mode();
        self.parts.primary_in.send_replace(None);
        self.parts.authority.send_replace(None);
        if let Some(standby) = self.standby.take() {
            standby.stop.cancel();
            if let Err(e) = standby.task.await {
                tracing::error!("the follower ended badly: {e}");
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Looked(asked, Ok(look)) => {
                if self.look_error.take().is_some() {
                    tracing::info!("the database answers");
                }
                self.learn_look(asked, look);
            }
            Event::Looked(_, Err(e)) => {
                let why = e.to_string();
                if self.look_error.as_ref() != Some(&why) {
                    tracing::warn!("{why}");
                }
                self.look_error = Some(why);
            }
            Event::RegisterSeen(seen) => self.learn_register(seen),
            Event::Asked(Command::Reinstate(reply)) => {
                // Whoever asked may have given up; the order stands.
                drop(reply.send(self.order_reinstatement()));
            }
            Event::Asked(command) => self.commands.push_back(command),
            Event::Acted(done) => {
                self.act = None;
                self.promoting = false;
                self.conn = done.conn;
                if let Some(standby) = done.standby {
                    self.standby = Some(standby);
                }
                if let Some(seen) = done.seen {
                    self.learn_register(seen);
                }
                if let Some((asked, mut look)) = done.look {
                    if !done.renamed {
                        look.begun_anew = self.look.as_ref().and_then(|(_, known)| known.begun_anew.clone());
                    }
                    self.learn_look(asked, look);
                }
                let why = done.error.map(|e| e.to_string());
                if let Some(why) = &why {
                    self.act_not_before = Boot::now() + RETRY_ACT;
                    if self.act_error.as_ref() != Some(why) {
                        tracing::warn!("an act on the database is tried again: {why}");
                    }
                }
                self.act_error = why;
                // Whoever waits for a barrier in an older state of the row looks again.
                self.parts.row_changes.send_modify(|n| *n += 1);
            }
            Event::StandbyEnded(result) => self.standby_ended(result),
        }
    }

    fn learn_look(&mut self, asked: Boot, look: Look) {
        // A look that was asked for before an act ended must not hide what the act left behind.
        if self.look.as_ref().is_none_or(|(known, _)| *known <= asked) {
            self.look = Some((asked, look));
        }
    }

    fn learn_register(&mut self, seen: Seen) {
        if self.seen.as_ref().is_some_and(|known| known.asked > seen.asked) {
            return;
        }
        if seen.register.primary == self.config.site {
            let lease = Lease { epoch: seen.register.epoch, asked_ms: seen.asked.as_ms() };
            self.parts.leases.send_replace(Some(lease));
        }
        self.seen = Some(seen);
    }

    fn standby_ended(&mut self, result: Result<(), StandbyError>) {
        let Some(standby) = self.standby.take() else { return };
        let now = Boot::now();
        // What an operator asked for meanwhile stands.
        let lost = self.standby_end.take().filter(|end| end.key == standby.key).and_then(|end| end.lost);
        let mut end = StandbyEnd { key: standby.key, role: None, lost, not_before: now };
        if let Err(e) = result {
            let why = e.to_string();
            match e {
                StandbyError::EpochMoved(_) => {
                    tracing::info!("the follower ended: {why}");
                    end.not_before = now + RETRY_ACT;
                }
                StandbyError::NoSlot(_) | StandbyError::PositionLost(_) | StandbyError::CannotBeUndone(_) => {
                    tracing::error!("the standby cannot be continued and is filled anew: {why}");
                    end.lost = Some(why);
                }
                StandbyError::Conflict(_) | StandbyError::Unsupported(_) | StandbyError::OtherLog(_) => {
                    tracing::error!("the stream is stopped: {why}");
                    end.role = Some(Role::Stopped { why });
                }
                StandbyError::Refused(_) | StandbyError::Database(_) => {
                    tracing::warn!("the follower is begun again: {why}");
                    end.not_before = now + RETRY_STANDBY;
                }
            }
        }
        self.standby_end = Some(end);
    }

    /// Starts what is to be done and stops what is not to be done any more. Called after every event.
    fn advance(&mut self) {
        let Some((_, look)) = &self.look else { return };
        let register = self.seen.as_ref().map(|seen| &seen.register);
        self.duty = duty::derive(&self.config.site, register, look);
        let look = look.clone();
        let here = look.site.as_ref().map(|site| (site.row.epoch, site.incarnation));
        if let Some(StandbyEnd { key, lost: Some(why), .. }) = &self.standby_end
            && Some(*key) == here
            && register.is_some()
        {
            let duty = std::mem::replace(&mut self.duty, Duty::Wait(String::new()));
            self.duty = duty.with_lost_position(why);
        }

        // Stop first.
        let primary_in = match self.duty {
            Duty::Primary(epoch) => Some(epoch),
            _ => None,
        };
        if self.mode.as_ref().is_some_and(|(epoch, _)| Some(*epoch) != primary_in) {
            self.stop_mode();
        }
        self.parts.primary_in.send_if_modified(|known| std::mem::replace(known, primary_in) != primary_in);
        let row = look.site.as_ref().map(|site| site.row.clone());
        self.parts.row.send_if_modified(|known| {
            let changed = *known != row;
            known.clone_from(&row);
            changed
        });
        let authority = look.site.as_ref().map(|site| Authority {
            epoch: site.row.epoch,
            primary: primary_in.is_some(),
            stream: site.end_of_log.stream.clone(),
        });
        self.parts.authority.send_if_modified(|known| {
            let changed = *known != authority;
            known.clone_from(&authority);
            changed
        });
        let standby_key = match (&self.duty, &row) {
            (
                Duty::Follow(incarnation, _) | Duty::Seed(incarnation) | Duty::Reinstate(incarnation),
                Some(row),
            ) => Some((row.epoch, *incarnation)),
            // The follower goes on until the promotion itself ends it: what it still applies is worth having.
            (Duty::AwaitPromotion, _) => self.standby.as_ref().map(|standby| standby.key),
            _ => None,
        };
        if let Some(standby) = &self.standby
            && Some(standby.key) != standby_key
        {
            standby.stop.cancel();
            return; // Its end is an event, and then we are here again.
        }
        if let Some(epoch) = primary_in
            && self.mode.is_none()
        {
            self.start_mode(epoch);
        }

        // Then at most one act, commands first.
        if self.act.is_some() {
            return;
        }
        if let Some(command) = self.commands.pop_front() {
            let act = match command {
                Command::Promote(request, reply) => Act::Promote(request, self.standby.take(), reply),
                Command::Fence(request, reply) => Act::Fence(request, reply),
                Command::Close(request, reply) => Act::CloseFor(request, reply),
                Command::Reinstate(reply) => {
                    drop(reply.send(self.order_reinstatement()));
                    return;
                }
                Command::Seed(reply) => {
                    drop(reply.send(self.fill_anew()));
                    return self.advance();
                }
            };
            self.start_act(act);
            return;
        }
        if Boot::now() < self.act_not_before {
            return;
        }
        if let Some(act) = self.missing_act(&look) {
            self.start_act(act);
            return;
        }
        if let (Some(key), Some(row)) = (standby_key, row)
            && self.standby.is_none()
            && !matches!(self.duty, Duty::AwaitPromotion)
            && self.may_start_standby(key)
        {
            self.start_standby(key, row.primary);
        }
    }

    /// The act that the duty still lacks, seen from what is there.
    fn missing_act(&self, look: &Look) -> Option<Act> {
        let closed = look.fence == Fence::Closed;
        let speaks = look.site.as_ref().is_some_and(crate::row::Snapshot::row_speaks);
        if look.begun_anew.is_some() && speaks && !matches!(self.duty, Duty::Stop(_)) {
            return Some(Act::NewStream);
        }
        match &self.duty {
            Duty::Found => Some(Act::Found),
            Duty::BeginStandby | Duty::Resync(_) if !closed => Some(Act::Close),
            Duty::Resync(_) => self.seen.as_ref().map(|seen| Act::Resync(seen.register.clone())),
            Duty::BeginStandby => self.seen.as_ref().map(|seen| Act::BeginStandby(seen.register.clone())),
            Duty::BeginLife(why) => {
                self.seen.as_ref().map(|seen| Act::BeginLife(seen.register.clone(), why.clone()))
            }
            Duty::Unproven(_) => {
                let register = &self.seen.as_ref()?.register;
                let here = look.site.as_ref()?;
                let ours = here.row.epoch == register.epoch && register.primary == self.config.site;
                (self.adopts_these_data() && ours && register.mode == Mode::Solo)
                    .then(|| Act::Adopt(register.clone()))
            }
            Duty::BeginReinstatement if !closed => Some(Act::Close),
            Duty::BeginReinstatement if !self.may_reinstate() => None,
            Duty::BeginReinstatement => {
                self.seen.as_ref().map(|seen| Act::BeginReinstatement(seen.register.clone()))
            }
            Duty::FenceSelf { epoch, primary } => {
                Some(Act::FenceSelf(FenceRequest { epoch: *epoch, primary: primary.clone() }))
            }
            // Only a register that agrees opens a database; one that is silent leaves it as it is.
            Duty::Primary(epoch) => {
                let register = &self.seen.as_ref()?.register;
                if register.epoch != *epoch || register.primary != self.config.site {
                    None
                } else if register.version == duty::UNTOUCHED {
                    Some(Act::Announce(register.clone()))
                } else {
                    // A switchover has closed it, or is about to: it stays as it is until the register holds none.
                    (closed && register.intent.is_none()).then_some(Act::Open)
                }
            }
            Duty::Seed(_) | Duty::Reinstate(_) | Duty::Follow(..) | Duty::AwaitPromotion => {
                (!closed).then_some(Act::Close)
            }
            Duty::Stop(_) => {
                let ours = look.site.as_ref().is_some_and(|site| site.row.primary == self.config.site);
                (!ours && !closed && look.site.is_some()).then_some(Act::Close)
            }
            Duty::Wait(_) => None,
        }
    }

    fn start_act(&mut self, act: Act) {
        self.promoting = matches!(act, Act::Promote(..));
        self.act = Some(tokio::spawn(work::run(act, self.means.clone(), self.conn.take())));
    }

    fn may_start_standby(&self, key: (Epoch, model::Incarnation)) -> bool {
        match &self.standby_end {
            Some(end) if end.key == key => end.role.is_none() && Boot::now() >= end.not_before,
            _ => true,
        }
    }

    fn start_standby(&mut self, (epoch, incarnation): (Epoch, model::Incarnation), origin: Site) {
        let config = StandbyConfig {
            database: self.config.database.clone(),
            peer_link: self.config.peer_link,
            identity: self.config.identity.clone(),
            site: self.config.site.clone(),
            origin,
            epoch,
            incarnation,
            tables_without_primary_key: self.config.policy.tables_without_primary_key,
            verifier: self.board.verifier.clone(),
            spool: self.config.data.join("spool"),
            metrics: Arc::clone(&self.metrics),
        };
        let first = match self.duty {
            Duty::Seed(_) => First::Seed,
            Duty::Reinstate(_) => First::Reinstate {
                data: self.config.data.clone(),
                register: self.seen.as_ref().map(|seen| seen.register.clone()),
            },
            _ => First::Follow,
        };
        tracing::info!(%epoch, %incarnation, origin = %config.origin, "following");
        self.parts.progress.send_replace(FollowProgress::default());
        self.standby = Some(work::start_standby(config, first, self.parts.progress.clone()));
    }

    fn start_mode(&mut self, epoch: Epoch) {
        let policy = &self.config.policy;
        let stop = Shutdown::new();
        let inputs = mode_driver::Inputs {
            rules: mode::Rules {
                site: self.config.site.clone(),
                epoch,
                when_standby_lost: policy.when_standby_lost,
                solo_after_ms: policy.solo_after_ms,
                hold_max_ms: policy.hold_max_ms,
                retry_ms: policy.heartbeat_ms,
            },
            database: self.config.database.clone(),
            register: self.means.register.clone(),
            register_seen: fresh(&self.parts.register),
            row_seen: fresh(&self.parts.row),
            beats: self.board.beats.clone(),
            watermarks: self.board.watermarks.clone(),
            row_changes: self.parts.row_changes.clone(),
            lag_ms: self.parts.lag_ms.clone(),
        };
        tracing::info!(%epoch, "primary");
        tokio::spawn(mode_driver::run(inputs, stop.clone()));
        self.mode = Some((epoch, stop));
    }

    fn stop_mode(&mut self) {
        if let Some((epoch, stop)) = self.mode.take() {
            tracing::info!(%epoch, "no longer primary");
            stop.cancel();
            self.parts.lag_ms.send_replace(None);
        }
    }
}
