//! The lab's own cluster of etcd, for those whose register it is: a member in each site and one at the witness.
//!
//! The members talk to each other and are asked directly, as controllers watch the sites: not over the link between the
//! two databases. A site that goes dark takes its member with it.

use cloud::local::etcd::{EtcdError, Member, Place};

use crate::layout::{Addresses, Cloud, Files};

/// The places of members; `None` is the witness.
pub const PLACES: [Option<Cloud>; 3] = [Some(Cloud::Nhn), Some(Cloud::Aws), None];

/// The name of a place's member, also of its process and its log.
pub fn name(place: Option<Cloud>) -> String {
    format!("{}-etcd", place.map_or("witness", Cloud::name))
}

/// Where the members are.
pub fn places(at: Addresses) -> [Place; 3] {
    PLACES.map(|place| Place { name: name(place), client: at.etcd(place), peer: at.etcd_peer(place) })
}

/// The members, with their data in place.
pub fn members(at: Addresses, files: &Files) -> Result<Vec<(Option<Cloud>, Member)>, EtcdError> {
    let all = places(at);
    let member = |place| {
        let name = name(place);
        Ok((place, Member::create(&all, &name, &files.etcd().join(&name))?))
    };
    PLACES.into_iter().map(member).collect()
}
