//! Where a drill plays: in a lab of its own, or in the one that runs in this folder.

use std::path::{Path, PathBuf};

use model::topology::{RegisterKind, Topology};
use runtime::config;

use super::{Aborted, access::Access};
use crate::{
    lab::{Lab, LabOptions, runs_in},
    layout::Files,
};

/// A lab to break things in.
#[derive(Debug)]
pub enum Stage {
    /// A lab of the drill's own: any free number, a folder of its own, no front door.
    Own {
        /// The lab.
        lab: Box<Lab>,
        /// Its folder.
        folder: PathBuf,
    },
    /// Somebody's running lab; it goes on running.
    Attached {
        /// Its folder.
        folder: PathBuf,
        /// Its topology.
        topology: Box<Topology>,
    },
}

impl Stage {
    /// Starts a lab for this process alone.
    pub async fn own(
        gate: bool,
        register: RegisterKind,
        talk: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Stage, Aborted> {
        Stage::start(LabOptions { gate, register, ..LabOptions::new(Stage::folder()) }, talk).await
    }

    /// The same, with databases on disks that can be filled. The process must be in a mount namespace of its own.
    pub async fn with_small_disks(talk: &(dyn Fn(&str) + Send + Sync)) -> Result<Stage, Aborted> {
        Stage::start(LabOptions { small_disks: true, ..LabOptions::new(Stage::folder()) }, talk).await
    }

    fn folder() -> PathBuf {
        PathBuf::from(format!("/var/tmp/ghostlight-drill-{}", std::process::id()))
    }

    async fn start(options: LabOptions, talk: &(dyn Fn(&str) + Send + Sync)) -> Result<Stage, Aborted> {
        let folder = options.folder.clone();
        let lab = Lab::start(options, talk).await.map_err(|e| Aborted(e.to_string()))?;
        Ok(Stage::Own { lab: Box::new(lab), folder })
    }

    /// Uses the lab that runs in `folder`.
    pub fn attach(folder: &Path) -> Result<Stage, Aborted> {
        let files = Files { folder: folder.to_owned(), databases: folder.to_owned() };
        let path = files.topology();
        if !runs_in(folder) {
            let here = folder.display();
            return Err(Aborted(format!("no lab runs in {here}; start one with `ghostlight up`")));
        }
        let loaded = config::load::<Topology>(&path).map_err(|e| Aborted(e.to_string()))?;
        Ok(Stage::Attached { folder: folder.to_owned(), topology: Box::new(loaded.value) })
    }

    /// What keeps the register here.
    pub fn register(&self) -> RegisterKind {
        match self {
            Stage::Own { lab, .. } => lab.topology().register.kind,
            Stage::Attached { topology, .. } => topology.register.kind,
        }
    }

    /// How to ask things of it.
    pub fn access(&self) -> Result<Access, Aborted> {
        let access = match self {
            Stage::Own { lab, .. } => Access::new(lab.topology().clone(), lab.folder()),
            Stage::Attached { folder, topology } => Access::new((**topology).clone(), folder),
        };
        Ok(access?)
    }

    /// Whether the gateways hold answers here.
    pub fn gate(&self) -> bool {
        let topology = match self {
            Stage::Own { lab, .. } => lab.topology(),
            Stage::Attached { topology, .. } => topology,
        };
        topology.sites.values().all(|site| site.gateway.gate)
    }

    /// Ends a lab of the drill's own. Its folder is removed if nothing in it is worth a look (`clean`), else its
    /// name is returned. An attached lab is left as it is.
    pub async fn end(self, clean: bool) -> Option<PathBuf> {
        let Stage::Own { lab, folder } = self else { return None };
        lab.stop().await;
        if !clean {
            return Some(folder);
        }
        match std::fs::remove_dir_all(&folder) {
            Ok(()) => None,
            Err(e) => {
                tracing::warn!("{} is left behind: {e}", folder.display());
                Some(folder)
            }
        }
    }
}
