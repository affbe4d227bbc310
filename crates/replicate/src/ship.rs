//! The primary's side of the link: sends this database's log, or a copy of its data, to the peer's agent.
//!
//! Always true here: nothing is sent unless this site is primary in the epoch that the peer asked for, and a peer
//! is dropped the moment that changes. One peer at a time; a newer connection replaces an older one, which may
//! be a half-open rest of a cut link. What a watermark means to answers is not known here.

mod snapshot;

use std::{convert::Infallible, time::Duration};

use model::{Epoch, Site, StreamId, Watermark};
use runtime::process::Shutdown;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    binlog::{AtEnd, Log, LogError},
    database::{DatabaseConfig, DatabaseError},
    filter::Filter,
    link::{
        self, ALIVE_EVERY, Identity, Link, LinkError, Receiver, Sender,
        frame::{Down, Refusal, Request, Up, Want},
        pack::Packer,
    },
    transaction::At,
};

/// What this site's shipper needs to know once.
#[derive(Clone, Debug)]
pub struct ShipConfig {
    /// This site's database.
    pub database: DatabaseConfig,
    /// Who this agent is on the link.
    pub identity: Identity,
    /// This site.
    pub site: Site,
}

/// By what right this site ships, as the row of `ghostlight.site` was last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The row's epoch.
    pub epoch: Epoch,
    /// Whether the row names this site.
    pub primary: bool,
    /// This database's own stream.
    pub stream: StreamId,
}

/// Why a peer was sent nothing more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShipError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{0}")]
    Unsupported(String),
}

impl From<DatabaseError> for ShipError {
    fn from(e: DatabaseError) -> Self {
        ShipError::Log(e.into())
    }
}

impl From<mysql_async::Error> for ShipError {
    fn from(e: mysql_async::Error) -> Self {
        ShipError::Log(e.into())
    }
}

impl ShipError {
    /// What the peer is told; nothing if the link itself is the matter.
    fn refusal(&self) -> Option<Refusal> {
        match self {
            ShipError::Link(LinkError::Oversized(_))
            | ShipError::Log(LogError::Decode(_))
            | ShipError::Unsupported(_) => Some(Refusal::Unsupported(self.to_string())),
            ShipError::Link(_) => None,
            ShipError::Log(LogError::Gone(why)) => Some(Refusal::PositionLost(why.clone())),
            ShipError::Log(LogError::Another(why)) => Some(Refusal::OtherLog(why.clone())),
            ShipError::Log(LogError::Database(e)) => Some(Refusal::NotNow(e.to_string())),
        }
    }
}

/// Accepts the peer's agent on `listener` until `shutdown`.
///
/// `authority` is `None` while the row is not known; then every peer is told to come again. Each watermark that
/// arrives for the current stream and epoch replaces the value in `watermarks` if it is further along, or of
/// another standby incarnation.
pub async fn serve(
    listener: TcpListener,
    config: ShipConfig,
    authority: watch::Receiver<Option<Authority>>,
    watermarks: watch::Sender<Option<Watermark>>,
    shutdown: Shutdown,
) {
    let mut current = shutdown.child_token();
    let mut arriving = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let identity = config.identity.clone();
                    arriving.spawn(async move { link::accept(stream, &identity).await });
                }
                Err(e) => {
                    tracing::warn!("the link's listener: {e}");
                    // Out of file descriptors or the like; another attempt at once would fail as well.
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(arrived) = arriving.join_next() => match arrived {
                // Only a peer that has proved itself may replace the one before it.
                Ok(Ok(caller)) => {
                    current.cancel();
                    current = shutdown.child_token();
                    let peer = Peer { config: config.clone(), authority: authority.clone(), watermarks: watermarks.clone() };
                    let replaced = current.clone();
                    tokio::spawn(async move {
                        tokio::select! {
                            () = replaced.cancelled() => {}
                            () = peer.serve(caller) => {}
                        }
                    });
                }
                Ok(Err(e)) => tracing::warn!("a connection to the link was not let in: {e}"),
                Err(e) => tracing::error!("a handshake on the link ended badly: {e}"),
            },
        }
    }
}

/// One peer's connection.
struct Peer {
    config: ShipConfig,
    authority: watch::Receiver<Option<Authority>>,
    watermarks: watch::Sender<Option<Watermark>>,
}

impl Peer {
    async fn serve(mut self, caller: link::Caller) {
        let request = caller.request().clone();
        let authority = match self.judge(&request) {
            Ok(authority) => authority,
            Err(why) => {
                tracing::info!(site = %request.site, "the peer's agent is sent away: {why:?}");
                if let Err(e) = caller.refuse(why).await {
                    tracing::debug!("the refusal did not reach it: {e}");
                }
                return;
            }
        };
        let mut row = self.authority.clone();
        let outcome = tokio::select! {
            // An error means that the agent is ending; its authority ends with it.
            _ = row.wait_for(|now| now.as_ref() != Some(&authority)) => {
                tracing::info!("this site is no longer primary in epoch {}: the peer is dropped", authority.epoch);
                return;
            }
            outcome = self.ship(caller, &request, &authority) => outcome,
        };
        match outcome {
            Ok(()) => tracing::info!(site = %request.site, "the copy is complete"),
            Err(e) => tracing::info!(site = %request.site, "the peer is sent nothing more: {e}"),
        }
    }

    /// Whether this site may and can give the peer what it wants.
    fn judge(&self, request: &Request) -> Result<Authority, Refusal> {
        let Some(authority) = self.authority.borrow().clone() else {
            return Err(Refusal::NotNow("this site's database has not answered yet".into()));
        };
        if !authority.primary || authority.epoch != request.epoch {
            return Err(Refusal::NotNow(format!(
                "this site is {} in epoch {}, and epoch {} was asked for",
                if authority.primary { "primary" } else { "not primary" },
                authority.epoch,
                request.epoch
            )));
        }
        match &request.want {
            Want::Log(position) if position.stream != authority.stream => Err(Refusal::OtherLog(format!(
                "the standby follows the stream {}, and this database's stream is {}: its log began anew, and it \
                     may have lost what the standby holds. Look at both; then `ghostlight seed` at the standby's site \
                     copies this database over it",
                position.stream, authority.stream
            ))),
            _ => Ok(authority),
        }
    }

    async fn ship(
        &mut self,
        caller: link::Caller,
        request: &Request,
        authority: &Authority,
    ) -> Result<(), ShipError> {
        let Link { mut sender, mut receiver } = caller.welcome().await?;
        tracing::info!(site = %request.site, epoch = %request.epoch, "the peer's agent is connected");
        let outcome = match &request.want {
            Want::Log(position) => {
                let from = At::from(position);
                let database = &self.config.database;
                tokio::select! {
                    outcome = pump(database, from, &mut sender) => outcome.map(|never| match never {}),
                    outcome = take_watermarks(&mut receiver, authority, request, &self.watermarks) => outcome.map(|never| match never {}),
                }
            }
            Want::Seed => snapshot::send(&self.config.database, &authority.stream, &mut sender).await,
        };
        if let Err(e) = &outcome
            && let Some(why) = e.refusal()
        {
            tracing::warn!(site = %request.site, "the stream ends: {e}");
            sender.send_last(&Down::Refused(why)).await?;
        }
        outcome
    }
}

/// Sends the log behind `from`, without end.
async fn pump(database: &DatabaseConfig, from: At, sender: &mut Sender) -> Result<Infallible, ShipError> {
    let mut log = Log::open(database, from, AtEnd::Wait).await?;
    let (mut filter, mut packer) = (Filter::default(), Packer::default());
    let (mut items, mut frames) = (Vec::new(), Vec::new());
    loop {
        match timeout(ALIVE_EVERY, log.next(&mut items)).await {
            Err(_) => sender.send(&Down::Alive).await?,
            Ok(more) => {
                if !more? {
                    let lost = "the server closed its log; it may be shutting down".to_owned();
                    return Err(DatabaseError::Lost(lost).into());
                }
            }
        }
        loop {
            for item in items.drain(..) {
                if let Some(item) = filter.pass(item).map_err(LogError::Decode)? {
                    packer.push(item, &mut frames);
                }
            }
            let ready = log.next_ready(&mut items)?;
            if !ready {
                packer.settle(&mut frames);
            }
            for frame in frames.drain(..) {
                sender.feed(&frame).await?;
            }
            if !ready {
                break;
            }
        }
        sender.flush().await?;
    }
}

/// Takes the peer's watermarks, without end. What is not of this stream, epoch and incarnation is not believed.
async fn take_watermarks(
    receiver: &mut Receiver,
    authority: &Authority,
    request: &Request,
    watermarks: &watch::Sender<Option<Watermark>>,
) -> Result<Infallible, ShipError> {
    loop {
        let Up::Watermark(new) = receiver.receive().await?;
        let ours = new.epoch == authority.epoch
            && new.position.stream == authority.stream
            && new.incarnation == request.incarnation;
        if !ours {
            tracing::warn!("the peer sent a watermark of another stream, epoch or incarnation: {new:?}");
            return Err(LinkError::Senseless.into());
        }
        watermarks.send_if_modified(|newest| {
            let behind = newest.as_ref().is_some_and(|old| {
                old.epoch == new.epoch
                    && old.incarnation == new.incarnation
                    && old.position.has_reached(&new.position)
            });
            if !behind {
                *newest = Some(new);
            }
            !behind
        });
    }
}
