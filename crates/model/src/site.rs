//! Sites, places and epochs.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One cloud's half of the system, by the name that the topology file gives it (`nhn`, `aws`). Cheap to clone: there are
/// two of them, and they stand in everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site(Arc<str>);

impl Site {
    /// A site's name. Whether such a site exists is the topology's business.
    pub fn new(name: impl AsRef<str>) -> Self {
        Site(name.as_ref().into())
    }

    /// The name as it stands in the topology file.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Site {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Site {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Site, D::Error> {
        String::deserialize(deserializer).map(Site::new)
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Site {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A place from which the system is watched: one of the two sites, or the witness, which belongs to neither.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The third place: holds the register and observes both sites.
    Witness,
    /// Inside a site.
    Site(Site),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Witness => f.write_str("witness"),
            Place::Site(site) => site.fmt(f),
        }
    }
}

/// The number of the current primary's term. Every promotion adds one; nothing of an older epoch is ever applied
/// or acknowledged after a newer one began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch in which a new installation begins.
    pub const FIRST: Epoch = Epoch(1);

    /// The epoch of the next promotion.
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
