//! The faults that a drill can make, and how each is healed.
//!
//! A fault is a value; [`Fault::make`] and [`Fault::heal`] are each other's opposite. Whom it hits is said by the part
//! that a place plays when the fault is made, because rounds change who is primary.

use std::time::Duration;

use model::Site;
use runtime::clock::Boot;

use super::{Aborted, access::Access};
use crate::{api::Act, layout::Cloud, link::LinkState};

/// The process of a place that is its member of etcd.
pub const ETCD: &str = "etcd";

/// A place, by the part that it plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The site that is primary when the fault is made.
    Primary,
    /// The other one.
    Standby,
    /// The third place.
    Witness,
}

/// Who is who when the fault is made.
#[derive(Clone, Debug)]
pub struct Cast {
    /// The primary.
    pub primary: Site,
    /// The standby.
    pub standby: Site,
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// A process dies and is not started again.
    Down(Side, &'static str),
    /// The same process of several places dies, and is not started again.
    DownAt(&'static [Side], &'static str),
    /// A process stands still (SIGSTOP): it neither ends nor answers, and its connections stay open.
    Paused(Side, &'static str),
    /// Every process of a place stands still.
    AllPaused(Side),
    /// A whole site dies, and its addresses go dark.
    Dark(Side),
    /// The link between the sites is cut: see [`crate::link::TALKS`] for what passes it.
    LinkCut,
    /// What this site sends over the link is lost.
    LostFrom(Side),
    /// The disk under a database is full.
    FullDisk(Side),
    /// Another fault, made and healed again and again.
    Flapping {
        /// Which.
        fault: &'static Fault,
        /// For so long.
        on: Duration,
        /// And then not, for so long.
        off: Duration,
        /// So often.
        times: u32,
    },
}

impl Cast {
    /// The place's name.
    fn name(&self, side: Side) -> &str {
        match side {
            Side::Primary => self.primary.as_str(),
            Side::Standby => self.standby.as_str(),
            Side::Witness => "witness",
        }
    }

    fn site(&self, side: Side) -> Result<&Site, Aborted> {
        match side {
            Side::Primary => Ok(&self.primary),
            Side::Standby => Ok(&self.standby),
            Side::Witness => Err(Aborted("the witness is no site".into())),
        }
    }
}

impl Fault {
    /// Makes it. Returns the moment just before, on the boot clock; a flapping one returns when it has flapped enough.
    pub async fn make(&self, access: &Access, cast: &Cast) -> Result<u64, Aborted> {
        let at_ms = Boot::now().as_ms();
        match self {
            Fault::Down(side, part) => act(access, cast, *side, Some(part), Act::Down).await?,
            Fault::DownAt(sides, part) => {
                for side in *sides {
                    act(access, cast, *side, Some(part), Act::Down).await?;
                }
            }
            Fault::Paused(side, part) => act(access, cast, *side, Some(part), Act::Pause).await?,
            Fault::AllPaused(side) => act(access, cast, *side, None, Act::Pause).await?,
            Fault::Dark(side) => drop(access.kill(cast.site(*side)?, None).await?),
            Fault::LinkCut => drop(access.set_link(&LinkState { cut: true, ..link(access).await? }).await?),
            Fault::LostFrom(side) => {
                let lost_from = Cloud::of(cast.site(*side)?);
                access.set_link(&LinkState { lost_from, ..link(access).await? }).await?;
            }
            Fault::FullDisk(side) => drop(access.fill_disk(cast.site(*side)?, true).await?),
            Fault::Flapping { fault, on, off, times } => {
                for _ in 0..*times {
                    Box::pin(fault.make(access, cast)).await?;
                    tokio::time::sleep(*on).await;
                    Box::pin(fault.heal(access, cast)).await?;
                    tokio::time::sleep(*off).await;
                }
            }
        }
        Ok(at_ms)
    }

    /// Heals it. What was hit must find its way back by itself from here on.
    pub async fn heal(&self, access: &Access, cast: &Cast) -> Result<(), Aborted> {
        match self {
            Fault::Down(side, part) => act(access, cast, *side, Some(part), Act::Up).await?,
            Fault::DownAt(sides, part) => {
                for side in *sides {
                    act(access, cast, *side, Some(part), Act::Up).await?;
                }
            }
            Fault::Paused(side, part) => act(access, cast, *side, Some(part), Act::Resume).await?,
            Fault::AllPaused(side) => act(access, cast, *side, None, Act::Resume).await?,
            Fault::Dark(side) => drop(access.restore(cast.site(*side)?).await?),
            Fault::LinkCut | Fault::LostFrom(_) => {
                let whole = LinkState { cut: false, lost_from: None, ..link(access).await? };
                access.set_link(&whole).await?;
            }
            Fault::FullDisk(side) => drop(access.fill_disk(cast.site(*side)?, false).await?),
            // It healed itself the last time, unless it was interrupted.
            Fault::Flapping { fault, .. } => Box::pin(fault.heal(access, cast)).await?,
        }
        Ok(())
    }

    /// Whether it hits a member of etcd: the register must be there.
    pub fn needs_etcd(&self) -> bool {
        match self {
            Fault::Down(_, part) | Fault::DownAt(_, part) | Fault::Paused(_, part) => *part == ETCD,
            Fault::Flapping { fault, .. } => fault.needs_etcd(),
            _ => false,
        }
    }

    /// Whether it needs a database on a small disk.
    pub fn needs_small_disk(&self) -> bool {
        match self {
            Fault::FullDisk(_) => true,
            Fault::Flapping { fault, .. } => fault.needs_small_disk(),
            _ => false,
        }
    }
}

/// The link's other properties are nobody's business here.
async fn link(access: &Access) -> Result<LinkState, Aborted> {
    Ok(access.lab().await?.link)
}

/// Does `act` to the processes of a place; to one of them if `part` names it.
async fn act(access: &Access, cast: &Cast, side: Side, part: Option<&str>, act: Act) -> Result<(), Aborted> {
    let place = cast.name(side);
    let names: Vec<String> = match part {
        Some(part) => vec![format!("{place}-{part}")],
        None => {
            let lab = access.lab().await?;
            let of_site = lab.sites.iter().find(|s| s.site.as_str() == place).map(|s| &s.processes);
            of_site.unwrap_or(&lab.witness).iter().map(|p| p.name.clone()).collect()
        }
    };
    for name in names {
        access.act(&name, act).await?;
    }
    Ok(())
}
