//! Which site is answered: adopting what the leader says, refusing what is out of date, and remembering it.
//!
//! Always true here: the answered epoch never goes back. A steering is on disk before the first reply carries it, so
//! that a restarted server answers at least what it answered before; a file that cannot be read stops the start
//! rather than falling back to an older site.

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use model::{Epoch, Site, plan::Steering, topology::Topology};

use crate::zone::{BadName, Zone};

/// What of the topology the name server needs.
#[derive(Clone, Debug)]
pub struct Service {
    /// The name that visitors resolve.
    pub name: String,
    /// Seconds that a resolver may keep an answer.
    pub ttl_s: u32,
    /// The site to answer until the leader says otherwise.
    pub preferred: Site,
    /// Where this server is reached.
    pub server_address: IpAddr,
    /// Each site's addresses for visitors.
    pub sites: BTreeMap<Site, Vec<IpAddr>>,
}

impl Service {
    /// As the topology has it.
    pub fn of(topology: &Topology) -> Service {
        let sites = topology.sites.iter().map(|(site, c)| (site.clone(), vec![c.gateway.listen.ip()]));
        Service {
            name: topology.service.name.clone(),
            ttl_s: topology.service.ttl_s,
            preferred: topology.service.preferred.clone(),
            server_address: topology.witness.nameserver.listen.ip(),
            sites: sites.collect(),
        }
    }

    fn zone(&self, steering: &Steering) -> Result<Zone, ZoneError> {
        let site = &steering.site;
        let addresses = self.sites.get(site).ok_or_else(|| ZoneError::NoSuchSite(site.clone()))?;
        // A serial is 32 bits that wrap (RFC 1982); epochs never get there.
        let serial = u32::try_from(steering.epoch.0 & u64::from(u32::MAX)).unwrap_or(0);
        Ok(Zone::new(&self.name, addresses.clone(), self.server_address, self.ttl_s, serial)?)
    }
}

/// What is wrong with a steering, or with the topology that it is read against.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// The topology has no such site.
    #[error("there is no site `{0}` in the topology")]
    NoSuchSite(Site),
    /// The service's name is no name.
    #[error(transparent)]
    BadName(#[from] BadName),
}

/// Why a steering was not adopted.
#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    /// The caller is out of date: ask the register and think again.
    #[error("epoch {} of site `{}` is already answered; epoch {} of `{}` cannot replace it", .present.epoch, .present.site, .asked.epoch, .asked.site)]
    Conflict {
        /// What is answered, and stays.
        present: Steering,
        /// What was asked for.
        asked: Steering,
    },
    /// The caller's mistake; retrying changes nothing.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// It could not be remembered, so it is not answered either. Retry.
    #[error("the steering cannot be written to {path}: {source}")]
    NotWritten {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why the name server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The remembered steering is unreadable. Starting without it might answer an older site.
    #[error(
        "the remembered steering {path} cannot be read: {why}; if no controller is steering another site, move the file aside and start again"
    )]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It names what the topology does not have.
    #[error("the remembered steering {path} does not fit the topology: {source}")]
    Zone {
        /// Which file.
        path: PathBuf,
        /// What does not fit.
        source: ZoneError,
    },
}

/// What to do with a steering that arrives while another is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is newer: answer it.
    Adopt,
    /// It is what is answered already.
    Same,
    /// It is older, or contradicts what is answered in its epoch.
    Refuse,
}

/// Compares what is asked for with what is answered.
pub fn judge(present: &Steering, asked: &Steering) -> Judgement {
    if asked == present {
        Judgement::Same
    } else if asked.epoch > present.epoch {
        Judgement::Adopt
    } else {
        Judgement::Refuse
    }
}

/// The steering in force and the zone made of it. One per process; everybody who answers shares it.
#[derive(Debug)]
pub struct Steerer {
    service: Service,
    path: PathBuf,
    /// Held while a steering is judged, written and swapped in, so that two leaders cannot overtake each other.
    turn: Mutex<()>,
    /// Read without waiting, not even for a turn that waits for the disk.
    answered: ArcSwap<Answered>,
}

/// What is answered: swapped in whole, so that the steering that is told is the one that the zone was made of.
#[derive(Debug)]
struct Answered {
    steering: Steering,
    zone: Arc<Zone>,
}

impl Steerer {
    /// Takes up where the file at `path` left off; without a file, the preferred site in epoch 0, which any leader's
    /// first word replaces.
    pub fn open(service: Service, path: &Path) -> Result<Steerer, OpenError> {
        let unreadable = |why: String| OpenError::Unreadable { path: path.to_owned(), why };
        let steering = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Steering { site: service.preferred.clone(), epoch: Epoch(0) }
            }
            Err(e) => return Err(unreadable(e.to_string())),
        };
        let zone =
            service.zone(&steering).map_err(|source| OpenError::Zone { path: path.to_owned(), source })?;
        let Steering { site, epoch } = &steering;
        if epoch.0 == 0 {
            tracing::info!(%site, "nobody has steered yet: answering the preferred site, as of epoch 0");
        } else {
            tracing::info!(%site, %epoch, "answering the remembered site");
        }
        Ok(Steerer {
            service,
            path: path.to_owned(),
            turn: Mutex::new(()),
            answered: ArcSwap::from_pointee(Answered { steering, zone: zone.into() }),
        })
    }

    /// The zone to answer from, as of now.
    pub fn zone(&self) -> Arc<Zone> {
        self.answered.load().zone.clone()
    }

    /// The steering in force.
    pub fn present(&self) -> Steering {
        self.answered.load().steering.clone()
    }

    /// Adopts `asked` and returns what is in force afterwards. Blocks on the disk for a moment.
    pub fn steer(&self, asked: Steering) -> Result<Steering, SteerError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let present = self.present();
        let zone = self.service.zone(&asked)?;
        match judge(&present, &asked) {
            Judgement::Same => Ok(present),
            Judgement::Refuse => Err(SteerError::Conflict { present, asked }),
            Judgement::Adopt => {
                self.remember(&asked)
                    .map_err(|source| SteerError::NotWritten { path: self.path.clone(), source })?;
                tracing::info!(site = %asked.site, epoch = %asked.epoch, addresses = ?zone.addresses(), "steered");
                self.answered.store(Arc::new(Answered { steering: asked.clone(), zone: zone.into() }));
                Ok(asked)
            }
        }
    }

    fn remember(&self, steering: &Steering) -> io::Result<()> {
        let mut line = serde_json::to_vec(steering)?;
        line.push(b'\n');
        runtime::durable::replace(&self.path, &line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steering(site: &str, epoch: u64) -> Steering {
        Steering { site: Site::new(site), epoch: Epoch(epoch) }
    }

    #[test]
    fn only_a_newer_epoch_moves_the_name() {
        let present = steering("aws", 3);
        for (asked, expected) in [
            (steering("nhn", 4), Judgement::Adopt),
            (steering("aws", 4), Judgement::Adopt),
            (steering("aws", 3), Judgement::Same),
            (steering("nhn", 3), Judgement::Refuse),
            (steering("nhn", 2), Judgement::Refuse),
            (steering("aws", 2), Judgement::Refuse),
        ] {
            assert_eq!(judge(&present, &asked), expected, "{asked:?}");
        }
    }

    fn service() -> Service {
        let site = |name: &str, ip: &str| (Site::new(name), vec![ip.parse().unwrap()]);
        Service {
            name: "tickets.ghostlight.test".into(),
            ttl_s: 5,
            preferred: Site::new("nhn"),
            server_address: "127.30.0.53".parse().unwrap(),
            sites: [site("nhn", "127.10.0.1"), site("aws", "127.20.0.1")].into(),
        }
    }

    /// A folder of the test's own, removed at its end.
    struct Folder(PathBuf);
    impl Folder {
        fn new(name: &str) -> Folder {
            let folder =
                std::env::temp_dir().join(format!("ghostlight-steering-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }
        fn file(&self) -> PathBuf {
            self.0.join("witness/steering.json")
        }
    }
    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_restarted_server_remembers_and_still_refuses_the_older_epoch() {
        let folder = Folder::new("restart");
        let first = Steerer::open(service(), &folder.file()).unwrap();
        assert_eq!(first.present(), steering("nhn", 0));
        first.steer(steering("aws", 2)).unwrap();
        drop(first);
        let second = Steerer::open(service(), &folder.file()).unwrap();
        assert_eq!(second.present(), steering("aws", 2));
        assert_eq!(second.zone().addresses(), ["127.20.0.1".parse::<IpAddr>().unwrap()]);
        let refused = second.steer(steering("nhn", 1)).unwrap_err();
        assert!(matches!(refused, SteerError::Conflict { .. }), "{refused}");
        assert_eq!(second.present(), steering("aws", 2));
    }

    #[test]
    fn a_torn_or_foreign_file_stops_the_start_instead_of_falling_back() {
        let folder = Folder::new("torn");
        fs::create_dir_all(folder.file().parent().unwrap()).unwrap();
        fs::write(folder.file(), b"{\"site\":\"aw").unwrap();
        assert!(matches!(Steerer::open(service(), &folder.file()), Err(OpenError::Unreadable { .. })));
        fs::write(folder.file(), b"{\"site\":\"gcp\",\"epoch\":2}").unwrap();
        assert!(matches!(Steerer::open(service(), &folder.file()), Err(OpenError::Zone { .. })));
    }

    #[test]
    fn what_cannot_be_remembered_is_not_answered() {
        let folder = Folder::new("unwritable");
        // A file stands where the folder should be made.
        fs::write(folder.0.join("witness"), b"").unwrap();
        let steerer = Steerer::open(service(), &folder.0.join("absent/steering.json")).unwrap();
        let steerer = Steerer { path: folder.0.join("witness/steering.json"), ..steerer };
        assert!(matches!(steerer.steer(steering("aws", 2)), Err(SteerError::NotWritten { .. })));
        assert_eq!(steerer.present(), steering("nhn", 0));
        assert_eq!(steerer.zone().addresses(), ["127.10.0.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_site_that_the_topology_does_not_have_is_refused() {
        let folder = Folder::new("foreign");
        let steerer = Steerer::open(service(), &folder.file()).unwrap();
        assert!(matches!(steerer.steer(steering("gcp", 2)), Err(SteerError::Zone(_))));
    }
}
