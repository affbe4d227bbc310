//! Who talks to whom across places, and by which way.
//!
//! [`TALKS`] is the whole list. What has an address among `sites.<name>.peer` passes the link, and stops when it is cut;
//! the rest goes past it: a cut link is the loss of the tunnel between the clouds, not of their uplinks, so that the
//! witness, visitors and name servers reach both sites all the same.

use std::net::SocketAddr;

use model::topology::{Peer, SiteConfig, Topology};

use crate::layout::Cloud;

/// One conversation between two places.
pub struct Talk {
    /// Who begins it.
    pub who: &'static str,
    /// With whom.
    pub with: &'static str,
    /// What about.
    pub about: &'static str,
    /// How it passes the link; `None`: it goes past it.
    pub way: Option<Passage>,
}

/// The two ends of a way through the link.
pub struct Passage {
    /// The key below `sites.<near>.peer`.
    pub key: &'static str,
    /// The near end, in the site that begins.
    near: fn(&Peer) -> Option<SocketAddr>,
    /// The far one, in the other site.
    far: fn(&SiteConfig) -> SocketAddr,
}

/// Every conversation between places.
pub const TALKS: &[Talk] = &[
    Talk {
        who: "a standby's agent",
        with: "the primary's agent",
        about: "the stream there, watermarks back; reinstating and copying too",
        way: Some(Passage { key: "agent_link", near: |p| Some(p.agent_link), far: |s| s.agent.link }),
    },
    Talk {
        who: "a site's controller",
        with: "the other site's agent",
        about: "probes of the transaction path and of the agent; promotion and fence",
        way: Some(Passage { key: "agent_admin", near: |p| Some(p.agent_admin), far: |s| s.agent.admin }),
    },
    Talk {
        who: "a standby's gateway, and a site's controller",
        with: "the other site's gateway",
        about: "visitors who came to the standby; probes of the gateway",
        way: Some(Passage { key: "gateway", near: |p| Some(p.gateway), far: |s| s.gateway.listen }),
    },
    Talk {
        who: "a site's controller",
        with: "the other site's gateway's admin API",
        about: "parking requests for a switchover",
        way: Some(Passage { key: "gateway_admin", near: |p| p.gateway_admin, far: |s| s.gateway.admin }),
    },
    Talk {
        who: "a site's controller",
        with: "the other site's controller",
        about: "what it sees",
        way: Some(Passage { key: "controller", near: |p| p.controller, far: |s| s.controller }),
    },
    Talk {
        who: "a site's agent and controller",
        with: "the witness",
        about: "register, lease, observations, steering",
        way: None,
    },
    Talk {
        who: "the witness's controller",
        with: "both sites",
        about: "probes, observations, promotion and fence",
        way: None,
    },
    Talk { who: "visitors", with: "both gateways and the name server", about: "tickets", way: None },
];

/// One way through the link: who connects to `listen` arrives at `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The key in the topology of the near end.
    pub what: String,
    /// The site of the near end.
    pub near: Cloud,
    /// The near end.
    pub listen: SocketAddr,
    /// The far one.
    pub to: SocketAddr,
}

/// Every way that the topology asks for: from each site to the other one's agent, its gateway, both their admin
/// APIs, and its controller.
pub fn ways(topology: &Topology) -> Vec<Way> {
    let mut ways = Vec::new();
    for (site, near) in &topology.sites {
        let Some(far) = topology.peer_of(site).and_then(|peer| topology.sites.get(peer)) else { continue };
        let Some(cloud) = Cloud::of(site) else { continue };
        for passage in TALKS.iter().filter_map(|talk| talk.way.as_ref()) {
            if let Some(listen) = (passage.near)(&near.peer) {
                let what = format!("sites.{site}.peer.{}", passage.key);
                ways.push(Way { what, near: cloud, listen, to: (passage.far)(far) });
            }
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use model::topology::RegisterKind;
    use std::{collections::BTreeSet, path::Path};

    use runtime::config;

    use super::*;
    use crate::{layout::Addresses, topology};

    #[test]
    fn every_address_by_which_a_lab_s_site_reaches_its_peer_is_a_way_that_can_be_cut() {
        let choices = topology::Choices {
            gate: true,
            register: RegisterKind::File,
            solo_after_ms: 2_000,
            security_test: None,
            web_acl: false,
        };
        let text = topology::text(Addresses::of(3), choices);
        let topology: Topology = config::parse(Path::new("ghostlight.toml"), text).unwrap().value;
        let ways: BTreeSet<String> = ways(&topology).into_iter().map(|w| w.what).collect();
        let peer = serde_json::to_value(&topology.sites.values().next().unwrap().peer).unwrap();
        let mut named = BTreeSet::new();
        for site in topology.sites.keys() {
            named.extend(peer.as_object().unwrap().keys().map(|key| format!("sites.{site}.peer.{key}")));
        }
        assert_eq!(ways, named);
    }
}
