//! The primary's side of the link: sends this database's log, and what the peer asks of its tables, to the peer's
//! agent.
//!
//! Always true here: nothing is sent unless this site is primary in the epoch that the peer asked for, and a peer
//! is dropped the moment that changes. One peer at a time; a newer connection replaces an older one, which may
//! be a half-open rest of a cut link. What a watermark means to answers is not known here.

mod outline;
mod walk;

use std::{convert::Infallible, time::Duration};

use model::{Epoch, Site, StreamId, Watermark};
use runtime::{clock::Boot, process::Shutdown};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use self::walk::Walker;
use crate::{
    binlog::{AtEnd, Item, Log, LogError},
    database::{DatabaseConfig, DatabaseError},
    filter::Filter,
    link::{
        self, ALIVE_EVERY, Identity, Link, LinkError, Receiver, Sender,
        frame::{Down, Refusal, Request, Up, Want},
        pack::Packer,
    },
    promote,
    transaction::At,
};

/// So many wishes of the peer may wait.
const ASKS_WAITING_MAX: usize = 16;

/// Between a transaction's being in the log and its being visible lie the server's own last steps of a commit.
const NOT_YET_VISIBLE: Duration = Duration::from_micros(200);

/// What this site's shipper needs to know once.
#[derive(Clone, Debug)]
pub struct ShipConfig {
    /// This site's database.
    pub database: DatabaseConfig,
    /// Who this agent is on the link.
    pub identity: Identity,
    /// This site.
    pub site: Site,
    /// Where it is told when anything last came from the peer.
    pub heard: watch::Sender<Option<Boot>>,
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
            Ok(()) => tracing::info!(site = %request.site, "the peer was told all that it wanted"),
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
                let (asks_to, asks) = mpsc::channel(ASKS_WAITING_MAX);
                tokio::select! {
                    outcome = pump(database, &authority.stream, from, &mut sender, asks) => outcome.map(|never| match never {}),
                    outcome = listen(&mut receiver, authority, request, &self.watermarks, &self.config.heard, &asks_to) => outcome.map(|never| match never {}),
                }
            }
            Want::Outline => outline::send(&self.config.database, &authority.stream, &mut sender).await,
            Want::Failovers => tell_failovers(&self.config.database, &mut sender).await,
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

/// Tells what this database's promotions wrote.
async fn tell_failovers(database: &DatabaseConfig, sender: &mut Sender) -> Result<(), ShipError> {
    let mut conn = database.open().await?;
    let records = promote::records(&mut conn).await?;
    Ok(sender.send(&Down::Failovers(records)).await?)
}

/// Sends the log behind `from`, without end, and in it the chunks that the peer asks for.
async fn pump(
    database: &DatabaseConfig,
    stream: &StreamId,
    from: At,
    sender: &mut Sender,
    mut asks: mpsc::Receiver<Up>,
) -> Result<Infallible, ShipError> {
    let mut log = Log::open_in(database, stream, from, AtEnd::Wait).await?;
    let (mut filter, mut packer) = (Filter::default(), Packer::default());
    let (mut items, mut frames) = (Vec::new(), Vec::new());
    let mut walker = Walker::new(database.clone(), stream.clone());
    // The end of the last transaction that was taken from the log, and whether one is under way.
    let (mut sent, mut changed) = (from, false);
    loop {
        while let Ok(asked) = asks.try_recv() {
            walker.take(asked);
        }
        // Only here, between two events: a chunk never stands within a transaction.
        let mut chunk_is_due = false;
        if log.is_between() {
            if walker.due(log.at()) {
                packer.settle(&mut frames);
                feed(sender, &mut frames).await?;
                let chunk = loop {
                    match timeout(ALIVE_EVERY, walker.chunk()).await {
                        Err(_) => sender.send(&Down::Alive).await?,
                        Ok(chunk) => break chunk?,
                    }
                };
                if let Some(chunk) = chunk {
                    sender.feed(&Down::Chunk(Box::new(chunk))).await?;
                }
            }
            if walker.wants() && !walker.open(sent).await? {
                // It is in the log and will be visible with the server's next step.
                sleep(NOT_YET_VISIBLE).await;
            }
            chunk_is_due = walker.due(log.at());
        }
        if !chunk_is_due && !log.next_ready(&mut items)? {
            packer.settle(&mut frames);
            feed(sender, &mut frames).await?;
            sender.flush().await?;
            // Within a transaction there is nothing to do but to wait for the rest of it. Going round instead would never
            // give this thread away, and the task that hands the rest over may be waiting for this very thread.
            if walker.wants() && log.is_between() {
                continue;
            }
            tokio::select! {
                next = timeout(ALIVE_EVERY, log.next(&mut items)) => match next {
                    Err(_) => sender.send(&Down::Alive).await?,
                    Ok(more) => if !more? {
                        let lost = "the server closed its log; it may be shutting down".to_owned();
                        return Err(DatabaseError::Lost(lost).into());
                    },
                },
                Some(asked) = asks.recv() => walker.take(asked),
            }
        }
        for item in items.drain(..) {
            match &item {
                Item::Change(_) => changed = true,
                Item::End(end) if std::mem::take(&mut changed) => sent = end.at,
                Item::End(_) | Item::Table { .. } | Item::Abandoned => {}
            }
            if let Some(item) = filter.pass(item).map_err(LogError::Decode)? {
                packer.push(item, &mut frames);
            }
        }
        feed(sender, &mut frames).await?;
    }
}

async fn feed(sender: &mut Sender, frames: &mut Vec<Down>) -> Result<(), LinkError> {
    for frame in frames.drain(..) {
        sender.feed(&frame).await?;
    }
    Ok(())
}

/// Takes the peer's watermarks and wishes, without end. A watermark that is not of this stream, epoch and incarnation
/// is not believed.
async fn listen(
    receiver: &mut Receiver,
    authority: &Authority,
    request: &Request,
    watermarks: &watch::Sender<Option<Watermark>>,
    heard: &watch::Sender<Option<Boot>>,
    asks: &mpsc::Sender<Up>,
) -> Result<Infallible, ShipError> {
    loop {
        let said = receiver.receive().await?;
        heard.send_replace(Some(Boot::now()));
        let new = match said {
            Up::Alive => continue,
            Up::Watermark(new) => new,
            asked => {
                asks.send(asked).await.map_err(|_| LinkError::Closed)?;
                continue;
            }
        };
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
