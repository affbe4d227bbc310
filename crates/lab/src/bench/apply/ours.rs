//! Our contender: shipper and follower as the agents run them, joined over loopback, both in this process.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use model::{Epoch, Incarnation, Position, Watermark, agent::StandbyPhase, topology::WithoutPrimaryKey};
use mysql_async::prelude::Queryable;
use replicate::{
    apply::{self, FollowProgress, StandbyConfig, StandbyError},
    database::DatabaseConfig,
    link::Identity,
    schema,
    ship::{self, Authority, ShipConfig},
};
use runtime::{clock::Boot, process::Shutdown};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{error::Elapsed, timeout},
};

use super::{
    because,
    place::{Mark, Node, Place},
};
use crate::{drill::Aborted, layout::Cloud};

const EPOCH: Epoch = Epoch(1);
const INCARNATION: Incarnation = Incarnation(1);

/// The source's shipper. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Shipping {
    pub(super) address: SocketAddr,
    pub(super) watermarks: watch::Receiver<Option<Watermark>>,
    /// The folder of the link's certificates.
    pub(super) certificates: PathBuf,
    // The shipper drops its peer when its authority goes.
    _authority: watch::Sender<Option<Authority>>,
    stop: Shutdown,
}

impl Drop for Shipping {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Lets the source ship.
pub(super) async fn ship(place: &Place, source: &Node, from: &Mark) -> Result<Shipping, Aborted> {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(because("the shipper's listener"))?;
    let address = listener.local_addr().map_err(because("the shipper's listener"))?;
    let authority = Authority { epoch: EPOCH, primary: true, stream: from.position.stream.clone() };
    let (authority, seen) = watch::channel(Some(authority));
    let (to, watermarks) = watch::channel(None);
    let (certificates, stop) = (place.certificates(), Shutdown::new());
    let config = ShipConfig {
        database: source.agent.clone(),
        identity: identity(&certificates, Cloud::Nhn)?,
        site: Cloud::Nhn.site(),
        heard: watch::Sender::new(None),
    };
    tokio::spawn(ship::serve(listener, config, seen, to, stop.clone()));
    Ok(Shipping { address, watermarks, certificates, _authority: authority, stop })
}

/// A follower. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Following {
    task: JoinHandle<Result<(), StandbyError>>,
    stop: Shutdown,
    progress: watch::Receiver<FollowProgress>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Makes a copy of the base a standby whose slot stands at `from`.
pub(super) async fn attach(replica: &Node, from: &Mark) -> Result<(), Aborted> {
    const WHAT: &str = "making the replica a standby";
    let mut conn = replica.admin().await?;
    let Position { stream, file, offset } = &from.position;
    schema::name_anew(&mut conn).await.map_err(because(WHAT))?;
    conn.exec_drop(
        "INSERT INTO ghostlight.applied (stream, file, `offset`, origin, epoch) VALUES (?, ?, ?, ?, ?)",
        (&stream.0, file, offset, Cloud::Nhn.name(), EPOCH.0),
    )
    .await
    .map_err(because(WHAT))
}

/// How a standby with this database follows what ships at `peer_link`.
pub(super) fn standby(
    database: &DatabaseConfig,
    certificates: &Path,
    peer_link: SocketAddr,
) -> Result<StandbyConfig, Aborted> {
    Ok(StandbyConfig {
        database: database.clone(),
        peer_link,
        identity: identity(certificates, Cloud::Aws)?,
        site: Cloud::Aws.site(),
        origin: Cloud::Nhn.site(),
        epoch: EPOCH,
        incarnation: INCARNATION,
        tables_without_primary_key: WithoutPrimaryKey::Refuse,
        verifier: replicate::copy::verify::Verifier::default(),
        // In the bench's own folder, which goes with it.
        spool: certificates.with_file_name("spool"),
        metrics: Arc::default(),
    })
}

fn identity(certificates: &Path, cloud: Cloud) -> Result<Identity, Aborted> {
    Identity::load(certificates, &cloud.site()).map_err(because("the link's certificates"))
}

/// Lets the replica follow.
pub(super) fn follow(config: StandbyConfig) -> Following {
    let (to, progress) = watch::channel(FollowProgress::default());
    let stop = Shutdown::new();
    Following { task: tokio::spawn(apply::follow(config, to, stop.clone())), stop, progress }
}

impl Following {
    /// Waits until the standby follows.
    pub(super) async fn attached(&mut self, patience: Duration) -> Result<(), Aborted> {
        let mut progress = self.progress.clone();
        let attached = progress.wait_for(|p| p.phase == StandbyPhase::Attached);
        match timeout(patience, attached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(self.failed().await),
            Err(Elapsed { .. }) => Err(format!("our replica does not follow after {patience:?}").into()),
        }
    }

    /// Waits until the standby has everything up to `goal`, as the primary's side hears of it.
    pub(super) async fn until(
        &mut self,
        watermarks: &watch::Receiver<Option<Watermark>>,
        goal: &Position,
        patience: Duration,
    ) -> Result<(), Aborted> {
        let mut watermarks = watermarks.clone();
        let there = watermarks.wait_for(|w| w.as_ref().is_some_and(|w| w.position.has_reached(goal)));
        tokio::select! {
            reached = timeout(patience, there) => match reached {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) => Err("the shipper ended by itself".to_owned().into()),
                Err(Elapsed { .. }) => Err(format!("our replica is not there after {patience:?}").into()),
            },
            failed = self.failed() => Err(failed),
        }
    }

    /// Waits until it ends by itself, which it should not.
    pub(super) async fn failed(&mut self) -> Aborted {
        match (&mut self.task).await {
            Ok(Ok(())) => "our follower ended by itself".to_owned().into(),
            Ok(Err(e)) => format!("our follower stopped: {e}").into(),
            Err(e) => format!("our follower broke: {e}").into(),
        }
    }

    /// Ends it and waits for its end.
    pub(super) async fn end(mut self) -> Result<(), Aborted> {
        self.stop.cancel();
        match (&mut self.task).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(format!("our follower stopped: {e}").into()),
            Err(e) => Err(format!("our follower broke: {e}").into()),
        }
    }
}

/// Applies everything from `from` to `goal`; returns the time from connecting to the watermark.
pub(super) async fn run(
    place: &Place,
    source: &Node,
    replica: &Node,
    from: &Mark,
    goal: &Mark,
    patience: Duration,
) -> Result<Duration, Aborted> {
    attach(replica, from).await?;
    let shipping = ship(place, source, from).await?;
    let config = standby(&replica.agent, &shipping.certificates, shipping.address)?;
    let began = Boot::now();
    let mut following = follow(config);
    following.until(&shipping.watermarks, &goal.position, patience).await?;
    let took = began.elapsed();
    following.end().await?;
    Ok(took)
}
